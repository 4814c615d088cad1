//! Two-way exchanges, and what they make of a line under the samples.

use serde::{Deserialize, Serialize};

use super::{
    ClockModel,
    envelope::{Envelope, Line, MIN_SKEW_SPAN},
};
use crate::time::{Delta, DeviceTime, HostTime};

/// Where exchanges leave a gap between the latest and the earliest that the device's
/// clock can have been: so far below its upper end is the truth. Half, where nothing
/// is known of either way; where the least delay of the samples is declared, nearer
/// to them, of which there are thousands.
const SHARE_UNKNOWN: f64 = 0.5;
const SHARE_DECLARED: f64 = 0.25;
/// Fewer exchanges say nothing of a clock's rate.
const MIN_RATE_ECHOES: usize = 8;

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
    pub(super) fn offset_ns(&self) -> i64 {
        self.sent.nanos() + self.round_trip().nanos() / 2 - self.device.nanos()
    }
}

/// A line under the samples that exchanges have put right.
pub(super) struct Measured {
    /// Under the samples still, but as steep as the device's clock.
    pub line: Line,
    /// From it up to the middle of the tick that a stamp tells [ns].
    pub correction_ns: i64,
    /// The truth is not further from there [ns].
    pub within_ns: i64,
}

/// What two-way exchanges make of a line under the samples, which lie
/// `usual_delay_ns` above it in the median.
///
/// Each question was answered after it was sent and before its answer was read, so
/// that the truth lies above all the sendings and below all the arrivals, those of
/// the samples included. The quickest way there and the quickest way back need not
/// belong to one exchange. What is left in between is divided.
///
/// An adapter that collects bytes for 16 ms can lie about the rate. Samples whose
/// period divides that time come at the same distance before it hands over, again and
/// again, and drift away from there only as fast as the clock drifts: their line is
/// then as steep as the adapter's clock. Questions on their way there show it.
pub(super) fn measured(
    envelope: &Envelope,
    line: &Line,
    model: ClockModel,
    echoes: &[Echo],
    usual_delay_ns: i64,
) -> Option<Measured> {
    let there = There::new(echoes)?;
    let own = there.envelope.line();
    let (known, usual_own_ns) = (there.tells_rate(), there.usual_ns(&own));
    let line = match known
        && usual_own_ns < usual_delay_ns
        && !there
            .envelope
            .nearly_as_near(&there.envelope.line_of_slope(line.slope), usual_own_ns)
    {
        true => envelope.line_of_slope(own.slope),
        false => *line,
    };
    let touching = there.envelope.line_of_slope(line.slope);

    let half_tick = model.tick_ns / 2;
    let above = |device: DeviceTime, host: HostTime| {
        let (x, y) = envelope.relative(device, host);
        y - line.at(x)
    };
    let (device, host) = there.touched(&touching);
    let latest_sent = above(device, host);
    let back = echoes
        .iter()
        .map(|echo| above(echo.device, echo.received))
        .min()?;
    // A declared delay that an exchange contradicts is wrong. A reading rounded
    // down says nothing below its tick.
    let declared = -model.min_delay_ns;
    let samples = match declared < latest_sent - model.tick_ns {
        true => 0,
        false => declared,
    };
    // Both of the middle of a tick: what came latest was read at its end, what came
    // earliest at its beginning.
    let low = latest_sent - half_tick;
    let high = back.min(samples) + half_tick;
    let down = match samples < 0 {
        true => SHARE_DECLARED,
        false => SHARE_UNKNOWN,
    };
    let open = (high - low) as f64;
    Some(Measured {
        line,
        correction_ns: high - (open * down) as i64,
        within_ns: (open.abs() * (1.0 - down)) as i64,
    })
}

/// Questions on their way to the device. Both clocks are taken backwards, so that
/// delays add here as they do to samples: the latest sendings are the envelope.
struct There {
    envelope: Envelope,
    /// In order.
    points: Vec<(DeviceTime, HostTime)>,
}

impl There {
    fn new(echoes: &[Echo]) -> Option<Self> {
        let mut points: Vec<_> = echoes
            .iter()
            .map(|echo| backwards(echo.device, echo.sent))
            .collect();
        points.sort_unstable();
        let envelope = (!points.is_empty()).then(|| Envelope::of(&points))?;
        Some(Self { envelope, points })
    }

    fn tells_rate(&self) -> bool {
        self.points.len() >= MIN_RATE_ECHOES && self.envelope.span() >= MIN_SKEW_SPAN
    }

    /// Median delay above a line [ns].
    fn usual_ns(&self, line: &Line) -> i64 {
        let above = |&(device, host): &(DeviceTime, HostTime)| {
            let (x, y) = self.envelope.relative(device, host);
            y - line.at(x)
        };
        let mut delays: Vec<i64> = self.points.iter().map(above).collect();
        let middle = delays.len() / 2;
        *delays.select_nth_unstable(middle).1
    }

    /// The exchange that a line touches: its reading, and when it was sent.
    fn touched(&self, line: &Line) -> (DeviceTime, HostTime) {
        let (device, host) = self.envelope.absolute(line.x, line.y);
        backwards(device, host)
    }
}

fn backwards(device: DeviceTime, host: HostTime) -> (DeviceTime, HostTime) {
    (
        DeviceTime::from_nanos(-device.nanos()),
        HostTime::from_nanos(-host.nanos()),
    )
}

/// Thins out exchanges, so that about half of them are left: of those that no line
/// touches, in either way, every other.
pub(super) fn thin(echoes: &mut Vec<Echo>) {
    let Some(there) = There::new(echoes) else {
        return;
    };
    let mut back: Vec<_> = echoes.iter().map(|e| (e.device, e.received)).collect();
    back.sort_unstable();
    let mut kept: Vec<HostTime> = Envelope::of(&back).vertices().map(|(_, h)| h).collect();
    kept.extend(there.envelope.vertices().map(|(d, h)| backwards(d, h).1));
    let many = kept.len() > echoes.len() / 2;
    let mut others = 0;
    echoes.retain(|echo| {
        let touched = kept.contains(&echo.sent) || kept.contains(&echo.received);
        if touched && !many {
            return true;
        }
        others += 1;
        others % 2 == 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once a second; the delays repeat after a while.
    fn echoes(count: i64) -> Vec<Echo> {
        (0..count)
            .map(|i| {
                let device = i * 1_000_000_000;
                let (there, back) = (50_000 + i * 7919 % 400_000, 90_000 + i * 104_729 % 900_000);
                // The device's clock is 40 ppm slow.
                let host = device + i * 40_000;
                Echo {
                    sent: HostTime::from_nanos(host - there),
                    device: DeviceTime::from_nanos(device),
                    received: HostTime::from_nanos(host + back),
                }
            })
            .collect()
    }

    #[test]
    fn what_is_thinned_out_says_the_same() {
        let all = echoes(5_000);
        let mut kept = Vec::new();
        for &echo in &all {
            if kept.len() == 256 {
                thin(&mut kept);
            }
            kept.push(echo);
        }
        assert!((100..=256).contains(&kept.len()), "{}", kept.len());
        let line = |echoes: &[Echo]| {
            let there = There::new(echoes).expect("exchanges");
            let line = there.envelope.line();
            let (device, host) = there.touched(&line);
            let to_middle = (all[2_500].device - device).nanos();
            let stretch = (to_middle as f64 * line.slope) as i64;
            (line.slope * 1e6, (host.nanos() + to_middle + stretch))
        };
        let ((rate, height), (thin_rate, thin_height)) = (line(&all), line(&kept));
        assert!((rate - 40.0).abs() < 0.1, "{rate}");
        assert!((rate - thin_rate).abs() < 0.1, "{rate} {thin_rate}");
        assert!(
            (height - thin_height).abs() < 20_000,
            "{height} {thin_height}"
        );
    }

    #[test]
    fn exchanges_that_are_all_touched_are_thinned_too() {
        // A crystal that warms up: a parabola, which touches all its tangents.
        let mut bent: Vec<_> = echoes(256);
        for (i, echo) in bent.iter_mut().enumerate() {
            let device = echo.device.nanos();
            let host = HostTime::from_nanos(device + (i * i) as i64 * 1_000);
            (echo.sent, echo.received) = (host, host);
        }
        thin(&mut bent);
        assert!(bent.len() <= 160, "{}", bent.len());
    }
}
