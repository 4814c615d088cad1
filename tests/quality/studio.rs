//! Recordings of a drawn hand with all that is known of them, before they become files: so that
//! faults can be put in, of which the kind and the size are known.

use std::{path::Path, sync::Arc};

use dexumi::emulate::{EmulatedScene, HAND, SceneOptions};
use dexumi_capture::emulate::Scene as _;
use dexumi_episode::{
    Calibration, CameraMode, ClockFit, ClockModel, ClockState, Device, EpisodeInfo, EpisodeWriter,
    FORMAT_VERSION, JointCalibration, JointMap, Ledger, Mount, Rig, SessionAnchor, SessionTime,
    StreamClock, StreamLedger,
    schema::{
        CompressedImage, Encoders, Force, Keypoints, Pose, PoseInFrame, Quaternion, Stamp, Timing,
        Tracking, Vector3, timestamp, timing_topic,
    },
};
use dexumi_retarget::Hand;
use nalgebra::Isometry3;

pub const ENCODERS: &str = "/exo/right/encoders";
pub const TRACKER: &str = "/tracker/wrist/pose";
pub const GLOVE: &str = "/glove/left/keypoints";
pub const FORCES: [&str; 3] = [
    "/exo/right/force/thumb",
    "/exo/right/force/index",
    "/exo/right/force/middle",
];
pub const CAMERAS: [&str; 2] = ["wrist", "head"];
pub const IMAGE_HZ: f64 = 30.0;
const ENCODER_HZ: f64 = 180.0;
const FORCE_HZ: f64 = 100.0;
const TRACKER_HZ: f64 = 240.0;
const GLOVE_HZ: f64 = 90.0;
/// Size of the images [pixel].
const SIZE: (u32, u32) = (320, 240);
const START_NS: i64 = 1_760_000_000_000_000_000;
/// The wrist's path: its length [s] and rate [Hz].
const WRIST_S: f64 = 900.0;
const WRIST_HZ: f64 = 120.0;
/// Every stream goes on for so long before and after the episode [s].
const ROLL_S: f64 = 0.1;
const REFERENCE: i32 = 1 << 14;
/// The calibrated span reaches so far beyond the robot's limits [rad]...
const BEYOND_RAD: f64 = 0.25;
/// ...and this is what the sensor turns for it [rad].
const SENSOR_RAD: [f64; 2] = [0.4, 2.9];
const TASKS: [&str; 6] = [
    "pick up the cube",
    "grasp and release",
    "fold the towel and put it away",
    "turn the knob to the left",
    "Pour tea from the pot into the cup.",
    "sort the screws by length",
];

/// Numbers that look random and are the same for a seed (xorshift64*).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            dice.unit();
        }
        dice
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count - 1)
    }

    pub fn sign(&mut self) -> f64 {
        if self.unit() < 0.5 { -1.0 } else { 1.0 }
    }

    /// Standard normal, as a sum of twelve.
    pub fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// A sample: when it was taken, and since when the recorder has it [s since the start].
#[derive(Clone)]
pub struct Sample<T> {
    pub t: f64,
    pub arrival: f64,
    pub value: T,
    /// Bits of `suspect`.
    pub suspect: u32,
}

/// A sample that arrives 0.8 ms later at the soonest.
fn sample<T>(dice: &mut Dice, t: f64, value: T) -> Sample<T> {
    Sample {
        t,
        arrival: t + 0.0008 - 0.0004 * dice.unit().max(1e-6).ln(),
        value,
        suspect: 0,
    }
}

/// One recording, as it goes into a file.
#[derive(Clone)]
pub struct Take {
    pub seconds: f64,
    pub task: String,
    pub id: String,
    /// Angles [rad].
    pub joints: Vec<Sample<Vec<f64>>>,
    pub forces: Vec<Vec<Sample<[f64; 3]>>>,
    /// Pose and whether it is measured.
    pub wrist: Vec<Sample<(Isometry3<f64>, bool)>>,
    pub glove: Vec<Sample<[[f64; 3]; 21]>>,
    pub images: Vec<Vec<Sample<Arc<Vec<u8>>>>>,
    /// How late each camera's stamps are: what calibration leaves of its latency [s].
    pub late: Vec<f64>,
    /// Streams that are on the rig, but not in the file.
    pub absent: Vec<&'static str>,
    /// Packets lost and never arrived, and samples suspect, beyond what is in the file: by stream.
    pub lost: Vec<(&'static str, u64)>,
    /// The tracker's clock starts anew here [s].
    pub reboot: Option<f64>,
}

/// Draws takes.
pub struct Studio {
    scene: EmulatedScene,
    /// Which takes: those of another series have another wrist's path, other noise, other faults.
    series: u64,
    pub hand: Arc<Hand>,
}

impl Studio {
    /// Series 0 is that by which thresholds were set.
    pub fn open(series: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let wrist = folder.path().join("wrist.npy");
        std::fs::write(&wrist, reaching(42 + 1000 * series)).expect("written");
        let scene = EmulatedScene::new(&SceneOptions {
            width: SIZE.0,
            height: SIZE.1,
            fps: WRIST_HZ,
            wrist: Some(wrist),
            ..SceneOptions::default()
        });
        Self {
            scene: scene.expect("a scene"),
            series,
            hand: Arc::new(Hand::by_name(HAND).expect("built in")),
        }
    }

    /// The series' numbers for a seed below 100,000.
    pub fn dice(&self, seed: u64) -> Dice {
        Dice::new(100_000 * self.series + seed)
    }

    /// A recording as it is on a good day: another part of the scene at another pace for each
    /// seed, noise, a few lost images, late packets, a camera that is some milliseconds off.
    pub fn take(&self, seed: u64, seconds: f64) -> Take {
        let mut dice = self.dice(seed);
        let from = dice.between(0.0, WRIST_S - 2.0 * seconds);
        let pace = dice.between(0.7, 1.4);
        let scene_s = |t: f64| from + pace * t;
        let times = |hz: f64| {
            let count = ((seconds + 2.0 * ROLL_S) * hz) as usize;
            (0..count).map(move |k| k as f64 / hz - ROLL_S)
        };
        let joints = times(ENCODER_HZ)
            .map(|t| {
                let mut angles = self.scene.joint_angles_rad(scene_s(t));
                angles
                    .iter_mut()
                    .for_each(|angle| *angle += 0.001 * dice.gauss());
                sample(&mut dice, t, angles)
            })
            .collect();
        let forces = (0..FORCES.len())
            .map(|finger| {
                let force = times(FORCE_HZ).map(|t| {
                    let noise = [0.6 * dice.gauss(), 0.6 * dice.gauss(), 0.6 * dice.gauss()];
                    let counts = self.scene.force_counts(finger, scene_s(t));
                    sample(&mut dice, t, std::array::from_fn(|i| counts[i] + noise[i]))
                });
                force.collect()
            })
            .collect();
        let wrist = times(TRACKER_HZ)
            .map(|t| {
                let mut pose = self.scene.world_from_wrist(scene_s(t));
                for axis in 0..3 {
                    pose.translation.vector[axis] += 0.0002 * dice.gauss();
                }
                let seen = dice.unit() > 0.001;
                sample(&mut dice, t, (pose, seen))
            })
            .collect();
        let glove = times(GLOVE_HZ)
            .map(|t| {
                let mut points = self.scene.hand_keypoints_m("left", scene_s(t));
                points
                    .as_flattened_mut()
                    .iter_mut()
                    .for_each(|x| *x += 0.0003 * dice.gauss());
                sample(&mut dice, t, points)
            })
            .collect();
        let late: Vec<f64> = CAMERAS
            .iter()
            .map(|_| dice.between(-0.008, 0.008))
            .collect();
        let images = CAMERAS
            .iter()
            .zip(&late)
            .map(|(camera, late)| {
                let mut images: Vec<Sample<Arc<Vec<u8>>>> = Vec::new();
                for t in times(IMAGE_HZ) {
                    if dice.unit() < 0.001 && !images.is_empty() {
                        continue;
                    }
                    let jpeg = self.scene.image(camera, scene_s(t), None);
                    let stamp = t + late + 0.0005 * dice.gauss();
                    images.push(sample(&mut dice, stamp, Arc::new(jpeg.expect("drawn"))));
                }
                images
            })
            .collect();
        Take {
            seconds,
            task: TASKS[dice.below(TASKS.len())].to_owned(),
            id: format!("0199c0de-0000-7000-8000-{seed:012}"),
            joints,
            forces,
            wrist,
            glove,
            images,
            late,
            absent: Vec::new(),
            lost: Vec::new(),
            reboot: None,
        }
    }

    fn calibration(&self) -> Calibration {
        let joints = self.hand.variable_names().zip(self.hand.limits());
        let joint = joints
            .enumerate()
            .map(|(channel, (name, &(lower, upper)))| {
                JointMap::through(
                    name,
                    channel,
                    SENSOR_RAD.to_vec(),
                    vec![lower - BEYOND_RAD, upper + BEYOND_RAD],
                )
            });
        let mut calibration = Calibration::new();
        calibration.joints.insert(
            "right".to_owned(),
            JointCalibration {
                hand: self.hand.name().to_owned(),
                created: "2026-01-01T00:00:00Z".to_owned(),
                method: "known".to_owned(),
                source: "known".to_owned(),
                joint: joint.collect(),
            },
        );
        calibration
    }

    /// Writes a take as an episode of a session.
    pub fn write(&self, take: &Take, session: &Path, number: u32) {
        std::fs::create_dir_all(session).expect("a folder");
        let path = session.join(format!("episode_{number:04}.mcap"));
        let info = EpisodeInfo {
            format: FORMAT_VERSION,
            id: take.id.clone(),
            number,
            task: take.task.clone(),
            operator: "op-1".to_owned(),
            hand: self.hand.name().to_owned(),
            rig: "studio".to_owned(),
            software: "test".to_owned(),
            anchor: SessionAnchor {
                host_time_ns: 0,
                unix_time_ns: START_NS,
                uncertainty_ns: 0,
            },
        };
        let calibration = self.calibration().to_toml();
        let rig = rig().to_toml();
        let mut writer =
            EpisodeWriter::create(&path, &info, &rig, Some(&calibration)).expect("a new file");
        let mut ledger = Ledger::new();
        let mut file = File {
            writer: &mut writer,
            ledger: &mut ledger,
            take,
        };
        file.joints(&self.hand);
        file.forces();
        file.wrist();
        file.glove();
        file.images();
        let interval = (at(0.0), at(take.seconds));
        writer
            .finish(Some(interval), &ledger)
            .expect("a whole file");
    }
}

/// A wrist that reaches from place to place as people do: 0.5 to 1.2 s each, with least jerk (Flash
/// and Hogan, J. Neuroscience 5, 1985), now and then with a rest. As `.npy`, shape (n, 7): x, y, z [m],
/// quaternion x, y, z, w.
fn reaching(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let place = |dice: &mut Dice| {
        let mut around = |size: f64| dice.between(-size, size);
        let shift = [around(0.14), around(0.14), around(0.06)];
        let turn = [around(0.5), around(0.35), around(0.5)];
        (shift, turn)
    };
    let count = (WRIST_S * WRIST_HZ) as usize;
    let mut rows: Vec<f64> = Vec::new();
    let mut from = place(&mut dice);
    let pose = |shift: [f64; 3], turn: [f64; 3]| {
        let [x, y, z] = shift;
        // The palm down, the fingers away from the wearer, as the scene's own motion has it.
        let level = nalgebra::Matrix3::new(0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0);
        let level = nalgebra::Rotation3::from_matrix_unchecked(level);
        let level = nalgebra::UnitQuaternion::from_rotation_matrix(&level);
        let [roll, pitch, yaw] = turn;
        let turn = nalgebra::UnitQuaternion::from_euler_angles(roll, pitch + 0.38, yaw) * level;
        let q = turn.coords;
        [0.30 + x, y, 1.0 + z, q.x, q.y, q.z, q.w]
    };
    while rows.len() < 7 * count {
        let to = place(&mut dice);
        let steps = (dice.between(0.5, 1.2) * WRIST_HZ) as usize;
        for step in 0..steps {
            let x = step as f64 / steps as f64;
            let part = x * x * x * (10.0 + x * (6.0 * x - 15.0));
            let mix =
                |a: [f64; 3], b: [f64; 3]| std::array::from_fn(|i| a[i] + part * (b[i] - a[i]));
            rows.extend(pose(mix(from.0, to.0), mix(from.1, to.1)));
        }
        let rest = if dice.unit() < 0.5 {
            dice.between(0.1, 0.6)
        } else {
            0.0
        };
        (0..(rest * WRIST_HZ) as usize).for_each(|_| rows.extend(pose(to.0, to.1)));
        from = to;
    }
    rows.truncate(7 * count);
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({count}, 7), }}");
    header.push_str(&" ".repeat(64 - (11 + header.len()) % 64));
    header.push('\n');
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
    npy
}

fn rig() -> Rig {
    let device = |stream: &str| Device::new(stream, "studio", "none");
    let camera = |name: &&str| Device {
        camera: Some(CameraMode {
            width: SIZE.0,
            height: SIZE.1,
            fps: IMAGE_HZ,
            ..CameraMode::default()
        }),
        ..device(&format!("/camera/{name}/image"))
    };
    let tracker_from_hand = dexumi_capture::emulate::tracker_from_hand();
    Rig {
        format: 1,
        name: "studio".to_owned(),
        hand: HAND.to_owned(),
        device: [ENCODERS, TRACKER, GLOVE]
            .iter()
            .chain(&FORCES)
            .map(|stream| device(stream))
            .chain(CAMERAS.iter().map(camera))
            .collect(),
        mount: vec![Mount {
            parent: "tracker/wrist".to_owned(),
            child: "hand".to_owned(),
            translation_m: tracker_from_hand.translation.vector.into(),
            rotation_xyzw: tracker_from_hand.rotation.coords.into(),
            source: String::new(),
        }],
    }
}

fn at(t: f64) -> SessionTime {
    SessionTime::from_nanos(START_NS + (t * 1e9).round() as i64)
}

struct File<'a> {
    writer: &'a mut EpisodeWriter,
    ledger: &'a mut Ledger,
    take: &'a Take,
}

impl File<'_> {
    fn count(&mut self, stream: &str, written: usize, suspect: usize) {
        let mut ledger = StreamLedger {
            received: written as u64,
            written: written as u64,
            suspect: suspect as u64,
            ..StreamLedger::default()
        };
        for (_, lost) in self.take.lost.iter().filter(|(known, _)| *known == stream) {
            ledger.received += lost;
            ledger.lose("checksum", *lost);
        }
        self.ledger.insert(stream.to_owned(), ledger);
    }

    /// A stamp that says on the host's clock when a sample was taken.
    fn stamp<T>(sample: &Sample<T>, sequence: usize) -> Stamp {
        Stamp {
            timestamp_ns: at(sample.t).nanos(),
            host_time_ns: (sample.arrival * 1e9).round() as i64,
            sequence: sequence as u64,
            suspect: sample.suspect,
            captured_time_ns: Some((sample.t * 1e9).round() as i64),
            ..Stamp::default()
        }
    }

    fn each<T, M: dexumi_episode::schema::Record>(
        &mut self,
        topic: &str,
        samples: &[Sample<T>],
        message: impl Fn(&Sample<T>, usize) -> M,
    ) {
        if self.take.absent.contains(&topic) {
            self.count(topic, 0, 0);
            return;
        }
        let channel = self.writer.channel::<M>(topic, &[]).expect("a channel");
        for (sequence, sample) in samples.iter().enumerate() {
            let (log, publish) = (at(sample.arrival), at(sample.t));
            let message = message(sample, sequence);
            self.writer
                .write(channel, sequence as u64, log, publish, &message);
        }
        self.writer.tick().expect("a tick");
        let suspect = samples.iter().filter(|sample| sample.suspect != 0).count();
        self.count(topic, samples.len(), suspect);
    }

    fn joints(&mut self, hand: &Hand) {
        let limits = hand.limits().to_vec();
        self.each(ENCODERS, &self.take.joints, |sample, sequence| Encoders {
            stamp: Some(Self::stamp(sample, sequence)),
            counts: sample
                .value
                .iter()
                .zip(&limits)
                .map(|(angle, (lower, upper))| {
                    let span = upper - lower + 2.0 * BEYOND_RAD;
                    let share = (angle - lower + BEYOND_RAD) / span;
                    let sensor = SENSOR_RAD[0] + share * (SENSOR_RAD[1] - SENSOR_RAD[0]);
                    (sensor / std::f64::consts::TAU * f64::from(REFERENCE)).round() as i32
                })
                .collect(),
            reference: REFERENCE,
            spare: 0,
        });
    }

    fn forces(&mut self) {
        for (topic, force) in FORCES.iter().zip(&self.take.forces) {
            self.each(topic, force, |sample, sequence| Force {
                stamp: Some(Self::stamp(sample, sequence)),
                x: sample.value[0].round() as i32,
                y: sample.value[1].round() as i32,
                z: sample.value[2].round() as i32,
                taxels: Vec::new(),
            });
        }
    }

    /// The tracker has a clock of its own, 20 ppm fast and 5 s ahead, of 1 µs.
    fn wrist(&mut self) {
        let reboot = self.take.reboot;
        let device_ns = move |t: f64| {
            let since = match reboot {
                Some(reboot) if t >= reboot => t - reboot + 1.0,
                _ => t + 5.0,
            };
            (since * (1.0 + 20e-6) * 1e6).floor() as i64 * 1000
        };
        self.each("/tracker/wrist/pose", &self.take.wrist, |sample, _| {
            let (p, q) = (sample.value.0.translation, sample.value.0.rotation.coords);
            PoseInFrame {
                timestamp: Some(timestamp(at(sample.t))),
                frame_id: "world".to_owned(),
                pose: Some(Pose {
                    position: Some(Vector3 {
                        x: p.x,
                        y: p.y,
                        z: p.z,
                    }),
                    orientation: Some(Quaternion {
                        x: q.x,
                        y: q.y,
                        z: q.z,
                        w: q.w,
                    }),
                }),
            }
        });
        self.each(
            "/tracker/wrist/status",
            &self.take.wrist,
            |sample, sequence| Tracking {
                stamp: Some(Stamp {
                    device_time_ns: Some(device_ns(sample.t)),
                    captured_time_ns: None,
                    ..Self::stamp(sample, sequence)
                }),
                valid: sample.value.1,
                mean_error_m: 0.0002,
            },
        );
        self.ledger.remove("/tracker/wrist/status");
        let clock = StreamClock {
            model: ClockModel {
                tick_ns: 1000,
                min_delay_ns: 800_000,
            },
            fit: Some(ClockFit {
                device_ns: 0,
                host_ns: -5_000_000_000,
                skew_ppm: -20.0,
                bound_ns: 400_000,
                measured_delay_ns: None,
                residual_p95_ns: 900_000,
                samples: self.take.wrist.len() as u64,
                span_ns: 60_000_000_000,
                state: ClockState::Locked,
            }),
            anchors: Vec::new(),
            echoes: Vec::new(),
            jumps: u64::from(reboot.is_some()),
            gated: 0,
        };
        self.writer.clock(TRACKER, &clock).expect("metadata");
    }

    fn glove(&mut self) {
        self.each(GLOVE, &self.take.glove, |sample, sequence| Keypoints {
            stamp: Some(Self::stamp(sample, sequence)),
            points: sample.value.as_flattened().to_vec(),
            valid: true,
        });
    }

    fn images(&mut self) {
        for (name, images) in CAMERAS.iter().zip(&self.take.images) {
            let topic = format!("/camera/{name}/image");
            self.each(&topic, images, |sample, _| CompressedImage {
                timestamp: Some(timestamp(at(sample.t))),
                frame_id: format!("camera/{name}"),
                data: sample.value.to_vec().into(),
                format: "jpeg".to_owned(),
            });
            let timing = timing_topic(&topic);
            self.each(&timing, images, |sample, sequence| Timing {
                stamp: Some(Self::stamp(sample, sequence)),
                exposure_ns: None,
            });
            self.ledger.remove(&timing);
        }
    }
}
