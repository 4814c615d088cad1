//! How the wearer moved: jumps, noise, smoothness, idleness, force.

use std::collections::BTreeMap;

use dexumi_episode::{
    Delta, SessionTime,
    align::{Timeline, Track},
};
use nalgebra::{Isometry3, Vector3};

use crate::{
    hand::Hands,
    measured::{Input, Measured, Plot},
    metric::Found,
};

/// Motion is looked at in steps of so many a second: people move below 10 Hz.
pub(crate) const STEPS_HZ: f64 = 30.0;
/// Slower than this a wrist or a fingertip rests [m/s].
const IDLE_M_S: f64 = 0.02;
/// Slower than this a wrist or a joint rests [rad/s] (lerobot-score).
const IDLE_RAD_S: f64 = 0.1;
/// A tracked pose that moves further than its speed explains has jumped [m], [rad].
const JUMP_M: f64 = 0.01;
const JUMP_RAD: f64 = 0.174_533;
/// What a person's acceleration explains besides [m/s²], [rad/s²].
const MOST_M_S2: f64 = 50.0;
const MOST_RAD_S2: f64 = 500.0;
/// Windows of smoothness [steps], and the speed that one has to reach [m/s].
const WINDOW: usize = 30;
const MOVES_M_S: f64 = 0.05;
/// Windows that it takes.
const LEAST_WINDOWS: usize = 6;
/// So many samples at the very top are no noise; so many are none even where they come once.
const SHORT_STOP: usize = 8;
const LONG_STOP: usize = 16;

/// A tracked body on the steps.
struct Body {
    position_m: Vec<Option<Vector3<f64>>>,
    speed_m_s: Vec<Option<f64>>,
    turn_rad_s: Vec<Option<f64>>,
}

/// Joints of a side on the steps.
pub(crate) struct Joints {
    /// One row a step, one angle a joint [rad].
    pub angles: Vec<Option<Vec<f64>>>,
    /// The fastest joint [rad/s].
    speed_rad_s: Vec<Option<f64>>,
}

/// Everything that moves, in steps of 1/30 s.
pub(crate) struct Motion {
    start: SessionTime,
    steps: usize,
    bodies: BTreeMap<String, Body>,
    pub joints: BTreeMap<String, Joints>,
    /// Mean speed of a glove's keypoints [m/s].
    gloves: BTreeMap<String, Vec<Option<f64>>>,
    /// Whether nothing moves; `None` where nothing is known.
    idle: Vec<Option<bool>>,
}

impl Motion {
    pub(crate) fn of(input: &Input<'_>, hands: &Hands) -> Self {
        let timeline = input.timeline;
        let (start, stop) = timeline.interval;
        let steps = ((stop - start).secs_f64() * STEPS_HZ).floor().max(0.0) as usize + 1;
        let at = |step: usize| start + Delta::from_secs_f64(step as f64 / STEPS_HZ);
        let bodies = timeline.poses.iter().map(|(name, track)| {
            let place = |pose: &Isometry3<f64>| pose.translation.vector.as_slice().to_vec();
            let position_m: Vec<_> = smoothed(track, place, steps, at, timeline.max_gap)
                .into_iter()
                .map(|row| row.map(|row| Vector3::from_column_slice(&row)))
                .collect();
            let turns: Vec<_> = (0..steps)
                .map(|step| Some(track.at(at(step), timeline.max_gap)?.rotation))
                .collect();
            let body = Body {
                speed_m_s: rates(&position_m, |a, b| (b - a).norm()),
                turn_rad_s: rates(&turns, |a, b| a.angle_to(b)),
                position_m,
            };
            (name.clone(), body)
        });
        let bodies: BTreeMap<_, _> = bodies.collect();
        let joints: BTreeMap<_, _> = timeline
            .joints
            .iter()
            .map(|(side, tracks)| {
                let channels: Vec<Vec<Option<Vec<f64>>>> = tracks
                    .tracks
                    .iter()
                    .map(|track| smoothed(track, |value| vec![*value], steps, at, timeline.max_gap))
                    .collect();
                let angles: Vec<Option<Vec<f64>>> = (0..steps)
                    .map(|step| {
                        let row = channels
                            .iter()
                            .map(|channel| Some(channel[step].as_ref()?[0]));
                        row.collect()
                    })
                    .collect();
                let fastest = |a: &Vec<f64>, b: &Vec<f64>| {
                    let moves = a.iter().zip(b).map(|(a, b)| (b - a).abs());
                    moves.fold(0.0, f64::max)
                };
                let speed_rad_s = rates(&angles, fastest);
                (
                    side.clone(),
                    Joints {
                        angles,
                        speed_rad_s,
                    },
                )
            })
            .collect();
        let gloves: BTreeMap<_, _> = hands
            .keypoints
            .iter()
            .map(|(side, samples)| {
                let mut track = Track::default();
                for (time, points) in samples {
                    let is_later = track.times.last().is_none_or(|last| last < time);
                    if let (Some(points), true) = (points, is_later) {
                        track.times.push(*time);
                        track.values.push(points.as_flattened().to_vec());
                    }
                }
                let places = smoothed(&track, Vec::clone, steps, at, timeline.max_gap);
                let mean = |a: &Vec<f64>, b: &Vec<f64>| {
                    let moves = a
                        .chunks(3)
                        .zip(b.chunks(3))
                        .map(|(a, b)| (0..3).map(|i| (b[i] - a[i]).powi(2)).sum::<f64>().sqrt());
                    moves.sum::<f64>() / 21.0
                };
                (side.clone(), rates(&places, mean))
            })
            .collect();
        let mut idle = vec![None; steps];
        let mut mark = |speeds: &[Option<f64>], limit: f64| {
            for (idle, speed) in idle.iter_mut().zip(speeds) {
                if let Some(speed) = speed {
                    *idle = Some(idle.unwrap_or(true) && *speed < limit);
                }
            }
        };
        for body in bodies.values() {
            mark(&body.speed_m_s, IDLE_M_S);
            mark(&body.turn_rad_s, IDLE_RAD_S);
        }
        joints
            .values()
            .for_each(|joints| mark(&joints.speed_rad_s, IDLE_RAD_S));
        gloves.values().for_each(|speeds| mark(speeds, IDLE_M_S));
        Self {
            start,
            steps,
            bodies,
            joints,
            gloves,
            idle,
        }
    }

    /// Whether something moves at a time; where nothing is known, it may.
    pub(crate) fn may_move_at(&self, time: SessionTime) -> bool {
        let step = ((time - self.start).secs_f64() * STEPS_HZ).round();
        let step = (step.max(0.0) as usize).min(self.steps - 1);
        self.idle[step] != Some(true)
    }

    /// First and last step with motion.
    pub(crate) fn busy(&self) -> Option<(usize, usize)> {
        let is_busy = |idle: &Option<bool>| *idle == Some(false);
        let first = self.idle.iter().position(is_busy)?;
        let last = self.idle.iter().rposition(is_busy)?;
        Some((first, last))
    }

    /// Positions of the tracked bodies on the steps [m], by name.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&String, &[Option<Vector3<f64>>])> {
        let bodies = self.bodies.iter();
        bodies.map(|(name, body)| (name, &body.position_m[..]))
    }

    pub(crate) fn plots(&self) -> Vec<Plot> {
        let curve = |name: &str, values: &[Option<f64>]| {
            let points = values
                .iter()
                .enumerate()
                .map(|(step, value)| (step as f64 / STEPS_HZ, value.unwrap_or(f64::NAN)));
            Plot::line(name, points)
        };
        let mut plots = Vec::new();
        let mut add = |title: &str, lines: Vec<_>| {
            if !lines.is_empty() {
                plots.push(Plot {
                    title: title.to_owned(),
                    lines,
                });
            }
        };
        let bodies = self.bodies.iter();
        let speeds = bodies.map(|(name, body)| curve(name, &body.speed_m_s));
        let gloves = self.gloves.iter().map(|(side, speed)| curve(side, speed));
        add("speed [m/s]", speeds.chain(gloves).collect());
        let joints = self.joints.iter();
        let joints = joints.map(|(side, joints)| curve(side, &joints.speed_rad_s));
        add("fastest joint [rad/s]", joints.collect());
        plots
    }
}

/// Speed at each step, from the steps before and after.
fn rates<T>(values: &[Option<T>], distance: impl Fn(&T, &T) -> f64) -> Vec<Option<f64>> {
    let at = |step: usize| {
        let before = values[step.saturating_sub(1)].as_ref()?;
        let after = values[(step + 1).min(values.len() - 1)].as_ref()?;
        let steps = (step + 1).min(values.len() - 1) - step.saturating_sub(1);
        Some(distance(before, after) * STEPS_HZ / steps.max(1) as f64)
    };
    (0..values.len()).map(at).collect()
}

/// Values at the steps: of a straight line through the samples around each, nearer ones with
/// more weight. `None` beyond the samples and in gaps.
fn smoothed<T>(
    track: &Track<T>,
    row: impl Fn(&T) -> Vec<f64>,
    steps: usize,
    at: impl Fn(usize) -> SessionTime,
    max_gap: Delta,
) -> Vec<Option<Vec<f64>>> {
    let times = &track.times;
    let rate = match times[..] {
        [first, .., last] => (times.len() - 1) as f64 / (last - first).secs_f64().max(1e-9),
        _ => return vec![None; steps],
    };
    let width_s = (1.0 / STEPS_HZ).max(1.5 / rate);
    let width = Delta::from_secs_f64(width_s);
    let one = |step: usize| {
        let time = at(step);
        let right = times.partition_point(|&t| t < time);
        let is_gap = match (right.checked_sub(1), times.get(right)) {
            (_, Some(&after)) if after == time => false,
            (Some(before), Some(&after)) => after - times[before] > max_gap,
            _ => true,
        };
        if is_gap {
            return None;
        }
        let from = times.partition_point(|&t| t <= time - width);
        let to = times.partition_point(|&t| t < time + width);
        let (mut s0, mut s1, mut s2) = (0.0, 0.0, 0.0);
        let (mut sums, mut moments): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for (&sampled, values) in times[from..to].iter().zip(&track.values[from..to]) {
            let x = (sampled - time).secs_f64();
            let weight = 1.0 - x.abs() / width_s;
            let values = row(values);
            sums.resize(values.len(), 0.0);
            moments.resize(values.len(), 0.0);
            s0 += weight;
            s1 += weight * x;
            s2 += weight * x * x;
            for (at, value) in values.into_iter().enumerate() {
                sums[at] += weight * value;
                moments[at] += weight * x * value;
            }
        }
        let determinant = s0 * s2 - s1 * s1;
        if determinant <= 1e-12 * s0 * s0 * width_s * width_s {
            return None;
        }
        let values = sums.iter().zip(&moments);
        Some(
            values
                .map(|(sum, moment)| (s2 * sum - s1 * moment) / determinant)
                .collect(),
        )
    };
    (0..steps).map(one).collect()
}

pub(crate) fn duration(measured: &Measured<'_>) -> Vec<Found> {
    vec![Found::new("", measured.input.episode.duration_s())]
}

/// Poses that move further than the speed before and after explains.
pub(crate) fn pose_jumps(measured: &Measured<'_>) -> Vec<Found> {
    let timeline = measured.input.timeline;
    let poses = timeline.poses.iter();
    poses
        .map(|(name, track)| {
            let jumps = jumps(track, timeline);
            let found = Found::new(name, jumps.len() as f64);
            match jumps.first() {
                Some(&first) => found.noting(format!(
                    "the first at {:.2} s",
                    measured.since_start_s(track.times[first])
                )),
                None => found,
            }
        })
        .collect()
}

/// Indexes of the samples after a jump.
fn jumps(track: &Track<Isometry3<f64>>, timeline: &Timeline) -> Vec<usize> {
    let (times, poses) = (&track.times, &track.values);
    let dt = |a: usize, b: usize| (times[b] - times[a]).secs_f64();
    let most_dt = timeline.max_gap.secs_f64();
    let mut found = Vec::new();
    for at in 2..times.len().saturating_sub(1) {
        let step_s = dt(at - 1, at);
        let before_s = dt(at - 2, at - 1);
        let after_s = dt(at, at + 1);
        // Across a gap a person may have gone anywhere.
        if step_s > most_dt || before_s > most_dt || after_s > most_dt {
            continue;
        }
        let place = |index: usize| poses[index].translation.vector;
        let before = (place(at - 1) - place(at - 2)) / before_s;
        let after = (place(at + 1) - place(at)) / after_s;
        let explained = (before + after) * (0.5 * step_s);
        let moved = (place(at) - place(at - 1) - explained).norm();
        let turn = |a: usize, b: usize| poses[a].rotation.angle_to(&poses[b].rotation);
        let rate = (turn(at - 2, at - 1) / before_s).max(turn(at, at + 1) / after_s);
        let turned = turn(at - 1, at) - rate * step_s;
        let square = step_s * step_s;
        if moved > JUMP_M + MOST_M_S2 * square || turned > JUMP_RAD + MOST_RAD_S2 * square {
            found.push(at);
        }
    }
    // The samples beside a jump cannot be judged: one jump, one finding.
    found.dedup_by(|later, earlier| *later - *earlier <= 1);
    found
}

/// Standard deviation of white noise on a smooth curve, from the median third difference,
/// whose variance is 20 times that of the noise.
fn noise(thirds: &mut [f64]) -> f64 {
    if thirds.len() < 16 {
        return 0.0;
    }
    thirds.sort_by(f64::total_cmp);
    thirds[thirds.len() / 2] / 20_f64.sqrt()
}

/// Runs of samples without a gap.
fn even(times: &[SessionTime], at: usize, max_gap: Delta) -> bool {
    times[at + 3] - times[at] <= Delta::from_nanos(3 * max_gap.nanos())
        && (at..at + 3).all(|k| times[k + 1] - times[k] <= max_gap)
}

pub(crate) fn wrist_jitter(measured: &Measured<'_>) -> Vec<Found> {
    // Median of the length of a Gaussian vector in three axes, over its rms.
    const MEDIAN_OVER_RMS: f64 = 0.888;
    let timeline = measured.input.timeline;
    let poses = timeline.poses.iter();
    poses
        .map(|(name, track)| {
            let place = |index: usize| track.values[index].translation.vector;
            let mut thirds: Vec<f64> = (0..track.times.len().saturating_sub(3))
                .filter(|&at| even(&track.times, at, timeline.max_gap))
                .map(|at| {
                    let third =
                        place(at + 3) - 3.0 * place(at + 2) + 3.0 * place(at + 1) - place(at);
                    third.norm()
                })
                .collect();
            Found::new(name, 1e3 * noise(&mut thirds) / MEDIAN_OVER_RMS)
        })
        .collect()
}

pub(crate) fn joint_jitter(measured: &Measured<'_>) -> Vec<Found> {
    // Median of the absolute value of a Gaussian, over its rms.
    const MEDIAN_OVER_RMS: f64 = 0.6745;
    let timeline = measured.input.timeline;
    let sides = timeline.joints.iter();
    sides
        .filter_map(|(side, joints)| {
            let of = |track: &Track<f64>| {
                let v = &track.values;
                let mut thirds: Vec<f64> = (0..v.len().saturating_sub(3))
                    .filter(|&at| even(&track.times, at, timeline.max_gap))
                    .map(|at| (v[at + 3] - 3.0 * v[at + 2] + 3.0 * v[at + 1] - v[at]).abs())
                    .collect();
                noise(&mut thirds) / MEDIAN_OVER_RMS
            };
            let worst = joints
                .tracks
                .iter()
                .map(of)
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1))?;
            Some(Found::new(side, worst.1.to_degrees()).noting(joints.names[worst.0].clone()))
        })
        .collect()
}

/// Third derivative at a step [m/s³].
fn jerk(position: &[Option<Vector3<f64>>], at: usize) -> Option<Vector3<f64>> {
    let [a, b, c, d] = [
        position[at - 2]?,
        position[at - 1]?,
        position[at + 1]?,
        position[at + 2]?,
    ];
    Some((d - 2.0 * c + 2.0 * b - a) * (0.5 * STEPS_HZ.powi(3)))
}

/// Log dimensionless jerk (S. Balasubramanian et al., "On the analysis of movement smoothness",
/// J. NeuroEng. Rehabil. 12, 2015): −ln(T³ / v² · ∫ jerk² dt), v the peak speed.
pub(crate) fn smoothness(measured: &Measured<'_>) -> Vec<Found> {
    let bodies = measured.motion.bodies.iter();
    bodies
        .filter_map(|(name, body)| {
            let mut windows: Vec<f64> = (2..body.position_m.len().saturating_sub(WINDOW + 2))
                .step_by(WINDOW / 2)
                .filter_map(|from| {
                    let span = from..from + WINDOW;
                    let speeds: Option<Vec<f64>> =
                        body.speed_m_s[span.clone()].iter().copied().collect();
                    let peak = speeds?.into_iter().fold(0.0, f64::max);
                    let squares: Option<Vec<f64>> = span
                        .map(|at| Some(jerk(&body.position_m, at)?.norm_squared()))
                        .collect();
                    let seconds = WINDOW as f64 / STEPS_HZ;
                    let mean = squares?.iter().sum::<f64>() / WINDOW as f64;
                    let dimensionless = seconds.powi(4) / (peak * peak) * mean;
                    (peak > MOVES_M_S).then(|| -dimensionless.max(1e-9).ln())
                })
                .collect();
            windows.sort_by(f64::total_cmp);
            if windows.len() < LEAST_WINDOWS {
                return None;
            }
            let median = windows[windows.len() / 2];
            Some(Found::new(name, median).noting(format!("{} windows", windows.len())))
        })
        .collect()
}

pub(crate) fn jerk_peaks(measured: &Measured<'_>) -> Vec<Found> {
    let positions = measured.motion.positions();
    positions
        .filter_map(|(name, position)| {
            let squares: Vec<f64> = (2..position.len().saturating_sub(2))
                .filter_map(|at| Some(jerk(position, at)?.norm_squared()))
                .collect();
            if squares.len() < 2 * WINDOW {
                return None;
            }
            let mean = squares.iter().sum::<f64>() / squares.len() as f64;
            let peaks = squares
                .iter()
                .filter(|square| **square > 25.0 * mean)
                .count();
            Some(Found::new(
                name,
                100.0 * peaks as f64 / squares.len() as f64,
            ))
        })
        .collect()
}

pub(crate) fn idle_share(measured: &Measured<'_>) -> Vec<Found> {
    let known = || measured.motion.idle.iter().flatten();
    let (idle, all) = (known().filter(|idle| **idle).count(), known().count());
    let share = || 100.0 * idle as f64 / all as f64;
    (all > 0)
        .then(|| Found::new("", share()))
        .into_iter()
        .collect()
}

pub(crate) fn idle_ends(measured: &Measured<'_>) -> Vec<Found> {
    let motion = &measured.motion;
    if motion.idle.iter().all(Option::is_none) {
        return Vec::new();
    }
    let of = |steps: usize| steps as f64 / STEPS_HZ;
    let unknown_or_idle = |idle: &&Option<bool>| **idle != Some(false);
    let is_idle = |idle: &&Option<bool>| **idle == Some(true);
    // A stream that begins late is no idleness.
    let ends = |steps: &mut dyn Iterator<Item = &Option<bool>>| {
        steps.take_while(unknown_or_idle).filter(is_idle).count()
    };
    let begin = ends(&mut motion.idle.iter());
    let end = match motion.busy() {
        Some(_) => ends(&mut motion.idle.iter().rev()),
        None => 0,
    };
    vec![Found::new("", of(begin + end)).noting(format!(
        "{:.1} s at the beginning, {:.1} s at the end",
        of(begin),
        of(end)
    ))]
}

/// Samples at the end of the sensor's range: an extreme that cuts off what rises steeply to it, and
/// that is a converter's (2ⁿ − 1 or −2ⁿ), or is reached again and again, or the only place where
/// the sensor's last digit stands still.
pub(crate) fn force_saturation(measured: &Measured<'_>) -> Vec<Found> {
    let forces = measured.input.timeline.force.iter();
    forces
        .filter(|(_, track)| !track.values.is_empty())
        .map(|(topic, track)| {
            let held = (0..3).flat_map(|axis| {
                let values: Vec<f64> = track.values.iter().map(|value| value[axis]).collect();
                let mirrored: Vec<f64> = values.iter().map(|value| -value).collect();
                [cut_at_top(&values), cut_at_top(&mirrored)]
            });
            let worst = held.max().unwrap_or(0);
            Found::new(topic, 100.0 * worst as f64 / track.values.len() as f64)
        })
        .collect()
}

/// How many samples stand at a top that is the sensor's, not the hand's [counts].
fn cut_at_top(values: &[f64]) -> usize {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let is_rail = (7..=31).any(|bits| {
        let full = f64::from(2_u32).powi(bits);
        top.abs() == full || top.abs() == full - 1.0
    });
    let (mut at, mut cut): (usize, Vec<usize>) = (0, Vec::new());
    while at < values.len() {
        if values[at] < top {
            at += 1;
            continue;
        }
        let run = values[at..]
            .iter()
            .take_while(|value| **value == top)
            .count();
        // A round top falls by 1.5 counts within half its flat length; one that is cut off, by what
        // the hand did.
        let half = (run / 2).max(3);
        let before = at.checked_sub(half).map_or(top, |k| values[k]);
        let after = values.get(at + run - 1 + half).copied().unwrap_or(top);
        if run >= SHORT_STOP && top - before.min(after) > 6.0 {
            cut.push(run);
        }
        at += run;
    }
    // A sensor that flickers everywhere but at its top stands at its end there.
    let below = || values.windows(2).filter(|p| p[0] < top && p[1] < top);
    let still = below().filter(|pair| pair[0] == pair[1]).count();
    let flickers = 10 * still < 8 * below().count();
    let is_long = cut.iter().any(|run| *run >= LONG_STOP);
    match is_rail || cut.len() > 1 || (flickers && is_long) {
        true => cut.iter().sum(),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_force_that_is_cut_off_is_told_from_one_that_rests() {
        let press = |k: usize| 300.0 * (0.5 - 0.5 * (k as f64 / 40.0).cos()).powi(2);
        let free: Vec<f64> = (0..2000).map(|k| press(k).round()).collect();
        assert_eq!(cut_at_top(&free), 0);
        let cut: Vec<f64> = free.iter().map(|value| value.min(200.0)).collect();
        assert!(cut_at_top(&cut) > 300, "{}", cut_at_top(&cut));
        let rail: Vec<f64> = free.iter().map(|value| (4.0 * value).min(1023.0)).collect();
        assert!(cut_at_top(&rail) > 100);
        assert_eq!(cut_at_top(&[2.0; 500]), 0);
    }

    #[test]
    fn noise_is_found_on_a_curve() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let gauss = (0..4000).map(|_| (0..12).map(|_| random()).sum::<f64>() - 6.0);
        let v: Vec<f64> = gauss
            .enumerate()
            .map(|(k, noise)| 100.0 * (k as f64 / 300.0).sin() + 0.3 * noise)
            .collect();
        let mut thirds: Vec<f64> = v
            .windows(4)
            .map(|w| (w[3] - 3.0 * w[2] + 3.0 * w[1] - w[0]).abs())
            .collect();
        let found = noise(&mut thirds) / 0.6745;
        assert!((found - 0.3).abs() < 0.02, "{found}");
    }
}
