//! The hand file: its TOML keys, and the checks that make it a [`Hand`].

use std::collections::HashMap;

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};
use serde::Deserialize;

use crate::hand::{Capsule, Finger, Hand, HandError, Joint, Motor, MotorUnit, Side, Tip};

/// Farthest that the length of an axis may be from 1: what rounding to six digits leaves.
const AXIS_TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandFile {
    name: String,
    side: Side,
    root: String,
    joint: Vec<JointEntry>,
    tip: Vec<TipEntry>,
    #[serde(default)]
    capsule: Vec<CapsuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JointEntry {
    name: String,
    parent: String,
    xyz: [f64; 3],
    rpy: [f64; 3],
    axis: [f64; 3],
    lower: f64,
    upper: f64,
    velocity: f64,
    motor: Option<MotorEntry>,
    mimic: Option<MimicEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MotorEntry {
    unit: MotorUnit,
    sign: f64,
    offset: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MimicEntry {
    joint: String,
    factor: f64,
    offset: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TipEntry {
    finger: Finger,
    joint: String,
    xyz: [f64; 3],
    middle_joint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapsuleEntry {
    link: String,
    from: [f64; 3],
    to: [f64; 3],
    radius: f64,
    rgb: [u8; 3],
}

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
        Err(HandError::Invalid {
            what: what.to_owned(),
            expected: expected.to_owned(),
            got: format!("{got:?}"),
            path: self.0.to_owned(),
        })
    }

    fn finite(&self, what: &str, values: &[f64]) -> Result<(), HandError> {
        let holds = values.iter().all(|value| value.is_finite());
        self.ensure(holds, what, "finite numbers", values)
    }
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
    let mut hand = Hand {
        name: file.name,
        side: file.side,
        root: file.root,
        joints: Vec::new(),
        tips: Vec::new(),
        capsules: Vec::new(),
        variables: Vec::new(),
        limits: Vec::new(),
        velocities: Vec::new(),
        motors: Vec::new(),
    };
    let mut index_of = HashMap::new();
    for entry in file.joint {
        add_joint(&mut hand, &mut index_of, entry, &place)?;
    }
    for entry in file.tip {
        add_tip(&mut hand, &index_of, entry, &place)?;
    }
    for (number, entry) in file.capsule.into_iter().enumerate() {
        add_capsule(&mut hand, &index_of, number, entry, &place)?;
    }
    Ok(hand)
}

fn add_joint(
    hand: &mut Hand,
    index_of: &mut HashMap<String, usize>,
    entry: JointEntry,
    place: &Place,
) -> Result<(), HandError> {
    let key = |key: &str| format!("joint \"{}\", {key}", entry.name);
    let is_new = entry.name != hand.root && !index_of.contains_key(&entry.name);
    place.ensure(
        is_new,
        &key("name"),
        "a name used once, other than the root's",
        &entry.name,
    )?;
    let parent = index_of.get(&entry.parent).copied();
    place.ensure(
        parent.is_some() || entry.parent == hand.root,
        &key("parent"),
        "the root link or a joint further up in the file",
        &entry.parent,
    )?;
    place.finite(&key("xyz"), &entry.xyz)?;
    place.finite(&key("rpy"), &entry.rpy)?;
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
        "a speed above 0 rad/s",
        entry.velocity,
    )?;
    let joint = hand.joints.len();
    let (variable, factor, offset) = match &entry.mimic {
        None => {
            let Some(motor) = &entry.motor else {
                return place.ensure(false, &key("motor"), "a motor or a mimic entry", "neither");
            };
            place.ensure(
                motor.sign.abs() == 1.0,
                &key("motor.sign"),
                "1 or -1",
                motor.sign,
            )?;
            place.finite(&key("motor.offset"), &[motor.offset])?;
            hand.variables.push(joint);
            hand.limits.push((entry.lower, entry.upper));
            hand.velocities.push(entry.velocity);
            hand.motors.push(Motor {
                unit: motor.unit,
                sign: motor.sign,
                offset: motor.offset,
            });
            (hand.variables.len() - 1, 1.0, 0.0)
        }
        Some(mimic) => {
            place.ensure(
                entry.motor.is_none(),
                &key("motor"),
                "none beside mimic",
                "one",
            )?;
            let source = index_of
                .get(&mimic.joint)
                .filter(|&&source| hand.variables.contains(&source));
            let Some(&source) = source else {
                let expected = "a joint further up in the file that mimics none itself";
                return place.ensure(false, &key("mimic.joint"), expected, &mimic.joint);
            };
            place.finite(&key("mimic"), &[mimic.factor, mimic.offset])?;
            place.ensure(
                mimic.factor != 0.0,
                &key("mimic.factor"),
                "not 0",
                mimic.factor,
            )?;
            let variable = hand.joints[source].variable;
            narrow(hand, variable, &entry, mimic, place)?;
            (variable, mimic.factor, mimic.offset)
        }
    };
    let [roll, pitch, yaw] = entry.rpy;
    hand.joints.push(Joint {
        parent,
        // URDF's rpy: about the fixed x, then y, then z, which is what nalgebra's takes too.
        parent_from_joint: Isometry3::from_parts(
            Translation3::from(Vector3::from(entry.xyz)),
            UnitQuaternion::from_euler_angles(roll, pitch, yaw),
        ),
        axis: Unit::new_normalize(axis),
        variable,
        factor,
        offset,
        lower: entry.lower,
        upper: entry.upper,
        velocity: entry.velocity,
        name: entry.name.clone(),
    });
    index_of.insert(entry.name, joint);
    Ok(())
}

/// Narrows a variable's limits and speed so that the joint mimicking it keeps to its own.
fn narrow(
    hand: &mut Hand,
    variable: usize,
    entry: &JointEntry,
    mimic: &MimicEntry,
    place: &Place,
) -> Result<(), HandError> {
    let one = (entry.lower - mimic.offset) / mimic.factor;
    let other = (entry.upper - mimic.offset) / mimic.factor;
    let (lower, upper) = hand.limits[variable];
    let narrowed = (lower.max(one.min(other)), upper.min(one.max(other)));
    place.ensure(
        narrowed.0 < narrowed.1,
        &format!("joint \"{}\", mimic", entry.name),
        "limits that meet those of the joint it mimics",
        (one.min(other), one.max(other)),
    )?;
    hand.limits[variable] = narrowed;
    hand.velocities[variable] = hand.velocities[variable].min(entry.velocity / mimic.factor.abs());
    Ok(())
}

fn add_tip(
    hand: &mut Hand,
    index_of: &HashMap<String, usize>,
    entry: TipEntry,
    place: &Place,
) -> Result<(), HandError> {
    let key = |key: &str| format!("tip \"{:?}\", {key}", entry.finger).to_lowercase();
    let find = |name: &str, which: &str| {
        let joint = index_of.get(name).copied();
        place
            .ensure(joint.is_some(), &key(which), "the name of a joint", name)
            .map(|()| joint)
    };
    let is_new = hand.tips.iter().all(|tip| tip.finger != entry.finger);
    place.ensure(is_new, &key("finger"), "one tip a finger", "two")?;
    place.finite(&key("xyz"), &entry.xyz)?;
    let middle_joint = match &entry.middle_joint {
        Some(name) => find(name, "middle_joint")?,
        None => None,
    };
    if let Some(joint) = find(&entry.joint, "joint")? {
        hand.tips.push(Tip {
            finger: entry.finger,
            joint,
            point_in_joint: Point3::from(entry.xyz),
            middle_joint,
        });
    }
    Ok(())
}

fn add_capsule(
    hand: &mut Hand,
    index_of: &HashMap<String, usize>,
    number: usize,
    entry: CapsuleEntry,
    place: &Place,
) -> Result<(), HandError> {
    let key = |key: &str| format!("capsule {number} on \"{}\", {key}", entry.link);
    let joint = index_of.get(&entry.link).copied();
    place.ensure(
        joint.is_some() || entry.link == hand.root,
        &key("link"),
        "the root link or the name of a joint",
        &entry.link,
    )?;
    place.finite(&key("from"), &entry.from)?;
    place.finite(&key("to"), &entry.to)?;
    place.ensure(
        entry.radius.is_finite() && entry.radius > 0.0,
        &key("radius"),
        "a length above 0 m",
        entry.radius,
    )?;
    hand.capsules.push(Capsule {
        joint,
        from: Point3::from(entry.from),
        to: Point3::from(entry.to),
        radius: entry.radius,
        rgb: entry.rgb,
    });
    Ok(())
}
