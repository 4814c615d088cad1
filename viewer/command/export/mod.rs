//! `dexumi export`: datasets that the models' own loaders read; and how they grow and shrink afterwards.

mod change;
mod prepare;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use dexumi_episode::EpisodeFile;
use dexumi_export::{FORMATS, format};
use serde::{Deserialize, Serialize};

use super::{Alignment, all_episodes, check::Selection, interrupt};
use crate::{Exit, terminal::counted};
pub use change::{Extend, Rebuild, Withdraw};
pub use write::{Job, Outcome};

/// Write a dataset from recorded episodes; what is not retargeted yet is
/// retargeted on the way. What is interrupted goes on with the same command.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Export {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Folder to write; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub choices: Choices,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// What is chosen for a dataset; its manifest keeps it.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Choices {
    /// Format of the dataset; --help lists them.
    #[arg(long)]
    pub format: String,
    /// Variant of the format; --help lists them.
    #[arg(long)]
    pub variant: Option<String>,
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
    #[serde(flatten)]
    pub selection: Selection,
    /// Do not judge the episodes' quality: the metadata have no verdicts then.
    #[arg(long, conflicts_with_all = ["min_grade", "condition"])]
    pub no_check: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub alignment: Alignment,
    /// Licence of the dataset, as its card says it, such as CC-BY-4.0 [default: not stated].
    #[arg(long, value_name = "NAME")]
    pub license: Option<String>,
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
  dexumi export session --format dreamdojo --out cups_g1
  dexumi export session --format lerobot-v3 --license CC-BY-4.0 --out dataset

Finished videos are kept in DIR.partial until the dataset is whole and has its name: after
Ctrl-C, a crash or a full disk the same command goes on from there. Later:
  dexumi extend dataset session2        add episodes
  dexumi withdraw dataset 17            take one out
  dexumi rebuild dataset --out again    write it once more from its recordings"
}

/// Choice of `--codec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// H.264 by x264, a keyframe every 12th image.
    H264,
    /// AV1 by SVT-AV1, a keyframe every 2nd image, as the official LeRobot writer.
    Av1,
}

/// Choice of `--fit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitChoice {
    /// Cut off what sticks out at two sides.
    Crop,
    /// Black bars at two sides.
    Pad,
    /// Scale width and height apart.
    Stretch,
}

/// Width and height of `WxH`, both even.
pub(in crate::command) fn image_size(text: &str) -> Result<(u32, u32), String> {
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

/// Without recordings that are there already, by content. One that cannot be read is told later.
fn distinct(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let given = paths.len();
    let is_new = |path: &PathBuf| {
        let print = EpisodeFile::open(path).and_then(|file| file.fingerprint());
        print.map_or(true, |print| seen.insert(print))
    };
    let distinct: Vec<PathBuf> = paths.into_iter().filter(is_new).collect();
    if distinct.len() < given {
        eprintln!(
            "note: {} given twice, by content: each is taken once",
            counted(given - distinct.len(), "recording")
        );
    }
    distinct
}

impl Export {
    /// Writes the dataset.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn write(&self) -> Result<Outcome> {
        // A wrong name is told before anything is looked for.
        format(&self.choices.format)?;
        Job {
            choices: &self.choices,
            episodes: distinct(all_episodes(&self.paths)?),
            out: &self.out,
            replace: false,
            known: BTreeMap::new(),
        }
        .write()
    }

    /// Writes the dataset and says what it holds.
    pub fn run(&self) -> Result<Exit> {
        interrupt::exit_saying(write::how_to_go_on(&self.out))?;
        self.write()?.tell(&self.out, self.json)
    }
}
