//! Our own preset.
//!
//! For each finger f with scale s_f (robot over human reach, of an open hand):
//!
//! - tip and middle joint, seen from the wrist: w H_δ(‖p − s_f v‖), the target no farther out than
//!   the finger reaches;
//! - direction of the last bone: w (1 − cos), so that a pad faces what the human pad faces;
//! - thumb to fingertip: w(d) H_δ(‖p_thumb − p_f − L(d) û‖). With b = smoothstep of the human distance d
//!   from `open_m` (0) to `closed_m` (1), w grows from `pair` to `pinch` and the length L goes from
//!   s·d to `gap_m`. Nothing latches, so nothing jumps; the blend is that of Wuji's retargeting and
//!   of DexPilot's projection (Handa et al., ICRA 2020) made smooth;
//! - posture: c (q − q̂)², the bends of the human joints, which settle what the points leave open;
//! - inertia: λ (q − q₋)².

use nalgebra::{Point3, Vector3};

use super::{Goal, Plan, Rule, term, tip_keypoint, tip_points, wrist_point};
use crate::hand::{Finger, Hand, JointKind};
use crate::keypoints::{FingerScale, Keypoints, reach_from, tip_and_middle};
use crate::solver::{LinkPoint, Loss, Pull};

/// How strongly each part of the preset counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DexumiWeights {
    /// Each fingertip.
    pub tip: f64,
    /// Each middle joint.
    pub middle: f64,
    /// Each distal direction (m).
    pub direction: f64,
    /// Thumb to fingertip, apart.
    pub pair: f64,
    /// Thumb to fingertip, pinching.
    pub pinch: f64,
    /// Human distance of two tips below which they pinch (m).
    pub closed_m: f64,
    /// Human distance of two tips above which they are apart (m).
    pub open_m: f64,
    /// Distance of the robot's tips in a closed pinch (m).
    pub gap_m: f64,
    /// c, pull to the human bends (m/rad²).
    pub posture: f64,
    /// λ, pull to the last answer (m/rad²).
    pub inertia: f64,
    /// Where Huber's loss turns linear (m).
    pub delta_m: f64,
    /// Part of its reach that a finger is asked to stretch to.
    pub reach: f64,
    /// Fingertips are followed, and meet, at their pads; otherwise at the vendor's tip links.
    pub at_pads: bool,
}

impl Default for DexumiWeights {
    fn default() -> Self {
        Self {
            tip: 0.2,
            middle: 0.03,
            direction: 1e-3,
            pair: 0.02,
            pinch: 2.0,
            closed_m: 0.012,
            open_m: 0.045,
            gap_m: 1e-3,
            posture: 3e-4,
            inertia: 5e-4,
            delta_m: 0.02,
            reach: 0.98,
            at_pads: true,
        }
    }
}

/// What a term follows.
#[derive(Debug, Clone, Copy)]
enum Follows {
    /// A point of a finger, no farther than `reach` m from the wrist.
    Point {
        keypoint: usize,
        scale: f64,
        reach: f64,
        weight: f64,
    },
    /// The bone that ends in a keypoint.
    Bone { keypoint: usize, weight: f64 },
    /// The thumb's tip, from another one.
    Pair {
        pair: usize,
        other: usize,
        scale: f64,
    },
}

/// A variable's bends: Σ factor (bend − offset) / Σ factor² over the joints that it moves.
#[derive(Debug, Clone)]
struct Bend {
    variable: usize,
    joints: Vec<BentJoint>,
}

/// A joint that bends a finger towards the palm by factor · variable + offset.
#[derive(Debug, Clone, Copy)]
struct BentJoint {
    factor: f64,
    offset: f64,
    /// First keypoint of the finger.
    base: usize,
    /// Which of the human finger's three bends it follows.
    bend: usize,
    /// It is the last one: it follows all further bends too.
    is_last: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Dexumi {
    weights: DexumiWeights,
    follows: Vec<Follows>,
    pinch: Vec<f64>,
    bends: Vec<Bend>,
    posture: Vec<Pull>,
}

impl Dexumi {
    pub(super) fn update(&mut self, keypoints: &Keypoints, goals: &mut [Goal]) {
        let weights = &self.weights;
        for (goal, follows) in goals.iter_mut().zip(&self.follows) {
            *goal = match *follows {
                Follows::Point {
                    keypoint,
                    scale,
                    reach,
                    weight,
                } => {
                    let wanted = (keypoints[keypoint] - keypoints[0]) * scale;
                    let length = wanted.norm();
                    let target = if length > reach {
                        wanted * (reach / length)
                    } else {
                        wanted
                    };
                    Goal { target, weight }
                }
                Follows::Bone { keypoint, weight } => {
                    let bone = keypoints[keypoint] - keypoints[keypoint - 1];
                    match bone.try_normalize(SHORTEST_BONE_M) {
                        Some(target) => Goal { target, weight },
                        // No direction: no term.
                        None => Goal {
                            target: Vector3::z(),
                            weight: 0.0,
                        },
                    }
                }
                Follows::Pair { pair, other, scale } => {
                    let thumb = tip_keypoint(Finger::Thumb);
                    let vector = keypoints[thumb] - keypoints[other];
                    let distance = vector.norm();
                    let closed = smoothstep(
                        (weights.open_m - distance) / (weights.open_m - weights.closed_m),
                    );
                    self.pinch[pair] = closed;
                    let length = closed * weights.gap_m + (1.0 - closed) * scale * distance;
                    Goal {
                        target: vector * (length / distance.max(SHORTEST_BONE_M)),
                        weight: weights.pair + closed * (weights.pinch - weights.pair),
                    }
                }
            };
        }
        for bend in &self.bends {
            let (mut sum, mut squares) = (0.0, 0.0);
            for joint in &bend.joints {
                let bends = &bends(keypoints, joint.base)[joint.bend..];
                let asked: f64 = if joint.is_last {
                    bends.iter().sum()
                } else {
                    bends[0]
                };
                sum += joint.factor * (asked - joint.offset);
                squares += joint.factor * joint.factor;
            }
            let to = sum / squares;
            self.posture[bend.variable] = Pull {
                weight: if to.is_finite() { weights.posture } else { 0.0 },
                to: if to.is_finite() { to } else { 0.0 },
            };
        }
    }

    pub(super) fn pinch(&self) -> &[f64] {
        &self.pinch
    }

    pub(super) fn posture(&self) -> &[Pull] {
        &self.posture
    }
}

/// A bone shorter than this has no direction (m).
const SHORTEST_BONE_M: f64 = 1e-6;
/// A tip nearer to its joint than this has no direction that says much (m).
const SHORTEST_LEVER_M: f64 = 5e-3;
/// Cosine above which a joint's axis counts as one of flexion.
const FLEXION: f64 = 0.7;

/// 0 below 0, 1 above 1, 3x² − 2x³ between.
fn smoothstep(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// Bends of a finger at its three joints, towards the palm (rad); `base` is its first keypoint.
fn bends(keypoints: &Keypoints, base: usize) -> [f64; 3] {
    let at = |index: usize| keypoints[index];
    let bones = [
        at(base) - at(0),
        at(base + 1) - at(base),
        at(base + 2) - at(base + 1),
        at(base + 3) - at(base + 2),
    ];
    std::array::from_fn(|joint| {
        let across = bones[joint].cross(&bones[joint + 1]);
        let angle = across.norm().atan2(bones[joint].dot(&bones[joint + 1]));
        // y × z = x: a finger turned about y goes from z, along the hand, to x, out of the palm.
        angle.copysign(across.y)
    })
}

pub(super) fn plan(hand: &Hand, scales: &[FingerScale], weights: &DexumiWeights) -> Plan {
    let mut points: Vec<LinkPoint> = tip_points(hand).collect();
    let tips = points.len();
    if weights.at_pads {
        for (point, tip) in points.iter_mut().zip(hand.tips()) {
            point.point_in_joint += tip.pad;
        }
    }
    let wrist = points.len();
    points.push(wrist_point(hand));
    let mut terms = Vec::new();
    let mut follows = Vec::new();
    let mut tip_terms = Vec::new();
    let scale_of = |finger: Finger| {
        let known = scales.iter().find(|scale| scale.finger == finger);
        known.map_or((1.0, 1.0), |scale| (scale.tip, scale.middle))
    };
    for (index, tip) in hand.tips().iter().enumerate() {
        let (tip_scale, middle_scale) = scale_of(tip.finger);
        let (tip_keypoint, middle_keypoint) = tip_and_middle(tip.finger);
        tip_terms.push(terms.len());
        terms.push(term(Some(wrist), index, Loss::Norm));
        follows.push(Follows::Point {
            keypoint: tip_keypoint,
            scale: tip_scale,
            reach: weights.reach * reach_from(hand, &points[wrist], &points[index]),
            weight: weights.tip,
        });
        if let Some(joint) = tip.middle_joint {
            let middle = points.len();
            points.push(LinkPoint {
                joint: Some(joint),
                point_in_joint: Point3::origin(),
            });
            terms.push(term(Some(wrist), middle, Loss::Norm));
            follows.push(Follows::Point {
                keypoint: middle_keypoint,
                scale: middle_scale,
                reach: weights.reach * reach_from(hand, &points[wrist], &points[middle]),
                weight: weights.middle,
            });
        }
        let lever = points[index].point_in_joint.coords.norm();
        if lever > SHORTEST_LEVER_M && weights.direction > 0.0 {
            let base = points.len();
            points.push(LinkPoint {
                joint: Some(tip.joint),
                point_in_joint: Point3::origin(),
            });
            terms.push(term(Some(base), index, Loss::Direction { length: lever }));
            follows.push(Follows::Bone {
                keypoint: tip_keypoint,
                weight: weights.direction,
            });
        }
    }
    let thumb = hand
        .tips()
        .iter()
        .position(|tip| tip.finger == Finger::Thumb);
    let mut pairs = 0;
    if let Some(thumb) = thumb {
        for other in (0..tips).filter(|&other| other != thumb) {
            let finger = hand.tips()[other].finger;
            terms.push(term(Some(other), thumb, Loss::Norm));
            follows.push(Follows::Pair {
                pair: pairs,
                other: tip_keypoint(finger),
                scale: 0.5 * (scale_of(Finger::Thumb).0 + scale_of(finger).0),
            });
            pairs += 1;
        }
    }
    let rule = Dexumi {
        weights: *weights,
        follows,
        pinch: vec![0.0; pairs],
        bends: find_bends(hand),
        posture: vec![Pull::default(); hand.dof()],
    };
    Plan::build(
        points,
        terms,
        (weights.delta_m, weights.inertia),
        tip_terms,
        Rule::Dexumi(rule),
    )
}

/// Which variables flex the fingers (not the thumb, whose joints differ from hand to hand), and by
/// which human joints.
fn find_bends(hand: &Hand) -> Vec<Bend> {
    let pose = hand.forward(&hand.rest());
    let mut found: Vec<Bend> = Vec::new();
    for tip in hand.tips().iter().filter(|tip| tip.finger != Finger::Thumb) {
        let mut chain: Vec<usize> =
            std::iter::successors(Some(tip.joint), |&at| hand.joints()[at].parent).collect();
        chain.reverse();
        let along_y = |joint: usize| {
            let axis = hand.joints()[joint].axis.into_inner();
            (pose.root_from_joint[joint].rotation * axis).y
        };
        chain.retain(|&joint| {
            hand.joints()[joint].kind == JointKind::Revolute && along_y(joint).abs() > FLEXION
        });
        let base = 1 + 4 * tip.finger as usize;
        let count = chain.len();
        for (at, &index) in chain.iter().enumerate().take(3) {
            let joint = &hand.joints()[index];
            let sign = along_y(index).signum();
            let entry = BentJoint {
                factor: sign * joint.factor,
                offset: sign * joint.offset,
                base,
                bend: at,
                is_last: at + 1 == count,
            };
            match found
                .iter_mut()
                .find(|bend| bend.variable == joint.variable)
            {
                Some(bend) => bend.joints.push(entry),
                None => found.push(Bend {
                    variable: joint.variable,
                    joints: vec![entry],
                }),
            }
        }
    }
    found
}
