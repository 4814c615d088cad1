//! The sum that one step minimises, with its exact gradient and Hessian.
//!
//! F(q) = Σᵢ wᵢ H_δ(‖p_task − p_origin − rᵢ‖) + Σₖ vₖ (1 − û_k · (p_task − p_origin)/lₖ)
//!        + Σⱼ cⱼ (qⱼ − q̂ⱼ)² + λ ‖q − q₋‖² + Σ ½ k max(0, m − d)²
//!
//! with Huber's H_δ(d) = d²/(2δ) below δ and d − δ/2 above; [`Loss::Axes`] takes it of each
//! coordinate apart. With a force γ_p = ∂F/∂p on each point p, its columns J and the world axes a of
//! the joints that carry it,
//!
//! g = Σ_p J_pᵀ γ_p,  H = Σ_{p,s} J_pᵀ B_ps J_s + Σ_p Σ_{i ≤ j} (γ_p × aᵢ) · Jⱼ + 2 (c + λ),
//!
//! where B_ps = ∂γ_p/∂p_s and i ≤ j runs from the root outwards: ∂²p/∂qᵢ∂qⱼ = aᵢ × Jⱼ (zero for a
//! prismatic i). Of one point they are gathered link by link ([`Loads`]). Coupled joints write to their
//! source's variable with their factor. The last sum runs over pairs of capsules at distance d.
//!
//! Far from the minimum H leads astray: beyond δ it is flat along the residual, and joints that turn
//! under a strong force bend F the wrong way. There ([`Objective::set_far`]) each loss is the parabola
//! about its target that touches it from above, B = w/‖r‖ (iteratively reweighted least squares;
//! Huber, Robust Statistics, 1981), and the sum over i ≤ j counts by half.

use nalgebra::Vector3;

use super::barrier::{Barrier, Contacts};
use super::by_fours::by_fours;
use super::linkage::{Chain, LinkPoint, Linkage};
use super::load::Loads;
use crate::collision::{CollisionOptions, Pairs};
use crate::hand::Hand;

/// How the length of a residual counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Huber's loss of its norm.
    Norm,
    /// Huber's loss of each coordinate, summed.
    Axes,
    /// 1 − cos of the angle to the target, which is a unit vector; the points are `length` m apart
    /// on one link.
    Direction {
        /// Distance of the two points (m).
        length: f64,
    },
}

/// One residual: where `task` should be, seen from `origin`.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// Index into the points; `None` is the root's origin.
    pub origin: Option<usize>,
    /// Index into the points.
    pub task: usize,
    /// How its length counts.
    pub loss: Loss,
    /// In root axes: a vector (m), or a unit vector for [`Loss::Direction`].
    pub target: Vector3<f64>,
    /// w.
    pub weight: f64,
}

/// A quadratic pull on one variable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pull {
    /// c, per rad² (m²).
    pub weight: f64,
    /// Where to (rad, m).
    pub to: f64,
}

/// Symmetric 3 × 3: xx, xy, xz, yy, yz, zz.
pub(super) type Symmetric = [f64; 6];

/// One column of a point's Jacobian and where its variable is.
#[derive(Debug, Clone, Copy)]
struct Column {
    variable: usize,
    /// Velocity of the point per unit of the variable, in root axes.
    velocity: Vector3<f64>,
}

/// Two points whose positions bend each other's force.
#[derive(Debug, Clone)]
struct Coupling {
    one: usize,
    other: usize,
}

/// How much the turning of joints bends the model far from the minimum: none at all costs steps where
/// targets are out of reach.
const FAR_TURNING: f64 = 0.5;

/// Gradient, shape (n,), and lower triangle of the Hessian, row-major, shape (n, n).
#[derive(Debug, Clone)]
pub(super) struct Derivatives {
    pub(super) gradient: Vec<f64>,
    pub(super) hessian: Vec<f64>,
}

/// The objective in local variables; see [`Linkage`].
#[derive(Debug, Clone)]
pub(super) struct Objective {
    pub(super) linkage: Linkage,
    pub(super) terms: Vec<Term>,
    pub(super) delta: f64,
    /// The pull to the last answer, one weight for all.
    pub(super) inertia: f64,
    pub(super) last: Vec<f64>,
    /// The posture, one entry per local variable.
    pub(super) posture: Vec<Pull>,
    is_far: bool,
    barrier: Option<Barrier>,
    couplings: Vec<Coupling>,
    /// Coupling of each term with two moving points.
    coupling_of: Vec<Option<usize>>,
    positions: Vec<Vector3<f64>>,
    forces: Vec<Vector3<f64>>,
    own: Vec<Symmetric>,
    between: Vec<Symmetric>,
    loads: Loads,
    /// Of points that a coupling ties to another; others have none.
    columns: Vec<Column>,
    /// Start of each point's columns, and the end of the last.
    starts: Vec<usize>,
}

impl Objective {
    /// `apart` adds the pairs of capsules that push each other away.
    pub(super) fn new(
        hand: &Hand,
        points: &[LinkPoint],
        terms: Vec<Term>,
        delta: f64,
        apart: Option<&CollisionOptions>,
    ) -> Self {
        let pairs = apart.map(|options| (Pairs::new(hand), options));
        let ends = pairs.as_ref().map_or(&[][..], |(pairs, _)| pairs.ends());
        let linkage = Linkage::new(hand, &[points, ends].concat());
        let dof = linkage.dof();
        let mut couplings: Vec<Coupling> = Vec::new();
        let moves = |point: usize| !linkage.chains[point].variables.is_empty();
        let coupling_of = terms
            .iter()
            .map(|term| {
                let origin = term.origin.filter(|&origin| moves(origin))?;
                if matches!(term.loss, Loss::Direction { .. }) || !moves(term.task) {
                    return None;
                }
                let (one, other) = (origin.min(term.task), origin.max(term.task));
                let known = couplings
                    .iter()
                    .position(|coupling| (coupling.one, coupling.other) == (one, other));
                Some(known.unwrap_or_else(|| {
                    couplings.push(Coupling { one, other });
                    couplings.len() - 1
                }))
            })
            .collect();
        let mut starts = vec![0];
        let mut columns = Vec::new();
        for (point, chain) in linkage.chains[..points.len()].iter().enumerate() {
            if couplings
                .iter()
                .any(|tie| point == tie.one || point == tie.other)
            {
                columns.extend(chain.variables.iter().map(|&variable| Column {
                    variable,
                    velocity: Vector3::zeros(),
                }));
            }
            starts.push(columns.len());
        }
        let points = points.len();
        let barrier = pairs.map(|(pairs, options)| Barrier::new(pairs, *options, points, &linkage));
        Self {
            is_far: false,
            barrier,
            loads: Loads::new(&linkage, points),
            linkage,
            terms,
            delta,
            inertia: 0.0,
            last: vec![0.0; dof],
            posture: vec![Pull::default(); dof],
            between: vec![[0.0; 6]; couplings.len()],
            couplings,
            coupling_of,
            positions: vec![Vector3::zeros(); points],
            forces: vec![Vector3::zeros(); points],
            own: vec![[0.0; 6]; points],
            columns,
            starts,
        }
    }

    pub(super) fn stiffen(&mut self, stiffer: f64) {
        if let Some(barrier) = &mut self.barrier {
            barrier.stiffen(stiffer);
        }
    }

    /// Whether gradients and Hessians are those of the model for places far from the minimum.
    pub(super) fn set_far(&mut self, is_far: bool) {
        self.is_far = is_far;
    }

    pub(super) fn dof(&self) -> usize {
        self.linkage.dof()
    }

    by_fours! {
        /// F at `q` (local variables). The derivatives are then those at `q`.
        pub(super) fn value, value_by_fours, find_value(&mut self, q: &[f64]) -> f64
    }

    #[inline(always)]
    fn find_value(&mut self, q: &[f64]) -> f64 {
        self.linkage.update(q);
        for (index, position) in self.positions.iter_mut().enumerate() {
            *position = self.linkage.point(index);
        }
        let mut value = 0.0;
        for term in &self.terms {
            value += match term.loss {
                Loss::Norm => term.weight * huber(self.residual(term).norm(), self.delta),
                Loss::Axes => {
                    let r = self.residual(term);
                    term.weight * r.iter().map(|x| huber(x.abs(), self.delta)).sum::<f64>()
                }
                Loss::Direction { length } => {
                    term.weight * (1.0 - self.span(term).dot(&term.target) / length)
                }
            };
        }
        for ((q, last), pull) in q.iter().zip(&self.last).zip(&self.posture) {
            let (moved, away) = (q - last, q - pull.to);
            value += self.inertia * moved * moved + pull.weight * away * away;
        }
        if let Some(barrier) = &mut self.barrier {
            value += barrier.value(&self.linkage);
        }
        value
    }

    #[inline(always)]
    fn span(&self, term: &Term) -> Vector3<f64> {
        let origin = term
            .origin
            .map_or_else(Vector3::zeros, |origin| self.positions[origin]);
        self.positions[term.task] - origin
    }

    /// Length of a term's residual at the last value (m).
    pub(super) fn error(&self, term: usize) -> f64 {
        self.residual(&self.terms[term]).norm()
    }

    #[inline(always)]
    fn residual(&self, term: &Term) -> Vector3<f64> {
        self.span(term) - term.target
    }

    /// Gradient and Hessian at `q`, the point of the last [`Objective::value`], without the
    /// curvature of distances between capsules.
    pub(super) fn derivatives(&mut self, q: &[f64], out: &mut Derivatives) {
        self.add_terms(q, out);
        if let Some(barrier) = &mut self.barrier {
            barrier.add(&self.linkage, out);
        }
    }

    by_fours! {
        /// Gradient and Hessian at `q`, the point of the last [`Objective::value`]; what pairs of
        /// capsules near each other add to the Hessian by their slopes is left to `contacts`.
        pub(super) fn model, model_by_fours, find_model(
            &mut self, q: &[f64], out: &mut Derivatives, contacts: &mut Contacts,
        ) -> ()
    }

    #[inline(always)]
    fn find_model(&mut self, q: &[f64], out: &mut Derivatives, contacts: &mut Contacts) {
        self.add_terms(q, out);
        contacts.clear();
        if let Some(barrier) = &mut self.barrier {
            barrier.list(&self.linkage, out, contacts);
        }
    }

    /// Whether links push each other away.
    pub(super) fn is_apart(&self) -> bool {
        self.barrier.is_some()
    }

    /// Most contacts that [`Objective::model`] lists.
    pub(super) fn most_contacts(&self) -> usize {
        self.barrier.as_ref().map_or(0, Barrier::pairs)
    }

    /// Forgets the pairs that [`Objective::watch`] found.
    pub(super) fn forget(&mut self) {
        if let Some(barrier) = &mut self.barrier {
            barrier.forget();
        }
    }

    /// From now on pairs that push each other at the point of the last [`Objective::value`] are
    /// among the contacts even where they do not; false: all were already.
    pub(super) fn watch(&mut self) -> bool {
        self.barrier.as_mut().is_some_and(Barrier::watch)
    }

    #[inline(always)]
    fn add_terms(&mut self, q: &[f64], out: &mut Derivatives) {
        let n = self.dof();
        self.find_forces();
        out.gradient.fill(0.0);
        out.hessian.fill(0.0);
        for ((i, q), (last, pull)) in q
            .iter()
            .enumerate()
            .zip(self.last.iter().zip(&self.posture))
        {
            out.gradient[i] = 2.0 * (self.inertia * (q - last) + pull.weight * (q - pull.to));
            out.hessian[i * n + i] = 2.0 * (self.inertia + pull.weight);
        }
        self.loads.clear();
        for (point, chain) in self.linkage.chains[..self.positions.len()]
            .iter()
            .enumerate()
        {
            if !chain.carriers.is_empty() {
                let (position, force) = (self.positions[point].into(), self.forces[point].into());
                self.loads
                    .push(chain.link, position, &force, &self.own[point]);
            }
            if self.starts[point] < self.starts[point + 1] {
                let columns = &mut self.columns[self.starts[point]..self.starts[point + 1]];
                find_columns(&self.linkage, chain, &self.positions[point], columns);
            }
        }
        let turning = if self.is_far { FAR_TURNING } else { 1.0 };
        self.loads.add_to(&self.linkage, turning, out);
        for (coupling, block) in self.couplings.iter().zip(&self.between) {
            let range = |point: usize| self.starts[point]..self.starts[point + 1];
            for other in &self.columns[range(coupling.other)] {
                let bent = times(block, &other.velocity);
                for one in &self.columns[range(coupling.one)] {
                    let entry = one.velocity.dot(&bent);
                    let (row, column) = (one.variable, other.variable);
                    if row > column {
                        out.hessian[row * n + column] += entry;
                    } else if row < column {
                        out.hessian[column * n + row] += entry;
                    } else {
                        out.hessian[row * n + row] += 2.0 * entry;
                    }
                }
            }
        }
    }

    /// γ of each point and the blocks B.
    #[inline(always)]
    fn find_forces(&mut self) {
        self.forces.fill(Vector3::zeros());
        self.own.fill([0.0; 6]);
        self.between.fill([0.0; 6]);
        for at in 0..self.terms.len() {
            let term = self.terms[at];
            let (force, block) = match term.loss {
                Loss::Norm => {
                    let r = self.residual(&term);
                    let distance = r.norm();
                    if distance < self.delta || self.is_far {
                        let bend = term.weight / distance.max(self.delta);
                        (bend * r, [bend, 0.0, 0.0, bend, 0.0, bend])
                    } else {
                        // The loss grows by the length: flat along the residual, bent across it.
                        let bend = term.weight / distance;
                        let u = r / distance;
                        let across = [
                            bend * (1.0 - u.x * u.x),
                            -bend * u.x * u.y,
                            -bend * u.x * u.z,
                            bend * (1.0 - u.y * u.y),
                            -bend * u.y * u.z,
                            bend * (1.0 - u.z * u.z),
                        ];
                        (bend * r, across)
                    }
                }
                Loss::Axes => {
                    let r = self.residual(&term);
                    let bend = |x: f64| {
                        if x.abs() < self.delta || self.is_far {
                            term.weight / x.abs().max(self.delta)
                        } else {
                            0.0
                        }
                    };
                    let force = r.map(|x| term.weight * (x / self.delta).clamp(-1.0, 1.0));
                    (force, [bend(r.x), 0.0, 0.0, bend(r.y), 0.0, bend(r.z)])
                }
                Loss::Direction { length } => (-term.weight / length * term.target, [0.0; 6]),
            };
            self.forces[term.task] += force;
            add(&mut self.own[term.task], &block, 1.0);
            if let Some(origin) = term.origin {
                self.forces[origin] -= force;
                add(&mut self.own[origin], &block, 1.0);
            }
            if let Some(coupling) = self.coupling_of[at] {
                add(&mut self.between[coupling], &block, -1.0);
            }
        }
    }
}

/// The columns of a point's Jacobian.
#[inline(always)]
fn find_columns(linkage: &Linkage, chain: &Chain, position: &Vector3<f64>, columns: &mut [Column]) {
    for column in columns.iter_mut() {
        column.velocity = Vector3::zeros();
    }
    for carrier in &chain.carriers {
        let placed = linkage.placed(carrier);
        let axis = Vector3::from(placed.axis) * carrier.factor;
        columns[carrier.column].velocity += if carrier.is_prismatic {
            axis
        } else {
            axis.cross(&(position - Vector3::from(placed.origin)))
        };
    }
}

/// Huber's loss of a length.
#[inline(always)]
pub(super) fn huber(length: f64, delta: f64) -> f64 {
    if length < delta {
        length * length / (2.0 * delta)
    } else {
        length - 0.5 * delta
    }
}

#[inline(always)]
fn times(m: &Symmetric, v: &Vector3<f64>) -> Vector3<f64> {
    Vector3::new(
        m[0] * v.x + m[1] * v.y + m[2] * v.z,
        m[1] * v.x + m[3] * v.y + m[4] * v.z,
        m[2] * v.x + m[4] * v.y + m[5] * v.z,
    )
}

#[inline(always)]
fn add(to: &mut Symmetric, what: &Symmetric, sign: f64) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += sign * what;
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Point3;
    use proptest::prelude::*;

    use super::super::barrier::add_square;
    use super::*;
    use crate::HANDS;

    /// All hands' tips drawn somewhere, wide margins, so that many links push.
    fn objective(hand: &Hand, targets: &[[f64; 3]; 5]) -> Objective {
        let points: Vec<LinkPoint> = hand
            .tips()
            .iter()
            .map(|tip| LinkPoint {
                joint: Some(tip.joint),
                point_in_joint: tip.point_in_joint,
            })
            .chain([LinkPoint {
                joint: None,
                point_in_joint: Point3::origin(),
            }])
            .collect();
        let root = points.len() - 1;
        let term = |origin, task, loss, target: &[f64; 3]| Term {
            origin: Some(origin),
            task,
            loss,
            target: Vector3::from(*target),
            weight: 1.3,
        };
        let mut terms: Vec<Term> = (0..root)
            .map(|tip| term(root, tip, Loss::Norm, &targets[tip]))
            .collect();
        terms.push(term(0, 1, Loss::Axes, &targets[0]));
        let apart = CollisionOptions {
            margin_m: 12e-3,
            ..CollisionOptions::default()
        };
        let mut objective = Objective::new(hand, &points, terms, 0.02, Some(&apart));
        objective.inertia = 0.01;
        objective
    }

    proptest! {
        #[test]
        fn gradient_and_hessian_are_those_of_the_value(
            parts in proptest::collection::vec(0.05..0.95, 24),
            way in proptest::collection::vec(-1.0..1.0, 24),
            targets in proptest::array::uniform5(proptest::array::uniform3(-0.1..0.1)),
        ) {
            for (name, _) in HANDS {
                let hand = Hand::by_name(name).unwrap();
                let mut objective = objective(&hand, &targets);
                let n = objective.dof();
                let limits = hand.limits();
                let q: Vec<f64> = objective
                    .linkage
                    .variables
                    .iter()
                    .zip(&parts)
                    .map(|(&variable, part)| {
                        let (lower, upper) = limits[variable];
                        lower + part * (upper - lower)
                    })
                    .collect();
                let mut at = |step: f64| {
                    let q: Vec<f64> = q.iter().zip(&way).map(|(q, way)| q + step * way).collect();
                    let mut out = Derivatives {
                        gradient: vec![0.0; n],
                        hessian: vec![0.0; n * n],
                    };
                    let value = objective.value(&q);
                    let mut contacts = Contacts::with_room(0, n);
                    objective.model(&q, &mut out, &mut contacts);
                    for (_, slope) in contacts.iter(n) {
                        add_square(slope, contacts.stiffness, &mut out.hessian);
                    }
                    (value, out)
                };
                const STEP: f64 = 1e-6;
                let (before, here, after) = (at(-STEP), at(0.0), at(STEP));
                let slope: f64 = here.1.gradient.iter().zip(&way).map(|(g, w)| g * w).sum();
                let found = (after.0 - before.0) / (2.0 * STEP);
                prop_assert!((slope - found).abs() < 1e-5 * (1.0 + found.abs()), "{name}: {slope} {found}");
                for row in 0..n {
                    let entry = |column: usize| {
                        here.1.hessian[row.max(column) * n + row.min(column)]
                    };
                    let bent: f64 = (0..n).map(|column| entry(column) * way[column]).sum();
                    let [back, ahead] = [
                        (here.1.gradient[row] - before.1.gradient[row]) / STEP,
                        (after.1.gradient[row] - here.1.gradient[row]) / STEP,
                    ];
                    let scale = 1.0 + back.abs() + ahead.abs();
                    // Where a pair comes within the margin, or a loss turns linear, there is no one
                    // second derivative.
                    if (ahead - back).abs() < 1e-3 * scale {
                        let found = 0.5 * (back + ahead);
                        prop_assert!((bent - found).abs() < 1e-3 * scale, "{name} {row}: {bent} {found}");
                    }
                }
            }
        }
    }
}
