//! Whether images are stamped when their motion was measured: motion in the image against
//! motion of trackers and joints, over a lag.

use std::ops::Range;

use dexumi_episode::{
    Delta, SessionTime,
    align::{Interpolate, Timeline, Track},
};
use nalgebra::{DMatrix, Isometry3};

use crate::{flow::SHIFTS, measured::Measured, metric::Found};

/// Lags that are tried: ± this, in steps of a grid [s] (Grabette).
const MOST_LAG_S: f64 = 0.5;
const GRID_S: f64 = 0.005;
/// Below this correlation nothing is said (Grabette).
const LEAST_CORRELATION: f64 = 0.3;
/// Time between images that is followed, at the least [s]. Of less, the lag is a matter of chance.
const LEAST_S: f64 = 5.0;
/// Another lag, so far away [s], that leaves less than this factor more unexplained goes as well.
const RIVAL: f64 = 1.03;
const RIVAL_LAG_S: f64 = 0.1;
/// The pairs are cut into so many blocks; each is left out once, and the lags that are found then
/// tell how sure the lag is. Above this standard error nothing is said [s], unless the lag is this many
/// times as large.
const BLOCKS: usize = 8;
const MOST_ERROR_S: f64 = 0.010;
const SURE: f64 = 3.0;
/// Twice as many images make a lag known about as much better, no more: above so many times that error it
/// is not worth while.
const NEAR: f64 = 2.0;
/// Motion beyond so many medians counts as that much: one bad image shall not decide.
const MOST_MEDIANS: f64 = 6.0;

/// Two images that follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub from: SessionTime,
    pub to: SessionTime,
    /// How each part of the picture moved: right, down [pixel].
    pub moved: [f64; SHIFTS],
}

/// A lag that was found.
pub(crate) struct Lag {
    /// Positive where images are stamped later than the motion that they show [s].
    pub seconds: f64,
    /// Standard error [s].
    pub error_s: f64,
    pub correlation: f64,
    /// What it was found against.
    pub against: String,
    /// Lag [s], and how much is explained (logarithm).
    pub curve: Vec<(f64, f64)>,
    /// Motion of a part of the image, and what of it the reference explains, at that lag.
    shown: Vec<(f64, f64, f64)>,
    pairs: usize,
}

impl Lag {
    /// Both motions over time.
    pub(crate) fn lines(&self, start: SessionTime) -> Vec<(String, Vec<(f32, Option<f32>)>)> {
        let start_s = start.nanos() as f64 * 1e-9;
        let line = |name: &str, pick: fn(&(f64, f64, f64)) -> f64| {
            let points = self.shown.iter().map(|one| (one.0 - start_s, pick(one)));
            crate::Plot::line(name, points)
        };
        vec![line("seen", |one| one.1), line("explained", |one| one.2)]
    }
}

/// Something whose motion is known, on the grid of lags: numbers of which each image motion is
/// held to be a linear function of their change; NaN in gaps.
struct Reference {
    name: String,
    origin: SessionTime,
    dimensions: usize,
    points: Vec<f64>,
    /// Of a body: its change is seen from itself, as by a camera on it. 6 numbers: place, and
    /// rotation vector from the first pose; else as they are.
    poses: Option<Vec<Option<Isometry3<f64>>>>,
}

impl Reference {
    fn new(name: String, (from, to): (SessionTime, SessionTime), dimensions: usize) -> Self {
        let steps = ((to - from).secs_f64() / GRID_S).ceil() as usize + 2;
        Self {
            name,
            origin: from,
            dimensions,
            points: vec![f64::NAN; steps * dimensions],
            poses: None,
        }
    }

    fn times(&self) -> impl Iterator<Item = (usize, SessionTime)> + use<> {
        let (origin, steps) = (self.origin, self.points.len() / self.dimensions);
        (0..steps).map(move |step| (step, origin + Delta::from_secs_f64(step as f64 * GRID_S)))
    }

    /// A body's motion in the world.
    fn in_world(name: &str, track: &Track<Isometry3<f64>>, span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {name} tracker"), span, 6);
        let mut last: Option<Isometry3<f64>> = None;
        let mut turned = nalgebra::Vector3::zeros();
        for (step, time) in one.times() {
            let Some(pose) = track.at(time, max_gap) else {
                last = None;
                continue;
            };
            // Small turns add up as vectors of the world.
            if let Some(last) = last {
                turned += (pose.rotation * last.rotation.inverse()).scaled_axis();
            }
            last = Some(pose);
            let place = pose.translation.vector;
            let row = &mut one.points[6 * step..6 * step + 6];
            row[..3].copy_from_slice(place.as_slice());
            row[3..].copy_from_slice(turned.as_slice());
        }
        one
    }

    /// A body's motion as it is seen from the body.
    fn on_body(name: &str, track: &Track<Isometry3<f64>>, span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {name} tracker, seen from it"), span, 6);
        let poses = one.times().map(|(_, time)| track.at(time, max_gap));
        one.poses = Some(poses.collect());
        one
    }

    fn joints(side: &str, tracks: &[Track<f64>], span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {side} joints"), span, tracks.len());
        for (step, time) in one.times() {
            for (joint, track) in tracks.iter().enumerate() {
                let value = track.at(time, max_gap).unwrap_or(f64::NAN);
                one.points[step * tracks.len() + joint] = value;
            }
        }
        one
    }

    /// Its change between two times, appended to `row`; `false` in a gap.
    fn change(&self, a: SessionTime, b: SessionTime, row: &mut Vec<f64>) -> bool {
        let place = |time: SessionTime| {
            let x = (time - self.origin).secs_f64() / GRID_S;
            let step = x.floor().max(0.0);
            (step as usize, x - step)
        };
        let ((a, fa), (b, fb)) = (place(a), place(b));
        if let Some(poses) = &self.poses {
            let pose = |step: usize, part: f64| {
                let pair = poses.get(step..step + 2)?;
                Some(Isometry3::between(
                    pair[0].as_ref()?,
                    pair[1].as_ref()?,
                    part,
                ))
            };
            let (Some(from), Some(to)) = (pose(a, fa), pose(b, fb)) else {
                return false;
            };
            let moved = from.inv_mul(&to);
            row.extend(moved.translation.vector.iter());
            row.extend(moved.rotation.scaled_axis().iter());
            return true;
        }
        let d = self.dimensions;
        let at = |step: usize| self.points.get(step * d..(step + 2) * d);
        let (Some(p), Some(q)) = (at(a), at(b)) else {
            return false;
        };
        let begin = row.len();
        row.extend((0..d).map(|k| {
            let from = p[k] + fa * (p[d + k] - p[k]);
            let to = q[k] + fb * (q[d + k] - q[k]);
            to - from
        }));
        row[begin..].iter().all(|value| value.is_finite())
    }
}

type Span = (SessionTime, SessionTime);

/// What images are held against: each tracker, seen from the world (by a camera that stands still) and
/// from itself (by one that it carries); and each side's joints, where there is no tracker.
fn references(timeline: &Timeline, span: Span) -> Vec<Reference> {
    let max_gap = timeline.max_gap;
    let mut all = Vec::new();
    for (name, track) in &timeline.poses {
        all.push(Reference::in_world(name, track, span, max_gap));
        all.push(Reference::on_body(name, track, span, max_gap));
    }
    if all.is_empty() {
        for (side, joints) in &timeline.joints {
            all.push(Reference::joints(side, &joints.tracks, span, max_gap));
        }
    }
    all
}

/// How much the trackers and joints move in a span of time, for choosing among spans.
pub(crate) fn motion_between(timeline: &Timeline, from: SessionTime, seconds: f64) -> f64 {
    fn varies<T: Interpolate>(
        track: &Track<T>,
        from: SessionTime,
        seconds: f64,
        max_gap: Delta,
        distance: impl Fn(&T, &T) -> f64,
    ) -> f64 {
        let at = |k: usize| from + Delta::from_secs_f64(seconds * k as f64 / 100.0);
        let moves = (0..100).filter_map(|k| {
            let (a, b) = (track.at(at(k), max_gap)?, track.at(at(k + 1), max_gap)?);
            Some(distance(&a, &b).powi(2))
        });
        moves.sum::<f64>()
    }
    let max_gap = timeline.max_gap;
    let turns = timeline.poses.values().map(|track| {
        varies(track, from, seconds, max_gap, |a, b| {
            a.rotation.angle_to(&b.rotation)
        })
    });
    let joints = timeline.joints.values().flat_map(|joints| &joints.tracks);
    let joints = joints.map(|track| varies(track, from, seconds, max_gap, |a, b| (b - a).abs()));
    turns.chain(joints).sum()
}

/// The image's motion of each pair, without what is far out of what that part usually does.
fn tamed(pairs: &[Pair]) -> Vec<[f64; SHIFTS]> {
    let mut tamed: Vec<[f64; SHIFTS]> = pairs.iter().map(|pair| pair.moved).collect();
    for part in 0..SHIFTS {
        let mut sizes: Vec<f64> = tamed.iter().map(|moved| moved[part].abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let most = MOST_MEDIANS * sizes[sizes.len() / 2].max(1e-3);
        for moved in &mut tamed {
            moved[part] = moved[part].clamp(-most, most);
        }
    }
    tamed
}

/// How well a reference explains the image at one lag.
struct Fit {
    /// Mean size of what is left unexplained, over that of the motion itself, block by block: sums
    /// of both for each part of the picture.
    left: Vec<[f64; SHIFTS]>,
    motion: Vec<[f64; SHIFTS]>,
    /// Pairs that have a counterpart at this lag.
    count: usize,
    /// For what each number of the reference counts, for each part of the picture.
    coefficients: Vec<[f64; SHIFTS]>,
    /// The multiple correlation of the part that is explained best.
    correlation: f64,
}

/// Least squares of each part's motion on the reference's; `None` where too little is known.
fn fit(reference: &Reference, pairs: &[Pair], seen: &[[f64; SHIFTS]], lag_s: f64) -> Option<Fit> {
    // With a 1, for a camera that drifts.
    let n = reference.dimensions + 1;
    let lag = Delta::from_secs_f64(lag_s);
    let mut rows: Vec<f64> = Vec::with_capacity(pairs.len() * n);
    let mut known: Vec<usize> = Vec::with_capacity(pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        let begin = rows.len();
        if reference.change(pair.from - lag, pair.to - lag, &mut rows) {
            rows.push(1.0);
            known.push(index);
        } else {
            rows.truncate(begin);
        }
    }
    // A lag at which half of the images have no counterpart says little.
    if 2 * known.len() < pairs.len() || known.len() < 4 * n {
        return None;
    }
    let mut xx = vec![0.0; n * n];
    let mut xy = vec![[0.0; SHIFTS]; n];
    let mut sums = [0.0; SHIFTS];
    for (x, &index) in rows.chunks_exact(n).zip(&known) {
        for ((&of_row, squares), products) in x.iter().zip(xx.chunks_exact_mut(n)).zip(&mut xy) {
            for (square, of_column) in squares.iter_mut().zip(x) {
                *square += of_row * of_column;
            }
            for (product, y) in products.iter_mut().zip(&seen[index]) {
                *product += of_row * y;
            }
        }
        for (sum, y) in sums.iter_mut().zip(&seen[index]) {
            *sum += y;
        }
    }
    // As little stiffness as keeps what does not move out of it.
    let mut xx = DMatrix::from_row_slice(n, n, &xx);
    let scale: Vec<f64> = (0..n).map(|i| 1.0 / (xx[(i, i)] + 1e-12).sqrt()).collect();
    for (i, &of_row) in scale.iter().enumerate() {
        for (j, &of_column) in scale.iter().enumerate() {
            xx[(i, j)] *= of_row * of_column;
        }
        xx[(i, i)] += 1e-9;
    }
    let scaled = DMatrix::from_fn(n, SHIFTS, |i, part| xy[i][part] * scale[i]);
    let solved = xx.cholesky()?.solve(&scaled);
    let coefficients: Vec<[f64; SHIFTS]> = (0..n)
        .map(|i| std::array::from_fn(|part| solved[(i, part)] * scale[i]))
        .collect();
    let count = known.len() as f64;
    let mut left = vec![[0.0; SHIFTS]; BLOCKS];
    let mut motion = vec![[0.0; SHIFTS]; BLOCKS];
    let (mut unexplained, mut all) = ([0.0; SHIFTS], [0.0; SHIFTS]);
    for (x, &index) in rows.chunks_exact(n).zip(&known) {
        let block = index * BLOCKS / pairs.len();
        let explained = explained(x, &coefficients);
        let (left, motion) = (&mut left[block], &mut motion[block]);
        for part in 0..SHIFTS {
            let about = seen[index][part] - sums[part] / count;
            let rest = seen[index][part] - explained[part];
            left[part] += rest.abs();
            motion[part] += about.abs();
            unexplained[part] += rest * rest;
            all[part] += about * about;
        }
    }
    // Without what any reference of as many numbers explains by chance.
    let chance = (count - 1.0) / (count - n as f64);
    let correlation = (0..SHIFTS)
        .filter(|part| all[*part] > 0.0)
        .map(|part| {
            (1.0 - chance * unexplained[part] / all[part])
                .max(0.0)
                .sqrt()
        })
        .fold(0.0, f64::max);
    Some(Fit {
        left,
        motion,
        count: known.len(),
        coefficients,
        correlation,
    })
}

/// Motion of each part of the picture by a row of the reference.
fn explained(row: &[f64], coefficients: &[[f64; SHIFTS]]) -> [f64; SHIFTS] {
    let mut explained = [0.0; SHIFTS];
    for (x, coefficients) in row.iter().zip(coefficients) {
        for (explained, c) in explained.iter_mut().zip(coefficients) {
            *explained += x * c;
        }
    }
    explained
}

impl Fit {
    /// How much is explained: minus the mean logarithm, over the parts of the picture, of the share
    /// of their motion that is left. Without a block, or with all.
    fn score(&self, left_out: Option<usize>) -> f64 {
        let sum = |of: &[[f64; SHIFTS]], part: usize| {
            let blocks = of.iter().enumerate();
            let kept = blocks.filter(|(block, _)| Some(*block) != left_out);
            kept.map(|(_, sums)| sums[part]).sum::<f64>()
        };
        let n = self.coefficients.len() as f64;
        let chance = self.count as f64 / (self.count as f64 - n);
        let logarithms = (0..SHIFTS).map(|part| {
            let (left, motion) = (sum(&self.left, part), sum(&self.motion, part));
            // A part of nothing, such as a wall, has no motion to explain.
            if motion > 1e-9 {
                (chance * left / motion).max(1e-6).ln()
            } else {
                0.0
            }
        });
        -logarithms.sum::<f64>() / SHIFTS as f64
    }
}

/// Why nothing is said of a lag.
#[derive(Debug)]
pub(crate) struct NoLag {
    pub why: String,
    /// More images might tell it.
    pub is_near: bool,
}

impl<T: Into<String>> From<T> for NoLag {
    fn from(why: T) -> Self {
        Self {
            why: why.into(),
            is_near: false,
        }
    }
}

/// Finds the lag at which a camera's motion goes best with that of anything known.
///
/// # Errors
/// Nothing can be said, and why.
pub(crate) fn lag(pairs: &[Pair], timeline: &Timeline) -> Result<Lag, NoLag> {
    let followed: f64 = pairs
        .iter()
        .map(|pair| (pair.to - pair.from).secs_f64())
        .sum();
    if followed < LEAST_S {
        return Err(format!(
            "images are followed over {followed:.1} s, expected at least {LEAST_S} s"
        )
        .into());
    }
    let most_lag = Delta::from_secs_f64(MOST_LAG_S + GRID_S);
    let span = (
        pairs[0].from - most_lag,
        pairs[pairs.len() - 1].to + most_lag,
    );
    let seen = tamed(pairs);
    let most = (MOST_LAG_S / GRID_S).round() as i64;
    let lags: Vec<f64> = (-most..=most).map(|step| step as f64 * GRID_S).collect();
    let scores = |fits: &[Option<Fit>], left_out: Option<usize>| -> Vec<f64> {
        let score = |fit: &Option<Fit>| {
            fit.as_ref()
                .map_or(f64::NEG_INFINITY, |f| f.score(left_out))
        };
        fits.iter().map(score).collect()
    };
    let mut best: Option<(f64, usize, Reference, Vec<Option<Fit>>)> = None;
    for reference in references(timeline, span) {
        let fits: Vec<Option<Fit>> = lags
            .iter()
            .map(|&lag| fit(&reference, pairs, &seen, lag))
            .collect();
        let curve = scores(&fits, None);
        let (_, height, at) = peak(&lags, &curve, 0..lags.len());
        if height.is_finite() && best.as_ref().is_none_or(|(least, ..)| height > *least) {
            best = Some((height, at, reference, fits));
        }
    }
    let (height, at, reference, fits) =
        best.ok_or("no tracker and no joints to hold images against")?;
    let curve = scores(&fits, None);
    let (seconds, _, _) = peak(&lags, &curve, 0..lags.len());
    let found = fits[at]
        .as_ref()
        .ok_or("too few images with known motion")?;
    if found.correlation < LEAST_CORRELATION {
        return Err(format!(
            "correlation {:.2} with {}, expected at least {LEAST_CORRELATION}",
            found.correlation, reference.name
        )
        .into());
    }
    let rival = (1..curve.len() - 1)
        .filter(|&k| curve[k] >= curve[k - 1] && curve[k] >= curve[k + 1])
        .find(|&k| (lags[k] - seconds).abs() > RIVAL_LAG_S && height - curve[k] < RIVAL.ln());
    if let Some(rival) = rival {
        return Err(format!(
            "lags of {:.0} and {:.0} ms go equally well",
            1e3 * seconds,
            1e3 * lags[rival]
        )
        .into());
    }
    if seconds.abs() > MOST_LAG_S - 2.0 * GRID_S {
        return Err(format!("the best lag is beyond ±{MOST_LAG_S} s").into());
    }
    // The jackknife, near the lag that was found.
    let near = (RIVAL_LAG_S / GRID_S) as usize;
    let around = at.saturating_sub(near)..(at + near + 1).min(lags.len());
    let without: Vec<f64> = (0..BLOCKS)
        .map(|block| peak(&lags, &scores(&fits, Some(block)), around.clone()).0)
        .collect();
    let mean = without.iter().sum::<f64>() / BLOCKS as f64;
    let square: f64 = without.iter().map(|lag| (lag - mean).powi(2)).sum();
    let error_s = (square * (BLOCKS - 1) as f64 / BLOCKS as f64).sqrt();
    if error_s > MOST_ERROR_S && seconds.abs() < SURE * error_s {
        return Err(NoLag {
            why: format!(
                "{:.0} ms, known to ±{:.0} ms only (against {}): too little motion",
                1e3 * seconds,
                1e3 * error_s,
                reference.name
            ),
            is_near: error_s < NEAR * MOST_ERROR_S,
        });
    }
    Ok(Lag {
        seconds,
        error_s,
        correlation: found.correlation,
        curve: lags.iter().copied().zip(curve).collect(),
        shown: shown(&reference, pairs, &seen, found, lags[at]),
        against: reference.name,
        pairs: pairs.len(),
    })
}

/// For a plot, of the part of the picture that moves most: time of each pair [s, session clock],
/// motion, and what of it is explained.
fn shown(
    reference: &Reference,
    pairs: &[Pair],
    seen: &[[f64; SHIFTS]],
    found: &Fit,
    lag: f64,
) -> Vec<(f64, f64, f64)> {
    let explains = |part: usize| {
        let of = |sums: &[[f64; SHIFTS]]| sums.iter().map(|block| block[part]).sum::<f64>();
        of(&found.motion) - of(&found.left)
    };
    let part = (0..SHIFTS)
        .max_by(|&a, &b| explains(a).total_cmp(&explains(b)))
        .unwrap_or(0);
    let lag = Delta::from_secs_f64(lag);
    let one = |(pair, seen): (&Pair, &[f64; SHIFTS])| {
        let mut row = Vec::new();
        let is_known = reference.change(pair.from - lag, pair.to - lag, &mut row);
        row.push(1.0);
        let explained = match is_known {
            true => explained(&row, &found.coefficients)[part],
            false => f64::NAN,
        };
        let middle = pair.from.nanos() as f64 * 0.5e-9 + pair.to.nanos() as f64 * 0.5e-9;
        (middle, seen[part], explained)
    };
    pairs.iter().zip(seen).map(one).collect()
}

/// Lag and height of the highest point within a part of the curve, between the grid's by a
/// parabola, and its index.
fn peak(lags: &[f64], curve: &[f64], within: Range<usize>) -> (f64, f64, usize) {
    let (first, last) = (within.start, within.end - 1);
    let at = within
        .max_by(|&a, &b| curve[a].total_cmp(&curve[b]).then(b.cmp(&a)))
        .unwrap_or(first);
    if at == first || at == last {
        return (lags[at], curve[at], at);
    }
    let (l, m, r) = (curve[at - 1], curve[at], curve[at + 1]);
    let bend = l - 2.0 * m + r;
    let shift = if bend < 0.0 {
        0.5 * (l - r) / bend
    } else {
        0.0
    };
    (lags[at] + shift.clamp(-0.5, 0.5) * GRID_S, m, at)
}

pub(crate) fn sync_residual(measured: &Measured<'_>) -> Vec<Found> {
    let cameras = measured.cameras.iter();
    cameras
        .map(|(name, look)| match &look.lag {
            Ok(lag) => Found::new(name, (1e3 * lag.seconds).abs()).noting(format!(
                "images {} by {:.1} ± {:.1} ms against {}, correlation {:.2}, {} pairs",
                if lag.seconds > 0.0 { "late" } else { "early" },
                (1e3 * lag.seconds).abs(),
                1e3 * lag.error_s,
                lag.against,
                lag.correlation,
                lag.pairs
            )),
            Err(no) => Found {
                subject: name.clone(),
                value: None,
                note: no.why.clone(),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrist that turns by sums of sines, in a timeline of its own.
    fn turning(t: f64) -> f64 {
        0.4 * (1.9 * t).sin() + 0.25 * (3.1 * t + 1.0).sin() + 0.1 * (7.3 * t).sin()
    }

    fn timeline() -> Timeline {
        use nalgebra::{Translation3, UnitQuaternion, Vector3};
        let mut track = Track::default();
        for k in 0..2400 {
            let t = f64::from(k) / 240.0;
            track.times.push(SessionTime::from_nanos((t * 1e9) as i64));
            let turn = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), turning(t));
            track
                .values
                .push(Isometry3::from_parts(Translation3::identity(), turn));
        }
        Timeline {
            joints: [].into(),
            force: [].into(),
            poses: [("wrist".to_owned(), track)].into(),
            images: [].into(),
            report: [].into(),
            interval: (
                SessionTime::from_nanos(0),
                SessionTime::from_nanos(10_000_000_000),
            ),
            max_gap: Delta::from_millis(50),
        }
    }

    fn noise(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }

    #[test]
    fn a_shift_of_the_images_is_found_with_its_sign() {
        let timeline = timeline();
        for late_s in [-0.12, -0.031, 0.0, 0.008, 0.06] {
            let mut seed = 3;
            let pairs: Vec<Pair> = (20..280)
                .map(|k| {
                    let t = f64::from(k) / 30.0;
                    let at = |t: f64| SessionTime::from_nanos((t * 1e9) as i64);
                    let turned = turning(t + 1.0 / 30.0) - turning(t);
                    Pair {
                        from: at(t + late_s),
                        to: at(t + late_s + 1.0 / 30.0),
                        moved: std::array::from_fn(|part| match part % 2 {
                            0 => 60.0 * turned + noise(&mut seed),
                            _ => 0.5 * noise(&mut seed),
                        }),
                    }
                })
                .collect();
            let lag = lag(&pairs, &timeline).unwrap_or_else(|no| panic!("{late_s}: {}", no.why));
            let (found, error) = (lag.seconds, lag.error_s);
            assert!(
                (found - late_s).abs() < 0.008,
                "{late_s}: {found} ± {error}"
            );
            assert!(lag.correlation > 0.8);
        }
    }

    #[test]
    fn of_images_that_move_otherwise_nothing_is_said() {
        let timeline = timeline();
        let mut seed = 7_u64;
        let pairs: Vec<Pair> = (20..280)
            .map(|k| {
                let at = |k: i64| SessionTime::from_nanos(k * 33_333_333);
                Pair {
                    from: at(k),
                    to: at(k + 1),
                    moved: std::array::from_fn(|_| noise(&mut seed)),
                }
            })
            .collect();
        assert!(lag(&pairs, &timeline).is_err());
    }
}
