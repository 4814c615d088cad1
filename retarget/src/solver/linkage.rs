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
    /// Index into the links; `usize::MAX` for the root.
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
    link: usize,
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
                    parent: joint.parent.map_or(usize::MAX, link_of),
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
                        link: link_of(joint),
                        column: moved
                            .binary_search(&local(joints[joint].variable))
                            .expect("just put there"),
                        factor: joints[joint].factor,
                        is_prismatic: joints[joint].kind == JointKind::Prismatic,
                    })
                    .collect();
                Chain {
                    link: point.joint.map_or(usize::MAX, link_of),
                    point_in_link: point.point_in_joint.coords.into(),
                    carriers,
                    variables: moved,
                }
            })
            .collect();
        Self {
            placed: vec![AT_ROOT; links.len()],
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
    pub(crate) fn update(&mut self, q: &[f64]) {
        for index in 0..self.links.len() {
            let link = &self.links[index];
            let parent = if link.parent == usize::MAX {
                AT_ROOT
            } else {
                self.placed[link.parent]
            };
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
                let (sine, cosine) = position.sin_cos();
                for (at, entry) in parent_from_joint.iter_mut().enumerate() {
                    *entry += cosine * link.cosine[at] + sine * link.sine[at];
                }
            }
            self.placed[index] = Placed {
                rotation: product(&parent.rotation, &parent_from_joint),
                origin,
                axis,
            };
        }
    }

    /// A point of [`Linkage::new`]'s list, in root axes (m).
    pub(super) fn point(&self, index: usize) -> Vector3<f64> {
        let chain = &self.chains[index];
        let placed = if chain.link == usize::MAX {
            &AT_ROOT
        } else {
            &self.placed[chain.link]
        };
        let turned = turn(&placed.rotation, &chain.point_in_link);
        Vector3::from(turned) + Vector3::from(placed.origin)
    }

    /// Puts capsules where their ends are: both ends of every capsule, one after the other, are the
    /// points from `first` on.
    pub(crate) fn place(&self, first: usize, placed: &mut [PlacedCapsule]) {
        for (at, capsule) in placed.iter_mut().enumerate() {
            capsule.from = Point3::from(self.point(first + 2 * at));
            capsule.to = Point3::from(self.point(first + 2 * at + 1));
        }
    }

    /// Where a carrier is now.
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
