//! The real binary from the outside.

mod app; // the window, and that its death does not end an episode
mod architecture; // crate edges, heavy dependencies, names
#[cfg(target_os = "linux")]
mod cameras; // emulated USB cameras: what is listed, and recorded to the byte
mod damage; // packets damaged on the wire, devices that come and go
mod datasets; // killed, extended, withdrawn from, written once more
mod errors; // what a user sees when something is wrong
mod import; // raw episodes of the original recorder, to the count and the nanosecond
mod kill; // kill -9 in the middle of an episode
mod presets; // rigs of the documentation and of the emulator
mod program; // starts the binary and the emulated rig
mod quality; // recordings with known faults, and what the program says of them
mod real_input; // a real video and real keypoints, to the pixel
mod remote; // orders over HTTP, the live view, and who is let in
mod retarget; // files of keypoints and gloves to robot hands, resuming, Ctrl-C
#[cfg(target_os = "linux")]
mod shim; // USB cameras for a program that opens /dev/video*
mod whole_job; // the demo: calibrate, record, align, retarget, export, view
