//! 21 keypoints of a human hand: where they come from, whether they can be a hand, and how large the
//! person is.

use nalgebra::Point3;

use crate::hand::{Finger, Hand, Side};
use crate::npy::NpyArray;
use crate::preset::wrist_point;
use crate::solver::LinkPoint;

/// 21 points of a human hand (m) in the hand frame (x out of the palm, y towards the thumb on the
/// right hand, z wrist to fingers): wrist 0, thumb 1–4, index 5–8, middle 9–12, ring 13–16, little
/// 17–20, each from palm to tip. The origin may be anywhere.
pub type Keypoints = [Point3<f64>; 21];

/// A palm shorter or longer than this is no hand (m).
const SHORTEST_PALM_M: f64 = 0.01;
const LONGEST_PALM_M: f64 = 0.3;
/// No point of a hand is this many palms away from the wrist.
const FARTHEST_KEYPOINT: f64 = 4.0;
/// Why keypoints could not be taken from an array or a person measured.
#[derive(Debug, thiserror::Error)]
pub enum KeypointError {
    /// The array has another shape.
    #[error(
        "keypoint array: expected shape [n, 21, 3] with n > 0, got {got:?}; give 21 points of 3 coordinates a step"
    )]
    Shape {
        /// The array's shape.
        got: Vec<usize>,
    },
    /// A finger has no length in the clip.
    #[error(
        "reach of the {finger:?} in the clip: expected more than {shortest} m, got {got} m; check that the points are in metres and not all missing"
    )]
    Reach {
        /// The finger.
        finger: Finger,
        /// The least reach that is believed (m).
        shortest: f64,
        /// The reach measured (m).
        got: f64,
    },
}

/// Robot length over human length of one finger, from the wrist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FingerScale {
    /// The finger.
    pub finger: Finger,
    /// Scale of wrist to tip.
    pub tip: f64,
    /// Scale of wrist to middle joint.
    pub middle: f64,
}

/// Takes keypoints from an array of shape (n, 21, 3) (m), in the order of [`Keypoints`].
///
/// # Errors
/// [`KeypointError::Shape`].
pub fn keypoints_from_array(array: &NpyArray) -> Result<Vec<Keypoints>, KeypointError> {
    let steps = match array.shape[..] {
        [steps, 21, 3] if steps > 0 => steps,
        _ => {
            return Err(KeypointError::Shape {
                got: array.shape.clone(),
            });
        }
    };
    let coordinate =
        |step: usize, point: usize, axis: usize| array.data[(step * 21 + point) * 3 + axis];
    Ok((0..steps)
        .map(|step| {
            std::array::from_fn(|point| {
                Point3::from(std::array::from_fn(|axis| coordinate(step, point, axis)))
            })
        })
        .collect())
}

/// Index of a finger's tip and of its middle joint (thumb: interphalangeal, fingers: proximal
/// interphalangeal) among the keypoints.
pub(crate) fn tip_and_middle(finger: Finger) -> (usize, usize) {
    let base = 1 + 4 * finger as usize;
    let middle = if finger == Finger::Thumb {
        base + 2
    } else {
        base + 1
    };
    (base + 3, middle)
}

/// Length of the way from the wrist along a finger's bones to one of its points (m). Unlike the
/// straight distance it does not change when the finger bends.
fn length_along(points: &Keypoints, finger: Finger, to: usize) -> f64 {
    let base = 1 + 4 * finger as usize;
    let bones: f64 = (base..to)
        .map(|at| (points[at + 1] - points[at]).norm())
        .sum();
    (points[base] - points[0]).norm() + bones
}

/// Measures a person over a clip: robot reach over human reach for each finger that the hand has,
/// in the order of [`Hand::tips`].
///
/// The human reach is the median over the clip of the length along the bones, so neither a finger
/// that is never stretched nor the outliers of an estimator spoil it. Steps with a number that is
/// not finite do not count.
///
/// # Errors
/// [`KeypointError::Reach`] when a finger has no length.
pub fn finger_scales(hand: &Hand, clip: &[Keypoints]) -> Result<Vec<FingerScale>, KeypointError> {
    let human = |finger: Finger, index: usize| {
        let mut lengths: Vec<f64> = clip
            .iter()
            .map(|points| length_along(points, finger, index))
            .filter(|length| length.is_finite())
            .collect();
        lengths.sort_by(f64::total_cmp);
        let got = lengths.get(lengths.len() / 2).copied().unwrap_or(0.0);
        if got > SHORTEST_PALM_M {
            Ok(got)
        } else {
            Err(KeypointError::Reach {
                finger,
                shortest: SHORTEST_PALM_M,
                got,
            })
        }
    };
    let wrist = wrist_point(hand);
    hand.tips()
        .iter()
        .map(|tip| {
            let (tip_keypoint, middle_keypoint) = tip_and_middle(tip.finger);
            let scale = |joint, point_in_joint, keypoint| {
                let point = LinkPoint {
                    joint: Some(joint),
                    point_in_joint,
                };
                human(tip.finger, keypoint).map(|human| reach_from(hand, &wrist, &point) / human)
            };
            let tip_scale = scale(tip.joint, tip.point_in_joint + tip.pad, tip_keypoint)?;
            let middle = tip.middle_joint.map_or(Ok(tip_scale), |joint| {
                scale(joint, Point3::origin(), middle_keypoint)
            })?;
            Ok(FingerScale {
                finger: tip.finger,
                tip: tip_scale,
                middle,
            })
        })
        .collect()
}

/// Why keypoints cannot be followed: 0, or flags of [`crate::Verdict`].
pub(crate) fn check(keypoints: &Keypoints, side: Side, axes: Axes) -> u32 {
    if !keypoints
        .iter()
        .all(|point| point.iter().all(|x| x.is_finite()))
    {
        return crate::NON_FINITE;
    }
    let [wrist, index, middle, little] = [0, 5, 9, 17].map(|at| keypoints[at]);
    let palm = middle - wrist;
    // Finite coordinates near the end of the range overflow in the length.
    let is_palm = palm.norm() > SHORTEST_PALM_M && palm.norm() < LONGEST_PALM_M;
    if !is_palm {
        return crate::DEGENERATE;
    }
    let farthest = keypoints
        .iter()
        .map(|point| (point - wrist).norm())
        .fold(0.0, f64::max);
    if farthest > FARTHEST_KEYPOINT * palm.norm() {
        return crate::DEGENERATE;
    }
    let is_turned = palm.z < 0.5 * palm.norm() || (index - little).y * side.thumb_along_y() <= 0.0;
    if axes == Axes::Hand && is_turned {
        return crate::WRONG_AXES;
    }
    0
}

/// The axes that keypoints are given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axes {
    /// The hand's.
    Hand,
    /// Any.
    World,
}

/// Farthest that a point gets from another one nearer to the root (m): each variable that moves it
/// in turn over its range, twice round.
pub(crate) fn reach_from(hand: &Hand, from: &LinkPoint, point: &LinkPoint) -> f64 {
    let distance = |q: &[f64]| {
        let pose = hand.forward(q);
        let place = |point: &LinkPoint| {
            let joint = point.joint.map(|joint| pose.root_from_joint[joint]);
            joint.map_or(point.point_in_joint, |placed| placed * point.point_in_joint)
        };
        (place(point) - place(from)).norm()
    };
    let carriers = std::iter::successors(point.joint, |&at| hand.joints()[at].parent);
    let moving: Vec<usize> = carriers.map(|at| hand.joints()[at].variable).collect();
    let mut q = hand.rest();
    let mut farthest = distance(&q);
    for &variable in moving.iter().chain(&moving) {
        let (lower, upper) = hand.limits()[variable];
        let mut best = q[variable];
        for part in 0..=16 {
            q[variable] = lower + (upper - lower) * f64::from(part) / 16.0;
            let here = distance(&q);
            if here > farthest {
                (farthest, best) = (here, q[variable]);
            }
        }
        q[variable] = best;
    }
    farthest
}
