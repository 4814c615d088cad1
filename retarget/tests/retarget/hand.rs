use dexumi_retarget::{Finger, HANDS, Hand, HandError, JointKind, Kinematics, MotorUnit};

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
    assert_eq!(leap.motors()[1].command(0.5), 0.5 + 3.14159);
    assert_eq!(leap.limits()[1], (-0.314, 2.23));
    assert_eq!(leap.motors()[1].command(99.0), 2.23 + 3.14159);
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
        (
            "unit = \"rad\", sign = -1.0",
            "unit = \"thousandth\", sign = -1.0",
            "joint \"base\", motor.unit: expected the joint's own unit",
        ),
        (
            "sign = -1.0, offset = 0.25",
            "sign = -1.0, at_lower = 0.25",
            "joint \"base\", motor: expected either sign and offset, or at_lower and at_upper",
        ),
        (
            "sign = -1.0, offset = 0.25",
            "at_lower = 1000.0, at_upper = 1000.0",
            "motor.at_upper: expected a command other than at_lower",
        ),
        (
            "offset = 0.25 }",
            "offset = 0.25, index = 1 }",
            "joint \"base\", motor.index: expected each of 0 to 0 once",
        ),
        (
            "[[tip]]",
            "[[frame]]\nname = \"wrist\"\nparent = \"arm\"\nxyz = [0.0, 0.0, 0.0]\n\
             rpy = [0.0, 0.0, 0.0]\n[[tip]]",
            "frame \"wrist\", parent: expected the root link, a joint or another frame, got \"arm\"",
        ),
        (
            "finger = \"index\"",
            "finger = \"index\"\nlink = \"base\"",
            "tip \"index\", link: expected a name used once among links and frames",
        ),
        (
            "finger = \"index\"",
            "finger = \"index\"\npad = [0.0, inf, 0.0]",
            "tip \"index\", pad: expected finite numbers",
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

#[test]
fn frames_sliding_joints_and_motor_indices_of_a_file_are_taken() {
    let slide = r#"
[[joint]]
name = "slide"
link = "carriage"
kind = "prismatic"
parent = "mount"
xyz = [0.0, 0.0, 0.2]
rpy = [0.0, 0.0, 0.0]
axis = [1.0, 0.0, 0.0]
lower = -0.05
upper = 0.05
velocity = 0.1
motor = { unit = "thousandth", at_lower = 0.0, at_upper = 1000.0, index = 0 }
[[frame]]
name = "mount_tip"
parent = "mount"
xyz = [0.0, 0.0, 0.5]
rpy = [0.0, 0.0, 0.0]
[[frame]]
name = "mount"
parent = "base"
xyz = [0.0, 0.0, 0.3]
rpy = [0.0, 1.5707963267948966, 0.0]
"#;
    let text = COUPLED.replace("offset = 0.25 }", "offset = 0.25, index = 1 }") + slide;
    let hand = Hand::from_toml(&text, "test").unwrap();
    let names: Vec<&str> = hand.variable_names().collect();
    assert_eq!(names, ["slide", "base"]);
    assert_eq!(hand.joints()[2].kind, JointKind::Prismatic);
    assert_eq!(hand.limits()[0], (-0.05, 0.05));
    assert_eq!(hand.motors()[0].command(0.025), 750.0);
    let mut kinematics = Kinematics::new(hand.clone());
    kinematics.update(&[0.04, 0.0]);
    let place = |name: &str| kinematics.root_from_frame(hand.frame(name).unwrap());
    let base_from_carriage = place("base").inverse() * place("carriage");
    // The mount's z is the base's x, its x the base's −z.
    let expected = nalgebra::Vector3::new(0.2, 0.0, 0.3 - 0.04);
    assert!((base_from_carriage.translation.vector - expected).norm() < 1e-12);
    let expected = nalgebra::Vector3::new(0.5, 0.0, 0.3);
    let base_from_tip = place("base").inverse() * place("mount_tip");
    assert!((base_from_tip.translation.vector - expected).norm() < 1e-12);
}
