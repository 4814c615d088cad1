//! The NUT container, as far as a stream of images needs it: the time base and the
//! exact time stamp of every packet, each packet as soon as its last byte is there.
//! (NUT specification, `nut.txt`, version 3.)

use bytes::{Buf, Bytes, BytesMut};

/// First bytes of a file.
const FILE_ID: &[u8] = b"nut/multimedia container\0";
const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;
/// Headers are some hundred bytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// No image is larger.
const MAX_IMAGE_BYTES: u64 = 64 << 20;

mod flag {
    pub const CODED_PTS: u64 = 8;
    pub const STREAM_ID: u64 = 16;
    pub const SIZE_MSB: u64 = 32;
    pub const CHECKSUM: u64 = 64;
    pub const RESERVED: u64 = 128;
    pub const SIDE_DATA: u64 = 256;
    pub const HEADER_IDX: u64 = 1024;
    pub const MATCH_TIME: u64 = 2048;
    pub const CODED: u64 = 4096;
    pub const INVALID: u64 = 8192;
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NutError {
    /// It does not begin as NUT does.
    #[error("not a NUT stream")]
    Foreign,
    /// A header's checksum does not fit.
    #[error("header checksum {given:08X}, computed {computed:08X}")]
    Checksum {
        /// As it stands there.
        given: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Something that the specification does not allow, or not here.
    #[error("{0}")]
    Malformed(&'static str),
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The stream's header.
    Stream {
        /// Codec, such as `MJPG`.
        fourcc: [u8; 4],
        /// Width [pixel].
        width: u64,
        /// Height [pixel].
        height: u64,
        /// Seconds of a tick, as a fraction.
        time_base: (u64, u64),
    },
    /// A packet of the stream.
    Packet {
        /// Time stamp [ticks].
        pts: i64,
        /// The image.
        data: Bytes,
    },
}

/// What a frame code stands for.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    flags: u64,
    stream: u64,
    size_mul: u64,
    size_lsb: u64,
    pts_delta: i64,
    reserved: u64,
    header: u64,
}

/// Bytes in, packets out. Holds no more than one packet and what was pushed last.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    begun: bool,
    codes: Vec<Code>,
    elided: Vec<Bytes>,
    time_bases: Vec<(u64, u64)>,
    stream: Option<Stream>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    time_base: (u64, u64),
    msb_pts_shift: u32,
    last_pts: i64,
}

/// A reader that knows when bytes have not come yet.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What one step found.
enum Step {
    /// Anything but a packet of the stream.
    Header(Option<Found>),
    /// The head of a packet; so many bytes of it follow, and are there.
    Packet {
        pts: i64,
        elided: Bytes,
        bytes: usize,
    },
}

/// Not enough bytes yet, or wrong ones.
enum Stop {
    Incomplete,
    Wrong(NutError),
}

impl From<NutError> for Stop {
    fn from(error: NutError) -> Self {
        Self::Wrong(error)
    }
}

fn malformed<T>(what: &'static str) -> Result<T, Stop> {
    Err(Stop::Wrong(NutError::Malformed(what)))
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count));
        let part = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(Stop::Incomplete)?;
        self.at += part.len();
        Ok(part)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_be_bytes(
            self.take(4)?.try_into().expect("four bytes"),
        ))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_be_bytes(
            self.take(8)?.try_into().expect("eight bytes"),
        ))
    }

    /// Seven bits a byte, most significant first.
    fn v(&mut self) -> Result<u64, Stop> {
        let mut value: u64 = 0;
        loop {
            let byte = self.take(1)?[0];
            if value >> 57 != 0 {
                return malformed("a number of more than 64 bits");
            }
            value = value << 7 | u64::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    /// With a sign: 0, 1, −1, 2, −2 …
    fn s(&mut self) -> Result<i64, Stop> {
        let value = self.v()?;
        let half = (value / 2 + value % 2) as i64;
        Ok(if value % 2 == 1 { half } else { -half })
    }

    fn text(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.v()?;
        if length > MAX_HEADER_BYTES {
            return malformed("a text of more than a megabyte");
        }
        self.take(length)
    }
}

/// CRC-32 of NUT: polynomial 0x04C11DB7, most significant bit first, from zero.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

fn put_v(bytes: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        bytes.push((value >> (7 * group)) as u8 & 0x7F | more);
    }
}

fn put_header(bytes: &mut Vec<u8>, code: u64, body: &[u8]) {
    bytes.extend(code.to_be_bytes());
    put_v(bytes, body.len() as u64 + 4);
    bytes.extend(body);
    bytes.extend(crc(body).to_be_bytes());
}

fn numbers(values: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|&value| put_v(&mut bytes, value));
    bytes
}

/// The beginning of a stream of JPEGs with microseconds as time stamps.
pub fn encode_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = FILE_ID.to_vec();
    // Version, one stream, a distance that any image fits, one time base, then the
    // frame codes: the first is invalid, all others have everything written out.
    let plain = flag::CODED_PTS | flag::SIZE_MSB | flag::CHECKSUM | 1;
    let main = [
        &[3, 1, 65_536, 1, 1, 1_000_000][..],
        &[flag::INVALID, 6, 0, 1, 0, 0, 0, 1],
        &[plain, 6, 0, 1, 0, 0, 0, 254],
        &[0, 0],
    ];
    put_header(&mut bytes, MAIN, &numbers(&main.concat()));
    let mut stream = numbers(&[0, 0, 4]);
    stream.extend(b"MJPG");
    let size = [u64::from(width), u64::from(height)];
    stream.extend(numbers(&[
        0, 7, 1_000_000, 0, 0, 0, size[0], size[1], 0, 0, 0,
    ]));
    put_header(&mut bytes, STREAM, &stream);
    bytes
}

/// One image, behind a synchronisation point.
pub fn encode_packet(micros: u64, jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(jpeg.len() + 64);
    put_header(&mut bytes, SYNCPOINT, &numbers(&[micros, 0]));
    // Code 1: all of the time stamp, the size, the checksum of both.
    let mut head = vec![1];
    put_v(&mut head, micros + (1 << 7));
    put_v(&mut head, jpeg.len() as u64);
    let crc = crc(&head);
    bytes.extend(head);
    bytes.extend(crc.to_be_bytes());
    bytes.extend_from_slice(jpeg);
    bytes
}

impl Parser {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole thing; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is damaged, or not what this reads: one stream of images.
    pub fn next(&mut self) -> Result<Option<Found>, NutError> {
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let mut cursor = Cursor {
                bytes: &buffer,
                at: 0,
            };
            let step = self.step(&mut cursor);
            let used = cursor.at;
            let found = match step {
                Ok(Step::Header(found)) => {
                    buffer.advance(used);
                    found
                }
                Ok(Step::Packet { pts, elided, bytes }) => {
                    buffer.advance(used);
                    let data = buffer.split_to(bytes).freeze();
                    let data = match elided.is_empty() {
                        true => data,
                        false => Bytes::from([&elided[..], &data].concat()),
                    };
                    Some(Found::Packet { pts, data })
                }
                Err(Stop::Incomplete) => {
                    self.buffer = buffer;
                    return Ok(None);
                }
                Err(Stop::Wrong(error)) => return Err(error),
            };
            self.buffer = buffer;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Step, Stop> {
        if !self.begun {
            let known = FILE_ID.len().min(cursor.bytes.len());
            if cursor.bytes[..known] != FILE_ID[..known] {
                return Err(NutError::Foreign.into());
            }
            cursor.take(FILE_ID.len() as u64)?;
            self.begun = true;
            return Ok(Step::Header(None));
        }
        match cursor.bytes.first() {
            None => Err(Stop::Incomplete),
            Some(b'N') => self.header(cursor).map(Step::Header),
            Some(_) => self.frame(cursor),
        }
    }

    /// A packet with a start code.
    fn header(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Found>, Stop> {
        let start = cursor.at;
        let code = cursor.u64()?;
        let length = cursor.v()?;
        if !(4..=MAX_HEADER_BYTES).contains(&length) {
            return malformed("a header without a checksum or of more than a megabyte");
        }
        if length > 4096 {
            let computed = crc(&cursor.bytes[start..cursor.at]);
            let given = cursor.u32()?;
            if given != computed {
                return Err(NutError::Checksum { given, computed }.into());
            }
        }
        let body = cursor.take(length)?;
        let (body, given) = body.split_at(body.len() - 4);
        let given = u32::from_be_bytes(given.try_into().expect("four bytes"));
        let computed = crc(body);
        if given != computed {
            return Err(NutError::Checksum { given, computed }.into());
        }
        let mut body = Cursor { bytes: body, at: 0 };
        let read = match code {
            MAIN => self.main_header(&mut body).map(|()| None),
            STREAM => self.stream_header(&mut body).map(Some),
            SYNCPOINT => self.syncpoint(&mut body).map(|()| None),
            // An index, information about the stream, or something newer.
            _ => Ok(None),
        };
        match read {
            Err(Stop::Incomplete) => malformed("a header that ends too early"),
            other => other,
        }
    }

    fn main_header(&mut self, body: &mut Cursor<'_>) -> Result<(), Stop> {
        let version = body.v()?;
        if !(2..=4).contains(&version) {
            return malformed("a version other than 2 to 4");
        }
        if version > 3 {
            body.v()?;
        }
        if body.v()? != 1 {
            return malformed("more than one stream");
        }
        let _max_distance = body.v()?;
        let time_bases = body.v()?;
        if time_bases == 0 || time_bases > 16 {
            return malformed("no time base, or too many");
        }
        self.time_bases.clear();
        for _ in 0..time_bases {
            let base = (body.v()?, body.v()?);
            if base.0 == 0 || base.1 == 0 || base.0 >= 1 << 31 || base.1 >= 1 << 31 {
                return malformed("a time base that is none");
            }
            self.time_bases.push(base);
        }
        self.codes = codes(body)?;
        self.elided = vec![Bytes::new()];
        for _ in 0..body.v()? {
            if self.elided.len() > 128 {
                return malformed("too many elided headers");
            }
            self.elided.push(Bytes::copy_from_slice(body.text()?));
        }
        Ok(())
    }

    fn stream_header(&mut self, body: &mut Cursor<'_>) -> Result<Found, Stop> {
        let (id, class) = (body.v()?, body.v()?);
        let fourcc = body.text()?;
        let base = body.v()?;
        let msb_pts_shift = body.v()?;
        let (_max_pts_distance, _decode_delay, _flags) = (body.v()?, body.v()?, body.v()?);
        body.text()?;
        if id != 0 || class != 0 {
            return malformed("a stream that is not of images");
        }
        let (width, height) = (body.v()?, body.v()?);
        let time_base = usize::try_from(base)
            .ok()
            .and_then(|base| self.time_bases.get(base));
        let (Some(&time_base), Ok(fourcc)) = (time_base, fourcc.try_into()) else {
            return malformed("a stream without a time base or a code of four letters");
        };
        if msb_pts_shift > 62 {
            return malformed("time stamps of more than 62 bits");
        }
        self.stream = Some(Stream {
            time_base,
            msb_pts_shift: msb_pts_shift as u32,
            last_pts: 0,
        });
        Ok(Found::Stream {
            fourcc,
            width,
            height,
            time_base,
        })
    }

    fn syncpoint(&mut self, body: &mut Cursor<'_>) -> Result<(), Stop> {
        let key = body.v()?;
        let count = self.time_bases.len() as u64;
        let Some(stream) = self.stream.as_mut().filter(|_| count > 0) else {
            return malformed("a synchronisation point before the stream's header");
        };
        let (num, den) = self.time_bases[(key % count) as usize];
        let (own_num, own_den) = stream.time_base;
        // Rounded down, as the specification converts time stamps.
        let ticks = u128::from(key / count) * u128::from(num) * u128::from(own_den)
            / (u128::from(den) * u128::from(own_num));
        let Ok(last_pts) = i64::try_from(ticks) else {
            return malformed("a time stamp of more than 63 bits");
        };
        stream.last_pts = last_pts;
        Ok(())
    }

    fn frame(&mut self, cursor: &mut Cursor<'_>) -> Result<Step, Stop> {
        let start = cursor.at;
        let number = cursor.take(1)?[0];
        let (Some(code), Some(mut stream)) = (self.codes.get(usize::from(number)), self.stream)
        else {
            return malformed("a packet before the headers");
        };
        let mut flags = code.flags;
        if flags & flag::INVALID != 0 {
            return malformed("a packet of an invalid code");
        }
        if flags & flag::CODED != 0 {
            flags ^= cursor.v()?;
        }
        let has = |flag: u64| flags & flag != 0;
        let id = if has(flag::STREAM_ID) {
            cursor.v()?
        } else {
            code.stream
        };
        if id != 0 {
            return malformed("a packet of a second stream");
        }
        let pts = match has(flag::CODED_PTS) {
            true => {
                let coded = cursor.v()?;
                stream
                    .pts(coded)
                    .map_or_else(|| malformed("a time stamp of more than 63 bits"), Ok)?
            }
            false => stream.last_pts.saturating_add(code.pts_delta),
        };
        let size_msb = if has(flag::SIZE_MSB) { cursor.v()? } else { 0 };
        if has(flag::MATCH_TIME) {
            cursor.s()?;
        }
        let header = if has(flag::HEADER_IDX) {
            cursor.v()?
        } else {
            code.header
        };
        let reserved = if has(flag::RESERVED) {
            cursor.v()?
        } else {
            code.reserved
        };
        for _ in 0..reserved.min(256) {
            cursor.v()?;
        }
        let size = size_msb
            .checked_mul(code.size_mul)
            .and_then(|size| size.checked_add(code.size_lsb));
        let Some(size) = size.filter(|&size| size <= MAX_IMAGE_BYTES) else {
            return malformed("an image of more than 64 MB");
        };
        if has(flag::CHECKSUM) {
            let computed = crc(&cursor.bytes[start..cursor.at]);
            let given = cursor.u32()?;
            if given != computed {
                return Err(NutError::Checksum { given, computed }.into());
            }
        }
        if has(flag::SIDE_DATA) {
            return malformed("side data, which is not read");
        }
        let elided = usize::try_from(header)
            .ok()
            .and_then(|header| self.elided.get(header));
        let Some(elided) = elided else {
            return malformed("an elided header that was not given");
        };
        // The size counts what was left out in front.
        let Some(there) = size.checked_sub(elided.len() as u64) else {
            return malformed("a packet smaller than its elided header");
        };
        let bytes = Cursor {
            bytes: cursor.bytes,
            at: cursor.at,
        }
        .take(there)?
        .len();
        stream.last_pts = pts;
        self.stream = Some(stream);
        Ok(Step::Packet {
            pts,
            elided: elided.clone(),
            bytes,
        })
    }
}

impl Stream {
    /// Time stamp of a coded one: its low bits, or all of it.
    fn pts(&self, coded: u64) -> Option<i64> {
        let range = 1_u64 << self.msb_pts_shift;
        if coded >= range {
            return i64::try_from(coded - range).ok();
        }
        let mask = (range - 1).cast_signed();
        let delta = self.last_pts.checked_sub(mask / 2)?;
        (coded.cast_signed().wrapping_sub(delta) & mask).checked_add(delta)
    }
}

/// The table of 256 frame codes.
fn codes(body: &mut Cursor<'_>) -> Result<Vec<Code>, Stop> {
    let mut codes = Vec::with_capacity(256);
    let (mut pts, mut mul, mut stream, mut header) = (0, 1, 0, 0);
    while codes.len() < 256 {
        let flags = body.v()?;
        let fields = body.v()?;
        if fields > 64 {
            return malformed("a frame code of more than 64 fields");
        }
        let mut field = |present: bool| {
            if present {
                body.v().map(Some)
            } else {
                Ok(None)
            }
        };
        if fields > 0 {
            let value = field(true)?.unwrap_or(0);
            let half = (value / 2 + value % 2) as i64;
            pts = if value % 2 == 1 { half } else { -half };
        }
        mul = field(fields > 1)?.unwrap_or(mul);
        stream = field(fields > 2)?.unwrap_or(stream);
        let size = field(fields > 3)?.unwrap_or(0);
        let reserved = field(fields > 4)?.unwrap_or(0);
        let count = field(fields > 5)?.or(mul.checked_sub(size));
        field(fields > 6)?; // match time
        header = field(fields > 7)?.unwrap_or(header);
        for _ in 8..fields {
            field(true)?;
        }
        let Some(count) = count.filter(|&count| count > 0) else {
            return malformed("a frame code that stands for none");
        };
        let mut given = 0;
        while given < count && codes.len() < 256 {
            // The byte that start codes begin with is no frame code.
            if codes.len() == usize::from(b'N') {
                codes.push(Code {
                    flags: flag::INVALID,
                    ..Code::default()
                });
                continue;
            }
            codes.push(Code {
                flags,
                stream,
                size_mul: mul,
                size_lsb: size.saturating_add(given),
                pts_delta: pts,
                reserved,
                header,
            });
            given += 1;
        }
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `ffmpeg -f lavfi -i color=size=16x16:rate=10:color=gray -t 0.3 -c:v mjpeg
    /// -fflags +bitexact -flags:v +bitexact -f nut -write_index 0`, by ffmpeg 5.1.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/mjpeg.nut");

    fn all(parser: &mut Parser) -> Result<Vec<Found>, NutError> {
        std::iter::from_fn(|| parser.next().transpose()).collect()
    }

    fn golden() -> Vec<Found> {
        let mut parser = Parser::default();
        parser.push(GOLDEN);
        all(&mut parser).expect("what ffmpeg wrote")
    }

    #[test]
    fn what_ffmpeg_writes_is_read() {
        let found = golden();
        let stream = Found::Stream {
            fourcc: *b"MJPG",
            width: 16,
            height: 16,
            time_base: (1, 81_920),
        };
        assert_eq!((found.len(), &found[0]), (4, &stream));
        for (number, packet) in found[1..].iter().enumerate() {
            let Found::Packet { pts, data } = packet else {
                panic!("{packet:?}");
            };
            assert_eq!(*pts, 8192 * number as i64, "a tenth of a second each");
            assert!(data.starts_with(&[0xFF, 0xD8]) && data.ends_with(&[0xFF, 0xD9]));
        }
    }

    #[test]
    fn a_flipped_bit_of_a_header_is_seen() {
        // Of the main header, the stream's, a synchronisation point.
        for at in [40, 0x78, 0xE4] {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 1;
            let mut parser = Parser::default();
            parser.push(&bytes);
            assert!(
                matches!(all(&mut parser), Err(NutError::Checksum { .. })),
                "byte {at}"
            );
        }
        let mut parser = Parser::default();
        parser.push(b"nut/mp4");
        assert_eq!(parser.next(), Err(NutError::Foreign));
    }

    #[test]
    fn time_stamps_are_completed_from_their_low_bits() {
        let stream = |last_pts| Stream {
            time_base: (1, 90_000),
            msb_pts_shift: 7,
            last_pts,
        };
        assert_eq!(stream(1000).pts(1000 & 127), Some(1000));
        assert_eq!(stream(1000).pts(1063 & 127), Some(1063));
        assert_eq!(stream(1000).pts(938 & 127), Some(938), "a little back");
        assert_eq!(stream(1000).pts(128 + 77), Some(77), "in full");
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(images in proptest::collection::vec((0_u64..1 << 50, proptest::collection::vec(any::<u8>(), 1..50)), 1..6)) {
            let mut parser = Parser::default();
            parser.push(&encode_header(8, 9));
            images.iter().for_each(|(micros, jpeg)| parser.push(&encode_packet(*micros, jpeg)));
            let found = all(&mut parser).expect("our own");
            let stream = Found::Stream { fourcc: *b"MJPG", width: 8, height: 9, time_base: (1, 1_000_000) };
            prop_assert_eq!(&found[0], &stream);
            let packets = images.into_iter().map(|(micros, jpeg)| Found::Packet { pts: micros as i64, data: jpeg.into() });
            prop_assert_eq!(&found[1..], &packets.collect::<Vec<_>>()[..]);
        }

        #[test]
        fn it_reads_the_same_however_it_is_cut(cut in 1_usize..200) {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in GOLDEN.chunks(cut) {
                parser.push(piece);
                found.extend(all(&mut parser).expect("what ffmpeg wrote"));
            }
            prop_assert_eq!(found, golden());
        }

        #[test]
        fn damage_never_panics(changes in proptest::collection::vec((0..GOLDEN.len(), any::<u8>()), 1..6)) {
            let mut bytes = GOLDEN.to_vec();
            for (at, value) in changes {
                bytes[at] = value;
            }
            let mut parser = Parser::default();
            parser.push(&bytes);
            let _ = all(&mut parser);
        }

        #[test]
        fn wrong_headers_with_right_checksums_never_panic(
            code in prop_oneof![Just(MAIN), Just(STREAM), Just(SYNCPOINT)],
            body in proptest::collection::vec(any::<u8>(), 0..200),
            tail in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut parser = Parser::default();
            parser.push(GOLDEN);
            let _ = all(&mut parser);
            let mut bytes = code.to_be_bytes().to_vec();
            let length = body.len() as u64 + 4;
            bytes.extend(if length < 128 { vec![length as u8] } else { vec![0x80 | (length >> 7) as u8, (length & 127) as u8] });
            bytes.extend(&body);
            bytes.extend(crc(&body).to_be_bytes());
            bytes.extend(&tail);
            parser.push(&bytes);
            let _ = all(&mut parser);
        }
    }
}
