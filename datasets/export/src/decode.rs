//! Recorded JPEGs become planes of pixels, by libjpeg-turbo: faster than in the child that encodes, and
//! an image that does not decode is known by its number.
//!
//! The bindings are those of TurboJPEG 2: Debian 12 and 13 and Ubuntu 22.04 and 24.04 have no newer one.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use turbojpeg_sys as turbo;

/// How the pixels of an image lie: luma, then both planes of colour, row by row without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaneLayout {
    /// Width and height in pixels.
    size: (u32, u32),
    /// `TJSAMP_*`: for how many pixels there is one of colour.
    subsampling: turbo::TJSAMP,
}

impl PlaneLayout {
    /// Name of the pixel format in `ffmpeg`.
    pub fn pixel_format(self) -> &'static str {
        match self.subsampling {
            turbo::TJSAMP_TJSAMP_444 => "yuv444p",
            turbo::TJSAMP_TJSAMP_422 => "yuv422p",
            turbo::TJSAMP_TJSAMP_420 => "yuv420p",
            turbo::TJSAMP_TJSAMP_440 => "yuv440p",
            turbo::TJSAMP_TJSAMP_411 => "yuv411p",
            // No other is taken up.
            _ => "gray",
        }
    }

    /// Whether there is one pixel of colour for two by two.
    pub fn is_420(self) -> bool {
        self.subsampling == turbo::TJSAMP_TJSAMP_420
    }

    /// Width and height of the luma plane: filled up to whole pixels of colour.
    pub fn padded(self) -> (u32, u32) {
        let [width, height] = self.size_c();
        // SAFETY: both only calculate; the arguments come from a header that TurboJPEG accepted.
        let (width, height) = unsafe {
            (
                turbo::tjPlaneWidth(0, width, self.subsampling as c_int),
                turbo::tjPlaneHeight(0, height, self.subsampling as c_int),
            )
        };
        (width as u32, height as u32)
    }

    fn size_c(self) -> [c_int; 2] {
        // JPEG has 16 bits for each.
        [self.size.0 as c_int, self.size.1 as c_int]
    }

    /// Bytes of all planes.
    fn bytes(self) -> usize {
        let [width, height] = self.size_c();
        // SAFETY: it only calculates.
        unsafe { turbo::tjBufSizeYUV2(width, 1, height, self.subsampling as c_int) as usize }
    }

    /// Arguments with which `ffmpeg` reads such images from its standard input.
    pub fn input(self, fps: u32) -> [String; 10] {
        let (width, height) = self.padded();
        let size = format!("{width}x{height}");
        let fps = fps.to_string();
        [
            "-f",
            "rawvideo",
            "-pixel_format",
            self.pixel_format(),
            "-video_size",
            &size,
            "-framerate",
            &fps,
            "-i",
            "pipe:0",
        ]
        .map(str::to_owned)
    }
}

/// (of `gain` + `offset`) / 255, to the nearest.
fn scale(pixels: &mut [u8], gain: u16, offset: u16) {
    for pixel in pixels {
        let sum = u16::from(*pixel) * gain + offset + 128;
        // A division by 255 that is exact for 16 bits.
        *pixel = ((sum + (sum >> 8)) >> 8) as u8;
    }
}

/// More bytes than these that are left over are the rest of a broken image, unless all are alike.
const MOST_LEFT_OVER: usize = 8;

/// Whether libjpeg's warning is of nothing but bytes between the last pixel of an image and its end marker
/// that fill it up.
fn is_padding(warning: &str, jpeg: &[u8]) -> bool {
    let count = warning
        .strip_suffix(" extraneous bytes before marker 0xd9")
        .and_then(|start| start.rsplit(' ').next()?.parse::<usize>().ok());
    count.is_some_and(|count| {
        let left = jpeg.strip_suffix(&[0xFF, 0xD9]).unwrap_or(jpeg);
        let left = &left[left.len().saturating_sub(count)..];
        count <= MOST_LEFT_OVER || left.windows(2).all(|pair| pair[0] == pair[1])
    })
}

/// Decodes one image after another.
pub(crate) struct Decoder {
    handle: NonNull<std::ffi::c_void>,
    pixels: Vec<u8>,
}

// SAFETY: the handle belongs to this value alone, and TurboJPEG ties it to no thread.
unsafe impl Send for Decoder {}

impl Decoder {
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> Result<Self, String> {
        // SAFETY: no arguments; the handle is destroyed in `drop`.
        let handle = NonNull::new(unsafe { turbo::tjInitDecompress() });
        Ok(Self {
            handle: handle.ok_or("libjpeg-turbo cannot be started")?,
            pixels: Vec::new(),
        })
    }

    /// How the pixels of an image will lie, from its header.
    ///
    /// # Errors
    /// What libjpeg-turbo says, or that the colours are not those of JFIF.
    pub fn layout(&mut self, jpeg: &[u8]) -> Result<PlaneLayout, String> {
        let [mut width, mut height, mut subsampling, mut colours]: [c_int; 4] = [0; 4];
        // SAFETY: the buffer is as long as said, and the four results outlive the call.
        let status = unsafe {
            turbo::tjDecompressHeader3(
                self.handle.as_ptr(),
                jpeg.as_ptr(),
                jpeg.len() as _,
                &mut width,
                &mut height,
                &mut subsampling,
                &mut colours,
            )
        };
        if status != 0 {
            return Err(self.error());
        }
        if ![turbo::TJCS_TJCS_YCbCr, turbo::TJCS_TJCS_GRAY].contains(&(colours as turbo::TJCS)) {
            return Err("expected luma and colour differences (JFIF), got other components".into());
        }
        Ok(PlaneLayout {
            size: (width as u32, height as u32),
            subsampling: subsampling as turbo::TJSAMP,
        })
    }

    /// Decodes an image, of full range, and says how it lies.
    ///
    /// # Errors
    /// What is broken. A few bytes that are left over at the end, as webcams leave them, are no fault.
    pub fn decode(&mut self, jpeg: &[u8]) -> Result<PlaneLayout, String> {
        let layout = self.layout(jpeg)?;
        self.pixels.resize(layout.bytes(), 0);
        // At the first thing that is wrong, since only the last one is told otherwise.
        if let Err(what) = self.decompress(jpeg, layout, turbo::TJFLAG_STOPONWARNING) {
            if !is_padding(&what, jpeg) {
                return Err(what);
            }
            // All of the image was there; only that warning is given again.
            let _ = self.decompress(jpeg, layout, 0);
        }
        Ok(layout)
    }

    /// Brings brightness from 0..=255 to 16..=235 and colour to 16..=240, each to the nearest
    /// (ITU-R BT.601-7, 2.5.3), in the image that was decoded last.
    pub fn limit_range(&mut self, layout: PlaneLayout) {
        let (width, height) = layout.padded();
        let (luma, colour) = self.pixels.split_at_mut((width * height) as usize);
        scale(luma, 219, 16 * 255);
        scale(colour, 224, 128 * (255 - 224));
    }

    /// Those of the image that was decoded last, as they were left.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    fn decompress(&mut self, jpeg: &[u8], layout: PlaneLayout, flags: u32) -> Result<(), String> {
        let [width, height] = layout.size_c();
        debug_assert!(self.pixels.len() >= layout.bytes());
        // SAFETY: the source is as long as said, and the destination holds an image of that layout.
        let status = unsafe {
            turbo::tjDecompressToYUV2(
                self.handle.as_ptr(),
                jpeg.as_ptr(),
                jpeg.len() as _,
                self.pixels.as_mut_ptr(),
                width,
                1,
                height,
                flags as c_int,
            )
        };
        match status {
            0 => Ok(()),
            _ => Err(self.error()),
        }
    }

    fn error(&self) -> String {
        // SAFETY: the text lies in the handle, and is copied before that is used again.
        let text = unsafe { CStr::from_ptr(turbo::tjGetErrorStr2(self.handle.as_ptr())) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: it is not used any more.
        unsafe { turbo::tjDestroy(self.handle.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::*;

    /// Colours that change slowly over the image, so that thinning them out changes little.
    fn picture(width: u16, height: u16, sampling: Option<SamplingFactor>) -> (Vec<u8>, Vec<u8>) {
        let channels = if sampling.is_some() { 3 } else { 1 };
        let mut pixels = Vec::new();
        for y in 0..u32::from(height) {
            for x in 0..u32::from(width) {
                let all = [60 + x, 40 + y, 200 - x];
                pixels.extend(all.map(|value| value as u8).iter().take(channels));
            }
        }
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, 97);
        let colours = match sampling {
            Some(sampling) => {
                encoder.set_sampling_factor(sampling);
                ColorType::Ycbcr
            }
            None => ColorType::Luma,
        };
        encoder.encode(&pixels, width, height, colours).unwrap();
        (jpeg, pixels)
    }

    #[test]
    fn every_way_to_thin_colour_out_is_decoded_also_at_odd_sizes() {
        let mut decoder = Decoder::new().unwrap();
        for (sampling, format, by) in [
            (Some(SamplingFactor::R_4_4_4), "yuv444p", (1, 1)),
            (Some(SamplingFactor::R_4_2_2), "yuv422p", (2, 1)),
            (Some(SamplingFactor::R_4_2_0), "yuv420p", (2, 2)),
            (Some(SamplingFactor::R_4_4_0), "yuv440p", (1, 2)),
            (Some(SamplingFactor::R_4_1_1), "yuv411p", (4, 1)),
            (None, "gray", (1, 1)),
        ] {
            for (width, height) in [(64, 48), (61, 37)] {
                let (jpeg, pixels) = picture(width, height, sampling);
                let layout = decoder.decode(&jpeg).unwrap();
                assert_eq!(layout.pixel_format(), format);
                let (w, h) = layout.padded();
                let (width, height) = (u32::from(width), u32::from(height));
                assert!(w % by.0 == 0 && h % by.1 == 0, "{format}: {w}x{h}");
                assert!(w - width < by.0 && h - height < by.1, "{format}: {w}x{h}");
                let colour = if format == "gray" {
                    0
                } else {
                    2 * (w / by.0) * (h / by.1)
                };
                assert_eq!(decoder.pixels().len() as u32, w * h + colour, "{format}");
                let at = |x: u32, y: u32, channel: u32| {
                    let luma = w * h;
                    let place = match channel {
                        0 => y * w + x,
                        c => luma + (c - 1) * colour / 2 + y / by.1 * (w / by.0) + x / by.0,
                    };
                    i32::from(decoder.pixels()[place as usize])
                };
                let channels = if colour == 0 { 1 } else { 3 };
                for (x, y) in [(0, 0), (33, 20), (width - 1, height - 1)] {
                    for channel in 0..channels {
                        let from = (y * width + x) * channels + channel;
                        let off = at(x, y, channel) - i32::from(pixels[from as usize]);
                        assert!(off.abs() < 8, "{format} {x} {y} {channel}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_left_over_at_the_end_are_no_fault_but_broken_ones_are() {
        let mut decoder = Decoder::new().unwrap();
        let (jpeg, _) = picture(64, 48, Some(SamplingFactor::R_4_2_0));
        decoder.decode(&jpeg).unwrap();
        let whole = decoder.pixels().to_vec();
        let mut padded = |padding: &[u8]| {
            let end = jpeg.len() - 2;
            let image = [&jpeg[..end], padding, &jpeg[end..]].concat();
            let found = decoder.decode(&image);
            assert!(found.is_err() || decoder.pixels() == whole);
            found.is_ok()
        };
        assert!(padded(&[0x11, 0x22, 0x33]));
        assert!(padded(&[0; 100]));
        assert!(!padded(&std::array::from_fn::<u8, 100, _>(|at| at as u8)));
        let half = jpeg.len() / 2;
        let mut cut = jpeg[..half].to_vec();
        cut.extend([0xFF, 0xD9]);
        assert!(decoder.decode(&cut).is_err());
        let mut garbled = jpeg.clone();
        garbled[half..half + 100].fill(0x55);
        assert!(decoder.decode(&garbled).is_err());
        assert!(decoder.decode(b"no image").is_err());
        // It goes on with the next one.
        decoder.decode(&jpeg).unwrap();
        assert_eq!(decoder.pixels(), &whole);
    }

    #[test]
    fn the_limited_range_is_the_nearest_to_the_standards() {
        for value in 0..=255_u8 {
            let exact = |gain: f64, middle: f64, base: f64| {
                ((f64::from(value) - middle) * gain / 255.0 + base).round() as u8
            };
            let mut luma = [value];
            scale(&mut luma, 219, 16 * 255);
            assert_eq!(luma, [exact(219.0, 0.0, 16.0)], "{value}");
            let mut colour = [value];
            scale(&mut colour, 224, 128 * (255 - 224));
            assert_eq!(colour, [exact(224.0, 128.0, 128.0)], "{value}");
        }
    }
}
