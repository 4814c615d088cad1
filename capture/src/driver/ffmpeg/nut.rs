//! The NUT container, as far as a stream of images needs it: the time base and the
//! exact time stamp of every packet, each packet as soon as its last byte is there.
//! (NUT specification, `nut.txt`, version 3.)

mod cursor;
mod encode;

use bytes::{Buf, Bytes, BytesMut};

use self::cursor::{Cursor, Stop, crc, malformed};
pub use self::encode::{encode_header, encode_packet};

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

impl Parser {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole thing; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is damaged, or not what this reads: one stream of images.
    pub fn pull(&mut self) -> Result<Option<Found>, NutError> {
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
mod tests;
