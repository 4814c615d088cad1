//! What a camera refuses, with what to do about it.

use std::{io, path::Path};

use super::node::Node;
use crate::{
    discover::{Holder, holders},
    error::Refusal,
};

impl Refusal {
    /// Of an error that a node answered with.
    pub(crate) fn io(what: &str, node: &Node, error: &io::Error) -> Self {
        let next = match error.raw_os_error() {
            Some(nix::libc::EBUSY) => return Self::busy(node.path()),
            Some(nix::libc::ENOSPC) => {
                "the USB bus has no room for its images: move a camera to another controller, or \
                 choose mjpeg, a smaller size or a lower rate"
            }
            Some(nix::libc::ENODEV) => "it was unplugged; plug it in again",
            _ => "plug it in again; `dexumi devices` shows what it offers",
        };
        Self::new(format!("{what} ({error})"), next)
    }

    fn busy(node: &Path) -> Self {
        let own = std::process::id();
        let mut by = holders(node);
        // This very attempt has the node open as well.
        by.retain(|holder| holder.pid != own || holder.times > 1);
        let by: Vec<String> = by.iter().map(Holder::to_string).collect();
        let by = match by.is_empty() {
            true => "another program".to_owned(),
            false => by.join(" and "),
        };
        Self::new(
            format!("the camera is in use by {by}"),
            "close that first, or give each stream its own camera",
        )
    }

    fn open(node: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::new(
                format!("no permission to open {}", node.display()),
                "add yourself to group `video` and log in again; `dexumi devices --setup` tells how",
            ),
            _ => Self::new(
                format!("cannot open {} ({error})", node.display()),
                "plug it in again",
            ),
        }
    }
}

/// Opens a node for this program alone among those that record.
pub(in crate::driver) fn open_alone(path: &Path) -> Result<Node, Refusal> {
    let node = Node::open(path).map_err(|error| Refusal::open(path, &error))?;
    match node.file().try_lock() {
        Ok(()) => Ok(node),
        Err(std::fs::TryLockError::WouldBlock) => Err(Refusal::busy(path)),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(Refusal::io("cannot lock the camera", &node, &error))
        }
    }
}
