//! What a server tracks: names of rigid bodies and marker sets.
//!
//! Each data set: i32 type, since 4.1 its i32 size, its description. Before 4.1
//! every description has to be gone through to reach the next.
//! (NatNet SDK, `PacketClient` sample.)

use super::{
    cursor::Cursor,
    protocol::{MODEL_DEFINITION, SIZED, Version, packet, payload},
};

const MARKER_SET: i32 = 0;
const RIGID_BODY: i32 = 1;
const SKELETON: i32 = 2;
const FORCE_PLATE: i32 = 3;
const DEVICE: i32 = 4;
const CAMERA: i32 = 5;

/// What is tracked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Models {
    /// Streaming id and name of every rigid body.
    pub bodies: Vec<(i32, String)>,
    /// Name of every marker set, and of its markers.
    pub marker_sets: Vec<(String, Vec<String>)>,
}

/// A server's list.
pub fn encode_models(models: &Models, version: Version) -> Vec<u8> {
    let count = models.marker_sets.len() + models.bodies.len();
    let mut out = (count as i32).to_le_bytes().to_vec();
    let mut set = |kind: i32, body: &[u8]| {
        out.extend(kind.to_le_bytes());
        if version >= SIZED {
            out.extend((body.len() as i32).to_le_bytes());
        }
        out.extend(body);
    };
    let text = |body: &mut Vec<u8>, text: &str| {
        body.extend(text.bytes());
        body.push(0);
    };
    for (name, labels) in &models.marker_sets {
        let mut body = Vec::new();
        text(&mut body, name);
        body.extend((labels.len() as i32).to_le_bytes());
        labels.iter().for_each(|label| text(&mut body, label));
        set(MARKER_SET, &body);
    }
    for (id, name) in &models.bodies {
        let mut body = Vec::new();
        text(&mut body, name);
        body.extend(id.to_le_bytes());
        body.extend((-1_i32).to_le_bytes()); // no parent
        body.extend([0; 12]); // its offset
        body.extend(0_i32.to_le_bytes()); // markers
        set(RIGID_BODY, &body);
    }
    packet(MODEL_DEFINITION, &out)
}

/// Reads a server's list; `None` where it contradicts itself. A data set of an
/// unknown kind ends the list of a server before 4.1, which cannot be read on.
pub fn decode_models(bytes: &[u8], version: Version) -> Option<Models> {
    let mut cursor = payload(bytes, MODEL_DEFINITION)?;
    let mut models = Models::default();
    for _ in 0..cursor.count()? {
        let kind = cursor.i32()?;
        if version >= SIZED {
            let size = cursor.count()?;
            let mut body = Cursor::new(cursor.take(size)?);
            match kind {
                MARKER_SET => models.marker_sets.push(marker_set(&mut body)?),
                RIGID_BODY => models.bodies.push(rigid_body(&mut body, version)?),
                _ => {}
            }
            continue;
        }
        match kind {
            MARKER_SET => models.marker_sets.push(marker_set(&mut cursor)?),
            RIGID_BODY => models.bodies.push(rigid_body(&mut cursor, version)?),
            SKELETON => {
                cursor.name()?;
                cursor.i32()?;
                for _ in 0..cursor.count()? {
                    rigid_body(&mut cursor, version)?;
                }
            }
            FORCE_PLATE => {
                cursor.i32()?;
                cursor.name()?; // serial number
                // size, origin, calibration matrix, corners, two types
                cursor.take(4 * (2 + 3 + 144 + 12 + 2))?;
                names(&mut cursor)?;
            }
            DEVICE => {
                cursor.i32()?;
                cursor.name()?;
                cursor.name()?; // serial number
                cursor.take(8)?; // two types
                names(&mut cursor)?;
            }
            CAMERA => {
                cursor.name()?;
                cursor.take(4 * 7)?; // pose
            }
            _ => break,
        }
    }
    Some(models)
}

fn names(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let count = cursor.count()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(cursor.name()?);
    }
    Some(names)
}

fn marker_set(cursor: &mut Cursor<'_>) -> Option<(String, Vec<String>)> {
    Some((cursor.name()?, names(cursor)?))
}

fn rigid_body(cursor: &mut Cursor<'_>, version: Version) -> Option<(i32, String)> {
    let name = cursor.name()?;
    let id = cursor.i32()?;
    cursor.take(4 + 12)?; // parent, offset
    let markers = cursor.count()?;
    cursor.take(16 * markers)?; // positions, labels
    if version >= (4, 0) {
        for _ in 0..markers {
            cursor.name()?;
        }
    }
    Some((id, name))
}
