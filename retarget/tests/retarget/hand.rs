use dexumi_retarget::{Finger, HANDS, Hand, HandError};

use crate::hands;
use crate::kinematics::COUPLED;

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
            tips[hand
                .tips()
                .iter()
                .position(|tip| tip.finger == finger)
                .unwrap()]
        };
        let [thumb, index, middle, little] =
            [Finger::Thumb, Finger::Index, Finger::Middle, Finger::Little].map(tip);
        let across = hand.side().thumb_along_y();
        assert!(middle.z > 0.05, "{}: fingers along z", hand.name());
        assert!(
            (index - little).y * across > 0.0,
            "{}: y to the index",
            hand.name()
        );
        assert!(
            (thumb - little).y * across > 0.0,
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
fn the_left_xhand_mirrors_the_right_one() {
    let [right, left] = ["xhand_right", "xhand_left"].map(|name| Hand::by_name(name).unwrap());
    let q: Vec<f64> = right
        .limits()
        .iter()
        .map(|(lower, upper)| lower + 0.3 * (upper - lower))
        .collect();
    for (right, left) in right.forward(&q).tips.iter().zip(left.forward(&q).tips) {
        // The vendor's thumb tips differ by 0.24 mm.
        let mirrored = nalgebra::Point3::new(right.x, -right.y, right.z);
        assert!((mirrored - left).norm() < 3e-4, "{mirrored} {left}");
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = Hand::by_name("xhand").unwrap_err().to_string();
    assert!(
        message.contains("xhand_right, xhand_left") && message.contains("\"xhand\""),
        "{message}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Hand::from_path("no/such/hand.toml".as_ref()).unwrap_err();
    assert!(matches!(error, HandError::Read { .. }));
    assert!(error.to_string().ends_with("no/such/hand.toml"), "{error}");
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_the_known_ones() {
    let text = COUPLED.replacen("velocity", "velocty", 1);
    let error = Hand::from_toml(&text, "my.toml").unwrap_err();
    let HandError::Parse { source, path } = error else {
        panic!("{error}");
    };
    let message = source.to_string();
    assert_eq!(path, "my.toml");
    assert!(
        message.contains("velocty") && message.contains("`velocity`"),
        "{message}"
    );
    assert!(message.contains("line 13"), "{message}");
}

#[test]
fn what_cannot_be_a_hand_is_refused_with_joint_expected_and_got() {
    let cases = [
        (
            "upper = 2.0",
            "upper = -0.5",
            "joint \"base\", lower and upper: expected lower < upper, got (-0.5, -0.5)",
        ),
        ("upper = 2.0", "upper = nan", "expected finite numbers"),
        (
            "axis = [0.0, 1.0, 0.0]",
            "axis = [0.0, 1.1, 0.0]",
            "joint \"base\", axis: expected a vector of length 1",
        ),
        (
            "parent = \"base\"",
            "parent = \"wrist\"",
            "joint \"follower\", parent: expected the root link or a joint further up",
        ),
        (
            "parent = \"palm\"",
            "parent = \"follower\"",
            "joint \"base\", parent",
        ),
        (
            "name = \"follower\"",
            "name = \"base\"",
            "expected a name used once",
        ),
        (
            "name = \"follower\"",
            "name = \"palm\"",
            "expected a name used once",
        ),
        (
            "mimic = { joint = \"base\"",
            "mimic = { joint = \"follower\"",
            "joint \"follower\", mimic.joint",
        ),
        (
            "factor = 1.25",
            "factor = 0.0",
            "joint \"follower\", mimic.factor: expected not 0",
        ),
        ("offset = 0.125", "offset = 9.0", "limits that meet"),
        (
            "velocity = 4.0",
            "velocity = 0.0",
            "joint \"base\", velocity",
        ),
        (
            "sign = -1.0",
            "sign = -2.0",
            "motor.sign: expected 1 or -1, got -2.0",
        ),
        (
            "motor = { unit = \"rad\", sign = -1.0, offset = 0.25 }",
            "",
            "a motor or a mimic entry",
        ),
        (
            "joint = \"follower\"\nxyz",
            "joint = \"tip\"\nxyz",
            "tip \"index\", joint: expected the name of a joint",
        ),
        (
            "middle_joint = \"follower\"",
            "middle_joint = \"pip\"",
            "tip \"index\", middle_joint",
        ),
    ];
    assert!(Hand::from_toml(COUPLED, "my.toml").is_ok());
    for (from, to, expected) in cases {
        let text = COUPLED.replacen(from, to, 1);
        assert_ne!(text, COUPLED, "{from}");
        let message = Hand::from_toml(&text, "my.toml").unwrap_err().to_string();
        assert!(message.contains(expected), "{from} -> {to}: {message}");
        assert!(message.ends_with("my.toml"), "{message}");
    }
    let capsule = "[[capsule]]\nlink = \"base\"\nfrom = [0.0, 0.0, 0.0]\nto = [0.0, 0.0, 0.1]\nradius = 0.01\nrgb = [1, 2, 3]\n";
    let text = format!("{COUPLED}{capsule}");
    assert_eq!(
        Hand::from_toml(&text, "my.toml").unwrap().capsules().len(),
        1
    );
    for (from, to) in [
        ("link = \"base\"", "link = \"bone\""),
        ("radius = 0.01", "radius = 0.0"),
    ] {
        let message = Hand::from_toml(&text.replace(from, to), "my.toml")
            .unwrap_err()
            .to_string();
        assert!(message.contains("capsule 0 on"), "{message}");
    }
}
