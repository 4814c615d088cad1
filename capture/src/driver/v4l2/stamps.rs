//! Whether a stamp of the kernel can be true.

use dexumi_episode::{Delta, HostTime};

/// A stamp can be later than its arrival by as much where the kernel reckons it
/// back from the camera's clock.
const LATEST: Delta = Delta::from_millis(2);
/// It can be earlier by as much than its arrival, or than a stamp that was used: images
/// wait in the kernel for as long as this program is stopped.
const EARLIEST: Delta = Delta::from_millis(5_000);

/// Whether an image that came at `arrival` can have been taken at `stamp`; `last` is the
/// newest stamp that was used.
pub(super) fn is_possible(stamp: HostTime, arrival: HostTime, last: Option<HostTime>) -> bool {
    let since = last.map_or(arrival, |last| last.min(arrival));
    stamp - arrival <= LATEST && since - stamp <= EARLIEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_from_before_a_long_stop_holds_where_others_led_to_it() {
        let at = |millis: i64| HostTime::from_nanos(millis * 1_000_000);
        // Of another clock, or from the future.
        assert!(!is_possible(at(1_000), at(90_000), None));
        assert!(!is_possible(at(90_031), at(90_000), None));
        assert!(is_possible(at(89_967), at(90_000), None));
        // The program was stopped for a minute after an image of 89.967 s.
        assert!(is_possible(at(90_000), at(150_000), Some(at(89_967))));
        // One that the next had overtaken.
        assert!(is_possible(at(89_934), at(150_000), Some(at(89_967))));
        // No image waits from before those that were taken already.
        assert!(!is_possible(at(80_000), at(150_000), Some(at(89_967))));
    }
}
