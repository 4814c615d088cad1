//! Raw episodes of DexUMI's recorder, as episodes of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dexumi_episode::{Device, EpisodeInfo, EpisodeWriter, FORMAT_VERSION, Ledger, Rig, Session};
use nalgebra::Isometry3;

use super::raw::{RawEpisode, source_error};
use super::streams::{hand_of, mounts, streams};
use super::write::{anchor, write};
use super::{Imported, RECORD, images};
use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::options::Options;

/// What the source does not say.
pub struct Choices<'a> {
    /// What was done, one sentence.
    pub task: String,
    /// `left` or `right`.
    pub side: String,
    /// Robot hand; else the one whose board sent the encoders.
    pub hand: Option<String>,
    /// Fingers of the two sensors of an Inspire force board.
    pub fingers: [String; 2],
    /// Coordinate frame of the phone's camera (x right, y down, z forward) from that
    /// of the hand; else the hand's is the phone's own as Record3D has it (x right,
    /// y up, z backward), which is what DexUMI's data sets move.
    pub tracker_from_hand: Option<Isometry3<f64>>,
    /// Id of the new episode, a UUID.
    pub id: String,
    /// Program and version.
    pub software: &'static str,
    /// What a driver writes into the channel of its samples.
    pub channel_metadata: &'a dyn Fn(&Device) -> Vec<(&'static str, String)>,
    /// Where `ffmpeg` is.
    pub options: &'a Options,
}

/// Raw episodes of what a user names: one, or a folder of `episode_<i>`, by number.
///
/// # Errors
/// There is none.
pub fn raw_episodes(path: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let is_episode =
        |path: &Path| path.join("numeric_0").is_dir() || path.join("camera_0").is_dir();
    if is_episode(path) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(ExportError::io("list a folder", path))?;
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            let number = name.strip_prefix("episode_")?.parse().ok()?;
            is_episode(&path).then_some((number, path))
        })
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(source_error(
            "no raw episode found, expected numeric_0 and camera_0, or folders episode_<i> that have them",
            path,
        ));
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Writes a raw episode as the next one of a session.
///
/// # Errors
/// The source cannot be read or contradicts itself; the session cannot be written.
/// Nothing is left in the session then.
pub fn import(
    path: &Path,
    session: &Session,
    choices: &Choices<'_>,
) -> Result<Imported, ExportError> {
    let tools = Tools::new(choices.options);
    let mut raw = RawEpisode::open(path)?;
    let mut report = Imported {
        source: path.to_owned(),
        path: PathBuf::new(),
        samples: BTreeMap::new(),
        left_out: Vec::new(),
        missing: [
            "device clocks: every sample is dated by its arrival, minus the recorder's constant",
            "sequences and checksums: samples that were lost before the source was written are not counted",
            "wall-clock time: that of the files' last change stands for the end of the episode",
            "tracking state: every pose counts as valid",
            "images as the cameras gave them: they are decoded from an MPEG-4 video and compressed again",
        ]
        .map(str::to_owned)
        .into(),
        notes: Vec::new(),
        lossy: false,
    };
    let mut ledger = Ledger::new();
    let streams = streams(&mut raw, &tools, choices, &mut report, &mut ledger)?;
    let hand = match &choices.hand {
        Some(hand) => hand.clone(),
        None => hand_of(&streams, choices, path)?,
    };
    let rig = Rig {
        format: 1,
        name: "dexumi-import".to_owned(),
        hand: hand.clone(),
        device: streams.iter().map(|stream| stream.device.clone()).collect(),
        mount: mounts(&streams, choices, &mut report),
    };
    let anchor = anchor(&streams, path)?;
    let (number, target) = session.next_episode()?;
    let info = EpisodeInfo {
        format: FORMAT_VERSION,
        id: choices.id.clone(),
        number,
        task: choices.task.clone(),
        operator: String::new(),
        hand,
        rig: rig.name.clone(),
        software: choices.software.to_owned(),
        anchor,
    };
    let mut writer = EpisodeWriter::create(&target, &info, &rig.to_toml(), None)?;
    let mut work = || {
        write(
            &mut writer,
            &streams,
            &rig,
            &tools,
            choices,
            &anchor,
            &mut ledger,
        )
    };
    let interval = match work() {
        Ok(interval) => interval,
        Err(error) => {
            writer.discard()?;
            return Err(error);
        }
    };
    report.samples = ledger
        .iter()
        .map(|(stream, ledger)| (stream.clone(), ledger.written))
        .collect();
    report.lossy |= ledger.values().any(|ledger| !ledger.is_clean());
    report.path = target;
    writer.metadata(RECORD, &record(&report))?;
    writer.finish(Some(interval), &ledger)?;
    Ok(report)
}

/// The report as the file carries it.
fn record(report: &Imported) -> BTreeMap<String, String> {
    let name = report.source.file_name().unwrap_or_default();
    [
        (
            "format",
            "DexUMI raw episode (Zarr 2 and MPEG-4)".to_owned(),
        ),
        ("source", name.to_string_lossy().into_owned()),
        (
            "image_quality",
            format!("ffmpeg mjpeg -q:v {}", images::QUALITY),
        ),
        ("missing", report.missing.join("\n")),
        ("left_out", report.left_out.join("\n")),
        ("notes", report.notes.join("\n")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
