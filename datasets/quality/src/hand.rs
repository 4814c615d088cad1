//! Whether the hand is one: bones, calibrated spans, limits of the robot hand.

use std::collections::BTreeMap;

use dexumi_episode::{
    EpisodeError, SessionTime, StreamKind, align::stamped, schema::Keypoints, schema::Retargeted,
};
use dexumi_retarget::{CLIPPED_LIMIT, CLIPPED_VELOCITY, NO_ANSWER_YET, NON_FINITE_HELD};

use crate::{
    measured::{Input, Measured},
    metric::Found,
};

/// Asked so far beyond what the hand does is a hit [rad]: less is noise at a stop.
const HIT_RAD: f64 = 0.017_453;
/// Parent of each keypoint but the wrist, in the order of 21.
const PARENTS: [usize; 20] = [
    0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19,
];

/// Keypoints of one sample [m], where the glove measured them.
pub(crate) type HandPoints = Option<[[f64; 3]; 21]>;

/// What gloves said.
pub(crate) struct Hands {
    pub keypoints: BTreeMap<String, Vec<(SessionTime, HandPoints)>>,
}

impl Hands {
    pub(crate) fn read(input: &Input<'_>) -> Result<Self, EpisodeError> {
        let mut keypoints = BTreeMap::new();
        for topic in input.episode.file.topics().into_keys() {
            let Some(StreamKind::Keypoints { side }) = StreamKind::of(&topic) else {
                continue;
            };
            let times = stamped(input.episode, input.calibration, &topic)?;
            let messages = input.episode.file.read::<Keypoints>(&topic)?;
            let samples = times.iter().zip(messages).map(|((_, time), (_, message))| {
                let is_whole = message.valid
                    && message.points.len() == 63
                    && message.points.iter().all(|number| number.is_finite());
                let points = is_whole.then(|| {
                    std::array::from_fn(|point| {
                        std::array::from_fn(|axis| message.points[3 * point + axis])
                    })
                });
                (*time, points)
            });
            let mut samples: Vec<_> = samples.collect();
            samples.sort_by_key(|sample| sample.0);
            if !samples.is_empty() {
                keypoints.insert(side, samples);
            }
        }
        Ok(Self { keypoints })
    }
}

/// Mean over the bones of standard deviation over mean of their lengths.
pub(crate) fn bone_cv(measured: &Measured<'_>) -> Vec<Found> {
    let hands = measured.hands.keypoints.iter();
    hands
        .filter_map(|(side, samples)| {
            let whole: Vec<_> = samples.iter().filter_map(|sample| sample.1).collect();
            if whole.len() < 2 {
                return None;
            }
            let cv = |bone: usize| {
                let lengths = whole.iter().map(|points| {
                    let (a, b) = (points[bone + 1], points[PARENTS[bone]]);
                    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
                });
                deviation_over_mean(lengths)
            };
            let mean = (0..PARENTS.len()).map(cv).sum::<f64>() / PARENTS.len() as f64;
            Some(Found::new(side, 100.0 * mean))
        })
        .collect()
}

fn deviation_over_mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let square = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    square.sqrt() / mean.max(1e-9)
}

pub(crate) fn outside_calibration(measured: &Measured<'_>) -> Vec<Found> {
    let timeline = measured.input.timeline;
    let calibrated = timeline
        .joints
        .iter()
        .filter(|(_, joints)| joints.calibrated);
    calibrated
        .filter_map(|(side, _)| {
            let report = timeline.report.get(&format!("/exo/{side}/encoders"))?;
            let share = report.outside_calibration as f64 / report.samples.max(1) as f64;
            Some(Found::new(side, 100.0 * share))
        })
        .collect()
}

/// How often a robot hand could not do what an exoskeleton's joints asked.
pub(crate) struct RetargetedSteps {
    side: String,
    /// Share of answered steps [%].
    limit_hits: f64,
    speed_hits: f64,
    held: u64,
}

impl RetargetedSteps {
    pub(crate) fn of(side: &str, steps: impl Iterator<Item = Retargeted>) -> Self {
        let (mut answered, mut limit, mut speed, mut held) = (0_u64, 0_u64, 0_u64, 0_u64);
        for step in steps {
            if step.flags & (NON_FINITE_HELD | NO_ANSWER_YET) != 0 {
                held += 1;
                continue;
            }
            answered += 1;
            let is_far = step
                .residual
                .iter()
                .any(|residual| residual.abs() > HIT_RAD);
            limit += u64::from(is_far && step.flags & CLIPPED_LIMIT != 0);
            speed += u64::from(is_far && step.flags & CLIPPED_VELOCITY != 0);
        }
        let share = |count: u64| 100.0 * count as f64 / answered.max(1) as f64;
        Self {
            side: side.to_owned(),
            limit_hits: share(limit),
            speed_hits: share(speed),
            held,
        }
    }
}

pub(crate) fn limit_hits(measured: &Measured<'_>) -> Vec<Found> {
    let found = |steps: &RetargetedSteps| {
        let found = Found::new(&steps.side, steps.limit_hits);
        match steps.held {
            0 => found,
            held => found.noting(format!("{held} steps besides had no answer")),
        }
    };
    measured.retargeted.iter().map(found).collect()
}

pub(crate) fn speed_hits(measured: &Measured<'_>) -> Vec<Found> {
    let found = |steps: &RetargetedSteps| Found::new(&steps.side, steps.speed_hits);
    measured.retargeted.iter().map(found).collect()
}
