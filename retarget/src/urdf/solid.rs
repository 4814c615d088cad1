//! A link of a URDF as capsules.

use crate::capsule::PlacedCapsule;

use super::UrdfTree;
use super::shapes::{Segment, segments};

/// Most capsules of one link: every pair of them costs time in collision checks.
const MOST: usize = 4;

impl UrdfTree {
    /// Capsules for what a link collides with, else for what it looks like, in its axes (m); what
    /// could not be read goes into `notes`.
    pub(crate) fn link_capsules(&self, link: usize, notes: &mut Vec<String>) -> Vec<PlacedCapsule> {
        let link = &self.links[link];
        for pieces in [&link.collision, &link.visual] {
            let mut found: Vec<Segment> = Vec::new();
            for piece in pieces {
                match segments(piece, &self.path) {
                    Ok(segments) => found.extend(segments),
                    Err(what) => notes.push(format!(
                        "link \"{}\": a mesh could not be read, {what}",
                        link.name
                    )),
                }
            }
            if found.is_empty() {
                continue;
            }
            found.sort_by(|one, other| other.volume().total_cmp(&one.volume()));
            if found.len() > MOST {
                notes.push(format!(
                    "link \"{}\": {} of its {} capsules are left out, smaller than the others",
                    link.name,
                    found.len() - MOST,
                    found.len()
                ));
                found.truncate(MOST);
            }
            let capsules = found.iter().map(|segment| PlacedCapsule {
                from: segment.from,
                to: segment.to,
                radius: segment.radius,
            });
            return capsules.collect();
        }
        Vec::new()
    }
}
