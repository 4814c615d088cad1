use dexumi_retarget::{Hand, Kinematics};
use nalgebra::Vector3;
use proptest::prelude::*;

use crate::{hands, within_limits};

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
