//! Encoders and keypoints together.
//!
//! The encoders say how the joints bend, to within play and fit; the keypoints say where the
//! fingertips are. The solver takes the mapped encoder angles as its posture q̂ with a weight c of
//! their own: large, the map alone; small, keypoints with encoders where they leave the hand free.

use crate::exo_map::{JointMap, Step};
use crate::keypoints::Keypoints;
use crate::retargeter::{Retargeter, Verdict};
use crate::solver::Pull;

/// Follows encoders and keypoints, and says both answers.
#[derive(Debug, Clone)]
pub struct Fusion {
    map: JointMap,
    retargeter: Retargeter,
    weight: f64,
    posture: Vec<Pull>,
}

impl Fusion {
    /// `weight` is c, per rad² (m²): at 0.1 a radian weighs as much as a fingertip half a metre off.
    ///
    /// # Panics
    /// When map and retargeter are not of hands of one size.
    pub fn new(map: JointMap, retargeter: Retargeter, weight: f64) -> Self {
        assert_eq!(map.hand().dof(), retargeter.hand().dof(), "two hands");
        Self {
            posture: vec![Pull::default(); map.hand().dof()],
            map,
            retargeter,
            weight,
        }
    }

    /// Follows calibrated exoskeleton angles, shape (dof,) (rad), and keypoints of the same moment.
    /// An angle that is not finite leaves its joint to the keypoints; keypoints that cannot be
    /// followed hold the second answer, not the first.
    pub fn step(
        &mut self,
        angles: &[f64],
        keypoints: &Keypoints,
        dt_s: Option<f64>,
    ) -> (&Step, &Verdict) {
        let step = self.map.step(angles, dt_s);
        for ((pull, &to), &asked) in self.posture.iter_mut().zip(&step.position).zip(angles) {
            *pull = Pull {
                weight: if asked.is_finite() { self.weight } else { 0.0 },
                to,
            };
        }
        let verdict = self
            .retargeter
            .step_from_posture(keypoints, &self.posture, dt_s);
        (step, verdict)
    }
}
