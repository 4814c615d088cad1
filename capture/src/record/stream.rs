//! One stream at the writer: its clock, its gaps, its ledger.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dexumi_episode::{
    Calibration, ChannelId, ClockEstimator, ClockFit, Delta, Device, DeviceTime, Echo,
    EpisodeError, EpisodeWriter, HostTime, JointCalibration, SessionAnchor, SessionTime,
    StreamClock, StreamKind, StreamLedger,
    schema::{StreamHealth, suspect},
};

use super::{
    StreamStatus,
    channels::{Channels, angles},
    rhythm::Rhythm,
};
use crate::driver::{Data, Driver, Item, Sample};

/// How far back samples count for the live clock.
const CLOCK_WINDOW: Delta = Delta::from_millis(60_000);
/// A fit is renewed this often; between, it holds.
const FIT_INTERVAL: Delta = Delta::from_millis(200);
/// A device that sends nothing for longer is frozen, if its usual period is not
/// a tenth of that or more.
const SILENCE: Delta = Delta::from_millis(1_000);
/// After the opening of a device, gaps are not counted for so long.
const SETTLING: Delta = Delta::from_millis(500);
/// A camera without a clock is counted anew this often, so that the tolerance of
/// its nominal rate does not add up.
const PACE_SPAN: Delta = Delta::from_millis(20_000);

pub(super) struct Stream {
    pub device: Device,
    pub driver: &'static Driver,
    pub kind: Option<StreamKind>,
    pub joints: Option<JointCalibration>,
    latency: Delta,
    clock: Option<ClockEstimator>,
    fit: Option<(ClockFit, HostTime)>,
    ledger: StreamLedger,
    dropped: Arc<AtomicU64>,
    dropped_before: u64,
    /// Capture time and device time of the last sample, for gaps.
    last: Option<(HostTime, Option<i64>)>,
    last_sequence: u64,
    rhythm: Rhythm,
    /// Counted since the last sample, as lost or as missing.
    counted_since: u64,
    /// The kernel stamped the last sample.
    kernel_stamps: bool,
    /// Of a camera without a clock: the first image of the span, images since
    /// then, and how many its nominal rate says are missing.
    paced: Option<(HostTime, u64, u64)>,
    /// Arrivals of the last second.
    recent: VecDeque<HostTime>,
    first_arrival: Option<HostTime>,
    last_arrival: Option<HostTime>,
    values: Vec<f64>,
    about: Vec<(String, String)>,
    problem: Option<String>,
    /// Since when the device is gone.
    gone_since: Option<HostTime>,
    /// The last outage is over, but no sample has come since.
    returning: bool,
    /// Gaps are to be counted by the rhythm once.
    after_outage: bool,
    silent: bool,
    channels: Option<Channels>,
    /// Capture time of the newest sample, for draining.
    newest: Option<SessionTime>,
}

/// What an item is worth to an episode, and when it happened.
pub(super) struct Entry {
    /// Capture time of a sample; else when it was known.
    pub at: SessionTime,
    what: What,
}

enum What {
    Sample {
        sample: Box<Sample>,
        /// Samples that should have come before it.
        missing: u64,
    },
    Lost {
        kind: &'static str,
        count: u64,
    },
    Missing {
        count: u64,
    },
    Discarded {
        bytes: u64,
    },
}

impl Entry {
    /// Memory that it holds beside its own size [byte].
    pub fn image_bytes(&self) -> usize {
        match &self.what {
            What::Sample { sample, .. } => match &sample.data {
                Data::Image(image) => image.data.len(),
                _ => 0,
            },
            _ => 0,
        }
    }
}

impl Stream {
    pub fn new(
        device: Device,
        driver: &'static Driver,
        calibration: Option<&Calibration>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let kind = StreamKind::of(&device.stream);
        let latency = calibration
            .and_then(|calibration| calibration.latency.get(&device.stream))
            .map_or(Delta::ZERO, |latency| Delta::from_secs_f64(latency.seconds));
        let joints = match (&kind, calibration) {
            (Some(StreamKind::Encoders { side }), Some(calibration)) => {
                calibration.joints.get(side).cloned()
            }
            _ => None,
        };
        let clock = (driver.clock)(&device).map(|model| ClockEstimator::new(model, CLOCK_WINDOW));
        Self {
            device,
            driver,
            kind,
            joints,
            latency,
            clock,
            fit: None,
            ledger: StreamLedger::default(),
            dropped,
            dropped_before: 0,
            last: None,
            last_sequence: 0,
            rhythm: Rhythm::default(),
            counted_since: 0,
            kernel_stamps: false,
            paced: None,
            recent: VecDeque::new(),
            first_arrival: None,
            last_arrival: None,
            values: Vec::new(),
            about: Vec::new(),
            problem: None,
            gone_since: None,
            returning: false,
            after_outage: false,
            silent: false,
            channels: None,
            newest: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.device.stream
    }

    pub fn newest(&self) -> Option<SessionTime> {
        self.newest
    }

    pub fn is_connected(&self) -> bool {
        self.problem.is_none()
    }

    pub fn ledger(&self) -> &StreamLedger {
        &self.ledger
    }

    /// What the device said of itself.
    pub fn about(&self) -> &[(String, String)] {
        &self.about
    }

    /// The device came or went.
    pub fn set_problem(&mut self, problem: Option<String>, at: HostTime) {
        match (&self.problem, &problem) {
            (None, Some(_)) => self.gone_since = Some(at),
            (Some(_), None) => {
                self.end_outage(at);
                self.returning = true;
                self.after_outage = true;
                // It may have been without power: its clock starts anew.
                if let Some(clock) = &mut self.clock {
                    clock.restart();
                }
            }
            _ => {}
        }
        self.problem = problem;
    }

    fn end_outage(&mut self, at: HostTime) {
        if let Some(since) = self.gone_since.take() {
            self.ledger.outages += 1;
            self.ledger.outage_ns += (at - since).nanos().max(0);
        }
    }

    /// Notices a device that is connected but says nothing. Returns a sentence
    /// when that begins or ends.
    pub fn watch(&mut self, now: HostTime) -> Option<String> {
        let (Some(last), true) = (self.last_arrival, self.is_connected()) else {
            self.silent = false;
            return None;
        };
        let usual = Delta::from_nanos((10.0 * self.period_ns().unwrap_or(0.0)) as i64);
        let silent = now - last > SILENCE.max(usual);
        let changed = silent != std::mem::replace(&mut self.silent, silent);
        changed.then(|| match silent {
            true => format!(
                "`{}` is connected, but has sent nothing for {:.1} s",
                self.device.stream,
                (now - last).secs_f64()
            ),
            false => format!("`{}` sends again", self.device.stream),
        })
    }

    /// Usual time between two samples, where known [ns].
    fn period_ns(&self) -> Option<f64> {
        self.rhythm
            .usual_ns()
            .or_else(|| self.device.camera.as_ref().map(|mode| 1e9 / mode.fps))
    }

    /// Opens this stream's channels in a new file and starts its ledger anew.
    pub fn open_channels(
        &mut self,
        writer: &mut EpisodeWriter,
        start: HostTime,
    ) -> Result<(), EpisodeError> {
        self.channels = Some(Channels::open(self, writer)?);
        self.ledger = StreamLedger::default();
        self.dropped_before = self.dropped.load(Ordering::Relaxed);
        if self.gone_since.is_some() {
            self.gone_since = Some(start);
        }
        Ok(())
    }

    pub fn close_channels(&mut self) {
        self.channels = None;
    }

    /// Takes an item from the device: keeps its clock and its rhythm, and says
    /// what it is worth to an episode.
    pub fn take(&mut self, item: Item, anchor: &SessionAnchor) -> Option<Entry> {
        let entry = |at: HostTime, what| {
            Some(Entry {
                at: anchor.to_session(at),
                what,
            })
        };
        match item {
            Item::Sample(sample) => Some(self.sample(sample, anchor)),
            Item::Lost { kind, count, at } => {
                self.counted_since += count;
                entry(at, What::Lost { kind, count })
            }
            Item::Missing { count, at } => {
                self.counted_since += count;
                entry(at, What::Missing { count })
            }
            Item::Discarded { bytes } => entry(HostTime::now(), What::Discarded { bytes }),
            Item::Echo {
                sent,
                device,
                received,
            } => {
                if let Some(clock) = &mut self.clock {
                    clock.push_echo(Echo {
                        sent,
                        device,
                        received,
                    });
                }
                None
            }
            Item::About(about) => {
                for (key, value) in about {
                    match self.about.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, old)) => *old = value,
                        None => self.about.push((key, value)),
                    }
                }
                None
            }
            Item::Note { .. } => None,
        }
    }

    fn sample(&mut self, sample: Sample, anchor: &SessionAnchor) -> Entry {
        let arrival = sample.arrival;
        let mut trusted = sample.suspect & suspect::TICKS == 0;
        if let (Some(clock), Some(device), true) =
            (&mut self.clock, sample.sent.or(sample.device), trusted)
        {
            // One that contradicts the clock is dated by its arrival.
            trusted = clock.push(device, arrival);
            let old = self
                .fit
                .as_ref()
                .is_none_or(|(_, at)| arrival - *at > FIT_INTERVAL);
            if old || std::mem::take(&mut self.returning) {
                self.fit = clock.fit(arrival).map(|fit| (fit, arrival));
            }
        }
        self.kernel_stamps = sample.captured.is_some();
        let host = match (sample.captured, sample.device) {
            (Some(captured), _) => captured,
            (None, Some(device)) if trusted => self.date(device, arrival),
            _ => arrival - Delta::from_secs_f64(self.device.min_delay_s),
        };
        let capture = anchor.to_session(host) - self.latency;
        self.recent.push_back(arrival);
        while self
            .recent
            .front()
            .is_some_and(|&first| arrival - first > Delta::from_millis(1000))
        {
            self.recent.pop_front();
        }
        self.last_arrival = Some(arrival);
        let missing = self.gap(&sample, host, trusted) + self.pace(&sample);
        self.newest = Some(self.newest.map_or(capture, |newest| newest.max(capture)));
        self.remember(&sample.data);
        Entry {
            at: capture,
            what: What::Sample {
                sample: Box::new(sample),
                missing,
            },
        }
    }

    /// When a sample was taken by the fit: never after it arrived. A fit that says
    /// so was made from samples that came late, as a device's own buffer does when
    /// it is opened.
    fn date(&mut self, device: DeviceTime, arrival: HostTime) -> HostTime {
        let tick = self
            .clock
            .as_ref()
            .map_or(Delta::ZERO, |clock| clock.model().tick());
        let latest = arrival + tick;
        let dated = |fit: &Option<(ClockFit, HostTime)>| {
            fit.as_ref().map_or(arrival, |(fit, _)| fit.to_host(device))
        };
        let host = dated(&self.fit);
        if host <= latest {
            return host;
        }
        let fit = self.clock.as_ref().and_then(|clock| clock.fit(arrival));
        self.fit = fit.map(|fit| (fit, arrival));
        dated(&self.fit).min(arrival)
    }

    /// Samples that the device's clock, or the kernel's stamps, say are missing before
    /// this one, for a device without a sequence of its own. What has been counted as
    /// lost or missing already is not counted again. After an outage, and where the
    /// clock started anew, the host's time since the last sample tells.
    fn gap(&mut self, sample: &Sample, host: HostTime, trusted: bool) -> u64 {
        let counted = std::mem::take(&mut self.counted_since);
        let stamp = match (sample.captured, sample.device) {
            (Some(captured), _) => captured.nanos(),
            (None, Some(device)) if trusted => device.nanos(),
            (None, Some(_)) => {
                // It is there, though its time is not.
                self.counted_since = counted + 1;
                return 0;
            }
            _ => return 0,
        };
        // What a device kept from before it was opened says nothing of losses.
        let first_arrival = *self.first_arrival.get_or_insert(sample.arrival);
        let settled = sample.arrival - first_arrival > SETTLING;
        let last = self.last.replace((host, Some(stamp)));
        let last_sequence = std::mem::replace(&mut self.last_sequence, sample.sequence);
        let Some((last_host, Some(last_stamp))) = last else {
            return 0;
        };
        let by_device = (stamp - last_stamp) as f64;
        let by_host = (host - last_host).nanos() as f64;
        let step = if (by_device - by_host).abs() < 0.1e9 {
            by_device
        } else {
            by_host
        };
        if step <= 0.0 {
            return 0;
        }
        if step > 1e9 {
            self.rhythm.interrupt();
        }
        let after_outage = std::mem::take(&mut self.after_outage);
        // The kernel numbers every image that it stamps.
        let is_numbered = sample.captured.is_some() && self.driver.counts_missing;
        let left_out = match (is_numbered, after_outage) {
            (true, false) => {
                let count = sample.sequence.saturating_sub(last_sequence);
                self.rhythm.numbered_step(step, count.max(1));
                0
            }
            (true, true) => self
                .period_ns()
                .map_or(0, |usual| Rhythm::left_out(step, usual)),
            (false, _) => self.rhythm.step(step),
        };
        // A device's own numbers are exact, except where it was gone.
        if !settled || (self.driver.counts_missing && !after_outage) {
            return 0;
        }
        left_out.saturating_sub(counted)
    }

    /// Newly missing images of a camera without a clock: those that its nominal
    /// rate, give or take half a percent, should have brought by now. A late image
    /// is less than a period late, so that it does not count.
    fn pace(&mut self, sample: &Sample) -> u64 {
        let stamped = sample.device.is_some() || sample.captured.is_some();
        let (Some(mode), false, false) = (&self.device.camera, stamped, self.driver.counts_missing)
        else {
            return 0;
        };
        let arrival = sample.arrival;
        let (first, count, missing) = self.paced.get_or_insert((arrival, 0, 0));
        let due = ((arrival - *first).secs_f64() * mode.fps * 0.995).floor() as u64;
        let fresh = due.saturating_sub(*count + *missing);
        *count += 1;
        *missing += fresh;
        if arrival - *first > PACE_SPAN {
            self.paced = Some((arrival, 1, 0));
        }
        fresh
    }

    fn remember(&mut self, data: &Data) {
        self.values = match data {
            Data::Encoders {
                counts, reference, ..
            } => angles(self.joints.as_ref(), counts, *reference),
            Data::Force { counts, .. } => counts.iter().copied().map(f64::from).collect(),
            Data::Pose {
                position_m,
                rotation_xyzw,
                ..
            } => position_m.iter().chain(rotation_xyzw).copied().collect(),
            Data::Imu {
                acceleration_m_s2: a,
                angular_velocity_rad_s: w,
            } => a.iter().chain(w).copied().collect(),
            Data::Keypoints { points_m, .. } | Data::Markers { points_m } => {
                points_m.iter().flatten().copied().collect()
            }
            Data::Image(_) => Vec::new(),
        };
    }

    /// Counts an entry that belongs to the episode, and writes its sample.
    pub fn write(&mut self, entry: Entry, anchor: &SessionAnchor, writer: &mut EpisodeWriter) {
        match entry.what {
            What::Sample { sample, missing } => {
                self.ledger.received += 1;
                self.ledger.written += 1;
                self.ledger.suspect += u64::from(sample.suspect != 0);
                self.ledger.missing += missing;
                if let Some(channels) = &self.channels {
                    let log = anchor.to_session(sample.arrival);
                    channels.write(self, writer, *sample, entry.at, log);
                }
            }
            What::Lost { kind, count } => {
                self.ledger.received += count;
                self.ledger.lose(kind, count);
            }
            What::Missing { count } => self.ledger.missing += count,
            What::Discarded { bytes } => self.ledger.bytes_discarded += bytes,
        }
    }

    /// Samples that were counted as written, but did not reach the file.
    pub fn unwrite(&mut self, lost: &BTreeMap<ChannelId, u64>) {
        let main = self.channels.as_ref().map(Channels::main);
        let count = main.and_then(|main| lost.get(&main)).copied().unwrap_or(0);
        self.ledger.written = self.ledger.written.saturating_sub(count);
        self.ledger.lose("write_error", count);
    }

    /// Counts samples that a file after a write error took over from the one before.
    pub fn adopt(&mut self, moved: &BTreeMap<ChannelId, u64>) {
        let main = self.channels.as_ref().map(Channels::main);
        let count = main.and_then(|main| moved.get(&main)).copied();
        self.ledger.received += count.unwrap_or(0);
        self.ledger.written += count.unwrap_or(0);
    }

    /// The gap before the next sample is of so many that found the queue full, and are
    /// counted as that.
    pub fn leave_out(&mut self, dropped: u64) {
        self.counted_since += dropped;
        if let Some((_, count, _)) = &mut self.paced {
            *count += dropped;
        }
    }

    /// Counts what found the queue full since the start of the episode.
    pub fn count_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let fresh = dropped - self.dropped_before;
        self.dropped_before = dropped;
        self.ledger.received += fresh;
        self.ledger.lose("queue_full", fresh);
    }

    /// Counts an outage that lasts beyond the end of the episode.
    pub fn count_outage(&mut self, now: HostTime) {
        if self.gone_since.is_some() {
            self.end_outage(now);
            self.gone_since = Some(now);
        }
    }

    /// State of the clock, for the file.
    pub fn clock(&self, now: HostTime) -> Option<StreamClock> {
        self.clock.as_ref().map(|clock| clock.state(now))
    }

    pub fn status(&self, now: HostTime) -> StreamStatus {
        let age = self.last_arrival.map(|last| now - last);
        let fresh = self
            .recent
            .iter()
            .filter(|&&at| now - at < Delta::from_millis(1000))
            .count();
        let fit = self.fit.as_ref().map(|(fit, _)| fit);
        let silent = || {
            self.silent.then(|| {
                let age_s = age.map_or(0.0, Delta::secs_f64);
                format!("connected, but has sent nothing for {age_s:.1} s")
            })
        };
        let seconds = |ns: i64| Delta::from_nanos(ns).secs_f64();
        StreamStatus {
            stream: self.device.stream.clone(),
            rate_hz: fresh as f64,
            age_s: age.map_or(-1.0, Delta::secs_f64),
            problem: self.problem.clone().or_else(silent),
            received: self.ledger.received,
            written: self.ledger.written,
            lost: self.ledger.lost(),
            suspect: self.ledger.suspect,
            missing: self.ledger.missing,
            outages: self.ledger.outages,
            clock: match fit {
                _ if self.kernel_stamps => "kernel",
                Some(fit) => fit.state.name(),
                None => "arrival",
            }
            .to_owned(),
            skew_ppm: fit.map_or(0.0, |fit| fit.skew_ppm),
            residual_p95_s: fit.map_or(0.0, |fit| seconds(fit.residual_p95_ns)),
            bound_s: fit.map_or(0.0, |fit| seconds(fit.bound_ns)),
            // JSON has no word for what is not finite.
            values: self
                .values
                .iter()
                .map(|v| if v.is_finite() { *v } else { 0.0 })
                .collect(),
        }
    }

    pub fn health(&self, now: HostTime) -> StreamHealth {
        let status = self.status(now);
        StreamHealth {
            rate_hz: status.rate_hz,
            age_s: status.age_s,
            clock_state: status.clock,
            skew_ppm: status.skew_ppm,
            residual_p95_s: status.residual_p95_s,
            bound_s: status.bound_s,
            ..self.ledger.to_health(&self.device.stream)
        }
    }
}
