use dexumi_retarget::{Finger, HANDS, Hand, Kinematics, MotorUnit};

use crate::hands;

#[test]
fn every_hand_has_its_own_name_ordered_limits_and_a_rest_within_them() {
    for (hand, (name, _)) in hands().iter().zip(HANDS) {
        assert_eq!(hand.name(), *name);
        for (&(lower, upper), rest) in hand.limits().iter().zip(hand.rest()) {
            assert!(lower < upper && (lower..=upper).contains(&rest), "{name}");
        }
        assert!(
            hand.tips()
                .iter()
                .all(|tip| tip.joint < hand.joints().len())
        );
        assert_eq!(hand.motors().len(), hand.dof());
    }
}

#[test]
fn every_hand_lies_along_the_axes_of_the_hand_frame() {
    for hand in hands() {
        let tips = hand.forward(&hand.rest()).tips;
        let tip = |finger| {
            let mut all = hand.tips().iter();
            all.position(|tip| tip.finger == finger)
                .map(|tip| tips[tip])
        };
        let [thumb, index, middle] =
            [Finger::Thumb, Finger::Index, Finger::Middle].map(|finger| tip(finger).unwrap());
        // Allegro and LEAP have no little finger.
        let last = tip(Finger::Little).or(tip(Finger::Ring)).unwrap();
        let across = hand.side().thumb_along_y();
        assert!(middle.z > 0.05, "{}: fingers along z", hand.name());
        assert!(
            (index - last).y * across > 0.0,
            "{}: y to the index",
            hand.name()
        );
        assert!(
            (thumb - last).y * across > 0.0,
            "{}: y to the thumb",
            hand.name()
        );
        let (lower, upper): (Vec<f64>, Vec<f64>) = hand.limits().iter().copied().unzip();
        let curled = hand.forward(&upper).tips;
        let straight = hand.forward(&lower).tips;
        for (tip, (curled, straight)) in hand.tips().iter().zip(curled.iter().zip(&straight)) {
            if tip.finger != Finger::Thumb {
                assert!(
                    curled.x > straight.x,
                    "{}: curling goes out of the palm",
                    hand.name()
                );
            }
        }
    }
}

#[test]
fn pads_lie_on_the_palm_side_behind_the_tip() {
    for hand in hands() {
        let pose = hand.forward(&hand.rest());
        let tips = hand.tips().iter().zip(&pose.tips);
        for (tip, point) in tips.filter(|(tip, _)| tip.pad.norm() > 0.0) {
            let from_tip = pose.root_from_joint[tip.joint].rotation * tip.pad;
            let what = format!("{} {:?}: {from_tip}", hand.name(), tip.finger);
            assert!((0.005..0.02).contains(&tip.pad.norm()), "{what}");
            // Fingers point up at rest, thumbs away from the palm.
            if tip.finger != Finger::Thumb {
                assert!(from_tip.x > 0.0 && from_tip.z < 0.0, "{what}");
            } else {
                let from_joint = pose.root_from_joint[tip.joint].translation.vector;
                assert!(from_tip.dot(&(point.coords - from_joint)) < 0.0, "{what}");
            }
        }
    }
}

#[test]
fn the_left_hands_mirror_the_right_ones() {
    // What the vendors' files leave between mirrored tips, of the thumb and of the others (m).
    for (name, of_thumb, of_others) in [
        ("xhand", 3e-4, 1e-6),
        ("sharpa", 1e-4, 1e-4),
        // Both thumbs have the same 5 mm to one side.
        ("allegro", 0.0101, 1e-6),
        // The left thumb's bend is set 6.5° otherwise than the right one's.
        ("inspire", 0.015, 3e-4),
    ] {
        let [right, left] =
            ["right", "left"].map(|side| Hand::by_name(&format!("{name}_{side}")).unwrap());
        assert_eq!(right.dof(), left.dof());
        for part in [0.0, 0.3, 0.8] {
            let flexed = |hand: &Hand| {
                let limits = hand.limits().iter();
                let q: Vec<f64> = limits
                    .map(|(lower, upper)| match lower + upper {
                        // Side swings turn the same way on both hands of some vendors.
                        0.0 => 0.0,
                        _ => lower + part * (upper - lower),
                    })
                    .collect();
                hand.forward(&q).tips
            };
            let (right_tips, left_tips) = (flexed(&right), flexed(&left));
            for (tip, at) in right.tips().iter().zip(right_tips) {
                let same = |other: &dexumi_retarget::Tip| other.finger == tip.finger;
                let other = left_tips[left.tips().iter().position(same).unwrap()];
                let mirrored = nalgebra::Point3::new(at.x, -at.y, at.z);
                let apart = (mirrored - other).norm();
                let tolerance = match tip.finger {
                    Finger::Thumb => of_thumb,
                    _ => of_others,
                };
                assert!(
                    apart < tolerance,
                    "{name} {:?} at {part}: {apart}",
                    tip.finger
                );
            }
        }
    }
}

#[test]
fn motors_take_their_own_units_and_stay_within_their_range() {
    let inspire = Hand::by_name("inspire_right").unwrap();
    let names: Vec<&str> = inspire.variable_names().collect();
    let expected = [
        "thumb_proximal_yaw",
        "thumb_proximal_pitch",
        "index",
        "middle",
        "ring",
        "pinky",
    ];
    for (name, expected) in names.iter().zip(expected) {
        assert!(name.starts_with(expected), "{names:?}");
    }
    for (motor, &(_, upper)) in inspire.motors().iter().zip(inspire.limits()) {
        assert_eq!(motor.unit, MotorUnit::Thousandth);
        assert_eq!(
            (motor.command(0.0), motor.command(-1.0)),
            (1000.0, 1000.0),
            "open"
        );
        assert!((0.0..1.0).contains(&motor.command(upper)), "closed");
        assert_eq!(motor.command(9.0), 0.0);
        assert!((motor.position(motor.command(0.3)) - 0.3).abs() < 1e-12);
    }
    let leap = Hand::by_name("leap_right").unwrap();
    let numbers: Vec<String> = (0..16).map(|number: u32| number.to_string()).collect();
    let names: Vec<&str> = leap.variable_names().collect();
    assert_eq!(
        names, numbers,
        "the vendor's motor numbers are the order of q"
    );
    let straight = leap.motors()[1].command(0.0);
    assert_eq!(straight.to_string(), "3.14159");
    assert_eq!(leap.motors()[1].command(0.5), 0.5 + straight);
    assert_eq!(leap.limits()[1], (-0.314, 2.23));
    assert_eq!(leap.motors()[1].command(99.0), 2.23 + straight);
    for hand in hands() {
        for (motor, &(lower, upper)) in hand.motors().iter().zip(hand.limits()) {
            let commands = [motor.command(lower), motor.command(upper)];
            assert!(motor.lower < motor.upper);
            for command in commands {
                assert!(
                    (motor.lower..=motor.upper).contains(&command),
                    "{}",
                    hand.name()
                );
            }
        }
    }
}

#[test]
fn links_of_the_vendors_and_of_retargeting_configurations_have_a_place() {
    for (hand, names) in [
        (
            "xhand_right",
            &[
                "right_hand_link",
                "right_hand_thumb_rota_tip",
                "right_hand_ee_link",
            ][..],
        ),
        (
            "inspire_left",
            &["base", "hand_base_link", "thumb_tip", "pinky_tip"],
        ),
        (
            "allegro_right",
            &["wrist", "palm", "base_link", "link_15.0_tip", "link_14.0"],
        ),
        (
            "leap_right",
            &["base", "palm_lower", "thumb_tip_head", "thumb_dip", "dip_3"],
        ),
        (
            "sharpa_right",
            &[
                "right_hand_C_MC",
                "right_pinky_fingertip",
                "right_thumb_elastomer",
            ],
        ),
    ] {
        let hand = Hand::by_name(hand).unwrap();
        for name in names {
            assert!(hand.frame(name).is_some(), "{} {name}", hand.name());
        }
        assert!(hand.frame("elbow").is_none());
    }
    let allegro = Hand::by_name("allegro_right").unwrap();
    let wrist = Kinematics::new(allegro.clone()).root_from_frame(allegro.frame("wrist").unwrap());
    assert_eq!(
        wrist.translation.vector,
        nalgebra::Vector3::new(0.0, 0.0, -0.095)
    );
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = Hand::by_name("xhand").unwrap_err().to_string();
    assert!(
        message.contains("xhand_right, xhand_left, inspire_right") && message.contains("\"xhand\""),
        "{message}"
    );
}
