//! Links held apart: which capsules of a hand are, softly while solving and without exception in the
//! answer.

use nalgebra::{Point3, Vector3};

use crate::capsule::{PlacedCapsule, closest};
use crate::hand::{Finger, Hand};
use crate::solver::{LinkPoint, Linkage};

/// How links are held apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CollisionOptions {
    /// Every answer keeps this distance (m), surface to surface.
    pub safe_m: f64,
    /// Below this distance links push each other away (m).
    pub margin_m: f64,
    /// How hard (1/m): ½ stiffness (margin − distance)².
    pub stiffness: f64,
}

impl Default for CollisionOptions {
    fn default() -> Self {
        Self {
            safe_m: 0.5e-3,
            margin_m: 2e-3,
            stiffness: 2000.0,
        }
    }
}

/// The capsules of a hand that are held apart, pair by pair.
///
/// Those of [`Hand::collision_pairs`], without *pinch pairs*: the last link of the thumb against the last
/// link of a finger, whose pads are soft and shall meet.
#[derive(Debug, Clone)]
pub(crate) struct Pairs {
    radii: Vec<f64>,
    /// Radius of a ball around each capsule's middle (m).
    balls: Vec<f64>,
    pairs: Vec<(usize, usize)>,
    /// Both ends of every capsule, one after the other.
    ends: Vec<LinkPoint>,
}

impl Pairs {
    pub(crate) fn new(hand: &Hand) -> Self {
        let capsules = hand.capsules();
        let end = |joint: Option<usize>, point: Point3<f64>| LinkPoint {
            joint,
            point_in_joint: point,
        };
        let ends: Vec<LinkPoint> = capsules
            .iter()
            .flat_map(|capsule| {
                [
                    end(capsule.joint, capsule.from),
                    end(capsule.joint, capsule.to),
                ]
            })
            .collect();
        let last_link = |finger: Finger| {
            hand.tips()
                .iter()
                .find(|tip| tip.finger == finger)
                .map(|tip| tip.joint)
        };
        let thumb = last_link(Finger::Thumb);
        let is_pinch = |one: Option<usize>, other: Option<usize>| {
            let fingers = Finger::ALL
                .iter()
                .filter(|&&finger| finger != Finger::Thumb);
            let is_last = |joint| fingers.clone().any(|&finger| last_link(finger) == joint);
            thumb.is_some()
                && joint_pair(one, other, thumb)
                    .is_some_and(|joint| joint.is_some() && is_last(joint))
        };
        let mut pairs = hand.collision_pairs();
        pairs.retain(|&(one, other)| !is_pinch(capsules[one].joint, capsules[other].joint));
        Self {
            radii: capsules.iter().map(|capsule| capsule.radius).collect(),
            balls: capsules
                .iter()
                .map(|capsule| 0.5 * (capsule.to - capsule.from).norm() + capsule.radius)
                .collect(),
            pairs,
            ends,
        }
    }

    /// Both ends of every capsule, one after the other.
    pub(crate) fn ends(&self) -> &[LinkPoint] {
        &self.ends
    }

    /// Buffers for [`Linkage::place`].
    pub(crate) fn placed(&self) -> Vec<PlacedCapsule> {
        let nowhere = |&radius: &f64| PlacedCapsule {
            from: Point3::origin(),
            to: Point3::origin(),
            radius,
        };
        self.radii.iter().map(nowhere).collect()
    }
}

/// Finds the pairs that are near each other. Few have to be measured: the balls around most are
/// apart, and of the others, most are still apart across the direction in which they were when they
/// were last measured. What is found does not depend on what was found before.
#[derive(Debug, Clone)]
pub(crate) struct Neighbours {
    limit_m: f64,
    pairs: Vec<Known>,
    /// Of the ball around each capsule (m).
    centres: Vec<Vector3<f64>>,
}

/// What is known of a pair of capsules.
#[derive(Debug, Clone)]
struct Known {
    one: usize,
    other: usize,
    /// Square of the distance of the balls' centres from which on they are not near.
    reach: f64,
    /// The direction from the second to the first in which they were last measured, of length 1 or 0.
    across: Vector3<f64>,
}

/// More than distances are rounded by (m).
const ROUNDING_M: f64 = 1e-9;

impl Neighbours {
    /// For pairs nearer than `limit_m`.
    pub(crate) fn new(pairs: &Pairs, limit_m: f64) -> Self {
        let known = |&(one, other): &(usize, usize)| Known {
            one,
            other,
            reach: (pairs.balls[one] + pairs.balls[other] + limit_m + ROUNDING_M).powi(2),
            across: Vector3::zeros(),
        };
        Self {
            limit_m,
            pairs: pairs.pairs.iter().map(known).collect(),
            centres: vec![Vector3::zeros(); pairs.radii.len()],
        }
    }

    /// Number of pairs.
    pub(crate) fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Calls `visit` with every pair nearer than the limit, in their order, and its distance (m).
    #[inline(always)]
    pub(crate) fn visit(
        &mut self,
        placed: &[PlacedCapsule],
        mut visit: impl FnMut(usize, usize, f64),
    ) {
        for (centre, capsule) in self.centres.iter_mut().zip(placed) {
            *centre = 0.5 * (capsule.from.coords + capsule.to.coords);
        }
        for pair in &mut self.pairs {
            let (one, other) = (pair.one, pair.other);
            if (self.centres[one] - self.centres[other]).norm_squared() >= pair.reach {
                continue;
            }
            let (a, b) = (&placed[one], &placed[other]);
            if apart_across(a, b, &pair.across) >= self.limit_m + ROUNDING_M {
                continue;
            }
            let found = closest(a, b);
            pair.across = found.direction;
            if found.distance < self.limit_m {
                visit(one, other, found.distance);
            }
        }
    }
}

/// How far two capsules are apart along a direction of length 1 (m), which is no more than their
/// distance; no more than minus their radii along none.
#[inline(always)]
fn apart_across(a: &PlacedCapsule, b: &PlacedCapsule, direction: &Vector3<f64>) -> f64 {
    let along = |point: &Point3<f64>| point.coords.dot(direction);
    let least = along(&a.from).min(along(&a.to));
    let most = along(&b.from).max(along(&b.to));
    least - most - a.radius - b.radius
}

impl Hand {
    /// Least distance of the capsules that are held apart, with the hand at `q`, shape (dof,) (m);
    /// 10 mm where none is nearer. See [`CollisionOptions`] for which those are.
    ///
    /// # Panics
    /// When the length of `q` is not [`Hand::dof`].
    pub fn clearance(&self, q: &[f64]) -> f64 {
        assert_eq!(
            q.len(),
            self.dof(),
            "q of {} has the wrong length",
            self.name()
        );
        Collision::new(self, &CollisionOptions::default()).clearance(q)
    }
}

/// The other of two joints where one of them is `known`.
fn joint_pair(
    one: Option<usize>,
    other: Option<usize>,
    known: Option<usize>,
) -> Option<Option<usize>> {
    if one == known {
        Some(other)
    } else if other == known {
        Some(one)
    } else {
        None
    }
}

/// The guarantee: answers that keep the distance.
#[derive(Debug, Clone)]
pub(crate) struct Collision {
    neighbours: Neighbours,
    linkage: Linkage,
    placed: Vec<PlacedCapsule>,
    local: Vec<f64>,
    safe_m: f64,
    trial: Vec<f64>,
}

/// How often the way from a safe position to the answer is halved.
const HALVINGS: u32 = 8;
/// Clearances above this are not told apart (m).
pub(crate) const FAR_M: f64 = 0.01;

impl Collision {
    pub(crate) fn new(hand: &Hand, options: &CollisionOptions) -> Self {
        let pairs = Pairs::new(hand);
        let linkage = Linkage::new(hand, pairs.ends());
        Self {
            placed: pairs.placed(),
            local: vec![0.0; linkage.dof()],
            trial: vec![0.0; hand.dof()],
            linkage,
            neighbours: Neighbours::new(&pairs, FAR_M),
            safe_m: options.safe_m,
        }
    }

    /// Least distance of the pairs at `q`, shape (dof,), as far as it is below [`FAR_M`] (m).
    pub(crate) fn clearance(&mut self, q: &[f64]) -> f64 {
        for (local, &variable) in self.local.iter_mut().zip(&self.linkage.variables) {
            *local = q[variable];
        }
        self.linkage.update(&self.local);
        self.linkage.place(0, &mut self.placed);
        let mut least = FAR_M;
        self.neighbours.visit(&self.placed, |_, _, distance| {
            least = least.min(distance);
        });
        least
    }

    /// Whether `q` keeps the safe distance.
    pub(crate) fn is_safe(&mut self, q: &[f64]) -> bool {
        self.clearance(q) >= self.safe_m
    }

    /// Moves `q` back towards `safe`, which keeps the distance, until it does as well. Returns the
    /// clearance, and whether it had to move.
    pub(crate) fn keep(&mut self, safe: &[f64], q: &mut [f64]) -> (f64, bool) {
        let clearance = self.clearance(q);
        if clearance >= self.safe_m {
            return (clearance, false);
        }
        let (mut good, mut bad) = (0.0, 1.0);
        let mut trial = std::mem::take(&mut self.trial);
        for _ in 0..HALVINGS {
            let part = 0.5 * (good + bad);
            between(safe, q, part, &mut trial);
            if self.is_safe(&trial) {
                good = part;
            } else {
                bad = part;
            }
        }
        between(safe, q, good, &mut trial);
        q.copy_from_slice(&trial);
        self.trial = trial;
        (self.clearance(q), true)
    }
}

/// A point on the way from one position to another; exactly `from` at 0.
pub(crate) fn between(from: &[f64], to: &[f64], part: f64, out: &mut [f64]) {
    for ((out, from), to) in out.iter_mut().zip(from).zip(to) {
        // Rounding must not lead past either end.
        *out = (from + part * (to - from)).clamp(from.min(*to), from.max(*to));
    }
}
