//! What all LeRobot layouts have in common while they are written: episodes are received one by one,
//! checked, encoded and counted, and the folder gets its name when it is whole.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use crate::cameras::{Encoders, Settings};
use crate::columns::Columns;
use crate::error::ExportError;
use crate::features::{self, Features, LANGUAGE, video_key};
use crate::ffmpeg::{Encoder, Tools};
use crate::fit::Fit;
use crate::formats::{Episodes, format};
use crate::lifecycle::{self, Configuration, Encoded, Entry, Manifest, Parts, Staging};
use crate::model::Resampled;
use crate::options::{CameraReport, Options, Progress, Rejected, Report};
use crate::stats::PixelCounts;
use crate::timestamp::MAX_EPISODE_SECS;
use crate::v21::Jsonl;
use crate::verify;

/// What a format makes of an episode before it is written.
pub(crate) struct Plan {
    /// Name of the format.
    pub name: &'static str,
    /// Size of images unless the user asks for another; `None`: as recorded.
    pub size: Option<(u32, u32)>,
    /// Shorter episodes are left out, since the loader takes nothing from them.
    pub least_steps: usize,
    /// State and action; may take cameras away.
    pub columns: fn(&mut Resampled, &Options) -> Result<Columns, String>,
}

/// The files of a layout.
pub(crate) trait Layout {
    /// Writes an accepted episode.
    fn append(&mut self, book: &Book, episode: &Accepted) -> Result<(), ExportError>;
    /// Completes all files and returns warnings.
    fn finish(self, book: &Book) -> Result<Vec<String>, ExportError>;
}

/// An episode that is encoded.
pub(crate) struct Accepted {
    pub episode: Resampled,
    pub columns: Columns,
    /// One a camera.
    pub videos: Vec<Encoded>,
    /// Index of the episode's task.
    pub task: usize,
    /// Index of what is done at each step: of the subtask where there is one, else of the task.
    pub language: Vec<usize>,
}

/// An episode whose cameras are encoded, or wait for it.
struct Planned {
    episode: Resampled,
    columns: Columns,
    features: Features,
    fits: Vec<Fit>,
}

/// Episodes whose cameras are encoded, or wait for it, at a time, at the least: while one is written, the
/// next are at the encoders.
const AHEAD: usize = 2;

/// What the first episode fixes for all.
pub(crate) struct DatasetSchema {
    pub features: Features,
    pub columns: Columns,
    pub fps: u32,
    pub robot_type: String,
}

/// A camera of the dataset.
pub(crate) struct Camera {
    pub key: String,
    pub role: &'static str,
    pub recorded: (u32, u32),
    pub pixels: PixelCounts,
    pub report: CameraReport,
    /// fx, fy, cx, cy of written images, with the first episode that they hold for.
    pub intrinsics: Vec<(u64, Option<[f64; 4]>)>,
}

/// What has been written so far.
pub(crate) struct Book<'a> {
    pub root: &'a Path,
    pub options: &'a Options,
    pub tools: &'a Tools,
    pub encoder: &'a Encoder,
    pub parts: &'a Parts,
    pub schema: Option<DatasetSchema>,
    pub cameras: Vec<Camera>,
    /// Sentences in the order of their index.
    pub tasks: Vec<String>,
    task_of: BTreeMap<String, usize>,
    pub rows: u64,
    pub episodes: u64,
    warnings: Vec<String>,
    quality: Verdicts,
    entries: Vec<Entry>,
}

/// Whether episodes were judged, as the first one says.
enum Verdicts {
    Unknown,
    Absent,
    /// One line an episode, in [`QUALITY_FILE`].
    Kept(Jsonl),
}

/// What was found of each episode's quality: JSON, one line an episode.
pub(crate) const QUALITY_FILE: &str = "meta/quality.jsonl";

/// Writes `episodes` into the folder `out`, which must not exist or be empty.
///
/// Episodes are consumed one by one; memory is bounded by the largest of them, two or as many as it
/// takes to have a camera for each core. An episode that cannot be written for a reason of its own is
/// left out and listed in the report. The dataset grows in a folder beside `out` ([`Staging`]), is
/// checked ([`verify::verify`]) and renamed at the end.
///
/// # Errors
/// Whatever does not concern one episode alone; `out` is as it was then.
pub(crate) fn write<L: Layout>(
    plan: &Plan,
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
    layout: impl FnOnce(&Path, &Options) -> L,
) -> Result<Report, ExportError> {
    let mut options = options.clone();
    options.size = options.size.or(plan.size);
    if let Some((width, height)) = options.size
        && (width < 2 || height < 2 || width % 2 == 1 || height % 2 == 1)
    {
        return Err(ExportError::Size { width, height });
    }
    let tools = Tools::new(&options);
    let encoder = Encoder::choose(options.codec, &tools)?;
    let staging = Staging::open(out, options.replace)?;
    let root = staging.dataset();
    let parts = Parts::open(&staging, &tools)?;
    let mut layout = layout(&root, &options);
    let mut book = Book {
        root: &root,
        options: &options,
        parts: &parts,
        tools: &tools,
        encoder: &encoder,
        schema: None,
        cameras: Vec::new(),
        tasks: Vec::new(),
        task_of: BTreeMap::new(),
        rows: 0,
        episodes: 0,
        warnings: Vec::new(),
        quality: Verdicts::Unknown,
        entries: Vec::new(),
    };
    let settings = Settings {
        tools: &tools,
        encoder: &encoder,
        size: options.size,
        fit: options.fit,
        parts: &parts,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rejected = Vec::new();
    let mut received = 0;
    std::thread::scope(|scope| -> Result<(), ExportError> {
        let mut encoders = Encoders::start(scope, settings)?;
        let mut waiting: VecDeque<(usize, Result<Planned, ExportError>)> = VecDeque::new();
        loop {
            while (waiting.len() < AHEAD || waiting.len() < cores && encoders.waited_for() < cores)
                && let Some(episode) = episodes.next_episode()
            {
                let mut planned = episode.and_then(|episode| book.plan(plan, episode));
                if let Ok(planned) = &mut planned {
                    encoders.begin(&mut planned.episode);
                }
                waiting.push_back((received, planned));
                received += 1;
            }
            let Some((number, planned)) = waiting.pop_front() else {
                return Ok(());
            };
            let accepted = planned.and_then(|mut planned| {
                let (cameras, videos) = encoders.finish(told(number, &planned, progress));
                planned.episode.cameras = cameras;
                book.accept(planned, videos?)
            });
            match accepted {
                Err(error) if error.concerns_one_episode() && number < options.required => {
                    return Err(ExportError::Lost {
                        why: error.to_string(),
                    });
                }
                Err(error) if error.concerns_one_episode() => rejected.push(Rejected {
                    received: number,
                    why: error.to_string(),
                }),
                accepted => {
                    let mut accepted = accepted?;
                    episodes.judge(number, &mut accepted.episode);
                    book.keep_quality(&accepted.episode)?;
                    layout.append(&book, &accepted)?;
                    book.count(&accepted);
                }
            }
        }
    })?;
    if book.schema.is_none() {
        return Err(ExportError::NoEpisodes {
            received,
            first: rejected
                .first()
                .map(|r| format!("; first: {}", r.why))
                .unwrap_or_default(),
        });
    }
    progress(Progress::Finishing);
    let mut warnings = std::mem::take(&mut book.warnings);
    warnings.extend(layout.finish(&book)?);
    if let Verdicts::Kept(lines) = std::mem::replace(&mut book.quality, Verdicts::Absent) {
        lines.finish()?;
    }
    book.finish()?;
    book.describe(plan.name, &rejected, &warnings)?;
    progress(Progress::Checking);
    verify::verify_as(plan.name, &root, out, &options)?;
    let (path, bytes) = staging.commit()?;
    Ok(Report {
        format: plan.name,
        path,
        episodes_received: received,
        episodes_written: book.episodes as usize,
        rejected,
        rows: book.rows,
        tasks: book.tasks.len(),
        cameras: book.cameras.into_iter().map(|c| c.report).collect(),
        bytes,
        videos_reused: book.parts.reused(),
        codec: book.encoder.codec,
        encoder: book.encoder.settings.to_owned(),
        warnings,
    })
}

/// Tells how far the encoders are with an episode, every second or so of its images.
fn told<'a>(
    number: usize,
    planned: &Planned,
    progress: &'a mut dyn FnMut(Progress),
) -> impl FnMut(usize) + use<'a> {
    let cameras = planned.fits.len();
    let of = planned.episode.steps() * cameras;
    let mut last = 0;
    move |images| {
        if images >= last + 30 || images == of && images > last {
            last = images;
            progress(Progress::Encoding {
                episode: number,
                images,
                of,
            });
        }
    }
}

impl Book<'_> {
    /// Checks an episode before it is encoded.
    fn plan(&self, plan: &Plan, mut episode: Resampled) -> Result<Planned, ExportError> {
        episode.check()?;
        let fault = |episode: &Resampled, what: String| ExportError::Episode {
            episode: episode.episode_id.clone(),
            what,
        };
        let columns = (plan.columns)(&mut episode, self.options);
        let columns = columns.map_err(|what| fault(&episode, what))?;
        let fits = self.check(plan, &episode);
        let fits = fits.map_err(|what| fault(&episode, what))?;
        let sizes: Vec<_> = fits.iter().map(|fit| fit.size).collect();
        let features = Features::new(&episode, &columns, &sizes, self.encoder);
        if let Some(first) = &self.schema {
            first.check(&episode, &features)?;
        }
        Ok(Planned {
            episode,
            columns,
            features,
            fits,
        })
    }

    /// Takes an encoded episode into the dataset.
    fn accept(&mut self, planned: Planned, videos: Vec<Encoded>) -> Result<Accepted, ExportError> {
        let Planned {
            episode,
            columns,
            features,
            fits,
        } = planned;
        match &self.schema {
            // The first was not yet written when this one was planned.
            Some(first) => first.check(&episode, &features)?,
            // From here on nothing is the episode's own fault any more.
            None => self.begin(&episode, &columns, features, &fits),
        }
        for (camera, (track, fit)) in self
            .cameras
            .iter_mut()
            .zip(episode.cameras.iter().zip(&fits))
        {
            let now = track.intrinsics.map(|recorded| fit.intrinsics(recorded));
            if camera
                .intrinsics
                .last()
                .is_none_or(|(_, last)| *last != now)
            {
                camera.intrinsics.push((self.episodes, now));
            }
        }
        let task = self.index_of(&episode.task);
        let texts: Vec<String> = (0..episode.steps())
            .map(|k| episode.language(k).to_owned())
            .collect();
        let language = texts.iter().map(|text| self.index_of(text)).collect();
        for warning in &columns.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
        Ok(Accepted {
            episode,
            columns,
            videos,
            task,
            language,
        })
    }

    /// The index of a sentence, a new one at its first use.
    fn index_of(&mut self, text: &str) -> usize {
        if let Some(&index) = self.task_of.get(text) {
            return index;
        }
        self.tasks.push(text.to_owned());
        self.task_of.insert(text.to_owned(), self.tasks.len() - 1);
        self.tasks.len() - 1
    }

    /// Checks what the layouts demand, and says how images are brought to their size.
    fn check(&self, plan: &Plan, episode: &Resampled) -> Result<Vec<Fit>, String> {
        let steps = episode.steps();
        if steps as u64 > u64::from(MAX_EPISODE_SECS) * u64::from(episode.fps) {
            return Err(format!(
                "it lasts {} s: at most {MAX_EPISODE_SECS} s have 32-bit times exact enough \
                 for LeRobot's reader (1e-4 s); split it",
                steps as u64 / u64::from(episode.fps)
            ));
        }
        if steps < plan.least_steps {
            return Err(format!(
                "it has {steps} steps: {}'s loader takes nothing from less than {}",
                plan.name, plan.least_steps
            ));
        }
        let taken = |name: &str| {
            let standard = features::STANDARD.iter().chain(&LANGUAGE);
            standard.into_iter().any(|(standard, _)| *standard == name)
                || matches!(name, "observation.state" | "action" | "task")
                || name.starts_with("observation.images.")
        };
        if let Some(extra) = episode.extras.iter().find(|extra| taken(&extra.name)) {
            return Err(format!(
                "extra feature {:?} has a name that the format uses itself",
                extra.name
            ));
        }
        let mut fits = Vec::new();
        for track in &episode.cameras {
            let (size, mode) = (self.options.size, self.options.fit);
            let fit = Fit::new((track.width, track.height), size, mode);
            let least = self.encoder.smallest;
            if fit.size.0 < least || fit.size.1 < least {
                return Err(format!(
                    "camera {:?} would be {}x{} pixels: expected at least {least}x{least} for {}; \
                     give a larger size or choose another codec",
                    track.name, fit.size.0, fit.size.1, self.encoder.codec
                ));
            }
            fits.push(fit);
        }
        Ok(fits)
    }

    fn begin(&mut self, episode: &Resampled, columns: &Columns, features: Features, fits: &[Fit]) {
        self.cameras = episode
            .cameras
            .iter()
            .zip(fits)
            .map(|(track, fit)| Camera {
                key: video_key(&track.name),
                role: track.role.name(),
                recorded: (track.width, track.height),
                pixels: PixelCounts::default(),
                report: CameraReport {
                    name: track.name.clone(),
                    images: 0,
                    repeated: 0,
                    size: fit.size,
                    crop: fit.crop,
                    placed: fit.placed,
                },
                intrinsics: Vec::new(),
            })
            .collect();
        self.schema = Some(DatasetSchema {
            features,
            columns: columns.without_values(),
            fps: episode.fps,
            robot_type: episode.robot_type.clone(),
        });
    }

    fn count(&mut self, accepted: &Accepted) {
        let tracks = accepted.episode.cameras.iter().zip(&accepted.videos);
        for (camera, (track, video)) in self.cameras.iter_mut().zip(tracks) {
            if let Some(pixels) = &video.known.pixels {
                camera.pixels.merge(pixels);
            }
            camera.report.images += video.known.steps;
            let pairs = track.images.windows(2);
            camera.report.repeated += pairs.filter(|pair| pair[0] == pair[1]).count() as u64;
        }
        self.entries
            .push(Entry::of(&accepted.episode, self.episodes));
        self.rows += accepted.episode.steps() as u64;
        self.episodes += 1;
    }

    /// What the first episode fixed; there is one when anything is written.
    pub fn schema(&self) -> &DatasetSchema {
        let Some(schema) = &self.schema else {
            unreachable!("files are written for accepted episodes alone");
        };
        schema
    }

    /// Writes an episode's verdict, where the first one has one.
    fn keep_quality(&mut self, episode: &Resampled) -> Result<(), ExportError> {
        if let Verdicts::Unknown = self.quality {
            self.quality = match episode.quality {
                Some(_) => Verdicts::Kept(Jsonl::create(self.root.join(QUALITY_FILE))?),
                None => Verdicts::Absent,
            };
        }
        let Verdicts::Kept(lines) = &mut self.quality else {
            return Ok(());
        };
        let verdict = episode.quality.as_ref().map(|quality| &quality.verdict);
        lines.add(&serde_json::json!({
            "episode_index": self.episodes,
            "episode_id": episode.episode_id,
            "verdict": verdict,
        }))
    }

    /// Grade and comma-separated tags for the episode's line in the metadata; empty for one that was
    /// not judged among others that were.
    pub fn quality_words(&self, episode: &Resampled) -> Option<[String; 2]> {
        let Verdicts::Kept(_) = self.quality else {
            return None;
        };
        let quality = episode.quality.as_ref();
        Some(quality.map_or_else(Default::default, |q| [q.grade.clone(), q.tags.join(",")]))
    }

    /// Writes what the dataset was made from.
    fn describe(
        &mut self,
        name: &str,
        rejected: &[Rejected],
        warnings: &[String],
    ) -> Result<(), ExportError> {
        let variant = format(name)?.variant(self.options)?;
        let mut manifest = Manifest::new(name, Configuration::of(self.options, variant));
        manifest.codec = self.encoder.codec.to_owned();
        manifest.encoder = self.encoder.settings.to_owned();
        self.parts.ffmpeg().clone_into(&mut manifest.ffmpeg);
        manifest.fps = self.schema().fps;
        manifest.robot_type = self.schema().robot_type.clone();
        manifest.episodes = std::mem::take(&mut self.entries);
        manifest.left_out = rejected.to_vec();
        let cameras: Vec<CameraReport> = self.cameras.iter().map(|c| c.report.clone()).collect();
        lifecycle::describe(self.root, manifest, &cameras, warnings)
    }

    /// Writes what all layouts have.
    fn finish(&self) -> Result<(), ExportError> {
        self.parts.finish()?;
        if self.cameras.is_empty() {
            return Ok(());
        }
        let path = self.root.join("meta/cameras.json");
        features::write_json(&path, &self.cameras_json())
    }

    /// Where each camera sits, and how its written images come from the recorded ones.
    fn cameras_json(&self) -> serde_json::Value {
        let all = self.cameras.iter().map(|camera| {
            let report = &camera.report;
            let intrinsics = camera.intrinsics.iter().map(
                |(from, known)| serde_json::json!({"from_episode": from, "fx_fy_cx_cy": known}),
            );
            let value = serde_json::json!({
                "role": camera.role,
                "recorded_size": camera.recorded,
                "kept_x_y_w_h": report.crop,
                "placed_x_y_w_h": report.placed,
                "size": report.size,
                "intrinsics": intrinsics.collect::<Vec<_>>(),
            });
            (camera.key.clone(), value)
        });
        serde_json::Value::Object(all.collect())
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
