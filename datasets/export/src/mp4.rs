//! Just enough MP4 (ISO/IEC 14496-12) to know which videos can be joined. What lies in a finished dataset
//! is checked by what its readers use, see [`crate::ffmpeg::probe`].

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::ExportError;

/// What a file with one video track says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Hash of size and codec parameters; files of equal ones can be joined.
    pub parameters: String,
    /// Encoded images.
    pub images: u64,
}

/// Longest description of a file that is read: 4 bytes an image and little else.
const MOST_BYTES: u64 = 256 << 20;
/// Length of what lies before the boxes of a `VisualSampleEntry`, and before those of an `stsd`.
const ENTRY: usize = 78;
const DESCRIPTIONS: usize = 8;

/// Reads the head of a video file.
///
/// # Errors
/// The file cannot be read, or has not one video track of H.264 or AV1.
pub(crate) fn head(path: &Path) -> Result<Head, ExportError> {
    let failed = || ExportError::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let moov = moov(&mut file).map_err(failed())?;
    moov.and_then(|moov| of_moov(&moov))
        .ok_or_else(|| ExportError::Invalid {
            what: "expected a video of one track, with its description whole".into(),
            path: path.into(),
        })
}

/// The box that describes all tracks; before or behind the images.
fn moov(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let end = file.metadata()?.len();
    let mut at = 0;
    while at + 8 <= end {
        file.seek(SeekFrom::Start(at))?;
        let mut header = Vec::new();
        file.take(16).read_to_end(&mut header)?;
        let Some((kind, start, length)) = header_of(&header, end - at) else {
            return Ok(None);
        };
        if kind == *b"moov" && length <= MOST_BYTES {
            file.seek(SeekFrom::Start(at + start))?;
            let mut content = Vec::new();
            file.take(length - start).read_to_end(&mut content)?;
            return Ok((content.len() as u64 == length - start).then_some(content));
        }
        at += length;
    }
    Ok(None)
}

/// Kind, length of the header and of the whole of a box of which `left` bytes are there.
fn header_of(bytes: &[u8], left: u64) -> Option<([u8; 4], u64, u64)> {
    let kind = bytes.get(4..8)?.try_into().ok()?;
    let (start, length) = match u32::from_be_bytes(bytes[..4].try_into().ok()?) {
        0 => (8, left),
        1 => (16, u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?)),
        length => (8, u64::from(length)),
    };
    (length >= start && length <= left).then_some((kind, start, length))
}

/// The contents of the boxes of a kind.
fn boxes<'a>(mut bytes: &'a [u8], kind: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        loop {
            let (found, start, length) = header_of(bytes, bytes.len() as u64)?;
            let (one, rest) = bytes.split_at(length as usize);
            bytes = rest;
            if found == *kind {
                return Some(&one[start as usize..]);
            }
        }
    })
}

fn of_moov(moov: &[u8]) -> Option<Head> {
    let mut tracks = boxes(moov, b"trak");
    let (track, None) = (tracks.next()?, tracks.next()) else {
        return None;
    };
    let mut table = track;
    for kind in [b"mdia", b"minf", b"stbl"] {
        table = boxes(table, kind).next()?;
    }
    let descriptions = boxes(table, b"stsd").next()?.get(DESCRIPTIONS..)?;
    let coded = [(b"avc1", b"avcC"), (b"av01", b"av1C")];
    let (entry, parameters) = coded.into_iter().find_map(|(codec, parameters)| {
        let entry = boxes(descriptions, codec).next()?;
        let parameters = boxes(entry.get(ENTRY..)?, parameters).next()?;
        Some((&entry[..ENTRY], parameters))
    })?;
    // The estimate of the bit rate, which is another box of the entry, differs from file to file.
    let mut hash = Sha256::new();
    hash.update(entry);
    hash.update(parameters);
    let count = boxes(table, b"stsz").next()?.get(8..12)?;
    Some(Head {
        parameters: crate::lifecycle::hex(hash),
        images: u64::from(u32::from_be_bytes(count.try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = 8 + content.len() as u32;
        [&length.to_be_bytes()[..], kind, content].concat()
    }

    fn moov_of(images: u32, parameters: &[u8], bit_rate: u8) -> Vec<u8> {
        let inner = [
            vec![7; ENTRY],
            boxed(b"btrt", &[bit_rate; 12]),
            boxed(b"avcC", parameters),
        ];
        let entry = boxed(b"avc1", &inner.concat());
        let stsd = boxed(b"stsd", &[vec![0; DESCRIPTIONS], entry].concat());
        let mut stsz = boxed(b"stsz", &[0; 16]);
        stsz[16..20].copy_from_slice(&images.to_be_bytes());
        let mut content = [stsd, stsz].concat();
        for kind in [b"stbl", b"minf", b"mdia", b"trak"] {
            content = boxed(kind, &content);
        }
        content
    }

    fn read(bytes: &[u8]) -> Result<Head, ExportError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        head(file.path())
    }

    #[test]
    fn the_head_is_found_before_and_behind_the_images() {
        let moov = boxed(b"moov", &moov_of(631, &[1, 2, 3], 9));
        let images = boxed(b"mdat", &[0; 100]);
        let before = read(&[&moov[..], &images].concat()).unwrap();
        // A length of 64 bits, and a last box that goes on to the end.
        let long = [
            &1_u32.to_be_bytes()[..],
            b"mdat",
            &20_u64.to_be_bytes(),
            &[0; 4],
        ]
        .concat();
        let mut open = moov.clone();
        open[..4].fill(0);
        let behind = read(&[&long[..], &open].concat()).unwrap();
        assert_eq!(before, behind);
        assert_eq!(before.images, 631);
        assert!(read(&images).is_err());
        assert!(read(&moov[..moov.len() - 1]).is_err());
    }

    #[test]
    fn parameters_tell_videos_apart_and_bit_rates_do_not() {
        let of = |parameters: &[u8], bit_rate| {
            of_moov(&moov_of(1, parameters, bit_rate))
                .unwrap()
                .parameters
        };
        assert_eq!(of(&[1, 2], 3), of(&[1, 2], 4));
        assert_ne!(of(&[1, 2], 3), of(&[1, 3], 3));
    }

    #[test]
    fn two_tracks_are_refused() {
        let one = moov_of(1, &[1], 1);
        assert!(of_moov(&[one.clone(), one].concat()).is_none());
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..400, value: u8, cut in 0_usize..400) {
            let mut bytes = [boxed(b"ftyp", &[0; 16]), boxed(b"moov", &moov_of(5, &[1; 40], 2))].concat();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len().max(cut) - cut.min(bytes.len()));
            let _ = read(&bytes);
            let _ = of_moov(&bytes);
        }
    }
}
