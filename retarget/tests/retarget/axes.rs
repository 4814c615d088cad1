use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use dexumi_retarget::{
    Hand, Keypoints, Preset, RetargetOptions, Retargeter, Side, WRONG_AXES, hand_axes,
    in_hand_axes, lies_along_hand_axes,
};
use nalgebra::{Point3, Rotation3, Vector3};
use proptest::prelude::*;

/// A hand in its own axes, the fingers bent towards the palm by `bend` a joint (rad), the wrist at
/// the origin.
pub fn hand(side: Side, bend: f64) -> Keypoints {
    let mut points = [Point3::origin(); 21];
    for finger in 0..5 {
        let y = side.thumb_along_y() * (0.04 - 0.02 * finger as f64);
        // Knuckles lie in the plane of y and z, so that the axes are those that the points show.
        let mut point = Point3::new(0.0, y, if finger == 2 { 0.09 } else { 0.085 });
        if finger == 2 {
            point.y = 0.0;
        }
        for bone in 0..4 {
            points[1 + 4 * finger + bone] = point;
            let angle = bend * (bone + 1) as f64;
            point += 0.03 * Vector3::new(angle.sin(), 0.0, angle.cos());
        }
    }
    points
}

fn any_rotation() -> impl Strategy<Value = Rotation3<f64>> {
    proptest::array::uniform3(-3.0..3.0_f64).prop_map(|axis| Rotation3::new(Vector3::from(axis)))
}

proptest! {
    #[test]
    fn a_turned_and_moved_hand_is_turned_back(
        turn in any_rotation(), bend in 0.0..0.6_f64, away in proptest::array::uniform3(-2.0..2.0_f64),
        is_left in any::<bool>(),
    ) {
        let side = if is_left { Side::Left } else { Side::Right };
        let own = hand(side, bend);
        let given = own.map(|point| turn * point + Vector3::from(away));
        let back = hand_axes(&given, side).unwrap();
        // Not by the angle, whose cosine is flat there.
        let off = back.matrix() * turn.matrix() - nalgebra::Matrix3::identity();
        prop_assert!(off.norm() < 1e-9);
        for (point, own) in in_hand_axes(&given, side).iter().zip(&own) {
            prop_assert!((point - own).norm() < 1e-9, "{point} {own}");
        }
        // Bent fingers lie before the palm.
        prop_assert!(bend < 0.01 || in_hand_axes(&given, side)[12].x > 0.0);
    }
}

#[test]
fn a_hand_in_other_axes_is_followed_once_it_is_turned() {
    for (name, side) in [("xhand_right", Side::Right), ("xhand_left", Side::Left)] {
        let robot = Hand::by_name(name).unwrap();
        let options = RetargetOptions::new(Preset::dexumi(Vec::new()));
        let mut retargeter = Retargeter::new(robot, &options).unwrap();
        let turn = Rotation3::new(Vector3::new(FRAC_PI_2, 0.0, FRAC_PI_4));
        let given = hand(side, 0.3).map(|point| turn * point);
        assert_eq!(
            retargeter.step(&given, None).flags & WRONG_AXES,
            WRONG_AXES,
            "{name}"
        );
        assert!(
            !retargeter.step(&in_hand_axes(&given, side), None).is_held(),
            "{name}"
        );
    }
}

#[test]
fn what_shows_no_hand_has_no_axes() {
    let mut missing = hand(Side::Right, 0.1);
    missing[9].x = f64::NAN;
    let mut thin = hand(Side::Right, 0.1);
    thin[5] = thin[17];
    for none in [[Point3::origin(); 21], missing, thin] {
        assert!(hand_axes(&none, Side::Right).is_none());
        let same = in_hand_axes(&none, Side::Right);
        assert!(same.iter().zip(&none).all(|(a, b)| a == b || a.x.is_nan()));
    }
    // The point that is missing is not one of those that show the axes.
    let mut missing = hand(Side::Right, 0.1);
    missing[20].x = f64::NAN;
    assert!(hand_axes(&missing, Side::Right).is_some());
}

#[test]
fn a_recording_along_the_axes_is_known_from_one_in_others() {
    let turned = |angle: f64| {
        let turn = Rotation3::new(Vector3::new(0.0, 0.0, angle));
        vec![hand(Side::Right, 0.2).map(|point| turn * point); 10]
    };
    assert!(lies_along_hand_axes(&turned(0.0), Side::Right));
    assert!(lies_along_hand_axes(&turned(0.4), Side::Right));
    assert!(!lies_along_hand_axes(&turned(0.7), Side::Right));
    // The other hand's little finger is where the index should be.
    assert!(!lies_along_hand_axes(&turned(0.0), Side::Left));
    let mut mixed = turned(0.0);
    mixed[..2].copy_from_slice(&turned(1.0)[..2]);
    assert!(!lies_along_hand_axes(&mixed, Side::Right), "two in ten");
}
