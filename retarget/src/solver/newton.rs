//! Projected, damped Newton within a box.
//!
//! Each step minimises the damped quadratic model over the box by an active set: variables that
//! would leave it are put on its side and the rest is solved again. Steps that do not help raise
//! the damping, so that every iterate is feasible and none is worse than the start
//! (Bertsekas, SIAM J. Control Optim. 20(2), 1982; Nocedal & Wright, chapters 10 and 16).

use super::barrier::{Contacts, add_square};
use super::by_fours::by_fours;
use super::dense::{Dense, System};
use super::objective::{Derivatives, Objective};

/// Most iterations of one solve, and of a part of one; stopping early costs accuracy only.
const MOST_ITERATIONS: u32 = 40;
const PART_ITERATIONS: u32 = 3;
/// A free gradient entry below this is converged.
const GRADIENT_TOLERANCE: f64 = 1e-8;
/// A step that promises less than this is the last.
const GAIN_TOLERANCE: f64 = 1e-10;
/// So is one that promises less than this part of F where capsules push: what is left moves no
/// joint by as much as a step of an encoder.
const SHARE_TOLERANCE: f64 = 1e-5;
/// Linear systems of a brief solve, and of a part of one, where capsules push, and not many more.
const MOST_SYSTEMS: u32 = 54;
const PART_SYSTEMS: u32 = 16;
/// First damping after a step that does not help, and the factors from there on.
const FIRST_DAMPING: f64 = 1e-4;
const DAMPING_UP: f64 = 6.0;
const DAMPING_DOWN: f64 = 10.0;
/// A step that gains more than this part of F is far from the minimum.
const FAR_SHARE: f64 = 0.05;
/// Damping below this is dropped; above that the solve gives up.
const LEAST_DAMPING: f64 = 1e-6;
const MOST_DAMPING: f64 = 1e6;
/// Farthest that a variable goes in one iteration (rad, m), so that the basin of the start is not left
/// by a leap.
const TRUST: f64 = 0.3;
/// The same where links must not be leapt over: with fingers of 0.1 m, less than a link is thick.
const SHORT_TRUST: f64 = 0.04;
/// How often variables are let go from their sides in the model of one step.
const MOST_RELEASES: u32 = 1;
/// Rounds in which the contacts within the margin after a step are found.
const MOST_ROUNDS: usize = 4;
/// A step into links that gains less than this part of what the model promises is found again
/// with a model that knows them.
const LEAST_SHARE: f64 = 0.5;
/// A pivot below this makes the matrix not positive definite.
const LEAST_PIVOT: f64 = 1e-12;

/// What a solve came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// F there.
    pub value: f64,
    /// Iterations taken.
    pub iterations: u32,
    /// Linear systems solved in them.
    pub systems: u32,
    /// Whether further iterations would change next to nothing.
    pub is_settled: bool,
}

/// How far a solve goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// To the minimum.
    Whole,
    /// Where links push each other it stops early: the next step comes soon, and may go on with what
    /// is left.
    Brief,
    /// A few iterations.
    Part,
}

/// Buffers for problems of one shape: no call allocates.
#[derive(Debug, Clone)]
pub(super) struct Newton {
    derivatives: Derivatives,
    contacts: Contacts,
    /// Which contacts the model of the step has within the margin.
    is_on: Vec<bool>,
    /// Gradient and Hessian with those.
    model: Derivatives,
    dense: Dense,
    /// The free variables, ascending, and what the system's right side and then its solution is.
    free: Vec<usize>,
    right: Vec<f64>,
    step: Vec<f64>,
    trial: Vec<f64>,
    is_free: Vec<bool>,
    /// Whether the last step is the model's minimum over the box, not cut by the trust region.
    is_newton: bool,
    /// Linear systems solved since the beginning of this solve.
    systems: u32,
    /// Damping of the first step of the solve before.
    first_damping: f64,
    trust: f64,
}

impl Newton {
    pub(super) fn new(objective: &Objective) -> Self {
        let n = objective.dof();
        let derivatives = Derivatives {
            gradient: vec![0.0; n],
            hessian: vec![0.0; n * n],
        };
        Self {
            model: derivatives.clone(),
            derivatives,
            contacts: Contacts::with_room(objective.most_contacts(), n),
            is_on: Vec::with_capacity(objective.most_contacts()),
            dense: Dense::new(n),
            free: Vec::with_capacity(n),
            right: vec![0.0; n],
            step: vec![0.0; n],
            trial: vec![0.0; n],
            is_free: vec![false; n],
            is_newton: false,
            systems: 0,
            first_damping: 0.0,
            trust: TRUST,
        }
    }

    /// Whether variables go but a little in one iteration, so that contacts are seen before they are passed.
    pub(super) fn set_short(&mut self, is_short: bool) {
        self.trust = if is_short { SHORT_TRUST } else { TRUST };
    }

    /// Minimises from `q`, which must lie within `bounds` and stays there (local variables).
    pub(super) fn minimise(
        &mut self,
        objective: &mut Objective,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        effort: Effort,
    ) -> Outcome {
        let mut value = objective.value(q);
        objective.forget();
        let is_apart = objective.is_apart();
        let is_short = is_apart && effort != Effort::Whole;
        let (most_iterations, most_systems) = match effort {
            Effort::Part => (PART_ITERATIONS, PART_SYSTEMS),
            _ => (MOST_ITERATIONS, MOST_SYSTEMS),
        };
        // What made the model convex a moment ago is likely to do so again.
        let mut damping = if is_apart {
            self.first_damping / DAMPING_UP
        } else {
            0.0
        };
        let mut iterations = 0;
        self.systems = 0;
        let mut is_far = is_short;
        let mut was_far = false;
        objective.set_far(is_far);
        let mut is_settled = true;
        'steps: loop {
            if iterations >= most_iterations {
                is_settled = false;
                break;
            }
            objective.model(q, &mut self.derivatives, &mut self.contacts);
            if self.find_free(q, bounds) < GRADIENT_TOLERANCE {
                break;
            }
            iterations += 1;
            loop {
                let found = self.find_step(q, bounds, damping);
                if let Ok(promise) = found {
                    for (i, trial) in self.trial.iter_mut().enumerate() {
                        *trial = (q[i] + self.step[i]).clamp(bounds[i].0, bounds[i].1);
                    }
                    let trial_value = objective.value(&self.trial);
                    let gain = value - trial_value;
                    if gain < LEAST_SHARE * promise && objective.watch() {
                        // Into links that the model did not know of: now it does.
                        objective.value(q);
                        objective.model(q, &mut self.derivatives, &mut self.contacts);
                        self.find_free(q, bounds);
                        continue;
                    }
                    if gain > 0.0 {
                        q.copy_from_slice(&self.trial);
                        value = trial_value;
                        if is_far && gain < FAR_SHARE * value {
                            is_far = false;
                            objective.set_far(false);
                        }
                        if iterations == 1 {
                            self.first_damping = if damping > LEAST_DAMPING {
                                damping
                            } else {
                                0.0
                            };
                        }
                        let tolerance = if is_short {
                            GAIN_TOLERANCE.max(SHARE_TOLERANCE * value)
                        } else {
                            GAIN_TOLERANCE
                        };
                        // Where the model tells the gain so well, what is left is less than what it
                        // was wrong by, and what the damping held back.
                        let held_back = damping * dot(&self.step, &self.step);
                        let is_told = (is_short || !is_apart)
                            && self.is_newton
                            && (promise - gain).abs() + held_back < tolerance;
                        if promise.abs() < tolerance || is_told {
                            break 'steps;
                        }
                        if is_short && self.systems >= most_systems {
                            is_settled = false;
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
                if !is_apart && !was_far {
                    // Where the exact model leads nowhere the other may, once in a solve.
                    (is_far, was_far) = (true, true);
                    objective.set_far(true);
                    objective.value(q);
                    objective.model(q, &mut self.derivatives, &mut self.contacts);
                    self.find_free(q, bounds);
                    continue;
                }
                damping = (damping * DAMPING_UP).max(FIRST_DAMPING);
                if let Err(short) = found
                    && is_apart
                {
                    // Less than this is not enough.
                    damping = damping.max(short);
                }
                if damping > MOST_DAMPING {
                    break 'steps;
                }
                // The set of free variables starts anew.
                self.find_free(q, bounds);
            }
        }
        objective.set_far(false);
        Outcome {
            value,
            iterations,
            systems: self.systems,
            is_settled,
        }
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

    by_fours! {
        /// The step that minimises the damped model over the box, as far as the active set finds it,
        /// and what the model promises of it; when the model is not convex, by how much it is short
        /// of it.
        fn find_step, find_step_by_fours, find_promising_step(
            &mut self, q: &[f64], bounds: &[(f64, f64)], damping: f64,
        ) -> Result<f64, f64>
    }

    /// As [`Newton::find_step`].
    ///
    /// Contacts are in the model where the step leaves them within the margin.
    #[inline(always)]
    fn find_promising_step(
        &mut self,
        q: &[f64],
        bounds: &[(f64, f64)],
        damping: f64,
    ) -> Result<f64, f64> {
        let n = q.len();
        let stiffness = self.contacts.stiffness;
        self.is_on.clear();
        self.is_on
            .extend(self.contacts.depths.iter().map(|&depth| depth > 0.0));
        self.step.fill(0.0);
        self.is_newton = false;
        let rounds = if self.is_on.is_empty() {
            // Nothing to add: the model is what there is.
            std::mem::swap(&mut self.model, &mut self.derivatives);
            let found = self.find_model_step(q, bounds, damping);
            std::mem::swap(&mut self.model, &mut self.derivatives);
            found?;
            0
        } else {
            MOST_ROUNDS
        };
        for _ in 0..rounds {
            self.model
                .gradient
                .copy_from_slice(&self.derivatives.gradient);
            self.model
                .hessian
                .copy_from_slice(&self.derivatives.hessian);
            for ((depth, slope), &is_on) in self.contacts.iter(n).zip(&self.is_on) {
                let was_on = depth > 0.0;
                if is_on {
                    add_square(slope, stiffness, &mut self.model.hessian);
                }
                if is_on != was_on {
                    let factor = stiffness * if is_on { -depth } else { depth };
                    for (to, slope) in self.model.gradient.iter_mut().zip(slope) {
                        *to += factor * slope;
                    }
                }
            }
            self.find_model_step(q, bounds, damping)?;
            let mut is_settled = true;
            for ((depth, slope), is_on) in self.contacts.iter(n).zip(&mut self.is_on) {
                let is = depth > dot(slope, &self.step);
                is_settled &= is == *is_on;
                *is_on = is;
            }
            if is_settled {
                break;
            }
        }
        let Derivatives { gradient, hessian } = &self.derivatives;
        let mut promise = 0.0;
        for i in 0..n {
            let bent = dot(&hessian[i * n..i * n + i], &self.step);
            let own = 0.5 * hessian[i * n + i] * self.step[i];
            promise -= self.step[i] * (gradient[i] + bent + own);
        }
        for (depth, slope) in self.contacts.iter(n) {
            // The gradient has −k·depth of those within the margin already.
            let along = dot(slope, &self.step);
            let (now, then) = (depth.max(0.0), (depth - along).max(0.0));
            promise -= stiffness * (0.5 * (then * then - now * now) + now * along);
        }
        Ok(promise)
    }

    /// The step that minimises the damped `model` over the box and the trust region; when that is not
    /// convex, by how much a pivot fell below zero.
    ///
    /// Block pivoting: all variables that would leave go to the side at once, and those that
    /// the model draws back from their sides are let go at once (Júdice and Pires, Computers &
    /// Operations Research 21(5), 1994). Another system costs far less than another step.
    #[inline(always)]
    fn find_model_step(
        &mut self,
        q: &[f64],
        bounds: &[(f64, f64)],
        damping: f64,
    ) -> Result<(), f64> {
        let n = q.len();
        for (step, is_free) in self.step.iter_mut().zip(&self.is_free) {
            if *is_free {
                *step = 0.0;
            }
        }
        let mut releases = MOST_RELEASES;
        loop {
            let Derivatives { gradient, hessian } = &self.model;
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
                let step = self.step[k];
                let further_in = self.free.partition_point(|&i| i < k);
                let (before, behind) = self.right.split_at_mut(further_in);
                for (right, &i) in before.iter_mut().zip(&self.free) {
                    *right -= hessian[k * n + i] * step;
                }
                for (right, &i) in behind.iter_mut().zip(&self.free[further_in..]) {
                    *right -= hessian[i * n + k] * step;
                }
            }
            let system = System {
                lower: hessian,
                n,
                free: &self.free,
                damping,
                least: LEAST_PIVOT,
            };
            self.systems += 1;
            if let Some(pivot) = self.dense.solve(system, &mut self.right) {
                return Err(-pivot);
            }
            let mut is_inside = true;
            for (at, &i) in self.free.iter().enumerate() {
                let (lower, upper) = sides(q[i], bounds[i], self.trust);
                let step = self.right[at];
                self.step[i] = step.clamp(lower, upper);
                if step < lower || step > upper {
                    self.is_free[i] = false;
                    is_inside = false;
                }
            }
            if is_inside {
                if releases == 0 || !self.release(q, bounds, damping) {
                    return Ok(());
                }
                releases -= 1;
            }
            for &i in &self.free {
                if self.is_free[i] {
                    self.step[i] = 0.0;
                }
            }
        }
    }

    /// Lets go of the variables on a side of the box that the damped model draws back from it; whether
    /// any. Those that the trust region holds stay: with all of them let go, a step would still
    /// leave the basin of the start.
    #[inline(always)]
    fn release(&mut self, q: &[f64], bounds: &[(f64, f64)], damping: f64) -> bool {
        let n = q.len();
        let Derivatives { gradient, hessian } = &self.model;
        self.is_newton = true;
        let mut is_any = false;
        for i in 0..n {
            if self.is_free[i] {
                continue;
            }
            let (lower, upper) = sides(q[i], bounds[i], self.trust);
            let step = self.step[i];
            let is_lower = step - lower < upper - step;
            let mut slope =
                gradient[i] + damping * step + dot(&hessian[i * n..=i * n + i], &self.step);
            for k in i + 1..n {
                slope += hessian[k * n + i] * self.step[k];
            }
            let inwards = if is_lower { -slope } else { slope };
            if inwards > GRADIENT_TOLERANCE && upper > lower && step.abs() < self.trust {
                self.is_free[i] = true;
                self.step[i] = 0.0;
                is_any = true;
            }
            // A step that was cut short has more to gain.
            self.is_newton &= step.abs() < self.trust;
        }
        self.is_newton &= !is_any;
        is_any
    }
}

/// How far a variable at `q` may go (rad, m).
#[inline(always)]
fn sides(q: f64, (lower, upper): (f64, f64), trust: f64) -> (f64, f64) {
    ((lower - q).max(-trust), (upper - q).min(trust))
}

#[inline(always)]
fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}
