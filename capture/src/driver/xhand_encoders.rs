//! DexUMI's XHand exoskeleton encoder board: 64-byte packets at 921600 baud,
//! free-running at about 180 Hz.
//!
//! Little-endian: header `AA 55 00 00`; 14 words i32 (12 joints, supply
//! reference, spare), 24-bit ADC counts sign-extended; one u32 with the 16-bit
//! sum of the words above and a 16-bit millisecond counter below. The channels
//! are scanned one after another, the counter is read after the scan. The sum
//! sees only the low half of each word; sign extension shows damage to the top
//! byte; bits 16 to 23 and the counter are held against their neighbours.
//! (real-stanford/DexUMI, firmware and `dexumi/encoder/encoder.py`.)

use dexumi_episode::{ClockModel, Device, HostTime, StreamKind, TickUnwrapper, schema::suspect};

use super::{
    Data, Driver, Item, Output, Sample, Source,
    gate::{Lookahead, circle_deg, circle_u16, contradiction},
    min_delay_ns,
    serial::{self, Found, Framer, PacketSearch},
};
use crate::error::CaptureError;

/// Joint channels.
pub const JOINTS: usize = 12;
/// All channels: joints, reference, spare.
pub const CHANNELS: usize = 14;
/// Length of a packet.
pub const PACKET_BYTES: usize = 64;
/// Duration of a scan over all channels [s]: channel settling and SPI transfer.
pub const SCAN_S: f64 = 5.5e-3;
const HEADER: [u8; 4] = [0xAA, 0x55, 0x00, 0x00];
const TICK_NS: i64 = 1_000_000;

/// A joint that is off its neighbours' line by more is suspect [deg]. Damage to
/// bit 17 of a word is a jump of 8°, fast finger motion (500 rad/s²) is off the
/// line by 0.5° over one scan.
const MAX_OFF_DEG: f64 = 3.5;
/// A reference that is off by more of itself is suspect.
const MAX_OFF_REFERENCE: f64 = 0.008;
/// A counter that is off by more is suspect [ms]; one lost packet makes 5.5.
const MAX_OFF_TICKS: f64 = 14.0;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "dexumi_xhand_encoders",
    help: "DexUMI XHand exoskeleton: 12 joint encoders on a serial port",
    feeds: "/exo/<left|right>/encoders",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Encoders { .. })),
    clock: |device| {
        Some(ClockModel {
            tick_ns: TICK_NS,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| {
        let offsets: Vec<_> = scan_offsets_s()[..JOINTS]
            .iter()
            .map(|s| format!("{s:.6}"))
            .collect();
        vec![
            ("scan_offsets_s", offsets.join(",")),
            (
                "counts_per_volt",
                format!("{:.3}", f64::from(0x7F_FFFF) / 5.0),
            ),
        ]
    },
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open,
};

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    serial::open(&devices[0], EncoderFramer::default())
}

/// When each channel is sampled, relative to the reading of the counter [s].
pub fn scan_offsets_s() -> [f64; CHANNELS] {
    std::array::from_fn(|channel| SCAN_S * ((channel as f64 + 0.5) / CHANNELS as f64 - 1.0))
}

/// A packet of these channel words and counter.
pub fn encode(words: &[i32; CHANNELS], ticks: u16) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[..4].copy_from_slice(&HEADER);
    for (word, place) in words.iter().zip(packet[4..60].chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let trailer = u32::from(checksum(words)) << 16 | u32::from(ticks);
    packet[60..].copy_from_slice(&trailer.to_le_bytes());
    packet
}

fn checksum(words: &[i32; CHANNELS]) -> u16 {
    words
        .iter()
        .fold(0_u16, |sum, &word| sum.wrapping_add(word as u16))
}

/// Channel words and counter of a packet, or `None` where header, length,
/// checksum or sign extension is wrong.
pub fn decode(packet: &[u8]) -> Option<([i32; CHANNELS], u16)> {
    if packet.len() != PACKET_BYTES || packet[..4] != HEADER {
        return None;
    }
    let word = |at: usize| i32::from_le_bytes(packet[at..at + 4].try_into().expect("four bytes"));
    let words: [i32; CHANNELS] = std::array::from_fn(|channel| word(4 + 4 * channel));
    let trailer = word(60) as u32;
    let extended = words
        .iter()
        .all(|word| (-(1 << 23)..1 << 23).contains(word));
    (extended && checksum(&words) == (trailer >> 16) as u16).then_some((words, trailer as u16))
}

#[derive(Debug, Clone)]
struct Scan {
    words: [i32; CHANNELS],
    ticks: u16,
    arrival: HostTime,
}

impl Scan {
    fn angle_deg(&self, joint: usize) -> f64 {
        f64::from(self.words[joint]) / f64::from(self.words[JOINTS].max(1)) * 360.0
    }
}

/// Bytes to samples.
#[derive(Debug)]
pub struct EncoderFramer {
    search: PacketSearch,
    lookahead: Lookahead<Scan>,
    clock: TickUnwrapper,
    sequence: u64,
}

impl Default for EncoderFramer {
    fn default() -> Self {
        Self {
            search: PacketSearch::new(&HEADER, PACKET_BYTES),
            lookahead: Lookahead::default(),
            clock: TickUnwrapper::new(16, TICK_NS),
            sequence: 0,
        }
    }
}

fn judge(window: [Option<&Scan>; 5]) -> u32 {
    // Times by the device's counter around the judged scan; a wrong counter
    // spoils only the predictions that it takes part in.
    let base = window[2].map_or(0, |scan| scan.ticks);
    let at = |scan: &Scan| circle_u16(f64::from(scan.ticks), f64::from(base));
    let mut bits = 0;
    let by_index: [_; 5] =
        std::array::from_fn(|i| window[i].map(|scan| (i as f64, f64::from(scan.ticks))));
    if contradiction(by_index, circle_u16).is_some_and(|off| off > MAX_OFF_TICKS) {
        bits |= suspect::TICKS;
    }
    let ticks_are_good = bits == 0;
    let time = |i: usize, scan: &Scan| {
        if ticks_are_good {
            at(scan)
        } else {
            5.5 * i as f64
        }
    };
    for joint in 0..JOINTS {
        let values: [_; 5] =
            std::array::from_fn(|i| window[i].map(|scan| (time(i, scan), scan.angle_deg(joint))));
        if contradiction(values, circle_deg).is_some_and(|off| off > MAX_OFF_DEG) {
            bits |= suspect::CHANNEL;
        }
    }
    let reference = window[2].map_or(1.0, |scan| f64::from(scan.words[JOINTS].max(1)));
    let values: [_; 5] = std::array::from_fn(|i| {
        window[i].map(|scan| (time(i, scan), f64::from(scan.words[JOINTS]) / reference))
    });
    if contradiction(values, |a, b| a - b).is_some_and(|off| off > MAX_OFF_REFERENCE) {
        bits |= suspect::REFERENCE;
    }
    bits
}

impl EncoderFramer {
    fn release(&mut self, flush: bool, out: &mut Output) {
        while let Some((scan, bits)) = self.lookahead.judge(flush, judge) {
            let ticks = u64::from(scan.ticks);
            let device = if bits & suspect::TICKS == 0 {
                self.clock.unwrap(ticks, scan.arrival)
            } else {
                self.clock.unwrap_untrusted(ticks, scan.arrival)
            };
            out.sample(
                0,
                Sample {
                    arrival: scan.arrival,
                    captured: None,
                    device: Some(device),
                    sent: None,
                    ticks: Some(ticks),
                    sequence: self.sequence,
                    suspect: bits,
                    data: Data::Encoders {
                        counts: scan.words[..JOINTS].to_vec(),
                        reference: scan.words[JOINTS],
                        spare: scan.words[JOINTS + 1],
                    },
                    raw: None,
                },
            );
            self.sequence += 1;
        }
    }
}

/// Turns what a search skipped into items.
pub(super) fn skipped(found: &Found, at: HostTime, out: &mut Output) {
    if let Found::Skipped { bytes, packets } = found {
        let bytes = *bytes as u64;
        out.push(0, Item::Discarded { bytes });
        out.lost(0, "corrupt", *packets, at);
    }
}

impl Framer for EncoderFramer {
    fn push(&mut self, bytes: &[u8], arrival: HostTime, out: &mut Output) {
        let lookahead = &mut self.lookahead;
        self.search.push(
            bytes,
            |packet| decode(packet).is_some(),
            |found| match found {
                Found::Packet(packet) => {
                    let (words, ticks) = decode(&packet).expect("it has passed the check");
                    lookahead.push(Scan {
                        words,
                        ticks,
                        arrival,
                    });
                }
                Found::Skipped { .. } => skipped(&found, arrival, out),
            },
        );
        self.release(false, out);
    }

    fn idle(&mut self, now: HostTime, out: &mut Output) {
        self.release(true, out);
        self.lookahead.clear();
        if let Some(found) = self.search.flush() {
            skipped(&found, now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(items: Vec<Item>) -> Vec<Sample> {
        items
            .into_iter()
            .filter_map(|item| match item {
                Item::Sample(sample) => Some(sample),
                _ => None,
            })
            .collect()
    }

    fn still(angle: i32) -> [i32; CHANNELS] {
        let mut words = [angle; CHANNELS];
        words[JOINTS] = 5_536_481;
        words
    }

    fn run(packets: &[Vec<u8>]) -> Vec<Item> {
        let mut framer = EncoderFramer::default();
        let mut out = Output::default();
        for (index, packet) in packets.iter().enumerate() {
            framer.push(
                packet,
                HostTime::from_nanos(index as i64 * 5_500_000),
                &mut out,
            );
        }
        framer.idle(HostTime::from_nanos(1 << 40), &mut out);
        out.items.into_iter().map(|(_, item)| item).collect()
    }

    #[test]
    fn a_known_packet_has_known_bytes() {
        let words = std::array::from_fn(|channel| channel as i32 + 1);
        let packet = encode(&words, 0x1234);
        assert_eq!(packet[..12], [0xAA, 0x55, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        // 1 + … + 14 = 105 = 0x69
        assert_eq!(packet[60..], [0x34, 0x12, 0x69, 0x00]);
        assert_eq!(decode(&packet), Some((words, 0x1234)));
    }

    #[test]
    fn negative_words_are_sign_extended() {
        let packet = encode(&[-5; CHANNELS], 7);
        assert_eq!(decode(&packet).expect("valid").0, [-5; CHANNELS]);
        let mut broken = packet;
        broken[7] = 0x7F;
        assert_eq!(decode(&broken), None);
    }

    #[test]
    fn a_header_inside_the_payload_does_not_confuse_the_search() {
        let mut words = still(1_000_000);
        words[3] = 0x0000_55AA;
        let items = run(&(0..8)
            .map(|i| encode(&words, 10 + 5 * i).to_vec())
            .collect::<Vec<_>>());
        assert_eq!(samples(items).len(), 8);
    }

    #[test]
    fn damaged_packets_are_counted_one_by_one() {
        let mut packets: Vec<_> = (0..20)
            .map(|i| encode(&still(2_000_000), 100 + 5 * i).to_vec())
            .collect();
        packets[4][0] ^= 0x10; // header
        packets[7][9] ^= 0x01; // checksum
        packets[10].remove(30); // length
        packets[13].insert(20, 0xFF); // length
        packets[16].splice(0..0, [0xDE; 30]); // noise before a good packet
        let items = run(&packets);
        let lost: u64 = items
            .iter()
            .map(|item| {
                if let Item::Lost { count, .. } = item {
                    *count
                } else {
                    0
                }
            })
            .sum();
        assert_eq!(lost, 4);
        assert_eq!(samples(items).len(), 16);
    }

    #[test]
    fn damage_that_the_checksum_cannot_see_is_suspect() {
        let mut packets: Vec<_> = (0..40_i32)
            .map(|i| encode(&still(2_000_000 + 3_000 * i), 100 + 5 * i as u16).to_vec())
            .collect();
        packets[10][4 + 4 * 2 + 2] ^= 0x02; // bit 17 of joint 2
        packets[20][60] ^= 0x20; // 32 ms
        packets[30][4 + 4 * 12 + 2] ^= 0x04; // bit 18 of the reference
        let samples = samples(run(&packets));
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

    proptest! {
        #[test]
        fn what_is_encoded_decodes(words in proptest::array::uniform14(-(1 << 23)..1_i32 << 23), ticks: u16) {
            prop_assert_eq!(decode(&encode(&words, ticks)), Some((words, ticks)));
        }

        #[test]
        fn garbage_never_panics_and_is_all_accounted_for(
            bytes in proptest::collection::vec(prop_oneof![Just(0xAA_u8), Just(0x55), Just(0), any::<u8>()], 0..600),
        ) {
            let items = run(&[bytes.clone()]);
            let discarded: u64 = items
                .iter()
                .map(|item| if let Item::Discarded { bytes } = item { *bytes } else { 0 })
                .sum();
            prop_assert!(discarded <= bytes.len() as u64);
        }
    }
}
