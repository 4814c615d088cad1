//! Every format, written from synthetic episodes by the real `ffmpeg`: what it holds, what its checker
//! refuses, and what becomes of it when something goes wrong.

mod breaking;
mod containers;
mod faults;
mod layouts;
mod lifecycle;
mod stores;
mod synthetic;
mod verify_hdf5;
mod verify_models;
mod verify_v21;
mod verify_v3;
mod verify_zarr;
mod write;
