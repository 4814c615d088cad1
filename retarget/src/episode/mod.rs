//! A whole recorded episode through a hand's maps, into a derived file.

mod apart;
mod arm;
mod derivation;
mod effector;
mod exoskeleton;
mod glove;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dexumi_episode::{
    Calibration, Delta, Episode, EpisodeError, EpisodeWriter, SessionTime,
    align::Timeline,
    schema::{Retargeted, Stamp},
};
use serde::{Deserialize, Serialize};

pub use apart::{HANDS_NEAR_M, HandsApart, hands_apart};
pub use arm::{ArmFigures, ArmPlan, arm_topic};
pub use derivation::{Derivation, sha256, sha256_of_model};

use crate::arm::ArmError;
use crate::follow::{FollowError, FollowOptions};
use crate::{Hand, Side, StepFigures};

/// How episodes are retargeted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EpisodeOptions {
    /// How keypoints are followed; joints of an exoskeleton are taken joint for joint.
    pub follow: FollowOptions,
    /// Answers at the episode's start + k / rate (Hz); `None`: one for every sample.
    pub rate_hz: Option<f64>,
    /// An arm that shall carry the hand; `None`: none is asked about.
    pub arm: Option<ArmPlan>,
}

/// One episode, and what is to be made of it.
pub struct EpisodeJob<'a> {
    /// The episode.
    pub episode: &'a Episode,
    /// The calibration that is applied to its samples.
    pub calibration: Option<&'a Calibration>,
    /// Longest gap that is interpolated across.
    pub max_gap: Delta,
    /// The robot hand.
    pub hand: &'a Arc<Hand>,
    /// How; `None`: as an earlier result was made, else by the defaults.
    pub options: Option<&'a EpisodeOptions>,
    /// The derived file.
    pub out: &'a Path,
    /// Asked between steps; when it says so, nothing is left of this result.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
}

/// Why an episode could not be retargeted.
#[derive(Debug, thiserror::Error)]
pub enum RetargetError {
    /// The episode lacks something, or a file could not be read or written.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// Its keypoints cannot be followed.
    #[error("keypoints of {}", path.display())]
    Follow {
        /// The episode.
        path: PathBuf,
        /// Why not.
        source: FollowError,
    },
    /// The arm cannot be checked.
    #[error("arm check of {}", path.display())]
    Arm {
        /// The episode.
        path: PathBuf,
        /// Why not.
        source: Box<ArmError>,
    },
    /// It was stopped; the file is as it was before.
    #[error("stopped before {} was whole", path.display())]
    Stopped {
        /// The derived file.
        path: PathBuf,
    },
}

/// Where an episode's motion came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Joint angles of an exoskeleton.
    Exoskeleton,
    /// Hand keypoints of a glove or an estimator.
    Keypoints,
}

/// What became of an episode's steps: received = passed + clipped + held + gaps + left_out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetargetReport {
    /// Name of the episode.
    pub input: String,
    /// The derived file.
    pub path: PathBuf,
    /// It was there already, made from the same input in the same way.
    pub reused: bool,
    /// What was followed.
    pub source: Source,
    /// Robot over human, finger by finger; empty for an exoskeleton.
    pub scales: Vec<(String, f64)>,
    /// Keypoints were turned into the axes that they show.
    pub turned: bool,
    /// Scans of the joint encoders, or samples of keypoints, or steps of the grid.
    pub received: u64,
    /// Steps that the hand follows exactly.
    pub passed: u64,
    /// Steps at a limit of position or velocity, or cut short to keep links apart.
    pub clipped: u64,
    /// Steps whose input was not finite, or showed no hand: the last answer was held.
    pub held: u64,
    /// Scans or steps of the grid inside a gap of some channel: no step was made.
    pub gaps: u64,
    /// Samples marked suspect by the recorder, or not later than the one before.
    pub left_out: u64,
    /// Asked minus given, root mean square over all joints and steps [rad].
    pub residual_rms_rad: Option<f64>,
    /// The largest [rad].
    pub residual_max_rad: Option<f64>,
    /// Half the width of the widest play that was taken out of a joint of the exoskeleton [rad].
    pub play_max_rad: Option<f64>,
    /// How well.
    pub figures: StepFigures,
    /// Poses of the end effector.
    pub poses: u64,
    /// Poses that were refused.
    pub poses_rejected: u64,
    /// What the arm makes of them, where one is asked about.
    pub arm: Option<ArmFigures>,
}

/// Topic of a side's retargeted joints.
pub fn joints_topic(side: &str) -> String {
    format!("/retarget/{side}/joints")
}

/// Topic of a side's end effector.
pub fn effector_topic(side: &str) -> String {
    format!("/retarget/{side}/end_effector")
}

/// Path of the derived file of an episode: `derived/` beside it.
pub fn derived_path(episode: &Path, hand: &str) -> PathBuf {
    derived_path_in(
        &episode.parent().unwrap_or(Path::new("")).join("derived"),
        episode,
        hand,
    )
}

/// As [`derived_path`], in another folder.
pub fn derived_path_in(folder: &Path, episode: &Path, hand: &str) -> PathBuf {
    let stem = episode.file_stem().unwrap_or_default().to_string_lossy();
    folder.join(format!("{stem}.retarget.{hand}.mcap"))
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Left => "left",
        Side::Right => "right",
    }
}

impl EpisodeJob<'_> {
    fn options(&self) -> EpisodeOptions {
        self.options.cloned().unwrap_or_default()
    }

    fn name(&self) -> String {
        let path = self.episode.file.path();
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// What a result of this job says of its making.
    fn derivation(&self, source: Source) -> Result<Derivation, EpisodeError> {
        let calibration = self.calibration.map(|calibration| calibration.to_toml());
        Ok(Derivation {
            input: self.name(),
            input_fingerprint: self.episode.file.fingerprint()?,
            calibration_sha256: calibration.map_or(String::new(), |text| sha256(text.as_bytes())),
            hand: self.hand.name().to_owned(),
            hand_sha256: sha256_of_model(self.hand.as_ref()),
            max_gap_ns: self.max_gap.nanos(),
            method: method(source, &self.options()),
            software: concat!("dexumi ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }

    /// The report of a result that is there already, made from the same input in the same way. The
    /// samples are not read.
    ///
    /// # Errors
    /// The episode has nothing to follow.
    pub fn made_before(&self) -> Result<Option<RetargetReport>, EpisodeError> {
        let wanted = self.derivation(source_of(self)?)?;
        Ok(derivation::reusable(
            self.out,
            &wanted,
            self.options.is_none(),
        ))
    }
}

/// Retargets an episode, whose samples are `timeline`, to a hand, and the wrist tracker to the end effector
/// through the rig's mount `tracker/<name>` from `hand`.
///
/// Joints of an exoskeleton of the hand's side go joint for joint, within limits; where there are none,
/// keypoints of that side are followed by the preset, each sample turned into the axes that its points
/// show. The derived file is replaced; see [`EpisodeJob::made_before`].
///
/// # Errors
/// The episode has neither calibrated joints nor keypoints of the hand's side, their names are not
/// the hand's, the derived file cannot be written, or it was stopped.
pub fn retarget_episode(
    job: &EpisodeJob<'_>,
    timeline: &Timeline,
) -> Result<RetargetReport, RetargetError> {
    let options = &job.options();
    let source = source_of(job)?;
    let derivation = job.derivation(source)?;
    if let Some(folder) = job.out.parent() {
        std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    }
    let mut writer = EpisodeWriter::create_bare(&derivation::fresh(job.out)?)?;
    let mut report = RetargetReport {
        input: job.name(),
        path: job.out.to_owned(),
        reused: false,
        source,
        scales: Vec::new(),
        turned: false,
        received: 0,
        passed: 0,
        clipped: 0,
        held: 0,
        gaps: 0,
        left_out: 0,
        residual_rms_rad: None,
        residual_max_rad: None,
        play_max_rad: None,
        figures: StepFigures::default(),
        poses: 0,
        poses_rejected: 0,
        arm: None,
    };
    let made = match source {
        Source::Exoskeleton => exoskeleton::write(job, timeline, options, &mut writer, &mut report),
        Source::Keypoints => glove::write(job, timeline, options, &mut writer, &mut report),
    }
    .and_then(|()| effector::write(job, timeline, options, &mut writer, &mut report))
    .and_then(|()| {
        let json = |value: String| [("json".to_owned(), value)].into();
        writer.metadata("derived", &json(derivation.to_json()))?;
        let text = serde_json::to_string(&report).expect("plain data is representable as JSON");
        Ok(writer.metadata("retarget", &json(text))?)
    });
    if let Err(error) = made {
        // What is unfinished is no result; that it cannot be removed matters less than why it failed.
        let _ = writer.discard();
        return Err(error);
    }
    let whole = writer.finish_bare()?;
    std::fs::rename(&whole, job.out).map_err(EpisodeError::io("rename to", job.out))?;
    Ok(report)
}

/// Joints go before keypoints.
fn source_of(job: &EpisodeJob<'_>) -> Result<Source, EpisodeError> {
    let side = side_name(job.hand.side());
    let file = &job.episode.file;
    let topics = file.topics();
    let has = |topic: &str| topics.get(topic).is_some_and(|(_, messages)| *messages > 0);
    let topic = glove::keypoints_topic(side);
    if has(&format!("/exo/{side}/encoders")) {
        return Ok(Source::Exoskeleton);
    }
    if has(&topic) {
        return Ok(Source::Keypoints);
    }
    Err(EpisodeError::content(
        format!(
            "no joints and no keypoints of the {side} side, expected samples of \
             /exo/{side}/encoders or {topic} for hand `{}`; choose a hand of the other side, or another \
             episode",
            job.hand.name()
        ),
        file.path(),
    ))
}

fn method(source: Source, options: &EpisodeOptions) -> String {
    let arm = options
        .arm
        .as_ref()
        .map(|plan| (plan.arm.name(), sha256_of_model(plan.arm.as_ref())));
    let follow = (source == Source::Keypoints).then(|| options.follow.to_json());
    serde_json::json!({
        "source": source,
        "rate_hz": options.rate_hz,
        "follow": follow,
        "arm": arm,
    })
    .to_string()
}

/// What every step is stamped with.
fn stamp(episode: &Episode, time: SessionTime, sequence: u64) -> Stamp {
    Stamp {
        timestamp_ns: time.nanos(),
        host_time_ns: episode.info.anchor.to_host(time).nanos(),
        sequence,
        ..Stamp::default()
    }
}

/// Takes steps one by one to the file, and asks now and then whether to go on.
struct StepWriter<'a, 'b> {
    job: &'a EpisodeJob<'b>,
    writer: &'a mut EpisodeWriter,
    channel: dexumi_episode::ChannelId,
    written: u64,
}

impl<'a, 'b> StepWriter<'a, 'b> {
    fn new(
        job: &'a EpisodeJob<'b>,
        writer: &'a mut EpisodeWriter,
        hand: &Hand,
        source: &str,
    ) -> Result<Self, EpisodeError> {
        let names: Vec<_> = hand.variable_names().collect();
        let units: Vec<_> = hand
            .motors()
            .iter()
            .map(|motor| motor.unit.name())
            .collect();
        let tips: Vec<_> = hand.tips().iter().map(|tip| tip.finger.name()).collect();
        let metadata = [
            ("names", names.join(",")),
            ("motor_units", units.join(",")),
            ("tips", tips.join(",")),
            ("hand", hand.name().to_owned()),
            ("source", source.to_owned()),
        ];
        let topic = joints_topic(side_name(hand.side()));
        let channel = writer.channel::<Retargeted>(&topic, &metadata)?;
        Ok(Self {
            job,
            writer,
            channel,
            written: 0,
        })
    }

    fn write(&mut self, time: SessionTime, mut message: Retargeted) -> Result<(), RetargetError> {
        let sequence = self.written;
        message.stamp = Some(stamp(self.job.episode, time, sequence));
        self.writer
            .write(self.channel, sequence, time, time, &message);
        self.written += 1;
        if self.written.is_multiple_of(1024) {
            self.writer.tick()?;
            check_stop(self.job)?;
        }
        Ok(())
    }
}

fn check_stop(job: &EpisodeJob<'_>) -> Result<(), RetargetError> {
    match (job.is_stopped)() {
        true => Err(RetargetError::Stopped {
            path: job.out.to_owned(),
        }),
        false => Ok(()),
    }
}

/// `start` + k / `rate_hz`, from the first that is not before `first` to `last`.
fn grid(
    start: SessionTime,
    first: SessionTime,
    last: SessionTime,
    rate_hz: f64,
) -> Vec<SessionTime> {
    let at = |k: i64| start + Delta::from_nanos((k as f64 * 1e9 / rate_hz).round() as i64);
    let begin = ((first - start).secs_f64() * rate_hz).floor() as i64;
    (begin..)
        .map(at)
        .skip_while(|&time| time < first)
        .take_while(|&time| time <= last)
        .collect()
}
