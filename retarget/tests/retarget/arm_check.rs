use std::num::NonZeroUsize;
use std::sync::Arc;

use dexumi_episode::SessionTime;
use dexumi_retarget::{
    ARM_FLAGS, Arm, ArmCheck, ArmCheckOptions, ArmChecker, ArmError, ArmKinematics, COLLISION,
    DISCONTINUITY, INPUT_HELD, LIMIT, PlacedCapsule, SINGULAR, TimedPose, UNREACHABLE, VELOCITY,
    arm_flag_names,
};
use nalgebra::{DMatrix, Isometry3, Point3, Translation3, UnitQuaternion, Vector3, Vector6};
use proptest::prelude::*;

use crate::{arms, within_arm_limits};

const STEP_NS: i64 = 20_000_000;

fn checker(arm: &Arc<Arm>) -> ArmChecker {
    ArmChecker::new(arm.clone(), ArmCheckOptions::default()).unwrap()
}

/// The flange's poses along `path`, 20 ms apart.
fn poses_along(arm: &Arc<Arm>, path: impl IntoIterator<Item = Vec<f64>>) -> Vec<TimedPose> {
    let mut kinematics = ArmKinematics::new(arm.clone());
    let poses = path.into_iter().map(|q| Some(*kinematics.update(&q)));
    timed(poses)
}

fn timed(poses: impl IntoIterator<Item = Option<Isometry3<f64>>>) -> Vec<TimedPose> {
    let poses = poses.into_iter().enumerate();
    poses
        .map(|(index, base_from_effector)| TimedPose {
            time: SessionTime::from_nanos(index as i64 * STEP_NS),
            base_from_effector,
        })
        .collect()
}

/// Home, with joints swinging by up to `amplitude` at different rates: within the limits.
fn swing(arm: &Arm, steps: usize, amplitude: f64) -> Vec<Vec<f64>> {
    let joint = |index: usize, step: usize| {
        let phase = step as f64 * 0.02 * (0.7 + 0.13 * index as f64);
        arm.home()[index] + amplitude * phase.sin()
    };
    let q = |step| (0..arm.dof()).map(|index| joint(index, step)).collect();
    (0..steps).map(q).collect()
}

fn count(check: &ArmCheck, flag: u32) -> u64 {
    let index = ARM_FLAGS
        .iter()
        .position(|(known, _)| *known == flag)
        .unwrap();
    check.report.flags[index].steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_the_arm_can_do_is_found_within_tolerance_and_limits(
        parts in proptest::collection::vec(0.02..0.98, 7),
    ) {
        for arm in arms() {
            let poses = poses_along(&arm, [within_arm_limits(&arm, &parts)]);
            let check = checker(&arm).check(&poses);
            let step = &check.steps[0];
            prop_assert_eq!(step.flags & UNREACHABLE, 0, "{} {:?}", arm.name(), step);
            let at = *ArmKinematics::new(arm.clone()).update(&step.q);
            let asked = poses[0].base_from_effector.unwrap();
            let shift = (at.translation.vector - asked.translation.vector).norm();
            let turn = at.rotation.angle_to(&asked.rotation);
            prop_assert!(shift < 1e-3 && turn < 0.5_f64.to_radians(), "{shift} m, {turn} rad");
            prop_assert!((shift - step.position_error_m.unwrap()).abs() < 1e-9);
            prop_assert!((turn - step.rotation_error_rad.unwrap()).abs() < 1e-7);
            for (joint, &q) in arm.joints().iter().zip(&step.q) {
                prop_assert!((joint.lower..=joint.upper).contains(&q));
            }
        }
    }

    #[test]
    fn what_no_arm_can_reach_is_flagged_and_answered_within_limits(
        direction in proptest::array::uniform3(-1.0..1.0), far in 0.01..1e3,
        turn in proptest::array::uniform3(-3.0..3.0),
    ) {
        for arm in arms() {
            let direction = Vector3::from(direction).try_normalize(1e-3).unwrap_or_else(Vector3::x);
            let first = arm.joints()[0].parent_from_joint.translation.vector;
            let pose = Isometry3::from_parts(
                Translation3::from(first + direction * (arm.reach() + far)),
                UnitQuaternion::from_scaled_axis(Vector3::from(turn)),
            );
            let check = checker(&arm).check(&timed([Some(pose)]));
            let step = &check.steps[0];
            prop_assert_eq!(step.flags & UNREACHABLE, UNREACHABLE);
            prop_assert!(step.position_error_m.unwrap() > far - 1e-3);
            for (joint, &q) in arm.joints().iter().zip(&step.q) {
                prop_assert!((joint.lower..=joint.upper).contains(&q));
            }
            prop_assert_eq!(check.report.reachable_percent, 0.0);
        }
    }

    #[test]
    fn the_singular_value_is_that_of_the_jacobian_and_flagged_below_the_bound(
        parts in proptest::collection::vec(0.0..1.0, 7), bound in 0.0..0.3,
    ) {
        for arm in arms() {
            let options = ArmCheckOptions { least_singular_value: bound, ..Default::default() };
            let checker = ArmChecker::new(arm.clone(), options).unwrap();
            let poses = poses_along(&arm, [within_arm_limits(&arm, &parts)]);
            let step = checker.check(&poses).steps.remove(0);
            let mut kinematics = ArmKinematics::new(arm.clone());
            kinematics.update(&step.q);
            let mut columns = vec![Vector6::zeros(); arm.dof()];
            kinematics.jacobian(&mut columns);
            let matrix = DMatrix::from_fn(6, arm.dof(), |row, column| columns[column][row]);
            let least = matrix.singular_values().min();
            prop_assert!((least - step.singular_value).abs() < 1e-7, "{least} {}", step.singular_value);
            prop_assert_eq!(step.flags & SINGULAR != 0, step.singular_value < bound);
        }
    }
}

#[test]
fn a_smooth_motion_is_followed_without_a_flag() {
    for arm in arms() {
        let poses = poses_along(&arm, swing(&arm, 1500, 0.2));
        let check = checker(&arm).check(&poses);
        assert_eq!(
            check.report.first_bad,
            None,
            "{}: {:?}",
            arm.name(),
            check.report
        );
        assert_eq!(
            (check.report.good, check.report.reachable_percent),
            (1500, 100.0)
        );
        let worst = check
            .steps
            .iter()
            .map(|step| step.position_error_m.unwrap())
            .fold(0.0, f64::max);
        assert!(worst < 2e-5, "{}: {worst} m", arm.name());
    }
}

#[test]
fn answers_do_not_depend_on_the_number_of_threads() {
    for arm in arms() {
        // Beyond the limits in places, with gaps: everything happens.
        let mut poses = poses_along(&arm, swing(&arm, 1100, 1.8));
        for index in (250..262).chain([0, 256, 511, 1099]) {
            poses[index].base_from_effector = None;
        }
        let run = |threads| {
            let threads = NonZeroUsize::new(threads);
            let options = ArmCheckOptions {
                threads,
                ..Default::default()
            };
            ArmChecker::new(arm.clone(), options).unwrap().check(&poses)
        };
        let one = run(1);
        assert_eq!(one, run(2), "{}", arm.name());
        assert_eq!(one, run(7), "{}", arm.name());
        assert_eq!(count(&one, INPUT_HELD), 15);
    }
}

#[test]
fn a_straight_iiwa_is_singular() {
    let arm = Arc::new(Arm::by_name("iiwa14").unwrap());
    let straight = |elbow| vec![0.3, 0.8, 0.0, elbow, 0.0, 0.5, 0.0];
    let poses = poses_along(&arm, [straight(-1e-4), straight(-1.2)]);
    let flags = |pose: TimedPose| checker(&arm).check(&[pose]).steps[0].flags;
    assert_eq!(flags(poses[0]), SINGULAR);
    assert_eq!(flags(poses[1]), 0);
}

#[test]
fn faster_than_a_joint_can_is_flagged() {
    for arm in arms() {
        for share in [0.9, 1.1] {
            let path = (0..40).map(|step| {
                let mut q = arm.home().to_vec();
                q[0] += step as f64 * share * arm.joints()[0].velocity * STEP_NS as f64 * 1e-9;
                q
            });
            let check = checker(&arm).check(&poses_along(&arm, path));
            assert_eq!(check.steps[0].flags, 0);
            for steps in check.steps.windows(2) {
                let moves = steps[1]
                    .q
                    .iter()
                    .zip(&steps[0].q)
                    .map(|(q, last)| (q - last).abs());
                let speeds = moves
                    .zip(arm.joints())
                    .map(|(by, joint)| by * 50.0 / joint.velocity);
                let fastest = speeds.fold(0.0, f64::max);
                assert!((steps[1].speed - fastest).abs() < 1e-9);
                let expected = if fastest > 1.0 { VELOCITY } else { 0 };
                assert_eq!(steps[1].flags, expected, "{} {share} {steps:?}", arm.name());
                // Without a joint to spare the others cannot help the first one.
                if arm.dof() == 6 {
                    assert!((fastest - share).abs() < 0.01, "{share} {fastest}");
                }
            }
        }
    }
}

#[test]
fn a_jump_of_the_pose_is_a_discontinuity_at_that_step_alone() {
    for arm in arms() {
        let path = (0..600).map(|step| {
            let mut q = arm.home().to_vec();
            q[0] += if step < 300 { -0.4 } else { 0.4 };
            q
        });
        let check = checker(&arm).check(&poses_along(&arm, path));
        for (index, step) in check.steps.iter().enumerate() {
            let expected = if index == 300 {
                VELOCITY | DISCONTINUITY
            } else {
                0
            };
            assert_eq!(step.flags, expected, "{} {index}", arm.name());
        }
        let first = check.report.first_bad.unwrap();
        assert_eq!(
            (first.step, first.time),
            (300, SessionTime::from_nanos(300 * STEP_NS))
        );
        let names: Vec<_> = arm_flag_names(first.flags).collect();
        assert_eq!(names, ["velocity", "discontinuity"]);
    }
}

#[test]
fn gaps_and_bad_numbers_hold_the_last_answer() {
    let arm = Arc::new(Arm::by_name("ur5e").unwrap());
    let mut poses = poses_along(&arm, swing(&arm, 40, 0.2));
    poses[0].base_from_effector = None;
    poses[20].base_from_effector = Some(Isometry3::translation(f64::NAN, 0.0, 0.0));
    poses[21].base_from_effector = Some(Isometry3::translation(1e200, 0.0, 0.0));
    let check = checker(&arm).check(&poses);
    for (index, step) in check.steps.iter().enumerate() {
        assert_eq!(
            step.flags & INPUT_HELD != 0,
            [0, 20, 21].contains(&index),
            "{index}"
        );
        assert!(step.q.iter().all(|q| q.is_finite()));
    }
    assert_eq!(check.steps[0].q, arm.home());
    assert_eq!(check.steps[21].q, check.steps[19].q);
    assert_eq!(check.steps[20].position_error_m, None);
    let report = &check.report;
    assert_eq!((report.steps, report.reached), (40, 37));
    assert_eq!(report.reachable_percent, 92.5);
    assert_eq!(checker(&arm).check(&[]).report.steps, 0);
    let only_gaps = checker(&arm).check(&timed([None, None]));
    assert_eq!(count(&only_gaps, INPUT_HELD), 2);
}

#[test]
fn a_joint_at_its_limit_is_flagged() {
    let arm = Arc::new(Arm::by_name("iiwa14").unwrap());
    let path = |a7: f64| {
        let mut q = arm.home().to_vec();
        q[6] = a7;
        q
    };
    let poses = poses_along(&arm, [path(1.0)]);
    let with_margin = |limit_margin| {
        let options = ArmCheckOptions {
            limit_margin,
            ..Default::default()
        };
        let checker = ArmChecker::new(arm.clone(), options).unwrap();
        checker.check(&poses).steps.remove(0)
    };
    let step = with_margin(0.0);
    assert_eq!(step.flags, 0);
    let nearest = arm
        .joints()
        .iter()
        .zip(&step.q)
        .map(|(joint, &q)| (q - joint.lower).min(joint.upper - q))
        .fold(f64::INFINITY, f64::min);
    assert_eq!(with_margin(nearest - 1e-6).flags, 0);
    assert_eq!(with_margin(nearest + 1e-6).flags, LIMIT);
}

#[test]
fn links_that_touch_are_flagged_and_so_is_what_hangs_on_the_flange() {
    let arm = Arc::new(Arm::by_name("ur5e").unwrap());
    // The elbow folded as far as it goes puts the wrist into the shoulder.
    let folded = vec![0.0, -1.2, 3.0, -1.57, -1.57, 0.0];
    let mut kinematics = ArmKinematics::new(arm.clone());
    kinematics.update(&folded);
    assert!(kinematics.self_distance().unwrap().2.distance < 0.0);
    let check = checker(&arm).check(&poses_along(&arm, [arm.home().to_vec()]));
    let free = check.steps[0].self_distance_m.unwrap();
    assert!(free > 0.0 && check.steps[0].flags == 0);
    // A rod from the flange back to where the upper arm stands.
    let back = kinematics.update(arm.home()).rotation.inverse() * -Vector3::x();
    let rod = |from: f64, to: f64| PlacedCapsule {
        from: Point3::from(back * from),
        to: Point3::from(back * to),
        radius: 0.02,
    };
    let options = ArmCheckOptions {
        effector_capsules: vec![rod(0.1, 0.6)],
        ..Default::default()
    };
    let with_rod = ArmChecker::new(arm.clone(), options).unwrap();
    assert!(with_rod.arm().collision_pairs().len() > arm.collision_pairs().len());
    // In the home posture it would meet it; there is another one in which it does not.
    let step = &with_rod
        .check(&poses_along(&arm, [arm.home().to_vec()]))
        .steps[0];
    assert_eq!(step.flags, 0);
    let mut kinematics = ArmKinematics::new(with_rod.arm().clone());
    kinematics.update(arm.home());
    assert!(kinematics.self_distance().unwrap().2.distance < -0.02);
    kinematics.update(&step.q);
    let free_of_it = kinematics.self_distance().unwrap().2.distance;
    assert_eq!(Some(free_of_it), step.self_distance_m);
    // Something too thick for any posture.
    let thick = PlacedCapsule {
        radius: 0.3,
        ..rod(0.0, 0.0)
    };
    let options = ArmCheckOptions {
        effector_capsules: vec![thick],
        ..Default::default()
    };
    let thick = ArmChecker::new(arm.clone(), options).unwrap();
    let step = &thick.check(&poses_along(&arm, [arm.home().to_vec()])).steps[0];
    assert_eq!(step.flags, COLLISION);
    assert!(step.self_distance_m.unwrap() < 0.0);
    // The same rod mounted 1.1 m out from the flange is harmless.
    let options = ArmCheckOptions {
        effector_capsules: vec![rod(0.1, 0.6)],
        flange_from_effector: Isometry3::translation(0.0, 0.0, 1.1),
        ..Default::default()
    };
    let far = ArmChecker::new(arm.clone(), options).unwrap();
    let mount = far.options().flange_from_effector;
    let poses = timed([Some(
        ArmKinematics::new(arm.clone()).base_from_flange() * mount,
    )]);
    let step = &far.check(&poses).steps[0];
    assert_eq!((step.flags, step.self_distance_m), (0, Some(free)));
}

#[test]
fn a_posture_that_lasts_is_preferred_to_one_that_ends_at_a_limit() {
    // The last joint turns by 11 of its 12.6 rad: it meets its limit unless it begins near the
    // other one, farther from home than any start of the search.
    let arm = Arc::new(Arm::by_name("ur5e").unwrap());
    let path = (0..400).map(|step| {
        let mut q = arm.home().to_vec();
        q[5] = 1.0 + step as f64 * 0.0275;
        q
    });
    let check = checker(&arm).check(&poses_along(&arm, path));
    assert_eq!(check.report.first_bad, None, "{:?}", check.report);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let arm = Arc::new(Arm::by_name("ur5e").unwrap());
    let refused = |options| ArmChecker::new(arm.clone(), options).unwrap_err();
    let bad = ArmCheckOptions {
        position_tolerance_m: f64::NAN,
        ..Default::default()
    };
    assert!(
        matches!(refused(bad), ArmError::Option { option, .. } if option == "position_tolerance_m")
    );
    let bad = ArmCheckOptions {
        jump: 0.0,
        ..Default::default()
    };
    assert_eq!(
        refused(bad).to_string(),
        "option jump: expected 0.001 to 10, got 0; correct it"
    );
}
