//! What is to be retargeted, and where its result goes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use dexumi_episode::{Calibration, Episode, StreamKind};
use dexumi_retarget::{
    EpisodeJob, EpisodeOptions, Hand, RetargetReport, Side, derived_path_in, hands_apart,
};

use super::{Done, choices::refuse, clip, hands_of, retarget_fresh};
use crate::command::{Alignment, all_episodes, interrupt::Interrupt};

/// One thing to retarget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An episode.
    Episode(PathBuf),
    /// A file of keypoints.
    Clip(PathBuf),
}

impl Input {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Episode(path) | Self::Clip(path) => path,
        }
    }
}

/// Everything that a user names, each once.
///
/// # Errors
/// Something does not exist, or has no episode.
pub fn all(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for path in paths {
        let is_clip = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
        let found = match is_clip && path.is_file() {
            true => vec![Input::Clip(path.clone())],
            false => all_episodes(std::slice::from_ref(path))?
                .into_iter()
                .map(Input::Episode)
                .collect(),
        };
        for input in found {
            let place = input
                .path()
                .canonicalize()
                .unwrap_or_else(|_| input.path().to_owned());
            if known.insert(place) {
                inputs.push(input);
            }
        }
    }
    Ok(inputs)
}

/// How all inputs are treated.
pub struct Work<'a> {
    /// The hands that were given, at most one of each side.
    pub hands: Vec<Arc<Hand>>,
    /// How they are followed.
    pub options: EpisodeOptions,
    /// Steps per second of files of keypoints.
    pub fps: Option<f64>,
    /// Where results go.
    pub out: Option<&'a Path>,
    /// How samples are brought to their times.
    pub alignment: &'a Alignment,
    /// Files of keypoints shall be drawn.
    pub wants_trace: bool,
}

impl Work<'_> {
    /// Ends the program where the options do not fit the inputs.
    ///
    /// # Errors
    /// Two inputs would have one result.
    pub fn check(&self, inputs: &[Input]) -> Result<()> {
        let clips = inputs
            .iter()
            .filter(|input| matches!(input, Input::Clip(_)));
        let clips: Vec<&Path> = clips.map(Input::path).collect();
        if let Some(first) = clips.first() {
            let first = first.display();
            if self.options.arm.is_some() {
                refuse(&format!(
                    "--arm: {first} has no wrist poses to carry the hand along, expected episodes"
                ));
            }
            if self.hands.len() != 1 {
                refuse(&format!(
                    "--hand: {} given, expected one for {first}; such as --hand xhand_right",
                    match self.hands.len() {
                        0 => "none",
                        _ => "two",
                    }
                ));
            }
            if self.fps.is_none() {
                refuse(&format!(
                    "--fps: none given, expected the steps per second of {first}; such as --fps 30"
                ));
            }
            if self.out.is_some() && inputs.len() > 1 {
                refuse(&format!(
                    "--out: one result for {} inputs, expected {first} alone; leave --out away, or give \
                     one after another",
                    inputs.len()
                ));
            }
            if let Some(out) = self.out {
                clip::format_of(out)?;
            }
        }
        let mut made: BTreeMap<PathBuf, &Path> = BTreeMap::new();
        for input in inputs {
            let path = input.path();
            if let Input::Episode(_) = input
                && let Some(other) = made.insert(self.episode_out(path, "hand"), path)
            {
                bail!(
                    "{} and {} would have one result, expected two in {}; retarget them one after \
                     another, with an --out each",
                    other.display(),
                    path.display(),
                    self.out.unwrap_or(Path::new("")).display()
                );
            }
        }
        Ok(())
    }

    fn episode_out(&self, episode: &Path, hand: &str) -> PathBuf {
        let beside = episode.parent().unwrap_or(Path::new("")).join("derived");
        derived_path_in(self.out.unwrap_or(&beside), episode, hand)
    }

    /// Retargets one input, to each hand.
    ///
    /// # Errors
    /// It cannot be read, followed or written, or an interrupt came.
    pub fn one(&self, input: &Input, interrupt: &Interrupt) -> Result<Vec<Done>> {
        match (input, &self.hands[..]) {
            (Input::Clip(path), [hand]) => Ok(vec![clip::retarget(&clip::ClipJob {
                path,
                out: self.out,
                // Checked before.
                fps: self.fps.unwrap_or(f64::NAN),
                hand,
                options: &self.options,
                max_gap: self.alignment.max_gap(),
                is_stopped: &|| interrupt.has_come(),
                wants_trace: self.wants_trace,
            })?]),
            (Input::Clip(path) | Input::Episode(path), given) => {
                let (episode, calibration) = self.alignment.open(path)?;
                let hands = match given {
                    [] => hands_of(&episode)?,
                    given => given.to_vec(),
                };
                let mut opened = Some((episode, calibration));
                let mut done: Vec<Done> = Vec::new();
                for hand in hands {
                    let opened = match opened.take() {
                        Some(opened) => opened,
                        None => self.alignment.open(path)?,
                    };
                    let out = self.episode_out(path, hand.name());
                    let report = self.episode(opened, &hand, &out, interrupt)?;
                    let apart = match done.first() {
                        Some(first) => {
                            hands_apart((&first.report.path, &first.hand), (&report.path, &hand))?
                        }
                        None => None,
                    };
                    done.push(Done {
                        report,
                        apart,
                        hand,
                        trace: None,
                    });
                }
                Ok(done)
            }
        }
    }

    fn episode(
        &self,
        (episode, calibration): (Episode, Option<Calibration>),
        hand: &Arc<Hand>,
        out: &Path,
        interrupt: &Interrupt,
    ) -> Result<RetargetReport> {
        let is_stopped = || interrupt.has_come();
        let made_before = EpisodeJob {
            episode: &episode,
            calibration: calibration.as_ref(),
            max_gap: self.alignment.max_gap(),
            hand,
            options: Some(&self.options),
            out,
            is_stopped: &is_stopped,
        }
        .made_before()?;
        if let Some(report) = made_before {
            return Ok(report);
        }
        // An hour of images and of the other hand need not be read.
        let (own, other) = match hand.side() {
            Side::Left => ("left", "right"),
            Side::Right => ("right", "left"),
        };
        let aligned = self
            .alignment
            .align_streams(episode, calibration, |kind| match kind {
                StreamKind::Encoders { side } | StreamKind::Keypoints { side } => side == own,
                StreamKind::Tracker { name } => name.split('_').all(|word| word != other),
                _ => false,
            })?;
        let job = EpisodeJob {
            episode: &aligned.episode,
            calibration: aligned.calibration.as_ref(),
            max_gap: aligned.timeline.max_gap,
            hand,
            options: Some(&self.options),
            out,
            is_stopped: &is_stopped,
        };
        retarget_fresh(&job, &aligned)
    }
}
