//! What is plugged in, by names that stay the same from plug to plug. Linux: the
//! links that udev makes under `/dev`, and sysfs.

mod holders;
mod links;
mod serial;
mod setup;
mod usb;
#[cfg(target_os = "linux")]
mod video;

#[cfg(target_os = "linux")]
pub use crate::driver::v4l2::Offer;
pub use holders::{Holder, holders};
pub use serial::{NoPort, SerialAddress, SerialPort, UsbPort, serial_ports};
pub use setup::{Account, GROUPS, Membership, RULES, RULES_PATH};
pub use usb::Usb;
#[cfg(target_os = "linux")]
pub use video::{Camera, VideoNode, cameras, find_camera, video_nodes};
