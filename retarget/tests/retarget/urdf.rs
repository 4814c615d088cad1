//! An independent reading of a URDF: 4×4 matrices, link by link, sharing nothing with the crate,
//! its XML reader included.

use std::collections::HashMap;
use std::path::Path;

use nalgebra::{Matrix4, Vector3};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

#[derive(Default, Clone, Debug)]
pub struct UrdfJoint {
    pub name: String,
    pub kind: String,
    pub parent: String,
    pub child: String,
    pub xyz: [f64; 3],
    pub rpy: [f64; 3],
    pub axis: [f64; 3],
    pub lower: f64,
    pub upper: f64,
    pub velocity: f64,
    /// Source, factor, offset.
    pub mimic: Option<(String, f64, f64)>,
}

pub struct Urdf {
    pub joints: Vec<UrdfJoint>,
}

impl Urdf {
    pub fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap())
    }

    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::from_str(text);
        let mut joints: Vec<UrdfJoint> = Vec::new();
        let mut is_inside = false;
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::End(tag) if tag.name().as_ref() == b"joint" => is_inside = false,
                Event::Start(tag) if tag.name().as_ref() == b"joint" => {
                    is_inside = true;
                    joints.push(UrdfJoint {
                        name: attribute(&tag, "name").unwrap(),
                        kind: attribute(&tag, "type").unwrap(),
                        axis: [1.0, 0.0, 0.0],
                        ..Default::default()
                    });
                }
                Event::Start(tag) | Event::Empty(tag) if is_inside => {
                    let joint = joints.last_mut().unwrap();
                    let number = |name: &str| attribute(&tag, name).map(|x| x.parse().unwrap());
                    match tag.name().as_ref() {
                        b"parent" => joint.parent = attribute(&tag, "link").unwrap(),
                        b"child" => joint.child = attribute(&tag, "link").unwrap(),
                        b"axis" => joint.axis = numbers(attribute(&tag, "xyz")),
                        b"origin" => {
                            joint.xyz = numbers(attribute(&tag, "xyz"));
                            joint.rpy = numbers(attribute(&tag, "rpy"));
                        }
                        b"limit" => {
                            joint.lower = number("lower").unwrap_or(0.0);
                            joint.upper = number("upper").unwrap_or(0.0);
                            joint.velocity = number("velocity").unwrap_or(0.0);
                        }
                        b"mimic" => {
                            joint.mimic = Some((
                                attribute(&tag, "joint").unwrap(),
                                number("multiplier").unwrap_or(1.0),
                                number("offset").unwrap_or(0.0),
                            ));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Self { joints }
    }

    pub fn joint(&self, name: &str) -> &UrdfJoint {
        self.joints.iter().find(|joint| joint.name == name).unwrap()
    }

    /// Names of all links.
    pub fn links(&self) -> Vec<String> {
        let ends = self
            .joints
            .iter()
            .flat_map(|joint| [&joint.parent, &joint.child]);
        let mut links: Vec<String> = ends.cloned().collect();
        links.sort();
        links.dedup();
        links
    }

    /// The position of a joint, for positions of the joints that mimic none by name.
    pub fn position(&self, joint: &UrdfJoint, positions: &HashMap<String, f64>) -> f64 {
        match &joint.mimic {
            Some((source, factor, offset)) => {
                factor * self.position(self.joint(source), positions) + offset
            }
            None => positions.get(&joint.name).copied().unwrap_or(joint.lower),
        }
    }

    /// root_from_link, for positions of the joints that mimic none by name; what is missing stands
    /// at its lower limit.
    pub fn root_from_link(&self, link: &str, positions: &HashMap<String, f64>) -> Matrix4<f64> {
        let Some(joint) = self.joints.iter().find(|joint| joint.child == link) else {
            return Matrix4::identity();
        };
        let [roll, pitch, yaw] = joint.rpy;
        let turned = Matrix4::new_rotation(Vector3::z() * yaw)
            * Matrix4::new_rotation(Vector3::y() * pitch)
            * Matrix4::new_rotation(Vector3::x() * roll);
        let origin = Matrix4::new_translation(&Vector3::from(joint.xyz)) * turned;
        let axis = Vector3::from(joint.axis);
        let moved = match joint.kind.as_str() {
            "fixed" => Matrix4::identity(),
            kind => {
                let along = axis / axis.norm() * self.position(joint, positions);
                match kind {
                    "prismatic" => Matrix4::new_translation(&along),
                    _ => Matrix4::new_rotation(along),
                }
            }
        };
        self.root_from_link(&joint.parent, positions) * origin * moved
    }
}

fn attribute(tag: &BytesStart, name: &str) -> Option<String> {
    let found = tag.try_get_attribute(name).unwrap()?;
    Some(String::from_utf8(found.value.into_owned()).unwrap())
}

/// Three numbers; zeros where there are none.
fn numbers(text: Option<String>) -> [f64; 3] {
    let text = text.unwrap_or("0 0 0".to_owned());
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|x| x.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}
