//! A board that speaks the dexumi board protocol: several channels over one port,
//! a clock of microseconds, answers to questions.

use std::{collections::VecDeque, time::Duration};

use dexumi_episode::{Device as Entry, HostTime, StreamKind};

use super::{
    EmulateError, ExoMap,
    assembly::{Assembly, Emulator, Part, system},
    board::{finger_of, replug, wire_s},
    bridge::inertial,
    device::Device,
    exo::{joint_counts, supply_counts},
    faults::{self, Damage},
    pty::{Pty, Received, Written},
    rig,
    truth::{Damaged, Fate, Sample},
};
use crate::driver::board::{
    DRIVER,
    describe::{Board, Channel, Field, Format, role},
    protocol::{Deframer, Found, Kind, Packet},
};

/// Variant behind a UART; the usual one has USB of its own.
pub(super) const UART: &str = "uart";
/// A packet's way through the board's own USB, at least [s].
const USB_S: f64 = 0.15e-3;
/// And up to so much more [s].
const USB_JITTER_S: f64 = 0.1e-3;
/// The scheduler's share of a wait, spent awake.
const AWAKE_NS: i64 = 60_000;
/// One count of the accelerometer and of the gyroscope.
const ACCELERATION_M_S2: f32 = 9.80665 / 4096.0;
const ANGULAR_VELOCITY_RAD_S: f32 = 1e-3;

/// The board.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: DRIVER.name,
    start,
};

/// One of its channels.
struct Sensor {
    /// Of the channel, from 1.
    number: u8,
    stream: String,
    kind: StreamKind,
    channel: Channel,
    next_ns: i64,
    /// Samples since the board was started, and in all.
    sequence: u16,
    total: u64,
}

/// Something on its way.
struct Queued {
    due_ns: i64,
    bytes: Vec<u8>,
    sample: Option<Sample>,
}

struct Emulated {
    device: Device,
    pty: Pty,
    map: ExoMap,
    wired: bool,
    sensors: Vec<Sensor>,
    queue: VecDeque<Queued>,
    requests: Deframer,
    pongs: u16,
    restarted: bool,
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let first = &part.streams[0];
    let link = assembly.path(first);
    let pty =
        Pty::create(&link).map_err(system(format!("make a pseudo-terminal for `{first}`")))?;
    let device = assembly.device(part, first);
    let wired = part.variant == UART;
    let mut sensors = Vec::new();
    for (number, stream) in (1..).zip(&part.streams) {
        let kind = StreamKind::of(stream).ok_or_else(|| EmulateError::Scene {
            what: format!("no stream `{stream}`"),
            expected: "encoders, forces and inertial units of a board",
        })?;
        let sensor = Sensor {
            number,
            channel: describe(&kind, part.rate_hz),
            stream: stream.clone(),
            kind,
            next_ns: device.shared.start_ns,
            sequence: 0,
            total: 0,
        };
        let line = sensor.line(0, &vec![0; sensor.channel.bytes()]);
        let (delay_s, source) = match wired {
            true => (
                (wire_s(line.len()) * 1e6).round() / 1e6,
                format!("{} bytes of 10 bits at 921600 baud", line.len()),
            ),
            false => (0.0, "the board answers questions".to_owned()),
        };
        let mut entry = Entry {
            baud: Some(921_600),
            source: Some(sensor.channel.name.clone()),
            ..rig::entry(part, stream, &link.to_string_lossy(), delay_s, &source)
        };
        if wired {
            entry.options.insert("uart".to_owned(), true.into());
        }
        assembly.rig.device.push(entry);
        sensors.push(sensor);
    }
    let board = Emulated {
        device,
        pty,
        map: ExoMap::xhand(),
        wired,
        sensors,
        queue: VecDeque::new(),
        requests: Deframer::default(),
        pongs: 0,
        restarted: false,
    };
    assembly.spawn("emulate board", move || {
        let stream = board.device.stream.clone();
        let shared = board.device.shared.clone();
        if let Err(error) = board.run() {
            shared.fail(&stream, format!("its port failed: {error}"));
        }
    })
}

fn describe(kind: &StreamKind, rate_hz: Option<f64>) -> Channel {
    let field = |role, format, count, scale, unit: &str| Field {
        role,
        format,
        count,
        turn: 0,
        scale,
        unit: unit.to_owned(),
    };
    let (name, usual_hz, fields) = match kind {
        StreamKind::Force { finger, .. } => (
            finger.clone(),
            200.0,
            vec![field(role::FORCE, Format::I16, 3, 0.01, "N")],
        ),
        StreamKind::Imu { name } => (
            name.clone(),
            200.0,
            vec![
                field(
                    role::ACCELERATION,
                    Format::I16,
                    3,
                    ACCELERATION_M_S2,
                    "m/s2",
                ),
                field(
                    role::ANGULAR_VELOCITY,
                    Format::I16,
                    3,
                    ANGULAR_VELOCITY_RAD_S,
                    "rad/s",
                ),
            ],
        ),
        _ => (
            "joints".to_owned(),
            500.0,
            vec![
                field(role::ANGLE, Format::I32, 12, 0.0, "count"),
                field(role::REFERENCE, Format::I32, 1, 0.0, "count"),
            ],
        ),
    };
    Channel {
        name,
        rate_mhz: (rate_hz.unwrap_or(usual_hz) * 1e3) as u32,
        scan_us: 0,
        fields,
    }
}

impl Sensor {
    fn period_ns(&self) -> f64 {
        1e12 / f64::from(self.channel.rate_mhz.max(1))
    }

    fn line(&self, time_us: u32, payload: &[u8]) -> Vec<u8> {
        let packet = Packet {
            kind: Kind::Sample,
            channel: self.number,
            sequence: self.sequence,
            time_us,
            payload: payload.to_vec(),
        };
        packet.encode()
    }
}

impl Emulated {
    /// Runs until it is time to stop.
    fn run(mut self) -> std::io::Result<()> {
        let shared = self.device.shared.clone();
        loop {
            let sampled = self.sensors.iter().map(|sensor| sensor.next_ns).min();
            let sent = self.queue.front().map(|queued| queued.due_ns);
            let Some(next_ns) = sampled.into_iter().chain(sent).min() else {
                return Ok(());
            };
            match replug(&mut self.device, &mut self.pty, next_ns) {
                Some(plugged_ns) if plugged_ns > next_ns => {
                    self.restart(plugged_ns);
                    continue;
                }
                Some(_) => {}
                None => return Ok(()),
            }
            if !self.restarted && next_ns >= self.device.clock.reboot_ns {
                self.restart(next_ns);
            }
            let now_ns = HostTime::now().nanos();
            let wait_ns = next_ns - AWAKE_NS - now_ns;
            if wait_ns > 0 {
                let mut bytes = Vec::new();
                let wait = Duration::from_nanos(wait_ns.min(50_000_000) as u64);
                match self.pty.receive(wait, &mut bytes)? {
                    Received::Bytes => {
                        self.answer(&bytes);
                        continue;
                    }
                    Received::Nothing if shared.stopping() => return Ok(()),
                    Received::Nothing => continue,
                    Received::Nobody => {}
                }
            }
            if !shared.sleep_until(next_ns) {
                return Ok(());
            }
            match sent.is_some_and(|due_ns| due_ns <= next_ns) {
                true => self.send()?,
                false => self.sample(),
            }
        }
    }

    /// The board has been switched on or reset at a moment.
    fn restart(&mut self, t_ns: i64) {
        self.restarted = true;
        for queued in self.queue.drain(..) {
            if let Some(sample) = queued.sample {
                self.device.conclude(sample, Fate::Unsent);
            }
        }
        for sensor in &mut self.sensors {
            sensor.sequence = 0;
            sensor.next_ns = sensor.next_ns.max(t_ns);
        }
        self.requests = Deframer::default();
        self.describe(true, t_ns);
    }

    fn time_us(&self, t_ns: i64) -> u32 {
        (self.device.clock.at(t_ns) / 1_000) as u32
    }

    /// Puts a packet that is ready at a moment on the line.
    fn push(&mut self, bytes: Vec<u8>, ready_ns: i64, sample: Option<Sample>) {
        let way_s = match self.wired {
            true => wire_s(bytes.len()),
            false => USB_S + self.device.random.between(0.0, USB_JITTER_S),
        };
        let due_ns = self.device.due(ready_ns + (way_s * 1e9) as i64);
        self.queue.push_back(Queued {
            due_ns,
            bytes,
            sample,
        });
    }

    fn describe(&mut self, started: bool, t_ns: i64) {
        let time_us = self.time_us(t_ns);
        let board = Board {
            channels: self.sensors.len() as u8,
            started,
            name: "emulated board".to_owned(),
            firmware: "1.0.0".to_owned(),
            serial: "EMULATED-1".to_owned(),
        };
        let mut packets = vec![(Kind::Board, 0, board.encode())];
        for sensor in &self.sensors {
            packets.push((Kind::Channel, sensor.number, sensor.channel.encode()));
        }
        for (kind, channel, payload) in packets {
            let packet = Packet {
                kind,
                channel,
                sequence: 0,
                time_us,
                payload,
            };
            self.push(packet.encode(), t_ns, None);
        }
    }

    /// Answers what the host asks.
    fn answer(&mut self, bytes: &[u8]) {
        let now_ns = HostTime::now().nanos();
        let mut requests = Vec::new();
        self.requests.push(bytes, |found| {
            if let Found::Packet { packet, .. } = found {
                requests.push(packet);
            }
        });
        for request in requests {
            match request.kind {
                Kind::Describe => self.describe(false, now_ns),
                Kind::Ping => {
                    let pong = Packet {
                        kind: Kind::Pong,
                        channel: 0,
                        sequence: self.pongs,
                        time_us: self.time_us(now_ns),
                        payload: request.payload,
                    };
                    self.pongs = self.pongs.wrapping_add(1);
                    self.push(pong.encode(), now_ns, None);
                }
                _ => {}
            }
        }
    }

    fn send(&mut self) -> std::io::Result<()> {
        let Some(queued) = self.queue.pop_front() else {
            return Ok(());
        };
        let late_us = (HostTime::now().nanos() - queued.due_ns) as f64 * 1e-3;
        let written = self.pty.write(&queued.bytes)?;
        if written == Written::ReaderLeft {
            let stream = &self.device.stream;
            self.device.shared.truth.event(stream, "reader_left", 1);
        }
        let Some(mut sample) = queued.sample else {
            return Ok(());
        };
        let fate = match (written, sample.damage) {
            (Written::Whole, None) => Fate::Sent,
            (Written::Whole, Some(_)) => Fate::Corrupt,
            _ => Fate::Unsent,
        };
        match fate {
            Fate::Unsent => sample.damage = None,
            _ => sample.late_us = Some(late_us),
        }
        self.device.conclude(sample, fate);
        Ok(())
    }

    /// Takes the sample that is due next.
    fn sample(&mut self) {
        let due = |index: &usize| self.sensors[*index].next_ns;
        let Some(index) = (0..self.sensors.len()).min_by_key(due) else {
            return;
        };
        let t_ns = self.sensors[index].next_ns;
        let time_us = self.time_us(t_ns);
        let (values, counts, payload) = self.measure(index, t_ns);
        let sensor = &mut self.sensors[index];
        let mut line = sensor.line(time_us, &payload);
        let mut sample = Sample {
            stream: sensor.stream.clone(),
            seq: sensor.total,
            ..self
                .device
                .sample(t_ns, Some(time_us.into()), values, counts)
        };
        sensor.sequence = sensor.sequence.wrapping_add(1);
        sensor.total += 1;
        let step_s = sensor.period_ns() * 1e-9;
        sensor.next_ns = t_ns + (self.device.clock.host_s(step_s) * 1e9) as i64;
        let draw = self.device.draw();
        if draw.drop {
            self.device.conclude(sample, Fate::Dropped);
            return;
        }
        if draw.corrupt {
            let (damaged, kind) = damage(&line, &mut self.device);
            line = damaged;
            sample.damage = Some(kind);
        }
        self.push(line, t_ns + draw.stall_ns, Some(sample));
    }

    /// What is there to measure, what the board makes of it, and how it sends it.
    fn measure(&mut self, index: usize, t_ns: i64) -> (Vec<f64>, Vec<i32>, Vec<u8>) {
        let t_s = self.device.shared.scene_s(t_ns);
        let scene = self.device.shared.scene.clone();
        let short = |counts: &[i32]| -> Vec<u8> {
            let counts = counts.iter().map(|&count| count as i16);
            counts.flat_map(i16::to_le_bytes).collect()
        };
        match &self.sensors[index].kind {
            StreamKind::Force { .. } => {
                let force = scene.force_counts(finger_of(&self.sensors[index].stream), t_s);
                let counts: Vec<i32> = force.iter().map(|&v| v.round() as i32).collect();
                let payload = short(&counts);
                (force.to_vec(), counts, payload)
            }
            StreamKind::Imu { name } => {
                let (acceleration, rotation) = inertial(&*scene, name, t_s);
                let scaled = |values: [f64; 3], scale: f32| {
                    values.map(|value| (value / f64::from(scale)).round() as i32)
                };
                let counts = [
                    scaled(acceleration, ACCELERATION_M_S2),
                    scaled(rotation, ANGULAR_VELOCITY_RAD_S),
                ]
                .concat();
                let payload = short(&counts);
                ([acceleration, rotation].concat(), counts, payload)
            }
            _ => {
                let angles = scene.joint_angles_rad(t_s);
                let supply = supply_counts(t_s);
                let mut counts: Vec<i32> = self
                    .map
                    .channel
                    .iter()
                    .zip(&angles)
                    .map(|(map, &joint_rad)| joint_counts(&mut self.device, map, joint_rad, supply))
                    .collect();
                counts.push(supply.round() as i32);
                let payload = counts
                    .iter()
                    .flat_map(|count| count.to_le_bytes())
                    .collect();
                (angles, counts, payload)
            }
        }
    }
}

/// Damages a packet, but for the delimiter that ends it: that would cost the next
/// one too. A CRC of 32 bits shows all that can happen.
fn damage(line: &[u8], device: &mut Device) -> (Vec<u8>, Damaged) {
    loop {
        let (bytes, kind) = faults::damage(line, &mut device.random);
        if bytes.last() != Some(&0) {
            continue;
        }
        let (mut intact, mut other) = (false, false);
        Deframer::default().push(&[&[0][..], &bytes].concat(), |found| {
            if let Found::Packet { packet, .. } = found {
                match packet.encode() == line {
                    true => intact = true,
                    false => other = true,
                }
            }
        });
        if !other {
            return (bytes, exposed(kind, intact));
        }
    }
}

fn exposed(kind: Damage, intact: bool) -> Damaged {
    Damaged {
        kind,
        exposable: true,
        intact,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    }
}
