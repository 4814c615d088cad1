//! The problem of one step: points of a hand drawn to targets, within a box.
//!
//! A problem whose terms share no variable falls apart into blocks (a finger each), which are solved
//! one by one.

mod band;
mod barrier;
mod by_fours;
mod dense;
mod linkage;
mod load;
mod newton;
mod objective;
mod trajectory;

use nalgebra::Vector3;

pub use linkage::LinkPoint;
pub(crate) use linkage::Linkage;
pub use newton::Outcome;
pub use objective::{Loss, Pull, Term};
pub(crate) use trajectory::{StretchStep, TrajectoryBuffers};

use crate::collision::CollisionOptions;
use crate::hand::Hand;
use dense::MOST_VARIABLES;
use newton::{Effort, Newton};
use objective::Objective;

/// Terms that share variables, solved together.
#[derive(Debug, Clone)]
struct Block {
    objective: Objective,
    newton: Newton,
    /// Index of each of the objective's terms among the problem's.
    terms: Vec<usize>,
    bounds: Vec<(f64, f64)>,
    q: Vec<f64>,
    candidate: Vec<f64>,
}

/// Solves one step after another. No call allocates after [`StepSolver::new`].
#[derive(Debug, Clone)]
pub struct StepSolver {
    blocks: Vec<Block>,
    /// Variables that no term moves.
    idle: Vec<usize>,
    posture: Vec<Pull>,
    last: Vec<f64>,
    inertia: f64,
    is_brief: bool,
}

impl StepSolver {
    /// A solver for `terms` over `points`; targets and weights can be set later.
    ///
    /// `delta` is where Huber's loss turns linear (m), `inertia` the weight λ of the pull to the last
    /// answer. With `apart` links push each other away, and the problem is one block.
    pub fn new(
        hand: &Hand,
        points: &[LinkPoint],
        terms: &[Term],
        (delta, inertia): (f64, f64),
        apart: Option<&CollisionOptions>,
    ) -> Self {
        let moved = |point: Option<usize>| {
            let joint = point.and_then(|point| points[point].joint);
            std::iter::successors(joint, |&at| hand.joints()[at].parent)
                .map(|joint| hand.joints()[joint].variable)
        };
        let moved_by: Vec<Vec<usize>> = terms
            .iter()
            .map(|term| moved(term.origin).chain(moved(Some(term.task))).collect())
            .collect();
        let all: Vec<usize> = (0..hand.dof()).collect();
        let block_of = match apart {
            Some(_) => partition(hand.dof(), &[all]),
            None => partition(hand.dof(), &moved_by),
        };
        let mut blocks: Vec<Block> = Vec::new();
        let mut ids: Vec<usize> = block_of.iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let members: Vec<usize> = (0..terms.len())
                .filter(|&term| {
                    moved_by[term]
                        .first()
                        .is_some_and(|&variable| block_of[variable] == Some(id))
                })
                .collect();
            blocks.push(Block::new(
                hand,
                points,
                terms,
                members,
                (delta, inertia),
                apart,
            ));
        }
        Self {
            blocks,
            idle: (0..hand.dof())
                .filter(|&variable| block_of[variable].is_none())
                .collect(),
            posture: vec![Pull::default(); hand.dof()],
            last: vec![0.0; hand.dof()],
            inertia,
            is_brief: false,
        }
    }

    /// Sets target and weight of every term: `set` gets the term's index in the list of
    /// [`StepSolver::new`].
    pub fn set_targets(&mut self, mut set: impl FnMut(usize, &mut Vector3<f64>, &mut f64)) {
        for block in &mut self.blocks {
            for (&index, term) in block.terms.iter().zip(&mut block.objective.terms) {
                set(index, &mut term.target, &mut term.weight);
            }
        }
    }

    /// Sets the posture that the variables are pulled to, shape (dof,).
    pub fn set_posture(&mut self, posture: &[Pull]) {
        self.posture.copy_from_slice(posture);
        for block in &mut self.blocks {
            for (local, &variable) in block.objective.linkage.variables.iter().enumerate() {
                block.objective.posture[local] = posture[variable];
            }
        }
    }

    /// Solves without seeds stop early where links push: what is left is done in the next step.
    pub(crate) fn set_brief(&mut self, is_brief: bool) {
        self.is_brief = is_brief;
    }

    /// Solves go in steps so short that no link passes through another.
    pub(crate) fn set_short(&mut self, is_short: bool) {
        for block in &mut self.blocks {
            block.newton.set_short(is_short);
        }
    }

    /// Makes links push each other so many times as hard as at the beginning.
    pub(crate) fn stiffen(&mut self, stiffer: f64) {
        for block in &mut self.blocks {
            block.objective.stiffen(stiffer);
        }
    }

    /// Sets the last answer that variables are pulled to, shape (dof,).
    pub(crate) fn set_last(&mut self, last: &[f64]) {
        self.last.copy_from_slice(last);
        for block in &mut self.blocks {
            for (local, &variable) in block.objective.linkage.variables.iter().enumerate() {
                block.objective.last[local] = last[variable];
            }
        }
    }

    /// The posture that the variables are pulled to, shape (dof,).
    pub fn posture(&self) -> &[Pull] {
        &self.posture
    }

    /// Minimises from `q` and leaves the answer there, shape (dof,). `last` is the last answer;
    /// `q` must lie within `bounds`. `seeds` are further places to start from, as parts of the
    /// bounds' width.
    pub fn minimise(
        &mut self,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        last: &[f64],
        seeds: &[f64],
    ) -> Outcome {
        let effort = if self.is_brief && seeds.is_empty() {
            Effort::Brief
        } else {
            Effort::Whole
        };
        self.solve(q, bounds, last, seeds, effort)
    }

    /// Goes on from `q` for a few iterations; see [`StepSolver::minimise`].
    pub(crate) fn advance(
        &mut self,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        last: &[f64],
    ) -> Outcome {
        self.solve(q, bounds, last, &[], Effort::Part)
    }

    fn solve(
        &mut self,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        last: &[f64],
        seeds: &[f64],
        effort: Effort,
    ) -> Outcome {
        let mut sum = Outcome {
            value: 0.0,
            iterations: 0,
            systems: 0,
            is_settled: true,
        };
        for block in &mut self.blocks {
            let outcome = block.minimise(q, bounds, last, seeds, effort);
            sum.value += outcome.value;
            sum.iterations += outcome.iterations;
            sum.systems += outcome.systems;
            sum.is_settled &= outcome.is_settled;
        }
        self.last.copy_from_slice(last);
        for &variable in &self.idle {
            let pull = self.posture[variable];
            let weight = pull.weight + self.inertia;
            let (lower, upper) = bounds[variable];
            if weight > 0.0 {
                let centre = (pull.weight * pull.to + self.inertia * last[variable]) / weight;
                q[variable] = centre.clamp(lower, upper);
            }
            sum.value += self.idle_value(variable, q[variable]);
        }
        sum
    }

    /// What a variable that no term moves adds.
    fn idle_value(&self, variable: usize, q: f64) -> f64 {
        let pull = self.posture[variable];
        let (moved, away) = (q - self.last[variable], q - pull.to);
        self.inertia * moved * moved + pull.weight * away * away
    }

    /// F at `q`, shape (dof,); what [`StepSolver::error`] then speaks of.
    pub fn value(&mut self, q: &[f64]) -> f64 {
        let mut sum = 0.0;
        for block in &mut self.blocks {
            for (local, &variable) in block.objective.linkage.variables.iter().enumerate() {
                block.q[local] = q[variable];
            }
            sum += block.objective.value(&block.q);
        }
        for &variable in &self.idle {
            sum += self.idle_value(variable, q[variable]);
        }
        sum
    }

    /// Length of a term's residual at the last [`StepSolver::value`] (m).
    pub fn error(&self, term: usize) -> f64 {
        self.blocks
            .iter()
            .find_map(|block| {
                let local = block.terms.iter().position(|&known| known == term)?;
                Some(block.objective.error(local))
            })
            .unwrap_or(f64::NAN)
    }
}

impl Block {
    fn new(
        hand: &Hand,
        points: &[LinkPoint],
        terms: &[Term],
        members: Vec<usize>,
        (delta, inertia): (f64, f64),
        apart: Option<&CollisionOptions>,
    ) -> Self {
        // Only the points that the members use, so that nothing else is computed.
        let mut used: Vec<usize> = members
            .iter()
            .flat_map(|&term| terms[term].origin.into_iter().chain([terms[term].task]))
            .collect();
        used.sort_unstable();
        used.dedup();
        let local = |point: usize| used.binary_search(&point).expect("just listed");
        let own_terms = members
            .iter()
            .map(|&term| Term {
                origin: terms[term].origin.map(local),
                task: local(terms[term].task),
                ..terms[term]
            })
            .collect();
        let own_points: Vec<LinkPoint> = used.iter().map(|&point| points[point]).collect();
        let mut objective = Objective::new(hand, &own_points, own_terms, delta, apart);
        objective.inertia = inertia;
        let dof = objective.dof();
        assert!(
            dof <= MOST_VARIABLES,
            "{dof} variables, at most {MOST_VARIABLES}"
        );
        Self {
            newton: Newton::new(&objective),
            objective,
            terms: members,
            bounds: vec![(0.0, 0.0); dof],
            q: vec![0.0; dof],
            candidate: vec![0.0; dof],
        }
    }

    fn minimise(
        &mut self,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        last: &[f64],
        seeds: &[f64],
        effort: Effort,
    ) -> Outcome {
        for (local, &variable) in self.objective.linkage.variables.iter().enumerate() {
            self.q[local] = q[variable];
            self.bounds[local] = bounds[variable];
            self.objective.last[local] = last[variable];
        }
        let mut best = self
            .newton
            .minimise(&mut self.objective, &mut self.q, &self.bounds, effort);
        for part in seeds {
            for (start, &(lower, upper)) in self.candidate.iter_mut().zip(&self.bounds) {
                *start = lower + part * (upper - lower);
            }
            let outcome = self.newton.minimise(
                &mut self.objective,
                &mut self.candidate,
                &self.bounds,
                effort,
            );
            best.iterations += outcome.iterations;
            best.systems += outcome.systems;
            if outcome.value < best.value {
                best.value = outcome.value;
                self.q.copy_from_slice(&self.candidate);
            }
        }
        for (local, &variable) in self.objective.linkage.variables.iter().enumerate() {
            q[variable] = self.q[local];
        }
        best
    }
}

/// The least of the variables that each variable is tied to by sets of them; `None` for one in no
/// set.
fn partition(variables: usize, sets: &[Vec<usize>]) -> Vec<Option<usize>> {
    let mut block_of: Vec<Option<usize>> = vec![None; variables];
    for set in sets {
        let least = set
            .iter()
            .map(|&variable| block_of[variable].unwrap_or(variable))
            .min();
        let Some(least) = least else { continue };
        let merged: Vec<usize> = set
            .iter()
            .map(|&variable| block_of[variable].unwrap_or(variable))
            .collect();
        for block in &mut block_of {
            if block.is_some_and(|id| merged.contains(&id)) {
                *block = Some(least);
            }
        }
        for &variable in set {
            block_of[variable] = Some(least);
        }
    }
    block_of
}
