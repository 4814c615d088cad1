//! The exoskeletons' boards: encoders and fingertip forces.

use std::f64::consts::TAU;

use dexumi_episode::Device as Entry;

use super::{
    assembly::Emulator,
    board::{self, Board, Measured, finger_of},
    device::Device,
    exo_map::ExoMap,
};
use crate::driver::{
    encoder_scan::Scan,
    inspire_encoders, inspire_fsr, xhand_encoders,
    xhand_force::{self, TAXELS},
};

/// 3.3 V on an ADC that counts 0x7FFFFF at 5 V.
const REFERENCE_COUNTS: f64 = 3.3 / 5.0 * 8_388_607.0;
/// Noise of an encoder channel, standard deviation [deg].
const NOISE_DEG: f64 = 0.05;
/// Noise of a force, standard deviation [counts].
const NOISE_COUNTS: f64 = 0.4;

/// The encoder board of an XHand exoskeleton.
pub(super) const XHAND_ENCODERS: Emulator = Emulator {
    driver: xhand_encoders::DRIVER.name,
    start: |assembly, part| {
        let map = assembly.exo_map.clone();
        let joints = (0..12).collect();
        let board = Encoders::<{ xhand_encoders::CHANNELS }> { joints, map };
        board::start(assembly, part, board, |_, entry| entry)
    },
};

/// The encoder board of an Inspire exoskeleton.
pub(super) const INSPIRE_ENCODERS: Emulator = Emulator {
    driver: inspire_encoders::DRIVER.name,
    start: |assembly, part| {
        let map = assembly.exo_map.clone();
        let joints = ExoMap::INSPIRE_JOINTS.to_vec();
        let board = Encoders::<{ inspire_encoders::CHANNELS }> { joints, map };
        board::start(assembly, part, board, |_, entry| entry)
    },
};

/// The force board of a fingertip of an XHand exoskeleton; variant `taxels` sends
/// the long packet.
pub(super) const XHAND_FORCE: Emulator = Emulator {
    driver: xhand_force::DRIVER.name,
    start: |assembly, part| {
        let finger = finger_of(&part.streams[0]);
        if part.variant == "taxels" {
            let with_taxels = |_, mut entry: Entry| {
                entry.options.insert("taxels".to_owned(), true.into());
                entry
            };
            return board::start(assembly, part, Force::<TAXELS> { finger }, with_taxels);
        }
        board::start(assembly, part, Force::<0> { finger }, |_, entry| entry)
    },
};

/// The force board of an Inspire exoskeleton.
pub(super) const INSPIRE_FSR: Emulator = Emulator {
    driver: inspire_fsr::DRIVER.name,
    start: |assembly, part| {
        let fingers = part.streams.iter().map(|stream| finger_of(stream));
        let board = Resistors {
            fingers: fingers.collect(),
        };
        board::start(assembly, part, board, |index, entry| Entry {
            source: Some(index.to_string()),
            ..entry
        })
    },
};

fn tick_change_ms(from: u16, to: u16) -> f64 {
    f64::from(to.wrapping_sub(from) as i16)
}

/// Milliseconds of the board's clock, 16 bits.
fn milliseconds(device: &Device, t_ns: i64) -> u16 {
    (device.clock.at(t_ns) / 1_000_000) as u16
}

/// An encoder board.
struct Encoders<const CHANNELS: usize> {
    /// Which joints of the scene its channels measure.
    joints: Vec<usize>,
    map: ExoMap,
}

impl<const CHANNELS: usize> Board for Encoders<CHANNELS> {
    type Packet = Scan<CHANNELS>;
    const PERIOD_S: f64 = Scan::<CHANNELS>::DURATION_S;
    const JITTER_S: f64 = 0.1e-3;

    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Vec<Measured>, Scan<CHANNELS>) {
        let joints = Scan::<CHANNELS>::JOINTS;
        let tick_s = device.shared.scene_s(t_ns);
        // The supply sags and recovers slowly; the sensors follow it.
        let supply = REFERENCE_COUNTS * (1.0 + 1e-3 * (TAU * tick_s / 60.0).sin());
        let offsets_s = Scan::<CHANNELS>::offsets_s();
        let mut values = Vec::with_capacity(joints);
        let words: [i32; CHANNELS] = std::array::from_fn(|channel| {
            let noise = device.random.normal();
            let counts = if channel < joints {
                let at_s = tick_s + offsets_s[channel];
                let joint_rad = device.shared.scene.joint_angles_rad(at_s)[self.joints[channel]];
                values.push(joint_rad);
                let turns = self.map.channel[channel].sensor_rad(joint_rad) / TAU;
                supply * (turns + NOISE_DEG / 360.0 * noise)
            } else if channel == joints {
                supply + 15.0 * noise
            } else {
                120.0 * noise
            };
            counts.round() as i32
        });
        let ticks = milliseconds(device, t_ns);
        let counts = words.to_vec();
        (vec![Measured { values, counts }], Scan { words, ticks })
    }

    fn change(from: &Scan<CHANNELS>, to: &Scan<CHANNELS>) -> (f64, f64, f64) {
        let joints = Scan::<CHANNELS>::JOINTS;
        let turns = |scan: &Scan<CHANNELS>, channel: usize| {
            f64::from(scan.words[channel]) / f64::from(scan.words[joints])
        };
        let jump_deg = (0..joints)
            .map(|channel| {
                let change = turns(to, channel) - turns(from, channel);
                // A reference of zero gives no angle at all: as wrong as can be.
                if change.is_finite() {
                    (change - change.round()).abs() * 360.0
                } else {
                    180.0
                }
            })
            .fold(0.0, f64::max);
        (jump_deg, 0.0, tick_change_ms(from.ticks, to.ticks))
    }
}

/// A fingertip's force board.
struct Force<const COUNT: usize> {
    finger: usize,
}

impl<const COUNT: usize> Board for Force<COUNT> {
    type Packet = xhand_force::Reading<COUNT>;
    const PERIOD_S: f64 = 10e-3;
    const JITTER_S: f64 = 0.2e-3;

    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Vec<Measured>, Self::Packet) {
        let force = device
            .shared
            .scene
            .force_counts(self.finger, device.shared.scene_s(t_ns));
        let [x, y, z] =
            force.map(|counts| (counts + NOISE_COUNTS * device.random.normal()).round());
        // `as` keeps to the ends of the range, as the board does. The pressure is
        // highest in the middle of a block of taxels.
        let taxels = std::array::from_fn(|taxel| {
            let (row, column) = (taxel % 120 / 12, taxel % 12);
            let away = (row as f64 - 4.5).powi(2) + (column as f64 - 5.5).powi(2);
            ([x, y, z][taxel / 120].abs() * 100.0 / (1.0 + away)).round() as u16
        });
        let reading = xhand_force::Reading {
            xy: [x as i8, y as i8],
            z: z as u8,
            taxels,
            ticks: milliseconds(device, t_ns),
        };
        let measured = Measured {
            values: force.to_vec(),
            counts: reading.counts().to_vec(),
        };
        (vec![measured], reading)
    }

    fn change(from: &Self::Packet, to: &Self::Packet) -> (f64, f64, f64) {
        let (before, after) = (from.counts(), to.counts());
        let jumps = before.iter().zip(after).map(|(from, to)| (to - from).abs());
        let jump = jumps.max().unwrap_or(0);
        (0.0, f64::from(jump), tick_change_ms(from.ticks, to.ticks))
    }
}

/// The board of two force-sensing resistors.
struct Resistors {
    /// Which fingers of the scene its streams measure, sensor 0 first.
    fingers: Vec<usize>,
}

impl Board for Resistors {
    type Packet = inspire_fsr::Reading;
    const PERIOD_S: f64 = 5e-3;
    const JITTER_S: f64 = 0.1e-3;

    fn measure(&mut self, device: &mut Device, t_ns: i64) -> (Vec<Measured>, Self::Packet) {
        let at_s = device.shared.scene_s(t_ns);
        let mut counts = [0; 2];
        let measured = self
            .fingers
            .iter()
            .zip(&mut counts)
            .map(|(&finger, count)| {
                // 8 bits of the scene on an ADC of 12.
                let force = device.shared.scene.force_counts(finger, at_s)[2] * 16.0;
                let read = (force + NOISE_COUNTS * device.random.normal()).round();
                *count = read.clamp(0.0, inspire_fsr::MAX_COUNTS.into()) as u16;
                Measured {
                    values: vec![0.0, 0.0, force],
                    counts: vec![0, 0, (*count).into()],
                }
            });
        let measured = measured.collect();
        let reading = inspire_fsr::Reading {
            words: std::array::from_fn(|_| (120.0 * device.random.normal()) as i32),
            counts,
            ticks: milliseconds(device, t_ns),
        };
        (measured, reading)
    }

    fn change(from: &Self::Packet, to: &Self::Packet) -> (f64, f64, f64) {
        let changes = from.counts.iter().zip(&to.counts);
        let jump = changes.map(|(from, to)| from.abs_diff(*to)).max();
        (
            0.0,
            jump.unwrap_or(0).into(),
            tick_change_ms(from.ticks, to.ticks),
        )
    }
}

#[cfg(test)]
mod tests {

    use super::{
        super::{board::judge, faults::Damage},
        *,
    };
    use crate::driver::packets::Packet;

    type XhandEncoders = Encoders<{ xhand_encoders::CHANNELS }>;

    #[test]
    fn a_reader_s_checks_decide_what_damage_shows() {
        let mut words = [2_000_000; 14];
        words[12] = 5_536_480;
        let scan = Scan { words, ticks: 100 };
        let packet = scan.encode();
        let judged = |bytes: &[u8]| {
            judge::<XhandEncoders>(&scan, bytes, Damage::FlippedBit).expect("judged")
        };
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
        let reading = |x: i8, ticks: u16| xhand_force::Reading {
            xy: [x, 0],
            z: 0,
            taxels: [],
            ticks,
        };
        let judged = |reading: &xhand_force::Reading, bytes: &[u8]| {
            judge::<Force<0>>(reading, bytes, Damage::MissingByte)
        };
        // The next header's 0x55 takes the place of the missing last byte, which
        // is the same.
        let whole = reading(0x55, 0);
        let packet = whole.encode();
        assert_eq!(packet[7], 0x55);
        assert_eq!(judged(&whole, &packet[..7]), None);
        // Without its first counter byte: 42 + 43 = 0x55.
        let whole = reading(42, 1);
        let packet = whole.encode();
        let short = [&packet[..5], &packet[6..]].concat();
        assert!(xhand_force::Reading::<0>::decode(&[&short[..], &[0x55]].concat()).is_some());
        assert_eq!(judged(&whole, &short), None);
    }
}
