//! Can an arm follow a recording? Each step's verdict.

use std::num::NonZeroUsize;
use std::sync::Arc;

use dexumi_episode::SessionTime;
use nalgebra::Isometry3;

use crate::arm::report::ArmReport;
use crate::arm::solve::{MOST_TURN, Miss, PoseSolver, Tolerance, farthest};
use crate::arm::track::{TrackStep, Tracking, track};
use crate::arm::{Arm, ArmCapsule, ArmError, collision_pairs};
use crate::capsule::PlacedCapsule;
use crate::parallel::{all_threads, in_parallel};

/// No answer within the tolerances was found: q is the best there was.
pub const UNREACHABLE: u32 = 1;
/// A joint is at a limit of its range, or within the margin of one.
pub const LIMIT: u32 = 1 << 1;
/// A joint would have to be faster than it can, from the last step to this one.
pub const VELOCITY: u32 = 1 << 2;
/// The arm is at or near a posture in which it cannot move in some direction.
pub const SINGULAR: u32 = 1 << 3;
/// Two links, or a link and the hand, touch.
pub const COLLISION: u32 = 1 << 4;
/// A joint jumps: the pose does, or the arm has to change its posture.
pub const DISCONTINUITY: u32 = 1 << 5;
/// There was no pose, or none with finite numbers: the last answer is held.
pub const INPUT_HELD: u32 = 1 << 6;

/// Every flag and its name in reports.
pub const ARM_FLAGS: &[(u32, &str)] = &[
    (UNREACHABLE, "unreachable"),
    (LIMIT, "limit"),
    (VELOCITY, "velocity"),
    (SINGULAR, "singular"),
    (COLLISION, "collision"),
    (DISCONTINUITY, "discontinuity"),
    (INPUT_HELD, "input_held"),
];

/// Names of the bits that are set.
pub fn arm_flag_names(flags: u32) -> impl Iterator<Item = &'static str> {
    let set = ARM_FLAGS.iter().filter(move |(flag, _)| flags & flag != 0);
    set.map(|(_, name)| *name)
}

/// One step that the arm is asked to follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedPose {
    /// When.
    pub time: SessionTime,
    /// Where the end effector is to be (m); `None` in a gap.
    pub base_from_effector: Option<Isometry3<f64>>,
}

/// What counts as bad, and what hangs on the flange.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmCheckOptions {
    /// The end effector's frame (hand root) as it is mounted on the flange (m).
    pub flange_from_effector: Isometry3<f64>,
    /// Capsules of what is mounted, in end-effector axes (m), for collisions with the arm. The
    /// last link, which carries it, is left out.
    pub effector_capsules: Vec<PlacedCapsule>,
    /// Farthest from the pose that still reaches it (m).
    pub position_tolerance_m: f64,
    /// Farthest from it in angle (rad).
    pub rotation_tolerance_rad: f64,
    /// Nearest to a joint limit that is not flagged (rad, or m for a sliding joint).
    pub limit_margin: f64,
    /// Smallest singular value of the flange's Jacobian, in m and rad, that is not flagged.
    pub least_singular_value: f64,
    /// Nearest that links may come (m).
    pub collision_margin_m: f64,
    /// A joint jumps when it moves farther than this in a step (rad or m), and more than twice
    /// as fast as it can.
    pub jump: f64,
    /// Threads to work on; `None`: all that the machine has. Answers do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

impl Default for ArmCheckOptions {
    /// End effector at the flange, nothing mounted; 1 mm, 0.5°; 0.01 rad; 0.02; 0 m; 0.2 rad.
    fn default() -> Self {
        Self {
            flange_from_effector: Isometry3::identity(),
            effector_capsules: Vec::new(),
            position_tolerance_m: 1e-3,
            rotation_tolerance_rad: 0.5_f64.to_radians(),
            limit_margin: 0.01,
            least_singular_value: 0.02,
            collision_margin_m: 0.0,
            jump: 0.2,
            threads: None,
        }
    }
}

impl ArmCheckOptions {
    fn validate(&self) -> Result<(), ArmError> {
        let ranges = [
            ("position_tolerance_m", self.position_tolerance_m, 1e-6, 0.1),
            (
                "rotation_tolerance_rad",
                self.rotation_tolerance_rad,
                1e-6,
                MOST_TURN,
            ),
            ("jump", self.jump, 1e-3, 10.0),
            ("limit_margin", self.limit_margin, 0.0, 10.0),
            ("least_singular_value", self.least_singular_value, 0.0, 10.0),
            ("collision_margin_m", self.collision_margin_m, 0.0, 10.0),
        ];
        for (option, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ArmError::Option {
                    option: option.to_owned(),
                    expected: format!("{least} to {most}"),
                    got: value.to_string(),
                });
            }
        }
        let mut capsules = self.effector_capsules.iter();
        let is_finite = is_usable(&self.flange_from_effector)
            && capsules.all(|c| c.from.iter().chain(c.to.iter()).all(|x| x.is_finite()));
        if is_finite {
            return Ok(());
        }
        Err(ArmError::Option {
            option: "flange_from_effector or effector_capsules".to_owned(),
            expected: "finite numbers".to_owned(),
            got: "others".to_owned(),
        })
    }
}

/// What the arm does at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmStep {
    /// When.
    pub time: SessionTime,
    /// Joint positions, shape (dof,) (rad or m): always finite and within the limits.
    pub q: Vec<f64>,
    /// Distance of the end effector from its pose (m); `None` without a pose.
    pub position_error_m: Option<f64>,
    /// Angle to its pose (rad); `None` without a pose.
    pub rotation_error_rad: Option<f64>,
    /// Smallest singular value of the flange's Jacobian, in m and rad.
    pub singular_value: f64,
    /// Least distance of two links, or of a link and the hand (m), negative inside each other;
    /// `None` when nothing is known of the arm's shape.
    pub self_distance_m: Option<f64>,
    /// Fastest joint, as a share of its speed limit; more than 1 is flagged.
    pub speed: f64,
    /// [`UNREACHABLE`], [`LIMIT`], [`VELOCITY`], [`SINGULAR`], [`COLLISION`],
    /// [`DISCONTINUITY`], [`INPUT_HELD`].
    pub flags: u32,
}

/// Every step's verdict, and the sum of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmCheck {
    /// One for each pose asked for.
    pub steps: Vec<ArmStep>,
    /// The sum.
    pub report: ArmReport,
}

/// Checks whether an arm can follow a recording.
///
/// ```
/// use dexumi_episode::SessionTime;
/// use dexumi_retarget::{Arm, ArmCheckOptions, ArmChecker, TimedPose, arm_flag_names};
/// use nalgebra::{Isometry3, Vector3};
///
/// let checker = ArmChecker::new(Arm::by_name("ur5e")?, ArmCheckOptions::default())?;
/// // A hand that points down and moves away from the base at 0.5 m/s, farther than the arm goes.
/// let poses: Vec<_> = (0..60)
///     .map(|step| TimedPose {
///         time: SessionTime::from_nanos(step * 33_333_333),
///         base_from_effector: Some(Isometry3::new(
///             Vector3::new(0.4 + step as f64 / 60.0, 0.1, 0.2),
///             Vector3::x() * std::f64::consts::PI,
///         )),
///     })
///     .collect();
/// let check = checker.check(&poses);
/// assert!(check.report.reachable_percent > 20.0 && check.report.reachable_percent < 80.0);
/// let first = check.report.first_bad.expect("the end is out of reach");
/// println!("{:?}: {:?}", first.time, arm_flag_names(first.flags).collect::<Vec<_>>());
/// # Ok::<(), dexumi_retarget::ArmError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ArmChecker {
    /// The arm with the mounted capsules as its last link's.
    arm: Arc<Arm>,
    options: ArmCheckOptions,
}

impl ArmChecker {
    /// A checker.
    ///
    /// # Errors
    /// [`ArmError::Option`] for a tolerance or a margin that makes no sense.
    pub fn new(arm: impl Into<Arc<Arm>>, options: ArmCheckOptions) -> Result<Self, ArmError> {
        options.validate()?;
        let mut arm = arm.into();
        if !options.effector_capsules.is_empty() {
            arm = Arc::new(with_effector(&arm, &options));
        }
        Ok(Self { arm, options })
    }

    /// The arm, with the mounted capsules as its last ones.
    pub fn arm(&self) -> &Arc<Arm> {
        &self.arm
    }

    /// The options.
    pub fn options(&self) -> &ArmCheckOptions {
        &self.options
    }

    /// Follows `poses`, in order of time, and judges every step.
    ///
    /// Of the postures that reach the first pose, the arm begins in the one that fares best.
    pub fn check(&self, poses: &[TimedPose]) -> ArmCheck {
        let threads = self.options.threads.unwrap_or_else(all_threads);
        let steps = self.judged(poses, threads, true);
        let report = ArmReport::new(&self.arm, &steps);
        ArmCheck { steps, report }
    }

    pub(crate) fn judged(
        &self,
        poses: &[TimedPose],
        threads: NonZeroUsize,
        tries_postures: bool,
    ) -> Vec<ArmStep> {
        let effector_from_flange = self.options.flange_from_effector.inverse();
        let targets: Vec<_> = poses
            .iter()
            .map(|pose| {
                let pose = pose.base_from_effector.filter(is_usable)?;
                Some(pose * effector_from_flange)
            })
            .collect();
        let tracking = Tracking {
            arm: &self.arm,
            tolerance: self.tolerance(),
            threads,
            tries_postures,
        };
        let badness = |indices: &[usize], track: &[TrackStep]| {
            let times: Vec<_> = indices.iter().map(|&index| poses[index].time).collect();
            let mut solver = self.solver();
            let judge = |(step, &time): (&TrackStep, _)| self.judge(&mut solver, step, time);
            let mut steps: Vec<_> = track.iter().zip(&times).map(judge).collect();
            self.judge_motion(&mut steps);
            self.badness(&steps)
        };
        let track = track(&tracking, &targets, badness);
        let judge = |solver: &mut PoseSolver, step: usize| {
            self.judge(solver, &track[step], poses[step].time)
        };
        let mut steps = in_parallel(threads, track.len(), || self.solver(), judge);
        self.judge_motion(&mut steps);
        steps
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance {
            position_m: self.options.position_tolerance_m,
            rotation_rad: self.options.rotation_tolerance_rad,
            jump: self.options.jump,
        }
    }

    fn solver(&self) -> PoseSolver {
        PoseSolver::new(self.arm.clone(), self.tolerance())
    }

    /// What can be said of a step by itself.
    fn judge(&self, solver: &mut PoseSolver, step: &TrackStep, time: SessionTime) -> ArmStep {
        let q = step.q.clone();
        let singular_value = solver.singular_value(&q);
        let self_distance = solver.kinematics().self_distance();
        let self_distance_m = self_distance.map(|(_, _, closest)| closest.distance);
        let margin = self.options.limit_margin;
        let mut joints = self.arm.joints().iter().zip(&q);
        let is_at_limit =
            joints.any(|(joint, &q)| q <= joint.lower + margin || q >= joint.upper - margin);
        let is_missed = |miss: &Miss| !solver.tolerance().holds(miss);
        let mut flags = 0;
        for (flag, is_set) in [
            (UNREACHABLE, step.miss.as_ref().is_some_and(is_missed)),
            (INPUT_HELD, step.miss.is_none()),
            (LIMIT, is_at_limit),
            (SINGULAR, singular_value < self.options.least_singular_value),
            (
                COLLISION,
                self_distance_m.is_some_and(|distance| distance < self.options.collision_margin_m),
            ),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        ArmStep {
            time,
            q,
            position_error_m: step.miss.map(|miss| miss.position_m),
            rotation_error_rad: step.miss.map(|miss| miss.rotation_rad),
            singular_value,
            self_distance_m,
            speed: 0.0,
            flags,
        }
    }

    /// What can be said of a step and the one before it. Times that stand still or run backwards
    /// leave no time for any motion.
    fn judge_motion(&self, steps: &mut [ArmStep]) {
        for index in 1..steps.len() {
            let (before, after) = steps.split_at_mut(index);
            let (last, step) = (&before[index - 1], &mut after[0]);
            let seconds = (step.time - last.time).secs_f64().max(1e-9);
            let joints = self.arm.joints().iter().zip(step.q.iter().zip(&last.q));
            let speeds =
                joints.map(|(joint, (q, last))| (q - last).abs() / (joint.velocity * seconds));
            step.speed = speeds.fold(0.0, f64::max);
            if step.speed > 1.0 {
                step.flags |= VELOCITY;
            }
            if step.speed > 2.0 && farthest(&step.q, &last.q) > self.options.jump {
                step.flags |= DISCONTINUITY;
            }
        }
    }

    /// How badly a posture fares, most important first: steps that cannot be done, steps that
    /// are near it, and how far it is from the home posture.
    fn badness(&self, steps: &[ArmStep]) -> Vec<f64> {
        let count = |flags: u32| steps.iter().filter(|step| step.flags & flags != 0).count() as f64;
        let from_home = steps
            .first()
            .map_or(0.0, |step| farthest(&step.q, self.arm.home()));
        vec![
            count(UNREACHABLE | COLLISION | DISCONTINUITY),
            count(LIMIT | SINGULAR | VELOCITY),
            from_home,
        ]
    }
}

/// The arm with what is mounted on it.
fn with_effector(arm: &Arm, options: &ArmCheckOptions) -> Arm {
    let last = arm.dof() - 1;
    let last_from_effector = arm.last_from_flange * options.flange_from_effector;
    let own = arm.capsules.len();
    let mounted = options.effector_capsules.iter().map(|capsule| ArmCapsule {
        joint: Some(last),
        capsule: capsule.moved(&last_from_effector),
    });
    let capsules: Vec<_> = arm.capsules.iter().cloned().chain(mounted).collect();
    let added = collision_pairs(&capsules, |_, _| false);
    let added = added.into_iter().filter(|&(_, second)| second >= own);
    Arm {
        pairs: arm.pairs.iter().copied().chain(added).collect(),
        capsules,
        ..arm.clone()
    }
}

/// Finite, and small enough that squares are too; the rotation is one.
pub(crate) fn is_usable(pose: &Isometry3<f64>) -> bool {
    let shift = pose.translation.vector.norm_squared();
    shift.is_finite() && (pose.rotation.norm() - 1.0).abs() < 1e-6
}
