//! Topics of an episode and the messages on them. Standard payloads are
//! Foxglove's protobuf schemas, ours are protobuf too (`proto/dexumi.proto`).

use std::borrow::Cow;

use foxglove::messages as fox;
use prost::Message;

use crate::time::{DeviceTime, HostTime, SessionTime};

#[allow(
    missing_docs,
    reason = "generated; the documentation is in proto/dexumi.proto"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/dexumi.rs"));
}
pub use foxglove::messages::{
    CameraCalibration, CompressedImage, FrameTransform, FrameTransforms, JointState, JointStates,
    Log, Pose, PoseInFrame, PosesInFrame, Quaternion, RawImage, Timestamp, Vector3,
};
pub use generated::*;

/// Descriptor set of our messages, with all that they import.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dexumi.fds"));

/// Bits of [`Stamp::suspect`]: what the neighbours of a packet say against it.
pub mod suspect {
    /// A joint channel jumped and jumped back.
    pub const CHANNEL: u32 = 1;
    /// The supply reference jumped and jumped back.
    pub const REFERENCE: u32 = 2;
    /// The device's counter jumped and jumped back.
    pub const TICKS: u32 = 4;
    /// A force axis jumped and jumped back.
    pub const FORCE: u32 = 8;
    /// A pose jumped and jumped back.
    pub const POSE: u32 = 16;
}

/// A message that an episode can hold.
pub trait Record: Message + Default {
    /// Name of its schema.
    const SCHEMA: &'static str;
    /// Serialised `FileDescriptorSet` of its schema.
    fn descriptors() -> Cow<'static, [u8]>;
    /// Where and when, for messages of ours.
    fn stamp(&self) -> Option<&Stamp> {
        None
    }
}

macro_rules! ours {
    ($($name:ident: $stamp:expr;)*) => {$(
        impl Record for $name {
            const SCHEMA: &'static str = concat!("dexumi.", stringify!($name));
            fn descriptors() -> Cow<'static, [u8]> {
                Cow::Borrowed(DESCRIPTORS)
            }
            fn stamp(&self) -> Option<&Stamp> {
                let get: fn(&Self) -> Option<&Stamp> = $stamp;
                get(self)
            }
        }
    )*};
}

ours! {
    Encoders: |m| m.stamp.as_ref();
    Force: |m| m.stamp.as_ref();
    Timing: |m| m.stamp.as_ref();
    Tracking: |m| m.stamp.as_ref();
    Joints: |m| m.stamp.as_ref();
    Retargeted: |m| m.stamp.as_ref();
    EffectorPose: |m| m.stamp.as_ref();
    ArmJoints: |m| m.stamp.as_ref();
    RawPacket: |m| m.stamp.as_ref();
    Event: |_| None;
    Health: |_| None;
    Imu: |m| m.stamp.as_ref();
    Keypoints: |m| m.stamp.as_ref();
    Markers: |m| m.stamp.as_ref();
}

macro_rules! foxglove {
    ($($name:ident)*) => {$(
        impl Record for fox::$name {
            const SCHEMA: &'static str = concat!("foxglove.", stringify!($name));
            fn descriptors() -> Cow<'static, [u8]> {
                <fox::$name as foxglove::Encode>::get_schema().map_or(Cow::Borrowed(&[]), |s| s.data)
            }
        }
    )*};
}

foxglove! {
    CameraCalibration CompressedImage FrameTransforms JointStates Log PoseInFrame PosesInFrame RawImage
}

/// Topic of the timing beside a topic of a foreign schema.
pub fn timing_topic(stream: &str) -> String {
    format!("{stream}/timing")
}

/// Foxglove's timestamp of a session time.
pub fn timestamp(time: SessionTime) -> Timestamp {
    let nanos = time.nanos().max(0);
    Timestamp::new(
        (nanos / 1_000_000_000) as u32,
        (nanos % 1_000_000_000) as u32,
    )
}

impl Stamp {
    /// Receive time.
    pub fn host_time(&self) -> HostTime {
        HostTime::from_nanos(self.host_time_ns)
    }

    /// Time on the device's own clock, where it has one.
    pub fn device_time(&self) -> Option<DeviceTime> {
        self.device_time_ns.map(DeviceTime::from_nanos)
    }

    /// Time of sending on the device's own clock: what its clock is fitted on.
    pub fn sent_time(&self) -> Option<DeviceTime> {
        self.sent_time_ns
            .map(DeviceTime::from_nanos)
            .or_else(|| self.device_time())
    }

    /// The kernel's own stamp on the host's clock, where it gives one.
    pub fn captured_time(&self) -> Option<HostTime> {
        self.captured_time_ns.map(HostTime::from_nanos)
    }

    /// Capture time as estimated while recording.
    pub fn timestamp(&self) -> SessionTime {
        SessionTime::from_nanos(self.timestamp_ns)
    }
}
