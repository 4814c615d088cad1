//! Images in the order of the kernel's numbers, and how many are missing between them.
//!
//! `uvcvideo` copies images on all processors at once and hands each over when its own
//! copies are done: on a busy computer one may be overtaken by the next, or by the next
//! three. So an image whose predecessor has not come waits for it a little. Its stamps
//! stay as they are.

use std::collections::{BTreeMap, VecDeque};

use dexumi_episode::{Delta, HostTime};

/// A missing image is given up when so many later ones are there …
const OVERTAKING: usize = 8;
/// … or when the first of these has waited so long.
const PATIENCE: Delta = Delta::from_millis(200);
/// So far back a number can be that of one that was overtaken.
const FURTHEST: u64 = 16;
/// So many numbers that were given up are remembered.
const GIVEN_UP: usize = 64;
/// No camera takes more than so many times the images that it is set to …
const FASTEST: f64 = 2.0;
/// … but a computer that stood still stamps those of so long at once [s].
const LONGEST_BURST_S: f64 = 1.0;

/// The kernel's numbers of images, which count those that were lost as well.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    fps: f64,
    /// The newest one, as the kernel numbers it and without wraps, with its time.
    newest: Option<(u32, u64, HostTime)>,
    /// How many more images could have been taken by then, beside that one.
    credit: f64,
    /// The last one that was let go, without wraps.
    last: Option<u64>,
    /// Those that wait for one before them, and since when.
    held: BTreeMap<u64, (HostTime, T)>,
    /// Those in order, ready to be taken.
    ready: VecDeque<Numbered<T>>,
    given_up: VecDeque<u64>,
}

/// An image in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbered<T> {
    /// Its number, without wraps.
    pub number: u64,
    /// So many are missing before it.
    pub missing: u64,
    pub image: T,
}

/// What a number says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on from those before.
    On,
    /// It does not follow from those before: counted on from them.
    Anew,
    /// It is one that was given up and is counted as missing: too late to be used.
    TooLate,
}

impl<T> Numbers<T> {
    /// Of a camera at this rate.
    pub(super) fn new(fps: f64) -> Self {
        Self {
            fps,
            newest: None,
            credit: fps * LONGEST_BURST_S,
            last: None,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            given_up: VecDeque::new(),
        }
    }

    /// Takes the next image: as the kernel numbers it, and when it was taken.
    pub(super) fn push(&mut self, sequence: u32, at: HostTime, now: HostTime, image: T) -> Step {
        let Some((newest, count, then)) = self.newest else {
            self.newest = Some((sequence, u64::from(sequence), at));
            self.hold(u64::from(sequence), now, image);
            return Step::On;
        };
        let ahead = i64::from(sequence.wrapping_sub(newest).cast_signed());
        let seconds = (at - then).secs_f64().max(0.0);
        let credit = self.credit + FASTEST * self.fps * seconds - ahead as f64;
        let number = count.checked_add_signed(ahead);
        let step = match number {
            Some(number) if ahead > 0 && credit >= 0.0 => {
                self.credit = credit.min(self.fps * LONGEST_BURST_S);
                self.newest = Some((sequence, number, at.max(then)));
                self.hold(number, now, image);
                return Step::On;
            }
            // A driver that does not count gives the same number again and again.
            _ if ahead == 0 => Step::On,
            Some(number) if self.given_up.contains(&number) => return Step::TooLate,
            // Overtaken by those that wait for it.
            Some(number)
                if ahead < 0
                    && number >= self.expected()
                    && number + FURTHEST >= count
                    && !self.held.contains_key(&number) =>
            {
                self.hold(number, now, image);
                return Step::On;
            }
            _ => Step::Anew,
        };
        self.flush();
        self.newest = Some((sequence, count + 1, at));
        self.hold(count + 1, now, image);
        step
    }

    /// The next image in order, once nothing before it is waited for any more.
    pub(super) fn pop(&mut self, now: HostTime) -> Option<Numbered<T>> {
        let patient = |(since, _): &(HostTime, T)| now - *since <= PATIENCE;
        while self.held.len() >= OVERTAKING || !self.held.values().all(patient) {
            self.let_go();
            self.follow();
        }
        self.ready.pop_front()
    }

    /// No more images come: those that wait are ready.
    pub(super) fn flush(&mut self) {
        while !self.held.is_empty() {
            self.let_go();
        }
    }

    fn hold(&mut self, number: u64, now: HostTime, image: T) {
        self.held.insert(number, (now, image));
        self.follow();
    }

    /// The number that would follow directly. The kernel begins with 0, and the first
    /// two may be swapped as well.
    fn expected(&self) -> u64 {
        self.last.map_or(0, |last| last + 1)
    }

    /// Lets go of what follows directly.
    fn follow(&mut self) {
        while let Some((&number, _)) = self.held.first_key_value()
            && number == self.expected()
        {
            self.let_go();
        }
    }

    /// Lets go of the first that waits.
    fn let_go(&mut self) {
        let Some((number, (_, image))) = self.held.pop_first() else {
            return;
        };
        // What was before the first one is not missed.
        let absent = self.last.map_or(number, |last| last + 1)..number;
        let missing = absent.end - absent.start;
        let recent = absent.start.max(absent.end.saturating_sub(GIVEN_UP as u64));
        self.given_up.extend(recent..absent.end);
        let excess = self.given_up.len().saturating_sub(GIVEN_UP);
        self.given_up.drain(..excess);
        self.last = Some(number);
        self.ready.push_back(Numbered {
            number,
            missing,
            image,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD_NS: i64 = 33_333_333;

    fn at(image: i64) -> HostTime {
        HostTime::from_nanos(image * PERIOD_NS)
    }

    /// Pushes an image that was taken, and came, at the time of `due`.
    fn push(numbers: &mut Numbers<i64>, sequence: u32, due: i64) -> Step {
        numbers.push(sequence, at(due), at(due), due)
    }

    /// All that is ready: number, missing before it, image.
    fn ready(numbers: &mut Numbers<i64>, now: HostTime) -> Vec<(u64, u64, i64)> {
        std::iter::from_fn(|| numbers.pop(now))
            .map(|next| (next.number, next.missing, next.image))
            .collect()
    }

    #[test]
    fn what_follows_waits_for_nothing() {
        let mut numbers = Numbers::new(30.0);
        for due in 0..5 {
            assert_eq!(push(&mut numbers, due as u32, due), Step::On);
            assert_eq!(ready(&mut numbers, at(due)), [(due as u64, 0, due)]);
        }
    }

    #[test]
    fn what_was_before_the_first_one_is_not_missed() {
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, 7, 7);
        // It may have overtaken the true first one, as here.
        assert_eq!(ready(&mut numbers, at(7)), []);
        push(&mut numbers, 6, 6);
        push(&mut numbers, 8, 8);
        assert_eq!(
            ready(&mut numbers, at(14)),
            [(6, 0, 6), (7, 0, 7), (8, 0, 8)]
        );
    }

    #[test]
    fn numbers_tell_exactly_what_is_missing() {
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, 0, 0);
        assert_eq!(ready(&mut numbers, at(0)), [(0, 0, 0)]);
        push(&mut numbers, 6, 6);
        // It may have overtaken the others.
        assert_eq!(ready(&mut numbers, at(6)), []);
        push(&mut numbers, 7, 7);
        assert_eq!(ready(&mut numbers, at(7)), []);
        push(&mut numbers, 8, 8);
        assert_eq!(
            ready(&mut numbers, at(13)),
            [(6, 5, 6), (7, 0, 7), (8, 0, 8)]
        );
        // Over the end of 32 bits.
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, u32::MAX, 0);
        push(&mut numbers, 1, 2);
        numbers.flush();
        let end = u64::from(u32::MAX);
        assert_eq!(ready(&mut numbers, at(2)), [(end, 0, 0), (end + 2, 1, 2)]);
    }

    #[test]
    fn nothing_waits_longer_than_a_moment() {
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, 0, 1);
        push(&mut numbers, 2, 3);
        let early = at(3) + PATIENCE;
        assert_eq!(ready(&mut numbers, early), [(0, 0, 1)]);
        let late = early + Delta::from_millis(1);
        assert_eq!(ready(&mut numbers, late), [(2, 1, 3)]);
    }

    #[test]
    fn two_that_were_swapped_come_in_order_and_nothing_is_missing() {
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, 0, 0);
        push(&mut numbers, 1, 1);
        assert_eq!(push(&mut numbers, 3, 3), Step::On);
        assert_eq!(push(&mut numbers, 2, 2), Step::On);
        assert_eq!(push(&mut numbers, 4, 4), Step::On);
        assert_eq!(
            ready(&mut numbers, at(4)),
            [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4)]
        );
        // Overtaken by two, one of which is missing besides.
        push(&mut numbers, 7, 7);
        push(&mut numbers, 8, 8);
        assert_eq!(push(&mut numbers, 5, 5), Step::On);
        assert_eq!(ready(&mut numbers, at(8)), [(5, 0, 5)]);
        push(&mut numbers, 9, 9);
        assert_eq!(
            ready(&mut numbers, at(14)),
            [(7, 1, 7), (8, 0, 8), (9, 0, 9)]
        );
    }

    /// As it came from the kernel on a busy computer, which had stood still: one is
    /// overtaken by three, and the stamps of all lie within milliseconds.
    #[test]
    fn a_burst_in_disorder_is_no_new_count() {
        let mut numbers = Numbers::new(30.0);
        let burst = |number: i64| HostTime::from_nanos(9 * PERIOD_NS + number * 100_000);
        for due in 0..9 {
            push(&mut numbers, due as u32, due);
        }
        for number in [13, 14, 10, 11, 9, 12, 15] {
            let time = burst(number);
            assert_eq!(
                numbers.push(number as u32, time, burst(15), number),
                Step::On
            );
        }
        let given = ready(&mut numbers, burst(15));
        let expected: Vec<_> = (0..16).map(|due| (due as u64, 0, due)).collect();
        assert_eq!(given, expected);
    }

    #[test]
    fn one_that_was_given_up_is_no_new_count_and_not_counted_twice() {
        let mut numbers = Numbers::new(30.0);
        for due in (0..11).filter(|&due| due != 2) {
            push(&mut numbers, due as u32, due);
        }
        assert_eq!(ready(&mut numbers, at(4)).len(), 10);
        assert_eq!(push(&mut numbers, 2, 2), Step::TooLate);
        assert_eq!(push(&mut numbers, 11, 11), Step::On);
        assert_eq!(ready(&mut numbers, at(11)), [(11, 0, 11)]);
    }

    #[test]
    fn a_count_that_does_not_follow_is_no_loss() {
        let mut numbers = Numbers::new(30.0);
        push(&mut numbers, 500, 0);
        assert_eq!(push(&mut numbers, 0, 1), Step::Anew);
        assert_eq!(push(&mut numbers, 1, 2), Step::On);
        // One that never counts.
        assert_eq!(push(&mut numbers, 1, 3), Step::On);
        assert_eq!(push(&mut numbers, 1_000_000, 4), Step::Anew);
        // A new count soon after the first one is no swap.
        assert_eq!(push(&mut numbers, 999_999, 5), Step::Anew);
        let missing: u64 = ready(&mut numbers, at(5)).iter().map(|next| next.1).sum();
        assert_eq!(missing, 0);
        assert!(numbers.held.is_empty());
    }

    proptest! {
        /// Whatever is lost, and whoever is overtaken by up to three others: every image that
        /// came is given once, in order, and each lost one is counted once.
        #[test]
        fn nothing_is_lost_or_doubled(
            first in 0..u32::MAX - 200,
            lost in proptest::collection::vec(proptest::bool::weighted(0.2), 3..120),
            swaps in proptest::collection::vec((0_usize..120, 1_usize..=3), 0..20),
        ) {
            let mut order: Vec<i64> = (0..lost.len() as i64).filter(|&due| !lost[due as usize]).collect();
            prop_assume!(order.len() > 4);
            let mut moved = 0;
            for (place, by) in swaps {
                // Apart, so that none is overtaken by more than three.
                let place = moved + place % 4;
                if place + by >= order.len() {
                    break;
                }
                let late = order.remove(place);
                order.insert(place + by, late);
                moved = place + by + 1;
            }
            let mut numbers = Numbers::new(30.0);
            let mut given = Vec::new();
            for (step, &due) in order.iter().enumerate() {
                let now = at(step as i64);
                let said = numbers.push(first.wrapping_add(due as u32), at(due), now, due);
                prop_assert_eq!(said, Step::On);
                given.extend(ready(&mut numbers, now));
            }
            numbers.flush();
            given.extend(ready(&mut numbers, at(lost.len() as i64)));
            let images: Vec<i64> = given.iter().map(|next| next.2).collect();
            let mut expected = order.clone();
            expected.sort_unstable();
            prop_assert_eq!(&images, &expected);
            let missing: u64 = given.iter().map(|next| next.1).sum();
            let span = images[images.len() - 1] - images[0] + 1;
            prop_assert_eq!(missing, span as u64 - images.len() as u64);
        }
    }
}
