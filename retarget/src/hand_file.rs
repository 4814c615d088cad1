//! The hand file: the checks that make a [`Hand`] of its keys.

mod error;
mod keys;

use std::collections::HashMap;

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};

pub use error::HandError;

use crate::coupling::narrowed;
use crate::hand::{Capsule, Frame, Hand, Joint, JointKind, Tip};
use crate::motor::{Motor, MotorUnit};
use keys::{CapsuleEntry, FrameEntry, HandFile, JointEntry, MimicEntry, MotorEntry, TipEntry};

/// Farthest that the length of an axis may be from 1: what rounding to six digits leaves.
const AXIS_TOLERANCE: f64 = 1e-6;

/// Where errors say that they are.
struct Place<'a>(&'a str);

impl Place<'_> {
    fn ensure(
        &self,
        holds: bool,
        what: &str,
        expected: &str,
        got: impl std::fmt::Debug,
    ) -> Result<(), HandError> {
        if holds {
            return Ok(());
        }
        Err(self.invalid(what, expected, got))
    }

    fn invalid(&self, what: &str, expected: &str, got: impl std::fmt::Debug) -> HandError {
        HandError::Invalid {
            what: what.to_owned(),
            expected: expected.to_owned(),
            got: format!("{got:?}"),
            path: self.0.to_owned(),
        }
    }

    fn finite(&self, what: &str, values: &[f64]) -> Result<(), HandError> {
        let holds = values.iter().all(|value| value.is_finite());
        self.ensure(holds, what, "finite numbers", values)
    }

    fn isometry(
        &self,
        key: impl Fn(&str) -> String,
        xyz: [f64; 3],
        rpy: [f64; 3],
    ) -> Result<Isometry3<f64>, HandError> {
        self.finite(&key("xyz"), &xyz)?;
        self.finite(&key("rpy"), &rpy)?;
        let [roll, pitch, yaw] = rpy;
        Ok(Isometry3::from_parts(
            Translation3::from(Vector3::from(xyz)),
            // URDF's rpy: about the fixed x, then y, then z, which is what nalgebra's takes too.
            UnitQuaternion::from_euler_angles(roll, pitch, yaw),
        ))
    }
}

/// A hand in the making.
struct Draft<'a> {
    hand: Hand,
    /// What a `parent` or `link` key can name: the joint, and the axes in those of its link.
    named: HashMap<String, (Option<usize>, Isometry3<f64>)>,
    /// Index in q that each variable asked for, in file order.
    indices: Vec<Option<usize>>,
    place: Place<'a>,
}

/// TOML text to a checked hand; `path` goes into the errors.
pub(crate) fn parse(text: &str, path: &str) -> Result<Hand, HandError> {
    let file: HandFile = toml::from_str(text).map_err(|source| HandError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let place = Place(path);
    place.ensure(
        !file.joint.is_empty(),
        "[[joint]]",
        "at least one joint",
        "none",
    )?;
    place.ensure(!file.tip.is_empty(), "[[tip]]", "at least one tip", "none")?;
    let root = (file.root.clone(), (None, Isometry3::identity()));
    let mut draft = Draft {
        hand: Hand::empty(file.name, file.side, file.root),
        named: HashMap::from([root]),
        indices: Vec::new(),
        place,
    };
    let mut frames = file.frame;
    draft.add_frames(&mut frames)?;
    for entry in file.joint {
        draft.add_joint(entry)?;
        draft.add_frames(&mut frames)?;
    }
    if let Some(lost) = frames.first() {
        return Err(draft.place.invalid(
            &format!("frame \"{}\", parent", lost.name),
            "the root link, a joint or another frame",
            &lost.parent,
        ));
    }
    draft.order_variables()?;
    for entry in file.tip {
        draft.add_tip(entry)?;
    }
    for (number, entry) in file.capsule.into_iter().enumerate() {
        draft.add_capsule(number, entry)?;
    }
    Ok(draft.hand)
}

impl Draft<'_> {
    /// Adds a place by which the hand is known outside.
    fn add_place(
        &mut self,
        key: &str,
        name: &str,
        joint: Option<usize>,
        link_from_frame: Isometry3<f64>,
    ) -> Result<(), HandError> {
        let is_new = self.hand.frame(name).is_none();
        let expected = "a name used once among links and frames";
        self.place.ensure(is_new, key, expected, name)?;
        self.hand.frames.push(Frame {
            name: name.to_owned(),
            joint,
            link_from_frame,
        });
        Ok(())
    }

    /// Adds those of `frames` whose parents are there by now, and takes them out.
    fn add_frames(&mut self, frames: &mut Vec<FrameEntry>) -> Result<(), HandError> {
        while let Some(next) = frames
            .iter()
            .position(|frame| self.named.contains_key(&frame.parent))
        {
            let entry = frames.remove(next);
            let key = |key: &str| format!("frame \"{}\", {key}", entry.name);
            let (joint, link_from_parent) = self.named[&entry.parent];
            let parent_from_frame = self.place.isometry(key, entry.xyz, entry.rpy)?;
            let link_from_frame = link_from_parent * parent_from_frame;
            self.add_place(&key("name"), &entry.name, joint, link_from_frame)?;
            let old = self
                .named
                .insert(entry.name.clone(), (joint, link_from_frame));
            let expected = "a name that no joint has";
            self.place
                .ensure(old.is_none(), &key("name"), expected, &entry.name)?;
        }
        Ok(())
    }

    fn add_joint(&mut self, entry: JointEntry) -> Result<(), HandError> {
        let place = &self.place;
        let key = |key: &str| format!("joint \"{}\", {key}", entry.name);
        place.ensure(
            !self.named.contains_key(&entry.name),
            &key("name"),
            "a name used once, other than the root's",
            &entry.name,
        )?;
        let Some(&(parent, link_from_parent)) = self.named.get(&entry.parent) else {
            let expected = "the root link or a joint further up in the file, or a frame on these";
            return Err(place.invalid(&key("parent"), expected, &entry.parent));
        };
        let parent_from_joint = place.isometry(key, entry.xyz, entry.rpy)?;
        let axis = Vector3::from(entry.axis);
        place.ensure(
            (axis.norm() - 1.0).abs() <= AXIS_TOLERANCE,
            &key("axis"),
            "a vector of length 1",
            entry.axis,
        )?;
        place.finite(&key("lower and upper"), &[entry.lower, entry.upper])?;
        place.ensure(
            entry.lower < entry.upper,
            &key("lower and upper"),
            "lower < upper",
            (entry.lower, entry.upper),
        )?;
        place.ensure(
            entry.velocity.is_finite() && entry.velocity > 0.0,
            &key("velocity"),
            "a speed above 0 rad/s (m/s for a prismatic joint)",
            entry.velocity,
        )?;
        let joint = self.hand.joints.len();
        let (variable, factor, offset) = match (&entry.motor, &entry.mimic) {
            (Some(motor), None) => {
                let index = motor.index;
                let motor = self.motor(&entry, motor)?;
                self.indices.push(index);
                self.hand.variables.push(joint);
                self.hand.limits.push((entry.lower, entry.upper));
                self.hand.velocities.push(entry.velocity);
                self.hand.motors.push(motor);
                (self.hand.variables.len() - 1, 1.0, 0.0)
            }
            (None, Some(mimic)) => (self.add_mimic(&entry, mimic)?, mimic.factor, mimic.offset),
            (None, None) => {
                return Err(place.invalid(&key("motor"), "a motor or a mimic entry", "neither"));
            }
            (Some(_), Some(_)) => {
                return Err(place.invalid(&key("motor"), "none beside mimic", "one"));
            }
        };
        self.hand.joints.push(Joint {
            link: entry.link.unwrap_or_else(|| entry.name.clone()),
            kind: entry.kind,
            parent,
            parent_from_joint: link_from_parent * parent_from_joint,
            axis: Unit::new_normalize(axis),
            variable,
            factor,
            offset,
            lower: entry.lower,
            upper: entry.upper,
            velocity: entry.velocity,
            name: entry.name.clone(),
        });
        let link = self.hand.joints[joint].link.clone();
        let key = format!("joint \"{}\", link", entry.name);
        self.add_place(&key, &link, Some(joint), Isometry3::identity())?;
        self.named
            .insert(entry.name, (Some(joint), Isometry3::identity()));
        Ok(())
    }

    fn motor(&self, entry: &JointEntry, motor: &MotorEntry) -> Result<Motor, HandError> {
        let key = |key: &str| format!("joint \"{}\", motor{key}", entry.name);
        let given = (motor.sign, motor.offset, motor.at_lower, motor.at_upper);
        let (scale, offset) = match given {
            (Some(sign), Some(offset), None, None) => {
                self.place
                    .ensure(sign.abs() == 1.0, &key(".sign"), "1 or -1", sign)?;
                let expected = match entry.kind {
                    JointKind::Revolute => MotorUnit::Rad,
                    JointKind::Prismatic => MotorUnit::M,
                };
                self.place.ensure(
                    motor.unit == expected,
                    &key(".unit"),
                    "the joint's own unit, rad or m; for any other give at_lower and at_upper",
                    motor.unit,
                )?;
                (sign, offset)
            }
            (None, None, Some(at_lower), Some(at_upper)) => {
                self.place.ensure(
                    at_lower != at_upper,
                    &key(".at_upper"),
                    "a command other than at_lower",
                    at_upper,
                )?;
                let scale = (at_upper - at_lower) / (entry.upper - entry.lower);
                (scale, at_lower - scale * entry.lower)
            }
            _ => {
                let expected = "either sign and offset, or at_lower and at_upper";
                return Err(self.place.invalid(&key(""), expected, given));
            }
        };
        self.place.finite(&key(""), &[scale, offset])?;
        let ends = match (motor.at_lower, motor.at_upper) {
            (Some(at_lower), Some(at_upper)) => (at_lower, at_upper),
            _ => (scale * entry.lower + offset, scale * entry.upper + offset),
        };
        Ok(Motor {
            unit: motor.unit,
            scale,
            offset,
            lower: ends.0.min(ends.1),
            upper: ends.0.max(ends.1),
        })
    }

    /// Narrows what `mimic` follows so that the mimicking joint keeps to its own limits and speed;
    /// gives the variable.
    fn add_mimic(&mut self, entry: &JointEntry, mimic: &MimicEntry) -> Result<usize, HandError> {
        let key = |key: &str| format!("joint \"{}\", mimic{key}", entry.name);
        let source = self
            .hand
            .joints
            .iter()
            .position(|at| at.name == mimic.joint);
        let source = source.filter(|source| self.hand.variables.contains(source));
        let Some(source) = source else {
            let expected = "a joint further up in the file that mimics none itself";
            return Err(self.place.invalid(&key(".joint"), expected, &mimic.joint));
        };
        self.place.finite(&key(""), &[mimic.factor, mimic.offset])?;
        let factor = mimic.factor;
        self.place
            .ensure(factor != 0.0, &key(".factor"), "not 0", factor)?;
        let variable = self.hand.joints[source].variable;
        let own = (entry.lower, entry.upper);
        let limits = narrowed(self.hand.limits[variable], own, (factor, mimic.offset));
        self.hand.limits[variable] = limits.map_err(|alone| {
            let expected = "limits that meet those of the joint it mimics";
            self.place.invalid(&key(""), expected, alone)
        })?;
        let velocity = &mut self.hand.velocities[variable];
        *velocity = velocity.min(entry.velocity / factor.abs());
        Ok(variable)
    }

    /// Orders the variables by the indices that the motors give, where they give any.
    fn order_variables(&mut self) -> Result<(), HandError> {
        if self.indices.iter().all(Option::is_none) {
            return Ok(());
        }
        let count = self.indices.len();
        let mut old_of_new = vec![None; count];
        for (old, index) in self.indices.iter().enumerate() {
            let slot = index.and_then(|index| old_of_new.get_mut(index));
            match slot.filter(|slot| slot.is_none()) {
                Some(slot) => *slot = Some(old),
                None => {
                    let joint = &self.hand.joints[self.hand.variables[old]].name;
                    return Err(self.place.invalid(
                        &format!("joint \"{joint}\", motor.index"),
                        &format!("each of 0 to {} once, or none anywhere", count - 1),
                        index,
                    ));
                }
            }
        }
        let old_of_new: Vec<usize> = old_of_new.into_iter().flatten().collect();
        self.hand.order_variables(&old_of_new);
        Ok(())
    }

    fn add_tip(&mut self, entry: TipEntry) -> Result<(), HandError> {
        let place = &self.place;
        let key = |key: &str| format!("tip \"{}\", {key}", entry.finger.name());
        let find = |name: &str, which: &str| {
            let found = self.hand.joints.iter().position(|joint| joint.name == name);
            found.ok_or_else(|| place.invalid(&key(which), "the name of a joint", name))
        };
        let is_new = self.hand.tips.iter().all(|tip| tip.finger != entry.finger);
        place.ensure(is_new, &key("finger"), "one tip a finger", "two")?;
        let joint = find(&entry.joint, "joint")?;
        let joint_from_tip = place.isometry(key, entry.xyz, entry.rpy)?;
        place.finite(&key("pad"), &entry.pad)?;
        let middle_joint = match &entry.middle_joint {
            Some(name) => Some(find(name, "middle_joint")?),
            None => None,
        };
        self.hand.tips.push(Tip {
            finger: entry.finger,
            joint,
            point_in_joint: Point3::from(joint_from_tip.translation.vector),
            pad: Vector3::from(entry.pad),
            middle_joint,
        });
        match &entry.link {
            Some(link) => self.add_place(&key("link"), link, Some(joint), joint_from_tip),
            None => Ok(()),
        }
    }

    fn add_capsule(&mut self, number: usize, entry: CapsuleEntry) -> Result<(), HandError> {
        let place = &self.place;
        let key = |key: &str| format!("capsule {number} on \"{}\", {key}", entry.link);
        let Some((joint, link_from_frame)) = self.named.get(&entry.link) else {
            let expected = "the root link or the name of a joint or frame";
            return Err(place.invalid(&key("link"), expected, &entry.link));
        };
        place.finite(&key("from"), &entry.from)?;
        place.finite(&key("to"), &entry.to)?;
        place.ensure(
            entry.radius.is_finite() && entry.radius > 0.0,
            &key("radius"),
            "a length above 0 m",
            entry.radius,
        )?;
        self.hand.capsules.push(Capsule {
            joint: *joint,
            from: link_from_frame * Point3::from(entry.from),
            to: link_from_frame * Point3::from(entry.to),
            radius: entry.radius,
            rgb: entry.rgb,
        });
        Ok(())
    }
}
