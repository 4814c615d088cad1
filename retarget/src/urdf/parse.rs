//! The XML of a URDF: its elements and numbers, and the checks that make them a tree.

use std::collections::HashMap;
use std::path::Path;

use nalgebra::{Isometry3, Translation3, Unit, UnitQuaternion, Vector3};
use roxmltree::{Document, Node};

use super::{UrdfError, UrdfJoint, UrdfJointKind, UrdfMimic, UrdfTree, pieces};

/// Shortest axis that has a direction; the format asks for length 1, exporters round.
const SHORTEST_AXIS: f64 = 1e-6;

/// An element, and where errors say that it is.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) node: Node<'a, 'a>,
    pub(super) path: &'a Path,
}

impl<'a> Element<'a> {
    pub(super) fn child(self, name: &str) -> Option<Self> {
        self.children(name).next()
    }

    pub(super) fn children<'n>(self, name: &'n str) -> impl Iterator<Item = Self> + use<'a, 'n> {
        let named = move |node: &Node| node.is_element() && node.tag_name().name() == name;
        let path = self.path;
        let children = self.node.children().filter(named);
        children.map(move |node| Self { node, path })
    }

    pub(super) fn line(self) -> u32 {
        let start = self.node.range().start;
        self.node.document().text_pos_at(start).row
    }

    /// `joint "name"`, or the tag alone.
    pub(super) fn shown(self) -> String {
        let tag = self.node.tag_name().name();
        // Pieces of a link or joint are shown with the one that they belong to.
        let owner = self
            .node
            .ancestors()
            .find(|node| node.has_attribute("name"));
        match owner.map(|owner| (owner, owner.attribute("name").unwrap_or(""))) {
            Some((owner, name)) if owner == self.node => format!("{tag} \"{name}\""),
            Some((owner, name)) => format!("{tag} of {} \"{name}\"", owner.tag_name().name()),
            None => tag.to_owned(),
        }
    }

    pub(super) fn invalid(self, key: &str, expected: &str, got: impl Into<String>) -> UrdfError {
        let shown = self.shown();
        UrdfError::Invalid {
            what: match key {
                "" => shown,
                key => format!("{shown}, {key}"),
            },
            expected: expected.to_owned(),
            got: got.into(),
            line: self.line(),
            path: self.path.display().to_string(),
        }
    }

    pub(super) fn text(self, key: &str) -> Result<&'a str, UrdfError> {
        match self.node.attribute(key).map(str::trim) {
            None => Err(self.invalid(key, "a value", "none")),
            Some("") => Err(self.invalid(key, "a value", "an empty one")),
            Some(text) => Ok(text),
        }
    }

    pub(super) fn numbers<const N: usize>(self, key: &str) -> Result<Option<[f64; N]>, UrdfError> {
        let Some(text) = self.node.attribute(key) else {
            return Ok(None);
        };
        let parsed: Option<Vec<f64>> = text
            .split_whitespace()
            .map(|number| {
                number
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite())
            })
            .collect();
        let found = parsed.and_then(|numbers| numbers.try_into().ok());
        match found {
            Some(numbers) => Ok(Some(numbers)),
            None => {
                let expected = match N {
                    1 => "a finite number".to_owned(),
                    many => format!("{many} finite numbers"),
                };
                Err(self.invalid(key, &expected, format!("\"{text}\"")))
            }
        }
    }

    pub(super) fn number(self, key: &str) -> Result<Option<f64>, UrdfError> {
        Ok(self.numbers::<1>(key)?.map(|[number]| number))
    }

    pub(super) fn length(self, key: &str) -> Result<f64, UrdfError> {
        let length = self.number(key)?.unwrap_or(0.0);
        if length > 0.0 {
            return Ok(length);
        }
        Err(self.invalid(key, "a length above 0 m", format!("{length}")))
    }

    /// The `origin` of an element: no offset where there is none.
    pub(super) fn origin(self) -> Result<Isometry3<f64>, UrdfError> {
        let Some(origin) = self.child("origin") else {
            return Ok(Isometry3::identity());
        };
        let xyz = origin.numbers::<3>("xyz")?.unwrap_or_default();
        let [roll, pitch, yaw] = origin.numbers::<3>("rpy")?.unwrap_or_default();
        Ok(Isometry3::from_parts(
            Translation3::from(Vector3::from(xyz)),
            // About the fixed x, then y, then z.
            UnitQuaternion::from_euler_angles(roll, pitch, yaw),
        ))
    }
}

/// Text to a checked tree; `path` goes into the errors.
pub(super) fn parse(text: &str, path: &Path) -> Result<UrdfTree, UrdfError> {
    let document = Document::parse(text).map_err(|source| UrdfError::Xml {
        path: path.display().to_string(),
        source: Box::new(source),
    })?;
    let robot = Element {
        node: document.root_element(),
        path,
    };
    if robot.node.tag_name().name() != "robot" {
        let got = format!("<{}>", robot.node.tag_name().name());
        return Err(robot.invalid("", "<robot> as the outermost element", got));
    }
    let macros = |node: &Node| {
        let namespace = node.tag_name().namespace();
        namespace.is_some_and(|namespace| namespace.contains("xacro"))
    };
    if let Some(node) = document.descendants().find(macros) {
        let expected = "no xacro macros; expand them first by `xacro FILE -o hand.urdf`";
        let got = format!("<xacro:{}>", node.tag_name().name());
        return Err(Element { node, path }.invalid("", expected, got));
    }
    let mut notes = Vec::new();
    let materials = pieces::materials(robot)?;
    let mut links = Vec::new();
    let mut link_of = HashMap::new();
    for element in robot.children("link") {
        let name = element.text("name")?;
        if link_of.insert(name, links.len()).is_some() {
            return Err(element.invalid("name", "a name used once", "one used before"));
        }
        links.push(pieces::link(element, &materials, &mut notes)?);
    }
    let mut joints: Vec<UrdfJoint> = Vec::new();
    let mut joint_of = HashMap::new();
    for element in robot.children("joint") {
        let name = element.text("name")?;
        if joint_of.insert(name, joints.len()).is_some() {
            return Err(element.invalid("name", "a name used once", "one used before"));
        }
        let joint = joint(element, &link_of)?;
        if let Some(other) = links[joint.child].joint.replace(joints.len()) {
            let got = format!("one, \"{}\", and another, \"{name}\"", joints[other].name);
            let child = &links[joint.child].name;
            let expected = format!("one joint that moves link \"{child}\"");
            return Err(element.invalid("child", &expected, got));
        }
        joints.push(joint);
    }
    for (index, element) in robot.children("joint").enumerate() {
        if joints[index].moves() {
            joints[index].mimic = mimic(element, &joint_of, &joints)?;
        }
    }
    resolve_mimics(robot, &mut joints)?;
    let mut roots = (0..links.len()).filter(|&link| links[link].joint.is_none());
    let Some(root) = roots.next() else {
        let got = match links.len() {
            0 => "no link at all",
            _ => "a loop: every link is the child of a joint",
        };
        return Err(robot.invalid("", "one link that no joint moves, the root", got));
    };
    if let Some(other) = roots.next() {
        let got = format!("\"{}\" and \"{}\"", links[root].name, links[other].name);
        return Err(robot.invalid("", "one link that no joint moves, the root", got));
    }
    let parents_first = parents_first(root, &joints, links.len());
    if parents_first.len() < joints.len() {
        let mut reached = vec![false; joints.len()];
        parents_first
            .iter()
            .for_each(|&joint| reached[joint] = true);
        let lost = reached.iter().position(|&reached| !reached).unwrap_or(0);
        let got = format!("\"{}\", which is in a loop", joints[lost].name);
        return Err(robot.invalid("", "joints that all lead to the root link", got));
    }
    Ok(UrdfTree {
        name: robot.node.attribute("name").unwrap_or("robot").to_owned(),
        path: path.to_owned(),
        links,
        joints,
        root,
        parents_first,
        notes,
    })
}

/// Depth first from the root, siblings in file order; loops are never reached.
fn parents_first(root: usize, joints: &[UrdfJoint], links: usize) -> Vec<usize> {
    let mut carried: Vec<Vec<usize>> = vec![Vec::new(); links];
    for (index, joint) in joints.iter().enumerate() {
        carried[joint.parent].push(index);
    }
    let mut order = Vec::with_capacity(joints.len());
    let mut waiting: Vec<usize> = carried[root].iter().rev().copied().collect();
    while let Some(joint) = waiting.pop() {
        order.push(joint);
        waiting.extend(carried[joints[joint].child].iter().rev());
    }
    order
}

fn joint(element: Element, link_of: &HashMap<&str, usize>) -> Result<UrdfJoint, UrdfError> {
    let kind = match element.text("type")? {
        "fixed" => UrdfJointKind::Fixed,
        "revolute" => UrdfJointKind::Revolute,
        "continuous" => UrdfJointKind::Continuous,
        "prismatic" => UrdfJointKind::Prismatic,
        other => {
            let expected = "fixed, revolute, continuous or prismatic";
            return Err(element.invalid("type", expected, format!("\"{other}\"")));
        }
    };
    let link = |end: &str| {
        let Some(end) = element.child(end) else {
            return Err(element.invalid(end, "a link", "none"));
        };
        let name = end.text("link")?;
        link_of.get(name).copied().ok_or_else(|| {
            let expected = "the name of a link of this file";
            end.invalid("link", expected, format!("\"{name}\""))
        })
    };
    let mut joint = UrdfJoint {
        name: element.text("name")?.to_owned(),
        kind,
        parent: link("parent")?,
        child: link("child")?,
        parent_from_joint: element.origin()?,
        axis: Vector3::x_axis(),
        lower: 0.0,
        upper: 0.0,
        velocity: None,
        mimic: None,
        line: element.line(),
    };
    if kind == UrdfJointKind::Fixed {
        return Ok(joint);
    }
    if let Some(axis) = element.child("axis") {
        let xyz = axis.numbers::<3>("xyz")?.unwrap_or([1.0, 0.0, 0.0]);
        let direction = Unit::try_new(Vector3::from(xyz), SHORTEST_AXIS);
        joint.axis =
            direction.ok_or_else(|| axis.invalid("xyz", "a direction", format!("\"{xyz:?}\"")))?;
    }
    let limit = element.child("limit");
    if let Some(limit) = limit {
        joint.velocity = limit.number("velocity")?.filter(|&speed| speed > 0.0);
    }
    if kind == UrdfJointKind::Continuous {
        (joint.lower, joint.upper) = (f64::NEG_INFINITY, f64::INFINITY);
        return Ok(joint);
    }
    let Some(limit) = limit else {
        return Err(element.invalid("limit", "lower, upper and velocity", "none"));
    };
    joint.lower = limit.number("lower")?.unwrap_or(0.0);
    joint.upper = limit.number("upper")?.unwrap_or(0.0);
    if joint.lower > joint.upper {
        let got = format!("({}, {})", joint.lower, joint.upper);
        return Err(limit.invalid("lower and upper", "lower <= upper", got));
    }
    Ok(joint)
}

/// What a joint mimics, as it stands in the file.
fn mimic(
    element: Element,
    joint_of: &HashMap<&str, usize>,
    joints: &[UrdfJoint],
) -> Result<Option<UrdfMimic>, UrdfError> {
    let Some(mimic) = element.child("mimic") else {
        return Ok(None);
    };
    let name = mimic.text("joint")?;
    let source = joint_of.get(name).filter(|&&source| joints[source].moves());
    let Some(&joint) = source else {
        let expected = "the name of a joint of this file that moves";
        return Err(mimic.invalid("joint", expected, format!("\"{name}\"")));
    };
    Ok(Some(UrdfMimic {
        joint,
        factor: mimic.number("multiplier")?.unwrap_or(1.0),
        offset: mimic.number("offset")?.unwrap_or(0.0),
    }))
}

/// Replaces what mimics a mimicking joint by a mimic of that joint's source.
fn resolve_mimics(robot: Element, joints: &mut [UrdfJoint]) -> Result<(), UrdfError> {
    for index in 0..joints.len() {
        let Some(mut mimic) = joints[index].mimic else {
            continue;
        };
        let mut steps = 0;
        while let Some(next) = joints[mimic.joint].mimic {
            steps += 1;
            if steps > joints.len() {
                let name = &joints[index].name;
                let got = format!("joint \"{name}\", which follows itself");
                return Err(robot.invalid("mimic", "a joint that leads to a free one", got));
            }
            mimic = UrdfMimic {
                joint: next.joint,
                factor: mimic.factor * next.factor,
                offset: mimic.factor * next.offset + mimic.offset,
            };
        }
        if !(mimic.factor.is_finite() && mimic.offset.is_finite()) {
            let got = format!("{} and {}", mimic.factor, mimic.offset);
            let expected = format!("a finite chain from joint \"{}\"", joints[index].name);
            return Err(robot.invalid("mimic", &expected, got));
        }
        joints[index].mimic = Some(mimic);
    }
    Ok(())
}
