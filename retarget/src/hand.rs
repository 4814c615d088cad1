//! A robot hand as data: joints, limits, coupling, fingertips, motors, capsules.

use std::path::Path;

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};
use serde::Deserialize;

use crate::hand_file::{self, HandError};
use crate::motor::Motor;

/// The hands that come with the crate: name and TOML text.
///
/// To add one, write `hands/<name>.toml` and one line here; the tests over this list cover it.
pub const HANDS: &[(&str, &str)] = &[
    ("xhand_right", include_str!("../hands/xhand_right.toml")),
    ("xhand_left", include_str!("../hands/xhand_left.toml")),
    ("inspire_right", include_str!("../hands/inspire_right.toml")),
    ("inspire_left", include_str!("../hands/inspire_left.toml")),
    ("allegro_right", include_str!("../hands/allegro_right.toml")),
    ("allegro_left", include_str!("../hands/allegro_left.toml")),
    ("leap_right", include_str!("../hands/leap_right.toml")),
    ("leap_left", include_str!("../hands/leap_left.toml")),
    ("sharpa_right", include_str!("../hands/sharpa_right.toml")),
    ("sharpa_left", include_str!("../hands/sharpa_left.toml")),
];

/// Left or right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The left hand: y points away from the thumb.
    Left,
    /// The right hand: y points towards the thumb.
    Right,
}

impl Side {
    /// Direction from the little finger to the index along y: +1 on the right hand, −1 on the left.
    pub fn thumb_along_y(self) -> f64 {
        match self {
            Side::Left => -1.0,
            Side::Right => 1.0,
        }
    }
}

/// A finger, in the order of the 21 hand keypoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finger {
    /// Thumb.
    Thumb,
    /// Index.
    Index,
    /// Middle.
    Middle,
    /// Ring.
    Ring,
    /// Little.
    Little,
}

impl Finger {
    /// All five, in keypoint order.
    pub const ALL: [Finger; 5] = [
        Finger::Thumb,
        Finger::Index,
        Finger::Middle,
        Finger::Ring,
        Finger::Little,
    ];

    /// In lower case, as in hand files.
    pub fn name(self) -> &'static str {
        match self {
            Finger::Thumb => "thumb",
            Finger::Index => "index",
            Finger::Middle => "middle",
            Finger::Ring => "ring",
            Finger::Little => "little",
        }
    }
}

/// How a joint moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JointKind {
    /// About its axis; positions in rad, speeds in rad/s.
    #[default]
    Revolute,
    /// Along its axis; positions in m, speeds in m/s.
    Prismatic,
}

/// A joint and the link that it moves. Positions and limits are in rad, or in m for a
/// [`JointKind::Prismatic`] one.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// The vendor's name.
    pub name: String,
    /// The vendor's name of the link that it moves.
    pub link: String,
    /// How it moves.
    pub kind: JointKind,
    /// Index of the joint whose link carries this one; `None` for the root. Always smaller than
    /// the joint's own index.
    pub parent: Option<usize>,
    /// Joint axes at position zero, in the parent's axes (m).
    pub parent_from_joint: Isometry3<f64>,
    /// Axis of rotation or direction of motion, in joint axes.
    pub axis: Unit<Vector3<f64>>,
    /// Index into q of the variable that moves this joint. A joint that mimics another shares
    /// that joint's variable.
    pub variable: usize,
    /// Position = factor · q\[variable\] + offset; 1 unless the joint mimics another.
    pub factor: f64,
    /// See `factor` (rad or m); 0 unless the joint mimics another.
    pub offset: f64,
    /// The joint's own lower limit (rad or m).
    pub lower: f64,
    /// The joint's own upper limit (rad or m).
    pub upper: f64,
    /// The joint's own speed limit (rad/s or m/s).
    pub velocity: f64,
}

impl Joint {
    /// Axes of the link in the parent's axes when the joint stands at `position` (rad or m).
    pub fn parent_from_link(&self, position: f64) -> Isometry3<f64> {
        let joint_from_link = match self.kind {
            JointKind::Revolute => Isometry3::from_parts(
                Translation3::identity(),
                UnitQuaternion::from_axis_angle(&self.axis, position),
            ),
            JointKind::Prismatic => Isometry3::from_parts(
                Translation3::from(self.axis.into_inner() * position),
                UnitQuaternion::identity(),
            ),
        };
        self.parent_from_joint * joint_from_link
    }
}

/// A named place on a link, with axes: a vendor's link, or a point that a configuration names.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The vendor's name, used once among the frames of a hand.
    pub name: String,
    /// Index of the joint that moves it; `None` for what is fixed to the root.
    pub joint: Option<usize>,
    /// Its axes in that joint's link axes, or in root axes (m).
    pub link_from_frame: Isometry3<f64>,
}

/// A fingertip point.
#[derive(Debug, Clone, PartialEq)]
pub struct Tip {
    /// Which finger.
    pub finger: Finger,
    /// Index of the joint on whose link it sits.
    pub joint: usize,
    /// The point in that joint's axes: the origin of the vendor's tip link (m).
    pub point_in_joint: Point3<f64>,
    /// From that point to the middle of the pad, in the joint's axes (m); zero where not known.
    pub pad: Vector3<f64>,
    /// Index of the joint whose origin answers to the human interphalangeal joint of the thumb or
    /// the proximal one of a finger, if this hand has such a joint.
    pub middle_joint: Option<usize>,
}

/// A capsule (segment with a radius) fixed to a link, for drawing and collision.
#[derive(Debug, Clone, PartialEq)]
pub struct Capsule {
    /// Index of the joint that moves the link; `None` for the root.
    pub joint: Option<usize>,
    /// One end of the segment, in the link's axes (m).
    pub from: Point3<f64>,
    /// The other end, in the link's axes (m).
    pub to: Point3<f64>,
    /// Radius (m).
    pub radius: f64,
    /// Colour, sRGB, 0 to 255.
    pub rgb: [u8; 3],
}

/// A robot hand, checked on load and unchangeable afterwards.
///
/// A configuration `q` of a hand has one entry per *variable* (rad, or m for a prismatic joint), in
/// motor order: the joints that do not mimic another one, as the file orders them.
#[derive(Debug, Clone, PartialEq)]
pub struct Hand {
    pub(crate) name: String,
    pub(crate) side: Side,
    pub(crate) root: String,
    pub(crate) joints: Vec<Joint>,
    pub(crate) tips: Vec<Tip>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) capsules: Vec<Capsule>,
    pub(crate) variables: Vec<usize>,
    pub(crate) limits: Vec<(f64, f64)>,
    pub(crate) velocities: Vec<f64>,
    pub(crate) motors: Vec<Motor>,
    pub(crate) notes: Vec<String>,
}

impl Hand {
    /// A hand of nothing but its root.
    pub(crate) fn empty(name: String, side: Side, root: String) -> Self {
        Self {
            frames: vec![Frame {
                name: root.clone(),
                joint: None,
                link_from_frame: Isometry3::identity(),
            }],
            name,
            side,
            root,
            joints: Vec::new(),
            tips: Vec::new(),
            capsules: Vec::new(),
            variables: Vec::new(),
            limits: Vec::new(),
            velocities: Vec::new(),
            motors: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reorders the entries of q: entry i becomes what was entry `old_of_new[i]`, a permutation.
    pub(crate) fn order_variables(&mut self, old_of_new: &[usize]) {
        let mut new_of_old = vec![0; old_of_new.len()];
        for (new, &old) in old_of_new.iter().enumerate() {
            new_of_old[old] = new;
        }
        for joint in &mut self.joints {
            joint.variable = new_of_old[joint.variable];
        }
        self.variables = old_of_new.iter().map(|&old| self.variables[old]).collect();
        self.limits = old_of_new.iter().map(|&old| self.limits[old]).collect();
        self.velocities = old_of_new.iter().map(|&old| self.velocities[old]).collect();
        self.motors = old_of_new.iter().map(|&old| self.motors[old]).collect();
    }

    /// A hand of [`HANDS`].
    ///
    /// # Errors
    /// [`HandError::Unknown`] lists the names there are.
    pub fn by_name(name: &str) -> Result<Self, HandError> {
        match HANDS.iter().find(|(known, _)| *known == name) {
            Some((known, text)) => Self::from_toml(text, known),
            None => Err(HandError::Unknown {
                name: name.to_owned(),
                known: HANDS
                    .iter()
                    .map(|(known, _)| *known)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// A hand from a TOML file.
    ///
    /// # Errors
    /// [`HandError`] when the file cannot be read, parsed, or is no hand.
    pub fn from_path(path: &Path) -> Result<Self, HandError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| HandError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::from_toml(&text, &shown)
    }

    /// A hand from TOML text; `path` is what errors name as its place.
    ///
    /// # Errors
    /// [`HandError::Parse`] or [`HandError::Invalid`].
    pub fn from_toml(text: &str, path: &str) -> Result<Self, HandError> {
        hand_file::parse(text, path)
    }

    /// The hand's name, as in [`HANDS`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Left or right.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Name of the root link. Its axes are the hand frame (see the crate's header).
    pub fn root(&self) -> &str {
        &self.root
    }

    /// All joints, parents before children, coupled ones included.
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// The fingertip points, in file order.
    pub fn tips(&self) -> &[Tip] {
        &self.tips
    }

    /// Every named place, the root and the links of all joints included.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The place of that name: the root, a joint's link, a tip's link, or another of the file's.
    pub fn frame(&self, name: &str) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.name == name)
    }

    /// The wrist: where the human one is laid when keypoints are followed.
    pub fn wrist(&self) -> &Frame {
        self.frame("wrist")
            .or_else(|| self.frame("palm"))
            .unwrap_or(&self.frames[0])
    }

    /// What was assumed or passed over on loading, in sentences; empty when nothing was.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The capsules, in file order.
    pub fn capsules(&self) -> &[Capsule] {
        &self.capsules
    }

    /// Number of variables: the length of every `q`.
    pub fn dof(&self) -> usize {
        self.variables.len()
    }

    /// The joint behind each entry of `q`.
    pub fn variables(&self) -> &[usize] {
        &self.variables
    }

    /// Names of the joints behind the entries of `q`.
    pub fn variable_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.variables
            .iter()
            .map(|&joint| self.joints[joint].name.as_str())
    }

    /// Lower and upper limit of each entry of `q` (rad or m), narrowed so that the joints that mimic it
    /// stay within their own limits too.
    pub fn limits(&self) -> &[(f64, f64)] {
        &self.limits
    }

    /// Speed limit of each entry of `q` (rad/s or m/s), lowered likewise.
    pub fn velocities(&self) -> &[f64] {
        &self.velocities
    }

    /// Motor behind each entry of `q`.
    pub fn motors(&self) -> &[Motor] {
        &self.motors
    }

    /// Open hand: zero, or the limit nearest to it, shape (dof,) (rad or m).
    pub fn rest(&self) -> Vec<f64> {
        self.limits
            .iter()
            .map(|&(lower, upper)| 0.0_f64.clamp(lower, upper))
            .collect()
    }
}
