//! One command, one file.

mod align;
mod calibrate;
mod check;
mod demo;
mod devices;
mod emulate;
mod export;
mod import;
mod info;
mod interrupt;
mod jobs;
pub mod record;
mod recover;
mod retarget;
mod verify;
mod view;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use dexumi_episode::{
    Calibration, Delta, Episode, EpisodeError, StreamKind,
    align::{DEFAULT_MAX_GAP, Timeline},
    episodes_in, find_calibration,
};
use serde::{Deserialize, Serialize};

use crate::{Exit, app, remote::RemoteArguments};

/// Name and version, as files carry it.
pub const SOFTWARE: &str = concat!("dexumi ", env!("CARGO_PKG_VERSION"));

/// Capture suite for human-worn dexterous data: record an exoskeleton, cameras
/// and a tracked wrist; align, calibrate, retarget; export datasets.
#[derive(Debug, Parser)]
#[command(
    name = "dexumi",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  dexumi demo                                   the whole job on an emulated rig
  dexumi devices                                what is plugged in, by address
  dexumi emulate --out rig.toml                 emulated devices, until Ctrl-C
  dexumi record --rig rig.toml --task \"pick up the cube\" --seconds 20 --out session
  dexumi info session/episode_0000.mcap
  dexumi export session --format lerobot-v3 --out dataset
  dexumi verify dataset

Exit codes: 0 done, 1 failed, 2 usage, 3 done but data was lost or rejected,
10 bad input, 75 a device is busy, missing or silent: try again."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    App(AppArguments),
    Emulate(emulate::Emulate),
    Devices(devices::Devices),
    Record(record::Record),
    Info(info::Info),
    Check(check::Check),
    Recover(recover::Recover),
    #[command(subcommand)]
    Import(import::Import),
    Align(align::Align),
    #[command(subcommand)]
    Calibrate(calibrate::Calibrate),
    Retarget(retarget::Retarget),
    Export(export::Export),
    Extend(export::Extend),
    Withdraw(export::Withdraw),
    Rebuild(export::Rebuild),
    Verify(verify::Verify),
    View(view::View),
}

/// Desktop app: live streams of a rig, and recording.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi app --rig rig.toml --out session --task \"pick up the cube\"
  dexumi app --rig rig.toml --out session --http --live     a pedal by HTTP, live view in Foxglove")]
struct AppArguments {
    /// The rig.
    #[arg(long, value_name = "FILE", default_value = "rig.toml")]
    rig: PathBuf,
    /// Session folder.
    #[arg(long, value_name = "DIR", default_value = "session")]
    out: PathBuf,
    /// Calibration, as `dexumi calibrate` writes it.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// What is to be done.
    #[arg(long, default_value = "")]
    task: String,
    /// Attach to a recorder that runs already, at its --control socket.
    #[arg(
        long,
        value_name = "SOCKET",
        conflicts_with_all = ["http", "live", "token_file"]
    )]
    socket: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArguments,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, with what to do about it.
    pub fn run(self) -> Result<Exit> {
        match self.command {
            Command::Demo(command) => command.run(),
            Command::App(AppArguments {
                rig,
                out,
                calibration,
                task,
                socket,
                remote,
            }) => {
                app::run(app::AppOptions {
                    rig,
                    out,
                    calibration,
                    task,
                    socket,
                    remote,
                })?;
                Ok(Exit::Done)
            }
            Command::Emulate(command) => command.run(),
            Command::Devices(command) => command.run(),
            Command::Record(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Recover(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Align(command) => command.run(),
            Command::Calibrate(command) => command.run(),
            Command::Retarget(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Extend(command) => command.run(),
            Command::Withdraw(command) => command.run(),
            Command::Rebuild(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::View(command) => command.run(),
        }
    }
}

/// How samples are brought to their capture times; the same for all stages.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct Alignment {
    /// Calibration; else `calibration.toml` in the session folder, else the one
    /// attached to the episode.
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Longest gap that is interpolated across [ms]; cells in longer ones are invalid.
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_MAX_GAP.nanos() / 1_000_000)]
    pub max_gap_ms: i64,
}

/// An episode at its capture times, with the calibration that was applied.
pub struct Aligned {
    /// The episode.
    pub episode: Arc<Episode>,
    /// Its samples.
    pub timeline: Timeline,
    /// The calibration, if there is any.
    pub calibration: Option<Calibration>,
}

impl Alignment {
    /// Whether the calibration that is given can be read.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<()> {
        if let Some(path) = &self.calibration {
            if !path.exists() {
                return Err(EpisodeError::Missing { path: path.clone() }.into());
            }
            Calibration::load(path)?;
        }
        Ok(())
    }

    /// Opens and aligns an episode.
    ///
    /// # Errors
    /// The episode or the calibration cannot be read.
    pub fn load(&self, path: &Path) -> Result<Aligned> {
        let (episode, calibration) = self.open(path)?;
        self.align(episode, calibration)
    }

    /// Opens an episode and finds its calibration; its samples are not read.
    ///
    /// # Errors
    /// The episode or the calibration cannot be read.
    pub fn open(&self, path: &Path) -> Result<(Episode, Option<Calibration>)> {
        let episode = Episode::open(path)?;
        let given = self.calibration.as_deref();
        let calibration = find_calibration(given, path, episode.calibration.as_ref())?;
        Ok((episode, calibration))
    }

    /// Reads the samples of an open episode.
    ///
    /// # Errors
    /// The file is damaged, or a stream lacks what it needs.
    pub fn align(&self, episode: Episode, calibration: Option<Calibration>) -> Result<Aligned> {
        self.align_streams(episode, calibration, |_| true)
    }

    /// Reads the samples of an open episode, of the streams alone that `wanted` says.
    ///
    /// # Errors
    /// As [`Alignment::align`].
    pub fn align_streams(
        &self,
        episode: Episode,
        calibration: Option<Calibration>,
        wanted: impl Fn(&StreamKind) -> bool,
    ) -> Result<Aligned> {
        let timeline =
            Timeline::of_streams(&episode, calibration.as_ref(), self.max_gap(), wanted)?;
        Ok(Aligned {
            episode: Arc::new(episode),
            timeline,
            calibration,
        })
    }

    /// Longest gap that is interpolated across.
    pub fn max_gap(&self) -> Delta {
        Delta::from_millis(self.max_gap_ms)
    }
}

/// Finished episodes of all that a user names: episodes or session folders.
///
/// # Errors
/// One of them has none.
pub fn all_episodes(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut episodes = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(EpisodeError::Missing { path: path.clone() }.into());
        }
        episodes.extend(episodes_in(path)?);
    }
    Ok(episodes)
}

/// Prints a value as JSON on stdout.
///
/// # Errors
/// It cannot be represented.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!(
        "{}",
        serde_json::to_string_pretty(value).context("cannot represent the result as JSON")?
    );
    Ok(())
}
