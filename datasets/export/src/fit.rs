//! How recorded images become written ones, and which are sampled for
//! statistics, as filters of `ffmpeg`.

/// How an image of another shape is brought to the size asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FitMode {
    /// What sticks out at two sides is cut off, centred.
    #[default]
    Crop,
    /// Black bars fill what is left at two sides.
    Pad,
    /// Width and height are scaled apart.
    Stretch,
}

/// Which part of the recorded image is kept, and where it lies in the written one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// x, y, width, height in pixels of the recorded image.
    pub crop: (u32, u32, u32, u32),
    /// x, y, width, height in pixels of the written image; all of it unless padded.
    pub placed: (u32, u32, u32, u32),
    /// Width, height in pixels of the written image.
    pub size: (u32, u32),
}

impl Fit {
    /// Cuts and bars lie on even pixels, since chroma is stored for pairs of them.
    pub fn new((width, height): (u32, u32), size: Option<(u32, u32)>, mode: FitMode) -> Self {
        let even = (width & !1, height & !1);
        let size = size.unwrap_or(even);
        let scaled = |a: u32, b: u32, c: u32| (u64::from(a) * u64::from(b) / u64::from(c)) as u32;
        // The largest centred part of `of` with the aspect ratio of `like`.
        let part = |of: (u32, u32), like: (u32, u32)| {
            let w = of.0.min(scaled(of.1, like.0, like.1)) & !1;
            let h = of.1.min(scaled(of.0, like.1, like.0)) & !1;
            (((of.0 - w) / 2) & !1, ((of.1 - h) / 2) & !1, w, h)
        };
        let (crop, placed) = match mode {
            FitMode::Crop => (part((width, height), size), (0, 0, size.0, size.1)),
            FitMode::Pad => ((0, 0, even.0, even.1), part(size, even)),
            FitMode::Stretch => ((0, 0, even.0, even.1), (0, 0, size.0, size.1)),
        };
        Self { crop, placed, size }
    }

    /// Whether images get another size, apart from cuts and bars.
    pub fn scales(&self) -> bool {
        let ((_, _, from_w, from_h), (_, _, to_w, to_h)) = (self.crop, self.placed);
        (from_w, from_h) != (to_w, to_h)
    }

    /// For videos: limited range, colour thinned out. Images that are `ready`, so already and of their
    /// size, are only cut and framed.
    pub fn filter(&self, ready: bool) -> String {
        match ready {
            true => self.cut() + &self.bars(),
            false => self.filter_to("tv", "yuv420p"),
        }
    }

    /// For JPEGs: full range, colour at every pixel.
    pub fn still_filter(&self) -> String {
        self.filter_to("pc", "yuvj444p")
    }

    fn filter_to(&self, range: &str, format: &str) -> String {
        let (_, _, w, h) = self.crop;
        let (_, _, to_w, to_h) = self.placed;
        let kind = if to_w * to_h < w * h {
            "area"
        } else {
            "lanczos"
        };
        let scale = format!(
            ",scale={to_w}:{to_h}:flags={kind}+accurate_rnd:in_range=pc:out_range={range}\
             :in_color_matrix=bt601:out_color_matrix=bt601,format={format}"
        );
        self.cut() + &scale + &self.bars()
    }

    fn cut(&self) -> String {
        let (x, y, w, h) = self.crop;
        format!("crop={w}:{h}:{x}:{y}")
    }

    fn bars(&self) -> String {
        let ((left, top, to_w, to_h), (width, height)) = (self.placed, self.size);
        match (to_w, to_h) == self.size {
            true => String::new(),
            false => format!(",pad={width}:{height}:{left}:{top}"),
        }
    }

    /// fx, fy, cx, cy of the written image from those of the recorded one [pixel], centres of pixels
    /// at whole numbers: a point at u before lies at (u - x + 1/2) s - 1/2 + left after.
    pub fn intrinsics(&self, [fx, fy, cx, cy]: [f64; 4]) -> [f64; 4] {
        let (x, y, w, h) = self.crop;
        let (left, top, to_w, to_h) = self.placed;
        let scale = (
            f64::from(to_w) / f64::from(w),
            f64::from(to_h) / f64::from(h),
        );
        let moved = |c: f64, cut: u32, scale: f64, bar: u32| {
            (c - f64::from(cut) + 0.5) * scale - 0.5 + f64::from(bar)
        };
        [
            fx * scale.0,
            fy * scale.1,
            moved(cx, x, scale.0, left),
            moved(cy, y, scale.1, top),
        ]
    }
}

/// Which images are sampled for statistics, and how far each is thinned out:
/// LeRobot's heuristic (n^0.75 images, at least 100; sides of 300 pixels and
/// more thinned to about 150), with a constant stride instead of rounded
/// positions.
pub(crate) struct Sampling {
    pub stride: u64,
    pub width: u32,
    pub height: u32,
}

impl Sampling {
    pub fn new(steps: u64, (width, height): (u32, u32)) -> Self {
        let images = ((steps as f64).powf(0.75) as u64)
            .clamp(steps.min(100), 10_000)
            .max(1);
        let long = width.max(height);
        let thin = if long < 300 { 1 } else { long / 150 };
        Self {
            stride: (steps / images).max(1),
            width: width.div_ceil(thin),
            height: height.div_ceil(thin),
        }
    }

    pub fn filter(&self, fps: u32) -> String {
        let Self {
            stride,
            width,
            height,
        } = self;
        format!(
            "select='not(mod(n,{stride}))',setpts=N/({fps}*TB),scale={width}:{height}\
             :flags=neighbor+accurate_rnd+full_chroma_int:in_range=tv:in_color_matrix=bt601,format=rgb24"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wide_image_is_cut_at_its_sides() {
        let fit = Fit::new((1280, 720), Some((640, 480)), FitMode::Crop);
        assert_eq!(fit.crop, (160, 0, 960, 720));
        assert!(
            fit.filter(false).contains("flags=area"),
            "{}",
            fit.filter(false)
        );
    }

    #[test]
    fn an_image_that_is_ready_is_only_cut_and_framed() {
        let fit = Fit::new((641, 361), None, FitMode::Crop);
        assert!(!fit.scales());
        assert_eq!(fit.filter(true), "crop=640:360:0:0");
        let fit = Fit::new((640, 360), Some((640, 480)), FitMode::Pad);
        assert!(!fit.scales());
        assert_eq!(fit.filter(true), "crop=640:360:0:0,pad=640:480:0:60");
        assert!(Fit::new((640, 360), Some((320, 180)), FitMode::Crop).scales());
    }

    #[test]
    fn a_high_image_is_cut_above_and_below() {
        assert_eq!(
            Fit::new((480, 640), Some((640, 480)), FitMode::Crop).crop,
            (0, 140, 480, 360)
        );
    }

    #[test]
    fn a_wide_image_gets_bars_above_and_below() {
        let fit = Fit::new((1280, 720), Some((640, 480)), FitMode::Pad);
        assert_eq!(
            (fit.crop, fit.placed),
            ((0, 0, 1280, 720), (0, 60, 640, 360))
        );
        assert!(
            fit.filter(false).ends_with(",pad=640:480:0:60"),
            "{}",
            fit.filter(false)
        );
    }

    #[test]
    fn intrinsics_follow_the_image() {
        // A camera that looks at the middle of its image goes on looking at the middle.
        let recorded = [900.0, 900.0, 639.5, 359.5];
        for (mode, focal) in [
            (FitMode::Crop, [600.0, 600.0]),
            (FitMode::Pad, [450.0, 450.0]),
            (FitMode::Stretch, [450.0, 600.0]),
        ] {
            let [fx, fy, cx, cy] =
                Fit::new((1280, 720), Some((640, 480)), mode).intrinsics(recorded);
            assert_eq!(([fx, fy], cx, cy), (focal, 319.5, 239.5), "{mode:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cut_lies_inside_the_image_on_even_pixels(
            width in 16u32..4000, height in 16u32..4000, w in 8u32..1000, h in 8u32..1000,
        ) {
            let (w, h) = (2 * w, 2 * h);
            // Aspect ratios that cameras and networks have.
            prop_assume!(w <= 4 * h && h <= 4 * w && width <= 4 * height && height <= 4 * width);
            let Fit { crop: (x, y, cw, ch), size, .. } = Fit::new((width, height), Some((w, h)), FitMode::Crop);
            prop_assert_eq!(size, (w, h));
            prop_assert!(x + cw <= width && y + ch <= height);
            prop_assert!([x, y, cw, ch].iter().all(|v| v % 2 == 0) && cw > 0 && ch > 0);
            // One side is kept whole but for rounding.
            prop_assert!(cw + 3 >= width || ch + 3 >= height);
        }

        #[test]
        fn a_padded_image_lies_inside_on_even_pixels(
            width in 16u32..4000, height in 16u32..4000, w in 16u32..1000, h in 16u32..1000,
        ) {
            let (w, h) = (2 * w, 2 * h);
            prop_assume!(w <= 4 * h && h <= 4 * w && width <= 4 * height && height <= 4 * width);
            let Fit { placed: (x, y, pw, ph), .. } = Fit::new((width, height), Some((w, h)), FitMode::Pad);
            prop_assert!(x + pw <= w && y + ph <= h);
            prop_assert!([x, y, pw, ph].iter().all(|v| v % 2 == 0) && pw > 0 && ph > 0);
            prop_assert!(pw + 3 >= w || ph + 3 >= h);
        }

        #[test]
        fn enough_images_are_sampled(steps in 1u64..100_000) {
            let sampling = Sampling::new(steps, (640, 480));
            let images = steps.div_ceil(sampling.stride);
            prop_assert!(images >= steps.min(100));
            prop_assert!(images as f64 >= (steps as f64).powf(0.75).floor().min(10_000.0).min(steps as f64));
            prop_assert_eq!((sampling.width, sampling.height), (160, 120));
        }
    }
}
