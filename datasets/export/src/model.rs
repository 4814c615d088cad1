//! The resampled episode: the one model from which every format is written.
//!
//! An episode of `T` steps has `T + 1` grid times, `fps` a second. Step `k` (0 to `T - 1`) is what is
//! known at `times[k]`: the hands' row `k` is its state, row `k + 1` its action (the absolute target
//! that was reached one step later; no stream of an episode records a command), and one image of each
//! camera. Cells that no sample covers hold the last value and are marked invalid.
//!
//! Values are SI (metres, radians); each format states what it makes of them.

use std::path::PathBuf;

use bytes::Bytes;
use dexumi_episode::SessionTime;
use nalgebra::Isometry3;
use serde::{Deserialize, Serialize};

use crate::error::ExportError;
use crate::resample::ResampleReport;

/// One episode on a constant grid of `fps` steps a second.
pub struct Resampled {
    /// Id of the episode (UUID as text); appears in reports and errors.
    pub episode_id: String,
    /// What was done, one sentence in the imperative.
    pub task: String,
    /// Steps a second, 1 to 1000.
    pub fps: u32,
    /// Which robot the values belong to: the hands by name, joined by `+`, for example `xhand_right`.
    pub robot_type: String,
    /// Grid times on the session clock, `T + 1`.
    pub times: Vec<SessionTime>,
    /// The hands, left before right; one or two.
    pub hands: Vec<HandMotion>,
    /// The cameras, in the order of their roles: head, left wrist, right wrist, others by name.
    pub cameras: Vec<CameraTrack>,
    /// What the operator said is being done, in order and without overlap; empty where nothing was said.
    pub subtasks: Vec<Subtask>,
    /// Further values, one row per step, declared as features of their own.
    pub extras: Vec<Extra>,
    /// How good the recording is, where it was judged; goes into the metadata.
    pub quality: Option<Quality>,
    /// What it was made from, where that is a recording; goes into the manifest.
    pub origin: Option<Origin>,
}

/// How the motion of a hand was made from what was recorded, and how well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// Name of the hand.
    pub hand: String,
    /// Source, and for keypoints the preset with all that was chosen.
    pub method: serde_json::Value,
    /// Samples that were followed.
    pub samples: u64,
    /// Of these, at a limit of position or speed, or cut short to keep links apart.
    pub clipped: u64,
    /// Of these, those that showed no hand: the answer before was held.
    pub held: u64,
    /// Distance of fingertips from where they are asked to be, 95th percentile \[m\]; none for joints
    /// that are taken one for one.
    pub tip_error_p95_m: Option<f64>,
}

/// What a resampled episode was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The recording's file, absolute.
    pub path: PathBuf,
    /// What tells the recording from any other, by its content.
    pub fingerprint: String,
    /// SHA-256 of all else that the values depend on: calibration, hands, motion, what was noted.
    pub inputs_sha256: String,
    /// SHA-256 of the calibration; empty where there is none.
    #[serde(default)]
    pub calibration_sha256: String,
    /// Of each hand.
    #[serde(default)]
    pub motion: Vec<Motion>,
    /// Name of the rig.
    pub rig: String,
    /// What resampling did to it.
    pub resampled: ResampleReport,
}

/// What was said of an episode's quality.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// Its grade, such as `B`.
    pub grade: String,
    /// Words to filter by, without commas.
    pub tags: Vec<String>,
    /// What could not be measured, and behind a colon why.
    pub not_measured: Vec<String>,
    /// All that was found, a JSON object.
    pub verdict: serde_json::Value,
}

/// Left or right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Left.
    Left,
    /// Right.
    Right,
}

impl Side {
    /// `left` or `right`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// One robot hand and the wrist that carries it, `T + 1` rows.
#[derive(Debug, Clone)]
pub struct HandMotion {
    /// Which side.
    pub side: Side,
    /// Name of the robot hand, for example `xhand_right`.
    pub hand: String,
    /// Names of its joints, `J` of them, in the hand's order.
    pub joint_names: Vec<String>,
    /// Pose of the end effector in the tracker's world, `[T + 1]`.
    pub world_from_wrist: Vec<Isometry3<f64>>,
    /// Joint positions in radians, row-major `[T + 1][J]`.
    pub joints_rad: Vec<f64>,
    /// Whether wrist and joints of the row were measured, `[T + 1]`; else the row before is held.
    pub valid: Vec<bool>,
    /// Fingertip force, where the recording has it.
    pub force: Option<ForceTrack>,
    /// Keypoints, where the recording has them (a glove).
    pub keypoints: Option<KeypointTrack>,
    /// What the robot hand's own kinematics make of the joints, where whoever resampled knows it.
    pub robot: Option<RobotRows>,
}

/// A robot hand's motors and fingertips, one row for each of its joints' rows.
#[derive(Debug, Clone)]
pub struct RobotRows {
    /// Unit of each motor's command: `rad`, `m` or `thousandth` of its travel, `M` of them.
    pub motor_units: Vec<String>,
    /// Motor commands for the joints, within the motors' range, row-major `[T + 1][M]`.
    pub motors: Vec<f64>,
    /// Fingers, `F` of them.
    pub fingers: Vec<String>,
    /// Fingertips in the axes of the hand's root [m], row-major `[T + 1][F]`.
    pub tips_m: Vec<[f64; 3]>,
}

/// Force at the fingertips, one row per step.
#[derive(Debug, Clone)]
pub struct ForceTrack {
    /// Fingers, `F` of them.
    pub fingers: Vec<String>,
    /// Raw counts x, y, z in the sensor's own axes, row-major `[T][F]`.
    pub counts: Vec<[f64; 3]>,
    /// Whether all fingers of the step were measured, `[T]`.
    pub valid: Vec<bool>,
}

/// Hand keypoints as the glove gave them, one row per step.
#[derive(Debug, Clone)]
pub struct KeypointTrack {
    /// 21 points [m] in the glove's own axes: wrist, then thumb to little finger, each from base to
    /// tip, `[T]`.
    pub points_m: Vec<[[f64; 3]; 21]>,
    /// Whether the step was measured, `[T]`.
    pub valid: Vec<bool>,
    /// The joints' poses, where the glove gives them.
    pub joints: Option<JointPoses>,
}

/// Poses of a glove's joints, as it gave them, one row per step; held where the keypoints are invalid.
#[derive(Debug, Clone)]
pub struct JointPoses {
    /// The glove's names of them, `N`.
    pub names: Vec<String>,
    /// `glove_from_joint`, in the glove's own axes, row-major `[T][N]`.
    pub glove_from_joint: Vec<Isometry3<f64>>,
}

/// A stretch of steps with one description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subtask {
    /// First step.
    pub from: usize,
    /// Step behind the last one.
    pub to: usize,
    /// What is done.
    pub text: String,
}

/// A further feature of an episode.
///
/// LeRobot's reader hands 64-bit floats out as 32-bit ones: give times relative
/// to the episode or to the step, not since 1970.
#[derive(Debug, Clone)]
pub struct Extra {
    /// Name of the feature, without `/`.
    pub name: String,
    /// One name per column.
    pub names: Vec<String>,
    /// Row-major values, `[T][names.len()]`.
    pub values: ExtraValues,
}

/// Values of an [`Extra`], row-major.
#[derive(Debug, Clone)]
pub enum ExtraValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl ExtraValues {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    pub(crate) fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::F32(v) => v.iter().position(|x| !x.is_finite()),
            Self::F64(v) => v.iter().position(|x| !x.is_finite()),
            Self::I64(_) | Self::Bool(_) => None,
        }
    }
}

/// Where a camera sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraRole {
    /// On the head, or above the scene.
    Head,
    /// On the left wrist.
    LeftWrist,
    /// On the right wrist.
    RightWrist,
    /// Elsewhere.
    Other,
}

impl CameraRole {
    /// What the name of a camera says: `head`, `ego` or `top` (above the scene); `wrist` or `hand`
    /// with `left` or `right`, or of the one side `only`.
    #[must_use]
    pub fn of_name(name: &str, only: Option<Side>) -> Self {
        let name = name.to_lowercase();
        let has = |word: &str| name.split(['_', '-', '.']).any(|part| part == word);
        if has("head") || has("ego") || has("top") {
            return Self::Head;
        }
        let side = match (has("left"), has("right")) {
            (true, false) => Some(Side::Left),
            (false, true) => Some(Side::Right),
            _ => only,
        };
        match side {
            Some(Side::Left) if has("wrist") || has("hand") => Self::LeftWrist,
            Some(Side::Right) if has("wrist") || has("hand") => Self::RightWrist,
            _ => Self::Other,
        }
    }

    /// `head`, `left_wrist`, `right_wrist` or `other`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::LeftWrist => "left_wrist",
            Self::RightWrist => "right_wrist",
            Self::Other => "other",
        }
    }
}

/// The images of one camera, chosen for each step.
pub struct CameraTrack {
    /// Name of the camera, without `/`, for example `head`.
    pub name: String,
    /// Where it sits; each of head and wrists is taken by one camera at most.
    pub role: CameraRole,
    /// Width of the recorded images in pixels.
    pub width: u32,
    /// Height of the recorded images in pixels.
    pub height: u32,
    /// Focal lengths and principal point fx, fy, cx, cy of the recorded images in pixels, the centre of
    /// the first pixel at 0, 0; where they are known.
    pub intrinsics: Option<[f64; 4]>,
    /// Pose of the camera (x right, y down, z forward) in the tracker's world, `[T]`; where the world or
    /// a tracker has a mount to `camera/<name>`. None at a step at which it was not measured; at one it was.
    pub world_from_camera: Option<Vec<Option<Isometry3<f64>>>>,
    /// For each step, the index of its image in `source`; an index may repeat, `[T]`.
    pub images: Vec<usize>,
    /// True capture time of each step's image on the session clock, `[T]`.
    pub capture_times: Vec<SessionTime>,
    /// Whether the image was taken near enough to the step, `[T]`; else the one before is held.
    pub valid: Vec<bool>,
    /// Where the images come from.
    pub source: Box<dyn ImageSource>,
}

/// Recorded images by index.
pub trait ImageSource: Send {
    /// The whole JPEG at `index`, byte-exact as recorded.
    ///
    /// # Errors
    /// [`ExportError::Image`] or [`ExportError::Episode`] where the recording is
    /// at fault: the episode is left out. Any other error ends the export.
    fn read(&mut self, index: usize) -> Result<Bytes, ExportError>;
}

impl CameraTrack {
    /// Leaves steps alone.
    pub(crate) fn cut(&mut self, kept: std::ops::Range<usize>) {
        fn keep<T>(all: &mut Vec<T>, kept: &std::ops::Range<usize>) {
            all.truncate(kept.end);
            all.drain(..kept.start);
        }
        keep(&mut self.images, &kept);
        keep(&mut self.capture_times, &kept);
        keep(&mut self.valid, &kept);
        if let Some(poses) = &mut self.world_from_camera {
            keep(poses, &kept);
        }
    }
}

impl HandMotion {
    /// Joints of row `k` [rad].
    #[must_use]
    pub fn joints(&self, k: usize) -> &[f64] {
        let width = self.joint_names.len();
        &self.joints_rad[k * width..(k + 1) * width]
    }
}

impl Resampled {
    /// Number of steps, `T`.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.times.len().saturating_sub(1)
    }

    /// The recording by its content, where it is one.
    pub(crate) fn content(&self) -> Option<&str> {
        self.origin
            .as_ref()
            .map(|origin| origin.fingerprint.as_str())
    }

    /// The hand of a side.
    #[must_use]
    pub fn hand(&self, side: Side) -> Option<&HandMotion> {
        self.hands.iter().find(|hand| hand.side == side)
    }

    /// The camera of a role.
    #[must_use]
    pub fn camera(&self, role: CameraRole) -> Option<&CameraTrack> {
        self.cameras.iter().find(|camera| camera.role == role)
    }

    /// What is done at step `k`: the subtask where one was named, else the task.
    #[must_use]
    pub fn language(&self, k: usize) -> &str {
        let named = self.subtasks.iter().find(|s| (s.from..s.to).contains(&k));
        named.map_or(&self.task, |subtask| &subtask.text)
    }

    /// Cameras whose pose is known at other steps but not at `k`.
    #[must_use]
    pub fn lost_cameras(&self, k: usize) -> usize {
        let poses = self
            .cameras
            .iter()
            .filter_map(|camera| camera.world_from_camera.as_ref());
        poses.filter(|poses| poses[k].is_none()).count()
    }

    /// Whether every cell of step `k` was measured, the action's row included; poses of cameras are
    /// [others](Self::lost_cameras).
    #[must_use]
    pub fn is_valid(&self, k: usize) -> bool {
        self.hands.iter().all(|hand| {
            let force = hand.force.as_ref();
            let keypoints = hand.keypoints.as_ref();
            hand.valid[k]
                && hand.valid[k + 1]
                && force.is_none_or(|force| force.valid[k])
                && keypoints.is_none_or(|keypoints| keypoints.valid[k])
        }) && self.cameras.iter().all(|camera| camera.valid[k])
    }
}
