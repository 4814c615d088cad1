//! Puts images together from their fragments, which may come in any order, before
//! or after the moment that they belong to.

use std::collections::BTreeMap;

use bytes::Bytes;
use dexumi_episode::HostTime;

use super::packet::{Fragment, MAX_IMAGE_BYTES, Moment};

/// Images on their way at once; an older one will not be completed any more.
const PENDING: usize = 6;
/// And none takes longer [ns].
const PATIENCE_NS: i64 = 500_000_000;

/// An image on its way.
#[derive(Debug)]
struct Pending {
    sequence: u32,
    moment: Option<Moment>,
    /// By where they lie.
    parts: BTreeMap<u32, Bytes>,
    bytes: u64,
    since: HostTime,
}

/// A whole image, or one that will never be.
#[derive(Debug, PartialEq)]
pub enum Done {
    /// All its fragments came.
    Whole {
        /// What it belongs to.
        moment: Moment,
        /// The image.
        jpeg: Bytes,
    },
    /// Some of its fragments are missing.
    Incomplete,
}

/// Images on their way. Holds no more than [`PENDING`] of the largest size.
#[derive(Debug, Default)]
pub struct Images {
    /// By age.
    pending: Vec<Pending>,
    /// Last one that is done with.
    done: Option<u32>,
}

impl Images {
    /// Forgets all: the phone has begun anew. What was on its way is incomplete.
    pub fn restart(&mut self) -> Vec<Done> {
        self.done = None;
        let pending = std::mem::take(&mut self.pending);
        pending.iter().filter_map(given_up).collect()
    }

    /// Takes a moment that has an image.
    pub fn moment(&mut self, moment: Moment, now: HostTime) -> Vec<Done> {
        let mut done = self.make_room(moment.sequence, now);
        if let Some(pending) = self.pending(moment.sequence, now) {
            pending.moment = Some(moment);
        }
        done.extend(self.finish(moment.sequence));
        done
    }

    /// Takes a fragment.
    pub fn fragment(&mut self, fragment: Fragment, now: HostTime) -> Vec<Done> {
        let mut done = self.make_room(fragment.sequence, now);
        let end = u64::from(fragment.offset) + fragment.bytes.len() as u64;
        if end <= u64::from(MAX_IMAGE_BYTES)
            && let Some(pending) = self.pending(fragment.sequence, now)
            && !pending.parts.contains_key(&fragment.offset)
            && pending.bytes + fragment.bytes.len() as u64 <= u64::from(MAX_IMAGE_BYTES)
        {
            pending.bytes += fragment.bytes.len() as u64;
            pending.parts.insert(fragment.offset, fragment.bytes);
        }
        done.extend(self.finish(fragment.sequence));
        done
    }

    /// Gives up what is too old.
    pub fn expire(&mut self, now: HostTime) -> Vec<Done> {
        let old = |pending: &Pending| (now - pending.since).nanos() > PATIENCE_NS;
        let count = self
            .pending
            .iter()
            .take_while(|pending| old(pending))
            .count();
        self.give_up(count)
    }

    fn give_up(&mut self, count: usize) -> Vec<Done> {
        let gone: Vec<Pending> = self.pending.drain(..count).collect();
        if let Some(last) = gone.last() {
            self.done = Some(last.sequence);
        }
        gone.iter().filter_map(given_up).collect()
    }

    /// The image of a number; `None` where it is done with.
    fn pending(&mut self, sequence: u32, now: HostTime) -> Option<&mut Pending> {
        let is_done = |done: u32| sequence.wrapping_sub(done).cast_signed() <= 0;
        if self.done.is_some_and(is_done) {
            return None;
        }
        let ahead = |pending: &Pending| pending.sequence.wrapping_sub(sequence).cast_signed() >= 0;
        let at = self
            .pending
            .iter()
            .position(ahead)
            .unwrap_or(self.pending.len());
        if self
            .pending
            .get(at)
            .is_none_or(|pending| pending.sequence != sequence)
        {
            self.pending.insert(
                at,
                Pending {
                    sequence,
                    moment: None,
                    parts: BTreeMap::new(),
                    bytes: 0,
                    since: now,
                },
            );
        }
        Some(&mut self.pending[at])
    }

    fn make_room(&mut self, sequence: u32, now: HostTime) -> Vec<Done> {
        let mut done = self.expire(now);
        let known = self
            .pending
            .iter()
            .any(|pending| pending.sequence == sequence);
        if !known && self.pending.len() == PENDING {
            done.extend(self.give_up(1));
        }
        done
    }

    /// The image, if it is whole now; those before it will not be.
    fn finish(&mut self, sequence: u32) -> Vec<Done> {
        let at = self
            .pending
            .iter()
            .position(|pending| pending.sequence == sequence);
        let Some((at, moment)) = at.and_then(|at| Some((at, self.pending[at].moment?))) else {
            return Vec::new();
        };
        if self.pending[at].bytes < u64::from(moment.image_bytes) {
            return Vec::new();
        }
        let mut done = self.give_up(at);
        let whole = self.pending.remove(0);
        self.done = Some(sequence);
        done.push(match together(&whole.parts, moment.image_bytes) {
            Some(jpeg) => Done::Whole { moment, jpeg },
            None => Done::Incomplete,
        });
        done
    }
}

/// What an image that will not be completed counts as: nothing where its moment did
/// not come either, which the sequence of the moments tells.
fn given_up(pending: &Pending) -> Option<Done> {
    pending.moment.map(|_| Done::Incomplete)
}

/// The fragments one after the other, without gap or overlap.
fn together(parts: &BTreeMap<u32, Bytes>, bytes: u32) -> Option<Bytes> {
    let mut jpeg = Vec::with_capacity(bytes as usize);
    for (&offset, part) in parts {
        if offset as usize != jpeg.len() {
            return None;
        }
        jpeg.extend_from_slice(part);
    }
    (jpeg.len() == bytes as usize).then(|| jpeg.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::packet::{Datagram, fragments, tests::moment},
        *,
    };

    fn image(sequence: u32, bytes: usize) -> (Moment, Vec<u8>, Vec<Fragment>) {
        let jpeg: Vec<u8> = (0..bytes)
            .map(|at| (at as u32 * 7).wrapping_add(sequence) as u8)
            .collect();
        let moment = Moment {
            sequence,
            image_bytes: bytes as u32,
            ..moment()
        };
        let parts =
            fragments(moment.session, sequence, &jpeg, 100).map(|datagram| match datagram {
                Datagram::Fragment(fragment) => fragment,
                other => panic!("{other:?}"),
            });
        let parts = parts.collect();
        (moment, jpeg, parts)
    }

    const NOW: HostTime = HostTime::from_nanos(1_000_000_000);

    #[test]
    fn a_lost_fragment_costs_its_image_and_no_other() {
        let mut images = Images::default();
        let (first, _, mut parts) = image(10, 450);
        parts.remove(2);
        assert_eq!(images.moment(first, NOW), []);
        for part in parts.clone() {
            assert_eq!(images.fragment(part, NOW), []);
        }
        let (second, jpeg, parts) = image(11, 300);
        let mut done = images.moment(second, NOW);
        parts
            .into_iter()
            .for_each(|part| done.extend(images.fragment(part, NOW)));
        let whole = Done::Whole {
            moment: second,
            jpeg: jpeg.into(),
        };
        assert_eq!(done, [Done::Incomplete, whole]);
        // What comes after all is too late.
        let (_, _, parts) = image(10, 450);
        assert_eq!(images.fragment(parts[2].clone(), NOW), []);
        assert!(images.pending.is_empty());
    }

    #[test]
    fn an_image_whose_moment_was_lost_is_not_counted_twice() {
        let mut images = Images::default();
        let (_, _, parts) = image(10, 200);
        parts
            .into_iter()
            .for_each(|part| drop(images.fragment(part, NOW)));
        let later = HostTime::from_nanos(NOW.nanos() + 2 * PATIENCE_NS);
        assert_eq!(images.expire(later), []);
        assert!(images.pending.is_empty());
    }

    #[test]
    fn what_is_not_completed_in_time_is_given_up() {
        let mut images = Images::default();
        images.moment(image(10, 200).0, NOW);
        let later = HostTime::from_nanos(NOW.nanos() + PATIENCE_NS + 1);
        assert_eq!(images.expire(later), [Done::Incomplete]);
        images.moment(image(20, 200).0, NOW);
        assert_eq!(images.restart(), [Done::Incomplete]);
    }

    proptest! {
        #[test]
        fn any_order_makes_the_same_image(order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(), repeat in 0_usize..6) {
            let (moment, jpeg, parts) = image(u32::MAX, 450);
            let mut images = Images::default();
            let mut done = Vec::new();
            let mut put = |what: usize| match parts.get(what) {
                Some(part) => done.extend(images.fragment(part.clone(), NOW)),
                None => done.extend(images.moment(moment, NOW)),
            };
            for what in order {
                put(what);
                if what == repeat {
                    put(what);
                }
            }
            prop_assert_eq!(done, [Done::Whole { moment, jpeg: jpeg.into() }]);
        }

        #[test]
        fn memory_is_bounded_whatever_comes(
            pieces in proptest::collection::vec((any::<u32>(), any::<u32>(), 1_usize..2000), 0..60),
        ) {
            let mut images = Images::default();
            for (sequence, offset, length) in pieces {
                let bytes = Bytes::from(vec![0; length]);
                images.fragment(Fragment { session: 0, sequence: sequence % 40, offset, bytes }, NOW);
                prop_assert!(images.pending.len() <= PENDING);
                prop_assert!(images.pending.iter().all(|pending| pending.bytes <= u64::from(MAX_IMAGE_BYTES)));
            }
        }
    }
}
