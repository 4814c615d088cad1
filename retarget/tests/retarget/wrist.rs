use std::num::NonZeroU32;

use dexumi_retarget::{
    CHUNK_WITHOUT_REFERENCE, CLUTCH_RELEASED, POSE_NON_FINITE, POSE_UNNORMALISED, WristMap,
    WristMode, WristStep, se3_exp,
};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use proptest::prelude::*;

fn pose() -> impl Strategy<Value = Isometry3<f64>> {
    let numbers = proptest::array::uniform3(-2.0..2.0);
    (numbers.clone(), numbers).prop_map(|(translation, rotation)| {
        Isometry3::from_parts(
            Translation3::from(translation),
            UnitQuaternion::from_scaled_axis(Vector3::from(rotation)),
        )
    })
}

fn parts(pose: &Isometry3<f64>) -> ([f64; 3], [f64; 4]) {
    (pose.translation.vector.into(), pose.rotation.coords.into())
}

fn step(map: &mut WristMap, world_from_tracker: &Isometry3<f64>) -> WristStep {
    let (translation, rotation) = parts(world_from_tracker);
    map.step(translation, rotation)
}

fn distance(one: &Isometry3<f64>, other: &Isometry3<f64>) -> f64 {
    (one.to_homogeneous() - other.to_homogeneous()).abs().max()
}

proptest! {
    #[test]
    fn an_absolute_pose_goes_through_the_mount(
        tracker_from_effector in pose(), world_from_tracker in pose(), scale in 0.9995..1.0005,
    ) {
        let mut map = WristMap::new(tracker_from_effector, WristMode::Absolute);
        let (translation, rotation) = parts(&world_from_tracker);
        let step = map.step(translation, rotation.map(|x| x * scale));
        let expected = world_from_tracker.to_homogeneous() * tracker_from_effector.to_homogeneous();
        let error = (step.effector.unwrap().to_homogeneous() - expected).abs().max();
        prop_assert!(error < 1e-9, "{error}");
    }

    #[test]
    fn a_relative_pose_starts_at_the_identity_and_does_not_depend_on_the_world(
        tracker_from_effector in pose(), first in pose(), second in pose(), other_from_world in pose(),
    ) {
        let run = |other_from_world: Isometry3<f64>| {
            let mut map = WristMap::new(tracker_from_effector, WristMode::RelativeToFirst);
            [first, second].map(|world_from_tracker| {
                let (translation, rotation) = parts(&(other_from_world * world_from_tracker));
                map.step(translation, rotation).effector.unwrap()
            })
        };
        let here = run(Isometry3::identity());
        let there = run(other_from_world);
        prop_assert!(distance(&here[0], &Isometry3::identity()) < 1e-9);
        prop_assert!(distance(&here[1], &there[1]) < 1e-9);
        let expected = tracker_from_effector.inverse() * first.inverse() * second * tracker_from_effector;
        prop_assert!(distance(&here[1], &expected) < 1e-9);
    }

    #[test]
    fn the_base_stands_in_front(
        tracker_from_effector in pose(), base in pose(), first in pose(), second in pose(),
    ) {
        let run = |mode| {
            let mut map = WristMap::new(tracker_from_effector, mode).with_base(base);
            step(&mut map, &first);
            step(&mut map, &second).effector.unwrap()
        };
        // A·T·X, and DexUMI's T₀·X·ΔT·X⁻¹ with its X = effector_from_tracker.
        let absolute = base * second * tracker_from_effector;
        prop_assert!(distance(&run(WristMode::Absolute), &absolute) < 1e-9);
        let x = tracker_from_effector.inverse();
        let relative = base * x * (first.inverse() * second) * x.inverse();
        prop_assert!(distance(&run(WristMode::RelativeToFirst), &relative) < 1e-9);
    }

    #[test]
    fn a_clutch_moves_the_effector_while_closed_and_leaves_it_while_open(
        tracker_from_effector in pose(), start in pose(), other_from_world in pose(),
        poses in proptest::collection::vec((pose(), any::<bool>()), 1..20),
    ) {
        let run = |other_from_world: Isometry3<f64>| {
            let mut map = WristMap::new(tracker_from_effector, WristMode::Clutched).with_base(start);
            let steps = poses.iter().map(|(pose, is_closed)| {
                if *is_closed { map.engage() } else { map.release() }
                let moved = step(&mut map, &(other_from_world * pose));
                (moved.effector.unwrap(), moved.flags)
            });
            steps.collect::<Vec<_>>()
        };
        let here = run(Isometry3::identity());
        let mut last = (start, Isometry3::identity(), false);
        for ((effector, flags), (pose, is_closed)) in here.iter().zip(&poses) {
            prop_assert_eq!(*flags, if *is_closed { 0 } else { CLUTCH_RELEASED });
            let expected = if *is_closed && last.2 {
                // In its own axes it moves as the tracked effector does.
                let moved = (last.1 * tracker_from_effector).inverse() * pose * tracker_from_effector;
                last.0 * moved
            } else {
                // Nothing moves while it is open, nor at the step that closes it.
                last.0
            };
            prop_assert!(distance(effector, &expected) < 1e-8);
            last = (*effector, *pose, *is_closed);
        }
        for (here, there) in here.iter().zip(run(other_from_world)) {
            prop_assert!(distance(&here.0, &there.0) < 1e-8);
        }
    }

    #[test]
    fn a_chunk_is_relative_to_its_first_step_and_does_not_depend_on_the_world(
        tracker_from_effector in pose(), other_from_world in pose(), steps in 1_u32..6,
        poses in proptest::collection::vec(pose(), 1..20),
    ) {
        let mode = WristMode::ChunkRelative { steps: NonZeroU32::new(steps).unwrap() };
        let mut map = WristMap::new(tracker_from_effector, mode).with_base(other_from_world);
        for (index, pose) in poses.iter().enumerate() {
            let first = poses[index - index % steps as usize];
            let x = tracker_from_effector;
            let expected = (first * x).inverse() * (pose * x);
            let given = step(&mut map, &(other_from_world * pose));
            prop_assert!(distance(&given.effector.unwrap(), &expected) < 1e-8);
            let from_log = se3_exp(&given.log().unwrap());
            // Half a turn has two logarithms.
            prop_assume!(expected.rotation.angle() < 3.1);
            prop_assert!(distance(&from_log, &expected) < 1e-8);
            let split = given.translation_and_rotation_vector().unwrap();
            prop_assert!((Vector3::from_row_slice(&split[..3]) - expected.translation.vector).norm() < 1e-8);
            prop_assert!((Vector3::from_row_slice(&split[3..]) - expected.rotation.scaled_axis()).norm() < 1e-7);
        }
    }
}

#[test]
fn bad_poses_are_refused_and_do_not_become_the_first() {
    let mut map = WristMap::new(Isometry3::identity(), WristMode::RelativeToFirst);
    let upright = [0.0, 0.0, 0.0, 1.0];
    let bad = [
        ([f64::NAN, 0.0, 0.0], upright, POSE_NON_FINITE),
        ([0.0; 3], [0.0, f64::INFINITY, 0.0, 1.0], POSE_NON_FINITE),
        ([0.0; 3], [0.0; 4], POSE_UNNORMALISED),
        ([0.0; 3], [0.0, 0.0, 0.1, 1.0], POSE_UNNORMALISED),
    ];
    for (translation, rotation, flags) in bad {
        let step = map.step(translation, rotation);
        assert_eq!((step.effector, step.flags), (None, flags));
    }
    assert_eq!(map.rejected(), 4);
    let x = |map: &mut WristMap, x: f64| {
        map.step([x, 0.0, 0.0], upright)
            .effector
            .unwrap()
            .translation
            .x
    };
    assert_eq!([x(&mut map, 1.0), x(&mut map, 1.5)], [0.0, 0.5]);
    map.restart();
    assert_eq!(x(&mut map, 1.5), 0.0);
}

#[test]
fn a_chunk_whose_first_pose_is_bad_has_no_reference_and_the_next_chunk_starts_on_time() {
    let mode = WristMode::ChunkRelative {
        steps: NonZeroU32::new(3).unwrap(),
    };
    let mut map = WristMap::new(Isometry3::identity(), mode);
    let upright = [0.0, 0.0, 0.0, 1.0];
    let xs = [f64::NAN, 1.0, f64::NAN, 3.0, f64::NAN, 5.0];
    let answers = xs.map(|x| {
        let step = map.step([x, 0.0, 0.0], upright);
        (step.effector.map(|pose| pose.translation.x), step.flags)
    });
    let expected = [
        (None, POSE_NON_FINITE),
        (None, CHUNK_WITHOUT_REFERENCE),
        (None, POSE_NON_FINITE | CHUNK_WITHOUT_REFERENCE),
        (Some(0.0), 0),
        (None, POSE_NON_FINITE),
        (Some(2.0), 0),
    ];
    assert_eq!(answers, expected);
    assert_eq!((map.rejected(), map.without_reference()), (3, 1));
}

#[test]
fn a_bad_pose_does_not_close_the_clutch() {
    let mut map = WristMap::new(Isometry3::identity(), WristMode::Clutched);
    let upright = [0.0, 0.0, 0.0, 1.0];
    map.engage();
    assert_eq!(map.step([f64::NAN; 3], upright).flags, POSE_NON_FINITE);
    let x = |map: &mut WristMap, x: f64| map.step([x, 0.0, 0.0], upright).effector.unwrap();
    assert_eq!(x(&mut map, 2.0).translation.x, 0.0);
    assert_eq!(x(&mut map, 2.5).translation.x, 0.5);
    map.engage();
    assert_eq!(
        x(&mut map, 3.0).translation.x,
        1.0,
        "closing a closed clutch does nothing"
    );
    map.restart();
    assert_eq!(x(&mut map, 9.0).translation.x, 0.0);
}
