//! Whether a dataset will fit on the disk, said before it is written.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::staging::work_folder;
use crate::error::ExportError;
use crate::fit::Fit;
use crate::options::{Codec, Options};

/// Bits that a pixel of a video may take; docs/datasets.md has what was measured. Noise takes more.
const H264_BITS: f64 = 0.25;
const AV1_BITS: f64 = 0.5;
/// Numbers, metadata and statistics: of a step, and of an episode \[bytes\].
const STEP_BYTES: u64 = 600;
const EPISODE_BYTES: u64 = 100_000;

/// What is known of a recording before it is read.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Steps that it will have, at most.
    pub steps: u64,
    /// Its cameras.
    pub cameras: Vec<ExpectedImages>,
}

/// What is known of a camera's images before they are read.
#[derive(Debug, Clone)]
pub struct ExpectedImages {
    /// Width and height as recorded \[pixel\].
    pub size: (u32, u32),
    /// Mean size of a recorded image \[bytes\].
    pub bytes: u64,
}

/// Bytes that a dataset of these recordings may take while it is written; `stills` where its images are
/// JPEGs.
#[must_use]
pub fn space_needed(recordings: &[Expected], options: &Options, stills: bool) -> u64 {
    let bits = match options.codec {
        Codec::H264 => H264_BITS,
        Codec::Av1 => AV1_BITS,
    };
    let image = |camera: &ExpectedImages| {
        let size = Fit::new(camera.size, options.size, options.fit).size;
        if stills {
            return camera.bytes;
        }
        let pixels = f64::from(size.0) * f64::from(size.1);
        camera.bytes.min((pixels * bits / 8.0).ceil() as u64)
    };
    let of = |recording: &Expected| {
        let images: u64 = recording.cameras.iter().map(image).sum();
        EPISODE_BYTES + recording.steps * (STEP_BYTES + images)
    };
    let all: u64 = recordings.iter().map(of).sum();
    if stills {
        return all;
    }
    // A file of joined videos lies beside what it is made from for a moment.
    let cameras = recordings
        .iter()
        .map(|recording| recording.cameras.len())
        .max();
    let joined = options.video_file_bytes * cameras.unwrap_or(0) as u64;
    all + joined.min(all)
}

/// Refuses to begin what will not fit where `out` is. What is finished of it already counts.
///
/// # Errors
/// [`ExportError::NoSpace`], with what is needed and what is free.
pub fn check_space(out: &Path, needed: u64) -> Result<(), ExportError> {
    let out = std::path::absolute(out).map_err(ExportError::io("resolve a path", out))?;
    let existing = out.ancestors().skip(1).find(|folder| folder.is_dir());
    let folder = existing.unwrap_or(Path::new("/"));
    let found = statvfs(folder).map_err(std::io::Error::from);
    let found = found.map_err(ExportError::io("ask for the free space of", folder))?;
    let free = found.blocks_available() * found.fragment_size();
    let finished = std::fs::read_dir(work_folder(&out).join("parts"))
        .into_iter()
        .flatten();
    let finished: u64 = finished
        .flatten()
        .filter_map(|part| Some(part.metadata().ok()?.len()))
        .sum();
    let needed = needed.saturating_sub(finished);
    if needed > free {
        return Err(ExportError::NoSpace {
            needed,
            free,
            path: folder.into(),
        });
    }
    Ok(())
}
