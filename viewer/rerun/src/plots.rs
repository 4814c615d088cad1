//! Curves: joint angles in degrees, force per axis in counts.

use std::collections::BTreeMap;

use dexumi_episode::{
    Delta, SessionTime,
    align::{JointTracks, Track},
};
use dexumi_retarget::{Finger, Hand};
use rerun::EntityPath;

use crate::{
    error::ViewError,
    hand::Motion,
    palette::{self, XYZ, rgb},
    rrd::Rrd,
    scene::below,
};

/// Finger of each joint of a hand by its name, and its number from the palm.
fn fingers(hand: &Hand) -> BTreeMap<&str, (Finger, usize)> {
    let mut fingers = BTreeMap::new();
    for tip in hand.tips() {
        let mut chain = Vec::new();
        let mut next = Some(tip.joint);
        while let Some(joint) = next {
            chain.push(joint);
            next = hand.joints()[joint].parent;
        }
        for (nth, &joint) in chain.iter().rev().enumerate() {
            fingers.insert(hand.joints()[joint].name.as_str(), (tip.finger, nth));
        }
    }
    fingers
}

/// Names without what all of them begin with, up to its last `_`.
pub(crate) fn short_names(names: &[String]) -> Vec<String> {
    let shared = match names {
        [first, rest @ ..] if !rest.is_empty() => rest.iter().fold(first.len(), |shared, name| {
            let same = first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b);
            shared.min(same.count())
        }),
        _ => 0,
    };
    let cut = names.first().map_or(0, |first| {
        let bytes = &first.as_bytes()[..shared];
        bytes
            .iter()
            .rposition(|&byte| byte == b'_')
            .map_or(0, |at| at + 1)
    });
    // `_` is one byte and no part of a longer character: the cut is between characters.
    names.iter().map(|name| name[cut..].to_owned()).collect()
}

/// Times and values of a curve; a gap is one row without a value, which ends
/// the line there.
fn curve(
    times: &[SessionTime],
    values: impl Iterator<Item = f64>,
    max_gap: Delta,
) -> (Vec<SessionTime>, Vec<f64>, Vec<usize>) {
    let mut rows = Vec::with_capacity(times.len());
    let mut lengths = Vec::with_capacity(times.len());
    for (at, &time) in times.iter().enumerate() {
        rows.push(time);
        lengths.push(1);
        if times.get(at + 1).is_some_and(|&next| next - time > max_gap) {
            rows.push(time + Delta::from_nanos(1));
            lengths.push(0);
        }
    }
    (rows, values.collect(), lengths)
}

fn log_curve(
    rrd: &mut Rrd,
    entity: &EntityPath,
    (name, colour): (&str, [u8; 3]),
    (times, values): (&[SessionTime], impl Iterator<Item = f64>),
    max_gap: Delta,
) -> Result<(), ViewError> {
    let style = rerun::SeriesLines::new()
        .with_names([name])
        .with_colors([rgb(colour)])
        .with_widths([1.5]);
    rrd.fixed(entity, &style)?;
    let (rows, values, lengths) = curve(times, values, max_gap);
    rrd.columns(entity, &rows, rerun::Scalars::new(values).columns(lengths))
}

/// Measured joint angles of a side [degree]: each joint at its own times.
pub(crate) fn log_joints(
    rrd: &mut Rrd,
    root: &EntityPath,
    joints: &JointTracks,
    hand: Option<&Hand>,
    max_gap: Delta,
) -> Result<(), ViewError> {
    let fingers = hand.map(fingers).unwrap_or_default();
    // Without a calibration the names are `channel_<n>` and short already.
    let shown = match joints.calibrated {
        true => short_names(&joints.names),
        false => joints.names.clone(),
    };
    for ((name, shown), track) in joints.names.iter().zip(&shown).zip(&joints.tracks) {
        let finger = fingers.get(name.as_str());
        let colour = palette::joint(finger.map(|f| f.0), finger.map_or(0, |f| f.1));
        let degrees = track.values.iter().map(|value| value.to_degrees());
        let entity = below(root, shown);
        log_curve(
            rrd,
            &entity,
            (shown, colour),
            (&track.times, degrees),
            max_gap,
        )?;
    }
    Ok(())
}

/// Joint angles of a robot hand [degree].
pub(crate) fn log_motion(
    rrd: &mut Rrd,
    root: &EntityPath,
    hand: &Hand,
    motion: &Motion,
    max_gap: Delta,
) -> Result<(), ViewError> {
    let fingers = fingers(hand);
    let names: Vec<String> = hand.variable_names().map(str::to_owned).collect();
    for (index, (name, shown)) in names.iter().zip(short_names(&names)).enumerate() {
        let finger = fingers.get(name.as_str());
        let colour = palette::joint(finger.map(|f| f.0), finger.map_or(0, |f| f.1));
        let degrees = motion.q.iter().map(|q| q[index].to_degrees());
        let entity = below(root, &shown);
        log_curve(
            rrd,
            &entity,
            (&shown, colour),
            (&motion.times, degrees),
            max_gap,
        )?;
    }
    Ok(())
}

/// Raw force of one fingertip [count], axis by axis.
pub(crate) fn log_force(
    rrd: &mut Rrd,
    root: &EntityPath,
    track: &Track<[f64; 3]>,
    max_gap: Delta,
) -> Result<(), ViewError> {
    for (axis, (name, colour)) in ["x", "y", "z"].into_iter().zip(XYZ).enumerate() {
        let values = track.values.iter().map(|value| value[axis]);
        let entity = below(root, name);
        log_curve(
            rrd,
            &entity,
            (name, colour),
            (&track.times, values),
            max_gap,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        short_names(&names)
    }

    #[test]
    fn only_whole_words_that_all_names_share_are_left_out() {
        assert_eq!(
            shortened(&["right_hand_mid_joint1", "right_hand_mid_joint2"]),
            ["joint1", "joint2"]
        );
        assert_eq!(
            shortened(&["right_hand_index", "right_hand_inner"]),
            ["index", "inner"]
        );
        assert_eq!(shortened(&["right_hand_thumb"]), ["right_hand_thumb"]);
        assert_eq!(shortened(&["ä_1", "ö_1"]), ["ä_1", "ö_1"]);
        assert!(shortened(&[]).is_empty());
    }

    #[test]
    fn a_gap_ends_the_line() {
        let times = [0, 10, 100].map(|ms| SessionTime::from_nanos(ms * 1_000_000));
        let (rows, values, lengths) =
            curve(&times, [1.0, 2.0, 3.0].into_iter(), Delta::from_millis(50));
        assert_eq!(lengths, [1, 1, 0, 1]);
        assert_eq!(values, [1.0, 2.0, 3.0]);
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "{rows:?}");
    }

    #[test]
    fn every_joint_of_a_hand_belongs_to_a_finger() {
        let hand = Hand::by_name("xhand_right").expect("built in");
        let fingers = fingers(&hand);
        assert_eq!(fingers.len(), 12);
        assert_eq!(fingers["right_hand_thumb_bend_joint"], (Finger::Thumb, 0));
        assert_eq!(fingers["right_hand_pinky_joint2"], (Finger::Little, 1));
    }
}
