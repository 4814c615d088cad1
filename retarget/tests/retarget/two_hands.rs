use std::path::Path;

use dexumi_episode::{
    EpisodeWriter, SessionTime,
    schema::{EffectorPose, Retargeted},
};
use dexumi_retarget::{
    HANDS_NEAR_M, Hand, PlacedCapsule, effector_topic, hand_capsules, hands_apart, joints_topic,
    nearest_pair,
};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use proptest::prelude::*;

use crate::within_limits;

fn two_hands() -> (Hand, Hand) {
    let hand = |name| Hand::by_name(name).unwrap();
    (hand("xhand_left"), hand("xhand_right"))
}

/// Points all over a capsule's surface.
fn surface(capsule: &PlacedCapsule) -> Vec<Point3<f64>> {
    let directions = [-1.0, -0.5, 0.0, 0.5, 1.0];
    let mut points = Vec::new();
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let centre = capsule.from + (capsule.to - capsule.from) * part;
        for x in directions {
            for y in directions {
                for z in directions {
                    let direction = Vector3::new(x, y, z).try_normalize(0.1);
                    points.extend(direction.map(|way| centre + way * capsule.radius));
                }
            }
        }
    }
    points
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn two_hands_are_no_closer_than_said_and_no_farther_than_their_surfaces(
        left_parts in proptest::collection::vec(0.0..1.0, 24),
        right_parts in proptest::collection::vec(0.0..1.0, 24),
        shift in proptest::array::uniform3(-0.3..0.3),
        turn in proptest::array::uniform3(-3.0..3.0),
    ) {
        let (left, right) = two_hands();
        let world_from_right = Isometry3::from_parts(
            Translation3::from(shift),
            UnitQuaternion::from_scaled_axis(Vector3::from(turn)),
        );
        let pose = left.forward(&within_limits(&left, &left_parts));
        let lefts = hand_capsules(&left, &pose, &Isometry3::identity());
        let pose = right.forward(&within_limits(&right, &right_parts));
        let rights = hand_capsules(&right, &pose, &world_from_right);
        let nearest = nearest_pair(&lefts, &rights).unwrap();
        let mut sampled = f64::INFINITY;
        for left in &lefts {
            for point in surface(left) {
                for right in &rights {
                    let along = right.to - right.from;
                    let part = (point - right.from).dot(&along) / along.norm_squared();
                    let on_axis = right.from + along * part.clamp(0.0, 1.0);
                    sampled = sampled.min((point - on_axis).norm() - right.radius);
                }
            }
        }
        prop_assert!(nearest.closest.distance <= sampled + 1e-12);
        prop_assert!(nearest.first < lefts.len() && nearest.second < rights.len());
    }
}

#[test]
fn hands_apart_are_apart_by_their_distance_and_hands_in_one_place_collide() {
    let (left, right) = two_hands();
    let at = |y: f64| {
        let lefts = hand_capsules(&left, &left.forward(&left.rest()), &Isometry3::identity());
        let world_from_right = Isometry3::translation(0.0, y, 0.0);
        let rights = hand_capsules(&right, &right.forward(&right.rest()), &world_from_right);
        nearest_pair(&lefts, &rights).unwrap().closest.distance
    };
    assert!(at(0.0) < -0.01, "{}", at(0.0));
    // Far apart along y the distance grows by what is added.
    assert!(
        (at(2.0) - at(1.0) - 1.0).abs() < 1e-3,
        "{} {}",
        at(1.0),
        at(2.0)
    );
    assert_eq!(nearest_pair(&[], &[]), None);
}

/// A derived file: the hand at rest every 10 ms, its wrist at (x(t), 0, 0) every 25 ms.
fn write_derived(path: &Path, side: &str, hand: &Hand, x: impl Fn(f64) -> f64) {
    let mut writer = EpisodeWriter::create_bare(path).unwrap();
    let joints = writer
        .channel::<Retargeted>(&joints_topic(side), &[])
        .unwrap();
    let poses = writer
        .channel::<EffectorPose>(&effector_topic(side), &[])
        .unwrap();
    for ms in 0..1000_u64 {
        let time = SessionTime::from_nanos(ms as i64 * 1_000_000);
        if ms % 10 == 0 {
            let message = Retargeted {
                position: hand.rest(),
                ..Retargeted::default()
            };
            writer.write(joints, ms, time, time, &message);
        }
        // The wrist is lost for a while.
        if ms % 25 == 0 && !(400..600).contains(&ms) {
            let message = EffectorPose {
                position: vec![x(ms as f64 * 1e-3), 0.0, 0.0],
                rotation: vec![0.0, 0.0, 0.0, 1.0],
                ..EffectorPose::default()
            };
            writer.write(poses, ms, time, time, &message);
        }
    }
    let whole = writer.finish_bare().unwrap();
    std::fs::rename(whole, path).unwrap();
}

#[test]
fn hands_that_meet_are_told_with_the_time_and_what_is_not_known() {
    let (left, right) = two_hands();
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["left", "right"].map(|name| folder.path().join(format!("{name}.mcap")));
    write_derived(&one, "left", &left, |_| 0.0);
    // Half a metre away at first, in it at the end.
    let x = |t: f64| 0.5 * (1.0 - t);
    write_derived(&other, "right", &right, x);
    let apart = hands_apart((&one, &left), (&other, &right))
        .unwrap()
        .unwrap();

    let placed = |hand: &Hand, x: f64| {
        let at = Isometry3::translation(x, 0.0, 0.0);
        hand_capsules(hand, &hand.forward(&hand.rest()), &at)
    };
    let truth = |t: f64| {
        nearest_pair(&placed(&left, 0.0), &placed(&right, x(t)))
            .unwrap()
            .closest
            .distance
    };
    // From the last pose before 0.4 s to the first from 0.6 s on: 0.38 to 0.59 s; after 0.975 s.
    assert_eq!((apart.steps, apart.unknown), (76, 24));
    let steps = (0..98)
        .filter(|k| !(38..60).contains(k))
        .map(|k| f64::from(k) * 0.01);
    let distances: Vec<(f64, f64)> = steps.map(|t| (truth(t), t)).collect();
    let least = distances
        .iter()
        .copied()
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap();
    assert!(
        (apart.least_m - least.0).abs() < 1e-9,
        "{apart:?} {least:?}"
    );
    let near: Vec<f64> = distances
        .iter()
        .filter(|(distance, _)| *distance < HANDS_NEAR_M)
        .map(|&(_, t)| t)
        .collect();
    assert!(apart.near > 0 && apart.near == near.len() as u64);
    assert!((apart.first_near_s.unwrap() - near[0]).abs() < 1e-9);
    assert!(apart.least_m < 0.0);
}
