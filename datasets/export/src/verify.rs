//! Strict checkers of the folders that this crate writes.
//!
//! Stricter than the official readers, which decode the wrong image or fail
//! in the middle of training where these say what is wrong: rows equal
//! images, every image lies at exactly its time, every episode starts on a
//! keyframe, indices and tasks agree everywhere, values are finite, statistics
//! are complete and bound the data, and no file is missing or superfluous.

mod v3;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::options::Options;

/// What a valid dataset holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Episodes.
    pub episodes: u64,
    /// Rows (steps).
    pub rows: u64,
    /// Distinct tasks.
    pub tasks: u64,
    /// Video files over all cameras.
    pub videos: usize,
}

/// Checks the dataset in the folder `dataset`. Of `options`, only the path of
/// `ffprobe` is used.
///
/// # Errors
/// [`ExportError::Invalid`] with the first broken rule and its file, or the
/// reason why a file cannot be read.
pub fn verify(dataset: &Path, options: &Options) -> Result<Verified, ExportError> {
    v3::check(dataset, &Tools::new(options))
}

/// As [`verify`], of a dataset of the format `name` that will lie at `destination`.
pub(crate) fn verify_as(
    name: &str,
    dataset: &Path,
    destination: &Path,
    options: &Options,
) -> Result<Verified, ExportError> {
    let _ = (name, destination);
    v3::check(dataset, &Tools::new(options))
}

/// Refuses files that nothing refers to.
fn nothing_besides(dataset: &Path, expected: &BTreeSet<PathBuf>) -> Result<(), ExportError> {
    let mut present = BTreeSet::new();
    list(dataset, dataset, &mut present)?;
    match present.difference(expected).next() {
        Some(extra) => Err(invalid("superfluous file", &dataset.join(extra))),
        None => Ok(()),
    }
}

fn invalid(what: impl Into<String>, path: &Path) -> ExportError {
    ExportError::Invalid {
        what: what.into(),
        path: path.into(),
    }
}

/// `Ok` when the two are equal, else what was expected.
fn equal<T: PartialEq + std::fmt::Debug>(
    what: impl std::fmt::Display,
    expected: T,
    got: T,
    path: &Path,
) -> Result<(), ExportError> {
    if expected == got {
        return Ok(());
    }
    Err(invalid(
        format!("{what}: expected {expected:?}, got {got:?}"),
        path,
    ))
}

fn list(root: &Path, folder: &Path, into: &mut BTreeSet<PathBuf>) -> Result<(), ExportError> {
    let failed = || ExportError::io("list a folder", folder);
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.is_dir() {
            list(root, &path, into)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            into.insert(relative.into());
        }
    }
    Ok(())
}
