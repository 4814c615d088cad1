//! `meta/`: description, tasks, episodes, statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::super::{Lines, equal, flatten, invalid, json, lines};
use crate::error::ExportError;
use crate::features::{CHUNK_FILES, Feature, LANGUAGE, STANDARD};
use crate::timestamp::MAX_FPS;
use crate::v21;

/// The statistics that the models' loaders want, and no other.
pub(super) const SIX: [&str; 6] = ["mean", "std", "min", "max", "q01", "q99"];

#[derive(Deserialize)]
pub(in super::super) struct Info {
    codebase_version: String,
    pub fps: u32,
    pub features: BTreeMap<String, Feature>,
    total_episodes: u64,
    pub total_frames: u64,
    total_tasks: u64,
    total_videos: u64,
    total_chunks: u64,
    chunks_size: u64,
    data_path: String,
    video_path: Option<String>,
    splits: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Task {
    task_index: u64,
    task: String,
}

#[derive(Deserialize)]
struct EpisodeLine {
    episode_index: u64,
    tasks: Vec<String>,
    length: u64,
}

#[derive(Deserialize)]
struct StatsLine {
    episode_index: u64,
    stats: BTreeMap<String, BTreeMap<String, Value>>,
}

pub(super) struct Episode {
    pub task: String,
    pub length: u64,
    /// Number of its first row in the dataset.
    pub from: u64,
}

/// Least and largest values of numeric features.
pub(super) type Bounds = BTreeMap<String, [Vec<f64>; 2]>;

/// The episodes' own statistics, read one by one.
pub(super) struct OwnStats {
    pub path: PathBuf,
    lines: Lines<StatsLine>,
}

impl OwnStats {
    pub fn open(dataset: &Path) -> Result<Self, ExportError> {
        let path = dataset.join("meta/episodes_stats.jsonl");
        Ok(Self {
            lines: Lines::open(&path)?,
            path,
        })
    }

    /// Checks the statistics of the next episode and takes least and largest values.
    pub fn next(&mut self, info: &Info, number: u64, length: u64) -> Result<Bounds, ExportError> {
        let line = self.lines.next().transpose()?;
        let index = line.as_ref().map(|line| line.episode_index);
        equal(
            "episode_index in line order",
            Some(number),
            index,
            &self.path,
        )?;
        let own = line.map(|line| line.stats).unwrap_or_default();
        bounds(&own, info, length, number, &self.path)
    }

    /// Checks that there are no more than `episodes`.
    pub fn end(self, episodes: usize) -> Result<(), ExportError> {
        let more = self.lines.count();
        equal("lines", episodes, episodes + more, &self.path)
    }
}

/// Statistics of one feature, values by statistic.
pub(super) type Stats = BTreeMap<String, Vec<f64>>;

pub(super) struct Meta {
    pub info: Info,
    pub tasks: Vec<String>,
    pub episodes: Vec<Episode>,
    pub stats: BTreeMap<String, Stats>,
    /// Files that belong to the dataset, relative to it.
    pub files: BTreeSet<PathBuf>,
}

pub(super) fn read(dataset: &Path) -> Result<Meta, ExportError> {
    let path = dataset.join("meta/info.json");
    let info: Info = json(&path)?;
    check_info(&info, &path)?;
    let names = [
        "info.json",
        "tasks.jsonl",
        "episodes.jsonl",
        "episodes_stats.jsonl",
        "stats.json",
    ];
    let mut files: BTreeSet<PathBuf> = names.map(|name| PathBuf::from("meta").join(name)).into();
    let tasks = tasks(&dataset.join("meta/tasks.jsonl"))?;
    equal("total_tasks", info.total_tasks, tasks.len() as u64, &path)?;
    let episodes = episodes(dataset)?;
    equal(
        "total_episodes",
        info.total_episodes,
        episodes.len() as u64,
        &path,
    )?;
    let rows: u64 = episodes.iter().map(|episode| episode.length).sum();
    equal("total_frames", info.total_frames, rows, &path)?;
    let cameras = info.features.values().filter(|f| f.is_video()).count() as u64;
    equal(
        "total_videos",
        info.total_episodes * cameras,
        info.total_videos,
        &path,
    )?;
    if cameras > 0 {
        files.insert("meta/cameras.json".into());
    }
    let stats = stats(&dataset.join("meta/stats.json"), &info)?;
    Ok(Meta {
        info,
        tasks,
        episodes,
        stats,
        files,
    })
}

fn check_info(info: &Info, path: &Path) -> Result<(), ExportError> {
    equal("codebase_version", "v2.1", &info.codebase_version, path)?;
    equal("chunks_size", CHUNK_FILES, info.chunks_size, path)?;
    let chunks = info.total_episodes.div_ceil(CHUNK_FILES);
    equal("total_chunks", chunks, info.total_chunks, path)?;
    equal("data_path", v21::DATA_PATH, &info.data_path, path)?;
    let has_video = info.features.values().any(Feature::is_video);
    let expected = has_video.then_some(v21::VIDEO_PATH);
    equal("video_path", expected, info.video_path.as_deref(), path)?;
    let split = format!("0:{}", info.total_episodes);
    equal("split train", Some(&split), info.splits.get("train"), path)?;
    if !(1..=MAX_FPS).contains(&info.fps) {
        let what = format!("fps: expected 1 to {MAX_FPS}, got {}", info.fps);
        return Err(invalid(what, path));
    }
    for (name, dtype) in STANDARD.into_iter().chain(LANGUAGE) {
        let got = info.features.get(name).map(|f| f.dtype.as_str());
        equal(format!("dtype of {name}"), Some(dtype), got, path)?;
    }
    for (name, feature) in &info.features {
        if name.contains('/') {
            let what = format!("feature {name:?}: names must not contain '/'");
            return Err(invalid(what, path));
        }
        if !feature.is_video() {
            continue;
        }
        // Loaders look for height and width by these names, and for channels and rate in `info`.
        let names = ["height", "width", "channels"].map(String::from).to_vec();
        equal(
            format!("names of {name}"),
            Some(&names),
            feature.names.as_ref(),
            path,
        )?;
        let told = |key: &str| feature.info.as_ref().and_then(|info| info[key].as_u64());
        equal(
            format!("video.channels of {name}"),
            Some(3),
            told("video.channels"),
            path,
        )?;
        let fps = Some(u64::from(info.fps));
        equal(format!("video.fps of {name}"), fps, told("video.fps"), path)?;
    }
    Ok(())
}

fn tasks(path: &Path) -> Result<Vec<String>, ExportError> {
    let mut tasks: Vec<String> = Vec::new();
    for line in lines::<Task>(path)? {
        equal(
            "task_index in line order",
            tasks.len() as u64,
            line.task_index,
            path,
        )?;
        if line.task.trim().is_empty() || tasks.contains(&line.task) {
            let what = format!(
                "task {}: expected a sentence of its own, got {:?}",
                tasks.len(),
                line.task
            );
            return Err(invalid(what, path));
        }
        tasks.push(line.task);
    }
    Ok(tasks)
}

fn episodes(dataset: &Path) -> Result<Vec<Episode>, ExportError> {
    let path = dataset.join("meta/episodes.jsonl");
    let mut episodes: Vec<Episode> = Vec::new();
    let mut from = 0;
    for line in lines::<EpisodeLine>(&path)? {
        let number = episodes.len() as u64;
        equal(
            "episode_index in line order",
            number,
            line.episode_index,
            &path,
        )?;
        let [task] = &line.tasks[..] else {
            let what = format!("episode {number}: expected one task, got {:?}", line.tasks);
            return Err(invalid(what, &path));
        };
        if line.length == 0 {
            return Err(invalid(format!("episode {number} is empty"), &path));
        }
        episodes.push(Episode {
            task: task.clone(),
            length: line.length,
            from,
        });
        from += line.length;
    }
    Ok(episodes)
}

/// Checks an episode's own statistics and takes least and largest values.
fn bounds(
    own: &BTreeMap<String, BTreeMap<String, Value>>,
    info: &Info,
    length: u64,
    number: u64,
    path: &Path,
) -> Result<Bounds, ExportError> {
    let mut bounds = BTreeMap::new();
    for (name, feature) in &info.features {
        let entry = own.get(name);
        let entry = entry
            .ok_or_else(|| invalid(format!("no statistics of {name} of episode {number}"), path))?;
        let (width, depth) = match feature.is_video() {
            true => (3, 2),
            false => (feature.width(), 0),
        };
        let values = |statistic: &str| {
            let values = entry.get(statistic).and_then(|v| flatten(v, width, depth));
            values.ok_or_else(|| {
                invalid(
                    format!(
                        "{statistic} of {name} of episode {number}: expected {width} finite values"
                    ),
                    path,
                )
            })
        };
        let ends = [values("min")?, values("max")?];
        values("mean")?;
        values("std")?;
        let count = entry
            .get("count")
            .and_then(|v| flatten(v, 1, 0))
            .map_or(0, |c| c[0] as u64);
        if feature.is_video() {
            if !(1..=length).contains(&count) {
                let what = format!(
                    "count of {name} of episode {number}: expected 1 to {length}, got {count}"
                );
                return Err(invalid(what, path));
            }
        } else {
            equal(
                format!("count of {name} of episode {number}"),
                length,
                count,
                path,
            )?;
            bounds.insert(name.clone(), ends);
        }
    }
    Ok(bounds)
}

fn stats(path: &Path, info: &Info) -> Result<BTreeMap<String, Stats>, ExportError> {
    let read: BTreeMap<String, BTreeMap<String, Value>> = json(path)?;
    let numeric: BTreeSet<&String> = info
        .features
        .iter()
        .filter(|(_, f)| !f.is_video())
        .map(|(name, _)| name)
        .collect();
    equal(
        "features with statistics",
        numeric,
        read.keys().collect(),
        path,
    )?;
    let mut all = BTreeMap::new();
    for (name, entry) in &read {
        all.insert(
            name.clone(),
            six(entry, name, info.features[name].width(), path)?,
        );
    }
    Ok(all)
}

/// Exactly the six statistics, in order of size.
pub(super) fn six(
    entry: &BTreeMap<String, Value>,
    name: &str,
    width: usize,
    path: &Path,
) -> Result<Stats, ExportError> {
    let expected: BTreeSet<&str> = SIX.into();
    let got: BTreeSet<&str> = entry.keys().map(String::as_str).collect();
    equal(format!("statistics of {name}"), expected, got, path)?;
    let mut stats = Stats::new();
    for (statistic, values) in entry {
        let values = flatten(values, width, 0).ok_or_else(|| {
            invalid(
                format!("{statistic} of {name}: expected {width} finite values"),
                path,
            )
        })?;
        stats.insert(statistic.clone(), values);
    }
    let ladder = ["min", "q01", "q99", "max"];
    if let Some(at) = (0..width).find(|&at| !ladder.map(|s| stats[s][at]).is_sorted()) {
        let what = format!(
            "{name}[{at}]: min, quantiles and max are not in order: {:?}",
            ladder.map(|s| stats[s][at])
        );
        return Err(invalid(what, path));
    }
    Ok(stats)
}
