//! `dexumi view`: an episode in Rerun.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use dexumi_episode::EpisodeFile;
use dexumi_rerun::{ViewOptions, ViewReport, save};
use dexumi_retarget::derived_path;

use super::Alignment;
use crate::{Exit, terminal};

/// Images, joints, forces, wrist path and 3-D hand on one time line, for Rerun.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi view session/episode_0000.mcap --save episode.rrd
  dexumi view session/episode_0000.mcap              opens the Rerun viewer, if installed")]
pub struct View {
    /// The episode.
    pub episode: PathBuf,
    /// Write a recording for the Rerun viewer; without it, the viewer is opened.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Log every n-th image only.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub every_nth_image: usize,
    #[command(flatten)]
    pub alignment: Alignment,
}

impl View {
    /// Writes the recording.
    pub fn write(&self, out: &std::path::Path) -> Result<ViewReport> {
        let aligned = self.alignment.load(&self.episode)?;
        let derived = derived_path(&self.episode, &aligned.episode.rig.hand);
        let derived = if derived.exists() {
            Some(EpisodeFile::open(&derived)?)
        } else {
            None
        };
        let options = ViewOptions {
            every_nth_image: self.every_nth_image.max(1),
        };
        Ok(save(
            &aligned.episode,
            &aligned.timeline,
            derived.as_ref(),
            &options,
            out,
        )?)
    }

    /// Writes the recording, or opens the viewer on it.
    pub fn run(self) -> Result<Exit> {
        let (out, open) = match &self.save {
            Some(path) => (path.clone(), false),
            None => (self.episode.with_extension("rrd"), true),
        };
        // Before a hundred megabytes are written for it.
        if open {
            let asked = std::process::Command::new("rerun")
                .arg("--version")
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            asked.context(
                "cannot start the Rerun viewer; install it (pip install rerun-sdk==0.36.3) and make sure that \
                 `rerun` is in PATH, or write a recording by --save",
            )?;
        }
        let report = self.write(&out)?;
        for note in &report.notes {
            eprintln!("note: {note}");
        }
        eprintln!(
            "{} images, {} samples, {} written to {}",
            report.images,
            report.samples,
            terminal::bytes(report.bytes),
            out.display()
        );
        if open {
            let status = std::process::Command::new("rerun").arg(&out).status().with_context(|| {
                format!(
                    "cannot start the Rerun viewer on {}; install it (pip install rerun-sdk==0.36.3) \
                     and make sure that `rerun` is in PATH",
                    out.display()
                )
            })?;
            if !status.success() {
                bail!("the Rerun viewer ended with {status}");
            }
        }
        Ok(Exit::Done)
    }
}
