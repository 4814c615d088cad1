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

use super::{Item, Output};
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
pub struct Settings {
    /// Keep the adapter's own latency, where false.
    low_latency: Option<bool>,
    /// Leave the line `DTR` alone or down.
    dtr_on_open: Option<bool>,
    /// Whether the bytes come over a wire at the stated baud rate.
    uart: Option<bool>,
}

/// What cannot be opened, for the message.
pub fn cannot_open(device: &Device, problem: impl Into<String>, next: &str) -> CaptureError {
    CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem: problem.into(),
        next: next.to_owned(),
    }
}

/// Reads an option that is true or false; one entry of a connection is enough.
///
/// # Errors
/// It is neither, or entries differ.
pub fn switch(devices: &[Device], name: &str) -> Result<Option<bool>, CaptureError> {
    let mut agreed = None;
    for device in devices {
        let Some(value) = device.options.get(name) else {
            continue;
        };
        let read = value.as_bool().ok_or_else(|| {
            let problem = format!("option `{name}` is {value}");
            cannot_open(device, problem, "expected true or false")
        })?;
        if agreed.is_some_and(|before| before != read) {
            return Err(cannot_open(
                device,
                format!("option `{name}` differs from that of another stream"),
                "streams with one address share one port; give it once",
            ));
        }
        agreed = Some(read);
    }
    Ok(agreed)
}

impl Settings {
    /// Reads them from the entries of a connection; `more` are the options of the
    /// driver itself.
    ///
    /// # Errors
    /// An option is unknown, or is neither true nor false, or entries differ.
    pub fn of(devices: &[Device], more: &[&str]) -> Result<Self, CaptureError> {
        let known = [&OPTIONS[..], more].concat();
        for device in devices {
            let unknown = |key: &&String| !known.contains(&key.as_str());
            if let Some(key) = device.options.keys().find(unknown) {
                return Err(cannot_open(
                    device,
                    format!("driver `{}` has no option `{key}`", device.driver),
                    &format!("it knows: {}", known.join(", ")),
                ));
            }
            if device.baud.is_some() && device.baud != devices[0].baud {
                return Err(cannot_open(
                    device,
                    format!("its baud rate differs from that of `{}`", devices[0].stream),
                    "both share one port; give both the same",
                ));
            }
        }
        Ok(Self {
            low_latency: switch(devices, "low_latency")?,
            dtr_on_open: switch(devices, "dtr_on_open")?,
            uart: switch(devices, "uart")?,
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
    /// There is no such port, or it is busy, or not allowed.
    pub fn open(
        device: &Device,
        settings: Settings,
        uart: Option<bool>,
    ) -> Result<Self, CaptureError> {
        let no_port =
            |error: crate::discover::NoPort| cannot_open(device, error.problem, &error.next);
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
        let system = |errno: Errno| cannot_open(device, errno.desc(), "plug it in anew");
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
        // What came before the cable was pulled can still be read.
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
        serialport::ErrorKind::Io(ErrorKind::PermissionDenied) => cannot_open(
            device,
            text,
            "serial ports belong to group `dialout`; join it with `sudo usermod -aG dialout $USER` \
             and log in again",
        ),
        _ if ["busy", "lock", "temporarily"]
            .iter()
            .any(|word| lower.contains(word)) =>
        {
            cannot_open(
                device,
                format!("port is busy ({text})"),
                "another program has it open; close that first",
            )
        }
        _ => cannot_open(device, text, "check the address in rig.toml"),
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
