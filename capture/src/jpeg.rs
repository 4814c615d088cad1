//! Where a JPEG ends, and whether it is whole: a strict walk over its segments
//! (ITU-T T.81, annex B) without decoding.
//!
//! Cameras pad their buffers, and a buffer that is used again still holds the end
//! of a longer image from before: the last end marker in it means nothing.

/// A JPEG that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jpeg {
    /// From its start marker to behind its end marker [byte].
    pub length: usize,
    /// Width [pixel].
    pub width: u16,
    /// Height [pixel]; 0 where it is left to a later segment.
    pub height: u16,
    /// Brings its Huffman tables. Many cameras leave them out: then the usual ones
    /// (T.81, annex K.3) hold, which decoders know.
    pub has_huffman_tables: bool,
}

/// Why an image is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// It breaks off.
    Truncated,
    /// It is not built as a JPEG is.
    Corrupt,
}

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DHT: u8 = 0xC4;

/// Walks the JPEG at the start of `bytes`.
///
/// # Errors
/// The bytes end before the image does, or hold something else.
pub fn walk(bytes: &[u8]) -> Result<Jpeg, Defect> {
    match bytes {
        [0xFF, SOI, ..] => {}
        [] | [0xFF] => return Err(Defect::Truncated),
        _ => return Err(Defect::Corrupt),
    }
    let mut at = 2;
    let mut size = None;
    let mut has_scan = false;
    let mut has_huffman_tables = false;
    loop {
        let marker = marker(bytes, &mut at)?;
        match marker {
            EOI => {
                let (Some((width, height)), true) = (size, has_scan) else {
                    return Err(Defect::Corrupt);
                };
                return Ok(Jpeg {
                    length: at,
                    width,
                    height,
                    has_huffman_tables,
                });
            }
            // The next image begins before this one has ended.
            SOI => return Err(Defect::Truncated),
            SOS => {
                let header = segment(bytes, &mut at)?;
                let components = usize::from(*header.first().ok_or(Defect::Corrupt)?);
                if size.is_none() || header.len() != 4 + 2 * components {
                    return Err(Defect::Corrupt);
                }
                skip_scan(bytes, &mut at)?;
                has_scan = true;
            }
            DHT => {
                segment(bytes, &mut at)?;
                has_huffman_tables = true;
            }
            // Start of frame; C8 is reserved, CC sets up arithmetic coding.
            0xC0..=0xCF if !matches!(marker, 0xC8 | 0xCC) => {
                let header = segment(bytes, &mut at)?;
                let &[_, h1, h0, w1, w0, components, ..] = header else {
                    return Err(Defect::Corrupt);
                };
                let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                let expected = 6 + 3 * usize::from(components);
                if size.is_some() || width == 0 || header.len() != expected {
                    return Err(Defect::Corrupt);
                }
                size = Some((width, height));
            }
            // Tables, restart interval, lines, application data, comment.
            0xCC | 0xDB..=0xDF | 0xE0..=0xEF | 0xFE => {
                segment(bytes, &mut at)?;
            }
            _ => return Err(Defect::Corrupt),
        }
    }
}

/// The marker at `at`, before which fill bytes may stand.
fn marker(bytes: &[u8], at: &mut usize) -> Result<u8, Defect> {
    if *bytes.get(*at).ok_or(Defect::Truncated)? != 0xFF {
        return Err(Defect::Corrupt);
    }
    loop {
        *at += 1;
        match *bytes.get(*at).ok_or(Defect::Truncated)? {
            0xFF => {}
            marker => {
                *at += 1;
                return Ok(marker);
            }
        }
    }
}

/// What a segment holds behind its length.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Defect> {
    let &[high, low] = bytes.get(*at..*at + 2).ok_or(Defect::Truncated)? else {
        return Err(Defect::Truncated);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(Defect::Corrupt);
    }
    let content = bytes.get(*at + 2..*at + length).ok_or(Defect::Truncated)?;
    *at += length;
    Ok(content)
}

/// Goes over entropy-coded data to the marker that ends it.
fn skip_scan(bytes: &[u8], at: &mut usize) -> Result<(), Defect> {
    loop {
        let rest = bytes.get(*at..).ok_or(Defect::Truncated)?;
        *at += rest
            .iter()
            .position(|&byte| byte == 0xFF)
            .ok_or(Defect::Truncated)?;
        match *bytes.get(*at + 1).ok_or(Defect::Truncated)? {
            // A stuffed FF, or a restart marker.
            0x00 | 0xD0..=0xD7 => *at += 2,
            0xFF => *at += 1,
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG by hand: `tables` segments, a frame of 8 × 16, a scan.
    fn jpeg(app: &[u8], scan: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1];
        bytes.extend(((app.len() + 2) as u16).to_be_bytes());
        bytes.extend(app);
        bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 8, 1, 1, 0x11, 0]);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
        bytes.extend(scan);
        bytes.extend([0xFF, 0xD9]);
        bytes
    }

    #[test]
    fn a_whole_one_ends_at_its_own_end_marker() {
        // A thumbnail with an end marker of its own, a stuffed byte, a restart marker.
        let whole = jpeg(
            &[0xFF, 0xD8, 1, 0xFF, 0xD9],
            &[7, 0xFF, 0, 9, 0xFF, 0xD3, 4],
        );
        let mut buffer = whole.clone();
        // What a longer image left behind it.
        buffer.extend([5, 0xFF, 0xD9, 0, 0, 0xFF, 0xD9]);
        let expected = Jpeg {
            length: whole.len(),
            width: 8,
            height: 16,
            has_huffman_tables: false,
        };
        assert_eq!(walk(&buffer), Ok(expected));
        assert_eq!(walk(&whole), Ok(expected));
    }

    #[test]
    fn each_cut_is_found() {
        let whole = jpeg(&[1, 2, 3], &[7, 0xFF, 0, 9]);
        for length in 0..whole.len() {
            assert_eq!(walk(&whole[..length]), Err(Defect::Truncated), "{length}");
        }
        // The next image begins in the middle of the scan.
        let mut joined = whole[..whole.len() - 3].to_vec();
        joined.extend(&whole);
        assert_eq!(walk(&joined), Err(Defect::Truncated));
    }

    #[test]
    fn what_is_no_jpeg_is_corrupt() {
        let whole = jpeg(&[], &[1]);
        let changed = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            walk(&bytes)
        };
        assert_eq!(walk(b"BM not a JPEG"), Err(Defect::Corrupt));
        // No end before a scan; a reserved marker; lengths that fit no header.
        assert_eq!(walk(&[0xFF, 0xD8, 0xFF, 0xD9]), Err(Defect::Corrupt));
        assert_eq!(changed(3, 0x02), Err(Defect::Corrupt));
        assert_eq!(changed(5, 1), Err(Defect::Corrupt));
        assert_eq!(changed(9, 12), Err(Defect::Corrupt));
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_never_reaches_beyond_its_end(
            mut bytes in proptest::collection::vec(prop_oneof![Just(0xFF_u8), any::<u8>()], 0..400),
            like_a_jpeg in any::<bool>(),
        ) {
            if like_a_jpeg {
                bytes.splice(0..0, jpeg(&[], &[])[..31].to_vec());
            }
            if let Ok(found) = walk(&bytes) {
                prop_assert!(found.length <= bytes.len());
                prop_assert_eq!(&bytes[found.length - 2..found.length], &[0xFF, 0xD9]);
            }
        }

        #[test]
        fn what_follows_changes_nothing(
            scan in proptest::collection::vec(0_u8..0xFF, 1..50),
            stale in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let whole = jpeg(&[], &scan);
            let buffer = [&whole[..], &stale].concat();
            prop_assert_eq!(walk(&buffer).map(|jpeg| jpeg.length), Ok(whole.len()));
        }
    }
}
