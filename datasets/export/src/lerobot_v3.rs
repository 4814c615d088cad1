//! LeRobotDataset v3.0: many episodes per Parquet file and per video.
//!
//! Differences from the official writer, all of which its reader accepts:
//! timestamps are rounded up
//! ([`crate::seconds_rounded_up`]); statistics are exact
//! over the whole dataset instead of estimated from histograms; videos of
//! H.264 have a keyframe every 12th image.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use arrow::array::Array;

use crate::columns::Columns;
use crate::error::ExportError;
use crate::features::{self, Info};
use crate::formats::{Episodes, Format};
use crate::join::Joiner;
use crate::options::{Options, Progress, Report};
use crate::rows::{self, PlacedVideo};
use crate::tables::{self, Rolling};
use crate::totals;
use crate::verify::each_at_once;
use crate::writing::{self, Accepted, Book, Layout, Plan};

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "lerobot-v3",
    help: "LeRobotDataset v3.0: Parquet and video, many episodes a file, for LeRobot 0.4 and newer",
    variants: &[],
    fps: 30,
    has_stills: false,
    keys: &[],
    load: "With lerobot 0.4 or newer:\n\n```python\nfrom lerobot.datasets.lerobot_dataset import LeRobotDataset\ndataset = LeRobotDataset(\"local/name\", root=\"path of this folder\")\n```",
    write,
};

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    let plan = Plan {
        name: FORMAT.name,
        size: None,
        least_steps: 1,
        columns: |episode, _| Ok(Columns::plain(episode)),
    };
    writing::write(&plan, episodes, out, options, progress, |root, options| {
        Files {
            data: None,
            meta: Rolling::new(
                root,
                features::episodes_path,
                options.data_file_bytes,
                Vec::new(),
            ),
            joiners: Vec::new(),
        }
    })
}

struct Files {
    data: Option<Rolling>,
    meta: Rolling,
    /// One a camera.
    joiners: Vec<Joiner>,
}

impl Layout for Files {
    fn append(&mut self, book: &Book, accepted: &Accepted) -> Result<(), ExportError> {
        let (episode, schema) = (&accepted.episode, book.schema());
        let limits = book.options;
        let data = self.data.get_or_insert_with(|| {
            let metadata = vec![tables::hugging_face(&schema.features)];
            let path_of = features::data_path;
            Rolling::new(book.root, path_of, limits.data_file_bytes, metadata)
        });
        if self.joiners.is_empty() {
            let joiner = |_| Joiner::new(episode.fps, limits.video_file_bytes);
            self.joiners = book.cameras.iter().map(joiner).collect();
        }
        let mut videos = Vec::new();
        let cameras = book.cameras.iter().zip(&mut self.joiners);
        for ((camera, joiner), video) in cameras.zip(&accepted.videos) {
            let target = |n| features::video_path(&camera.key, n);
            let place = joiner.add(video.clone(), (book.parts, book.tools), target)?;
            let file = features::video_path(&camera.key, place.file);
            let of = (book.episodes, camera.key.as_str());
            book.parts.note(of, video, &file, Some(place.from))?;
            videos.push(PlacedVideo {
                key: camera.key.clone(),
                place,
                pixels: video.known.pixels.clone(),
            });
        }
        let columns = rows::data_columns(accepted, book.episodes, book.rows);
        let bytes: usize = columns.iter().map(|(_, a)| a.get_array_memory_size()).sum();
        let data_file = data.file_for(bytes as u64)?;
        let batch = tables::batch(columns, book.root)?;
        data.write(&batch, true)?;
        // One description takes some kilobytes before compression.
        let meta_file = self.meta.file_for(100_000)?;
        let row = rows::Description {
            episode: book.episodes,
            task: &episode.task,
            fps: episode.fps,
            from: book.rows,
            steps: episode.steps() as u64,
            data_file,
            meta_file,
            videos: &videos,
            quality: book.quality_words(episode),
        };
        let batch = tables::batch(row.columns(&batch), book.root)?;
        self.meta.write(&batch, false)
    }

    fn finish(mut self, book: &Book) -> Result<Vec<String>, ExportError> {
        let (parts, tools) = (book.parts, book.tools);
        let joiners = self.joiners.iter_mut().map(Mutex::new);
        let keys = book.cameras.iter().map(|camera| camera.key.as_str());
        each_at_once(&keys.zip(joiners).collect::<Vec<_>>(), |(key, joiner)| {
            let target = |n| features::video_path(key, n);
            let mut joiner = joiner.lock().unwrap_or_else(PoisonError::into_inner);
            joiner.finish((parts, tools), target)
        })?;
        self.meta.close()?;
        let Some(data) = &mut self.data else {
            unreachable!("begun with the first episode");
        };
        data.close()?;
        let files: Vec<_> = (0..data.files())
            .map(|n| book.root.join(features::data_path(n)))
            .collect();
        let meta = book.root.join("meta");
        tables::write_tasks(&meta.join("tasks.parquet"), &book.tasks)?;
        let schema = book.schema();
        let mut totals = totals::of_columns(&files, &schema.features, book.rows)?;
        let warnings = totals.warnings();
        for camera in &book.cameras {
            totals.add_pixels(&camera.key, &camera.pixels);
        }
        features::write_json(&meta.join("stats.json"), &totals.to_json())?;
        let info = Info {
            codebase_version: "v3.0",
            fps: schema.fps,
            features: &schema.features,
            total_episodes: book.episodes,
            total_frames: book.rows,
            total_tasks: book.tasks.len() as u64,
            chunks_size: features::CHUNK_FILES,
            data_files_size_in_mb: book.options.data_file_bytes.div_ceil(1_000_000),
            video_files_size_in_mb: book.options.video_file_bytes.div_ceil(1_000_000),
            data_path: features::DATA_PATH,
            video_path: (!book.cameras.is_empty()).then_some(features::VIDEO_PATH),
            robot_type: &schema.robot_type,
            splits: serde_json::json!({"train": format!("0:{}", book.episodes)}),
        };
        features::write_json(&meta.join("info.json"), &info)?;
        Ok(warnings)
    }
}
