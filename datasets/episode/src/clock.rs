//! From a device's clock to the host's: a line under the cloud of
//! (device time, arrival − device time).
//!
//! Delay only ever adds, so the true offset lies on the *lower envelope* of
//! that cloud. Its lower convex hull gives the line that is below every sample
//! and nearest to them in the mean: of all hull edges the one above the
//! samples' mean device time (L. Zhang, Z. Liu, C. Honghui Xia, "Clock
//! synchronization algorithms for network measurements", INFOCOM 2002). Late
//! samples cannot pull it, as they pull a regression.

use serde::{Deserialize, Serialize};

use crate::{
    time::{Delta, DeviceTime, HostTime},
    write::StreamClock,
};

/// Shortest span from which a skew is estimated; a shorter one takes skew 0.
const MIN_SKEW_SPAN: Delta = Delta::from_millis(4_000);
/// Quartz is within ±100 ppm, a bad ceramic resonator within ±5000.
const MAX_SKEW: f64 = 5e-3;
/// A device clock this far from its fit has been reset or has jumped.
const JUMP: Delta = Delta::from_millis(250);
/// A process can be stopped and its input wait for this long.
const LATEST: Delta = Delta::from_millis(10_000);
/// Two-way exchanges kept: the quickest of the window.
const KEPT_ECHOES: usize = 32;
/// Agreeing samples that make a jump a fact rather than one bad packet.
const JUMP_SAMPLES: usize = 5;

/// How well a clock is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// Too short a span for the skew.
    Acquiring,
    /// Offset and skew are known.
    Locked,
    /// No sample for more than 2 s; the last fit is used.
    Holdover,
    /// No sample was ever received.
    Lost,
}

impl ClockState {
    /// The word that files and tables use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acquiring => "acquiring",
            Self::Locked => "locked",
            Self::Holdover => "holdover",
            Self::Lost => "lost",
        }
    }
}

/// What is declared of a device's clock and link; removed from every fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClockModel {
    /// One tick of the device's clock [ns]; half of it is added to each device
    /// time, which was rounded down.
    pub tick_ns: i64,
    /// Least possible time from the stamp to the arrival of the packet [ns].
    pub min_delay_ns: i64,
}

impl ClockModel {
    /// One tick of the device's clock.
    pub fn tick(&self) -> Delta {
        Delta::from_nanos(self.tick_ns)
    }
}

/// The only bridge from [`DeviceTime`] to [`HostTime`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockFit {
    /// Device time at the reference point [ns].
    pub device_ns: i64,
    /// Host time at the reference point, delay and half a tick removed [ns].
    pub host_ns: i64,
    /// Host seconds per device second, minus one, in parts per million.
    pub skew_ppm: f64,
    /// The fit is not further from the truth [ns]. With two-way exchanges: half of
    /// the quickest round trip, and half a tick. Without: half a tick plus the
    /// median delay above the envelope, unless most samples came late or the
    /// declared delay is wrong.
    pub bound_ns: i64,
    /// Least delay from stamp to arrival as two-way exchanges measure it [ns].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_delay_ns: Option<i64>,
    /// 95th percentile of arrival above the envelope [ns]: jitter of the link.
    pub residual_p95_ns: i64,
    /// Samples in the fit.
    pub samples: u64,
    /// Device time from first to last sample [ns].
    pub span_ns: i64,
    /// How well the clock is known.
    pub state: ClockState,
}

impl ClockFit {
    /// Host time of a device time.
    pub fn to_host(&self, device: DeviceTime) -> HostTime {
        let ahead = device.nanos().saturating_sub(self.device_ns);
        let stretch = (ahead as f64 * self.skew_ppm * 1e-6).round() as i64;
        HostTime::from_nanos(self.host_ns.saturating_add(ahead).saturating_add(stretch))
    }
}

/// A question to the device that it answered with its own time: the device read
/// its clock at some moment between the two host times (F. Cristian,
/// "Probabilistic clock synchronization", 1989).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Just before the question was sent.
    pub sent: HostTime,
    /// The device's clock.
    pub device: DeviceTime,
    /// When the answer was read.
    pub received: HostTime,
}

impl Echo {
    fn round_trip(&self) -> Delta {
        self.received - self.sent
    }

    /// Middle of the exchange minus device time: offset of the clocks, give or
    /// take half the round trip [ns].
    fn offset_ns(&self) -> i64 {
        self.sent.nanos() + self.round_trip().nanos() / 2 - self.device.nanos()
    }
}

/// Lower convex hull of (device time, arrival − device time), built sample by
/// sample; constant work per sample in the mean.
#[derive(Debug, Clone)]
struct Envelope {
    /// Vertices relative to the first sample [ns]: device time and offset.
    hull: Vec<(i64, i64)>,
    origin: (i64, i64),
    count: u64,
    sum_x: f64,
    last_x: i64,
}

impl Envelope {
    fn new(device: DeviceTime, host: HostTime) -> Self {
        Self {
            hull: vec![(0, 0)],
            origin: (device.nanos(), host.nanos() - device.nanos()),
            count: 1,
            sum_x: 0.0,
            last_x: 0,
        }
    }

    fn relative(&self, device: DeviceTime, host: HostTime) -> (i64, i64) {
        (
            device.nanos() - self.origin.0,
            host.nanos() - device.nanos() - self.origin.1,
        )
    }

    fn push(&mut self, device: DeviceTime, host: HostTime) {
        let point = self.relative(device, host);
        self.count += 1;
        self.sum_x += point.0 as f64;
        if point.0 <= self.last_x {
            // Equal or slightly earlier stamps add nothing right of the hull;
            // a lower offset at the same time replaces the vertex.
            if let Some(last) = self.hull.last_mut()
                && point.0 == last.0
                && point.1 < last.1
            {
                last.1 = point.1;
                self.tidy();
            }
            return;
        }
        self.last_x = point.0;
        self.hull.push(point);
        self.tidy();
    }

    /// Drops vertices that no longer turn left.
    fn tidy(&mut self) {
        while let [.., a, b, c] = self.hull[..] {
            let cross = (b.0 - a.0) as i128 * (c.1 - a.1) as i128
                - (b.1 - a.1) as i128 * (c.0 - a.0) as i128;
            if cross > 0 {
                break;
            }
            let keep = self.hull.len() - 2;
            self.hull[keep] = c;
            self.hull.truncate(keep + 1);
        }
    }

    /// Forgets what lies more than `window` before the newest sample.
    fn forget_before(&mut self, window: Delta) {
        let limit = self.last_x - window.nanos();
        let keep_from = self.hull.partition_point(|vertex| vertex.0 < limit);
        if keep_from > 0 && self.hull.len() - keep_from >= 2 {
            self.hull.drain(..keep_from);
            // The mean moves along with the window.
            self.sum_x = self.count as f64 * (limit as f64 + self.last_x as f64) / 2.0;
        }
    }

    /// Slope and value at `x` of the supporting edge.
    fn line(&self) -> (f64, i64, i64) {
        let span = self.last_x - self.hull[0].0;
        let lowest = self
            .hull
            .iter()
            .min_by_key(|vertex| vertex.1)
            .expect("never empty");
        if span < MIN_SKEW_SPAN.nanos() || self.hull.len() < 2 {
            return (0.0, lowest.0, lowest.1);
        }
        let mean = (self.sum_x / self.count as f64) as i64;
        let right = self
            .hull
            .partition_point(|vertex| vertex.0 < mean)
            .clamp(1, self.hull.len() - 1);
        let (a, b) = (self.hull[right - 1], self.hull[right]);
        let slope = ((b.1 - a.1) as f64 / (b.0 - a.0) as f64).clamp(-MAX_SKEW, MAX_SKEW);
        (slope, a.0, a.1)
    }
}

/// Sliding estimate of a device's clock while it runs.
#[derive(Debug, Clone)]
pub struct ClockEstimator {
    model: ClockModel,
    window: Delta,
    envelope: Option<Envelope>,
    last_host: Option<HostTime>,
    rebels: Rebels<(DeviceTime, HostTime)>,
    /// Times the device's clock was reset or jumped.
    jumps: u64,
    gated: u64,
    residuals: Vec<i64>,
    echoes: Vec<Echo>,
}

impl ClockEstimator {
    /// `window`: how far back samples count.
    pub fn new(model: ClockModel, window: Delta) -> Self {
        Self {
            model,
            window,
            envelope: None,
            last_host: None,
            rebels: Rebels::default(),
            jumps: 0,
            gated: 0,
            residuals: Vec::new(),
            echoes: Vec::new(),
        }
    }

    /// The device may have been without power: the next sample starts a new fit.
    pub fn restart(&mut self) {
        self.envelope = None;
        self.rebels.clear();
        self.residuals.clear();
        self.echoes.clear();
    }

    /// Takes a two-way exchange.
    pub fn push_echo(&mut self, echo: Echo) {
        let limit = echo.received - self.window;
        self.echoes.retain(|kept| kept.received > limit);
        if self.echoes.len() == KEPT_ECHOES
            && let Some(slowest) = (0..KEPT_ECHOES).max_by_key(|&i| self.echoes[i].round_trip())
        {
            self.echoes.swap_remove(slowest);
        }
        self.echoes.push(echo);
    }

    /// Takes a sample and says whether the fit may date it. One that is more than
    /// 250 ms early, or later than a process can be stopped, is kept out; five that
    /// agree with each other, and come at the pace of their own stamps, start the
    /// clock anew. What waited while the process was stopped comes in a burst.
    pub fn push(&mut self, device: DeviceTime, host: HostTime) -> bool {
        self.last_host = Some(host);
        let Some(envelope) = &mut self.envelope else {
            self.envelope = Some(Envelope::new(device, host));
            return true;
        };
        let (x, y) = envelope.relative(device, host);
        let (slope, x0, y0) = envelope.line();
        let residual = y - y0 - ((x - x0) as f64 * slope) as i64;
        // Late by whole seconds is possible (a stopped process); early is not, nor
        // is a clock that runs backwards.
        let backwards = x < envelope.last_x - JUMP.nanos();
        let early = backwards || residual < -JUMP.nanos();
        if early || residual > LATEST.nanos() {
            self.gated += 1;
            if let Some(samples) = self.rebels.push((device, host), |&sample| sample) {
                self.jumps += 1;
                let mut fresh = Envelope::new(samples[0].0, samples[0].1);
                samples[1..].iter().for_each(|&(d, h)| fresh.push(d, h));
                self.envelope = Some(fresh);
                self.residuals.clear();
                self.echoes.clear();
                return true;
            }
            return !early;
        }
        self.rebels.clear();
        envelope.push(device, host);
        envelope.forget_before(self.window);
        if self.residuals.len() == 1024 {
            self.residuals.drain(..512);
        }
        self.residuals.push(residual.max(0));
        true
    }

    /// What is declared of the clock.
    pub fn model(&self) -> ClockModel {
        self.model
    }

    /// Samples kept out because they contradicted the fit.
    pub fn gated(&self) -> u64 {
        self.gated
    }

    /// Times the device's clock started anew.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The fit as it stands, or `None` before the first sample.
    pub fn fit(&self, now: HostTime) -> Option<ClockFit> {
        let envelope = self.envelope.as_ref()?;
        let age = self.last_host.map_or(Delta::ZERO, |last| now - last);
        let mut fit = fit_of(
            envelope,
            self.model,
            &mut self.residuals.clone(),
            &self.echoes,
        );
        if age > Delta::from_millis(2_000) {
            fit.state = ClockState::Holdover;
        }
        Some(fit)
    }

    /// All that a file keeps of it: a later fit can start from there.
    pub fn state(&self, now: HostTime) -> StreamClock {
        StreamClock {
            model: self.model,
            fit: self.fit(now),
            anchors: self
                .anchors()
                .iter()
                .map(|(d, h)| (d.nanos(), h.nanos()))
                .collect(),
            echoes: self.echoes.clone(),
            jumps: self.jumps,
            gated: self.gated,
        }
    }

    /// Hull vertices as (device time, host time) pairs: a short episode is
    /// fitted together with those of the time before its start.
    pub fn anchors(&self) -> Vec<(DeviceTime, HostTime)> {
        let Some(envelope) = &self.envelope else {
            return Vec::new();
        };
        envelope
            .hull
            .iter()
            .map(|&(x, y)| {
                let device = envelope.origin.0 + x;
                (
                    DeviceTime::from_nanos(device),
                    HostTime::from_nanos(device + envelope.origin.1 + y),
                )
            })
            .collect()
    }
}

/// What is to be added to the envelope, from two-way exchanges: the median of
/// the quick ones, those within half as much again of the quickest; and the
/// quickest round trip.
fn correction_of(envelope: &Envelope, echoes: &[Echo]) -> Option<(i64, Delta)> {
    let (slope, x0, y0) = envelope.line();
    let quickest = echoes.iter().map(Echo::round_trip).min()?;
    let mut corrections: Vec<i64> = echoes
        .iter()
        .filter(|echo| 2 * echo.round_trip().nanos() <= 3 * quickest.nanos())
        .map(|echo| {
            let x = echo.device.nanos() - envelope.origin.0;
            let line = y0 + ((x - x0) as f64 * slope) as i64 + envelope.origin.1;
            echo.offset_ns() - line
        })
        .collect();
    corrections.sort_unstable();
    Some((corrections[corrections.len() / 2], quickest))
}

fn fit_of(
    envelope: &Envelope,
    model: ClockModel,
    residuals: &mut [i64],
    echoes: &[Echo],
) -> ClockFit {
    let (slope, x, y) = envelope.line();
    residuals.sort_unstable();
    let quantile = |q: f64| {
        residuals
            .get(((residuals.len() as f64 - 1.0) * q).round() as usize)
            .copied()
            .unwrap_or(0)
    };
    let span_ns = envelope.last_x - envelope.hull[0].0;
    // A stamp rounded down reads up to a tick early, so the envelope passes
    // through samples whose true time is their stamp; the others are half a
    // tick later in the mean.
    let half_tick = model.tick_ns / 2;
    let measured = correction_of(envelope, echoes);
    let correction = measured.map_or(half_tick - model.min_delay_ns, |(c, _)| c);
    ClockFit {
        device_ns: envelope.origin.0 + x,
        host_ns: envelope.origin.0 + x + envelope.origin.1 + y + correction,
        skew_ppm: slope * 1e6,
        bound_ns: half_tick
            + measured.map_or_else(|| quantile(0.5), |(_, round)| round.nanos() / 2),
        measured_delay_ns: measured.map(|(correction, _)| half_tick - correction),
        residual_p95_ns: quantile(0.95),
        samples: envelope.count,
        span_ns,
        state: if span_ns >= MIN_SKEW_SPAN.nanos() {
            ClockState::Locked
        } else {
            ClockState::Acquiring
        },
    }
}

/// Whether a sample that arrived so long after its fitted time cannot have been
/// stamped then.
pub(crate) fn contradicts(delay: Delta) -> bool {
    delay.nanos() < -JUMP.nanos() || delay.nanos() > 6 * LATEST.nanos()
}

/// Samples that contradict a fit, until there are enough of them to be right.
#[derive(Debug, Clone)]
struct Rebels<T>(Vec<T>);

impl<T> Default for Rebels<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rebels<T> {
    fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes one; gives all when they are five that agree on the offset, and came
    /// at the pace of their own stamps.
    fn push(&mut self, sample: T, times: impl Fn(&T) -> (DeviceTime, HostTime)) -> Option<Vec<T>> {
        let (device, host) = times(&sample);
        let offset = host.nanos() - device.nanos();
        let agrees = |rebel: &T| {
            let (d, h) = times(rebel);
            (h.nanos() - d.nanos() - offset).abs() < JUMP.nanos()
        };
        if !self.0.iter().all(agrees) {
            self.0.clear();
        }
        self.0.push(sample);
        if self.0.len() < JUMP_SAMPLES {
            return None;
        }
        let (first_device, first_host) = times(&self.0[0]);
        if 2 * (host - first_host).nanos() < (device - first_device).nanos() {
            self.0.remove(0);
            return None;
        }
        Some(std::mem::take(&mut self.0))
    }
}

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
    segments
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(first, mut points)| {
            points.sort_unstable();
            let mut envelope = Envelope::new(points[0].0, points[0].1);
            points[1..].iter().for_each(|&(d, h)| envelope.push(d, h));
            let (slope, x0, y0) = envelope.line();
            let mut residuals: Vec<i64> = points
                .iter()
                .map(|&(d, h)| {
                    let (x, y) = envelope.relative(d, h);
                    (y - y0 - ((x - x0) as f64 * slope) as i64).max(0)
                })
                .collect();
            ClockSegment {
                first,
                fit: fit_of(
                    &envelope,
                    model,
                    &mut residuals,
                    &echoes_of(&points, echoes),
                ),
            }
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 180 Hz, millisecond clock, `skew` ppm, exponential jitter, stalls.
    fn cloud(skew: f64, seconds: f64, seed: u64) -> Vec<(DeviceTime, HostTime, i64)> {
        let mut state = seed | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut truth = 5e9;
        let mut points = Vec::new();
        let mut last_arrival = 0.0_f64;
        while truth < 5e9 + seconds * 1e9 {
            truth += 5.5e6 + 0.2e6 * random();
            let device_ms = (truth * (1.0 + skew * 1e-6) / 1e6).floor() as i64;
            let mut delay = 0.7e6 - 0.15e6 * random().max(1e-9).ln();
            if random() < 0.02 {
                delay += 2e6 + 28e6 * random();
            }
            last_arrival = last_arrival.max(truth + delay);
            points.push((
                DeviceTime::from_nanos(device_ms * 1_000_000),
                HostTime::from_nanos(last_arrival as i64),
                truth as i64,
            ));
        }
        points
    }

    fn p95(mut errors: Vec<i64>) -> i64 {
        errors.sort_unstable();
        errors[(errors.len() * 95) / 100]
    }

    const MODEL: ClockModel = ClockModel {
        tick_ns: 1_000_000,
        min_delay_ns: 700_000,
    };

    #[test]
    fn a_millisecond_clock_is_known_to_better_than_a_millisecond() {
        for seed in 1..20 {
            let points = cloud(40.0, 20.0, seed);
            let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
            let segments = fit_recording(MODEL, &[], &[], &samples);
            assert_eq!(segments.len(), 1);
            let errors = points
                .iter()
                .map(|&(d, _, truth)| (segments[0].fit.to_host(d).nanos() - truth).abs())
                .collect();
            let error = p95(errors);
            assert!(error < 650_000, "p95 {error} ns with seed {seed}");
            assert!(
                (segments[0].fit.skew_ppm + 40.0).abs() < 25.0,
                "{}",
                segments[0].fit.skew_ppm
            );
        }
    }

    #[test]
    fn the_live_estimate_agrees_with_the_whole_fit() {
        let points = cloud(-40.0, 30.0, 7);
        let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
        for &(d, h, _) in &points {
            assert!(live.push(d, h));
        }
        let fit = live.fit(points.last().expect("points").1).expect("a fit");
        assert_eq!(fit.state, ClockState::Locked);
        let errors = points
            .iter()
            .map(|&(d, _, t)| (fit.to_host(d).nanos() - t).abs())
            .collect();
        assert!(p95(errors) < 650_000);
    }

    #[test]
    fn a_reboot_opens_a_second_segment() {
        let mut points = cloud(0.0, 8.0, 3);
        let half = points.len() / 2;
        for point in &mut points[half..] {
            point.0 = point.0 - Delta::from_millis(4_321);
        }
        let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
        let segments = fit_recording(MODEL, &[], &[], &samples);
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1].first, half);
    }

    #[test]
    fn a_backlog_after_a_long_stop_is_late_and_no_new_clock() {
        let mut points = cloud(0.0, 40.0, 3);
        let start = points[0].1;
        for point in &mut points {
            // Stopped from second 15 to 27: what was sent meanwhile is read at once.
            let since = point.1 - start;
            if since > Delta::from_millis(15_000) && since < Delta::from_millis(27_000) {
                point.1 = start + Delta::from_millis(27_000);
            }
        }
        let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
        for &(d, h, _) in &points {
            assert!(live.push(d, h));
        }
        assert_eq!(live.jumps(), 0);
        let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
        assert_eq!(fit_recording(MODEL, &[], &[], &samples).len(), 1);
    }

    #[test]
    fn one_wild_stamp_does_not_move_the_fit() {
        let mut live = ClockEstimator::new(MODEL, Delta::from_millis(60_000));
        for (index, &(d, h, _)) in cloud(0.0, 10.0, 5).iter().enumerate() {
            live.push(
                if index % 100 == 50 {
                    d + Delta::from_millis(16_384)
                } else {
                    d
                },
                h,
            );
        }
        assert!(live.gated() > 10);
        assert_eq!(live.jumps(), 0);
    }

    #[test]
    fn two_way_exchanges_replace_a_wrong_declared_delay() {
        let points = cloud(40.0, 20.0, 11);
        let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
        // Answers take 0.2 to 3 ms, both ways the same in the mean.
        let echoes: Vec<_> = points
            .iter()
            .step_by(180)
            .enumerate()
            .map(|(i, &(_, _, truth))| {
                let half = 100_000 + 200_000 * (i as i64 % 8);
                Echo {
                    sent: HostTime::from_nanos(truth - half),
                    device: DeviceTime::from_nanos(
                        ((truth as f64 * (1.0 + 40e-6)) as i64).div_euclid(1_000_000) * 1_000_000,
                    ),
                    received: HostTime::from_nanos(truth + half),
                }
            })
            .collect();
        let wrong = ClockModel {
            min_delay_ns: 8_000_000,
            ..MODEL
        };
        let fit = |echoes: &[Echo]| fit_recording(wrong, &[], echoes, &samples)[0].fit.clone();
        let error = |fit: &ClockFit| {
            p95(points
                .iter()
                .map(|&(d, _, truth)| (fit.to_host(d).nanos() - truth).abs())
                .collect())
        };
        assert!(error(&fit(&[])) > 6_000_000);
        let measured = fit(&echoes);
        assert!(error(&measured) < 1_100_000, "{}", error(&measured));
        assert!(error(&measured) <= measured.bound_ns + MODEL.tick_ns / 2);
    }

    proptest! {
        #[test]
        fn no_sample_lies_below_the_envelope(seed in 1_u64..10_000, skew in -200.0..200.0_f64) {
            let points = cloud(skew, 6.0, seed);
            let samples: Vec<_> = points.iter().map(|&(d, h, _)| (d, h, true)).collect();
            let fit = &fit_recording(MODEL, &[], &[], &samples)[0].fit;
            let raw = MODEL.min_delay_ns - MODEL.tick_ns / 2;
            for &(d, h, _) in &points {
                prop_assert!(h.nanos() - fit.to_host(d).nanos() - raw >= -5_000);
            }
        }
    }
}
