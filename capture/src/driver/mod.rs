//! Device drivers, one file each: framing, conversion, and the encoder that its
//! emulator uses. A driver reads, stamps and hands on; nothing else stands
//! between the read and the stamp.

pub mod gate;
pub mod mjpeg_http;
pub mod natnet;
mod serial;
pub mod xhand_encoders;
pub mod xhand_force;

use bytes::Bytes;
use dexumi_episode::{ClockModel, Device, DeviceTime, HostTime};

use crate::error::CaptureError;

/// One kind of device.
pub struct Driver {
    /// Name in `rig.toml`.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Streams that it can feed, for the message when it cannot.
    pub feeds: &'static str,
    /// Whether it can feed this topic.
    pub can_feed: fn(&str) -> bool,
    /// What is known of its clock; `None` for a device without one.
    pub clock: fn(&Device) -> Option<ClockModel>,
    /// Metadata for the stream's channel in the file.
    pub metadata: fn(&Device) -> Vec<(&'static str, String)>,
    /// Opens the device; runs on the device's own thread.
    pub open: fn(&Device) -> Result<Box<dyn Source>, CaptureError>,
}

/// All drivers.
pub const DRIVERS: &[Driver] = &[
    xhand_encoders::DRIVER,
    xhand_force::DRIVER,
    natnet::DRIVER,
    mjpeg_http::DRIVER,
];

/// An open device.
pub trait Source {
    /// Waits for data, at most about 100 ms, and appends what came.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, out: &mut Vec<Item>) -> Result<(), CaptureError>;
}

/// What a device gave.
#[derive(Debug, Clone)]
pub enum Item {
    /// A sample.
    Sample(Sample),
    /// Packets that cannot be used.
    Lost {
        /// `corrupt`, `truncated`, `unreadable` …
        kind: &'static str,
        /// How many.
        count: u64,
        /// When that was known.
        at: HostTime,
    },
    /// Samples that the device took but that never arrived, by its own sequence.
    Missing {
        /// How many.
        count: u64,
        /// When that was known.
        at: HostTime,
    },
    /// Bytes skipped while searching a header.
    Discarded {
        /// How many.
        bytes: u64,
    },
}

/// One sample, stamped.
#[derive(Debug, Clone)]
pub struct Sample {
    /// CLOCK_MONOTONIC at the read that completed it.
    pub arrival: HostTime,
    /// On the device's clock, unwrapped.
    pub device: Option<DeviceTime>,
    /// Stamp that dates the *sending*, where it differs from `device`: the clock
    /// is fitted on this one.
    pub sent: Option<DeviceTime>,
    /// The device's counter as it came.
    pub ticks: Option<u64>,
    /// The device's sequence, or a count made here.
    pub sequence: u64,
    /// `dexumi_episode::schema::suspect` bits.
    pub suspect: u32,
    /// What was measured.
    pub data: Data,
    /// The packet as it came, where decoding drops fields.
    pub raw: Option<Bytes>,
}

/// What a sample measured, raw.
#[derive(Debug, Clone)]
pub enum Data {
    /// Joint encoders, ADC counts.
    Encoders {
        /// One per joint channel.
        counts: Vec<i32>,
        /// Supply reference.
        reference: i32,
        /// Unused channel.
        spare: i32,
    },
    /// Fingertip force, counts.
    Force([i32; 3]),
    /// Pose of a rigid body.
    Pose {
        /// x, y, z [m] in the tracker's world.
        position_m: [f64; 3],
        /// Quaternion x, y, z, w.
        rotation_xyzw: [f64; 4],
        /// The tracker says that it is measured.
        valid: bool,
        /// Mean marker error [m].
        mean_error_m: f64,
    },
    /// A whole JPEG.
    Image(Bytes),
}

/// Finds the driver of a device.
///
/// # Errors
/// It does not exist, or cannot feed the stream.
pub fn driver_of(device: &Device) -> Result<&'static Driver, CaptureError> {
    let driver = DRIVERS
        .iter()
        .find(|driver| driver.name == device.driver)
        .ok_or_else(|| CaptureError::UnknownDriver {
            driver: device.driver.clone(),
            stream: device.stream.clone(),
            known: DRIVERS
                .iter()
                .map(|driver| driver.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    if !(driver.can_feed)(&device.stream) {
        return Err(CaptureError::WrongStream {
            driver: driver.name,
            stream: device.stream.clone(),
            expected: driver.feeds,
        });
    }
    Ok(driver)
}

/// Declared delay of a device [ns].
fn min_delay_ns(device: &Device) -> i64 {
    (device.min_delay_s * 1e9).round() as i64
}
