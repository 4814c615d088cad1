//! Boards that speak the dexumi board protocol: any number of encoders, forces
//! and inertial units over one serial port, with a microsecond clock that answers
//! questions. Specification: `docs/board-protocol.md`; for firmware:
//! `firmware/dexumi_board.h`.

pub mod describe;
mod link;
pub mod protocol;
#[cfg(test)]
mod tests;

use dexumi_episode::{ClockModel, Delta, Device, HostTime, StreamKind};

pub use self::link::Link;

use super::{
    Driver, Output, Source, min_delay_ns,
    options::failed,
    serial::{self, Port},
};
use crate::error::CaptureError;

/// A board that is reset by the opening of its port waits in its boot loader for
/// two seconds.
const PATIENCE: Delta = Delta::from_millis(4_000);

/// Option: when each joint is sampled, relative to the stamp [s].
const SCAN_OFFSETS: &str = "scan_offsets_s";

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_board",
    help: "any board with the dexumi board protocol: encoders, forces, inertial units on one \
           serial port",
    feeds: "/exo/<left|right>/encoders, /exo/<left|right>/force/<finger> or /imu/<name>",
    can_feed: |topic| {
        matches!(
            StreamKind::of(topic),
            Some(StreamKind::Encoders { .. } | StreamKind::Force { .. } | StreamKind::Imu { .. })
        )
    },
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |device| {
        let offsets = scan_offsets_s(device);
        if offsets.is_empty() {
            return Vec::new();
        }
        let offsets: Vec<_> = offsets.iter().map(|s| format!("{s:.6}")).collect();
        vec![("scan_offsets_s", offsets.join(","))]
    },
    shares: true,
    counts_missing: true,
    keeps_packets: true,
    open,
};

fn scan_offsets_s(device: &Device) -> Vec<f64> {
    let list = device.options.get(SCAN_OFFSETS);
    let numbers = list.and_then(|list| list.as_array()).into_iter().flatten();
    numbers
        .filter_map(|value| value.as_float().filter(|s| s.abs() < 1.0))
        .collect()
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let mut common = devices.to_vec();
    for device in &mut common {
        // Each stream has its own.
        device.options.remove(SCAN_OFFSETS);
    }
    let options = serial::options(&common, &[SCAN_OFFSETS])?;
    for device in devices {
        let Some(list) = device.options.get(SCAN_OFFSETS) else {
            continue;
        };
        if list.as_array().map(Vec::len) != Some(scan_offsets_s(device).len()) {
            return Err(failed(
                device,
                format!("option `scan_offsets_s` is {list}"),
                "expected a list of seconds, one for each joint, such as [-0.001, 0.0]",
            ));
        }
    }
    let mut port = Port::open(&devices[0], &options, None)?;
    let began = HostTime::now();
    let mut link = Link::new(began);
    let mut first = Output::default();
    while !link.is_described() && link.ended.is_none() {
        if HostTime::now() - began > PATIENCE {
            return Err(undescribed(&devices[0], &link));
        }
        if let Some(request) = link.outgoing(HostTime::now(), &mut first) {
            port.write(&request)?;
        }
        if let Some(chunk) = port.read()? {
            link.push(&chunk, &mut first);
        }
    }
    if let Some(problem) = link.ended {
        let next = "flash the board with the firmware that belongs to this rig";
        return Err(failed(&devices[0], problem, next));
    }
    link.attach(devices, &mut first)?;
    Ok(Box::new(Connection {
        port,
        link,
        first,
        devices: devices.to_vec(),
    }))
}

fn undescribed(device: &Device, link: &Link) -> CaptureError {
    match link.bytes {
        0 => CaptureError::Silent {
            stream: device.stream.clone(),
            address: device.address.clone(),
            waited_s: PATIENCE.secs_f64(),
            next: "does its firmware run, and does it speak the dexumi board protocol?".to_owned(),
        },
        bytes => failed(
            device,
            format!("{bytes} bytes came, but no description by the dexumi board protocol"),
            "check driver and baud rate in rig.toml",
        ),
    }
}

struct Connection {
    port: Port,
    link: Link,
    /// What came during the opening.
    first: Output,
    devices: Vec<Device>,
}

impl Source for Connection {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.port.greet(self.devices.len(), out);
        out.items.append(&mut self.first.items);
        // A board that does not take what it is sent is not asked again.
        if self.port.is_drained()
            && let Some(request) = self.link.outgoing(HostTime::now(), out)
        {
            self.port.write(&request)?;
        }
        if let Some(chunk) = self.port.read()? {
            self.link.push(&chunk, out);
        }
        match self.link.ended.take() {
            None => Ok(()),
            Some(problem) => Err(CaptureError::Gone {
                stream: self.devices[0].stream.clone(),
                address: self.devices[0].address.clone(),
                problem,
            }),
        }
    }
}
