//! The built-in hands against the vendors' files, and those files through the importer.

use std::collections::HashMap;

use dexumi_retarget::{Finger, HANDS, Hand, Kinematics, Side, UrdfOptions, UrdfTree};
use nalgebra::Isometry3;

use crate::urdf::Urdf;
use crate::{random, shared};

/// Where the file of a built-in hand lies.
fn file_of(name: &str) -> String {
    let (hand, side) = name.rsplit_once('_').unwrap();
    match hand {
        "xhand" => format!("urdf/xhand1/xhand_{side}.urdf"),
        "sharpa" => format!("urdf/sharpa_wave/{side}_sharpa_wave.urdf"),
        _ => format!("urdf/{hand}_hand/{hand}_hand_{side}.urdf"),
    }
}

/// Positions of the joints that mimic none, by name.
fn positions(hand: &Hand, q: &[f64]) -> HashMap<String, f64> {
    let names = hand.variable_names().map(str::to_owned);
    names.zip(q.iter().copied()).collect()
}

/// Largest difference of two poses in any cell of their 4×4 matrices (m, or 1).
fn difference(ours: &Isometry3<f64>, theirs: &nalgebra::Matrix4<f64>) -> f64 {
    (ours.to_homogeneous() - theirs).abs().max()
}

#[test]
fn every_link_of_every_hand_agrees_with_an_independent_reading_of_its_urdf() {
    let mut worst = 0.0_f64;
    for (name, _) in HANDS {
        let Some(file) = shared(&file_of(name)) else {
            return;
        };
        let urdf = Urdf::read(&file);
        let hand = Hand::by_name(name).unwrap();
        let links = urdf.links();
        let known: Vec<_> = hand
            .frames()
            .iter()
            .filter(|frame| links.contains(&frame.name))
            .collect();
        assert_eq!(
            known.len(),
            hand.frames().len(),
            "{name}: a frame of no link"
        );
        assert!(
            known.len() > hand.joints().len() + hand.tips().len(),
            "{name}"
        );
        let mut kinematics = Kinematics::new(hand.clone());
        for q in random(hand.dof(), 3.0).take(200) {
            let positions = positions(&hand, &q);
            let pose = kinematics.update(&q).clone();
            for frame in &known {
                let expected = urdf.root_from_link(&frame.name, &positions);
                let error = difference(&kinematics.root_from_frame(frame), &expected);
                assert!(error < 1e-9, "{name}, {}: {error}", frame.name);
                worst = worst.max(error);
            }
            for (tip, point) in hand.tips().iter().zip(&pose.tips) {
                let is_here = |frame: &&&dexumi_retarget::Frame| {
                    let origin = frame.link_from_frame.translation.vector;
                    frame.joint == Some(tip.joint) && origin == tip.point_in_joint.coords
                };
                let frame = known.iter().find(is_here).unwrap();
                let expected = urdf.root_from_link(&frame.name, &positions);
                let error = (point.coords - expected.fixed_view::<3, 1>(0, 3)).norm();
                assert!(error < 1e-9, "{name}, {}: {error} m", frame.name);
            }
        }
    }
    eprintln!("largest difference of forward kinematics: {worst:e}");
}

#[test]
fn joints_limits_speeds_and_coupling_are_those_of_the_urdf() {
    for (name, _) in HANDS {
        let Some(file) = shared(&file_of(name)) else {
            return;
        };
        let urdf = Urdf::read(&file);
        let hand = Hand::by_name(name).unwrap();
        let moving = urdf
            .joints
            .iter()
            .filter(|joint| joint.kind != "fixed")
            .count();
        assert_eq!(moving, hand.joints().len(), "{name}");
        for ours in hand.joints() {
            let theirs = urdf.joint(&ours.name);
            assert_eq!(ours.link, theirs.child);
            let limits = (theirs.lower, theirs.upper, theirs.velocity);
            assert_eq!((ours.lower, ours.upper, ours.velocity), limits, "{name}");
            let source = &hand.joints()[0..].iter().find(|joint| {
                joint.variable == ours.variable && (joint.factor, joint.offset) == (1.0, 0.0)
            });
            let mimic = theirs
                .mimic
                .clone()
                .unwrap_or((theirs.name.clone(), 1.0, 0.0));
            assert_eq!((ours.factor, ours.offset), (mimic.1, mimic.2), "{name}");
            assert_eq!(source.unwrap().name, mimic.0, "{name}");
        }
    }
}

#[test]
fn the_importer_makes_the_same_hand_of_the_urdf() {
    for (name, _) in HANDS {
        let Some(file) = shared(&file_of(name)) else {
            return;
        };
        let ours = Hand::by_name(name).unwrap();
        // Allegro's names do not tell the fingers; take the tips by their frames.
        let tip_link = |tip: &dexumi_retarget::Tip| {
            let is_here = |frame: &&dexumi_retarget::Frame| {
                let origin = frame.link_from_frame.translation.vector;
                frame.joint == Some(tip.joint) && origin == tip.point_in_joint.coords
            };
            ours.frames().iter().find(is_here).unwrap().name.clone()
        };
        let tips = ours.tips().iter().map(|tip| (tip.finger, tip_link(tip)));
        let named = UrdfOptions {
            tips: tips.collect(),
            ..Default::default()
        };
        let theirs = Hand::from_urdf(&file, &named).unwrap();
        if !name.starts_with("allegro") {
            let guessed = Hand::from_urdf(&file, &UrdfOptions::default()).unwrap();
            assert_eq!(guessed, theirs, "{name}");
        }
        assert_eq!((theirs.side(), theirs.root()), (ours.side(), ours.root()));
        assert_eq!(theirs.dof(), ours.dof());
        // Ours are in motor order.
        let theirs_of_ours: Vec<usize> = ours
            .variable_names()
            .map(|name| {
                theirs
                    .variable_names()
                    .position(|other| other == name)
                    .unwrap()
            })
            .collect();
        for (ours_at, &theirs_at) in theirs_of_ours.iter().enumerate() {
            assert_eq!(ours.limits()[ours_at], theirs.limits()[theirs_at], "{name}");
            assert_eq!(
                ours.velocities()[ours_at],
                theirs.velocities()[theirs_at],
                "{name}"
            );
        }
        let middle = |hand: &Hand, tip: usize| {
            let joint = hand.tips()[tip].middle_joint;
            joint.map(|joint| hand.joints()[joint].name.clone())
        };
        let mut kinematics = [ours.clone(), theirs.clone()].map(Kinematics::new);
        for (tip, (one, other)) in ours.tips().iter().zip(theirs.tips()).enumerate() {
            assert_eq!(one.finger, other.finger);
            assert_eq!(
                middle(&ours, tip),
                middle(&theirs, tip),
                "{name} {:?}",
                one.finger
            );
        }
        for q in random(ours.dof(), 3.0).take(20) {
            let mut q_theirs = q.clone();
            for (ours_at, &theirs_at) in theirs_of_ours.iter().enumerate() {
                q_theirs[theirs_at] = q[ours_at];
            }
            let tips = kinematics[0].update(&q).tips.clone();
            for (one, other) in tips.iter().zip(&kinematics[1].update(&q_theirs).tips) {
                assert!(nalgebra::distance(one, other) < 1e-12, "{name}");
            }
            for frame in ours.frames() {
                let one = kinematics[0].root_from_frame(frame);
                let other = kinematics[1].root_from_frame(theirs.frame(&frame.name).unwrap());
                assert!(difference(&one, &other.to_homogeneous()) < 1e-12, "{name}");
            }
        }
    }
}

/// The hands that come by URDF: file, dof, tips.
const BY_URDF: [(&str, usize, [&str; 5]); 6] = [
    (
        "shadow_hand/shadow_hand_right",
        24,
        ["thtip", "fftip", "mftip", "rftip", "lftip"],
    ),
    (
        "shadow_hand/shadow_hand_left",
        24,
        ["thtip", "fftip", "mftip", "rftip", "lftip"],
    ),
    (
        "schunk_hand/schunk_svh_hand_right",
        9,
        ["thtip", "fftip", "mftip", "rftip", "lftip"],
    ),
    (
        "schunk_hand/schunk_svh_hand_left",
        9,
        ["thtip", "fftip", "mftip", "rftip", "lftip"],
    ),
    (
        "ability_hand/ability_hand_right",
        6,
        [
            "thumb_tip",
            "index_tip",
            "middle_tip",
            "ring_tip",
            "pinky_tip",
        ],
    ),
    (
        "ability_hand/ability_hand_left",
        6,
        [
            "thumb_tip",
            "index_tip",
            "middle_tip",
            "ring_tip",
            "pinky_tip",
        ],
    ),
];

#[test]
fn shadow_svh_and_ability_come_by_urdf_and_agree_with_an_independent_reading() {
    for (file, dof, links) in BY_URDF {
        let Some(path) = shared(&format!("urdf/{file}.urdf")) else {
            return;
        };
        let hand = Hand::from_urdf(&path, &UrdfOptions::default()).unwrap();
        let side = if file.ends_with("left") {
            Side::Left
        } else {
            Side::Right
        };
        assert_eq!((hand.dof(), hand.side()), (dof, side), "{file}");
        assert_eq!(hand.tips().len(), 5);
        let urdf = Urdf::read(&path);
        let mut kinematics = Kinematics::new(hand.clone());
        for q in random(dof, 3.0).take(200) {
            let positions = positions(&hand, &q);
            let tips = kinematics.update(&q).tips.clone();
            for (point, link) in tips.iter().zip(links) {
                let expected = urdf.root_from_link(link, &positions);
                let error = (point.coords - expected.fixed_view::<3, 1>(0, 3)).norm();
                assert!(error < 1e-9, "{file}, {link}: {error} m");
            }
            for frame in hand.frames() {
                let expected = urdf.root_from_link(&frame.name, &positions);
                let error = difference(&kinematics.root_from_frame(frame), &expected);
                assert!(error < 1e-9, "{file}, {}: {error}", frame.name);
            }
        }
        // Within the narrowed limits every joint keeps to its own.
        for parts in random(dof, 1.0).take(200) {
            let limits = hand.limits().iter().zip(&parts);
            let q: Vec<f64> = limits
                .map(|(&(lower, upper), part)| lower + (part.abs()) * (upper - lower))
                .collect();
            let positions = positions(&hand, &q);
            for joint in urdf.joints.iter().filter(|joint| joint.kind != "fixed") {
                // SVH's left hand has limits at odds with its coupling, which is said.
                let told = format!("joint \"{}\": its limits", joint.name);
                if hand.notes().iter().any(|note| note.starts_with(&told)) {
                    assert!(file.ends_with("svh_hand_left"), "{file}: {told}");
                    continue;
                }
                let at = urdf.position(joint, &positions);
                let range = joint.lower - 1e-12..=joint.upper + 1e-12;
                assert!(range.contains(&at), "{file}, {}: {at}", joint.name);
            }
        }
        for tip in hand.tips() {
            assert!(tip.middle_joint.is_some(), "{file} {:?}", tip.finger);
        }
    }
}

#[test]
fn limits_narrowed_by_coupled_joints_are_those_known() {
    let Some(path) = shared("urdf/ability_hand/ability_hand_right.urdf") else {
        return;
    };
    let ability = Hand::from_urdf(&path, &UrdfOptions::default()).unwrap();
    let limit = |hand: &Hand, name: &str| {
        let at = hand
            .variable_names()
            .position(|other| other == name)
            .unwrap();
        hand.limits()[at].1
    };
    assert!((limit(&ability, "index_q1") - 1.828).abs() < 1e-3);
    let path = shared("urdf/schunk_hand/schunk_svh_hand_right.urdf").unwrap();
    let svh = Hand::from_urdf(&path, &UrdfOptions::default()).unwrap();
    assert!((limit(&svh, "right_hand_Middle_Finger_Distal") - 1.276).abs() < 1e-3);
    assert!((limit(&svh, "right_hand_Finger_Spread") - 0.5767).abs() < 1e-4);
}

#[test]
fn every_urdf_there_is_loads_as_a_tree() {
    let Some(folder) = shared("urdf") else { return };
    let mut count = 0;
    for folder in std::fs::read_dir(folder).unwrap() {
        let folder = folder.unwrap().path();
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "urdf") {
                continue;
            }
            count += 1;
            let tree = UrdfTree::from_path(&path).unwrap();
            let urdf = Urdf::read(&path);
            assert_eq!(tree.links().len(), urdf.links().len());
            assert_eq!(tree.joints().len(), urdf.joints.len());
            for positions in random(tree.joints().len(), 2.0).take(20) {
                let joints = tree.joints().iter().zip(&positions);
                let named = joints.map(|(joint, &position)| (joint.name.clone(), position));
                let named = named.collect();
                let root_from_links = tree.root_from_links(&positions);
                for (link, root_from_link) in tree.links().iter().zip(&root_from_links) {
                    let expected = urdf.root_from_link(&link.name, &named);
                    let error = difference(root_from_link, &expected);
                    assert!(error < 1e-9, "{}, {}: {error}", path.display(), link.name);
                }
            }
        }
    }
    assert!(count >= 20, "{count} files");
}

#[test]
fn a_gripper_becomes_a_hand_when_its_tips_are_named() {
    let Some(path) = shared("urdf/panda_gripper/panda_gripper_glb.urdf") else {
        return;
    };
    let error = Hand::from_urdf(&path, &UrdfOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("say which hand it is"),
        "{error}"
    );
    let mut options = UrdfOptions {
        side: Some(Side::Right),
        ..Default::default()
    };
    let error = Hand::from_urdf(&path, &options).unwrap_err().to_string();
    assert!(
        error.contains("0 among panda_leftfinger, panda_rightfinger"),
        "{error}"
    );
    assert!(error.contains("thumb=LINK"), "{error}");
    options.tips = vec![
        (Finger::Thumb, "panda_leftfinger".to_owned()),
        (Finger::Index, "panda_rightfinger".to_owned()),
    ];
    let hand = Hand::from_urdf(&path, &options).unwrap();
    assert_eq!((hand.dof(), hand.limits()), (1, &[(0.0, 0.04)][..]));
    let [closed, open] = [0.0, 0.04].map(|q| hand.forward(&[q]).tips);
    assert_eq!(closed[0], closed[1]);
    assert!((nalgebra::distance(&open[0], &open[1]) - 0.08).abs() < 1e-12);
}
