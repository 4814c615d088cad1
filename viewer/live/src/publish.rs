//! From snapshots of a recorder to the topics.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use dexumi_capture::{DRIVERS, RecorderState, Status, StreamStatus};
use dexumi_episode::{
    Calibration, CameraMode, Delta, Device, HostTime, Rig, SessionAnchor, SessionTime, StreamKind,
    schema::{
        CameraCalibration, CompressedImage, Force, FrameTransform, FrameTransforms, Health, Imu,
        JointStates, Joints, Keypoints, Log, Markers, PoseInFrame, timestamp,
    },
};
use foxglove::Context;
use serde_json::json;

use crate::{
    LiveError,
    channel::{Channel, JsonChannel},
    convert,
};

/// A sample younger than this is shown even if it is equal to the one before; an
/// older one is what a silent device left behind [s].
const RECENT_S: f64 = 0.25;

/// All topics of a rig, and what was sent on them last.
pub(crate) struct Publisher {
    rig: Rig,
    anchor: SessionAnchor,
    streams: HashMap<String, Stream>,
    transforms: Channel<FrameTransforms>,
    health: Channel<Health>,
    log: Channel<Log>,
    recorder: JsonChannel,
    messages: Vec<String>,
    state: Option<RecorderState>,
}

struct Stream {
    topics: Topics,
    /// Newest sample sent.
    age_s: f64,
    values: Vec<f64>,
    sequence: u64,
    image: u64,
}

enum Topics {
    Joints {
        names: Vec<String>,
        states: Channel<JointStates>,
        flat: Channel<Joints>,
    },
    SensorAngles(Channel<JointStates>),
    Force(Channel<Force>),
    Tracker {
        name: String,
        pose: Channel<PoseInFrame>,
    },
    Camera {
        name: String,
        mode: Option<CameraMode>,
        image: Channel<CompressedImage>,
        lens: Option<Channel<CameraCalibration>>,
    },
    Imu(Channel<Imu>),
    Keypoints(Channel<Keypoints>),
    Markers(Channel<Markers>),
}

impl Topics {
    /// `None` for what cannot be shown from a status: raw pixels.
    fn of(
        context: &Arc<Context>,
        device: &Device,
        calibration: Option<&Calibration>,
    ) -> Result<Option<Self>, LiveError> {
        let stream = device.stream.as_str();
        let mode = device.camera.as_ref();
        let Some(kind) = StreamKind::of(stream) else {
            return Ok(None);
        };
        let driver = DRIVERS.iter().find(|driver| driver.name == device.driver);
        let metadata = driver.map(|driver| (driver.metadata)(device));
        let metadata = metadata.unwrap_or_default();
        Ok(Some(match kind {
            StreamKind::Encoders { side } => {
                match calibration.and_then(|calibration| calibration.joints.get(&side)) {
                    Some(joints) => {
                        let names: Vec<String> = joints
                            .joint
                            .iter()
                            .map(|joint| joint.name.clone())
                            .collect();
                        let metadata = [("names", names.join(","))];
                        let topic = format!("/exo/{side}/joints");
                        Self::Joints {
                            names,
                            states: Channel::new(context, &topic, &metadata)?,
                            flat: Channel::new(context, &format!("{topic}_flat"), &metadata)?,
                        }
                    }
                    None => {
                        let topic = format!("/exo/{side}/sensor_angles");
                        Self::SensorAngles(Channel::new(context, &topic, &[])?)
                    }
                }
            }
            StreamKind::Force { .. } => Self::Force(Channel::new(context, stream, &metadata)?),
            StreamKind::Tracker { name } => Self::Tracker {
                name,
                pose: Channel::new(context, stream, &metadata)?,
            },
            StreamKind::Camera { .. } | StreamKind::Depth { .. }
                if mode.is_some_and(|mode| mode.raw) =>
            {
                return Ok(None);
            }
            StreamKind::Camera { name } => Self::Camera {
                image: Channel::new(context, stream, &metadata)?,
                lens: mode
                    .is_some_and(|mode| mode.intrinsics.is_some())
                    .then(|| Channel::new(context, &format!("/camera/{name}/calibration"), &[]))
                    .transpose()?,
                mode: mode.cloned(),
                name,
            },
            StreamKind::Depth { name } => Self::Camera {
                image: Channel::new(context, stream, &metadata)?,
                lens: None,
                mode: None,
                name,
            },
            StreamKind::Imu { .. } => Self::Imu(Channel::new(context, stream, &metadata)?),
            StreamKind::Keypoints { .. } => {
                Self::Keypoints(Channel::new(context, stream, &metadata)?)
            }
            StreamKind::Markers { .. } => Self::Markers(Channel::new(context, stream, &metadata)?),
        }))
    }
}

impl Publisher {
    /// Offers all topics of a rig.
    pub fn new(
        context: &Arc<Context>,
        rig: &Rig,
        calibration: Option<&Calibration>,
        anchor: SessionAnchor,
    ) -> Result<Self, LiveError> {
        let mut streams = HashMap::new();
        for device in &rig.device {
            if let Some(topics) = Topics::of(context, device, calibration)? {
                let stream = Stream {
                    topics,
                    age_s: f64::NAN,
                    values: Vec::new(),
                    sequence: 0,
                    image: 0,
                };
                streams.insert(device.stream.clone(), stream);
            }
        }
        Ok(Self {
            rig: rig.clone(),
            anchor,
            streams,
            transforms: Channel::new(context, "/tf", &[])?,
            health: Channel::new(context, "/health", &[])?,
            log: Channel::new(context, "/log", &[])?,
            recorder: JsonChannel::new(context, "/recorder", "dexumi.Recorder")?,
            messages: Vec::new(),
            state: None,
        })
    }

    /// Sends what is new in a snapshot; if `slow`, also what goes once a second.
    pub fn publish(&mut self, status: &Status, now: HostTime, slow: bool) {
        let log = self.anchor.to_session(now);
        let mut transforms = Vec::new();
        for newest in &status.streams {
            if let Some(stream) = self.streams.get_mut(&newest.stream) {
                let host = arrival(newest, now);
                let time = self.anchor.to_session(host);
                stream.publish(newest, host, time, log, &mut transforms);
            }
        }
        if slow {
            let mounts = self.rig.mount.iter();
            transforms.extend(mounts.map(|mount| convert::mount(mount, log)));
            self.health.send(log, || convert::health(status, log));
            for stream in self.streams.values() {
                stream.publish_lens(log);
            }
        }
        if !transforms.is_empty() {
            self.transforms.send(log, || FrameTransforms { transforms });
        }
        for text in convert::newcomers(&self.messages, &status.messages) {
            self.log.send(log, || convert::log(text, log));
        }
        self.messages.clone_from(&status.messages);
        if slow || self.state != Some(status.state) {
            self.state = Some(status.state);
            self.recorder.send(log, || {
                json!({
                    "state": status.state,
                    "episode": status.episode,
                    "elapsed_s": status.elapsed_s,
                    "bytes": status.bytes,
                    "free_bytes": status.free_bytes,
                })
            });
        }
    }

    /// Whether anybody looks at a camera.
    pub fn wants_images(&self) -> bool {
        self.streams.values().any(|stream| match &stream.topics {
            Topics::Camera { image, .. } => image.is_wanted(),
            _ => false,
        })
    }

    /// Sends each camera's newest image, if it has not been sent.
    pub fn publish_images(
        &mut self,
        status: &Status,
        previews: &HashMap<String, (u64, Bytes)>,
        now: HostTime,
    ) {
        let log = self.anchor.to_session(now);
        for newest in &status.streams {
            let (Some(stream), Some((number, bytes))) = (
                self.streams.get_mut(&newest.stream),
                previews.get(&newest.stream),
            ) else {
                continue;
            };
            let Topics::Camera { name, image, .. } = &stream.topics else {
                continue;
            };
            if std::mem::replace(&mut stream.image, *number) == *number {
                continue;
            }
            let Some(format) = convert::image_format(bytes) else {
                continue;
            };
            let time = self.anchor.to_session(arrival(newest, now));
            image.send(log, || CompressedImage {
                timestamp: Some(timestamp(time)),
                frame_id: format!("camera/{name}"),
                data: bytes.clone(),
                format: format.to_owned(),
            });
        }
    }
}

/// When the newest sample of a stream arrived, as well as a status says it: it may
/// be one look old itself.
fn arrival(status: &StreamStatus, now: HostTime) -> HostTime {
    now - Delta::from_secs_f64(status.age_s.max(0.0))
}

impl Stream {
    fn publish(
        &mut self,
        newest: &StreamStatus,
        host: HostTime,
        time: SessionTime,
        log: SessionTime,
        transforms: &mut Vec<FrameTransform>,
    ) {
        let values = &newest.values;
        let has_changed = *values != self.values;
        let is_same_snapshot = newest.age_s == self.age_s && !has_changed;
        let is_news =
            newest.age_s >= 0.0 && !is_same_snapshot && (has_changed || newest.age_s < RECENT_S);
        self.age_s = newest.age_s;
        if !is_news {
            return;
        }
        self.values.clone_from(values);
        self.sequence += 1;
        let stamp = convert::stamp(time, host, self.sequence);
        match &self.topics {
            Topics::Joints {
                names,
                states,
                flat,
            } => {
                states.send(log, || convert::joint_states(names, values, time));
                flat.send(log, || Joints {
                    stamp: Some(stamp),
                    position: values.clone(),
                });
            }
            Topics::SensorAngles(states) => states.send(log, || {
                let names: Vec<String> = (0..values.len())
                    .map(|channel| format!("channel_{channel}"))
                    .collect();
                convert::joint_states(&names, values, time)
            }),
            Topics::Force(force) => {
                if let Some(message) = convert::force(values, stamp) {
                    force.send(log, || message);
                }
            }
            Topics::Tracker { name, pose } => {
                if let Some(world_from_body) = convert::pose(values) {
                    pose.send(log, || convert::pose_in_world(&world_from_body, time));
                    let child = format!("tracker/{name}");
                    let moved = convert::transform("world", &child, &world_from_body, time);
                    transforms.push(moved);
                }
            }
            Topics::Imu(imu) => {
                if let Some(message) = convert::imu(values, stamp) {
                    imu.send(log, || message);
                }
            }
            Topics::Keypoints(keypoints) => keypoints.send(log, || {
                let points = convert::points(values);
                Keypoints {
                    valid: points.iter().any(|v| v.is_finite()),
                    points,
                    stamp: Some(stamp),
                }
            }),
            Topics::Markers(markers) => markers.send(log, || Markers {
                points: convert::points(values),
                stamp: Some(stamp),
            }),
            // Images come by another way.
            Topics::Camera { .. } => {}
        }
    }

    fn publish_lens(&self, log: SessionTime) {
        if let Topics::Camera {
            name,
            mode: Some(mode),
            lens: Some(lens),
            ..
        } = &self.topics
            && let Some(message) = convert::lens(name, mode, log)
        {
            lens.send(log, || message);
        }
    }
}
