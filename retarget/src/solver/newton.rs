//! Projected, damped Newton within a box.
//!
//! Each step minimises the damped quadratic model over the box by an active set: variables that
//! would leave it are put on its side and the rest is solved again. Steps that do not help raise
//! the damping, so that every iterate is feasible and none is worse than the start
//! (Bertsekas, SIAM J. Control Optim. 20(2), 1982; Nocedal & Wright, chapters 10 and 16).

use super::dense::Dense;
use super::objective::{Derivatives, Objective};

/// Most iterations of one solve; stopping early costs accuracy only.
const MOST_ITERATIONS: u32 = 40;
/// A free gradient entry below this is converged.
const GRADIENT_TOLERANCE: f64 = 1e-8;
/// A step that promises less than this is the last.
const GAIN_TOLERANCE: f64 = 1e-10;
/// First damping after a step that does not help, and the factors from there on.
const FIRST_DAMPING: f64 = 1e-4;
const DAMPING_UP: f64 = 6.0;
const DAMPING_DOWN: f64 = 10.0;
/// Damping below this is dropped; above that the solve gives up.
const LEAST_DAMPING: f64 = 1e-6;
const MOST_DAMPING: f64 = 1e6;
/// Farthest that a variable goes in one iteration (rad, m), so that the basin of the start is not left
/// by a leap.
const TRUST: f64 = 0.3;
/// A pivot below this makes the matrix not positive definite.
const LEAST_PIVOT: f64 = 1e-12;

/// What a solve came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// F there.
    pub value: f64,
    /// Iterations taken.
    pub iterations: u32,
}

/// Buffers for problems of one shape: no call allocates.
#[derive(Debug, Clone)]
pub(super) struct Newton {
    derivatives: Derivatives,
    dense: Dense,
    /// The free variables, ascending, and what the system's right side and then its solution is.
    free: Vec<usize>,
    right: Vec<f64>,
    step: Vec<f64>,
    trial: Vec<f64>,
    is_free: Vec<bool>,
}

impl Newton {
    pub(super) fn new(objective: &Objective) -> Self {
        let n = objective.dof();
        Self {
            derivatives: Derivatives {
                gradient: vec![0.0; n],
                hessian: vec![0.0; n * n],
            },
            dense: Dense::new(n),
            free: Vec::with_capacity(n),
            right: vec![0.0; n],
            step: vec![0.0; n],
            trial: vec![0.0; n],
            is_free: vec![false; n],
        }
    }

    /// Minimises from `q`, which must lie within `bounds` and stays there (local variables).
    pub(super) fn minimise(
        &mut self,
        objective: &mut Objective,
        q: &mut [f64],
        bounds: &[(f64, f64)],
    ) -> Outcome {
        let mut value = objective.value(q);
        let mut damping = 0.0;
        let mut iterations = 0;
        'steps: while iterations < MOST_ITERATIONS {
            objective.derivatives(q, &mut self.derivatives);
            if self.find_free(q, bounds) < GRADIENT_TOLERANCE {
                break;
            }
            iterations += 1;
            loop {
                let promise = self.find_step(q, bounds, damping);
                if let Some(promise) = promise {
                    for (i, trial) in self.trial.iter_mut().enumerate() {
                        *trial = (q[i] + self.step[i]).clamp(bounds[i].0, bounds[i].1);
                    }
                    let trial_value = objective.value(&self.trial);
                    if trial_value < value {
                        q.copy_from_slice(&self.trial);
                        value = trial_value;
                        if promise.abs() < GAIN_TOLERANCE {
                            break 'steps;
                        }
                        damping /= DAMPING_DOWN;
                        if damping < LEAST_DAMPING {
                            damping = 0.0;
                        }
                        break;
                    }
                    if promise.abs() < GAIN_TOLERANCE {
                        break 'steps;
                    }
                }
                damping = (damping * DAMPING_UP).max(FIRST_DAMPING);
                if damping > MOST_DAMPING {
                    break 'steps;
                }
                // The set of free variables starts anew.
                self.find_free(q, bounds);
            }
        }
        Outcome { value, iterations }
    }

    /// Marks the variables that may move: all but those at a bound and pushed against it. Returns
    /// the largest gradient among them.
    fn find_free(&mut self, q: &[f64], bounds: &[(f64, f64)]) -> f64 {
        let mut largest: f64 = 0.0;
        for (i, &(lower, upper)) in bounds.iter().enumerate() {
            let slope = self.derivatives.gradient[i];
            self.is_free[i] = !(q[i] <= lower && slope > 0.0 || q[i] >= upper && slope < 0.0);
            if self.is_free[i] {
                largest = largest.max(slope.abs());
            }
        }
        largest
    }

    /// The step that minimises the damped model over the box, as far as the active set finds it,
    /// and what the model promises of it; `None` when the model is not convex.
    fn find_step(&mut self, q: &[f64], bounds: &[(f64, f64)], damping: f64) -> Option<f64> {
        let n = q.len();
        self.step.fill(0.0);
        let Derivatives { gradient, hessian } = &self.derivatives;
        loop {
            self.free.clear();
            for (i, slope) in gradient.iter().enumerate() {
                if self.is_free[i] {
                    self.right[self.free.len()] = -slope;
                    self.free.push(i);
                }
            }
            // What is already on a side moves the others' gradient.
            for k in 0..n {
                if self.is_free[k] || self.step[k] == 0.0 {
                    continue;
                }
                for (right, &i) in self.right.iter_mut().zip(&self.free) {
                    *right -= hessian[if i > k { i * n + k } else { k * n + i }] * self.step[k];
                }
            }
            let system = (&hessian[..], n);
            if self
                .dense
                .solve(system, &self.free, damping, &mut self.right, LEAST_PIVOT)
                .is_some()
            {
                return None;
            }
            let mut is_inside = true;
            for (at, &i) in self.free.iter().enumerate() {
                let (lower, upper) = bounds[i];
                let (lower, upper) = (lower.max(q[i] - TRUST), upper.min(q[i] + TRUST));
                let to = q[i] + self.right[at];
                self.step[i] = self.right[at];
                if to < lower || to > upper {
                    self.step[i] = to.clamp(lower, upper) - q[i];
                    self.is_free[i] = false;
                    is_inside = false;
                }
            }
            if is_inside {
                break;
            }
            for &i in &self.free {
                if self.is_free[i] {
                    self.step[i] = 0.0;
                }
            }
        }
        let mut promise = 0.0;
        for i in 0..n {
            let row = &hessian[i * n..i * n + i];
            let bent: f64 = row
                .iter()
                .zip(&self.step)
                .map(|(entry, step)| entry * step)
                .sum();
            let own = 0.5 * hessian[i * n + i] * self.step[i];
            promise -= self.step[i] * (gradient[i] + bent + own);
        }
        Some(promise)
    }
}
