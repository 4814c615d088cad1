//! `dexumi record`: headless recording, by clock, keyboard, control socket or HTTP.

mod drive;
mod episodes;
mod keyboard;
mod words;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use clap::Args;
use dexumi_capture::{EpisodeReport, Recorder, RecorderOptions};
use dexumi_episode::{Calibration, Rig, Session, recover};
use dexumi_live::LiveView;
use serde::Serialize;

use super::{SOFTWARE, print_json, recover::sentence};
use crate::{Exit, remote::RemoteArguments};
use episodes::Episodes;

/// Record episodes of a rig, one MCAP file each.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal: Space starts and stops, d discards, m marks, q ends. Ctrl-C ends
the episode cleanly, with its file complete.

Examples:
  dexumi record --rig rig.toml --task \"pick up the cube\" --episodes 5 --seconds 20 --out session
  dexumi record --rig rig.toml --task \"fold the towel\" --out session     by keyboard
  dexumi record --rig rig.toml --out session --http --live     by HTTP, live view in Foxglove
  curl -X POST http://127.0.0.1:8766/toggle                    starts and stops it: a pedal
  dexumi record --rig rig.toml --out session --http 0.0.0.0:8766 --token-file token")]
pub struct Record {
    /// The rig.
    #[arg(long, value_name = "FILE")]
    pub rig: PathBuf,
    /// What the operator is asked to do.
    #[arg(long, default_value = "")]
    pub task: String,
    /// Session folder; made if needed.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How many episodes; unlimited by keyboard, control socket or HTTP.
    #[arg(long)]
    pub episodes: Option<u32>,
    /// Length of each; without it, until stopped.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Calibration [default: calibration.toml in the session folder, then beside the rig].
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Pseudonym of the operator.
    #[arg(long, default_value = "")]
    pub operator: String,
    /// End the episode cleanly when less than this is free [MB].
    #[arg(long, value_name = "MB", default_value_t = 500)]
    pub reserve_mb: u64,
    /// Let devices and their clocks settle before the first episode [s].
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub settle_s: f64,
    /// Take orders and publish state on this Unix socket.
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    pub json: bool,
    /// Where to be reached from afar.
    #[command(flatten)]
    pub remote: RemoteArguments,
}

/// Waits for Ctrl-C or a termination signal.
///
/// # Errors
/// Signals cannot be waited for.
pub async fn interrupted() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Finishes a file that was left unfinished, and says what came of it.
fn recover_partial(path: &Path) {
    match recover(path) {
        Ok(recovery) => eprintln!("{}", sentence(&recovery)),
        Err(error) => eprintln!("note: {:#}", anyhow::Error::from(error)),
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    session: PathBuf,
    episodes: Vec<EpisodeReport>,
}

impl Record {
    /// Records.
    pub fn run(self) -> Result<Exit> {
        let rig = Rig::load(&self.rig)?;
        let doors = self.remote.open()?;
        let session = Session::open(&self.out, &rig.name, &rig.hand, SOFTWARE)?;
        for partial in session.unfinished()? {
            recover_partial(&partial);
        }
        let calibration = self.calibration()?;
        let joint_names = calibration
            .iter()
            .flat_map(|calibration| calibration.joints.values())
            .flat_map(|joints| joints.joint.iter().map(|joint| joint.name.clone()))
            .collect();
        let options = RecorderOptions {
            reserve_bytes: self.reserve_mb * 1_000_000,
            folder: Some(self.out.clone()),
            ..RecorderOptions::default()
        };
        let recorder = Recorder::open(&rig, calibration.clone(), session.anchor, options)?;
        recorder.wait_until_live()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let live = doors.live_view(&rig, calibration.as_ref(), session.anchor);
        let live = runtime.block_on(live)?;
        let (number, _) = session.next_episode()?;
        let episodes = Episodes {
            recorder: Arc::new(recorder),
            session,
            rig,
            operator: self.operator.clone(),
            task: self.task.clone(),
            number,
            reports: Vec::new(),
            error: None,
            joint_names,
            announcer: live.as_ref().map(LiveView::announcer),
        };
        let (exit, episodes) = runtime.block_on(self.drive(episodes, doors, live))?;
        // The keyboard thread may still wait for a key.
        runtime.shutdown_background();
        if self.json {
            let session = episodes.session.folder().to_owned();
            print_json(&Outcome {
                session,
                episodes: episodes.reports,
            })?;
        }
        Ok(exit)
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        if let Some(path) = &self.calibration {
            return Ok(Some(Calibration::load(path)?));
        }
        let beside_rig = self.rig.with_file_name("calibration.toml");
        for path in [self.out.join("calibration.toml"), beside_rig] {
            if path.exists() {
                eprintln!("calibration: {}", path.display());
                return Ok(Some(Calibration::load(&path)?));
            }
        }
        eprintln!("calibration: none; joint angles can be had later, from the raw counts");
        Ok(None)
    }
}
