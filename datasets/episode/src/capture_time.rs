//! When each sample of a stream was captured, and how well that is known.

use serde::Serialize;

use crate::{
    calibration::Calibration,
    clock::{contradicts, fit_recording},
    error::EpisodeError,
    periodic,
    read::Episode,
    rig::StreamKind,
    schema::{
        Encoders, Force, Imu, Keypoints, Markers, Stamp, Timing, Tracking, suspect, timing_topic,
    },
    time::{Delta, DeviceTime, HostTime, SessionTime},
};

/// How a stream's capture times were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimingMethod {
    /// Its device clock, fitted over the whole episode.
    DeviceClock,
    /// The kernel stamped it on the host's clock.
    KernelStamp,
    /// It has no clock, but a steady rate: the number of an image is its clock.
    Period,
    /// It has neither: arrival minus the declared delay.
    Arrival,
}

/// What alignment did to one stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    /// How its times were found.
    pub timing: TimingMethod,
    /// Samples in the file.
    pub samples: u64,
    /// Left out: marked suspect by the recorder.
    pub suspect: u64,
    /// Left out: not later than the sample before.
    pub out_of_order: u64,
    /// Left out: the device said that the value is not measured.
    pub invalid: u64,
    /// Joint samples beyond the calibrated span, held at its end.
    pub outside_calibration: u64,
    /// Stretches between jumps of the device's clock; 1 is normal.
    pub clock_segments: u64,
    /// Device clock against the host [ppm].
    pub skew_ppm: f64,
    /// Link jitter: 95th percentile of arrival above the envelope, or above the least
    /// delay after the kernel's stamp [s].
    pub residual_p95_s: f64,
    /// Bound of the clock's error [s]; for `arrival` and `kernel_stamp`, of the jitter.
    pub bound_s: f64,
    /// Latency removed [s].
    pub latency_s: f64,
    /// Gaps above the limit, and their sum [s].
    pub gaps: u64,
    /// Sum of the gaps above the limit [s].
    pub gap_s: f64,
    /// Mean rate [Hz].
    pub rate_hz: f64,
}

pub(crate) struct Times {
    pub capture: Vec<SessionTime>,
    pub report: StreamReport,
}

/// Capture time of each stamp: whole-episode fit − latency.
pub(crate) fn capture_times(
    episode: &Episode,
    calibration: Option<&Calibration>,
    stream: &str,
    stamps: &[&Stamp],
) -> Times {
    let anchor = &episode.info.anchor;
    let latency = calibration
        .and_then(|calibration| calibration.latency.get(stream))
        .map_or(Delta::ZERO, |latency| Delta::from_secs_f64(latency.seconds));
    let mut report = StreamReport {
        timing: TimingMethod::Arrival,
        samples: stamps.len() as u64,
        suspect: 0,
        out_of_order: 0,
        invalid: 0,
        outside_calibration: 0,
        clock_segments: 0,
        skew_ppm: 0.0,
        residual_p95_s: 0.0,
        bound_s: 0.0,
        latency_s: latency.secs_f64(),
        gaps: 0,
        gap_s: 0.0,
        rate_hz: 0.0,
    };
    if let Some(host) = kernel_times(stamps) {
        report.timing = TimingMethod::KernelStamp;
        let delays = stamps.iter().filter_map(|stamp| {
            let captured = stamp.captured_time()?;
            Some((stamp.host_time() - captured).nanos())
        });
        report.residual_p95_s = above_least_p95_s(delays.collect());
        let capture: Vec<_> = host
            .into_iter()
            .map(|host| anchor.to_session(host) - latency)
            .collect();
        report.bound_s = interval_jitter_p95_s(&capture);
        return Times { capture, report };
    }
    let clock = episode.clocks.get(stream);
    let has_clock = stamps.iter().all(|stamp| stamp.device_time_ns.is_some()) && !stamps.is_empty();
    if let (true, Some(clock)) = (has_clock, clock) {
        // From before the first sample: what came later is among the samples.
        let first = stamps[0].host_time_ns;
        let anchors: Vec<_> = clock
            .anchors
            .iter()
            .filter(|&&(_, h)| h < first)
            .map(|&(d, h)| (DeviceTime::from_nanos(d), HostTime::from_nanos(h)))
            .collect();
        let samples: Vec<_> = stamps
            .iter()
            .map(|stamp| {
                let device = stamp.sent_time().expect("checked above");
                (
                    device,
                    stamp.host_time(),
                    stamp.suspect & suspect::TICKS == 0,
                )
            })
            .collect();
        let segments = fit_recording(clock.model, &anchors, &clock.echoes, &samples);
        if !segments.is_empty() {
            let mut at = 0;
            let capture = stamps
                .iter()
                .enumerate()
                .map(|(index, stamp)| {
                    let device = stamp.device_time().expect("checked above");
                    while segments.get(at + 1).is_some_and(|next| next.first <= index) {
                        at += 1;
                    }
                    let arrival = stamp.host_time();
                    let host = segments[at].fit.to_host(device);
                    // A stamp that its own arrival contradicts dates nothing.
                    let host =
                        if stamp.suspect & suspect::TICKS == 0 && !contradicts(arrival - host) {
                            host
                        } else {
                            arrival - Delta::from_nanos(clock.model.min_delay_ns)
                        };
                    anchor.to_session(host) - latency
                })
                .collect();
            let fit = &segments
                .iter()
                .max_by_key(|s| s.fit.samples)
                .expect("not empty")
                .fit;
            report.timing = TimingMethod::DeviceClock;
            report.clock_segments = segments.len() as u64;
            report.skew_ppm = fit.skew_ppm;
            report.residual_p95_s = Delta::from_nanos(fit.residual_p95_ns).secs_f64();
            report.bound_s = Delta::from_nanos(fit.bound_ns).secs_f64();
            return Times { capture, report };
        }
    }
    let device = episode.rig.device(stream);
    let delay = device.map_or(Delta::ZERO, |device| {
        Delta::from_secs_f64(device.min_delay_s)
    });
    if let Some(mode) = device.and_then(|device| device.camera.as_ref()) {
        let arrivals: Vec<_> = stamps.iter().map(|stamp| stamp.host_time()).collect();
        let period = Delta::from_secs_f64(1.0 / mode.fps);
        if let Some((numbers, fit)) = periodic::fit(&arrivals, period, delay) {
            report.timing = TimingMethod::Period;
            report.skew_ppm = fit.skew_ppm;
            report.residual_p95_s = Delta::from_nanos(fit.residual_p95_ns).secs_f64();
            report.bound_s = Delta::from_nanos(fit.bound_ns).secs_f64();
            let capture = numbers
                .iter()
                .map(|&n| anchor.to_session(fit.to_host(n)) - latency);
            return Times {
                capture: capture.collect(),
                report,
            };
        }
    }
    let capture: Vec<_> = stamps
        .iter()
        .map(|stamp| anchor.to_session(stamp.host_time()) - delay - latency)
        .collect();
    report.bound_s = interval_jitter_p95_s(&capture);
    report.residual_p95_s = report.bound_s;
    Times { capture, report }
}

/// Times that the kernel stamped on the host's clock, where it did so for most
/// samples. One without such a stamp is dated by its arrival and the usual delay.
fn kernel_times(stamps: &[&Stamp]) -> Option<Vec<HostTime>> {
    let mut delays: Vec<i64> = stamps
        .iter()
        .filter_map(|stamp| Some((stamp.host_time() - stamp.captured_time()?).nanos()))
        .collect();
    if delays.is_empty() || delays.len() * 2 < stamps.len() {
        return None;
    }
    delays.sort_unstable();
    let usual = Delta::from_nanos(delays[delays.len() / 2]);
    let times = stamps
        .iter()
        .map(|stamp| stamp.captured_time().unwrap_or(stamp.host_time() - usual));
    Some(times.collect())
}

/// 95th percentile above the least [s].
fn above_least_p95_s(mut nanos: Vec<i64>) -> f64 {
    nanos.sort_unstable();
    let Some(least) = nanos.first() else {
        return 0.0;
    };
    Delta::from_nanos(p95(&nanos) - least).secs_f64()
}

/// 95th percentile of how far intervals are off the usual one [s].
fn interval_jitter_p95_s(times: &[SessionTime]) -> f64 {
    let mut intervals: Vec<i64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).nanos())
        .collect();
    intervals.sort_unstable();
    let Some(&median) = intervals.get(intervals.len() / 2) else {
        return 0.0;
    };
    let mut off: Vec<i64> = intervals
        .iter()
        .map(|interval| (interval - median).abs())
        .collect();
    off.sort_unstable();
    Delta::from_nanos(p95(&off)).secs_f64()
}

fn p95(sorted: &[i64]) -> i64 {
    sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)]
}

/// Stamps of a stream's samples with their capture times, suspect ones included,
/// in the order of the file: for checks against a reference.
///
/// # Errors
/// The file is damaged, or `topic` is no stream of a device.
pub fn stamped(
    episode: &Episode,
    calibration: Option<&Calibration>,
    topic: &str,
) -> Result<Vec<(Stamp, SessionTime)>, EpisodeError> {
    fn stamps<M: crate::schema::Record>(
        file: &crate::read::EpisodeFile,
        topic: &str,
    ) -> Result<Vec<Stamp>, EpisodeError> {
        Ok(file
            .read::<M>(topic)?
            .iter()
            .filter_map(|(_, message)| message.stamp().cloned())
            .collect())
    }
    let file = &episode.file;
    let stamps = match StreamKind::of(topic) {
        Some(StreamKind::Encoders { .. }) => stamps::<Encoders>(file, topic)?,
        Some(StreamKind::Force { .. }) => stamps::<Force>(file, topic)?,
        Some(StreamKind::Tracker { name }) => {
            stamps::<Tracking>(file, &format!("/tracker/{name}/status"))?
        }
        Some(StreamKind::Camera { .. } | StreamKind::Depth { .. }) => {
            stamps::<Timing>(file, &timing_topic(topic))?
        }
        Some(StreamKind::Imu { .. }) => stamps::<Imu>(file, topic)?,
        Some(StreamKind::Keypoints { .. }) => stamps::<Keypoints>(file, topic)?,
        Some(StreamKind::Markers { .. }) => stamps::<Markers>(file, topic)?,
        None => {
            return Err(EpisodeError::content(
                format!("`{topic}` is no stream of a device"),
                file.path(),
            ));
        }
    };
    let times = capture_times(
        episode,
        calibration,
        topic,
        &stamps.iter().collect::<Vec<_>>(),
    );
    Ok(stamps.into_iter().zip(times.capture).collect())
}

impl StreamReport {
    pub(crate) fn finish(&mut self, times: &[SessionTime], max_gap: Delta) {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            if gap > max_gap {
                self.gaps += 1;
                self.gap_s += gap.secs_f64();
            }
        }
        if let [first, .., last] = times {
            self.rate_hz = (times.len() - 1) as f64 / (*last - *first).secs_f64().max(1e-9);
        }
    }
}
