//! What a derived file says of its making, and whether that is what is wanted now.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use dexumi_episode::{EpisodeError, EpisodeFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RetargetReport;

/// What a derived file says of its making, in metadata `derived`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// Name of the input.
    pub input: String,
    /// Of an episode: [`EpisodeFile::fingerprint`]; of any other file: its SHA-256.
    pub input_fingerprint: String,
    /// SHA-256 of the calibration that was applied; empty where there is none.
    pub calibration_sha256: String,
    /// The hand.
    pub hand: String,
    /// SHA-256 of the hand as it was read: joints, limits, tips, capsules, whatever files they came from.
    pub hand_sha256: String,
    /// Longest gap that was interpolated across [ns].
    pub max_gap_ns: i64,
    /// Preset, limits, scale, smoothing, axes, grid, arm: JSON.
    pub method: String,
    /// Program and version.
    pub software: String,
}

impl Derivation {
    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data is representable as JSON")
    }
}

/// SHA-256 as text.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a hand or an arm as it was read. Numbers are written out in full, so two that differ in
/// their last digit differ here.
pub fn sha256_of_model(model: &impl Debug) -> String {
    sha256(format!("{model:?}").as_bytes())
}

/// The report of a derived file that is as `wanted`; with `any_method`, whatever its method.
pub(super) fn reusable(
    out: &Path,
    wanted: &Derivation,
    any_method: bool,
) -> Option<RetargetReport> {
    let file = EpisodeFile::open(out).ok()?;
    let made: Derivation = file.json("derived").ok()??;
    let report: RetargetReport = file.json("retarget").ok()??;
    let wanted = match any_method {
        true => Derivation {
            method: made.method.clone(),
            ..wanted.clone()
        },
        false => wanted.clone(),
    };
    (made == wanted).then_some(RetargetReport {
        reused: true,
        path: out.to_owned(),
        ..report
    })
}

/// A name beside `out`, so that an older result stays until the new one is whole.
pub(super) fn fresh(out: &Path) -> Result<PathBuf, EpisodeError> {
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
