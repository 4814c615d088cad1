//! Wrist tracker pose to end-effector pose.

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

/// A number of the pose was not finite, or the result would not have been.
pub const POSE_NON_FINITE: u32 = 1;
/// The quaternion's length was not 1.
pub const POSE_UNNORMALISED: u32 = 1 << 1;

/// Farthest that a quaternion's length may be from 1. Single precision leaves 1e-7; a tracker that
/// writes three digits leaves 1e-3. A zero quaternion (tracking lost) is far outside.
pub const QUATERNION_TOLERANCE: f64 = 1e-3;

/// What the end-effector pose is given relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WristMode {
    /// The tracker's world: `world_from_effector`.
    Absolute,
    /// The end effector at the first accepted pose: `first_from_effector`, which is the identity
    /// there and does not depend on where the tracker's world is.
    RelativeToFirst,
}

/// One answer of a [`WristMap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WristStep {
    /// The end effector in the frame that [`WristMode`] names (m); `None` when the pose was
    /// rejected: a gap is left for the caller to see, never filled.
    pub effector: Option<Isometry3<f64>>,
    /// 0, or why the pose was rejected: [`POSE_NON_FINITE`], [`POSE_UNNORMALISED`].
    pub flags: u32,
}

/// Tracker pose to end-effector pose, through the mount between them.
#[derive(Debug, Clone)]
pub struct WristMap {
    tracker_from_effector: Isometry3<f64>,
    mode: WristMode,
    first_from_world: Option<Isometry3<f64>>,
    rejected: u64,
}

impl WristMap {
    /// A map with the calibrated mount transform (m).
    pub fn new(tracker_from_effector: Isometry3<f64>, mode: WristMode) -> Self {
        Self {
            tracker_from_effector,
            mode,
            first_from_world: None,
            rejected: 0,
        }
    }

    /// Poses rejected so far.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Forgets the first pose: the next accepted one takes its place.
    pub fn restart(&mut self) {
        self.first_from_world = None;
    }

    /// Maps a tracker pose: `translation` (m) and quaternion `rotation_xyzw` of
    /// `world_from_tracker`.
    ///
    /// world_from_effector = world_from_tracker · tracker_from_effector; relative mode then takes
    /// first_from_effector = world_from_first⁻¹ · world_from_effector.
    pub fn step(&mut self, translation: [f64; 3], rotation_xyzw: [f64; 4]) -> WristStep {
        match self.map(translation, rotation_xyzw) {
            Ok(effector) => WristStep {
                effector: Some(effector),
                flags: 0,
            },
            Err(flags) => {
                self.rejected += 1;
                WristStep {
                    effector: None,
                    flags,
                }
            }
        }
    }

    fn map(
        &mut self,
        translation: [f64; 3],
        rotation_xyzw: [f64; 4],
    ) -> Result<Isometry3<f64>, u32> {
        let mut numbers = translation.iter().chain(&rotation_xyzw);
        if !numbers.all(|number| number.is_finite()) {
            return Err(POSE_NON_FINITE);
        }
        let [x, y, z, w] = rotation_xyzw;
        let rotation = Quaternion::new(w, x, y, z);
        if (rotation.norm() - 1.0).abs() > QUATERNION_TOLERANCE {
            return Err(POSE_UNNORMALISED);
        }
        let world_from_tracker = Isometry3::from_parts(
            Translation3::from(translation),
            UnitQuaternion::new_normalize(rotation),
        );
        let world_from_effector = world_from_tracker * self.tracker_from_effector;
        let effector = match self.mode {
            WristMode::Absolute => world_from_effector,
            WristMode::RelativeToFirst => {
                let first_from_world = self
                    .first_from_world
                    .unwrap_or_else(|| world_from_effector.inverse());
                first_from_world * world_from_effector
            }
        };
        // Finite coordinates near the end of the range overflow in the product.
        let is_finite = effector.translation.vector.iter().all(|x| x.is_finite());
        if !is_finite {
            return Err(POSE_NON_FINITE);
        }
        self.first_from_world
            .get_or_insert_with(|| world_from_effector.inverse());
        Ok(effector)
    }
}
