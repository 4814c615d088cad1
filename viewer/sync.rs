//! How far recorded values and times are from the truth of an emulated rig.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use dexumi_capture::emulate::{
    mark,
    truth::{Fate, Sample, Truth},
};
use dexumi_episode::{Delta, HostTime, SessionTime, StreamKind, align::stamped, schema::Stamp};
use dexumi_retarget::Hand;
use serde::Serialize;

use crate::{command::Aligned, picture};

/// Distribution of an error.
#[derive(Debug, Clone, Serialize)]
pub struct SyncError {
    /// Samples compared.
    pub samples: u64,
    /// Recorded samples that have no counterpart in the truth.
    pub unmatched: u64,
    /// Mean, with sign [s].
    pub mean_s: f64,
    /// Median of the absolute value [s].
    pub p50_s: f64,
    /// 95th percentile of the absolute value [s].
    pub p95_s: f64,
    /// Largest absolute value [s].
    pub max_s: f64,
    /// What is promised at the 95th percentile [s].
    pub limit_s: f64,
    /// All errors with their sign, in order of time [s], for plots.
    #[serde(skip)]
    pub errors_s: Vec<f64>,
}

impl SyncError {
    fn of(errors_s: Vec<f64>, unmatched: u64, limit_s: f64) -> Self {
        let mut absolute: Vec<f64> = errors_s.iter().map(|error| error.abs()).collect();
        absolute.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let last = absolute.len().saturating_sub(1);
            absolute
                .get((last as f64 * q).ceil() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            samples: errors_s.len() as u64,
            unmatched,
            mean_s: errors_s.iter().sum::<f64>() / errors_s.len().max(1) as f64,
            p50_s: quantile(0.5),
            p95_s: quantile(0.95),
            max_s: quantile(1.0),
            limit_s,
            errors_s,
        }
    }

    /// Whether the promise holds.
    pub fn holds(&self) -> bool {
        self.samples > 0 && self.p95_s <= self.limit_s
    }
}

/// An episode against the truth.
#[derive(Debug, Clone, Serialize)]
pub struct TruthReport {
    /// Capture-time error by stream.
    pub sync: BTreeMap<String, SyncError>,
    /// Root mean square over all joints and samples of recovered minus true
    /// angle, at the true times [rad].
    pub joint_rms_rad: f64,
    /// The same for each joint, by name.
    pub joint_rms_by_joint_rad: BTreeMap<String, f64>,
    /// Root mean square and largest distance of the robot hand's fingertips with the recovered angles
    /// from those with the true ones [m]; `None` where the rig's hand is not built in.
    pub tip_rms_m: Option<f64>,
    /// See `tip_rms_m` [m].
    pub tip_max_m: Option<f64>,
}

/// What is promised for a stream at the 95th percentile [s].
fn limit_s(stream: &str, has_clock: bool) -> f64 {
    match StreamKind::of(stream) {
        Some(StreamKind::Camera { .. }) if has_clock => 2e-3,
        Some(StreamKind::Camera { .. }) => 3e-3,
        _ => 1e-3,
    }
}

/// A recorded sample with its counterpart in the truth.
pub struct Matched {
    /// Its stamps as recorded.
    pub stamp: Stamp,
    /// Its capture time after alignment.
    pub capture: SessionTime,
    /// When it was really taken.
    pub truth: SessionTime,
}

/// Samples of a stream with their true times, and how many have none. Suspect
/// ones are left out: a suspect counter names no sample; nothing downstream uses it.
///
/// # Errors
/// The episode cannot be read.
pub fn matched(aligned: &Aligned, truth: &Truth, stream: &str) -> Result<(Vec<Matched>, u64)> {
    let episode = &aligned.episode;
    let anchor = &episode.info.anchor;
    let session = |t_ns: i64| anchor.to_session(HostTime::from_nanos(t_ns));
    let mut by_ticks: HashMap<u64, Vec<SessionTime>> = HashMap::new();
    for sample in truth.samples.iter().filter(|s| s.stream == stream) {
        if let Some(ticks) = sample.device_ticks {
            let times = by_ticks.entry(ticks).or_default();
            times.push(session(sample.t_ns));
        }
    }
    let in_order = in_order(truth, stream, session);
    let images = match StreamKind::of(stream) {
        Some(StreamKind::Camera { .. }) => Some(episode.file.images(stream)?),
        _ => None,
    };
    let stamps = stamped(episode, aligned.calibration.as_ref(), stream)?;
    let arrivals: Vec<_> = stamps
        .iter()
        .map(|(stamp, _)| anchor.to_session(stamp.host_time()))
        .collect();
    let numbered = stamps.iter().any(|(stamp, _)| stamp.device_ticks.is_some());
    let first = match numbered || images.is_some() {
        true => None,
        false => first_in_order(&in_order, &arrivals),
    };
    let mut matched = Vec::with_capacity(stamps.len());
    let mut unmatched = 0;
    for (index, (stamp, capture)) in stamps.into_iter().enumerate() {
        if stamp.suspect != 0 {
            continue;
        }
        // An image says itself when it was taken; other samples are found by the
        // counter that they carry, and where there is none by their order.
        let true_time = match &images {
            Some(images) => {
                let image = episode.file.image(images, index)?;
                let (gray, width, height) = picture::gray(&image.data)?;
                mark::read(&gray, width as u32, height as u32)
                    .map(|s| session(truth.header.host_start_ns) + Delta::from_secs_f64(s))
            }
            None if !numbered => first.and_then(|first| {
                let found = in_order.get(first + index);
                found.map(|&(taken, _)| taken)
            }),
            None => stamp.device_ticks.and_then(|ticks| {
                let candidates = by_ticks.get(&ticks)?.iter().copied();
                candidates.min_by_key(|&t| (t - capture).abs())
            }),
        };
        match true_time {
            Some(truth) if (truth - capture).abs() < Delta::from_millis(20_000) => {
                matched.push(Matched {
                    stamp,
                    capture,
                    truth,
                });
            }
            _ => unmatched += 1,
        }
    }
    Ok((matched, unmatched))
}

/// When each sample of a stream that was sent whole was taken, and when it was sent.
fn in_order(
    truth: &Truth,
    stream: &str,
    session: impl Fn(i64) -> SessionTime,
) -> Vec<(SessionTime, SessionTime)> {
    let sent = |s: &&Sample| s.stream == stream && s.fate == Fate::Sent;
    let mut times: Vec<_> = truth
        .samples
        .iter()
        .filter(sent)
        .map(|s| (session(s.t_ns), session(s.sent_ns.unwrap_or(s.t_ns))))
        .collect();
    times.sort_unstable();
    times
}

/// Which of the samples sent is the first recorded, where all that follow were recorded too: by
/// which they arrive nearest to when they were sent, in the mean.
fn first_in_order(sent: &[(SessionTime, SessionTime)], arrivals: &[SessionTime]) -> Option<usize> {
    /// So many tell which.
    const ENOUGH: usize = 300;
    let apart = |first: usize| -> f64 {
        let pairs = sent[first..].iter().zip(arrivals).take(ENOUGH);
        pairs
            .map(|((_, sent), arrival)| (*arrival - *sent).secs_f64().abs())
            .sum()
    };
    (0..(sent.len() + 1).checked_sub(arrivals.len())?)
        .min_by(|&a, &b| apart(a).total_cmp(&apart(b)))
}

/// Compares an aligned episode with the truth of the rig that it was recorded from.
///
/// # Errors
/// The episode cannot be read.
pub fn compare(aligned: &Aligned, truth: &Truth) -> Result<TruthReport> {
    let episode = &aligned.episode;
    let anchor = &episode.info.anchor;
    let session = |t_ns: i64| anchor.to_session(HostTime::from_nanos(t_ns));
    let mut sync = BTreeMap::new();
    for device in &episode.rig.device {
        let stream = device.stream.as_str();
        let (matched, unmatched) = matched(aligned, truth, stream)?;
        let has_clock = matched.iter().any(|m| m.stamp.device_time_ns.is_some());
        let errors = matched
            .iter()
            .map(|m| (m.capture - m.truth).secs_f64())
            .collect();
        let error = SyncError::of(errors, unmatched, limit_s(stream, has_clock));
        sync.insert(stream.to_owned(), error);
    }
    let (joint_rms_rad, joint_rms_by_joint_rad, tips) = joint_errors(aligned, truth, session)?;
    Ok(TruthReport {
        sync,
        joint_rms_rad,
        joint_rms_by_joint_rad,
        tip_rms_m: tips.as_ref().map(TipErrors::rms_m),
        tip_max_m: tips.map(|tips| tips.max_m),
    })
}

/// Distances of fingertips.
struct TipErrors {
    hand: Hand,
    /// The calibration's joint behind each variable of the hand.
    joints: Vec<usize>,
    squares: f64,
    count: u64,
    max_m: f64,
}

impl TipErrors {
    /// `None` where the hand is not built in, or has other joints.
    fn of(hand: &str, names: &[String]) -> Option<Self> {
        let hand = Hand::by_name(hand).ok()?;
        let joints = hand
            .variable_names()
            .map(|name| names.iter().position(|known| known == name))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            hand,
            joints,
            squares: 0.0,
            count: 0,
            max_m: 0.0,
        })
    }

    /// Counts one moment; angles in the calibration's order.
    fn add(&mut self, recovered: &[f64], truth: &[f64]) {
        let pose = |angles: &[f64]| {
            let q: Vec<f64> = self.joints.iter().map(|&joint| angles[joint]).collect();
            self.hand.forward(&q)
        };
        let (recovered, truth) = (pose(recovered), pose(truth));
        for (one, other) in recovered.tips.iter().zip(&truth.tips) {
            let distance = (one - other).norm();
            self.squares += distance * distance;
            self.count += 1;
            self.max_m = self.max_m.max(distance);
        }
    }

    fn rms_m(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }
}

/// Recovered angle minus true angle, at the true time of each channel, and what it does to the
/// fingertips.
fn joint_errors(
    aligned: &Aligned,
    truth: &Truth,
    session: impl Fn(i64) -> SessionTime,
) -> Result<(f64, BTreeMap<String, f64>, Option<TipErrors>)> {
    let joints = aligned
        .timeline
        .joints
        .values()
        .next()
        .context("the episode has no joints")?;
    let mut sums = vec![(0.0, 0_u64); joints.tracks.len()];
    let mut tips = TipErrors::of(&aligned.episode.rig.hand, &joints.names);
    let encoders = truth
        .samples
        .iter()
        .filter(|s| s.stream.ends_with("/encoders") && s.fate == Fate::Sent);
    for sample in encoders {
        let mut recovered = Vec::with_capacity(joints.tracks.len());
        for (joint, track) in joints.tracks.iter().enumerate() {
            let offset = truth
                .header
                .scan_offsets_s
                .get(joint)
                .copied()
                .unwrap_or(0.0);
            let time = session(sample.t_ns) + Delta::from_secs_f64(offset);
            if let (Some(value), Some(&true_value)) = (
                track.at(time, aligned.timeline.max_gap),
                sample.values.get(joint),
            ) {
                sums[joint].0 += (value - true_value).powi(2);
                sums[joint].1 += 1;
                recovered.push(value);
            }
        }
        if let Some(tips) = tips
            .as_mut()
            .filter(|_| recovered.len() == joints.tracks.len())
        {
            tips.add(&recovered, &sample.values);
        }
    }
    let (sum, count) = sums
        .iter()
        .fold((0.0, 0), |(s, n), (ds, dn)| (s + ds, n + dn));
    let rms = |sum: f64, count: u64| (sum / count.max(1) as f64).sqrt();
    let by_joint = joints
        .names
        .iter()
        .zip(&sums)
        .map(|(name, &(s, n))| (name.clone(), rms(s, n)))
        .collect();
    Ok((
        if count == 0 {
            f64::NAN
        } else {
            rms(sum, count)
        },
        by_joint,
        tips.filter(|tips| tips.count > 0),
    ))
}
