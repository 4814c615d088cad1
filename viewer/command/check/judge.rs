//! One episode's verdict: as it was found before, or anew.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use dexumi_episode::{Calibration, Episode, EpisodeError, EpisodeFile, write_atomically};
use dexumi_quality::{Input, Measured, Plot, Verdict, rules_sha256};
use dexumi_retarget::{
    ArmPlan, EpisodeJob, EpisodeOptions, Hand, RetargetReport, derived_path, retarget_episode,
    sha256, sha256_of_model,
};
use serde::{Deserialize, Serialize};

use crate::command::{
    Aligned, Alignment, SOFTWARE,
    interrupt::Interrupt,
    retarget::{self, arm_of},
};

/// An episode and what is said of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The episode.
    pub path: PathBuf,
    /// Its verdict.
    pub verdict: Verdict,
    /// It was found, not made.
    pub reused: bool,
}

/// What a verdict is made from; where one of these differs, it is made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// Name of the episode's file.
    input: String,
    /// Its fingerprint.
    input_fingerprint: String,
    /// SHA-256 of the calibration that was applied; empty where there is none.
    calibration_sha256: String,
    /// SHA-256 of the hands whose limits count.
    hands_sha256: Vec<String>,
    /// Fingerprints of the motion on them, as far as there is any.
    retargeted_fingerprints: Vec<String>,
    /// SHA-256 of the arm; empty where none is named.
    arm_sha256: String,
    /// Longest gap that is interpolated across [ns].
    max_gap_ns: i64,
    /// SHA-256 of the metrics and their thresholds.
    rules_sha256: String,
    /// Program and version.
    software: String,
}

/// `derived/episode_0000.quality.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    made: Made,
    verdict: Verdict,
    plots: Vec<Plot>,
}

/// Where an episode's verdict lies.
fn stored_path(episode: &Path) -> PathBuf {
    let stem = episode.file_stem().unwrap_or_default().to_string_lossy();
    let folder = episode.parent().unwrap_or(Path::new("")).join("derived");
    folder.join(format!("{stem}.quality.json"))
}

fn read_stored(episode: &Path) -> Option<Stored> {
    let text = std::fs::read(stored_path(episode)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Curves of an episode that was judged; none where its verdict could not be kept.
pub fn plots(episode: &Path) -> Vec<Plot> {
    read_stored(episode).map_or_else(Vec::new, |stored| stored.plots)
}

/// How episodes are judged.
pub struct Judge<'a> {
    alignment: &'a Alignment,
    /// Those that were given; else the rig's.
    hands: Vec<Arc<Hand>>,
    arm: Option<ArmPlan>,
    interrupt: &'a Interrupt,
    rules_sha256: String,
    /// It was said that verdicts cannot be kept.
    has_complained: AtomicBool,
}

impl<'a> Judge<'a> {
    /// # Errors
    /// The hand or the arm is none.
    pub fn new(
        alignment: &'a Alignment,
        hands: &[String],
        arm: Option<&str>,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let arm = arm.map(arm_of).transpose()?;
        Ok(Self {
            alignment,
            hands: hands
                .iter()
                .map(|name| retarget::hand_of(name))
                .collect::<Result<_>>()?,
            // Episodes are judged side by side already.
            arm: arm.map(|arm| ArmPlan {
                arm: Arc::new(arm),
                threads: NonZeroUsize::new(1),
            }),
            interrupt,
            rules_sha256: rules_sha256(),
            has_complained: AtomicBool::new(false),
        })
    }

    /// Judges one.
    ///
    /// # Errors
    /// It cannot be read, or an interrupt came.
    pub fn one(&self, path: &Path) -> Result<Judged> {
        let (episode, calibration) = self.alignment.open(path)?;
        let hands = match &self.hands[..] {
            [] => retarget::hands_of(&episode).map_err(|error| format!("{error:#}")),
            given => Ok(given.to_vec()),
        };
        let (hands, no_hand) = match hands {
            Ok(hands) => (hands, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let before: Vec<Option<RetargetReport>> = hands
            .iter()
            .map(|hand| {
                let found = self.retargeted_before(&episode, calibration.as_ref(), hand);
                found.ok().flatten()
            })
            .collect();
        let made = self.made(
            &episode,
            calibration.as_ref(),
            &hands,
            before.iter().flatten(),
        )?;
        if let Some(stored) = read_stored(path).filter(|stored| stored.made == made) {
            return Ok(Judged {
                path: path.to_owned(),
                verdict: stored.verdict,
                reused: true,
            });
        }
        let aligned = self.alignment.align(episode, calibration)?;
        let (mut retargeted, mut not_retargeted) = (Vec::new(), Vec::from_iter(no_hand));
        for (hand, before) in hands.iter().zip(before) {
            match before.map_or_else(|| self.retarget(&aligned, hand), Ok) {
                Ok(report) => retargeted.push(report),
                Err(error) if self.interrupt.has_come() => return Err(error),
                Err(error) => not_retargeted.push(format!("{}: {error:#}", hand.name())),
            }
        }
        let is_stopped = || self.interrupt.has_come();
        let input = Input {
            episode: &aligned.episode,
            timeline: &aligned.timeline,
            calibration: aligned.calibration.as_ref(),
            retargeted: &retargeted,
            not_retargeted: &not_retargeted,
            is_stopped: &is_stopped,
        };
        let measured = Measured::of(input)?;
        let verdict = Verdict::of(&measured);
        let stored = Stored {
            made: self.made(
                &aligned.episode,
                aligned.calibration.as_ref(),
                &hands,
                retargeted.iter(),
            )?,
            verdict,
            plots: measured.plots(),
        };
        self.keep(path, &stored);
        Ok(Judged {
            path: path.to_owned(),
            verdict: stored.verdict,
            reused: false,
        })
    }

    fn made<'r>(
        &self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        hands: &[Arc<Hand>],
        retargeted: impl Iterator<Item = &'r RetargetReport>,
    ) -> Result<Made, EpisodeError> {
        let name = episode.file.path().file_name().unwrap_or_default();
        let fingerprint = |report: &RetargetReport| EpisodeFile::open(&report.path)?.fingerprint();
        let calibration = calibration.map(|calibration| sha256(calibration.to_toml().as_bytes()));
        let arm = self
            .arm
            .as_ref()
            .map(|plan| sha256_of_model(plan.arm.as_ref()));
        Ok(Made {
            input: name.to_string_lossy().into_owned(),
            input_fingerprint: episode.file.fingerprint()?,
            calibration_sha256: calibration.unwrap_or_default(),
            hands_sha256: hands
                .iter()
                .map(|hand| sha256_of_model(hand.as_ref()))
                .collect(),
            retargeted_fingerprints: retargeted.map(fingerprint).collect::<Result<_, _>>()?,
            arm_sha256: arm.unwrap_or_default(),
            max_gap_ns: self.alignment.max_gap().nanos(),
            rules_sha256: self.rules_sha256.clone(),
            software: SOFTWARE.to_owned(),
        })
    }

    /// Runs a job: with the arm that was named, else as it was retargeted before.
    fn with_job<T>(
        &self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        hand: &Arc<Hand>,
        run: impl FnOnce(&EpisodeJob<'_>) -> T,
    ) -> T {
        let usual = derived_path(episode.file.path(), hand.name());
        // With an arm a result of its own: the usual one may be made by other options.
        let (out, options) = match &self.arm {
            None => (usual, None),
            Some(plan) => (
                usual.with_extension(format!("{}.mcap", plan.arm.name())),
                Some(EpisodeOptions {
                    arm: Some(plan.clone()),
                    ..EpisodeOptions::default()
                }),
            ),
        };
        run(&EpisodeJob {
            episode,
            calibration,
            max_gap: self.alignment.max_gap(),
            hand,
            options: options.as_ref(),
            out: &out,
            is_stopped: &|| self.interrupt.has_come(),
        })
    }

    fn retargeted_before(
        &self,
        episode: &Episode,
        calibration: Option<&Calibration>,
        hand: &Arc<Hand>,
    ) -> Result<Option<RetargetReport>, EpisodeError> {
        self.with_job(episode, calibration, hand, |job| job.made_before())
    }

    fn retarget(&self, aligned: &Aligned, hand: &Arc<Hand>) -> Result<RetargetReport> {
        let calibration = aligned.calibration.as_ref();
        self.with_job(&aligned.episode, calibration, hand, |job| {
            let _alone = retarget::alone(job.out);
            Ok(match job.made_before()? {
                Some(report) => report,
                None => retarget_episode(job, &aligned.timeline)?,
            })
        })
    }

    /// Keeps a verdict. That it cannot be kept is told once; it is a verdict all the same.
    fn keep(&self, episode: &Path, stored: &Stored) {
        let path = stored_path(episode);
        let text = serde_json::to_vec(stored).expect("plain data is representable as JSON");
        let folder = path.parent().unwrap_or(Path::new(""));
        let kept = std::fs::create_dir_all(folder)
            .map_err(EpisodeError::io("create folder", folder))
            .and_then(|()| write_atomically(&path, &text));
        if let Err(error) = kept
            && !self.has_complained.swap(true, Ordering::Relaxed)
        {
            eprintln!(
                "note: verdicts are not kept: {:#}",
                anyhow::Error::from(error)
            );
        }
    }
}
