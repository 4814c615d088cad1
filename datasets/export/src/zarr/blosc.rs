//! One Blosc buffer (c-blosc 1, README_CHUNK_FORMAT.rst): sixteen bytes of header,
//! then the blocks, each split into one stream per byte of the type or whole, each
//! stream behind its length.

use std::io::Read;

const HEADER: usize = 16;
/// Flags: bytes of equal weight are together; not compressed; bits likewise; blocks
/// are not split.
const SHUFFLE: u8 = 1;
const COPIED: u8 = 2;
const BIT_SHUFFLE: u8 = 4;
const WHOLE_BLOCKS: u8 = 16;
/// Larger types, and smaller streams, are not split.
const MAX_SPLITS: usize = 16;
const MIN_STREAM: usize = 128;

/// Unpacks `packed`, which must give exactly `expected` bytes.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn unpack(packed: &[u8], expected: usize) -> Result<Vec<u8>, String> {
    let header = packed
        .get(..HEADER)
        .ok_or_else(|| format!("Blosc: {} bytes, expected a header of 16", packed.len()))?;
    let number = |at: usize| {
        let bytes = header[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let (flags, width) = (header[2], usize::from(header[3]).max(1));
    let (bytes, block, length) = (number(4), number(8), number(12));
    if header[0] != 2 {
        return Err(format!("Blosc: format {}, expected 2", header[0]));
    }
    if bytes != expected || length != packed.len() {
        return Err(format!(
            "Blosc: {bytes} bytes in {length}, expected {expected} in {}",
            packed.len()
        ));
    }
    if flags & COPIED != 0 {
        let content = packed.get(HEADER..HEADER + bytes);
        return content
            .map(<[u8]>::to_vec)
            .ok_or_else(|| "Blosc: it ends early".to_owned());
    }
    if flags & BIT_SHUFFLE != 0 {
        return Err("Blosc: bits are shuffled, expected bytes or nothing".to_owned());
    }
    let codec = Codec::of(flags >> 5)?;
    let mut out = vec![0; bytes];
    if bytes == 0 {
        return Ok(out);
    }
    if block == 0 || block > bytes.max(1 << 20) {
        return Err(format!("Blosc: blocks of {block} bytes in {bytes}"));
    }
    let mut scratch = Vec::new();
    for (at, plain) in out.chunks_mut(block).enumerate() {
        let start = packed
            .get(HEADER + 4 * at..HEADER + 4 * at + 4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize);
        let mut from = start
            .and_then(|start| packed.get(start..))
            .ok_or_else(|| format!("Blosc: block {at} starts behind the end"))?;
        // The last, shorter block is never split.
        let split = flags & WHOLE_BLOCKS == 0
            && width <= MAX_SPLITS
            && plain.len() == block
            && block / width >= MIN_STREAM;
        let streams = if split { width } else { 1 };
        let shuffled = flags & SHUFFLE != 0 && width > 1;
        scratch.clear();
        scratch.resize(plain.len(), 0);
        let target = if shuffled { &mut scratch } else { &mut *plain };
        let stream = target.len() / streams;
        for piece in target.chunks_mut(stream.max(1)) {
            let (head, rest) = from
                .split_at_checked(4)
                .ok_or_else(|| format!("Blosc: block {at} ends early"))?;
            let length = u32::from_le_bytes(head.try_into().expect("four bytes")) as usize;
            let (content, rest) = rest
                .split_at_checked(length)
                .ok_or_else(|| format!("Blosc: block {at} ends early"))?;
            from = rest;
            if length == piece.len() {
                piece.copy_from_slice(content);
            } else {
                codec.unpack(content, piece)?;
            }
        }
        if shuffled {
            unshuffle(&scratch, plain, width);
        }
    }
    Ok(out)
}

/// Bytes of equal weight are together in `from`, but for a rest that is as it was.
fn unshuffle(from: &[u8], to: &mut [u8], width: usize) {
    let count = from.len() / width;
    for (at, value) in to.chunks_exact_mut(width).enumerate() {
        for (weight, byte) in value.iter_mut().enumerate() {
            *byte = from[weight * count + at];
        }
    }
    to[count * width..].copy_from_slice(&from[count * width..]);
}

enum Codec {
    Lz4,
    Zlib,
}

impl Codec {
    fn of(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::Lz4),
            3 => Ok(Self::Zlib),
            other => {
                let names = ["BloscLZ", "LZ4", "Snappy", "zlib", "Zstandard"];
                let name = names.get(usize::from(other)).unwrap_or(&"unknown");
                Err(format!(
                    "Blosc with {name}, expected LZ4 (what zarr writes unless told otherwise) or zlib"
                ))
            }
        }
    }

    fn unpack(&self, from: &[u8], to: &mut [u8]) -> Result<(), String> {
        let got = match self {
            Self::Lz4 => lz4_flex::block::decompress_into(from, to).map_err(|e| e.to_string())?,
            Self::Zlib => {
                let mut reader = flate2::read::ZlibDecoder::new(from);
                reader.read_exact(to).map_err(|e| e.to_string())?;
                to.len()
            }
        };
        if got == to.len() {
            Ok(())
        } else {
            Err(format!(
                "Blosc: {got} bytes unpacked, expected {}",
                to.len()
            ))
        }
    }
}
