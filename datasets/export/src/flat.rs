//! What LeRobot's columns hold, derived from the episode model: hands as rows of numbers, and the
//! features that say when and how well each cell was measured.

use nalgebra::{Isometry3, UnitQuaternion};

use crate::model::{Extra, ExtraValues, HandMotion, Resampled};

/// Rows of named values, `[T][names.len()]`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// One name per column, with frame and unit where they are not evident.
    pub names: Vec<String>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Rotation as the first two rows of its matrix, flattened (GR00T's and UMI's
/// order; DreamDojo takes columns).
#[must_use]
pub fn rotation_6d_rows(rotation: &UnitQuaternion<f64>) -> [f64; 6] {
    let m = rotation.to_rotation_matrix();
    std::array::from_fn(|i| m[(i / 3, i % 3)])
}

/// Rotation as the first two columns of its matrix, one after the other.
#[must_use]
pub fn rotation_6d_columns(rotation: &UnitQuaternion<f64>) -> [f64; 6] {
    let m = rotation.to_rotation_matrix();
    std::array::from_fn(|i| m[(i % 3, i / 3)])
}

/// Position [m] and [`rotation_6d_rows`] of a pose: GR00T's `eef_9d`.
#[must_use]
pub fn eef_9d(pose: &Isometry3<f64>) -> [f64; 9] {
    let rotation = rotation_6d_rows(&pose.rotation);
    std::array::from_fn(|i| match i {
        0..3 => pose.translation.vector[i],
        _ => rotation[i - 3],
    })
}

impl HandMotion {
    /// Names of the columns of [`HandMotion::row`].
    #[must_use]
    pub fn column_names(&self) -> Vec<String> {
        let side = self.side.name();
        let position = ["x", "y", "z"].map(|axis| format!("{side}_wrist_{axis}"));
        let rotation = (0..6).map(|i| format!("{side}_wrist_rot6d_row{}_{}", i / 3, i % 3));
        let joints = self.joint_names.iter().cloned();
        position.into_iter().chain(rotation).chain(joints).collect()
    }

    /// Row `k` as numbers: wrist position [m], rotation as [`rotation_6d_rows`], joints [rad].
    pub fn row(&self, k: usize) -> impl Iterator<Item = f64> + '_ {
        eef_9d(&self.world_from_wrist[k])
            .into_iter()
            .chain(self.joints(k).iter().copied())
    }
}

impl Resampled {
    /// Names of the columns of state and action: of each hand [`HandMotion::column_names`]. Where two
    /// hands name a joint alike, its side goes before it.
    #[must_use]
    pub fn column_names(&self) -> Vec<String> {
        let all: Vec<(&HandMotion, String)> = self
            .hands
            .iter()
            .flat_map(|hand| {
                hand.column_names()
                    .into_iter()
                    .map(move |name| (hand, name))
            })
            .collect();
        let twice = |name: &String| all.iter().filter(|(_, other)| other == name).count() > 1;
        all.iter()
            .map(|(hand, name)| match twice(name) {
                true => format!("{}_{name}", hand.side.name()),
                false => name.clone(),
            })
            .collect()
    }

    /// Measured state at each step, `[T][D]`: rows 0 to T - 1 of the hands.
    #[must_use]
    pub fn state(&self) -> Matrix {
        self.rows_from(0)
    }

    /// Action at each step, `[T][D]`: the absolute target one step later, rows 1 to T of the hands.
    #[must_use]
    pub fn action(&self) -> Matrix {
        self.rows_from(1)
    }

    fn rows_from(&self, first: usize) -> Matrix {
        let rows = first..first + self.steps();
        Matrix {
            names: self.column_names(),
            values: rows
                .flat_map(|k| self.hands.iter().flat_map(move |hand| hand.row(k)))
                .map(|value| value as f32)
                .collect(),
        }
    }

    /// The features beside state, action and images: grid time, capture time of each image, force,
    /// keypoints, validity of each part, and the episode's own [`Resampled::extras`].
    #[must_use]
    pub fn features(&self) -> Vec<Extra> {
        let steps = self.steps();
        let unix = |name: String, times: &[dexumi_episode::SessionTime]| Extra {
            name,
            names: vec!["unix_ns".to_owned()],
            values: ExtraValues::I64(times.iter().map(|t| t.nanos()).collect()),
        };
        let mut features = vec![unix("grid_time_ns".to_owned(), &self.times[..steps])];
        for camera in &self.cameras {
            let name = format!("capture_time_ns.{}", camera.name);
            features.push(unix(name, &camera.capture_times));
        }
        for hand in &self.hands {
            let side = hand.side.name();
            if let Some(force) = &hand.force {
                let axes =
                    |finger: &String| ["x", "y", "z"].map(|a| format!("{finger}_{a}_counts"));
                let counts = force.counts.as_flattened();
                features.push(Extra {
                    name: format!("observation.force.{side}"),
                    names: force.fingers.iter().flat_map(axes).collect(),
                    values: ExtraValues::F32(counts.iter().map(|&x| x as f32).collect()),
                });
            }
            if let Some(keypoints) = &hand.keypoints {
                let names = |point: usize| ["x", "y", "z"].map(|a| format!("{point}_{a}_m"));
                let points = keypoints.points_m.as_flattened().as_flattened();
                features.push(Extra {
                    name: format!("observation.keypoints.{side}"),
                    names: (0..21).flat_map(names).collect(),
                    values: ExtraValues::F32(points.iter().map(|&x| x as f32).collect()),
                });
            }
        }
        features.push(self.validity());
        features.extend(self.extras.iter().cloned());
        features
    }

    /// `observation.valid`: whether each part of a step was measured.
    fn validity(&self) -> Extra {
        let mut parts: Vec<(String, &[bool])> = Vec::new();
        for hand in &self.hands {
            let side = hand.side.name();
            parts.push((format!("hand.{side}"), &hand.valid));
            if let Some(force) = &hand.force {
                parts.push((format!("force.{side}"), &force.valid));
            }
            if let Some(keypoints) = &hand.keypoints {
                parts.push((format!("keypoints.{side}"), &keypoints.valid));
            }
        }
        for camera in &self.cameras {
            parts.push((format!("camera.{}", camera.name), &camera.valid));
        }
        let cells = (0..self.steps()).flat_map(|k| parts.iter().map(move |(_, valid)| valid[k]));
        Extra {
            name: "observation.valid".to_owned(),
            values: ExtraValues::Bool(cells.collect()),
            names: parts.iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_of_a_quarter_turn_about_z() {
        let turn = UnitQuaternion::from_euler_angles(0.0, 0.0, std::f64::consts::FRAC_PI_2);
        // R = [0 -1 0; 1 0 0; 0 0 1].
        let close = |a: [f64; 6], b: [f64; 6]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(close(
            rotation_6d_rows(&turn),
            [0.0, -1.0, 0.0, 1.0, 0.0, 0.0]
        ));
        assert!(close(
            rotation_6d_columns(&turn),
            [0.0, 1.0, 0.0, -1.0, 0.0, 0.0]
        ));
    }
}
