//! In which order frames of data came, and what is missing between them.

/// A datagram that comes so much after its successors is late; older numbers
/// than that are those of a server that started anew [ns].
const LATEST_NS: i64 = 1_000_000_000;
/// A longer jump of the number is no loss: the server was set to something else.
const LONGEST_GAP: i32 = 10_000;

/// The last frame that was taken.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Its number, and the server's time of sending it [ns].
    last: Option<(i32, i64)>,
    /// Packets that could not be read since: they are not missing besides.
    unread: u64,
}

/// What a frame is in the sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A new one; so many are missing before it.
    Next { missing: u64 },
    /// The same again.
    Repeated,
    /// One that newer ones have overtaken.
    Late,
    /// The server counts anew.
    Restarted,
}

impl Order {
    /// A packet came that could not be read.
    pub fn unreadable(&mut self) {
        self.unread += 1;
    }

    pub fn place(&mut self, number: i32, sent_ns: i64) -> Place {
        let unread = std::mem::take(&mut self.unread);
        let place = match self.last {
            None => Place::Next { missing: 0 },
            Some((last, last_ns)) => {
                let step = number.wrapping_sub(last);
                let behind_ns = last_ns - sent_ns;
                if step == 0 {
                    Place::Repeated
                } else if (1..LONGEST_GAP).contains(&step) {
                    let missing = (step as u64 - 1).saturating_sub(unread);
                    Place::Next { missing }
                } else if step < 0 && (0..LATEST_NS).contains(&behind_ns) {
                    Place::Late
                } else {
                    Place::Restarted
                }
            }
        };
        if matches!(place, Place::Next { .. } | Place::Restarted) {
            self.last = Some((number, sent_ns));
        } else {
            self.unread = unread;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn late_is_not_restarted() {
        let mut order = Order::default();
        assert_eq!(order.place(500, 1000 * MS), Place::Next { missing: 0 });
        assert_eq!(order.place(503, 1012 * MS), Place::Next { missing: 2 });
        assert_eq!(order.place(502, 1008 * MS), Place::Late);
        assert_eq!(order.place(503, 1012 * MS), Place::Repeated);
        order.unreadable();
        assert_eq!(order.place(505, 1020 * MS), Place::Next { missing: 0 });
        // Motive was started anew, on a computer that went on.
        assert_eq!(order.place(0, 9000 * MS), Place::Restarted);
        assert_eq!(order.place(1, 9004 * MS), Place::Next { missing: 0 });
        // Its computer too.
        assert_eq!(order.place(0, 50 * MS), Place::Restarted);
    }

    proptest! {
        #[test]
        fn every_number_is_taken_or_missing(
            start in prop_oneof![0_i32..100, (i32::MAX - 50)..=i32::MAX],
            steps in proptest::collection::vec(1_i32..20, 1..60),
        ) {
            let mut order = Order::default();
            let (mut number, mut taken, mut lost, mut total) = (start, 1, 0, 1);
            order.place(number, 0);
            for (i, step) in steps.into_iter().enumerate() {
                number = number.wrapping_add(step);
                total += u64::from(step as u32);
                match order.place(number, (i as i64 + 1) * MS) {
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
