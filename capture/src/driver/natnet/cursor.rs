//! Reads little-endian values one after another.

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(part)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    pub fn point(&mut self) -> Option<[f32; 3]> {
        Some([self.f32()?, self.f32()?, self.f32()?])
    }

    /// A count or a size: no section of a UDP packet has more entries than the
    /// packet has bytes.
    pub fn count(&mut self) -> Option<usize> {
        usize::try_from(self.i32()?)
            .ok()
            .filter(|&count| count <= 65_535)
    }

    /// Text up to a zero byte.
    pub fn name(&mut self) -> Option<String> {
        let length = self.bytes.iter().position(|&byte| byte == 0)?;
        let name = self.take(length)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}
