//! `meta/`: description, tasks, episodes, statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use super::super::{equal, flatten, invalid, json};
use crate::error::ExportError;
use crate::features::{self, CHUNK_FILES, Feature, LANGUAGE, STANDARD};
use crate::stats::QUANTILES;
use crate::tables;
use crate::timestamp::MAX_FPS;

#[derive(Deserialize)]
pub(super) struct Info {
    codebase_version: String,
    pub fps: u32,
    pub features: BTreeMap<String, Feature>,
    pub total_episodes: u64,
    pub total_frames: u64,
    total_tasks: u64,
    chunks_size: u64,
    data_path: String,
    video_path: Option<String>,
    splits: BTreeMap<String, String>,
}

/// Statistics of one feature: statistic, values flattened.
pub(super) type Stats = BTreeMap<String, Vec<f64>>;

/// One row of `meta/episodes`.
pub(super) struct Episode {
    pub task: String,
    pub from: u64,
    pub to: u64,
    pub data_file: u64,
    /// By feature: file, first and last time in seconds.
    pub videos: BTreeMap<String, (u64, f64, f64)>,
}

pub(super) struct Meta {
    pub info: Info,
    pub tasks: Vec<String>,
    pub episodes: Vec<Episode>,
    pub stats: BTreeMap<String, Stats>,
    /// Files read, relative to the dataset.
    pub files: BTreeSet<PathBuf>,
}

pub(super) fn read(dataset: &Path) -> Result<Meta, ExportError> {
    let path = dataset.join("meta/info.json");
    let info: Info = json(&path)?;
    equal("codebase_version", "v3.0", &info.codebase_version, &path)?;
    equal("chunks_size", CHUNK_FILES, info.chunks_size, &path)?;
    equal("data_path", features::DATA_PATH, &info.data_path, &path)?;
    let has_video = info.features.values().any(Feature::is_video);
    let expected = has_video.then_some(features::VIDEO_PATH);
    equal("video_path", expected, info.video_path.as_deref(), &path)?;
    if !(1..=MAX_FPS).contains(&info.fps) {
        return Err(invalid(
            format!("fps: expected 1 to {MAX_FPS}, got {}", info.fps),
            &path,
        ));
    }
    for (name, dtype) in STANDARD.into_iter().chain(LANGUAGE) {
        let got = info.features.get(name).map(|f| f.dtype.as_str());
        equal(format!("dtype of {name}"), Some(dtype), got, &path)?;
    }
    if let Some(name) = info.features.keys().find(|name| name.contains('/')) {
        return Err(invalid(
            format!("feature {name:?}: names must not contain '/'"),
            &path,
        ));
    }
    let split = format!("0:{}", info.total_episodes);
    equal("split train", Some(&split), info.splits.get("train"), &path)?;
    let tasks = tasks(&dataset.join("meta/tasks.parquet"))?;
    equal("total_tasks", info.total_tasks, tasks.len() as u64, &path)?;
    let mut files = BTreeSet::from(
        ["meta/info.json", "meta/tasks.parquet", "meta/stats.json"].map(PathBuf::from),
    );
    let episodes = episodes(dataset, &info, &mut files)?;
    equal(
        "total_episodes",
        info.total_episodes,
        episodes.len() as u64,
        &path,
    )?;
    let rows = episodes.last().map_or(0, |episode| episode.to);
    equal("total_frames", info.total_frames, rows, &path)?;
    let stats = stats(&dataset.join("meta/stats.json"), &info)?;
    Ok(Meta {
        info,
        tasks,
        episodes,
        stats,
        files,
    })
}

/// Tasks in the order of their index, which is how the reader looks them up.
fn tasks(path: &Path) -> Result<Vec<String>, ExportError> {
    let file = File::open(path).map_err(ExportError::io("open a table", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(ExportError::parquet("read a table", path))?;
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let pandas = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "pandas");
    let pandas: serde_json::Value = pandas
        .and_then(|pair| serde_json::from_str(pair.value.as_ref()?).ok())
        .unwrap_or_default();
    equal(
        "pandas index columns",
        &serde_json::json!(["task"]),
        &pandas["index_columns"],
        path,
    )?;
    let mut tasks: Vec<String> = Vec::new();
    tables::read(
        path,
        |_| true,
        |batch| {
            let (index, task) = (
                batch.column_by_name("task_index"),
                batch.column_by_name("task"),
            );
            let index = index.and_then(|a| a.as_primitive_opt::<Int64Type>());
            let task = task.and_then(|a| a.as_string_opt::<i32>());
            let (Some(index), Some(task)) = (index, task) else {
                return Err(invalid(
                    "expected columns task_index (int64) and task (string)",
                    path,
                ));
            };
            for (&index, task) in index.values().iter().zip(task) {
                equal("task_index in row order", tasks.len() as i64, index, path)?;
                let task = task.unwrap_or_default();
                if tasks.iter().any(|other| other == task) {
                    let what =
                        format!("task {index}: expected a sentence of its own, got {task:?}");
                    return Err(invalid(what, path));
                }
                tasks.push(task.to_owned());
            }
            Ok(())
        },
    )?;
    Ok(tasks)
}

fn episodes(
    dataset: &Path,
    info: &Info,
    files: &mut BTreeSet<PathBuf>,
) -> Result<Vec<Episode>, ExportError> {
    let mut episodes: Vec<Episode> = Vec::new();
    for n in 0.. {
        let relative = features::episodes_path(n);
        let path = dataset.join(&relative);
        if n > 0 && !path.exists() {
            break;
        }
        files.insert(relative);
        tables::read(
            &path,
            |name| !name.starts_with("stats/"),
            |batch| {
                for row in 0..batch.num_rows() {
                    let cells = Cells {
                        batch,
                        row,
                        path: &path,
                    };
                    let episode = cells.episode(info)?;
                    let number = episodes.len() as u64;
                    equal(
                        "episode_index",
                        number,
                        cells.integer("episode_index")?,
                        &path,
                    )?;
                    let from = episodes.last().map_or(0, |last| last.to);
                    equal(
                        format!("dataset_from_index of episode {number}"),
                        from,
                        episode.from,
                        &path,
                    )?;
                    let length = cells.integer("length")?;
                    equal(
                        format!("length of episode {number}"),
                        episode.to.wrapping_sub(episode.from),
                        length,
                        &path,
                    )?;
                    if length == 0 {
                        return Err(invalid(format!("episode {number} is empty"), &path));
                    }
                    equal(
                        "meta/episodes file",
                        n,
                        cells.place("meta/episodes")?,
                        &path,
                    )?;
                    episodes.push(episode);
                }
                Ok(())
            },
        )?;
    }
    Ok(episodes)
}

/// One row of a table.
struct Cells<'a> {
    batch: &'a RecordBatch,
    row: usize,
    path: &'a Path,
}

impl Cells<'_> {
    fn missing(&self, name: &str, kind: &str) -> ExportError {
        invalid(format!("expected a column {name} ({kind})"), self.path)
    }

    fn integer(&self, name: &str) -> Result<u64, ExportError> {
        let column = self.batch.column_by_name(name);
        column
            .and_then(|a| a.as_primitive_opt::<Int64Type>())
            .and_then(|a| u64::try_from(a.value(self.row)).ok())
            .ok_or_else(|| self.missing(name, "int64, not negative"))
    }

    fn float(&self, name: &str) -> Result<f64, ExportError> {
        let column = self.batch.column_by_name(name);
        column
            .and_then(|a| a.as_primitive_opt::<Float64Type>())
            .map(|a| a.value(self.row))
            .ok_or_else(|| self.missing(name, "float64"))
    }

    fn place(&self, folder: &str) -> Result<u64, ExportError> {
        let chunk = self.integer(&format!("{folder}/chunk_index"))?;
        Ok(chunk * CHUNK_FILES + self.integer(&format!("{folder}/file_index"))?)
    }

    fn episode(&self, info: &Info) -> Result<Episode, ExportError> {
        let tasks = self.batch.column_by_name("tasks");
        let tasks = tasks
            .and_then(|a| a.as_list_opt::<i32>())
            .map(|a| a.value(self.row));
        let task = tasks
            .as_ref()
            .and_then(|a| a.as_string_opt::<i32>())
            .filter(|a| a.len() == 1)
            .ok_or_else(|| self.missing("tasks", "list of one string"))?;
        let mut videos = BTreeMap::new();
        for (key, _) in info.features.iter().filter(|(_, f)| f.is_video()) {
            let folder = format!("videos/{key}");
            let from = self.float(&format!("{folder}/from_timestamp"))?;
            let to = self.float(&format!("{folder}/to_timestamp"))?;
            videos.insert(key.clone(), (self.place(&folder)?, from, to));
        }
        Ok(Episode {
            task: task.value(0).into(),
            from: self.integer("dataset_from_index")?,
            to: self.integer("dataset_to_index")?,
            data_file: self.place("data")?,
            videos,
        })
    }
}

fn stats(path: &Path, info: &Info) -> Result<BTreeMap<String, Stats>, ExportError> {
    let read: BTreeMap<String, BTreeMap<String, serde_json::Value>> = json(path)?;
    let mut all = BTreeMap::new();
    for (name, feature) in &info.features {
        let entry = read.get(name);
        let entry = entry.ok_or_else(|| invalid(format!("no statistics of {name}"), path))?;
        let (width, depth) = if feature.is_video() {
            (3, 2)
        } else {
            (feature.width(), 0)
        };
        let mut stats = Stats::new();
        let quantiles = QUANTILES.map(|(name, _)| name);
        for statistic in ["min", "max", "mean", "std"].iter().chain(&quantiles) {
            let values = entry.get(*statistic).and_then(|v| flatten(v, width, depth));
            let values = values.ok_or_else(|| {
                invalid(
                    format!("{statistic} of {name}: expected {width} finite values"),
                    path,
                )
            })?;
            stats.insert((*statistic).into(), values);
        }
        let count = entry.get("count").and_then(|v| flatten(v, 1, 0));
        let count = count.map_or(0, |c| c[0] as u64);
        if feature.is_video() {
            if !(1..=info.total_frames).contains(&count) {
                return Err(invalid(
                    format!(
                        "count of {name}: expected 1 to {}, got {count}",
                        info.total_frames
                    ),
                    path,
                ));
            }
        } else {
            equal(format!("count of {name}"), info.total_frames, count, path)?;
        }
        let ladder = ["min", "q01", "q10", "q50", "q90", "q99", "max"];
        if let Some(at) = (0..width).find(|&at| !ladder.map(|s| stats[s][at]).is_sorted()) {
            return Err(invalid(
                format!(
                    "{name}[{at}]: min, quantiles and max are not in order: {:?}",
                    ladder.map(|s| stats[s][at])
                ),
                path,
            ));
        }
        all.insert(name.clone(), stats);
    }
    Ok(all)
}
