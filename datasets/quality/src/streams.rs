//! Whether every stream was there, in its rhythm, on a known clock.

use dexumi_episode::{ClockState, SessionTime, StreamKind, align::TimingMethod};

use crate::{measured::Measured, metric::Found};

/// Intervals above so many usual ones are a gap (Calibra).
const GAP: f64 = 3.0;
/// An interval above so many usual ones lacks a sample.
const SKIPPED: f64 = 1.6;

/// When a stream's samples were captured.
pub(crate) struct Stream {
    pub topic: String,
    /// Of all samples, in order.
    pub times: Vec<SessionTime>,
    /// Of those that measured something, where that may be fewer.
    pub measured: Option<Vec<SessionTime>>,
}

impl Stream {
    /// Intervals between samples [s].
    fn intervals_s(times: &[SessionTime]) -> Vec<f64> {
        let intervals = times.windows(2).map(|pair| (pair[1] - pair[0]).secs_f64());
        intervals.collect()
    }

    /// The usual interval [s]: mean of those near the median. `None` with too few samples.
    fn period_s(&self) -> Option<f64> {
        let mut intervals = Self::intervals_s(&self.times);
        if intervals.len() < 4 {
            return None;
        }
        intervals.sort_by(f64::total_cmp);
        let median = intervals[intervals.len() / 2];
        let (mut sum, mut count) = (0.0, 0_usize);
        for interval in intervals {
            if (0.5 * median..=1.5 * median).contains(&interval) {
                sum += interval;
                count += 1;
            }
        }
        let period = sum / count.max(1) as f64;
        (period > 0.0).then_some(period)
    }
}

fn percent(part: f64, of: f64) -> f64 {
    if of > 0.0 { 100.0 * part / of } else { 0.0 }
}

/// A stream of the rig without a sample.
pub(crate) fn silent(measured: &Measured<'_>) -> Vec<Found> {
    let topics = measured.input.episode.file.topics();
    let devices = measured.input.episode.rig.device.iter();
    devices
        .map(|device| {
            let has_samples = topics.get(&device.stream).is_some_and(|(_, n)| *n > 0);
            Found::new(&device.stream, f64::from(u8::from(!has_samples)))
        })
        .collect()
}

pub(crate) fn cut_off(measured: &Measured<'_>) -> Vec<Found> {
    let recovered = measured.input.episode.recovered.as_ref();
    let found = Found::new("", f64::from(u8::from(recovered.is_some())));
    vec![match recovered {
        Some(recovered) => found.noting(format!(
            "recovered from {}, {} bytes cut",
            recovered.from, recovered.bytes_cut
        )),
        None => found,
    }]
}

pub(crate) fn loss_share(measured: &Measured<'_>) -> Vec<Found> {
    let ledger = &measured.input.episode.ledger;
    let share = ledger.iter().map(|(stream, ledger)| {
        let gone = ledger.lost().saturating_add(ledger.missing) as f64;
        let asked = ledger.received.saturating_add(ledger.missing) as f64;
        let kinds: Vec<String> = ledger
            .losses
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .chain((ledger.missing > 0).then(|| format!("{} never arrived", ledger.missing)))
            .collect();
        Found::new(stream, percent(gone, asked)).noting(kinds.join(", "))
    });
    share.collect()
}

pub(crate) fn suspect_share(measured: &Measured<'_>) -> Vec<Found> {
    let ledger = &measured.input.episode.ledger;
    let share = ledger.iter().map(|(stream, ledger)| {
        let share = percent(ledger.suspect as f64, ledger.written as f64);
        Found::new(stream, share)
    });
    share.collect()
}

/// Samples that lack in the stream's rhythm. A long interval beside a short one is jitter.
pub(crate) fn missing_share(measured: &Measured<'_>) -> Vec<Found> {
    let share = |stream: &Stream| {
        let period = stream.period_s()?;
        let intervals = Stream::intervals_s(&stream.times);
        let spare = |at: Option<usize>| {
            let interval = at.and_then(|at| intervals.get(at)).copied();
            (period - interval.unwrap_or(period)).max(0.0)
        };
        let mut missing = 0.0;
        for (at, &interval) in intervals.iter().enumerate() {
            if interval > SKIPPED * period {
                let near = spare(at.checked_sub(1)) + spare(Some(at + 1));
                missing += ((interval - period - near) / period).round().max(0.0);
            }
        }
        let expected = stream.times.len() as f64 + missing;
        Some(
            Found::new(&stream.topic, percent(missing, expected))
                .noting(format!("{missing:.0} of {expected:.0}")),
        )
    };
    measured.streams.iter().filter_map(share).collect()
}

pub(crate) fn longest_gap(measured: &Measured<'_>) -> Vec<Found> {
    let (start, stop) = measured.input.timeline.interval;
    let longest = |stream: &Stream| {
        let period = stream.period_s()?;
        let times = stream.measured.as_deref().unwrap_or(&stream.times);
        // What lacks at the ends lacks as well.
        let (first, last) = (*times.first()?, *times.last()?);
        let inner = times.windows(2).map(|pair| (pair[0], pair[1]));
        let ends = [(start, first.max(start)), (last.min(stop), stop)];
        let (from, length) = inner
            .chain(ends)
            .map(|(from, to)| (from, (to - from).secs_f64()))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let gap = if length > GAP * period { length } else { 0.0 };
        let found = Found::new(&stream.topic, gap);
        Some(match gap > 0.0 {
            true => found.noting(format!("at {:.2} s", measured.since_start_s(from))),
            false => found,
        })
    };
    measured.streams.iter().filter_map(longest).collect()
}

pub(crate) fn interval_cv(measured: &Measured<'_>) -> Vec<Found> {
    let cv = |stream: &Stream| {
        let period = stream.period_s()?;
        let mut intervals = Stream::intervals_s(&stream.times);
        intervals.retain(|interval| *interval < SKIPPED * period);
        let count = intervals.len().max(1) as f64;
        let mean = intervals.iter().sum::<f64>() / count;
        let square = |interval: &f64| (interval - mean).powi(2);
        let deviation = (intervals.iter().map(square).sum::<f64>() / count).sqrt();
        Some(Found::new(&stream.topic, deviation / mean.max(1e-12)))
    };
    measured.streams.iter().filter_map(cv).collect()
}

pub(crate) fn clock_state(measured: &Measured<'_>) -> Vec<Found> {
    let clocks = measured.input.episode.clocks.iter();
    clocks
        .filter_map(|(stream, clock)| {
            let state = clock.fit.as_ref()?.state;
            let value = match state {
                ClockState::Locked => 0.0,
                ClockState::Acquiring => 1.0,
                ClockState::Holdover => 2.0,
                ClockState::Lost => 3.0,
            };
            Some(Found::new(stream, value).noting(state.name()))
        })
        .collect()
}

pub(crate) fn clock_jumps(measured: &Measured<'_>) -> Vec<Found> {
    let reports = measured.input.timeline.report.iter();
    reports
        .filter(|(_, report)| report.clock_segments > 0)
        .map(|(stream, report)| Found::new(stream, (report.clock_segments - 1) as f64))
        .collect()
}

pub(crate) fn clock_bound(measured: &Measured<'_>) -> Vec<Found> {
    let reports = measured.input.timeline.report.iter();
    // A kernel's stamps need no fit; what is given there is how regular they are.
    reports
        .filter(|(_, report)| report.timing != TimingMethod::KernelStamp)
        .map(|(stream, report)| Found::new(stream, report.bound_s * 1e3))
        .collect()
}

/// Of trackers and gloves: samples that the device says it did not measure.
pub(crate) fn tracking_lost(measured: &Measured<'_>) -> Vec<Found> {
    let report = &measured.input.timeline.report;
    let trackers = report.iter().filter_map(|(stream, report)| {
        let kind = StreamKind::of(stream)?;
        matches!(kind, StreamKind::Tracker { .. }).then(|| {
            let share = percent(report.invalid as f64, report.samples as f64);
            Found::new(stream, share).noting(format!("{} of {}", report.invalid, report.samples))
        })
    });
    let gloves = measured.hands.keypoints.iter().map(|(side, samples)| {
        let invalid = samples.iter().filter(|sample| sample.1.is_none()).count();
        Found::new(
            format!("/glove/{side}/keypoints"),
            percent(invalid as f64, samples.len() as f64),
        )
        .noting(format!("{invalid} of {}", samples.len()))
    });
    trackers.chain(gloves).collect()
}
