//! A bridge at its packet, on a Unix socket or TCP: cameras, depth, inertial
//! sensors, poses and hands of one device with one clock, which it tells when
//! asked.

mod listener;

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dexumi_episode::{CameraMode, Device as Entry, HostTime, StreamKind};
use nalgebra::Vector3;

use self::listener::Listener;
use super::{
    EmulateError, Scene,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, DeviceClock, Shared},
    faults::Damage,
    mark::Mark,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::bridge::{
    packet::{self, Found, Kind, NO_STREAM, Packet, Parser},
    payload::{self, Hello, ImageHead, PoseValues, StreamHello, Take},
};

/// Variant that listens on TCP instead of a Unix socket.
pub(super) const TCP: &str = "tcp";
/// From the middle of the exposure to the packet on the socket [s].
const IMAGE_DELAY_S: f64 = 20e-3;
/// The same of everything else [s].
const DELAY_S: f64 = 2e-3;
const IMU_HZ: f64 = 200.0;
const POSE_HZ: f64 = 90.0;
const HAND_HZ: f64 = 120.0;
const EXPOSURE_US: u32 = 8_000;
/// Size of the depth images [pixel].
pub(super) const DEPTH_SIZE: (u32, u32) = (64, 48);

/// A bridge.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "bridge",
    start,
};

/// Who is connected, and which streams it wants.
#[derive(Default)]
struct Reader {
    socket: Option<File>,
    wanted: Vec<u16>,
}

/// What the threads of a bridge share.
struct Bridge {
    hello: Hello,
    /// Topics, in the order of the hello: a fault of one unplugs them all.
    topics: Vec<String>,
    clock: DeviceClock,
    reader: Mutex<Reader>,
    plugged: AtomicBool,
}

impl Bridge {
    /// End of the unplugging that a moment falls into [ns].
    fn unplugged(&self, shared: &Shared, t_ns: i64) -> Option<i64> {
        self.topics
            .iter()
            .find_map(|topic| shared.unplugged(topic, t_ns))
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to whoever wants the stream; whether somebody got it.
    fn send(&self, place: u16, bytes: &[u8]) -> bool {
        let mut reader = self.reader();
        if !reader.wanted.contains(&place) {
            return false;
        }
        let sent = reader
            .socket
            .as_mut()
            .is_some_and(|socket| socket.write_all(bytes).is_ok());
        if !sent {
            *reader = Reader::default();
        }
        sent
    }
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let first = part.streams[0].clone();
    let listener = match part.variant {
        TCP => {
            let port = assembly.port();
            Listener::tcp(([127, 0, 0, 1], port).into()).map_err(system(format!(
                "open TCP port {port} of 127.0.0.1 for a bridge"
            )))?
        }
        _ => Listener::unix(assembly.path(&first)).map_err(system("open a bridge's socket"))?,
    };
    let address = listener.address();
    // One device: the streams have its clock in common.
    let clock = assembly.device(part, &first).clock;
    let kinds: Vec<StreamKind> = part
        .streams
        .iter()
        .filter_map(|s| StreamKind::of(s))
        .collect();
    let streams = part
        .streams
        .iter()
        .zip(&kinds)
        .map(|(stream, kind)| StreamHello {
            name: stream.trim_start_matches('/').replace('/', "_"),
            kind: kind_name(kind).to_owned(),
            sequence: "device".to_owned(),
            frame: "as the scene's".to_owned(),
            ..StreamHello::default()
        });
    let bridge = Arc::new(Bridge {
        hello: Hello {
            bridge: "dexumi emulator".to_owned(),
            clock: Some("device clock, middle of the exposure".to_owned()),
            echo: true,
            streams: streams.collect(),
        },
        topics: part.streams.clone(),
        clock,
        reader: Mutex::default(),
        plugged: AtomicBool::new(true),
    });
    for (place, (stream, kind)) in part.streams.iter().zip(kinds).enumerate() {
        let options = assembly.options;
        let (rate_hz, delay_s) = match kind {
            StreamKind::Camera { .. } | StreamKind::Depth { .. } => (options.fps, IMAGE_DELAY_S),
            StreamKind::Imu { .. } => (IMU_HZ, DELAY_S),
            StreamKind::Keypoints { .. } => (HAND_HZ, DELAY_S),
            _ => (POSE_HZ, DELAY_S),
        };
        let rate_hz = part.rate_hz.unwrap_or(rate_hz);
        let camera = match &kind {
            StreamKind::Camera { name } => Some(CameraMode {
                width: options.width,
                height: options.height,
                fps: rate_hz,
                intrinsics: assembly.shared.scene.intrinsics(name),
                ..CameraMode::default()
            }),
            _ => None,
        };
        assembly.rig.device.push(Entry {
            camera,
            source: Some(bridge.hello.streams[place].name.clone()),
            ..rig::entry(part, stream, &address, delay_s, "emulator: stamp to socket")
        });
        let mut device = assembly.device(part, stream);
        device.clock = clock;
        let sensor = Sensor {
            bridge: bridge.clone(),
            place: place as u16,
            kind,
            rate_hz,
            delay_s,
            mark: options.mark,
        };
        assembly.spawn("emulate sensor", move || sensor.run(device))?;
    }
    let shared = assembly.shared.clone();
    assembly.spawn("emulate bridge", move || {
        serve(&shared, &first, listener, &bridge)
    })
}

fn kind_name(kind: &StreamKind) -> &'static str {
    match kind {
        StreamKind::Camera { .. } => "jpeg",
        StreamKind::Depth { .. } => "depth",
        StreamKind::Imu { .. } => "imu",
        StreamKind::Keypoints { .. } => "hand",
        _ => "pose",
    }
}

/// Serves one reader after the other until it is time to stop.
fn serve(shared: &Shared, stream: &str, listener: Listener, bridge: &Bridge) {
    let mut listener = Some(listener);
    while !shared.stopping() {
        if let Some(end_ns) = bridge.unplugged(shared, HostTime::now().nanos())
            && let Some(open) = listener.take()
        {
            shared.truth.event(stream, "unplug", 1);
            bridge.plugged.store(false, Ordering::Relaxed);
            *bridge.reader() = Reader::default();
            let again = open.close();
            if !shared.sleep_until(end_ns) {
                return;
            }
            match again() {
                Ok(open) => listener = Some(open),
                Err(error) => return shared.fail(stream, format!("cannot listen again: {error}")),
            }
            bridge.plugged.store(true, Ordering::Relaxed);
            shared.truth.event(stream, "plug", 1);
        }
        if let Some(socket) = listener.as_ref().and_then(Listener::accept) {
            attend(shared, socket, bridge);
        }
    }
}

/// Says hello, then follows orders until the reader leaves.
fn attend(shared: &Shared, mut socket: File, bridge: &Bridge) {
    let hello = serde_json::to_vec(&bridge.hello).expect("text is JSON");
    let hello = packet::encode(&Packet::new(Kind::Hello, NO_STREAM, hello));
    if socket.write_all(&hello).is_err() {
        return;
    }
    let (mut parser, mut buffer) = (Parser::default(), [0; 4096]);
    while !shared.stopping() && bridge.unplugged(shared, HostTime::now().nanos()).is_none() {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => parser.push(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        while let Some(found) = parser.pull() {
            let Found::Packet(order) = found else {
                continue;
            };
            match Kind::of(order.kind) {
                Some(Kind::Take) => {
                    let take = serde_json::from_slice::<Take>(&order.payload);
                    if let (Ok(take), Ok(socket)) = (take, socket.try_clone()) {
                        let facts = packet::encode(&Packet::new(
                            Kind::About,
                            NO_STREAM,
                            &br#"{"serial":"EMULATED"}"#[..],
                        ));
                        let mut reader = bridge.reader();
                        reader.wanted = take.streams;
                        let socket = reader.socket.insert(socket);
                        let _ = socket.write_all(&facts);
                    }
                }
                Some(Kind::EchoRequest) => {
                    let mut reader = bridge.reader();
                    let answer = Packet {
                        sequence: order.sequence,
                        device_ns: Some(bridge.clock.at(HostTime::now().nanos())),
                        ..Packet::new(Kind::EchoReply, NO_STREAM, Vec::new())
                    };
                    if let Some(socket) = &mut reader.socket {
                        let _ = socket.write_all(&packet::encode(&answer));
                    }
                }
                _ => {}
            }
        }
    }
    *bridge.reader() = Reader::default();
}

/// One stream of a bridge.
struct Sensor {
    bridge: Arc<Bridge>,
    place: u16,
    kind: StreamKind,
    rate_hz: f64,
    delay_s: f64,
    mark: bool,
}

impl Sensor {
    fn run(&self, mut device: Device) {
        let shared = device.shared.clone();
        let period_ns = device.clock.host_s(1.0 / self.rate_hz) * 1e9;
        let phase_ns = device.random.between(0.0, period_ns);
        for number in 0_u32.. {
            let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
            if !shared.sleep_until(t_ns) {
                return;
            }
            let (values, kind, payload) =
                match measure(&self.kind, &*shared.scene, shared.scene_s(t_ns), self.mark) {
                    Ok(measured) => measured,
                    Err(problem) => return shared.fail(&device.stream, problem),
                };
            let device_ns = device.clock.at(t_ns);
            let bytes = packet::encode(&Packet {
                device_ns: Some(device_ns),
                sequence: u64::from(number),
                exposure_us: matches!(kind, Kind::Jpeg | Kind::Depth).then_some(EXPOSURE_US),
                ..Packet::new(kind, self.place, payload)
            });
            let mut sample = device.sample(t_ns, Some(device_ns as u64), values, Vec::new());
            let draw = device.draw();
            if draw.drop {
                device.conclude(sample, Fate::Dropped);
                continue;
            }
            let (bytes, damaged) = match draw.corrupt {
                true => damage(bytes, &mut device),
                false => (bytes, None),
            };
            let due_ns = device.due(t_ns + (self.delay_s * 1e9) as i64 + draw.stall_ns);
            if !shared.sleep_until(due_ns) {
                return;
            }
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let plugged = self.bridge.plugged.load(Ordering::Relaxed);
            let fate = match (plugged && self.bridge.send(self.place, &bytes), damaged) {
                (true, Some(_)) => Fate::Corrupt,
                (true, None) => Fate::Sent,
                (false, _) => Fate::Unsent,
            };
            if fate != Fate::Unsent {
                sample.damage = damaged;
                sample.late_us = Some(late_us);
            }
            device.conclude(sample, fate);
        }
    }
}

/// What there is to measure, for the truth and as a payload.
fn measure(
    kind: &StreamKind,
    scene: &dyn Scene,
    t_s: f64,
    mark: bool,
) -> Result<(Vec<f64>, Kind, Vec<u8>), String> {
    let head = |(width, height): (u32, u32), unit_m, intrinsics: Option<[f64; 4]>| ImageHead {
        width,
        height,
        step: if unit_m > 0.0 { 2 * width } else { 0 },
        unit_m,
        intrinsics: intrinsics.map_or([f32::NAN; 4], |all| all.map(|value| value as f32)),
    };
    Ok(match kind {
        StreamKind::Camera { name } => {
            let jpeg = scene.image(name, t_s, mark.then(|| Mark::at(t_s)))?;
            let head = head((0, 0), 0.0, scene.intrinsics(name));
            (Vec::new(), Kind::Jpeg, payload::encode_image(&head, &jpeg))
        }
        StreamKind::Depth { .. } => {
            let depths = depths_mm(t_s);
            let bytes: Vec<u8> = depths
                .iter()
                .flat_map(|depth| depth.to_le_bytes())
                .collect();
            let head = head(DEPTH_SIZE, 1e-3, None);
            (
                vec![f64::from(depths[0])],
                Kind::Depth,
                payload::encode_image(&head, &bytes),
            )
        }
        StreamKind::Imu { name } => {
            let (acceleration, angular_velocity) = inertial(scene, name, t_s);
            let values = acceleration
                .iter()
                .chain(&angular_velocity)
                .copied()
                .collect();
            (
                values,
                Kind::Imu,
                payload::encode_imu(acceleration, angular_velocity),
            )
        }
        StreamKind::Keypoints { side } => {
            let points = scene.hand_keypoints_m(side, t_s);
            let values = points.iter().flatten().copied().collect();
            let sent: Vec<[f32; 3]> = points.iter().map(|p| p.map(|v| v as f32)).collect();
            (values, Kind::Hand, payload::encode_hand(&sent, &[]))
        }
        StreamKind::Tracker { name } => {
            let pose = scene.world_from_tracker(name, t_s);
            let pose = PoseValues {
                position_m: pose.translation.vector.into(),
                rotation_xyzw: pose.rotation.coords.into(),
                mean_error_m: 0.0,
            };
            let values = pose
                .position_m
                .iter()
                .chain(&pose.rotation_xyzw)
                .copied()
                .collect();
            (values, Kind::Pose, payload::encode_pose(&pose))
        }
        _ => return Err("a bridge has no such stream".to_owned()),
    })
}

/// A wall that comes and goes, further away on the right [mm].
pub(super) fn depths_mm(t_s: f64) -> Vec<u16> {
    let (width, height) = DEPTH_SIZE;
    let wall_mm = 1500.0 + 500.0 * t_s.sin();
    (0..width * height)
        .map(|pixel| (wall_mm + 3.0 * f64::from(pixel % width)).round() as u16)
        .collect()
}

/// What an inertial sensor on a tracked body feels: acceleration with gravity
/// [m/s²] and angular velocity [rad/s], in the body's axes.
pub(super) fn inertial(scene: &dyn Scene, name: &str, t_s: f64) -> ([f64; 3], [f64; 3]) {
    const STEP_S: f64 = 2e-3;
    let [before, now, after] =
        [-STEP_S, 0.0, STEP_S].map(|step_s| scene.world_from_tracker(name, t_s + step_s));
    let position = |pose: &nalgebra::Isometry3<f64>| pose.translation.vector;
    let acceleration =
        (position(&before) - 2.0 * position(&now) + position(&after)) / (STEP_S * STEP_S);
    let felt = now.rotation.inverse() * (acceleration + Vector3::new(0.0, 0.0, 9.80665));
    let turn = before.rotation.inverse() * after.rotation;
    (felt.into(), (turn.scaled_axis() / (2.0 * STEP_S)).into())
}

/// Flips bits, of the header or of the payload: a stream socket loses and adds
/// none. Both checksums together see them all.
fn damage(mut bytes: Vec<u8>, device: &mut Device) -> (Vec<u8>, Option<Damaged>) {
    // As often in the header as after it, where a short payload has few bits.
    let range = match device.random.chance(0.5) {
        true => packet::HEADER_BYTES,
        false => bytes.len(),
    };
    let bit = device.random.below(8 * range);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let damaged = Damaged {
        kind: Damage::FlippedBit,
        exposable: true,
        intact: false,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    };
    (bytes, Some(damaged))
}
