//! Rokoko Studio with a pair of gloves: JSON v3 over UDP, to the port that the rig
//! file names.

use std::net::UdpSocket;

use dexumi_episode::{HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::Device,
    faults::Damage,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::rokoko::{self, Actor, Live, Meta, Scene, studio_joint};

/// Variant that packs with LZ4.
pub(super) const LZ4: &str = "lz4";
/// Name of the actor.
pub(super) const ACTOR: &str = "Newton";
const RATE_HZ: f64 = 60.0;
/// From the stamp to the network [s].
const DELAY_S: f64 = 5e-3;

/// Studio.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "rokoko",
    start,
};

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let port = assembly.port();
    // A free port is found by taking it; the recorder takes it afterwards.
    let address = UdpSocket::bind(("127.0.0.1", port))
        .and_then(|socket| socket.local_addr())
        .map_err(system(format!(
            "find UDP port {port} of 127.0.0.1 for gloves"
        )))?;
    let socket = UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.connect(address).map(|()| socket))
        .map_err(system("open a UDP port for Rokoko Studio"))?;
    let mut devices = Vec::new();
    for stream in &part.streams {
        let source = "emulator: stamp to network";
        let mut entry = rig::entry(part, stream, &address.to_string(), DELAY_S, source);
        entry.source = Some(ACTOR.to_owned());
        assembly.rig.device.push(entry);
        devices.push(assembly.device(part, stream));
    }
    // One program: its hands have its clock in common.
    let clock = devices[0].clock;
    devices.iter_mut().for_each(|device| device.clock = clock);
    let studio = Studio {
        socket,
        lz4: part.variant == LZ4,
        rate_hz: part.rate_hz.unwrap_or(RATE_HZ),
    };
    assembly.spawn("emulate studio", move || studio.run(devices))
}

struct Studio {
    socket: UdpSocket,
    lz4: bool,
    rate_hz: f64,
}

impl Studio {
    fn run(&self, mut devices: Vec<Device>) {
        let shared = devices[0].shared.clone();
        let period_ns = devices[0].clock.host_s(1.0 / self.rate_hz) * 1e9;
        let phase_ns = devices[0].random.between(0.0, period_ns);
        let mut plugged = true;
        for number in 0_u32.. {
            let t_ns = shared.start_ns + (phase_ns + f64::from(number) * period_ns) as i64;
            if !shared.sleep_until(t_ns) {
                return;
            }
            // Studio counts seconds in 32-bit floating point.
            let timestamp = f64::from((devices[0].clock.at(t_ns) as f64 * 1e-9) as f32);
            let ticks = (timestamp * 1e6).round() as u64;
            let mut actor = Actor {
                name: ACTOR.to_owned(),
                meta: Meta::default(),
                body: [].into(),
            };
            let mut samples = Vec::new();
            for device in &mut devices {
                let Some(StreamKind::Keypoints { side }) = StreamKind::of(&device.stream) else {
                    continue;
                };
                match side.as_str() {
                    "left" => actor.meta.has_left_glove = true,
                    _ => actor.meta.has_right_glove = true,
                }
                let points_m = shared.scene.hand_keypoints_m(&side, shared.scene_s(t_ns));
                for (name, point_m) in rokoko::joints(&side).into_iter().zip(points_m) {
                    let joint = studio_joint(point_m, [0.0, 0.0, 0.0, 1.0]);
                    actor.body.insert(name, Some(joint));
                }
                let values = points_m.iter().flatten().copied().collect();
                samples.push(device.sample(t_ns, Some(ticks), values, Vec::new()));
            }
            let scene = Scene {
                timestamp,
                actors: vec![actor],
            };
            let mut datagram = rokoko::encode(&Live { scene }, self.lz4);
            let draw = devices[0].draw();
            let due_ns = match draw.drop {
                true => t_ns,
                false => devices[0].due(t_ns + (DELAY_S * 1e9) as i64 + draw.stall_ns),
            };
            if !shared.sleep_until(due_ns) {
                return;
            }
            let damaged = draw.corrupt.then(|| {
                // UDP's checksum keeps flipped bits from programs, not short packets.
                datagram.truncate(1 + devices[0].random.below(datagram.len() / 2));
                Damaged {
                    kind: Damage::Truncated,
                    exposable: true,
                    intact: false,
                    jump_deg: 0.0,
                    jump_counts: 0.0,
                    jump_ms: 0.0,
                }
            });
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let was_plugged = plugged;
            plugged = devices
                .iter()
                .all(|device| shared.unplugged(&device.stream, due_ns).is_none());
            if plugged != was_plugged {
                let what = if plugged { "plug" } else { "unplug" };
                shared.truth.event(&devices[0].stream, what, 1);
            }
            // Refused where nobody listens, as far as that has been told by then.
            let sent = !draw.drop && plugged && self.socket.send(&datagram).is_ok();
            let fate = match (draw.drop, sent, damaged.is_some()) {
                (true, ..) => Fate::Dropped,
                (_, true, true) => Fate::Corrupt,
                (_, true, false) => Fate::Sent,
                _ => Fate::Unsent,
            };
            for (device, mut sample) in devices.iter().zip(samples) {
                if matches!(fate, Fate::Sent | Fate::Corrupt) {
                    sample.damage = damaged;
                    sample.late_us = Some(late_us);
                }
                device.conclude(sample, fate);
            }
        }
    }
}
