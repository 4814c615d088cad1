//! 21 hand keypoints to hand joint angles.
//!
//! Each fingertip and each middle joint is drawn to the human one, both seen from the wrist and
//! scaled finger by finger; a small pull to the previous answer settles what the points leave open:
//!
//! min Σ w ‖p(q) − s·v‖² + λ ‖q − q₋‖², q within the limits and, given a time step, within speed.
//!
//! This is the vector objective of AnyTeleop (Qin et al., RSS 2023, eq. 1) with squares in place of
//! Huber's loss and one scale per finger in place of one for the hand.

use std::sync::Arc;

use nalgebra::Vector3;

use crate::exo_map::LONGEST_STEP_S;
use crate::hand::Hand;
use crate::keypoint_targets::{
    FingerScale, Keypoints, SHORTEST_PALM_M, Target, targets, tip_and_middle,
};
use crate::kinematics::Kinematics;
use crate::solver::{BoxSolver, Normal};

/// A coordinate was not a finite number: the previous answer was kept.
pub const KEYPOINTS_NON_FINITE: u32 = 1;
/// The points cannot be this person's hand (palm shorter than 1 cm, a finger half as long again as
/// its scale allows): the previous answer was kept.
pub const KEYPOINTS_DEGENERATE: u32 = 1 << 1;
/// The points do not lie along the axes of this hand's frame, or belong to the other hand: the
/// previous answer was kept.
pub const KEYPOINTS_WRONG_AXES: u32 = 1 << 2;

/// λ, the pull to the previous answer (m²/rad²). A joint 0.1 m from its tip has 0.01 of its own.
const PULL: f64 = 1e-3;
/// A scaled target farther than this many times the robot's reach is no hand of this person.
const FARTHEST_TARGET: f64 = 1.5;
/// Places in the joint ranges from which the first solve and those after a gap start.
const SEEDS: [f64; 3] = [0.15, 0.5, 0.85];
/// One answer of a [`KeypointSolver`].
#[derive(Debug, Clone, PartialEq)]
pub struct KeypointStep {
    /// Joint angles, shape (dof,) (rad): always finite and within limits.
    pub position: Vec<f64>,
    /// Distance of each fingertip from its scaled keypoint, in the order of [`Hand::tips`] (m);
    /// NaN when the step was held.
    pub tip_error_m: Vec<f64>,
    /// Iterations taken, those of all starts together.
    pub iterations: u32,
    /// 0, or why the previous answer was held: [`KEYPOINTS_NON_FINITE`], [`KEYPOINTS_DEGENERATE`],
    /// [`KEYPOINTS_WRONG_AXES`].
    pub flags: u32,
}

/// Follows keypoints with a hand, step by step. No step allocates.
#[derive(Debug, Clone)]
pub struct KeypointSolver {
    kinematics: Kinematics,
    solver: BoxSolver,
    targets: Vec<Target>,
    columns: Vec<Vector3<f64>>,
    bounds: Vec<(f64, f64)>,
    pulled_to: Vec<f64>,
    candidate: Vec<f64>,
    has_answer: bool,
    last: KeypointStep,
}

impl KeypointSolver {
    /// A solver for `hand` and a person measured by [`crate::finger_scales`] (a finger without an entry
    /// has scale 1). It stands in [`Hand::rest`] until the first good step.
    pub fn new(hand: impl Into<Arc<Hand>>, scales: &[FingerScale]) -> Self {
        let hand = hand.into();
        let mut targets = targets(&hand);
        for target in &mut targets {
            if let Some(scale) = scales.iter().find(|scale| scale.finger == target.finger) {
                let is_tip = target.keypoint == tip_and_middle(target.finger).0;
                target.scale = if is_tip { scale.tip } else { scale.middle };
            }
        }
        let dof = hand.dof();
        Self {
            solver: BoxSolver::new(dof),
            targets,
            columns: vec![Vector3::zeros(); dof],
            bounds: hand.limits().to_vec(),
            pulled_to: hand.rest(),
            candidate: hand.rest(),
            has_answer: false,
            last: KeypointStep {
                position: hand.rest(),
                tip_error_m: vec![f64::NAN; hand.tips().len()],
                iterations: 0,
                flags: 0,
            },
            kinematics: Kinematics::new(hand),
        }
    }

    /// The hand.
    pub fn hand(&self) -> &Arc<Hand> {
        self.kinematics.hand()
    }

    /// Follows the keypoints of the next moment.
    ///
    /// `dt_s` is the time since the previous step (s); it keeps the joints within their speed.
    /// `None`, a value that is not finite, or one above [`LONGEST_STEP_S`] is a gap: the hand may
    /// start anywhere, and several starts are tried.
    pub fn step(&mut self, keypoints: &Keypoints, dt_s: Option<f64>) -> &KeypointStep {
        self.last.flags = self.find_goals(keypoints);
        self.last.iterations = 0;
        if self.last.flags != 0 {
            self.last.tip_error_m.fill(f64::NAN);
            return &self.last;
        }
        let dt_s =
            dt_s.filter(|dt_s| self.has_answer && dt_s.is_finite() && *dt_s <= LONGEST_STEP_S);
        self.find_bounds(dt_s);
        self.pulled_to.copy_from_slice(&self.last.position);
        let mut position = std::mem::take(&mut self.last.position);
        let mut value = self.solve(&mut position);
        if dt_s.is_none() {
            let mut candidate = std::mem::take(&mut self.candidate);
            for part in SEEDS {
                for (start, &(lower, upper)) in candidate.iter_mut().zip(&self.bounds) {
                    *start = lower + part * (upper - lower);
                }
                let candidate_value = self.solve(&mut candidate);
                if candidate_value < value {
                    value = candidate_value;
                    position.copy_from_slice(&candidate);
                }
            }
            self.candidate = candidate;
        }
        self.last.position = position;
        self.has_answer = true;
        self.kinematics.update(&self.last.position);
        let tips = self.targets.chunk_by(|one, next| one.finger == next.finger);
        let errors = tips.zip(&self.kinematics.pose().tips);
        for (error, (targets, tip)) in self.last.tip_error_m.iter_mut().zip(errors) {
            *error = (tip.coords - targets[0].goal).norm();
        }
        &self.last
    }

    /// Sets the goals from keypoints, or returns the flags that say why not.
    fn find_goals(&mut self, keypoints: &Keypoints) -> u32 {
        if !keypoints
            .iter()
            .all(|point| point.iter().all(|x| x.is_finite()))
        {
            return KEYPOINTS_NON_FINITE;
        }
        let [wrist, index, middle, little] = [0, 5, 9, 17].map(|at| keypoints[at]);
        let palm = middle - wrist;
        // Finite coordinates near the end of the range overflow in the length.
        let is_palm = palm.norm() > SHORTEST_PALM_M && palm.norm().is_finite();
        if !is_palm {
            return KEYPOINTS_DEGENERATE;
        }
        let thumb_along_y = self.kinematics.hand().side().thumb_along_y();
        if palm.z < 0.5 * palm.norm() || (index - little).y * thumb_along_y <= 0.0 {
            return KEYPOINTS_WRONG_AXES;
        }
        for target in &mut self.targets {
            let goal = (keypoints[target.keypoint] - wrist) * target.scale;
            let is_possible = goal.norm() <= FARTHEST_TARGET * target.reach;
            if !is_possible {
                return KEYPOINTS_DEGENERATE;
            }
            target.goal = goal;
        }
        0
    }

    /// The box of this step: the limits, and what the joints can reach in `dt_s` from the last.
    fn find_bounds(&mut self, dt_s: Option<f64>) {
        let hand = self.kinematics.hand();
        for (variable, bounds) in self.bounds.iter_mut().enumerate() {
            *bounds = hand.limits()[variable];
            if let Some(dt_s) = dt_s {
                let reach = hand.velocities()[variable] * dt_s.max(0.0);
                let previous = self.last.position[variable];
                bounds.0 = bounds.0.max(previous - reach);
                bounds.1 = bounds.1.min(previous + reach);
            }
        }
    }

    /// Minimises from `q` and leaves the answer there; returns the objective.
    fn solve(&mut self, q: &mut [f64]) -> f64 {
        let (kinematics, targets) = (&mut self.kinematics, &self.targets);
        let (columns, pulled_to) = (&mut self.columns, &self.pulled_to);
        let outcome = self.solver.minimise(q, &self.bounds, |q, normal| {
            objective(kinematics, targets, pulled_to, columns, q, normal)
        });
        self.last.iterations += outcome.iterations;
        outcome.value
    }
}

/// The objective (see the head of this file) at `q`, and its normal equations; both halved.
fn objective(
    kinematics: &mut Kinematics,
    targets: &[Target],
    pulled_to: &[f64],
    columns: &mut [Vector3<f64>],
    q: &[f64],
    mut normal: Option<&mut Normal>,
) -> f64 {
    let n = q.len();
    kinematics.update(q);
    let mut value = 0.0;
    if let Some(normal) = normal.as_deref_mut() {
        normal.gradient.fill(0.0);
        normal.matrix.fill(0.0);
    }
    for (i, (q, pulled_to)) in q.iter().zip(pulled_to).enumerate() {
        let away = q - pulled_to;
        value += 0.5 * PULL * away * away;
        if let Some(normal) = normal.as_deref_mut() {
            normal.gradient[i] += PULL * away;
            normal.matrix[i * n + i] += PULL;
        }
    }
    for target in targets {
        let point = kinematics.point_in_root(Some(target.joint), &target.point_in_joint);
        let error = point.coords - target.goal;
        value += 0.5 * target.weight * error.norm_squared();
        let Some(normal) = normal.as_deref_mut() else {
            continue;
        };
        kinematics.point_jacobian(target.joint, &point, columns);
        for i in 0..n {
            // Most variables belong to other fingers.
            if columns[i] == Vector3::zeros() {
                continue;
            }
            normal.gradient[i] += target.weight * columns[i].dot(&error);
            for j in 0..n {
                normal.matrix[i * n + j] += target.weight * columns[i].dot(&columns[j]);
            }
        }
    }
    value
}
