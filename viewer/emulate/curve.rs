//! Smooth curves in time: through the samples of a clip, or from stop to stop.

/// Time over which a clip that plays forward is led back to its first sample [s].
pub const BLEND_S: f64 = 0.5;

/// How a clip goes on after its last sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Back to its start, and forward again.
    PingPong,
    /// From its start again, as a video does: sample i is at (i + k·n) / rate. The last
    /// [`BLEND_S`] of each round lead to the first sample, so that nothing jumps.
    Forward,
}

/// Minimum-jerk step: 0 to 1 over x from 0 to 1, velocity and acceleration zero at both ends; its
/// steepest slope is 1.875 (Flash and Hogan, J. Neuroscience 5, 1985).
pub fn minimum_jerk(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * x * (10.0 + x * (6.0 * x - 15.0))
}

/// A curve through evenly spaced samples: position and velocity are continuous, and between two
/// samples it stays between them (monotone cubic, Fritsch and Carlson, SIAM J. Numer. Anal. 17,
/// 1980, with harmonic-mean slopes). It stands still at both ends.
#[derive(Debug, Clone)]
pub struct Curve {
    width: usize,
    rate_hz: f64,
    repeat: Repeat,
    /// Shape (samples, width).
    values: Vec<f64>,
    /// Derivatives per sample interval, shape (samples, width).
    slopes: Vec<f64>,
    /// Where the end of a forward round leads, shape (width,).
    goal: Vec<f64>,
}

impl Curve {
    /// Through `values`, row-major of shape (n, width) with n > 0, `rate_hz` samples a second.
    pub fn new(values: Vec<f64>, width: usize, rate_hz: f64, repeat: Repeat) -> Self {
        let mut slopes = vec![0.0; values.len()];
        for i in width..values.len().saturating_sub(width) {
            let before = values[i] - values[i - width];
            let after = values[i + width] - values[i];
            if before * after > 0.0 {
                slopes[i] = 2.0 * before * after / (before + after);
            }
        }
        Self {
            width,
            rate_hz,
            repeat,
            goal: values[..width].to_vec(),
            values,
            slopes,
        }
    }

    /// With another `goal`, shape (width,), for the end of a forward round: one that means the same
    /// as the first sample, as the negative of a quaternion does.
    pub fn led_to(mut self, goal: Vec<f64>) -> Self {
        self.goal = goal;
        self
    }

    fn samples(&self) -> usize {
        self.values.len() / self.width
    }

    /// Time after which it repeats [s].
    pub fn period_s(&self) -> f64 {
        let samples = self.samples() as f64;
        match self.repeat {
            Repeat::PingPong => 2.0 * (samples - 1.0).max(0.5) / self.rate_hz,
            Repeat::Forward => samples / self.rate_hz,
        }
    }

    /// The value at a time [s], shape (width,).
    pub fn at(&self, t_s: f64) -> Vec<f64> {
        let period_s = self.period_s();
        let phase_s = t_s.rem_euclid(period_s);
        let last = (self.samples() - 1) as f64;
        match self.repeat {
            Repeat::PingPong => {
                let x = phase_s * self.rate_hz;
                self.between(if x > last { 2.0 * last - x } else { x })
            }
            Repeat::Forward => {
                let mut value = self.between(phase_s * self.rate_hz);
                let blend_s = BLEND_S.min(period_s / 2.0);
                let share = minimum_jerk((phase_s - (period_s - blend_s)) / blend_s);
                for (value, goal) in value.iter_mut().zip(&self.goal) {
                    *value += share * (goal - *value);
                }
                value
            }
        }
    }

    /// The curve at sample number `x`, held beyond the ends.
    fn between(&self, x: f64) -> Vec<f64> {
        let x = x.clamp(0.0, (self.samples() - 1) as f64);
        let i = (x as usize).min(self.samples().saturating_sub(2));
        let s = x - i as f64;
        let row = |i: usize| {
            let start = i.min(self.samples() - 1) * self.width;
            (
                &self.values[start..start + self.width],
                &self.slopes[start..start + self.width],
            )
        };
        let ((from, from_slope), (to, to_slope)) = (row(i), row(i + 1));
        let (s2, s3) = (s * s, s * s * s);
        (0..self.width)
            .map(|k| {
                from[k]
                    + (3.0 * s2 - 2.0 * s3) * (to[k] - from[k])
                    + (s3 - 2.0 * s2 + s) * from_slope[k]
                    + (s3 - s2) * to_slope[k]
            })
            .collect()
    }
}

/// A place to stand at, and how long it takes from there to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// Where, shape (width,).
    pub position: Vec<f64>,
    /// How long to stand there [s].
    pub hold_s: f64,
    /// How long the minimum-jerk move to the next stop takes [s].
    pub move_s: f64,
}

/// From stop to stop by minimum-jerk moves; velocity and acceleration are continuous.
#[derive(Debug, Clone)]
pub struct Stops {
    stops: Vec<Stop>,
    again: bool,
}

impl Stops {
    /// Through `stops`, at least one. With `again` the last move leads to the first stop and all
    /// is repeated; without, the last stop is held for ever.
    pub fn new(stops: Vec<Stop>, again: bool) -> Self {
        assert!(!stops.is_empty(), "a motion needs at least one stop");
        Self { stops, again }
    }

    /// Time of one round [s].
    pub fn period_s(&self) -> f64 {
        self.stops
            .iter()
            .map(|stop| stop.hold_s + stop.move_s)
            .sum()
    }

    /// The value at a time [s], shape (width,).
    pub fn at(&self, t_s: f64) -> Vec<f64> {
        let mut left_s = t_s.max(0.0);
        if self.again && self.period_s() > 0.0 {
            left_s = left_s.rem_euclid(self.period_s());
        }
        let count = self.stops.len();
        for (i, stop) in self.stops.iter().enumerate() {
            let is_end = i + 1 == count && !self.again;
            if left_s <= stop.hold_s || is_end {
                return stop.position.clone();
            }
            left_s -= stop.hold_s;
            if left_s < stop.move_s {
                let share = minimum_jerk(left_s / stop.move_s);
                let next = &self.stops[(i + 1) % count].position;
                return stop
                    .position
                    .iter()
                    .zip(next)
                    .map(|(from, to)| from + share * (to - from))
                    .collect();
            }
            left_s -= stop.move_s;
        }
        // Only rounding leads here: the end of the last move is the first stop.
        self.stops[0].position.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [f64; 6] = [0.0, 1.0, 1.5, -2.0, -2.0, 3.0];

    #[test]
    fn a_curve_passes_through_its_samples_and_stays_between_them() {
        let curve = Curve::new(SAMPLES.to_vec(), 1, 10.0, Repeat::PingPong);
        for (i, sample) in SAMPLES.iter().enumerate() {
            assert!((curve.at(i as f64 / 10.0)[0] - sample).abs() < 1e-12);
        }
        for k in 0..500 {
            let (i, t) = (k / 100, f64::from(k) / 1000.0);
            let (from, to) = (SAMPLES[i as usize], SAMPLES[i as usize + 1]);
            let value = curve.at(t)[0];
            assert!(value >= from.min(to) - 1e-12 && value <= from.max(to) + 1e-12);
        }
    }

    #[test]
    fn velocity_is_continuous_in_both_ways_of_repeating() {
        for repeat in [Repeat::PingPong, Repeat::Forward] {
            let curve = Curve::new(SAMPLES.to_vec(), 1, 10.0, repeat);
            let (mut last, dt) = (None, 1e-5);
            for k in 0..250_000 {
                let t = f64::from(k) * dt;
                let velocity = (curve.at(t + dt)[0] - curve.at(t)[0]) / dt;
                // Acceleration never exceeds 6·5/(0.1 s)² within a cubic of these samples.
                let step = last.map_or(0.0, |last: f64| (velocity - last).abs());
                assert!(step < 3000.0 * dt * 2.0, "{repeat:?} at {t} s: {step}");
                last = Some(velocity);
            }
        }
    }

    #[test]
    fn a_forward_clip_keeps_the_samples_at_their_times_until_the_blend() {
        let samples: Vec<f64> = (0..60).map(|i| f64::from(i % 7)).collect();
        let curve = Curve::new(samples.clone(), 1, 30.0, Repeat::Forward);
        for round in 0..3 {
            for (i, sample) in samples.iter().enumerate().take(45) {
                let t = (i + round * 60) as f64 / 30.0;
                assert!(
                    (curve.at(t)[0] - sample).abs() < 1e-9,
                    "sample {i}, round {round}"
                );
            }
        }
    }

    #[test]
    fn one_sample_stands_still() {
        for repeat in [Repeat::PingPong, Repeat::Forward] {
            let curve = Curve::new(vec![4.0, 5.0], 2, 30.0, repeat);
            assert_eq!(curve.at(0.0), [4.0, 5.0]);
            assert_eq!(curve.at(7.3), [4.0, 5.0]);
        }
    }

    #[test]
    fn stops_are_held_and_left_on_time() {
        let stop = |x: f64, hold_s| Stop {
            position: vec![x],
            hold_s,
            move_s: 0.5,
        };
        let once = Stops::new(vec![stop(1.0, 2.0), stop(3.0, 1.0)], false);
        for (t, expected) in [(0.0, 1.0), (2.0, 1.0), (2.25, 2.0), (2.5, 3.0), (9.0, 3.0)] {
            assert!((once.at(t)[0] - expected).abs() < 1e-12, "at {t} s");
        }
        let again = Stops::new(vec![stop(1.0, 2.0), stop(3.0, 1.0)], true);
        for (t, expected) in [(3.5, 3.0), (3.75, 2.0), (4.0, 1.0), (6.25, 2.0)] {
            assert!((again.at(t)[0] - expected).abs() < 1e-12, "at {t} s");
        }
    }
}
