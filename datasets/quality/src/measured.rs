//! What is read of an episode, once, for all metrics.

use std::{collections::BTreeMap, path::PathBuf};

use dexumi_episode::{
    Calibration, Episode, EpisodeError, EpisodeFile, SessionTime, StreamKind,
    align::{Timeline, stamped},
    schema::Retargeted,
};
use dexumi_retarget::{RetargetReport, Source, joints_topic};
use serde::{Deserialize, Serialize};

use crate::{
    hand::{Hands, RetargetedSteps},
    images::{CameraLook, look},
    motion::Motion,
    streams::Stream,
};

/// Why an episode could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// Its file is damaged, or lacks what it should have.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// It was asked to stop.
    #[error("stopped before {} was judged", path.display())]
    Stopped {
        /// The episode.
        path: PathBuf,
    },
}

/// An episode to judge.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The episode.
    pub episode: &'a Episode,
    /// All its samples at their capture times.
    pub timeline: &'a Timeline,
    /// The calibration that was applied.
    pub calibration: Option<&'a Calibration>,
    /// Its motion on robot hands, one each, for limits and reach.
    pub retargeted: &'a [RetargetReport],
    /// Why there is none on a hand.
    pub not_retargeted: &'a [String],
    /// Asked between images.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
}

/// Curves over time, thinned, for a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// What, with its unit.
    pub title: String,
    /// Names and points: seconds since the start, value; a gap is a point without a value.
    pub lines: Vec<(String, Vec<(f32, Option<f32>)>)>,
}

/// Points of a curve on a page.
const PLOT_POINTS: usize = 240;

impl Plot {
    /// One curve of it, thinned; times in seconds since the start.
    pub(crate) fn line(
        name: &str,
        points: impl ExactSizeIterator<Item = (f64, f64)>,
    ) -> (String, Vec<(f32, Option<f32>)>) {
        let every = points.len().div_ceil(PLOT_POINTS).max(1);
        // Four digits are more than a page shows.
        let short = |value: f64| {
            let size = 10_f64.powf(3.0 - value.abs().max(1e-9).log10().floor());
            ((value * size).round() / size) as f32
        };
        let points = points.step_by(every).map(|(x, y)| {
            let y = y.is_finite().then(|| short(y));
            (short(x), y)
        });
        (name.to_owned(), points.collect())
    }
}

/// An episode, measured.
pub struct Measured<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) motion: Motion,
    pub(crate) hands: Hands,
    pub(crate) retargeted: Vec<RetargetedSteps>,
    pub(crate) cameras: BTreeMap<String, CameraLook>,
}

impl<'a> Measured<'a> {
    /// Reads an episode: its sensors at once, its images one by one.
    ///
    /// # Errors
    /// The file is damaged, or it was asked to stop. An image that cannot be decoded is a
    /// finding, no error.
    pub fn of(input: Input<'a>) -> Result<Self, QualityError> {
        let streams = streams(&input)?;
        let hands = Hands::read(&input)?;
        let motion = Motion::of(&input, &hands);
        let of_joints = |report: &&RetargetReport| report.source == Source::Exoskeleton;
        let reports = input.retargeted.iter().filter(of_joints);
        let retargeted = reports.map(retargeted).collect::<Result<_, _>>()?;
        let mut cameras = BTreeMap::new();
        for (name, track) in &input.timeline.images {
            cameras.insert(name.clone(), look(&input, name, track, &motion)?);
        }
        Ok(Self {
            input,
            streams,
            motion,
            hands,
            retargeted,
            cameras,
        })
    }

    /// Seconds since the start of the episode.
    pub(crate) fn since_start_s(&self, time: SessionTime) -> f64 {
        (time - self.input.timeline.interval.0).secs_f64()
    }

    /// Curves for a page.
    pub fn plots(&self) -> Vec<Plot> {
        let mut plots = self.motion.plots();
        for (name, look) in &self.cameras {
            plots.extend(look.plots(name, self.input.timeline.interval.0));
        }
        plots
    }
}

fn streams(input: &Input<'_>) -> Result<Vec<Stream>, EpisodeError> {
    let mut streams = Vec::new();
    for (topic, (_, messages)) in input.episode.file.topics() {
        let Some(kind) = StreamKind::of(&topic) else {
            continue;
        };
        if messages == 0 {
            continue;
        }
        let stamps = stamped(input.episode, input.calibration, &topic)?;
        let mut times: Vec<SessionTime> = stamps.iter().map(|&(_, time)| time).collect();
        times.sort_unstable();
        // A tracker's gap is where it does not see, not only where it is silent.
        let measured = match &kind {
            StreamKind::Tracker { name } => input.timeline.poses.get(name),
            _ => None,
        };
        streams.push(Stream {
            measured: measured.map(|track| track.times.clone()),
            topic,
            times,
        });
    }
    Ok(streams)
}

fn retargeted(report: &RetargetReport) -> Result<RetargetedSteps, EpisodeError> {
    let file = EpisodeFile::open(&report.path)?;
    let topics = file.topics();
    let side = ["left", "right"]
        .into_iter()
        .find(|side| topics.contains_key(&joints_topic(side)));
    let steps = match side {
        Some(side) => file.read::<Retargeted>(&joints_topic(side))?,
        None => Vec::new(),
    };
    Ok(RetargetedSteps::of(
        side.unwrap_or_default(),
        steps.into_iter().map(|(_, step)| step),
    ))
}
