//! `dexumi calibrate`: what the rig is, measured.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use dexumi_calibrate::{JointOptions, SetPoints, calibrate_joints};
use dexumi_episode::{
    Calibration, Delta, Episode,
    align::{DEFAULT_MAX_GAP, Timeline},
};
use dexumi_retarget::{Hand, Side};
use sha2::{Digest, Sha256};

use super::print_json;
use crate::{Exit, terminal};

/// Measure a rig: write set-points, fit joint maps.
#[derive(Debug, Subcommand)]
pub enum Calibrate {
    Setpoints(Points),
    Joints(Joints),
}

/// Write a protocol of known poses for `calibrate joints`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dexumi calibrate setpoints --hand xhand_right --out setpoints.toml"
)]
pub struct Points {
    /// Hand whose joints are swept.
    #[arg(long)]
    pub hand: String,
    /// Levels over each joint's range.
    #[arg(long, default_value_t = 9)]
    pub levels: usize,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Map encoder channels to joint angles, from a recording of the protocol.
#[derive(Debug, Args)]
#[command(after_help = "\
The recording must hold the whole protocol: start it in the first pose, then
hold each pose in turn. Still intervals are found in the samples.

Example:
  dexumi calibrate joints run/episode_0000.mcap --setpoints setpoints.toml --out calibration.toml")]
pub struct Joints {
    /// The recording.
    pub episode: PathBuf,
    /// The protocol.
    #[arg(long, value_name = "FILE")]
    pub setpoints: PathBuf,
    /// Calibration to write; what an existing one holds besides is kept.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Largest residual that is accepted [deg].
    #[arg(long, value_name = "DEG", default_value_t = 2.0)]
    pub max_residual_deg: f64,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

impl Calibrate {
    /// Runs the procedure.
    pub fn run(self) -> Result<Exit> {
        match self {
            Self::Setpoints(command) => command.run(),
            Self::Joints(command) => command.run(),
        }
    }
}

impl Points {
    /// Writes the protocol.
    pub fn run(&self) -> Result<Exit> {
        let hand = Hand::by_name(&self.hand)?;
        let joints: Vec<_> = hand
            .variable_names()
            .zip(hand.limits())
            .map(|(name, &(low, high))| (name.to_owned(), low, high))
            .collect();
        let points = SetPoints::sweep(hand.name(), &joints, self.levels);
        points.save(&self.out)?;
        eprintln!(
            "{} poses, {:.0} s, written to {}",
            points.pose.len(),
            points.duration_s() + points.dwell_s,
            self.out.display()
        );
        Ok(Exit::Done)
    }
}

impl Joints {
    /// Fits the maps and writes them with their residuals.
    pub fn run(&self) -> Result<Exit> {
        let points = SetPoints::load(&self.setpoints)?;
        let hand = Hand::by_name(&points.hand)?;
        let side = match hand.side() {
            Side::Left => "left",
            Side::Right => "right",
        };
        let episode = Episode::open(&self.episode)?;
        // Sensor angles are wanted, so that no calibration is applied.
        let timeline = Timeline::of(&episode, None, DEFAULT_MAX_GAP.max(Delta::ZERO))?;
        let sensors = timeline.joints.get(side).with_context(|| {
            format!(
                "no encoders of the {side} side in {}, expected topic /exo/{side}/encoders",
                self.episode.display()
            )
        })?;
        let hash: String = Sha256::digest(episode.file.bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = self
            .episode
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let options = JointOptions {
            created: terminal::now_rfc3339(),
            source: format!("{name} sha256 {hash}"),
        };
        let (joints, report) = calibrate_joints(sensors, &points, &options)?;
        for joint in &joints.joint {
            eprintln!(
                "  {:32} residual {:.3}° rms {:.3}° max, left-out {:.3}° rms, play {}, noise {:.3}°",
                joint.name,
                joint.residual_rms_rad.to_degrees(),
                joint.residual_max_rad.to_degrees(),
                joint.leave_one_out_rms_rad.to_degrees(),
                joint
                    .hysteresis_rad
                    .map_or("unknown".to_owned(), |h| format!("{:.3}°", h.to_degrees())),
                joint.noise_rad.to_degrees(),
            );
        }
        if report.residual_max_rad.to_degrees() > self.max_residual_deg {
            bail!(
                "largest residual is {:.2}° at joint `{}`, expected at most {:.2}°; \
                 was every pose held still? nothing was written",
                report.residual_max_rad.to_degrees(),
                report.worst_joint,
                self.max_residual_deg
            );
        }
        let mut calibration = if self.out.exists() {
            Calibration::load(&self.out)?
        } else {
            Calibration::new()
        };
        calibration.joints.insert(side.to_owned(), joints);
        calibration.save(&self.out)?;
        eprintln!(
            "{} poses, residual {:.3}° rms, written to {}",
            report.poses,
            report.residual_rms_rad.to_degrees(),
            self.out.display()
        );
        if self.json {
            print_json(&report)?;
        }
        Ok(Exit::Done)
    }
}
