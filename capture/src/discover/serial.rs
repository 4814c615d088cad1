//! Serial ports.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Usb, links::links_to};

const PORTS: &str = "/sys/class/tty";
const LINKS: [&str; 2] = ["/dev/serial/by-id", "/dev/serial/by-path"];

/// A serial port that has hardware behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SerialPort {
    /// The name for `rig.toml`.
    pub address: String,
    /// `/dev/ttyACM0`; the number changes from plug to plug.
    pub node: PathBuf,
    /// The USB device, where it is one.
    pub usb: Option<Usb>,
    /// Names that stay, best first.
    pub links: Vec<PathBuf>,
    /// How long an FTDI chip may hold bytes back [ms].
    pub latency_ms: Option<u32>,
}

/// All serial ports with a device behind them, by name.
pub fn serial_ports() -> Vec<SerialPort> {
    let Ok(entries) = std::fs::read_dir(PORTS) else {
        return Vec::new();
    };
    let mut found: Vec<SerialPort> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            // Consoles and pseudo-terminals have no device; a UART that is not there
            // has one all the same, of this driver.
            let device = std::fs::canonicalize(folder.join("device")).ok()?;
            let driver = std::fs::read_link(device.join("driver")).ok()?;
            if driver.ends_with("serial8250") || driver.ends_with("port") {
                return None;
            }
            let node = Path::new("/dev").join(folder.file_name()?);
            let links = links_to(&node, &LINKS);
            let latency = std::fs::read_to_string(device.join("latency_timer"));
            Some(SerialPort {
                address: links.first().unwrap_or(&node).display().to_string(),
                usb: Usb::above(&device),
                latency_ms: latency.ok().and_then(|text| text.trim().parse().ok()),
                node,
                links,
            })
        })
        .collect();
    found.sort_by(|a, b| a.node.cmp(&b.node));
    found
}
