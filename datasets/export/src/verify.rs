//! A strict checker of LeRobotDataset v3.0 folders as this crate writes them.
//!
//! Stricter than the official reader, which decodes the wrong image or fails
//! in the middle of training where this one says what is wrong: rows equal
//! images, every image lies at exactly its time, every episode starts on a
//! keyframe, indices and tasks agree everywhere, values are finite, statistics
//! are complete and bound the data, and no file is missing or superfluous.

mod data;
mod meta;
mod video;

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
    let tools = Tools::new(options);
    let meta = meta::read(dataset)?;
    let mut expected = meta.files.clone();
    data::check(dataset, &meta, &mut expected)?;
    let videos = video::check(dataset, &meta, &tools, &mut expected)?;
    let mut present = BTreeSet::new();
    list(dataset, dataset, &mut present)?;
    if let Some(extra) = present.difference(&expected).next() {
        return Err(invalid("superfluous file", &dataset.join(extra)));
    }
    Ok(Verified {
        episodes: meta.info.total_episodes,
        rows: meta.info.total_frames,
        tasks: meta.tasks.len() as u64,
        videos,
    })
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
