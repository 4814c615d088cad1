//! Senders of the UDP formats, 100 samples a second of each stream: any program
//! that speaks our JSON or OSC, and a Quest with Hand Tracking Streamer.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use dexumi_episode::{Device as Entry, FINGERS, HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, DeviceClock, Shared},
    faults::Damage,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::{
    Data,
    axes::Axes,
    udp::{self, Message, Packet, Payload},
};

/// Samples a second of each stream.
const RATE_HZ: f64 = 100.0;
/// From the measurement to the sending [s].
const LATENCY_S: f64 = 3e-3;
/// And up to so much more [s].
const LATENCY_JITTER_S: f64 = 0.5e-3;
/// From the stamp of sending to the network [s].
const SEND_S: f64 = 20e-6;
/// Between two streams [ns].
const BETWEEN_NS: i64 = 200_000;
/// Wake-up of the answering thread to look at the stop flag.
const ANSWER_WAIT: Duration = Duration::from_millis(50);

/// Our JSON.
pub(super) const JSON: Emulator = Emulator {
    driver: "udp_json",
    start: |assembly, part| start(assembly, part, &JSON_FORMAT),
};

/// OSC.
pub(super) const OSC: Emulator = Emulator {
    driver: "osc",
    start: |assembly, part| start(assembly, part, &OSC_FORMAT),
};

/// A Quest.
pub(super) const HTS: Emulator = Emulator {
    driver: "hts",
    start: |assembly, part| start(assembly, part, &HTS_FORMAT),
};

struct Format {
    encode: fn(&Packet) -> Vec<u8>,
    parse: fn(&[u8]) -> Result<Vec<Message>, String>,
    answer: Option<fn(&[u8], i64) -> Option<Vec<u8>>>,
    axes: Axes,
    /// Whether packets carry the time of their sending.
    stamps_sending: bool,
}

const JSON_FORMAT: Format = Format {
    encode: udp::encode_json,
    parse: udp::parse_json,
    answer: Some(udp::answer_json),
    axes: Axes::ZUp,
    stamps_sending: true,
};

const OSC_FORMAT: Format = Format {
    encode: udp::encode_osc,
    parse: udp::parse_osc,
    answer: Some(udp::answer_osc),
    stamps_sending: false,
    ..JSON_FORMAT
};

const HTS_FORMAT: Format = Format {
    encode: udp::encode_hts,
    parse: udp::parse_hts,
    answer: None,
    axes: Axes::Unity,
    stamps_sending: false,
};

fn start(
    assembly: &mut Assembly<'_>,
    part: &Part,
    format: &'static Format,
) -> Result<(), EmulateError> {
    let connect = |port: u16| {
        // The recorder listens; a port that is free now is its.
        let port = match port {
            0 => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port(),
            port => port,
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(ANSWER_WAIT))?;
        Ok::<_, std::io::Error>((Arc::new(socket), port))
    };
    let port = assembly.port();
    let (socket, port) =
        connect(port).map_err(system(format!("open a UDP socket towards port {port}")))?;
    let (delay_s, source) = match format.stamps_sending {
        true => (SEND_S, "emulator: stamp of sending to the network"),
        false => (LATENCY_S + SEND_S, "emulator: measurement to the network"),
    };
    for stream in &part.streams {
        let address = format!("127.0.0.1:{port}");
        assembly.rig.device.push(Entry {
            source: None,
            ..rig::entry(part, stream, &address, delay_s, source)
        });
    }
    let devices: Vec<Device> = part
        .streams
        .iter()
        .map(|stream| assembly.device(part, stream))
        .collect();
    if let Some(answer) = format.answer {
        let (shared, clock, socket) = (assembly.shared.clone(), devices[0].clock, socket.clone());
        assembly.spawn("emulate answers", move || {
            answer_all(&shared, clock, &socket, answer)
        })?;
    }
    let rate_hz = part.rate_hz.unwrap_or(RATE_HZ);
    assembly.spawn("emulate udp", move || {
        run(devices, &socket, format, rate_hz)
    })
}

/// Answers questions for the time until it is time to stop.
fn answer_all(
    shared: &Shared,
    clock: DeviceClock,
    socket: &UdpSocket,
    answer: fn(&[u8], i64) -> Option<Vec<u8>>,
) {
    let mut buffer = [0; 512];
    while !shared.stopping() {
        // A timeout, or the refusal of an earlier packet: nobody listens.
        let Ok(count) = socket.recv(&mut buffer) else {
            continue;
        };
        let now_ns = clock.at(HostTime::now().nanos());
        if let Some(answer) = answer(&buffer[..count], now_ns) {
            let _ = socket.send(&answer);
        }
    }
}

/// What is there to measure, in our axes, and its name; and the truth of it.
fn measure(shared: &Shared, stream: &str, t_ns: i64) -> Option<(String, Data, Vec<f64>)> {
    let t_s = shared.scene_s(t_ns);
    match StreamKind::of(stream)? {
        StreamKind::Tracker { name } => {
            let pose = shared.scene.world_from_tracker(&name, t_s);
            let (position, rotation) = (pose.translation.vector, pose.rotation.coords);
            let values = position.iter().chain(rotation.iter()).copied().collect();
            let data = Data::Pose {
                position_m: position.into(),
                rotation_xyzw: rotation.into(),
                valid: true,
                mean_error_m: 0.0,
            };
            Some((name, data, values))
        }
        StreamKind::Keypoints { side } => {
            let points_m = shared.scene.hand_keypoints_m(&side, t_s).to_vec();
            let values = points_m.iter().flatten().copied().collect();
            let data = Data::Keypoints {
                points_m,
                joints: Vec::new(),
                valid: true,
            };
            Some((side, data, values))
        }
        StreamKind::Force { side, finger } => {
            let index = FINGERS.iter().position(|&name| name == finger)?;
            let counts = shared
                .scene
                .force_counts(index, t_s)
                .map(|count| count.round() as i32);
            let data = Data::Force {
                counts,
                taxels: Vec::new(),
            };
            Some((
                format!("{side}_{finger}"),
                data,
                counts.map(f64::from).to_vec(),
            ))
        }
        _ => None,
    }
}

/// In the sender's axes.
fn foreign(axes: Axes, data: Data) -> Data {
    match data {
        Data::Pose {
            position_m,
            rotation_xyzw,
            valid,
            mean_error_m,
        } => Data::Pose {
            position_m: axes.foreign_point(position_m),
            rotation_xyzw: axes.foreign_rotation(rotation_xyzw),
            valid,
            mean_error_m,
        },
        Data::Keypoints {
            points_m,
            joints,
            valid,
        } => Data::Keypoints {
            points_m: points_m
                .into_iter()
                .map(|point| axes.foreign_point(point))
                .collect(),
            joints,
            valid,
        },
        other => other,
    }
}

/// Sends packets until it is time to stop.
fn run(mut devices: Vec<Device>, socket: &UdpSocket, format: &Format, rate_hz: f64) {
    let shared = devices[0].shared.clone();
    let clock = devices[0].clock;
    let streams: Vec<String> = devices.iter().map(|device| device.stream.clone()).collect();
    let unplugged = |t_ns: i64| streams.iter().any(|s| shared.unplugged(s, t_ns).is_some());
    // Whole microseconds, which a double of seconds holds.
    let stamp_ns = |t_ns: i64| clock.at(t_ns) / 1_000 * 1_000;
    let nanos = |s: f64| (s * 1e9) as i64;
    let period_ns = clock.host_s(1.0 / rate_hz) * 1e9;
    let phase_ns = devices[0].random.between(0.0, period_ns);
    let mut plugged = true;
    for step in 0_u32.. {
        let step_ns = shared.start_ns + (phase_ns + f64::from(step) * period_ns) as i64;
        for index in 0..devices.len() {
            let t_ns = step_ns + index as i64 * BETWEEN_NS;
            let Some((name, data, values)) = measure(&shared, &streams[index], t_ns) else {
                return shared.fail(&streams[index], "nothing to measure for it".to_owned());
            };
            let jitter_s = devices[0].random.between(0.0, LATENCY_JITTER_S);
            let sent_ns = t_ns + nanos(LATENCY_S + jitter_s);
            let time_ns = stamp_ns(t_ns);
            let packet = Packet {
                name,
                sequence: Some(u64::from(step)),
                time_ns: Some(time_ns),
                sent_ns: format.stamps_sending.then(|| stamp_ns(sent_ns)),
                payload: Payload::Data(foreign(format.axes, data)),
            };
            let mut bytes = (format.encode)(&packet);
            let mut sample = devices[index].sample(t_ns, Some(time_ns as u64), values, Vec::new());
            let draw = devices[0].draw();
            let due_ns = devices[0].due(sent_ns + nanos(SEND_S) + draw.stall_ns);
            if !shared.sleep_until(due_ns) {
                return;
            }
            if draw.drop {
                devices[index].conclude(sample, Fate::Dropped);
                continue;
            }
            let mut damaged = None;
            if draw.corrupt {
                bytes = damage(&bytes, &mut devices[0]);
                damaged = Some(Damaged {
                    kind: Damage::Truncated,
                    exposable: (format.parse)(&bytes).is_err(),
                    intact: false,
                    jump_deg: 0.0,
                    jump_counts: 0.0,
                    jump_ms: 0.0,
                });
            }
            let was_plugged = std::mem::replace(&mut plugged, !unplugged(due_ns));
            if plugged != was_plugged {
                let what = if plugged { "plug" } else { "unplug" };
                streams
                    .iter()
                    .for_each(|stream| shared.truth.event(stream, what, 1));
            }
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            // The kernel says whether somebody listens, one packet later.
            let sent = plugged && socket.send(&bytes).is_ok();
            let fate = match (sent, damaged.is_some()) {
                (true, true) => Fate::Corrupt,
                (true, false) => Fate::Sent,
                (false, _) => Fate::Unsent,
            };
            if fate != Fate::Unsent {
                sample.damage = damaged;
                sample.late_us = Some(late_us);
            }
            devices[index].conclude(sample, fate);
        }
    }
}

/// A datagram cut short by its sender: by more than a line's end, which says nothing.
fn damage(packet: &[u8], device: &mut Device) -> Vec<u8> {
    packet[..1 + device.random.below(packet.len() - 2)].to_vec()
}
