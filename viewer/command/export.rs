//! `dexumi export`: datasets that the models' own loaders read.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dexumi_export::{
    Codec, ExportError, Options, Progress as Step, Report, ResampleReport, format, resample,
};
use dexumi_retarget::Side;
use serde::Serialize;

use super::{Alignment, all_episodes, print_json, retarget};
use crate::{
    Exit,
    terminal::{self, Progress},
};

/// Write a dataset from recorded episodes; what is not retargeted yet is
/// retargeted on the way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi export session --format lerobot-v3 --out dataset
  dexumi export session --format lerobot-v3 --fps 15 --image-size 640x480 --out dataset")]
pub struct Export {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Format of the dataset.
    #[arg(long)]
    pub format: String,
    /// Folder to write; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Steps per second.
    #[arg(long, default_value_t = 30)]
    pub fps: u32,
    /// Images are cropped to this shape and scaled to this size; else as recorded.
    #[arg(long, value_name = "WxH", value_parser = image_size)]
    pub image_size: Option<(u32, u32)>,
    /// Video codec.
    #[arg(long, value_enum, default_value_t = VideoCodec::Auto)]
    pub codec: VideoCodec,
    /// Hand by name, or a hand file (.toml) [default: the rig's].
    #[arg(long, value_name = "HAND")]
    pub hand: Option<String>,
    #[command(flatten)]
    pub alignment: Alignment,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// Choice of `--codec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VideoCodec {
    /// AV1 where ffmpeg can, else H.264.
    Auto,
    /// AV1 by SVT-AV1.
    Av1,
    /// H.264 by x264.
    H264,
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
}

impl Export {
    /// Writes the dataset.
    pub fn write(&self) -> Result<Outcome> {
        let format = format(&self.format)?;
        if self.fps == 0 {
            bail!("fps is 0, expected 1 to 1000");
        }
        let given = self.hand.as_deref().map(retarget::hand_of).transpose()?;
        let episodes = all_episodes(&self.paths)?;
        let options = Options {
            codec: match self.codec {
                VideoCodec::Auto => Codec::Auto,
                VideoCodec::Av1 => Codec::Av1,
                VideoCodec::H264 => Codec::H264,
            },
            size: self.image_size,
            ..Options::default()
        };
        let mut resampled = Vec::new();
        let mut failure = None;
        let mut progress = Progress::new("export", 1000 * episodes.len() as u64);
        let outcome = {
            let mut each = episodes.iter().map(|path| {
                let mut prepare = || -> Result<_> {
                    let aligned = self.alignment.load(path)?;
                    let hand = match &given {
                        Some(hand) => hand.clone(),
                        None => retarget::hand_of(&aligned.episode.rig.hand)?,
                    };
                    let derived = retarget::retarget(&aligned, &hand)?;
                    let side = match hand.side() {
                        Side::Left => "left",
                        Side::Right => "right",
                    };
                    let (episode, report) = resample(
                        &aligned.episode,
                        &aligned.timeline,
                        &derived.path,
                        side,
                        self.fps,
                    )?;
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
        Ok(Outcome { dataset, resampled })
    }

    /// Writes the dataset and says what it holds.
    pub fn run(&self) -> Result<Exit> {
        let outcome = self.write()?;
        let dataset = &outcome.dataset;
        for warning in &dataset.warnings {
            eprintln!("note: {warning}");
        }
        for rejected in &dataset.rejected {
            eprintln!("left out episode {}: {}", rejected.received, rejected.why);
        }
        let filled: u64 = outcome.resampled.iter().map(|report| report.filled).sum();
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
        let lossy = !dataset.rejected.is_empty() || filled > 0;
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}
