//! What a URDF does not say, and what is wrong with one.

use std::fmt::Write;
use std::path::Path;

use dexumi_retarget::{Finger, Hand, Side, UrdfOptions, UrdfTree};

/// A thumb of two joints and an index of one, written for these tests.
const SMALL: &str = r#"<robot name="small">
  <link name="right_palm"/>
  <link name="thumb_base"/>
  <link name="thumb_tip"><collision><geometry><mesh filename="meshes/tip.stl"/></geometry></collision></link>
  <link name="index_tip"/>
  <joint name="thumb_swing" type="revolute">
    <parent link="right_palm"/><child link="thumb_base"/>
    <origin xyz="0 0.03 0.02"/><axis xyz="0 0 2"/>
    <limit lower="-1" upper="1" effort="1" velocity="0"/>
  </joint>
  <joint name="thumb_bend" type="revolute">
    <parent link="thumb_base"/><child link="thumb_tip"/>
    <origin xyz="0 0.04 0"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1.5" effort="1" velocity="3"/>
  </joint>
  <joint name="index_bend" type="revolute">
    <parent link="right_palm"/><child link="index_tip"/>
    <origin xyz="0 0.03 0.09"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="1.5" effort="1" velocity="3"/>
    <mimic joint="thumb_bend"/>
  </joint>
</robot>"#;

/// The link as the tip of the index.
pub fn with_tip(link: &str) -> UrdfOptions {
    UrdfOptions {
        tips: vec![(Finger::Index, link.to_owned())],
        ..Default::default()
    }
}

fn small(text: &str) -> Result<Hand, dexumi_retarget::UrdfError> {
    let tree = UrdfTree::from_text(text, Path::new("my/small.urdf"))?;
    Hand::from_urdf_tree(&tree, &UrdfOptions::default())
}

#[test]
fn what_is_not_in_the_file_is_assumed_and_said() {
    let hand = small(SMALL).unwrap();
    assert_eq!(
        (hand.name(), hand.side(), hand.dof()),
        ("small", Side::Right, 2)
    );
    let [speed, mesh] = hand.notes() else {
        panic!("{:?}", hand.notes())
    };
    assert!(
        speed.starts_with("no speed limit given") && speed.ends_with("thumb_swing"),
        "{speed}"
    );
    assert!(
        mesh.contains("not be read: 1, such as meshes/tip.stl: not found"),
        "{mesh}"
    );
    assert!(
        (hand.joints()[0].axis.norm() - 1.0).abs() < 1e-15,
        "axes are normalised"
    );
    assert!(!hand.capsules().is_empty(), "drawn along the links");
}

#[test]
fn limits_that_contradict_the_coupling_are_passed_over_and_said() {
    let odd = "velocity=\"3\"/>\n    <mimic";
    let text = SMALL.replace(
        &format!("upper=\"1.5\" effort=\"1\" {odd}"),
        &format!("upper=\"-1\" {odd}"),
    );
    let text = text.replace("lower=\"0\" upper=\"-1\"", "lower=\"-2\" upper=\"-1\"");
    assert_ne!(text, SMALL);
    let hand = small(&text).unwrap();
    let expected = "joint \"index_bend\": its limits, -2 to -1, leave no room for its coupling to \
                    \"thumb_bend\" and are passed over";
    assert!(
        hand.notes().iter().any(|note| note == expected),
        "{:?}",
        hand.notes()
    );
    assert_eq!(
        (hand.limits()[1], hand.joints()[2].upper),
        ((0.0, 1.5), 1.5)
    );
}

#[test]
fn a_mesh_beside_the_file_becomes_a_capsule() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("meshes")).unwrap();
    let corners = [
        [0.0, 0.01, 0.0],
        [0.0, -0.01, 0.0],
        [0.0, 0.0, 0.06],
        [0.0, 0.0, -0.02],
    ];
    let vertex = |[x, y, z]: [f64; 3]| format!("vertex {x} {y} {z}\n");
    let stl = corners.map(vertex).concat();
    std::fs::write(folder.path().join("meshes/tip.stl"), &stl).unwrap();
    let package = folder.path().file_name().unwrap().to_str().unwrap();
    for name in [
        "meshes/tip.stl".to_owned(),
        format!("package://{package}/meshes/tip.stl"),
    ] {
        let path = folder.path().join("small_right.urdf");
        std::fs::write(&path, SMALL.replace("meshes/tip.stl", &name)).unwrap();
        let hand = Hand::from_urdf(&path, &UrdfOptions::default()).unwrap();
        assert_eq!(hand.notes().len(), 1, "{:?}", hand.notes());
        let on_tip = |capsule: &&dexumi_retarget::Capsule| capsule.joint == Some(1);
        let capsule = hand.capsules().iter().find(on_tip).unwrap();
        let along = capsule.to - capsule.from;
        let length = along.norm() + 2.0 * capsule.radius;
        assert!((along.x.abs() + along.y.abs()) < 1e-9, "{along}");
        assert!((0.079..0.11).contains(&length), "{length}");
        assert!((capsule.radius - 0.01).abs() < 1e-9);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_would_be_right() {
    for (from, to, expected) in [
        (
            "type=\"revolute\"",
            "type=\"hinge\"",
            "joint \"thumb_swing\", type: expected fixed, revolute, continuous or prismatic, \
             got \"hinge\"; correct it at line 6 of my/small.urdf",
        ),
        (
            "xyz=\"0 0.03 0.02\"",
            "xyz=\"0 0.03\"",
            "origin of joint \"thumb_swing\", xyz: expected 3 finite numbers, got \"0 0.03\"; \
             correct it at line 8",
        ),
        (
            "xyz=\"0 0 2\"",
            "xyz=\"0 0 nan\"",
            "expected 3 finite numbers",
        ),
        (
            "xyz=\"0 0 2\"",
            "xyz=\"0 0 0\"",
            "axis of joint \"thumb_swing\", xyz: expected a direction",
        ),
        (
            "upper=\"1\"",
            "upper=\"-2\"",
            "expected lower <= upper, got (-1, -2)",
        ),
        (
            "<parent link=\"right_palm\"/>",
            "<parent link=\"palm\"/>",
            "parent of joint \"thumb_swing\", link: expected the name of a link of this file, \
             got \"palm\"",
        ),
        (
            "<child link=\"thumb_tip\"/>",
            "<child link=\"thumb_base\"/>",
            "expected one joint that moves link \"thumb_base\"",
        ),
        (
            "<parent link=\"right_palm\"/><child link=\"thumb_base\"/>",
            "<parent link=\"thumb_tip\"/><child link=\"thumb_base\"/>",
            "which is in a loop",
        ),
        (
            "<link name=\"index_tip\"/>",
            "<link name=\"index_tip\"/><link name=\"lost\"/>",
            "expected one link that no joint moves, the root, got \"right_palm\" and \"lost\"",
        ),
        (
            "name=\"thumb_bend\"",
            "name=\"thumb_swing\"",
            "expected a name used once",
        ),
        (
            "<mimic joint=\"thumb_bend\"/>",
            "<mimic joint=\"bend\"/>",
            "expected the name of a joint of this file that moves, got \"bend\"",
        ),
        (
            "<mimic joint=\"thumb_bend\"/>",
            "<mimic joint=\"index_bend\"/>",
            "joint \"index_bend\", which follows itself",
        ),
        ("<robot", "<sdf", "not well-formed"),
        (
            "<link name=\"right_palm\"/>",
            "<link name=\"right_palm\"/><xacro:finger xmlns:xacro=\"http://ros.org/wiki/xacro\"/>",
            "expected no xacro macros",
        ),
        ("right_palm", "palm", "say which hand it is"),
        ("thumb_tip", "first_tip", "2 among"),
        (
            "index_tip",
            "thumb_2_tip",
            "several for the thumb: thumb_tip, thumb_2_tip",
        ),
    ] {
        let text = SMALL.replace(from, to);
        assert_ne!(text, SMALL, "{from}");
        // What names a finger is in the joints as well.
        let text = match to {
            "first_tip" => text.replace("thumb", "first").replace("index", "second"),
            _ => text,
        };
        let message = match small(&text) {
            Err(error) => error.to_string(),
            Ok(hand) => panic!("{to}: {hand:?}"),
        };
        let expected = expected.replace("2 among", "0 among first_tip, second_tip");
        assert!(message.contains(&expected), "{from} -> {to}: {message}");
        assert!(message.contains("my/small.urdf"), "{message}");
    }
    let tree = UrdfTree::from_text(SMALL, Path::new("my/small.urdf")).unwrap();
    let error = Hand::from_urdf_tree(&tree, &with_tip("index_tpi"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("right_palm, thumb_base, thumb_tip, index_tip"),
        "{error}"
    );
    let error = Hand::from_urdf_tree(&tree, &with_tip("right_palm"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("which is fixed to the root"), "{error}");
}

#[test]
fn a_deep_tree_and_a_deep_document_are_no_danger() {
    let mut chain = "<robot name=\"right\"><link name=\"l0\"/>".to_owned();
    for index in 1..3000 {
        write!(
            chain,
            "<link name=\"l{index}\"/><joint name=\"j{index}\" type=\"fixed\">\
             <parent link=\"l{}\"/><child link=\"l{index}\"/></joint>",
            index - 1
        )
        .unwrap();
    }
    let tree = UrdfTree::from_text(&(chain + "</robot>"), Path::new("deep.urdf")).unwrap();
    assert_eq!(tree.chain(2999).len(), 2999);
    let nested = "<robot>".repeat(100_000);
    assert!(UrdfTree::from_text(&nested, Path::new("deep.urdf")).is_err());
    let nested = format!("{nested}{}", "</robot>".repeat(100_000));
    let error = UrdfTree::from_text(&nested, Path::new("deep.urdf")).unwrap_err();
    assert!(error.to_string().contains("deep.urdf"), "{error}");
}

#[test]
fn tips_are_read_from_text() {
    let tips = UrdfOptions::tips_from_text("thumb=link_15.0_tip, index=a b").unwrap();
    let expected = [(Finger::Thumb, "link_15.0_tip"), (Finger::Index, "a b")];
    assert_eq!(
        tips,
        expected.map(|(finger, link)| (finger, link.to_owned()))
    );
    for text in ["", "thumb", "thumb=", "pinky=a", "thumb=a,", "Thumb=a"] {
        let error = UrdfOptions::tips_from_text(text).unwrap_err().to_string();
        assert!(error.contains("expected FINGER=LINK"), "{error}");
    }
}
