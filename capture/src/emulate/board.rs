//! A board on a serial port that sends packets of one length, free-running on its
//! own clock.

use dexumi_episode::{Device as Entry, FINGERS, HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Part, system},
    device::Device,
    faults::{self, Damage},
    pty::{Pty, Written},
    rig,
    truth::{Damaged, Fate, Sample},
};
use crate::driver::packets::Packet;

const BAUD: f64 = 921_600.0;

/// Time of so many bytes on the wire, 10 bits each [s].
pub(super) fn wire_s(bytes: usize) -> f64 {
    bytes as f64 * 10.0 / BAUD
}

/// What a board measured for one of its streams.
pub(super) struct Measured {
    /// What was there.
    pub values: Vec<f64>,
    /// What the board made of it.
    pub counts: Vec<i32>,
}

/// A board that sends packets of one length.
pub(super) trait Board {
    /// Its packets.
    type Packet: Packet;
    /// From one sample to the next, at least [s].
    const PERIOD_S: f64;
    /// And up to so much more [s]: a loop drifts against its own counter.
    const JITTER_S: f64;

    /// What is there to measure when the counter is read at `t_ns`, by stream of
    /// the part, and the packet that the board makes of it.
    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Vec<Measured>, Self::Packet);

    /// Change from one packet to another: degrees, counts, ms.
    fn change(from: &Self::Packet, to: &Self::Packet) -> (f64, f64, f64);
}

/// The finger of a stream: thumb 0, index 1, middle 2; those that the scene does
/// not have feel what the middle finger feels.
pub(super) fn finger_of(stream: &str) -> usize {
    match StreamKind::of(stream) {
        Some(StreamKind::Force { finger, .. }) => {
            let index = FINGERS.iter().position(|&known| known == finger);
            index.unwrap_or(0).min(2)
        }
        _ => 0,
    }
}

/// A board on a pseudo-terminal of its own. `finish` completes the entry of each
/// of its streams.
pub(super) fn start<B: Board + Send + 'static>(
    assembly: &mut Assembly<'_>,
    part: &Part,
    board: B,
    finish: fn(usize, Entry) -> Entry,
) -> Result<(), EmulateError> {
    let stream = &part.streams[0];
    let link = assembly.path(stream);
    let pty =
        Pty::create(&link).map_err(system(format!("make a pseudo-terminal for `{stream}`")))?;
    let source = format!("{} bytes of 10 bits at 921600 baud", B::Packet::BYTES);
    // In whole microseconds, for the reader of the file.
    let min_delay_s = (wire_s(B::Packet::BYTES) * 1e6).round() / 1e6;
    let address = link.to_string_lossy();
    for (index, stream) in part.streams.iter().enumerate() {
        let entry = Entry {
            baud: Some(BAUD as u32),
            ..rig::entry(part, stream, &address, min_delay_s, &source)
        };
        assembly.rig.device.push(finish(index, entry));
    }
    let device = assembly.device(part, stream);
    let period_s = part.rate_hz.map_or(B::PERIOD_S, |rate_hz| 1.0 / rate_hz);
    let streams = part.streams.clone();
    assembly.spawn("emulate board", move || {
        run(device, &streams, pty, board, period_s)
    })
}

/// Runs a board until it is time to stop.
fn run<B: Board>(
    mut device: Device,
    streams: &[String],
    mut pty: Pty,
    mut board: B,
    period_s: f64,
) {
    let shared = device.shared.clone();
    let stream = device.stream.clone();
    let mut t_ns = shared.start_ns + (device.random.between(0.0, period_s) * 1e9) as i64;
    loop {
        match replug(&mut device, &mut pty, t_ns) {
            Some(plugged_ns) => t_ns = plugged_ns,
            None => return,
        }
        let (measured, packet) = board.measure(&mut device, t_ns);
        let mut samples = samples(&mut device, streams, t_ns, packet.ticks(), measured);
        let draw = device.draw();
        let fate = if draw.drop {
            if !shared.sleep_until(t_ns) {
                return;
            }
            Fate::Dropped
        } else {
            let wire_ns = (wire_s(B::Packet::BYTES) * 1e9) as i64;
            let due_ns = device.due(t_ns + wire_ns + draw.stall_ns);
            let (bytes, damaged) = match draw.corrupt {
                true => {
                    let (bytes, damaged) = damage::<B>(&packet, &mut device);
                    (bytes, Some(damaged))
                }
                false => (packet.encode(), None),
            };
            if !shared.sleep_until(due_ns) {
                return;
            }
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let fate = match pty.write(&bytes) {
                Ok(Written::Whole) if damaged.is_some() => Fate::Corrupt,
                Ok(Written::Whole) => Fate::Sent,
                Ok(Written::Overrun | Written::Nobody) => Fate::Unsent,
                Ok(Written::ReaderLeft) => {
                    shared.truth.event(&stream, "reader_left", 1);
                    Fate::Unsent
                }
                Err(error) => return shared.fail(&stream, format!("cannot write: {error}")),
            };
            if fate != Fate::Unsent {
                for sample in &mut samples {
                    sample.damage = damaged;
                    sample.late_us = Some(late_us);
                }
            }
            fate
        };
        for sample in samples {
            device.conclude(sample, fate);
        }
        let step_s = period_s + device.random.between(0.0, B::JITTER_S);
        t_ns += (device.clock.host_s(step_s) * 1e9) as i64;
    }
}

/// Goes through an unplugging, where one is due at a moment; the moment at which
/// the board runs (again), or `None` when it is time to stop.
pub(super) fn replug(device: &mut Device, pty: &mut Pty, mut t_ns: i64) -> Option<i64> {
    let shared = device.shared.clone();
    let stream = device.stream.clone();
    while let Some(end_ns) = shared.unplugged(&stream, t_ns) {
        if !shared.sleep_until(t_ns) {
            return None;
        }
        pty.unplug();
        shared.truth.event(&stream, "unplug", 1);
        if !shared.sleep_until(end_ns) {
            return None;
        }
        if let Err(error) = pty.plug() {
            shared.fail(&stream, format!("no new pseudo-terminal: {error}"));
            return None;
        }
        shared.truth.event(&stream, "plug", 1);
        // The port powers the board.
        device.reboot(end_ns);
        t_ns = end_ns;
    }
    Some(t_ns)
}

/// One sample for each stream, all of one number.
fn samples(
    device: &mut Device,
    streams: &[String],
    t_ns: i64,
    ticks: u64,
    measured: Vec<Measured>,
) -> Vec<Sample> {
    let blank = device.sample(t_ns, Some(ticks), Vec::new(), Vec::new());
    let of_stream = |(stream, measured): (&String, Measured)| Sample {
        stream: stream.clone(),
        values: measured.values,
        counts: measured.counts,
        ..blank.clone()
    };
    streams.iter().zip(measured).map(of_stream).collect()
}

/// Damages a packet, and finds out what a reader can know of it by doing to the
/// bytes what a reader does: the first stretch that passes is the packet.
fn damage<B: Board>(packet: &B::Packet, device: &mut Device) -> (Vec<u8>, Damaged) {
    loop {
        let (bytes, kind) = faults::damage(&packet.encode(), &mut device.random);
        if let Some(damaged) = judge::<B>(packet, &bytes, kind) {
            return (bytes, damaged);
        }
    }
}

/// `None` where a packet would pass that takes the start of the following one,
/// whose fate is not to be decided here.
pub(super) fn judge<B: Board>(packet: &B::Packet, bytes: &[u8], kind: Damage) -> Option<Damaged> {
    let line = [bytes, B::Packet::HEADER].concat();
    let found = line
        .windows(B::Packet::BYTES)
        .enumerate()
        .find_map(|(at, window)| Some((at, window, B::Packet::decode(window)?)));
    let nothing = Damaged {
        kind,
        exposable: true,
        intact: false,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    };
    match found {
        None => Some(nothing),
        Some((at, ..)) if at + B::Packet::BYTES > bytes.len() => None,
        Some((_, window, _)) if window == packet.encode() => Some(Damaged {
            intact: true,
            ..nothing
        }),
        Some((.., passed)) => {
            let (jump_deg, jump_counts, jump_ms) = B::change(packet, &passed);
            Some(Damaged {
                exposable: false,
                jump_deg,
                jump_counts,
                jump_ms,
                ..nothing
            })
        }
    }
}
