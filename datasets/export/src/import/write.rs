//! Streams into an episode file, in the order of arrival.

use std::path::Path;

use dexumi_episode::schema::{
    CompressedImage, Encoders, Event, Force, FrameTransform, FrameTransforms, Pose, PoseInFrame,
    Quaternion, Record, Stamp, Timing, Tracking, Vector3, timestamp, timing_topic,
};
use dexumi_episode::{
    ChannelId, Delta, EpisodeWriter, HostTime, Ledger, Rig, SessionAnchor, SessionTime,
};
use nalgebra::Isometry3;

use super::images::{self, VideoImages};
use super::raw::source_error;
use super::raw_episode::Choices;
use super::streams::{Samples, Stream};
use crate::error::ExportError;
use crate::ffmpeg::Tools;

/// Chunks of the written file hold this much.
const TICK: Delta = Delta::from_millis(50);

fn host_time(seconds: f64) -> HostTime {
    HostTime::from_nanos((seconds * 1e9).round() as i64)
}

/// The last sample arrived when the files were written, as far as they know.
pub(super) fn anchor(streams: &[Stream], path: &Path) -> Result<SessionAnchor, ExportError> {
    let last = streams
        .iter()
        .flat_map(|stream| &stream.times.receive)
        .copied()
        .fold(0.0, f64::max);
    let metadata = std::fs::metadata(path.join("numeric_0").join("receive_time"))
        .or_else(|_| std::fs::metadata(path));
    let changed = metadata
        .and_then(|metadata| metadata.modified())
        .map_err(ExportError::io("read the time of", path))?;
    let since = changed
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(SessionAnchor {
        host_time_ns: host_time(last).nanos(),
        unix_time_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        // Not measured.
        uncertainty_ns: i64::MAX,
    })
}

struct Channels {
    main: ChannelId,
    beside: Option<ChannelId>,
}

fn open_channels(
    writer: &mut EpisodeWriter,
    stream: &Stream,
    choices: &Choices<'_>,
) -> Result<Channels, ExportError> {
    let topic = stream.device.stream.as_str();
    let mut metadata = (choices.channel_metadata)(&stream.device);
    metadata.retain(|(key, _)| *key != "encoding");
    metadata.push(("driver", stream.device.driver.clone()));
    let (main, beside) = match &stream.samples {
        Samples::Encoders(_) => (writer.channel::<Encoders>(topic, &metadata)?, None),
        Samples::Force(_) => (writer.channel::<Force>(topic, &metadata)?, None),
        Samples::Poses(_) => {
            let status = topic.replace("/pose", "/status");
            let beside = writer.channel::<Tracking>(&status, &[])?;
            (
                writer.channel::<PoseInFrame>(topic, &metadata)?,
                Some(beside),
            )
        }
        Samples::Images { .. } => {
            let encoding = format!("MPEG-4 video, then JPEG (ffmpeg -q:v {})", images::QUALITY);
            metadata.push(("encoding", encoding));
            let beside = writer.channel::<Timing>(&timing_topic(topic), &[])?;
            (
                writer.channel::<CompressedImage>(topic, &metadata)?,
                Some(beside),
            )
        }
    };
    Ok(Channels { main, beside })
}

/// Writes everything in the order of arrival; the interval is that of all samples.
pub(super) fn write(
    writer: &mut EpisodeWriter,
    streams: &[Stream],
    rig: &Rig,
    tools: &Tools,
    choices: &Choices<'_>,
    anchor: &SessionAnchor,
    ledger: &mut Ledger,
) -> Result<(SessionTime, SessionTime), ExportError> {
    let events = writer.channel::<Event>("/events", &[])?;
    let tf = writer.channel::<FrameTransforms>("/tf", &[])?;
    let mut channels = Vec::new();
    let mut videos = Vec::new();
    let mut order: Vec<(i64, usize, usize)> = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        channels.push(open_channels(writer, stream, choices)?);
        videos.push(match &stream.samples {
            Samples::Images { path } => Some(VideoImages::open(tools, path)?),
            _ => None,
        });
        let arrivals = stream.times.receive.iter().enumerate();
        order.extend(arrivals.map(|(at, &time)| (host_time(time).nanos(), number, at)));
    }
    // By arrival; within a stream in its own order, which the file keeps.
    order.sort_by_key(|&(time, number, at)| (time, number, at));
    let capture_of = |number: usize, at: usize| {
        let stream = &streams[number];
        anchor.to_session(host_time(stream.times.capture[at]))
    };
    let captures = order.iter().map(|&(_, number, at)| capture_of(number, at));
    let (Some(start), Some(stop)) = (captures.clone().min(), captures.max()) else {
        return Err(ExportError::Episode {
            episode: choices.id.clone(),
            what: "no samples at all, expected some in one stream".to_owned(),
        });
    };
    mark(writer, events, "start", &choices.task, start);
    if !rig.mount.is_empty() {
        let transforms = rig.mount.iter().map(|mount| {
            transform(
                &mount.parent,
                &mount.child,
                &mount.parent_from_child(),
                start,
            )
        });
        let message = FrameTransforms {
            transforms: transforms.collect(),
        };
        writer.write(tf, 0, start, start, &message);
    }
    // Images must come in the order of the video, whatever their times say.
    let mut next_image = vec![0usize; streams.len()];
    let mut ticked = order.first().map_or(0, |first| first.0);
    for &(time, number, at) in &order {
        let stream = &streams[number];
        let at = match videos[number] {
            Some(_) => {
                next_image[number] += 1;
                next_image[number] - 1
            }
            None => at,
        };
        let arrival = host_time(stream.times.receive[at]);
        let capture = capture_of(number, at);
        let sample = Sample {
            stamp: Stamp {
                timestamp_ns: capture.nanos(),
                host_time_ns: arrival.nanos(),
                sequence: at as u64,
                ..Stamp::default()
            },
            log: anchor.to_session(arrival),
            capture,
        };
        let image = match &mut videos[number] {
            Some(video) => Some(video.next()?.ok_or_else(|| {
                source_error(
                    format!("the video of {} ends at image {at}", stream.device.stream),
                    Path::new(&stream.device.address),
                )
            })?),
            None => None,
        };
        sample.write(writer, stream, &channels[number], tf, at, image);
        let entry = ledger.entry(stream.device.stream.clone()).or_default();
        entry.written += 1;
        if !matches!(stream.samples, Samples::Images { .. }) {
            entry.received += 1;
        }
        if time - ticked >= TICK.nanos() {
            writer.tick()?;
            ticked = time;
        }
    }
    mark(writer, events, "stop", "", stop);
    Ok((start, stop))
}

fn mark(writer: &mut EpisodeWriter, events: ChannelId, kind: &str, text: &str, time: SessionTime) {
    let message = Event {
        timestamp_ns: time.nanos(),
        kind: kind.to_owned(),
        text: text.to_owned(),
    };
    writer.write(events, 0, time, time, &message);
}

struct Sample {
    stamp: Stamp,
    log: SessionTime,
    capture: SessionTime,
}

impl Sample {
    fn put<M: Record>(&self, writer: &mut EpisodeWriter, channel: ChannelId, message: &M) {
        writer.write(
            channel,
            self.stamp.sequence,
            self.log,
            self.capture,
            message,
        );
    }

    fn write(
        &self,
        writer: &mut EpisodeWriter,
        stream: &Stream,
        channels: &Channels,
        tf: ChannelId,
        at: usize,
        image: Option<bytes::Bytes>,
    ) {
        let stamp = Some(self.stamp);
        match &stream.samples {
            Samples::Encoders(rows) => {
                let (joints, rest) = rows[at].split_at(rows[at].len() - 2);
                let message = Encoders {
                    stamp,
                    counts: joints.to_vec(),
                    reference: rest[0],
                    spare: rest[1],
                };
                self.put(writer, channels.main, &message);
            }
            Samples::Force(rows) => {
                let [x, y, z] = rows[at];
                let message = Force {
                    stamp,
                    x,
                    y,
                    z,
                    taxels: Vec::new(),
                };
                self.put(writer, channels.main, &message);
            }
            Samples::Poses(poses) => {
                let pose = poses[at].unwrap_or_else(Isometry3::identity);
                let message = PoseInFrame {
                    timestamp: Some(timestamp(self.capture)),
                    frame_id: "world".to_owned(),
                    pose: Some(Pose {
                        position: Some(vector(&pose)),
                        orientation: Some(quaternion(&pose)),
                    }),
                };
                self.put(writer, channels.main, &message);
                if let Some(beside) = channels.beside {
                    let valid = poses[at].is_some();
                    self.put(
                        writer,
                        beside,
                        &Tracking {
                            stamp,
                            valid,
                            mean_error_m: 0.0,
                        },
                    );
                }
                if poses[at].is_some() {
                    let transforms = vec![transform("world", "tracker/wrist", &pose, self.capture)];
                    self.put(writer, tf, &FrameTransforms { transforms });
                }
            }
            Samples::Images { .. } => {
                if let Some(beside) = channels.beside {
                    self.put(
                        writer,
                        beside,
                        &Timing {
                            stamp,
                            exposure_ns: None,
                        },
                    );
                }
                let name = stream.device.stream.trim_start_matches('/');
                let message = CompressedImage {
                    timestamp: Some(timestamp(self.capture)),
                    frame_id: name.trim_end_matches("/image").to_owned(),
                    data: image.unwrap_or_default(),
                    format: "jpeg".to_owned(),
                };
                self.put(writer, channels.main, &message);
            }
        }
    }
}

fn vector(pose: &Isometry3<f64>) -> Vector3 {
    let v = pose.translation.vector;
    Vector3 {
        x: v.x,
        y: v.y,
        z: v.z,
    }
}

fn quaternion(pose: &Isometry3<f64>) -> Quaternion {
    let q = pose.rotation.coords;
    Quaternion {
        x: q.x,
        y: q.y,
        z: q.z,
        w: q.w,
    }
}

fn transform(
    parent: &str,
    child: &str,
    pose: &Isometry3<f64>,
    time: SessionTime,
) -> FrameTransform {
    FrameTransform {
        timestamp: Some(timestamp(time)),
        parent_frame_id: parent.to_owned(),
        child_frame_id: child.to_owned(),
        translation: Some(vector(pose)),
        rotation: Some(quaternion(pose)),
    }
}
