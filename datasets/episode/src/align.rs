//! From recorded samples to capture times, and from capture times to one grid.
//!
//! Capture time = whole-episode clock fit of the device's stamp − calibrated
//! latency. A camera without a clock is dated by its steady rate, or, where it has
//! none, by arrival minus the declared delay. Values between
//! samples are interpolated, except across gaps above a stated limit: such
//! cells are invalid. Suspect samples are left out.

use std::{collections::BTreeMap, f64::consts::TAU};

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

use crate::{
    calibration::{Calibration, sensor_angle_rad},
    capture_time::{Times, capture_times},
    error::EpisodeError,
    read::Episode,
    rig::StreamKind,
    schema::{Encoders, Force, PoseInFrame, Stamp, Timing, Tracking, timing_topic},
    time::{Delta, SessionTime},
};
pub use crate::{
    capture_time::{StreamReport, TimingMethod, stamped},
    track::{ImageChoice, ImageTrack, Interpolate, Track},
};

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
    /// Half the width of each joint's play, as the calibration measured it [rad]; 0 where it did not.
    pub play_rad: Vec<f64>,
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
        Self::of_streams(episode, calibration, max_gap, |_| true)
    }

    /// As [`Timeline::of`], of the streams alone that `wanted` says; the others are not read.
    ///
    /// # Errors
    /// As [`Timeline::of`].
    pub fn of_streams(
        episode: &Episode,
        calibration: Option<&Calibration>,
        max_gap: Delta,
        wanted: impl Fn(&StreamKind) -> bool,
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
            let Some(kind) = StreamKind::of(topic).filter(&wanted) else {
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
                // Not on the grid: read as they are, with their own times.
                StreamKind::Depth { .. }
                | StreamKind::Imu { .. }
                | StreamKind::Keypoints { .. }
                | StreamKind::Markers { .. } => {}
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
            play_rad: match maps {
                Some(maps) => maps
                    .joint
                    .iter()
                    .map(|joint| joint.hysteresis_rad.unwrap_or(0.0).max(0.0))
                    .collect(),
                None => vec![0.0; count],
            },
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
