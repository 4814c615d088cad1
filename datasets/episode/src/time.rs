//! Times of different clocks are different types; only a [`ClockFit`](crate::ClockFit)
//! or a [`SessionAnchor`] leads from one to another.
//!
//! ```compile_fail
//! use dexumi_episode::{DeviceTime, HostTime};
//! let wrong = HostTime::from_nanos(5) - DeviceTime::from_nanos(3);
//! ```

use std::ops::{Add, Sub};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A signed difference of two times of one clock, in nanoseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Delta(i64);

impl Delta {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }

    /// From seconds; saturates at the ends of the range.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9).round() as i64)
    }

    /// In nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// In seconds.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// Without its sign.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

impl Add for Delta {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Delta {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

macro_rules! clock_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// From nanoseconds of this clock.
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// In nanoseconds of this clock.
            pub const fn nanos(self) -> i64 {
                self.0
            }
        }

        impl Sub for $name {
            type Output = Delta;
            fn sub(self, other: Self) -> Delta {
                Delta(self.0.saturating_sub(other.0))
            }
        }

        impl Add<Delta> for $name {
            type Output = Self;
            fn add(self, delta: Delta) -> Self {
                Self(self.0.saturating_add(delta.0))
            }
        }

        impl Sub<Delta> for $name {
            type Output = Self;
            fn sub(self, delta: Delta) -> Self {
                Self(self.0.saturating_sub(delta.0))
            }
        }
    };
}

clock_type! {
    /// A device's own clock: its ticks, unwrapped, scaled to nanoseconds. Its
    /// zero means nothing outside the device, its second is not quite a second.
    DeviceTime
}
clock_type! {
    /// CLOCK_MONOTONIC of the recording computer, taken at the read call.
    HostTime
}
clock_type! {
    /// The session clock: host monotonic time plus one UNIX anchor taken at the
    /// start of the session, so that it reads like UNIX time and never jumps.
    SessionTime
}

impl HostTime {
    /// Now, by CLOCK_MONOTONIC.
    pub fn now() -> Self {
        Self(nanos_of(ClockId::CLOCK_MONOTONIC))
    }
}

/// The one pair of clock readings that ties a session's host time to UNIX time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionAnchor {
    /// CLOCK_MONOTONIC at the anchor [ns].
    pub host_time_ns: i64,
    /// CLOCK_REALTIME at the anchor [ns since the UNIX epoch].
    pub unix_time_ns: i64,
    /// Half the width of the tightest sandwich of the two readings [ns].
    pub uncertainty_ns: i64,
}

impl SessionAnchor {
    /// Reads both clocks, keeping the tightest of nine sandwiches.
    pub fn now() -> Self {
        (0..9)
            .map(|_| {
                let before = nanos_of(ClockId::CLOCK_MONOTONIC);
                let unix = nanos_of(ClockId::CLOCK_REALTIME);
                let after = nanos_of(ClockId::CLOCK_MONOTONIC);
                let half = (after - before) / 2;
                Self {
                    host_time_ns: before + half,
                    unix_time_ns: unix,
                    uncertainty_ns: half,
                }
            })
            .min_by_key(|anchor| anchor.uncertainty_ns)
            .expect("nine readings were taken")
    }

    /// Host time on the session clock.
    pub fn to_session(&self, host: HostTime) -> SessionTime {
        SessionTime(
            host.0
                .saturating_sub(self.host_time_ns)
                .saturating_add(self.unix_time_ns),
        )
    }

    /// Session time on the host clock.
    pub fn to_host(&self, session: SessionTime) -> HostTime {
        HostTime(
            session
                .0
                .saturating_sub(self.unix_time_ns)
                .saturating_add(self.host_time_ns),
        )
    }
}

fn nanos_of(clock: ClockId) -> i64 {
    let now = clock_gettime(clock).expect("POSIX clocks are always readable");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

/// Unwraps a device counter of `bits` bits, with host time choosing the wrap.
#[derive(Debug, Clone)]
pub struct TickUnwrapper {
    modulus: i64,
    tick_ns: i64,
    last: Option<(i64, HostTime)>,
}

impl TickUnwrapper {
    /// For a counter of `bits` bits (at most 62) and `tick_ns` nanoseconds a tick.
    pub fn new(bits: u32, tick_ns: i64) -> Self {
        Self {
            modulus: 1_i64 << bits.min(62),
            tick_ns,
            last: None,
        }
    }

    /// Device time of a counter value that arrived at `host`: of all times with
    /// these low bits the one nearest to what the host clock makes likely.
    pub fn unwrap(&mut self, ticks: u64, host: HostTime) -> DeviceTime {
        let unwrapped = self.peek(ticks, host);
        self.last = Some((unwrapped, host));
        DeviceTime(unwrapped.saturating_mul(self.tick_ns))
    }

    /// As [`unwrap`](Self::unwrap), for a counter that is not to be trusted: it
    /// does not become the base of the next.
    pub fn unwrap_untrusted(&self, ticks: u64, host: HostTime) -> DeviceTime {
        DeviceTime(self.peek(ticks, host).saturating_mul(self.tick_ns))
    }

    fn peek(&self, ticks: u64, host: HostTime) -> i64 {
        let low = (ticks % self.modulus as u64) as i64;
        match self.last {
            None => low,
            Some((last, last_host)) => {
                let expected = last + (host - last_host).nanos() / self.tick_ns;
                let ahead = (low - expected).rem_euclid(self.modulus);
                let offset = if ahead >= self.modulus / 2 {
                    ahead - self.modulus
                } else {
                    ahead
                };
                expected + offset
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_session_clock_survives_a_round_trip() {
        let anchor = SessionAnchor::now();
        let host = HostTime::now();
        assert_eq!(anchor.to_host(anchor.to_session(host)), host);
        assert!(anchor.uncertainty_ns >= 0);
    }

    proptest! {
        #[test]
        fn a_wrapping_counter_unwraps_to_the_true_time(
            start in 0_i64..1_000_000,
            steps in proptest::collection::vec((1_i64..30_000, -2_000_000_i64..30_000_000), 1..200),
        ) {
            // Up to 30 s between samples and 30 ms late: less than half of the 65.5 s wrap.
            let mut unwrapper = TickUnwrapper::new(16, 1_000_000);
            let mut tick = start;
            let first = unwrapper.unwrap((tick as u64) & 0xFFFF, HostTime(tick * 1_000_000));
            let base = tick - first.nanos() / 1_000_000;
            for (advance, late) in steps {
                tick += advance;
                let host = HostTime(tick * 1_000_000 + late);
                let got = unwrapper.unwrap((tick as u64) & 0xFFFF, host);
                prop_assert_eq!(got.nanos() / 1_000_000 + base, tick);
            }
        }
    }
}
