//! `dexumi recover`: whole files from recordings that were cut off.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_episode::{EpisodeError, Recovery, Session, recover, unfinished_in};

use super::print_json;
use crate::{Exit, terminal};

/// Finish episodes whose recorder died; the unfinished files are kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dexumi recover session\n  dexumi recover session/episode_0003.mcap.partial"
)]
pub struct Recover {
    /// Session folders, or unfinished episodes (.mcap.partial).
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// One line about a recovery, for people.
pub fn sentence(recovery: &Recovery) -> String {
    let r = &recovery.recovered;
    format!(
        "recovered {}: {} messages, {} of {} cut at the end; the unfinished file is kept as {}",
        recovery.path.display(),
        r.messages,
        terminal::bytes(r.bytes_cut),
        terminal::bytes(r.bytes),
        r.from
    )
}

impl Recover {
    /// Recovers.
    pub fn run(self) -> Result<Exit> {
        let mut done = Vec::new();
        for path in &self.paths {
            let (folder, files) = if path.is_dir() {
                (path.clone(), unfinished_in(path)?)
            } else if path.exists() {
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                (
                    folder.unwrap_or(Path::new(".")).to_owned(),
                    vec![path.clone()],
                )
            } else {
                return Err(EpisodeError::Missing { path: path.clone() }.into());
            };
            // Nobody may be writing what is recovered.
            let _lock = Session::lock_for_repair(&folder)?;
            for file in files {
                match recover(&file) {
                    Ok(recovery) => {
                        eprintln!("{}", sentence(&recovery));
                        done.push(recovery);
                    }
                    // One that ended before its first record hinders no other.
                    Err(error @ EpisodeError::Nothing { .. }) if path.is_dir() => {
                        eprintln!("note: {error}");
                    }
                    Err(error) => return Err(error).context("cannot recover"),
                }
            }
        }
        if done.is_empty() {
            eprintln!("nothing to recover: no episode_*.mcap.partial found");
        }
        if self.json {
            print_json(&done)?;
        }
        // What a recorder could not finish has lost at least its end.
        Ok(if done.is_empty() {
            Exit::Done
        } else {
            Exit::Lossy
        })
    }
}
