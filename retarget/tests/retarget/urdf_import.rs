//! Any URDF: random trees against an independent evaluation, and what is none.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use dexumi_retarget::{Finger, Hand, JointKind, Kinematics, Side, UrdfOptions, UrdfTree};
use nalgebra::{Matrix4, Vector3};
use proptest::prelude::*;

use crate::urdf::Urdf;

const KINDS: [&str; 4] = ["revolute", "prismatic", "continuous", "fixed"];

/// A joint of a random tree, from joint `i` of which link `i + 1` hangs.
#[derive(Debug, Clone)]
struct Random {
    kind: usize,
    /// Which of the links so far carries it, 0 to 1.
    parent: f64,
    origin: [f64; 6],
    axis: [f64; 3],
    middle: f64,
    reach: f64,
    velocity: f64,
    /// Which other joint it mimics, 0 to 1, and factor and offset.
    mimic: Option<(f64, f64, f64)>,
}

fn joint() -> impl Strategy<Value = Random> {
    let axis = proptest::array::uniform3(-1.0..1.0_f64)
        .prop_filter("a direction", |axis| Vector3::from(*axis).norm() > 0.1);
    let mimic = (
        0.0..1.0,
        prop_oneof![4 => -2.0..2.0, 1 => Just(0.0)],
        -0.1..0.1,
    );
    (
        0..4_usize,
        0.0..1.0,
        proptest::array::uniform6(-1.0..1.0),
        axis,
        -0.2..0.2,
        prop_oneof![8 => 0.5..2.0, 1 => Just(0.0)],
        0.1..10.0,
        proptest::option::weighted(0.3, mimic),
    )
        .prop_map(
            |(kind, parent, origin, axis, middle, reach, velocity, mimic)| Random {
                kind,
                parent,
                origin,
                axis,
                middle,
                reach,
                velocity,
                mimic,
            },
        )
}

/// The tree as URDF; joints stand in `order`, and each can mimic one with a smaller index.
fn text(joints: &[Random], order: &[usize]) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<robot name=\"random_right\">\n".to_owned();
    for link in 0..=joints.len() {
        writeln!(text, "  <link name=\"link_{link}\"/>").unwrap();
    }
    for &index in order {
        let joint = &joints[index];
        let parent = (joint.parent * (index + 1) as f64) as usize;
        let [x, y, z, roll, pitch, yaw] = joint.origin;
        let [ax, ay, az] = joint.axis;
        let moving: Vec<usize> = (0..index).filter(|&at| joints[at].kind != 3).collect();
        write!(
            text,
            "  <joint name=\"joint_{index}\" type=\"{}\">\n\
             \x20   <origin xyz=\"{x} {y} {z}\" rpy=\"{roll} {pitch} {yaw}\"/>\n\
             \x20   <parent link=\"link_{parent}\"/><child link=\"link_{}\"/>\n\
             \x20   <axis xyz=\"{ax} {ay} {az}\"/>\n\
             \x20   <limit lower=\"{}\" upper=\"{}\" effort=\"1\" velocity=\"{}\"/>\n",
            KINDS[joint.kind],
            index + 1,
            joint.middle - joint.reach,
            joint.middle + joint.reach,
            joint.velocity,
        )
        .unwrap();
        if let (Some((which, factor, offset)), false) = (joint.mimic, moving.is_empty()) {
            let source = moving[(which * moving.len() as f64) as usize];
            writeln!(
                text,
                "    <mimic joint=\"joint_{source}\" multiplier=\"{factor}\" offset=\"{offset}\"/>"
            )
            .unwrap();
        }
        text.push_str("  </joint>\n");
    }
    text + "</robot>\n"
}

fn tree() -> impl Strategy<Value = String> {
    proptest::collection::vec(joint(), 1..12).prop_flat_map(|joints| {
        let order: Vec<usize> = (0..joints.len()).collect();
        Just(order)
            .prop_shuffle()
            .prop_map(move |order| text(&joints, &order))
    })
}

fn with_tip(link: &str) -> UrdfOptions {
    UrdfOptions {
        tips: vec![(Finger::Index, link.to_owned())],
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_trees_agree_with_an_independent_evaluation(
        text in tree(), parts in proptest::collection::vec(0.0..1.0, 12),
    ) {
        let urdf = Urdf::parse(&text);
        let path = Path::new("random.urdf");
        let tree = UrdfTree::from_text(&text, path).unwrap();
        // A tip can hang on whatever a joint moves.
        let hands = tree.leaves().map(|leaf| {
            let link = &tree.links()[leaf].name;
            (link.clone(), Hand::from_urdf_tree(&tree, &with_tip(link)))
        });
        for (link, hand) in hands {
            let hand = match hand {
                Ok(hand) => hand,
                Err(error) => {
                    let message = error.to_string();
                    prop_assert!(message.contains("which is fixed to the root"), "{message}");
                    continue;
                }
            };
            for &(lower, upper) in hand.limits() {
                prop_assert!(lower < upper && lower.is_finite() && upper.is_finite());
            }
            let q: Vec<f64> = hand.limits().iter().zip(&parts)
                .map(|(&(lower, upper), part)| lower + part * (upper - lower))
                .collect();
            let names = hand.variable_names().map(str::to_owned);
            let positions: HashMap<String, f64> = names.zip(q.iter().copied()).collect();
            let mut kinematics = Kinematics::new(hand.clone());
            kinematics.update(&q);
            prop_assert_eq!(hand.frames().len(), tree.links().len());
            for frame in hand.frames() {
                let expected = urdf.root_from_link(&frame.name, &positions);
                let ours = kinematics.root_from_frame(frame).to_homogeneous();
                let error = (ours - expected).abs().max();
                prop_assert!(error < 1e-9, "{}: {error}", frame.name);
            }
            for joint in hand.joints() {
                let theirs = urdf.joint(&joint.name);
                let at = urdf.position(theirs, &positions);
                prop_assert_eq!(joint.kind == JointKind::Prismatic, theirs.kind == "prismatic");
                prop_assert!((joint.lower - 1e-9..=joint.upper + 1e-9).contains(&at));
                let told = format!("joint \"{}\": its limits", joint.name);
                let is_told = hand.notes().iter().any(|note| note.starts_with(&told));
                if theirs.kind != "continuous" && !is_told {
                    prop_assert!((theirs.lower - 1e-9..=theirs.upper + 1e-9).contains(&at));
                }
                let speed = hand.velocities()[joint.variable] * joint.factor.abs();
                prop_assert!(speed <= theirs.velocity * (1.0 + 1e-12));
            }
            let mut columns = vec![Vector3::zeros(); hand.dof()];
            kinematics.tip_jacobian(0, &mut columns);
            for (variable, column) in columns.iter().enumerate() {
                let at = |delta: f64| {
                    let mut q = q.clone();
                    q[variable] += delta;
                    hand.forward(&q).tips[0]
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                let error = (difference - column).norm();
                prop_assert!(error < 1e-6, "{link}, variable {variable}: {error}");
            }
        }
    }

    #[test]
    fn a_floating_root_moves_everything_by_its_pose(
        text in tree(), parts in proptest::collection::vec(0.0..1.0, 12),
        root in proptest::array::uniform6(-2.0..2.0),
    ) {
        let tree = UrdfTree::from_text(&text, Path::new("random.urdf")).unwrap();
        let leaf = tree.links()[tree.leaves().last().unwrap()].name.clone();
        let Ok(hand) = Hand::from_urdf_tree(&tree, &with_tip(&leaf)) else { return Ok(()) };
        let floating = hand.with_floating_root();
        prop_assert_eq!(floating.dof(), hand.dof() + 6);
        let q: Vec<f64> = hand.limits().iter().zip(&parts)
            .map(|(&(lower, upper), part)| lower + part * (upper - lower))
            .collect();
        let [x, y, z, rx, ry, rz] = root;
        let floating_from_root = Matrix4::new_translation(&Vector3::new(x, y, z))
            * Matrix4::new_rotation(Vector3::x() * rx)
            * Matrix4::new_rotation(Vector3::y() * ry)
            * Matrix4::new_rotation(Vector3::z() * rz);
        let mut fixed = Kinematics::new(hand.clone());
        let mut free = Kinematics::new(floating.clone());
        fixed.update(&q);
        free.update(&[&root[..], &q].concat());
        for frame in hand.frames() {
            let expected = floating_from_root * fixed.root_from_frame(frame).to_homogeneous();
            let frame = floating.frame(&frame.name).unwrap();
            let ours = free.root_from_frame(frame).to_homogeneous();
            prop_assert!((ours - expected).abs().max() < 1e-9, "{}", frame.name);
        }
        let expected = floating_from_root * fixed.pose().tips[0].to_homogeneous();
        prop_assert!((free.pose().tips[0].to_homogeneous() - expected).norm() < 1e-9);
        for (one, other) in hand.capsules().iter().zip(floating.capsules()) {
            let expected = floating_from_root
                * fixed.point_in_root(one.joint, &one.from).to_homogeneous();
            let ours = free.point_in_root(other.joint, &other.from).to_homogeneous();
            prop_assert!((ours - expected).norm() < 1e-9);
        }
    }

    #[test]
    fn damage_to_a_urdf_never_panics(
        text in tree(), at in 0.0..1.0_f64, length in 0..40_usize, what in "[-<>/\"= a-z0-9.e]{0,20}",
    ) {
        let mut bytes = text.into_bytes();
        let start = (at * bytes.len() as f64) as usize;
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, what.bytes());
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(tree) = UrdfTree::from_text(&text, Path::new("damaged.urdf")) {
            for leaf in tree.leaves() {
                let link = tree.links()[leaf].name.clone();
                if let Ok(hand) = Hand::from_urdf_tree(&tree, &with_tip(&link)) {
                    let pose = hand.forward(&hand.rest());
                    // Huge but finite numbers may overflow; what is drawn and solved may not panic.
                    let _ = (hand.collision_pairs(), pose);
                }
            }
        }
    }

    #[test]
    fn garbage_never_panics(text in "\\PC{0,200}") {
        let path = Path::new("garbage.urdf");
        prop_assert!(UrdfTree::from_text(&text, path).is_err());
    }
}

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
        mesh.contains("1 pieces") && mesh.contains("meshes/tip.stl: not found"),
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
