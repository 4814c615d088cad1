//! A hand's motion: wrist, joints, force and keypoints, between their samples.

use std::collections::BTreeMap;
use std::ops::Range;

use dexumi_episode::{
    Delta, EpisodeFile, SessionTime,
    align::{Interpolate, Track, stamped},
    isometry,
    schema::{EffectorPose, Keypoints, Pose, PosesInFrame, Retargeted},
};
use nalgebra::Isometry3;

use super::{DerivedHand, ResampleJob};
use crate::model::{ForceTrack, HandMotion, JointPoses, KeypointTrack, Side};

/// Keypoints and joint poses of one sample of a glove.
#[derive(Clone)]
struct GloveSample {
    points: [f64; 63],
    /// As many as the glove has joints; none where it gives no poses.
    joints: Vec<Isometry3<f64>>,
}

impl Interpolate for GloveSample {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        let pairs = a.joints.iter().zip(&b.joints);
        Self {
            points: Interpolate::between(&a.points, &b.points, t),
            joints: pairs.map(|(a, b)| Interpolate::between(a, b, t)).collect(),
        }
    }
}

/// Samples, and names of the joints whose poses are in them.
type Glove = (Track<GloveSample>, Vec<String>);

type PosesBySequence = BTreeMap<u32, Vec<Isometry3<f64>>>;

/// Samples of one hand.
pub(super) struct Tracks {
    side: Side,
    hand: String,
    joint_names: Vec<String>,
    wrist: Track<Isometry3<f64>>,
    joints: Vec<Track<f64>>,
    force: Vec<(String, Track<[f64; 3]>)>,
    keypoints: Option<Track<GloveSample>>,
    glove_joints: Vec<String>,
}

impl Tracks {
    pub fn read(job: &ResampleJob<'_>, hand: &DerivedHand<'_>) -> Result<Self, String> {
        let derived = EpisodeFile::open(hand.path).map_err(|error| error.to_string())?;
        let side = hand.side.name();
        let topic = format!("/retarget/{side}/joints");
        let names = derived.channel_metadata(&topic, "names").ok_or_else(|| {
            format!(
                "no topic `{topic}` in {}; run `dexumi retarget` anew",
                derived.path().display()
            )
        })?;
        let joint_names: Vec<String> = names.split(',').map(str::to_owned).collect();
        let steps = derived.read::<Retargeted>(&topic);
        let steps = steps.map_err(|error| error.to_string())?;
        let mut joints = vec![Track::default(); joint_names.len()];
        for (times, step) in &steps {
            for (track, &position) in joints.iter_mut().zip(&step.position) {
                track.times.push(times.publish_time);
                track.values.push(position);
            }
        }
        let force = job.timeline.force.iter().filter_map(|(topic, track)| {
            let finger = topic.strip_prefix(&format!("/exo/{side}/force/"))?;
            Some((finger.to_owned(), track.clone()))
        });
        let (keypoints, glove_joints) = match glove(job, side)? {
            Some((track, names)) => (Some(track), names),
            None => (None, Vec::new()),
        };
        Ok(Self {
            side: hand.side,
            hand: hand.name.to_owned(),
            joint_names,
            wrist: wrist(&derived, side)?,
            joints,
            force: force.collect(),
            keypoints,
            glove_joints,
        })
    }

    /// When wrist and joints have samples.
    pub fn times(&self) -> impl Iterator<Item = &[SessionTime]> {
        let joints = self.joints.iter().map(|joint| &joint.times[..]);
        std::iter::once(&self.wrist.times[..]).chain(joints)
    }

    /// Whether wrist and joints are known at `time`.
    pub fn covers(&self, time: SessionTime, max_gap: Delta) -> bool {
        self.wrist.at(time, max_gap).is_some()
            && self
                .joints
                .iter()
                .all(|joint| joint.at(time, max_gap).is_some())
    }

    /// The motion at the given times, the first of which is covered.
    pub fn on(&self, times: &[SessionTime], max_gap: Delta) -> HandMotion {
        let steps = times.len() - 1;
        let mut motion = HandMotion {
            side: self.side,
            hand: self.hand.clone(),
            joint_names: self.joint_names.clone(),
            world_from_wrist: Vec::with_capacity(times.len()),
            joints_rad: Vec::with_capacity(times.len() * self.joints.len()),
            valid: Vec::with_capacity(times.len()),
            force: None,
            keypoints: None,
            robot: None,
        };
        let mut held = (Isometry3::identity(), vec![0.0; self.joints.len()]);
        for &time in times {
            let joints: Option<Vec<f64>> = self
                .joints
                .iter()
                .map(|joint| joint.at(time, max_gap))
                .collect();
            let row = self.wrist.at(time, max_gap).zip(joints);
            motion.valid.push(row.is_some());
            held = row.unwrap_or(held);
            motion.world_from_wrist.push(held.0);
            motion.joints_rad.extend(&held.1);
        }
        motion.force = (!self.force.is_empty()).then(|| self.force_on(&times[..steps], max_gap));
        motion.keypoints = self
            .keypoints
            .as_ref()
            .map(|track| self.keypoints_on(track, &times[..steps], max_gap));
        motion
    }

    fn keypoints_on(
        &self,
        track: &Track<GloveSample>,
        times: &[SessionTime],
        max_gap: Delta,
    ) -> KeypointTrack {
        let nothing = GloveSample {
            points: [0.0; 63],
            joints: vec![Isometry3::identity(); self.glove_joints.len()],
        };
        let (rows, valid) = held_on(track, times, max_gap, nothing);
        let points = |row: &GloveSample| {
            std::array::from_fn(|point| std::array::from_fn(|axis| row.points[3 * point + axis]))
        };
        KeypointTrack {
            points_m: rows.iter().map(points).collect(),
            valid,
            joints: (!self.glove_joints.is_empty()).then(|| JointPoses {
                names: self.glove_joints.clone(),
                glove_from_joint: rows.into_iter().flat_map(|row| row.joints).collect(),
            }),
        }
    }

    fn force_on(&self, times: &[SessionTime], max_gap: Delta) -> ForceTrack {
        let fingers = self.force.iter();
        let columns: Vec<_> = fingers
            .map(|(_, track)| held_on(track, times, max_gap, [0.0; 3]))
            .collect();
        ForceTrack {
            fingers: self
                .force
                .iter()
                .map(|(finger, _)| finger.clone())
                .collect(),
            counts: (0..times.len())
                .flat_map(|k| columns.iter().map(move |(values, _)| values[k]))
                .collect(),
            valid: (0..times.len())
                .map(|k| columns.iter().all(|(_, valid)| valid[k]))
                .collect(),
        }
    }
}

/// Values at `times` and whether they were measured; `held` until the first one is.
fn held_on<T: Interpolate>(
    track: &Track<T>,
    times: &[SessionTime],
    max_gap: Delta,
    mut held: T,
) -> (Vec<T>, Vec<bool>) {
    let cell = |&time: &SessionTime| {
        let value = track.at(time, max_gap);
        let is_measured = value.is_some();
        if let Some(value) = value {
            held = value;
        }
        (held.clone(), is_measured)
    };
    times.iter().map(cell).unzip()
}

fn wrist(derived: &EpisodeFile, side: &str) -> Result<Track<Isometry3<f64>>, String> {
    let poses = derived.read::<EffectorPose>(&format!("/retarget/{side}/end_effector"));
    let mut wrist = Track::default();
    for (times, pose) in &poses.map_err(|error| error.to_string())? {
        if let ([x, y, z], [qx, qy, qz, qw]) = (&pose.position[..], &pose.rotation[..]) {
            wrist.times.push(times.publish_time);
            wrist
                .values
                .push(isometry([*x, *y, *z], [*qx, *qy, *qz, *qw]));
        }
    }
    if wrist.times.is_empty() {
        return Err(format!(
            "the episode has no pose of the {side} wrist, expected a tracker with a mount to `hand`"
        ));
    }
    Ok(wrist)
}

/// The glove's samples of a side, those that are whole and that it vouches for, and the names of its
/// joints, where it gives their poses.
fn glove(job: &ResampleJob<'_>, side: &str) -> Result<Option<Glove>, String> {
    let topic = format!("/glove/{side}/keypoints");
    let file = &job.episode.file;
    if !file.topics().contains_key(&topic) {
        return Ok(None);
    }
    let messages = file
        .read::<Keypoints>(&topic)
        .map_err(|error| error.to_string())?;
    let stamps =
        stamped(job.episode, job.calibration, &topic).map_err(|error| error.to_string())?;
    if stamps.len() != messages.len() {
        return Err(format!(
            "a message of `{topic}` has no stamp, expected one in each"
        ));
    }
    let (poses, names) = joint_poses(file, side)?;
    let mut track = Track {
        times: Vec::new(),
        values: Vec::new(),
    };
    for ((at, message), (stamp, time)) in messages.iter().zip(stamps) {
        let points: Result<[f64; 63], _> = message.points[..].try_into();
        let joints = poses.get(&at.sequence).cloned().unwrap_or_default();
        if let Ok(points) = points
            && message.valid
            && stamp.suspect == 0
            && points.iter().all(|x| x.is_finite())
            && joints.len() == names.len()
            && track.times.last().is_none_or(|&last| last < time)
        {
            track.times.push(time);
            track.values.push(GloveSample { points, joints });
        }
    }
    Ok(Some((track, names)))
}

/// Poses by sequence, which a glove's keypoints have as well.
fn joint_poses(file: &EpisodeFile, side: &str) -> Result<(PosesBySequence, Vec<String>), String> {
    let topic = format!("/glove/{side}/poses");
    let Some(names) = file.channel_metadata(&topic, "joints") else {
        return Ok((BTreeMap::new(), Vec::new()));
    };
    let messages = file
        .read::<PosesInFrame>(&topic)
        .map_err(|error| error.to_string())?;
    let pose = |pose: &Pose| {
        let (p, q) = (pose.position?, pose.orientation?);
        Some(isometry([p.x, p.y, p.z], [q.x, q.y, q.z, q.w]))
    };
    let by_sequence = messages.iter().map(|(at, message)| {
        let poses: Option<Vec<_>> = message.poses.iter().map(pose).collect();
        (at.sequence, poses.unwrap_or_default())
    });
    Ok((
        by_sequence.collect(),
        names.split(',').map(str::to_owned).collect(),
    ))
}

impl HandMotion {
    /// Keeps the rows `kept`, and of what has one row a step those but the last.
    pub(super) fn cut(&mut self, kept: &Range<usize>) {
        let width = self.joint_names.len();
        self.joints_rad = self.joints_rad[kept.start * width..kept.end * width].to_vec();
        self.world_from_wrist = self.world_from_wrist[kept.clone()].to_vec();
        self.valid = self.valid[kept.clone()].to_vec();
        let steps = kept.start..kept.end - 1;
        if let Some(force) = &mut self.force {
            let width = force.fingers.len();
            force.counts = force.counts[steps.start * width..steps.end * width].to_vec();
            force.valid = force.valid[steps.clone()].to_vec();
        }
        if let Some(keypoints) = &mut self.keypoints {
            keypoints.points_m = keypoints.points_m[steps.clone()].to_vec();
            keypoints.valid = keypoints.valid[steps.clone()].to_vec();
            if let Some(joints) = &mut keypoints.joints {
                let width = joints.names.len();
                let kept = steps.start * width..steps.end * width;
                joints.glove_from_joint = joints.glove_from_joint[kept].to_vec();
            }
        }
    }
}
