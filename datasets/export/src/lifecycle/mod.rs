//! A dataset from its first video to its last episode: the folder in which it grows and goes on growing
//! after a crash, the finished videos in it, and what is written beside the data about where they came
//! from.
//!
//! What costs is encoding, so a video is kept as soon as it is finished, under a name that is the hash of
//! all that its bytes depend on ([`parts`]). Everything else is made anew from the recordings, in the same
//! order, by the same code: a dataset that was interrupted, extended or had an episode withdrawn is what
//! a fresh export of the same episodes writes, and there is one way to write one.

mod card;
mod manifest;
mod parts;
mod plots;
mod space;
mod staging;

pub use card::CARD_FILE;
pub use manifest::{Configuration, Entry, FileEntry, MANIFEST_FILE, Manifest};
pub(crate) use parts::{Encoded, Known, Parts, VideoKey};
pub use space::{Expected, ExpectedImages, check_space, space_needed};
pub(crate) use staging::Staging;
pub use staging::{check_output, has_finished_work};

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::ExportError;
use crate::options::CameraReport;

/// Files that any dataset may have besides those of its format.
pub(crate) const BESIDES: [&str; 5] = [
    crate::writing::QUALITY_FILE,
    parts::VIDEOS_FILE,
    card::CARD_FILE,
    card::PLOTS_FILE,
    MANIFEST_FILE,
];

/// Writes beside the data in `root` what they are: card and manifest.
pub(crate) fn describe(
    root: &Path,
    manifest: Manifest,
    cameras: &[CameraReport],
    warnings: &[String],
) -> Result<(), ExportError> {
    card::write(root, &manifest, cameras, warnings)?;
    manifest.write(root)
}

/// SHA-256 as hexadecimal digits.
pub(crate) fn hex(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
