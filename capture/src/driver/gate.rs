//! A gate against damage that a checksum cannot see: a sample is held against
//! its neighbours, two before and two after. Motion is smooth over a few
//! milliseconds; a flipped bit is not.

use std::collections::VecDeque;

/// Smallest contradiction between `value` at `t` and what its neighbours
/// predict: straight lines through the two before, the two after, and the pair
/// around it. A contact that sets in is on the line of those after it; a damaged
/// neighbour spoils its own predictions only. `None` with less than two
/// predictions. `difference(a, b)` is a − b, on the circle where values wrap.
pub fn contradiction(
    window: [Option<(f64, f64)>; 5],
    difference: impl Fn(f64, f64) -> f64,
) -> Option<f64> {
    let [before2, before1, this, after1, after2] = window;
    let (t, value) = this?;
    let line = |a: Option<(f64, f64)>, b: Option<(f64, f64)>| {
        let ((ta, va), (tb, vb)) = (a?, b?);
        let span = tb - ta;
        (span.abs() > 1e-9)
            .then(|| difference(value, va) - difference(vb, va) * (t - ta) / span)
            .map(f64::abs)
    };
    let predictions = [
        line(before2, before1),
        line(before1, after1),
        line(after1, after2),
    ];
    let known = predictions.iter().flatten().count();
    (known >= 2).then(|| {
        predictions
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min)
    })
}

/// Difference of two angles on a circle of 360.
pub fn circle_deg(a: f64, b: f64) -> f64 {
    (a - b + 180.0).rem_euclid(360.0) - 180.0
}

/// Difference on a circle of a 16-bit counter.
pub fn circle_u16(a: f64, b: f64) -> f64 {
    (a - b + 32768.0).rem_euclid(65536.0) - 32768.0
}

/// Holds samples back until two more have come.
#[derive(Debug)]
pub struct Lookahead<T> {
    items: VecDeque<T>,
    /// Index of the next item to be judged.
    next: usize,
}

impl<T> Default for Lookahead<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            next: 0,
        }
    }
}

impl<T: Clone> Lookahead<T> {
    /// Adds a sample.
    pub fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// The next sample with its neighbours as far as there are, once two have
    /// come after it, or at once when `flush`.
    pub fn judge<R>(
        &mut self,
        flush: bool,
        f: impl FnOnce([Option<&T>; 5]) -> R,
    ) -> Option<(T, R)> {
        let waiting = self.items.len() - self.next;
        if waiting == 0 || (waiting < 3 && !flush) {
            return None;
        }
        let at = |offset: isize| {
            self.next
                .checked_add_signed(offset)
                .and_then(|index| self.items.get(index))
        };
        let verdict = f([at(-2), at(-1), at(0), at(1), at(2)]);
        let item = self.items[self.next].clone();
        if self.next < 2 {
            self.next += 1;
        } else {
            self.items.pop_front();
        }
        Some((item, verdict))
    }

    /// Forgets the past, after a gap.
    pub fn clear(&mut self) {
        self.items.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(values: [f64; 5]) -> [Option<(f64, f64)>; 5] {
        std::array::from_fn(|i| Some((i as f64, values[i])))
    }

    fn plain(a: f64, b: f64) -> f64 {
        a - b
    }

    #[test]
    fn a_spike_stands_out_and_a_step_does_not() {
        assert!(
            contradiction(window([0.0, 1.0, 50.0, 3.0, 4.0]), plain).expect("neighbours") > 40.0
        );
        assert_eq!(
            contradiction(window([0.0, 0.0, 50.0, 50.0, 50.0]), plain),
            Some(0.0)
        );
        assert_eq!(
            contradiction(window([0.0, 0.0, 0.0, 50.0, 50.0]), plain),
            Some(0.0)
        );
    }

    #[test]
    fn one_damaged_neighbour_does_not_condemn_a_good_sample() {
        assert_eq!(
            contradiction(window([0.0, 99.0, 2.0, 3.0, 4.0]), plain),
            Some(0.0)
        );
        assert_eq!(
            contradiction(window([0.0, 1.0, 2.0, 99.0, 4.0]), plain),
            Some(0.0)
        );
    }

    proptest! {
        #[test]
        fn every_sample_comes_out_once_and_in_order(count in 0_usize..50) {
            let mut lookahead = Lookahead::default();
            let mut out = Vec::new();
            for item in 0..count {
                lookahead.push(item);
                while let Some((item, ())) = lookahead.judge(false, |_| ()) {
                    out.push(item);
                }
            }
            while let Some((item, ())) = lookahead.judge(true, |_| ()) {
                out.push(item);
            }
            prop_assert_eq!(out, (0..count).collect::<Vec<_>>());
        }

        #[test]
        fn the_turn_of_a_circle_is_no_jump(a in 0.0..360.0_f64, d in -5.0..5.0_f64) {
            prop_assert!((circle_deg((a + d).rem_euclid(360.0), a) - d).abs() < 1e-9);
        }
    }
}
