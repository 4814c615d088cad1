//! `data/`: one row a step, one file an episode.

use std::path::Path;

use arrow::array::RecordBatch;

use super::super::{bounds, column, equal, invalid};
use super::meta::{Episode, Meta, OwnStats};
use crate::error::ExportError;
use crate::features;
use crate::tables;
use crate::timestamp::seconds_rounded_up;
use crate::v21::data_path;

/// Checks every row and adds the files to those of `meta`.
pub(super) fn check(dataset: &Path, meta: &mut Meta) -> Result<(), ExportError> {
    let numeric = meta.info.features.iter().filter(|(_, f)| !f.is_video());
    let columns: Vec<(String, usize)> =
        numeric.map(|(name, f)| (name.clone(), f.width())).collect();
    let widths = columns.iter().map(|(_, width)| *width);
    let none: Vec<[Vec<f64>; 2]> = widths
        .map(|width| [vec![f64::INFINITY; width], vec![f64::NEG_INFINITY; width]])
        .collect();
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
                equal(
                    "number of columns",
                    columns.len(),
                    batch.num_columns(),
                    &path,
                )?;
                for ((name, width), own) in columns.iter().zip(&mut own) {
                    widen(batch, name, *width, own, &path)?;
                }
                check_rows(batch, meta, (number as u64, episode), rows, &path)?;
                rows += batch.num_rows() as u64;
                Ok(())
            },
        )?;
        equal("rows", episode.length, rows, &path)?;
        for (((name, _), own), all) in columns.iter().zip(&own).zip(&mut all) {
            let told = &told[name];
            bounds(
                "min",
                &format!("{name} of episode {number}"),
                &own[0],
                &told[0],
                &stats.path,
            )?;
            bounds(
                "max",
                &format!("{name} of episode {number}"),
                &own[1],
                &told[1],
                &stats.path,
            )?;
            for (at, (least, most)) in own[0].iter().zip(&own[1]).enumerate() {
                all[0][at] = all[0][at].min(*least);
                all[1][at] = all[1][at].max(*most);
            }
        }
        meta.files.insert(relative);
    }
    stats.end(meta.episodes.len())?;
    let path = dataset.join("meta/stats.json");
    for ((name, _), all) in columns.iter().zip(&all) {
        bounds("min", name, &all[0], &meta.stats[name]["min"], &path)?;
        bounds("max", name, &all[1], &meta.stats[name]["max"], &path)?;
    }
    Ok(())
}

/// Takes the values of a column into least and largest ones.
fn widen(
    batch: &RecordBatch,
    name: &str,
    width: usize,
    [least, most]: &mut [Vec<f64>; 2],
    path: &Path,
) -> Result<(), ExportError> {
    let values = column(batch, name, path)?;
    equal(
        format!("values of {name}"),
        width * batch.num_rows(),
        values.len(),
        path,
    )?;
    for (at, &value) in values.iter().enumerate() {
        if !value.is_finite() {
            let what = format!("{name} is not finite in row {} of the file", at / width);
            return Err(invalid(what, path));
        }
        least[at % width] = least[at % width].min(value);
        most[at % width] = most[at % width].max(value);
    }
    Ok(())
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
