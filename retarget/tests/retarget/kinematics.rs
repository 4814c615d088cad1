use std::collections::HashMap;

use dexumi_retarget::{Finger, Hand, Kinematics};
use nalgebra::Vector3;
use proptest::prelude::*;

use crate::urdf::Urdf;
use crate::{hands, shared, within_limits};

/// A finger whose second joint follows the first, written for these tests.
pub const COUPLED: &str = r#"
name = "coupled"
side = "right"
root = "palm"
[[joint]]
name = "base"
parent = "palm"
xyz = [0.0, 0.0, 0.1]
rpy = [0.1, -0.2, 0.3]
axis = [0.0, 1.0, 0.0]
lower = -0.5
upper = 2.0
velocity = 4.0
motor = { unit = "rad", sign = -1.0, offset = 0.25 }
[[joint]]
name = "follower"
parent = "base"
xyz = [0.0, 0.01, 0.05]
rpy = [0.0, 0.0, 0.0]
axis = [0.6, 0.8, 0.0]
lower = 0.0
upper = 1.25
velocity = 2.0
mimic = { joint = "base", factor = 1.25, offset = 0.125 }
[[tip]]
finger = "index"
joint = "follower"
xyz = [0.0, 0.0, 0.04]
middle_joint = "follower"
"#;

fn coupled() -> Hand {
    Hand::from_toml(COUPLED, "test").unwrap()
}

#[test]
fn joints_and_tips_agree_with_an_independent_reading_of_the_vendor_urdf() {
    for (name, file, prefix) in [
        ("xhand_right", "urdf/xhand1/xhand_right.urdf", "right"),
        ("xhand_left", "urdf/xhand1/xhand_left.urdf", "left"),
    ] {
        let Some(file) = shared(file) else { return };
        let urdf = Urdf::read(&file);
        let hand = Hand::by_name(name).unwrap();
        let moving: Vec<_> = urdf.joints.iter().filter(|joint| !joint.is_fixed).collect();
        assert_eq!(moving.len(), hand.joints().len());
        for (ours, theirs) in hand.joints().iter().zip(&moving) {
            assert_eq!(ours.name, theirs.name);
            let theirs = (theirs.lower, theirs.upper, theirs.velocity);
            assert_eq!((ours.lower, ours.upper, ours.velocity), theirs);
        }
        let mut random = 1_u64;
        for trial in 0..=100 {
            let q: Vec<f64> = (0..hand.dof())
                .map(|_| {
                    // Knuth's linear congruential generator, top 53 bits, to ±3 rad.
                    random = random
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let part = (random >> 11) as f64 / (1_u64 << 53) as f64;
                    if trial == 0 { 0.0 } else { 6.0 * part - 3.0 }
                })
                .collect();
            let names = hand.variable_names().map(str::to_owned);
            let positions: HashMap<String, f64> = names.zip(q.iter().copied()).collect();
            let pose = hand.forward(&q);
            for (joint, root_from_joint) in moving.iter().zip(&pose.root_from_joint) {
                let expected = urdf.root_from_link(&joint.child, &positions);
                let error = (root_from_joint.to_homogeneous() - expected).abs().max();
                assert!(error < 1e-9, "{}: {error}", joint.name);
            }
            for (tip, point) in hand.tips().iter().zip(&pose.tips) {
                let link = match tip.finger {
                    Finger::Thumb => "thumb_rota_tip",
                    Finger::Index => "index_rota_tip",
                    Finger::Middle => "mid_tip",
                    Finger::Ring => "ring_tip",
                    Finger::Little => "pinky_tip",
                };
                let expected = urdf.root_from_link(&format!("{prefix}_hand_{link}"), &positions);
                let error = (point.coords - expected.fixed_view::<3, 1>(0, 3)).norm();
                assert!(error < 1e-9, "{link}: {error} m");
            }
        }
    }
}

#[test]
fn a_coupled_joint_follows_its_source() {
    let hand = coupled();
    assert_eq!((hand.dof(), hand.joints().len()), (1, 2));
    // 0 <= 1.25 q + 0.125 <= 1.25 leaves -0.1 to 0.9; 2.0 rad/s / 1.25 leaves 1.6.
    let (lower, upper) = hand.limits()[0];
    assert!((lower + 0.1).abs() < 1e-12 && (upper - 0.9).abs() < 1e-12);
    assert!((hand.velocities()[0] - 1.6).abs() < 1e-12);
    let pose = hand.forward(&[0.5]);
    let turned = pose.root_from_joint[0]
        .rotation
        .angle_to(&pose.root_from_joint[1].rotation);
    assert!((turned - 0.75).abs() < 1e-12, "{turned}");
}

proptest! {
    #[test]
    fn tip_jacobians_agree_with_finite_differences(parts in proptest::collection::vec(0.0..1.0, 24)) {
        for hand in hands().into_iter().chain([coupled().into()]) {
            let q = within_limits(&hand, &parts);
            let mut kinematics = Kinematics::new(hand.clone());
            kinematics.update(&q);
            let mut columns = vec![Vector3::zeros(); hand.dof()];
            for tip in 0..hand.tips().len() {
                kinematics.tip_jacobian(tip, &mut columns);
                for (variable, column) in columns.iter().enumerate() {
                    let at = |delta: f64| {
                        let mut q = q.clone();
                        q[variable] += delta;
                        hand.forward(&q).tips[tip]
                    };
                    let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                    let error = (difference - column).norm();
                    prop_assert!(error < 1e-8, "{} tip {tip}, variable {variable}: {error}", hand.name());
                }
            }
        }
    }

    #[test]
    fn poses_are_finite_and_the_workspace_agrees_with_the_single_call(
        parts in proptest::collection::vec(-10.0..10.0, 24),
    ) {
        for hand in hands() {
            let q = within_limits(&hand, &parts);
            let pose = hand.forward(&q);
            prop_assert!(pose.tips.iter().all(|tip| tip.iter().all(|x| x.is_finite())));
            for root_from_joint in &pose.root_from_joint {
                prop_assert!(root_from_joint.translation.vector.iter().all(|x| x.is_finite()));
                prop_assert!((root_from_joint.rotation.norm() - 1.0).abs() < 1e-9);
            }
            let mut kinematics = Kinematics::new(hand);
            prop_assert_eq!(kinematics.update(&q), &pose);
        }
    }
}
