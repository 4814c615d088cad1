//! Serial ports of this computer by names that survive unplugging.
//!
//! `/dev/ttyUSB0` is whatever was plugged in first. A USB device says who it is:
//! vendor and product number, often a serial number, and which of its interfaces
//! a port is. The kernel shows all that under `/sys/class/tty`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::links::links_to;

/// A serial port that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPort {
    /// Its node, such as `/dev/ttyUSB0`.
    pub node: PathBuf,
    /// The kernel's driver: `ftdi_sio`, `cdc_acm` …
    pub driver: Option<String>,
    /// What is at the other end of the cable, where that is USB.
    pub usb: Option<UsbPort>,
}

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbPort {
    /// Vendor number.
    pub vendor: u16,
    /// Product number.
    pub product: u16,
    /// Serial number, where it has one.
    pub serial: Option<String>,
    /// Number of the interface within the device.
    pub interface: Option<u8>,
    /// Maker and name, for people.
    pub name: String,
}

/// How `rig.toml` names a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialAddress {
    /// A node, or a link to one.
    Path(PathBuf),
    /// `usb:VENDOR:PRODUCT[:SERIAL[:INTERFACE]]`, numbers in hexadecimal.
    Usb {
        /// Vendor number.
        vendor: u16,
        /// Product number.
        product: u16,
        /// Serial number, interface, or both as written; a serial number may
        /// contain colons.
        rest: Option<String>,
    },
}

/// An address that leads to no port, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPort {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub next: String,
}

/// All ports, by name.
pub fn serial_ports() -> Vec<SerialPort> {
    ports_of(Path::new("/sys/class/tty"), Path::new("/dev"))
}

/// As [`serial_ports`], with other folders.
fn ports_of(classes: &Path, nodes: &Path) -> Vec<SerialPort> {
    let mut ports: Vec<_> = std::fs::read_dir(classes)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|class| port_of(&class.path(), nodes))
        .collect();
    ports.sort_by(|a, b| a.node.cmp(&b.node));
    ports
}

fn read(path: PathBuf) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn port_of(class: &Path, nodes: &Path) -> Option<SerialPort> {
    // Consoles and pseudo-terminals have no device behind them.
    let device = class.join("device").canonicalize().ok()?;
    // The kernel keeps places for UARTs that are not there: type 0.
    if read(class.join("type")).is_some_and(|kind| kind == "0") {
        return None;
    }
    let driver = device.join("driver").canonicalize().ok();
    Some(SerialPort {
        node: nodes.join(class.file_name()?),
        driver: driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        usb: usb_of(&device),
    })
}

/// The first parent that is a USB device, and the interface on the way to it.
fn usb_of(device: &Path) -> Option<UsbPort> {
    let hex = |path: PathBuf| u16::from_str_radix(&read(path)?, 16).ok();
    let mut interface = None;
    for parent in device.ancestors() {
        interface = interface.or_else(|| hex(parent.join("bInterfaceNumber")));
        let Some(vendor) = hex(parent.join("idVendor")) else {
            continue;
        };
        let words = ["manufacturer", "product"].map(|file| read(parent.join(file)));
        return Some(UsbPort {
            vendor,
            product: hex(parent.join("idProduct"))?,
            serial: read(parent.join("serial")),
            interface: interface.and_then(|number| u8::try_from(number).ok()),
            name: words.into_iter().flatten().collect::<Vec<_>>().join(" "),
        });
    }
    None
}

impl UsbPort {
    fn matches(&self, vendor: u16, product: u16, rest: Option<&str>) -> bool {
        let serial = self.serial.as_deref().unwrap_or("");
        let interface = self
            .interface
            .map_or(String::new(), |number| format!("{number:02x}"));
        let rest_fits = rest.is_none_or(|rest| {
            // Interface alone, for a device without a serial number; serial
            // number alone; both.
            rest.strip_prefix(':')
                .is_some_and(|wanted| wanted.eq_ignore_ascii_case(&interface))
                || rest == serial
                || rest
                    .strip_prefix(serial)
                    .and_then(|rest| rest.strip_prefix(':'))
                    .is_some_and(|wanted| wanted.eq_ignore_ascii_case(&interface))
        });
        self.vendor == vendor && self.product == product && rest_fits
    }
}

impl SerialPort {
    /// Names that udev gives it, by serial number before by place.
    pub fn links(&self) -> Vec<PathBuf> {
        links_to(&self.node, &["/dev/serial/by-id", "/dev/serial/by-path"])
    }

    /// How long an FTDI chip holds bytes back [ms]; `None` for other chips.
    pub fn latency_ms(&self) -> Option<u32> {
        let class = Path::new("/sys/class/tty").join(self.node.file_name()?);
        read(class.join("device/latency_timer"))?.parse().ok()
    }

    /// The shortest address for `rig.toml` that names this port and no other of
    /// `all`, and still will after replugging; `None` for a port that is not USB
    /// or has a twin.
    pub fn address(&self, all: &[Self]) -> Option<String> {
        let usb = self.usb.as_ref()?;
        let mut address = format!("usb:{:04x}:{:04x}", usb.vendor, usb.product);
        if let Some(serial) = &usb.serial {
            address = format!("{address}:{serial}");
        }
        let same_device = |other: &&Self| {
            let Some(theirs) = &other.usb else {
                return false;
            };
            (theirs.vendor, theirs.product, &theirs.serial)
                == (usb.vendor, usb.product, &usb.serial)
        };
        if all.iter().filter(same_device).count() > 1 {
            let gap = if usb.serial.is_none() { "::" } else { ":" };
            address = format!("{address}{gap}{:02x}", usb.interface?);
        }
        let parsed: SerialAddress = address.parse().ok()?;
        (parsed.find(all).len() == 1).then_some(address)
    }
}

impl fmt::Display for SerialPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node.display())?;
        if let Some(usb) = &self.usb {
            write!(f, " ({}, {:04x}:{:04x}", usb.name, usb.vendor, usb.product)?;
            if let Some(serial) = &usb.serial {
                write!(f, ", serial number {serial}")?;
            }
            if let Some(interface) = usb.interface {
                write!(f, ", interface {interface:02x}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for SerialAddress {
    type Err = NoPort;

    fn from_str(text: &str) -> Result<Self, NoPort> {
        let Some(numbers) = text.strip_prefix("usb:") else {
            return Ok(Self::Path(PathBuf::from(text)));
        };
        let number = |text: &str| {
            let digits = (1..=4).contains(&text.len());
            u16::from_str_radix(text, 16).ok().filter(|_| digits)
        };
        let mut parts = numbers.splitn(3, ':');
        let (vendor, product) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        match (number(vendor), number(product)) {
            (Some(vendor), Some(product)) => Ok(Self::Usb {
                vendor,
                product,
                rest: parts.next().map(str::to_owned),
            }),
            _ => Err(NoPort {
                problem: "not an address of a USB device".to_owned(),
                next: "expected usb:VENDOR:PRODUCT[:SERIAL[:INTERFACE]] with hexadecimal numbers, \
                       such as usb:0403:6001:A50285BI; `dexumi devices` lists what is plugged in"
                    .to_owned(),
            }),
        }
    }
}

impl SerialAddress {
    fn find<'a>(&self, ports: &'a [SerialPort]) -> Vec<&'a SerialPort> {
        let Self::Usb {
            vendor,
            product,
            rest,
        } = self
        else {
            return Vec::new();
        };
        let fits = |usb: &UsbPort| usb.matches(*vendor, *product, rest.as_deref());
        ports
            .iter()
            .filter(|port| port.usb.as_ref().is_some_and(fits))
            .collect()
    }

    /// The node that it leads to now.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn resolve(&self) -> Result<PathBuf, NoPort> {
        match self {
            Self::Path(path) => path.canonicalize().map_err(|error| NoPort {
                problem: match error.kind() {
                    std::io::ErrorKind::NotFound => "no such port".to_owned(),
                    _ => error.to_string(),
                },
                next: "is the board plugged in? `ls /dev/serial/by-id/` shows what is".to_owned(),
            }),
            Self::Usb { .. } => self.resolve_among(&serial_ports()),
        }
    }

    fn resolve_among(&self, ports: &[SerialPort]) -> Result<PathBuf, NoPort> {
        let list = |ports: &[&SerialPort]| {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            ports.join(", ")
        };
        match self.find(ports)[..] {
            [port] => Ok(port.node.clone()),
            [] => {
                let others: Vec<_> = ports.iter().filter(|port| port.usb.is_some()).collect();
                let there = match others[..] {
                    [] => "there is no USB serial port at all".to_owned(),
                    _ => format!("there are: {}", list(&others)),
                };
                Err(NoPort {
                    problem: "no such device is plugged in".to_owned(),
                    next: format!("is the board plugged in? {there}"),
                })
            }
            [..] => Err(NoPort {
                problem: format!("several ports fit: {}", list(&self.find(ports))),
                next:
                    "add the serial number and the interface to the address, or name the port by \
                       its place (`ls /dev/serial/by-path/`)"
                        .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A piece of `/sys` as the kernel lays it out: an FTDI adapter, a board with
    /// USB of its own and two ports, a UART that is not there, a console.
    fn sysfs() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        let at = |path: &str| folder.path().join(path);
        let write = |path: &str, text: &str| {
            let path = at(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("write");
        };
        let link = |target: &str, path: &str| {
            let path = at(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::create_dir_all(at(target)).expect("target");
            symlink(at(target), path).expect("link");
        };
        let usb = |place: &str, ids: [&str; 5]| {
            let files = ["idVendor", "idProduct", "serial", "manufacturer", "product"];
            for (file, text) in files.iter().zip(ids).filter(|(_, text)| !text.is_empty()) {
                write(&format!("devices/{place}/{file}"), &format!("{text}\n"));
            }
        };
        usb("1-1", ["0403", "6001", "A50285BI", "FTDI", "FT232R"]);
        usb("1-2", ["2e8a", "000a", "E661:4C", "Maker", "Board"]);
        usb("1-3", ["1a86", "55d4", "", "", "USB Single Serial"]);
        write("devices/1-1/1-1:1.0/bInterfaceNumber", "00\n");
        write("devices/1-2/1-2:1.0/bInterfaceNumber", "00\n");
        write("devices/1-2/1-2:1.2/bInterfaceNumber", "02\n");
        write("devices/1-3/1-3:1.0/bInterfaceNumber", "00\n");
        link("devices/1-1/1-1:1.0/ttyUSB0", "class/ttyUSB0/device");
        link("bus/ftdi_sio", "devices/1-1/1-1:1.0/ttyUSB0/driver");
        link("devices/1-2/1-2:1.0", "class/ttyACM0/device");
        link("bus/cdc_acm", "devices/1-2/1-2:1.0/driver");
        link("devices/1-2/1-2:1.2", "class/ttyACM1/device");
        link("devices/1-3/1-3:1.0", "class/ttyACM2/device");
        link("devices/uart", "class/ttyS3/device");
        write("class/ttyS3/type", "0\n");
        write("class/tty7/dev", "4:7\n");
        folder
    }

    fn resolve(ports: &[SerialPort], address: &str) -> Result<String, NoPort> {
        let address: SerialAddress = address.parse()?;
        let node = address.resolve_among(ports)?;
        Ok(node.to_string_lossy().into_owned())
    }

    #[test]
    fn a_port_is_found_by_what_its_device_says_of_itself() {
        let folder = sysfs();
        let ports = ports_of(&folder.path().join("class"), Path::new("/dev"));
        assert_eq!(ports.len(), 4, "{ports:?}");
        assert_eq!(ports[3].driver.as_deref(), Some("ftdi_sio"));
        assert_eq!(ports[0].driver.as_deref(), Some("cdc_acm"));
        for (address, node) in [
            ("usb:0403:6001", "/dev/ttyUSB0"),
            ("usb:403:6001:A50285BI", "/dev/ttyUSB0"),
            ("usb:0403:6001:A50285BI:00", "/dev/ttyUSB0"),
            // A serial number with a colon.
            ("usb:2E8A:000A:E661:4C:02", "/dev/ttyACM1"),
            ("usb:1a86:55d4", "/dev/ttyACM2"),
            ("usb:1a86:55d4::00", "/dev/ttyACM2"),
        ] {
            assert_eq!(resolve(&ports, address).as_deref(), Ok(node), "{address}");
        }
    }

    #[test]
    fn what_fits_none_or_two_is_refused_with_what_there_is() {
        let folder = sysfs();
        let ports = ports_of(&folder.path().join("class"), Path::new("/dev"));
        let refused = |address: &str| {
            let error = resolve(&ports, address).expect_err("refused");
            format!("{}; {}", error.problem, error.next)
        };
        let two = refused("usb:2e8a:000a:E661:4C");
        assert!(
            two.contains("ttyACM0") && two.contains("interface 02"),
            "{two}"
        );
        let none = refused("usb:0403:6001:A50285BJ");
        assert!(
            none.contains("A50285BI") && none.contains("plugged in"),
            "{none}"
        );
        assert!(refused("usb:0403").contains("usb:VENDOR:PRODUCT"));
        assert!(refused("usb:0403:60011").contains("usb:VENDOR:PRODUCT"));
    }

    #[test]
    fn each_port_has_an_address_that_leads_to_it_alone() {
        let folder = sysfs();
        let ports = ports_of(&folder.path().join("class"), Path::new("/dev"));
        let addresses: Vec<_> = ports.iter().map(|port| port.address(&ports)).collect();
        let expected = [
            "usb:2e8a:000a:E661:4C:00",
            "usb:2e8a:000a:E661:4C:02",
            "usb:1a86:55d4",
            "usb:0403:6001:A50285BI",
        ];
        assert_eq!(addresses, expected.map(|text| Some(text.to_owned())));
        for (port, address) in ports.iter().zip(expected) {
            assert_eq!(
                resolve(&ports, address).as_deref(),
                Ok(&*port.node.to_string_lossy())
            );
        }
    }

    #[test]
    fn a_path_is_a_path() {
        let address: SerialAddress = "/dev/not-there".parse().expect("a path");
        let error = address.resolve().expect_err("not there");
        assert_eq!(error.problem, "no such port");
    }
}
