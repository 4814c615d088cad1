//! Statistics of actions relative to the state from which they begin.
//!
//! An action chunk of `horizon` steps that begins at step i is related to the state at i, for every i
//! with `i + horizon <= steps`.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use crate::columns::{Part, Relative};
use crate::error::ExportError;
use crate::flat::eef_9d;
use crate::stats::Summary;
use crate::tables;

/// Values held in memory at once, 256 MiB of them.
const VALUES_AT_ONCE: usize = 1 << 25;

/// A part's state and action over an episode, row-major.
struct Rows {
    width: usize,
    state: Vec<f64>,
    action: Vec<f64>,
}

impl Rows {
    /// Chunk starts of a horizon.
    fn starts(&self, horizon: usize) -> usize {
        (self.action.len() / self.width + 1).saturating_sub(horizon)
    }

    /// The action at `step` as seen from the state at `start`.
    fn relative(&self, kind: Relative, start: usize, step: usize, into: &mut [f64]) {
        let state = &self.state[start * self.width..][..self.width];
        let action = &self.action[step * self.width..][..self.width];
        match kind {
            Relative::No => into.copy_from_slice(action),
            Relative::Difference => {
                for (into, (a, s)) in into.iter_mut().zip(action.iter().zip(state)) {
                    *into = a - s;
                }
            }
            Relative::Pose => {
                let relative = pose_of_9d(state).inverse() * pose_of_9d(action);
                into.copy_from_slice(&eef_9d(&relative));
            }
        }
    }
}

/// The pose of position and two rows of a rotation; the rows are made orthonormal (Gram and Schmidt),
/// since stored numbers are rounded. Rows without a direction give NaN, which no statistics may hold.
pub(crate) fn pose_of_9d(numbers: &[f64]) -> Isometry3<f64> {
    let unit = |row: Vector3<f64>| row.try_normalize(0.0).unwrap_or(Vector3::repeat(f64::NAN));
    let first = unit(Vector3::from_column_slice(&numbers[3..6]));
    let second = Vector3::from_column_slice(&numbers[6..9]);
    let second = unit(second - first * first.dot(&second));
    let third = first.cross(&second);
    let rows = [first.transpose(), second.transpose(), third.transpose()];
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_rows(&rows));
    Isometry3::from_parts(
        Translation3::new(numbers[0], numbers[1], numbers[2]),
        UnitQuaternion::from_rotation_matrix(&rotation),
    )
}

/// The rows of one episode.
fn read(path: &Path, part: &Part) -> Result<Rows, ExportError> {
    let mut rows = Rows {
        width: part.end - part.start,
        state: Vec::new(),
        action: Vec::new(),
    };
    let wanted = |name: &str| name == "observation.state" || name == "action";
    tables::read(path, wanted, |batch| {
        slice(batch, "observation.state", part, &mut rows.state, path)?;
        slice(batch, "action", part, &mut rows.action, path)
    })?;
    Ok(rows)
}

/// Chunk starts of a horizon over all episodes.
fn all_starts(files: &[PathBuf], part: &Part, horizon: usize) -> Result<usize, ExportError> {
    let mut starts = 0;
    for path in files {
        starts += read(path, part)?.starts(horizon);
    }
    Ok(starts)
}

fn slice(
    batch: &RecordBatch,
    name: &str,
    part: &Part,
    into: &mut Vec<f64>,
    path: &Path,
) -> Result<(), ExportError> {
    let column = batch.column_by_name(name);
    let values = column.and_then(|array| tables::numbers(array.as_ref()));
    let values = values.ok_or_else(|| ExportError::Invalid {
        what: format!("expected a numeric column {name} without nulls"),
        path: path.into(),
    })?;
    let width = values.len() / batch.num_rows().max(1);
    for row in values.chunks_exact(width.max(1)) {
        into.extend(&row[part.start..part.end]);
    }
    Ok(())
}

/// Statistics of a part pooled over all chunk starts and steps of the horizon (DreamZero's). `None`
/// where every episode is shorter than the horizon. Of very large datasets, every n-th start is taken,
/// so that the values fit into 256 MiB.
pub(crate) fn pooled(
    files: &[PathBuf],
    part: &Part,
    horizon: usize,
) -> Result<Option<Vec<Summary>>, ExportError> {
    let width = part.end - part.start;
    let starts = all_starts(files, part, horizon)?;
    let stride = (starts * horizon).div_ceil(VALUES_AT_ONCE).max(1);
    let at_once = (VALUES_AT_ONCE / (starts * horizon / stride).max(1)).clamp(1, width);
    let mut summaries = Vec::new();
    let mut one = vec![0.0; width];
    for first in (0..width).step_by(at_once) {
        let wanted = first..(first + at_once).min(width);
        let mut columns = vec![Vec::new(); wanted.len()];
        for path in files {
            let rows = read(path, part)?;
            for start in (0..rows.starts(horizon)).step_by(stride) {
                for step in start..start + horizon {
                    rows.relative(part.relative, start, step, &mut one);
                    for (column, &value) in columns.iter_mut().zip(&one[wanted.clone()]) {
                        column.push(value);
                    }
                }
            }
        }
        summaries.extend(columns.iter_mut().filter_map(|column| Summary::of(column)));
    }
    Ok((summaries.len() == width).then_some(summaries))
}

/// Statistics of a part over all chunk starts, for each step of the horizon (GR00T's),
/// `[horizon][width]`. `None` where every episode is shorter than the horizon.
pub(crate) fn per_step(
    files: &[PathBuf],
    part: &Part,
    horizon: usize,
) -> Result<Option<Vec<Vec<Summary>>>, ExportError> {
    let width = part.end - part.start;
    let starts = all_starts(files, part, horizon)?;
    if starts == 0 {
        return Ok(None);
    }
    // As many steps ahead at once as fit into memory.
    let at_once = (VALUES_AT_ONCE / (starts * width).max(1)).clamp(1, horizon);
    let mut steps = Vec::with_capacity(horizon);
    let mut one = vec![0.0; width];
    for first in (0..horizon).step_by(at_once) {
        let wanted = first..(first + at_once).min(horizon);
        let mut columns = vec![Vec::with_capacity(starts); wanted.len() * width];
        for path in files {
            let rows = read(path, part)?;
            for start in 0..rows.starts(horizon) {
                for (columns, ahead) in columns.chunks_mut(width).zip(wanted.clone()) {
                    rows.relative(part.relative, start, start + ahead, &mut one);
                    for (column, &value) in columns.iter_mut().zip(&one) {
                        column.push(value);
                    }
                }
            }
        }
        for columns in columns.chunks_mut(width) {
            steps.push(
                columns
                    .iter_mut()
                    .filter_map(|column| Summary::of(column))
                    .collect(),
            );
        }
    }
    Ok(Some(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_survives_its_nine_numbers() {
        let pose = Isometry3::from_parts(
            Translation3::new(0.1, -0.2, 0.3),
            UnitQuaternion::from_euler_angles(0.4, -1.2, 2.5),
        );
        let rounded = eef_9d(&pose).map(|x| f64::from(x as f32));
        let back = pose_of_9d(&rounded);
        assert!((pose.inverse() * back).rotation.angle() < 1e-6);
        assert!((pose.translation.vector - back.translation.vector).norm() < 1e-7);
    }

    #[test]
    fn a_pose_is_seen_from_the_state_and_numbers_are_subtracted() {
        // The state is turned a quarter about z; what lies along its x lies along the world's y.
        let turn = UnitQuaternion::from_euler_angles(0.0, 0.0, std::f64::consts::FRAC_PI_2);
        let state = Isometry3::from_parts(Translation3::new(1.0, 2.0, 0.0), turn);
        let action = Isometry3::from_parts(Translation3::new(1.0, 2.5, 0.0), turn);
        let rows = Rows {
            width: 9,
            state: eef_9d(&state).to_vec(),
            action: eef_9d(&action).to_vec(),
        };
        let mut seen = [0.0; 9];
        rows.relative(Relative::Pose, 0, 0, &mut seen);
        let expected = [0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        assert!(
            seen.iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{seen:?}"
        );
        rows.relative(Relative::Difference, 0, 0, &mut seen);
        assert!((seen[1] - 0.5).abs() < 1e-12 && seen[0] == 0.0, "{seen:?}");
    }

    #[test]
    fn chunks_begin_where_the_whole_horizon_is_left() {
        let rows = Rows {
            width: 2,
            state: vec![0.0; 20],
            action: vec![0.0; 20],
        };
        assert_eq!(
            [rows.starts(1), rows.starts(10), rows.starts(11)],
            [10, 1, 0]
        );
    }
}
