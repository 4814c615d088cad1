use dexumi_retarget::{Hand, Kinematics};

use crate::hands;

#[test]
fn no_capsules_overlap_at_rest_but_those_of_neighbours() {
    for hand in hands() {
        let mut kinematics = Kinematics::new(hand.clone());
        kinematics.update(&hand.rest());
        let pairs = hand.separate_pairs();
        assert!(pairs.len() > 100, "{}: {} pairs", hand.name(), pairs.len());
        for &(one, other) in &pairs {
            let gap = kinematics.capsule_gap(one, other).distance;
            let [a, b] = [one, other].map(|index| &hand.capsules()[index]);
            assert!(gap > 0.0, "{}: {gap} m, {a:?} {b:?}", hand.name());
        }
        assert_eq!(
            pairs,
            hand.collision_pairs(),
            "none is left out for overlapping"
        );
        let links = std::iter::once(None).chain((0..hand.joints().len()).map(Some));
        let bare = links.filter(|&link| hand.capsules().iter().all(|at| at.joint != link));
        // Links without length: two axes that meet, as at the base of Sharpa's fingers.
        for link in bare.flatten() {
            let next = hand
                .joints()
                .iter()
                .filter(|joint| joint.parent == Some(link));
            let length = next.map(|joint| joint.parent_from_joint.translation.vector.norm());
            let length = length.fold(0.0, f64::max);
            assert!(
                length < 0.02,
                "{}: {} is bare",
                hand.name(),
                hand.joints()[link].name
            );
        }
        for tip in hand.tips() {
            let near = hand
                .capsules()
                .iter()
                .filter(|at| at.joint == Some(tip.joint));
            let reach = near.map(|at| nalgebra::distance(&at.to, &tip.point_in_joint) - at.radius);
            let reach = reach.fold(f64::INFINITY, f64::min);
            assert!(
                reach.abs() < 0.003,
                "{} {:?}: {reach} m",
                hand.name(),
                tip.finger
            );
        }
    }
}

#[test]
fn capsules_that_come_together_are_told() {
    let hand = Hand::by_name("xhand_right").unwrap();
    let mut kinematics = Kinematics::new(hand.clone());
    // A fist: the fingertips go into the palm.
    let upper: Vec<f64> = hand.limits().iter().map(|limits| limits.1).collect();
    kinematics.update(&upper);
    let pairs = hand.collision_pairs();
    let least = pairs
        .iter()
        .map(|&(one, other)| kinematics.capsule_gap(one, other).distance);
    assert!(least.fold(f64::INFINITY, f64::min) < 0.0);
}
