use dexumi_retarget::{POSE_NON_FINITE, POSE_UNNORMALISED, WristMap, WristMode};
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
