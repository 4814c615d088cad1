//! In which order numbered samples came, and what is missing between them.

/// A sample that comes so much after its successors is late; older numbers than
/// that are those of a source that started anew [ns].
const LATEST_NS: i64 = 1_000_000_000;
/// A longer jump of the number is no loss: the source was set to something else.
const LONGEST_GAP: i64 = 10_000;
/// So many late ones on end, each the next of the one before, are a new count.
const LATE_RUN: u32 = 5;

/// The last sample that was taken.
#[derive(Debug)]
pub struct Order {
    /// Width of the number.
    bits: u32,
    /// Its number, and the source's time of it [ns].
    last: Option<(u64, Option<i64>)>,
    /// Samples that could not be read since: they are not missing besides.
    unread: u64,
    /// Number of the last late one, and how many came on end.
    late: Option<(u64, u32)>,
}

/// What a sample is in the sequence.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A new one; so many are missing before it.
    Next {
        /// How many.
        missing: u64,
    },
    /// The same again.
    Repeated,
    /// One that newer ones have overtaken.
    Late,
    /// The source counts anew.
    Restarted,
}

impl Order {
    /// For numbers of so many bits, which then wrap.
    pub fn new(bits: u32) -> Self {
        Self {
            bits,
            last: None,
            unread: 0,
            late: None,
        }
    }

    /// Something came that could not be read.
    pub fn unreadable(&mut self) {
        self.unread += 1;
    }

    /// Places a sample by its number; its time on the source's clock, where it has
    /// one, tells a late one from one of a new count.
    pub fn place(&mut self, number: u64, time_ns: Option<i64>) -> Place {
        let place = match self.last {
            None => Place::Next { missing: 0 },
            Some((last, last_ns)) => {
                // Of numbers that wrap, the shorter way round.
                let unused = 64 - self.bits.min(64);
                let step = (number.wrapping_sub(last) << unused) as i64 >> unused;
                let behind_ns = last_ns
                    .zip(time_ns)
                    .map(|(last, this)| last.saturating_sub(this));
                let is_late = behind_ns.is_none_or(|behind| (0..LATEST_NS).contains(&behind));
                match step {
                    0 => Place::Repeated,
                    1..LONGEST_GAP => Place::Next {
                        missing: (step as u64 - 1).saturating_sub(self.unread),
                    },
                    _ if step < 0 && step > -LONGEST_GAP && is_late => self.late(number),
                    _ => Place::Restarted,
                }
            }
        };
        if matches!(place, Place::Next { .. } | Place::Restarted) {
            self.last = Some((number, time_ns));
            self.unread = 0;
            self.late = None;
        }
        place
    }

    fn late(&mut self, number: u64) -> Place {
        let run = match self.late {
            Some((last, run)) if number == last.wrapping_add(1) => run + 1,
            _ => 1,
        };
        self.late = Some((number, run));
        if run < LATE_RUN {
            Place::Late
        } else {
            Place::Restarted
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn late_is_not_restarted() {
        let mut order = Order::new(32);
        let mut place = |number, ms: i64| order.place(number, Some(ms * MS));
        assert_eq!(place(500, 1000), Place::Next { missing: 0 });
        assert_eq!(place(503, 1012), Place::Next { missing: 2 });
        assert_eq!(place(502, 1008), Place::Late);
        assert_eq!(place(503, 1012), Place::Repeated);
        // Motive was started anew, on a computer that went on.
        assert_eq!(place(0, 9000), Place::Restarted);
        assert_eq!(place(1, 9004), Place::Next { missing: 0 });
        // Its computer too.
        assert_eq!(place(0, 50), Place::Restarted);
    }

    #[test]
    fn what_could_not_be_read_is_not_missing() {
        let mut order = Order::new(32);
        order.place(3, None);
        order.unreadable();
        assert_eq!(order.place(2, None), Place::Late);
        assert_eq!(order.place(5, None), Place::Next { missing: 0 });
    }

    #[test]
    fn times_at_both_ends_of_the_range_are_placed() {
        let mut order = Order::new(64);
        order.place(7, Some(i64::MAX));
        assert_eq!(order.place(6, Some(i64::MIN)), Place::Restarted);
        assert_eq!(order.place(5, Some(i64::MAX)), Place::Restarted);
    }

    #[test]
    fn without_times_a_new_count_shows_by_going_on() {
        let mut order = Order::new(64);
        order.place(700, None);
        let places: Vec<Place> = (0..6).map(|number| order.place(number, None)).collect();
        assert_eq!(places[..4], [(); 4].map(|()| Place::Late));
        assert_eq!(places[4..], [Place::Restarted, Place::Next { missing: 0 }]);
    }

    proptest! {
        #[test]
        fn every_number_is_taken_or_missing(
            start in prop_oneof![0_u32..100, (u32::MAX - 50)..=u32::MAX],
            steps in proptest::collection::vec(1_u32..20, 1..60),
        ) {
            let mut order = Order::new(32);
            let (mut number, mut taken, mut lost, mut total) = (start, 1, 0, 1);
            order.place(number.into(), None);
            for (i, step) in steps.into_iter().enumerate() {
                number = number.wrapping_add(step);
                total += u64::from(step);
                match order.place(number.into(), Some((i as i64 + 1) * MS)) {
                    Place::Next { missing } => {
                        taken += 1;
                        lost += missing;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(taken + lost, total);
        }
    }
}
