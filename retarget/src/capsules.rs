//! Distances between the capsules of a hand, and which of them may never touch.

use crate::capsule::{Closest, PlacedCapsule, closest};
use crate::hand::Hand;
use crate::kinematics::Kinematics;

impl Hand {
    /// Pairs of capsules (indices into [`Hand::capsules`], the smaller first) that may not touch:
    /// those on different links that are no neighbours, and that do not overlap at
    /// [`Hand::rest`] either. A link's neighbour is the nearest one before it that has a capsule.
    pub fn collision_pairs(&self) -> Vec<(usize, usize)> {
        let kinematics = Kinematics::new(self.clone());
        let mut pairs = self.separate_pairs();
        pairs.retain(|&(one, other)| kinematics.capsule_gap(one, other).distance > 0.0);
        pairs
    }

    /// As [`Hand::collision_pairs`], those that overlap at rest included.
    pub fn separate_pairs(&self) -> Vec<(usize, usize)> {
        let has_capsule =
            |link: Option<usize>| self.capsules().iter().any(|capsule| capsule.joint == link);
        let before = |link: usize| {
            let mut next = self.joints()[link].parent;
            while let Some(joint) = next.filter(|_| !has_capsule(next)) {
                next = self.joints()[joint].parent;
            }
            next
        };
        let are_neighbours = |one: Option<usize>, other: Option<usize>| {
            one == other
                || one.is_some_and(|one| before(one) == other)
                || other.is_some_and(|other| before(other) == one)
        };
        let count = self.capsules().len();
        let all = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        let link = |capsule: usize| self.capsules()[capsule].joint;
        all.filter(|&(one, other)| !are_neighbours(link(one), link(other)))
            .collect()
    }
}

impl Kinematics {
    /// A capsule (index into [`Hand::capsules`]) where it is now, in root axes.
    ///
    /// # Panics
    /// When there is no such capsule.
    pub fn capsule_in_root(&self, index: usize) -> PlacedCapsule {
        let capsule = &self.hand().capsules()[index];
        PlacedCapsule {
            from: self.point_in_root(capsule.joint, &capsule.from),
            to: self.point_in_root(capsule.joint, &capsule.to),
            radius: capsule.radius,
        }
    }

    /// How two capsules (indices into [`Hand::capsules`]) lie to each other now, in root axes.
    ///
    /// # Panics
    /// When there is no such capsule.
    pub fn capsule_gap(&self, one: usize, other: usize) -> Closest {
        closest(&self.capsule_in_root(one), &self.capsule_in_root(other))
    }
}
