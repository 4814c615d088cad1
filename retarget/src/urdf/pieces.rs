//! What a link of a URDF is made of: geometry and colour.

use std::collections::HashMap;

use roxmltree::Node;

use super::parse::Element;
use super::{UrdfError, UrdfGeometry, UrdfLink, UrdfShape};

/// Colours of the materials defined for the whole robot, by name.
pub(super) fn materials<'a>(robot: Element<'a>) -> Result<HashMap<&'a str, [u8; 3]>, UrdfError> {
    let mut materials = HashMap::new();
    for material in robot.children("material") {
        if let (Some(name), Some(rgb)) = (material.node.attribute("name"), color(material)?) {
            materials.insert(name, rgb);
        }
    }
    Ok(materials)
}

fn color(material: Element) -> Result<Option<[u8; 3]>, UrdfError> {
    let Some(color) = material.child("color") else {
        return Ok(None);
    };
    let rgba = color.numbers::<4>("rgba")?;
    Ok(rgba.map(|[r, g, b, _]| [r, g, b].map(|part| (part.clamp(0.0, 1.0) * 255.0).round() as u8)))
}

/// A link and its pieces; `notes` says which were passed over.
pub(super) fn link(
    element: Element,
    materials: &HashMap<&str, [u8; 3]>,
    notes: &mut Vec<String>,
) -> Result<UrdfLink, UrdfError> {
    let mut collision = Vec::new();
    for piece in element.children("collision") {
        collision.extend(shape(piece, notes)?);
    }
    let mut visual = Vec::new();
    let mut rgb = None;
    for piece in element.children("visual") {
        visual.extend(shape(piece, notes)?);
        if let (None, Some(material)) = (rgb, piece.child("material")) {
            let name = material.node.attribute("name").unwrap_or("");
            rgb = color(material)?.or_else(|| materials.get(name).copied());
        }
    }
    Ok(UrdfLink {
        name: element.text("name")?.to_owned(),
        joint: None,
        collision,
        visual,
        rgb,
    })
}

/// A piece of a link; `None`, with a note, when its form is not one of the format's.
fn shape(piece: Element, notes: &mut Vec<String>) -> Result<Option<UrdfShape>, UrdfError> {
    let Some(geometry) = piece.child("geometry") else {
        return Err(piece.invalid("", "a geometry", "none"));
    };
    let Some(node) = geometry.node.children().find(Node::is_element) else {
        return Err(geometry.invalid("", "box, cylinder, capsule, sphere or mesh", "nothing"));
    };
    let form = Element { node, ..piece };
    let geometry = match node.tag_name().name() {
        "box" => {
            let size = form.numbers::<3>("size")?.unwrap_or_default();
            if size.iter().any(|&edge| edge <= 0.0) {
                return Err(form.invalid("size", "3 lengths above 0 m", format!("{size:?}")));
            }
            UrdfGeometry::Box(size.into())
        }
        "cylinder" => UrdfGeometry::Cylinder {
            radius: form.length("radius")?,
            length: form.length("length")?,
        },
        "capsule" => UrdfGeometry::Capsule {
            radius: form.length("radius")?,
            length: form.length("length")?,
        },
        "sphere" => UrdfGeometry::Sphere(form.length("radius")?),
        "mesh" => UrdfGeometry::Mesh {
            file: form.text("filename")?.to_owned(),
            scale: form.numbers::<3>("scale")?.unwrap_or([1.0; 3]).into(),
        },
        other => {
            let line = form.line();
            notes.push(format!(
                "line {line}: a {} is passed over, its geometry <{other}> is none of box, \
                 cylinder, capsule, sphere, mesh",
                piece.shown()
            ));
            return Ok(None);
        }
    };
    Ok(Some(UrdfShape {
        link_from_shape: piece.origin()?,
        geometry,
    }))
}
