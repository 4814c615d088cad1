//! A tree of links and joints to a hand: fixed links folded, mimics into variables, pieces into
//! capsules.

use std::f64::consts::TAU;
use std::path::Path;

use nalgebra::{Isometry3, Point3, Vector3};

use crate::coupling::narrowed;
use crate::hand::{Finger, Frame, Hand, Joint, JointKind, Side, Tip};
use crate::motor::Motor;

use super::{UrdfError, UrdfJoint, UrdfJointKind, UrdfTree, bodies, fingers};

/// Speed where the file states none (rad/s).
const DEFAULT_TURNING: f64 = TAU;
/// Speed where the file states none (m/s).
const DEFAULT_SLIDING: f64 = 0.5;
/// Range of a joint without limits, each way (rad): a turn each way from zero.
const CONTINUOUS_RANGE: f64 = TAU;

/// What a URDF does not say of a hand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UrdfOptions {
    /// Left or right; `None`: from the names.
    pub side: Option<Side>,
    /// The link of each fingertip; empty: from the names.
    pub tips: Vec<(Finger, String)>,
    /// The hand's name; `None`: that of the file, without its ending.
    pub name: Option<String>,
}

impl UrdfOptions {
    /// Tips from text such as `thumb=LINK,index=LINK`, for [`UrdfOptions::tips`].
    ///
    /// # Errors
    /// [`UrdfError::Tips`] for what is not of that form, or no finger.
    pub fn tips_from_text(text: &str) -> Result<Vec<(Finger, String)>, UrdfError> {
        let tip = |part: &str| {
            let (name, link) = part.split_once('=')?;
            let mut fingers = Finger::ALL.into_iter();
            let finger = fingers.find(|finger| finger.name() == name.trim())?;
            Some((finger, link.trim().to_owned())).filter(|(_, link)| !link.is_empty())
        };
        let tips = text.split(',').map(|part| {
            tip(part).ok_or_else(|| UrdfError::Tips {
                got: part.trim().to_owned(),
            })
        });
        tips.collect()
    }
}

/// Where a link went: the joint that moves it, and its axes in that joint's link axes.
pub(super) type Folded = (Option<usize>, Isometry3<f64>);

impl Hand {
    /// A hand from a URDF file. Its root is the file's root link, `q` has the joints that mimic no
    /// other in file order, and [`Hand::notes`] says what was assumed.
    ///
    /// # Errors
    /// [`UrdfError`] when the file cannot be read, is no robot, or is no hand.
    pub fn from_urdf(path: &Path, options: &UrdfOptions) -> Result<Self, UrdfError> {
        Self::from_urdf_tree(&UrdfTree::from_path(path)?, options)
    }

    /// A hand from a URDF that is read already; see [`Hand::from_urdf`].
    ///
    /// # Errors
    /// [`UrdfError::NotAHand`] or [`UrdfError::UnknownLink`].
    pub fn from_urdf_tree(tree: &UrdfTree, options: &UrdfOptions) -> Result<Self, UrdfError> {
        let side = match options.side {
            Some(side) => side,
            None => fingers::guess_side(tree)?,
        };
        let tips = match &options.tips[..] {
            [] => fingers::guess_tips(tree)?,
            given => named_tips(tree, given)?,
        };
        let stem = tree.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = options.name.clone().unwrap_or_else(|| stem.into_owned());
        let root = tree.links[tree.root].name.clone();
        let mut hand = Self::empty(name, side, root);
        hand.notes.extend(tree.notes.iter().cloned());
        let folded = add_joints(&mut hand, tree)?;
        for (link, &(joint, link_from_frame)) in tree.links.iter().zip(&folded) {
            // The root is there from the beginning.
            if link.joint.is_some() {
                hand.frames.push(Frame {
                    name: link.name.clone(),
                    joint,
                    link_from_frame,
                });
            }
        }
        add_tips(&mut hand, tree, &tips, &folded)?;
        bodies::add_capsules(&mut hand, tree, &folded);
        Ok(hand)
    }
}

fn not_a_hand(tree: &UrdfTree, what: String, expected: &str, got: String) -> UrdfError {
    UrdfError::NotAHand {
        what,
        expected: expected.to_owned(),
        got,
        next: "correct it in the URDF".to_owned(),
        path: tree.path.display().to_string(),
    }
}

fn named_tips(
    tree: &UrdfTree,
    given: &[(Finger, String)],
) -> Result<Vec<(Finger, usize)>, UrdfError> {
    let mut tips: Vec<(Finger, usize)> = Vec::new();
    for (finger, name) in given {
        if tips.iter().any(|(other, _)| other == finger) {
            let what = format!("the tip of the {}", finger.name());
            let got = format!("another, \"{name}\"");
            return Err(not_a_hand(tree, what, "one link a finger", got));
        }
        tips.push((*finger, tree.link(name)?));
    }
    Ok(tips)
}

/// The joint at `position` for good.
fn held(joint: &UrdfJoint, position: f64) -> UrdfJoint {
    UrdfJoint {
        kind: UrdfJointKind::Fixed,
        parent_from_joint: joint.parent_from_child(position),
        mimic: None,
        ..joint.clone()
    }
}

/// The joints as they can move: one whose limits coincide, and what mimics it, stands still.
fn movable(tree: &UrdfTree, notes: &mut Vec<String>) -> Vec<UrdfJoint> {
    let is_locked = |joint: &UrdfJoint| joint.moves() && joint.lower == joint.upper;
    let mut joints = tree.joints.clone();
    for joint in &mut joints {
        let position = match joint.mimic {
            Some(mimic) => {
                let source = &tree.joints[mimic.joint];
                let stands = mimic.factor == 0.0 || is_locked(source);
                // 0 · ∞ for what would follow a continuous joint by nothing.
                let part = if mimic.factor == 0.0 {
                    0.0
                } else {
                    mimic.factor * source.lower
                };
                stands.then_some(part + mimic.offset)
            }
            None => is_locked(joint).then_some(joint.lower),
        };
        if let Some(position) = position {
            notes.push(format!("joint \"{}\" is held at {position}", joint.name));
            *joint = held(joint, position);
        }
    }
    joints
}

/// Adds the joints, their variables and motors; gives where each link went.
fn add_joints(hand: &mut Hand, tree: &UrdfTree) -> Result<Vec<Folded>, UrdfError> {
    let joints = movable(tree, &mut hand.notes);
    let bounds = |joint: &UrdfJoint| match joint.kind {
        UrdfJointKind::Continuous => (-CONTINUOUS_RANGE, CONTINUOUS_RANGE),
        _ => (joint.lower, joint.upper),
    };
    let mut without_speed = Vec::new();
    let mut speed = |joint: &UrdfJoint| {
        joint.velocity.unwrap_or_else(|| {
            without_speed.push(joint.name.clone());
            match joint.kind {
                UrdfJointKind::Prismatic => DEFAULT_SLIDING,
                _ => DEFAULT_TURNING,
            }
        })
    };
    let speeds: Vec<f64> = joints
        .iter()
        .map(|joint| if joint.moves() { speed(joint) } else { 0.0 })
        .collect();
    if !without_speed.is_empty() {
        hand.notes.push(format!(
            "no speed limit given, {DEFAULT_TURNING:.2} rad/s or {DEFAULT_SLIDING} m/s assumed: {}",
            without_speed.join(", ")
        ));
    }
    let is_free = |joint: &UrdfJoint| joint.moves() && joint.mimic.is_none();
    let mut variable_of = vec![None; joints.len()];
    for (index, joint) in joints
        .iter()
        .enumerate()
        .filter(|(_, joint)| is_free(joint))
    {
        variable_of[index] = Some(hand.limits.len());
        hand.limits.push(bounds(joint));
        hand.velocities.push(speeds[index]);
        hand.motors
            .push(Motor::direct(kind_of(joint), bounds(joint)));
    }
    hand.variables = vec![0; hand.limits.len()];
    let mut folded: Vec<Folded> = vec![(None, Isometry3::identity()); tree.links.len()];
    for &index in &tree.parents_first {
        let joint = &joints[index];
        let (parent, link_from_parent) = folded[joint.parent];
        let link_from_joint = link_from_parent * joint.parent_from_joint;
        if !joint.moves() {
            folded[joint.child] = (parent, link_from_joint);
            continue;
        }
        let (source, factor, offset) = match joint.mimic {
            Some(mimic) => (mimic.joint, mimic.factor, mimic.offset),
            None => (index, 1.0, 0.0),
        };
        let Some(variable) = variable_of[source] else {
            let what = format!("joint \"{}\", mimic", joint.name);
            let got = format!("\"{}\"", joints[source].name);
            return Err(not_a_hand(tree, what, "a joint that moves by itself", got));
        };
        let (mut lower, mut upper) = bounds(joint);
        match joint.mimic {
            None => hand.variables[variable] = hand.joints.len(),
            Some(_) => {
                let limits = hand.limits[variable];
                match narrowed(limits, (lower, upper), (factor, offset)) {
                    Ok(limits) => hand.limits[variable] = limits,
                    // A file at odds with itself, as SVH's left hand is: its coupling draws the
                    // hand, its limits would hold the finger at one point.
                    Err(_) => {
                        let name = &joint.name;
                        let source = &joints[source].name;
                        hand.notes.push(format!(
                            "joint \"{name}\": its limits, {lower} to {upper}, leave no room \
                             for its coupling to \"{source}\" and are passed over"
                        ));
                        let ends = [limits.0, limits.1].map(|end| factor * end + offset);
                        (lower, upper) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
                    }
                }
                let velocity = &mut hand.velocities[variable];
                *velocity = velocity.min(speeds[index] / factor.abs());
            }
        }
        folded[joint.child] = (Some(hand.joints.len()), Isometry3::identity());
        hand.joints.push(Joint {
            name: joint.name.clone(),
            link: tree.links[joint.child].name.clone(),
            kind: kind_of(joint),
            parent,
            parent_from_joint: link_from_joint,
            axis: joint.axis,
            variable,
            factor,
            offset,
            lower,
            upper,
            velocity: speeds[index],
        });
    }
    Ok(folded)
}

fn kind_of(joint: &UrdfJoint) -> JointKind {
    match joint.kind {
        UrdfJointKind::Prismatic => JointKind::Prismatic,
        _ => JointKind::Revolute,
    }
}

fn add_tips(
    hand: &mut Hand,
    tree: &UrdfTree,
    tips: &[(Finger, usize)],
    folded: &[Folded],
) -> Result<(), UrdfError> {
    for &(finger, link) in tips {
        let (Some(joint), link_from_tip) = folded[link] else {
            let what = format!("the tip of the {}", finger.name());
            let got = format!("\"{}\", which is fixed to the root", tree.links[link].name);
            return Err(not_a_hand(tree, what, "a link that a joint moves", got));
        };
        let others: Vec<usize> = tips
            .iter()
            .filter(|(other, _)| *other != finger)
            .map(|&(_, link)| link)
            .collect();
        // A joint that is held has no place among the hand's.
        let middle = fingers::middle_joint(tree, finger, link, &others);
        let middle = middle.map(|joint| &tree.joints[joint].name);
        let middle_joint =
            middle.and_then(|name| hand.joints.iter().position(|joint| joint.name == *name));
        hand.tips.push(Tip {
            finger,
            joint,
            point_in_joint: Point3::from(link_from_tip.translation.vector),
            pad: Vector3::zeros(),
            middle_joint,
        });
    }
    Ok(())
}
