//! State and action as a dataset's rows hold them: named parts, one behind the other.

use nalgebra::Isometry3;

use crate::flat::Matrix;
use crate::model::Resampled;

/// What a model makes of a part's action, given the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relative {
    /// It is taken as it is.
    No,
    /// The state is subtracted, number by number.
    Difference,
    /// A pose of nine numbers (position, rotation as two rows): `inverse(state) * action`.
    Pose,
}

/// A stretch of the columns with a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// Name, without dots.
    pub key: String,
    /// First column.
    pub start: usize,
    /// Column behind the last.
    pub end: usize,
    /// `rotation_type` of `modality.json`, for a rotation.
    pub rotation: Option<&'static str>,
    /// How a model takes it.
    pub relative: Relative,
}

/// State and action of an episode.
pub(crate) struct Columns {
    /// In the order of the columns, without gaps.
    pub parts: Vec<Part>,
    /// `[T][D]`.
    pub state: Matrix,
    /// `[T][D]`.
    pub action: Matrix,
    /// What was left out of the episode's numbers on the way.
    pub warnings: Vec<String>,
}

/// A part in the making: its numbers by row of the episode, 0 to T.
pub(crate) struct Numbers {
    pub key: String,
    pub names: Vec<String>,
    pub rows: Vec<Vec<f64>>,
    pub rotation: Option<&'static str>,
    pub relative: Relative,
}

impl Numbers {
    pub fn new(key: String, names: Vec<String>, rows: Vec<Vec<f64>>) -> Self {
        Self {
            key,
            names,
            rows,
            rotation: None,
            relative: Relative::No,
        }
    }

    pub fn relative(self, relative: Relative) -> Self {
        Self { relative, ..self }
    }

    pub fn rotation(self, rotation: &'static str) -> Self {
        Self {
            rotation: Some(rotation),
            ..self
        }
    }
}

impl Columns {
    /// All that the episode's hands have, as one part each of state and action.
    pub fn plain(episode: &Resampled) -> Self {
        let state = episode.state();
        Self {
            parts: vec![Part {
                key: "all".into(),
                start: 0,
                end: state.names.len(),
                rotation: None,
                relative: Relative::No,
            }],
            state,
            action: episode.action(),
            warnings: Vec::new(),
        }
    }

    /// Parts one behind the other; state is row k of the hands, action row k + 1.
    pub fn of(numbers: &[Numbers], steps: usize) -> Self {
        let mut parts = Vec::new();
        let mut names = Vec::new();
        for part in numbers {
            parts.push(Part {
                key: part.key.clone(),
                start: names.len(),
                end: names.len() + part.names.len(),
                rotation: part.rotation,
                relative: part.relative,
            });
            names.extend(part.names.iter().cloned());
        }
        let rows = |first: usize| Matrix {
            names: names.clone(),
            values: (first..first + steps)
                .flat_map(|k| numbers.iter().flat_map(move |part| &part.rows[k]))
                .map(|&value| value as f32)
                .collect(),
        };
        Self {
            parts,
            state: rows(0),
            action: rows(1),
            warnings: Vec::new(),
        }
    }
}

/// One row of numbers for each of the poses.
pub(crate) fn of_poses(
    poses: &[Isometry3<f64>],
    numbers: impl Fn(&Isometry3<f64>) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    poses.iter().map(numbers).collect()
}

/// `prefix_x`, `prefix_y`, `prefix_z`.
pub(crate) fn axes(prefix: &str) -> Vec<String> {
    ["x", "y", "z"]
        .map(|axis| format!("{prefix}_{axis}"))
        .into()
}

/// Names of a rotation's first two rows.
pub(crate) fn rows_6d(prefix: &str) -> Vec<String> {
    (0..6)
        .map(|i| format!("{prefix}_row{}_{}", i / 3, i % 3))
        .collect()
}

impl Columns {
    /// Names and parts alone.
    pub fn without_values(&self) -> Self {
        let names = |matrix: &Matrix| Matrix {
            names: matrix.names.clone(),
            values: Vec::new(),
        };
        Self {
            parts: self.parts.clone(),
            state: names(&self.state),
            action: names(&self.action),
            warnings: Vec::new(),
        }
    }
}
