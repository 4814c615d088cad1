//! DexUMI's XHand fingertip force board: 8-byte packets at 921600 baud.
//!
//! `55 AA`, i8 x, i8 y, u8 z, u16 little-endian millisecond counter, u8 sum of
//! the bytes between. Unitless counts. The sum lets 1 in 256 random packets pass,
//! so the counter is held against its neighbours; a force may jump for one sample
//! (a tap), so that its jump counts only together with the counter's.
//!
//! Comments in the original reader tell of a packet of 728 bytes that has three
//! blocks of 120 u16 between force and counter: 10 × 12 taxels in x, y and z, in
//! hundredths. No firmware is known that sends it; option `taxels = true` expects
//! it. (real-stanford/DexUMI, `dexumi/encoder/xhand_tactile.py`.)

use dexumi_episode::{StreamKind, schema::suspect};

use super::{
    Data, Driver,
    encoder_scan::millisecond_clock,
    gate::{circle_u16, contradiction},
    packets::{self, Packet},
    serial::{Settings, switch},
};
/// Taxels of the long packet.
pub const TAXELS: usize = 3 * 120;
/// A counter that is off its neighbours' line by more is suspect [ms]; one lost
/// packet makes 10.
const MAX_OFF_TICKS: f64 = 16.0;
/// Off by more than this [ms] it is suspect where the force jumps as well: the
/// board's rhythm is even to a millisecond or two.
const ODD_TICKS: f64 = 3.0;
/// Such a jump [counts].
const MAX_OFF_COUNTS: f64 = 30.0;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_xhand_force",
    help: "DexUMI XHand fingertip: 3-axis force on a serial port",
    feeds: "/exo/<left|right>/force/<finger>",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Force { .. })),
    clock: millisecond_clock,
    metadata: |_| vec![("unit", "counts".to_owned())],
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open: |devices| {
        let settings = Settings::of(devices, &["taxels"])?;
        match switch(devices, "taxels")? {
            Some(true) => packets::open::<Reading<TAXELS>>(devices, settings, vec![0]),
            _ => packets::open::<Reading<0>>(devices, settings, vec![0]),
        }
    },
};

/// What a fingertip felt, with so many taxels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<const COUNT: usize = 0> {
    /// Force along the sensor's x and y: −128 to 127.
    pub xy: [i8; 2],
    /// Force along its z: 0 to 255.
    pub z: u8,
    /// Single cells: all x, all y, all z; rows of 12.
    pub taxels: [u16; COUNT],
    /// The board's millisecond counter.
    pub ticks: u16,
}

impl<const COUNT: usize> Reading<COUNT> {
    /// x, y, z [counts].
    pub fn counts(&self) -> [i32; 3] {
        [self.xy[0].into(), self.xy[1].into(), self.z.into()]
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

impl<const COUNT: usize> Packet for Reading<COUNT> {
    const HEADER: &'static [u8] = &[0x55, 0xAA];
    const BYTES: usize = 8 + 2 * COUNT;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&check, body) = bytes.strip_prefix(Self::HEADER)?.split_last()?;
        if bytes.len() != Self::BYTES || sum(body) != check {
            return None;
        }
        let word = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
        Some(Self {
            xy: [body[0] as i8, body[1] as i8],
            z: body[2],
            taxels: std::array::from_fn(|taxel| word(3 + 2 * taxel)),
            ticks: word(3 + 2 * COUNT),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut packet = Self::HEADER.to_vec();
        packet.extend([self.xy[0] as u8, self.xy[1] as u8, self.z]);
        for taxel in self.taxels {
            packet.extend(taxel.to_le_bytes());
        }
        packet.extend(self.ticks.to_le_bytes());
        packet.push(sum(&packet[2..]));
        packet
    }

    fn ticks(&self) -> u64 {
        self.ticks.into()
    }

    fn judge(window: [Option<&Self>; 5], _: usize) -> u32 {
        let ticks: [_; 5] =
            std::array::from_fn(|i| window[i].map(|r| (i as f64, f64::from(r.ticks))));
        let off_ticks = contradiction(ticks, circle_u16).unwrap_or(0.0);
        let force_jumps = (0..3).any(|axis| {
            let values: [_; 5] =
                std::array::from_fn(|i| window[i].map(|r| (i as f64, f64::from(r.counts()[axis]))));
            contradiction(values, |a, b| a - b).is_some_and(|off| off > MAX_OFF_COUNTS)
        });
        let mut bits = 0;
        if off_ticks > MAX_OFF_TICKS {
            bits |= suspect::TICKS;
        }
        if force_jumps && off_ticks > ODD_TICKS {
            bits |= suspect::TICKS | suspect::FORCE;
        }
        bits
    }

    fn data(&self, _: usize) -> Data {
        Data::Force {
            counts: self.counts(),
            taxels: self.taxels.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::driver::packets::testing::{assert_all_accounted_for, items, samples};

    fn reading(x: i8, y: i8, z: u8, ticks: u16) -> Reading {
        Reading {
            xy: [x, y],
            z,
            taxels: [],
            ticks,
        }
    }

    #[test]
    fn the_golden_packet_decodes() {
        let packet = [0x55, 0xAA, 0x01, 0xFE, 0x0A, 0x34, 0x12, 0x4F];
        let expected = reading(1, -2, 10, 0x1234);
        assert_eq!(Reading::<0>::decode(&packet), Some(expected.clone()));
        assert_eq!(expected.encode(), packet);
        assert_eq!(expected.counts(), [1, -2, 10]);
    }

    #[test]
    fn the_long_packet_has_the_taxels_between_force_and_counter() {
        let mut packet = vec![0x55, 0xAA, 0x01, 0xFE, 0x0A];
        packet.extend((0..TAXELS as u16).flat_map(u16::to_le_bytes));
        packet.extend([0x34, 0x12]);
        packet.push(sum(&packet[2..]));
        assert_eq!((packet.len(), Reading::<TAXELS>::BYTES), (728, 728));
        let decoded = Reading::<TAXELS>::decode(&packet).expect("valid");
        assert_eq!((decoded.counts(), decoded.ticks), ([1, -2, 10], 0x1234));
        assert_eq!((decoded.taxels[0], decoded.taxels[359]), (0, 359));
        let samples = samples(&items::<Reading<TAXELS>>(&[packet], 1, &[0]), 0);
        assert!(matches!(&samples[0].data, Data::Force { taxels, .. } if taxels.len() == TAXELS));
    }

    fn suspects(readings: &[(u8, u16)]) -> Vec<usize> {
        let packets: Vec<_> = readings
            .iter()
            .map(|&(z, ticks)| reading(0, 0, z, ticks).encode())
            .collect();
        samples(&items::<Reading>(&packets, 10_000_000, &[0]), 0)
            .iter()
            .enumerate()
            .filter(|(_, sample)| sample.suspect != 0)
            .map(|(index, _)| index)
            .collect()
    }

    #[test]
    fn a_tap_is_no_damage_but_an_odd_counter_is() {
        let mut readings: Vec<(u8, u16)> = (0..40).map(|i| (10, 100 + 10 * i)).collect();
        readings[8].0 = 180; // a tap of one sample
        assert!(suspects(&readings).is_empty());
        readings[16].1 += 64; // a counter off by 64 ms
        readings[24] = (200, readings[24].1 + 8); // both, a little
        assert_eq!(suspects(&readings), [16, 24]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(x: i8, y: i8, z: u8, ticks: u16, taxel: u16) {
            let short = reading(x, y, z, ticks);
            prop_assert_eq!(Reading::decode(&short.encode()), Some(short));
            let long = Reading { xy: [x, y], z, taxels: [taxel; TAXELS], ticks };
            prop_assert_eq!(Reading::decode(&long.encode()), Some(long));
        }

        #[test]
        fn one_flipped_bit_never_passes(x: i8, y: i8, z: u8, ticks: u16, bit in 0_usize..64) {
            let mut packet = reading(x, y, z, ticks).encode();
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Reading::<0>::decode(&packet), None);
        }

        #[test]
        fn garbage_never_panics_and_is_all_accounted_for(
            bytes in proptest::collection::vec(prop_oneof![Just(0x55_u8), Just(0xAA), any::<u8>()], 0..1500),
            cut in 1_usize..900,
        ) {
            assert_all_accounted_for::<Reading<0>>(&bytes, cut);
            assert_all_accounted_for::<Reading<TAXELS>>(&bytes, cut);
            items::<Reading<TAXELS>>(&[bytes], 1, &[0]);
        }
    }
}
