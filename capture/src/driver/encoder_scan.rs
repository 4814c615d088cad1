//! DexUMI's encoder boards: a scan over all channels, sent as it is, free-running.
//!
//! Little-endian at 921600 baud: header `AA 55 00 00`; one i32 for each channel
//! (joints, supply reference, spare), 24-bit ADC counts sign-extended; one u32
//! with the 16-bit sum of the words above and a 16-bit millisecond counter below.
//! The channels are scanned one after another, the counter is read after the
//! scan. The sum sees only the low half of each word; sign extension shows damage
//! to the top byte; bits 16 to 23 and the counter are held against their
//! neighbours. (real-stanford/DexUMI, `embedded_system/Core/Src/main.c` and
//! `dexumi/encoder/encoder.py`.)

use dexumi_episode::{ClockModel, Device, StreamKind, schema::suspect};

use super::{
    Data,
    gate::{circle_deg, circle_u16, contradiction},
    min_delay_ns,
    packets::Packet,
};

/// Header of DexUMI's own firmware.
pub(super) const HEADER: [u8; 4] = [0xAA, 0x55, 0x00, 0x00];
/// Time for each channel [s]: settling and SPI transfer, 5.5 ms for 14.
const CHANNEL_S: f64 = 5.5e-3 / 14.0;

/// A joint that is off its neighbours' line by more is suspect [deg]. Damage to
/// bit 17 of a word is a jump of 8°, fast finger motion (500 rad/s²) is off the
/// line by 0.5° over one scan.
const MAX_OFF_DEG: f64 = 3.5;
/// A reference that is off by more of itself is suspect.
const MAX_OFF_REFERENCE: f64 = 0.008;
/// A counter that is off by more scans is suspect; one lost packet makes one.
const MAX_OFF_SCANS: f64 = 2.55;

/// One scan: joints, then the supply reference, then a spare channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan<const CHANNELS: usize> {
    /// ADC counts, 24 bits with sign.
    pub words: [i32; CHANNELS],
    /// The board's millisecond counter after the scan.
    pub ticks: u16,
}

impl<const CHANNELS: usize> Scan<CHANNELS> {
    /// Joint channels; the reference is the one after them.
    pub const JOINTS: usize = CHANNELS - 2;
    /// Duration of a scan [s].
    pub const DURATION_S: f64 = CHANNEL_S * CHANNELS as f64;

    /// When each channel is sampled, relative to the reading of the counter [s].
    pub fn offsets_s() -> [f64; CHANNELS] {
        std::array::from_fn(|channel| CHANNEL_S * (channel as f64 + 0.5 - CHANNELS as f64))
    }

    fn angle_deg(&self, joint: usize) -> f64 {
        f64::from(self.words[joint]) / f64::from(self.words[Self::JOINTS].max(1)) * 360.0
    }
}

/// The low 16 bits of the sum of words.
pub(super) fn sum(words: &[i32]) -> u16 {
    let low = words.iter().map(|&word| word as u16);
    low.fold(0, u16::wrapping_add)
}

/// The 32-bit words of a packet.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes
        .chunks_exact(4)
        .map(|word| i32::from_le_bytes(word.try_into().expect("four bytes")))
}

impl<const CHANNELS: usize> Packet for Scan<CHANNELS> {
    const HEADER: &'static [u8] = &HEADER;
    const BYTES: usize = HEADER.len() + 4 * CHANNELS + 4;

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES || bytes[..4] != HEADER {
            return None;
        }
        let mut all = words(&bytes[4..]);
        let words: [i32; CHANNELS] = std::array::from_fn(|_| all.next().expect("length checked"));
        let trailer = all.next().expect("length checked") as u32;
        let extended = words
            .iter()
            .all(|word| (-(1 << 23)..1 << 23).contains(word));
        (extended && sum(&words) == (trailer >> 16) as u16).then_some(Self {
            words,
            ticks: trailer as u16,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut packet = HEADER.to_vec();
        for word in self.words {
            packet.extend(word.to_le_bytes());
        }
        let trailer = u32::from(sum(&self.words)) << 16 | u32::from(self.ticks);
        packet.extend(trailer.to_le_bytes());
        packet
    }

    fn ticks(&self) -> u64 {
        self.ticks.into()
    }

    fn judge(window: [Option<&Self>; 5], _: usize) -> u32 {
        let period_ms = Self::DURATION_S * 1e3;
        let mut bits = 0;
        let by_index: [_; 5] =
            std::array::from_fn(|i| window[i].map(|scan| (i as f64, f64::from(scan.ticks))));
        if contradiction(by_index, circle_u16).is_some_and(|off| off > MAX_OFF_SCANS * period_ms) {
            bits |= suspect::TICKS;
        }
        // Times by the board's counter around the judged scan; a wrong counter
        // spoils only the predictions that it takes part in.
        let ticks_are_good = bits == 0;
        let base = window[2].map_or(0, |scan| scan.ticks);
        let time = |i: usize, scan: &Self| {
            if ticks_are_good {
                circle_u16(f64::from(scan.ticks), f64::from(base))
            } else {
                period_ms * i as f64
            }
        };
        for joint in 0..Self::JOINTS {
            let values: [_; 5] = std::array::from_fn(|i| {
                window[i].map(|scan| (time(i, scan), scan.angle_deg(joint)))
            });
            if contradiction(values, circle_deg).is_some_and(|off| off > MAX_OFF_DEG) {
                bits |= suspect::CHANNEL;
            }
        }
        let reference = |scan: &Self| f64::from(scan.words[Self::JOINTS].max(1));
        let own = window[2].map_or(1.0, reference);
        let values: [_; 5] =
            std::array::from_fn(|i| window[i].map(|scan| (time(i, scan), reference(scan) / own)));
        if contradiction(values, |a, b| a - b).is_some_and(|off| off > MAX_OFF_REFERENCE) {
            bits |= suspect::REFERENCE;
        }
        bits
    }

    fn data(&self, _: usize) -> Data {
        Data::Encoders {
            counts: self.words[..Self::JOINTS].to_vec(),
            reference: self.words[Self::JOINTS],
            spare: self.words[Self::JOINTS + 1],
        }
    }
}

/// Whether a topic is of encoders.
pub(super) fn can_feed(topic: &str) -> bool {
    matches!(StreamKind::of(topic), Some(StreamKind::Encoders { .. }))
}

/// A counter of milliseconds.
pub(super) fn millisecond_clock(device: &Device) -> Option<ClockModel> {
    Some(ClockModel {
        tick_ns: 1_000_000,
        min_delay_ns: min_delay_ns(device),
    })
}

/// What the file says of the channels.
pub(super) fn metadata<const CHANNELS: usize>() -> Vec<(&'static str, String)> {
    let offsets: Vec<_> = Scan::<CHANNELS>::offsets_s()[..Scan::<CHANNELS>::JOINTS]
        .iter()
        .map(|s| format!("{s:.6}"))
        .collect();
    let counts_per_volt = f64::from(0x7F_FFFF) / 5.0;
    vec![
        ("scan_offsets_s", offsets.join(",")),
        ("counts_per_volt", format!("{counts_per_volt:.3}")),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::packets::testing::{assert_all_accounted_for, items, losses, samples},
        *,
    };
    use crate::driver::Sample;

    const PERIOD_NS: i64 = 5_500_000;

    fn still(angle: i32) -> [i32; 14] {
        let mut words = [angle; 14];
        words[12] = 5_536_481;
        words
    }

    fn packet(words: [i32; 14], ticks: u16) -> Vec<u8> {
        Scan { words, ticks }.encode()
    }

    fn decoded(packets: &[Vec<u8>]) -> Vec<Sample> {
        samples(&items::<Scan<14>>(packets, PERIOD_NS, &[0]), 0)
    }

    #[test]
    fn negative_words_are_sign_extended() {
        let mut broken = packet([-5; 14], 7);
        assert_eq!(Scan::decode(&broken).expect("valid").words, [-5; 14]);
        broken[7] = 0x7F;
        assert_eq!(Scan::<14>::decode(&broken), None);
    }

    #[test]
    fn a_header_inside_the_payload_does_not_confuse_the_search() {
        let mut words = still(1_000_000);
        words[3] = 0x0000_55AA;
        let packets: Vec<_> = (0..8).map(|i| packet(words, 10 + 5 * i)).collect();
        assert_eq!(decoded(&packets).len(), 8);
    }

    #[test]
    fn damaged_packets_are_counted_one_by_one() {
        let mut packets: Vec<_> = (0..20)
            .map(|i| packet(still(2_000_000), 100 + 5 * i))
            .collect();
        packets[4][0] ^= 0x10; // header
        packets[7][9] ^= 0x01; // checksum
        packets[10].remove(30); // length
        packets[13].insert(20, 0xFF); // length
        packets[16].splice(0..0, [0xDE; 30]); // noise before a good packet
        let items = items::<Scan<14>>(&packets, PERIOD_NS, &[0]);
        assert_eq!(losses(&items, 0).0, 4);
        assert_eq!(samples(&items, 0).len(), 16);
    }

    #[test]
    fn damage_that_the_checksum_cannot_see_is_suspect() {
        let mut packets: Vec<_> = (0..40_i32)
            .map(|i| packet(still(2_000_000 + 3_000 * i), 100 + 5 * i as u16))
            .collect();
        packets[10][4 + 4 * 2 + 2] ^= 0x02; // bit 17 of joint 2
        packets[20][60] ^= 0x20; // 32 ms
        packets[30][4 + 4 * 12 + 2] ^= 0x04; // bit 18 of the reference
        let samples = decoded(&packets);
        assert_eq!(samples.len(), 40);
        let suspects: Vec<_> = samples
            .iter()
            .enumerate()
            .filter(|(_, s)| s.suspect != 0)
            .map(|(i, _)| i)
            .collect();
        assert_eq!(suspects, [10, 20, 30]);
        assert_eq!(samples[10].suspect, suspect::CHANNEL);
        assert_eq!(samples[20].suspect, suspect::TICKS);
        assert!(samples[30].suspect & suspect::REFERENCE != 0);
        // The counter that jumped did not shift the clock of those after it.
        assert_eq!(
            (samples[21].device.expect("clock") - samples[19].device.expect("clock")).nanos(),
            10_000_000
        );
    }

    #[test]
    fn channels_are_sampled_one_after_another_before_the_counter_is_read() {
        let offsets = Scan::<14>::offsets_s();
        assert!((offsets[0] + Scan::<14>::DURATION_S).abs() < CHANNEL_S);
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]) && offsets[13] < 0.0);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(words in proptest::array::uniform14(-(1 << 23)..1_i32 << 23), ticks: u16) {
            let scan = Scan { words, ticks };
            prop_assert_eq!(Scan::decode(&scan.encode()), Some(scan));
        }

        #[test]
        fn garbage_never_panics_and_is_all_accounted_for(
            bytes in proptest::collection::vec(prop_oneof![Just(0xAA_u8), Just(0x55), Just(0), any::<u8>()], 0..600),
            cut in 1_usize..90,
        ) {
            assert_all_accounted_for::<Scan<8>>(&bytes, cut);
            assert_all_accounted_for::<Scan<14>>(&bytes, cut);
            let items = items::<Scan<8>>(std::slice::from_ref(&bytes), PERIOD_NS, &[0]);
            prop_assert!(losses(&items, 0).1 <= bytes.len() as u64);
        }
    }
}
