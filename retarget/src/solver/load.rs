//! Forces on points of a tree, gathered link by link.
//!
//! What the points beyond a joint add to gradient and Hessian depends on sums over them alone (the
//! composite bodies of Featherstone, Rigid Body Dynamics Algorithms, chapter 6): with the force γ of
//! each point p, its derivative B, and [p]× the matrix of the cross product,
//!
//! Γ = Σ γ,  M = Σ γ pᵀ,  B = Σ B,  C = Σ B [p]×,  D = Σ [p]×ᵀ B [p]×.
//!
//! A joint of twist (ω, w), with p moving by w + ω × p, has the linear and angular loads
//! L = B w − C ω and A = D ω − Cᵀ w. The Hessian's entry of it and a joint nearer to the root, or
//! itself, is w'·L + ω'·(A + v), where v = (M − Γ oᵀ)ᵀ ω − tr(M − Γ oᵀ) ω for a joint that turns
//! about o, and ω' × v the turn of its velocity by that joint; the gradient's is w·Γ + ω·Σ p × γ.

use super::linkage::Linkage;
use super::objective::{Derivatives, Symmetric};

type Vector = [f64; 3];
/// Row-major.
type Matrix = [f64; 9];

/// The sums over the points beyond a joint.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    force: Vector,
    /// M.
    moment: Matrix,
    bend: Symmetric,
    /// C.
    mixed: Matrix,
    /// D.
    turned: Symmetric,
}

/// Velocity of points that a joint carries, per unit of its variable.
#[derive(Debug, Clone, Copy, Default)]
struct Twist {
    angular: Vector,
    /// Of the point at the root's origin.
    linear: Vector,
}

/// The loads of all links.
#[derive(Debug, Clone)]
pub(super) struct Loads {
    loads: Vec<Load>,
    twists: Vec<Twist>,
    /// Links that carry a point, from the root outwards.
    carrying: Vec<usize>,
}

impl Loads {
    /// For loads on the first so many points of a linkage.
    pub(super) fn new(linkage: &Linkage, points: usize) -> Self {
        let links = linkage.links();
        let mut carries = vec![false; links];
        for chain in &linkage.chains[..points] {
            chain
                .carriers
                .iter()
                .for_each(|carrier| carries[carrier.link] = true);
        }
        Self {
            loads: vec![Load::default(); links],
            twists: vec![Twist::default(); links],
            carrying: (0..links).filter(|&link| carries[link]).collect(),
        }
    }

    /// Takes all loads off.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        for &link in &self.carrying {
            self.loads[link] = Load::default();
        }
    }

    /// Puts a force and its derivative on a point of a link, in root axes.
    #[inline(always)]
    pub(super) fn push(&mut self, link: usize, point: Vector, force: &Vector, bend: &Symmetric) {
        let load = &mut self.loads[link];
        let [x, y, z] = point;
        let [xx, xy, xz, yy, yz, zz] = *bend;
        let mixed = [
            z * xy - y * xz,
            x * xz - z * xx,
            y * xx - x * xy,
            z * yy - y * yz,
            x * yz - z * xy,
            y * xy - x * yy,
            z * yz - y * zz,
            x * zz - z * xz,
            y * xz - x * yz,
        ];
        let turned = [
            z * mixed[3] - y * mixed[6],
            z * mixed[4] - y * mixed[7],
            z * mixed[5] - y * mixed[8],
            x * mixed[7] - z * mixed[1],
            x * mixed[8] - z * mixed[2],
            y * mixed[2] - x * mixed[5],
        ];
        add(&mut load.force, force);
        for (row, gamma) in load.moment.chunks_exact_mut(3).zip(force) {
            add_times(row, &point, *gamma);
        }
        add(&mut load.bend, bend);
        add(&mut load.mixed, &mixed);
        add(&mut load.turned, &turned);
    }

    /// Adds what the loads do to gradient and Hessian, of v the part `turning`. The loads are then
    /// those of all that lies beyond each joint.
    #[inline(always)]
    pub(super) fn add_to(&mut self, linkage: &Linkage, turning: f64, out: &mut Derivatives) {
        let n = linkage.dof();
        for &link in &self.carrying {
            let joint = linkage.joint(link);
            let axis = joint.axis.map(|axis| axis * joint.factor);
            self.twists[link] = if joint.is_prismatic {
                Twist {
                    angular: [0.0; 3],
                    linear: axis,
                }
            } else {
                Twist {
                    angular: axis,
                    linear: cross(&joint.origin, &axis),
                }
            };
        }
        for &link in self.carrying.iter().rev() {
            let joint = linkage.joint(link);
            let load = self.loads[link];
            let Twist { angular, linear } = self.twists[link];
            if joint.parent != 0 {
                let further_in = &mut self.loads[joint.parent];
                add(&mut further_in.force, &load.force);
                add(&mut further_in.moment, &load.moment);
                add(&mut further_in.bend, &load.bend);
                add(&mut further_in.mixed, &load.mixed);
                add(&mut further_in.turned, &load.turned);
            }
            let m = &load.moment;
            let torque = [m[7] - m[5], m[2] - m[6], m[3] - m[1]];
            out.gradient[joint.variable] += dot(&linear, &load.force) + dot(&angular, &torque);

            let mut push = symmetric_times(&load.bend, &linear);
            let mut turn = symmetric_times(&load.turned, &angular);
            for row in 0..3 {
                for column in 0..3 {
                    push[row] -= load.mixed[3 * row + column] * angular[column];
                    turn[row] -= load.mixed[3 * column + row] * linear[column];
                }
            }
            // How joints further in turn this one's velocity.
            if joint.is_prismatic {
                add_times(&mut turn, &cross(&linear, &load.force), turning);
            } else {
                let along = dot(&angular, &load.force);
                let trace = m[0] + m[4] + m[8] - dot(&load.force, &joint.origin);
                for (at, turn) in turn.iter_mut().enumerate() {
                    let v = m[at] * angular[0] + m[3 + at] * angular[1] + m[6 + at] * angular[2]
                        - along * joint.origin[at]
                        - trace * angular[at];
                    *turn += turning * v;
                }
            }
            let own = joint.variable;
            out.hessian[own * n + own] += dot(&linear, &push) + dot(&angular, &turn);
            let mut at = joint.parent;
            while at != 0 {
                let Twist { angular, linear } = &self.twists[at];
                let entry = dot(linear, &push) + dot(angular, &turn);
                let further_in = linkage.joint(at);
                let (row, column) = (own.max(further_in.variable), own.min(further_in.variable));
                let twice = if row == column { 2.0 } else { 1.0 };
                out.hessian[row * n + column] += twice * entry;
                at = further_in.parent;
            }
        }
    }
}

#[inline(always)]
fn add<const N: usize>(to: &mut [f64; N], other: &[f64; N]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += other;
    }
}

#[inline(always)]
fn add_times(to: &mut [f64], other: &Vector, factor: f64) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += factor * other;
    }
}

#[inline(always)]
fn dot(a: &Vector, b: &Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
fn cross(a: &Vector, b: &Vector) -> Vector {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

#[inline(always)]
fn symmetric_times(m: &Symmetric, v: &Vector) -> Vector {
    [
        m[0] * v[0] + m[1] * v[1] + m[2] * v[2],
        m[1] * v[0] + m[3] * v[1] + m[4] * v[2],
        m[2] * v[0] + m[4] * v[1] + m[5] * v[2],
    ]
}
