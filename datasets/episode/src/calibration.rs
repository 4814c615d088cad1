//! `calibration.toml`: results of `dexumi calibrate`, with residuals, dates and
//! sources, and how they are applied to raw samples.

use std::{collections::BTreeMap, f64::consts::TAU, path::Path};

use serde::{Deserialize, Serialize};

use crate::error::{EpisodeError, parse_toml, write_atomically};

/// Everything that was measured about a rig.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this file's layout; 1.
    pub format: u32,
    /// Joint maps by side.
    #[serde(default)]
    pub joints: BTreeMap<String, JointCalibration>,
    /// Latency by stream: capture time = fitted time − latency.
    #[serde(default)]
    pub latency: BTreeMap<String, Latency>,
}

/// Encoder channels of one exoskeleton to joint angles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointCalibration {
    /// Hand whose joints these are.
    pub hand: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// How it was made.
    pub method: String,
    /// SHA-256 of the recording that it was made from, and its name.
    pub source: String,
    /// One per joint, in the hand's order.
    pub joint: Vec<JointMap>,
}

/// Monotone map of one encoder channel's angle to one joint's angle: piecewise
/// cubic Hermite interpolation through knots, with slopes that cannot overshoot
/// (F. N. Fritsch, R. E. Carlson, "Monotone piecewise cubic interpolation",
/// SIAM J. Numer. Anal. 17, 1980; slopes as in Fritsch and Butland, 1984).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointMap {
    /// Name of the joint.
    pub name: String,
    /// Encoder channel, from 0.
    pub channel: usize,
    /// Knots: sensor angle [rad], unwrapped, strictly increasing.
    pub sensor_rad: Vec<f64>,
    /// Knots: joint angle [rad], strictly monotone.
    pub joint_rad: Vec<f64>,
    /// Root mean square of set-point minus map [rad].
    pub residual_rms_rad: f64,
    /// Largest set-point minus map, absolute [rad].
    pub residual_max_rad: f64,
    /// Root mean square over set-points of the error of the map made without
    /// that set-point [rad].
    pub leave_one_out_rms_rad: f64,
    /// Half the mean gap between the map going up and going down [rad];
    /// absent where one direction only was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hysteresis_rad: Option<f64>,
    /// Noise of the sensor at rest, standard deviation [rad of the joint].
    pub noise_rad: f64,
}

/// Time from the moment of capture to the device's stamp, or to arrival where
/// it has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// [s]
    pub seconds: f64,
    /// How it was measured, or where the number is from.
    pub source: String,
}

/// Sensor noise at the end of the calibrated span is no exceedance.
const OUTSIDE_RAD: f64 = 0.01;

/// A joint angle out of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MappedAngle {
    /// [rad]
    pub joint_rad: f64,
    /// The sensor was outside the calibrated span by more than 0.01 rad; the end
    /// of the map is given, nothing is extrapolated.
    pub outside: bool,
}

impl JointMap {
    /// A map through these knots [rad], of which no error is known: residuals and noise are 0.
    pub fn through(name: &str, channel: usize, sensor_rad: Vec<f64>, joint_rad: Vec<f64>) -> Self {
        Self {
            name: name.to_owned(),
            channel,
            sensor_rad,
            joint_rad,
            residual_rms_rad: 0.0,
            residual_max_rad: 0.0,
            leave_one_out_rms_rad: 0.0,
            hysteresis_rad: None,
            noise_rad: 0.0,
        }
    }

    /// Joint angle of a sensor angle [rad] on the circle.
    pub fn apply(&self, sensor_rad: f64) -> MappedAngle {
        let (first, last) = (
            self.sensor_rad[0],
            self.sensor_rad[self.sensor_rad.len() - 1],
        );
        // The turn of the circle that lies nearest to the middle of the span.
        let middle = (first + last) / 2.0;
        let x = sensor_rad - TAU * ((sensor_rad - middle) / TAU).round();
        let clamped = x.clamp(first, last);
        let right = self.sensor_rad.partition_point(|&knot| knot <= clamped);
        let i = right.clamp(1, self.sensor_rad.len() - 1) - 1;
        let (x0, x1) = (self.sensor_rad[i], self.sensor_rad[i + 1]);
        let (y0, y1) = (self.joint_rad[i], self.joint_rad[i + 1]);
        let (d0, d1) = (self.slope(i), self.slope(i + 1));
        let h = x1 - x0;
        let t = (clamped - x0) / h;
        let joint_rad = y0 * (1.0 + 2.0 * t) * (1.0 - t) * (1.0 - t)
            + h * d0 * t * (1.0 - t) * (1.0 - t)
            + y1 * t * t * (3.0 - 2.0 * t)
            - h * d1 * t * t * (1.0 - t);
        MappedAngle {
            joint_rad,
            outside: (x - clamped).abs() > OUTSIDE_RAD,
        }
    }

    /// Slope at a knot: weighted harmonic mean of its neighbours' secants,
    /// one-sided three-point formula at the ends.
    fn slope(&self, i: usize) -> f64 {
        let last = self.sensor_rad.len() - 1;
        let h = |i: usize| self.sensor_rad[i + 1] - self.sensor_rad[i];
        let secant = |i: usize| (self.joint_rad[i + 1] - self.joint_rad[i]) / h(i);
        if last == 1 {
            return secant(0);
        }
        let end = |h0: f64, h1: f64, s0: f64, s1: f64| {
            let d = ((2.0 * h0 + h1) * s0 - h0 * s1) / (h0 + h1);
            if d * s0 <= 0.0 {
                0.0
            } else if s0 * s1 <= 0.0 && d.abs() > 3.0 * s0.abs() {
                3.0 * s0
            } else {
                d
            }
        };
        if i == 0 {
            end(h(0), h(1), secant(0), secant(1))
        } else if i == last {
            end(h(last - 1), h(last - 2), secant(last - 1), secant(last - 2))
        } else {
            let (s0, s1) = (secant(i - 1), secant(i));
            if s0 * s1 <= 0.0 {
                return 0.0;
            }
            let (w0, w1) = (2.0 * h(i) + h(i - 1), h(i) + 2.0 * h(i - 1));
            (w0 + w1) / (w0 / s0 + w1 / s1)
        }
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.sensor_rad.len() != self.joint_rad.len() || self.sensor_rad.len() < 2 {
            return Err(format!(
                "joint `{name}` has {} sensor and {} joint knots, expected as many of both, at least 2",
                self.sensor_rad.len(),
                self.joint_rad.len()
            ));
        }
        let increasing = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
        let decreasing = |values: &[f64]| values.windows(2).all(|pair| pair[0] > pair[1]);
        let finite = self
            .sensor_rad
            .iter()
            .chain(&self.joint_rad)
            .all(|value| value.is_finite());
        if !finite || !increasing(&self.sensor_rad) {
            return Err(format!(
                "sensor_rad of joint `{name}` must be finite and strictly increasing"
            ));
        }
        if !(increasing(&self.joint_rad) || decreasing(&self.joint_rad)) {
            return Err(format!(
                "joint_rad of joint `{name}` must be strictly monotone"
            ));
        }
        let apart = self.sensor_rad.windows(2).map(|pair| pair[1] - pair[0]);
        let turns = self.joint_rad.iter().map(|angle| angle.abs());
        // Else the slopes between them are no numbers any more.
        if apart.fold(f64::INFINITY, f64::min) < 1e-9 || turns.fold(0.0, f64::max) > 1e3 {
            return Err(format!(
                "joint `{name}` has knots nearer than 1e-9 rad or joint angles beyond 1000 rad"
            ));
        }
        if self.sensor_rad[self.sensor_rad.len() - 1] - self.sensor_rad[0] > TAU {
            return Err(format!(
                "sensor_rad of joint `{name}` spans more than one turn"
            ));
        }
        Ok(())
    }
}

impl Calibration {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            format: 1,
            ..Self::default()
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys, or holds a map
    /// that is no map.
    pub fn load(path: &Path) -> Result<Self, EpisodeError> {
        let text = std::fs::read_to_string(path).map_err(EpisodeError::io("read", path))?;
        Self::parse(&text, path)
    }

    /// As [`load`](Self::load), from text that came from `path`.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, path: &Path) -> Result<Self, EpisodeError> {
        let calibration: Self = parse_toml("calibration", text, path)?;
        calibration
            .check()
            .map_err(|problem| EpisodeError::Config {
                what: "calibration",
                problem,
                path: path.to_owned(),
            })?;
        Ok(calibration)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != 1 {
            return Err(format!("format is {}, expected 1", self.format));
        }
        for joints in self.joints.values() {
            joints.joint.iter().try_for_each(JointMap::check)?;
        }
        for (stream, latency) in &self.latency {
            if !(-0.1..2.0).contains(&latency.seconds) {
                return Err(format!(
                    "latency of `{stream}` is {} s, expected -0.1 to 2",
                    latency.seconds
                ));
            }
        }
        Ok(())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The folder is missing, read-only or full.
    pub fn save(&self, path: &Path) -> Result<(), EpisodeError> {
        let text = toml::to_string(self).expect("a calibration is always representable as TOML");
        write_atomically(path, text.as_bytes())
    }

    /// As TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a calibration is always representable as TOML")
    }
}

/// Ratiometric sensor angle [rad, 0 to 2π) of a count and its reference count
/// (DexUMI: angle = V / V_ref · 360°); `None` without a reference.
pub fn sensor_angle_rad(counts: i32, reference: i32) -> Option<f64> {
    (reference > 0).then(|| (f64::from(counts) / f64::from(reference) * TAU).rem_euclid(TAU))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(sensor_rad: Vec<f64>, joint_rad: Vec<f64>) -> JointMap {
        JointMap::through("joint", 0, sensor_rad, joint_rad)
    }

    proptest! {
        #[test]
        fn the_map_is_monotone_and_stays_between_its_knots(
            steps in proptest::collection::vec((0.01..0.5_f64, 0.001..0.5_f64), 2..12),
            falling: bool,
            at in proptest::collection::vec(0.0..1.0_f64, 2..40),
        ) {
            let (mut x, mut y) = (0.1, -0.4);
            let (mut xs, mut ys) = (vec![], vec![]);
            for (dx, dy) in steps {
                x += dx;
                y += if falling { -dy } else { dy };
                xs.push(x);
                ys.push(y);
            }
            let (x0, x1) = (xs[0], xs[xs.len() - 1]);
            let map = map(xs, ys.clone());
            prop_assert!(map.check().is_ok());
            let mut at: Vec<f64> = at.iter().map(|t| x0 + t * (x1 - x0)).collect();
            at.sort_by(f64::total_cmp);
            let got: Vec<f64> = at.iter().map(|&x| map.apply(x).joint_rad).collect();
            for pair in got.windows(2) {
                let rise = if falling { pair[0] - pair[1] } else { pair[1] - pair[0] };
                prop_assert!(rise >= -1e-9);
            }
            let (low, high) = (ys[0].min(ys[ys.len() - 1]), ys[0].max(ys[ys.len() - 1]));
            prop_assert!(got.iter().all(|y| (low - 1e-9..=high + 1e-9).contains(y)));
        }

        #[test]
        fn whole_turns_of_the_sensor_do_not_matter(x in 0.2..1.4_f64, turns in -3..4_i32) {
            let map = map(vec![0.1, 0.8, 1.5], vec![0.0, 0.6, 1.9]);
            let a = map.apply(x).joint_rad;
            let b = map.apply(x + TAU * f64::from(turns)).joint_rad;
            prop_assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn knots_whose_slopes_are_no_numbers_are_refused() {
        for (sensor_rad, joint_rad) in [
            (vec![0.0, 1e-300, 1.0], vec![0.0, 1.0, 2.0]),
            (vec![0.0, 1.0], vec![-1e308, 1e308]),
        ] {
            let problem = map(sensor_rad, joint_rad).check().expect_err("refused");
            assert!(problem.contains("1e-9"), "{problem}");
        }
    }

    #[test]
    fn beyond_the_span_the_end_is_given_and_said() {
        let map = map(vec![0.1, 0.8, 1.5], vec![0.0, 0.6, 1.9]);
        assert_eq!(
            map.apply(1.6),
            MappedAngle {
                joint_rad: 1.9,
                outside: true
            }
        );
        assert!(!map.apply(1.4).outside);
    }
}
