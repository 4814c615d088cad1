//! The arm file: its TOML keys, and the checks that make it an [`Arm`].

use std::collections::HashMap;

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};
use serde::Deserialize;

use crate::arm::{
    Arm, ArmCapsule, ArmError, ArmJoint, ArmMotion, MOST_ARM_JOINTS, collision_pairs,
};
use crate::capsule::PlacedCapsule;

/// Farthest that the length of an axis may be from 1: what rounding to six digits leaves.
const AXIS_TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmFile {
    name: String,
    base: String,
    home: Option<Vec<f64>>,
    flange: Origin,
    joint: Vec<JointEntry>,
    #[serde(default)]
    capsule: Vec<CapsuleEntry>,
    /// Pairs of links whose capsules may touch.
    #[serde(default)]
    may_touch: Vec<[String; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    xyz: [f64; 3],
    rpy: [f64; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JointEntry {
    name: String,
    #[serde(default)]
    motion: MotionEntry,
    xyz: [f64; 3],
    rpy: [f64; 3],
    axis: [f64; 3],
    lower: f64,
    upper: f64,
    velocity: f64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum MotionEntry {
    #[default]
    Revolute,
    Prismatic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapsuleEntry {
    link: String,
    from: [f64; 3],
    to: [f64; 3],
    radius: f64,
}

/// Where errors say that they are.
pub(crate) struct Place<'a>(pub(crate) &'a str);

impl Place<'_> {
    pub(crate) fn ensure(
        &self,
        holds: bool,
        what: &str,
        expected: &str,
        got: impl std::fmt::Debug,
    ) -> Result<(), ArmError> {
        if holds {
            return Ok(());
        }
        Err(ArmError::Invalid {
            what: what.to_owned(),
            expected: expected.to_owned(),
            got: format!("{got:?}"),
            path: self.0.to_owned(),
        })
    }

    fn finite(&self, what: &str, values: &[f64]) -> Result<(), ArmError> {
        let holds = values.iter().all(|value| value.is_finite());
        self.ensure(holds, what, "finite numbers", values)
    }

    fn origin(&self, what: &str, xyz: [f64; 3], rpy: [f64; 3]) -> Result<Isometry3<f64>, ArmError> {
        self.finite(&format!("{what}, xyz"), &xyz)?;
        self.finite(&format!("{what}, rpy"), &rpy)?;
        let [roll, pitch, yaw] = rpy;
        // URDF's rpy: about the fixed x, then y, then z, which is what nalgebra's takes too.
        Ok(Isometry3::from_parts(
            Translation3::from(Vector3::from(xyz)),
            UnitQuaternion::from_euler_angles(roll, pitch, yaw),
        ))
    }
}

/// TOML text to a checked arm; `path` goes into the errors.
pub(crate) fn parse(text: &str, path: &str) -> Result<Arm, ArmError> {
    let file: ArmFile = toml::from_str(text).map_err(|source| ArmError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let place = Place(path);
    let mut joints = Vec::new();
    let mut link_of = HashMap::from([(file.base.clone(), None)]);
    for entry in file.joint {
        let index = joints.len();
        let is_new = link_of.insert(entry.name.clone(), Some(index)).is_none();
        let what = format!("joint \"{}\", name", entry.name);
        place.ensure(
            is_new,
            &what,
            "a name used once, other than the base's",
            &entry.name,
        )?;
        joints.push(joint(entry, &place)?);
    }
    let find = |what: &str, link: &str| match link_of.get(link) {
        Some(&joint) => Ok(joint),
        None => place
            .ensure(false, what, "the base or the name of a joint", link)
            .map(|()| None),
    };
    let mut capsules = Vec::new();
    for (number, entry) in file.capsule.into_iter().enumerate() {
        let key = |key: &str| format!("capsule {number} on \"{}\", {key}", entry.link);
        place.finite(&key("from"), &entry.from)?;
        place.finite(&key("to"), &entry.to)?;
        place.ensure(
            entry.radius.is_finite() && entry.radius > 0.0,
            &key("radius"),
            "a length above 0 m",
            entry.radius,
        )?;
        capsules.push(ArmCapsule {
            joint: find(&key("link"), &entry.link)?,
            capsule: PlacedCapsule {
                from: Point3::from(entry.from),
                to: Point3::from(entry.to),
                radius: entry.radius,
            },
        });
    }
    let mut excepted = Vec::new();
    for [one, other] in &file.may_touch {
        excepted.push((find("may_touch", one)?, find("may_touch", other)?));
    }
    let pairs = collision_pairs(&capsules, |one, other| {
        excepted.contains(&(one, other)) || excepted.contains(&(other, one))
    });
    let home = match file.home {
        Some(home) => home,
        None => middle(&joints),
    };
    let arm = Arm {
        name: file.name,
        base: file.base,
        joints,
        last_from_flange: place.origin("flange", file.flange.xyz, file.flange.rpy)?,
        home,
        capsules,
        pairs,
        notes: Vec::new(),
    };
    checked(arm, &place)
}

fn joint(entry: JointEntry, place: &Place) -> Result<ArmJoint, ArmError> {
    let what = format!("joint \"{}\"", entry.name);
    let axis = Vector3::from(entry.axis);
    place.ensure(
        (axis.norm() - 1.0).abs() <= AXIS_TOLERANCE,
        &format!("{what}, axis"),
        "a vector of length 1",
        entry.axis,
    )?;
    Ok(ArmJoint {
        motion: match entry.motion {
            MotionEntry::Revolute => ArmMotion::Revolute,
            MotionEntry::Prismatic => ArmMotion::Prismatic,
        },
        parent_from_joint: place.origin(&what, entry.xyz, entry.rpy)?,
        axis: Unit::new_normalize(axis),
        lower: entry.lower,
        upper: entry.upper,
        velocity: entry.velocity,
        name: entry.name,
    })
}

/// Zero, or the middle of the limits where they leave it out.
pub(crate) fn middle(joints: &[ArmJoint]) -> Vec<f64> {
    joints
        .iter()
        .map(|joint| {
            if joint.lower < 0.0 && joint.upper > 0.0 {
                0.0
            } else {
                0.5 * (joint.lower + joint.upper)
            }
        })
        .collect()
}

/// What an arm must fulfil, wherever it came from.
pub(crate) fn checked(arm: Arm, place: &Place) -> Result<Arm, ArmError> {
    place.ensure(
        (1..=MOST_ARM_JOINTS).contains(&arm.dof()),
        "joints from base to flange",
        &format!("1 to {MOST_ARM_JOINTS}"),
        arm.dof(),
    )?;
    for joint in &arm.joints {
        let key = |key: &str| format!("joint \"{}\", {key}", joint.name);
        place.ensure(
            joint.lower < joint.upper,
            &key("lower and upper"),
            "lower < upper",
            (joint.lower, joint.upper),
        )?;
        let is_bounded = joint.lower.is_finite() && joint.upper.is_finite();
        place.ensure(
            is_bounded || joint.motion == ArmMotion::Revolute,
            &key("lower and upper"),
            "limits, for a joint that slides",
            (joint.lower, joint.upper),
        )?;
        place.ensure(
            joint.velocity.is_finite() && joint.velocity > 0.0,
            &key("velocity"),
            "a speed above 0",
            joint.velocity,
        )?;
    }
    place.ensure(
        arm.home.len() == arm.dof(),
        "home",
        &format!("{} positions, one a joint", arm.dof()),
        arm.home.len(),
    )?;
    for (joint, home) in arm.joints.iter().zip(&arm.home) {
        place.ensure(
            (joint.lower..=joint.upper).contains(home),
            &format!("home of joint \"{}\"", joint.name),
            &format!("{} to {}", joint.lower, joint.upper),
            home,
        )?;
    }
    Ok(arm)
}
