//! What a dexumi episode is and how it lies on disk.
//!
//! # Conventions
//! - **Time**: i64 nanoseconds in distinct types, see [`time`]. Capture time is
//!   the moment at which the sensor measured, on the session clock.
//! - **Units**: SI, radians. Raw values keep their raw type and unit (counts).
//! - **Transforms**: `a_from_b` maps points in b to a. Right-handed. Quaternions
//!   are x, y, z, w.
//! - **Hand axes**: x out of the palm, y towards the thumb on the right hand and
//!   away from it on the left, z from wrist to fingers.
//! - **Camera axes**: x right, y down, z forward.
//! - **Counts**: every stage reports received = passed + itemised losses.

pub mod align;
mod calibration;
mod capture_time;
mod clock;
mod error;
mod layout;
mod ledger;
mod periodic;
mod read;
mod recover;
mod rig;
pub mod schema;
mod session;
pub mod time;
mod track;
mod write;

pub use calibration::{
    Calibration, JointCalibration, JointMap, Latency, MappedAngle, sensor_angle_rad,
};
pub use clock::{
    ClockEstimator, ClockFit, ClockModel, ClockSegment, ClockState, Echo, fit_recording,
};
pub use error::{EpisodeError, parse_toml, read_toml, write_atomically};
pub use ledger::{Ledger, StreamLedger};
pub use read::{Episode, EpisodeFile, ImageIndex, MessageTimes};
pub use recover::{Recovered, Recovery, recover};
pub use rig::{CameraMode, Device, FINGERS, Mount, Rig, StreamKind, TOPICS, isometry};
pub use session::{Notes, Outcome, Session, episodes_in, find_calibration, unfinished_in};
pub use time::{Delta, DeviceTime, HostTime, SessionAnchor, SessionTime, TickUnwrapper};
pub use write::{ChannelId, EpisodeInfo, EpisodeWriter, FORMAT_VERSION, StreamClock, partial_path};
