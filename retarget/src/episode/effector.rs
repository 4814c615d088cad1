//! The wrist tracker to the end effector.

use dexumi_episode::{EpisodeError, EpisodeWriter, align::Timeline, schema::EffectorPose};

use super::{
    EpisodeJob, EpisodeOptions, RetargetError, RetargetReport, arm, check_stop, effector_topic,
    side_name, stamp,
};
use crate::{WristMap, WristMode};

/// Writes the end effector's poses, where a tracker has a mount to the hand.
pub(super) fn write(
    job: &EpisodeJob<'_>,
    timeline: &Timeline,
    options: &EpisodeOptions,
    writer: &mut EpisodeWriter,
    report: &mut RetargetReport,
) -> Result<(), RetargetError> {
    // Of a rig with two hands: its own, by the name of the mount's child or of the tracker.
    let side = side_name(job.hand.side());
    let mounted = |child: &str, is_own: &dyn Fn(&str) -> bool| {
        timeline
            .poses
            .iter()
            .filter(|(name, _)| is_own(name))
            .find_map(|(name, track)| {
                let mount = job.episode.rig.mount(&format!("tracker/{name}"), child)?;
                Some((track, mount))
            })
    };
    let names_a_side = |name: &str| {
        name.split('_')
            .any(|word| word == "left" || word == "right")
    };
    let effector = mounted(&format!("hand_{side}"), &|_| true)
        .or_else(|| mounted("hand", &|name| name.split('_').any(|word| word == side)))
        .or_else(|| mounted("hand", &|name| !names_a_side(name)));
    let Some((track, tracker_from_hand)) = effector else {
        return match options.arm {
            Some(_) => Err(EpisodeError::content(
                "no wrist poses for the arm, expected a tracker with a mount to `hand` in the rig",
                job.episode.file.path(),
            )
            .into()),
            None => Ok(()),
        };
    };
    let topic = effector_topic(side_name(job.hand.side()));
    let channel = writer.channel::<EffectorPose>(&topic, &[])?;
    let mut map = WristMap::new(tracker_from_hand, WristMode::Absolute);
    let mut poses = Vec::with_capacity(track.times.len());
    for (index, (&time, pose)) in track.times.iter().zip(&track.values).enumerate() {
        let q = pose.rotation.coords;
        let step = map.step(pose.translation.vector.into(), [q.x, q.y, q.z, q.w]);
        poses.push((time, step.effector));
        let Some(pose) = step.effector else {
            report.poses_rejected += 1;
            continue;
        };
        let q = pose.rotation.coords;
        let message = EffectorPose {
            stamp: Some(stamp(job.episode, time, index as u64)),
            position: pose.translation.vector.iter().copied().collect(),
            rotation: vec![q.x, q.y, q.z, q.w],
            flags: step.flags,
        };
        writer.write(channel, index as u64, time, time, &message);
        report.poses += 1;
        if index % 1024 == 1023 {
            writer.tick()?;
            check_stop(job)?;
        }
    }
    match &options.arm {
        Some(plan) => arm::write(job, plan, &poses, writer, report),
        None => Ok(()),
    }
}
