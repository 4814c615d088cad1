//! Depth images as they go into the file: PNG of 16-bit millimetres, lossless to
//! the millimetre, 0 where nothing was measured.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Image, ImageFormat, Item};

/// A packed depth image.
pub(super) struct Packed {
    pub image: Image,
    /// Pixels beyond what 16 bits of millimetres hold (65.535 m), now 0.
    pub clipped: u64,
}

/// Counts the clipped pixels of a stream.
#[derive(Debug, Default)]
pub(super) struct Clipped(AtomicU64);

impl Clipped {
    /// Takes those of an image; what people should know of it.
    pub fn see(&self, clipped: u64) -> Vec<Item> {
        if clipped == 0 {
            return Vec::new();
        }
        let before = self.0.fetch_add(clipped, Ordering::Relaxed);
        let total = (
            "depth_pixels_clipped".to_owned(),
            (before + clipped).to_string(),
        );
        let mut items = vec![Item::About(vec![total])];
        if before == 0 {
            let text = "depths beyond 65.535 m do not fit the image and are 0 there".to_owned();
            items.push(Item::Note {
                warning: true,
                text,
            });
        }
        items
    }
}

/// Millimetres of a depth; 0 for none. `None` where it does not fit.
fn millimetres(depth_m: f32) -> Option<u16> {
    match depth_m {
        depth if depth.is_nan() || depth <= 0.0 => Some(0),
        depth if depth < 65.5355 => Some((f64::from(depth) * 1e3).round() as u16),
        _ => None,
    }
}

/// Packs depths [m], row by row from the top; NaN, zero and less are no measurement.
/// Infinity is clipped like all that is too far.
pub(super) fn pack_metres(
    depths_m: impl Iterator<Item = f32>,
    width: u32,
    height: u32,
) -> Result<Packed, png::EncodingError> {
    let mut clipped = 0;
    let mut big_endian = Vec::with_capacity(2 * width as usize * height as usize);
    for depth_m in depths_m {
        let value = millimetres(depth_m).unwrap_or_else(|| {
            clipped += 1;
            0
        });
        big_endian.extend(value.to_be_bytes());
    }
    Ok(Packed {
        image: pack(&big_endian, width, height)?,
        clipped,
    })
}

/// Packs 16-bit little-endian depths in units of `unit_m`.
pub(super) fn pack_units(
    little_endian: &[u8],
    unit_m: f32,
    width: u32,
    height: u32,
) -> Result<Packed, png::EncodingError> {
    let units = little_endian
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    // Millimetres stay as they are, whatever floating point makes of 0.001.
    if (unit_m - 1e-3).abs() < 1e-9 {
        let big_endian: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
        return Ok(Packed {
            image: pack(&big_endian, width, height)?,
            clipped: 0,
        });
    }
    pack_metres(units.map(|unit| f32::from(unit) * unit_m), width, height)
}

fn pack(big_endian: &[u8], width: u32, height: u32) -> Result<Image, png::EncodingError> {
    let mut bytes = Vec::with_capacity(big_endian.len() / 2);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(big_endian)?;
    writer.finish()?;
    Ok(Image {
        data: Bytes::from(bytes),
        format: ImageFormat::DepthPng,
        exposure_ns: None,
    })
}

/// Reads a packed image back: millimetres, width, height.
#[cfg(test)]
pub(crate) fn unpack(png: &[u8]) -> (Vec<u16>, u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("an image");
    assert_eq!(
        (info.color_type, info.bit_depth),
        (png::ColorType::Grayscale, png::BitDepth::Sixteen)
    );
    let values = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    (values.collect(), info.width, info.height)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_measured_is_zero_and_what_is_too_far_is_counted() {
        let depths = [
            0.0,
            -1.0,
            f32::NAN,
            0.0004,
            0.0006,
            1.2345,
            65.535,
            65.6,
            f32::INFINITY,
        ];
        let packed = pack_metres(depths.into_iter(), 9, 1).expect("packed");
        let (values, width, height) = unpack(&packed.image.data);
        assert_eq!(values, [0, 0, 0, 0, 1, 1235, 65535, 0, 0]);
        assert_eq!((width, height, packed.clipped), (9, 1, 2));
    }

    #[test]
    fn other_units_become_millimetres() {
        let units: Vec<u8> = [0_u16, 10_000, 60_004]
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect();
        let packed = pack_units(&units, 1e-4, 3, 1).expect("packed");
        assert_eq!(unpack(&packed.image.data).0, [0, 1000, 6000]);
    }

    proptest! {
        #[test]
        fn millimetres_come_back_exactly(values in proptest::collection::vec(any::<u16>(), 12)) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let packed = pack_units(&bytes, 1e-3, 4, 3).expect("packed");
            prop_assert_eq!(unpack(&packed.image.data), (values, 4, 3));
            prop_assert_eq!(packed.clipped, 0);
        }

        #[test]
        fn metres_come_back_to_half_a_millimetre(depth_m in 0.001_f32..65.5) {
            let packed = pack_metres(std::iter::once(depth_m), 1, 1).expect("packed");
            let back_m = f64::from(unpack(&packed.image.data).0[0]) * 1e-3;
            prop_assert!((back_m - f64::from(depth_m)).abs() <= 0.000_500_1, "{} {}", depth_m, back_m);
        }
    }
}
