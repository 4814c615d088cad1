//! Pixels of cameras that give no JPEG: how they lie in memory, and a JPEG made of
//! them.
//!
//! This software is based in part on the work of the Independent JPEG Group (by way
//! of crate `jpeg-encoder`).

use dexumi_episode::CameraMode;
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use nokhwa::utils::FrameFormat;

use super::ImageFormat;

/// Quality of the JPEGs that are made here.
pub const QUALITY: u8 = 95;
/// How they are made, for the file.
pub const ENCODER: &str = "jpeg-encoder 0.7, quality 95, colour at half width as in the source";

/// Pixel formats that can be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixel {
    /// JPEG from the camera.
    Mjpeg,
    /// Y U Y V, 2 bytes a pixel.
    Yuyv,
    /// A plane of Y, then one of U V at half width and height.
    Nv12,
    /// 8-bit grey.
    Grey,
}

/// Why a rig's wish for pixels cannot be met: what is wrong, what to do.
pub type Refused = (String, String);

impl Pixel {
    /// All, those first that a camera is asked for first.
    pub const ALL: [Self; 4] = [Self::Mjpeg, Self::Yuyv, Self::Nv12, Self::Grey];

    /// Name in `rig.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mjpeg => "mjpeg",
            Self::Yuyv => "yuyv",
            Self::Nv12 => "nv12",
            Self::Grey => "grey",
        }
    }

    /// The four letters of Video for Linux.
    pub fn fourcc(self) -> [u8; 4] {
        match self {
            Self::Mjpeg => *b"MJPG",
            Self::Yuyv => *b"YUYV",
            Self::Nv12 => *b"NV12",
            Self::Grey => *b"GREY",
        }
    }

    /// Foxglove's name of raw pixels; `None` for JPEG.
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Self::Mjpeg => None,
            Self::Yuyv => Some("yuyv"),
            Self::Nv12 => Some("nv12"),
            Self::Grey => Some("mono8"),
        }
    }

    /// nokhwa's name.
    pub fn nokhwa(self) -> FrameFormat {
        match self {
            Self::Mjpeg => FrameFormat::MJPEG,
            Self::Yuyv => FrameFormat::YUYV,
            Self::Nv12 => FrameFormat::NV12,
            Self::Grey => FrameFormat::GRAY,
        }
    }

    /// Of nokhwa's name.
    pub fn of_nokhwa(format: FrameFormat) -> Option<Self> {
        Self::ALL.into_iter().find(|pixel| pixel.nokhwa() == format)
    }

    /// Those that a rig's camera may deliver, the preferred ones first.
    ///
    /// # Errors
    /// The rig names one that does not exist, or raw pixels of a JPEG.
    pub fn wanted(mode: &CameraMode) -> Result<Vec<Self>, Refused> {
        let named = mode
            .pixel
            .as_ref()
            .map(|name| {
                let found = Self::ALL.into_iter().find(|pixel| pixel.name() == name);
                found.ok_or_else(|| {
                    (
                        format!("pixel format `{name}` is not known"),
                        format!("`pixel` can be {}", Self::ALL.map(Self::name).join(", ")),
                    )
                })
            })
            .transpose()?;
        match (named, mode.raw) {
            (Some(Self::Mjpeg), true) => Err((
                "`raw = true` keeps pixels, but `pixel = \"mjpeg\"` has none".to_owned(),
                "leave one of the two out".to_owned(),
            )),
            (Some(pixel), _) => Ok(vec![pixel]),
            (None, true) => Ok(Self::ALL[1..].to_vec()),
            (None, false) => Ok(Self::ALL.to_vec()),
        }
    }
}

/// How an image's pixels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Pixel format.
    pub pixel: Pixel,
    /// Width [pixel].
    pub width: u32,
    /// Height [pixel].
    pub height: u32,
    /// Length of a row [byte]; 0 for JPEG.
    pub step: usize,
    /// Y of 0 to 255 rather than 16 to 235.
    pub full_range: bool,
}

impl Layout {
    /// Rows without padding, unless the camera's are longer.
    pub fn new(pixel: Pixel, (width, height): (u32, u32), step: usize, full_range: bool) -> Self {
        let packed = match pixel {
            Pixel::Mjpeg => 0,
            Pixel::Yuyv => 2 * width as usize,
            Pixel::Nv12 | Pixel::Grey => width as usize,
        };
        Self {
            pixel,
            width,
            height,
            step: if packed == 0 { 0 } else { packed.max(step) },
            full_range,
        }
    }

    /// Length of an image [byte]; 0 for JPEG.
    pub fn image_bytes(&self) -> usize {
        let height = self.height as usize;
        let rows = match self.pixel {
            Pixel::Nv12 => height + height.div_ceil(2),
            Pixel::Mjpeg | Pixel::Yuyv | Pixel::Grey => height,
        };
        rows * self.step
    }

    /// As it is written when the pixels are kept.
    pub fn raw(&self) -> Option<ImageFormat> {
        Some(ImageFormat::Raw {
            encoding: self.pixel.encoding()?,
            width: self.width,
            height: self.height,
            step: self.step as u32,
        })
    }

    /// Makes a JPEG of `pixels`, which have [`image_bytes`](Self::image_bytes). Brightness
    /// of 16 to 235 is spread to the 0 to 255 that JPEG has; colour stays at the
    /// resolution that it has.
    ///
    /// # Errors
    /// The image is larger than a JPEG can be, or shorter than it should be.
    pub fn to_jpeg(&self, pixels: &[u8]) -> Result<Vec<u8>, String> {
        let size = |length: u32| u16::try_from(length).ok().filter(|&length| length > 0);
        let (Some(width), Some(height), true) = (
            size(self.width),
            size(self.height),
            self.pixel != Pixel::Mjpeg && pixels.len() >= self.image_bytes(),
        ) else {
            return Err(format!(
                "no JPEG can be made of {} bytes as {}x{} {}",
                pixels.len(),
                self.width,
                self.height,
                self.pixel.name()
            ));
        };
        let mut jpeg = Vec::with_capacity(pixels.len() / 4);
        let mut encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.set_sampling_factor(match self.pixel {
            Pixel::Nv12 => SamplingFactor::F_2_2,
            _ => SamplingFactor::F_2_1,
        });
        let rows = Rows {
            layout: *self,
            pixels,
            width,
            height,
            range: Range::new(self.full_range),
        };
        encoder
            .encode_image(rows)
            .map_err(|error| error.to_string())?;
        Ok(jpeg)
    }
}

/// Brightness and colour of one range in the other, by value.
struct Range {
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl Range {
    fn new(is_full: bool) -> Self {
        let spread = |from: f64, to: f64, span: f64, value: usize| {
            ((value as f64 - from) * 255.0 / span + to)
                .round()
                .clamp(0.0, 255.0) as u8
        };
        let table = |from: f64, to: f64, span: f64| {
            std::array::from_fn(|value| {
                if is_full {
                    value as u8
                } else {
                    spread(from, to, span, value)
                }
            })
        };
        // ITU-R BT.601: 219 steps of brightness above 16, 224 of colour around 128.
        Self {
            luma: table(16.0, 0.0, 219.0),
            chroma: table(128.0, 128.0, 224.0),
        }
    }
}

/// Pixels as the encoder asks for them: a row of each component at full width.
struct Rows<'a> {
    layout: Layout,
    pixels: &'a [u8],
    width: u16,
    height: u16,
    range: Range,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        match self.layout.pixel {
            Pixel::Grey => JpegColorType::Luma,
            _ => JpegColorType::Ycbcr,
        }
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [luma, blue, red, _]: &mut [Vec<u8>; 4]) {
        let (y, width) = (usize::from(y), usize::from(self.width));
        let step = self.layout.step;
        let row = &self.pixels[y * step..(y + 1) * step];
        let bright = |&value: &u8| self.range.luma[usize::from(value)];
        let colour = |value: u8| self.range.chroma[usize::from(value)];
        match self.layout.pixel {
            Pixel::Yuyv => {
                let row = &row[..2 * width];
                luma.extend(row.iter().step_by(2).map(bright));
                // Two pixels share a colour; an odd last one has half a pair.
                for pair in row.chunks(4) {
                    let u = colour(pair[1]);
                    let v = pair.get(3).map_or(128, |&v| colour(v));
                    let pixels = pair.len() / 2;
                    blue.extend(std::iter::repeat_n(u, pixels));
                    red.extend(std::iter::repeat_n(v, pixels));
                }
            }
            Pixel::Nv12 => {
                luma.extend(row[..width].iter().map(bright));
                let below = (self.layout.height as usize + y / 2) * step;
                let colours = &self.pixels[below..below + step];
                for x in 0..width {
                    let at = x / 2 * 2;
                    blue.push(colour(colours[at]));
                    red.push(colours.get(at + 1).map_or(128, |&v| colour(v)));
                }
            }
            Pixel::Grey | Pixel::Mjpeg => luma.extend(row[..width].iter().map(bright)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jpeg::walk;

    fn jpeg(pixel: Pixel, full_range: bool, fill: impl Fn(usize) -> u8) -> Vec<u8> {
        let layout = Layout::new(pixel, (32, 16), 0, full_range);
        let pixels: Vec<u8> = (0..layout.image_bytes()).map(fill).collect();
        layout.to_jpeg(&pixels).expect("a JPEG")
    }

    #[test]
    fn each_format_makes_a_whole_jpeg_of_its_size() {
        for pixel in [Pixel::Yuyv, Pixel::Nv12, Pixel::Grey] {
            let bytes = jpeg(pixel, false, |at| (at * 7) as u8);
            let found = walk(&bytes).expect("a whole JPEG");
            assert_eq!((found.width, found.height), (32, 16), "{pixel:?}");
            assert_eq!(found.length, bytes.len());
        }
        assert!(
            Layout::new(Pixel::Yuyv, (32, 16), 0, true)
                .to_jpeg(&[0; 10])
                .is_err()
        );
        assert!(
            Layout::new(Pixel::Grey, (70_000, 1), 0, true)
                .to_jpeg(&[0; 70_000])
                .is_err()
        );
    }

    #[test]
    fn black_and_white_of_both_ranges_are_the_same_picture() {
        for pixel in [Pixel::Yuyv, Pixel::Nv12] {
            let luma = |low: u8, high: u8| {
                move |at: usize| {
                    let is_luma = match pixel {
                        Pixel::Yuyv => at.is_multiple_of(2),
                        _ => at < 32 * 16,
                    };
                    match (is_luma, at % 64 < 32) {
                        (false, _) => 128,
                        (true, true) => low,
                        (true, false) => high,
                    }
                }
            };
            assert_eq!(
                jpeg(pixel, true, luma(0, 255)),
                jpeg(pixel, false, luma(16, 235)),
                "{pixel:?}"
            );
        }
    }

    #[test]
    fn raw_pixels_of_a_jpeg_and_unknown_formats_are_refused() {
        let mode = |pixel: Option<&str>, raw| CameraMode {
            pixel: pixel.map(str::to_owned),
            raw,
            ..CameraMode::default()
        };
        assert!(Pixel::wanted(&mode(Some("mjpeg"), true)).is_err());
        let (_, next) = Pixel::wanted(&mode(Some("h264"), false)).expect_err("unknown");
        assert!(next.contains("mjpeg, yuyv, nv12, grey"), "{next}");
        assert_eq!(
            Pixel::wanted(&mode(None, true)).expect("raw"),
            [Pixel::Yuyv, Pixel::Nv12, Pixel::Grey]
        );
    }

    #[test]
    fn each_format_has_one_name_at_nokhwa() {
        for pixel in Pixel::ALL {
            assert_eq!(Pixel::of_nokhwa(pixel.nokhwa()), Some(pixel));
        }
        assert_eq!(Pixel::of_nokhwa(FrameFormat::RAWRGB), None);
    }

    proptest! {
        #[test]
        fn any_size_of_any_format_is_encoded(
            width in 1_u32..40, height in 1_u32..40, padding in 0_usize..5,
            which in 0_usize..3, value in any::<u8>(),
        ) {
            let pixel = Pixel::ALL[1 + which];
            let packed = Layout::new(pixel, (width, height), 0, false).step;
            let layout = Layout::new(pixel, (width, height), packed + padding, false);
            let jpeg = layout.to_jpeg(&vec![value; layout.image_bytes()]);
            let found = walk(&jpeg.expect("a JPEG"));
            prop_assert_eq!(
                found.map(|f| (u32::from(f.width), u32::from(f.height))),
                Ok((width, height))
            );
        }
    }
}
