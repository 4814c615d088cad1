//! A whole rig without hardware: emulated devices that speak the real ones'
//! bytes on pseudo-terminals, UDP and HTTP, each on its own drifting clock.
//!
//! What they measure is computed for the *scheduled* moment of measurement,
//! never for the moment at which a thread happened to wake up; sending happens
//! at its scheduled moment or later. The truth file says what was measured when.

mod camera;
mod device;
mod exo;
mod exo_map;
mod faults;
pub mod mark;
mod natnet;
mod pty;
mod rig;
mod running;
mod sink;
pub mod truth;

use std::path::PathBuf;

use dexumi_episode::Mount;
use nalgebra::Isometry3;
use thiserror::Error;

pub use exo_map::{ChannelMap, ExoMap};
pub use faults::{Damage, Faults, FaultsError, Unplug};
pub use mark::Mark;
pub use rig::{hand_from_wrist_camera, nominal_mounts, tracker_from_hand};
pub use running::EmulatedRig;

/// What the emulated devices measure, at any time. Scene time is in seconds
/// since the emulator's start, by CLOCK_MONOTONIC; devices ask for times shortly
/// before and after the present.
pub trait Scene: Send + Sync {
    /// Joint angles of the exoskeleton [rad]: 12, in the order of the XHand.
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64>;

    /// Force at a fingertip (thumb 0, index 1, middle 2) [counts]: x and y from
    /// −128 to 127, z from 0 to 255.
    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3];

    /// Pose of the tracked body on the wrist (coordinate frame `tracker/wrist`)
    /// in the motion-capture system's world [m].
    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64>;

    /// A JPEG of what a camera (`wrist` or `head`) sees at a time, with that
    /// time drawn in where a mark is given.
    ///
    /// # Errors
    /// There is no such image; in words for people.
    fn image(&self, camera: &str, t_s: f64, mark: Option<Mark>) -> Result<Vec<u8>, String>;

    /// What the scene is, for the truth file.
    fn description(&self) -> String {
        String::new()
    }

    /// fx, fy, cx, cy of a camera [pixel], for the rig; `None` where unknown.
    fn intrinsics(&self, _camera: &str) -> Option<[f64; 4]> {
        None
    }

    /// Mounts for the rig.
    fn mounts(&self) -> Vec<Mount> {
        nominal_mounts()
    }
}

/// How the rig is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct RigOptions {
    /// How wrong the devices' clocks are [ppm]; each gets its own share of it,
    /// some fast, some slow.
    pub drift_ppm: f64,
    /// What goes wrong.
    pub faults: Faults,
    /// Whether images carry the mark of their capture time.
    pub mark: bool,
    /// Width of the images that the scene makes [pixel].
    pub width: u32,
    /// Height of the images that the scene makes [pixel].
    pub height: u32,
    /// Rate of the cameras [Hz].
    pub fps: f64,
    /// Of the random numbers: noise, jitter, faults, power-on times.
    pub seed: u64,
    /// Where to write the truth.
    pub truth: Option<PathBuf>,
    /// UDP port of the tracker; the cameras have the next two. Free ones else.
    pub base_port: Option<u16>,
}

impl Default for RigOptions {
    fn default() -> Self {
        Self {
            drift_ppm: 40.0,
            faults: Faults::default(),
            mark: false,
            width: 1280,
            height: 720,
            fps: 30.0,
            seed: 1,
            truth: None,
            base_port: None,
        }
    }
}

/// An emulated rig that cannot start.
#[derive(Debug, Error)]
pub enum EmulateError {
    /// The scene does not fit the rig.
    #[error("the scene gives {what}, expected {expected}")]
    Scene {
        /// What it gives.
        what: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A fault for a device that does not exist.
    #[error("fault `unplug` names `{name}`, expected part of one of the streams: {known}")]
    Unplug {
        /// As given.
        name: String,
        /// All streams.
        known: String,
    },
    /// The system has no such thing for us.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
