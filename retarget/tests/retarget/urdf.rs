//! An independent reading of a URDF: 4×4 matrices, link by link, sharing nothing with the crate.

use std::collections::HashMap;
use std::path::Path;

use nalgebra::{Matrix4, Vector3};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

#[derive(Default, Clone)]
pub struct UrdfJoint {
    pub name: String,
    pub is_fixed: bool,
    pub parent: String,
    pub child: String,
    pub xyz: [f64; 3],
    pub rpy: [f64; 3],
    pub axis: [f64; 3],
    pub lower: f64,
    pub upper: f64,
    pub velocity: f64,
}

pub struct Urdf {
    pub joints: Vec<UrdfJoint>,
}

impl Urdf {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut reader = Reader::from_str(&text);
        let mut joints: Vec<UrdfJoint> = Vec::new();
        let mut is_inside = false;
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::End(tag) if tag.name().as_ref() == b"joint" => is_inside = false,
                Event::Start(tag) if tag.name().as_ref() == b"joint" => {
                    is_inside = true;
                    joints.push(UrdfJoint {
                        name: attribute(&tag, "name"),
                        is_fixed: attribute(&tag, "type") == "fixed",
                        ..Default::default()
                    });
                }
                Event::Start(tag) | Event::Empty(tag) if is_inside => {
                    let joint = joints.last_mut().unwrap();
                    match tag.name().as_ref() {
                        b"parent" => joint.parent = attribute(&tag, "link"),
                        b"child" => joint.child = attribute(&tag, "link"),
                        b"axis" => joint.axis = numbers(&attribute(&tag, "xyz")),
                        b"origin" => {
                            joint.xyz = numbers(&attribute(&tag, "xyz"));
                            joint.rpy = numbers(&attribute(&tag, "rpy"));
                        }
                        b"limit" => {
                            joint.lower = attribute(&tag, "lower").parse().unwrap();
                            joint.upper = attribute(&tag, "upper").parse().unwrap();
                            joint.velocity = attribute(&tag, "velocity").parse().unwrap();
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Self { joints }
    }

    /// root_from_link, for positions by joint name.
    pub fn root_from_link(&self, link: &str, positions: &HashMap<String, f64>) -> Matrix4<f64> {
        let Some(joint) = self.joints.iter().find(|joint| joint.child == link) else {
            return Matrix4::identity();
        };
        let [roll, pitch, yaw] = joint.rpy;
        let turned = Matrix4::new_rotation(Vector3::z() * yaw)
            * Matrix4::new_rotation(Vector3::y() * pitch)
            * Matrix4::new_rotation(Vector3::x() * roll);
        let origin = Matrix4::new_translation(&Vector3::from(joint.xyz)) * turned;
        let position = positions.get(&joint.name).copied().unwrap_or(0.0);
        let moved = Matrix4::new_rotation(Vector3::from(joint.axis) * position);
        self.root_from_link(&joint.parent, positions) * origin * moved
    }
}

fn attribute(tag: &BytesStart, name: &str) -> String {
    let found = tag.try_get_attribute(name).unwrap().unwrap();
    String::from_utf8(found.value.into_owned()).unwrap()
}

fn numbers(text: &str) -> [f64; 3] {
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|x| x.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}
