//! From a recording to what a format is written from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use dexumi_episode::{Episode, EpisodeFile};
use dexumi_export::{
    DerivedHand, Expected, ExpectedImages, Motion, Origin, Quality, ResampleJob, ResampleOptions,
    ResampleReport, Resampled, RobotRows, Side, jpeg_size, resample,
};
use dexumi_retarget::{Derivation, Hand, Kinematics, RetargetReport, sha256};

use super::Choices;
use crate::command::{
    Aligned,
    check::{self, Judge, Judged},
    interrupt::Interrupt,
    retarget,
};
use crate::terminal::Progress;

fn side_of(hand: &Hand) -> Side {
    match hand.side() {
        dexumi_retarget::Side::Left => Side::Left,
        dexumi_retarget::Side::Right => Side::Right,
    }
}

/// Verdicts by recording. One that cannot be judged has none.
pub type Judgements = BTreeMap<PathBuf, Judged>;

/// Judges recordings.
pub fn judge_all(episodes: &[PathBuf], judge: &Judge<'_>, interrupt: &Interrupt) -> Judgements {
    let progress = Progress::new("check", episodes.len() as u64);
    let found = check::verdicts(episodes, judge, None, interrupt, progress);
    for one in &found.unjudged {
        eprintln!("note: not judged: {}: {:#}", one.path.display(), one.error);
    }
    let judged = found.judged.into_iter();
    judged.map(|one| (one.path.clone(), one)).collect()
}

/// A verdict as the dataset keeps it.
pub fn quality_of(judged: &Judged) -> Quality {
    Quality {
        grade: judged.verdict.grade.to_string(),
        tags: judged.verdict.tags.clone(),
        not_measured: judged.verdict.not_measured.clone(),
        verdict: check::verdict_json(&judged.verdict),
    }
}

/// Motors and fingertips of joints, row-major.
fn robot_rows(hand: &Arc<Hand>, joints: &[f64]) -> RobotRows {
    let mut kinematics = Kinematics::new(hand.clone());
    let mut rows = RobotRows {
        motor_units: hand
            .motors()
            .iter()
            .map(|motor| motor.unit.name().to_owned())
            .collect(),
        motors: Vec::new(),
        fingers: hand
            .tips()
            .iter()
            .map(|tip| tip.finger.name().to_owned())
            .collect(),
        tips_m: Vec::new(),
    };
    for q in joints.chunks_exact(hand.dof()) {
        let motors = hand.motors().iter().zip(q);
        rows.motors
            .extend(motors.map(|(motor, &position)| motor.command(position)));
        rows.tips_m.extend(
            kinematics
                .update(q)
                .tips
                .iter()
                .map(|tip| [tip.x, tip.y, tip.z]),
        );
    }
    rows
}

/// How a hand's motion was made, and how well.
fn motion_of(hand: &Hand, report: &RetargetReport) -> Result<Motion> {
    let made: Option<Derivation> = EpisodeFile::open(&report.path)?.json("derived")?;
    let method = made.and_then(|made| serde_json::from_str(&made.method).ok());
    Ok(Motion {
        hand: hand.name().to_owned(),
        method: method.unwrap_or_default(),
        samples: report.passed + report.clipped + report.held,
        clipped: report.clipped,
        held: report.held,
        tip_error_p95_m: report.figures.tip_error_p95_m,
    })
}

impl Choices {
    /// The episodes that are wanted, such as `is_chosen` already, and those that are not. Where something is asked of verdicts, one
    /// that has none is not wanted.
    pub fn selected(
        &self,
        episodes: &[PathBuf],
        judged: &Judgements,
        is_chosen: impl Fn(&Path) -> bool,
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        for words in self.selection.unknown(judged.values())? {
            eprintln!("note: {words}");
        }
        let (mut wanted, mut deselected) = (Vec::new(), Vec::new());
        for path in episodes {
            let takes = match judged.get(path) {
                _ if is_chosen(path) => true,
                Some(judged) => self.selection.takes(judged)?,
                None => self.selection.is_all(),
            };
            match takes {
                true => wanted.push(path.clone()),
                false => deselected.push(path.clone()),
            }
        }
        if wanted.is_empty() && !deselected.is_empty() {
            bail!(
                "none of {} episodes passes --min-grade and --where, expected one; \
                 `dexumi check` says why",
                deselected.len()
            );
        }
        Ok((wanted, deselected))
    }

    /// An episode on the grid, retargeted to the hands `given`, or else to the rig's.
    pub fn resampled(
        &self,
        path: &Path,
        given: &[Arc<Hand>],
        fps: u32,
    ) -> Result<(Resampled, ResampleReport)> {
        let aligned = self.alignment.load(path)?;
        let hands = match given {
            [] => retarget::hands_of(&aligned.episode)?,
            given => given.to_vec(),
        };
        let mut derived = Vec::new();
        let mut motion = Vec::new();
        for hand in &hands {
            let report = retarget::retarget(&aligned, hand)?;
            motion.push(motion_of(hand, &report)?);
            derived.push((side_of(hand), report.path));
        }
        let given_hands = &hands;
        let hands = hands.iter().zip(&derived);
        let job = ResampleJob {
            episode: &aligned.episode,
            timeline: &aligned.timeline,
            calibration: aligned.calibration.as_ref(),
            hands: hands
                .map(|(hand, (side, path))| DerivedHand {
                    side: *side,
                    name: hand.name(),
                    path,
                })
                .collect(),
        };
        let options = ResampleOptions {
            fps,
            causal: self.causal,
            trim_idle: !self.keep_idle,
        };
        let (mut episode, report) = resample(&job, &options)?;
        episode.origin = Some(Origin {
            path: std::path::absolute(path)?,
            fingerprint: aligned.episode.file.fingerprint()?,
            inputs_sha256: self.inputs(&aligned, &derived)?,
            calibration_sha256: aligned
                .calibration
                .as_ref()
                .map_or_else(String::new, |calibration| {
                    sha256(calibration.to_toml().as_bytes())
                }),
            motion,
            rig: aligned.episode.info.rig.clone(),
            resampled: report.clone(),
        });
        for motion in &mut episode.hands {
            let hand = given_hands.iter().find(|hand| side_of(hand) == motion.side);
            motion.robot = hand.map(|hand| robot_rows(hand, &motion.joints_rad));
        }
        Ok((episode, report))
    }

    /// What is known of a recording before it is read.
    pub fn expected(path: &Path, fps: u32) -> Result<Expected> {
        let episode = Episode::open(path)?;
        let steps = (episode.duration_s() * f64::from(fps)).ceil() as u64;
        let mut cameras = Vec::new();
        let mut images = 0;
        for (topic, (_, count)) in episode.file.topics() {
            let Some(name) = topic
                .strip_prefix("/camera/")
                .and_then(|rest| rest.strip_suffix("/image"))
            else {
                continue;
            };
            if count == 0 {
                continue;
            }
            let index = episode.file.images(&topic)?;
            let first = episode.file.image(&index, 0)?.data;
            let size = jpeg_size(&first);
            let size =
                size.map_err(|what| anyhow::anyhow!("first image of camera {name}: {what}"))?;
            images += count;
            cameras.push(ExpectedImages { size, bytes: 0 });
        }
        // Nearly all of a recording are its images.
        let mean = std::fs::metadata(path)?.len() / images.max(1);
        cameras.iter_mut().for_each(|camera| camera.bytes = mean);
        Ok(Expected { steps, cameras })
    }

    /// SHA-256 of what the values of an episode depend on besides the recording and the choices:
    /// how its motion was made, and the calibration.
    fn inputs(&self, aligned: &Aligned, derived: &[(Side, PathBuf)]) -> Result<String> {
        let mut words = vec![self.alignment.max_gap().nanos().to_string()];
        for (side, path) in derived {
            let made: Option<serde_json::Value> = EpisodeFile::open(path)?.json("derived")?;
            words.push(format!("{} {}", side.name(), made.unwrap_or_default()));
        }
        words.extend(
            aligned
                .calibration
                .as_ref()
                .map(|calibration| calibration.to_toml()),
        );
        Ok(sha256(words.join("\n").as_bytes()))
    }
}
