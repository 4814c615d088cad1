//! The hand's own axes, found from its points.

use nalgebra::{Matrix3, Point3, Rotation3};

use crate::hand::Side;
use crate::keypoints::Keypoints;

/// Points shorter apart than this give no direction (m).
const SHORTEST_M: f64 = 1e-3;
/// Points that lie along the hand's axes are turned less than this from them (rad). Frames in use differ
/// by up to 20° (a palm's plane through index and middle, or through index and little finger).
const ALONG_AXES_RAD: f64 = std::f64::consts::FRAC_PI_6;
/// The part of the steps of a recording that must lie so.
const MOST_STEPS: f64 = 0.9;

/// Axes that the points of a recording are given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PointAxes {
    /// The hand's (see [`Keypoints`]), or those of the world for [`crate::Preset::Position`].
    Hand,
    /// Any: every step is turned into the axes that its own points show ([`hand_axes`]).
    Any,
    /// [`PointAxes::Hand`] where the recording lies along them, else [`PointAxes::Any`].
    #[default]
    Auto,
}

/// `hand_from_points`: turns keypoints in any axes into those of the hand frame.
///
/// z is the way from the wrist to the middle knuckle, y the way from the little to the index knuckle (on
/// the left hand the other way round), made orthogonal to z, and x = y × z. `None` where a point is
/// not finite, or the points give no such directions.
pub fn hand_axes(keypoints: &Keypoints, side: Side) -> Option<Rotation3<f64>> {
    let [wrist, index, middle, little] = [0, 5, 9, 17].map(|at| keypoints[at]);
    let z = (middle - wrist).try_normalize(SHORTEST_M)?;
    let across = (index - little) * side.thumb_along_y();
    let y = (across - z * z.dot(&across)).try_normalize(SHORTEST_M)?;
    let x = y.cross(&z);
    let hand_from_points = Matrix3::from_rows(&[x.transpose(), y.transpose(), z.transpose()]);
    let is_finite = hand_from_points.iter().all(|entry| entry.is_finite());
    is_finite.then(|| Rotation3::from_matrix_unchecked(hand_from_points))
}

/// The keypoints in hand axes, with the wrist at the origin; as they are where [`hand_axes`] finds none.
pub fn in_hand_axes(keypoints: &Keypoints, side: Side) -> Keypoints {
    let Some(hand_from_points) = hand_axes(keypoints, side) else {
        return *keypoints;
    };
    let wrist = keypoints[0];
    keypoints.map(|point| Point3::from(hand_from_points * (point - wrist)))
}

/// Whether the points of a recording lie along the hand's axes: nine in ten of the steps that show a
/// hand are turned by less than 30°. True where no step shows one.
pub fn lies_along_hand_axes(clip: &[Keypoints], side: Side) -> bool {
    let turns = clip.iter().filter_map(|points| hand_axes(points, side));
    let (steps, along) = turns.fold((0_usize, 0_usize), |(steps, along), turn| {
        (
            steps + 1,
            along + usize::from(turn.angle() < ALONG_AXES_RAD),
        )
    });
    along as f64 >= MOST_STEPS * steps as f64
}
