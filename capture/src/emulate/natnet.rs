//! A motion-capture server: NatNet 3.0 to 4.1, unicast or multicast UDP, at
//! 240 Hz: rigid bodies and marker sets, in Motive's axes with y up.
//!
//! A client that sends a connection request to the command port is answered and,
//! of a unicast server, from then on sent all frames, until it is silent for 30 s.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dexumi_episode::{Device as Entry, HostTime, StreamKind};
use nalgebra::{Isometry3, Point3};
use socket2::SockRef;

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, DeviceClock, Shared},
    faults::Damage,
    rig,
    truth::{Damaged, Fate, Sample},
};
use crate::driver::{
    axes::Axes,
    natnet::{
        self, CONNECT, ECHO_REQUEST, FRAME, Frame, MODEL_REQUEST, MarkerSet, Models, RigidBody,
        ServerInfo, Version,
    },
};

/// Frames per second.
const RATE_HZ: f64 = 240.0;
/// Rate of the server's clock.
const TICK_HZ: u64 = 10_000_000;
const TICK_NS: i64 = 1_000_000_000 / TICK_HZ as i64;
/// From mid-exposure to the stamp of transmission [s]: what Motive shows for
/// rates up to 180 Hz.
const LATENCY_S: f64 = 5.56e-3;
/// And up to so much more [s], as its threads happen to run.
const LATENCY_JITTER_S: f64 = 0.3e-3;
/// From mid-exposure to reception by the software [s].
const RECEPTION_S: f64 = 4.2e-3;
/// From the stamp of transmission to the packet on the network [s].
const TRANSMIT_DELAY_S: f64 = 50e-6;
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_CLIENTS: usize = 16;
/// Wake-up of the command thread to look at the stop flag.
const COMMAND_WAIT: Duration = Duration::from_millis(50);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 42, 99);
/// A body that no stream is of stands in the room, the first of all.
const BENCH: (i32, &str) = (7, "bench");
/// Streaming id of the first stream's body.
const FIRST_ID: i32 = 11;
/// Markers of a set, in the axes of its tracker [m].
const MARKERS_M: [[f64; 3]; 4] = [
    [0.03, 0.0, 0.01],
    [-0.03, 0.01, 0.01],
    [0.0, 0.04, 0.02],
    [0.01, -0.035, 0.0],
];

/// The server. Its variants are versions, such as `3.1`, or `4.1 multicast`.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "natnet",
    start,
};

/// What a stream is of.
#[derive(Clone)]
enum Subject {
    Body { id: i32, name: String },
    Markers { name: String },
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let multicast = part.variant.contains("multicast");
    let version = match part.variant.split(' ').next() {
        Some("3.0") => (3, 0),
        Some("3.1") => (3, 1),
        Some("4.0") => (4, 0),
        _ => (4, 1),
    };
    let subjects: Vec<Subject> = (FIRST_ID..)
        .zip(&part.streams)
        .filter_map(|(id, stream)| match StreamKind::of(stream)? {
            StreamKind::Tracker { name } => Some(Subject::Body { id, name }),
            StreamKind::Markers { name } => Some(Subject::Markers { name }),
            _ => None,
        })
        .collect();
    let port = assembly.port();
    let server = Server::bind(port, version, multicast, &subjects)
        .map(Arc::new)
        .map_err(system(format!(
            "open UDP port {port} of 127.0.0.1 for the tracker"
        )))?;
    let address = server
        .socket
        .local_addr()
        .map_err(system("read the tracker's UDP port"))?
        .to_string();
    let delay = "emulator: stamp of transmission to the network";
    for (stream, subject) in part.streams.iter().zip(&subjects) {
        let (Subject::Body { name, .. } | Subject::Markers { name }) = subject;
        assembly.rig.device.push(Entry {
            source: Some(name.clone()),
            ..rig::entry(part, stream, &address, TRANSMIT_DELAY_S, delay)
        });
    }
    let devices: Vec<Device> = part
        .streams
        .iter()
        .map(|stream| assembly.device(part, stream))
        .collect();
    let (shared, commands, clock) = (assembly.shared.clone(), server.clone(), devices[0].clock);
    let streams = part.streams.clone();
    assembly.spawn("emulate command", move || {
        answer(&shared, &streams, clock, &commands)
    })?;
    let rate_hz = part.rate_hz.unwrap_or(RATE_HZ);
    assembly.spawn("emulate tracker", move || {
        publish(devices, &subjects, &server, rate_hz)
    })
}

struct Server {
    /// For commands; of a unicast server for data as well.
    socket: UdpSocket,
    /// Of a multicast server, for data.
    group: Option<UdpSocket>,
    clients: Mutex<HashMap<SocketAddr, Instant>>,
    version: Version,
    info: Vec<u8>,
    models: Vec<u8>,
}

impl Server {
    fn bind(
        port: u16,
        version: Version,
        multicast: bool,
        subjects: &[Subject],
    ) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(COMMAND_WAIT))?;
        let group = multicast
            .then(|| {
                let group = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                SockRef::from(&group).set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
                Ok::<_, std::io::Error>(group)
            })
            .transpose()?;
        let info = natnet::encode_server_info(&ServerInfo {
            name: "dexumi emulator".to_owned(),
            version: [1, 0, 0, 0],
            natnet: [version.0, version.1, 0, 0],
            tick_hz: TICK_HZ,
            data_port: group.as_ref().unwrap_or(&socket).local_addr()?.port(),
            multicast,
            group: GROUP.octets(),
        });
        let mut models = Models {
            bodies: vec![(BENCH.0, BENCH.1.to_owned())],
            ..Models::default()
        };
        for subject in subjects {
            match subject.clone() {
                Subject::Body { id, name } => models.bodies.push((id, name)),
                Subject::Markers { name } => {
                    let labels = (1..=MARKERS_M.len()).map(|number| format!("{name}_{number}"));
                    models.marker_sets.push((name.clone(), labels.collect()));
                }
            }
        }
        Ok(Self {
            socket,
            group,
            clients: Mutex::default(),
            version,
            info,
            models: natnet::encode_models(&models, version),
        })
    }

    fn seen(&self, client: SocketAddr, new: bool) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, last| last.elapsed() < CLIENT_TIMEOUT);
        if clients.contains_key(&client) || (new && clients.len() < MAX_CLIENTS) {
            clients.insert(client, Instant::now());
        }
    }

    /// Whether it was sent to anybody.
    fn send(&self, packet: &[u8]) -> bool {
        if let Some(group) = &self.group {
            let port = group.local_addr().map_or(0, |address| address.port());
            return group.send_to(packet, (GROUP, port)).is_ok();
        }
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let live = clients
            .iter()
            .filter(|(_, last)| last.elapsed() < CLIENT_TIMEOUT);
        live.filter(|(client, _)| self.socket.send_to(packet, client).is_ok())
            .count()
            > 0
    }
}

/// Server ticks at a moment of CLOCK_MONOTONIC.
fn ticks(clock: &DeviceClock, t_ns: i64) -> u64 {
    (clock.at(t_ns) / TICK_NS) as u64
}

fn is_unplugged(shared: &Shared, streams: &[String], t_ns: i64) -> bool {
    streams
        .iter()
        .any(|stream| shared.unplugged(stream, t_ns).is_some())
}

/// Answers commands until it is time to stop.
fn answer(shared: &Shared, streams: &[String], clock: DeviceClock, server: &Server) {
    let mut buffer = [0; 2048];
    while !shared.stopping() {
        // A timeout, or the refusal of an earlier packet by its client's host.
        let Ok((length, client)) = server.socket.recv_from(&mut buffer) else {
            continue;
        };
        if is_unplugged(shared, streams, HostTime::now().nanos()) {
            continue;
        }
        let packet = &buffer[..length];
        let id = natnet::message_id(packet);
        server.seen(client, id == Some(CONNECT));
        let reply = match id {
            Some(CONNECT) => server.info.clone(),
            Some(MODEL_REQUEST) => server.models.clone(),
            Some(ECHO_REQUEST) => {
                let Some(sent) = natnet::decode_echo_request(packet) else {
                    continue;
                };
                natnet::encode_echo_response(sent, ticks(&clock, HostTime::now().nanos()))
            }
            // A sign of life, or nothing that this server knows.
            _ => continue,
        };
        // A client that is gone needs no answer.
        let _ = server.socket.send_to(&reply, client);
    }
}

/// Motive's numbers of a pose of ours.
fn rigid_body(id: i32, world_from_body: &Isometry3<f64>) -> RigidBody {
    let position_m = Axes::YUp.foreign_point(world_from_body.translation.vector.into());
    let rotation_xyzw = Axes::YUp.foreign_rotation(world_from_body.rotation.coords.into());
    RigidBody {
        id,
        position_m: position_m.map(|v| v as f32),
        rotation_xyzw: rotation_xyzw.map(|v| v as f32),
        mean_error_m: 2e-4,
        tracked: true,
    }
}

/// What is there at a moment, for every stream; and the truth of it.
fn measure(shared: &Shared, subjects: &[Subject], t_ns: i64) -> (Frame, Vec<Vec<f64>>) {
    let t_s = shared.scene_s(t_ns);
    let mut frame = Frame {
        bodies: vec![rigid_body(BENCH.0, &Isometry3::translation(1.0, 2.0, 0.7))],
        ..Frame::default()
    };
    let mut truth = Vec::new();
    for subject in subjects {
        match subject {
            Subject::Body { id, name } => {
                let pose = shared.scene.world_from_tracker(name, t_s);
                let (position, rotation) = (pose.translation.vector, pose.rotation.coords);
                truth.push(position.iter().chain(rotation.iter()).copied().collect());
                frame.bodies.push(rigid_body(*id, &pose));
            }
            Subject::Markers { name } => {
                let pose = shared.scene.world_from_tracker(name, t_s);
                let points_m =
                    MARKERS_M.map(|point| <[f64; 3]>::from((pose * Point3::from(point)).coords));
                truth.push(points_m.into_iter().flatten().collect());
                frame.marker_sets.push(MarkerSet {
                    name: name.clone(),
                    points_m: points_m
                        .map(|point| Axes::YUp.foreign_point(point).map(|v| v as f32))
                        .to_vec(),
                });
            }
        }
    }
    (frame, truth)
}

/// Sends frames until it is time to stop.
fn publish(mut devices: Vec<Device>, subjects: &[Subject], server: &Server, rate_hz: f64) {
    let shared = devices[0].shared.clone();
    let clock = devices[0].clock;
    let streams: Vec<String> = devices.iter().map(|device| device.stream.clone()).collect();
    let period_ns = clock.host_s(1.0 / rate_hz) * 1e9;
    let phase_ns = devices[0].random.between(0.0, period_ns);
    let nanos = |s: f64| (s * 1e9) as i64;
    let mut plugged = true;
    for number in 0_u32.. {
        let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
        let (frame, truth) = measure(&shared, subjects, t_ns);
        let jitter_s = devices[0].random.between(0.0, LATENCY_JITTER_S);
        let transmit_ns = t_ns + nanos(LATENCY_S + jitter_s);
        let mid_exposure_ticks = ticks(&clock, t_ns);
        let frame = Frame {
            number: number as i32,
            software_time_s: clock.at(t_ns) as f64 * 1e-9,
            mid_exposure_ticks,
            received_ticks: ticks(&clock, t_ns + nanos(RECEPTION_S)),
            transmit_ticks: ticks(&clock, transmit_ns),
            ..frame
        };
        let packet = natnet::encode_frame(&frame, server.version);
        let samples: Vec<Sample> = devices
            .iter_mut()
            .zip(truth)
            .map(|(device, values)| {
                device.sample(t_ns, Some(mid_exposure_ticks), values, Vec::new())
            })
            .collect();
        let conclude = |devices: &[Device], samples: Vec<Sample>, fate| {
            for (device, sample) in devices.iter().zip(samples) {
                device.conclude(sample, fate);
            }
        };
        let draw = devices[0].draw();
        let due_ns = match draw.drop {
            true => t_ns,
            false => devices[0].due(transmit_ns + nanos(TRANSMIT_DELAY_S) + draw.stall_ns),
        };
        if !shared.sleep_until(due_ns) {
            return;
        }
        if draw.drop {
            conclude(&devices, samples, Fate::Dropped);
            continue;
        }
        let (packet, damaged) = match draw.corrupt {
            true => {
                let (packet, damaged) = damage(&packet, &mut devices[0]);
                (packet, Some(damaged))
            }
            false => (packet, None),
        };
        let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
        // An unplugged network takes what is sent and delivers nothing.
        let was_plugged = plugged;
        plugged = !is_unplugged(&shared, &streams, due_ns);
        if plugged != was_plugged {
            let what = if plugged { "plug" } else { "unplug" };
            for stream in &streams {
                shared.truth.event(stream, what, 1);
            }
        }
        let fate = match (plugged && server.send(&packet), damaged.is_some()) {
            (true, true) => Fate::Corrupt,
            (true, false) => Fate::Sent,
            (false, _) => Fate::Unsent,
        };
        let samples = samples.into_iter().map(|sample| match fate {
            Fate::Unsent => sample,
            _ => Sample {
                damage: damaged,
                late_us: Some(late_us),
                ..sample
            },
        });
        conclude(&devices, samples.collect(), fate);
    }
}

/// What can go wrong with a datagram: UDP's checksum keeps flipped bits from
/// programs, but not packets cut short by a sender or sent by someone else.
fn damage(packet: &[u8], device: &mut Device) -> (Vec<u8>, Damaged) {
    let (bytes, kind) = if device.random.chance(0.5) {
        (
            packet[..1 + device.random.below(packet.len() - 1)].to_vec(),
            Damage::Truncated,
        )
    } else {
        let mut bytes: Vec<u8> = packet.iter().map(|_| device.random.next() as u8).collect();
        // No message id is as large as this.
        bytes[1] |= 0x80;
        (bytes, Damage::Foreign)
    };
    let exposable = natnet::message_id(&bytes) != Some(FRAME);
    let damaged = Damaged {
        kind,
        exposable,
        intact: false,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    };
    (bytes, damaged)
}
