//! Capture times of a camera that has no clock of its own: its images come at a
//! steady rate, so that their number is a clock, and late arrivals cannot move it.

use std::collections::VecDeque;

use crate::{
    clock::{ClockFit, ClockModel, fit_recording},
    time::{Delta, DeviceTime, HostTime},
};

/// Fewer images say nothing about a rate.
const MIN_IMAGES: usize = 30;
/// How far the real period may be from the nominal one; 29.97 for 30 is 0.1 %.
const PERIOD_TOLERANCE: f64 = 3e-3;
/// Of a period: an image that is ahead of its place by less has that place.
const EARLY: f64 = 0.12;
/// Of a period: an image that is further ahead was rather late by almost a period, and does not shape
/// the fit.
const TOO_EARLY: f64 = 0.05;
/// Of a period: an image that is behind its place by less is on time.
const ON_TIME: f64 = 0.15;
/// Share of images that must be on time, else there is no rhythm.
const MIN_ON_TIME: f64 = 0.5;
/// Periods from the first image on that tell the real period: half a minute at 30 Hz.
const TELLING: f64 = 900.0;
/// Of a period: within this most images arrive, where nothing holds them up.
const USUAL: f64 = 0.05;
/// Of a period: what a guess of the period may be wrong by over all that tell it.
const DRIFT: f64 = 0.02;
/// Images over which the phase is followed.
const WINDOW: usize = 31;
/// How much of the window's lower quartile the phase follows at each image, and at most: enough for
/// what is left of the period's error, too little for minutes of late images to mislead it.
const GAIN: f64 = 0.1;
const MAX_FOLLOW: f64 = 2e-4;

/// Numbers the images that arrived at these times by the period of the camera,
/// counting those that are missing, and fits arrival against number. `None` where
/// the arrivals show no steady period.
pub(crate) fn fit(
    arrivals: &[HostTime],
    period: Delta,
    min_delay: Delta,
) -> Option<(Vec<DeviceTime>, ClockFit)> {
    if arrivals.len() < MIN_IMAGES || period.nanos() <= 0 {
        return None;
    }
    let step = period.nanos();
    let origin = arrivals[0];
    // In nominal periods since the first arrival, then in real ones.
    let at: Vec<f64> = arrivals
        .iter()
        .map(|&a| (a - origin).nanos() as f64 / step as f64)
        .collect();
    let (real, mut phase) = rhythm(&at);
    let mut window = VecDeque::with_capacity(WINDOW + 1);
    let mut on_time = 0_isize;
    // The last place that each image can have: it did not arrive before it was taken.
    let mut numbers: Vec<i64> = Vec::with_capacity(at.len());
    let mut trusted = Vec::with_capacity(at.len());
    for at in at.iter().map(|at| at / real) {
        let number = (at - phase + EARLY).floor();
        let behind = at - phase - number;
        let is_early = behind < -TOO_EARLY;
        on_time += isize::from(!is_early && behind < ON_TIME);
        trusted.push(!is_early);
        numbers.push(number as i64);
        window.push_back(behind);
        if window.len() > WINDOW {
            window.pop_front();
        }
        let mut sorted: Vec<f64> = window.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        phase += (GAIN * sorted[sorted.len() / 4]).clamp(-MAX_FOLLOW, MAX_FOLLOW);
    }
    // A backlog that came at once ends at its place; those before it are older.
    for index in (1..numbers.len()).rev() {
        if numbers[index - 1] >= numbers[index] {
            numbers[index - 1] = numbers[index] - 1;
            on_time -= 1;
        }
    }
    if on_time < (MIN_ON_TIME * at.len() as f64) as isize {
        return None;
    }
    let times: Vec<_> = numbers
        .iter()
        .map(|n| DeviceTime::from_nanos(n * step))
        .collect();
    let samples: Vec<_> = times
        .iter()
        .zip(arrivals)
        .zip(&trusted)
        .map(|((&d, &h), &t)| (d, h, t))
        .collect();
    let model = ClockModel {
        tick_ns: 0,
        min_delay_ns: min_delay.nanos(),
    };
    let mut segments = fit_recording(model, &[], &[], &samples);
    let segment = segments.pop().filter(|_| segments.is_empty())?;
    let steady = segment.fit.skew_ppm.abs() < PERIOD_TOLERANCE * 1e6;
    steady.then_some((times, segment.fit))
}

/// The real period in nominal ones, and the phase in real ones, by which most of the first images come
/// shortly after their time. Images that are held up, however many in a row, do not bend it.
fn rhythm(at: &[f64]) -> (f64, f64) {
    let telling = &at[..at.partition_point(|&at| at <= TELLING)];
    let span = telling.last().map_or(1.0, |&last| last.max(1.0));
    let steps = (PERIOD_TOLERANCE * span / DRIFT).ceil() as i32;
    let mut best = (0, 1.0, 0.0);
    let mut phases = Vec::with_capacity(2 * telling.len());
    // From the nominal one on, so that nothing but more images speaks for another.
    for step in (0..=steps).flat_map(|step| [step, -step]) {
        let real = 1.0 + PERIOD_TOLERANCE * f64::from(step) / f64::from(steps);
        phases.clear();
        phases.extend(telling.iter().map(|at| (at / real).rem_euclid(1.0)));
        phases.sort_by(f64::total_cmp);
        // Once more around, for those that lie on both sides of a whole number.
        let count = phases.len();
        phases.extend_from_within(..);
        phases[count..].iter_mut().for_each(|phase| *phase += 1.0);
        let mut end = 0;
        for start in 0..count {
            while end < phases.len() && phases[end] <= phases[start] + USUAL {
                end += 1;
            }
            if end - start > best.0 {
                best = (end - start, real, phases[start]);
            }
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Delta = Delta::from_nanos(33_333_333);

    /// Numbers from 0 to 1.
    fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    proptest! {
        #[test]
        fn late_and_missing_images_do_not_move_the_others(
            seed in 1_u64..u64::MAX,
            count in 150_usize..400,
            skew in -1e-3..1e-3_f64,
        ) {
            let mut random = random(seed);
            let mut arrivals = Vec::new();
            let mut truth = Vec::new();
            for k in 0..count {
                let (chance, late) = (random(), random());
                let time = 1e9 + k as f64 * 33_333_333.0 * (1.0 + skew);
                // The first ones come as a backlog.
                let backlog = if k < 6 { (6 - k) as f64 * 33_333_333.0 } else { 0.0 };
                // One in 20 is missing, one in 50 late by up to 28 ms, all by up to 1 ms.
                if chance < 0.05 && k > 1 {
                    continue;
                }
                let delay = if chance > 0.98 { 28e6 * late } else { 1e6 * late };
                arrivals.push(HostTime::from_nanos((time + 5e6 + delay + backlog) as i64));
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

        /// A host that is busy for a second or two holds up all images of that time.
        #[test]
        fn runs_of_late_images_do_not_move_the_others(
            seed in 1_u64..u64::MAX,
            count in 200_usize..3000,
            skew in -1e-3..1e-3_f64,
        ) {
            let mut random = random(seed);
            let (mut left, mut held_up, mut arrivals, mut truth) = (0, 0.0, Vec::new(), Vec::new());
            for k in 0..count {
                if left == 0 && random() < 0.01 {
                    (left, held_up) = ((60.0 * random()) as usize, 12e6 * random());
                }
                let time = 1e9 + k as f64 * 33_333_333.0 * (1.0 + skew);
                let late = if left > 0 { held_up + 3e6 * random() } else { 0.3e6 * random() };
                left = left.saturating_sub(1);
                arrivals.push(HostTime::from_nanos((time + 5e6 + late) as i64));
                truth.push(time);
            }
            let late = arrivals.iter().zip(&truth).filter(|(a, t)| a.nanos() as f64 - **t > 10e6);
            // Where most are late, there is nothing to tell which.
            prop_assume!(late.count() * 3 < count);
            let (numbers, fit) = fit(&arrivals, PERIOD, Delta::from_millis(5)).expect("steady");
            for (&number, truth) in numbers.iter().zip(&truth) {
                let error = fit.to_host(number).nanos() as f64 - truth;
                prop_assert!(error.abs() < 0.5e6, "{error}");
            }
        }

        #[test]
        fn arrivals_without_a_rhythm_are_refused(
            gaps in proptest::collection::vec(1_000_000_i64..200_000_000, 40..200),
        ) {
            let mut at = 0;
            let arrivals: Vec<_> = gaps.iter().map(|gap| { at += gap; HostTime::from_nanos(at) }).collect();
            prop_assert!(fit(&arrivals, PERIOD, Delta::ZERO).is_none());
        }
    }
}
