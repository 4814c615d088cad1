//! Which links of a URDF are fingertips, which joint answers to a finger's middle one, and which
//! hand it is: from names where the caller does not say.

use crate::hand::{Finger, Side};

use super::{UrdfError, UrdfTree, names};

/// Origins nearer than this (m) count as one knuckle: two axes of it may lie 18 mm apart (XHand's
/// index), while the shortest phalanx of any hand here has 24 mm.
const KNUCKLE: f64 = 0.02;

/// Words in which a finger's link or joint is named: whole, or at the beginning of a part of the
/// name; and the two letters before "tip", "distal" and so on in the Shadow family.
const WORDS: [(Finger, &[&str], &str); 5] = [
    (Finger::Thumb, &["thumb"], "th"),
    (Finger::Index, &["index", "fore", "pointer"], "ff"),
    (Finger::Middle, &["mid", "long"], "mf"),
    (Finger::Ring, &["ring"], "rf"),
    (
        Finger::Little,
        &["little", "pinky", "pinkie", "small"],
        "lf",
    ),
];

/// What may follow the two letters.
const AFTER_LETTERS: [&str; 4] = ["", "tip", "distal", "middle"];

/// The finger that a name speaks of; `None` when it is none or several.
fn finger_in(name: &str) -> Option<Finger> {
    let name = name.to_lowercase();
    let parts = name.split(|letter: char| !letter.is_ascii_alphabetic());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let speaks_of = |words: &[&str], letters: &str| {
        parts.iter().any(|part| {
            let rest = part.strip_prefix(letters);
            words.iter().any(|word| part.starts_with(word))
                || rest.is_some_and(|rest| AFTER_LETTERS.contains(&rest))
        })
    };
    let found: Vec<Finger> = WORDS
        .iter()
        .filter(|(_, words, letters)| speaks_of(words, letters))
        .map(|(finger, ..)| *finger)
        .collect();
    match found[..] {
        [finger] => Some(finger),
        // "index_middle" is the middle phalanx of the index.
        [finger, Finger::Middle] | [Finger::Middle, finger] => Some(finger),
        _ => None,
    }
}

/// The link of each fingertip, in the order of the keypoints, from the names of the links without
/// joints, or of what carries them.
pub(super) fn guess_tips(tree: &UrdfTree) -> Result<Vec<(Finger, usize)>, UrdfError> {
    let moved = |&leaf: &usize| tree.chain(leaf).iter().any(|&at| tree.joints[at].moves());
    let leaves: Vec<usize> = tree.leaves().filter(moved).collect();
    let failed = |got: String| UrdfError::NotAHand {
        what: "the fingertips".to_owned(),
        expected: "links without joints whose names tell thumb, index, middle, ring, little"
            .to_owned(),
        got,
        next: "name them, such as thumb=LINK,index=LINK".to_owned(),
        path: tree.path.display().to_string(),
    };
    let mut tips: Vec<(Finger, usize)> = Vec::new();
    for finger in Finger::ALL {
        let candidates = leaves.iter().copied().filter(|&leaf| {
            let chain = tree.chain(leaf).into_iter().rev();
            let mut names = chain.flat_map(|at| {
                let joint = &tree.joints[at];
                [&tree.links[joint.child].name, &joint.name]
            });
            names.find_map(|name| finger_in(name)) == Some(finger)
        });
        let candidates: Vec<usize> = candidates.collect();
        let is_tip = |&link: &usize| tree.links[link].name.to_lowercase().contains("tip");
        let called_tip: Vec<usize> = candidates.iter().copied().filter(is_tip).collect();
        match if called_tip.is_empty() {
            &candidates
        } else {
            &called_tip
        }[..]
        {
            [] => {}
            [tip] => tips.push((finger, tip)),
            _ => {
                let several = names(candidates.iter().map(|&link| &tree.links[link]));
                let finger = finger.name();
                return Err(failed(format!("several for the {finger}: {several}")));
            }
        }
    }
    // One match alone is rather a chance than a hand.
    if tips.len() < 2 {
        let all = names(leaves.iter().map(|&link| &tree.links[link]));
        return Err(failed(format!("{} among {all}", tips.len())));
    }
    Ok(tips)
}

/// Left or right, by the names of the robot, the file, or nearly all links and joints.
pub(super) fn guess_side(tree: &UrdfTree) -> Result<Side, UrdfError> {
    let side_in = |name: &str| {
        let name = name.to_lowercase();
        let has = |words: [&str; 3]| {
            let mut parts = name.split(|letter: char| !letter.is_ascii_alphabetic());
            name.contains(words[0]) || parts.any(|part| words.contains(&part))
        };
        match (has(["left", "lh", "l"]), has(["right", "rh", "r"])) {
            (true, false) => Some(Side::Left),
            (false, true) => Some(Side::Right),
            _ => None,
        }
    };
    let stem = tree.path.file_stem().unwrap_or_default().to_string_lossy();
    if let Some(side) = side_in(&tree.name).or_else(|| side_in(&stem)) {
        return Ok(side);
    }
    let links = tree.links.iter().map(|link| &link.name);
    let joints = tree.joints.iter().map(|joint| &joint.name);
    let sides: Vec<Side> = links
        .chain(joints)
        .filter_map(|name| side_in(name))
        .collect();
    let left = sides.iter().filter(|&&side| side == Side::Left).count();
    match (left, sides.len() - left) {
        (0, right) if right > 0 => Ok(Side::Right),
        (left, 0) if left > 0 => Ok(Side::Left),
        (left, right) => Err(UrdfError::NotAHand {
            what: "the side".to_owned(),
            expected: "left or right in the name of the robot, the file, or all links".to_owned(),
            got: format!(
                "robot \"{}\", {left} names that say left, {right} that say right",
                tree.name
            ),
            next: "say which hand it is".to_owned(),
            path: tree.path.display().to_string(),
        }),
    }
}

/// The joint of a finger (index into the tree's) that answers to the human interphalangeal joint of
/// the thumb or the proximal one of another finger: of the knuckles between palm and tip the last
/// one of the thumb, the last but one of a finger with three or more, the last one of two.
pub(super) fn middle_joint(
    tree: &UrdfTree,
    finger: Finger,
    tip: usize,
    others: &[usize],
) -> Option<usize> {
    let shared = |joint: &usize| {
        others
            .iter()
            .any(|&other| tree.chain(other).contains(joint))
    };
    let own = tree
        .chain(tip)
        .into_iter()
        .filter(|&at| tree.joints[at].moves());
    let own = own.filter(|joint| !shared(joint));
    // First joints of the knuckles.
    let mut knuckles: Vec<usize> = Vec::new();
    let mut last = None;
    for joint in own {
        let origin = tree.origin_at_zero(tree.joints[joint].child);
        if last.is_none_or(|last| nalgebra::distance(&last, &origin) >= KNUCKLE) {
            knuckles.push(joint);
        }
        last = Some(origin);
    }
    match (finger, knuckles.len()) {
        (_, 0 | 1) => None,
        (Finger::Thumb, _) | (_, 2) => knuckles.last().copied(),
        (_, many) => Some(knuckles[many - 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vendors_tell_the_finger() {
        for (name, finger) in [
            ("right_hand_thumb_rota_tip", Some(Finger::Thumb)),
            ("thtip", Some(Finger::Thumb)),
            ("THJ1", None),
            ("rh_fftip", Some(Finger::Index)),
            ("index_tip_head", Some(Finger::Index)),
            ("right_hand_mid_tip", Some(Finger::Middle)),
            ("index_middle_phalanx", Some(Finger::Index)),
            ("ring_tip", Some(Finger::Ring)),
            ("bearing", None),
            ("spring_2", None),
            ("left_pinky_fingertip", Some(Finger::Little)),
            ("right_Little_Finger_tip", Some(Finger::Little)),
            ("link_3.0_tip", None),
            ("index_thumb_web", None),
        ] {
            assert_eq!(finger_in(name), finger, "{name}");
        }
    }
}
