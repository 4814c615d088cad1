//! Zarr, version 2 of the format (zarr-specs, "Zarr storage specification version
//! 2"): as much of it as the datasets here need, written and read.
//!
//! Written: a folder or a ZIP file whose entries are stored as they are; C order;
//! arrays that grow along their first axis. Numbers are not compressed: they are a
//! thousandth of the images. An image is one chunk that holds one JPEG, under the
//! codec [`JPEG_CODEC`], so that a recorded JPEG goes in as it is.
//!
//! Read: the same, and what `zarr` 2 for Python writes unless told otherwise (Blosc
//! with LZ4), and zlib.

mod blosc;
mod read;
mod write;

pub(crate) use read::{Array, Packing, Source};
pub(crate) use write::{Images, Rows, Store, Values};

/// Id under which `imagecodecs` registers its JPEG codec with `numcodecs`. Of the
/// colours nothing is said, so that it hands out what the JPEG holds, as RGB.
pub(crate) const JPEG_CODEC: &str = "imagecodecs_jpeg";

/// Types of numbers, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    I32,
    I64,
    F32,
    F64,
    Bool,
}

impl Type {
    /// As NumPy writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
            Self::Bool => "|b1",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        [
            Self::U8,
            Self::I32,
            Self::I64,
            Self::F32,
            Self::F64,
            Self::Bool,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}
