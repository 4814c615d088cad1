//! How near the two hands of an episode come to each other.

use std::path::Path;

use dexumi_episode::{
    Delta, EpisodeError, EpisodeFile, SessionTime,
    schema::{EffectorPose, Retargeted},
};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use serde::{Deserialize, Serialize};

use super::{effector_topic, joints_topic, side_name};
use crate::{Hand, PlacedCapsule, hand_capsules, nearest_pair};

/// Two hands nearer than this are counted (m): a choice, room for what two trackers are wrong by.
pub const HANDS_NEAR_M: f64 = 0.005;
/// Neighbours farther apart in time say nothing of a moment between them.
const LONGEST_GAP: Delta = Delta::from_millis(50);

/// Distances of two hands' capsules, each where its end effector is.
///
/// Both wrists must be tracked in one world, which the rig promises by one tracking system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandsApart {
    /// Steps of the first hand at which both hands and both wrists are known.
    pub steps: u64,
    /// Steps at which something is not, or is more than 50 ms away.
    pub unknown: u64,
    /// Least distance of the surfaces; negative: as deep as they reach into each other (m).
    pub least_m: f64,
    /// When, since the first step (s).
    pub least_at_s: f64,
    /// Steps nearer than [`HANDS_NEAR_M`].
    pub near: u64,
    /// The first of them, since the first step (s).
    pub first_near_s: Option<f64>,
}

/// A hand over time, from its derived file.
struct Moving<'a> {
    hand: &'a Hand,
    joints: Vec<(SessionTime, Vec<f64>)>,
    /// `world_from_hand`.
    poses: Vec<(SessionTime, Isometry3<f64>)>,
}

impl<'a> Moving<'a> {
    fn read(path: &Path, hand: &'a Hand) -> Result<Self, EpisodeError> {
        let file = EpisodeFile::open(path)?;
        let topics = file.topics();
        let side = side_name(hand.side());
        let joints = file.read::<Retargeted>(&joints_topic(side))?;
        let topic = effector_topic(side);
        let poses = match topics.contains_key(&topic) {
            true => file.read::<EffectorPose>(&topic)?,
            false => Vec::new(),
        };
        let isometry = |pose: &EffectorPose| {
            let (&[x, y, z], &[i, j, k, w]) = (&pose.position[..], &pose.rotation[..]) else {
                return None;
            };
            let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, i, j, k));
            Some(Isometry3::from_parts(Translation3::new(x, y, z), rotation))
        };
        Ok(Self {
            hand,
            joints: joints
                .into_iter()
                .filter(|(_, step)| step.position.len() == hand.dof())
                .map(|(times, step)| (times.publish_time, step.position))
                .collect(),
            poses: poses
                .iter()
                .filter_map(|(times, pose)| Some((times.publish_time, isometry(pose)?)))
                .collect(),
        })
    }

    /// The capsules in the world at a time (m).
    fn at(&self, time: SessionTime) -> Option<Vec<PlacedCapsule>> {
        let (before, after, part) = around(&self.joints, time)?;
        let q: Vec<f64> = before
            .iter()
            .zip(after)
            .map(|(before, after)| before + part * (after - before))
            .collect();
        let (before, after, part) = around(&self.poses, time)?;
        let world_from_hand = before.lerp_slerp(after, part);
        Some(hand_capsules(
            self.hand,
            &self.hand.forward(&q),
            &world_from_hand,
        ))
    }
}

/// The neighbours of a time, and how far it is from the first to the second, 0 to 1.
fn around<T>(samples: &[(SessionTime, T)], time: SessionTime) -> Option<(&T, &T, f64)> {
    let after = samples.partition_point(|&(at, _)| at < time);
    let (later, after_value) = samples.get(after)?;
    if *later == time {
        return Some((after_value, after_value, 0.0));
    }
    let (earlier, before_value) = samples.get(after.checked_sub(1)?)?;
    let gap = *later - *earlier;
    let part = (time - *earlier).secs_f64() / gap.secs_f64();
    (gap <= LONGEST_GAP).then_some((before_value, after_value, part))
}

/// How near two hands come, from their derived files of one episode; `None` where they are never known
/// both.
///
/// # Errors
/// A file cannot be read.
pub fn hands_apart(
    one: (&Path, &Hand),
    other: (&Path, &Hand),
) -> Result<Option<HandsApart>, EpisodeError> {
    let (one, other) = (Moving::read(one.0, one.1)?, Moving::read(other.0, other.1)?);
    let Some(&(first, _)) = one.joints.first() else {
        return Ok(None);
    };
    let mut apart = HandsApart {
        steps: 0,
        unknown: 0,
        least_m: f64::INFINITY,
        least_at_s: 0.0,
        near: 0,
        first_near_s: None,
    };
    for &(time, _) in &one.joints {
        let pair = one
            .at(time)
            .zip(other.at(time))
            .and_then(|(one, other)| nearest_pair(&one, &other));
        let Some(pair) = pair else {
            apart.unknown += 1;
            continue;
        };
        let (distance_m, since_s) = (pair.closest.distance, (time - first).secs_f64());
        apart.steps += 1;
        if distance_m < apart.least_m {
            (apart.least_m, apart.least_at_s) = (distance_m, since_s);
        }
        if distance_m < HANDS_NEAR_M {
            apart.near += 1;
            apart.first_near_s.get_or_insert(since_s);
        }
    }
    Ok((apart.steps > 0).then_some(apart))
}
