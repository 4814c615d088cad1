//! A whole rig without hardware: emulated devices that speak the real ones'
//! bytes on pseudo-terminals, UDP and HTTP, each on its own drifting clock.
//!
//! What they measure is computed for the *scheduled* moment of measurement,
//! never for the moment at which a thread happened to wake up; sending happens
//! at its scheduled moment or later. The truth file says what was measured when.

mod arkit;
mod assembly;
mod board;
mod bridge;
mod camera;
mod channels;
mod device;
mod exo;
mod exo_map;
mod faults;
mod ffmpeg;
pub mod mark;
mod natnet;
mod polhemus;
mod pty;
mod record3d;
mod rig;
mod rokoko;
mod running;
mod sink;
mod survive;
pub mod truth;
mod udp;

use std::path::PathBuf;

use dexumi_episode::Mount;
use nalgebra::Isometry3;
use thiserror::Error;

pub use assembly::{PRESETS, Part, Preset};
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

    /// Pose of a tracked body by its tracker's name, such as `wrist` or `head`.
    fn world_from_tracker(&self, name: &str, t_s: f64) -> Isometry3<f64> {
        let world_from_wrist = self.world_from_wrist(t_s);
        match name {
            "wrist" => world_from_wrist,
            // Elsewhere, moving along: never the same numbers twice.
            _ => {
                let away = name.bytes().map(f64::from).sum::<f64>() % 7.0 * 0.1 + 0.1;
                Isometry3::translation(0.0, away, 0.4) * world_from_wrist
            }
        }
    }

    /// Keypoints of a hand in the usual order of 21, in the wrist's axes [m].
    fn hand_keypoints_m(&self, side: &str, t_s: f64) -> [[f64; 3]; 21] {
        keypoints(side, &self.joint_angles_rad(t_s))
    }

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

/// A hand of usual size whose fingers bend with joint angles 4 to 11 of an XHand,
/// two a finger, and whose thumb bends with 1 and 2.
fn keypoints(side: &str, angles_rad: &[f64]) -> [[f64; 3]; 21] {
    let mirror = if side == "left" { -1.0 } else { 1.0 };
    let angle = |joint: usize| angles_rad.get(joint).copied().unwrap_or(0.0);
    let mut points = [[0.0; 3]; 21];
    for finger in 0..5 {
        let (y, z, bends) = match finger {
            0 => (0.03, 0.03, [0.0, angle(1), angle(2)]),
            _ => {
                let (proximal, distal) = (angle(2 + 2 * finger), angle(3 + 2 * finger));
                (
                    0.05 - 0.02 * finger as f64,
                    0.09,
                    [proximal, distal, 0.7 * distal],
                )
            }
        };
        let splay: f64 = if finger == 0 { 0.7 } else { 0.0 };
        let (mut x, mut y, mut z, mut bend) = (0.0, y, z, 0.0);
        for (joint, length) in [0.0, 0.04, 0.025, 0.02].into_iter().enumerate() {
            if joint > 0 {
                bend += bends[joint - 1];
            }
            x += length * bend.sin();
            y += length * bend.cos() * splay.sin();
            z += length * bend.cos() * splay.cos();
            points[1 + 4 * finger + joint] = [x, mirror * y, z];
        }
    }
    points
}

/// How the rig is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct RigOptions {
    /// The devices.
    pub parts: Vec<Part>,
    /// Robot hand that the rig moves like.
    pub hand: String,
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
    /// First of the UDP and TCP ports, in the order of the parts. Free ones else.
    pub base_port: Option<u16>,
}

impl Default for RigOptions {
    fn default() -> Self {
        Self {
            parts: (PRESETS[0].parts)(),
            hand: PRESETS[0].hand.to_owned(),
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
    /// A part that nobody can play.
    #[error("nobody emulates driver `{driver}`, expected one of: {known}")]
    Driver {
        /// As given.
        driver: String,
        /// All that can be emulated.
        known: String,
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
