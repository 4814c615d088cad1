//! Whether a tracker is still tracked, by what its program says of it.

use dexumi_episode::{Delta, DeviceTime, HostTime};

/// Without a change or a word for so long, a pose is not true any more.
const STALE: Delta = Delta::from_millis(300);

/// What became of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The same pose is said again and again.
    Frozen,
    /// Nothing is said.
    Silent,
    /// Tracked again.
    Fresh,
}

/// The last pose of a tracker, and since when it stands.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Position and quaternion, and when they were said first.
    last: Option<([f64; 7], DeviceTime)>,
    arrival: Option<HostTime>,
    stale: bool,
}

impl Freshness {
    /// Whether the last pose is to be believed.
    pub fn is_fresh(&self) -> bool {
        !self.stale
    }

    /// Takes a pose.
    pub fn take(&mut self, pose: [f64; 7], time: DeviceTime, arrival: HostTime) -> Option<Change> {
        self.arrival = Some(arrival);
        let was_stale = self.stale;
        match self.last {
            Some((last, since)) if last == pose => {
                // A program that was started anew has a clock that goes back.
                self.stale |= time - since >= STALE;
                (self.stale && !was_stale).then_some(Change::Frozen)
            }
            _ => {
                self.last = Some((pose, time));
                self.stale = false;
                was_stale.then_some(Change::Fresh)
            }
        }
    }

    /// Looks at the clock.
    pub fn watch(&mut self, now: HostTime) -> Option<Change> {
        let silent = self.arrival.is_some_and(|last| now - last >= STALE);
        (silent && !std::mem::replace(&mut self.stale, true)).then_some(Change::Silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> (DeviceTime, HostTime) {
        (
            DeviceTime::from_nanos(ms * 1_000_000),
            HostTime::from_nanos(5_000_000_000 + ms * 1_000_000),
        )
    }

    #[test]
    fn a_pose_that_stands_still_to_the_last_digit_is_frozen() {
        let mut freshness = Freshness::default();
        let mut take = |ms: i64, x: f64| {
            let (time, arrival) = at(ms);
            let pose = [x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
            (freshness.take(pose, time, arrival), freshness.is_fresh())
        };
        assert_eq!(take(0, 1.0), (None, true));
        assert_eq!(take(100, 1.0), (None, true));
        assert_eq!(take(200, 1.000001), (None, true), "noise is a change");
        assert_eq!(take(400, 1.000001), (None, true));
        assert_eq!(take(500, 1.000001), (Some(Change::Frozen), false));
        assert_eq!(take(600, 1.000001), (None, false), "said once");
        assert_eq!(take(700, 1.1), (Some(Change::Fresh), true));
    }

    #[test]
    fn a_pose_that_is_not_said_again_is_over() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.watch(at(0).1), None, "never seen, never lost");
        let pose = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        freshness.take(pose, at(0).0, at(0).1);
        assert_eq!(freshness.watch(at(299).1), None);
        assert_eq!(freshness.watch(at(300).1), Some(Change::Silent));
        assert_eq!(freshness.watch(at(900).1), None, "said once");
        assert!(!freshness.is_fresh());
    }
}
