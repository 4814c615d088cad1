//! NUT's numbers, texts and checksums.

use super::{MAX_HEADER_BYTES, NutError};

/// A reader that knows when bytes have not come yet.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// Not enough bytes yet, or wrong ones.
pub(super) enum Stop {
    Incomplete,
    Wrong(NutError),
}

impl From<NutError> for Stop {
    fn from(error: NutError) -> Self {
        Self::Wrong(error)
    }
}

pub(super) fn malformed<T>(what: &'static str) -> Result<T, Stop> {
    Err(Stop::Wrong(NutError::Malformed(what)))
}

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count));
        let part = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(Stop::Incomplete)?;
        self.at += part.len();
        Ok(part)
    }

    pub fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_be_bytes(
            self.take(4)?.try_into().expect("four bytes"),
        ))
    }

    pub fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_be_bytes(
            self.take(8)?.try_into().expect("eight bytes"),
        ))
    }

    /// Seven bits a byte, most significant first.
    pub fn v(&mut self) -> Result<u64, Stop> {
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
    pub fn s(&mut self) -> Result<i64, Stop> {
        let value = self.v()?;
        let half = (value / 2 + value % 2) as i64;
        Ok(if value % 2 == 1 { half } else { -half })
    }

    pub fn text(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.v()?;
        if length > MAX_HEADER_BYTES {
            return malformed("a text of more than a megabyte");
        }
        self.take(length)
    }
}

/// CRC-32 of NUT: polynomial 0x04C11DB7, most significant bit first, from zero.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}
