//! Packets of one length from a board that free-runs on its own clock: searched
//! in a byte stream, held against their neighbours, dated, and handed on as
//! samples of the streams that the rig takes from them.

use std::marker::PhantomData;

use bytes::Bytes;
use dexumi_episode::{Device, HostTime, TickUnwrapper, schema::suspect};

use super::{
    Data, Item, Output, Sample, Source,
    gate::Lookahead,
    serial::{Chunk, Port, Settings},
};
use crate::error::CaptureError;

/// A packet of fixed length.
pub trait Packet: Clone + 'static {
    /// Its first bytes.
    const HEADER: &'static [u8];
    /// Its length.
    const BYTES: usize;
    /// Width of the board's counter [bit].
    const TICK_BITS: u32 = 16;
    /// One tick of it [ns].
    const TICK_NS: i64 = 1_000_000;
    /// Whether decoding drops some of it.
    const DROPS: bool = false;

    /// Reads bytes of the right length; `None` where header, checksum or a value
    /// shows that they are damaged.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// The bytes that decode to it.
    fn encode(&self) -> Vec<u8>;

    /// The counter as it came.
    fn ticks(&self) -> u64;

    /// `suspect` bits of the middle one of five packets in a row, as far as there
    /// are, for one channel.
    fn judge(window: [Option<&Self>; 5], channel: usize) -> u32;

    /// What it measured on a channel.
    fn data(&self, channel: usize) -> Data;
}

/// Opens a board on a serial port. `channels` are those of the packet, by stream
/// of the connection.
///
/// # Errors
/// The port cannot be opened.
pub fn open<P: Packet>(
    devices: &[Device],
    settings: Settings,
    channels: Vec<usize>,
) -> Result<Box<dyn Source>, CaptureError> {
    Ok(Box::new(Board {
        // Behind a UART, even where a bridge makes it look like USB.
        port: Port::open(&devices[0], settings, Some(true))?,
        framer: PacketFramer::<P>::new(channels),
    }))
}

struct Board<P> {
    port: Port,
    framer: PacketFramer<P>,
}

impl<P: Packet> Source for Board<P> {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.port.greet(self.framer.channels.len(), out);
        match self.port.read() {
            Ok(Some(chunk)) => self.framer.push(&chunk, out),
            Ok(None) => self.framer.release_all(HostTime::now(), out),
            Err(gone) => {
                self.framer.release_all(HostTime::now(), out);
                return Err(gone);
            }
        }
        Ok(())
    }
}

/// Searches packets: one is taken as soon as length and check fit, without
/// waiting for the next header; after a misfit the search goes on one byte
/// further, because a payload may contain the header.
#[derive(Debug)]
pub struct PacketSearch<P> {
    buffer: Vec<u8>,
    /// Bytes skipped since the last good packet, and headers among them.
    skipped: usize,
    headers: usize,
    packet: PhantomData<P>,
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, P> {
    /// A packet that passed its check.
    Packet {
        /// What it says.
        packet: P,
        /// Its bytes.
        bytes: &'a [u8],
        /// How many bytes came after it.
        after: usize,
    },
    /// Before it, this many bytes that were no packet.
    Skipped {
        /// Bytes.
        bytes: usize,
        /// How many packets they must have been.
        packets: u64,
    },
}

impl<P> Default for PacketSearch<P> {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            skipped: 0,
            headers: 0,
            packet: PhantomData,
        }
    }
}

impl<P: Packet> PacketSearch<P> {
    /// Takes bytes and hands what they complete to `found`.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Found<'_, P>)) {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while self.buffer.len() - at >= P::BYTES {
            let end = at + P::BYTES;
            let candidate = &self.buffer[at..end];
            let has_header = candidate.starts_with(P::HEADER);
            if let Some(packet) = P::decode(candidate).filter(|_| has_header) {
                if self.skipped > 0 {
                    found(skipped::<P>(&mut self.skipped, &mut self.headers));
                }
                found(Found::Packet {
                    packet,
                    bytes: candidate,
                    after: self.buffer.len() - end,
                });
                at = end;
            } else {
                self.headers += usize::from(has_header);
                at += 1;
                self.skipped += 1;
            }
        }
        self.buffer.drain(..at);
    }

    /// What was skipped so far, when no further packet may come.
    pub fn flush(&mut self) -> Option<Found<'_, P>> {
        (self.skipped >= P::BYTES).then(|| skipped(&mut self.skipped, &mut self.headers))
    }
}

/// How many damaged packets were skipped. A damaged packet has its length, give
/// or take a byte, and most often still its header; noise has neither.
fn skipped<'a, P: Packet>(skipped: &mut usize, headers: &mut usize) -> Found<'a, P> {
    let bytes = std::mem::take(skipped);
    let headers = std::mem::take(headers);
    let packets = if P::BYTES >= 32 {
        // Long packets: noise between them is shorter, headers within them are
        // possible.
        (bytes + P::BYTES / 16) / P::BYTES
    } else {
        let rest = bytes.saturating_sub(headers * P::BYTES);
        headers + usize::from(rest.abs_diff(P::BYTES) <= 1)
    };
    Found::Skipped {
        bytes,
        packets: packets as u64,
    }
}

#[derive(Debug, Clone)]
struct Arrived<P> {
    packet: P,
    arrival: HostTime,
    raw: Option<Bytes>,
}

/// Bytes to samples; no input or output.
#[derive(Debug)]
pub struct PacketFramer<P> {
    search: PacketSearch<P>,
    lookahead: Lookahead<Arrived<P>>,
    clock: TickUnwrapper,
    sequence: u64,
    channels: Vec<usize>,
}

impl<P: Packet> PacketFramer<P> {
    /// For these channels of the packet, by stream of the connection.
    pub fn new(channels: Vec<usize>) -> Self {
        Self {
            search: PacketSearch::default(),
            lookahead: Lookahead::default(),
            clock: TickUnwrapper::new(P::TICK_BITS, P::TICK_NS),
            sequence: 0,
            channels,
        }
    }

    /// Takes the bytes of one read, appends what they complete.
    pub fn push(&mut self, chunk: &Chunk<'_>, out: &mut Output) {
        let (lookahead, streams) = (&mut self.lookahead, self.channels.len());
        self.search.push(chunk.bytes, |found| match found {
            Found::Packet {
                packet,
                bytes,
                after,
            } => lookahead.push(Arrived {
                packet,
                arrival: chunk.arrival_before(after),
                raw: P::DROPS.then(|| Bytes::copy_from_slice(bytes)),
            }),
            Found::Skipped { bytes, packets } => {
                count_skipped(bytes, packets, streams, chunk.arrival, out);
            }
        });
        self.release(false, out);
    }

    /// Nothing came for a while, or nothing will: lets go of what is held back.
    pub fn release_all(&mut self, now: HostTime, out: &mut Output) {
        self.release(true, out);
        self.lookahead.clear();
        if let Some(Found::Skipped { bytes, packets }) = self.search.flush() {
            count_skipped(bytes, packets, self.channels.len(), now, out);
        }
    }

    fn release(&mut self, flush: bool, out: &mut Output) {
        let channels = &self.channels;
        let judge = |window: [Option<&Arrived<P>>; 5]| -> Vec<u32> {
            let window = window.map(|arrived| arrived.map(|arrived| &arrived.packet));
            channels.iter().map(|&c| P::judge(window, c)).collect()
        };
        while let Some((arrived, verdicts)) = self.lookahead.judge(flush, judge) {
            let ticks = arrived.packet.ticks();
            // The counter is one for all channels.
            let doubt = verdicts.iter().fold(0, |all, bits| all | bits) & suspect::TICKS;
            let device = if doubt == 0 {
                self.clock.unwrap(ticks, arrived.arrival)
            } else {
                self.clock.unwrap_untrusted(ticks, arrived.arrival)
            };
            for (stream, (&channel, bits)) in channels.iter().zip(verdicts).enumerate() {
                let sample = Sample {
                    arrival: arrived.arrival,
                    captured: None,
                    device: Some(device),
                    sent: None,
                    ticks: Some(ticks),
                    sequence: self.sequence,
                    suspect: bits | doubt,
                    data: arrived.packet.data(channel),
                    raw: arrived.raw.clone().filter(|_| stream == 0),
                };
                out.sample(stream, sample);
            }
            self.sequence += 1;
        }
    }
}

/// A packet that is lost is lost for every stream of the connection.
fn count_skipped(bytes: usize, packets: u64, streams: usize, at: HostTime, out: &mut Output) {
    let bytes = bytes as u64;
    out.push(0, Item::Discarded { bytes });
    (0..streams).for_each(|stream| out.lost(stream, "corrupt", packets, at));
}

#[cfg(test)]
pub(super) mod testing {
    //! What the tests of all boards need.

    use super::*;

    /// All items of packets that arrive one by one, `period_ns` apart.
    pub fn items<P: Packet>(
        packets: &[Vec<u8>],
        period_ns: i64,
        channels: &[usize],
    ) -> Vec<(usize, Item)> {
        let mut framer = PacketFramer::<P>::new(channels.to_vec());
        let mut out = Output::default();
        for (index, bytes) in packets.iter().enumerate() {
            let chunk = Chunk {
                bytes,
                arrival: HostTime::from_nanos(index as i64 * period_ns),
                uart_baud: None,
            };
            framer.push(&chunk, &mut out);
        }
        framer.release_all(HostTime::from_nanos(1 << 40), &mut out);
        out.items
    }

    /// The samples of a stream.
    pub fn samples(items: &[(usize, Item)], stream: usize) -> Vec<Sample> {
        let of_stream = items.iter().filter(|(of, _)| *of == stream);
        of_stream
            .filter_map(|(_, item)| match item {
                Item::Sample(sample) => Some(sample.clone()),
                _ => None,
            })
            .collect()
    }

    /// Packets of a stream that were lost, and bytes that were discarded.
    pub fn losses(items: &[(usize, Item)], stream: usize) -> (u64, u64) {
        let of_stream = items.iter().filter(|(of, _)| *of == stream);
        of_stream.fold((0, 0), |(lost, bytes), (_, item)| match item {
            Item::Lost { count, .. } => (lost + count, bytes),
            Item::Discarded { bytes: more } => (lost, bytes + more),
            _ => (lost, bytes),
        })
    }

    /// Every byte is of a packet, discarded, or still waited with.
    pub fn assert_all_accounted_for<P: Packet>(bytes: &[u8], cut: usize) {
        let mut search = PacketSearch::<P>::default();
        let (mut packets, mut discarded) = (0, 0);
        for part in bytes.chunks(cut) {
            search.push(part, |found| match found {
                Found::Packet { bytes, after, .. } => {
                    assert!(bytes.len() == P::BYTES && after < part.len());
                    packets += 1;
                }
                Found::Skipped { bytes, .. } => discarded += bytes,
            });
            assert!(search.buffer.len() < P::BYTES);
        }
        assert_eq!(
            packets * P::BYTES + discarded + search.skipped + search.buffer.len(),
            bytes.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counter, then its complement.
    #[derive(Debug, Clone, PartialEq)]
    struct Tiny(u8);

    impl Packet for Tiny {
        const HEADER: &'static [u8] = &[0x55];
        const BYTES: usize = 3;

        fn decode(bytes: &[u8]) -> Option<Self> {
            (bytes[1] == !bytes[2]).then(|| Self(bytes[1]))
        }
        fn encode(&self) -> Vec<u8> {
            vec![0x55, self.0, !self.0]
        }
        fn ticks(&self) -> u64 {
            self.0.into()
        }
        fn judge(_: [Option<&Self>; 5], _: usize) -> u32 {
            0
        }
        fn data(&self, channel: usize) -> Data {
            Data::Force {
                counts: [channel as i32, 0, 0],
                taxels: Vec::new(),
            }
        }
    }

    #[test]
    fn a_packet_that_others_followed_over_a_wire_arrived_before_them() {
        let mut framer = PacketFramer::<Tiny>::new(vec![0, 7]);
        let mut out = Output::default();
        let bytes = [0x55, 1, !1, 0x55, 2, !2, 0x55];
        let arrival = HostTime::from_nanos(5_000_000);
        let chunk = Chunk {
            bytes: &bytes,
            arrival,
            uart_baud: Some(10_000),
        };
        framer.push(&chunk, &mut out);
        framer.release_all(arrival, &mut out);
        for stream in [0, 1] {
            // Four bytes after the first, one after the second, 1 ms each.
            let arrivals: Vec<_> = testing::samples(&out.items, stream)
                .iter()
                .map(|sample| sample.arrival.nanos())
                .collect();
            assert_eq!(arrivals, [1_000_000, 4_000_000]);
        }
        let Data::Force { counts, .. } = &testing::samples(&out.items, 1)[0].data else {
            panic!("force");
        };
        assert_eq!(counts[0], 7);
    }

    proptest! {
        #[test]
        fn bytes_are_packets_or_skipped_and_nothing_else(
            bytes in proptest::collection::vec(prop_oneof![Just(0x55_u8), Just(0xAA), any::<u8>()], 0..400),
            cut in 1_usize..40,
        ) {
            testing::assert_all_accounted_for::<Tiny>(&bytes, cut);
        }
    }
}
