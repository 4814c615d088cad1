//! Distance of capsules: segments with a radius, the shape of every link here.

use nalgebra::{Isometry3, Point3, Vector3};

use crate::hand::Hand;
use crate::kinematics::HandPose;

/// A capsule placed in some frame: the points within `radius` of a segment. Both ends may be the
/// same point: a ball.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedCapsule {
    /// One end of the segment (m).
    pub from: Point3<f64>,
    /// The other end (m).
    pub to: Point3<f64>,
    /// Radius (m).
    pub radius: f64,
}

/// Where two capsules come closest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closest {
    /// From surface to surface (m); negative: how deep they reach into each other.
    pub distance: f64,
    /// The point of the first capsule's segment that is closest to the second's (m). It lies on
    /// the axis, not on the surface, so that it is a fixed point of the link for derivatives.
    pub on_first: Point3<f64>,
    /// The same of the second (m).
    pub on_second: Point3<f64>,
    /// Unit vector from `on_second` to `on_first`: the gradient of `distance` with respect to
    /// `on_first`, and minus that with respect to `on_second`. Zero where the segments meet and
    /// no direction is better than another.
    pub direction: Vector3<f64>,
}

/// The closest pair of two sets of capsules: answer of [`nearest_pair`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearestPair {
    /// Index into the first set.
    pub first: usize,
    /// Index into the second set.
    pub second: usize,
    /// Where they come closest, in the frame of both sets.
    pub closest: Closest,
}

impl PlacedCapsule {
    /// The same capsule in another frame.
    pub fn moved(&self, other_from_this: &Isometry3<f64>) -> Self {
        Self {
            from: other_from_this * self.from,
            to: other_from_this * self.to,
            radius: self.radius,
        }
    }

    /// A lower bound of the distance to another capsule (m), for less than the distance costs:
    /// that of the balls around them.
    pub(crate) fn least_distance(&self, other: &Self) -> f64 {
        let (centre, radius) = self.ball();
        let (other_centre, other_radius) = other.ball();
        (centre - other_centre).norm() - radius - other_radius
    }

    /// The smallest ball around the capsule: its centre and radius (m).
    fn ball(&self) -> (Point3<f64>, f64) {
        let half = (self.to - self.from) * 0.5;
        (self.from + half, half.norm() + self.radius)
    }
}

/// A hand's capsules: bent as `pose` is, and placed by `a_from_root` (m). With those of the other
/// hand, in one frame `a`, they go into [`nearest_pair`].
pub fn hand_capsules(
    hand: &Hand,
    pose: &HandPose,
    a_from_root: &Isometry3<f64>,
) -> Vec<PlacedCapsule> {
    let capsules = hand.capsules().iter();
    capsules
        .map(|capsule| {
            let a_from_link = match capsule.joint {
                Some(joint) => a_from_root * pose.root_from_joint[joint],
                None => *a_from_root,
            };
            PlacedCapsule {
                from: a_from_link * capsule.from,
                to: a_from_link * capsule.to,
                radius: capsule.radius,
            }
        })
        .collect()
}

/// Where two capsules in one frame come closest. All coordinates must be finite. Does not
/// allocate.
///
/// The squared distance of two segments is a convex quadratic over the unit square of their
/// parameters, so its minimum is the stationary point of the two lines where that lies inside,
/// and else on one of the four sides, each an end of one segment against the other segment. All
/// five are tried and the least is taken: every candidate is a true distance, so rounding in
/// the stationary point of nearly parallel lines cannot make the answer too small, and there is
/// no threshold below which lines are called parallel.
pub fn closest(first: &PlacedCapsule, second: &PlacedCapsule) -> Closest {
    let along_first = first.to - first.from;
    let along_second = second.to - second.from;
    let between = second.from - first.from;
    // A segment of no length, or too short to be squared, is its start.
    let inverse = |square: f64| if square > 0.0 { 1.0 / square } else { 0.0 };
    let part_of_first = along_first * inverse(along_first.norm_squared());
    let part_of_second = along_second * inverse(along_second.norm_squared());
    // Nearest on one segment to the point of the other at a part of it.
    let on_first = |t: f64| {
        part_of_first
            .dot(&(between + along_second * t))
            .clamp(0.0, 1.0)
    };
    let on_second = |s: f64| {
        part_of_second
            .dot(&(along_first * s - between))
            .clamp(0.0, 1.0)
    };
    let apart = |s: f64, t: f64| along_first * s - between - along_second * t;

    let sides = [
        [0.0, on_second(0.0)],
        [1.0, on_second(1.0)],
        [on_first(0.0), 0.0],
        [on_first(1.0), 1.0],
    ];
    let mut best = sides[0];
    let mut best_square = apart(best[0], best[1]).norm_squared();
    let mut consider = |parts: [f64; 2]| {
        let square = apart(parts[0], parts[1]).norm_squared();
        if square < best_square {
            best = parts;
            best_square = square;
        }
    };
    for side in &sides[1..] {
        consider(*side);
    }
    let normal = along_first.cross(&along_second);
    let square = normal.norm_squared();
    if square > 0.0 {
        // Cross products instead of the determinant of the normal equations: the same number
        // without the cancellation.
        let s = between.cross(&along_second).dot(&normal) / square;
        if (0.0..=1.0).contains(&s) {
            let t = on_second(s);
            consider([on_first(t), t]);
        }
    }

    let on_first = first.from + along_first * best[0];
    let on_second = second.from + along_second * best[1];
    let apart = on_first - on_second;
    let axis_distance = apart.norm();
    Closest {
        distance: axis_distance - first.radius - second.radius,
        on_first,
        on_second,
        direction: apart.try_normalize(0.0).unwrap_or_else(Vector3::zeros),
    }
}

/// The closest pair between two sets of capsules in one frame, for instance two hands, or a hand
/// and the other hand's arm; `None` when a set is empty. Of equal pairs the first is taken. Does
/// not allocate.
pub fn nearest_pair(first: &[PlacedCapsule], second: &[PlacedCapsule]) -> Option<NearestPair> {
    let mut best: Option<NearestPair> = None;
    for (i, one) in first.iter().enumerate() {
        for (j, other) in second.iter().enumerate() {
            if best.is_some_and(|best| one.least_distance(other) >= best.closest.distance) {
                continue;
            }
            let closest = closest(one, other);
            if best.is_none_or(|best| closest.distance < best.closest.distance) {
                best = Some(NearestPair {
                    first: i,
                    second: j,
                    closest,
                });
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use nalgebra::{Translation3, UnitQuaternion};
    use proptest::prelude::*;

    use super::*;

    /// Parameter, 0 to 1, of the point of a segment that is nearest to `point`.
    fn part(from: &Point3<f64>, along: &Vector3<f64>, point: &Point3<f64>) -> f64 {
        let square = along.norm_squared();
        if square > 0.0 {
            (along.dot(&(point - from)) / square).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    fn point() -> impl Strategy<Value = Point3<f64>> {
        proptest::array::uniform3(-0.5..0.5).prop_map(Point3::from)
    }

    fn capsule() -> impl Strategy<Value = PlacedCapsule> {
        (point(), point(), 0.0..0.1).prop_map(|(from, to, radius)| PlacedCapsule {
            from,
            to,
            radius,
        })
    }

    /// Two capsules, often of an awkward kind: parallel, nearly parallel, crossing, collinear,
    /// without length.
    fn pair() -> impl Strategy<Value = (PlacedCapsule, PlacedCapsule)> {
        let small = prop_oneof![Just(0.0), Just(1e-12), Just(1e-9), Just(1e-6), Just(1e-3)];
        (capsule(), capsule(), 0..5, small, -2.0..2.0).prop_map(
            |(first, mut second, kind, small, scale)| {
                let along = first.to - first.from;
                match kind {
                    0 => second.to = second.from + along * scale + Vector3::repeat(small),
                    1 => {
                        second.from = first.from + along * (scale * 0.5);
                        second.to = second.from + along * scale + Vector3::new(small, -small, 0.0);
                    }
                    2 => second.from = first.from + along * (scale * 0.25 + 0.5),
                    3 => second.to = second.from + Vector3::repeat(small),
                    _ => {}
                }
                (first, second)
            },
        )
    }

    /// Least distance of the axes by dense sampling of one, each against the whole other
    /// segment, by ternary search: distance to a point is convex along a segment.
    fn sampled(first: &PlacedCapsule, second: &PlacedCapsule) -> f64 {
        let to_second = |point: Point3<f64>| {
            let (mut low, mut high) = (0.0, 1.0);
            let distance = |t: f64| (second.from + (second.to - second.from) * t - point).norm();
            for _ in 0..80 {
                let third = (high - low) / 3.0;
                if distance(low + third) < distance(high - third) {
                    high -= third;
                } else {
                    low += third;
                }
            }
            distance(0.5 * (low + high))
        };
        (0..=1000)
            .map(|i| to_second(first.from + (first.to - first.from) * (f64::from(i) / 1000.0)))
            .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn the_distance_is_no_more_than_any_sample_and_attained((first, second) in pair()) {
            let answer = closest(&first, &second);
            let radii = first.radius + second.radius;
            let sampled = sampled(&first, &second);
            let length = (first.to - first.from).norm();
            prop_assert!(answer.distance + radii <= sampled + 1e-9, "{answer:?}, sampled {sampled}");
            // Sampling every length / 1000 misses the minimum by at most half of that.
            prop_assert!(answer.distance + radii >= sampled - length / 2000.0 - 1e-9);
            let attained = (answer.on_first - answer.on_second).norm();
            prop_assert!((attained - radii - answer.distance).abs() < 1e-15);
            for (point, capsule) in [(answer.on_first, first), (answer.on_second, second)] {
                let along = capsule.to - capsule.from;
                let on_it = capsule.from + along * part(&capsule.from, &along, &point);
                prop_assert!((on_it - point).norm() < 1e-12, "{point} is not on {capsule:?}");
            }
        }

        #[test]
        fn the_distance_does_not_depend_on_order_direction_or_frame(
            (first, second) in pair(), translation in point(), rotation in point(),
        ) {
            let distance = closest(&first, &second).distance;
            let turned = PlacedCapsule { from: second.to, to: second.from, ..second };
            let other_from_this = Isometry3::from_parts(
                Translation3::from(translation.coords),
                UnitQuaternion::from_scaled_axis(rotation.coords * 6.0),
            );
            for other in [
                closest(&second, &first),
                closest(&first, &turned),
                closest(&first.moved(&other_from_this), &second.moved(&other_from_this)),
            ] {
                prop_assert!((other.distance - distance).abs() < 1e-9, "{} {distance}", other.distance);
            }
        }

        #[test]
        fn the_direction_is_the_gradient(first in capsule(), second in capsule(), step in point()) {
            let answer = closest(&first, &second);
            prop_assume!(answer.distance + first.radius + second.radius > 0.05);
            let shift = step.coords * 1e-6;
            let moved = PlacedCapsule { from: first.from + shift, to: first.to + shift, ..first };
            let difference = closest(&moved, &second).distance - answer.distance;
            // Second order: shift² / distance, below 1e-12 / 0.05; with nearly parallel segments
            // the point wanders along them at no cost.
            prop_assert!((difference - answer.direction.dot(&shift)).abs() < 1e-9);
        }

        #[test]
        fn the_nearest_pair_is_the_least_of_all(
            first in proptest::collection::vec(capsule(), 0..6),
            second in proptest::collection::vec(capsule(), 0..6),
        ) {
            let mut least: Option<(usize, usize, f64)> = None;
            for (i, one) in first.iter().enumerate() {
                for (j, other) in second.iter().enumerate() {
                    let distance = closest(one, other).distance;
                    if least.is_none_or(|(_, _, least)| distance < least) {
                        least = Some((i, j, distance));
                    }
                }
            }
            let found = nearest_pair(&first, &second);
            let found = found.map(|pair| (pair.first, pair.second, pair.closest.distance));
            prop_assert_eq!(found, least);
        }
    }

    #[test]
    fn segments_that_meet_have_no_direction() {
        let capsule = |from: [f64; 3], to: [f64; 3]| PlacedCapsule {
            from: Point3::from(from),
            to: Point3::from(to),
            radius: 0.01,
        };
        let first = capsule([-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]);
        let second = capsule([0.0, -1.0, 0.0], [0.0, 1.0, 0.0]);
        let answer = closest(&first, &second);
        assert_eq!(
            (answer.distance, answer.direction),
            (-0.02, Vector3::zeros())
        );
        let same = closest(&first, &first);
        assert_eq!((same.distance, same.direction), (-0.02, Vector3::zeros()));
        // Crossing lines whose segments stop short of the crossing: corner against corner.
        let short = capsule([0.5, 0.5, 0.0], [0.5, 2.0, 0.0]);
        assert_eq!(
            closest(&capsule([-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]), &short).on_second,
            short.from
        );
    }
}
