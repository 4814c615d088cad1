//! A clock's fit over a whole recording.

use serde::{Deserialize, Serialize};

use super::{
    ClockFit, ClockModel, Echo, JUMP, LATEST, Rebels,
    envelope::{Envelope, Line, MIN_SKEW_SPAN, shared_slope},
    fit_of,
};
use crate::time::{DeviceTime, HostTime};

/// A common slope may cost a stretch so much of its median delay in the mean, and
/// so much besides [ns].
const SHARED_LOSS: f64 = 0.1;
const SHARED_LOSS_NS: f64 = 20_000.0;

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
    let lines = lines(&envelopes, &segments);
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

/// The line under each stretch. A device that was reset keeps its crystal, so that
/// all stretches have one slope, unless that fits one of them badly: then another
/// device was plugged in.
fn lines(envelopes: &[Envelope], segments: &[(usize, Vec<(DeviceTime, HostTime)>)]) -> Vec<Line> {
    let own: Vec<_> = envelopes.iter().map(Envelope::line).collect();
    let long = envelopes.iter().any(|e| e.span() >= MIN_SKEW_SPAN);
    if envelopes.len() < 2 || !long {
        return own;
    }
    let slope = shared_slope(envelopes);
    let shared: Vec<_> = envelopes.iter().map(|e| e.line_of_slope(slope)).collect();
    let fits = |index: usize| {
        let (envelope, points) = (&envelopes[index], &segments[index].1);
        let mut residuals = residuals(envelope, &own[index], points);
        let middle = residuals.len() / 2;
        let (_, &mut median, _) = residuals.select_nth_unstable(middle);
        let lost = envelope.loss(&shared[index]);
        envelope.span() < MIN_SKEW_SPAN || lost <= SHARED_LOSS * median as f64 + SHARED_LOSS_NS
    };
    match (0..envelopes.len()).all(fits) {
        true => shared,
        false => own,
    }
}

/// Exchanges that belong to a stretch: the clock had the same offset then.
fn echoes_of(points: &[(DeviceTime, HostTime)], echoes: &[Echo]) -> Vec<Echo> {
    let Some(level) = lowest_offset(points) else {
        return Vec::new();
    };
    let near = |echo: &&Echo| (echo.offset_ns() - level).abs() < JUMP.nanos();
    echoes.iter().filter(near).copied().collect()
}

fn lowest_offset(points: &[(DeviceTime, HostTime)]) -> Option<i64> {
    points.iter().map(|(d, h)| h.nanos() - d.nanos()).min()
}
