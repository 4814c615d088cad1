//! Just enough JPEG (ITU-T T.81) to refuse an image before it is fed on, and to
//! tell one from the next.

use std::io::BufRead;

use bytes::Bytes;

/// Checks that `jpeg` is one whole image, from its start to its end marker,
/// and returns its size (width, height) in pixels.
///
/// The compressed data itself is not decoded.
///
/// # Errors
/// What is wrong, in words.
pub fn size(jpeg: &[u8]) -> Result<(u32, u32), String> {
    header(jpeg).map(|(size, _)| size)
}

/// Number of components of a whole JPEG: 1 for grey, 3 for colour.
pub(crate) fn components(jpeg: &[u8]) -> Option<u8> {
    header(jpeg).ok().map(|(_, components)| components)
}

fn header(jpeg: &[u8]) -> Result<((u32, u32), u8), String> {
    if !jpeg.starts_with(&[0xFF, 0xD8]) {
        return Err(format!(
            "not a JPEG: expected it to begin with FF D8, got {:02X?}",
            &jpeg[..jpeg.len().min(2)]
        ));
    }
    if !jpeg.ends_with(&[0xFF, 0xD9]) {
        return Err(format!(
            "cut JPEG: {} bytes without the end marker FF D9 at their end",
            jpeg.len()
        ));
    }
    let mut at = 2;
    loop {
        let header = jpeg
            .get(at..at + 4)
            .ok_or("JPEG without a frame header (SOF)")?;
        let (marker, length) = (
            header[1],
            usize::from(header[2]) << 8 | usize::from(header[3]),
        );
        if header[0] != 0xFF {
            return Err(format!("broken JPEG: expected a marker at byte {at}"));
        }
        match marker {
            // Fill byte before a marker.
            0xFF => at += 1,
            // SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC).
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let sof = jpeg
                    .get(at + 5..at + 10)
                    .ok_or("cut JPEG: no size in SOF")?;
                let pair = |i: usize| u32::from(sof[i]) << 8 | u32::from(sof[i + 1]);
                return Ok(((pair(2), pair(0)), sof[4]));
            }
            0xDA => return Err("JPEG without a frame header (SOF) before its scan".into()),
            _ => at += 2 + length,
        }
    }
}

/// The next whole JPEG of a stream of them, back to back; `None` where the stream
/// ends before its first byte.
///
/// # Errors
/// The stream is none of JPEGs, or ends within one.
pub(crate) fn read_one(stream: &mut impl BufRead) -> std::io::Result<Option<Bytes>> {
    let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut image = vec![0; 2];
    stream.read_exact(&mut image)?;
    if image != [0xFF, 0xD8] {
        return Err(broken("expected a JPEG to begin with FF D8"));
    }
    let mut read = |image: &mut Vec<u8>, count: usize| {
        let from = image.len();
        image.resize(from + count, 0);
        stream.read_exact(&mut image[from..])
    };
    // Segments with lengths, which may hold any bytes.
    loop {
        read(&mut image, 4)?;
        let at = image.len() - 4;
        let length = usize::from(image[at + 2]) << 8 | usize::from(image[at + 3]);
        if image[at] != 0xFF || length < 2 {
            return Err(broken("expected a marker with its length"));
        }
        read(&mut image, length - 2)?;
        if image[at + 1] == 0xDA {
            break;
        }
    }
    // Then compressed data, in which FF is followed by 00 or a restart marker.
    loop {
        let from = image.len();
        stream.read_until(0xFF, &mut image)?;
        if image.len() == from || image.last() != Some(&0xFF) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let mut next = [0xFF];
        while next == [0xFF] {
            stream.read_exact(&mut next)?;
            image.push(next[0]);
        }
        match next[0] {
            0x00 | 0xD0..=0xD7 => {}
            0xD9 => return Ok(Some(image.into())),
            _ => return Err(broken("expected one scan in each JPEG")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALLEST: [u8; 25] = [
        0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC0, 0, 11, 8, 0x01, 0xE0, 0x02, 0x80, 1, 1,
        0x11, 0, 0xFF, 0xDA, 0xFF, 0xD9,
    ];

    #[test]
    fn the_size_is_read_behind_other_segments() {
        assert_eq!(size(&SMALLEST), Ok((640, 480)));
    }

    #[test]
    fn a_cut_image_says_so() {
        let error = size(&SMALLEST[..24]).unwrap_err();
        assert!(error.contains("end marker"), "{error}");
    }

    #[test]
    fn a_stream_is_cut_where_an_image_ends_and_nowhere_else() {
        // An end marker within a segment, a stuffed FF and a restart within a scan.
        let image = [
            0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xFF, 0xD0, 7,
            0xFF, 0xD9,
        ];
        let mut stream = &[image, image].concat()[..];
        for _ in 0..2 {
            let read = read_one(&mut stream).expect("readable");
            assert_eq!(read.as_deref(), Some(&image[..]));
        }
        assert!(read_one(&mut stream).expect("the end").is_none());
        for cut in 1..image.len() {
            assert!(read_one(&mut &image[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = size(&bytes);
            let _ = read_one(&mut &bytes[..]);
            bytes.splice(0..0, [0xFF, 0xD8]);
            bytes.extend([0xFF, 0xD9]);
            let _ = size(&bytes);
            let _ = read_one(&mut &bytes[..]);
        }
    }
}
