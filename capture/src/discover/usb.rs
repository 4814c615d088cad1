//! The USB device behind a node, by sysfs.

use std::path::Path;

use serde::Serialize;

/// A USB device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usb {
    /// Vendor, four hexadecimal digits.
    pub vendor: String,
    /// Product, four hexadecimal digits.
    pub product: String,
    /// Serial number; many cameras have none, or all the same.
    pub serial: Option<String>,
    /// Name of the maker, as the device gives it.
    pub maker: Option<String>,
    /// Name of the product, as the device gives it.
    pub name: Option<String>,
    /// Where it is plugged in: bus and chain of ports, such as `1-2.3`.
    pub port: String,
    /// Speed of the link [Mbit/s].
    pub speed_mbit_s: Option<u32>,
}

impl Usb {
    /// The device above a folder of sysfs, such as that of a node or an interface.
    pub(super) fn above(folder: &Path) -> Option<Self> {
        let folder = std::fs::canonicalize(folder).ok()?;
        let device = folder
            .ancestors()
            .take_while(|folder| folder.starts_with("/sys/devices"))
            .find(|folder| folder.join("idVendor").exists())?;
        let read = |name: &str| {
            let text = std::fs::read_to_string(device.join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Some(Self {
            vendor: read("idVendor")?.to_lowercase(),
            product: read("idProduct")?.to_lowercase(),
            serial: read("serial"),
            maker: read("manufacturer"),
            name: read("product"),
            port: device.file_name()?.to_string_lossy().into_owned(),
            speed_mbit_s: read("speed")
                .and_then(|text| text.parse::<f64>().ok())
                .map(|s| s as u32),
        })
    }

    /// Address in `rig.toml`: `usb:VID:PID`, with the serial number where there is one.
    pub fn address(&self) -> String {
        match &self.serial {
            Some(serial) => format!("usb:{}:{}:{serial}", self.vendor, self.product),
            None => format!("usb:{}:{}", self.vendor, self.product),
        }
    }

    /// Whether an address of that form means this device; `None` where it has
    /// another form.
    pub(super) fn matches(&self, address: &str) -> Option<bool> {
        let mut parts = address.strip_prefix("usb:")?.splitn(3, ':');
        let (vendor, product) = (parts.next()?, parts.next()?);
        let serial = parts.next();
        let same = vendor.eq_ignore_ascii_case(&self.vendor)
            && product.eq_ignore_ascii_case(&self.product)
            && serial.is_none_or(|serial| self.serial.as_deref() == Some(serial));
        Some(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_one_device_and_a_serial_number_may_have_colons() {
        let usb = |serial: Option<&str>| Usb {
            vendor: "046d".to_owned(),
            product: "085e".to_owned(),
            serial: serial.map(str::to_owned),
            maker: None,
            name: None,
            port: "1-2".to_owned(),
            speed_mbit_s: Some(480),
        };
        let one = usb(Some("A:1"));
        assert_eq!(one.address(), "usb:046d:085e:A:1");
        assert_eq!(one.matches("usb:046D:085E:A:1"), Some(true));
        assert_eq!(one.matches("usb:046d:085e"), Some(true));
        assert_eq!(one.matches("usb:046d:085e:B"), Some(false));
        assert_eq!(usb(None).matches("usb:046d:085e:B"), Some(false));
        assert_eq!(one.matches("/dev/video0"), None);
        assert_eq!(one.matches("usb:046d"), None);
    }
}
