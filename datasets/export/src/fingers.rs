//! Fewer joints than a hand has, for models whose action is too narrow for all of them.

use crate::model::HandMotion;

/// A finger and the words by which joint names tell it.
const FINGERS: [(&str, &[&str]); 5] = [
    ("thumb", &["thumb"]),
    ("index", &["index"]),
    ("middle", &["middle", "mid"]),
    ("ring", &["ring"]),
    ("little", &["little", "pinky"]),
];
/// Words of joints that move a finger sideways, or its root in the palm, instead of bending it.
const SIDEWAYS: [&str; 6] = ["aa", "bend", "cmc", "yaw", "abduction", "spread"];

/// A finger's joints in the hand's order; of the thumb all, of the others those that bend it.
fn joints_of(hand: &HandMotion, finger: &str) -> Vec<usize> {
    let words = FINGERS.iter().find(|(name, _)| *name == finger);
    let words = words.map_or(&[][..], |(_, words)| words);
    let bends = |name: &String| {
        let name = name.to_lowercase();
        let mut parts = name.split('_');
        words
            .iter()
            .any(|word| name.split('_').any(|part| part == *word))
            && (finger == "thumb" || !parts.any(|part| SIDEWAYS.contains(&part)))
    };
    let names = hand.joint_names.iter().enumerate();
    names
        .filter(|(_, name)| bends(name))
        .map(|(at, _)| at)
        .collect()
}

/// The first joints of fingers, as many of each as asked for; where a finger has fewer, fewer.
///
/// # Errors
/// The joints' names do not tell which finger they are of.
pub(crate) fn first_joints(
    hand: &HandMotion,
    wanted: &[(&str, usize)],
) -> Result<Vec<Vec<usize>>, String> {
    let chosen: Vec<Vec<usize>> = wanted
        .iter()
        .map(|&(finger, count)| joints_of(hand, finger).into_iter().take(count).collect())
        .collect();
    if chosen.iter().all(Vec::is_empty) {
        return Err(format!(
            "joint names of {} do not tell which finger they are of, expected words such as `thumb` \
             or `index`, got {}",
            hand.hand,
            hand.joint_names.join(", ")
        ));
    }
    Ok(chosen)
}

/// Two joints of the thumb and the first bending joint of each other finger: at most six.
pub(crate) const SIX: [(&str, usize); 5] = [
    ("thumb", 2),
    ("index", 1),
    ("middle", 1),
    ("ring", 1),
    ("little", 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Side;

    fn hand(names: &str) -> HandMotion {
        HandMotion {
            side: Side::Right,
            hand: "h".into(),
            joint_names: names.split(' ').map(str::to_owned).collect(),
            world_from_wrist: Vec::new(),
            joints_rad: Vec::new(),
            valid: Vec::new(),
            force: None,
            keypoints: None,
            robot: None,
        }
    }

    fn six(names: &str) -> Vec<String> {
        let hand = hand(names);
        let chosen = first_joints(&hand, &SIX).unwrap().concat();
        chosen
            .iter()
            .map(|&at| hand.joint_names[at].clone())
            .collect()
    }

    #[test]
    fn the_joints_that_close_a_hand_are_taken() {
        let xhand = "right_hand_thumb_bend_joint right_hand_thumb_rota_joint1 \
                     right_hand_thumb_rota_joint2 right_hand_index_bend_joint \
                     right_hand_index_joint1 right_hand_index_joint2 right_hand_mid_joint1 \
                     right_hand_mid_joint2 right_hand_ring_joint1 right_hand_ring_joint2 \
                     right_hand_pinky_joint1 right_hand_pinky_joint2";
        let expected = "right_hand_thumb_bend_joint right_hand_thumb_rota_joint1 \
                        right_hand_index_joint1 right_hand_mid_joint1 right_hand_ring_joint1 \
                        right_hand_pinky_joint1";
        assert_eq!(six(xhand).join(" "), expected);
        let sharpa = "right_thumb_CMC_FE right_thumb_CMC_AA right_index_MCP_FE right_index_MCP_AA \
                      right_middle_MCP_FE right_ring_MCP_FE right_pinky_CMC right_pinky_MCP_FE";
        let expected = "right_thumb_CMC_FE right_thumb_CMC_AA right_index_MCP_FE \
                        right_middle_MCP_FE right_ring_MCP_FE right_pinky_MCP_FE";
        assert_eq!(six(sharpa).join(" "), expected);
    }

    #[test]
    fn numbered_joints_are_refused() {
        let error = first_joints(&hand("joint_0 joint_1"), &SIX).unwrap_err();
        assert!(error.contains("joint_0"), "{error}");
    }
}
