use dexumi_retarget::{Hand, HandError, JointKind, Kinematics};

use crate::kinematics::COUPLED;

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

#[test]
fn the_example_in_the_documentation_is_a_hand() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hand-file.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let hand = Hand::from_toml(example, "docs/hand-file.md").unwrap();
    let [thumb, index] = hand.limits() else {
        panic!("{hand:?}")
    };
    assert_eq!(*thumb, (0.0, 1.2));
    assert!((index.1 - 1.2 / 0.9).abs() < 1e-12);
    assert_eq!(hand.velocities(), [3.0, 3.0]);
    assert_eq!(hand.motors()[0].command(0.6), 500.0);
}
