//! Many steps at once: Newton for a whole stretch of a recording.
//!
//! min Σ_t F_t(q_t) + Σ_t k_t ‖q_{t+1} − 2 q_t + q_{t−1}‖² within the limits, F_t without the pull to
//! the last answer. The Hessian is block-pentadiagonal, a band of 3n; variables at a limit and pushed
//! against it are taken out of it.

use super::band::Band;
use super::objective::{Derivatives, Pull};
use super::{Block, StepSolver};
use crate::preset::Goal;

/// Most iterations over a stretch; it starts from the answers one by one, which are near.
const MOST_ITERATIONS: u32 = 8;
/// Most halvings of a step.
const MOST_HALVINGS: u32 = 6;
/// A step that gains less than this part of the sum is the last.
const GAIN: f64 = 1e-5;
/// First damping where the sum is not convex, and its factor from there on.
const FIRST_DAMPING: f64 = 1e-3;
const DAMPING_UP: f64 = 10.0;
const MOST_DAMPING: f64 = 1e3;
const LEAST_PIVOT: f64 = 1e-12;

/// One step of a stretch.
#[derive(Debug, Clone)]
pub(crate) struct StretchStep {
    pub(crate) goals: Vec<Goal>,
    pub(crate) posture: Vec<Pull>,
    /// k_t of the second difference around this step; 0 where there is none.
    pub(crate) roughness: f64,
    /// Where it starts from, and the answer, shape (dof,).
    pub(crate) q: Vec<f64>,
}

impl StepSolver {
    /// Minimises over `steps`, of which the first `fixed` stay where they are.
    pub(crate) fn smooth(
        &mut self,
        steps: &mut [StretchStep],
        fixed: usize,
        limits: &[(f64, f64)],
        band: &mut TrajectoryBuffers,
    ) {
        for block in &mut self.blocks {
            let inertia = std::mem::take(&mut block.objective.inertia);
            smooth_block(block, steps, fixed, limits, band);
            block.objective.inertia = inertia;
        }
    }
}

/// What [`StepSolver::smooth`] works in; grows to the longest stretch and stays there.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrajectoryBuffers {
    bands: Vec<(usize, Band)>,
    right: Vec<f64>,
    gradient: Vec<f64>,
    from: Vec<f64>,
}

fn smooth_block(
    block: &mut Block,
    steps: &mut [StretchStep],
    fixed: usize,
    limits: &[(f64, f64)],
    buffers: &mut TrajectoryBuffers,
) {
    let n = block.objective.dof();
    let rows = steps.len() * n;
    if fixed >= steps.len() || n == 0 {
        return;
    }
    let width = 3 * n - 1;
    let TrajectoryBuffers {
        bands,
        right,
        gradient,
        from,
    } = buffers;
    let at = bands
        .iter()
        .position(|(known, _)| *known == width)
        .unwrap_or_else(|| {
            bands.push((width, Band::new(0, width)));
            bands.len() - 1
        });
    if bands[at].1.capacity() < rows {
        bands[at].1 = Band::new(rows, width);
    }
    let band = &mut bands[at].1;
    right.resize(rows, 0.0);
    gradient.resize(rows, 0.0);
    from.resize(rows, 0.0);
    let variables = block.objective.linkage.variables.clone();
    let local = |steps: &[StretchStep], out: &mut [f64]| {
        for (step, out) in steps.iter().zip(out.chunks_exact_mut(n)) {
            for (out, &variable) in out.iter_mut().zip(&variables) {
                *out = step.q[variable];
            }
        }
    };
    let mut derivatives = Derivatives {
        gradient: vec![0.0; n],
        hessian: vec![0.0; n * n],
    };
    let mut q = vec![0.0; rows];
    local(steps, &mut q);
    let mut damping = 0.0;
    for _ in 0..MOST_ITERATIONS {
        band.clear(rows);
        gradient.fill(0.0);
        let mut value = 0.0;
        for (t, step) in steps.iter().enumerate().skip(fixed) {
            block.aim(step);
            let here = &q[t * n..(t + 1) * n];
            value += block.objective.value(here);
            block.objective.derivatives(here, &mut derivatives);
            for row in 0..n {
                gradient[t * n + row] += derivatives.gradient[row];
                for column in 0..=row {
                    *band.at(t * n + column, t * n + row) += derivatives.hessian[row * n + column];
                }
            }
        }
        value += roughness(steps, &q, n, |t, i, slope, k| {
            let row = |at: usize| (t + at - 1) * n + i;
            const STENCIL: [f64; 3] = [1.0, -2.0, 1.0];
            for one in 0..3 {
                gradient[row(one)] += slope * STENCIL[one];
                for (other, weight) in STENCIL.iter().enumerate().skip(one) {
                    *band.at(row(one), row(other)) += 2.0 * k * STENCIL[one] * weight;
                }
            }
        });
        // What stays, and what would only be pushed against a limit.
        for row in 0..rows {
            let (lower, upper) = limits[variables[row % n]];
            let slope = gradient[row];
            let is_stuck = q[row] <= lower && slope > 0.0 || q[row] >= upper && slope < 0.0;
            right[row] = -slope;
            if row < fixed * n || is_stuck {
                band.detach(row);
                right[row] = 0.0;
            } else {
                *band.at(row, row) += damping;
            }
        }
        if !band.factorise(LEAST_PIVOT) {
            damping = (damping * DAMPING_UP).max(FIRST_DAMPING);
            if damping > MOST_DAMPING {
                break;
            }
            continue;
        }
        band.solve(right);
        from.copy_from_slice(&q);
        let mut part = 1.0;
        let mut gained = 0.0;
        for _ in 0..=MOST_HALVINGS {
            for (row, q) in q.iter_mut().enumerate() {
                let (lower, upper) = limits[variables[row % n]];
                *q = (from[row] + part * right[row]).clamp(lower, upper);
                if row < fixed * n {
                    *q = from[row];
                }
            }
            let mut trial = roughness(steps, &q, n, |_, _, _, _| {});
            for (t, step) in steps.iter().enumerate().skip(fixed) {
                block.aim(step);
                trial += block.objective.value(&q[t * n..(t + 1) * n]);
            }
            gained = value - trial;
            if gained > 0.0 {
                break;
            }
            part *= 0.5;
        }
        if gained <= 0.0 {
            q.copy_from_slice(from);
            damping = (damping * DAMPING_UP).max(FIRST_DAMPING);
            if damping > MOST_DAMPING {
                break;
            }
            continue;
        }
        damping = if damping > FIRST_DAMPING {
            damping / DAMPING_UP
        } else {
            0.0
        };
        if gained < GAIN * value {
            break;
        }
    }
    for (step, q) in steps.iter_mut().zip(q.chunks_exact(n)) {
        for (&variable, &q) in variables.iter().zip(q) {
            step.q[variable] = q;
        }
    }
}

/// Σ k ‖q_{t+1} − 2 q_t + q_{t−1}‖²; `visit` gets t, the variable, 2 k times the difference, and k.
fn roughness(
    steps: &[StretchStep],
    q: &[f64],
    n: usize,
    mut visit: impl FnMut(usize, usize, f64, f64),
) -> f64 {
    let mut sum = 0.0;
    for t in 1..steps.len().saturating_sub(1) {
        let k = steps[t].roughness;
        if k == 0.0 {
            continue;
        }
        for i in 0..n {
            let difference = q[(t + 1) * n + i] - 2.0 * q[t * n + i] + q[(t - 1) * n + i];
            sum += k * difference * difference;
            visit(t, i, 2.0 * k * difference, k);
        }
    }
    sum
}

impl Block {
    /// Sets goals and posture to those of a step.
    fn aim(&mut self, step: &StretchStep) {
        for (&index, term) in self.terms.iter().zip(&mut self.objective.terms) {
            term.target = step.goals[index].target;
            term.weight = step.goals[index].weight;
        }
        for (local, &variable) in self.objective.linkage.variables.iter().enumerate() {
            self.objective.posture[local] = step.posture[variable];
        }
    }
}
