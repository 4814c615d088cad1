//! Recordings of others, made episodes of ours: `dexumi import`.
//!
//! What the source never had (device clocks, sequences, checksums) stays absent and
//! is named in the file's metadata record `import`, as is what was left out.

mod images;
mod raw;
mod raw_episode;
mod streams;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

pub use raw_episode::{Choices, import, raw_episodes};

/// Name of the metadata record that an imported episode has.
pub const RECORD: &str = "import";

/// What became of one foreign episode.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Where it came from.
    pub source: PathBuf,
    /// The episode that was written.
    pub path: PathBuf,
    /// Samples written, by stream.
    pub samples: BTreeMap<String, u64>,
    /// What was in the source and is not in the episode, with counts.
    pub left_out: Vec<String>,
    /// What the source never had.
    pub missing: Vec<String>,
    /// What does not fit together, and what was assumed.
    pub notes: Vec<String>,
    /// Whether a sample of the source is not in the episode.
    pub lossy: bool,
}
