//! dex-retargeting's `dexpilot`, after Handa et al., DexPilot (ICRA 2020), section IV.
//!
//! Terms: for every pair of tips the vector between them, the thumb's pairs first, then wrist to
//! each tip. A thumb pair (S1) is *projected* from when its keypoints are closer than 3 cm until
//! they are farther than 5 cm; another pair (S2) while both its fingers are and it is itself no
//! farther than 3 cm. A projected pair is drawn to a length η along the human direction with a large
//! weight, another to the scaled human vector with weight 1; wrist to tip has weight pairs + fingers.
//! All weights are divided by the number of terms.

use super::{Goal, Plan, REFERENCE_INERTIA, Rule, term, tip_keypoint, tip_points, wrist_point};
use crate::hand::Hand;
use crate::keypoints::Keypoints;
use crate::solver::Loss;

/// Huber's threshold (m): the program's own, whatever its configuration file says.
const DELTA_M: f64 = 0.03;
/// Distance of keypoints below which a thumb pair is projected, and that above which it no longer
/// is (m).
const PROJECT_M: f64 = 0.03;
const ESCAPE_M: f64 = 0.05;
/// Length that a projected pair is drawn to (m), thumb and others.
const ETA_THUMB_M: f64 = 1e-4;
const ETA_OTHERS_M: f64 = 0.03;
/// Weight of a projected pair, thumb and others.
const PROJECTED_THUMB: f64 = 200.0;
const PROJECTED_OTHERS: f64 = 400.0;
/// Keeps a vector without length from becoming no direction (m).
const FLOOR_M: f64 = 1e-6;

#[derive(Debug, Clone)]
pub(super) struct DexPilot {
    /// Keypoint of each tip, thumb first.
    tips: Vec<usize>,
    /// (origin, task) of each pair, as indices into `tips`.
    pairs: Vec<(usize, usize)>,
    is_projected: Vec<bool>,
    /// 1 for each projected thumb pair, else 0.
    pinch: Vec<f64>,
    scale: f64,
}

impl DexPilot {
    pub(super) fn update(&mut self, keypoints: &Keypoints, goals: &mut [Goal]) {
        let thumb_pairs = self.tips.len() - 1;
        let terms = (self.pairs.len() + self.tips.len()) as f64;
        for (at, &(origin, task)) in self.pairs.iter().enumerate() {
            let vector = keypoints[self.tips[task]] - keypoints[self.tips[origin]];
            let distance = vector.norm();
            let is_thumb = at < thumb_pairs;
            self.is_projected[at] = if is_thumb {
                distance < PROJECT_M || self.is_projected[at] && distance <= ESCAPE_M
            } else {
                // Pair i is that of the thumb and tip i + 1.
                self.is_projected[origin - 1]
                    && self.is_projected[task - 1]
                    && distance <= PROJECT_M
            };
            let (eta, weight) = if is_thumb {
                (ETA_THUMB_M, PROJECTED_THUMB)
            } else {
                (ETA_OTHERS_M, PROJECTED_OTHERS)
            };
            goals[at] = if self.is_projected[at] {
                Goal {
                    target: vector / (distance + FLOOR_M) * eta,
                    weight: weight / terms,
                }
            } else {
                Goal {
                    target: vector * self.scale,
                    weight: 1.0 / terms,
                }
            };
        }
        for (goal, &tip) in goals[self.pairs.len()..].iter_mut().zip(&self.tips) {
            *goal = Goal {
                target: (keypoints[tip] - keypoints[0]) * self.scale,
                weight: 1.0,
            };
        }
        for (pinch, &is_projected) in self.pinch.iter_mut().zip(&self.is_projected) {
            *pinch = f64::from(u8::from(is_projected));
        }
    }

    pub(super) fn pinch(&self) -> &[f64] {
        &self.pinch
    }

    pub(super) fn restart(&mut self) {
        self.is_projected.fill(false);
    }
}

pub(super) fn plan(hand: &Hand, scale: f64) -> Plan {
    let mut points: Vec<_> = tip_points(hand).collect();
    let tips: Vec<usize> = hand
        .tips()
        .iter()
        .map(|tip| tip_keypoint(tip.finger))
        .collect();
    let fingers = tips.len();
    let mut pairs = Vec::new();
    for task in 0..fingers {
        pairs.extend((task + 1..fingers).map(|origin| (origin, task)));
    }
    let wrist = points.len();
    points.push(wrist_point(hand));
    let terms = pairs
        .iter()
        .map(|&(origin, task)| term(Some(origin), task, Loss::Norm))
        .chain((0..fingers).map(|task| term(Some(wrist), task, Loss::Norm)))
        .collect();
    let tip_terms = (pairs.len()..pairs.len() + fingers).collect();
    let rule = DexPilot {
        is_projected: vec![false; pairs.len()],
        pinch: vec![0.0; fingers - 1],
        tips,
        pairs,
        scale,
    };
    Plan::build(
        points,
        terms,
        (DELTA_M, REFERENCE_INERTIA),
        tip_terms,
        Rule::DexPilot(rule),
    )
}
