//! From a recorded and retargeted episode to the grid that all formats share.
//!
//! Step k is at `start + k / fps` on the session clock. Hands are interpolated there (wrist by slerp,
//! joints, force and keypoints linearly), an image is the nearest one, ties earlier, or where asked the
//! latest that is not after the step. Cells that no sample covers hold the last value, are marked
//! invalid and counted; steps before the first and after the last covered one are cut off, and after
//! them those at both ends at which nothing has begun to move or nothing moves any more.

mod idle;
mod images;
mod motion;
mod subtasks;

use std::{path::Path, sync::Arc};

use dexumi_episode::{Calibration, Delta, Episode, SessionTime, align::Timeline};

use crate::error::ExportError;
use crate::model::{Resampled, Side};
use motion::Tracks;

pub use idle::{IDLE_JOINT_RAD, IDLE_KEEP_SECS, IDLE_POSITION_M, IDLE_ROTATION_RAD};

/// How an episode is put on its grid.
#[derive(Debug, Clone)]
pub struct ResampleOptions {
    /// Steps a second, 1 to 1000.
    pub fps: u32,
    /// Take the latest image that is not after the step, as a robot would see it, instead of the nearest.
    pub causal: bool,
    /// Cut off what is idle at both ends: see [`IDLE_POSITION_M`].
    pub trim_idle: bool,
}

impl Default for ResampleOptions {
    fn default() -> Self {
        Self {
            fps: 30,
            causal: false,
            trim_idle: true,
        }
    }
}

/// An aligned episode and what it was retargeted to.
pub struct ResampleJob<'a> {
    /// The episode.
    pub episode: &'a Arc<Episode>,
    /// Its samples at their capture times.
    pub timeline: &'a Timeline,
    /// The calibration that was applied to them.
    pub calibration: Option<&'a Calibration>,
    /// The robot hands, one or two of different sides.
    pub hands: Vec<DerivedHand<'a>>,
}

/// A robot hand and the file with its motion.
#[derive(Debug, Clone, Copy)]
pub struct DerivedHand<'a> {
    /// Which side.
    pub side: Side,
    /// Name of the robot hand.
    pub name: &'a str,
    /// The derived file, as `dexumi retarget` writes it.
    pub path: &'a Path,
}

/// What the grid left out or filled.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResampleReport {
    /// Steps of the grid over the whole episode.
    pub steps: u64,
    /// Cut off at the ends, where a stream does not cover them, and the last
    /// step, which has no action.
    pub trimmed: u64,
    /// Cut off at the beginning, since nothing had begun to move.
    pub idle_start: u64,
    /// Cut off at the end, since nothing moved any more.
    pub idle_end: u64,
    /// Written steps with a cell that no sample covers.
    pub filled: u64,
    /// Images used more than once.
    pub repeated_images: u64,
    /// Recorded images that no step shows.
    pub unused_images: u64,
}

impl ResampleReport {
    /// More than a twentieth of the episode is not covered by all that a step must have.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        20 * self.trimmed > self.steps
    }
}

/// Puts an episode on a grid.
///
/// # Errors
/// A derived file lacks joints or wrist, no instant is covered by all
/// streams, or the rig names no camera.
pub fn resample(
    job: &ResampleJob<'_>,
    options: &ResampleOptions,
) -> Result<(Resampled, ResampleReport), ExportError> {
    grid(job, options).map_err(|what| ExportError::Episode {
        episode: job.episode.info.id.clone(),
        what,
    })
}

fn grid(
    job: &ResampleJob<'_>,
    options: &ResampleOptions,
) -> Result<(Resampled, ResampleReport), String> {
    let (timeline, fps) = (job.timeline, options.fps);
    let mut hands = job.hands.clone();
    hands.sort_by_key(|hand| hand.side);
    let tracks = hands.iter().map(|hand| Tracks::read(job, hand));
    let tracks: Vec<Tracks> = tracks.collect::<Result<_, _>>()?;
    let choose = images::Chooser {
        fps,
        causal: options.causal,
    };
    // What every step must have, and nothing else: a sensor that dies must not end the episode.
    let streams = tracks
        .iter()
        .flat_map(Tracks::times)
        .chain(timeline.images.values().map(|track| &track.times[..]));
    let grid = rate_within(timeline.interval, streams, fps);
    let covered = |k: &usize| {
        let (time, gap) = (grid[*k], timeline.max_gap);
        tracks.iter().all(|hand| hand.covers(time, gap))
            && choose.covers(job.episode, timeline, time)
    };
    let ends = (0..grid.len())
        .find(covered)
        .zip((0..grid.len()).rfind(covered));
    let Some((first, last)) = ends.filter(|(first, last)| first < last) else {
        return Err(format!(
            "no two of {} steps are covered by wrists, joints and cameras; `dexumi align` shows what each covers",
            grid.len()
        ));
    };
    let mut report = ResampleReport {
        steps: steps_within(timeline.interval, fps) as u64,
        ..ResampleReport::default()
    };
    report.trimmed = report.steps.saturating_sub((last - first) as u64);
    let mut motions: Vec<_> = tracks
        .iter()
        .map(|hand| hand.on(&grid[first..=last], timeline.max_gap))
        .collect();
    let mut times = grid[first..=last].to_vec();
    let mut cameras = choose.tracks(job, &times[..times.len() - 1])?;
    if options.trim_idle {
        let kept = idle::kept(&motions, fps);
        report.idle_start = kept.start as u64;
        report.idle_end = (times.len() - kept.end) as u64;
        times = times[kept.clone()].to_vec();
        for motion in &mut motions {
            motion.cut(&kept);
        }
        for camera in &mut cameras {
            camera.cut(kept.start..kept.end - 1);
        }
    }
    let steps = times.len() - 1;
    for camera in &cameras {
        images::count(&camera.images, &mut report);
    }
    let names: Vec<&str> = hands.iter().map(|hand| hand.name).collect();
    let resampled = Resampled {
        episode_id: job.episode.info.id.clone(),
        task: job.episode.info.task.clone(),
        fps,
        robot_type: names.join("+"),
        subtasks: subtasks::read(job.episode, &times)?,
        times,
        hands: motions,
        cameras,
        extras: Vec::new(),
        quality: None,
        origin: None,
    };
    let is_held = |k: &usize| !resampled.is_valid(*k) || resampled.lost_cameras(*k) > 0;
    report.filled = (0..steps).filter(is_held).count() as u64;
    Ok((resampled, report))
}

/// Steps of `1 / fps` in an interval.
fn steps_within((start, stop): (SessionTime, SessionTime), fps: u32) -> usize {
    ((stop - start).secs_f64() * f64::from(fps))
        .floor()
        .max(0.0) as usize
        + 1
}

/// `start + k / fps`, from the first to the last instant of an interval at which all streams, by the times of
/// their samples, have begun and none has ended. A stream without samples says nothing.
fn rate_within<'a>(
    interval: (SessionTime, SessionTime),
    streams: impl Iterator<Item = &'a [SessionTime]>,
    fps: u32,
) -> Vec<SessionTime> {
    let mut span = interval;
    for times in streams {
        if let (Some(&first), Some(&last)) = (times.first(), times.last()) {
            span = (span.0.max(first), span.1.min(last));
        }
    }
    if span.0 >= span.1 {
        return Vec::new();
    }
    let time = |k: usize| span.0 + Delta::from_nanos(k as i64 * 1_000_000_000 / i64::from(fps));
    (0..steps_within(span, fps)).map(time).collect()
}
