//! The real binary from the outside.

mod app; // the window, and that its death does not end an episode
mod architecture; // crate edges, heavy dependencies, names
mod damage; // packets damaged on the wire, devices that come and go
mod errors; // what a user sees when something is wrong
mod kill; // kill -9 in the middle of an episode
mod program; // starts the binary and the emulated rig
mod real_input; // a real video and real keypoints, to the pixel
mod remote; // orders over HTTP, the live view, and who is let in
mod whole_job; // the demo: calibrate, record, align, retarget, export, view
