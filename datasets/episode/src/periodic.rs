//! Capture times of a camera that has no clock of its own: its images come at a
//! steady rate, so that their number is a clock, and late arrivals cannot move it.

use crate::{
    clock::{ClockFit, ClockModel, fit_recording},
    time::{Delta, DeviceTime, HostTime},
};

/// Fewer images say nothing about a rate.
const MIN_IMAGES: usize = 30;
/// How far the real period may be from the nominal one; 29.97 for 30 is 0.1 %.
const PERIOD_TOLERANCE: f64 = 3e-3;
/// Of a period: an image that is ahead of its place by less is on time.
const EARLY: f64 = 0.15;
/// Of a period: more jitter than this, and the number of an image is a guess.
const MAX_JITTER: f64 = 0.4;

/// Numbers the images that arrived at these times by the period of the camera,
/// counting those that are missing, and fits arrival against number. `None` where
/// the arrivals do not show a steady period: too few, too much jitter, or a
/// backlog that came at once.
pub(crate) fn fit(
    arrivals: &[HostTime],
    period: Delta,
    min_delay: Delta,
) -> Option<(Vec<DeviceTime>, ClockFit)> {
    if arrivals.len() < MIN_IMAGES || period.nanos() <= 0 {
        return None;
    }
    let step = period.nanos();
    let origin = *arrivals.first()?;
    // Earliest arrival of image 0 that the images so far allow; delay only adds.
    let mut base = 0.0_f64;
    let mut last: Option<(i64, i64)> = None;
    let mut numbers = Vec::with_capacity(arrivals.len());
    for &arrival in arrivals {
        let at = (arrival - origin).nanos();
        let number = match last {
            None => 0,
            Some((before, then)) => {
                base += (at - then) as f64 * PERIOD_TOLERANCE;
                let places = ((at as f64 - base) / step as f64 + EARLY).floor() as i64;
                places.max(before + 1)
            }
        };
        let earliest = (at - number * step) as f64;
        // The first may itself have been late, by less than a period.
        if earliest < base - step as f64 && numbers.len() > 1 {
            return None;
        }
        base = base.min(earliest);
        last = Some((number, at));
        numbers.push(DeviceTime::from_nanos(number * step));
    }
    let samples: Vec<_> = numbers.iter().zip(arrivals).map(|(&d, &h)| (d, h, true)).collect();
    let model = ClockModel { tick_ns: 0, min_delay_ns: min_delay.nanos() };
    let mut segments = fit_recording(model, &[], &samples);
    let segment = segments.pop().filter(|_| segments.is_empty())?;
    let steady = (segment.fit.residual_p95_ns as f64) < step as f64 * MAX_JITTER
        && segment.fit.skew_ppm.abs() < PERIOD_TOLERANCE * 1e6;
    steady.then_some((numbers, segment.fit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Delta = Delta::from_nanos(33_333_333);

    proptest! {
        #[test]
        fn late_and_missing_images_do_not_move_the_others(
            seed in 1_u64..u64::MAX,
            count in 150_usize..400,
            skew in -1e-3..1e-3_f64,
        ) {
            let mut state = seed;
            let mut random = move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1_u64 << 53) as f64
            };
            let mut arrivals = Vec::new();
            let mut truth = Vec::new();
            for k in 0..count {
                let (chance, late) = (random(), random());
                let time = 1e9 + k as f64 * 33_333_333.0 * (1.0 + skew);
                // One in 20 is missing, one in 50 late by up to 28 ms, all by up to 1 ms.
                if chance < 0.05 && k > 1 {
                    continue;
                }
                let delay = if chance > 0.98 { 28e6 * late } else { 1e6 * late };
                arrivals.push(HostTime::from_nanos((time + 5e6 + delay) as i64));
                truth.push(time);
            }
            let (numbers, fit) = fit(&arrivals, PERIOD, Delta::from_millis(5)).expect("steady");
            let mut errors: Vec<f64> = numbers
                .iter()
                .zip(&truth)
                .map(|(&number, truth)| (fit.to_host(number).nanos() as f64 - truth).abs())
                .collect();
            errors.sort_by(f64::total_cmp);
            prop_assert!(errors[errors.len() * 95 / 100] < 1.5e6, "{:?}", errors.last());
        }

        #[test]
        fn arrivals_without_a_rhythm_are_refused(
            gaps in proptest::collection::vec(1_000_000_i64..200_000_000, 40..200),
        ) {
            let mut at = 0;
            let arrivals: Vec<_> = gaps.iter().map(|gap| { at += gap; HostTime::from_nanos(at) }).collect();
            if let Some((_, fit)) = fit(&arrivals, PERIOD, Delta::ZERO) {
                prop_assert!((fit.residual_p95_ns as f64) < 33_333_333.0 * MAX_JITTER);
            }
        }
    }
}
