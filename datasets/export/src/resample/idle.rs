//! What is idle at both ends of an episode.

use std::ops::Range;

use crate::model::HandMotion;

/// A hand has begun to move when its wrist is this far [m] from where it was at the first step, or
/// turned by [`IDLE_ROTATION_RAD`], or a joint by [`IDLE_JOINT_RAD`]; it has come to rest from where
/// the same holds of the last step. Steps before the first and after the last hand's motion are idle,
/// but for [`IDLE_KEEP_SECS`]. Displacement, not speed: a tracker's noise does not add up.
pub const IDLE_POSITION_M: f64 = 0.01;
/// Rotation of a wrist [rad]: see [`IDLE_POSITION_M`].
pub const IDLE_ROTATION_RAD: f64 = 0.1;
/// Motion of a joint [rad]: see [`IDLE_POSITION_M`].
pub const IDLE_JOINT_RAD: f64 = 0.1;
/// Idle steps that are kept before and after motion [s].
pub const IDLE_KEEP_SECS: f64 = 0.25;

/// Rows to keep: all of them where nothing moves at all.
pub(super) fn kept(hands: &[HandMotion], fps: u32) -> Range<usize> {
    let rows = hands.first().map_or(0, |hand| hand.valid.len());
    let moved = |from: usize, k: usize| hands.iter().any(|hand| has_moved(hand, from, k));
    let begin = (0..rows).find(|&k| moved(0, k));
    let end = (0..rows).rfind(|&k| moved(rows - 1, k));
    let (Some(begin), Some(end)) = (begin, end) else {
        return 0..rows;
    };
    let keep = (IDLE_KEEP_SECS * f64::from(fps)).ceil() as usize;
    let range = begin.saturating_sub(keep)..(end + 1 + keep).min(rows);
    // There and back within one step of the rest: nothing of length is left.
    if range.len() < 2 { 0..rows } else { range }
}

fn has_moved(hand: &HandMotion, from: usize, to: usize) -> bool {
    let (a, b) = (hand.world_from_wrist[from], hand.world_from_wrist[to]);
    let joints = hand.joints(from).iter().zip(hand.joints(to));
    (a.translation.vector - b.translation.vector).norm() > IDLE_POSITION_M
        || a.rotation.angle_to(&b.rotation) > IDLE_ROTATION_RAD
        || joints
            .into_iter()
            .any(|(a, b)| (a - b).abs() > IDLE_JOINT_RAD)
}

#[cfg(test)]
mod tests {
    use nalgebra::{Isometry3, Translation3, UnitQuaternion};

    use super::*;
    use crate::model::Side;

    fn hand(x: impl Fn(usize) -> f64, rows: usize) -> HandMotion {
        let pose = |k| {
            Isometry3::from_parts(
                Translation3::new(x(k), 0.0, 0.0),
                UnitQuaternion::identity(),
            )
        };
        HandMotion {
            side: Side::Right,
            hand: "xhand_right".into(),
            joint_names: vec!["thumb".into()],
            world_from_wrist: (0..rows).map(pose).collect(),
            joints_rad: vec![0.5; rows],
            valid: vec![true; rows],
            force: None,
            keypoints: None,
            robot: None,
        }
    }

    #[test]
    fn noise_at_rest_is_cut_off_but_for_a_quarter_of_a_second() {
        // At rest with noise of 2 mm until row 60 and from row 120 on, 0.5 m/s between.
        let path = |k: usize| {
            let noise = 0.002 * ((k * 7919 % 13) as f64 / 6.5 - 1.0);
            (k.clamp(60, 120) - 60) as f64 / 60.0 + noise
        };
        let kept = kept(&[hand(path, 200)], 30);
        assert!((52..=54).contains(&kept.start), "{kept:?}");
        assert!((127..=129).contains(&kept.end), "{kept:?}");
    }

    #[test]
    fn a_hand_that_rests_does_not_hide_the_other() {
        let still = hand(|_| 0.0, 100);
        let moving = hand(|k| if k < 40 { 0.0 } else { 0.01 * (k - 40) as f64 }, 100);
        let kept = kept(&[still, moving], 20);
        assert_eq!(kept, 42 - 5..100);
    }

    #[test]
    fn an_episode_without_motion_is_kept_whole() {
        assert_eq!(kept(&[hand(|_| 0.3, 50)], 30), 0..50);
    }
}
