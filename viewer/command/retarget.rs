//! `dexumi retarget`: from the exoskeleton to the robot hand.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_retarget::{Hand, RetargetReport, derived_path, retarget_episode};

use super::{Aligned, Alignment, all_episodes, print_json};
use crate::{Exit, terminal::Progress};

/// Robot joint positions, motor commands and end-effector poses, in `derived/`
/// beside the episodes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi retarget session --hand xhand_right
  dexumi retarget session/episode_0000.mcap --hand my_hand.toml --json")]
pub struct Retarget {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Hand by name, or a hand file (.toml) [default: the rig's].
    #[arg(long, value_name = "HAND")]
    pub hand: Option<String>,
    #[command(flatten)]
    pub alignment: Alignment,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// A hand by name or by path.
///
/// # Errors
/// Neither exists; the message lists the known names.
pub fn hand_of(name: &str) -> Result<Arc<Hand>> {
    let hand = if name.ends_with(".toml") {
        Hand::from_path(std::path::Path::new(name))?
    } else {
        Hand::by_name(name)?
    };
    Ok(Arc::new(hand))
}

/// Retargets an aligned episode.
///
/// # Errors
/// No calibration, joints that do not fit, or a folder that cannot be written.
pub fn retarget(aligned: &Aligned, hand: &Arc<Hand>) -> Result<RetargetReport> {
    let path = aligned.episode.file.path();
    let calibration = aligned.calibration.as_ref().with_context(|| {
        format!(
            "no calibration for {}, expected calibration.toml beside it; \
             run `dexumi calibrate joints`, or give one by --calibration",
            path.display()
        )
    })?;
    let out = derived_path(path, hand.name());
    Ok(retarget_episode(
        &aligned.episode,
        &aligned.timeline,
        calibration,
        hand,
        &out,
    )?)
}

impl Retarget {
    /// Retargets all.
    pub fn run(&self) -> Result<Exit> {
        let given = self.hand.as_deref().map(hand_of).transpose()?;
        let episodes = all_episodes(&self.paths)?;
        let mut progress = Progress::new("retarget", episodes.len() as u64);
        let mut reports = Vec::new();
        for (index, path) in episodes.iter().enumerate() {
            let aligned = self.alignment.load(path)?;
            let hand = match &given {
                Some(hand) => hand.clone(),
                None => hand_of(&aligned.episode.rig.hand)?,
            };
            reports.push(retarget(&aligned, &hand)?);
            progress.set(index as u64 + 1);
        }
        progress.finish();
        for report in &reports {
            eprintln!(
                "{}: {} steps, {} clipped, {} held, {} in gaps, residual {:.3}° rms{}",
                report.path.display(),
                report.received,
                report.clipped,
                report.held,
                report.gaps,
                report.residual_rms_rad.to_degrees(),
                if report.reused {
                    " (unchanged, kept)"
                } else {
                    ""
                }
            );
        }
        if self.json {
            print_json(&reports)?;
        }
        // The first and the last scan have no neighbour on one side.
        let lost = reports
            .iter()
            .any(|r| r.held > 0 || r.gaps > 4 || r.poses_rejected > 0);
        Ok(if lost { Exit::Lossy } else { Exit::Done })
    }
}
