//! A clock's fit while its device runs.

use super::{
    ClockFit, ClockModel, ClockState, Echo, JUMP, LATEST, Rebels, echoes::thin, fit_of,
    window::SlidingEnvelope,
};
use crate::{
    time::{Delta, DeviceTime, HostTime},
    write::StreamClock,
};

/// Two-way exchanges kept, from as long ago as the clock runs: an episode may be long,
/// and what the last minute says of its rate does not reach back to its start.
const KEPT_ECHOES: usize = 256;

/// Sliding estimate of a device's clock while it runs.
#[derive(Debug, Clone)]
pub struct ClockEstimator {
    model: ClockModel,
    window: Delta,
    envelope: Option<SlidingEnvelope>,
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
        if self.echoes.len() == KEPT_ECHOES {
            thin(&mut self.echoes);
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
            self.envelope = Some(SlidingEnvelope::new(self.window, device, host));
            return true;
        };
        let whole = envelope.whole();
        let (x, y) = whole.relative(device, host);
        let residual = y - whole.line().at(x);
        // Late by whole seconds is possible (a stopped process); early is not, nor
        // is a clock that runs backwards.
        let backwards = x < whole.last_x() - JUMP.nanos();
        let early = backwards || residual < -JUMP.nanos();
        if early || residual > LATEST.nanos() {
            self.gated += 1;
            if let Some(samples) = self.rebels.push((device, host), |&sample| sample) {
                self.jumps += 1;
                let mut fresh = SlidingEnvelope::new(self.window, samples[0].0, samples[0].1);
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
        let envelope = self.envelope.as_ref()?.whole();
        let age = self.last_host.map_or(Delta::ZERO, |last| now - last);
        // In order of arrival.
        let limit = self.last_host.unwrap_or(now) - self.window;
        let first = self.echoes.partition_point(|echo| echo.received < limit);
        let mut fit = fit_of(
            envelope,
            &envelope.line(),
            self.model,
            &mut self.residuals.clone(),
            &self.echoes[first..],
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
        envelope.whole().vertices().collect()
    }
}
