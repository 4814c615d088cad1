//! A motion-capture server: NatNet 4.1, unicast UDP, one rigid body at 240 Hz.
//!
//! A client that sends a connection request to the command port is answered and
//! from then on sent all frames, until it is silent for 30 s.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dexumi_episode::{Device as Entry, HostTime};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::{Device, DeviceClock, Shared},
    faults::Damage,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::natnet::{
    self, CONNECT, ECHO_REQUEST, ECHO_RESPONSE, FRAME, Frame, KEEP_ALIVE, RigidBody, ServerInfo,
};

/// Streaming id of the rigid body.
const RIGID_BODY: i32 = 1;
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

/// The server.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "natnet",
    start,
};

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let stream = part.streams[0].clone();
    let port = assembly.port();
    let server = Server::bind(port).map(Arc::new).map_err(system(format!(
        "open UDP port {port} of 127.0.0.1 for the tracker"
    )))?;
    let address = server
        .address()
        .map_err(system("read the tracker's UDP port"))?
        .to_string();
    let source = "emulator: stamp of transmission to the network";
    assembly.rig.device.push(Entry {
        source: Some(RIGID_BODY.to_string()),
        ..rig::entry(part, &stream, &address, TRANSMIT_DELAY_S, source)
    });
    let device = assembly.device(part, &stream);
    let (shared, commands, clock) = (assembly.shared.clone(), server.clone(), device.clock);
    assembly.spawn("emulate command", move || {
        answer(&shared, &stream, clock, &commands)
    })?;
    let rate_hz = part.rate_hz.unwrap_or(RATE_HZ);
    assembly.spawn("emulate tracker", move || publish(device, &server, rate_hz))
}

/// One socket, for commands and data both.
struct Server {
    socket: UdpSocket,
    clients: Mutex<HashMap<SocketAddr, Instant>>,
}

impl Server {
    pub fn bind(port: u16) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(COMMAND_WAIT))?;
        Ok(Self {
            socket,
            clients: Mutex::default(),
        })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn seen(&self, client: SocketAddr, new: bool) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, last| last.elapsed() < CLIENT_TIMEOUT);
        if clients.contains_key(&client) || (new && clients.len() < MAX_CLIENTS) {
            clients.insert(client, Instant::now());
        }
    }

    fn send_to_all(&self, packet: &[u8]) -> usize {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let live = clients
            .iter()
            .filter(|(_, last)| last.elapsed() < CLIENT_TIMEOUT);
        live.filter(|(client, _)| self.socket.send_to(packet, client).is_ok())
            .count()
    }
}

/// Server ticks at a moment of CLOCK_MONOTONIC.
fn ticks(clock: &DeviceClock, t_ns: i64) -> u64 {
    (clock.at(t_ns) / TICK_NS) as u64
}

/// Answers commands until it is time to stop.
fn answer(shared: &Shared, stream: &str, clock: DeviceClock, server: &Server) {
    let Ok(address) = server.address() else {
        return;
    };
    let info = natnet::encode_server_info(&ServerInfo {
        name: "dexumi emulator".to_owned(),
        version: [1, 0, 0, 0],
        natnet: [4, 1, 0, 0],
        tick_hz: TICK_HZ,
        data_port: address.port(),
        multicast: false,
    });
    let mut buffer = [0; 2048];
    while !shared.stopping() {
        // A timeout, or the refusal of an earlier packet by its client's host.
        let Ok((length, client)) = server.socket.recv_from(&mut buffer) else {
            continue;
        };
        let now_ns = HostTime::now().nanos();
        if shared.unplugged(stream, now_ns).is_some() {
            continue;
        }
        let packet = &buffer[..length];
        let reply = match natnet::message_id(packet) {
            Some(CONNECT) => {
                server.seen(client, true);
                info.clone()
            }
            Some(KEEP_ALIVE) => {
                server.seen(client, false);
                continue;
            }
            Some(ECHO_REQUEST) if length >= 12 => {
                server.seen(client, false);
                let mut reply = Vec::with_capacity(20);
                reply.extend(ECHO_RESPONSE.to_le_bytes());
                reply.extend(16_u16.to_le_bytes());
                reply.extend(&packet[4..12]);
                reply.extend(ticks(&clock, HostTime::now().nanos()).to_le_bytes());
                reply
            }
            _ => continue,
        };
        // A client that is gone needs no answer.
        let _ = server.socket.send_to(&reply, client);
    }
}

/// Sends frames until it is time to stop.
fn publish(mut device: Device, server: &Server, rate_hz: f64) {
    let shared = device.shared.clone();
    let stream = device.stream.clone();
    let period_ns = device.clock.host_s(1.0 / rate_hz) * 1e9;
    let phase_ns = device.random.between(0.0, period_ns);
    let nanos = |s: f64| (s * 1e9) as i64;
    let mut plugged = true;
    for number in 0_u32.. {
        let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
        let world_from_wrist = shared.scene.world_from_wrist(shared.scene_s(t_ns));
        let position_m = world_from_wrist.translation.vector;
        let rotation_xyzw = world_from_wrist.rotation.coords;
        let transmit_ns = t_ns + nanos(LATENCY_S + device.random.between(0.0, LATENCY_JITTER_S));
        let mid_exposure_ticks = ticks(&device.clock, t_ns);
        let packet = natnet::encode_frame(&Frame {
            number: number as i32,
            bodies: vec![RigidBody {
                id: RIGID_BODY,
                position_m: [0, 1, 2].map(|axis| position_m[axis] as f32),
                rotation_xyzw: [0, 1, 2, 3].map(|axis| rotation_xyzw[axis] as f32),
                mean_error_m: 2e-4,
                tracked: true,
            }],
            software_time_s: device.clock.at(t_ns) as f64 * 1e-9,
            mid_exposure_ticks,
            received_ticks: ticks(&device.clock, t_ns + nanos(RECEPTION_S)),
            transmit_ticks: ticks(&device.clock, transmit_ns),
        });
        let values = position_m
            .iter()
            .chain(rotation_xyzw.iter())
            .copied()
            .collect();
        let mut sample = device.sample(t_ns, Some(mid_exposure_ticks), values, Vec::new());
        let draw = device.draw();
        let due_ns = match draw.drop {
            true => t_ns,
            false => device.due(transmit_ns + nanos(TRANSMIT_DELAY_S) + draw.stall_ns),
        };
        if !shared.sleep_until(due_ns) {
            return;
        }
        if draw.drop {
            device.conclude(sample, Fate::Dropped);
            continue;
        }
        let (packet, damaged) = match draw.corrupt {
            true => {
                let (packet, damaged) = damage(&packet, &mut device);
                (packet, Some(damaged))
            }
            false => (packet, None),
        };
        let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
        // An unplugged network takes what is sent and delivers nothing.
        let was_plugged = plugged;
        plugged = shared.unplugged(&stream, due_ns).is_none();
        if plugged != was_plugged {
            let what = if plugged { "plug" } else { "unplug" };
            shared.truth.event(&stream, what, 1);
        }
        let fate = match (
            plugged && server.send_to_all(&packet) > 0,
            damaged.is_some(),
        ) {
            (true, true) => Fate::Corrupt,
            (true, false) => Fate::Sent,
            (false, _) => Fate::Unsent,
        };
        if fate != Fate::Unsent {
            sample.damage = damaged;
            sample.late_us = Some(late_us);
        }
        device.conclude(sample, fate);
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
