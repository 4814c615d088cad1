//! The LeRobot v2.1 layout, one Parquet file and one video a camera for each episode, which
//! DreamZero, GR00T and DreamDojo read with metadata of their own besides.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::ExportError;
use crate::features::{CHUNK_FILES, LANGUAGE, write_json};
use crate::formats::Episodes;
use crate::options::{Options, Progress, Report};
use crate::rows;
use crate::stats::{QUANTILES, Summary};
use crate::tables;
use crate::totals;
use crate::writing::{self, Accepted, Book, Layout, Plan};

pub(crate) const DATA_PATH: &str =
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet";
pub(crate) const VIDEO_PATH: &str =
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4";

/// Data file of an episode.
pub(crate) fn data_path(episode: u64) -> PathBuf {
    let chunk = episode / CHUNK_FILES;
    format!("data/chunk-{chunk:03}/episode_{episode:06}.parquet").into()
}

/// Video file of an episode.
pub(crate) fn video_path(key: &str, episode: u64) -> PathBuf {
    let chunk = episode / CHUNK_FILES;
    format!("videos/chunk-{chunk:03}/{key}/episode_{episode:06}.mp4").into()
}

/// A dataset whose episodes are all written.
pub(crate) struct Dataset<'a> {
    pub book: &'a Book<'a>,
    /// Data files, one an episode.
    pub files: Vec<PathBuf>,
    /// Steps of each episode at which some cell was not measured.
    pub invalid: &'a [Vec<usize>],
}

/// Writes what a format has besides and returns warnings.
pub(crate) type Further = fn(&Dataset<'_>) -> Result<Vec<String>, ExportError>;

/// Writes a dataset of this layout.
pub(crate) fn write(
    plan: &Plan,
    further: Further,
    (episodes, out): (&mut Episodes<'_>, &Path),
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    writing::write(plan, episodes, out, options, progress, |_, _| Files {
        further,
        lines: None,
        invalid: Vec::new(),
    })
}

/// The two files that grow by a line an episode.
struct Lines {
    episodes: Jsonl,
    stats: Jsonl,
}

struct Files {
    further: Further,
    lines: Option<Lines>,
    invalid: Vec<Vec<usize>>,
}

impl Layout for Files {
    fn append(&mut self, book: &Book, accepted: &Accepted) -> Result<(), ExportError> {
        let (number, episode) = (book.episodes, &accepted.episode);
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(Lines {
                episodes: Jsonl::create(book.root.join("meta/episodes.jsonl"))?,
                stats: Jsonl::create(book.root.join("meta/episodes_stats.jsonl"))?,
            }),
        };
        for (camera, video) in book.cameras.iter().zip(&accepted.videos) {
            let of = (number, camera.key.as_str());
            book.parts
                .place(of, video, &video_path(&camera.key, number))?;
        }
        let batch = tables::batch(rows::data_columns(accepted, number, book.rows), book.root)?;
        let metadata = vec![tables::hugging_face(&book.schema().features)];
        tables::write_one(&book.root.join(data_path(number)), &batch, metadata)?;

        let steps = episode.steps();
        let mut stats = Map::new();
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let values = tables::numbers(array.as_ref()).unwrap_or_default();
            let summaries = rows::per_column(&values, steps);
            stats.insert(
                field.name().clone(),
                v21_stats(&summaries, steps as u64, |x| json!(x)),
            );
        }
        for (camera, video) in book.cameras.iter().zip(&accepted.videos) {
            let pixels = video.known.pixels.as_ref();
            if let Some((pixels, rgb)) = pixels.and_then(|p| Some((p, p.summaries()?))) {
                let entry = v21_stats(&rgb, pixels.images, |x| json!([[x]]));
                stats.insert(camera.key.clone(), entry);
            }
        }
        lines
            .stats
            .add(&json!({"episode_index": number, "stats": stats}))?;
        let mut line = json!({
            "episode_index": number,
            "tasks": [episode.task],
            "length": steps,
            "episode_id": episode.episode_id,
        });
        if let Some([grade, tags]) = book.quality_words(episode) {
            line["quality_grade"] = json!(grade);
            line["quality_tags"] = json!(tags);
        }
        lines.episodes.add(&line)?;
        self.invalid
            .push((0..steps).filter(|&k| !episode.is_valid(k)).collect());
        Ok(())
    }

    fn finish(self, book: &Book) -> Result<Vec<String>, ExportError> {
        if let Some(lines) = self.lines {
            lines.episodes.finish()?;
            lines.stats.finish()?;
        }
        let meta = book.root.join("meta");
        let mut tasks = Jsonl::create(meta.join("tasks.jsonl"))?;
        for (index, task) in book.tasks.iter().enumerate() {
            tasks.add(&json!({"task_index": index, "task": task}))?;
        }
        tasks.finish()?;
        let schema = book.schema();
        let files: Vec<_> = (0..book.episodes)
            .map(|number| book.root.join(data_path(number)))
            .collect();
        let totals = totals::of_columns(&files, &schema.features, book.rows)?;
        write_json(&meta.join("stats.json"), &totals.to_json_of_six())?;
        let info = json!({
            "codebase_version": "v2.1",
            "robot_type": schema.robot_type,
            "fps": schema.fps,
            "total_episodes": book.episodes,
            "total_frames": book.rows,
            "total_tasks": book.tasks.len(),
            "total_videos": book.episodes * book.cameras.len() as u64,
            "total_chunks": book.episodes.div_ceil(CHUNK_FILES),
            "chunks_size": CHUNK_FILES,
            "splits": {"train": format!("0:{}", book.episodes)},
            "data_path": DATA_PATH,
            "video_path": (!book.cameras.is_empty()).then_some(VIDEO_PATH),
            "features": schema.features,
        });
        write_json(&meta.join("info.json"), &info)?;
        let mut warnings = totals.warnings();
        let dataset = Dataset {
            book,
            files,
            invalid: &self.invalid,
        };
        warnings.extend((self.further)(&dataset)?);
        Ok(warnings)
    }
}

/// Statistics of one feature as v2.1 has them.
fn v21_stats(summaries: &[Summary], count: u64, shape: impl Fn(f64) -> Value) -> Value {
    let list = |value: fn(&Summary) -> f64| -> Value {
        summaries
            .iter()
            .map(|summary| shape(value(summary)))
            .collect()
    };
    let mut stats = json!({
        "min": list(|s| s.min),
        "max": list(|s| s.max),
        "mean": list(|s| s.mean),
        "std": list(|s| s.std),
        "count": [count],
    });
    // LeRobot's converter to v3 takes them along.
    for (at, (name, _)) in QUANTILES.iter().enumerate() {
        let values = summaries.iter().map(|summary| shape(summary.quantiles[at]));
        stats[*name] = values.collect();
    }
    stats
}

/// The six statistics that the models' loaders want, and no other: DreamDojo's fails on any further
/// one, DreamZero's overwrites the file where one is missing.
pub(crate) fn six(summaries: &[Summary]) -> Value {
    let list = |value: fn(&Summary) -> f64| -> Value { summaries.iter().map(value).collect() };
    json!({
        "mean": list(|s| s.mean),
        "std": list(|s| s.std),
        "min": list(|s| s.min),
        "max": list(|s| s.max),
        "q01": list(|s| s.quantiles[0]),
        "q99": list(|s| s.quantiles[4]),
    })
}

impl Dataset<'_> {
    /// Path of a file in `meta/`.
    pub fn meta(&self, name: &str) -> PathBuf {
        self.book.root.join("meta").join(name)
    }

    /// `modality.json`: where each part of state and action, each view and each annotation lies.
    /// `views` are short name and camera key in the order that a model expects.
    pub fn write_modality(&self, views: &[(String, String)]) -> Result<(), ExportError> {
        let parts = &self.book.schema().columns.parts;
        let slices = |column: &str| -> Value {
            let each = parts.iter().map(|part| {
                let value = json!({
                    "original_key": column,
                    "start": part.start,
                    "end": part.end,
                    "rotation_type": part.rotation,
                    "absolute": true,
                    "dtype": "float32",
                    "range": null,
                });
                (part.key.clone(), value)
            });
            Value::Object(each.collect())
        };
        let original = |key: &str| json!({"original_key": key});
        let video = views
            .iter()
            .map(|(name, key)| (name.clone(), original(key)));
        let mut annotation: Map<String, Value> = LANGUAGE
            .iter()
            .map(|(column, _)| {
                let name = column.trim_start_matches("annotation.");
                (name.to_owned(), original(column))
            })
            .collect();
        annotation.insert("human.task_description".into(), original("task_index"));
        let modality = json!({
            "state": slices("observation.state"),
            "action": slices("action"),
            "video": Value::Object(video.collect()),
            "annotation": annotation,
        });
        write_json(&self.meta("modality.json"), &modality)
    }

    /// Short name and key of each camera, in the order of the dataset.
    pub fn views(&self) -> Vec<(String, String)> {
        let cameras = self.book.cameras.iter();
        cameras
            .map(|c| (c.report.name.clone(), c.key.clone()))
            .collect()
    }

    /// Writes a text beside the dataset's folders.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), ExportError> {
        let path = self.book.root.join(name);
        std::fs::write(&path, text).map_err(ExportError::io("write a description", path))
    }
}

/// A file of JSON values, one a line, none of them blank.
pub(crate) struct Jsonl {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Jsonl {
    pub fn create(path: PathBuf) -> Result<Self, ExportError> {
        create_parent(&path)?;
        let file = File::create(&path).map_err(ExportError::io("create a file", &path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    pub fn add(&mut self, value: &Value) -> Result<(), ExportError> {
        writeln!(self.file, "{value}").map_err(ExportError::io("write a line", &self.path))
    }

    pub fn finish(mut self) -> Result<(), ExportError> {
        self.file
            .flush()
            .map_err(ExportError::io("write a line", &self.path))
    }
}

fn create_parent(path: &Path) -> Result<(), ExportError> {
    match path.parent() {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(ExportError::io("create a folder", folder))
        }
        None => Ok(()),
    }
}
