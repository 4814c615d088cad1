//! dex-retargeting's `vector` and `position`.

use super::{
    Goal, Plan, PresetError, REFERENCE_INERTIA, Rule, term, tip_keypoint, tip_points, wrist_point,
};
use crate::hand::Hand;
use crate::keypoints::Keypoints;
use crate::solver::{LinkPoint, Loss};

/// Huber's threshold of both, `huber_delta` (m).
const DELTA_M: f64 = 0.02;

/// Each term follows one keypoint, seen from the wrist or the world, scaled.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    keypoints: Vec<usize>,
    from_wrist: bool,
    scale: f64,
    weight: f64,
}

impl Plain {
    pub(super) fn update(&self, keypoints: &Keypoints, goals: &mut [Goal]) {
        for (goal, &keypoint) in goals.iter_mut().zip(&self.keypoints) {
            goal.weight = self.weight;
            goal.target = if self.from_wrist {
                (keypoints[keypoint] - keypoints[0]) * self.scale
            } else {
                keypoints[keypoint].coords
            };
        }
    }
}

/// Places and the keypoints that they follow.
fn points(
    hand: &Hand,
    follow: &[(String, usize)],
) -> Result<(Vec<LinkPoint>, Vec<usize>), PresetError> {
    if follow.is_empty() {
        let keypoints = hand
            .tips()
            .iter()
            .map(|tip| tip_keypoint(tip.finger))
            .collect();
        return Ok((tip_points(hand).collect(), keypoints));
    }
    let mut points = Vec::new();
    let mut keypoints = Vec::new();
    for (name, keypoint) in follow {
        points.push(LinkPoint::of(hand, name)?);
        if !(1..=20).contains(keypoint) {
            return Err(PresetError::UnknownKeypoint {
                name: name.clone(),
                keypoint: *keypoint,
            });
        }
        keypoints.push(*keypoint);
    }
    Ok((points, keypoints))
}

/// The term of each tip of the hand; one that nothing follows has none, `usize::MAX`.
fn tip_terms(hand: &Hand, keypoints: &[usize]) -> Vec<usize> {
    let term_of = |keypoint| keypoints.iter().position(|&known| known == keypoint);
    hand.tips()
        .iter()
        .map(|tip| term_of(tip_keypoint(tip.finger)).unwrap_or(usize::MAX))
        .collect()
}

pub(super) fn vector(
    hand: &Hand,
    scale: f64,
    follow: &[(String, usize)],
) -> Result<Plan, PresetError> {
    let (mut points, keypoints) = points(hand, follow)?;
    let wrist = points.len();
    let terms = (0..wrist)
        .map(|task| term(Some(wrist), task, Loss::Norm))
        .collect();
    points.push(wrist_point(hand));
    let tip_terms = tip_terms(hand, &keypoints);
    let rule = Plain {
        weight: 1.0 / keypoints.len() as f64,
        keypoints,
        from_wrist: true,
        scale,
    };
    Ok(Plan::build(
        points,
        terms,
        (DELTA_M, REFERENCE_INERTIA),
        tip_terms,
        Rule::Plain(rule),
    ))
}

pub(super) fn position(hand: &Hand, follow: &[(String, usize)]) -> Result<Plan, PresetError> {
    let (points, keypoints) = points(hand, follow)?;
    let terms = (0..points.len())
        .map(|task| term(None, task, Loss::Axes))
        .collect();
    let tip_terms = tip_terms(hand, &keypoints);
    let rule = Plain {
        // The mean over all coordinates.
        weight: 1.0 / (3.0 * keypoints.len() as f64),
        keypoints,
        from_wrist: false,
        scale: 1.0,
    };
    Ok(Plan::build(
        points,
        terms,
        (DELTA_M, REFERENCE_INERTIA),
        tip_terms,
        Rule::Plain(rule),
    ))
}
