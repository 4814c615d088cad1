//! The resampled episode: the one model from which every format is written.
//!
//! Step `k` is the instant `k / fps` seconds after the start of the episode.
//! Values are SI (metres, radians, newtons); each format states what it makes
//! of them.

use std::collections::HashSet;

use bytes::Bytes;

use crate::error::ExportError;
use crate::timestamp::MAX_FPS;

/// One episode on a constant grid of `fps` steps a second.
pub struct Resampled {
    /// Id of the episode (UUID as text); appears in reports and errors.
    pub episode_id: String,
    /// What was done, one sentence in the imperative.
    pub task: String,
    /// Steps a second, 1 to 1000.
    pub fps: u32,
    /// Which robot or hand the values belong to, for example `xhand_right`.
    pub robot_type: String,
    /// Measured state at each step, `[T][D]`.
    pub state: Matrix,
    /// Action (the next absolute target) at each step, `[T][D]`.
    pub action: Matrix,
    /// Further values, one row per step, declared as features of their own.
    pub extras: Vec<Extra>,
    /// The cameras.
    pub cameras: Vec<CameraTrack>,
}

/// Rows of named values, `[T][names.len()]`.
pub struct Matrix {
    /// One name per column, with frame and unit where they are not evident.
    pub names: Vec<String>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// A further feature, for example the true capture time of an image.
///
/// LeRobot's reader hands 64-bit floats out as 32-bit ones: give times relative
/// to the episode or to the step, not since 1970.
pub struct Extra {
    /// Name of the feature, without `/`.
    pub name: String,
    /// One name per column.
    pub names: Vec<String>,
    /// Row-major values, `[T][names.len()]`.
    pub values: ExtraValues,
}

/// Values of an [`Extra`], row-major.
pub enum ExtraValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl ExtraValues {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::F32(v) => v.iter().position(|x| !x.is_finite()),
            Self::F64(v) => v.iter().position(|x| !x.is_finite()),
            Self::I64(_) | Self::Bool(_) => None,
        }
    }
}

/// The images of one camera, chosen for each step.
pub struct CameraTrack {
    /// Name of the camera, without `/`, for example `head`.
    pub name: String,
    /// Width of the recorded images in pixels.
    pub width: u32,
    /// Height of the recorded images in pixels.
    pub height: u32,
    /// For each step, the index of its image in `source`; an index may repeat.
    pub images: Vec<usize>,
    /// Where the images come from.
    pub source: Box<dyn ImageSource>,
}

/// Recorded images by index.
pub trait ImageSource: Send {
    /// The whole JPEG at `index`, byte-exact as recorded.
    ///
    /// # Errors
    /// [`ExportError::Image`] or [`ExportError::Episode`] where the recording is
    /// at fault: the episode is left out. Any other error ends the export.
    fn read(&mut self, index: usize) -> Result<Bytes, ExportError>;
}

impl Resampled {
    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.state.values.len() / self.state.names.len().max(1)
    }

    /// Whether the episode can be written at all: at least one step, every
    /// part has the same number of steps, every value is finite, names are
    /// distinct and free of `/`.
    ///
    /// # Errors
    /// [`ExportError::Episode`] with the first fault.
    pub fn check(&self) -> Result<(), ExportError> {
        let fault = |what: String| ExportError::Episode {
            episode: self.episode_id.clone(),
            what,
        };
        let steps = self.steps();
        if steps == 0 {
            return Err(fault("no steps: expected at least one row of state".into()));
        }
        if !(1..=MAX_FPS).contains(&self.fps) {
            return Err(fault(format!(
                "fps is {}: expected 1 to {MAX_FPS}",
                self.fps
            )));
        }
        if self.task.trim().is_empty() {
            return Err(fault(
                "the task is empty: say in one sentence what was done".into(),
            ));
        }
        for (name, matrix) in [("state", &self.state), ("action", &self.action)] {
            check_rows(name, &matrix.names, matrix.values.len(), steps).map_err(fault)?;
            if let Some(at) = matrix.values.iter().position(|x| !x.is_finite()) {
                return Err(fault(not_finite(name, &matrix.names, at)));
            }
        }
        let mut seen = HashSet::new();
        for extra in &self.extras {
            check_name("extra feature", &extra.name, &mut seen).map_err(fault)?;
            check_rows(&extra.name, &extra.names, extra.values.len(), steps).map_err(fault)?;
            if let Some(at) = extra.values.first_not_finite() {
                return Err(fault(not_finite(&extra.name, &extra.names, at)));
            }
        }
        seen.clear();
        for camera in &self.cameras {
            check_name("camera", &camera.name, &mut seen).map_err(fault)?;
            if camera.images.len() != steps {
                return Err(fault(format!(
                    "camera {:?} has {} images for {steps} steps of state",
                    camera.name,
                    camera.images.len()
                )));
            }
            if camera.width < 2 || camera.height < 2 {
                return Err(fault(format!(
                    "camera {:?} is {}x{}: expected at least 2x2 pixels",
                    camera.name, camera.width, camera.height
                )));
            }
        }
        Ok(())
    }
}

fn check_rows(name: &str, names: &[String], len: usize, steps: usize) -> Result<(), String> {
    if names.is_empty() {
        return Err(format!("{name} has no columns: expected at least one name"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|n| !seen.insert(*n)) {
        return Err(format!("{name} names the column {twice:?} twice"));
    }
    let expected = steps * names.len();
    if len != expected {
        return Err(format!(
            "{name} has {len} values: expected {expected} ({steps} steps of {} columns)",
            names.len()
        ));
    }
    Ok(())
}

fn not_finite(name: &str, names: &[String], at: usize) -> String {
    format!(
        "{name} column {:?} is not finite at step {}: fill or cut the gap before the export",
        names[at % names.len()],
        at / names.len()
    )
}

fn check_name<'a>(kind: &str, name: &'a str, seen: &mut HashSet<&'a str>) -> Result<(), String> {
    let valid = !name.is_empty()
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !valid {
        return Err(format!(
            "{kind} {name:?}: expected letters, digits, '_', '-' and '.' only"
        ));
    }
    if !seen.insert(name) {
        return Err(format!("{kind} {name:?} appears twice"));
    }
    Ok(())
}
