//! Calibration procedures, one per file: recorded samples in, a
//! [`Calibration`](dexumi_episode::Calibration) with residuals out. No devices.

mod joints;
mod setpoints;

pub use joints::{JointOptions, JointsError, JointsReport, calibrate_joints};
pub use setpoints::{Pose, SetPoints};
