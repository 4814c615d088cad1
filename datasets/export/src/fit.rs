//! How recorded images become written ones, and which are sampled for
//! statistics, as filters of `ffmpeg`.

/// Which part of the recorded image is kept, and the size it is scaled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// x, y, width, height in pixels of the recorded image.
    pub crop: (u32, u32, u32, u32),
    /// Width, height in pixels of the written image.
    pub size: (u32, u32),
}

impl Fit {
    /// The largest centred part of the aspect ratio of `size`, on even pixels,
    /// since chroma is stored for pairs of them.
    pub fn new((width, height): (u32, u32), size: Option<(u32, u32)>) -> Self {
        let size = size.unwrap_or((width & !1, height & !1));
        let scaled = |a: u32, b: u32, c: u32| (u64::from(a) * u64::from(b) / u64::from(c)) as u32;
        let w = width.min(scaled(height, size.0, size.1)) & !1;
        let h = height.min(scaled(width, size.1, size.0)) & !1;
        Self {
            crop: (((width - w) / 2) & !1, ((height - h) / 2) & !1, w, h),
            size,
        }
    }

    pub fn filter(&self) -> String {
        let (x, y, w, h) = self.crop;
        let (to_w, to_h) = self.size;
        let kind = if to_w * to_h < w * h {
            "area"
        } else {
            "lanczos"
        };
        format!(
            "crop={w}:{h}:{x}:{y},scale={to_w}:{to_h}:flags={kind}+accurate_rnd:in_range=pc:out_range=tv\
             :in_color_matrix=bt601:out_color_matrix=bt601,format=yuv420p"
        )
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
        let fit = Fit::new((1280, 720), Some((640, 480)));
        assert_eq!(fit.crop, (160, 0, 960, 720));
        assert!(fit.filter().contains("flags=area"), "{}", fit.filter());
    }

    #[test]
    fn a_high_image_is_cut_above_and_below() {
        assert_eq!(
            Fit::new((480, 640), Some((640, 480))).crop,
            (0, 140, 480, 360)
        );
    }

    proptest! {
        #[test]
        fn the_cut_lies_inside_the_image_on_even_pixels(
            width in 16u32..4000, height in 16u32..4000, w in 8u32..1000, h in 8u32..1000,
        ) {
            let (w, h) = (2 * w, 2 * h);
            // Aspect ratios that cameras and networks have.
            prop_assume!(w <= 4 * h && h <= 4 * w && width <= 4 * height && height <= 4 * width);
            let Fit { crop: (x, y, cw, ch), size } = Fit::new((width, height), Some((w, h)));
            prop_assert_eq!(size, (w, h));
            prop_assert!(x + cw <= width && y + ch <= height);
            prop_assert!([x, y, cw, ch].iter().all(|v| v % 2 == 0) && cw > 0 && ch > 0);
            // One side is kept whole but for rounding.
            prop_assert!(cw + 3 >= width || ch + 3 >= height);
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
