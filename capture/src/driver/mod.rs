//! Device drivers, one file each: framing, conversion, and the encoder that its
//! emulator uses. A driver reads, stamps and hands on; nothing else stands
//! between the read and the stamp.

pub mod arkit;
pub mod axes;
mod background;
pub mod board;
pub mod bridge;
mod child;
mod depth;
mod encoder;
pub mod encoder_scan;
pub mod ffmpeg;
pub mod gate;
pub mod inspire_encoders;
pub mod inspire_fsr;
mod intrinsics;
pub mod lines;
pub mod mjpeg_http;
pub mod natnet;
pub mod nokhwa;
mod options;
mod order;
pub mod packets;
pub mod pixels;
pub mod polhemus;
pub mod record3d;
pub mod rokoko;
mod serial;
pub mod survive;
pub mod udp;
#[cfg(target_os = "linux")]
pub mod v4l2;
pub mod xhand_encoders;
pub mod xhand_force;

#[cfg(test)]
pub(crate) use depth::unpack as unpack_depth;

pub use serial::Chunk;

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
    /// Whether one connection can feed several streams: rig entries of such a
    /// driver with the same address share it.
    pub shares: bool,
    /// Whether it reports missing samples itself, by the device's own sequence.
    pub counts_missing: bool,
    /// Whether samples carry their packets, because decoding drops some of it.
    pub keeps_packets: bool,
    /// Opens one connection for all streams that the rig takes from it, at least
    /// one; runs on the connection's own thread.
    pub open: fn(&[Device]) -> Result<Box<dyn Source>, CaptureError>,
}

/// All drivers.
pub const DRIVERS: &[Driver] = &[
    xhand_encoders::DRIVER,
    xhand_force::DRIVER,
    inspire_encoders::DRIVER,
    inspire_fsr::DRIVER,
    board::DRIVER,
    natnet::DRIVER,
    mjpeg_http::DRIVER,
    #[cfg(target_os = "linux")]
    v4l2::DRIVER,
    nokhwa::DRIVER,
    survive::DRIVER,
    bridge::DRIVER,
    record3d::DRIVER,
    polhemus::FASTRAK,
    polhemus::PATRIOT,
    udp::JSON,
    udp::OSC,
    udp::HTS,
    arkit::DRIVER,
    rokoko::DRIVER,
    ffmpeg::DRIVER,
];

/// An open connection.
pub trait Source {
    /// Waits for data, at most about 100 ms, and appends what came.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError>;
}

/// What one read gave, by stream of the connection: the index is that of the
/// device in the list that the connection was opened with.
#[derive(Debug, Default)]
pub struct Output {
    /// In order of arrival.
    pub items: Vec<(usize, Item)>,
}

impl Output {
    /// Appends an item of a stream.
    pub fn push(&mut self, stream: usize, item: Item) {
        self.items.push((stream, item));
    }

    /// Appends a sample of a stream.
    pub fn sample(&mut self, stream: usize, sample: Sample) {
        self.push(stream, Item::Sample(sample));
    }

    /// Counts packets that cannot be used.
    pub fn lost(&mut self, stream: usize, kind: &'static str, count: u64, at: HostTime) {
        if count > 0 {
            self.push(stream, Item::Lost { kind, count, at });
        }
    }

    /// Counts samples that never arrived, by the device's own sequence.
    pub fn missing(&mut self, stream: usize, count: u64, at: HostTime) {
        if count > 0 {
            self.push(stream, Item::Missing { count, at });
        }
    }
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
    /// A question that the device answered with its own time: it read its clock
    /// somewhere between the two host times.
    Echo {
        /// Just before the question was sent.
        sent: HostTime,
        /// The device's clock at the answer.
        device: DeviceTime,
        /// When the answer was read.
        received: HostTime,
    },
    /// What the device says of itself, or was set to: serial number, firmware,
    /// camera controls as read back. Kept in the file beside the rig.
    About(Vec<(String, String)>),
    /// Something that people should know; goes into the log of the episode.
    Note {
        /// Whether it is a warning.
        warning: bool,
        /// A sentence.
        text: String,
    },
}

/// One sample, stamped.
#[derive(Debug, Clone)]
pub struct Sample {
    /// CLOCK_MONOTONIC at the read that completed it.
    pub arrival: HostTime,
    /// On the host's clock all the same, but before the arrival: where the kernel
    /// stamps a sample itself. It needs no fit and goes before `device`.
    pub captured: Option<HostTime>,
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
        /// Supply reference, or the counts of a full turn.
        reference: i32,
        /// Unused channel.
        spare: i32,
    },
    /// Fingertip force, counts.
    Force {
        /// x, y, z in the sensor's own axes; a sensor with one axis has z.
        counts: [i32; 3],
        /// Single cells of a tactile sensor, in its own order, where it has them.
        taxels: Vec<u16>,
    },
    /// Pose of a rigid body.
    Pose {
        /// x, y, z [m] in the tracker's world.
        position_m: [f64; 3],
        /// Quaternion x, y, z, w.
        rotation_xyzw: [f64; 4],
        /// The tracker says that it is measured.
        valid: bool,
        /// Mean marker error [m]; 0 where unknown.
        mean_error_m: f64,
    },
    /// An image, or a depth image.
    Image(Image),
    /// Inertial measurement, in the sensor's own axes.
    Imu {
        /// Acceleration, gravity included [m/s²].
        acceleration_m_s2: [f64; 3],
        /// Angular velocity [rad/s].
        angular_velocity_rad_s: [f64; 3],
    },
    /// Keypoints of a hand, from a glove.
    Keypoints {
        /// 21 points in the usual order (wrist, thumb to little finger, base to
        /// tip), x, y, z [m]; NaN where the source has none.
        points_m: Vec<[f64; 3]>,
        /// The source's own joints, where it gives poses.
        joints: Vec<NamedPose>,
        /// The source says that the hand is tracked.
        valid: bool,
    },
    /// Labelled markers of a motion-capture system.
    Markers {
        /// x, y, z [m] in the tracker's world, in the order of the set; NaN where
        /// a marker is hidden.
        points_m: Vec<[f64; 3]>,
    },
}

/// A pose with the name that its source gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedPose {
    /// The source's own name.
    pub name: String,
    /// x, y, z [m].
    pub position_m: [f64; 3],
    /// Quaternion x, y, z, w.
    pub rotation_xyzw: [f64; 4],
}

/// An image as it goes into the file.
#[derive(Debug, Clone)]
pub struct Image {
    /// The encoded image, or its pixels.
    pub data: Bytes,
    /// What `data` is.
    pub format: ImageFormat,
    /// Length of the exposure, where the device says it [ns].
    pub exposure_ns: Option<i64>,
}

/// How an image is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFormat {
    /// A whole JPEG, from start to end marker.
    Jpeg,
    /// PNG of 16-bit depth [mm]; 0 where nothing was measured.
    DepthPng,
    /// Pixels as the camera gave them.
    Raw {
        /// By Foxglove's names: `yuyv`, `mono8`, `nv12` …
        encoding: &'static str,
        /// Width [pixel].
        width: u32,
        /// Height [pixel].
        height: u32,
        /// Length of a row [byte].
        step: u32,
    },
}

impl Image {
    /// A JPEG without further knowledge.
    pub fn jpeg(data: Bytes) -> Self {
        Self {
            data,
            format: ImageFormat::Jpeg,
            exposure_ns: None,
        }
    }
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
