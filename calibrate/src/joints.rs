//! Encoder channels to joint angles, from a recording in which known poses are
//! held one after another. The still intervals are found in the samples, so that
//! nobody has to press a key at the right time, and matched to the poses in
//! order; their number must agree.

use std::collections::BTreeMap;

use dexumi_episode::{JointCalibration, JointMap, SessionTime, align::JointTracks};
use serde::Serialize;
use thiserror::Error;

use crate::setpoints::SetPoints;

/// Two adjacent windows of this length whose means agree are still [s].
const WINDOW_S: f64 = 0.06;
/// How well they must agree [rad]: several times the sensor noise of a mean,
/// far below any move.
const STILL_RAD: f64 = 0.004;
/// Fewer distinct angles than this say nothing about the shape of a map.
const MIN_LEVELS: usize = 5;

/// What is not in the samples.
#[derive(Debug, Clone)]
pub struct JointOptions {
    /// When, RFC 3339.
    pub created: String,
    /// The recording and its hash.
    pub source: String,
}

/// Why there is no calibration.
#[derive(Debug, Error)]
pub enum JointsError {
    /// The samples do not show the poses.
    #[error(
        "found {found} still intervals, expected {expected}: one for each pose of the set-points; record the whole protocol, from the first pose to the last, and hold each still for {dwell_s} s"
    )]
    Plateaus {
        /// In the samples.
        found: usize,
        /// In the protocol.
        expected: usize,
        /// By the protocol [s].
        dwell_s: f64,
    },
    /// The rig has too few channels.
    #[error(
        "recording has {found} encoder channels, expected at least {expected} for the joints of `{hand}`"
    )]
    Channels {
        /// In the samples.
        found: usize,
        /// In the protocol.
        expected: usize,
        /// The hand.
        hand: String,
    },
    /// One channel does not follow its joint.
    #[error("channel {channel} cannot be mapped to joint `{joint}`: {problem}")]
    Channel {
        /// Encoder channel.
        channel: usize,
        /// Joint.
        joint: String,
        /// What was found, and what was expected.
        problem: String,
    },
}

/// What was found, per joint in the calibration and over all here.
#[derive(Debug, Clone, Serialize)]
pub struct JointsReport {
    /// Poses found.
    pub poses: usize,
    /// Root mean square of set-point minus map over all joints [rad].
    pub residual_rms_rad: f64,
    /// The largest [rad], and its joint.
    pub residual_max_rad: f64,
    /// Joint of the largest.
    pub worst_joint: String,
    /// The largest leave-one-out error of a joint, root mean square [rad].
    pub leave_one_out_rms_rad: f64,
}

/// Maps of all joints of one side.
///
/// # Errors
/// The samples do not show the poses, or a channel does not follow its joint.
pub fn calibrate_joints(
    sensors: &JointTracks,
    points: &SetPoints,
    options: &JointOptions,
) -> Result<(JointCalibration, JointsReport), JointsError> {
    let joints = points.joint_names.len();
    if sensors.tracks.len() < joints {
        return Err(JointsError::Channels {
            found: sensors.tracks.len(),
            expected: joints,
            hand: points.hand.clone(),
        });
    }
    let plateaus = plateaus(sensors, 0.5 * points.dwell_s);
    if plateaus.len() != points.pose.len() {
        return Err(JointsError::Plateaus {
            found: plateaus.len(),
            expected: points.pose.len(),
            dwell_s: points.dwell_s,
        });
    }
    let maps: Vec<JointMap> = (0..joints)
        .map(|joint| {
            let track = &sensors.tracks[joint];
            let held: Vec<Held> = plateaus
                .iter()
                .zip(&points.pose)
                .map(|(&span, pose)| {
                    Held::of(&track.times, &track.values, span, pose.joint_rad[joint])
                })
                .collect();
            map_of(joint, &points.joint_names[joint], &held)
        })
        .collect::<Result<_, _>>()?;
    let worst = maps
        .iter()
        .max_by(|a, b| a.residual_max_rad.total_cmp(&b.residual_max_rad))
        .expect("a hand has joints");
    let mean_square = maps
        .iter()
        .map(|map| map.residual_rms_rad.powi(2))
        .sum::<f64>()
        / joints as f64;
    let report = JointsReport {
        poses: plateaus.len(),
        residual_rms_rad: mean_square.sqrt(),
        residual_max_rad: worst.residual_max_rad,
        worst_joint: worst.name.clone(),
        leave_one_out_rms_rad: maps
            .iter()
            .map(|map| map.leave_one_out_rms_rad)
            .fold(0.0, f64::max),
    };
    let calibration = JointCalibration {
        hand: points.hand.clone(),
        created: options.created.clone(),
        method: format!(
            "{} poses held for {} s each; monotone cubic through the mean of each angle",
            points.pose.len(),
            points.dwell_s
        ),
        source: options.source.clone(),
        joint: maps,
    };
    Ok((calibration, report))
}

/// A pose as one channel saw it.
struct Held {
    joint_rad: f64,
    sensor_rad: f64,
    noise_rad: f64,
}

impl Held {
    fn of(
        times: &[SessionTime],
        values: &[f64],
        span: (SessionTime, SessionTime),
        joint_rad: f64,
    ) -> Self {
        let from = times.partition_point(|&t| t < span.0);
        let to = times.partition_point(|&t| t <= span.1);
        let mut held: Vec<f64> = values[from..to].to_vec();
        held.sort_by(f64::total_cmp);
        // The middle half: a straggler at the edge of the interval does not count.
        let middle = &held[held.len() / 4..held.len() - held.len() / 4];
        let mean = middle.iter().sum::<f64>() / middle.len().max(1) as f64;
        let spread =
            held.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / held.len().max(1) as f64;
        Self {
            joint_rad,
            sensor_rad: mean,
            noise_rad: spread.sqrt(),
        }
    }
}

/// Intervals in which no channel moves, at least `min_s` long, cut at both ends
/// by the length of a window.
fn plateaus(sensors: &JointTracks, min_s: f64) -> Vec<(SessionTime, SessionTime)> {
    let rows = &sensors.rows;
    let [first, .., last] = rows[..] else {
        return Vec::new();
    };
    let rate = (rows.len() - 1) as f64 / (last - first).secs_f64().max(1e-9);
    let width = ((WINDOW_S * rate).round() as usize).max(2);
    let mut still = vec![true; rows.len()];
    for track in &sensors.tracks {
        // Sums from the start make every window's mean two look-ups.
        let mut sums = vec![0.0];
        track
            .values
            .iter()
            .for_each(|v| sums.push(sums[sums.len() - 1] + v));
        let mean = |from: usize, to: usize| (sums[to] - sums[from]) / (to - from) as f64;
        let count = track.values.len().min(still.len());
        for (index, still) in still.iter_mut().enumerate().take(count) {
            let (from, to) = (index.saturating_sub(width), (index + width).min(count));
            if index > from && to > index && (mean(from, index) - mean(index, to)).abs() > STILL_RAD
            {
                *still = false;
            }
        }
    }
    let mut found = Vec::new();
    let mut begin = 0;
    for index in 0..=rows.len() {
        if index < rows.len() && still[index] {
            continue;
        }
        if index > begin + 2 * width {
            let span = (rows[begin + width], rows[index - 1 - width]);
            let whole = (rows[index - 1] - rows[begin]).secs_f64();
            if whole >= min_s {
                found.push(span);
            }
        }
        begin = index + 1;
    }
    found
}

fn map_of(channel: usize, name: &str, held: &[Held]) -> Result<JointMap, JointsError> {
    let fail = |problem: String| JointsError::Channel {
        channel,
        joint: name.to_owned(),
        problem,
    };
    // One knot per angle: the mean of its visits, from below and from above.
    let mut levels: BTreeMap<i64, Vec<&Held>> = BTreeMap::new();
    for point in held {
        levels
            .entry((point.joint_rad * 1e6).round() as i64)
            .or_default()
            .push(point);
    }
    if levels.len() < MIN_LEVELS {
        return Err(fail(format!(
            "{} distinct angles, expected at least {MIN_LEVELS}",
            levels.len()
        )));
    }
    let mut knots: Vec<(f64, f64)> = levels
        .values()
        .map(|visits| {
            let mean = visits.iter().map(|v| v.sensor_rad).sum::<f64>() / visits.len() as f64;
            (mean, visits[0].joint_rad)
        })
        .collect();
    let rises = knots[knots.len() - 1].0 > knots[0].0;
    if !rises {
        knots.reverse();
    }
    if let Some(pair) = knots.windows(2).find(|pair| pair[1].0 - pair[0].0 < 1e-3) {
        return Err(fail(format!(
            "sensor goes from {:.3} to {:.3} rad while the joint goes from {:.3} to {:.3} rad, \
             expected it to follow; is this channel connected to this joint?",
            pair[0].0, pair[1].0, pair[0].1, pair[1].1
        )));
    }
    let noise_sensor = held.iter().map(|v| v.noise_rad).sum::<f64>() / held.len() as f64;
    let gain = (knots[knots.len() - 1].1 - knots[0].1) / (knots[knots.len() - 1].0 - knots[0].0);
    let mut map = JointMap {
        hysteresis_rad: hysteresis(held, &levels, gain),
        noise_rad: noise_sensor * gain.abs(),
        ..JointMap::through(
            name,
            channel,
            knots.iter().map(|knot| knot.0).collect(),
            knots.iter().map(|knot| knot.1).collect(),
        )
    };
    let errors: Vec<f64> = held
        .iter()
        .map(|v| (map.apply(v.sensor_rad).joint_rad - v.joint_rad).abs())
        .collect();
    map.residual_rms_rad = rms(&errors);
    map.residual_max_rad = errors.iter().copied().fold(0.0, f64::max);
    let left_out: Vec<f64> = (1..knots.len() - 1)
        .map(|out| {
            let mut rest = map.clone();
            rest.sensor_rad.remove(out);
            rest.joint_rad.remove(out);
            rest.apply(knots[out].0).joint_rad - knots[out].1
        })
        .collect();
    map.leave_one_out_rms_rad = rms(&left_out);
    Ok(map)
}

/// Half the mean gap between visits from below and from above [rad of the joint].
fn hysteresis(held: &[Held], levels: &BTreeMap<i64, Vec<&Held>>, gain: f64) -> Option<f64> {
    let mut direction: BTreeMap<i64, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for pair in held.windows(2) {
        let key = (pair[1].joint_rad * 1e6).round() as i64;
        let entry = direction.entry(key).or_default();
        if pair[1].joint_rad > pair[0].joint_rad {
            entry.0.push(pair[1].sensor_rad);
        } else {
            entry.1.push(pair[1].sensor_rad);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let gaps: Vec<f64> = levels
        .keys()
        .filter_map(|key| direction.get(key))
        .filter(|(up, down)| !up.is_empty() && !down.is_empty())
        .map(|(up, down)| (mean(up) - mean(down)).abs())
        .collect();
    (!gaps.is_empty()).then(|| mean(&gaps) * gain.abs() / 2.0)
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use dexumi_episode::{Delta, align::Track};
    use proptest::prelude::*;

    use super::*;

    /// What a rig with this true map sends while the protocol runs.
    fn recording(points: &SetPoints, truth: impl Fn(usize, f64) -> f64, noise: f64) -> JointTracks {
        let mut seed = 12_345_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
        };
        let joints = points.joint_names.len();
        let mut sensors = JointTracks {
            tracks: vec![Track::default(); joints],
            ..JointTracks::default()
        };
        let mut t = 0.0;
        while t < points.duration_s() + points.dwell_s {
            let since = (t - points.lead_s).max(0.0);
            let step = points.move_s + points.dwell_s;
            let index = ((since / step) as usize).min(points.pose.len() - 1);
            let next = (index + 1).min(points.pose.len() - 1);
            let s = ((since - index as f64 * step) / points.move_s).clamp(0.0, 1.0);
            let s = if t < points.lead_s {
                0.0
            } else {
                s * s * s * (10.0 - 15.0 * s + 6.0 * s * s)
            };
            let time = SessionTime::from_nanos(0) + Delta::from_secs_f64(t);
            for joint in 0..joints {
                let (a, b) = (
                    points.pose[index].joint_rad[joint],
                    points.pose[next].joint_rad[joint],
                );
                sensors.tracks[joint].times.push(time);
                sensors.tracks[joint]
                    .values
                    .push(truth(joint, a + (b - a) * s) + noise * random());
            }
            sensors.rows.push(time);
            t += 0.0055;
        }
        sensors
    }

    fn options() -> JointOptions {
        JointOptions {
            created: "2026-01-01T00:00:00Z".to_owned(),
            source: "test".to_owned(),
        }
    }

    fn sweep() -> SetPoints {
        let joints = [
            ("thumb".to_owned(), 0.0, 1.8),
            ("index".to_owned(), -0.17, 0.17),
        ];
        SetPoints::sweep("test", &joints, 9)
    }

    #[test]
    fn a_bent_map_is_recovered_from_noisy_samples() {
        let truth = |joint: usize, q: f64| match joint {
            0 => 2.0 - 0.9 * q + 0.05 * (2.0 * q).sin(),
            _ => 6.2 + 1.1 * q,
        };
        let sensors = recording(&sweep(), truth, 0.003);
        let (calibration, report) =
            calibrate_joints(&sensors, &sweep(), &options()).expect("a map");
        assert!(report.residual_max_rad < 2e-3, "{report:?}");
        for joint in 0..2 {
            let (low, high) = [(0.0, 1.8), (-0.17, 0.17)][joint];
            for step in 0..=100 {
                let q = low + (high - low) * f64::from(step) / 100.0;
                let got = calibration.joint[joint].apply(truth(joint, q)).joint_rad;
                assert!((got - q).abs() < 4e-3, "joint {joint} at {q}: {got}");
            }
        }
    }

    #[test]
    fn a_channel_that_does_not_move_is_refused_by_name() {
        let sensors = recording(
            &sweep(),
            |joint, q| if joint == 0 { 1.0 + q } else { 2.0 },
            0.0,
        );
        let error = calibrate_joints(&sensors, &sweep(), &options()).expect_err("no map");
        assert!(error.to_string().contains("`index`"), "{error}");
    }

    #[test]
    fn a_recording_that_was_cut_short_is_refused_with_both_numbers() {
        let mut sensors = recording(&sweep(), |_, q| 1.0 + q, 0.0);
        let keep = sensors.rows.len() / 2;
        sensors.rows.truncate(keep);
        for track in &mut sensors.tracks {
            track.times.truncate(keep);
            track.values.truncate(keep);
        }
        let error = calibrate_joints(&sensors, &sweep(), &options()).expect_err("too few poses");
        assert!(
            matches!(error, JointsError::Plateaus { expected: 17, .. }),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_recording_gives_an_answer_or_an_error(
            values in proptest::collection::vec(-10.0..10.0_f64, 0..200),
        ) {
            let times: Vec<_> = (0..values.len()).map(|i| SessionTime::from_nanos(i as i64 * 5_500_000)).collect();
            let track = Track { times: times.clone(), values };
            let sensors = JointTracks { tracks: vec![track.clone(), track], rows: times, ..JointTracks::default() };
            let _ = calibrate_joints(&sensors, &sweep(), &options());
        }
    }
}
