//! Foreign axes and poses, made ours in one place: right-handed, metres, z up,
//! quaternions x, y, z, w.
//!
//! A conversion turns the axes of world and body alike, so that what stands
//! unturned in the source stands unturned here.

/// What a tracker's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axes {
    /// As ours.
    #[default]
    ZUp,
    /// Right-handed with y up, as OpenGL and most motion capture: x stays, z comes
    /// towards the viewer.
    YUp,
    /// Unity: left-handed, x right, y up, z forward. Ours then has x forward, y
    /// left, z up.
    Unity,
}

impl Axes {
    /// By its name in `rig.toml`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "z_up" => Some(Self::ZUp),
            "y_up" => Some(Self::YUp),
            "unity" => Some(Self::Unity),
            _ => None,
        }
    }

    /// All names, for messages.
    pub const NAMES: &str = "z_up, y_up, unity";

    /// A point or a vector in our axes.
    pub fn point(self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        match self {
            Self::ZUp => [x, y, z],
            Self::YUp => [x, -z, y],
            Self::Unity => [z, -x, y],
        }
    }

    /// A rotation in our axes, as a quaternion x, y, z, w.
    pub fn rotation(self, [x, y, z, w]: [f64; 4]) -> [f64; 4] {
        let [x, y, z] = self.point([x, y, z]);
        match self {
            Self::ZUp | Self::YUp => [x, y, z, w],
            // A mirror turns the sense of every rotation.
            Self::Unity => [-x, -y, -z, w],
        }
    }
}

/// The other way round, for emulated devices.
impl Axes {
    /// A point or a vector in the source's axes.
    pub fn foreign_point(self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        match self {
            Self::ZUp => [x, y, z],
            Self::YUp => [x, z, -y],
            Self::Unity => [-y, z, x],
        }
    }

    /// A rotation in the source's axes, as a quaternion x, y, z, w.
    pub fn foreign_rotation(self, [x, y, z, w]: [f64; 4]) -> [f64; 4] {
        let [x, y, z] = self.foreign_point([x, y, z]);
        match self {
            Self::ZUp | Self::YUp => [x, y, z, w],
            Self::Unity => [-x, -y, -z, w],
        }
    }
}

/// Whether a pose can be one: finite, within a kilometre, and with a quaternion
/// whose length is one, give or take its rounding on the way.
pub fn is_pose(position_m: &[f64; 3], rotation_xyzw: &[f64; 4]) -> bool {
    let norm = rotation_xyzw.iter().map(|v| v * v).sum::<f64>().sqrt();
    is_point(position_m) && (0.9..1.1).contains(&norm)
}

/// Whether a point can be one: finite and within a kilometre.
pub fn is_point(point_m: &[f64; 3]) -> bool {
    point_m.iter().all(|v| v.is_finite() && v.abs() < 1e3)
}

#[cfg(test)]
mod tests {
    use nalgebra::{Matrix3, Quaternion, UnitQuaternion, Vector3};
    use proptest::prelude::*;

    use super::*;

    fn matrix(axes: Axes) -> Matrix3<f64> {
        let column = |v: [f64; 3]| Vector3::from(axes.point(v));
        Matrix3::from_columns(&[
            column([1.0, 0.0, 0.0]),
            column([0.0, 1.0, 0.0]),
            column([0.0, 0.0, 1.0]),
        ])
    }

    #[test]
    fn up_is_up_and_forward_is_forward() {
        assert_eq!(Axes::YUp.point([0.0, 1.0, 0.0]), [0.0, 0.0, 1.0]);
        assert_eq!(Axes::Unity.point([0.0, 1.0, 0.0]), [0.0, 0.0, 1.0]);
        assert_eq!(Axes::Unity.point([0.0, 0.0, 1.0]), [1.0, 0.0, 0.0]);
        assert_eq!(Axes::Unity.point([1.0, 0.0, 0.0]), [0.0, -1.0, 0.0]);
        assert_eq!(matrix(Axes::YUp).determinant(), 1.0);
        assert_eq!(
            matrix(Axes::Unity).determinant(),
            -1.0,
            "left-handed to right-handed"
        );
    }

    proptest! {
        #[test]
        fn a_rotation_converts_as_the_points_that_it_turns(
            x in -1.0..1.0_f64, y in -1.0..1.0_f64, z in -1.0..1.0_f64, w in 0.1..1.0_f64,
        ) {
            let q = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
            for axes in [Axes::ZUp, Axes::YUp, Axes::Unity] {
                let ours_from_theirs = matrix(axes);
                let expected = ours_from_theirs
                    * q.to_rotation_matrix().matrix()
                    * ours_from_theirs.transpose();
                let got = axes.rotation([q.i, q.j, q.k, q.w]);
                let got = UnitQuaternion::from_quaternion(Quaternion::new(got[3], got[0], got[1], got[2]));
                prop_assert!((got.to_rotation_matrix().matrix() - expected).norm() < 1e-9);
                prop_assert_eq!(axes.point(axes.foreign_point([x, y, z])), [x, y, z]);
                prop_assert_eq!(axes.rotation(axes.foreign_rotation([x, y, z, w])), [x, y, z, w]);
            }
        }
    }
}
