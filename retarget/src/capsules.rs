//! Distances between the capsules of a hand, and which of them may never touch.

use nalgebra::Point3;

use crate::hand::Hand;
use crate::kinematics::Kinematics;

/// How two capsules lie to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CapsuleGap {
    /// Distance of their surfaces (m), below 0 when they overlap.
    pub distance: f64,
    /// The points of their axes that are nearest to each other, in root axes (m).
    pub points: [Point3<f64>; 2],
}

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
    /// How two capsules (indices into [`Hand::capsules`]) lie to each other now.
    ///
    /// # Panics
    /// When there is no such capsule.
    pub fn capsule_gap(&self, one: usize, other: usize) -> CapsuleGap {
        let [one, other] = [one, other].map(|index| {
            let capsule = &self.hand().capsules()[index];
            let place = |point| self.point_in_root(capsule.joint, point);
            ([place(&capsule.from), place(&capsule.to)], capsule.radius)
        });
        let points = nearest_points(one.0, other.0);
        CapsuleGap {
            distance: nalgebra::distance(&points[0], &points[1]) - one.1 - other.1,
            points,
        }
    }
}

/// The points of two segments that are nearest to each other
/// (Ericson, Real-Time Collision Detection, section 5.1.9).
fn nearest_points(one: [Point3<f64>; 2], other: [Point3<f64>; 2]) -> [Point3<f64>; 2] {
    let along_one = one[1] - one[0];
    let along_other = other[1] - other[0];
    let between = one[0] - other[0];
    let (a, e) = (along_one.norm_squared(), along_other.norm_squared());
    let (c, f) = (along_one.dot(&between), along_other.dot(&between));
    // 0/0 for a segment that is a point: any of its points will do, the first is taken.
    let part = |numerator: f64, denominator: f64| {
        let part = numerator / denominator;
        if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        }
    };
    let b = along_one.dot(&along_other);
    let mut s = part(b * f - c * e, a * e - b * b);
    let t = part(b * s + f, e);
    // After t was clamped, the nearest point of the first segment is another one.
    s = part(b * t - c, a);
    [one[0] + along_one * s, other[0] + along_other * t]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = Point3<f64>> {
        proptest::array::uniform3(-1.0..1.0).prop_map(Point3::from)
    }

    proptest! {
        #[test]
        fn no_two_points_of_the_segments_are_nearer_than_the_nearest(
            one in proptest::array::uniform2(point()), other in proptest::array::uniform2(point()),
            is_point in proptest::array::uniform2(proptest::bool::weighted(0.2)),
            is_parallel in proptest::bool::weighted(0.2),
        ) {
            let (mut one, mut other) = (one, other);
            if is_parallel {
                other[1] = other[0] + (one[1] - one[0]) * 0.7;
            }
            if is_point[0] { one[1] = one[0]; }
            if is_point[1] { other[1] = other[0]; }
            let [p, q] = nearest_points(one, other);
            let found = nalgebra::distance(&p, &q);
            for i in 0..=50 {
                for j in 0..=50 {
                    let p = one[0] + (one[1] - one[0]) * (f64::from(i) / 50.0);
                    let q = other[0] + (other[1] - other[0]) * (f64::from(j) / 50.0);
                    prop_assert!(nalgebra::distance(&p, &q) >= found - 1e-9);
                }
            }
        }
    }
}
