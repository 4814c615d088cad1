//! Random URDFs against an independent evaluation, damaged ones, and garbage.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use dexumi_retarget::{Hand, JointKind, Kinematics, UrdfTree};
use nalgebra::{Matrix4, Vector3};
use proptest::prelude::*;

use crate::urdf::Urdf;
use crate::urdf_import::with_tip;

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
