//! A clock's fit over a whole recording.

use serde::{Deserialize, Serialize};

use super::{
    ClockFit, ClockModel, Echo, JUMP, LATEST, Rebels,
    envelope::{Envelope, Line, MIN_SKEW_SPAN, shared_slope},
    fit_of,
};
use crate::time::{Delta, DeviceTime, HostTime};

/// Exchanges count that were made so long before or after a stretch.
const NEIGHBOUR: Delta = Delta::from_millis(60_000);
/// Share of a stretch's samples that its slope is taken from: the rest came late.
const BULK: f64 = 0.8;
/// Turns after which the bulk has settled.
const BULK_TURNS: usize = 8;

/// One stretch of a recording over which the device's clock did not jump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockSegment {
    /// Index of the first sample of the stretch.
    pub first: usize,
    /// Its fit.
    pub fit: ClockFit,
}

/// Fits a whole recording: `anchors` are hull points from before it, `echoes`
/// two-way exchanges of any time, `samples`
/// its own in order of arrival; those with `trusted` false (gated, suspect) are
/// mapped but do not shape the fit. Returns one segment, or more where the
/// device's clock jumped; none without a trusted sample.
pub fn fit_recording(
    model: ClockModel,
    anchors: &[(DeviceTime, HostTime)],
    echoes: &[Echo],
    samples: &[(DeviceTime, HostTime, bool)],
) -> Vec<ClockSegment> {
    // Where does the clock jump? Offsets of trusted samples, in runs.
    let mut segments: Vec<(usize, Vec<(DeviceTime, HostTime)>)> = Vec::new();
    let mut current: Vec<(DeviceTime, HostTime)> = anchors.to_vec();
    let mut first = 0;
    let mut level: Option<i64> = lowest_offset(&current);
    let mut rebels: Rebels<(usize, DeviceTime, HostTime)> = Rebels::default();
    for (index, &(device, host, trusted)) in samples.iter().enumerate() {
        if !trusted {
            continue;
        }
        let offset = host.nanos() - device.nanos();
        let backwards = current
            .last()
            .is_some_and(|&(last, _)| last - device > JUMP);
        let near = !backwards
            && level.is_none_or(|level| {
                offset - level > -JUMP.nanos() && offset - level < LATEST.nanos()
            });
        if near {
            rebels.clear();
            level = Some(level.map_or(offset, |level| level.min(offset)));
            current.push((device, host));
            continue;
        }
        if let Some(samples) = rebels.push((index, device, host), |&(_, d, h)| (d, h)) {
            segments.push((first, std::mem::take(&mut current)));
            first = samples[0].0;
            current = samples.into_iter().map(|(_, d, h)| (d, h)).collect();
            level = lowest_offset(&current);
        }
    }
    segments.push((first, current));
    segments.retain(|(_, points)| !points.is_empty());
    for (_, points) in &mut segments {
        points.sort_unstable();
    }
    let envelopes: Vec<_> = segments.iter().map(|(_, p)| Envelope::of(p)).collect();
    let lines = lines(model, &envelopes, &segments);
    segments
        .into_iter()
        .zip(envelopes.iter().zip(&lines))
        .map(|((first, points), (envelope, line))| ClockSegment {
            first,
            fit: fit_of(
                envelope,
                line,
                model,
                &mut residuals(envelope, line, &points),
                &echoes_of(&points, echoes),
            ),
        })
        .collect()
}

fn residuals(envelope: &Envelope, line: &Line, points: &[(DeviceTime, HostTime)]) -> Vec<i64> {
    let above = |&(device, host): &(DeviceTime, HostTime)| {
        let (x, y) = envelope.relative(device, host);
        (y - line.at(x)).max(0)
    };
    points.iter().map(above).collect()
}

/// Samples over which the device's clock did not jump, in order of device time.
struct Stretch<'a> {
    envelope: &'a Envelope,
    points: &'a [(DeviceTime, HostTime)],
}

impl Stretch<'_> {
    /// Median delay above a line [ns].
    fn usual_ns(&self, line: &Line) -> i64 {
        let mut residuals = residuals(self.envelope, line, self.points);
        let middle = residuals.len() / 2;
        *residuals.select_nth_unstable(middle).1
    }
}

/// The line under each stretch. A device that was reset keeps its crystal, so that
/// all stretches have one slope, unless that fits one of them badly: then another
/// device was plugged in.
fn lines(
    model: ClockModel,
    envelopes: &[Envelope],
    segments: &[(usize, Vec<(DeviceTime, HostTime)>)],
) -> Vec<Line> {
    let pairs = envelopes.iter().zip(segments);
    let stretches: Vec<_> = pairs
        .map(|(envelope, (_, points))| Stretch { envelope, points })
        .collect();
    let long = |stretch: &Stretch<'_>| stretch.envelope.span() >= MIN_SKEW_SPAN;
    let own: Vec<Line> = stretches
        .iter()
        .map(|stretch| {
            let line = stretch.envelope.line();
            match long(stretch) {
                true => stretch.envelope.line_of_slope(steadied(
                    model,
                    std::slice::from_ref(stretch),
                    line.slope,
                )),
                false => line,
            }
        })
        .collect();
    if stretches.len() < 2 || !stretches.iter().any(long) {
        return own;
    }
    let slope = steadied(model, &stretches, shared_slope(envelopes));
    let shared: Vec<_> = envelopes.iter().map(|e| e.line_of_slope(slope)).collect();
    let fits = |index: usize| {
        let stretch = &stretches[index];
        let usual_ns = stretch.usual_ns(&own[index]);
        !long(stretch) || stretch.envelope.nearly_as_near(&shared[index], usual_ns)
    };
    match (0..stretches.len()).all(fits) {
        true => shared,
        false => own,
    }
}

/// The slope of the bulk of the samples, as far as lines of that slope are nearly as
/// near to the samples as those of the slope given, which are the nearest.
///
/// The nearest line rests on two samples. Where few come at once, as behind an
/// adapter that collects bytes for 16 ms, and stamps are rounded to a millisecond, these
/// are far from the least delay, one further than the other, and the line leans. The
/// bulk of the samples, thousands with delays of one distribution, tells the slope
/// better. Where the distribution changes it tells nothing, and its slope costs much.
fn steadied(model: ClockModel, stretches: &[Stretch<'_>], slope: f64) -> f64 {
    // Fine stamps are far from where they belong by their delay alone, and thousands of
    // them leave a line no room to lean; coarse ones by up to a tick besides.
    let room_ns = model.tick_ns.saturating_mul(10);
    let usual: Vec<i64> = stretches
        .iter()
        .map(|stretch| {
            let line = stretch.envelope.line_of_slope(slope);
            stretch.usual_ns(&line).min(room_ns)
        })
        .collect();
    let near = |slope: f64| {
        stretches.iter().zip(&usual).all(|(stretch, &usual_ns)| {
            let line = stretch.envelope.line_of_slope(slope);
            stretch.envelope.span() < MIN_SKEW_SPAN
                || stretch.envelope.nearly_as_near(&line, usual_ns)
        })
    };
    let bulk = bulk_slope(stretches, slope);
    if near(bulk) {
        return bulk;
    }
    // Heights are concave in the slope: what is near lies on one side.
    let (mut inside, mut outside) = (slope, bulk);
    for _ in 0..30 {
        let middle = (inside + outside) / 2.0;
        match near(middle) {
            true => inside = middle,
            false => outside = middle,
        }
    }
    inside
}

/// Least squares over the samples of each stretch that came earliest, of one slope
/// and an offset for each stretch (P. J. Rousseeuw, "Least median of squares
/// regression", 1984: least trimmed squares, begun at a slope near the truth).
fn bulk_slope(stretches: &[Stretch<'_>], begin: f64) -> f64 {
    let clouds: Vec<Vec<(f64, f64)>> = stretches
        .iter()
        .map(|stretch| {
            let relative = |&(device, host): &(DeviceTime, HostTime)| {
                let (x, y) = stretch.envelope.relative(device, host);
                (x as f64, y as f64)
            };
            stretch.points.iter().map(relative).collect()
        })
        .collect();
    let mut slope = begin;
    for _ in 0..BULK_TURNS {
        let (mut sum_xy, mut sum_xx) = (0.0, 0.0);
        for cloud in &clouds {
            let height = |&(x, y): &(f64, f64)| y - slope * x;
            let mut heights: Vec<f64> = cloud.iter().map(height).collect();
            let last = (heights.len() as f64 * BULK) as usize;
            let limit = *heights
                .select_nth_unstable_by(last.min(cloud.len() - 1), f64::total_cmp)
                .1;
            let bulk = || cloud.iter().filter(|point| height(point) <= limit);
            let count = bulk().count() as f64;
            let (mean_x, mean_y) = bulk().fold((0.0, 0.0), |(x, y), point| {
                (x + point.0 / count, y + point.1 / count)
            });
            for (x, y) in bulk() {
                sum_xy += (x - mean_x) * (y - mean_y);
                sum_xx += (x - mean_x).powi(2);
            }
        }
        if sum_xx <= 0.0 {
            return begin;
        }
        slope = sum_xy / sum_xx;
    }
    slope
}

/// Exchanges that belong to a stretch: the clock had the same offset then.
fn echoes_of(points: &[(DeviceTime, HostTime)], echoes: &[Echo]) -> Vec<Echo> {
    let Some(level) = lowest_offset(points) else {
        return Vec::new();
    };
    // Not long before or after: the clock's rate may have been another.
    let hosts = || points.iter().map(|&(_, host)| host);
    let (Some(first), Some(last)) = (hosts().min(), hosts().max()) else {
        return Vec::new();
    };
    let near = |echo: &&Echo| {
        (echo.offset_ns() - level).abs() < JUMP.nanos()
            && echo.received > first - NEIGHBOUR
            && echo.sent < last + NEIGHBOUR
    };
    echoes.iter().filter(near).copied().collect()
}

fn lowest_offset(points: &[(DeviceTime, HostTime)]) -> Option<i64> {
    points.iter().map(|(d, h)| h.nanos() - d.nanos()).min()
}
