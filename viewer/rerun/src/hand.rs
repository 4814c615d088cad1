//! Hands in 3-D: one entity per link, its capsules written once and moved by
//! transforms.

use std::sync::Arc;

use dexumi_episode::{
    Delta, EpisodeFile, SessionTime,
    align::JointTracks,
    schema::{Record, Retargeted},
};
use dexumi_retarget::{Capsule, Hand, Kinematics, Side};
use nalgebra::{Isometry3, UnitQuaternion, Vector3};
use rerun::EntityPath;

use crate::{
    error::ViewError,
    palette::{rgb, tint},
    rrd::Rrd,
    scene::{below, floats, log_poses},
};

/// Configurations of a hand over time.
#[derive(Debug, Default)]
pub(crate) struct Motion {
    /// Increasing.
    pub times: Vec<SessionTime>,
    /// One q per time, each of shape (dof,) [rad], in the hand's order.
    pub q: Vec<Vec<f64>>,
}

/// As in topics.
pub(crate) fn side_name(side: Side) -> &'static str {
    match side {
        Side::Left => "left",
        Side::Right => "right",
    }
}

/// For each variable of `hand`, where `names` has it.
fn order(hand: &Hand, names: &[String]) -> Result<Vec<usize>, String> {
    hand.variable_names()
        .map(|wanted| {
            let at = names.iter().position(|name| name == wanted);
            at.ok_or_else(|| format!("{} has a joint {wanted}, the data have not", hand.name()))
        })
        .collect()
}

impl Motion {
    /// Measured angles at the times of whole rows; times within gaps are left out.
    pub fn measured(hand: &Hand, joints: &JointTracks, max_gap: Delta) -> Result<Self, String> {
        let order = order(hand, &joints.names)?;
        let mut motion = Self::default();
        for &time in &joints.rows {
            // Not beyond a channel's own samples: the first and the last row may drop out.
            let at = |&joint: &usize| joints.tracks[joint].at(time, max_gap);
            if let Some(q) = order.iter().map(at).collect::<Option<Vec<f64>>>() {
                motion.times.push(time);
                motion.q.push(q);
            }
        }
        Ok(motion)
    }

    /// Retargeted angles, with the hand that they are for; `None` where the file
    /// has none for this side.
    ///
    /// The topic's metadata may name the `hand` and the `names` of its joints,
    /// comma separated; else it is `expected`, in its own order.
    pub fn retargeted(
        file: &EpisodeFile,
        side: Side,
        expected: &str,
    ) -> Result<Option<(Arc<Hand>, Self)>, RetargetedProblem> {
        let topic = retarget_topic(side);
        let messages = file.read::<Retargeted>(&topic)?;
        if messages.is_empty() {
            return Ok(None);
        }
        let name = file.channel_metadata(&topic, "hand");
        let name = name.as_deref().unwrap_or(expected);
        let hand = Hand::by_name(name).map_err(|error| error.to_string())?;
        let order = match file.channel_metadata(&topic, "names") {
            Some(names) => {
                let names: Vec<_> = names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect();
                order(&hand, &names)?
            }
            None => (0..hand.dof()).collect(),
        };
        let mut motion = Self::default();
        for (times, message) in &messages {
            let q: Option<Vec<f64>> = order
                .iter()
                .map(|&at| message.position.get(at).copied())
                .collect();
            let Some(q) = q else {
                return Err(RetargetedProblem::Unfit(format!(
                    "`{topic}` has {} joints, {} has {}",
                    message.position.len(),
                    hand.name(),
                    hand.dof()
                )));
            };
            let time = message
                .stamp()
                .map_or(times.publish_time, |stamp| stamp.timestamp());
            motion.times.push(time);
            motion.q.push(q);
        }
        Ok(Some((Arc::new(hand), motion)))
    }
}

/// Topic of a side's retargeted joints.
pub(crate) fn retarget_topic(side: Side) -> String {
    format!("/retarget/{}/joints", side_name(side))
}

/// Why retargeted joints cannot be drawn.
pub(crate) enum RetargetedProblem {
    /// The file is damaged.
    Damaged(dexumi_episode::EpisodeError),
    /// They do not fit a hand that is known here.
    Unfit(String),
}

impl From<dexumi_episode::EpisodeError> for RetargetedProblem {
    fn from(error: dexumi_episode::EpisodeError) -> Self {
        Self::Damaged(error)
    }
}

impl From<String> for RetargetedProblem {
    fn from(problem: String) -> Self {
        Self::Unfit(problem)
    }
}

/// Draws a hand at `entity`, whose axes are the hand's root.
pub(crate) fn log_hand(
    rrd: &mut Rrd,
    entity: &EntityPath,
    hand: &Arc<Hand>,
    motion: &Motion,
    colour: [u8; 3],
) -> Result<(), ViewError> {
    let link = |joint: Option<usize>| {
        below(
            entity,
            joint.map_or(hand.root(), |joint| hand.joints()[joint].name.as_str()),
        )
    };
    for joint in std::iter::once(None).chain((0..hand.joints().len()).map(Some)) {
        let capsules: Vec<&Capsule> = hand
            .capsules()
            .iter()
            .filter(|capsule| capsule.joint == joint)
            .collect();
        if !capsules.is_empty() {
            rrd.fixed(&link(joint), &shapes(&capsules, colour))?;
        }
    }
    let mut kinematics = Kinematics::new(hand.clone());
    let mut root_from_joint: Vec<Vec<Isometry3<f64>>> =
        vec![Vec::with_capacity(motion.q.len()); hand.joints().len()];
    for q in &motion.q {
        let pose = kinematics.update(q);
        for (track, joint) in root_from_joint.iter_mut().zip(&pose.root_from_joint) {
            track.push(*joint);
        }
    }
    for (joint, track) in root_from_joint.iter().enumerate() {
        log_poses(rrd, &link(Some(joint)), &motion.times, track)?;
    }
    Ok(())
}

/// Rerun's capsules lie along z from their translation on.
fn shapes(capsules: &[&Capsule], colour: [u8; 3]) -> rerun::Capsules3D {
    let along = |capsule: &Capsule| capsule.to - capsule.from;
    let rotations = capsules.iter().map(|capsule| {
        // Opposite to z, or a sphere: any half turn, or none.
        let rotation = UnitQuaternion::rotation_between(&Vector3::z(), &along(capsule))
            .unwrap_or_else(|| {
                let turn = if along(capsule).z < 0.0 {
                    std::f64::consts::PI
                } else {
                    0.0
                };
                UnitQuaternion::from_axis_angle(&Vector3::x_axis(), turn)
            });
        let q = rotation.coords;
        rerun::Quaternion::from_xyzw([q.x as f32, q.y as f32, q.z as f32, q.w as f32])
    });
    rerun::Capsules3D::from_lengths_and_radii(
        capsules.iter().map(|capsule| along(capsule).norm() as f32),
        capsules.iter().map(|capsule| capsule.radius as f32),
    )
    .with_translations(capsules.iter().map(|capsule| floats(&capsule.from.coords)))
    .with_quaternions(rotations)
    .with_colors(
        capsules
            .iter()
            .map(|capsule| rgb(tint(colour, capsule.rgb))),
    )
    .with_fill_mode(rerun::FillMode::Solid)
}
