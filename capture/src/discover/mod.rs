//! What is plugged in, by names that stay the same from plug to plug. Linux: the
//! links that udev makes under `/dev`, and sysfs.

mod holders;
mod links;
mod serial;
mod setup;
mod usb;
#[cfg(target_os = "linux")]
mod video;

pub use holders::{Holder, holders};
pub use serial::{NoPort, SerialAddress, SerialPort, UsbPort, serial_ports};
pub use setup::{GROUPS, Membership, RULES, RULES_PATH, memberships};
pub use usb::Usb;
#[cfg(target_os = "linux")]
pub use video::{Camera, VideoNode, cameras, find_camera, video_nodes};
