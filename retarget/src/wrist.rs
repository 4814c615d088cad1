//! Wrist tracker pose to end-effector pose.

use std::num::NonZeroU32;

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

use crate::se3::{se3_log, translation_and_rotation_vector};

/// A number of the pose was not finite, or the result would not have been.
pub const POSE_NON_FINITE: u32 = 1;
/// The quaternion's length was not 1.
pub const POSE_UNNORMALISED: u32 = 1 << 1;
/// The clutch is open: the end effector stays where it was.
pub const CLUTCH_RELEASED: u32 = 1 << 2;
/// The first pose of this chunk was rejected, so nothing in it has a reference.
pub const CHUNK_WITHOUT_REFERENCE: u32 = 1 << 3;

/// Farthest that a quaternion's length may be from 1. Single precision leaves 1e-7; a tracker that
/// writes three digits leaves 1e-3. A zero quaternion (tracking lost) is far outside.
pub const QUATERNION_TOLERANCE: f64 = 1e-3;

/// What the end-effector pose is given relative to. With W = `world_from_effector` of a step:
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WristMode {
    /// The tracker's world: W.
    Absolute,
    /// The end effector at the first accepted pose: `first_from_effector` = W₀⁻¹·W, which is the
    /// identity there and does not depend on where the tracker's world is. With the robot's pose
    /// at the first step by [`WristMap::with_base`] it is DexUMI's T₀·X·ΔT·X⁻¹.
    RelativeToFirst,
    /// Where the end effector was when the clutch closed: from [`WristMap::engage`] to
    /// [`WristMap::release`] it moves, in its own axes, as the tracked one does; between, it
    /// stays. It starts released, at the pose of [`WristMap::with_base`].
    Clutched,
    /// The end effector at the start of the chunk: (W of the chunk's first step)⁻¹·W. Chunks have
    /// this many steps each, rejected ones counted, so that they keep to the grid of the input;
    /// [`WristStep::translation_and_rotation_vector`] is EgoScale's wrist action.
    ChunkRelative {
        /// Steps in a chunk.
        steps: NonZeroU32,
    },
}

/// One answer of a [`WristMap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WristStep {
    /// The end effector in the frame that [`WristMode`] names (m); `None` when the pose was
    /// rejected: a gap is left for the caller to see, never filled.
    pub effector: Option<Isometry3<f64>>,
    /// 0, or why there is no pose or one that is held: [`POSE_NON_FINITE`],
    /// [`POSE_UNNORMALISED`], [`CLUTCH_RELEASED`], [`CHUNK_WITHOUT_REFERENCE`].
    pub flags: u32,
}

impl WristStep {
    /// The pose as a twist, velocity (m) then rotation vector (rad): [`se3_log`].
    pub fn log(&self) -> Option<[f64; 6]> {
        self.effector.as_ref().map(se3_log)
    }

    /// The pose as translation (m) and rotation vector (rad).
    pub fn translation_and_rotation_vector(&self) -> Option<[f64; 6]> {
        self.effector.as_ref().map(translation_and_rotation_vector)
    }
}

/// Tracker pose to end-effector pose, through the mount between them.
#[derive(Debug, Clone)]
pub struct WristMap {
    tracker_from_effector: Isometry3<f64>,
    base_from_reference: Isometry3<f64>,
    mode: WristMode,
    /// Effector at the first pose, at the start of the chunk, or where the clutch closed.
    reference_from_world: Option<Isometry3<f64>>,
    clutch: Clutch,
    /// Steps since the start of the chunk.
    chunk_step: u32,
    rejected: u64,
    without_reference: u64,
}

#[derive(Debug, Clone)]
struct Clutch {
    is_engaged: bool,
    /// Where the effector stands, and where it stood when the clutch closed.
    base_from_held: Isometry3<f64>,
    base_from_closed: Isometry3<f64>,
}

impl WristMap {
    /// A map with the calibrated mount transform (m).
    pub fn new(tracker_from_effector: Isometry3<f64>, mode: WristMode) -> Self {
        let mut map = Self {
            tracker_from_effector,
            base_from_reference: Isometry3::identity(),
            mode,
            reference_from_world: None,
            clutch: Clutch {
                is_engaged: false,
                base_from_held: Isometry3::identity(),
                base_from_closed: Isometry3::identity(),
            },
            chunk_step: 0,
            rejected: 0,
            without_reference: 0,
        };
        map.restart();
        map
    }

    /// Gives answers in the robot's base: `base_from_reference` (m) is where the base sees what
    /// the mode is relative to. Absolute: the tracker's world (calibrated), so that the answer is
    /// A·T·X; relative: the end effector at the first pose; clutched: the end effector before the
    /// clutch first closes. It cancels in a chunk. Restarts the map.
    #[must_use = "the map is returned, not changed in place"]
    pub fn with_base(mut self, base_from_reference: Isometry3<f64>) -> Self {
        self.base_from_reference = base_from_reference;
        self.restart();
        self
    }

    /// Poses rejected so far.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Good poses so far that got no answer since their chunk's first one was rejected.
    pub fn without_reference(&self) -> u64 {
        self.without_reference
    }

    /// Forgets what came before: the next accepted pose is the first, the next step starts a
    /// chunk, the clutch is open and the end effector back where it began.
    pub fn restart(&mut self) {
        self.reference_from_world = None;
        self.chunk_step = 0;
        self.clutch = Clutch {
            is_engaged: false,
            base_from_held: self.base_from_reference,
            base_from_closed: self.base_from_reference,
        };
    }

    /// Closes the clutch: from the next accepted pose on the end effector follows, starting where
    /// it stands. Without effect on a closed clutch and in the other modes.
    pub fn engage(&mut self) {
        if self.mode == WristMode::Clutched && !self.clutch.is_engaged {
            self.clutch.is_engaged = true;
            self.clutch.base_from_closed = self.clutch.base_from_held;
            self.reference_from_world = None;
        }
    }

    /// Opens the clutch: the end effector stays where it is. Without effect in the other modes.
    pub fn release(&mut self) {
        self.clutch.is_engaged = false;
    }

    /// Maps a tracker pose: `translation` (m) and quaternion `rotation_xyzw` of
    /// `world_from_tracker`.
    ///
    /// world_from_effector = world_from_tracker · tracker_from_effector; the relative modes then
    /// take reference_from_effector = world_from_reference⁻¹ · world_from_effector.
    pub fn step(&mut self, translation: [f64; 3], rotation_xyzw: [f64; 4]) -> WristStep {
        if let WristMode::ChunkRelative { steps } = self.mode {
            if self.chunk_step == 0 {
                self.reference_from_world = None;
            }
            let step = self.chunk_step;
            self.chunk_step = (step + 1) % steps;
            if step > 0 && self.reference_from_world.is_none() {
                return self.step_without_reference(translation, rotation_xyzw);
            }
        }
        match self.map(translation, rotation_xyzw) {
            Ok((effector, flags)) => WristStep {
                effector: Some(effector),
                flags,
            },
            Err(flags) => self.reject(flags),
        }
    }

    /// A step of a chunk whose first pose was rejected: its own faults are still told.
    fn step_without_reference(&mut self, translation: [f64; 3], xyzw: [f64; 4]) -> WristStep {
        match self.world_from_effector(translation, xyzw) {
            Ok(_) => {
                self.without_reference += 1;
                WristStep {
                    effector: None,
                    flags: CHUNK_WITHOUT_REFERENCE,
                }
            }
            Err(flags) => self.reject(flags | CHUNK_WITHOUT_REFERENCE),
        }
    }

    fn reject(&mut self, flags: u32) -> WristStep {
        self.rejected += 1;
        WristStep {
            effector: None,
            flags,
        }
    }

    fn map(
        &mut self,
        translation: [f64; 3],
        rotation_xyzw: [f64; 4],
    ) -> Result<(Isometry3<f64>, u32), u32> {
        let world_from_effector = self.world_from_effector(translation, rotation_xyzw)?;
        if self.mode == WristMode::Clutched && !self.clutch.is_engaged {
            return Ok((self.clutch.base_from_held, CLUTCH_RELEASED));
        }
        let reference_from_world = self
            .reference_from_world
            .unwrap_or_else(|| world_from_effector.inverse());
        let effector = match self.mode {
            WristMode::Absolute => self.base_from_reference * world_from_effector,
            WristMode::RelativeToFirst => {
                self.base_from_reference * (reference_from_world * world_from_effector)
            }
            WristMode::Clutched => {
                self.clutch.base_from_closed * (reference_from_world * world_from_effector)
            }
            WristMode::ChunkRelative { .. } => reference_from_world * world_from_effector,
        };
        if !is_finite(&effector) {
            return Err(POSE_NON_FINITE);
        }
        self.reference_from_world = Some(reference_from_world);
        self.clutch.base_from_held = effector;
        Ok((effector, 0))
    }

    fn world_from_effector(
        &self,
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
        // Finite coordinates near the end of the range overflow in the product.
        if is_finite(&world_from_effector) {
            Ok(world_from_effector)
        } else {
            Err(POSE_NON_FINITE)
        }
    }
}

fn is_finite(pose: &Isometry3<f64>) -> bool {
    pose.translation.vector.iter().all(|x| x.is_finite())
}
