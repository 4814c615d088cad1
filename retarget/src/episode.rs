//! A whole recorded episode through a hand's maps, into a derived file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dexumi_episode::{
    Calibration, Episode, EpisodeError, EpisodeFile, EpisodeWriter, SessionTime,
    align::Timeline,
    schema::{EffectorPose, Retargeted, Stamp},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Hand, JointMap, Side, WristMap, WristMode};

/// What a derived file says of its making, in metadata `derived`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// Name of the episode.
    pub input: String,
    /// Its SHA-256.
    pub input_sha256: String,
    /// SHA-256 of the calibration that was applied.
    pub calibration_sha256: String,
    /// The hand.
    pub hand: String,
    /// Longest gap that was interpolated across [ns].
    pub max_gap_ns: i64,
    /// Program and version.
    pub software: String,
}

/// What became of an episode's steps: received = passed + clipped + held + gaps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetargetReport {
    /// The derived file.
    pub path: PathBuf,
    /// It was there already, made from the same input in the same way.
    pub reused: bool,
    /// Scans of the joint encoders.
    pub received: u64,
    /// Steps that the hand follows exactly.
    pub passed: u64,
    /// Steps at a limit of position or velocity.
    pub clipped: u64,
    /// Steps whose input was not finite: the last answer was held.
    pub held: u64,
    /// Scans inside a gap of some channel: no step was made.
    pub gaps: u64,
    /// Asked minus given, root mean square over all joints and steps [rad].
    pub residual_rms_rad: f64,
    /// The largest [rad].
    pub residual_max_rad: f64,
    /// Poses of the end effector.
    pub poses: u64,
    /// Poses that were refused.
    pub poses_rejected: u64,
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
    let stem = episode
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let folder = episode.parent().unwrap_or(Path::new("")).join("derived");
    folder.join(format!("{stem}.retarget.{hand}.mcap"))
}

/// Retargets an episode to `hand`: exoskeleton joints to robot joints and motor
/// commands within limits, the wrist tracker to the end effector through the
/// rig's mount `tracker/<name>` from `hand`. The result lies beside the session;
/// one that was made from the same input in the same way is kept.
///
/// # Errors
/// The episode has no calibrated joints of the hand's side, their names are not
/// the hand's, or the derived file cannot be written.
pub fn retarget_episode(
    episode: &Episode,
    timeline: &Timeline,
    calibration: &Calibration,
    hand: &Arc<Hand>,
    out: &Path,
) -> Result<RetargetReport, EpisodeError> {
    let input = episode.file.path();
    let side = match hand.side() {
        Side::Left => "left",
        Side::Right => "right",
    };
    let derivation = Derivation {
        input: input
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        input_sha256: hex(episode.file.bytes()),
        calibration_sha256: hex(calibration.to_toml().as_bytes()),
        hand: hand.name().to_owned(),
        max_gap_ns: timeline.max_gap.nanos(),
        software: concat!("dexumi ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    if let Some(report) = reusable(out, &derivation) {
        return Ok(report);
    }
    let joints = timeline
        .joints
        .get(side)
        .filter(|joints| joints.calibrated)
        .ok_or_else(|| {
            EpisodeError::content(
                format!(
                    "no calibrated joints of the {side} side, expected them for hand `{}`; \
                 run `dexumi calibrate joints` and give its file by --calibration",
                    hand.name()
                ),
                input,
            )
        })?;
    let order: Vec<usize> =
        hand.variable_names()
            .map(|name| {
                joints.names.iter().position(|known| known == name).ok_or_else(|| {
                EpisodeError::content(
                    format!(
                        "joint `{name}` of hand `{}` is not in the calibration, which has: {}; \
                         calibrate for this hand",
                        hand.name(),
                        joints.names.join(", ")
                    ),
                    input,
                )
            })
            })
            .collect::<Result<_, _>>()?;

    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    }
    let _ = std::fs::remove_file(dexumi_episode::partial_path(out));
    let mut writer = EpisodeWriter::create_bare(&fresh(out)?)?;
    let mut report = RetargetReport {
        path: out.to_owned(),
        reused: false,
        received: joints.rows.len() as u64,
        passed: 0,
        clipped: 0,
        held: 0,
        gaps: 0,
        residual_rms_rad: 0.0,
        residual_max_rad: 0.0,
        poses: 0,
        poses_rejected: 0,
    };
    let names: Vec<_> = hand.variable_names().collect();
    let motor_units: Vec<_> = hand
        .motors()
        .iter()
        .map(|motor| motor.unit.name())
        .collect();
    let metadata = [
        ("names", names.join(",")),
        ("motor_units", motor_units.join(",")),
        ("hand", hand.name().to_owned()),
    ];
    let channel = writer.channel::<Retargeted>(&joints_topic(side), &metadata)?;
    let anchor = &episode.info.anchor;
    let stamp = |time: SessionTime, sequence: u64| Stamp {
        timestamp_ns: time.nanos(),
        host_time_ns: anchor.to_host(time).nanos(),
        sequence,
        ..Stamp::default()
    };
    let mut map = JointMap::new(hand.clone());
    let mut last: Option<SessionTime> = None;
    let mut square_sum = 0.0;
    for (index, &time) in joints.rows.iter().enumerate() {
        let angles: Option<Vec<f64>> = order
            .iter()
            .map(|&joint| joints.tracks[joint].at(time, timeline.max_gap))
            .collect();
        let Some(angles) = angles else {
            // The first and the last row lie between two scans of some channel.
            report.gaps += 1;
            continue;
        };
        let step = map.step(&angles, last.map(|last| (time - last).secs_f64()));
        last = Some(time);
        let flags = step.any_flags();
        if flags & (crate::NON_FINITE_HELD | crate::NO_ANSWER_YET) != 0 {
            report.held += 1;
        } else if flags != 0 {
            report.clipped += 1;
        } else {
            report.passed += 1;
        }
        for residual in step
            .residual_rad
            .iter()
            .filter(|residual| residual.is_finite())
        {
            square_sum += residual * residual;
            report.residual_max_rad = report.residual_max_rad.max(residual.abs());
        }
        let message = Retargeted {
            stamp: Some(stamp(time, index as u64)),
            position: step.position.clone(),
            motor: step.motor.clone(),
            residual: step.residual_rad.clone(),
            flags,
        };
        writer.write(channel, index as u64, time, time, &message);
        if index % 1024 == 1023 {
            writer.tick()?;
        }
    }
    let values = (report.received - report.gaps) * names.len() as u64;
    report.residual_rms_rad = (square_sum / values.max(1) as f64).sqrt();

    let effector = timeline.poses.iter().find_map(|(name, track)| {
        let mount = episode.rig.mount(&format!("tracker/{name}"), "hand")?;
        Some((track, mount))
    });
    if let Some((track, tracker_from_hand)) = effector {
        let channel = writer.channel::<EffectorPose>(&effector_topic(side), &[])?;
        let mut map = WristMap::new(tracker_from_hand, WristMode::Absolute);
        for (index, (&time, pose)) in track.times.iter().zip(&track.values).enumerate() {
            let q = pose.rotation.coords;
            let step = map.step(pose.translation.vector.into(), [q.x, q.y, q.z, q.w]);
            let Some(pose) = step.effector else {
                report.poses_rejected += 1;
                continue;
            };
            let q = pose.rotation.coords;
            let message = EffectorPose {
                stamp: Some(stamp(time, index as u64)),
                position: pose.translation.vector.iter().copied().collect(),
                rotation: vec![q.x, q.y, q.z, q.w],
                flags: step.flags,
            };
            writer.write(channel, index as u64, time, time, &message);
            report.poses += 1;
            if index % 1024 == 1023 {
                writer.tick()?;
            }
        }
    }
    let json = |value: String| [("json".to_owned(), value)].into();
    let text = serde_json::to_string(&derivation).expect("plain data is representable as JSON");
    writer.metadata("derived", &json(text))?;
    let text = serde_json::to_string(&report).expect("plain data is representable as JSON");
    writer.metadata("retarget", &json(text))?;
    let made = writer.finish_bare()?;
    std::fs::rename(&made, out).map_err(EpisodeError::io("rename to", out))?;
    Ok(report)
}

/// A name beside `out`, so that an older result stays until the new one is whole.
fn fresh(out: &Path) -> Result<PathBuf, EpisodeError> {
    let mut name = out.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    for leftover in [dexumi_episode::partial_path(&fresh), fresh.clone()] {
        if leftover.exists() {
            std::fs::remove_file(&leftover).map_err(EpisodeError::io("remove", &leftover))?;
        }
    }
    Ok(fresh)
}

fn reusable(out: &Path, wanted: &Derivation) -> Option<RetargetReport> {
    let file = EpisodeFile::open(out).ok()?;
    let made: Derivation = file.json("derived").ok()??;
    let report: RetargetReport = file.json("retarget").ok()??;
    (made == *wanted).then_some(RetargetReport {
        reused: true,
        path: out.to_owned(),
        ..report
    })
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
