//! Step times as LeRobot stores them: 32-bit seconds from the episode's start.

/// The highest step rate that is exact in every format, in steps a second.
pub const MAX_FPS: u32 = 1000;

/// The longest episode in seconds whose 32-bit times stay within the
/// tolerance of 1e-4 s that LeRobot's reader demands: from 1024 s on,
/// neighbouring 32-bit floats lie 1.2e-4 s apart.
pub const MAX_EPISODE_SECS: u32 = 1024;

/// The smallest 32-bit float that is not below `step / fps` seconds.
///
/// Rounded up, not to nearest: a reader that asks for the image shown at a
/// time a hair below `step / fps` gets the image before it.
///
/// `fps` must be 1 to [`MAX_FPS`].
#[must_use]
pub fn seconds_rounded_up(step: u64, fps: u32) -> f32 {
    let nearest = (step as f64 / f64::from(fps)) as f32;
    // 24 bits times 10 bits: the product is exact in 64-bit floats.
    if f64::from(nearest) * f64::from(fps) < step as f64 {
        nearest.next_up()
    } else {
        nearest
    }
}

/// Ticks a second of the video track: the smallest `fps * 2^n` that is at
/// least 10 000 (FFmpeg's own choice, 15 360 for 30), so that every step lies
/// on a whole tick.
#[must_use]
pub fn ticks_per_second(fps: u32) -> u32 {
    let mut ticks = fps.max(1);
    while ticks < 10_000 {
        ticks *= 2;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_time_is_the_first_float_not_below_the_exact_time(step in 0u64..1_000_000, fps in 1u32..=MAX_FPS) {
            let t = seconds_rounded_up(step, fps);
            // Exact comparison in integers: t = mantissa * 2^exponent.
            prop_assert!(f64::from(t) * f64::from(fps) >= step as f64, "{t} is below {step}/{fps}");
            if step > 0 {
                prop_assert!(f64::from(t.next_down()) * f64::from(fps) < step as f64, "{t} is not the first above {step}/{fps}");
            } else {
                prop_assert_eq!(t, 0.0);
            }
        }

        #[test]
        fn step_times_stay_within_the_readers_tolerance(fps in 1u32..=MAX_FPS, part in 0.0f64..1.0) {
            let step = (part * f64::from(MAX_EPISODE_SECS) * f64::from(fps)) as u64;
            let error = f64::from(seconds_rounded_up(step, fps)) - step as f64 / f64::from(fps);
            prop_assert!((0.0..1e-4).contains(&error), "{error}");
        }

        #[test]
        fn every_step_lies_on_a_whole_tick(fps in 1u32..=MAX_FPS) {
            prop_assert_eq!(ticks_per_second(fps) % fps, 0);
            prop_assert!(ticks_per_second(fps) >= 10_000);
        }
    }
}
