//! `data/`: one row per step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use super::super::ranges::Ranges;
use super::super::{column, equal, invalid};
use super::meta::Meta;
use crate::error::ExportError;
use crate::features;
use crate::tables;
use crate::timestamp::seconds_rounded_up;

/// Checks every row and adds the files read to `files`.
pub(super) fn check(
    dataset: &Path,
    meta: &Meta,
    files: &mut BTreeSet<PathBuf>,
) -> Result<(), ExportError> {
    let numeric = meta.info.features.iter().filter(|(_, f)| !f.is_video());
    let mut ranges = Ranges::new(numeric.map(|(name, f)| (name.as_str(), f.width())));
    let mut rows = 0;
    let last = meta.episodes.iter().map(|e| e.data_file).max().unwrap_or(0);
    for n in 0..=last {
        let relative = features::data_path(n);
        let path = dataset.join(&relative);
        files.insert(relative);
        tables::read(
            &path,
            |_| true,
            |batch| {
                ranges.add(batch, &path)?;
                check_rows(batch, meta, n, rows, &path)?;
                rows += batch.num_rows() as u64;
                Ok(())
            },
        )?;
    }
    let path = dataset.join("data");
    equal(
        "rows of all data files",
        meta.info.total_frames,
        rows,
        &path,
    )?;
    let path = dataset.join("meta/stats.json");
    ranges.check(
        |name| ["min", "max"].map(|bound| &meta.stats[name][bound][..]),
        "",
        &path,
    )
}

/// Checks the columns that every dataset has, for rows from `first` on.
fn check_rows(
    batch: &RecordBatch,
    meta: &Meta,
    file: u64,
    first: u64,
    path: &Path,
) -> Result<(), ExportError> {
    let [time, step, episode, index, task] =
        features::STANDARD.map(|(name, _)| column(batch, name, path));
    let (time, step, episode, index, task) = (time?, step?, episode?, index?, task?);
    let [annotated, subtask] = features::LANGUAGE.map(|(name, _)| column(batch, name, path));
    let (annotated, subtask) = (annotated?, subtask?);
    for at in 0..batch.num_rows() {
        let row = first + at as u64;
        // Episodes lie one behind the other: the first that ends after the row.
        let number = meta.episodes.partition_point(|episode| episode.to <= row);
        let Some(expected) = meta.episodes.get(number) else {
            return Err(invalid(format!("row {row} belongs to no episode"), path));
        };
        let k = row - expected.from;
        let what = |column: &str| format!("{column} of row {row}");
        equal(what("index"), row as f64, index[at], path)?;
        equal(what("episode_index"), number as f64, episode[at], path)?;
        equal(what("frame_index"), k as f64, step[at], path)?;
        let exact = f64::from(seconds_rounded_up(k, meta.info.fps));
        equal(what("timestamp"), exact, time[at], path)?;
        let sentence = meta.tasks.get(task[at] as usize);
        equal(what("task"), Some(&expected.task), sentence, path)?;
        equal(what("annotation.task"), task[at], annotated[at], path)?;
        if !(subtask[at] >= 0.0 && (subtask[at] as usize) < meta.tasks.len()) {
            return Err(invalid(
                format!(
                    "{}: expected 0 to {}, got {}",
                    what("annotation.subtask"),
                    meta.tasks.len() - 1,
                    subtask[at]
                ),
                path,
            ));
        }
        equal(what("data file"), expected.data_file, file, path)?;
    }
    Ok(())
}
