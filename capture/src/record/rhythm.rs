//! How many samples a regular device left out, by the times of those that came; and
//! how many one that numbers them would have given while it was away.

use std::collections::VecDeque;

/// Steps that make the usual one known.
const LEARN: usize = 50;
/// How fast the prediction follows: a free-running loop wanders, a coarse clock
/// rounds by half a tick each way.
const GAIN: f64 = 0.3;
/// How fast the usual step follows.
const STEP_GAIN: f64 = 0.01;
/// Steps that are averaged where the device numbers its samples.
const NUMBERED: usize = 100;

/// Follows the rhythm of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Rhythm {
    /// Predicted time of the last sample [ns]: smoother than its stamp.
    last_ns: Option<f64>,
    /// First steps [ns].
    steps_ns: Vec<f64>,
    usual_ns: Option<f64>,
    /// Last steps of numbered samples [ns], and by how much the number rose.
    numbered: VecDeque<(f64, u64)>,
}

impl Rhythm {
    /// Usual time between two samples, once known [ns].
    pub fn usual_ns(&self) -> Option<f64> {
        self.usual_ns
    }

    /// The next sample is not connected to the last one.
    pub fn interrupt(&mut self) {
        self.last_ns = None;
    }

    /// A sample that came `step_ns` after the one before by the device's stamps:
    /// how many are missing between them.
    pub fn step(&mut self, step_ns: f64) -> u64 {
        let Some(usual_ns) = self.usual_ns else {
            self.learn(step_ns);
            return 0;
        };
        // Where it is relative to where it should be.
        let offset_ns = self.last_ns.take().unwrap_or(0.0) + step_ns - usual_ns;
        let left_out = (offset_ns / usual_ns).round().max(0.0);
        let error_ns = offset_ns - left_out * usual_ns;
        self.last_ns = Some((1.0 - GAIN) * error_ns);
        self.usual_ns = Some(usual_ns + STEP_GAIN * GAIN * error_ns / (1.0 + left_out));
        left_out as u64
    }

    /// A sample that came `step_ns` after the one before, and whose number is
    /// `count` higher: however unsteady the times are, the mean step is exact.
    pub fn numbered_step(&mut self, step_ns: f64, count: u64) {
        self.numbered.push_back((step_ns, count));
        if self.numbered.len() > NUMBERED {
            self.numbered.pop_front();
        }
        let (sum_ns, count) = self
            .numbered
            .iter()
            .fold((0.0, 0), |(sum, n), (step, count)| (sum + step, n + count));
        self.usual_ns = Some(sum_ns / count as f64);
    }

    /// How many samples lie within a step that no number tells of.
    pub fn left_out(step_ns: f64, usual_ns: f64) -> u64 {
        ((step_ns / usual_ns).round() - 1.0).max(0.0) as u64
    }

    fn learn(&mut self, step_ns: f64) {
        if step_ns > 0.0 {
            self.steps_ns.push(step_ns);
        }
        if self.steps_ns.len() < LEARN {
            return;
        }
        let mut steps_ns = std::mem::take(&mut self.steps_ns);
        steps_ns.sort_by(f64::total_cmp);
        let median_ns = steps_ns[LEARN / 2];
        // The mean sees below the clock's tick; gaps are left out of it, and as much
        // on the other side.
        let near = |step: &&f64| (*step - median_ns).abs() < 0.6 * median_ns;
        let single = steps_ns.iter().filter(near);
        let (sum, count) = single.fold((0.0, 0.0), |(sum, n), step| (sum + step, n + 1.0));
        self.usual_ns = Some(sum / count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps of a loop of `period_ms` that wanders, on a clock of whole
    /// milliseconds; every `gap`-th sample is left out.
    fn left_out(period_ms: f64, jitter_ms: f64, gap: usize) -> (u64, u64) {
        let mut rhythm = Rhythm::default();
        let (mut t_ms, mut last, mut found, mut truth) = (0.0_f64, None, 0, 0);
        let mut state = 9_u64;
        for i in 1..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            t_ms += period_ms + jitter_ms * (state >> 33) as f64 / (1_u64 << 31) as f64;
            if i > 500 && i % gap == 0 {
                truth += 1;
                continue;
            }
            let stamp = t_ms.floor();
            if let Some(last) = last {
                found += rhythm.step((stamp - last) * 1e6);
            }
            last = Some(stamp);
        }
        (found, truth)
    }

    #[test]
    fn a_clock_as_coarse_as_half_a_period_invents_no_gap() {
        for (period_ms, jitter_ms) in [(2.0, 0.2), (5.5, 0.1), (10.0, 0.2), (2.0, 0.0)] {
            assert_eq!(
                left_out(period_ms, jitter_ms, usize::MAX).0,
                0,
                "{period_ms} ms"
            );
        }
    }

    /// A camera on a busy machine: its stamps are off by up to a period, some images
    /// are missing by their numbers. Then it is away.
    #[test]
    fn numbers_make_the_step_exact_where_stamps_are_not() {
        let mut rhythm = Rhythm::default();
        let (period_ns, mut last_ns, mut last) = (66.7e6, 0.0, 0_u64);
        let mut state = 5_u64;
        for number in 1..400_u64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if number % 7 == 3 {
                continue;
            }
            let late = (state >> 33) as f64 / (1_u64 << 31) as f64;
            let stamp_ns = (number as f64 + late) * period_ns;
            rhythm.numbered_step(stamp_ns - last_ns, number - last);
            (last_ns, last) = (stamp_ns, number);
        }
        let usual_ns = rhythm.usual_ns().expect("many steps");
        // A step by the mean of 100, each end of which is off by a period at most.
        assert!(
            (usual_ns / period_ns - 1.0).abs() < 0.01,
            "{usual_ns} of {period_ns} ns"
        );
        assert_eq!(Rhythm::left_out(41.3 * period_ns, usual_ns), 40);
        assert_eq!(Rhythm::left_out(0.9 * period_ns, usual_ns), 0);
        assert_eq!(Rhythm::left_out(0.2 * period_ns, usual_ns), 0);
    }

    #[test]
    fn every_sample_that_is_left_out_is_counted() {
        for (period_ms, jitter_ms) in [(2.0, 0.2), (5.5, 0.1), (10.0, 0.2)] {
            let (found, truth) = left_out(period_ms, jitter_ms, 37);
            assert_eq!(found, truth, "{period_ms} ms");
        }
    }
}
