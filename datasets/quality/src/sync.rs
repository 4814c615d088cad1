//! Whether images are stamped when their motion was measured: motion in the image against
//! motion of trackers and joints, over a lag.

mod fit;
mod reference;

use std::ops::Range;

use dexumi_episode::{Delta, SessionTime, align::Timeline};

use crate::{flow::SHIFTS, measured::Measured, metric::Found};
use fit::{Fit, explained, fit, tamed};
pub(crate) use reference::motion_between;
use reference::{Reference, references};

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
    use dexumi_episode::align::Track;
    use nalgebra::Isometry3;

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
