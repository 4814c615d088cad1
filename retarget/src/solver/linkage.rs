//! The part of a hand that a problem's points hang on, laid out for speed.

use nalgebra::{Point3, Vector3};

use crate::capsule::PlacedCapsule;
use crate::hand::{Hand, JointKind};
use crate::preset::PresetError;

/// A point fixed to a link of a hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkPoint {
    /// Index of the joint that moves the link; `None` for the root.
    pub joint: Option<usize>,
    /// The point in that joint's axes (m).
    pub point_in_joint: Point3<f64>,
}

impl LinkPoint {
    /// The place of that name; see [`Hand::frame`].
    ///
    /// # Errors
    /// [`PresetError::UnknownPlace`] lists the names there are.
    pub fn of(hand: &Hand, name: &str) -> Result<Self, PresetError> {
        let Some(frame) = hand.frame(name) else {
            let known: Vec<&str> = hand
                .frames()
                .iter()
                .map(|frame| frame.name.as_str())
                .collect();
            return Err(PresetError::UnknownPlace {
                hand: hand.name().to_owned(),
                name: name.to_owned(),
                known: known.join(", "),
            });
        };
        Ok(Self {
            joint: frame.joint,
            point_in_joint: Point3::from(frame.link_from_frame.translation.vector),
        })
    }
}

/// Row-major 3 × 3.
type Matrix = [f64; 9];
type Vector = [f64; 3];

/// A joint that moves at least one point.
#[derive(Debug, Clone)]
struct Link {
    /// Index into `placed`.
    parent: usize,
    /// Local variable.
    variable: usize,
    factor: f64,
    offset: f64,
    is_prismatic: bool,
    /// parent_from_joint(θ) = still + cos θ · cosine + sin θ · sine, Rodrigues' formula with the
    /// fixed rotation multiplied in.
    still: Matrix,
    cosine: Matrix,
    sine: Matrix,
    /// Origin in the parent's axes (m).
    origin_in_parent: Vector,
    axis_in_parent: Vector,
}

/// Where a link is now, in root axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    rotation: Matrix,
    pub(super) origin: Vector,
    pub(super) axis: Vector,
}

/// A link's joint, in root axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joint {
    /// The link that it hangs on; 0 is the root.
    pub(super) parent: usize,
    pub(super) variable: usize,
    pub(super) factor: f64,
    pub(super) is_prismatic: bool,
    pub(super) origin: Vector,
    pub(super) axis: Vector,
}

const AT_ROOT: Placed = Placed {
    rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    origin: [0.0; 3],
    axis: [0.0, 0.0, 1.0],
};

/// One joint of a point's chain, and the point's column that it adds to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carrier {
    pub(super) link: usize,
    /// Index among the point's columns.
    pub(super) column: usize,
    pub(super) factor: f64,
    pub(super) is_prismatic: bool,
}

/// A point and what moves it.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// Index into the places of links, the root's first.
    pub(super) link: usize,
    point_in_link: Vector,
    /// From the root outwards.
    pub(super) carriers: Vec<Carrier>,
    /// Local variables of the point's columns, ascending.
    pub(super) variables: Vec<usize>,
}

/// Forward kinematics of some points of a hand in *local* variables: those that move one of them,
/// from the fingertips inwards. In that order the Hessian of a sum over fingers fills nothing when
/// it is factored (Featherstone, Rigid Body Dynamics Algorithms, section 6.5).
#[derive(Debug, Clone)]
pub(crate) struct Linkage {
    links: Vec<Link>,
    /// The root, then the links.
    placed: Vec<Placed>,
    pub(super) chains: Vec<Chain>,
    /// The hand's variable behind each local one.
    pub(crate) variables: Vec<usize>,
}

impl Linkage {
    pub(crate) fn new(hand: &Hand, points: &[LinkPoint]) -> Self {
        let joints = hand.joints();
        let ancestors = |joint: Option<usize>| {
            let mut chain: Vec<usize> =
                std::iter::successors(joint, |&at| joints[at].parent).collect();
            chain.reverse();
            chain
        };
        let mut is_used = vec![false; joints.len()];
        for point in points {
            for joint in ancestors(point.joint) {
                is_used[joint] = true;
            }
        }
        let used: Vec<usize> = (0..joints.len()).filter(|&joint| is_used[joint]).collect();
        let variables = outermost_first(hand, &used);
        let local = |variable: usize| {
            variables
                .iter()
                .position(|&known| known == variable)
                .expect("each used joint's variable is local")
        };
        let link_of = |joint: usize| used.binary_search(&joint).expect("ancestors are used");
        let links: Vec<Link> = used
            .iter()
            .map(|&index| {
                let joint = &joints[index];
                let fixed = joint.parent_from_joint.rotation.to_rotation_matrix();
                let fixed = *fixed.matrix();
                let axis = joint.axis.into_inner();
                let along = axis * axis.transpose();
                let is_prismatic = joint.kind == JointKind::Prismatic;
                let (still, cosine) = if is_prismatic {
                    (nalgebra::Matrix3::identity(), nalgebra::Matrix3::zeros())
                } else {
                    (along, nalgebra::Matrix3::identity() - along)
                };
                Link {
                    parent: joint.parent.map_or(0, |joint| 1 + link_of(joint)),
                    variable: local(joint.variable),
                    factor: joint.factor,
                    offset: joint.offset,
                    is_prismatic,
                    still: row_major(&(fixed * still)),
                    cosine: row_major(&(fixed * cosine)),
                    sine: row_major(&(fixed * axis.cross_matrix())),
                    origin_in_parent: joint.parent_from_joint.translation.vector.into(),
                    axis_in_parent: (fixed * axis).into(),
                }
            })
            .collect();
        let chains = points
            .iter()
            .map(|point| {
                let chain = ancestors(point.joint);
                let mut moved: Vec<usize> = chain
                    .iter()
                    .map(|&joint| local(joints[joint].variable))
                    .collect();
                moved.sort_unstable();
                moved.dedup();
                let carriers = chain
                    .iter()
                    .map(|&joint| Carrier {
                        link: 1 + link_of(joint),
                        column: moved
                            .binary_search(&local(joints[joint].variable))
                            .expect("just put there"),
                        factor: joints[joint].factor,
                        is_prismatic: joints[joint].kind == JointKind::Prismatic,
                    })
                    .collect();
                Chain {
                    link: point.joint.map_or(0, |joint| 1 + link_of(joint)),
                    point_in_link: point.point_in_joint.coords.into(),
                    carriers,
                    variables: moved,
                }
            })
            .collect();
        Self {
            placed: vec![AT_ROOT; links.len() + 1],
            links,
            chains,
            variables,
        }
    }

    /// Number of local variables.
    pub(crate) fn dof(&self) -> usize {
        self.variables.len()
    }

    /// Moves the links to `q`, one entry per local variable (rad, m).
    #[inline(always)]
    pub(crate) fn update(&mut self, q: &[f64]) {
        for (index, link) in self.links.iter().enumerate() {
            let (before, after) = self.placed.split_at_mut(index + 1);
            let parent = &before[link.parent];
            let position = link.factor * q[link.variable] + link.offset;
            let axis = turn(&parent.rotation, &link.axis_in_parent);
            let mut origin = turn(&parent.rotation, &link.origin_in_parent);
            for (origin, base) in origin.iter_mut().zip(parent.origin) {
                *origin += base;
            }
            let mut parent_from_joint = link.still;
            if link.is_prismatic {
                for (origin, axis) in origin.iter_mut().zip(axis) {
                    *origin += position * axis;
                }
            } else {
                let (sine, cosine) = sine_cosine(position);
                for (at, entry) in parent_from_joint.iter_mut().enumerate() {
                    *entry += cosine * link.cosine[at] + sine * link.sine[at];
                }
            }
            after[0] = Placed {
                rotation: product(&parent.rotation, &parent_from_joint),
                origin,
                axis,
            };
        }
    }

    /// A point of [`Linkage::new`]'s list, in root axes (m).
    #[inline(always)]
    pub(super) fn point(&self, index: usize) -> Vector3<f64> {
        let chain = &self.chains[index];
        let placed = &self.placed[chain.link];
        let turned = turn(&placed.rotation, &chain.point_in_link);
        Vector3::from(turned) + Vector3::from(placed.origin)
    }

    /// Puts capsules where their ends are: both ends of every capsule, one after the other, are the
    /// points from `first` on.
    #[inline(always)]
    pub(crate) fn place(&self, first: usize, placed: &mut [PlacedCapsule]) {
        for (at, capsule) in placed.iter_mut().enumerate() {
            capsule.from = Point3::from(self.point(first + 2 * at));
            capsule.to = Point3::from(self.point(first + 2 * at + 1));
        }
    }

    /// Number of places of links, the root's first.
    pub(super) fn links(&self) -> usize {
        self.placed.len()
    }

    /// What moves a link other than the root.
    #[inline(always)]
    pub(super) fn joint(&self, link: usize) -> Joint {
        let (joint, placed) = (&self.links[link - 1], &self.placed[link]);
        Joint {
            parent: joint.parent,
            variable: joint.variable,
            factor: joint.factor,
            is_prismatic: joint.is_prismatic,
            origin: placed.origin,
            axis: placed.axis,
        }
    }

    /// Where a carrier is now.
    #[inline(always)]
    pub(super) fn placed(&self, carrier: &Carrier) -> &Placed {
        &self.placed[carrier.link]
    }
}

/// The variables of some joints, so that each comes before those of the joints that carry its own.
fn outermost_first(hand: &Hand, used: &[usize]) -> Vec<usize> {
    let joints = hand.joints();
    // Depth first, children in file order; a joint is listed after its children.
    fn visit(hand: &Hand, used: &[usize], parent: Option<usize>, out: &mut Vec<usize>) {
        for &joint in used {
            if hand.joints()[joint].parent == parent {
                visit(hand, used, Some(joint), out);
                out.push(joint);
            }
        }
    }
    let mut order = Vec::new();
    visit(hand, used, None, &mut order);
    // A coupled joint stands for its source, which is further in: the last mention counts.
    let mut variables: Vec<usize> = Vec::new();
    for joint in order.into_iter().rev() {
        let variable = joints[joint].variable;
        if !variables.contains(&variable) {
            variables.push(variable);
        }
    }
    variables.reverse();
    variables
}

/// Sine and cosine of an angle (rad), the same bits on every machine.
///
/// Cody and Waite's reduction to ±π/4 and fdlibm's polynomials: within 1 ulp for the angles of
/// joints, in a third of the time of the system's two calls.
#[inline(always)]
fn sine_cosine(angle: f64) -> (f64, f64) {
    // π/2 in three parts, the first two with room for the quarter's bits (fdlibm, e_rem_pio2.c).
    const PARTS: [f64; 3] = [
        1.570_796_326_734_125_6,
        6.077_100_506_303_966e-11,
        2.022_266_248_795_951e-21,
    ];
    const SINE: [f64; 6] = [
        -1.666_666_666_666_663_2e-1,
        8.333_333_333_322_49e-3,
        -1.984_126_982_985_795e-4,
        2.755_731_370_707_006_8e-6,
        -2.505_076_025_340_686_3e-8,
        1.589_690_995_211_55e-10,
    ];
    const COSINE: [f64; 6] = [
        4.166_666_666_666_66e-2,
        -1.388_888_888_887_411e-3,
        2.480_158_728_947_673e-5,
        -2.755_731_435_139_066_3e-7,
        2.087_572_321_298_175e-9,
        -1.135_964_755_778_819_5e-11,
    ];
    /// Beyond this the reduction loses digits.
    const LARGEST: f64 = 1e5;
    if angle.abs() >= LARGEST || angle.is_nan() {
        return angle.sin_cos();
    }
    // The nearest integer, by the mantissa's last bit.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let quarter = (angle * std::f64::consts::FRAC_2_PI + SHIFT) - SHIFT;
    let x = ((angle - quarter * PARTS[0]) - quarter * PARTS[1]) - quarter * PARTS[2];
    let z = x * x;
    let polynomial =
        |c: &[f64; 6]| c[0] + z * (c[1] + z * (c[2] + z * (c[3] + z * (c[4] + z * c[5]))));
    let sine = x + x * z * polynomial(&SINE);
    let cosine = 1.0 - (0.5 * z - z * z * polynomial(&COSINE));
    match (quarter as i64) & 3 {
        0 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

fn row_major(matrix: &nalgebra::Matrix3<f64>) -> Matrix {
    std::array::from_fn(|at| matrix[(at / 3, at % 3)])
}

#[inline(always)]
fn turn(m: &Matrix, v: &Vector) -> Vector {
    [
        m[0] * v[0] + m[1] * v[1] + m[2] * v[2],
        m[3] * v[0] + m[4] * v[1] + m[5] * v[2],
        m[6] * v[0] + m[7] * v[1] + m[8] * v[2],
    ]
}

#[inline(always)]
fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut out = [0.0; 9];
    for row in 0..3 {
        for column in 0..3 {
            out[3 * row + column] = a[3 * row] * b[column]
                + a[3 * row + 1] * b[3 + column]
                + a[3 * row + 2] * b[6 + column];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sine_cosine;

    proptest! {
        #[test]
        fn sine_and_cosine_are_those_of_the_system(angle in -20.0..20.0_f64, far in -9e4..9e4_f64) {
            for angle in [angle, far, 0.0, -0.0, 1e9, angle * 1e-9] {
                let (sine, cosine) = sine_cosine(angle);
                prop_assert!((sine - angle.sin()).abs() < 3e-16, "{angle}");
                prop_assert!((cosine - angle.cos()).abs() < 3e-16, "{angle}");
            }
            prop_assert!(sine_cosine(f64::NAN).0.is_nan());
        }
    }
}
