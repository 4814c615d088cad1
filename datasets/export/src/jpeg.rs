//! Just enough JPEG (ITU-T T.81) to refuse an image before it is fed on.

/// Checks that `jpeg` is one whole image, from its start to its end marker,
/// and returns its size (width, height) in pixels.
///
/// The compressed data itself is not decoded.
///
/// # Errors
/// What is wrong, in words.
pub fn size(jpeg: &[u8]) -> Result<(u32, u32), String> {
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
                let sof = jpeg.get(at + 5..at + 9).ok_or("cut JPEG: no size in SOF")?;
                let pair = |i: usize| u32::from(sof[i]) << 8 | u32::from(sof[i + 1]);
                return Ok((pair(2), pair(0)));
            }
            0xDA => return Err("JPEG without a frame header (SOF) before its scan".into()),
            _ => at += 2 + length,
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

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = size(&bytes);
            bytes.splice(0..0, [0xFF, 0xD8]);
            bytes.extend([0xFF, 0xD9]);
            let _ = size(&bytes);
        }
    }
}
