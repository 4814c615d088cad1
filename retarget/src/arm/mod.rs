//! A robot arm as data, and the check whether it can follow recorded wrist poses.

mod box_solver;
mod chain;
mod check;
mod file;
mod placement;
mod report;
mod solve;
mod track;
mod urdf;

use std::path::Path;

use nalgebra::{Isometry3, Unit, Vector3};

use crate::capsule::PlacedCapsule;
use crate::urdf::UrdfError;

pub use chain::ArmKinematics;
pub use check::{
    ARM_FLAGS, ArmCheck, ArmCheckOptions, ArmChecker, ArmStep, COLLISION, DISCONTINUITY,
    INPUT_HELD, LIMIT, SINGULAR, TimedPose, UNREACHABLE, VELOCITY, arm_flag_names,
};
pub use placement::{Placement, PlacementGrid, PlacementReport, Span, search_placements};
pub use report::{ArmReport, FirstBad, FlagCount};
pub use urdf::ArmUrdfOptions;

/// The arms that come with the crate: name and TOML text.
///
/// To add one, write `arms/<name>.toml` and one line here; the tests over this list cover it.
pub const ARMS: &[(&str, &str)] = &[
    ("ur5e", include_str!("../../arms/ur5e.toml")),
    ("xarm7", include_str!("../../arms/xarm7.toml")),
    ("iiwa14", include_str!("../../arms/iiwa14.toml")),
];

/// Most joints of an arm: seven and a rail, and room to spare. More are no arm but a mistake.
pub const MOST_ARM_JOINTS: usize = 12;

/// Why an arm, a check or a search cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// No arm of that name is built in.
    #[error(
        "unknown arm: expected one of {known}, got \"{name}\"; give one of these or the path of an arm file or URDF"
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read the arm file; check that it exists and is readable: {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or has a missing, misspelt or ill-typed key; the source gives the line.
    #[error("the arm file is not a valid arm description; correct the line given: {path}")]
    Parse {
        /// The file, or the name of a built-in arm.
        path: String,
        /// Line, column and the keys expected.
        source: Box<toml::de::Error>,
    },
    /// The text is well formed, but what it says cannot be an arm.
    #[error("{what}: expected {expected}, got {got}; correct it in the arm file: {path}")]
    Invalid {
        /// The joint or capsule, and its key.
        what: String,
        /// What would be right.
        expected: String,
        /// What stands there.
        got: String,
        /// The file, or the name of a built-in arm.
        path: String,
    },
    /// A URDF could not be read, or has not the link asked for; the source says which and where.
    #[error("cannot take an arm from the URDF: {path}")]
    Urdf {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: Box<UrdfError>,
    },
    /// An option of a check or a search makes no sense.
    #[error("option {option}: expected {expected}, got {got}; correct it")]
    Option {
        /// Its name.
        option: String,
        /// What would be right.
        expected: String,
        /// What was given.
        got: String,
    },
}

/// How a joint moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmMotion {
    /// Turns about its axis (rad).
    Revolute,
    /// Slides along its axis (m): a rail or a lift under the arm.
    Prismatic,
}

/// A joint of an arm and the link that it moves.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmJoint {
    /// The maker's name.
    pub name: String,
    /// How it moves. Positions, limits and speeds are in rad or m by this.
    pub motion: ArmMotion,
    /// Joint axes at position zero, in the axes of the joint before it, or of the base (m).
    pub parent_from_joint: Isometry3<f64>,
    /// Axis of motion, in joint axes.
    pub axis: Unit<Vector3<f64>>,
    /// Lower limit of the position (rad or m); −∞ for a joint that turns without end.
    pub lower: f64,
    /// Upper limit of the position (rad or m); ∞ likewise.
    pub upper: f64,
    /// Speed limit (rad/s or m/s).
    pub velocity: f64,
}

/// A capsule fixed to a link of an arm.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmCapsule {
    /// Index of the joint that moves the link; `None` for the base.
    pub joint: Option<usize>,
    /// The capsule, in the link's axes (those of its joint, turned with it).
    pub capsule: PlacedCapsule,
}

/// A robot arm: joints in a row from the base to the flange. Checked on load and unchangeable
/// afterwards.
///
/// A configuration `q` has one entry per joint (rad, or m for a sliding one), base first.
///
/// ```
/// use dexumi_retarget::{Arm, ArmKinematics};
///
/// let arm = Arm::by_name("ur5e")?;
/// let mut kinematics = ArmKinematics::new(arm);
/// let base_from_flange = kinematics.update(&[0.0, -1.57, 1.57, -1.57, -1.57, 0.0]);
/// println!("flange at {} m", base_from_flange.translation);
/// # Ok::<(), dexumi_retarget::ArmError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    pub(crate) name: String,
    pub(crate) base: String,
    pub(crate) joints: Vec<ArmJoint>,
    pub(crate) last_from_flange: Isometry3<f64>,
    pub(crate) home: Vec<f64>,
    pub(crate) capsules: Vec<ArmCapsule>,
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) notes: Vec<String>,
}

impl Arm {
    /// An arm of [`ARMS`].
    ///
    /// # Errors
    /// [`ArmError::Unknown`] lists the names there are.
    pub fn by_name(name: &str) -> Result<Self, ArmError> {
        match ARMS.iter().find(|(known, _)| *known == name) {
            Some((known, text)) => Self::from_toml(text, known),
            None => Err(ArmError::Unknown {
                name: name.to_owned(),
                known: ARMS
                    .iter()
                    .map(|(known, _)| *known)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// An arm from a file: a URDF by its ending `.urdf` ([`Arm::from_urdf`] with no options), else
    /// TOML.
    ///
    /// # Errors
    /// [`ArmError`] when the file cannot be read, parsed, or is no arm.
    pub fn from_path(path: &Path) -> Result<Self, ArmError> {
        if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("urdf"))
        {
            return Self::from_urdf(path, &ArmUrdfOptions::default());
        }
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ArmError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::from_toml(&text, &shown)
    }

    /// An arm from TOML text; `path` is what errors name as its place.
    ///
    /// # Errors
    /// [`ArmError::Parse`] or [`ArmError::Invalid`].
    pub fn from_toml(text: &str, path: &str) -> Result<Self, ArmError> {
        file::parse(text, path)
    }

    /// The arm's name, as in [`ARMS`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the base link: z up along the first axis of the built-in arms, x forward.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The joints, base first.
    pub fn joints(&self) -> &[ArmJoint] {
        &self.joints
    }

    /// Number of joints: the length of every `q`.
    pub fn dof(&self) -> usize {
        self.joints.len()
    }

    /// The flange in the axes of the last joint (m). On the built-in arms z points out of the
    /// flange, away from the arm.
    pub fn last_from_flange(&self) -> &Isometry3<f64> {
        &self.last_from_flange
    }

    /// A usual working posture, shape (dof,): start of the search for a first answer, and what a
    /// redundant arm is drawn to.
    pub fn home(&self) -> &[f64] {
        &self.home
    }

    /// The capsules, in file order. None: nothing is known of the arm's shape, and
    /// self-collision cannot be checked.
    pub fn capsules(&self) -> &[ArmCapsule] {
        &self.capsules
    }

    /// Pairs of capsules, by index, whose collision counts: all but those of one link, of
    /// neighbouring links, and those that the file excepts.
    pub fn collision_pairs(&self) -> &[(usize, usize)] {
        &self.pairs
    }

    /// What was assumed or left out on the way from a URDF, in sentences; empty for an arm file.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Upper bound of the distance from the first joint's origin to the flange (m): the straight
    /// chain. Infinite with a sliding joint that has no limits.
    pub fn reach(&self) -> f64 {
        let mut reach = self.last_from_flange.translation.vector.norm();
        for (index, joint) in self.joints.iter().enumerate() {
            if index > 0 {
                reach += joint.parent_from_joint.translation.vector.norm();
            }
            if joint.motion == ArmMotion::Prismatic {
                reach += joint.lower.abs().max(joint.upper.abs());
            }
        }
        reach
    }
}

/// Pairs of capsules whose collision counts, given the pairs of links that do not.
pub(crate) fn collision_pairs(
    capsules: &[ArmCapsule],
    is_excepted: impl Fn(Option<usize>, Option<usize>) -> bool,
) -> Vec<(usize, usize)> {
    // The base is link 0, the link of joint i is link i + 1.
    let number = |joint: Option<usize>| joint.map_or(0, |joint| joint + 1);
    let mut pairs = Vec::new();
    for (i, one) in capsules.iter().enumerate() {
        for (j, other) in capsules.iter().enumerate().skip(i + 1) {
            let apart = number(one.joint).abs_diff(number(other.joint));
            if apart > 1 && !is_excepted(one.joint, other.joint) {
                pairs.push((i, j));
            }
        }
    }
    pairs
}
