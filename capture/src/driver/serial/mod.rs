//! A serial port: found anew at each opening, read with a stamp, without waiting
//! for more than there is.

mod latency;

use std::{
    io::ErrorKind,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use dexumi_episode::{Delta, Device, HostTime};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr},
    unistd::{read, write},
};
use serialport::TTYPort;

use super::{
    Item, Output,
    options::{Options, failed},
};
use crate::{
    discover::{SerialAddress, serial_ports},
    error::CaptureError,
};

/// Bits that a byte takes on the line: start, eight, stop.
const BITS: i64 = 10;
/// Longest wait for bytes [ms].
const WAIT_MS: u8 = 100;

/// Options that every serial driver knows.
const OPTIONS: [&str; 3] = ["low_latency", "dtr_on_open", "uart"];

/// A port's settings from the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Settings {
    /// Keep the adapter's own latency, where false.
    low_latency: Option<bool>,
    /// Leave the line `DTR` alone or down.
    dtr_on_open: Option<bool>,
    /// Whether the bytes come over a wire at the stated baud rate.
    uart: Option<bool>,
}

/// Reads a driver's options, `more` being those that only it knows.
///
/// # Errors
/// One is unknown, or entries that share a port differ.
pub fn options(devices: &[Device], more: &[&str]) -> Result<Options, CaptureError> {
    let differs = |device: &&Device| device.baud.is_some() && device.baud != devices[0].baud;
    if let Some(device) = devices.iter().find(differs) {
        let problem = format!("its baud rate differs from that of `{}`", devices[0].stream);
        return Err(failed(
            device,
            problem,
            "both share one port; give both the same",
        ));
    }
    Options::of(devices, &[&OPTIONS[..], more].concat())
}

impl Settings {
    fn of(options: &Options) -> Result<Self, CaptureError> {
        Ok(Self {
            low_latency: options.flag("low_latency")?,
            dtr_on_open: options.flag("dtr_on_open")?,
            uart: options.flag("uart")?,
        })
    }
}

/// Bytes of one read.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// When they were read.
    pub arrival: HostTime,
    /// Baud rate, where they came over a wire.
    pub uart_baud: Option<u32>,
}

impl Chunk<'_> {
    /// When a byte that `after` others followed in this chunk can have arrived at
    /// the latest: over a wire they took their time.
    pub fn arrival_before(&self, after: usize) -> HostTime {
        self.arrival - self.wire_time(after)
    }

    /// How long so many bytes take, where they come over a wire.
    pub fn wire_time(&self, bytes: usize) -> Delta {
        let per_bit = |baud: u32| 1_000_000_000 / i64::from(baud.max(1));
        let nanos = |baud| bytes as i64 * BITS * per_bit(baud);
        Delta::from_nanos(self.uart_baud.map_or(0, nanos))
    }
}

/// An open port.
pub struct Port {
    port: TTYPort,
    uart_baud: Option<u32>,
    stream: String,
    address: String,
    buffer: Box<[u8; 4096]>,
    unwritten: Vec<u8>,
    /// What is to be told of the port, once.
    greeting: Vec<Item>,
}

impl Port {
    /// Opens the port of a device. `uart`: whether its bytes come over a wire at
    /// the stated baud rate, where the rig does not say; `None` leaves that to
    /// the kernel's driver.
    ///
    /// # Errors
    /// An option is wrong, there is no such port, or it is busy, or not allowed.
    pub fn open(
        device: &Device,
        options: &Options,
        uart: Option<bool>,
    ) -> Result<Self, CaptureError> {
        let settings = Settings::of(options)?;
        let no_port = |error: crate::discover::NoPort| failed(device, error.problem, &error.next);
        let address: SerialAddress = device.address.parse().map_err(no_port)?;
        let node = address.resolve().map_err(no_port)?;
        let baud = device.baud.unwrap_or(921_600);
        let mut builder = serialport::new(node.to_string_lossy(), baud);
        if let Some(level) = settings.dtr_on_open {
            builder = builder.dtr_on_open(level);
        }
        let port = builder
            .open_native()
            .map_err(|error| refused(device, &error))?;
        let system = |errno: Errno| failed(device, errno.desc(), "plug it in anew");
        // SAFETY: the port outlives this function.
        let fd = unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) };
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(system)?;
        if settings.dtr_on_open == Some(false) {
            // Nor let it rise and fall with the next closing and opening.
            let mut modes = tcgetattr(fd).map_err(system)?;
            modes.control_flags.remove(ControlFlags::HUPCL);
            tcsetattr(fd, SetArg::TCSANOW, &modes).map_err(system)?;
        }
        let ports = serial_ports();
        let here = ports.iter().find(|port| port.node == node);
        let driver = here.and_then(|port| port.driver.as_deref());
        let mut about = vec![("port".to_owned(), node.display().to_string())];
        if let Some(port) = here {
            about.extend(driver.map(|name| ("kernel_driver".to_owned(), name.to_owned())));
            about.extend(port.address(&ports).map(|name| ("usb".to_owned(), name)));
        }
        let mut greeting = Vec::new();
        if settings.low_latency.unwrap_or(true) {
            let folder = Path::new("/sys/class/tty")
                .join(node.file_name().unwrap_or_default())
                .join("device");
            let lowered = latency::lower(fd.as_raw_fd(), &node, &folder, driver.unwrap_or(""));
            about.push(lowered.about);
            greeting.extend(lowered.warning.map(|text| Item::Note {
                warning: true,
                text: format!("`{}`: {text}", device.stream),
            }));
        }
        if let Some(text) = unstable(device, &address, here.and_then(|port| port.address(&ports))) {
            greeting.push(Item::Note {
                warning: false,
                text,
            });
        }
        greeting.insert(0, Item::About(about));
        // The kernel's driver tells a wire from a board with USB of its own; what
        // has no driver is a pseudo-terminal.
        let wired = settings
            .uart
            .or(uart)
            .unwrap_or(driver.is_some_and(|name| name != "cdc_acm"));
        // What the kernel kept from before the opening has no arrival time.
        let _ = serialport::SerialPort::clear(&port, serialport::ClearBuffer::Input);
        Ok(Self {
            port,
            uart_baud: wired.then_some(baud),
            stream: device.stream.clone(),
            address: device.address.clone(),
            buffer: Box::new([0; 4096]),
            unwritten: Vec::new(),
            greeting,
        })
    }

    /// Hands over what is to be told of the port to the `streams` first streams
    /// of the connection, the first time.
    pub fn greet(&mut self, streams: usize, out: &mut Output) {
        for item in self.greeting.drain(..) {
            if let Item::About(_) = item {
                (1..streams).for_each(|stream| out.push(stream, item.clone()));
            }
            out.push(0, item);
        }
    }

    fn gone(&self, problem: impl Into<String>) -> CaptureError {
        CaptureError::Gone {
            stream: self.stream.clone(),
            address: self.address.clone(),
            problem: problem.into(),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the port has it open as long as it lives.
        unsafe { BorrowedFd::borrow_raw(self.port.as_raw_fd()) }
    }

    /// Waits for bytes, at most about 100 ms; `None` when nothing came.
    ///
    /// # Errors
    /// The port is gone: hung up, end of file, or an error of the device.
    pub fn read(&mut self) -> Result<Option<Chunk<'_>>, CaptureError> {
        self.write_rest()?;
        let mut ready = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(WAIT_MS)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(self.gone(errno.desc())),
        }
        let events = ready[0].revents().unwrap_or(PollFlags::POLLERR);
        // With the hangup the kernel has thrown away what was unread.
        if !events.contains(PollFlags::POLLIN) {
            return Err(self.gone("the line was hung up"));
        }
        // SAFETY: as in `fd`; borrowed apart from the buffer.
        let fd = unsafe { BorrowedFd::borrow_raw(self.port.as_raw_fd()) };
        match read(fd, &mut self.buffer[..]) {
            Ok(0) => Err(self.gone("end of file")),
            Ok(count) => {
                let arrival = HostTime::now();
                Ok(Some(Chunk {
                    bytes: &self.buffer[..count],
                    arrival,
                    uart_baud: self.uart_baud,
                }))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(self.gone(errno.desc())),
        }
    }

    /// Whether everything written so far has left.
    pub fn is_drained(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes without waiting; what does not fit now follows later.
    ///
    /// # Errors
    /// The port is gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CaptureError> {
        self.unwritten.extend_from_slice(bytes);
        self.write_rest()
    }

    fn write_rest(&mut self) -> Result<(), CaptureError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        match write(self.fd(), &self.unwritten) {
            Ok(count) => {
                self.unwritten.drain(..count);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.gone(errno.desc())),
        }
    }
}

fn refused(device: &Device, error: &serialport::Error) -> CaptureError {
    let text = error.to_string();
    let lower = text.to_lowercase();
    match error.kind() {
        serialport::ErrorKind::Io(ErrorKind::PermissionDenied) => failed(
            device,
            text,
            "serial ports belong to group `dialout`: run `dexumi devices --setup` as root, or \
             `sudo usermod -aG dialout $USER`, and log in again",
        ),
        _ if ["busy", "lock", "temporarily"]
            .iter()
            .any(|word| lower.contains(word)) =>
        {
            failed(
                device,
                format!("port is busy ({text})"),
                "another program has it open; close that first",
            )
        }
        _ => failed(device, text, "check the address in rig.toml"),
    }
}

/// A word about a name that changes with the order of plugging in.
fn unstable(device: &Device, address: &SerialAddress, better: Option<String>) -> Option<String> {
    let SerialAddress::Path(path) = address else {
        return None;
    };
    let name = path.strip_prefix("/dev").ok()?.to_str()?;
    let numbered = ["ttyACM", "ttyUSB"]
        .iter()
        .any(|kind| name.starts_with(kind));
    numbered.then(|| {
        let better = better.map_or_else(
            || "a name under /dev/serial/by-path/ stays the same".to_owned(),
            |name| format!("`{name}` stays the same"),
        );
        format!(
            "`{}`: {} is another port when things are plugged in in another order; {better}",
            device.stream, device.address
        )
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::OwnedFd};

    use nix::{
        pty::openpty,
        sys::termios::cfmakeraw,
        unistd::{dup, ttyname},
    };

    use super::*;

    /// A port, the device's end of it, and the entry that leads there.
    fn port() -> (Port, std::fs::File, Device) {
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let mut modes = tcgetattr(&pair.slave).expect("modes");
        cfmakeraw(&mut modes);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &modes).expect("raw");
        let node = ttyname(&pair.slave).expect("name");
        let device = Device::new("/exo/right/encoders", "x", &node.to_string_lossy());
        let options = options(std::slice::from_ref(&device), &[]).expect("options");
        let port = Port::open(&device, &options, None).expect("open");
        (port, std::fs::File::from(pair.master), device)
    }

    fn read_all(port: &mut Port) -> (Vec<u8>, String) {
        let mut bytes = Vec::new();
        loop {
            match port.read() {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.bytes),
                Ok(None) => {}
                Err(gone) => return (bytes, gone.to_string()),
            }
        }
    }

    #[test]
    fn a_pulled_cable_is_the_end_however_often_one_asks() {
        let (mut port, mut device, _) = port();
        device.write_all(b"last words").expect("write");
        let (bytes, problem) = {
            let mut bytes = Vec::new();
            while bytes.len() < 10 {
                let chunk = port.read().expect("there");
                bytes.extend_from_slice(chunk.map_or(&[][..], |chunk| chunk.bytes));
            }
            drop(device);
            let (more, problem) = read_all(&mut port);
            assert!(more.is_empty());
            (bytes, problem)
        };
        assert_eq!(bytes, b"last words");
        assert!(problem.contains("gone"), "{problem}");
        assert!(port.read().is_err() && port.write(b"x").is_err());
    }

    #[test]
    fn nothing_is_no_end() {
        let (mut port, _device, _) = port();
        assert!(port.read().expect("there").is_none());
    }

    #[test]
    fn a_device_that_does_not_listen_never_holds_up_the_reading() {
        let (mut port, mut device, _) = port();
        while port.is_drained() {
            port.write(&[7; 1000]).expect("there");
        }
        device.write_all(b"sample").expect("write");
        assert_eq!(port.read().expect("there").expect("bytes").bytes, b"sample");
        // What did not fit follows when there is room again.
        let mut taken = [0; 65_536];
        let listened = std::io::Read::read(&mut device, &mut taken).expect("read");
        assert!(listened > 0 && taken[..listened].iter().all(|&byte| byte == 7));
        port.write(&[]).expect("there");
    }

    #[test]
    fn a_busy_port_is_told_from_one_that_is_not_there() {
        let (_port, _device, entry) = port();
        let options = options(std::slice::from_ref(&entry), &[]).expect("options");
        let refused = |entry: &Device| match Port::open(entry, &options, None) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        };
        // Root may open what another has for itself; the lock holds for root too.
        assert!(refused(&entry).contains("busy"), "{}", refused(&entry));
        let nowhere = Device::new("/exo/right/encoders", "x", "usb:0000:0000:none");
        assert!(
            refused(&nowhere).contains("plugged in"),
            "{}",
            refused(&nowhere)
        );
    }

    #[test]
    fn who_may_not_open_a_port_is_told_the_group() {
        let device = Device::new("/exo/right/encoders", "x", "/dev/ttyACM0");
        let kind = serialport::ErrorKind::Io(ErrorKind::PermissionDenied);
        let error = serialport::Error::new(kind, "Permission denied");
        let text = refused(&device, &error).to_string();
        assert!(
            text.contains("dialout") && text.contains("log in"),
            "{text}"
        );
    }

    #[test]
    fn a_numbered_port_is_told_the_name_that_stays() {
        let note = |address: &str, better: Option<&str>| {
            let device = Device::new("/exo/right/encoders", "x", address);
            let address = address.parse().expect("address");
            unstable(&device, &address, better.map(str::to_owned))
        };
        let text = note("/dev/ttyACM0", Some("usb:2e8a:000a")).expect("a note");
        assert!(text.contains("usb:2e8a:000a"), "{text}");
        assert!(
            note("/dev/ttyUSB1", None)
                .expect("a note")
                .contains("by-path")
        );
        assert_eq!(note("/dev/serial/by-id/usb-x", None), None);
        assert_eq!(note("usb:2e8a:000a", None), None);
    }

    #[test]
    fn entries_that_share_a_port_agree_on_its_settings() {
        let entry = |baud: Option<u32>, uart: Option<bool>| {
            let mut device = Device::new("/exo/right/encoders", "x", "/dev/ttyX");
            device.baud = baud;
            device
                .options
                .extend(uart.map(|uart| ("uart".to_owned(), uart.into())));
            device
        };
        let refused = |devices: &[Device]| match options(devices, &[]) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        assert!(refused(&[entry(Some(1), None), entry(Some(2), None)]).contains("baud"));
        assert!(refused(&[entry(None, Some(true)), entry(None, Some(false))]).contains("uart"));
        let once = options(&[entry(None, None), entry(None, Some(true))], &[]).expect("once");
        assert_eq!(Settings::of(&once).expect("settings").uart, Some(true));
    }

    /// Both ends of a port stay open as long as somebody has a copy.
    #[test]
    fn a_dropped_port_is_free_for_the_next_opening() {
        let (port, device, entry) = port();
        let _other_end: OwnedFd = dup(&device).expect("a copy");
        drop(port);
        let options = options(std::slice::from_ref(&entry), &[]).expect("options");
        assert!(Port::open(&entry, &options, None).is_ok());
    }
}
