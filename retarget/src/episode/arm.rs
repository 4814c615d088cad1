//! Whether an arm can carry the hand along the end effector's poses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use dexumi_episode::{EpisodeWriter, SessionTime, schema::ArmJoints};
use nalgebra::{Isometry3, UnitQuaternion};
use serde::{Deserialize, Serialize};

use super::{EpisodeJob, RetargetError, RetargetReport, check_stop, side_name, stamp};
use crate::arm::{
    Arm, ArmCheckOptions, ArmChecker, ArmError, ArmReport, ArmStep, PlacementGrid, Span, TimedPose,
    search_placements,
};
use crate::capsule::hand_capsules;

/// How far around the middle of the motion a place for the base is searched (m), and how densely.
const SEARCH_M: f64 = 0.9;
const SEARCH_STEP_M: f64 = 0.15;
/// Below the middle of the motion (m).
const SEARCH_DOWN_M: f64 = 0.6;
const SEARCH_DOWN_STEP_M: f64 = 0.2;
/// Steps of the recording that are tried at each place.
const SEARCH_STEPS: usize = 40;

/// Which arm, and on how many threads it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmPlan {
    /// The arm.
    pub arm: Arc<Arm>,
    /// Threads; `None`: all that the machine has. Answers do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

/// How an episode suits an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmFigures {
    /// The base was searched: the rig has no mount `world` from `arm`.
    pub searched: bool,
    /// Position of the base in the tracker's world: x, y, z (m).
    pub base_position_m: [f64; 3],
    /// Its rotation: quaternion x, y, z, w.
    pub base_rotation_xyzw: [f64; 4],
    /// First step with any flag, since the first pose (s).
    pub first_bad_s: Option<f64>,
    /// Everything else.
    pub report: ArmReport,
}

/// Topic of the joints of the arm that carries a side's hand.
pub fn arm_topic(side: &str) -> String {
    format!("/retarget/{side}/arm")
}

/// Checks the poses, `world_from_effector`, and writes the arm's joints at each.
pub(super) fn write(
    job: &EpisodeJob<'_>,
    plan: &ArmPlan,
    poses: &[(SessionTime, Option<Isometry3<f64>>)],
    writer: &mut EpisodeWriter,
    report: &mut RetargetReport,
) -> Result<(), RetargetError> {
    let Some(&(first, _)) = poses.first() else {
        return Ok(());
    };
    let rig = &job.episode.rig;
    let options = ArmCheckOptions {
        flange_from_effector: rig
            .mount("flange", "hand")
            .unwrap_or_else(Isometry3::identity),
        effector_capsules: hand_capsules(
            job.hand,
            &job.hand.forward(&job.hand.rest()),
            &Isometry3::identity(),
        ),
        threads: plan.threads,
        ..ArmCheckOptions::default()
    };
    let timed = |base_from_world: &Isometry3<f64>| -> Vec<TimedPose> {
        let pose = |&(time, pose): &(SessionTime, Option<Isometry3<f64>>)| TimedPose {
            time,
            base_from_effector: pose.map(|pose| base_from_world * pose),
        };
        poses.iter().map(pose).collect()
    };
    let mounted = rig.mount("world", "arm");
    let world_from_base = match mounted {
        Some(world_from_base) => world_from_base,
        None => search(job, plan, &options, &timed(&Isometry3::identity()))?,
    };
    check_stop(job)?;
    let checker = ArmChecker::new(plan.arm.clone(), options).map_err(|error| failed(job, error))?;
    let check = checker.check(&timed(&world_from_base.inverse()));
    check_stop(job)?;
    let names: Vec<&str> = plan
        .arm
        .joints()
        .iter()
        .map(|joint| joint.name.as_str())
        .collect();
    let q = world_from_base.rotation.coords;
    let position: [f64; 3] = world_from_base.translation.vector.into();
    let rotation = [q.x, q.y, q.z, q.w];
    let numbers = |numbers: &[f64]| {
        numbers
            .iter()
            .map(f64::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let metadata = [
        ("names", names.join(",")),
        ("arm", plan.arm.name().to_owned()),
        ("base_position_m", numbers(&position)),
        ("base_rotation_xyzw", numbers(&rotation)),
    ];
    let topic = arm_topic(side_name(job.hand.side()));
    let channel = writer.channel::<ArmJoints>(&topic, &metadata)?;
    for (index, step) in check.steps.iter().enumerate() {
        let mut message = message_of(step);
        message.stamp = Some(stamp(job.episode, step.time, index as u64));
        writer.write(channel, index as u64, step.time, step.time, &message);
        if index % 1024 == 1023 {
            writer.tick()?;
        }
    }
    report.arm = Some(ArmFigures {
        searched: mounted.is_none(),
        base_position_m: position,
        base_rotation_xyzw: rotation,
        first_bad_s: check
            .report
            .first_bad
            .map(|bad| (bad.time - first).secs_f64()),
        report: check.report,
    });
    Ok(())
}

fn failed(job: &EpisodeJob<'_>, error: ArmError) -> RetargetError {
    RetargetError::Arm {
        path: job.episode.file.path().to_owned(),
        source: Box::new(error),
    }
}

fn message_of(step: &ArmStep) -> ArmJoints {
    ArmJoints {
        stamp: None,
        position: step.q.clone(),
        position_error: step.position_error_m,
        rotation_error: step.rotation_error_rad,
        singular_value: step.singular_value,
        self_distance: step.self_distance_m,
        speed: step.speed,
        flags: step.flags,
    }
}

/// `world_from_base` at which the arm reaches most, standing on a table around and below the motion.
fn search(
    job: &EpisodeJob<'_>,
    plan: &ArmPlan,
    options: &ArmCheckOptions,
    poses: &[TimedPose],
) -> Result<Isometry3<f64>, RetargetError> {
    let places = poses
        .iter()
        .filter_map(|pose| Some(pose.base_from_effector?.translation.vector));
    let (sum, count) = places.fold((nalgebra::Vector3::zeros(), 0.0), |(sum, count), place| {
        (sum + place, count + 1.0)
    });
    let middle = sum / f64::max(count, 1.0);
    let around = |middle: f64| Span {
        from: middle - SEARCH_M,
        to: middle + SEARCH_M,
        step: SEARCH_STEP_M,
    };
    let grid = PlacementGrid {
        x: around(middle.x),
        y: around(middle.y),
        z: Span {
            from: middle.z - SEARCH_DOWN_M,
            to: middle.z,
            step: SEARCH_DOWN_STEP_M,
        },
        yaw: Span {
            from: 0.0,
            to: std::f64::consts::TAU - 0.1,
            step: std::f64::consts::FRAC_PI_2,
        },
        mounted: UnitQuaternion::identity(),
        most_steps: NonZeroUsize::new(SEARCH_STEPS).unwrap_or(NonZeroUsize::MIN),
    };
    let found = search_placements(plan.arm.clone(), options, poses, &grid, |_, _| {})
        .map_err(|error| failed(job, error))?;
    Ok(found.best.world_from_base(&grid.mounted))
}
