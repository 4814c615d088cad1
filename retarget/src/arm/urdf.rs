//! An arm from a URDF: the joints between two of its links.

use std::f64::consts::TAU;
use std::path::Path;

use nalgebra::Isometry3;

use crate::arm::file::{Place, checked, middle};
use crate::arm::{Arm, ArmCapsule, ArmError, ArmJoint, ArmKinematics, ArmMotion, collision_pairs};
use crate::capsule::closest;
use crate::urdf::{UrdfJointKind, UrdfTree};

/// Speed where the file states none (rad/s).
const DEFAULT_TURNING: f64 = TAU;
/// Speed where the file states none (m/s).
const DEFAULT_SLIDING: f64 = 0.5;

/// What a URDF does not say of an arm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArmUrdfOptions {
    /// The link that stands still; `None`: the root.
    pub base: Option<String>,
    /// The link that the end effector is mounted on; `None`: the end of the chain with the most
    /// joints, where there is only one.
    pub flange: Option<String>,
    /// Working posture, shape (dof,) (rad or m); `None`: zero, or the middle of a joint's range
    /// that leaves it out.
    pub home: Option<Vec<f64>>,
}

impl Arm {
    /// An arm from a URDF file. Its capsules are those of the links' collision pieces, as far as
    /// they can be read; [`Arm::notes`] says what was assumed or left out.
    ///
    /// # Errors
    /// [`ArmError::Urdf`] when the file cannot be read or is no robot, [`ArmError::Invalid`] when
    /// there is no arm between the two links.
    pub fn from_urdf(path: &Path, options: &ArmUrdfOptions) -> Result<Self, ArmError> {
        let shown = path.display().to_string();
        let tree = UrdfTree::from_path(path).map_err(|source| ArmError::Urdf {
            path: shown.clone(),
            source: Box::new(source),
        })?;
        let place = Place(&shown);
        let find = |name: &String| {
            tree.link(name).map_err(|source| ArmError::Urdf {
                path: shown.clone(),
                source: Box::new(source),
            })
        };
        let base = options.base.as_ref().map_or(Ok(tree.root()), find)?;
        let flange = match &options.flange {
            Some(name) => find(name)?,
            None => farthest_leaf(&tree, &place)?,
        };
        let mut chain = tree.chain(flange);
        if base != tree.root() {
            let first = chain
                .iter()
                .position(|&joint| tree.joints()[joint].parent == base);
            let names = (&tree.links()[base].name, &tree.links()[flange].name);
            let expected = "a base between the root and the flange";
            place.ensure(first.is_some(), "base and flange", expected, names)?;
            chain.drain(..first.unwrap_or(0));
        }

        let mut arm = Arm {
            name: tree.name().to_owned(),
            base: tree.links()[base].name.clone(),
            joints: Vec::new(),
            last_from_flange: Isometry3::identity(),
            home: Vec::new(),
            capsules: Vec::new(),
            pairs: Vec::new(),
            notes: tree.notes().to_vec(),
        };
        // Axes of each link in those of the arm's joint that moves it; fixed joints are folded.
        let mut placed: Vec<Option<(Option<usize>, Isometry3<f64>)>> =
            vec![None; tree.links().len()];
        placed[base] = Some((None, Isometry3::identity()));
        for &index in tree.parents_first() {
            let joint = &tree.joints()[index];
            let Some((moved_by, link_from_parent)) = placed[joint.parent] else {
                continue;
            };
            let link_from_joint = link_from_parent * joint.parent_from_joint;
            if !joint.moves() {
                placed[joint.child] = Some((moved_by, link_from_joint));
            } else if chain.contains(&index) {
                let what = format!("joint \"{}\"", joint.name);
                place.ensure(
                    joint.mimic.is_none(),
                    &what,
                    "a joint that mimics none",
                    "one",
                )?;
                placed[joint.child] = Some((Some(arm.joints.len()), Isometry3::identity()));
                let is_sliding = joint.kind == UrdfJointKind::Prismatic;
                let (motion, default) = if is_sliding {
                    (ArmMotion::Prismatic, DEFAULT_SLIDING)
                } else {
                    (ArmMotion::Revolute, DEFAULT_TURNING)
                };
                if joint.velocity.is_none() {
                    arm.notes.push(format!(
                        "{what}: no speed is stated, {default:.2} /s is taken"
                    ));
                }
                arm.joints.push(ArmJoint {
                    name: joint.name.clone(),
                    motion,
                    parent_from_joint: link_from_joint,
                    axis: joint.axis,
                    lower: joint.lower,
                    upper: joint.upper,
                    velocity: joint.velocity.unwrap_or(default),
                });
            } else {
                let link = &tree.links()[joint.child].name;
                arm.notes.push(format!(
                    "link \"{link}\" and what it carries are no part of the arm"
                ));
            }
        }
        if let Some((_, last_from_flange)) = placed[flange] {
            arm.last_from_flange = last_from_flange;
        }
        arm.home = options.home.clone().unwrap_or_else(|| middle(&arm.joints));
        for (link, placed) in placed.iter().enumerate() {
            let Some((joint, joint_from_link)) = placed else {
                continue;
            };
            let capsules = tree.link_capsules(link, &mut arm.notes);
            arm.capsules
                .extend(capsules.iter().map(|capsule| ArmCapsule {
                    joint: *joint,
                    capsule: capsule.moved(joint_from_link),
                }));
        }
        if arm.capsules.is_empty() {
            arm.notes
                .push("no shape of a link could be read: collisions cannot be seen".to_owned());
        }
        let mut arm = checked(arm, &place)?;
        arm.pairs = apart_at_home(&mut arm);
        Ok(arm)
    }
}

/// Pairs of capsules whose collision counts: those that touch at home already are too thick.
fn apart_at_home(arm: &mut Arm) -> Vec<(usize, usize)> {
    let all = collision_pairs(&arm.capsules, |_, _| false);
    let mut kinematics = ArmKinematics::new(arm.clone());
    let placed = kinematics.capsules();
    let is_apart = |&(i, j): &(usize, usize)| closest(&placed[i], &placed[j]).distance > 0.0;
    let count = all.len();
    let pairs: Vec<_> = all.into_iter().filter(is_apart).collect();
    if pairs.len() < count {
        let touching = count - pairs.len();
        arm.notes.push(format!(
            "{touching} pairs of capsules touch at home and are left out"
        ));
    }
    pairs
}

/// The leaf with the most moving joints before it.
fn farthest_leaf(tree: &UrdfTree, place: &Place) -> Result<usize, ArmError> {
    let moving = |leaf: usize| {
        let chain = tree.chain(leaf).into_iter();
        chain.filter(|&joint| tree.joints()[joint].moves()).count()
    };
    let leaves: Vec<_> = tree.leaves().map(|leaf| (moving(leaf), leaf)).collect();
    let most = leaves.iter().map(|(moving, _)| *moving).max().unwrap_or(0);
    let farthest: Vec<_> = leaves
        .iter()
        .filter(|(moving, _)| *moving == most)
        .collect();
    let names: Vec<_> = farthest
        .iter()
        .map(|(_, leaf)| &tree.links()[*leaf].name)
        .collect();
    let expected = "one end that is farthest from the root; name the link that the hand is on";
    place.ensure(farthest.len() == 1, "flange", expected, names)?;
    Ok(farthest[0].1)
}
