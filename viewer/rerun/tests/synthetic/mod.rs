//! An episode with known content: a hand that opens and closes on a wrist that
//! moves along a line, with one gap, one lost packet and two cameras.

use std::{f64::consts::TAU, path::Path};

use dexumi_episode::{
    Calibration, CameraMode, ChannelId, Device, Episode, EpisodeInfo, EpisodeWriter,
    FORMAT_VERSION, JointCalibration, JointMap, Ledger, Mount, Rig, SessionAnchor, SessionTime,
    StreamLedger,
    schema::{
        CompressedImage, Encoders, Event, Force, Log, Pose, PoseInFrame, Quaternion, Stamp, Timing,
        Tracking, Vector3, timestamp, timing_topic,
    },
};
use dexumi_retarget::Hand;

pub const START_NS: i64 = 1_760_000_000_000_000_000;
pub const ENCODER_HZ: i64 = 180;
pub const TRACKER_HZ: i64 = 240;
pub const FORCE_HZ: i64 = 100;
pub const IMAGE_HZ: i64 = 30;
/// Scans in this span never came [ns since the start].
pub const GAP_NS: std::ops::Range<i64> = 400_000_000..600_000_000;
/// Sensor angle at a joint's lower and upper limit [rad].
const SENSOR_RAD: [f64; 2] = [0.5, 2.5];
const REFERENCE: i32 = 1 << 20;

pub struct Synthetic {
    pub seconds: i64,
    pub calibrated: bool,
    pub cameras: Vec<(&'static str, Vec<Vec<u8>>)>,
}

/// From limit to limit in 2 s, each joint a little later than the one before.
pub fn joint_rad(hand: &Hand, joint: usize, t: f64) -> f64 {
    let (lower, upper) = hand.limits()[joint];
    let phase = 0.5 - 0.5 * (TAU * (t / 2.0 - 0.02 * joint as f64)).cos();
    lower + (upper - lower) * phase
}

pub fn wrist_m(t: f64) -> [f64; 3] {
    [
        0.3 + 0.1 * (0.9 * t).sin(),
        0.1 * t.cos(),
        1.0 + 0.05 * (1.7 * t).sin(),
    ]
}

fn rig() -> Rig {
    let device = |stream: &str, camera: Option<CameraMode>| Device {
        camera,
        ..Device::new(stream, "synthetic", "none")
    };
    let mode = |intrinsics| CameraMode {
        width: 640,
        height: 480,
        fps: IMAGE_HZ as f64,
        intrinsics,
        ..CameraMode::default()
    };
    let mount = |parent: &str, child: &str, translation_m, rotation_xyzw| Mount {
        parent: parent.to_owned(),
        child: child.to_owned(),
        translation_m,
        rotation_xyzw,
        source: String::new(),
    };
    let half = std::f64::consts::FRAC_1_SQRT_2;
    Rig {
        format: 1,
        name: "synthetic".to_owned(),
        hand: "xhand_right".to_owned(),
        device: vec![
            device("/exo/right/encoders", None),
            device("/exo/right/force/thumb", None),
            device("/exo/right/force/index", None),
            device("/tracker/wrist/pose", None),
            device(
                "/camera/wrist/image",
                Some(mode(Some([420.0, 420.0, 320.0, 240.0]))),
            ),
            device("/camera/head/image", Some(mode(None))),
        ],
        mount: vec![
            mount(
                "tracker/wrist",
                "hand",
                [0.0, 0.0, 0.06],
                [0.0, half, 0.0, half],
            ),
            // Given the other way round; on the palm's side, looking along the fingers.
            mount(
                "camera/wrist",
                "hand",
                [0.0, 0.08, 0.03],
                [0.0, 0.0, -half, half],
            ),
        ],
    }
}

fn calibration(hand: &Hand) -> Calibration {
    let joint = hand.variable_names().zip(hand.limits()).enumerate();
    let joint = joint.map(|(channel, (name, &(lower, upper)))| {
        JointMap::through(name, channel, SENSOR_RAD.to_vec(), vec![lower, upper])
    });
    let mut calibration = Calibration::new();
    calibration.joints.insert(
        "right".to_owned(),
        JointCalibration {
            hand: hand.name().to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
            method: "synthetic".to_owned(),
            source: "synthetic".to_owned(),
            joint: joint.collect(),
        },
    );
    calibration
}

pub fn stamp(at_ns: i64, sequence: u64) -> Option<Stamp> {
    Some(Stamp {
        timestamp_ns: START_NS + at_ns,
        host_time_ns: at_ns,
        sequence,
        ..Stamp::default()
    })
}

fn steps(seconds: i64, hz: i64) -> impl Iterator<Item = (u64, i64, f64)> {
    (0..seconds * hz).map(move |step| {
        let at_ns = step * 1_000_000_000 / hz;
        (step as u64, at_ns, at_ns as f64 * 1e-9)
    })
}

pub fn at(at_ns: i64) -> SessionTime {
    SessionTime::from_nanos(START_NS + at_ns)
}

impl Synthetic {
    /// Writes the episode and opens it.
    pub fn episode(&self, path: &Path) -> Episode {
        let hand = Hand::by_name("xhand_right").expect("built in");
        let info = EpisodeInfo {
            format: FORMAT_VERSION,
            id: "0199c0de-0000-7000-8000-000000000001".to_owned(),
            number: 7,
            task: "pick up the cup".to_owned(),
            operator: "op-1".to_owned(),
            hand: hand.name().to_owned(),
            rig: "synthetic".to_owned(),
            software: "test".to_owned(),
            anchor: SessionAnchor {
                host_time_ns: 0,
                unix_time_ns: START_NS,
                uncertainty_ns: 0,
            },
        };
        let calibration = self.calibrated.then(|| calibration(&hand).to_toml());
        let mut writer =
            EpisodeWriter::create(path, &info, &rig().to_toml(), calibration.as_deref())
                .expect("create");
        self.joints(&mut writer, &hand);
        self.force(&mut writer);
        self.tracker(&mut writer);
        for (name, images) in &self.cameras {
            write_images(&mut writer, name, images);
        }
        self.words(&mut writer);
        let mut ledger = Ledger::new();
        let mut lost = StreamLedger {
            received: 10,
            written: 9,
            ..StreamLedger::default()
        };
        lost.lose("checksum", 1);
        ledger.insert("/exo/right/force/thumb".to_owned(), lost);
        writer
            .finish(Some((at(0), at(self.seconds * 1_000_000_000))), &ledger)
            .expect("finish");
        Episode::open(path).expect("open")
    }

    fn joints(&self, writer: &mut EpisodeWriter, hand: &Hand) {
        let channel = writer
            .channel::<Encoders>("/exo/right/encoders", &[])
            .expect("channel");
        for (step, at_ns, t) in steps(self.seconds, ENCODER_HZ) {
            if GAP_NS.contains(&at_ns) {
                continue;
            }
            let counts = (0..hand.dof()).map(|joint| {
                let (lower, upper) = hand.limits()[joint];
                let share = (joint_rad(hand, joint, t) - lower) / (upper - lower);
                let sensor = SENSOR_RAD[0] + share * (SENSOR_RAD[1] - SENSOR_RAD[0]);
                (sensor / TAU * f64::from(REFERENCE)).round() as i32
            });
            let message = Encoders {
                stamp: stamp(at_ns, step),
                counts: counts.collect(),
                reference: REFERENCE,
                spare: 0,
            };
            writer.write(channel, step, at(at_ns), at(at_ns), &message);
        }
        writer.tick().expect("tick");
    }

    fn force(&self, writer: &mut EpisodeWriter) {
        for (finger, strength) in [("thumb", 900.0), ("index", 600.0)] {
            let topic = format!("/exo/right/force/{finger}");
            let channel = writer.channel::<Force>(&topic, &[]).expect("channel");
            for (step, at_ns, t) in steps(self.seconds, FORCE_HZ) {
                let press = strength * (0.5 - 0.5 * (TAU * t / 2.0).cos()).powi(4);
                let message = Force {
                    stamp: stamp(at_ns, step),
                    x: (0.2 * press * (3.0 * t).sin()) as i32,
                    y: (0.1 * press * (5.0 * t).cos()) as i32,
                    z: press as i32,
                    taxels: Vec::new(),
                };
                writer.write(channel, step, at(at_ns), at(at_ns), &message);
            }
        }
        writer.tick().expect("tick");
    }

    fn tracker(&self, writer: &mut EpisodeWriter) {
        let poses = writer
            .channel::<PoseInFrame>("/tracker/wrist/pose", &[])
            .expect("channel");
        let states = writer
            .channel::<Tracking>("/tracker/wrist/status", &[])
            .expect("channel");
        for (step, at_ns, t) in steps(self.seconds, TRACKER_HZ) {
            let [x, y, z] = wrist_m(t);
            let turn = 0.3 * (1.3 * t).sin();
            let pose = PoseInFrame {
                timestamp: Some(timestamp(at(at_ns))),
                frame_id: "world".to_owned(),
                pose: Some(Pose {
                    position: Some(Vector3 { x, y, z }),
                    orientation: Some(Quaternion {
                        x: 0.0,
                        y: 0.0,
                        z: turn.sin(),
                        w: turn.cos(),
                    }),
                }),
            };
            let state = Tracking {
                stamp: stamp(at_ns, step),
                valid: true,
                mean_error_m: 0.0002,
            };
            writer.write(poses, step, at(at_ns), at(at_ns), &pose);
            writer.write(states, step, at(at_ns), at(at_ns), &state);
        }
        writer.tick().expect("tick");
    }

    fn words(&self, writer: &mut EpisodeWriter) {
        let events = writer.channel::<Event>("/events", &[]).expect("channel");
        let log = writer.channel::<Log>("/log", &[]).expect("channel");
        let said = [(0, "start", "pick up the cup"), (900_000_000, "mark", "")];
        for (sequence, (at_ns, kind, text)) in said.into_iter().enumerate() {
            let message = Event {
                timestamp_ns: START_NS + at_ns,
                kind: kind.to_owned(),
                text: text.to_owned(),
            };
            writer.write(events, sequence as u64, at(at_ns), at(at_ns), &message);
        }
        let message = Log {
            timestamp: Some(timestamp(at(500_000_000))),
            level: 4,
            message: "checksum 0x3A1F, computed 0x3A20".to_owned(),
            name: "/exo/right/force/thumb".to_owned(),
            ..Log::default()
        };
        writer.write(log, 0, at(500_000_000), at(500_000_000), &message);
        writer.tick().expect("tick");
    }
}

fn write_images(writer: &mut EpisodeWriter, name: &str, images: &[Vec<u8>]) {
    let topic = format!("/camera/{name}/image");
    let channel = writer
        .channel::<CompressedImage>(&topic, &[])
        .expect("channel");
    let timing: ChannelId = writer
        .channel::<Timing>(&timing_topic(&topic), &[])
        .expect("channel");
    for (step, data) in images.iter().enumerate() {
        let at_ns = step as i64 * 1_000_000_000 / IMAGE_HZ;
        let image = CompressedImage {
            timestamp: Some(timestamp(at(at_ns))),
            frame_id: format!("camera/{name}"),
            data: data.clone().into(),
            format: "jpeg".to_owned(),
        };
        writer.write(channel, step as u64, at(at_ns), at(at_ns), &image);
        let stamp = Timing {
            stamp: stamp(at_ns, step as u64),
            exposure_ns: None,
        };
        writer.write(timing, step as u64, at(at_ns), at(at_ns), &stamp);
        if step % 30 == 29 {
            writer.tick().expect("tick");
        }
    }
    writer.tick().expect("tick");
}
