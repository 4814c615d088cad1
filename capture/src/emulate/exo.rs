//! The exoskeleton's boards: encoders and fingertip forces, each free-running
//! on its own clock and on a serial port of its own.

use std::f64::consts::TAU;

use dexumi_episode::{Device as Entry, FINGERS, HostTime, StreamKind};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::Device,
    exo_map::ExoMap,
    faults::{self, Damage},
    pty::{Pty, Written},
    rig,
    truth::{Damaged, Fate, Sample},
};
use crate::driver::{xhand_encoders, xhand_force};

const BAUD: f64 = 921_600.0;
/// 3.3 V on an ADC that counts 0x7FFFFF at 5 V.
const REFERENCE_COUNTS: f64 = 3.3 / 5.0 * 8_388_607.0;
/// Noise of an encoder channel, standard deviation [deg].
const NOISE_DEG: f64 = 0.05;

/// The encoder board of an XHand exoskeleton.
pub(super) const XHAND_ENCODERS: Emulator = Emulator {
    driver: "dexumi_xhand_encoders",
    start: |assembly, part| {
        let map = assembly.exo_map.clone();
        start(assembly, part, Encoders { map })
    },
};

/// The force board of one of its fingertips.
pub(super) const XHAND_FORCE: Emulator = Emulator {
    driver: "dexumi_xhand_force",
    start: |assembly, part| {
        let finger = match StreamKind::of(&part.streams[0]) {
            Some(StreamKind::Force { finger, .. }) => FINGERS.iter().position(|&f| f == finger),
            _ => None,
        };
        start(
            assembly,
            part,
            Force {
                finger: finger.unwrap_or(0),
            },
        )
    },
};

/// A board on a pseudo-terminal of its own.
pub(super) fn start<B: Board + Send + 'static>(
    assembly: &mut Assembly<'_>,
    part: &Part,
    board: B,
) -> Result<(), EmulateError> {
    let stream = &part.streams[0];
    let link = assembly.path(stream);
    let pty =
        Pty::create(&link).map_err(system(format!("make a pseudo-terminal for `{stream}`")))?;
    let source = format!("{} bytes of 10 bits at 921600 baud", B::PACKET_BYTES);
    // In whole microseconds, for the reader of the file.
    let min_delay_s = (wire_s(B::PACKET_BYTES) * 1e6).round() / 1e6;
    let address = link.to_string_lossy();
    for stream in &part.streams {
        assembly.rig.device.push(Entry {
            baud: Some(BAUD as u32),
            ..rig::entry(part, stream, &address, min_delay_s, &source)
        });
    }
    let device = assembly.device(part, stream);
    let period_s = part.rate_hz.map_or(B::PERIOD_S, |rate_hz| 1.0 / rate_hz);
    assembly.spawn("emulate board", move || run(device, pty, board, period_s))
}

/// Time of so many bytes on the wire, 10 bits each [s].
pub(super) fn wire_s(bytes: usize) -> f64 {
    bytes as f64 * 10.0 / BAUD
}

/// A board that sends packets of one length.
pub(super) trait Board {
    const PACKET_BYTES: usize;
    const HEADER_BYTES: usize;
    /// From one sample to the next, at least [s].
    const PERIOD_S: f64;
    /// And up to so much more [s].
    const JITTER_S: f64;

    /// What is there to measure when the counter is read at `t_ns`, and the
    /// packet that the board makes of it.
    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Sample, Vec<u8>);

    /// Whether header, length, checksum and sign extension are right.
    fn passes(bytes: &[u8]) -> bool;

    /// Change from one packet to another, both passing: degrees, counts, ms.
    fn change(from: &[u8], to: &[u8]) -> (f64, f64, f64);
}

/// Runs a board until it is time to stop.
fn run<B: Board>(mut device: Device, mut pty: Pty, mut board: B, period_s: f64) {
    let shared = device.shared.clone();
    let stream = device.stream.clone();
    let mut t_ns = shared.start_ns + (device.random.between(0.0, period_s) * 1e9) as i64;
    loop {
        while let Some(end_ns) = shared.unplugged(&stream, t_ns) {
            if !shared.sleep_until(t_ns) {
                return;
            }
            pty.unplug();
            shared.truth.event(&stream, "unplug", 1);
            if !shared.sleep_until(end_ns) {
                return;
            }
            if let Err(error) = pty.plug() {
                return shared.fail(&stream, format!("no new pseudo-terminal: {error}"));
            }
            shared.truth.event(&stream, "plug", 1);
            // The port powers the board.
            device.reboot(end_ns);
            t_ns = end_ns;
        }
        let (mut sample, packet) = board.measure(&mut device, t_ns);
        let draw = device.draw();
        if draw.drop {
            if !shared.sleep_until(t_ns) {
                return;
            }
            device.conclude(sample, Fate::Dropped);
        } else {
            let due_ns = device.due(t_ns + (wire_s(B::PACKET_BYTES) * 1e9) as i64 + draw.stall_ns);
            let (bytes, damaged) = match draw.corrupt {
                true => {
                    let (bytes, damaged) = damage::<B>(&packet, &mut device);
                    (bytes, Some(damaged))
                }
                false => (packet, None),
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
                sample.damage = damaged;
                sample.late_us = Some(late_us);
            }
            device.conclude(sample, fate);
        }
        let step_s = period_s + device.random.between(0.0, B::JITTER_S);
        t_ns += (device.clock.host_s(step_s) * 1e9) as i64;
    }
}

/// Damages a packet, and finds out what a reader can know of it by doing to the
/// bytes what a reader does: the first stretch that passes is the packet.
fn damage<B: Board>(packet: &[u8], device: &mut Device) -> (Vec<u8>, Damaged) {
    loop {
        let (bytes, kind) = faults::damage(packet, &mut device.random);
        if let Some(damaged) = judge::<B>(packet, &bytes, kind) {
            return (bytes, damaged);
        }
    }
}

/// `None` where a packet would pass that takes the start of the following one,
/// whose fate is not to be decided here.
fn judge<B: Board>(packet: &[u8], bytes: &[u8], kind: Damage) -> Option<Damaged> {
    let line = [bytes, &packet[..B::HEADER_BYTES]].concat();
    let found = line
        .windows(B::PACKET_BYTES)
        .enumerate()
        .find(|(_, window)| B::passes(window));
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
        Some((at, _)) if at + B::PACKET_BYTES > bytes.len() => None,
        Some((_, window)) if window == packet => Some(Damaged {
            intact: true,
            ..nothing
        }),
        Some((_, window)) => {
            let (jump_deg, jump_counts, jump_ms) = B::change(packet, window);
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

fn tick_change_ms(from: u16, to: u16) -> f64 {
    f64::from(to.wrapping_sub(from) as i16)
}

/// Milliseconds of the board's clock, 16 bits.
fn milliseconds(device: &Device, t_ns: i64) -> u16 {
    (device.clock.at(t_ns) / 1_000_000) as u16
}

/// The encoder board.
pub(super) struct Encoders {
    pub map: ExoMap,
}

impl Board for Encoders {
    const PACKET_BYTES: usize = xhand_encoders::PACKET_BYTES;
    const HEADER_BYTES: usize = 4;
    const PERIOD_S: f64 = xhand_encoders::SCAN_S;
    const JITTER_S: f64 = 0.1e-3;

    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Sample, Vec<u8>) {
        let tick_s = device.shared.scene_s(t_ns);
        // The supply sags and recovers slowly; the sensors follow it.
        let supply = REFERENCE_COUNTS * (1.0 + 1e-3 * (TAU * tick_s / 60.0).sin());
        let offsets_s = xhand_encoders::scan_offsets_s();
        let mut angles_rad = Vec::with_capacity(12);
        let words: [i32; 14] = std::array::from_fn(|channel| {
            let noise = device.random.normal();
            let counts = match channel {
                12 => supply + 15.0 * noise,
                13 => 120.0 * noise,
                _ => {
                    let at_s = tick_s + offsets_s[channel];
                    let joint_rad = device.shared.scene.joint_angles_rad(at_s)[channel];
                    angles_rad.push(joint_rad);
                    let turns = self.map.channel[channel].sensor_rad(joint_rad) / TAU;
                    supply * (turns + NOISE_DEG / 360.0 * noise)
                }
            };
            counts.round() as i32
        });
        let ticks = milliseconds(device, t_ns);
        let packet = xhand_encoders::encode(&words, ticks).to_vec();
        (
            device.sample(t_ns, Some(ticks.into()), angles_rad, words.to_vec()),
            packet,
        )
    }

    fn passes(bytes: &[u8]) -> bool {
        xhand_encoders::decode(bytes).is_some()
    }

    fn change(from: &[u8], to: &[u8]) -> (f64, f64, f64) {
        let read = |bytes: &[u8]| xhand_encoders::decode(bytes).expect("both pass");
        let ((from, from_ticks), (to, to_ticks)) = (read(from), read(to));
        let turns =
            |words: &[i32; 14], channel: usize| f64::from(words[channel]) / f64::from(words[12]);
        let jump_deg = (0..12)
            .map(|channel| {
                let change = turns(&to, channel) - turns(&from, channel);
                // A reference of zero gives no angle at all: as wrong as can be.
                if change.is_finite() {
                    (change - change.round()).abs() * 360.0
                } else {
                    180.0
                }
            })
            .fold(0.0, f64::max);
        (jump_deg, 0.0, tick_change_ms(from_ticks, to_ticks))
    }
}

/// A fingertip's force board.
pub(super) struct Force {
    /// Thumb 0, index 1, middle 2.
    pub finger: usize,
}

impl Board for Force {
    const PACKET_BYTES: usize = xhand_force::PACKET_BYTES;
    const HEADER_BYTES: usize = 2;
    const PERIOD_S: f64 = 10e-3;
    // Its loop drifts against its millisecond counter, as the encoders' does.
    const JITTER_S: f64 = 0.2e-3;

    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Sample, Vec<u8>) {
        let force = device
            .shared
            .scene
            .force_counts(self.finger, device.shared.scene_s(t_ns));
        let [x, y, z] = force.map(|counts| (counts + 0.4 * device.random.normal()).round());
        // `as` keeps to the ends of the range, as the board does.
        let (x, y, z) = (x as i8, y as i8, z as u8);
        let ticks = milliseconds(device, t_ns);
        let counts = vec![x.into(), y.into(), z.into()];
        let packet = xhand_force::encode(x, y, z, ticks).to_vec();
        (
            device.sample(t_ns, Some(ticks.into()), force.to_vec(), counts),
            packet,
        )
    }

    fn passes(bytes: &[u8]) -> bool {
        xhand_force::decode(bytes).is_some()
    }

    fn change(from: &[u8], to: &[u8]) -> (f64, f64, f64) {
        let read = |bytes: &[u8]| xhand_force::decode(bytes).expect("both pass");
        let ((from, from_ticks), (to, to_ticks)) = (read(from), read(to));
        let jump = from
            .iter()
            .zip(&to)
            .map(|(from, to)| f64::from((to - from).abs()));
        (
            0.0,
            jump.fold(0.0, f64::max),
            tick_change_ms(from_ticks, to_ticks),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder_packet() -> Vec<u8> {
        let mut words = [2_000_000; 14];
        words[12] = 5_536_480;
        xhand_encoders::encode(&words, 100).to_vec()
    }

    #[test]
    fn a_reader_s_checks_decide_what_damage_shows() {
        let packet = encoder_packet();
        let judged =
            |bytes: &[u8]| judge::<Encoders>(&packet, bytes, Damage::FlippedBit).expect("judged");
        let flipped = |byte: usize, bit: u8| {
            let mut bytes = packet.clone();
            bytes[byte] ^= bit;
            judged(&bytes)
        };
        assert!(flipped(1, 1).exposable, "header");
        assert!(flipped(4, 1).exposable, "checksum");
        assert!(flipped(7, 1).exposable, "sign extension");
        let high = flipped(4 + 2, 1); // bit 16 of joint 0
        assert!(!high.exposable && (high.jump_deg - 65_536.0 / 5_536_480.0 * 360.0).abs() < 1e-9);
        let tick = flipped(60, 32);
        assert!(
            !tick.exposable && tick.jump_deg == 0.0 && tick.jump_ms == -32.0,
            "{tick:?}"
        );
        let short = judged(&packet[1..]);
        assert!(short.exposable && !short.intact);
        let noise = judged(&[&[1, 2, 3], &packet[..]].concat());
        assert!(noise.exposable && noise.intact);
    }

    #[test]
    fn a_packet_that_would_eat_into_the_next_one_is_not_made() {
        // The next header's 0x55 takes the place of the missing last byte, which
        // is the same.
        let packet = xhand_force::encode(0x55, 0, 0, 0);
        assert_eq!(packet[7], 0x55);
        assert_eq!(
            judge::<Force>(&packet, &packet[..7], Damage::MissingByte),
            None
        );
        // Without its first counter byte: 42 + 43 = 0x55.
        let packet = xhand_force::encode(42, 0, 0, 1);
        let short = [&packet[..5], &packet[6..]].concat();
        assert!(Force::passes(&[&short[..], &[0x55]].concat()));
        assert_eq!(judge::<Force>(&packet, &short, Damage::MissingByte), None);
    }
}
