//! A phone with an ARKit app that sends dexumi's packet: pose and image with
//! ARKit's time stamps, inertial sensors, answers to questions for the time.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use dexumi_episode::{CameraMode, Device as Entry, HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    bridge::inertial,
    device::{Device, DeviceClock, Shared},
    faults::Draw,
    mark::Mark,
    rig,
    truth::{Fate, Sample},
};
use crate::driver::{
    arkit::packet::{self, Datagram, Imu, ImuSample, Moment},
    axes::opengl_camera,
};

/// From the middle of the exposure to the sending of the moment [s]: ARKit's work.
const DELAY_S: f64 = 20e-3;
/// From the stamp of sending to the network [s].
const SEND_DELAY_S: f64 = 50e-6;
const IMU_HZ: f64 = 100.0;
/// Inertial samples in a datagram.
const BATCH: usize = 5;
/// An image's bytes in a datagram: small, so that emulated images have several.
const FRAGMENT_BYTES: usize = 40;
const EXPOSURE_US: u32 = 8_333;
const SESSION: u32 = 0x5E55_1011;
const WAIT: Duration = Duration::from_millis(50);
/// Every so many moments, tracking is limited.
pub(super) const LIMITED: u32 = 16;

/// A phone.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "arkit_udp",
    start,
};

struct Phone {
    socket: UdpSocket,
    clock: DeviceClock,
    topics: Vec<String>,
}

impl Phone {
    /// An unplugged network takes what is sent and delivers nothing.
    fn is_plugged(&self, shared: &Shared, t_ns: i64) -> bool {
        self.topics
            .iter()
            .all(|topic| shared.unplugged(topic, t_ns).is_none())
    }

    fn send(&self, shared: &Shared, datagram: &Datagram) -> bool {
        let plugged = self.is_plugged(shared, HostTime::now().nanos());
        plugged && self.socket.send(&packet::encode(datagram)).is_ok()
    }
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let port = assembly.port();
    // A free port is found by taking it; the recorder takes it afterwards.
    let address: SocketAddr = UdpSocket::bind(("127.0.0.1", port))
        .and_then(|socket| socket.local_addr())
        .map_err(system(format!(
            "find UDP port {port} of 127.0.0.1 for a phone"
        )))?;
    let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        socket.connect(address)?;
        socket.set_read_timeout(Some(WAIT))?;
        Ok(socket)
    });
    let socket = socket.map_err(system("open a UDP port for a phone"))?;
    let options = assembly.options;
    let fps = part.rate_hz.unwrap_or(options.fps);
    let clock = assembly.device(part, &part.streams[0]).clock;
    let phone = Arc::new(Phone {
        socket,
        clock,
        topics: part.streams.clone(),
    });
    let (mut pose, mut camera, mut imu) = (None, None, None);
    for stream in &part.streams {
        let kind = StreamKind::of(stream);
        let mode = match &kind {
            Some(StreamKind::Camera { name }) => Some(CameraMode {
                width: options.width,
                height: options.height,
                fps,
                intrinsics: assembly.shared.scene.intrinsics(name),
                ..CameraMode::default()
            }),
            _ => None,
        };
        let source = "emulator: stamp of sending to the network";
        assembly.rig.device.push(Entry {
            camera: mode,
            ..rig::entry(part, stream, &address.to_string(), SEND_DELAY_S, source)
        });
        let mut device = assembly.device(part, stream);
        device.clock = clock;
        match kind {
            Some(StreamKind::Tracker { name }) => pose = Some((device, name)),
            Some(StreamKind::Camera { name }) => camera = Some((device, name)),
            Some(StreamKind::Imu { name }) => imu = Some((device, name)),
            _ => {}
        }
    }
    let size = [options.width as u16, options.height as u16];
    let mark = options.mark;
    let (shared, answering) = (assembly.shared.clone(), phone.clone());
    assembly.spawn("emulate phone", move || answer(&shared, &answering))?;
    if let Some((device, name)) = imu {
        let phone = phone.clone();
        assembly.spawn("emulate motion", move || move_on(device, &name, &phone))?;
    }
    let shared = assembly.shared.clone();
    assembly.spawn("emulate arkit", move || {
        let arkit = Arkit {
            phone,
            fps,
            size,
            mark,
        };
        arkit.run(&shared, pose, camera);
    })
}

/// Answers questions for the time.
fn answer(shared: &Shared, phone: &Phone) {
    let mut buffer = [0; 256];
    let mut was_plugged = true;
    while !shared.stopping() {
        let plugged = phone.is_plugged(shared, HostTime::now().nanos());
        if plugged != std::mem::replace(&mut was_plugged, plugged) {
            let what = if plugged { "plug" } else { "unplug" };
            shared.truth.event(&phone.topics[0], what, 1);
        }
        // A timeout, or the refusal of an earlier datagram.
        let Ok(count) = phone.socket.recv(&mut buffer) else {
            continue;
        };
        if let Some(Datagram::EchoRequest { number }) = packet::parse(&buffer[..count]) {
            let now_ns = phone.clock.at(HostTime::now().nanos()) as u64;
            phone.send(shared, &Datagram::EchoReply { number, now_ns });
        }
    }
}

struct Arkit {
    phone: Arc<Phone>,
    fps: f64,
    size: [u16; 2],
    mark: bool,
}

impl Arkit {
    fn run(
        &self,
        shared: &Shared,
        mut pose: Option<(Device, String)>,
        mut camera: Option<(Device, String)>,
    ) {
        let clock = self.phone.clock;
        let period_ns = clock.host_s(1.0 / self.fps) * 1e9;
        let about = br#"{"model":"EMULATED","app":"dexumi emulator"}"#;
        for sequence in 0_u32.. {
            let t_ns = shared.start_ns + (f64::from(sequence) * period_ns) as i64;
            if !shared.sleep_until(t_ns) {
                return;
            }
            let t_s = shared.scene_s(t_ns);
            let timestamp_ns = clock.at(t_ns) as u64;
            let mut position_m = [0.0; 3];
            let mut rotation_xyzw = [0.0, 0.0, 0.0, 1.0];
            let mut values = Vec::new();
            if let Some((_, name)) = &pose {
                let world_from_camera = shared.scene.world_from_tracker(name, t_s);
                (position_m, rotation_xyzw) = opengl_camera(&world_from_camera);
                values.extend(world_from_camera.translation.vector.iter());
                values.extend(world_from_camera.rotation.coords.iter());
            }
            let (mut jpeg, mut intrinsics) = (Vec::new(), None);
            if let Some((device, name)) = &camera {
                match shared
                    .scene
                    .image(name, t_s, self.mark.then(|| Mark::at(t_s)))
                {
                    Ok(image) => jpeg = image,
                    Err(problem) => return shared.fail(&device.stream, problem),
                }
                intrinsics = shared.scene.intrinsics(name);
            }
            let of = |what: &mut Option<(Device, String)>, values: Vec<f64>| {
                let (device, _) = what.as_mut()?;
                let sample = device.sample(t_ns, Some(timestamp_ns), values, Vec::new());
                let draw = device.draw();
                Some((sample, draw))
            };
            let pose_sample = of(&mut pose, values);
            let image_sample = of(&mut camera, Vec::new());
            // The moment is the pose's, a fragment the image's.
            let drawn = |what: &Option<(Sample, Draw)>| what.as_ref().map(|(_, draw)| *draw);
            let (moment_draw, image_draw) = (drawn(&pose_sample), drawn(&image_sample));
            let stall_ns = moment_draw.map_or(0, |draw| draw.stall_ns);
            let sent_ns = t_ns + (DELAY_S * 1e9) as i64;
            let due_ns = sent_ns + (SEND_DELAY_S * 1e9) as i64 + stall_ns;
            if !shared.sleep_until(due_ns) {
                return;
            }
            let moment = Moment {
                session: SESSION,
                sequence,
                timestamp_ns,
                sent_ns: clock.at(sent_ns) as u64,
                position_m: position_m.map(|v| v as f32),
                rotation_xyzw: rotation_xyzw.map(|v| v as f32),
                intrinsics: intrinsics.map_or([f32::NAN; 4], |all| all.map(|v| v as f32)),
                image_size: self.size,
                exposure_us: EXPOSURE_US,
                tracking: if sequence % LIMITED == LIMITED - 1 {
                    1
                } else {
                    2
                },
                reason: 0,
                image_bytes: jpeg.len() as u32,
            };
            let lost = |draw: Option<Draw>| draw.is_some_and(|draw| draw.drop || draw.corrupt);
            let mut parts: Vec<Datagram> =
                packet::fragments(SESSION, sequence, &jpeg, FRAGMENT_BYTES).collect();
            if lost(image_draw) {
                parts.remove(parts.len() / 2);
            }
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let whole = packet::encode(&Datagram::Moment(moment));
            let plugged = self.phone.is_plugged(shared, due_ns);
            let sent = plugged
                && match moment_draw {
                    Some(draw) if draw.drop => true,
                    Some(draw) if draw.corrupt => {
                        self.phone.socket.send(&whole[..whole.len() - 1]).is_ok()
                    }
                    _ => self.phone.socket.send(&whole).is_ok(),
                };
            // Over the air, fragments do not keep their order.
            for part in parts.iter().rev() {
                self.phone.send(shared, part);
            }
            if sequence % 32 == 0 {
                self.phone.send(
                    shared,
                    &Datagram::About {
                        json: about[..].into(),
                    },
                );
            }
            let fate = |draw: Option<Draw>| match draw {
                Some(draw) if draw.drop => Fate::Dropped,
                Some(draw) if draw.corrupt => Fate::Corrupt,
                _ => Fate::Sent,
            };
            for (what, sample, mut fate) in [
                (&pose, pose_sample, fate(moment_draw)),
                (
                    &camera,
                    image_sample,
                    // Without its moment an image has no time.
                    if lost(moment_draw) {
                        fate(moment_draw)
                    } else {
                        fate(image_draw)
                    },
                ),
            ] {
                if let (Some((device, _)), Some((mut sample, _))) = (what, sample) {
                    if !sent {
                        fate = Fate::Unsent;
                    }
                    sample.late_us = (fate == Fate::Sent).then_some(late_us);
                    device.conclude(sample, fate);
                }
            }
        }
    }
}

/// Inertial samples, some in a datagram.
fn move_on(mut device: Device, name: &str, phone: &Phone) {
    let shared = device.shared.clone();
    let period_ns = device.clock.host_s(1.0 / IMU_HZ) * 1e9;
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0_u32.. {
        let t_ns = shared.start_ns + (f64::from(number) * period_ns) as i64;
        if !shared.sleep_until(t_ns) {
            return;
        }
        let (acceleration, angular_velocity) = inertial(&*shared.scene, name, shared.scene_s(t_ns));
        let timestamp_ns = device.clock.at(t_ns) as u64;
        let values = acceleration
            .iter()
            .chain(&angular_velocity)
            .copied()
            .collect();
        let sample = device.sample(t_ns, Some(timestamp_ns), values, Vec::new());
        let measured = ImuSample {
            timestamp_ns,
            acceleration: acceleration.map(|v| v as f32),
            angular_velocity: angular_velocity.map(|v| v as f32),
        };
        batch.push((sample, measured));
        if batch.len() < BATCH {
            continue;
        }
        let draw = device.draw();
        let now_ns = HostTime::now().nanos();
        let imu = Datagram::Imu(Imu {
            sequence: number + 1 - BATCH as u32,
            sent_ns: phone.clock.at(now_ns) as u64,
            samples: batch.iter().map(|(_, measured)| *measured).collect(),
        });
        if !shared.sleep_until(now_ns + (SEND_DELAY_S * 1e9) as i64 + draw.stall_ns) {
            return;
        }
        let fate = if draw.drop || draw.corrupt {
            Fate::Dropped
        } else if phone.send(&shared, &imu) {
            Fate::Sent
        } else {
            Fate::Unsent
        };
        for (sample, _) in batch.drain(..) {
            device.conclude(sample, fate);
        }
    }
}
