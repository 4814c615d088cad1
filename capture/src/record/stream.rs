//! One stream at the writer: its clock, its ledger, its channels in the file.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dexumi_episode::{
    Calibration, ChannelId, ClockEstimator, ClockFit, Delta, Device, EpisodeError, EpisodeWriter,
    HostTime, JointCalibration, SessionAnchor, SessionTime, StreamClock, StreamKind, StreamLedger,
    isometry,
    schema::{
        CameraCalibration, CompressedImage, Encoders, Force, FrameTransform, FrameTransforms,
        JointState, JointStates, Joints, Pose, PoseInFrame, Quaternion, RawPacket, Stamp,
        StreamHealth, Timing, Tracking, Vector3, suspect, timestamp, timing_topic,
    },
    sensor_angle_rad,
};

use super::StreamStatus;
use crate::driver::{Data, Driver, Item, Sample};

/// How far back samples count for the live clock.
const CLOCK_WINDOW: Delta = Delta::from_millis(60_000);
/// A fit is renewed this often; between, it holds.
const FIT_INTERVAL: Delta = Delta::from_millis(200);

pub(super) struct Stream {
    device: Device,
    driver: &'static Driver,
    kind: Option<StreamKind>,
    latency: Delta,
    joints: Option<JointCalibration>,
    clock: Option<ClockEstimator>,
    fit: Option<(ClockFit, HostTime)>,
    ledger: StreamLedger,
    dropped: Arc<AtomicU64>,
    dropped_before: u64,
    /// Device time of the last sample and the usual step, for gaps.
    last_device_ns: Option<i64>,
    step_ns: Option<f64>,
    lost_since: u64,
    /// Of a camera without a clock: its first image of the episode, images since
    /// then, and how many its nominal rate says are missing.
    paced: Option<(HostTime, u64, u64)>,
    recent: VecDeque<HostTime>,
    values: Vec<f64>,
    problem: Option<String>,
    channels: Option<Channels>,
    /// Capture time of the newest sample, for draining.
    newest: Option<SessionTime>,
}

struct Channels {
    main: ChannelId,
    beside: Option<ChannelId>,
    joints: Option<(ChannelId, ChannelId)>,
    raw: Option<ChannelId>,
    tf: Option<ChannelId>,
}

impl Stream {
    pub fn new(
        device: Device,
        driver: &'static Driver,
        calibration: Option<&Calibration>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let kind = StreamKind::of(&device.stream);
        let latency = calibration
            .and_then(|calibration| calibration.latency.get(&device.stream))
            .map_or(Delta::ZERO, |latency| Delta::from_secs_f64(latency.seconds));
        let joints = match (&kind, calibration) {
            (Some(StreamKind::Encoders { side }), Some(calibration)) => {
                calibration.joints.get(side).cloned()
            }
            _ => None,
        };
        let clock = (driver.clock)(&device).map(|model| ClockEstimator::new(model, CLOCK_WINDOW));
        Self {
            device,
            driver,
            kind,
            latency,
            joints,
            clock,
            fit: None,
            ledger: StreamLedger::default(),
            dropped,
            dropped_before: 0,
            last_device_ns: None,
            step_ns: None,
            lost_since: 0,
            paced: None,
            recent: VecDeque::new(),
            values: Vec::new(),
            problem: None,
            channels: None,
            newest: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.device.stream
    }

    pub fn set_problem(&mut self, problem: Option<String>) {
        self.problem = problem;
        if self.problem.is_none() {
            self.last_device_ns = None;
        }
    }

    pub fn newest(&self) -> Option<SessionTime> {
        self.newest
    }

    pub fn is_connected(&self) -> bool {
        self.problem.is_none()
    }

    pub fn ledger(&self) -> &StreamLedger {
        &self.ledger
    }

    /// Adds this stream's channels to a new file and starts its ledger anew.
    pub fn open_channels(&mut self, writer: &mut EpisodeWriter) -> Result<(), EpisodeError> {
        let topic = self.device.stream.clone();
        let mut metadata = (self.driver.metadata)(&self.device);
        metadata.push(("driver", self.driver.name.to_owned()));
        let mut channels = match &self.kind {
            Some(StreamKind::Encoders { side }) => {
                let joints = match &self.joints {
                    Some(joints) => {
                        let names: Vec<_> = joints
                            .joint
                            .iter()
                            .map(|joint| joint.name.as_str())
                            .collect();
                        let names = [("names", names.join(","))];
                        Some((
                            writer
                                .channel::<JointStates>(&format!("/exo/{side}/joints"), &names)?,
                            writer
                                .channel::<Joints>(&format!("/exo/{side}/joints_flat"), &names)?,
                        ))
                    }
                    None => None,
                };
                Channels {
                    joints,
                    ..Channels::of(writer.channel::<Encoders>(&topic, &metadata)?)
                }
            }
            Some(StreamKind::Force { .. }) => {
                Channels::of(writer.channel::<Force>(&topic, &metadata)?)
            }
            Some(StreamKind::Tracker { name }) => Channels {
                beside: Some(writer.channel::<Tracking>(&format!("/tracker/{name}/status"), &[])?),
                tf: Some(writer.channel::<FrameTransforms>("/tf", &[])?),
                ..Channels::of(writer.channel::<PoseInFrame>(&topic, &metadata)?)
            },
            Some(StreamKind::Camera { .. }) | None => Channels {
                beside: Some(writer.channel::<Timing>(&timing_topic(&topic), &[])?),
                ..Channels::of(writer.channel::<CompressedImage>(&topic, &metadata)?)
            },
        };
        if matches!(self.kind, Some(StreamKind::Tracker { .. })) {
            channels.raw = Some(writer.channel::<RawPacket>(&format!("/raw{topic}"), &metadata)?);
        }
        self.channels = Some(channels);
        self.ledger = StreamLedger::default();
        self.paced = None;
        self.dropped_before = self.dropped.load(Ordering::Relaxed);
        Ok(())
    }

    /// Intrinsics of a calibrated camera, once at the start.
    pub fn write_intrinsics(
        &self,
        writer: &mut EpisodeWriter,
        now: SessionTime,
    ) -> Result<(), EpisodeError> {
        let (Some(StreamKind::Camera { name }), Some(mode)) = (&self.kind, &self.device.camera)
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

    pub fn close_channels(&mut self) {
        self.channels = None;
    }

    /// Takes an item from the device; writes it if it lies in the interval.
    /// Returns the newest image for a preview.
    pub fn take(
        &mut self,
        item: Item,
        anchor: &SessionAnchor,
        writer: Option<(&mut EpisodeWriter, SessionTime, Option<SessionTime>)>,
    ) -> Option<bytes::Bytes> {
        let within = |host: HostTime| match &writer {
            Some((_, start, stop)) => {
                let time = anchor.to_session(host);
                time >= *start && stop.is_none_or(|stop| time <= stop)
            }
            None => false,
        };
        match item {
            Item::Sample(sample) => return self.sample(sample, anchor, writer),
            Item::Lost { kind, count, at } => {
                self.lost_since += count;
                if within(at) {
                    self.ledger.received += count;
                    self.ledger.lose(kind, count);
                }
            }
            Item::Missing { count, at } => {
                if within(at) {
                    self.ledger.missing += count;
                }
            }
            Item::Discarded { bytes } => {
                if writer.is_some() {
                    self.ledger.bytes_discarded += bytes;
                }
            }
        }
        None
    }

    fn sample(
        &mut self,
        sample: Sample,
        anchor: &SessionAnchor,
        writer: Option<(&mut EpisodeWriter, SessionTime, Option<SessionTime>)>,
    ) -> Option<bytes::Bytes> {
        let arrival = sample.arrival;
        let trusted = sample.suspect & suspect::TICKS == 0;
        if let (Some(clock), Some(device), true) =
            (&mut self.clock, sample.sent.or(sample.device), trusted)
        {
            clock.push(device, arrival);
            let old = self
                .fit
                .as_ref()
                .is_none_or(|(_, at)| arrival - *at > FIT_INTERVAL);
            if old {
                self.fit = clock.fit(arrival).map(|fit| (fit, arrival));
            }
        }
        let host = match (&self.fit, sample.device) {
            (Some((fit, _)), Some(device)) if trusted => fit.to_host(device),
            _ => arrival - Delta::from_secs_f64(self.device.min_delay_s),
        };
        let capture = anchor.to_session(host) - self.latency;
        self.recent.push_back(arrival);
        while self
            .recent
            .front()
            .is_some_and(|&first| arrival - first > Delta::from_millis(1000))
        {
            self.recent.pop_front();
        }
        let gap = self.gap(&sample, trusted);
        self.newest = Some(self.newest.map_or(capture, |newest| newest.max(capture)));
        let image = match &sample.data {
            Data::Image(jpeg) => Some(jpeg.clone()),
            _ => None,
        };
        self.remember(&sample.data);
        if let Some((writer, start, stop)) = writer
            && capture >= start
            && stop.is_none_or(|stop| capture <= stop)
        {
            self.ledger.received += 1;
            self.ledger.written += 1;
            self.ledger.suspect += u64::from(sample.suspect != 0);
            self.ledger.missing += gap;
            if sample.device.is_none() {
                self.ledger.missing += self.pace(arrival);
            }
            self.write(writer, sample, capture, anchor.to_session(arrival));
        }
        image
    }

    /// Samples that the device's clock says are missing, for one without a
    /// sequence of its own. Packets already counted as lost are not counted again.
    fn gap(&mut self, sample: &Sample, trusted: bool) -> u64 {
        let lost = std::mem::take(&mut self.lost_since);
        let has_sequence = matches!(sample.data, Data::Pose { .. });
        let (Some(device), true, false) = (sample.device, trusted, has_sequence) else {
            return 0;
        };
        let last = self.last_device_ns.replace(device.nanos());
        let step = (device.nanos() - last.unwrap_or(device.nanos())) as f64;
        if step <= 0.0 || step > 5e9 {
            return 0;
        }
        let usual = *self.step_ns.get_or_insert(step);
        let steps = (step / usual).round().max(1.0);
        // Slowly towards what is seen, by the per-step time: one gap moves it little.
        self.step_ns = Some(usual + (step / steps - usual) * 0.02);
        (steps as u64 - 1).saturating_sub(lost)
    }

    /// Newly missing images of a camera without a clock: those that its nominal
    /// rate, give or take half a percent, should have brought by now. A late image
    /// is less than a period late, so that it does not count.
    fn pace(&mut self, arrival: HostTime) -> u64 {
        let Some(mode) = &self.device.camera else {
            return 0;
        };
        let (first, count, missing) = self.paced.get_or_insert((arrival, 0, 0));
        let due = ((arrival - *first).secs_f64() * mode.fps * 0.995).floor() as u64;
        let fresh = due.saturating_sub(*count + *missing);
        *count += 1;
        *missing += fresh;
        fresh
    }

    fn angles(&self, counts: &[i32], reference: i32) -> Vec<f64> {
        match &self.joints {
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

    fn remember(&mut self, data: &Data) {
        self.values = match data {
            Data::Encoders {
                counts, reference, ..
            } => self.angles(counts, *reference),
            Data::Force(counts) => counts.iter().copied().map(f64::from).collect(),
            Data::Pose {
                position_m,
                rotation_xyzw,
                ..
            } => position_m.iter().chain(rotation_xyzw).copied().collect(),
            Data::Image(_) => Vec::new(),
        };
    }

    fn write(
        &self,
        writer: &mut EpisodeWriter,
        sample: Sample,
        capture: SessionTime,
        log: SessionTime,
    ) {
        let Some(channels) = &self.channels else {
            return;
        };
        let sequence = sample.sequence;
        let stamp = Stamp {
            timestamp_ns: capture.nanos(),
            host_time_ns: sample.arrival.nanos(),
            device_time_ns: sample.device.map(|time| time.nanos()),
            device_ticks: sample.ticks,
            sequence,
            suspect: sample.suspect,
            sent_time_ns: sample.sent.map(|time| time.nanos()),
        };
        match sample.data {
            Data::Encoders {
                counts,
                reference,
                spare,
            } => {
                if let (Some((states, flat)), 0) = (channels.joints, sample.suspect) {
                    let position = self.angles(&counts, reference);
                    let names = self.joints.iter().flat_map(|joints| &joints.joint);
                    let joints = names
                        .zip(&position)
                        .map(|(map, &position)| JointState {
                            name: map.name.clone(),
                            position: Some(position),
                            ..JointState::default()
                        })
                        .collect();
                    let message = JointStates {
                        timestamp: Some(timestamp(capture)),
                        joints,
                    };
                    writer.write(states, sequence, log, capture, &message);
                    let message = Joints {
                        stamp: Some(stamp),
                        position,
                    };
                    writer.write(flat, sequence, log, capture, &message);
                }
                let message = Encoders {
                    stamp: Some(stamp),
                    counts,
                    reference,
                    spare,
                };
                writer.write(channels.main, sequence, log, capture, &message);
            }
            Data::Force([x, y, z]) => {
                let message = Force {
                    stamp: Some(stamp),
                    x,
                    y,
                    z,
                };
                writer.write(channels.main, sequence, log, capture, &message);
            }
            Data::Pose {
                position_m,
                rotation_xyzw,
                valid,
                mean_error_m,
            } => {
                let pose = isometry(position_m, rotation_xyzw);
                let (p, q) = (pose.translation.vector, pose.rotation.coords);
                let orientation = Quaternion {
                    x: q.x,
                    y: q.y,
                    z: q.z,
                    w: q.w,
                };
                let translation = Vector3 {
                    x: p.x,
                    y: p.y,
                    z: p.z,
                };
                let message = PoseInFrame {
                    timestamp: Some(timestamp(capture)),
                    frame_id: "world".to_owned(),
                    pose: Some(Pose {
                        position: Some(translation),
                        orientation: Some(orientation),
                    }),
                };
                writer.write(channels.main, sequence, log, capture, &message);
                if let Some(beside) = channels.beside {
                    let message = Tracking {
                        stamp: Some(stamp),
                        valid,
                        mean_error_m,
                    };
                    writer.write(beside, sequence, log, capture, &message);
                }
                if let (Some(tf), Some(StreamKind::Tracker { name }), true) =
                    (channels.tf, &self.kind, valid)
                {
                    let transform = FrameTransform {
                        timestamp: Some(timestamp(capture)),
                        parent_frame_id: "world".to_owned(),
                        child_frame_id: format!("tracker/{name}"),
                        translation: Some(translation),
                        rotation: Some(orientation),
                    };
                    let message = FrameTransforms {
                        transforms: vec![transform],
                    };
                    writer.write(tf, sequence, log, capture, &message);
                }
                if let (Some(raw), Some(data)) = (channels.raw, sample.raw) {
                    let message = RawPacket {
                        stamp: Some(stamp),
                        data: data.to_vec(),
                    };
                    writer.write(raw, sequence, log, capture, &message);
                }
            }
            Data::Image(data) => {
                if let Some(beside) = channels.beside {
                    writer.write(
                        beside,
                        sequence,
                        log,
                        capture,
                        &Timing { stamp: Some(stamp) },
                    );
                }
                let name = match &self.kind {
                    Some(StreamKind::Camera { name }) => name.as_str(),
                    _ => "",
                };
                let message = CompressedImage {
                    timestamp: Some(timestamp(capture)),
                    frame_id: format!("camera/{name}"),
                    data,
                    format: "jpeg".to_owned(),
                };
                writer.write(channels.main, sequence, log, capture, &message);
            }
        }
    }

    /// Counts what found the queue full since the start of the episode.
    pub fn count_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let fresh = dropped - self.dropped_before;
        self.dropped_before = dropped;
        self.ledger.received += fresh;
        self.ledger.lose("queue_full", fresh);
    }

    /// State of the clock, for the file.
    pub fn clock(&self, now: HostTime) -> Option<StreamClock> {
        let model = (self.driver.clock)(&self.device)?;
        let clock = self.clock.as_ref()?;
        let anchors = clock
            .anchors()
            .iter()
            .map(|(d, h)| (d.nanos(), h.nanos()))
            .collect();
        Some(StreamClock {
            model,
            fit: clock.fit(now),
            anchors,
        })
    }

    pub fn status(&self, now: HostTime) -> StreamStatus {
        let age = self.recent.back().map(|&last| now - last);
        let fresh = self
            .recent
            .iter()
            .filter(|&&at| now - at < Delta::from_millis(1000))
            .count();
        let fit = self.fit.as_ref().map(|(fit, _)| fit);
        StreamStatus {
            stream: self.device.stream.clone(),
            rate_hz: fresh as f64,
            age_s: age.map_or(-1.0, Delta::secs_f64),
            problem: self.problem.clone(),
            received: self.ledger.received,
            written: self.ledger.written,
            lost: self.ledger.lost(),
            suspect: self.ledger.suspect,
            missing: self.ledger.missing,
            clock: fit.map_or("arrival", |fit| fit.state.name()).to_owned(),
            skew_ppm: fit.map_or(0.0, |fit| fit.skew_ppm),
            residual_p95_s: fit
                .map_or(0.0, |fit| Delta::from_nanos(fit.residual_p95_ns).secs_f64()),
            // JSON has no word for what is not finite.
            values: self
                .values
                .iter()
                .map(|v| if v.is_finite() { *v } else { 0.0 })
                .collect(),
        }
    }

    pub fn health(&self, now: HostTime) -> StreamHealth {
        let status = self.status(now);
        StreamHealth {
            rate_hz: status.rate_hz,
            age_s: status.age_s,
            clock_state: status.clock,
            skew_ppm: status.skew_ppm,
            residual_p95_s: status.residual_p95_s,
            ..self.ledger.to_health(&self.device.stream)
        }
    }
}

impl Channels {
    fn of(main: ChannelId) -> Self {
        Self {
            main,
            beside: None,
            joints: None,
            raw: None,
            tf: None,
        }
    }
}
