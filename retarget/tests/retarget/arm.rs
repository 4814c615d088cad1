use std::collections::HashMap;

use dexumi_retarget::{ARMS, Arm, ArmError, ArmKinematics, ArmMotion};
use nalgebra::{Isometry3, Matrix4, Vector3, Vector6};
use proptest::prelude::*;

use crate::urdf::Urdf;
use crate::{arms, shared, within_arm_limits};

/// Arm, its URDF, the URDF's base link and its last link, on which the flange sits.
const REFERENCE: &[(&str, &str, &str)] = &[
    ("ur5e", "urdf/arms/ur5e.urdf", "wrist_3_link"),
    ("xarm7", "urdf/arms/xarm7.urdf", "link_eef"),
    ("iiwa14", "urdf/arms/iiwa14.urdf", "ee_link"),
];

fn largest(matrix: &Matrix4<f64>) -> f64 {
    matrix.abs().max()
}

#[test]
fn every_arm_agrees_with_an_independent_reading_of_its_urdf() {
    assert_eq!(REFERENCE.len(), ARMS.len());
    for (name, file, flange) in REFERENCE {
        let Some(file) = shared(file) else { return };
        let urdf = Urdf::read(&file);
        let arm = Arm::by_name(name).unwrap();
        let moving: Vec<_> = urdf
            .joints
            .iter()
            .filter(|joint| joint.kind != "fixed")
            .collect();
        assert_eq!(moving.len(), arm.dof());
        for (ours, theirs) in arm.joints().iter().zip(&moving) {
            assert_eq!(ours.name, theirs.name);
            let theirs = (theirs.lower, theirs.upper, theirs.velocity);
            assert_eq!((ours.lower, ours.upper, ours.velocity), theirs);
        }
        let mut kinematics = ArmKinematics::new(arm.clone());
        let mut random = 1_u64;
        for trial in 0..=1000 {
            let q: Vec<f64> = (0..arm.dof())
                .map(|_| {
                    // Knuth's linear congruential generator, top 53 bits, to ±3 rad.
                    random = random
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let part = (random >> 11) as f64 / (1_u64 << 53) as f64;
                    if trial == 0 { 0.0 } else { 6.0 * part - 3.0 }
                })
                .collect();
            let names = arm.joints().iter().map(|joint| joint.name.clone());
            let positions: HashMap<String, f64> = names.zip(q.iter().copied()).collect();
            let base_from_flange = *kinematics.update(&q);
            for (joint, base_from_joint) in moving.iter().zip(kinematics.base_from_joint()) {
                let expected = urdf.root_from_link(&joint.child, &positions);
                let error = largest(&(base_from_joint.to_homogeneous() - expected));
                assert!(error < 1e-9, "{name}, {}: {error}", joint.name);
            }
            let expected = urdf.root_from_link(flange, &positions);
            let shift = base_from_flange.translation.vector - expected.fixed_view::<3, 1>(0, 3);
            assert!(shift.norm() < 1e-9, "{name}, flange: {shift}");
            // Our flange has the axes of the last joint, whatever the URDF's tool frame has.
            let last = kinematics.base_from_joint().last().unwrap();
            assert!(base_from_flange.rotation.angle_to(&last.rotation) < 1e-12);
        }
    }
}

proptest! {
    #[test]
    fn the_jacobian_agrees_with_finite_differences(parts in proptest::collection::vec(0.0..1.0, 7)) {
        for arm in arms() {
            let q = within_arm_limits(&arm, &parts);
            let mut kinematics = ArmKinematics::new(arm.clone());
            let mut columns = vec![Vector6::zeros(); arm.dof()];
            let here = *kinematics.update(&q);
            kinematics.jacobian(&mut columns);
            for (joint, column) in columns.iter().enumerate() {
                let mut at = |delta: f64| {
                    let mut q = q.clone();
                    q[joint] += delta;
                    *kinematics.update(&q)
                };
                let (above, below) = (at(1e-6), at(-1e-6));
                let linear = (above.translation.vector - below.translation.vector) / 2e-6;
                let turn = |pose: &Isometry3<f64>| (pose.rotation * here.rotation.inverse()).scaled_axis();
                let angular = (turn(&above) - turn(&below)) / 2e-6;
                let error = (column.fixed_rows::<3>(0) - linear).norm()
                    + (column.fixed_rows::<3>(3) - angular).norm();
                prop_assert!(error < 1e-8, "{} joint {joint}: {error}", arm.name());
            }
        }
    }
}

#[test]
fn at_home_every_arm_points_down_in_front_of_its_base_and_touches_nothing() {
    for arm in arms() {
        let mut kinematics = ArmKinematics::new(arm.clone());
        let base_from_flange = *kinematics.base_from_flange();
        let out = base_from_flange.rotation * Vector3::z();
        assert!(out.z < -0.99, "{}: flange z is {out}", arm.name());
        let at = base_from_flange.translation;
        assert!(
            at.x > 0.2 && at.z > 0.0 && at.z < 0.8,
            "{}: {at}",
            arm.name()
        );
        let (one, other, closest) = kinematics.self_distance().unwrap();
        assert!(
            closest.distance > 0.0,
            "{}: {one} {other} {closest:?}",
            arm.name()
        );
        assert!(at.vector.norm() < arm.reach() + 0.4);
    }
}

const PRIMES: [f64; 7] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0];

/// A pair that always touches would make the collision flag worthless, one that never comes
/// near is no mistake.
#[test]
fn no_pair_of_capsules_touches_in_every_posture_and_some_posture_touches() {
    for arm in arms() {
        let mut kinematics = ArmKinematics::new(arm.clone());
        let mut touching = vec![0; arm.collision_pairs().len()];
        let mut postures = 0;
        let trials = 2000;
        for trial in 0..trials {
            let parts: Vec<f64> = (0..arm.dof())
                // Roots of primes: steps without a relation fill the box evenly (Weyl).
                .map(|joint| (f64::from(trial) * PRIMES[joint].sqrt()).fract())
                .collect();
            kinematics.update(&within_arm_limits(&arm, &parts));
            let placed = kinematics.capsules().to_vec();
            for (&(i, j), count) in arm.collision_pairs().iter().zip(&mut touching) {
                let closest = dexumi_retarget::closest(&placed[i], &placed[j]);
                *count += usize::from(closest.distance < 0.0);
            }
            let least = kinematics.self_distance().unwrap().2.distance;
            postures += usize::from(least < 0.0);
        }
        let share = |count: usize| count as f64 / f64::from(trials);
        println!(
            "{}: {} pairs, {:.1} % of postures touch",
            arm.name(),
            touching.len(),
            100.0 * share(postures)
        );
        for (&(i, j), &count) in arm.collision_pairs().iter().zip(&touching) {
            assert!(
                share(count) < 0.5,
                "{} {i} {j}: {}",
                arm.name(),
                share(count)
            );
        }
        assert!(postures > 0);
    }
}

/// A rail under one turning joint, written for these tests.
const RAIL: &str = r#"
name = "rail"
base = "floor"
flange = { xyz = [0.5, 0.0, 0.0], rpy = [0.0, 0.0, 0.0] }
[[joint]]
name = "slide"
motion = "prismatic"
xyz = [0.0, 0.0, 1.0]
rpy = [0.0, 0.0, 0.0]
axis = [0.0, 1.0, 0.0]
lower = 0.0
upper = 2.0
velocity = 0.5
[[joint]]
name = "turn"
xyz = [0.0, 0.0, 0.0]
rpy = [0.0, 0.0, 0.0]
axis = [0.0, 0.0, 1.0]
lower = -1.0
upper = 1.0
velocity = 1.0
[[capsule]]
link = "floor"
from = [0.0, 0.0, 0.0]
to = [0.0, 0.0, 0.1]
radius = 0.05
[[capsule]]
link = "turn"
from = [0.0, 0.0, 0.0]
to = [0.5, 0.0, 0.0]
radius = 0.05
"#;

#[test]
fn a_sliding_joint_slides() {
    let arm = Arm::from_toml(RAIL, "test").unwrap();
    assert_eq!(arm.joints()[0].motion, ArmMotion::Prismatic);
    assert_eq!((arm.home(), arm.reach()), ([1.0, 0.0].as_slice(), 2.5));
    assert_eq!(arm.collision_pairs(), [(0, 1)]);
    let mut kinematics = ArmKinematics::new(arm);
    let at = kinematics.update(&[0.25, 0.0]).translation.vector;
    assert!((at - Vector3::new(0.5, 0.25, 1.0)).norm() < 1e-12);
    assert!((kinematics.self_distance().unwrap().2.distance - 0.8340771).abs() < 1e-6);
    let excepted = format!("may_touch = [[\"turn\", \"floor\"]]\n{RAIL}");
    assert_eq!(
        Arm::from_toml(&excepted, "test").unwrap().collision_pairs(),
        []
    );
}

#[test]
fn a_wrong_arm_file_says_what_where_and_what_was_expected() {
    for (from, to, expected) in [
        (
            "axis = [0.0, 1.0, 0.0]",
            "axis = [0.0, 0.0, 0.0]",
            "joint \"slide\", axis: expected a vector of length 1",
        ),
        (
            "lower = -1.0",
            "lower = 3.0",
            "joint \"turn\", lower and upper: expected lower < upper, got (3.0, 1.0)",
        ),
        (
            "upper = 2.0",
            "upper = inf",
            "joint \"slide\", lower and upper: expected limits, for a joint that slides",
        ),
        (
            "velocity = 1.0",
            "velocity = 0.0",
            "joint \"turn\", velocity: expected a speed above 0, got 0.0",
        ),
        (
            "xyz = [0.0, 0.0, 1.0]",
            "xyz = [0.0, nan, 1.0]",
            "joint \"slide\", xyz: expected finite numbers",
        ),
        (
            "name = \"turn\"",
            "name = \"slide\"",
            "joint \"slide\", name: expected a name used once",
        ),
        (
            "link = \"turn\"",
            "link = \"tower\"",
            "capsule 1 on \"tower\", link: expected the base or the name of a joint",
        ),
        (
            "radius = 0.05",
            "radius = 0.0",
            "capsule 0 on \"floor\", radius: expected a length above 0 m, got 0.0",
        ),
        (
            "base = \"floor\"",
            "base = \"floor\"\nhome = [0.0]",
            "home: expected 2 positions, one a joint, got 1",
        ),
        (
            "base = \"floor\"",
            "base = \"floor\"\nhome = [0.0, 2.0]",
            "home of joint \"turn\": expected -1 to 1, got 2.0",
        ),
    ] {
        let error = Arm::from_toml(&RAIL.replacen(from, to, 1), "an.toml")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(
            error.ends_with("correct it in the arm file: an.toml"),
            "{error}"
        );
    }
    let text = RAIL.replacen("velocity", "speed", 1);
    let error = Arm::from_toml(&text, "an.toml").unwrap_err();
    assert!(
        matches!(&error, ArmError::Parse { source, .. } if source.to_string().contains("velocity"))
    );
    let error = Arm::by_name("ur6").unwrap_err().to_string();
    assert!(
        error.contains("ur5e, xarm7, iiwa14") && error.contains("\"ur6\""),
        "{error}"
    );
}
