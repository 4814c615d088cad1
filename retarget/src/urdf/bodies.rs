//! Capsules for the links of a hand: of the collision pieces, else of what a link looks like, else
//! along its bones.

use nalgebra::Point3;

use crate::hand::{Capsule, Hand};

use super::UrdfTree;
use super::convert::Folded;
use super::shapes::{Segment, moved, segments};

/// Shortest link that a capsule is drawn along, where no piece of it could be read (m).
const SHORTEST_BONE: f64 = 0.004;
/// Radius of such a capsule, as a part of its length.
const BONE_RADIUS: f64 = 0.2;
/// Range of such radii (m).
const BONE_RADII: (f64, f64) = (0.004, 0.01);
/// Farthest that a capsule may stick out of a larger one and still count as a part of it (m).
const OUTSIDE: f64 = 0.003;
/// Most capsules of one joint's link, and of the root with all that is fixed to it: every pair of
/// them costs time in collision checks, and files with hundreds of little boxes exist.
const MOST: (usize, usize) = (4, 10);
/// Colour of a link whose file gives none, sRGB.
const GREY: [u8; 3] = [96, 96, 104];

/// Adds the capsules; the hand's notes say what was left out.
pub(super) fn add_capsules(hand: &mut Hand, tree: &UrdfTree, folded: &[Folded]) {
    let mut unread: Vec<String> = Vec::new();
    let mut left_out = 0;
    let all = std::iter::once(None).chain((0..hand.joints.len()).map(Some));
    for joint in all {
        let mut found: Vec<(Segment, [u8; 3])> = Vec::new();
        let here = folded.iter().zip(&tree.links);
        for ((_, link_from_frame), link) in here.filter(|((at, _), _)| *at == joint) {
            let rgb = link.rgb.unwrap_or(GREY);
            for pieces in [&link.collision, &link.visual] {
                let mut of_link: Vec<Segment> = Vec::new();
                for piece in pieces {
                    match segments(piece, &tree.path) {
                        Ok(segments) => of_link.extend(moved(segments, link_from_frame)),
                        Err(what) => unread.push(what),
                    }
                }
                if !of_link.is_empty() {
                    found.extend(of_link.into_iter().map(|segment| (segment, rgb)));
                    break;
                }
            }
        }
        if found.is_empty() {
            found = bones(hand, joint);
        }
        let most = if joint.is_none() { MOST.1 } else { MOST.0 };
        left_out += keep_largest(&mut found, most);
        hand.capsules
            .extend(found.into_iter().map(|(segment, rgb)| Capsule {
                joint,
                from: segment.from,
                to: segment.to,
                radius: segment.radius,
                rgb,
            }));
    }
    if let Some(first) = unread.first() {
        hand.notes.push(format!(
            "meshes that could not be read: {}, such as {first}; their links are drawn by their \
             other pieces, or along their joints",
            unread.len()
        ));
    }
    if left_out > 0 {
        hand.notes.push(format!(
            "{left_out} capsules are left out, smaller than the {} of their link that are kept \
             (the {} of the root)",
            MOST.0, MOST.1
        ));
    }
}

/// Capsules from a link's origin to the joints and tips that it carries.
fn bones(hand: &Hand, joint: Option<usize>) -> Vec<(Segment, [u8; 3])> {
    let carried = hand.joints.iter().filter(|next| next.parent == joint);
    let ends = carried.map(|next| Point3::from(next.parent_from_joint.translation.vector));
    let tips = hand.tips.iter().filter(|tip| Some(tip.joint) == joint);
    let ends = ends.chain(tips.map(|tip| tip.point_in_joint));
    let bone = |end: Point3<f64>| Segment {
        from: Point3::origin(),
        to: end,
        radius: (BONE_RADIUS * end.coords.norm()).clamp(BONE_RADII.0, BONE_RADII.1),
    };
    ends.filter(|end| end.coords.norm() >= SHORTEST_BONE)
        .map(|end| (bone(end), GREY))
        .collect()
}

/// Drops what lies in larger ones, then all but the `most` largest; gives the number of these.
fn keep_largest(found: &mut Vec<(Segment, [u8; 3])>, most: usize) -> usize {
    found.sort_by(|(one, _), (other, _)| other.volume().total_cmp(&one.volume()));
    let mut kept: Vec<(Segment, [u8; 3])> = Vec::new();
    for (segment, rgb) in found.drain(..) {
        if !kept
            .iter()
            .any(|(larger, _)| larger.holds(&segment, OUTSIDE))
        {
            kept.push((segment, rgb));
        }
    }
    let left_out = kept.len().saturating_sub(most);
    kept.truncate(most);
    *found = kept;
    left_out
}
