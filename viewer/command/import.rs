//! `dexumi import`: recordings of others, as episodes.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use dexumi_capture::driver::driver_of;
use dexumi_episode::{EpisodeError, Session, isometry};
use dexumi_export::Options;
use dexumi_export::import::{Choices, Imported, import, raw_episodes};
use serde::Serialize;

use super::{SOFTWARE, print_json, retarget::SideChoice};
use crate::{Exit, terminal::Progress};

/// Make episodes of others' recordings.
#[derive(Debug, Subcommand)]
pub enum Import {
    Dexumi(Dexumi),
}

/// Raw episodes of the original DexUMI recorder: Zarr and .mp4, before any of its
/// own processing. Everything in them is kept at its own time; what they never had
/// is named by `dexumi info`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi import dexumi data_recording --task \"pick up the cube\" --out session
  dexumi import dexumi data_recording/episode_3 --task \"pick up the cube\" --hand xhand_right --out session
Then: dexumi info session, and a calibration.toml in the session for retarget and export.")]
pub struct Dexumi {
    /// Raw episodes, or folders of them (episode_<i>).
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Session folder; the episodes are added to those that are there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What was done, one sentence: the source does not say.
    #[arg(long)]
    task: String,
    /// Side of the exoskeleton: the source does not say.
    #[arg(long, value_enum, default_value_t = SideChoice::Right)]
    side: SideChoice,
    /// Robot hand [default: that of the encoder board, xhand or inspire].
    #[arg(long, value_name = "HAND")]
    hand: Option<String>,
    /// Fingers of the two sensors of an Inspire force board: the source does not say.
    #[arg(long, value_name = "A,B", default_value = "thumb,index", value_parser = fingers)]
    fingers: [&'static str; 2],
    /// Phone's camera (x right, y down, z forward) from hand, as x,y,z [m] and a
    /// quaternion x,y,z,w [default: the hand's frame is the phone's as Record3D has it].
    #[arg(long, value_name = "X,Y,Z,QX,QY,QZ,QW", value_parser = mount, allow_hyphen_values = true)]
    tracker_from_hand: Option<[f64; 7]>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

fn fingers(text: &str) -> Result<[&'static str; 2], String> {
    let known = dexumi_episode::FINGERS;
    let named = |name: &str| known.into_iter().find(|finger| *finger == name);
    text.split_once(',')
        .and_then(|(a, b)| Some([named(a)?, named(b)?]))
        .filter(|[a, b]| a != b)
        .ok_or_else(|| format!("got `{text}`, expected two of {}", known.join(", ")))
}

fn mount(text: &str) -> Result<[f64; 7], String> {
    let numbers: Vec<f64> = text
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    let numbers: Option<[f64; 7]> = numbers.try_into().ok();
    numbers
        .filter(|n| n.iter().all(|v| v.is_finite()))
        .filter(|n| (0.99..1.01).contains(&n[3..].iter().map(|v| v * v).sum::<f64>().sqrt()))
        .ok_or_else(|| format!("got `{text}`, expected seven numbers, the last four of length 1"))
}

#[derive(Serialize)]
struct Outcome {
    imported: Vec<Imported>,
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    source: PathBuf,
    why: String,
}

impl Import {
    /// Imports.
    pub fn run(self) -> Result<Exit> {
        match self {
            Self::Dexumi(command) => command.run(),
        }
    }
}

impl Dexumi {
    fn run(self) -> Result<Exit> {
        if self.task.trim().is_empty() {
            bail!("the task is empty: say in one sentence what was done");
        }
        let mut sources = Vec::new();
        for path in &self.paths {
            if !path.exists() {
                return Err(EpisodeError::Missing { path: path.clone() }.into());
            }
            sources.extend(raw_episodes(path)?);
        }
        let side = match self.side {
            SideChoice::Left => "left",
            SideChoice::Right => "right",
        };
        if let Some(hand) = &self.hand {
            super::retarget::hand_of(hand)?;
        }
        let options = Options::default();
        let session = Session::open(
            &self.out,
            "dexumi-import",
            self.hand.as_deref().unwrap_or(side),
            SOFTWARE,
        )?;
        let mut outcome = Outcome {
            imported: Vec::new(),
            failed: Vec::new(),
        };
        let mut progress = Progress::new("import", sources.len() as u64);
        for (done, source) in sources.iter().enumerate() {
            let choices = Choices {
                task: self.task.clone(),
                side: side.to_owned(),
                hand: self.hand.clone(),
                fingers: self.fingers.map(str::to_owned),
                tracker_from_hand: self
                    .tracker_from_hand
                    .map(|[x, y, z, qx, qy, qz, qw]| isometry([x, y, z], [qx, qy, qz, qw])),
                id: uuid::Uuid::now_v7().to_string(),
                software: SOFTWARE,
                channel_metadata: &|device| {
                    driver_of(device)
                        .map_or_else(|_| Vec::new(), |driver| (driver.metadata)(device))
                },
                options: &options,
            };
            match import(source, &session, &choices) {
                Ok(imported) => outcome.imported.push(imported),
                Err(error) if sources.len() == 1 => return Err(error).context("cannot import"),
                Err(error) => outcome.failed.push(Failed {
                    source: source.clone(),
                    why: format!("{:#}", anyhow::Error::from(error)),
                }),
            }
            progress.set(done as u64 + 1);
        }
        progress.finish();
        for imported in &outcome.imported {
            print(imported);
        }
        for failed in &outcome.failed {
            eprintln!("not imported: {}: {}", failed.source.display(), failed.why);
        }
        if self.json {
            print_json(&outcome)?;
        }
        if outcome.imported.is_empty() {
            bail!("none of {} raw episodes could be imported", sources.len());
        }
        let lossy = !outcome.failed.is_empty() || outcome.imported.iter().any(|i| i.lossy);
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}

fn print(imported: &Imported) {
    eprintln!(
        "{} from {}",
        imported.path.display(),
        imported.source.display()
    );
    for (stream, samples) in &imported.samples {
        eprintln!("  {stream:28} {samples:>9}");
    }
    for note in &imported.notes {
        eprintln!("  note: {note}");
    }
    for left_out in &imported.left_out {
        eprintln!("  left out: {left_out}");
    }
    for missing in &imported.missing {
        eprintln!("  never had {missing}");
    }
}
