//! DexUMI's Inspire force board: two force-sensing resistors, each with one axis,
//! in 60-byte packets at 921600 baud.
//!
//! Little-endian: header `AA 55 00 00`; 12 i32, ADC words that the original reader
//! ignores as well (the packets are kept whole); one u32 with sensor 0 below and
//! sensor 1 above, counts of a 12-bit ADC, each the mean of 50; one u32 with the
//! 16-bit sum of the 13 words above and a 16-bit millisecond counter below. The
//! sum does not see sensor 1, which is held against its neighbours. The firmware
//! that is published has these lines commented out; the one that sends them is
//! not. (real-stanford/DexUMI, `dexumi/encoder/fsr.py`, `embedded_system`.)

use dexumi_episode::{Device, StreamKind, schema::suspect};

use super::{
    Data, Driver,
    encoder_scan::{HEADER, millisecond_clock, sum, words},
    gate::{circle_u16, contradiction},
    packets::{self, Packet},
    serial::{Settings, cannot_open},
};
use crate::error::CaptureError;

/// ADC words in front of the forces.
pub const WORDS: usize = 12;
/// Largest count of a sensor.
pub const MAX_COUNTS: u16 = 4095;
/// A counter that is off its neighbours' line by more is suspect [ms]; one lost
/// packet makes about 5.
const MAX_OFF_TICKS: f64 = 14.0;
/// Sensor 1 off by more for a single packet is suspect [counts]: a finger stays
/// for longer than that.
const MAX_OFF_COUNTS: f64 = 400.0;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_inspire_fsr",
    help: "DexUMI Inspire force board: two one-axis forces on one serial port; source = \"0\" or \"1\"",
    feeds: "/exo/<left|right>/force/<finger>",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Force { .. })),
    clock: millisecond_clock,
    metadata: |device| {
        let sensor = device.source.clone().unwrap_or_default();
        vec![("unit", "counts".to_owned()), ("sensor", sensor)]
    },
    shares: true,
    counts_missing: false,
    keeps_packets: true,
    open: |devices| {
        let settings = Settings::of(devices, &[])?;
        packets::open::<Reading>(devices, settings, channels(devices)?)
    },
};

/// Which sensor each stream takes.
fn channels(devices: &[Device]) -> Result<Vec<usize>, CaptureError> {
    let mut channels = Vec::new();
    for device in devices {
        let expected = "expected source = \"0\" or source = \"1\"";
        let channel = match device.source.as_deref() {
            Some("0") => 0,
            Some("1") => 1,
            Some(other) => {
                return Err(cannot_open(
                    device,
                    format!("it has no sensor `{other}`"),
                    expected,
                ));
            }
            None => {
                return Err(cannot_open(
                    device,
                    "which of two sensors is not said",
                    expected,
                ));
            }
        };
        if channels.contains(&channel) {
            return Err(cannot_open(
                device,
                format!("sensor {channel} is taken by another stream"),
                expected,
            ));
        }
        channels.push(channel);
    }
    Ok(channels)
}

/// What both sensors felt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// ADC words of unknown meaning.
    pub words: [i32; WORDS],
    /// The sensors [counts].
    pub counts: [u16; 2],
    /// The board's millisecond counter.
    pub ticks: u16,
}

impl Packet for Reading {
    const HEADER: &'static [u8] = &HEADER;
    const BYTES: usize = 4 + 4 * WORDS + 4 + 4;
    const DROPS: bool = true;

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES || bytes[..4] != HEADER {
            return None;
        }
        let all: Vec<i32> = words(&bytes[4..]).collect();
        let (forces, trailer) = (all[WORDS] as u32, all[WORDS + 1] as u32);
        let counts = [forces as u16, (forces >> 16) as u16];
        let whole = sum(&all[..=WORDS]) == (trailer >> 16) as u16
            && counts.iter().all(|&count| count <= MAX_COUNTS);
        whole.then(|| Self {
            words: std::array::from_fn(|word| all[word]),
            counts,
            ticks: trailer as u16,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let forces = u32::from(self.counts[1]) << 16 | u32::from(self.counts[0]);
        let all = [&self.words[..], &[forces as i32]].concat();
        let trailer = u32::from(sum(&all)) << 16 | u32::from(self.ticks);
        let mut packet = HEADER.to_vec();
        packet.extend(all.into_iter().flat_map(i32::to_le_bytes));
        packet.extend(trailer.to_le_bytes());
        packet
    }

    fn ticks(&self) -> u64 {
        self.ticks.into()
    }

    fn judge(window: [Option<&Self>; 5], channel: usize) -> u32 {
        let of = |value: fn(&Self) -> u16| -> [_; 5] {
            std::array::from_fn(|i| window[i].map(|r| (i as f64, f64::from(value(r)))))
        };
        let mut bits = 0;
        if contradiction(of(|r| r.ticks), circle_u16).is_some_and(|off| off > MAX_OFF_TICKS) {
            bits |= suspect::TICKS;
        }
        let off = contradiction(of(|r| r.counts[1]), |a, b| a - b);
        if channel == 1 && off.is_some_and(|off| off > MAX_OFF_COUNTS) {
            bits |= suspect::FORCE;
        }
        bits
    }

    fn data(&self, channel: usize) -> Data {
        Data::Force {
            counts: [0, 0, self.counts[channel].into()],
            taxels: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::driver::packets::testing::{assert_all_accounted_for, items, losses, samples};

    const PERIOD_NS: i64 = 5_000_000;

    fn reading(counts: [u16; 2], ticks: u16) -> Reading {
        Reading {
            words: std::array::from_fn(|word| word as i32 - 6),
            counts,
            ticks,
        }
    }

    fn z(samples: &[crate::driver::Sample]) -> Vec<i32> {
        let z = samples.iter().map(|sample| match sample.data {
            Data::Force { counts, .. } => counts[2],
            _ => panic!("force"),
        });
        z.collect()
    }

    #[test]
    fn a_known_packet_has_known_bytes() {
        let reading = Reading {
            words: std::array::from_fn(|word| word as i32 + 1),
            counts: [0x0123, 0x0456],
            ticks: 0x1234,
        };
        let packet = reading.encode();
        assert_eq!((packet.len(), Reading::BYTES), (60, 60));
        assert_eq!(packet[..8], [0xAA, 0x55, 0, 0, 1, 0, 0, 0]);
        // 1 + … + 12 = 78 = 0x4E, and 0x0123; sensor 1 is not in the sum.
        assert_eq!(
            packet[52..],
            [0x23, 0x01, 0x56, 0x04, 0x34, 0x12, 0x71, 0x01]
        );
        assert_eq!(Reading::decode(&packet), Some(reading));
    }

    #[test]
    fn each_stream_has_its_own_sensor_and_the_first_the_packets() {
        let packets: Vec<_> = (0..9)
            .map(|i| reading([100 + i, 900 - i], 50 + 5 * i).encode())
            .collect();
        // The rig has sensor 1 first.
        let items = items::<Reading>(&packets, PERIOD_NS, &[1, 0]);
        let (first, second) = (samples(&items, 0), samples(&items, 1));
        assert_eq!(z(&first), (0..9).map(|i| 900 - i).collect::<Vec<_>>());
        assert_eq!(z(&second), (0..9).map(|i| 100 + i).collect::<Vec<_>>());
        assert!(
            first
                .iter()
                .zip(&packets)
                .all(|(s, p)| s.raw.as_deref() == Some(&p[..]))
        );
        assert!(second.iter().all(|sample| sample.raw.is_none()));
        let dates = |samples: &[crate::driver::Sample]| -> Vec<_> {
            samples.iter().map(|s| (s.device, s.sequence)).collect()
        };
        assert_eq!(dates(&first), dates(&second));
    }

    #[test]
    fn a_damaged_packet_is_lost_for_both_streams() {
        let mut packets: Vec<_> = (0..9)
            .map(|i| reading([100, 900], 50 + 5 * i).encode())
            .collect();
        packets[4][53] ^= 0x20; // more than 12 bits
        let items = items::<Reading>(&packets, PERIOD_NS, &[0, 1]);
        assert_eq!((losses(&items, 0), losses(&items, 1)), ((1, 60), (1, 0)));
    }

    #[test]
    fn damage_to_the_sensor_that_the_sum_cannot_see_is_suspect() {
        let mut packets: Vec<_> = (0..30)
            .map(|i| reading([100, if i < 15 { 100 } else { 3000 }], 50 + 5 * i).encode())
            .collect();
        packets[8][55] ^= 0x08; // 2048 counts of sensor 1
        packets[20][56] ^= 0x20; // 32 ms
        let items = items::<Reading>(&packets, PERIOD_NS, &[0, 1]);
        let suspects = |stream| -> Vec<_> {
            let bits = samples(&items, stream).into_iter().map(|s| s.suspect);
            bits.enumerate().filter(|(_, bits)| *bits != 0).collect()
        };
        assert_eq!(suspects(0), [(20, suspect::TICKS)]);
        assert_eq!(suspects(1), [(8, suspect::FORCE), (20, suspect::TICKS)]);
    }

    #[test]
    fn a_rig_that_does_not_say_which_sensor_is_refused() {
        let device = |source: Option<&str>| Device {
            source: source.map(str::to_owned),
            ..Device::new("/exo/right/force/thumb", DRIVER.name, "/dev/ttyX")
        };
        let refused = |devices: &[Device]| channels(devices).expect_err("refused").to_string();
        assert!(refused(&[device(None)]).contains("source = \"0\""));
        assert!(refused(&[device(Some("2"))]).contains("no sensor `2`"));
        assert!(refused(&[device(Some("1")), device(Some("1"))]).contains("taken"));
        assert_eq!(
            channels(&[device(Some("1")), device(Some("0"))]).expect("good"),
            [1, 0]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(words: [i32; WORDS], a in 0..=MAX_COUNTS, b in 0..=MAX_COUNTS, ticks: u16) {
            let reading = Reading { words, counts: [a, b], ticks };
            prop_assert_eq!(Reading::decode(&reading.encode()), Some(reading));
        }

        #[test]
        fn garbage_never_panics_and_is_all_accounted_for(
            bytes in proptest::collection::vec(prop_oneof![Just(0xAA_u8), Just(0x55), Just(0), any::<u8>()], 0..400),
            cut in 1_usize..90,
        ) {
            assert_all_accounted_for::<Reading>(&bytes, cut);
            items::<Reading>(&[bytes], 1, &[0, 1]);
        }
    }
}
