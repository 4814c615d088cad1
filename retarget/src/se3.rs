//! Rigid transforms as 6-vectors.

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};

/// Below this angle (rad) the coefficients are taken from their series: three terms leave 1e-14,
/// the closed forms would cancel.
const SMALL_ANGLE: f64 = 0.05;

/// Logarithm of a rigid transform: the constant twist that leads from the identity to it in unit
/// time, `[vx, vy, vz, wx, wy, wz]`: velocity (m) first, rotation vector (rad) last. The rotation
/// is the short way round, at most π.
///
/// v = V⁻¹ t with V the left Jacobian of the rotation (Barfoot, State Estimation for Robotics,
/// equations 7.85 and 7.86; Solà et al., A micro Lie theory, equations 172 to 174). Where the
/// translation itself is wanted, take [`translation_and_rotation_vector`].
pub fn se3_log(a_from_b: &Isometry3<f64>) -> [f64; 6] {
    let w = a_from_b.rotation.scaled_axis();
    let t = a_from_b.translation.vector;
    let square = w.norm_squared();
    let angle = square.sqrt();
    let coefficient = if angle < SMALL_ANGLE {
        1.0 / 12.0 + square / 720.0 + square * square / 30240.0
    } else {
        let half = 0.5 * angle;
        (1.0 - half / half.tan()) / square
    };
    let turned = w.cross(&t);
    let v = t - turned * 0.5 + w.cross(&turned) * coefficient;
    [v.x, v.y, v.z, w.x, w.y, w.z]
}

/// The inverse of [`se3_log`].
pub fn se3_exp(twist: &[f64; 6]) -> Isometry3<f64> {
    let v = Vector3::new(twist[0], twist[1], twist[2]);
    let w = Vector3::new(twist[3], twist[4], twist[5]);
    let square = w.norm_squared();
    let angle = square.sqrt();
    let (first, second) = if angle < SMALL_ANGLE {
        (
            0.5 - square / 24.0 + square * square / 720.0,
            1.0 / 6.0 - square / 120.0 + square * square / 5040.0,
        )
    } else {
        let half = (0.5 * angle).sin();
        (
            2.0 * half * half / square,
            (angle - angle.sin()) / (square * angle),
        )
    };
    let turned = w.cross(&v);
    let t = v + turned * first + w.cross(&turned) * second;
    Isometry3::from_parts(Translation3::from(t), UnitQuaternion::from_scaled_axis(w))
}

/// Translation (m) and rotation vector (rad) of a rigid transform, `[x, y, z, rx, ry, rz]`: the
/// wrist part of EgoScale's actions. It agrees with [`se3_log`] in the rotation, and in the
/// translation only where nothing turns.
pub fn translation_and_rotation_vector(a_from_b: &Isometry3<f64>) -> [f64; 6] {
    let t = a_from_b.translation.vector;
    let w = a_from_b.rotation.scaled_axis();
    [t.x, t.y, t.z, w.x, w.y, w.z]
}
