//! `dexumi export`: datasets that the models' own loaders read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dexumi_export::{
    Codec, DerivedHand, ExportError, FORMATS, FitMode, Options, Progress as Step, Quality, Report,
    ResampleJob, ResampleOptions, ResampleReport, Resampled, RobotRows, Side, format, resample,
};
use dexumi_retarget::{Hand, Kinematics};
use serde::Serialize;

use super::{
    Alignment, all_episodes,
    check::{self, Judged, Selection},
    interrupt::Interrupt,
    print_json, retarget,
};
use crate::{
    Exit,
    terminal::{self, Progress},
};

/// Write a dataset from recorded episodes; what is not retargeted yet is
/// retargeted on the way.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Export {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Format of the dataset; --help lists them.
    #[arg(long)]
    pub format: String,
    /// Variant of the format; --help lists them.
    #[arg(long)]
    pub variant: Option<String>,
    /// Folder to write; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Steps per second [default: what the format's models expect; for most 30].
    #[arg(long)]
    pub fps: Option<u32>,
    /// Images are brought to this size [default: the format's, else as recorded].
    #[arg(long, value_name = "WxH", value_parser = image_size)]
    pub image_size: Option<(u32, u32)>,
    /// How an image of another shape is brought to that size.
    #[arg(long, value_enum, default_value_t = FitChoice::Crop)]
    pub fit: FitChoice,
    /// Take the latest image that is not after the step, as a robot would see it,
    /// instead of the nearest.
    #[arg(long)]
    pub causal: bool,
    /// Keep both ends of an episode at which no hand has begun to move or none moves
    /// any more (wrist within 10 mm and 0.1 rad, joints within 0.1 rad of where they
    /// were); else all but a quarter of a second of that is cut off.
    #[arg(long)]
    pub keep_idle: bool,
    /// Video codec.
    #[arg(long, value_enum, default_value_t = VideoCodec::H264)]
    pub codec: VideoCodec,
    /// Hand by name, or a hand file (.toml); of a rig with two hands, one for each side
    /// [default: the rig's, for each side that was recorded].
    #[arg(long, value_name = "HAND")]
    pub hand: Vec<String>,
    #[command(flatten)]
    pub selection: Selection,
    /// Do not judge the episodes' quality: the metadata have no verdicts then.
    #[arg(long, conflicts_with_all = ["min_grade", "condition"])]
    pub no_check: bool,
    #[command(flatten)]
    pub alignment: Alignment,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// The formats with their variants, and examples.
fn help() -> String {
    let mut text = String::from("Formats:\n");
    for format in FORMATS {
        text += &format!("  {:13} {}\n", format.name, format.help);
        for (name, help) in format.variants {
            text += &format!("  {:13}   --variant {name}: {help}\n", "");
        }
    }
    text + "
Examples:
  dexumi export session --format lerobot-v3 --out dataset
  dexumi export session --format lerobot-v3 --fps 15 --image-size 640x480 --out dataset
  dexumi export session --format lerobot-v3 --min-grade B --where 'not tag = blurred' --out good
  dexumi export session --format gr00t --hand sharpa_left --hand sharpa_right --out dataset
  dexumi export session --format dreamzero --variant reduced --out dataset
  dexumi export session --format dreamdojo --out cups_g1"
}

/// Choice of `--codec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VideoCodec {
    /// H.264 by x264, a keyframe every 12th image.
    H264,
    /// AV1 by SVT-AV1, a keyframe every 2nd image, as the official LeRobot writer.
    Av1,
}

/// Choice of `--fit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FitChoice {
    /// Cut off what sticks out at two sides.
    Crop,
    /// Black bars at two sides.
    Pad,
    /// Scale width and height apart.
    Stretch,
}

fn image_size(text: &str) -> Result<(u32, u32), String> {
    let wrong =
        || format!("got `{text}`, expected WIDTHxHEIGHT with even numbers, such as 640x480");
    let (w, h) = text.split_once('x').ok_or_else(wrong)?;
    let size: (u32, u32) = (
        w.parse().map_err(|_| wrong())?,
        h.parse().map_err(|_| wrong())?,
    );
    let even = |v: u32| v >= 16 && v.is_multiple_of(2);
    (even(size.0) && even(size.1))
        .then_some(size)
        .ok_or_else(wrong)
}

/// What was written, and what resampling did to each episode.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The dataset.
    pub dataset: Report,
    /// Per episode, in order.
    pub resampled: Vec<ResampleReport>,
    /// Episodes that --min-grade or --where left out.
    pub deselected: Vec<PathBuf>,
}

fn side_of(hand: &Hand) -> Side {
    match hand.side() {
        dexumi_retarget::Side::Left => Side::Left,
        dexumi_retarget::Side::Right => Side::Right,
    }
}

/// A verdict as the dataset keeps it.
fn quality_of(judged: &Judged) -> Quality {
    Quality {
        grade: judged.verdict.grade.to_string(),
        tags: judged.verdict.tags.clone(),
        verdict: check::verdict_json(&judged.verdict),
    }
}

/// Motors and fingertips of joints, row-major.
fn robot_rows(hand: &Arc<Hand>, joints: &[f64]) -> RobotRows {
    let mut kinematics = Kinematics::new(hand.clone());
    let mut rows = RobotRows {
        motor_units: hand
            .motors()
            .iter()
            .map(|motor| motor.unit.name().to_owned())
            .collect(),
        motors: Vec::new(),
        fingers: hand
            .tips()
            .iter()
            .map(|tip| tip.finger.name().to_owned())
            .collect(),
        tips_m: Vec::new(),
    };
    for q in joints.chunks_exact(hand.dof()) {
        let motors = hand.motors().iter().zip(q);
        rows.motors
            .extend(motors.map(|(motor, &position)| motor.command(position)));
        rows.tips_m.extend(
            kinematics
                .update(q)
                .tips
                .iter()
                .map(|tip| [tip.x, tip.y, tip.z]),
        );
    }
    rows
}

impl Export {
    /// Writes the dataset.
    pub fn write(&self) -> Result<Outcome> {
        let format = format(&self.format)?;
        let fps = self.fps.unwrap_or(format.fps);
        if fps == 0 {
            bail!("fps is 0, expected 1 to 1000");
        }
        let given = self.hand.iter().map(|name| retarget::hand_of(name));
        let given: Vec<Arc<Hand>> = given.collect::<Result<_>>()?;
        let (episodes, deselected) = self.judged()?;
        let options = Options {
            codec: match self.codec {
                VideoCodec::Av1 => Codec::Av1,
                VideoCodec::H264 => Codec::H264,
            },
            size: self.image_size,
            variant: self.variant.clone(),
            fit: match self.fit {
                FitChoice::Crop => FitMode::Crop,
                FitChoice::Pad => FitMode::Pad,
                FitChoice::Stretch => FitMode::Stretch,
            },
            ..Options::default()
        };
        let mut resampled = Vec::new();
        let mut failure = None;
        let mut progress = Progress::new("export", 1000 * episodes.len() as u64);
        let outcome = {
            let mut each = episodes.iter().map(|(path, judged)| {
                let mut prepare = || -> Result<_> {
                    let (mut episode, report) = self.resampled(path, &given, fps)?;
                    episode.quality = judged.as_ref().map(quality_of);
                    resampled.push(report);
                    Ok(episode)
                };
                prepare().map_err(|error| match error.downcast::<ExportError>() {
                    Ok(error) => error,
                    Err(error) => {
                        let what = format!("{error:#}");
                        failure.get_or_insert(error);
                        ExportError::Episode {
                            episode: path.display().to_string(),
                            what,
                        }
                    }
                })
            });
            (format.write)(&mut each, &self.out, &options, &mut |step| {
                if let Step::Encoding {
                    episode,
                    images,
                    of,
                } = step
                {
                    let share = 1000 * images / of.max(1);
                    progress.set(1000 * episode as u64 + share as u64);
                }
            })
        };
        progress.finish();
        let dataset = match (outcome, failure) {
            (Ok(dataset), _) => dataset,
            // Where nothing could be written, the reason of the first episode is
            // worth more than that nothing was left.
            (Err(ExportError::NoEpisodes { .. }), Some(error)) => return Err(error),
            (Err(error), _) => return Err(error).context("cannot export"),
        };
        Ok(Outcome {
            dataset,
            resampled,
            deselected,
        })
    }

    /// The episodes that are wanted, with their verdicts, and those that are not. One that cannot be
    /// judged has none; where something is asked of verdicts, it is not wanted.
    fn judged(&self) -> Result<(Vec<(PathBuf, Option<Judged>)>, Vec<PathBuf>)> {
        let episodes = all_episodes(&self.paths)?;
        if self.no_check {
            return Ok((
                episodes.into_iter().map(|path| (path, None)).collect(),
                Vec::new(),
            ));
        }
        // Verdicts and datasets appear whole or not at all.
        let interrupt = Interrupt::never();
        let found = check::verdicts(
            &episodes,
            &self.alignment,
            &self.hand,
            None,
            None,
            &interrupt,
        )?;
        for one in &found.unjudged {
            eprintln!("note: not judged: {}: {:#}", one.path.display(), one.error);
        }
        let mut judged: std::collections::BTreeMap<PathBuf, Judged> = found
            .judged
            .into_iter()
            .map(|judged| (judged.path.clone(), judged))
            .collect();
        let (mut wanted, mut deselected) = (Vec::new(), Vec::new());
        for path in episodes {
            let judged = judged.remove(&path);
            let takes = match &judged {
                Some(judged) => self.selection.takes(judged)?,
                None => self.selection.is_all(),
            };
            match takes {
                true => wanted.push((path, judged)),
                false => deselected.push(path),
            }
        }
        if wanted.is_empty() && !deselected.is_empty() {
            bail!(
                "none of {} episodes passes --min-grade and --where, expected one; \
                 `dexumi check` says why",
                deselected.len()
            );
        }
        Ok((wanted, deselected))
    }

    /// An episode on the grid, retargeted to the hands `given`, or else to the rig's.
    fn resampled(
        &self,
        path: &Path,
        given: &[Arc<Hand>],
        fps: u32,
    ) -> Result<(Resampled, ResampleReport)> {
        let aligned = self.alignment.load(path)?;
        let hands = match given {
            [] => retarget::hands_of(&aligned.episode)?,
            given => given.to_vec(),
        };
        let mut derived = Vec::new();
        for hand in &hands {
            let report = retarget::retarget(&aligned, hand)?;
            derived.push((side_of(hand), report.path));
        }
        let given_hands = &hands;
        let hands = hands.iter().zip(&derived);
        let job = ResampleJob {
            episode: &aligned.episode,
            timeline: &aligned.timeline,
            calibration: aligned.calibration.as_ref(),
            hands: hands
                .map(|(hand, (side, path))| DerivedHand {
                    side: *side,
                    name: hand.name(),
                    path,
                })
                .collect(),
        };
        let options = ResampleOptions {
            fps,
            causal: self.causal,
            trim_idle: !self.keep_idle,
        };
        let (mut episode, report) = resample(&job, &options)?;
        for motion in &mut episode.hands {
            let hand = given_hands.iter().find(|hand| side_of(hand) == motion.side);
            motion.robot = hand.map(|hand| robot_rows(hand, &motion.joints_rad));
        }
        Ok((episode, report))
    }

    /// Writes the dataset and says what it holds.
    pub fn run(&self) -> Result<Exit> {
        let outcome = self.write()?;
        let dataset = &outcome.dataset;
        for warning in &dataset.warnings {
            eprintln!("note: {warning}");
        }
        for path in &outcome.deselected {
            eprintln!("not selected: {}", path.display());
        }
        for rejected in &dataset.rejected {
            eprintln!("left out episode {}: {}", rejected.received, rejected.why);
        }
        let filled: u64 = outcome.resampled.iter().map(|report| report.filled).sum();
        let idle = |report: &ResampleReport| report.idle_start + report.idle_end;
        let idle: u64 = outcome.resampled.iter().map(idle).sum();
        if idle > 0 {
            eprintln!("{idle} idle steps cut off at the ends of episodes (--keep-idle keeps them)");
        }
        eprintln!(
            "{} episodes, {} steps ({filled} with a cell held over a gap), {}, {} written to {}",
            dataset.episodes_written,
            dataset.rows,
            dataset.encoder,
            terminal::bytes(dataset.bytes),
            self.out.display()
        );
        if self.json {
            print_json(&outcome)?;
        }
        let lossy = !dataset.rejected.is_empty() || !outcome.deselected.is_empty() || filled > 0;
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}
