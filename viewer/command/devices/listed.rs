//! Ports and cameras as they are listed.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use dexumi_capture::discover::{self, Holder, SerialPort};
use serde::Serialize;

/// A serial port.
#[derive(Debug, Clone, Serialize)]
pub struct SerialLine {
    /// For `rig.toml`.
    pub address: String,
    /// The address stays the same from plug to plug.
    pub stays: bool,
    /// Its node just now.
    pub node: PathBuf,
    /// Maker and name of the USB device.
    pub name: Option<String>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// Names that udev gives it, which are addresses as well.
    pub links: Vec<PathBuf>,
    /// How long the chip holds bytes back [ms], where it does.
    pub latency_ms: Option<u32>,
    /// Programs that have it open.
    pub holders: Vec<Holder>,
}

impl SerialLine {
    fn new(port: &SerialPort, all: &[SerialPort]) -> Self {
        let links = port.links();
        let by_place = links
            .iter()
            .find(|link| link.starts_with("/dev/serial/by-path"));
        let stays = port
            .address(all)
            .or_else(|| by_place.map(|link| link.display().to_string()));
        Self {
            stays: stays.is_some(),
            address: stays.unwrap_or_else(|| port.node.display().to_string()),
            name: port.usb.as_ref().map(|usb| usb.name.clone()),
            driver: port.driver.clone(),
            latency_ms: port.latency_ms(),
            holders: holders(&port.node),
            node: port.node.clone(),
            links,
        }
    }
}

/// All serial ports.
pub fn serial() -> Vec<SerialLine> {
    let ports = discover::serial_ports();
    ports
        .iter()
        .map(|port| SerialLine::new(port, &ports))
        .collect()
}

fn holders(node: &Path) -> Vec<Holder> {
    let mut holders = discover::holders(node);
    holders.retain(|holder| holder.pid != std::process::id());
    holders
}

fn in_use(f: &mut fmt::Formatter<'_>, holders: &[Holder]) -> fmt::Result {
    if holders.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = holders.iter().map(Holder::to_string).collect();
    writeln!(f, "      in use by {}", names.join(" and "))
}

impl fmt::Display for SerialLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.address)?;
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        let words = [name, self.driver.as_deref()];
        write!(f, "      {}", self.node.display())?;
        for word in words.into_iter().flatten() {
            write!(f, ", {word}")?;
        }
        writeln!(f)?;
        for link in &self.links {
            writeln!(f, "      {}", link.display())?;
        }
        if let Some(ms) = self.latency_ms.filter(|&ms| ms > 1) {
            writeln!(
                f,
                "      holds bytes back for {ms} ms; `dexumi devices --setup`, as root, makes it 1 ms"
            )?;
        }
        if !self.stays {
            writeln!(
                f,
                "      this name may mean another port after the next plug"
            )?;
        }
        in_use(f, &self.holders)
    }
}

/// A camera.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Serialize)]
pub struct CameraLine {
    /// What it is and offers.
    #[serde(flatten)]
    pub camera: discover::Camera,
    /// Programs that have it open.
    pub holders: Vec<Holder>,
}

/// Cameras are found on Linux only.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, Serialize)]
pub enum CameraLine {}

/// All cameras; metadata nodes and outputs are none.
pub fn cameras() -> Vec<CameraLine> {
    #[cfg(target_os = "linux")]
    let found = discover::cameras()
        .into_iter()
        .map(|camera| CameraLine {
            holders: holders(&camera.node.node),
            camera,
        })
        .collect();
    #[cfg(not(target_os = "linux"))]
    let found = Vec::new();
    found
}

#[cfg(not(target_os = "linux"))]
impl fmt::Display for CameraLine {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
impl fmt::Display for CameraLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let video = &self.camera.node;
        writeln!(f, "  {}", self.camera.address)?;
        write!(f, "      {}, {}", video.node.display(), video.name)?;
        if let Some(usb) = &video.usb {
            write!(f, ", {} at USB port {}", usb.address(), usb.port)?;
            if let Some(speed) = usb.speed_mbit_s {
                write!(f, ", {speed} Mbit/s")?;
            }
        }
        writeln!(f)?;
        for link in &video.links {
            writeln!(f, "      {}", link.display())?;
        }
        if video.has_twin {
            writeln!(
                f,
                "      another camera has the same serial number: the USB port tells them apart"
            )?;
        }
        if self.camera.address == video.node.display().to_string() {
            writeln!(
                f,
                "      this name may mean another camera after the next plug"
            )?;
        }
        in_use(f, &self.holders)?;
        if let Some(problem) = &self.camera.problem {
            writeln!(
                f,
                "      what it offers is not known ({problem}); `dexumi devices --setup` tells how to \
                 be let in"
            )?;
        }
        for modes in self.camera.offers.chunk_by(|a, b| a.pixel == b.pixel) {
            let size = |offer: &discover::Offer| {
                let fps: Vec<String> = offer.fps.iter().map(f64::to_string).collect();
                format!("{} at {}", offer.size, fps.join("/"))
            };
            let sizes: Vec<String> = modes.iter().map(size).collect();
            let not = if modes[0].records {
                ""
            } else {
                " (not recorded)"
            };
            writeln!(f, "      {:6} {}{not}", modes[0].pixel, sizes.join(", "))?;
        }
        Ok(())
    }
}
