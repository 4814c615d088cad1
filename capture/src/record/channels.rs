//! What a stream's samples look like in the file: its channels and messages.

use dexumi_episode::{
    ChannelId, EpisodeError, EpisodeWriter, JointCalibration, SessionTime, StreamKind, isometry,
    schema::{
        CameraCalibration, CompressedImage, Encoders, Force, FrameTransform, FrameTransforms, Imu,
        JointState, JointStates, Joints, Keypoints, Markers, Pose, PoseInFrame, PosesInFrame,
        Quaternion, RawImage, RawPacket, Stamp, Timing, Tracking, Vector3, timestamp, timing_topic,
    },
    sensor_angle_rad,
};

use super::stream::Stream;
use crate::driver::{Data, Image, ImageFormat, NamedPose, Sample};

/// The channels of one stream in an open file.
pub(super) struct Channels {
    main: ChannelId,
    /// Timing or status of a foreign schema.
    beside: Option<ChannelId>,
    joints: Option<(ChannelId, ChannelId)>,
    /// The source's own joints.
    poses: Option<ChannelId>,
    raw: Option<ChannelId>,
    tf: Option<ChannelId>,
}

/// Joint angles [rad] of counts, or the sensors' own angles without a calibration.
pub(super) fn angles(
    joints: Option<&JointCalibration>,
    counts: &[i32],
    reference: i32,
) -> Vec<f64> {
    match joints {
        Some(joints) => joints
            .joint
            .iter()
            .filter_map(|map| {
                let sensor = sensor_angle_rad(*counts.get(map.channel)?, reference)?;
                Some(map.apply(sensor).joint_rad)
            })
            .collect(),
        None => counts
            .iter()
            .filter_map(|&count| sensor_angle_rad(count, reference))
            .collect(),
    }
}

fn vector([x, y, z]: [f64; 3]) -> Vector3 {
    Vector3 { x, y, z }
}

fn pose(position_m: [f64; 3], rotation_xyzw: [f64; 4]) -> Pose {
    let pose = isometry(position_m, rotation_xyzw);
    let q = pose.rotation.coords;
    Pose {
        position: Some(vector(pose.translation.vector.into())),
        orientation: Some(Quaternion {
            x: q.x,
            y: q.y,
            z: q.z,
            w: q.w,
        }),
    }
}

impl Channels {
    /// The channel that holds one message for each sample.
    pub fn main(&self) -> ChannelId {
        self.main
    }

    /// Adds a stream's channels to a new file.
    pub fn open(stream: &Stream, writer: &mut EpisodeWriter) -> Result<Self, EpisodeError> {
        let topic = stream.device.stream.as_str();
        let mut metadata = (stream.driver.metadata)(&stream.device);
        metadata.push(("driver", stream.driver.name.to_owned()));
        let main = match &stream.kind {
            Some(StreamKind::Encoders { .. }) => writer.channel::<Encoders>(topic, &metadata)?,
            Some(StreamKind::Force { .. }) => writer.channel::<Force>(topic, &metadata)?,
            Some(StreamKind::Tracker { .. }) => writer.channel::<PoseInFrame>(topic, &metadata)?,
            Some(StreamKind::Imu { .. }) => writer.channel::<Imu>(topic, &metadata)?,
            Some(StreamKind::Keypoints { .. }) => writer.channel::<Keypoints>(topic, &metadata)?,
            Some(StreamKind::Markers { .. }) => writer.channel::<Markers>(topic, &metadata)?,
            Some(StreamKind::Camera { .. } | StreamKind::Depth { .. }) | None => {
                if stream.device.camera.as_ref().is_some_and(|mode| mode.raw) {
                    writer.channel::<RawImage>(topic, &metadata)?
                } else {
                    writer.channel::<CompressedImage>(topic, &metadata)?
                }
            }
        };
        let mut channels = Self {
            main,
            beside: None,
            joints: None,
            poses: None,
            raw: None,
            tf: None,
        };
        match &stream.kind {
            Some(StreamKind::Encoders { side }) => {
                if let Some(joints) = &stream.joints {
                    let names: Vec<_> = joints
                        .joint
                        .iter()
                        .map(|joint| joint.name.as_str())
                        .collect();
                    let names = [("names", names.join(","))];
                    channels.joints = Some((
                        writer.channel::<JointStates>(&format!("/exo/{side}/joints"), &names)?,
                        writer.channel::<Joints>(&format!("/exo/{side}/joints_flat"), &names)?,
                    ));
                }
            }
            Some(StreamKind::Tracker { name }) => {
                let status = format!("/tracker/{name}/status");
                channels.beside = Some(writer.channel::<Tracking>(&status, &[])?);
                channels.tf = Some(writer.channel::<FrameTransforms>("/tf", &[])?);
            }
            Some(StreamKind::Keypoints { side }) => {
                let poses = format!("/glove/{side}/poses");
                channels.poses = Some(writer.channel::<PosesInFrame>(&poses, &metadata)?);
            }
            Some(StreamKind::Camera { .. } | StreamKind::Depth { .. }) | None => {
                channels.beside = Some(writer.channel::<Timing>(&timing_topic(topic), &[])?);
            }
            _ => {}
        }
        if stream.driver.keeps_packets {
            channels.raw = Some(writer.channel::<RawPacket>(&format!("/raw{topic}"), &metadata)?);
        }
        Ok(channels)
    }

    /// Writes one sample with all that belongs to it.
    pub fn write(
        &self,
        stream: &Stream,
        writer: &mut EpisodeWriter,
        sample: Sample,
        capture: SessionTime,
        log: SessionTime,
    ) {
        let sequence = sample.sequence;
        let stamp = Stamp {
            timestamp_ns: capture.nanos(),
            host_time_ns: sample.arrival.nanos(),
            device_time_ns: sample.device.map(|time| time.nanos()),
            device_ticks: sample.ticks,
            sequence,
            suspect: sample.suspect,
            sent_time_ns: sample.sent.map(|time| time.nanos()),
            captured_time_ns: sample.captured.map(|time| time.nanos()),
        };
        if let (Some(raw), Some(data)) = (self.raw, &sample.raw) {
            let message = RawPacket {
                stamp: Some(stamp),
                data: data.to_vec(),
            };
            writer.write(raw, sequence, log, capture, &message);
        }
        let stamp = Some(stamp);
        match sample.data {
            Data::Encoders {
                counts,
                reference,
                spare,
            } => {
                if let (Some(channels), Some(joints), 0) =
                    (self.joints, &stream.joints, sample.suspect)
                {
                    let position = angles(Some(joints), &counts, reference);
                    let states = joints
                        .joint
                        .iter()
                        .zip(&position)
                        .map(|(map, &position)| JointState {
                            name: map.name.clone(),
                            position: Some(position),
                            ..JointState::default()
                        })
                        .collect();
                    let message = JointStates {
                        timestamp: Some(timestamp(capture)),
                        joints: states,
                    };
                    writer.write(channels.0, sequence, log, capture, &message);
                    let message = Joints { stamp, position };
                    writer.write(channels.1, sequence, log, capture, &message);
                }
                let message = Encoders {
                    stamp,
                    counts,
                    reference,
                    spare,
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
            Data::Force { counts, taxels } => {
                let [x, y, z] = counts;
                let message = Force {
                    stamp,
                    x,
                    y,
                    z,
                    taxels: taxels.into_iter().map(u32::from).collect(),
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
            Data::Pose {
                position_m,
                rotation_xyzw,
                valid,
                mean_error_m,
            } => {
                let pose = pose(position_m, rotation_xyzw);
                let message = PoseInFrame {
                    timestamp: Some(timestamp(capture)),
                    frame_id: "world".to_owned(),
                    pose: Some(pose),
                };
                writer.write(self.main, sequence, log, capture, &message);
                if let Some(beside) = self.beside {
                    let message = Tracking {
                        stamp,
                        valid,
                        mean_error_m,
                    };
                    writer.write(beside, sequence, log, capture, &message);
                }
                if let (Some(tf), Some(StreamKind::Tracker { name }), true) =
                    (self.tf, &stream.kind, valid)
                {
                    let transform = FrameTransform {
                        timestamp: Some(timestamp(capture)),
                        parent_frame_id: "world".to_owned(),
                        child_frame_id: format!("tracker/{name}"),
                        translation: pose.position,
                        rotation: pose.orientation,
                    };
                    let message = FrameTransforms {
                        transforms: vec![transform],
                    };
                    writer.write(tf, sequence, log, capture, &message);
                }
            }
            Data::Image(image) => {
                if let Some(beside) = self.beside {
                    let message = Timing {
                        stamp,
                        exposure_ns: image.exposure_ns,
                    };
                    writer.write(beside, sequence, log, capture, &message);
                }
                let name = match &stream.kind {
                    Some(StreamKind::Camera { name } | StreamKind::Depth { name }) => name,
                    _ => "",
                };
                let frame_id = format!("camera/{name}");
                self.image(writer, image, frame_id, sequence, (capture, log));
            }
            Data::Imu {
                acceleration_m_s2,
                angular_velocity_rad_s,
            } => {
                let message = Imu {
                    stamp,
                    acceleration: acceleration_m_s2.to_vec(),
                    angular_velocity: angular_velocity_rad_s.to_vec(),
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
            Data::Keypoints {
                points_m,
                joints,
                valid,
            } => {
                if let (Some(poses), false) = (self.poses, joints.is_empty()) {
                    let message = PosesInFrame {
                        timestamp: Some(timestamp(capture)),
                        frame_id: "glove".to_owned(),
                        poses: joints
                            .iter()
                            .map(
                                |NamedPose {
                                     position_m,
                                     rotation_xyzw,
                                     ..
                                 }| {
                                    pose(*position_m, *rotation_xyzw)
                                },
                            )
                            .collect(),
                    };
                    writer.write(poses, sequence, log, capture, &message);
                }
                let message = Keypoints {
                    stamp,
                    points: points_m.into_iter().flatten().collect(),
                    valid,
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
            Data::Markers { points_m } => {
                let message = Markers {
                    stamp,
                    points: points_m.into_iter().flatten().collect(),
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
        }
    }

    fn image(
        &self,
        writer: &mut EpisodeWriter,
        image: Image,
        frame_id: String,
        sequence: u64,
        (capture, log): (SessionTime, SessionTime),
    ) {
        let timestamp = Some(timestamp(capture));
        let compressed = |format: &str| CompressedImage {
            timestamp,
            frame_id: frame_id.clone(),
            data: image.data.clone(),
            format: format.to_owned(),
        };
        match image.format {
            ImageFormat::Jpeg => {
                writer.write(self.main, sequence, log, capture, &compressed("jpeg"));
            }
            ImageFormat::DepthPng => {
                writer.write(self.main, sequence, log, capture, &compressed("png"));
            }
            ImageFormat::Raw {
                encoding,
                width,
                height,
                step,
            } => {
                let message = RawImage {
                    timestamp,
                    frame_id,
                    width,
                    height,
                    encoding: encoding.to_owned(),
                    step,
                    data: image.data,
                };
                writer.write(self.main, sequence, log, capture, &message);
            }
        }
    }
}

/// Intrinsics of a calibrated camera, once at the start.
pub(super) fn write_intrinsics(
    stream: &Stream,
    writer: &mut EpisodeWriter,
    now: SessionTime,
) -> Result<(), EpisodeError> {
    let (Some(StreamKind::Camera { name }), Some(mode)) = (&stream.kind, &stream.device.camera)
    else {
        return Ok(());
    };
    let Some([fx, fy, cx, cy]) = mode.intrinsics else {
        return Ok(());
    };
    let channel =
        writer.channel::<CameraCalibration>(&format!("/camera/{name}/calibration"), &[])?;
    let message = CameraCalibration {
        timestamp: Some(timestamp(now)),
        frame_id: format!("camera/{name}"),
        width: mode.width,
        height: mode.height,
        distortion_model: String::new(),
        d: Vec::new(),
        k: vec![fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p: vec![fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    };
    writer.write(channel, 0, now, now, &message);
    Ok(())
}
