//! LeRobotDataset v3.0: many episodes per Parquet file and per video.
//!
//! Differences from the official writer, all of which its reader accepts:
//! timestamps are rounded up
//! ([`crate::seconds_rounded_up`]); statistics are exact
//! over the whole dataset instead of estimated from histograms; videos of
//! H.264 have a keyframe every 12th image.

use std::path::Path;

use arrow::array::Array;

use crate::cameras::encode_all;
use crate::error::ExportError;
use crate::features::{self, Features, Info, video_key};
use crate::ffmpeg::{Encoder, Tools};
use crate::fit::Fit;
use crate::join::Joiner;
use crate::model::{CameraTrack, Resampled};
use crate::options::{CameraReport, Options, Progress, Rejected, Report};
use crate::rows::{self, PlacedVideo};
use crate::staging::Staging;
use crate::stats::PixelCounts;
use crate::tables::{self, Rolling};
use crate::timestamp::MAX_EPISODE_SECS;
use crate::totals;
use crate::verify;
use crate::video::{Encoded, Job};

/// Name of the format.
pub const NAME: &str = "lerobot-v3";

/// Writes `episodes` as a LeRobotDataset v3.0 into the folder `out`, which
/// must not exist or be empty.
///
/// Episodes are consumed one by one; memory is bounded by the largest. An
/// episode that cannot be written for a reason of its own is left out and
/// listed in the report. The dataset grows in a folder beside `out`, is
/// checked ([`verify::verify`]) and renamed at the end.
///
/// # Errors
/// Whatever does not concern one episode alone; nothing is left at `out` then.
pub fn write(
    episodes: impl Iterator<Item = Result<Resampled, ExportError>>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    if let Some((width, height)) = options.size
        && (width < 2 || height < 2 || width % 2 == 1 || height % 2 == 1)
    {
        return Err(ExportError::Size { width, height });
    }
    let tools = Tools::new(options);
    let encoder = Encoder::choose(options.codec, &tools)?;
    let staging = Staging::create(out)?;
    let mut writer = Writer::new(staging.path(), options, tools, encoder);
    let mut rejected = Vec::new();
    let mut received = 0;
    for episode in episodes {
        let result = episode.and_then(|episode| writer.add(episode, received, progress));
        match result {
            Err(error) if error.concerns_one_episode() => rejected.push(Rejected {
                received,
                why: error.to_string(),
            }),
            result => result?,
        }
        received += 1;
    }
    let Some(schema) = writer.schema.take() else {
        return Err(ExportError::NoEpisodes {
            received,
            first: rejected
                .first()
                .map(|r| format!("; first: {}", r.why))
                .unwrap_or_default(),
        });
    };
    progress(Progress::Finishing);
    let mut warnings: Vec<String> = staging
        .leftovers()
        .iter()
        .map(|path| {
            format!(
                "left behind by a killed export, remove it: {}",
                path.display()
            )
        })
        .collect();
    warnings.extend(writer.finish(&schema)?);
    progress(Progress::Checking);
    verify::verify(staging.path(), options)?;
    let (path, bytes) = staging.commit()?;
    Ok(Report {
        format: NAME,
        path,
        episodes_received: received,
        episodes_written: writer.episodes as usize,
        rejected,
        rows: writer.rows,
        tasks: writer.tasks.len(),
        cameras: writer.cameras.into_iter().map(|c| c.report).collect(),
        bytes,
        codec: writer.encoder.codec,
        encoder: writer.encoder.why,
        warnings,
    })
}

/// What the first episode fixes for all.
struct DatasetSchema {
    features: Features,
    fps: u32,
    robot_type: String,
}

struct Camera {
    key: String,
    joiner: Joiner,
    pixels: PixelCounts,
    report: CameraReport,
}

struct Writer<'a> {
    root: &'a Path,
    options: &'a Options,
    tools: Tools,
    encoder: Encoder,
    schema: Option<DatasetSchema>,
    cameras: Vec<Camera>,
    data: Option<Rolling>,
    meta: Rolling,
    tasks: Vec<String>,
    rows: u64,
    episodes: u64,
}

impl<'a> Writer<'a> {
    fn new(root: &'a Path, options: &'a Options, tools: Tools, encoder: Encoder) -> Self {
        Self {
            root,
            options,
            tools,
            encoder,
            schema: None,
            cameras: Vec::new(),
            data: None,
            meta: Rolling::new(
                root,
                features::episodes_path,
                options.data_file_bytes,
                Vec::new(),
            ),
            tasks: Vec::new(),
            rows: 0,
            episodes: 0,
        }
    }

    fn add(
        &mut self,
        mut episode: Resampled,
        received: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ExportError> {
        episode.check()?;
        let fits = self.check(&episode)?;
        let sizes: Vec<_> = fits.iter().map(|fit| fit.size).collect();
        let features = Features::new(&episode, &sizes, &self.encoder);
        if let Some(first) = &self.schema {
            first.check(&episode, &features)?;
        }
        let videos = self.encode(&mut episode, received, progress)?;
        // From here on nothing is the episode's own fault any more.
        if self.schema.is_none() {
            self.begin(&episode, features, &fits);
        }
        let mut placed = Vec::new();
        for ((camera, track), mut video) in
            self.cameras.iter_mut().zip(&episode.cameras).zip(videos)
        {
            let pixels = std::mem::take(&mut video.pixels);
            camera.pixels.merge(&pixels);
            camera.report.images += video.steps;
            let pairs = track.images.windows(2);
            camera.report.repeated += pairs.filter(|pair| pair[0] == pair[1]).count() as u64;
            let target = |n| self.root.join(features::video_path(&camera.key, n));
            let place = camera.joiner.add(video, &self.tools, target)?;
            placed.push(PlacedVideo {
                key: camera.key.clone(),
                place,
                pixels,
            });
        }
        self.append(&episode, &placed)?;
        self.rows += episode.steps() as u64;
        self.episodes += 1;
        Ok(())
    }

    /// Checks what only this format demands, and says how images are cut.
    fn check(&self, episode: &Resampled) -> Result<Vec<Fit>, ExportError> {
        let fault = |what: String| ExportError::Episode {
            episode: episode.episode_id.clone(),
            what,
        };
        if episode.steps() as u64 > u64::from(MAX_EPISODE_SECS) * u64::from(episode.fps) {
            return Err(fault(format!(
                "it lasts {} s: at most {MAX_EPISODE_SECS} s have 32-bit times exact enough \
                 for LeRobot's reader (1e-4 s); split it",
                episode.steps() as u64 / u64::from(episode.fps)
            )));
        }
        let standard = features::STANDARD.map(|(name, _)| name);
        let taken = |name: &str| {
            standard.contains(&name)
                || matches!(name, "observation.state" | "action" | "task")
                || name.starts_with("observation.images.")
        };
        if let Some(extra) = episode.extras.iter().find(|extra| taken(&extra.name)) {
            return Err(fault(format!(
                "extra feature {:?} has a name that the format uses itself",
                extra.name
            )));
        }
        let mut fits = Vec::new();
        for track in &episode.cameras {
            let fit = Fit::new((track.width, track.height), self.options.size);
            let least = self.encoder.smallest;
            if fit.size.0 < least || fit.size.1 < least {
                return Err(fault(format!(
                    "camera {:?} would be {}x{} pixels: expected at least {least}x{least} for {}; \
                     give a larger size or choose another codec",
                    track.name, fit.size.0, fit.size.1, self.encoder.codec
                )));
            }
            fits.push(fit);
        }
        Ok(fits)
    }

    fn begin(&mut self, episode: &Resampled, features: Features, fits: &[Fit]) {
        let limit = self.options.data_file_bytes;
        let metadata = vec![tables::hugging_face(&features)];
        self.data = Some(Rolling::new(
            self.root,
            features::data_path,
            limit,
            metadata,
        ));
        self.cameras = episode
            .cameras
            .iter()
            .zip(fits)
            .map(|(track, fit)| Camera {
                key: video_key(&track.name),
                joiner: Joiner::new(episode.fps, self.options.video_file_bytes),
                pixels: PixelCounts::default(),
                report: CameraReport {
                    name: track.name.clone(),
                    images: 0,
                    repeated: 0,
                    size: fit.size,
                    crop: fit.crop,
                },
            })
            .collect();
        self.schema = Some(DatasetSchema {
            features,
            fps: episode.fps,
            robot_type: episode.robot_type.clone(),
        });
    }

    fn encode(
        &self,
        episode: &mut Resampled,
        received: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Encoded>, ExportError> {
        let of = episode.steps() * episode.cameras.len();
        let folder = self.root.join("temporary");
        std::fs::create_dir_all(&folder).map_err(ExportError::io("create a folder", &folder))?;
        let job = Job {
            episode: &episode.episode_id,
            fps: episode.fps,
            tools: &self.tools,
            encoder: &self.encoder,
            size: self.options.size,
        };
        let name = |track: &CameraTrack| folder.join(format!("{}-{received:06}.mp4", track.name));
        encode_all(&job, &mut episode.cameras, name, |images| {
            if images % 30 == 0 || images == of {
                progress(Progress::Encoding {
                    episode: received,
                    images,
                    of,
                });
            }
        })
    }

    /// Appends the rows of an episode and the row that describes it.
    fn append(&mut self, episode: &Resampled, videos: &[PlacedVideo]) -> Result<(), ExportError> {
        let task = match self.tasks.iter().position(|task| *task == episode.task) {
            Some(task) => task,
            None => {
                self.tasks.push(episode.task.clone());
                self.tasks.len() - 1
            }
        };
        let Some(data) = &mut self.data else {
            unreachable!("begun with the first episode");
        };
        let columns = rows::data_columns(episode, self.episodes, self.rows, task);
        let bytes: usize = columns.iter().map(|(_, a)| a.get_array_memory_size()).sum();
        let data_file = data.file_for(bytes as u64)?;
        let batch = tables::batch(columns, self.root)?;
        data.write(&batch, true)?;
        // One description takes some kilobytes before compression.
        let meta_file = self.meta.file_for(100_000)?;
        let row = rows::Description {
            episode: self.episodes,
            task: &episode.task,
            fps: episode.fps,
            from: self.rows,
            steps: episode.steps() as u64,
            data_file,
            meta_file,
            videos,
        };
        let batch = tables::batch(row.columns(&batch), self.root)?;
        self.meta.write(&batch, false)
    }

    /// Completes all files and returns warnings.
    fn finish(&mut self, schema: &DatasetSchema) -> Result<Vec<String>, ExportError> {
        for camera in &mut self.cameras {
            let target = |n| self.root.join(features::video_path(&camera.key, n));
            camera.joiner.finish(&self.tools, target)?;
        }
        let temporary = self.root.join("temporary");
        std::fs::remove_dir_all(&temporary)
            .map_err(ExportError::io("remove the temporary folder", &temporary))?;
        self.meta.close()?;
        let Some(data) = &mut self.data else {
            unreachable!("begun with the first episode");
        };
        data.close()?;
        let files: Vec<_> = (0..data.files())
            .map(|n| self.root.join(features::data_path(n)))
            .collect();
        let meta = self.root.join("meta");
        tables::write_tasks(&meta.join("tasks.parquet"), &self.tasks)?;
        let mut totals = totals::of_columns(&files, &schema.features, self.rows)?;
        let warnings = totals.warnings();
        for camera in &self.cameras {
            totals.add_pixels(&camera.key, &camera.pixels);
        }
        features::write_json(&meta.join("stats.json"), &totals.to_json())?;
        let info = Info {
            codebase_version: "v3.0",
            fps: schema.fps,
            features: &schema.features,
            total_episodes: self.episodes,
            total_frames: self.rows,
            total_tasks: self.tasks.len() as u64,
            chunks_size: features::CHUNK_FILES,
            data_files_size_in_mb: self.options.data_file_bytes.div_ceil(1_000_000),
            video_files_size_in_mb: self.options.video_file_bytes.div_ceil(1_000_000),
            data_path: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            video_path: (!self.cameras.is_empty())
                .then_some("videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"),
            robot_type: &schema.robot_type,
            splits: serde_json::json!({"train": format!("0:{}", self.episodes)}),
        };
        features::write_json(&meta.join("info.json"), &info)?;
        Ok(warnings)
    }
}

impl DatasetSchema {
    fn check(&self, episode: &Resampled, features: &Features) -> Result<(), ExportError> {
        let differs = |what: &str, expected: &str, got: &str| {
            (expected != got).then(|| format!("{what}: expected {expected}, got {got}"))
        };
        let what = differs("fps", &self.fps.to_string(), &episode.fps.to_string())
            .or_else(|| differs("robot type", &self.robot_type, &episode.robot_type))
            .or_else(|| self.features.difference(features));
        what.map_or(Ok(()), |what| {
            Err(ExportError::Mismatch {
                episode: episode.episode_id.clone(),
                what,
            })
        })
    }
}
