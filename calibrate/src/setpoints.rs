//! Known poses, held one after another: the truth of a joint calibration.

use std::path::Path;

use dexumi_episode::{EpisodeError, parse_toml, write_atomically};
use serde::{Deserialize, Serialize};

/// A protocol: poses in the order in which they are held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPoints {
    /// Version of this file's layout; 1.
    pub format: u32,
    /// Hand whose joints the poses give.
    pub hand: String,
    /// Names of the joints, in the order of the poses.
    pub joint_names: Vec<String>,
    /// How long each pose is held [s].
    pub dwell_s: f64,
    /// How long a move between two poses takes [s].
    pub move_s: f64,
    /// How long the first pose is held before the first move [s].
    pub lead_s: f64,
    /// The poses.
    pub pose: Vec<Pose>,
}

/// One pose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Joint angles [rad].
    pub joint_rad: Vec<f64>,
}

impl SetPoints {
    /// All joints together through their ranges in `levels` equal steps, up and
    /// down again, so that play of the joints shows.
    pub fn sweep(hand: &str, joints: &[(String, f64, f64)], levels: usize) -> Self {
        let levels = levels.max(2);
        let up = 0..levels;
        let down = (0..levels - 1).rev();
        let pose = up
            .chain(down)
            .map(|level| {
                let share = level as f64 / (levels - 1) as f64;
                let joint_rad = joints
                    .iter()
                    .map(|(_, low, high)| low + (high - low) * share)
                    .collect();
                Pose { joint_rad }
            })
            .collect();
        Self {
            format: 1,
            hand: hand.to_owned(),
            joint_names: joints.iter().map(|(name, ..)| name.clone()).collect(),
            dwell_s: 0.5,
            move_s: 0.4,
            lead_s: 5.0,
            pose,
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self, EpisodeError> {
        let text = std::fs::read_to_string(path).map_err(EpisodeError::io("read", path))?;
        let points: Self = parse_toml("set-points", &text, path)?;
        let problem = points.check();
        problem.map_or(Ok(points), |problem| {
            Err(EpisodeError::Config {
                what: "set-points",
                problem,
                path: path.to_owned(),
            })
        })
    }

    fn check(&self) -> Option<String> {
        let joints = self.joint_names.len();
        if self.format != 1 {
            return Some(format!("format is {}, expected 1", self.format));
        }
        if self.pose.len() < 2 || joints == 0 {
            return Some(format!(
                "{} poses of {joints} joints, expected at least 2 poses of 1 joint",
                self.pose.len()
            ));
        }
        if let Some((index, pose)) = self
            .pose
            .iter()
            .enumerate()
            .find(|(_, pose)| pose.joint_rad.len() != joints)
        {
            return Some(format!(
                "pose {index} has {} angles, expected {joints} as joint_names has",
                pose.joint_rad.len()
            ));
        }
        if self
            .pose
            .iter()
            .flat_map(|pose| &pose.joint_rad)
            .any(|angle| !angle.is_finite())
        {
            return Some("a pose has an angle that is no finite number".to_owned());
        }
        let sane = self.dwell_s >= 0.3 && self.move_s >= 0.1 && self.lead_s >= 0.0;
        if !sane || !(self.dwell_s + self.move_s + self.lead_s).is_finite() {
            return Some(format!(
                "dwell_s {}, move_s {}, lead_s {}: expected at least 0.3, 0.1 and 0",
                self.dwell_s, self.move_s, self.lead_s
            ));
        }
        None
    }

    /// From the first move to the arrival in the last pose, which is then held
    /// for one more dwell [s], counted from the start of the lead.
    pub fn duration_s(&self) -> f64 {
        let moves = (self.pose.len() - 1) as f64;
        self.lead_s + moves * (self.move_s + self.dwell_s)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The folder is missing, read-only or full.
    pub fn save(&self, path: &Path) -> Result<(), EpisodeError> {
        let text = toml::to_string(self).expect("set-points are always representable as TOML");
        write_atomically(path, text.as_bytes())
    }
}
