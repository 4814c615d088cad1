//! From recorded samples to capture times, and from capture times to one grid.
//!
//! Capture time = whole-episode clock fit of the device's stamp − calibrated
//! latency. A camera without a clock is dated by its steady rate, or, where it has
//! none, by arrival minus the declared delay. Values between
//! samples are interpolated, except across gaps above a stated limit: such
//! cells are invalid. Suspect samples are left out.

use std::{collections::BTreeMap, f64::consts::TAU};

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use serde::Serialize;

use crate::{
    calibration::{Calibration, sensor_angle_rad},
    clock::fit_recording,
    error::EpisodeError,
    periodic,
    read::{Episode, ImageIndex},
    rig::StreamKind,
    schema::{Encoders, Force, PoseInFrame, Stamp, Timing, Tracking, suspect, timing_topic},
    time::{Delta, DeviceTime, HostTime, SessionTime},
};

/// A value that changes over time, sampled at its own times.
#[derive(Debug, Clone, Default)]
pub struct Track<T> {
    /// Capture times, increasing.
    pub times: Vec<SessionTime>,
    /// One per time.
    pub values: Vec<T>,
}

/// What can be interpolated between two samples.
pub trait Interpolate: Clone {
    /// From `a` (0) to `b` (1).
    fn between(a: &Self, b: &Self, t: f64) -> Self;
}

impl Interpolate for f64 {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        a + (b - a) * t
    }
}

impl Interpolate for [f64; 3] {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        std::array::from_fn(|i| f64::between(&a[i], &b[i], t))
    }
}

impl Interpolate for Isometry3<f64> {
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        let rotation = a
            .rotation
            .try_slerp(&b.rotation, t, 1e-9)
            .unwrap_or(b.rotation);
        Self::from_parts(
            Translation3::from(a.translation.vector.lerp(&b.translation.vector, t)),
            rotation,
        )
    }
}

impl<T: Interpolate> Track<T> {
    /// Value at `time`, or `None` outside the track or inside a gap longer than
    /// `max_gap`.
    pub fn at(&self, time: SessionTime, max_gap: Delta) -> Option<T> {
        let right = self.times.partition_point(|&t| t < time);
        if let (Some(&t), Some(value)) = (self.times.get(right), self.values.get(right))
            && t == time
        {
            return Some(value.clone());
        }
        let left = right.checked_sub(1)?;
        let (t0, t1) = (self.times[left], *self.times.get(right)?);
        let gap = t1 - t0;
        if gap > max_gap || gap.nanos() <= 0 {
            return None;
        }
        let t = (time - t0).nanos() as f64 / gap.nanos() as f64;
        Some(T::between(&self.values[left], &self.values[right], t))
    }

    /// Adds a sample; one that is not later than the last is refused.
    fn push(&mut self, time: SessionTime, value: T) -> bool {
        if self.times.last().is_some_and(|&last| time <= last) {
            return false;
        }
        self.times.push(time);
        self.values.push(value);
        true
    }
}

/// Joints of one side.
#[derive(Debug, Clone, Default)]
pub struct JointTracks {
    /// Joint names, in the hand's order; `channel_<n>` without a calibration.
    pub names: Vec<String>,
    /// One track per joint [rad]: each channel has its own time within the scan.
    pub tracks: Vec<Track<f64>>,
    /// Middle of each scan: the times for whole rows.
    pub rows: Vec<SessionTime>,
    /// Whether a calibration was applied; else these are sensor angles.
    pub calibrated: bool,
}

/// Images of one camera.
#[derive(Debug, Clone)]
pub struct ImageTrack {
    /// Capture times, in the order of the file.
    pub times: Vec<SessionTime>,
    /// Where the images lie; as many.
    pub index: ImageIndex,
}

/// An image chosen for a grid time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageChoice {
    /// Into the camera's [`ImageIndex`].
    pub index: usize,
    /// Its capture time.
    pub capture: SessionTime,
}

impl ImageTrack {
    /// Nearest image, ties earlier; `None` beyond `limit`.
    pub fn nearest(&self, time: SessionTime, limit: Delta) -> Option<ImageChoice> {
        let right = self.times.partition_point(|&t| t < time);
        let candidates = [
            right.checked_sub(1),
            (right < self.times.len()).then_some(right),
        ];
        let index = candidates
            .into_iter()
            .flatten()
            .min_by_key(|&i| ((self.times[i] - time).abs(), i))?;
        let capture = self.times[index];
        ((capture - time).abs() <= limit).then_some(ImageChoice { index, capture })
    }
}

/// How a stream's capture times were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimingMethod {
    /// Its device clock, fitted over the whole episode.
    DeviceClock,
    /// It has no clock, but a steady rate: the number of an image is its clock.
    Period,
    /// It has neither: arrival minus the declared delay.
    Arrival,
}

/// What alignment did to one stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    /// How its times were found.
    pub timing: TimingMethod,
    /// Samples in the file.
    pub samples: u64,
    /// Left out: marked suspect by the recorder.
    pub suspect: u64,
    /// Left out: not later than the sample before.
    pub out_of_order: u64,
    /// Left out: the device said that the value is not measured.
    pub invalid: u64,
    /// Joint samples beyond the calibrated span, held at its end.
    pub outside_calibration: u64,
    /// Stretches between jumps of the device's clock; 1 is normal.
    pub clock_segments: u64,
    /// Device clock against the host [ppm].
    pub skew_ppm: f64,
    /// Link jitter: 95th percentile of arrival above the envelope [s].
    pub residual_p95_s: f64,
    /// Bound of the clock's error [s]; for `arrival`, of the jitter.
    pub bound_s: f64,
    /// Latency removed [s].
    pub latency_s: f64,
    /// Gaps above the limit, and their sum [s].
    pub gaps: u64,
    /// Sum of the gaps above the limit [s].
    pub gap_s: f64,
    /// Mean rate [Hz].
    pub rate_hz: f64,
}

/// An episode's samples at their capture times.
pub struct Timeline {
    /// Joints by side.
    pub joints: BTreeMap<String, JointTracks>,
    /// Raw force counts x, y, z by stream.
    pub force: BTreeMap<String, Track<[f64; 3]>>,
    /// `world_from_<tracker>` by tracker.
    pub poses: BTreeMap<String, Track<Isometry3<f64>>>,
    /// Images by camera.
    pub images: BTreeMap<String, ImageTrack>,
    /// What was done, by stream.
    pub report: BTreeMap<String, StreamReport>,
    /// Start and stop, capture time.
    pub interval: (SessionTime, SessionTime),
    /// The limit used for the report's gaps, and the default for interpolation.
    pub max_gap: Delta,
}

/// Longest gap that is interpolated across, unless the user says otherwise.
pub const DEFAULT_MAX_GAP: Delta = Delta::from_millis(50);

struct Times {
    capture: Vec<SessionTime>,
    report: StreamReport,
}

/// Capture time of each stamp: whole-episode fit − latency.
fn capture_times(
    episode: &Episode,
    calibration: Option<&Calibration>,
    stream: &str,
    stamps: &[&Stamp],
) -> Times {
    let anchor = &episode.info.anchor;
    let latency = calibration
        .and_then(|calibration| calibration.latency.get(stream))
        .map_or(Delta::ZERO, |latency| Delta::from_secs_f64(latency.seconds));
    let mut report = StreamReport {
        timing: TimingMethod::Arrival,
        samples: stamps.len() as u64,
        suspect: 0,
        out_of_order: 0,
        invalid: 0,
        outside_calibration: 0,
        clock_segments: 0,
        skew_ppm: 0.0,
        residual_p95_s: 0.0,
        bound_s: 0.0,
        latency_s: latency.secs_f64(),
        gaps: 0,
        gap_s: 0.0,
        rate_hz: 0.0,
    };
    let clock = episode.clocks.get(stream);
    let has_clock = stamps.iter().all(|stamp| stamp.device_time_ns.is_some()) && !stamps.is_empty();
    if let (true, Some(clock)) = (has_clock, clock) {
        // From before the first sample: what came later is among the samples.
        let first = stamps[0].host_time_ns;
        let anchors: Vec<_> = clock
            .anchors
            .iter()
            .filter(|&&(_, h)| h < first)
            .map(|&(d, h)| (DeviceTime::from_nanos(d), HostTime::from_nanos(h)))
            .collect();
        let samples: Vec<_> = stamps
            .iter()
            .map(|stamp| {
                let device = stamp.sent_time().expect("checked above");
                (
                    device,
                    stamp.host_time(),
                    stamp.suspect & suspect::TICKS == 0,
                )
            })
            .collect();
        let segments = fit_recording(clock.model, &anchors, &samples);
        if !segments.is_empty() {
            let mut at = 0;
            let capture = stamps
                .iter()
                .enumerate()
                .map(|(index, stamp)| {
                    let device = stamp.device_time().expect("checked above");
                    while segments.get(at + 1).is_some_and(|next| next.first <= index) {
                        at += 1;
                    }
                    anchor.to_session(segments[at].fit.to_host(device)) - latency
                })
                .collect();
            let fit = &segments
                .iter()
                .max_by_key(|s| s.fit.samples)
                .expect("not empty")
                .fit;
            report.timing = TimingMethod::DeviceClock;
            report.clock_segments = segments.len() as u64;
            report.skew_ppm = fit.skew_ppm;
            report.residual_p95_s = Delta::from_nanos(fit.residual_p95_ns).secs_f64();
            report.bound_s = Delta::from_nanos(fit.bound_ns).secs_f64();
            return Times { capture, report };
        }
    }
    let device = episode.rig.device(stream);
    let delay = device.map_or(Delta::ZERO, |device| {
        Delta::from_secs_f64(device.min_delay_s)
    });
    if let Some(mode) = device.and_then(|device| device.camera.as_ref()) {
        let arrivals: Vec<_> = stamps.iter().map(|stamp| stamp.host_time()).collect();
        let period = Delta::from_secs_f64(1.0 / mode.fps);
        if let Some((numbers, fit)) = periodic::fit(&arrivals, period, delay) {
            report.timing = TimingMethod::Period;
            report.skew_ppm = fit.skew_ppm;
            report.residual_p95_s = Delta::from_nanos(fit.residual_p95_ns).secs_f64();
            report.bound_s = Delta::from_nanos(fit.bound_ns).secs_f64();
            let capture = numbers
                .iter()
                .map(|&n| anchor.to_session(fit.to_host(n)) - latency);
            return Times {
                capture: capture.collect(),
                report,
            };
        }
    }
    let capture: Vec<_> = stamps
        .iter()
        .map(|stamp| anchor.to_session(stamp.host_time()) - delay - latency)
        .collect();
    let mut intervals: Vec<i64> = capture
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).nanos())
        .collect();
    intervals.sort_unstable();
    if let Some(&median) = intervals.get(intervals.len() / 2) {
        let mut off: Vec<i64> = intervals
            .iter()
            .map(|interval| (interval - median).abs())
            .collect();
        off.sort_unstable();
        report.bound_s =
            Delta::from_nanos(off[(off.len() * 95 / 100).min(off.len() - 1)]).secs_f64();
        report.residual_p95_s = report.bound_s;
    }
    Times { capture, report }
}

/// Stamps of a stream's samples with their capture times, suspect ones included,
/// in the order of the file: for checks against a reference.
///
/// # Errors
/// The file is damaged, or `topic` is no stream of a device.
pub fn stamped(
    episode: &Episode,
    calibration: Option<&Calibration>,
    topic: &str,
) -> Result<Vec<(Stamp, SessionTime)>, EpisodeError> {
    fn stamps<M: crate::schema::Record>(
        file: &crate::read::EpisodeFile,
        topic: &str,
    ) -> Result<Vec<Stamp>, EpisodeError> {
        Ok(file
            .read::<M>(topic)?
            .iter()
            .filter_map(|(_, message)| message.stamp().cloned())
            .collect())
    }
    let file = &episode.file;
    let stamps = match StreamKind::of(topic) {
        Some(StreamKind::Encoders { .. }) => stamps::<Encoders>(file, topic)?,
        Some(StreamKind::Force { .. }) => stamps::<Force>(file, topic)?,
        Some(StreamKind::Tracker { name }) => {
            stamps::<Tracking>(file, &format!("/tracker/{name}/status"))?
        }
        Some(StreamKind::Camera { .. }) => stamps::<Timing>(file, &timing_topic(topic))?,
        None => {
            return Err(EpisodeError::content(
                format!("`{topic}` is no stream of a device"),
                file.path(),
            ));
        }
    };
    let times = capture_times(
        episode,
        calibration,
        topic,
        &stamps.iter().collect::<Vec<_>>(),
    );
    Ok(stamps.into_iter().zip(times.capture).collect())
}

impl StreamReport {
    fn finish(&mut self, times: &[SessionTime], max_gap: Delta) {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            if gap > max_gap {
                self.gaps += 1;
                self.gap_s += gap.secs_f64();
            }
        }
        if let [first, .., last] = times {
            self.rate_hz = (times.len() - 1) as f64 / (*last - *first).secs_f64().max(1e-9);
        }
    }
}

impl Timeline {
    /// Reads an episode's sensors (not its images) and finds their capture times.
    ///
    /// # Errors
    /// The file is damaged, or a stream lacks what it needs.
    pub fn of(
        episode: &Episode,
        calibration: Option<&Calibration>,
        max_gap: Delta,
    ) -> Result<Self, EpisodeError> {
        let mut timeline = Self {
            joints: BTreeMap::new(),
            force: BTreeMap::new(),
            poses: BTreeMap::new(),
            images: BTreeMap::new(),
            report: BTreeMap::new(),
            interval: episode.interval,
            max_gap,
        };
        for topic in episode.file.topics().keys() {
            let Some(kind) = StreamKind::of(topic) else {
                continue;
            };
            match kind {
                StreamKind::Encoders { side } => {
                    timeline.encoders(episode, calibration, topic, side)?
                }
                StreamKind::Force { .. } => timeline.force(episode, calibration, topic)?,
                StreamKind::Tracker { name } => {
                    timeline.tracker(episode, calibration, topic, name)?
                }
                StreamKind::Camera { name } => {
                    timeline.camera(episode, calibration, topic, name)?
                }
            }
        }
        Ok(timeline)
    }

    fn encoders(
        &mut self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        topic: &str,
        side: String,
    ) -> Result<(), EpisodeError> {
        let messages: Vec<Encoders> = episode
            .file
            .read(topic)?
            .into_iter()
            .map(|(_, message)| message)
            .collect();
        let stamps = stamps_of(&messages, |m| m.stamp.as_ref(), topic, episode)?;
        let Times {
            capture,
            mut report,
        } = capture_times(episode, calibration, topic, &stamps);
        let channels = messages.first().map_or(0, |m| m.counts.len());
        let offsets = scan_offsets(episode, topic, channels);
        let maps = calibration.and_then(|calibration| calibration.joints.get(&side));
        let count = maps.map_or(channels, |maps| maps.joint.len());
        let mut joints = JointTracks {
            names: match maps {
                Some(maps) => maps.joint.iter().map(|joint| joint.name.clone()).collect(),
                None => (0..channels)
                    .map(|channel| format!("channel_{channel}"))
                    .collect(),
            },
            tracks: vec![Track::default(); count],
            rows: Vec::new(),
            calibrated: maps.is_some(),
        };
        let middle = Delta::from_secs_f64(
            offsets
                .iter()
                .copied()
                .fold(0.0, f64::min)
                .midpoint(offsets.iter().copied().fold(0.0, f64::max)),
        );
        for (message, &time) in messages.iter().zip(&capture) {
            let stamp = message.stamp.as_ref().expect("checked above");
            if stamp.suspect != 0 {
                report.suspect += 1;
                continue;
            }
            if joints
                .rows
                .last()
                .is_some_and(|&last| time + middle <= last)
            {
                report.out_of_order += 1;
                continue;
            }
            let mut outside = false;
            for (index, track) in joints.tracks.iter_mut().enumerate() {
                let map = maps.map(|maps| &maps.joint[index]);
                let channel = map.map_or(index, |map| map.channel);
                let Some(&counts) = message.counts.get(channel) else {
                    return Err(EpisodeError::content(
                        format!(
                            "`{topic}` has {} channels, calibration expects channel {channel}; \
                             calibrate this rig anew",
                            message.counts.len()
                        ),
                        episode.file.path(),
                    ));
                };
                let Some(sensor) = sensor_angle_rad(counts, message.reference) else {
                    continue;
                };
                let value = match map {
                    Some(map) => {
                        let mapped = map.apply(sensor);
                        outside |= mapped.outside;
                        mapped.joint_rad
                    }
                    None => {
                        // Continuous across the turn, so that it can be interpolated.
                        let last = track.values.last().copied().unwrap_or(sensor);
                        sensor + TAU * ((last - sensor) / TAU).round()
                    }
                };
                track.push(time + Delta::from_secs_f64(offsets[channel]), value);
            }
            report.outside_calibration += u64::from(outside);
            joints.rows.push(time + middle);
        }
        report.finish(&joints.rows, self.max_gap);
        self.report.insert(topic.to_owned(), report);
        self.joints.insert(side, joints);
        Ok(())
    }

    fn force(
        &mut self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        topic: &str,
    ) -> Result<(), EpisodeError> {
        let messages: Vec<Force> = episode
            .file
            .read(topic)?
            .into_iter()
            .map(|(_, message)| message)
            .collect();
        let stamps = stamps_of(&messages, |m| m.stamp.as_ref(), topic, episode)?;
        let Times {
            capture,
            mut report,
        } = capture_times(episode, calibration, topic, &stamps);
        let mut track = Track::default();
        for ((message, stamp), &time) in messages.iter().zip(&stamps).zip(&capture) {
            if stamp.suspect != 0 {
                report.suspect += 1;
            } else if !track.push(time, [message.x, message.y, message.z].map(f64::from)) {
                report.out_of_order += 1;
            }
        }
        report.finish(&track.times, self.max_gap);
        self.report.insert(topic.to_owned(), report);
        self.force.insert(topic.to_owned(), track);
        Ok(())
    }

    fn tracker(
        &mut self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        topic: &str,
        name: String,
    ) -> Result<(), EpisodeError> {
        let poses = episode.file.read::<PoseInFrame>(topic)?;
        let states: Vec<Tracking> = episode
            .file
            .read(&format!("/tracker/{name}/status"))?
            .into_iter()
            .map(|(_, message)| message)
            .collect();
        let stamps = stamps_of(&states, |m| m.stamp.as_ref(), topic, episode)?;
        let Times {
            capture,
            mut report,
        } = capture_times(episode, calibration, topic, &stamps);
        let mut track = Track::default();
        for (((_, pose), state), &time) in poses.iter().zip(&states).zip(&capture) {
            let stamp = state.stamp.as_ref().expect("checked above");
            let Some(pose) = pose
                .pose
                .as_ref()
                .and_then(isometry_of)
                .filter(|_| state.valid)
            else {
                report.invalid += 1;
                continue;
            };
            if stamp.suspect != 0 {
                report.suspect += 1;
            } else if !track.push(time, pose) {
                report.out_of_order += 1;
            }
        }
        report.finish(&track.times, self.max_gap);
        self.report.insert(topic.to_owned(), report);
        self.poses.insert(name, track);
        Ok(())
    }

    fn camera(
        &mut self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        topic: &str,
        name: String,
    ) -> Result<(), EpisodeError> {
        let index = episode.file.images(topic)?;
        let messages: Vec<Timing> = episode
            .file
            .read(&timing_topic(topic))?
            .into_iter()
            .map(|(_, message)| message)
            // Of a recovered file, the last images may be missing: sensors go first.
            .take(index.len())
            .collect();
        let stamps = stamps_of(&messages, |m| m.stamp.as_ref(), topic, episode)?;
        if stamps.len() != index.len() {
            return Err(EpisodeError::content(
                format!(
                    "`{topic}` has {} images and {} timings, expected as many",
                    index.len(),
                    stamps.len()
                ),
                episode.file.path(),
            ));
        }
        let Times {
            capture,
            mut report,
        } = capture_times(episode, calibration, topic, &stamps);
        let period = Delta::from_secs_f64(
            3.0 / episode
                .rig
                .device(topic)
                .and_then(|d| d.camera.as_ref())
                .map_or(30.0, |mode| mode.fps),
        );
        report.finish(&capture, period);
        self.report.insert(topic.to_owned(), report);
        self.images.insert(
            name,
            ImageTrack {
                times: capture,
                index,
            },
        );
        Ok(())
    }
}

fn stamps_of<'a, M>(
    messages: &'a [M],
    stamp: impl Fn(&'a M) -> Option<&'a Stamp>,
    topic: &str,
    episode: &Episode,
) -> Result<Vec<&'a Stamp>, EpisodeError> {
    messages
        .iter()
        .map(|message| {
            stamp(message).ok_or_else(|| {
                EpisodeError::content(
                    format!("a message of `{topic}` has no stamp, expected one in each"),
                    episode.file.path(),
                )
            })
        })
        .collect()
}

/// Offsets of the channels within a scan [s], from the channel's metadata.
fn scan_offsets(episode: &Episode, topic: &str, channels: usize) -> Vec<f64> {
    let mut offsets: Vec<f64> = episode
        .file
        .channel_metadata(topic, "scan_offsets_s")
        .map(|text| {
            text.split(',')
                .filter_map(|offset| offset.trim().parse().ok())
                .collect()
        })
        .unwrap_or_default();
    offsets.resize(channels, 0.0);
    offsets
}

/// `None` for a pose that is not finite or has no rotation.
fn isometry_of(pose: &crate::schema::Pose) -> Option<Isometry3<f64>> {
    let (p, q) = (pose.position.as_ref()?, pose.orientation.as_ref()?);
    let rotation = Quaternion::new(q.w, q.x, q.y, q.z);
    let sane =
        [p.x, p.y, p.z].iter().all(|v| v.is_finite()) && (0.9..1.1).contains(&rotation.norm());
    sane.then(|| {
        Isometry3::from_parts(
            Translation3::new(p.x, p.y, p.z),
            UnitQuaternion::from_quaternion(rotation),
        )
    })
}

/// Which times a grid has.
#[derive(Debug, Clone, PartialEq)]
pub enum Grid {
    /// The capture times of a camera.
    Camera(String),
    /// `start + k / fps`, exactly.
    Rate(u32),
}

impl Timeline {
    /// Start and stop of what all streams cover, within the episode.
    pub fn covered(&self) -> Option<(SessionTime, SessionTime)> {
        let ends = |times: &[SessionTime]| Some((*times.first()?, *times.last()?));
        let joints = self.joints.values().map(|joints| ends(&joints.rows));
        let poses = self.poses.values().map(|track| ends(&track.times));
        let force = self.force.values().map(|track| ends(&track.times));
        let images = self.images.values().map(|track| ends(&track.times));
        let mut covered = self.interval;
        // A stream that is dead throughout makes cells invalid, not the grid empty.
        for (first, last) in joints.chain(poses).chain(force).chain(images).flatten() {
            covered = (covered.0.max(first), covered.1.min(last));
        }
        (covered.0 < covered.1).then_some(covered)
    }

    /// Times of a grid within [`covered`](Self::covered).
    ///
    /// # Errors
    /// A camera that the episode does not have; the message lists those it has.
    pub fn grid(&self, grid: &Grid) -> Result<Vec<SessionTime>, String> {
        let Some((start, stop)) = self.covered() else {
            return Ok(Vec::new());
        };
        match grid {
            Grid::Camera(name) => {
                let track = self.images.get(name).ok_or_else(|| {
                    let known: Vec<_> = self.images.keys().map(String::as_str).collect();
                    format!(
                        "unknown camera `{name}`, expected one of: {}",
                        known.join(", ")
                    )
                })?;
                Ok(track
                    .times
                    .iter()
                    .copied()
                    .filter(|&t| t >= start && t <= stop)
                    .collect())
            }
            Grid::Rate(fps) => {
                let steps = ((stop - start).secs_f64() * f64::from(*fps)).floor() as i64;
                Ok((0..=steps)
                    .map(|k| start + Delta::from_nanos(k * 1_000_000_000 / i64::from(*fps)))
                    .collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn track(times_ms: &[i64]) -> Track<f64> {
        Track {
            times: times_ms
                .iter()
                .map(|ms| SessionTime::from_nanos(ms * 1_000_000))
                .collect(),
            values: times_ms.iter().map(|&ms| ms as f64).collect(),
        }
    }

    #[test]
    fn nothing_is_interpolated_across_a_long_gap() {
        let track = track(&[0, 10, 20, 100, 110]);
        let at = |ms: i64| track.at(SessionTime::from_nanos(ms * 1_000_000), DEFAULT_MAX_GAP);
        assert_eq!(at(15), Some(15.0));
        assert_eq!(at(60), None);
        assert_eq!(at(100), Some(100.0));
        assert_eq!(at(-1), None);
        assert_eq!(at(111), None);
    }

    proptest! {
        #[test]
        fn interpolation_stays_between_its_neighbours(
            steps in proptest::collection::vec(1_i64..40, 2..50),
            at in 0_i64..2_000,
        ) {
            let mut ms = 0;
            let times: Vec<i64> = steps.iter().map(|step| { ms += step; ms }).collect();
            let track = track(&times);
            if let Some(value) = track.at(SessionTime::from_nanos(at * 1_000_000), DEFAULT_MAX_GAP) {
                prop_assert!((value - at as f64).abs() < 1e-6);
            } else {
                prop_assert!(at < times[0] || at > times[times.len() - 1]);
            }
        }
    }
}
