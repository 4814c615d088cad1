//! How the emulated wrist moves through the room.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Result, ensure};
use dexumi_retarget::NpyArray;
use nalgebra::{Isometry3, Matrix3, Quaternion, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::curve::{Curve, Repeat};

/// A motion of the wrist tracker in the world: x away from the wearer, y to the left, z up, origin
/// on the floor [m].
#[derive(Debug, Clone)]
pub enum WristPath {
    /// From samples: position [m] and quaternion x, y, z, w.
    Samples(Curve),
    /// Sums of sines around [`CENTRE_M`]: every derivative is continuous, nothing ever repeats.
    Sines,
}

/// Middle of the built-in motion, in the world [m].
pub const CENTRE_M: [f64; 3] = [0.30, 0.0, 1.0];

/// One sine: amplitude [m or rad], frequency [Hz], phase [turns].
type Sine = (f64, f64, f64);

/// x, y, z [m]; then turns about the world's x, y, z [rad]. Their periods fit into no short one.
const SINES: [[Sine; 2]; 6] = [
    [(0.130, 0.1031, 0.00), (0.050, 0.2713, 0.31)],
    [(0.150, 0.1279, 0.25), (0.050, 0.3301, 0.77)],
    [(0.055, 0.1553, 0.50), (0.025, 0.3889, 0.13)],
    [(0.400, 0.1187, 0.10), (0.120, 0.2903, 0.45)],
    [(0.200, 0.1409, 0.60), (0.090, 0.3511, 0.85)],
    [(0.400, 0.0907, 0.35), (0.120, 0.2411, 0.05)],
];

/// Palm down and fingers away from the wearer (the hand's x, y, z along the world's -z, y, x), then
/// 22 degrees down to the table.
fn palm_down() -> UnitQuaternion<f64> {
    let level = Matrix3::from_columns(&[-Vector3::z(), Vector3::y(), Vector3::x()]);
    let level = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(level));
    UnitQuaternion::from_axis_angle(&Vector3::y_axis(), 22.0_f64.to_radians()) * level
}

impl WristPath {
    /// From a file of shape (n, 7): position [m] and quaternion x, y, z, w, `fps` a second.
    ///
    /// # Errors
    /// The file cannot be read, has another shape, or holds a number that is not finite or a
    /// quaternion that is not of length 1.
    pub fn from_path(path: &Path, fps: f64, repeat: Repeat) -> Result<Self> {
        ensure!(
            fps.is_finite() && fps > 0.0,
            "rate of the wrist poses: expected more than 0 Hz, got {fps}; give --fps"
        );
        let array = NpyArray::from_path(path)?;
        let shown = path.display();
        ensure!(
            matches!(array.shape[..], [steps, 7] if steps > 0),
            "wrist poses: expected shape [n, 7] (x y z in m, quaternion x y z w), got {:?}; \
             write one pose a row: {shown}",
            array.shape
        );
        let mut values = array.data;
        let mut last: Option<[f64; 4]> = None;
        for (step, row) in values.chunks_exact_mut(7).enumerate() {
            let norm = row[3..].iter().map(|x| x * x).sum::<f64>().sqrt();
            ensure!(
                row.iter().all(|x| x.is_finite()) && (0.99..1.01).contains(&norm),
                "wrist pose {step}: expected finite numbers and a quaternion of length 1, got \
                 {row:?}; correct or cut that pose: {shown}"
            );
            // q and -q turn alike; neighbours of like sign interpolate the short way.
            let dot = last.map_or(1.0, |last| {
                last.iter().zip(&row[3..]).map(|(a, b)| a * b).sum::<f64>()
            });
            let scale = if dot < 0.0 { -1.0 / norm } else { 1.0 / norm };
            for x in &mut row[3..] {
                *x *= scale;
            }
            last = Some([row[3], row[4], row[5], row[6]]);
        }
        let mut first = values[..7].to_vec();
        let dot = last.map_or(1.0, |last| {
            last.iter()
                .zip(&first[3..])
                .map(|(a, b)| a * b)
                .sum::<f64>()
        });
        if dot < 0.0 {
            for x in &mut first[3..] {
                *x = -*x;
            }
        }
        Ok(Self::Samples(
            Curve::new(values, 7, fps, repeat).led_to(first),
        ))
    }

    /// Pose of the wrist tracker at a time [s].
    pub fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        match self {
            Self::Samples(curve) => {
                let row = curve.at(t_s);
                Isometry3::from_parts(
                    Translation3::new(row[0], row[1], row[2]),
                    UnitQuaternion::from_quaternion(Quaternion::new(
                        row[6], row[3], row[4], row[5],
                    )),
                )
            }
            Self::Sines => {
                let [x, y, z, roll, pitch, yaw] = SINES.map(|sines| {
                    sines
                        .iter()
                        .map(|(amplitude, hz, turns)| amplitude * (TAU * (hz * t_s + turns)).sin())
                        .sum::<f64>()
                });
                let turn = UnitQuaternion::from_euler_angles(roll, pitch, yaw);
                Isometry3::from_parts(
                    Translation3::new(CENTRE_M[0] + x, CENTRE_M[1] + y, CENTRE_M[2] + z),
                    turn * palm_down(),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_motion_is_wide_smooth_and_above_the_table() {
        let path = WristPath::Sines;
        let (mut low, mut high) = (Vector3::repeat(f64::MAX), Vector3::repeat(f64::MIN));
        let (mut turn, dt) = (0.0_f64, 1e-3);
        let start = path.world_from_wrist(0.0);
        for k in 0..60_000 {
            let t = f64::from(k) * dt;
            let pose = path.world_from_wrist(t);
            low = low.inf(&pose.translation.vector);
            high = high.sup(&pose.translation.vector);
            turn = turn.max(start.rotation.angle_to(&pose.rotation));
            let next = path.world_from_wrist(t + dt);
            let after = path.world_from_wrist(t + 2.0 * dt);
            let (now, next, after) = (pose.translation, next.translation, after.translation);
            assert!(
                (next.vector - now.vector).norm() / dt < 1.0,
                "speed at {t} s"
            );
            let second = after.vector - 2.0 * next.vector + now.vector;
            assert!(second.norm() / (dt * dt) < 3.0, "acceleration at {t} s");
        }
        let extent = high - low;
        assert!(
            extent.x > 0.3 && extent.y > 0.3 && extent.z > 0.1,
            "{extent}"
        );
        assert!(turn > 60.0_f64.to_radians(), "{turn} rad");
        assert!(low.z > 0.9, "{low}");
    }

    #[test]
    fn a_file_is_followed_the_short_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrist.npy");
        let write = |rows: &[[f64; 7]]| {
            let head = format!(
                "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, 7), }}\n",
                rows.len()
            );
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((head.len() as u16).to_le_bytes());
            bytes.extend(head.as_bytes());
            bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
            std::fs::write(&path, bytes).unwrap();
        };
        let (sin, cos) = 0.1_f64.sin_cos();
        write(&[
            [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            [0.1, 0.0, 1.0, 0.0, 0.0, -sin, -cos],
        ]);
        let wrist = WristPath::from_path(&path, 10.0, Repeat::PingPong).unwrap();
        let middle = wrist.world_from_wrist(0.05);
        assert!((middle.translation.x - 0.05).abs() < 1e-12);
        assert!(
            (middle.rotation.angle() - 0.1).abs() < 1e-3,
            "{}",
            middle.rotation.angle()
        );
        // Once round the vertical: the last quaternion is the first one's negative.
        let round: Vec<[f64; 7]> = (0..=20)
            .map(|i| {
                let (sin, cos) = (f64::from(i) * std::f64::consts::PI / 20.0).sin_cos();
                [0.0, 0.0, 1.0, 0.0, 0.0, sin, cos]
            })
            .collect();
        write(&round);
        let wrist = WristPath::from_path(&path, 10.0, Repeat::Forward).unwrap();
        for k in 0..4000 {
            let (now, next) = [0.0, 1e-3]
                .map(|dt| wrist.world_from_wrist(f64::from(k) * 1e-3 + dt))
                .into();
            let speed = now.rotation.angle_to(&next.rotation) / 1e-3;
            assert!(speed < 10.0, "{speed} rad/s at {k} ms");
        }
        write(&[[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5]]);
        let error = WristPath::from_path(&path, 10.0, Repeat::PingPong)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("wrist pose 0") && error.contains("length 1"),
            "{error}"
        );
    }
}
