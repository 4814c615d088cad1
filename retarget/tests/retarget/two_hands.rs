use dexumi_retarget::{Hand, PlacedCapsule, hand_capsules, nearest_pair};
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
