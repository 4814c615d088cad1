//! `data/`: one row a step, one file an episode.

use std::path::Path;

use arrow::array::RecordBatch;

use super::super::ranges::Ranges;
use super::super::{column, equal, invalid};
use super::meta::{Episode, Meta, OwnStats};
use crate::error::ExportError;
use crate::features;
use crate::tables;
use crate::timestamp::seconds_rounded_up;
use crate::v21::data_path;

/// Checks every row and adds the files to those of `meta`.
pub(super) fn check(dataset: &Path, meta: &mut Meta) -> Result<(), ExportError> {
    let numeric = meta.info.features.iter().filter(|(_, f)| !f.is_video());
    let none = Ranges::new(numeric.map(|(name, f)| (name.as_str(), f.width())));
    let mut all = none.clone();
    let mut stats = OwnStats::open(dataset)?;
    for (number, episode) in meta.episodes.iter().enumerate() {
        let relative = data_path(number as u64);
        let path = dataset.join(&relative);
        if !path.is_file() {
            return Err(invalid(
                format!("the data of episode {number} is missing"),
                &path,
            ));
        }
        let told = stats.next(&meta.info, number as u64, episode.length)?;
        let mut own = none.clone();
        let mut rows = 0;
        tables::read(
            &path,
            |_| true,
            |batch| {
                own.add(batch, &path)?;
                check_rows(batch, meta, (number as u64, episode), rows, &path)?;
                rows += batch.num_rows() as u64;
                Ok(())
            },
        )?;
        equal("rows", episode.length, rows, &path)?;
        let of = format!(" of episode {number}");
        own.check(
            |name| told[name].each_ref().map(Vec::as_slice),
            &of,
            &stats.path,
        )?;
        all.include(&own);
        meta.files.insert(relative);
    }
    stats.end(meta.episodes.len())?;
    let path = dataset.join("meta/stats.json");
    all.check(
        |name| ["min", "max"].map(|bound| &meta.stats[name][bound][..]),
        "",
        &path,
    )
}

fn check_rows(
    batch: &RecordBatch,
    meta: &Meta,
    (number, expected): (u64, &Episode),
    first: u64,
    path: &Path,
) -> Result<(), ExportError> {
    let names = features::STANDARD.into_iter().chain(features::LANGUAGE);
    let columns: Vec<Vec<f64>> = names
        .map(|(name, _)| column(batch, name, path))
        .collect::<Result<_, _>>()?;
    let [time, step, episode, index, task, annotated, subtask] = &columns[..] else {
        unreachable!("as many columns as names");
    };
    for at in 0..batch.num_rows() {
        let k = first + at as u64;
        let what = |column: &str| format!("{column} of row {k}");
        equal(what("index"), (expected.from + k) as f64, index[at], path)?;
        equal(what("episode_index"), number as f64, episode[at], path)?;
        equal(what("frame_index"), k as f64, step[at], path)?;
        let exact = f64::from(seconds_rounded_up(k, meta.info.fps));
        equal(what("timestamp"), exact, time[at], path)?;
        let sentence = meta.tasks.get(task[at] as usize);
        equal(what("task"), Some(&expected.task), sentence, path)?;
        equal(what("annotation.task"), task[at], annotated[at], path)?;
        if !(subtask[at] >= 0.0 && (subtask[at] as usize) < meta.tasks.len()) {
            let last = meta.tasks.len() - 1;
            let what = what("annotation.subtask");
            return Err(invalid(
                format!("{what}: expected 0 to {last}, got {}", subtask[at]),
                path,
            ));
        }
    }
    Ok(())
}
