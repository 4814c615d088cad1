//! DexUMI's XHand fingertip force board: 8-byte packets at 921600 baud.
//!
//! `55 AA`, i8 x, i8 y, u8 z, u16 little-endian millisecond counter, u8 sum of
//! the five bytes between. Unitless counts. The sum lets 1 in 256 random packets
//! pass, so the counter is held against its neighbours; a force may jump for one
//! sample (a tap), so that its jump counts only together with the counter's.
//! (real-stanford/DexUMI, `dexumi/encoder`.)

use dexumi_episode::{ClockModel, Device, HostTime, StreamKind, TickUnwrapper, schema::suspect};

use super::{
    Data, Driver, Output, Sample, Source,
    gate::{Lookahead, circle_u16, contradiction},
    min_delay_ns,
    serial::{self, Found, Framer, PacketSearch},
    xhand_encoders::skipped,
};
use crate::error::CaptureError;

/// Length of a packet.
pub const PACKET_BYTES: usize = 8;
const HEADER: [u8; 2] = [0x55, 0xAA];
const TICK_NS: i64 = 1_000_000;
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
    clock: |device| {
        Some(ClockModel {
            tick_ns: TICK_NS,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| vec![("unit", "counts".to_owned())],
    shares: false,
    counts_missing: false,
    keeps_packets: false,
    open,
};

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    serial::open(&devices[0], ForceFramer::default())
}

/// A packet of these counts and counter.
pub fn encode(x: i8, y: i8, z: u8, ticks: u16) -> [u8; PACKET_BYTES] {
    let [low, high] = ticks.to_le_bytes();
    let body = [x as u8, y as u8, z, low, high];
    let sum = body.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    [
        HEADER[0], HEADER[1], body[0], body[1], body[2], body[3], body[4], sum,
    ]
}

/// Counts and counter of a packet, or `None` where header, length or sum is wrong.
pub fn decode(packet: &[u8]) -> Option<([i32; 3], u16)> {
    let &[0x55, 0xAA, x, y, z, low, high, sum] = packet else {
        return None;
    };
    let computed = [x, y, z, low, high]
        .iter()
        .fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    (computed == sum).then(|| {
        (
            [i32::from(x as i8), i32::from(y as i8), i32::from(z)],
            u16::from_le_bytes([low, high]),
        )
    })
}

#[derive(Debug, Clone)]
struct Reading {
    counts: [i32; 3],
    ticks: u16,
    arrival: HostTime,
}

/// Bytes to samples.
#[derive(Debug)]
pub struct ForceFramer {
    search: PacketSearch,
    lookahead: Lookahead<Reading>,
    clock: TickUnwrapper,
    sequence: u64,
}

impl Default for ForceFramer {
    fn default() -> Self {
        Self {
            search: PacketSearch::new(&HEADER, PACKET_BYTES),
            lookahead: Lookahead::default(),
            clock: TickUnwrapper::new(16, TICK_NS),
            sequence: 0,
        }
    }
}

fn judge(window: [Option<&Reading>; 5]) -> u32 {
    let ticks: [_; 5] = std::array::from_fn(|i| window[i].map(|r| (i as f64, f64::from(r.ticks))));
    let off_ticks = contradiction(ticks, circle_u16).unwrap_or(0.0);
    let force_jumps = (0..3).any(|axis| {
        let values: [_; 5] =
            std::array::from_fn(|i| window[i].map(|r| (i as f64, f64::from(r.counts[axis]))));
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

impl ForceFramer {
    fn release(&mut self, flush: bool, out: &mut Output) {
        while let Some((reading, bits)) = self.lookahead.judge(flush, judge) {
            let ticks = u64::from(reading.ticks);
            let device = if bits & suspect::TICKS == 0 {
                self.clock.unwrap(ticks, reading.arrival)
            } else {
                self.clock.unwrap_untrusted(ticks, reading.arrival)
            };
            out.sample(
                0,
                Sample {
                    arrival: reading.arrival,
                    captured: None,
                    device: Some(device),
                    sent: None,
                    ticks: Some(ticks),
                    sequence: self.sequence,
                    suspect: bits,
                    data: Data::Force {
                        counts: reading.counts,
                        taxels: Vec::new(),
                    },
                    raw: None,
                },
            );
            self.sequence += 1;
        }
    }
}

impl Framer for ForceFramer {
    fn push(&mut self, bytes: &[u8], arrival: HostTime, out: &mut Output) {
        let lookahead = &mut self.lookahead;
        self.search.push(
            bytes,
            |packet| decode(packet).is_some(),
            |found| match found {
                Found::Packet(packet) => {
                    let (counts, ticks) = decode(&packet).expect("it has passed the check");
                    lookahead.push(Reading {
                        counts,
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
    use crate::driver::Item;

    #[test]
    fn the_golden_packet_decodes() {
        let packet = [0x55, 0xAA, 0x01, 0xFE, 0x0A, 0x34, 0x12, 0x4F];
        assert_eq!(decode(&packet), Some(([1, -2, 10], 0x1234)));
        assert_eq!(encode(1, -2, 10, 0x1234), packet);
    }

    fn suspects(readings: &[(u8, u16)]) -> Vec<usize> {
        let mut framer = ForceFramer::default();
        let mut out = Output::default();
        for (index, &(z, ticks)) in readings.iter().enumerate() {
            framer.push(
                &encode(0, 0, z, ticks),
                HostTime::from_nanos(index as i64 * 10_000_000),
                &mut out,
            );
        }
        framer.idle(HostTime::from_nanos(1 << 40), &mut out);
        let samples = out.items.iter().filter_map(|(_, item)| match item {
            Item::Sample(sample) => Some(sample.suspect != 0),
            _ => None,
        });
        samples
            .enumerate()
            .filter(|(_, suspect)| *suspect)
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
        fn what_is_encoded_decodes(x: i8, y: i8, z: u8, ticks: u16) {
            let got = decode(&encode(x, y, z, ticks));
            prop_assert_eq!(got, Some(([i32::from(x), i32::from(y), i32::from(z)], ticks)));
        }

        #[test]
        fn one_flipped_bit_never_passes(x: i8, y: i8, z: u8, ticks: u16, bit in 0_usize..64) {
            let mut packet = encode(x, y, z, ticks);
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&packet), None);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Output::default();
            let mut framer = ForceFramer::default();
            framer.push(&bytes, HostTime::from_nanos(0), &mut out);
            framer.idle(HostTime::from_nanos(1), &mut out);
        }
    }
}
