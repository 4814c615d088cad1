//! Capsules that push each other away, Σ ½ k max(0, m − d)² over pairs at distance d.

use nalgebra::Vector3;

use super::linkage::Linkage;
use super::objective::Derivatives;
use crate::capsule::PlacedCapsule;
use crate::collision::{CollisionOptions, Neighbours, Pairs};

/// The pairs that push, and where their capsules are.
#[derive(Debug, Clone)]
pub(super) struct Barrier {
    neighbours: Neighbours,
    options: CollisionOptions,
    /// Factor of the stiffness.
    stiffer: f64,
    /// The first capsule's first end among the points.
    first: usize,
    /// Number of local variables.
    variables: usize,
    placed: Vec<PlacedCapsule>,
    /// Pairs within the margin at the last value.
    active: Vec<Contact>,
    /// Pairs that a step may bring within the margin.
    watched: Vec<[usize; 2]>,
    columns: Vec<Column>,
    /// Twist and variable of the carriers passed so far.
    carried: Vec<(Vector3<f64>, usize)>,
    own: Contacts,
}

/// What a variable does to the vector between two capsules.
#[derive(Debug, Clone)]
struct Column {
    variable: usize,
    /// ∂r/∂q.
    velocity: Vector3<f64>,
    /// ∂²E/∂q∂s and ∂²E/∂q∂t.
    slide: [f64; 2],
    /// ∂E/∂q.
    slope: f64,
}

/// Pairs near each other, made linear: their depth within the margin is depth − slope · step.
#[derive(Debug, Clone, Default)]
pub(super) struct Contacts {
    /// k.
    pub(super) stiffness: f64,
    /// (m); negative outside of the margin.
    pub(super) depths: Vec<f64>,
    /// Gradients of the distances, shape (contacts, n).
    pub(super) slopes: Vec<f64>,
}

impl Contacts {
    /// With room for so many contacts of n variables.
    pub(super) fn with_room(contacts: usize, n: usize) -> Self {
        Self {
            stiffness: 0.0,
            depths: Vec::with_capacity(contacts),
            slopes: Vec::with_capacity(contacts * n),
        }
    }

    pub(super) fn clear(&mut self) {
        self.depths.clear();
        self.slopes.clear();
    }

    /// Depth and slope of each.
    #[inline(always)]
    pub(super) fn iter(&self, n: usize) -> impl Iterator<Item = (f64, &[f64])> {
        self.depths.iter().copied().zip(self.slopes.chunks_exact(n))
    }
}

/// Adds factor · slope slopeᵀ to the lower triangle of a matrix, row-major.
#[inline(always)]
pub(super) fn add_square(slope: &[f64], factor: f64, matrix: &mut [f64]) {
    let n = slope.len();
    for (row, &entry) in slope.iter().enumerate() {
        if entry != 0.0 {
            let line = &mut matrix[row * n..row * n + row + 1];
            for (to, other) in line.iter_mut().zip(slope) {
                *to += factor * entry * other;
            }
        }
    }
}

impl Barrier {
    /// `first`: the first capsule's first end among the points of `linkage`.
    pub(super) fn new(
        pairs: Pairs,
        options: CollisionOptions,
        first: usize,
        linkage: &Linkage,
    ) -> Self {
        let longest = linkage.chains.iter().map(|chain| chain.carriers.len());
        let neighbours = Neighbours::new(&pairs, options.margin_m);
        let (count, variables) = (neighbours.count(), linkage.dof());
        Self {
            placed: pairs.placed(),
            active: Vec::with_capacity(count),
            watched: Vec::with_capacity(count),
            neighbours,
            options,
            stiffer: 1.0,
            first,
            variables,
            columns: Vec::with_capacity(variables),
            carried: Vec::with_capacity(longest.max().unwrap_or(0)),
            own: Contacts::with_room(count, variables),
        }
    }

    /// Number of pairs.
    pub(super) fn pairs(&self) -> usize {
        self.neighbours.count()
    }

    pub(super) fn stiffen(&mut self, stiffer: f64) {
        self.stiffer = stiffer;
    }

    #[inline(always)]
    fn stiffness(&self) -> f64 {
        self.stiffer * self.options.stiffness
    }

    #[inline(always)]
    pub(super) fn value(&mut self, linkage: &Linkage) -> f64 {
        linkage.place(self.first, &mut self.placed);
        let (margin_m, stiffness) = (self.options.margin_m, self.stiffness());
        self.active.clear();
        let mut value = 0.0;
        self.neighbours.visit(&self.placed, |one, other, _| {
            let contact = Contact::of([one, other], &self.placed, margin_m);
            if contact.depth > 0.0 {
                value += 0.5 * stiffness * contact.depth * contact.depth;
                self.active.push(contact);
            }
        });
        value
    }

    pub(super) fn forget(&mut self) {
        self.watched.clear();
    }

    /// Watches what is active; false where all was watched already.
    pub(super) fn watch(&mut self) -> bool {
        let before = self.watched.len();
        for contact in &self.active {
            if !self.watched.contains(&contact.capsules) {
                self.watched.push(contact.capsules);
            }
        }
        self.watched.len() > before
    }

    /// Adds the gradient, and k ∇d∇dᵀ of the Hessian, which is never concave.
    pub(super) fn add(&mut self, linkage: &Linkage, out: &mut Derivatives) {
        let mut contacts = std::mem::take(&mut self.own);
        contacts.clear();
        for at in 0..self.active.len() {
            let contact = self.active[at];
            self.add_contact(linkage, &contact, None, &mut contacts);
        }
        let stiffness = self.stiffness();
        for (depth, slope) in contacts.iter(self.variables) {
            add_square(slope, stiffness, &mut out.hessian);
            for (gradient, slope) in out.gradient.iter_mut().zip(slope) {
                *gradient -= stiffness * depth * slope;
            }
        }
        self.own = contacts;
    }

    /// Adds the gradient −k·depth·∇d, and −k·depth·∇²d of the Hessian; what is left of it is
    /// k ∇d∇dᵀ of the contacts, which are those that are active and those that are watched.
    #[inline(always)]
    pub(super) fn list(
        &mut self,
        linkage: &Linkage,
        out: &mut Derivatives,
        contacts: &mut Contacts,
    ) {
        contacts.stiffness = self.stiffness();
        for at in 0..self.active.len() {
            let contact = self.active[at];
            self.add_contact(linkage, &contact, Some(&mut *out), contacts);
        }
        for at in 0..self.watched.len() {
            let capsules = self.watched[at];
            if !self.active.iter().any(|known| known.capsules == capsules) {
                let contact = Contact::of(capsules, &self.placed, self.options.margin_m);
                self.add_contact(linkage, &contact, None, contacts);
            }
        }
    }

    /// Lists a contact; adds to `out` what it adds where it is active.
    ///
    /// With r the vector between the points at fixed parts, J = ∂r/∂q and E = ½d²: ∇E = Jᵀr and
    /// ∇²E = JᵀJ + r·∂²r/∂q² − B A⁻¹ Bᵀ, where A and B are the second derivatives of E by the parts
    /// that are free to slide (an end does not), and by q and those parts.
    #[inline(always)]
    fn add_contact(
        &mut self,
        linkage: &Linkage,
        contact: &Contact,
        mut out: Option<&mut Derivatives>,
        contacts: &mut Contacts,
    ) {
        let n = self.variables;
        let (r, length) = (contact.between, contact.length);
        // −k·depth, the factor of ∇²d.
        let bend = -self.stiffness() * contact.depth;
        self.columns.clear();
        for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
            let chain = &linkage.chains[self.first + 2 * contact.capsules[side]];
            let along = contact.along[side];
            self.carried.clear();
            for carrier in &chain.carriers {
                let placed = linkage.placed(carrier);
                let axis = Vector3::from(placed.axis) * carrier.factor;
                let (velocity, twist) = if carrier.is_prismatic {
                    (axis * sign, Vector3::zeros())
                } else {
                    let lever = contact.points[side] - Vector3::from(placed.origin);
                    (axis.cross(&lever) * sign, axis)
                };
                let variable = chain.variables[carrier.column];
                if let Some(out) = &mut out {
                    // r·∂²r/∂q²: joints nearer to the root turn this column.
                    let own = bend / length;
                    for &(inner, other) in &self.carried {
                        let entry = own * r.dot(&inner.cross(&velocity));
                        let (row, column) = (variable.max(other), variable.min(other));
                        let twice = if row == column { 2.0 } else { 1.0 };
                        out.hessian[row * n + column] += twice * entry;
                    }
                    out.hessian[variable * n + variable] += own * r.dot(&twist.cross(&velocity));
                    self.carried.push((twist, variable));
                }
                let known = self.columns.iter().position(|c| c.variable == variable);
                let at = known.unwrap_or_else(|| {
                    self.columns.push(Column {
                        variable,
                        velocity: Vector3::zeros(),
                        slide: [0.0; 2],
                        slope: 0.0,
                    });
                    self.columns.len() - 1
                });
                let column = &mut self.columns[at];
                column.velocity += velocity;
                column.slide[side] += sign * r.dot(&twist.cross(&along));
            }
        }
        contacts.depths.push(contact.depth);
        let start = contacts.slopes.len();
        contacts.slopes.resize(start + n, 0.0);
        let slopes = &mut contacts.slopes[start..];
        for column in &mut self.columns {
            column.slope = r.dot(&column.velocity);
            column.slide[0] += column.velocity.dot(&contact.along[0]);
            column.slide[1] -= column.velocity.dot(&contact.along[1]);
            slopes[column.variable] = column.slope / length;
        }
        let Some(out) = out else { return };
        let [ss, st, tt] = contact.sliding;
        for (at, column) in self.columns.iter().enumerate() {
            out.gradient[column.variable] += bend * column.slope / length;
            let [s, t] = column.slide;
            let slid = [ss * s + st * t, st * s + tt * t];
            for other in &self.columns[..=at] {
                // ∇²d = ∇²E/d − ∇E∇Eᵀ/d³.
                let square = column.velocity.dot(&other.velocity)
                    - slid[0] * other.slide[0]
                    - slid[1] * other.slide[1]
                    - column.slope * other.slope / (length * length);
                let row = column.variable.max(other.variable);
                let line = column.variable.min(other.variable);
                out.hessian[row * n + line] += bend / length * square;
            }
        }
    }
}

/// How strongly the closest points are drawn to the middles of their segments. Nearly parallel
/// segments, as of fingers side by side, would be closest now at one end and now at the other; this
/// way the point slides, and the distance has a curvature.
const TO_MIDDLE: f64 = 0.02;

/// Two capsules that push each other away, at the distance d = √min (‖r‖² + ε(‖u‖²(s − ½)² +
/// ‖v‖²(t − ½)²)) over the parts s, t of their segments u, v, less the radii: no less than the true
/// one, and smooth.
#[derive(Debug, Clone, Copy)]
struct Contact {
    capsules: [usize; 2],
    /// The points of the segments, and the vector r from the second to the first (m).
    points: [Vector3<f64>; 2],
    between: Vector3<f64>,
    /// The segments from end to end (m).
    along: [Vector3<f64>; 2],
    /// Distance before the radii (m).
    length: f64,
    /// Margin less distance (m).
    depth: f64,
    /// Inverse of ∂²E/∂(s, t)² on the parts that slide: ss, st, tt.
    sliding: [f64; 3],
}

impl Contact {
    #[inline(always)]
    fn of(capsules: [usize; 2], placed: &[PlacedCapsule], margin_m: f64) -> Self {
        let [first, second] = capsules.map(|capsule| &placed[capsule]);
        let (u, v) = (first.to - first.from, second.to - second.from);
        let middles =
            nalgebra::center(&first.from, &first.to) - nalgebra::center(&second.from, &second.to);
        // E over x = s − ½ and y = t − ½ within ±½: ½‖c + xu − yv‖² + ½ε(‖u‖²x² + ‖v‖²y²).
        let (uu, vv, uv) = (u.norm_squared(), v.norm_squared(), u.dot(&v));
        let (cu, cv) = (middles.dot(&u), middles.dot(&v));
        let (a, b) = (uu * (1.0 + TO_MIDDLE), vv * (1.0 + TO_MIDDLE));
        let part = |slope: f64, bend: f64| {
            if bend > 0.0 {
                (-slope / bend).clamp(-0.5, 0.5)
            } else {
                0.0
            }
        };
        let value = |x: f64, y: f64| 0.5 * (a * x * x + b * y * y) - uv * x * y + cu * x - cv * y;
        let determinant = a * b - uv * uv;
        let inside = (determinant > 0.0).then(|| {
            let x = (cv * uv - cu * b) / determinant;
            let y = (cv * a - cu * uv) / determinant;
            (x, y)
        });
        let (x, y) = match inside {
            Some((x, y)) if x.abs() < 0.5 && y.abs() < 0.5 => (x, y),
            _ => {
                let on_second = |x: f64| (x, part(-cv - uv * x, b));
                let on_first = |y: f64| (part(cu - uv * y, a), y);
                let mut best = on_second(-0.5);
                for side in [on_second(0.5), on_first(-0.5), on_first(0.5)] {
                    if value(side.0, side.1) < value(best.0, best.1) {
                        best = side;
                    }
                }
                best
            }
        };
        let slides = |part: f64, bend: f64| bend > 0.0 && part.abs() < 0.5;
        let sliding = match (slides(x, a), slides(y, b)) {
            (true, true) => [b / determinant, uv / determinant, a / determinant],
            (true, false) => [1.0 / a, 0.0, 0.0],
            (false, true) => [0.0, 0.0, 1.0 / b],
            (false, false) => [0.0; 3],
        };
        let points = [
            first.from.coords + u * (x + 0.5),
            second.from.coords + v * (y + 0.5),
        ];
        let between = points[0] - points[1];
        let pull = TO_MIDDLE * (uu * x * x + vv * y * y);
        // Axes that meet have no direction in which to part.
        let length = (between.norm_squared() + pull).sqrt().max(SHORTEST_M);
        Self {
            capsules,
            points,
            between,
            along: [u, v],
            length,
            depth: margin_m - (length - first.radius - second.radius),
            sliding,
        }
    }
}

/// Distances below this are not divided by (m).
const SHORTEST_M: f64 = 1e-6;
