//! The packet between a bridge and the driver, without input or output; its
//! specification for people is `docs/bridge-packet.md`.
//!
//! A header of 52 bytes with a checksum of its own, so that a damaged length is
//! seen at once, then the payload. Little-endian throughout.

use bytes::{Buf, Bytes, BytesMut};

/// First bytes of each packet.
pub const MAGIC: [u8; 4] = *b"DXBP";
/// Version of the packet.
pub const VERSION: u8 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 52;
/// No payload is longer: an image of 4096x4096 with 4 bytes a pixel.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Stream index of a packet that belongs to the bridge as a whole.
pub const NO_STREAM: u16 = 0xFFFF;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// From the bridge, first: JSON, what it is and which streams it has.
    Hello = 0x01,
    /// To the bridge: JSON, which streams are wanted.
    Take = 0x02,
    /// From the bridge: a sentence for people.
    Log = 0x03,
    /// From the bridge: JSON, what the device says of itself.
    About = 0x04,
    /// To the bridge: what does the device's clock show?
    EchoRequest = 0x05,
    /// From the bridge: this, with the number of the question.
    EchoReply = 0x06,
    /// A JPEG image.
    Jpeg = 0x10,
    /// Pixels.
    Raw = 0x11,
    /// Depths of 16 bits.
    Depth = 0x12,
    /// Acceleration and angular velocity.
    Imu = 0x20,
    /// Pose of a body.
    Pose = 0x21,
    /// Points and joints of a hand.
    Hand = 0x22,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Hello,
        Self::Take,
        Self::Log,
        Self::About,
        Self::EchoRequest,
        Self::EchoReply,
        Self::Jpeg,
        Self::Raw,
        Self::Depth,
        Self::Imu,
        Self::Pose,
        Self::Hand,
    ];

    /// By its number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// Header flags.
mod flag {
    pub const DEVICE_TIME: u32 = 1;
    pub const SENT_TIME: u32 = 2;
    pub const EXPOSURE: u32 = 4;
    pub const VALID: u32 = 8;
    pub const WARNING: u32 = 16;
}

/// One packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// What it carries; a number, so that a newer bridge's kinds can be counted.
    pub kind: u8,
    /// Which of the streams of the hello, or [`NO_STREAM`].
    pub stream: u16,
    /// When it was measured, on the device's clock [ns].
    pub device_ns: Option<i64>,
    /// When it was handed to the network, on the same clock [ns].
    pub sent_ns: Option<i64>,
    /// The device's own count of samples of this stream.
    pub sequence: u64,
    /// Length of the exposure [µs].
    pub exposure_us: Option<u32>,
    /// A pose or hand is measured, not guessed.
    pub valid: bool,
    /// A log sentence is a warning.
    pub warning: bool,
    /// By kind.
    pub payload: Bytes,
}

impl Packet {
    /// A packet with nothing but a payload.
    pub fn new(kind: Kind, stream: u16, payload: impl Into<Bytes>) -> Self {
        Self {
            kind: kind as u8,
            stream,
            device_ns: None,
            sent_ns: None,
            sequence: 0,
            exposure_us: None,
            valid: true,
            warning: false,
            payload: payload.into(),
        }
    }
}

/// As it goes over the wire.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let set = |condition: bool, flag: u32| if condition { flag } else { 0 };
    let flags = set(packet.device_ns.is_some(), flag::DEVICE_TIME)
        | set(packet.sent_ns.is_some(), flag::SENT_TIME)
        | set(packet.exposure_us.is_some(), flag::EXPOSURE)
        | set(packet.valid, flag::VALID)
        | set(packet.warning, flag::WARNING);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + packet.payload.len());
    bytes.extend(MAGIC);
    bytes.extend([VERSION, packet.kind]);
    bytes.extend(packet.stream.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend((packet.payload.len() as u32).to_le_bytes());
    bytes.extend(packet.device_ns.unwrap_or(0).to_le_bytes());
    bytes.extend(packet.sent_ns.unwrap_or(0).to_le_bytes());
    bytes.extend(packet.sequence.to_le_bytes());
    bytes.extend(packet.exposure_us.unwrap_or(0).to_le_bytes());
    bytes.extend(crc32fast::hash(&packet.payload).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&packet.payload);
    bytes
}

/// What the parser found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A packet whose checksums fit.
    Packet(Packet),
    /// A header that fits, but whose payload does not.
    Damaged {
        /// Of its header.
        stream: u16,
        /// Of its header.
        sequence: u64,
    },
    /// A header that fits, of another version of the packet.
    Version(u8),
    /// Bytes that belong to no packet.
    Discarded(u64),
}

/// Bytes in, packets out. Holds no more than one packet and what was pushed last.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    discarded: u64,
}

impl Parser {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing that is whole, in order. After a misfit the search goes on
    /// one byte further.
    pub fn pull(&mut self) -> Option<Found> {
        loop {
            match header(&self.buffer) {
                Header::Misfit => {
                    let rest = &self.buffer[1..];
                    let skip = 1 + rest
                        .iter()
                        .position(|&byte| byte == MAGIC[0])
                        .unwrap_or(rest.len());
                    self.buffer.advance(skip);
                    self.discarded += skip as u64;
                }
                _ if self.discarded > 0 => {
                    return Some(Found::Discarded(std::mem::take(&mut self.discarded)));
                }
                Header::Incomplete => return None,
                Header::Version(version) => {
                    self.buffer.advance(HEADER_BYTES);
                    return Some(Found::Version(version));
                }
                Header::Whole { payload_bytes, crc } => {
                    let whole = HEADER_BYTES + payload_bytes;
                    if self.buffer.len() < whole {
                        // Room for all of it at once, instead of doubling up to it.
                        self.buffer.reserve(whole - self.buffer.len());
                        return None;
                    }
                    let mut bytes = self.buffer.split_to(whole).freeze();
                    let head = bytes.split_to(HEADER_BYTES);
                    let packet = packet(&head, bytes);
                    return Some(match crc32fast::hash(&packet.payload) == crc {
                        true => Found::Packet(packet),
                        false => Found::Damaged {
                            stream: packet.stream,
                            sequence: packet.sequence,
                        },
                    });
                }
            }
        }
    }
}

enum Header {
    Incomplete,
    Misfit,
    Version(u8),
    Whole { payload_bytes: usize, crc: u32 },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn header(bytes: &[u8]) -> Header {
    let start = bytes.len().min(MAGIC.len());
    if bytes[..start] != MAGIC[..start] {
        return Header::Misfit;
    }
    if bytes.len() < HEADER_BYTES {
        return Header::Incomplete;
    }
    let payload_bytes = u32_at(bytes, 12) as usize;
    if crc32fast::hash(&bytes[..48]) != u32_at(bytes, 48) {
        return Header::Misfit;
    }
    match bytes[4] {
        VERSION if payload_bytes > MAX_PAYLOAD_BYTES => Header::Misfit,
        VERSION => Header::Whole {
            payload_bytes,
            crc: u32_at(bytes, 44),
        },
        other => Header::Version(other),
    }
}

fn packet(head: &[u8], payload: Bytes) -> Packet {
    let flags = u32_at(head, 8);
    let has = |flag: u32| flags & flag != 0;
    let time = |flag: u32, at: usize| has(flag).then(|| u64_at(head, at).cast_signed());
    Packet {
        kind: head[5],
        stream: u16::from_le_bytes([head[6], head[7]]),
        device_ns: time(flag::DEVICE_TIME, 16),
        sent_ns: time(flag::SENT_TIME, 24),
        sequence: u64_at(head, 32),
        exposure_us: has(flag::EXPOSURE).then(|| u32_at(head, 40)),
        valid: has(flag::VALID),
        warning: has(flag::WARNING),
        payload,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By Python's `struct` and `zlib`.
    pub const GOLDEN: &str = "44584250012002000f000000060000001581e97df410221115cd5b0700000000\
                          2a00000000000000e80300000cfaf96be109abf3646578756d69";

    fn golden() -> Packet {
        Packet {
            device_ns: Some(0x1122_10F4_7DE9_8115),
            sent_ns: Some(123_456_789),
            sequence: 42,
            exposure_us: Some(1000),
            valid: true,
            warning: false,
            ..Packet::new(Kind::Imu, 2, &b"dexumi"[..])
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = encode(&golden());
        assert_eq!(hex(&bytes), GOLDEN);
        let mut parser = Parser::default();
        parser.push(&bytes);
        assert_eq!(parser.pull(), Some(Found::Packet(golden())));
    }

    fn all(parser: &mut Parser) -> Vec<Found> {
        std::iter::from_fn(|| parser.pull()).collect()
    }

    #[test]
    fn damage_in_the_header_costs_its_bytes_and_in_the_payload_the_packet() {
        let whole = encode(&golden());
        let mut parser = Parser::default();
        let mut bytes = whole.clone();
        bytes[13] ^= 0x40; // a length of a megabyte more
        parser.push(&bytes);
        parser.push(&whole);
        let found = all(&mut parser);
        assert_eq!(found, [Found::Discarded(58), Found::Packet(golden())]);

        let mut bytes = whole.clone();
        bytes[55] ^= 1;
        parser.push(&bytes);
        parser.push(&whole);
        let damaged = Found::Damaged {
            stream: 2,
            sequence: 42,
        };
        assert_eq!(all(&mut parser), [damaged, Found::Packet(golden())]);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = encode(&golden());
        bytes[4] = 2;
        let crc = crc32fast::hash(&bytes[..48]).to_le_bytes();
        bytes[48..52].copy_from_slice(&crc);
        let mut parser = Parser::default();
        parser.push(&bytes);
        assert_eq!(parser.pull(), Some(Found::Version(2)));
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let times = (
            any::<Option<i64>>(),
            any::<Option<i64>>(),
            any::<Option<u32>>(),
        );
        let payload = proptest::collection::vec(any::<u8>(), 0..200);
        let rest = (
            any::<u8>(),
            any::<u16>(),
            any::<u64>(),
            any::<bool>(),
            any::<bool>(),
        );
        (times, payload, rest).prop_map(|((device_ns, sent_ns, exposure_us), payload, rest)| {
            let (kind, stream, sequence, valid, warning) = rest;
            Packet {
                kind,
                stream,
                device_ns,
                sent_ns,
                sequence,
                exposure_us,
                valid,
                warning,
                payload: payload.into(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_found_however_it_is_cut(
            packets in proptest::collection::vec(any_packet(), 1..6),
            cut in 1_usize..90,
        ) {
            let wire: Vec<u8> = packets.iter().flat_map(encode).collect();
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in wire.chunks(cut) {
                parser.push(piece);
                found.extend(all(&mut parser));
            }
            let expected: Vec<_> = packets.into_iter().map(Found::Packet).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn garbage_never_panics_and_never_waits_for_more(
            garbage in proptest::collection::vec(any::<u8>(), 0..300),
            packet in any_packet(),
        ) {
            let mut parser = Parser::default();
            parser.push(&garbage);
            let _ = all(&mut parser);
            // What looks like the start of a header swallows no more than a header.
            let wire = encode(&packet);
            parser.push(&wire);
            parser.push(&wire);
            let found = all(&mut parser);
            let got = found.iter().filter(|found| **found == Found::Packet(packet.clone())).count();
            prop_assert_eq!(got, 2);
        }

        #[test]
        fn a_flipped_bit_never_passes(packet in any_packet(), bit: proptest::sample::Index) {
            let mut wire = encode(&packet);
            let bit = bit.index(8 * wire.len());
            wire[bit / 8] ^= 1 << (bit % 8);
            let mut parser = Parser::default();
            parser.push(&wire);
            prop_assert!(all(&mut parser).iter().all(|found| !matches!(found, Found::Packet(_))));
        }
    }
}
