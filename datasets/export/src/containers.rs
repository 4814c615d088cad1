//! What the formats that are no LeRobot layouts have in common while they are
//! written: episodes are received one by one, checked and counted, and the folder
//! gets its name when it is whole and verified.

use std::path::Path;

use crate::cameras::Settings;
use crate::error::ExportError;
use crate::ffmpeg::{Encoder, Tools};
use crate::fit::Fit;
use crate::formats::{Episodes, format};
use crate::lifecycle::{self, Configuration, Entry, Manifest, Parts, Staging};
use crate::model::{CameraTrack, HandMotion, Resampled, Side};
use crate::options::{CameraReport, Options, Progress, Rejected, Report};
use crate::stills::{StillJob, Stills};
use crate::verify;

/// A data set in the making.
pub(crate) trait Container {
    /// Writes an episode that the book has accepted. An error that concerns one
    /// episode alone leaves nothing of it behind.
    fn add(
        &mut self,
        book: &mut Book<'_>,
        episode: Resampled,
        told: &mut Told<'_>,
    ) -> Result<(), ExportError>;
    /// Completes all files.
    fn finish(self, book: &mut Book<'_>) -> Result<(), ExportError>;
    /// Codec of the images, and how it was set.
    fn codec(book: &Book<'_>) -> (&'static str, String);
}

/// What has been written so far.
pub(crate) struct Book<'a> {
    pub root: &'a Path,
    pub options: &'a Options,
    pub tools: Tools,
    pub parts: Parts,
    pub rows: u64,
    pub episodes: u64,
    /// Sentences in the order of their first use.
    pub tasks: Vec<String>,
    /// In the order in which the format has them.
    pub cameras: Vec<CameraReport>,
    pub warnings: Vec<String>,
    first: Option<Shape>,
    entries: Vec<Entry>,
}

/// What the first episode fixes for all.
#[derive(PartialEq, Clone)]
struct Shape {
    fps: u32,
    robot_type: String,
    hands: Vec<(Side, Vec<String>, Vec<String>)>,
    cameras: Vec<(String, (u32, u32))>,
}

impl Shape {
    fn of(episode: &Resampled) -> Self {
        let fingers = |hand: &HandMotion| {
            let force = hand.force.as_ref();
            force.map_or_else(Vec::new, |force| force.fingers.clone())
        };
        Self {
            fps: episode.fps,
            robot_type: episode.robot_type.clone(),
            hands: episode
                .hands
                .iter()
                .map(|hand| (hand.side, hand.joint_names.clone(), fingers(hand)))
                .collect(),
            cameras: episode
                .cameras
                .iter()
                .map(|camera| (camera.name.clone(), (camera.width, camera.height)))
                .collect(),
        }
    }

    fn difference(&self, other: &Self) -> Option<String> {
        let differs = |what: &str, expected: String, got: String| {
            (expected != got).then(|| format!("{what}: expected {expected}, got {got}"))
        };
        let hands = |shape: &Self| format!("{:?}", shape.hands);
        let cameras = |shape: &Self| format!("{:?}", shape.cameras);
        differs("fps", self.fps.to_string(), other.fps.to_string())
            .or_else(|| {
                differs(
                    "robot type",
                    self.robot_type.clone(),
                    other.robot_type.clone(),
                )
            })
            .or_else(|| differs("hands, joints and fingers", hands(self), hands(other)))
            .or_else(|| differs("cameras", cameras(self), cameras(other)))
    }
}

/// Who is told of each image.
pub(crate) struct Told<'a> {
    episode: usize,
    images: usize,
    of: usize,
    progress: &'a mut dyn FnMut(Progress),
}

impl Told<'_> {
    /// One more image is done.
    pub fn image(&mut self) {
        self.images += 1;
        if self.images.is_multiple_of(30) || self.images == self.of {
            (self.progress)(Progress::Encoding {
                episode: self.episode,
                images: self.images,
                of: self.of,
            });
        }
    }
}

/// Writes `episodes` into the folder `out`, which must not exist or be empty.
/// Episodes are consumed one by one. One that cannot be written for a reason of its
/// own is left out and listed in the report.
///
/// # Errors
/// Whatever does not concern one episode alone; `out` is as it was then.
pub(crate) fn write<C: Container>(
    name: &'static str,
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
    make: impl FnOnce(&Book<'_>) -> Result<C, ExportError>,
) -> Result<Report, ExportError> {
    if let Some((width, height)) = options.size
        && (width < 2 || height < 2 || width % 2 == 1 || height % 2 == 1)
    {
        return Err(ExportError::Size { width, height });
    }
    let tools = Tools::new(options);
    let staging = Staging::open(out, options.replace)?;
    let root = staging.dataset();
    let mut book = Book {
        root: &root,
        options,
        parts: Parts::open(&staging, &tools)?,
        tools,
        rows: 0,
        episodes: 0,
        tasks: Vec::new(),
        cameras: Vec::new(),
        warnings: Vec::new(),
        first: None,
        entries: Vec::new(),
    };
    let mut container = make(&book)?;
    let mut rejected = Vec::new();
    let mut received = 0;
    while let Some(mut episode) = episodes.next_episode() {
        if let Ok(episode) = &mut episode {
            episodes.judge(received, episode);
        }
        let mut add = |episode: Resampled| {
            let steps = episode.steps();
            let mut told = Told {
                episode: received,
                images: 0,
                of: steps * episode.cameras.len(),
                progress,
            };
            let shape = book.accept(&episode)?;
            let entry = Entry::of(&episode, book.episodes);
            container.add(&mut book, episode, &mut told)?;
            book.first.get_or_insert(shape);
            book.rows += steps as u64;
            book.episodes += 1;
            if !book.tasks.contains(&entry.task) {
                book.tasks.push(entry.task.clone());
            }
            book.entries.push(entry);
            Ok(())
        };
        match episode.and_then(&mut add) {
            Err(error) if error.concerns_one_episode() && received < options.required => {
                return Err(ExportError::Lost {
                    why: error.to_string(),
                });
            }
            Err(error) if ExportError::concerns_one_episode(&error) => rejected.push(Rejected {
                received,
                why: error.to_string(),
            }),
            added => added?,
        }
        received += 1;
    }
    if book.episodes == 0 {
        let first = rejected.first();
        return Err(ExportError::NoEpisodes {
            received,
            first: first
                .map(|r| format!("; first: {}", r.why))
                .unwrap_or_default(),
        });
    }
    progress(Progress::Finishing);
    container.finish(&mut book)?;
    book.parts.finish()?;
    let (codec, encoder) = C::codec(&book);
    book.describe(name, (codec, &encoder), &rejected)?;
    progress(Progress::Checking);
    verify::verify_as(name, &root, out, options)?;
    let (path, bytes) = staging.commit()?;
    Ok(Report {
        format: name,
        path,
        episodes_received: received,
        episodes_written: book.episodes as usize,
        rejected,
        rows: book.rows,
        tasks: book.tasks.len(),
        cameras: book.cameras,
        bytes,
        videos_reused: book.parts.reused(),
        codec,
        encoder,
        warnings: book.warnings,
    })
}

impl Book<'_> {
    fn accept(&self, episode: &Resampled) -> Result<Shape, ExportError> {
        episode.check()?;
        let shape = Shape::of(episode);
        let first = self.first.as_ref();
        match first.and_then(|first| first.difference(&shape)) {
            None => Ok(shape),
            Some(what) => Err(ExportError::Mismatch {
                episode: episode.episode_id.clone(),
                what,
            }),
        }
    }

    /// Writes what the dataset was made from.
    fn describe(
        &mut self,
        name: &str,
        (codec, encoder): (&str, &str),
        rejected: &[Rejected],
    ) -> Result<(), ExportError> {
        let format = format(name)?;
        let mut configuration = Configuration::of(self.options, format.variant(self.options)?);
        if format.has_stills {
            codec.clone_into(&mut configuration.codec);
        }
        let mut manifest = Manifest::new(name, configuration);
        codec.clone_into(&mut manifest.codec);
        encoder.clone_into(&mut manifest.encoder);
        self.parts.ffmpeg().clone_into(&mut manifest.ffmpeg);
        if let Some(first) = &self.first {
            manifest.fps = first.fps;
            manifest.robot_type = first.robot_type.clone();
        }
        manifest.episodes = std::mem::take(&mut self.entries);
        manifest.left_out = rejected.to_vec();
        lifecycle::describe(self.root, manifest, &self.cameras, &self.warnings)
    }

    /// Says something once.
    pub fn warn(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }

    /// What videos are encoded with.
    pub fn videos<'b>(&'b self, encoder: &'b Encoder) -> Settings<'b> {
        Settings {
            tools: &self.tools,
            encoder,
            size: self.options.size,
            fit: self.options.fit,
            parts: &self.parts,
        }
    }

    /// The JPEGs of a camera, in the size asked for or else in `size`.
    pub fn stills(
        &self,
        (episode, content): (&str, Option<&str>),
        track: &mut CameraTrack,
        size: Option<(u32, u32)>,
        told: &mut Told<'_>,
    ) -> Result<Stills, ExportError> {
        let job = StillJob {
            episode,
            content,
            parts: &self.parts,
            tools: &self.tools,
            size: self.options.size.or(size),
            fit: self.options.fit,
        };
        let spool = self.parts.folder().join(format!("{}.images", track.name));
        Stills::make(&job, track, &spool, || told.image())
    }

    /// Counts the images of a camera, the one at the place `at` of the format.
    pub fn count_images(&mut self, at: usize, track: &CameraTrack, fit: &Fit) {
        if self.cameras.len() <= at {
            self.cameras.push(CameraReport {
                name: track.name.clone(),
                images: 0,
                repeated: 0,
                size: fit.size,
                crop: fit.crop,
                placed: fit.placed,
            });
        }
        let report = &mut self.cameras[at];
        report.images += track.images.len() as u64;
        let pairs = track.images.windows(2);
        report.repeated += pairs.filter(|pair| pair[0] == pair[1]).count() as u64;
    }
}

/// An episode cannot be written, for a reason of its own.
pub(crate) fn fault(episode: &Resampled, what: impl Into<String>) -> ExportError {
    ExportError::Episode {
        episode: episode.episode_id.clone(),
        what: what.into(),
    }
}

/// What was found of an episode's quality; `null` where it was not judged.
pub(crate) fn quality(episode: &Resampled) -> serde_json::Value {
    let found = episode.quality.as_ref().map(|quality| {
        serde_json::json!({
            "grade": quality.grade,
            "tags": quality.tags,
            "verdict": quality.verdict,
        })
    });
    found.unwrap_or_default()
}
