//! Polhemus FASTRAK and Patriot on a serial port: up to four, or two, sensors of
//! one tracker, which this driver sets up.

mod fastrak;
mod patriot;
pub mod record;
mod source;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use dexumi_episode::{ClockModel, Device, StreamKind};

use self::{
    record::{Format, Model},
    source::PolhemusSource,
};
use super::{
    Driver, Source, min_delay_ns,
    options::failed,
    serial::{self, Port},
};
use crate::error::CaptureError;

/// As the trackers are delivered.
const BAUD: u32 = 115_200;
/// A tracker that is told to be quiet is so within this time.
const QUIET: Duration = Duration::from_secs(2);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Attempts to make a tracker listen.
const ATTEMPTS: u32 = 3;

/// FASTRAK: no clock of its own.
pub const FASTRAK: Driver = Driver {
    name: "polhemus_fastrak",
    help: "Polhemus FASTRAK on a serial port: up to four sensors, 120 Hz shared among them",
    feeds: "/tracker/<name>/pose",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Tracker { .. })),
    clock: |_| None,
    metadata: |_| {
        let frame = "the transmitter: x forward, y right, z down as it stands on its base";
        vec![("frame", frame.to_owned())]
    },
    shares: true,
    counts_missing: false,
    keeps_packets: false,
    open: |devices| open(devices, Model::Fastrak),
};

/// Patriot: milliseconds and a number with every measurement.
pub const PATRIOT: Driver = Driver {
    name: "polhemus_patriot",
    help: "Polhemus Patriot (or Liberty) on a serial port: two sensors at 60 Hz",
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    counts_missing: true,
    open: |devices| open(devices, Model::Patriot),
    ..FASTRAK
};

/// What the rig says of a tracker.
struct Setup {
    format: Format,
    /// Direction of the half space that the sensors are in.
    hemisphere: Option<[f64; 3]>,
    /// Station of each stream.
    stations: Vec<u8>,
}

fn open(devices: &[Device], model: Model) -> Result<Box<dyn Source>, CaptureError> {
    let options = serial::options(devices, &["format", "hemisphere"])?;
    let format = |name: &str| match name {
        "binary" => Some(Format::Binary),
        "ascii" => Some(Format::Ascii),
        _ => None,
    };
    let setup = Setup {
        format: options
            .text("format", "binary or ascii", format)?
            .unwrap_or(Format::Binary),
        hemisphere: options.numbers("hemisphere")?,
        stations: stations(devices, model)?,
    };
    let device = Device {
        baud: devices[0].baud.or(Some(BAUD)),
        ..devices[0].clone()
    };
    let mut port = Port::open(&device, &options, None)?;
    let about = match model {
        Model::Fastrak => fastrak::set_up(&device, &mut port, &setup)?,
        Model::Patriot => patriot::set_up(&device, &mut port, &setup)?,
    };
    Ok(Box::new(PolhemusSource::new(port, model, setup, about)))
}

/// Station of each stream: its source, or 1 for the only one.
fn stations(devices: &[Device], model: Model) -> Result<Vec<u8>, CaptureError> {
    let range = model.stations();
    let mut stations = Vec::new();
    for device in devices {
        let station = match &device.source {
            None if devices.len() == 1 => 1,
            source => source
                .as_deref()
                .and_then(|text| text.parse().ok())
                .filter(|station| range.contains(station) && !stations.contains(station))
                .ok_or_else(|| {
                    let source = source.as_deref().unwrap_or("none");
                    let next = format!(
                        "write the number of the sensor's socket, {} to {}, each once",
                        range.start(),
                        range.end()
                    );
                    failed(device, format!("source is {source}"), &next)
                })?,
        };
        stations.push(station);
    }
    Ok(stations)
}

/// Reads and forgets until nothing comes.
fn drain(port: &mut Port) -> Result<(), CaptureError> {
    let end = Instant::now() + QUIET;
    while Instant::now() < end && port.read()?.is_some() {}
    Ok(())
}

/// Asks, and reads until `answer` finds one in what came since.
fn ask<T>(
    port: &mut Port,
    question: &[u8],
    answer: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, CaptureError> {
    port.write(question)?;
    let end = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    while Instant::now() < end {
        if let Some(chunk) = port.read()? {
            heard.extend_from_slice(chunk.bytes);
            if let Some(answer) = answer(&heard) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}
