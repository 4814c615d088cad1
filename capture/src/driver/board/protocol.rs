//! Packets of the dexumi board protocol: COBS, CRC-32, a header with kind,
//! channel, sequence and microseconds. Specification: `docs/board-protocol.md`.

/// Header: kind, channel, sequence, time.
pub const HEADER_BYTES: usize = 8;
/// Behind the payload.
pub const CRC_BYTES: usize = 4;
/// Longest packet, header and CRC included, before COBS.
pub const MAX_PACKET_BYTES: usize = 1024;
/// Longest payload.
pub const MAX_PAYLOAD_BYTES: usize = MAX_PACKET_BYTES - HEADER_BYTES - CRC_BYTES;
/// Longest packet on the line, without its delimiter.
const MAX_ENCODED_BYTES: usize = MAX_PACKET_BYTES + MAX_PACKET_BYTES.div_ceil(254);

/// What a packet is. Boards send those below 0x80, hosts the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A board describes itself.
    Board = 0x01,
    /// It describes one of its channels.
    Channel = 0x02,
    /// A sample of a channel.
    Sample = 0x03,
    /// Answer to [`Self::Ping`].
    Pong = 0x04,
    /// A line for people.
    Text = 0x05,
    /// A host asks for the description.
    Describe = 0x81,
    /// A host asks for the time.
    Ping = 0x82,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Board,
            0x02 => Self::Channel,
            0x03 => Self::Sample,
            0x04 => Self::Pong,
            0x05 => Self::Text,
            0x81 => Self::Describe,
            0x82 => Self::Ping,
            _ => return None,
        })
    }
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// Which channel it is about; 0 where it is about none.
    pub channel: u8,
    /// Counts the packets of this kind and channel.
    pub sequence: u16,
    /// The sender's clock [µs], free-running, of 32 bits; 0 from a host.
    pub time_us: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Damaged: COBS, length or CRC is wrong.
    Corrupt,
    /// Whole, but of a kind that this version does not know.
    Unknown,
}

impl Packet {
    /// Its bytes on the line, delimiter included.
    ///
    /// # Panics
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.payload.len() <= MAX_PAYLOAD_BYTES, "payload too long");
        let mut body = vec![self.kind as u8, self.channel];
        body.extend(self.sequence.to_le_bytes());
        body.extend(self.time_us.to_le_bytes());
        body.extend(&self.payload);
        body.extend(crc32(&body).to_le_bytes());
        let mut line = stuff(&body);
        line.push(0);
        line
    }

    /// Reads the bytes between two delimiters.
    ///
    /// # Errors
    /// They are no packet.
    pub fn decode(line: &[u8]) -> Result<Self, Refusal> {
        let body = unstuff(line).ok_or(Refusal::Corrupt)?;
        let (head, crc) = body.split_last_chunk().ok_or(Refusal::Corrupt)?;
        if head.len() < HEADER_BYTES || crc32(head) != u32::from_le_bytes(*crc) {
            return Err(Refusal::Corrupt);
        }
        let byte = |at: usize| head[at];
        Ok(Self {
            kind: Kind::of(byte(0)).ok_or(Refusal::Unknown)?,
            channel: byte(1),
            sequence: u16::from_le_bytes([byte(2), byte(3)]),
            time_us: u32::from_le_bytes([byte(4), byte(5), byte(6), byte(7)]),
            payload: head[HEADER_BYTES..].to_vec(),
        })
    }
}

/// CRC-32 of IEEE 802.3: reflected polynomial 0xEDB88320, start and end inverted.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

/// Consistent overhead byte stuffing (S. Cheshire, M. Baker, 1999): no zero
/// is left, each block's first byte says where the next zero was.
fn stuff(bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(bytes.len() + bytes.len() / 254 + 2);
    let mut blocks = bytes.split(|&byte| byte == 0).peekable();
    while let Some(block) = blocks.next() {
        let mut runs = block.chunks_exact(254);
        for run in &mut runs {
            line.push(0xFF);
            line.extend(run);
        }
        // A full block stands for no zero: at the very end nothing is left to say.
        let rest = runs.remainder();
        let is_last = blocks.peek().is_none();
        if !(rest.is_empty() && is_last && !block.is_empty()) {
            line.push(rest.len() as u8 + 1);
            line.extend(rest);
        }
    }
    line
}

/// The inverse of [`stuff`]; `None` for what it never makes.
fn unstuff(line: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&code, after)) = rest.split_first() {
        let length = usize::from(code).checked_sub(1)?;
        let (block, next) = after.split_at_checked(length)?;
        if block.contains(&0) {
            return None;
        }
        bytes.extend(block);
        if code < 0xFF && !next.is_empty() {
            bytes.push(0);
        }
        rest = next;
    }
    (bytes.len() <= MAX_PACKET_BYTES).then_some(bytes)
}

/// What a stretch of bytes was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A packet, and how many bytes came after its delimiter.
    Packet {
        /// The packet.
        packet: Packet,
        /// Bytes of the same read behind it.
        after: usize,
    },
    /// A packet of a kind that this version does not know, of so many bytes.
    Unknown(usize),
    /// A damaged packet of so many bytes.
    Corrupt(usize),
}

/// Searches packets in a byte stream.
#[derive(Debug, Default)]
pub struct Deframer {
    line: Vec<u8>,
    /// Bytes of a line that is too long to be a packet.
    overlong: usize,
    /// A delimiter was seen: what comes before the first may be half a packet.
    synchronised: bool,
}

impl Deframer {
    /// Takes bytes and hands what they complete to `found`.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Found)) {
        let mut left = bytes.len();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == 0) {
            self.extend(&rest[..end]);
            rest = &rest[end + 1..];
            left -= end + 1;
            self.end(left, &mut found);
        }
        self.extend(rest);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        if self.line.len() > MAX_ENCODED_BYTES || self.overlong > 0 {
            self.overlong += std::mem::take(&mut self.line).len();
        }
    }

    fn end(&mut self, after: usize, found: &mut impl FnMut(Found)) {
        let overlong = std::mem::take(&mut self.overlong);
        let first = !std::mem::replace(&mut self.synchronised, true);
        // Two delimiters in a row: someone made sure.
        if self.line.is_empty() && overlong == 0 {
            return;
        }
        let length = self.line.len() + overlong + 1;
        let decoded = match overlong {
            0 => Packet::decode(&self.line),
            _ => Err(Refusal::Corrupt),
        };
        self.line.clear();
        match decoded {
            Ok(packet) => found(Found::Packet { packet, after }),
            Err(Refusal::Unknown) => found(Found::Unknown(length)),
            // The end of a packet whose start was before the opening.
            Err(Refusal::Corrupt) if first => found(Found::Unknown(length)),
            Err(Refusal::Corrupt) => found(Found::Corrupt(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_value_of_the_crc_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn the_lines_of_the_specification_are_what_is_sent() {
        let document = include_str!("../../../../docs/board-protocol.md");
        let packet = |kind, channel, sequence, time_us, payload: &[u8]| Packet {
            kind,
            channel,
            sequence,
            time_us,
            payload: payload.to_vec(),
        };
        let id = 0x1122_3344_u32.to_le_bytes();
        let values: Vec<u8> = [1_i16, -2, 300]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        for packet in [
            packet(Kind::Ping, 0, 7, 0, &id),
            packet(Kind::Pong, 0, 3, 74_565, &id),
            packet(Kind::Sample, 1, 258, 1_000_000, &values),
        ] {
            let line = packet.encode();
            let text: Vec<_> = line.iter().map(|byte| format!("{byte:02X}")).collect();
            assert!(document.contains(&text.join(" ")), "{packet:?}");
            assert_eq!(Packet::decode(&line[..line.len() - 1]), Ok(packet));
        }
    }

    #[test]
    fn stuffing_is_as_in_the_paper_s_examples() {
        let run = |count: usize| vec![7; count];
        for (bytes, line) in [
            (vec![], vec![1]),
            (vec![0], vec![1, 1]),
            (vec![0, 0], vec![1, 1, 1]),
            (vec![0x11, 0x22, 0, 0x33], vec![3, 0x11, 0x22, 2, 0x33]),
            (vec![0x11, 0, 0, 0], vec![2, 0x11, 1, 1, 1]),
            (run(253), [vec![0xFE], run(253)].concat()),
            (run(254), [vec![0xFF], run(254)].concat()),
            (run(255), [vec![0xFF], run(254), vec![2, 7]].concat()),
            (
                [run(254), vec![0]].concat(),
                [vec![0xFF], run(254), vec![1, 1]].concat(),
            ),
        ] {
            assert_eq!(stuff(&bytes), line, "{bytes:?}");
            assert_eq!(unstuff(&line), Some(bytes), "{line:?}");
        }
        assert_eq!(unstuff(&[5, 1, 2]), None);
        assert_eq!(unstuff(&[3, 1, 0]), None);
        assert_eq!(unstuff(&[0]), None);
    }

    fn packet(payload: Vec<u8>) -> Packet {
        Packet {
            kind: Kind::Sample,
            channel: 3,
            sequence: 0x0102,
            time_us: 0x0A00_0B0C,
            payload,
        }
    }

    fn found(bytes: &[u8], cut: usize) -> Vec<Found> {
        let mut deframer = Deframer::default();
        let mut all = Vec::new();
        bytes
            .chunks(cut)
            .for_each(|part| deframer.push(part, |found| all.push(found)));
        assert!(deframer.line.len() <= MAX_ENCODED_BYTES);
        all
    }

    #[test]
    fn the_bytes_behind_a_packet_are_counted() {
        let line = packet(vec![1, 2]).encode();
        let all = found(&[&line[..], &line[..], &[9, 9]].concat(), 1000);
        let after: Vec<_> = all
            .iter()
            .map(|found| match found {
                Found::Packet { after, .. } => *after,
                _ => panic!("{found:?}"),
            })
            .collect();
        assert_eq!(after, [line.len() + 2, 2]);
    }

    #[test]
    fn damage_costs_the_packet_that_it_hits_and_no_other() {
        let line = packet(vec![5; 20]).encode();
        let mut bytes = line.repeat(5);
        bytes[2 * line.len() + 7] ^= 4;
        let all = found(&bytes, 9);
        let whole = |found: &Found| matches!(found, Found::Packet { packet: p, .. } if *p == packet(vec![5; 20]));
        assert_eq!(all.iter().filter(|found| whole(found)).count(), 4);
        assert_eq!(all[2], Found::Corrupt(line.len()));
        // What began before the opening is no damage; what never ends is.
        assert!(matches!(found(&line[5..], 9)[0], Found::Unknown(_)));
        let endless = [&[0][..], &[7; 5000], &[0]].concat();
        assert_eq!(found(&endless, 100), [Found::Corrupt(5001)]);
        let unknown = {
            let mut body = vec![0x44; HEADER_BYTES];
            body.extend(crc32(&body).to_le_bytes());
            [&[0][..], &stuff(&body), &[0]].concat()
        };
        assert!(matches!(found(&unknown, 9)[..], [Found::Unknown(_)]));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_however_it_is_cut(
            kind in prop_oneof![Just(Kind::Sample), Just(Kind::Ping), Just(Kind::Channel)],
            channel: u8, sequence: u16, time_us: u32,
            payload in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..MAX_PAYLOAD_BYTES),
            cut in 1_usize..1100,
        ) {
            let packet = Packet { kind, channel, sequence, time_us, payload };
            let line = packet.encode();
            prop_assert!(line.len() <= MAX_ENCODED_BYTES + 1);
            prop_assert_eq!(line.iter().position(|&byte| byte == 0), Some(line.len() - 1));
            let all = found(&line, cut);
            prop_assert_eq!(all, [Found::Packet { packet, after: 0 }]);
        }

        #[test]
        fn one_flipped_bit_never_passes(payload in proptest::collection::vec(any::<u8>(), 0..80), bit in 0_usize..10_000) {
            let sent = packet(payload);
            let mut line = sent.encode();
            let bit = bit % (8 * line.len());
            line[bit / 8] ^= 1 << (bit % 8);
            for found in found(&line, 1000) {
                prop_assert!(!matches!(found, Found::Packet { .. }), "{found:?}");
            }
        }

        #[test]
        fn garbage_never_panics_and_every_ended_byte_is_accounted_for(
            bytes in proptest::collection::vec(prop_oneof![1 => Just(0_u8), 20 => any::<u8>()], 0..5000),
            cut in 1_usize..1100,
        ) {
            let ended = bytes.iter().rposition(|&byte| byte == 0).map_or(0, |at| at + 1);
            // Delimiters right behind another, or at the very start, count for nothing.
            let empty = (0..ended).filter(|&at| bytes[at] == 0 && (at == 0 || bytes[at - 1] == 0)).count();
            let counted: usize = found(&bytes, cut).iter().map(|found| match found {
                Found::Packet { packet, .. } => packet.encode().len(),
                Found::Unknown(length) | Found::Corrupt(length) => *length,
            }).sum();
            prop_assert_eq!(counted + empty, ended);
        }
    }
}
