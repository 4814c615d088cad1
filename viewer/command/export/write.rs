//! Writing a dataset, and saying what became of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread::ScopedJoinHandle,
};

use anyhow::{Context, Result};
use dexumi_export::{
    Codec, Expected, ExportError, FitMode, Manifest, Options, Origin, Progress as Step, Report,
    ResampleReport, Resampled, Source, check_output, check_space, format, has_finished_work,
    space_needed,
};
use serde::Serialize;

use super::{
    Choices, FitChoice, VideoCodec,
    prepare::{Judgements, judge_all, quality_of},
};
use crate::{
    Exit,
    command::{check::Judge, interrupt::Interrupt, print_json, retarget},
    terminal::{self, Progress},
};

/// A dataset that is to be written.
pub struct Job<'a> {
    /// What is chosen.
    pub choices: &'a Choices,
    /// The recordings, in order.
    pub episodes: Vec<PathBuf>,
    /// The dataset's folder.
    pub out: &'a Path,
    /// It takes the place of one that is there.
    pub replace: bool,
    /// The first of them, which were written before, by their recording: they are not chosen anew, none may
    /// be left out, and what they are made from must not have changed.
    pub known: BTreeMap<PathBuf, Origin>,
}

/// Recordings on their way into a dataset.
struct Recordings<'a, I> {
    each: I,
    /// One an episode.
    paths: &'a [PathBuf],
    verdicts: Verdicts<'a>,
}

enum Verdicts<'a> {
    Made(Judgements),
    InTheMaking(ScopedJoinHandle<'a, Judgements>),
}

impl<I: Iterator<Item = Result<Resampled, ExportError>>> Source for Recordings<'_, I> {
    fn next_episode(&mut self) -> Option<Result<Resampled, ExportError>> {
        self.each.next()
    }

    fn judge(&mut self, received: usize, episode: &mut Resampled) {
        let none = Verdicts::Made(Judgements::new());
        let judged = match std::mem::replace(&mut self.verdicts, none) {
            Verdicts::Made(judged) => judged,
            Verdicts::InTheMaking(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        };
        episode.quality = judged.get(&self.paths[received]).map(quality_of);
        self.verdicts = Verdicts::Made(judged);
    }
}

/// What was written, and what resampling did to each episode.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The dataset.
    pub dataset: Report,
    /// Per episode, in order.
    pub resampled: Vec<ResampleReport>,
    /// Of each of these, the recording.
    pub recordings: Vec<PathBuf>,
    /// Of each hand: samples, those at a limit, those held.
    pub motion: BTreeMap<String, [u64; 3]>,
    /// Episodes that --min-grade or --where left out.
    pub deselected: Vec<PathBuf>,
}

/// What is said to who interrupts the making of a dataset.
pub fn how_to_go_on(out: &Path) -> String {
    format!(
        "interrupted; finished videos are kept in {}.partial: the same command goes on from there, \
         or remove it",
        out.display()
    )
}

impl Job<'_> {
    /// Writes the dataset.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn write(&self) -> Result<Outcome> {
        let choices = self.choices;
        let format = format(&choices.format)?;
        let fps = choices.fps.unwrap_or(format.fps);
        if !(1..=1000).contains(&fps) {
            return Err(ExportError::Choice {
                what: format!("fps is {fps}, expected 1 to 1000"),
            }
            .into());
        }
        let given: Vec<_> = choices
            .hand
            .iter()
            .map(|name| retarget::hand_of(name))
            .collect::<Result<_>>()?;
        let options = self.options()?;
        // What is chosen wrongly is told before anything is read.
        format.variant(&options)?;
        if format.has_stills && choices.codec != VideoCodec::H264 {
            eprintln!(
                "note: --codec says nothing here: images of {} are JPEGs",
                format.name
            );
        }
        check_output(self.out, self.replace)?;
        choices.alignment.check()?;
        // Verdicts and datasets appear whole or not at all: Ctrl-C ends the program.
        let interrupt = Interrupt::never();
        let judge = (!choices.no_check)
            .then(|| Judge::new(&choices.alignment, &choices.hand, None, &interrupt))
            .transpose()?;
        let verdicts_of = |episodes: &[PathBuf]| {
            let judge = judge.as_ref();
            judge.map(|judge| judge_all(episodes, judge, &interrupt))
        };
        // What is chosen by verdicts has to be known first; else they are made while images are encoded.
        let judged = match choices.selection.is_all() {
            true => None,
            false => verdicts_of(&self.episodes),
        };
        let (episodes, deselected) = match &judged {
            Some(judged) => {
                choices.selected(&self.episodes, judged, |path| self.known.contains_key(path))?
            }
            None => (self.episodes.clone(), Vec::new()),
        };
        self.check_space(episodes.iter().map(PathBuf::as_path), &options, fps)?;
        let mut resampled = Vec::new();
        let mut recordings_read = Vec::new();
        let mut motion: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        let mut failure = None;
        let mut progress: Option<Progress> = None;
        // While there is another line of progress, this one is not shown.
        let is_judged = AtomicBool::new(judge.is_none() || judged.is_some());
        let outcome = std::thread::scope(|scope| {
            let verdicts = match judged {
                Some(judged) => Verdicts::Made(judged),
                None => {
                    let judge = || {
                        let judged = verdicts_of(&episodes).unwrap_or_default();
                        is_judged.store(true, Ordering::Relaxed);
                        judged
                    };
                    let thread = std::thread::Builder::new().name("check".to_owned());
                    let thread = thread.spawn_scoped(scope, judge);
                    let failed = |source| ExportError::Io {
                        what: "start a thread that judges for",
                        path: self.out.to_owned(),
                        source,
                    };
                    Verdicts::InTheMaking(thread.map_err(failed)?)
                }
            };
            let each = episodes.iter().map(|path| {
                let mut prepare = || -> Result<_> {
                    let (episode, report) = choices.resampled(path, &given, fps)?;
                    self.check_unchanged(path, &episode)?;
                    resampled.push(report);
                    recordings_read.push(path.clone());
                    for made in episode.origin.iter().flat_map(|origin| &origin.motion) {
                        let sums = motion.entry(made.hand.clone()).or_insert([0; 3]);
                        let counts = [made.samples, made.clipped, made.held];
                        sums.iter_mut()
                            .zip(counts)
                            .for_each(|(sum, count)| *sum += count);
                    }
                    Ok(episode)
                };
                prepare().map_err(|error| {
                    // What the machine lacks is no fault of the episode: it must not be left out for that.
                    if is_of_the_machine(&error) {
                        return ExportError::Recording {
                            path: path.clone(),
                            source: error.into(),
                        };
                    }
                    match error.downcast::<ExportError>() {
                        Ok(error) => error,
                        Err(error) => {
                            let what = format!("{error:#}");
                            failure.get_or_insert(error);
                            ExportError::Episode {
                                episode: path.display().to_string(),
                                what,
                            }
                        }
                    }
                })
            });
            let mut recordings = Recordings {
                each,
                paths: &episodes,
                verdicts,
            };
            let outcome = (format.write)(&mut recordings, self.out, &options, &mut |step| {
                if let Step::Encoding {
                    episode,
                    images,
                    of,
                } = step
                    && is_judged.load(Ordering::Relaxed)
                {
                    let share = 1000 * images / of.max(1);
                    progress
                        .get_or_insert_with(|| Progress::new("export, per cent", 100))
                        .set((1000 * episode + share) as u64 / (10 * episodes.len().max(1)) as u64);
                }
            });
            interrupt.end();
            outcome
        });
        progress.into_iter().for_each(Progress::finish);
        let dataset = match (outcome, failure) {
            (Ok(dataset), _) => dataset,
            // Where nothing could be written, the reason of the first episode is
            // worth more than that nothing was left.
            (Err(ExportError::NoEpisodes { .. }), Some(error)) => return Err(error),
            // Where the same command can go on, say so.
            (Err(error), _) if error.may_pass() && has_finished_work(self.out) => {
                return Err(error).context(format!(
                    "cannot export; finished videos are kept in {}.partial, the same command goes on from \
                     there",
                    self.out.display()
                ));
            }
            (Err(error), _) => return Err(error).context("cannot export"),
        };
        Ok(Outcome {
            dataset,
            resampled,
            recordings: recordings_read,
            motion,
            deselected,
        })
    }

    /// Refuses what will not fit on the disk. What cannot be read is told later.
    fn check_space<'a>(
        &self,
        episodes: impl Iterator<Item = &'a Path>,
        options: &Options,
        fps: u32,
    ) -> Result<()> {
        let format = format(&self.choices.format)?;
        let new = episodes.filter(|path| !self.known.contains_key(*path));
        let expected: Vec<Expected> = new
            .filter_map(|path| Choices::expected(path, fps).ok())
            .collect();
        let mut needed = space_needed(&expected, options, format.has_stills);
        if self.replace {
            // At most all that is there has to be joined or copied anew.
            let manifest = Manifest::read(self.out)?;
            let files = manifest.iter().flat_map(|manifest| &manifest.files);
            needed += files.map(|file| file.bytes).sum::<u64>();
        }
        Ok(check_space(self.out, needed)?)
    }

    fn options(&self) -> Result<Options> {
        let choices = self.choices;
        Ok(Options {
            codec: match choices.codec {
                VideoCodec::Av1 => Codec::Av1,
                VideoCodec::H264 => Codec::H264,
            },
            size: choices.image_size,
            variant: choices.variant.clone(),
            fit: match choices.fit {
                FitChoice::Crop => FitMode::Crop,
                FitChoice::Pad => FitMode::Pad,
                FitChoice::Stretch => FitMode::Stretch,
            },
            replace: self.replace,
            required: self.known.len(),
            license: choices.license.clone(),
            asked: serde_json::to_value(choices.absolute()?)?,
            ..Options::default()
        })
    }

    /// Refuses an episode of a dataset whose values would not be those that were written before.
    fn check_unchanged(&self, path: &Path, episode: &Resampled) -> Result<(), ExportError> {
        let Some(origin) = &episode.origin else {
            return Ok(());
        };
        match self.known.get(path) {
            Some(before) if before.inputs_sha256 != origin.inputs_sha256 => {
                Err(ExportError::Changed {
                    what: changed(before, origin),
                    path: origin.path.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Whether it is the disk or the system that fails, not what a recording holds.
fn is_of_the_machine(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind;
    let causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes
        .map(std::io::Error::kind)
        .any(|kind| !matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof))
}

/// What of an origin has changed, in words.
fn changed(before: &Origin, now: &Origin) -> String {
    if before.calibration_sha256 != now.calibration_sha256 {
        return "its calibration".to_owned();
    }
    let differing = before.motion.iter().zip(&now.motion).find(|(a, b)| a != b);
    match differing {
        Some((a, b)) if a.hand == b.hand && a.method != b.method => format!(
            "how it is retargeted to {}: it was {}, it is {}",
            a.hand, a.method, b.method
        ),
        Some((a, b)) if a.hand != b.hand => {
            format!("its hand: it was {}, it is {}", a.hand, b.hand)
        }
        _ => "its hand file, or how it is retargeted or aligned".to_owned(),
    }
}

impl Choices {
    /// The same with files that are found from any folder.
    fn absolute(&self) -> Result<Self> {
        let mut choices = self.clone();
        for hand in &mut choices.hand {
            let path = Path::new(hand);
            if path.is_file() {
                *hand = std::path::absolute(path)?.to_string_lossy().into_owned();
            }
        }
        if let Some(path) = &mut choices.alignment.calibration {
            *path = std::path::absolute(&path)?;
        }
        Ok(choices)
    }
}

impl Outcome {
    /// Says what the dataset `out` holds.
    ///
    /// # Errors
    /// The outcome cannot be printed.
    pub fn tell(&self, out: &Path, as_json: bool) -> Result<Exit> {
        let dataset = &self.dataset;
        for warning in &dataset.warnings {
            eprintln!("note: {warning}");
        }
        for path in &self.deselected {
            eprintln!("not selected: {}", path.display());
        }
        for rejected in &dataset.rejected {
            eprintln!("left out episode {}: {}", rejected.received, rejected.why);
        }
        let filled: u64 = self.resampled.iter().map(|report| report.filled).sum();
        let idle = |report: &ResampleReport| report.idle_start + report.idle_end;
        let idle: u64 = self.resampled.iter().map(idle).sum();
        if idle > 0 {
            eprintln!("{idle} idle steps cut off at the ends of episodes (--keep-idle keeps them)");
        }
        for (report, path) in self.resampled.iter().zip(&self.recordings) {
            // A step at each end is the rule.
            if report.is_cut_short() {
                eprintln!(
                    "note: {} of {} steps of {} are cut off at its ends, where a wrist, a joint or a camera is \
                     not there; `dexumi align` shows which",
                    report.trimmed,
                    report.steps,
                    path.display()
                );
            }
        }
        for (hand, [samples, clipped, held]) in &self.motion {
            if clipped + held > 0 {
                eprintln!(
                    "{hand}: of {samples} samples {clipped} at a limit or kept from a collision, {held} without a \
                     hand"
                );
            }
        }
        if dataset.videos_reused > 0 {
            eprintln!("{} videos were finished before", dataset.videos_reused);
        }
        eprintln!(
            "{}, {} steps ({filled} with a cell held over a gap), {}, {} written to {}",
            terminal::counted(dataset.episodes_written, "episode"),
            dataset.rows,
            dataset.encoder,
            terminal::bytes(dataset.bytes),
            out.display()
        );
        if as_json {
            print_json(self)?;
        }
        let is_cut = self.resampled.iter().any(ResampleReport::is_cut_short);
        let lossy =
            !dataset.rejected.is_empty() || !self.deselected.is_empty() || filled > 0 || is_cut;
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}
