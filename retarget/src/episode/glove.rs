//! Hand keypoints of a glove or an estimator, by a preset.

use std::ops::ControlFlow;

use dexumi_episode::{
    EpisodeError, EpisodeWriter, SessionTime,
    align::{Timeline, Track, stamped},
    schema::{self, Retargeted},
};
use nalgebra::Point3;

use super::{
    EpisodeJob, EpisodeOptions, RetargetError, RetargetReport, StepWriter, check_stop, grid,
    side_name,
};
use crate::axes::PointAxes;
use crate::follow::{FollowOptions, Follower};
use crate::keypoints::Keypoints;
use crate::retargeter::Verdict;

/// Topic of a side's keypoints.
pub(super) fn keypoints_topic(side: &str) -> String {
    format!("/glove/{side}/keypoints")
}

/// Keypoints at their capture times; what was not measured is NaN.
struct Clip {
    times: Vec<SessionTime>,
    points: Vec<[f64; 63]>,
}

/// Writes what follows the keypoints of the hand's side.
pub(super) fn write(
    job: &EpisodeJob<'_>,
    timeline: &Timeline,
    options: &EpisodeOptions,
    writer: &mut EpisodeWriter,
    report: &mut RetargetReport,
) -> Result<(), RetargetError> {
    let mut clip = read(job, report)?;
    if let Some(rate_hz) = options.rate_hz {
        clip = on_grid(timeline, clip, rate_hz, report);
    }
    check_stop(job)?;
    let keypoints: Vec<Keypoints> = clip.points.iter().map(to_keypoints).collect();
    let start = timeline.interval.0;
    let times_s: Vec<f64> = clip
        .times
        .iter()
        .map(|&time| (time - start).secs_f64())
        .collect();
    // A glove's axes are its own, and turn with it.
    let axes = match options.follow.axes {
        PointAxes::Auto => PointAxes::Any,
        given => given,
    };
    let follow = FollowOptions {
        axes,
        ..options.follow
    };
    let follower =
        Follower::new(job.hand, &follow, &keypoints).map_err(|source| RetargetError::Follow {
            path: job.episode.file.path().to_owned(),
            source,
        })?;
    report.turned = follower.is_turned();
    let scales = follower.scales().iter();
    report.scales = scales
        .map(|scale| (scale.finger.name().to_owned(), scale.tip))
        .collect();
    let hand = follower.hand().clone();
    let mut steps = StepWriter::new(job, writer, &hand, "keypoints")?;
    let mut failure = None;
    let figures = follower.run(&keypoints, &times_s, |index, verdict| {
        let message = message_of(verdict, &hand);
        match steps.write(clip.times[index], message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    report.figures = figures.unwrap_or_default();
    let figures = &report.figures;
    report.held = figures.held;
    report.clipped = figures.clipped;
    report.passed = figures.steps - figures.held - figures.clipped;
    Ok(())
}

fn message_of(verdict: &Verdict, hand: &crate::Hand) -> Retargeted {
    let motor = verdict.position.iter().zip(hand.motors());
    Retargeted {
        position: verdict.position.clone(),
        motor: motor
            .map(|(&position, motor)| motor.command(position))
            .collect(),
        flags: verdict.flags,
        objective: Some(verdict.objective),
        confidence: Some(verdict.confidence),
        tip_error: verdict.tip_error_m.clone(),
        ..Retargeted::default()
    }
}

fn to_keypoints(numbers: &[f64; 63]) -> Keypoints {
    std::array::from_fn(|at| Point3::from(std::array::from_fn(|axis| numbers[3 * at + axis])))
}

fn read(job: &EpisodeJob<'_>, report: &mut RetargetReport) -> Result<Clip, EpisodeError> {
    let episode = job.episode;
    let topic = keypoints_topic(side_name(job.hand.side()));
    let messages = episode.file.read::<schema::Keypoints>(&topic)?;
    let stamps = stamped(episode, job.calibration, &topic)?;
    if stamps.len() != messages.len() {
        let problem = format!("a message of `{topic}` has no stamp, expected one in each");
        return Err(EpisodeError::content(problem, episode.file.path()));
    }
    report.received = messages.len() as u64;
    let mut clip = Clip {
        times: Vec::with_capacity(messages.len()),
        points: Vec::with_capacity(messages.len()),
    };
    for ((_, message), (stamp, time)) in messages.iter().zip(stamps) {
        if stamp.suspect != 0 || clip.times.last().is_some_and(|&last| time <= last) {
            report.left_out += 1;
            continue;
        }
        let points: Result<[f64; 63], _> = message.points[..].try_into();
        let points = points.map_err(|_| {
            let problem = format!(
                "a message of `{topic}` has {} numbers, expected 63 (21 points of x, y, z)",
                message.points.len()
            );
            EpisodeError::content(problem, episode.file.path())
        })?;
        clip.times.push(time);
        clip.points.push(if message.valid {
            points
        } else {
            [f64::NAN; 63]
        });
    }
    Ok(clip)
}

/// Between samples that are whole, and not across gaps.
fn on_grid(timeline: &Timeline, clip: Clip, rate_hz: f64, report: &mut RetargetReport) -> Clip {
    let mut track = Track {
        times: Vec::new(),
        values: Vec::new(),
    };
    for (time, points) in clip.times.into_iter().zip(clip.points) {
        if points.iter().all(|number| number.is_finite()) {
            track.times.push(time);
            track.values.push(points);
        }
    }
    let mut clip = Clip {
        times: Vec::new(),
        points: Vec::new(),
    };
    report.left_out = 0;
    report.received = 0;
    if let [first, .., last] = track.times[..] {
        for time in grid(timeline.interval.0, first, last, rate_hz) {
            report.received += 1;
            match track.at(time, timeline.max_gap) {
                Some(points) => {
                    clip.times.push(time);
                    clip.points.push(points);
                }
                None => report.gaps += 1,
            }
        }
    }
    clip
}
