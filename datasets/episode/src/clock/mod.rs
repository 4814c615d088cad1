//! From a device's clock to the host's: a line under the cloud of
//! (device time, arrival − device time).
//!
//! Delay only ever adds, so the true offset lies on the *lower envelope* of
//! that cloud. Its lower convex hull gives the line that is below every sample
//! and nearest to them in the mean: of all hull edges the one above the
//! samples' mean device time (L. Zhang, Z. Liu, C. Honghui Xia, "Clock
//! synchronization algorithms for network measurements", INFOCOM 2002). Late
//! samples cannot pull it, as they pull a regression.

mod echoes;
mod envelope;
mod live;
mod recording;
#[cfg(test)]
mod tests;
mod window;

use serde::{Deserialize, Serialize};

pub use self::{
    echoes::Echo,
    live::ClockEstimator,
    recording::{ClockSegment, fit_recording},
};
use self::{
    echoes::measured,
    envelope::{Envelope, Line, MIN_SKEW_SPAN},
};
use crate::time::{Delta, DeviceTime, HostTime};

/// A device clock this far from its fit has been reset or has jumped.
const JUMP: Delta = Delta::from_millis(250);
/// A process can be stopped and its input wait for this long.
const LATEST: Delta = Delta::from_millis(10_000);
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
    /// The fit is not further from the truth [ns]. With two-way exchanges: as far as
    /// what the quickest ways there and back leave open reaches, and half a tick. Without:
    /// half a tick plus the median delay above the envelope, unless most samples
    /// came late or the declared delay is wrong.
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

/// Whether a sample that arrived so long after its fitted time cannot have been
/// stamped then.
pub(crate) fn contradicts(delay: Delta) -> bool {
    delay.nanos() < -JUMP.nanos() || delay.nanos() > 6 * LATEST.nanos()
}

fn fit_of(
    envelope: &Envelope,
    line: &Line,
    model: ClockModel,
    residuals: &mut [i64],
    echoes: &[Echo],
) -> ClockFit {
    residuals.sort_unstable();
    let quantile = |q: f64| {
        residuals
            .get(((residuals.len() as f64 - 1.0) * q).round() as usize)
            .copied()
            .unwrap_or(0)
    };
    // A stamp rounded down reads up to a tick early, so the envelope passes
    // through samples whose true time is their stamp; the others are half a
    // tick later in the mean.
    let half_tick = model.tick_ns / 2;
    let measured = measured(envelope, line, model, echoes, quantile(0.5));
    let (line, correction) = measured
        .as_ref()
        .map_or((line, half_tick - model.min_delay_ns), |measured| {
            (&measured.line, measured.correction_ns)
        });
    let (device, host) = envelope.absolute(line.x, line.y);
    ClockFit {
        device_ns: device.nanos(),
        host_ns: host.nanos() + correction,
        skew_ppm: line.slope * 1e6,
        bound_ns: half_tick
            + measured
                .as_ref()
                .map_or_else(|| quantile(0.5), |measured| measured.within_ns),
        measured_delay_ns: measured
            .as_ref()
            .map(|measured| half_tick - measured.correction_ns),
        residual_p95_ns: quantile(0.95),
        samples: envelope.count(),
        span_ns: envelope.span().nanos(),
        state: if envelope.span() >= MIN_SKEW_SPAN {
            ClockState::Locked
        } else {
            ClockState::Acquiring
        },
    }
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
            return None;
        }
        Some(std::mem::take(&mut self.0))
    }
}
