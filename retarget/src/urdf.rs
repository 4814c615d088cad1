//! URDF: a file to a tree of links and joints ([`UrdfTree`]), and the tree to a hand
//! ([`Hand::from_urdf`](crate::Hand::from_urdf)).
//!
//! The format is that of <https://wiki.ros.org/urdf/XML>. Read by `roxmltree`: a whole document in
//! memory with the line of every element, no external entities, no dependency but `memchr`.

mod bodies;
mod convert;
mod fingers;
mod mesh;
mod parse;
mod pieces;
mod shapes;
mod solid;

use std::path::{Path, PathBuf};

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};

pub use convert::UrdfOptions;

/// Why a URDF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UrdfError {
    /// The file could not be read.
    #[error("cannot read the URDF; check that it exists and is readable: {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not well-formed XML; the source gives line and column.
    #[error("the URDF is not well-formed XML; correct it at the place given: {path}")]
    Xml {
        /// The file.
        path: String,
        /// What is wrong, and where.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Well-formed XML, but not a robot.
    #[error("{what}: expected {expected}, got {got}; correct it at line {line} of {path}")]
    Invalid {
        /// The element, by its name, and its attribute.
        what: String,
        /// What would be right.
        expected: String,
        /// What stands there.
        got: String,
        /// Line of the element, from 1.
        line: u32,
        /// The file.
        path: String,
    },
    /// Tips were named in a form that cannot be read.
    #[error(
        "the fingertips: expected FINGER=LINK, comma-separated, with thumb, index, middle, ring \
         or little, got \"{got}\""
    )]
    Tips {
        /// What stands there.
        got: String,
    },
    /// A link was asked for that is not in the file.
    #[error("no such link: expected one of {known}, got \"{name}\"; give one of these, for {path}")]
    UnknownLink {
        /// The name asked for.
        name: String,
        /// The links there are, comma-separated.
        known: String,
        /// The file.
        path: String,
    },
    /// A robot, but not usable as a hand as it stands.
    #[error("{what}: expected {expected}, got {got}; {next}: {path}")]
    NotAHand {
        /// What is missing or contradictory.
        what: String,
        /// What would be right.
        expected: String,
        /// What there is.
        got: String,
        /// What to do about it.
        next: String,
        /// The file.
        path: String,
    },
}

/// How a joint of a URDF moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrdfJointKind {
    /// Not at all.
    Fixed,
    /// About its axis, within limits.
    Revolute,
    /// About its axis, without limits.
    Continuous,
    /// Along its axis, within limits.
    Prismatic,
}

/// The joint that another one follows: position = factor · (that joint's position) + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UrdfMimic {
    /// Index of the joint followed, which follows none itself: chains are resolved on load.
    pub joint: usize,
    /// See above.
    pub factor: f64,
    /// See above (rad or m).
    pub offset: f64,
}

/// A joint of a URDF.
#[derive(Debug, Clone, PartialEq)]
pub struct UrdfJoint {
    /// Its name, used once.
    pub name: String,
    /// How it moves.
    pub kind: UrdfJointKind,
    /// Index of the link that carries it.
    pub parent: usize,
    /// Index of the link that it moves.
    pub child: usize,
    /// Axes of the child at position zero, in the parent's axes (m).
    pub parent_from_joint: Isometry3<f64>,
    /// Axis of motion in joint axes; x for a fixed joint.
    pub axis: Unit<Vector3<f64>>,
    /// Lower limit (rad or m); −∞ for a continuous joint, 0 for a fixed one.
    pub lower: f64,
    /// Upper limit (rad or m), never below `lower`; ∞ for a continuous joint, 0 for a fixed one.
    pub upper: f64,
    /// Speed limit (rad/s or m/s), above 0; `None` where the file says none, or 0.
    pub velocity: Option<f64>,
    /// The joint that it follows.
    pub mimic: Option<UrdfMimic>,
    /// Line in the file, from 1.
    pub line: u32,
}

impl UrdfJoint {
    /// Whether it moves at all.
    pub fn moves(&self) -> bool {
        self.kind != UrdfJointKind::Fixed
    }

    /// Axes of the child in the parent's axes at `position` (rad or m; a fixed joint takes none).
    pub fn parent_from_child(&self, position: f64) -> Isometry3<f64> {
        let joint_from_child = match self.kind {
            UrdfJointKind::Fixed => Isometry3::identity(),
            UrdfJointKind::Revolute | UrdfJointKind::Continuous => Isometry3::from_parts(
                Translation3::identity(),
                UnitQuaternion::from_axis_angle(&self.axis, position),
            ),
            UrdfJointKind::Prismatic => Isometry3::from_parts(
                Translation3::from(self.axis.into_inner() * position),
                UnitQuaternion::identity(),
            ),
        };
        self.parent_from_joint * joint_from_child
    }
}

/// The form of a piece of a link, about its own origin.
#[derive(Debug, Clone, PartialEq)]
pub enum UrdfGeometry {
    /// Edge lengths along x, y, z (m).
    Box(Vector3<f64>),
    /// Along z.
    Cylinder {
        /// Radius (m).
        radius: f64,
        /// Length (m).
        length: f64,
    },
    /// Along z, with half spheres at both ends.
    Capsule {
        /// Radius (m).
        radius: f64,
        /// Length without the half spheres (m).
        length: f64,
    },
    /// Radius (m).
    Sphere(f64),
    /// A mesh file.
    Mesh {
        /// The name as it stands in the file.
        file: String,
        /// Factors along x, y, z that make metres of the mesh's units.
        scale: Vector3<f64>,
    },
}

/// A piece of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct UrdfShape {
    /// Axes of the piece in link axes (m).
    pub link_from_shape: Isometry3<f64>,
    /// Its form.
    pub geometry: UrdfGeometry,
}

/// A link of a URDF.
#[derive(Debug, Clone, PartialEq)]
pub struct UrdfLink {
    /// Its name, used once.
    pub name: String,
    /// Index of the joint that moves it; `None` for the root.
    pub joint: Option<usize>,
    /// What it collides with.
    pub collision: Vec<UrdfShape>,
    /// What it looks like.
    pub visual: Vec<UrdfShape>,
    /// Colour of the first material that has one, sRGB, 0 to 255.
    pub rgb: Option<[u8; 3]>,
}

/// A URDF as it stands: links and joints in file order, one root, no loops.
///
/// Checked on load: names used once, one root, every link reached from it, numbers finite, axes of
/// length 1, limits in order, chains of mimicking joints resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct UrdfTree {
    name: String,
    path: PathBuf,
    links: Vec<UrdfLink>,
    joints: Vec<UrdfJoint>,
    root: usize,
    parents_first: Vec<usize>,
    notes: Vec<String>,
}

impl UrdfTree {
    /// Reads a file.
    ///
    /// # Errors
    /// [`UrdfError`] with the line.
    pub fn from_path(path: &Path) -> Result<Self, UrdfError> {
        let text = std::fs::read_to_string(path).map_err(|source| UrdfError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::from_text(&text, path)
    }

    /// Reads text; `path` is what errors name as its place, and where meshes are looked for.
    ///
    /// # Errors
    /// [`UrdfError`] with the line.
    pub fn from_text(text: &str, path: &Path) -> Result<Self, UrdfError> {
        parse::parse(text, path)
    }

    /// The robot's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file it is from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All links, in file order.
    pub fn links(&self) -> &[UrdfLink] {
        &self.links
    }

    /// All joints, fixed ones included, in file order.
    pub fn joints(&self) -> &[UrdfJoint] {
        &self.joints
    }

    /// Index of the root link.
    pub fn root(&self) -> usize {
        self.root
    }

    /// Indices of all joints such that the one that moves a joint's parent link comes before it;
    /// siblings in file order, depth first.
    pub fn parents_first(&self) -> &[usize] {
        &self.parents_first
    }

    /// What was passed over in the file, in sentences; empty when nothing was.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Index of the link of that name.
    ///
    /// # Errors
    /// [`UrdfError::UnknownLink`] lists the names there are.
    pub fn link(&self, name: &str) -> Result<usize, UrdfError> {
        let found = self.links.iter().position(|link| link.name == name);
        found.ok_or_else(|| UrdfError::UnknownLink {
            name: name.to_owned(),
            known: names(self.links.iter()),
            path: self.path.display().to_string(),
        })
    }

    /// The links that carry no joint, in file order.
    pub fn leaves(&self) -> impl Iterator<Item = usize> {
        let mut carries = vec![false; self.links.len()];
        for joint in &self.joints {
            carries[joint.parent] = true;
        }
        (0..self.links.len()).filter(move |&link| !carries[link])
    }

    /// The joints from the root to `link`, in that order, fixed ones included.
    ///
    /// # Panics
    /// When there is no such link.
    pub fn chain(&self, link: usize) -> Vec<usize> {
        let first = self.links[link].joint;
        let mut chain: Vec<usize> =
            std::iter::successors(first, |&joint| self.links[self.joints[joint].parent].joint)
                .collect();
        chain.reverse();
        chain
    }

    /// Axes of every link in root axes, in the order of [`UrdfTree::links`] (m), for one position
    /// of each joint (rad or m) in the order of [`UrdfTree::joints`]. What stands there for a
    /// fixed or a mimicking joint is not looked at.
    ///
    /// # Panics
    /// When `positions` has not one entry per joint.
    pub fn root_from_links(&self, positions: &[f64]) -> Vec<Isometry3<f64>> {
        assert_eq!(positions.len(), self.joints.len(), "one position a joint");
        let mut root_from_links = vec![Isometry3::identity(); self.links.len()];
        for &index in &self.parents_first {
            let joint = &self.joints[index];
            let position = match joint.mimic {
                Some(mimic) => mimic.factor * positions[mimic.joint] + mimic.offset,
                None => positions[index],
            };
            root_from_links[joint.child] =
                root_from_links[joint.parent] * joint.parent_from_child(position);
        }
        root_from_links
    }

    /// The origin of `link` in root axes when all joints stand at zero (m).
    fn origin_at_zero(&self, link: usize) -> Point3<f64> {
        let zero = vec![0.0; self.joints.len()];
        self.root_from_links(&zero)[link].translation.vector.into()
    }
}

/// Names, comma-separated.
fn names<'a>(links: impl Iterator<Item = &'a UrdfLink>) -> String {
    let names: Vec<&str> = links.map(|link| link.name.as_str()).collect();
    names.join(", ")
}
