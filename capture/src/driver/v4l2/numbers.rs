//! Which images are missing, by the kernel's numbers.

use dexumi_episode::HostTime;

/// The kernel's numbers of images, which count those that were lost as well.
#[derive(Debug)]
pub(super) struct Numbers {
    fps: f64,
    last: Option<(u32, HostTime)>,
    /// Without its wraps.
    pub(super) count: u64,
}

/// From one image to the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many are missing between them.
    On(u64),
    /// The count does not follow from the one before.
    Anew,
}

impl Numbers {
    /// Of a camera at this rate.
    pub(super) fn new(fps: f64) -> Self {
        Self {
            fps,
            last: None,
            count: 0,
        }
    }

    /// Takes the next image.
    pub(super) fn next(&mut self, sequence: u32, at: HostTime) -> Step {
        let Some((last, then)) = self.last.replace((sequence, at)) else {
            self.count = u64::from(sequence);
            return Step::On(0);
        };
        let step = u64::from(sequence.wrapping_sub(last));
        // A driver that does not count gives the same number again and again.
        if step == 0 {
            self.count += 1;
            return Step::On(0);
        }
        // No camera takes twice as many images as it is set to.
        let possible = (2.0 * self.fps * (at - then).secs_f64().abs()).ceil() + 2.0;
        if step as f64 > possible {
            self.count += 1;
            return Step::Anew;
        }
        self.count += step;
        Step::On(step - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_exactly_what_is_missing() {
        let mut numbers = Numbers::new(30.0);
        let at = |image: i64| HostTime::from_nanos(image * 33_333_333);
        assert_eq!(numbers.next(7, at(0)), Step::On(0));
        assert_eq!(numbers.next(8, at(1)), Step::On(0));
        assert_eq!(numbers.next(14, at(7)), Step::On(5));
        assert_eq!(numbers.count, 14);
        // Over the end of 32 bits.
        let mut numbers = Numbers::new(30.0);
        numbers.next(u32::MAX, at(0));
        assert_eq!(numbers.next(1, at(2)), Step::On(1));
        assert_eq!(numbers.count, u64::from(u32::MAX) + 2);
    }

    #[test]
    fn a_count_that_does_not_follow_is_no_loss() {
        let mut numbers = Numbers::new(30.0);
        let at = |image: i64| HostTime::from_nanos(image * 33_333_333);
        numbers.next(500, at(0));
        assert_eq!(numbers.next(0, at(1)), Step::Anew);
        assert_eq!(numbers.next(1, at(2)), Step::On(0));
        // One that never counts.
        assert_eq!(numbers.next(1, at(3)), Step::On(0));
        assert_eq!(numbers.next(1_000_000, at(4)), Step::Anew);
    }
}
