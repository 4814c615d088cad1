//! What a caller may choose, and what it is told while a dataset is written
//! and afterwards.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::fit::FitMode;

/// Choices for a written dataset.
#[derive(Debug, Clone)]
pub struct Options {
    /// Video codec.
    pub codec: Codec,
    /// Size (width, height) in pixels of every written image, both even. `None`
    /// is the format's own, which for most keeps the recorded size (cut to even
    /// numbers).
    pub size: Option<(u32, u32)>,
    /// How an image of another shape is brought to that size.
    pub fit: FitMode,
    /// Which of the format's variants; `None` is its first.
    pub variant: Option<String>,
    /// The `ffmpeg` program.
    pub ffmpeg: PathBuf,
    /// The `ffprobe` program.
    pub ffprobe: PathBuf,
    /// Put the dataset in the place of one that is there, whose videos are taken over where they
    /// would be the same.
    pub replace: bool,
    /// So many of the first episodes must be written: where one cannot be, nothing is.
    pub required: usize,
    /// Terms under which the dataset may be used; none where they are not stated.
    pub license: Option<String>,
    /// What the program was asked for, in its own words; goes into the manifest.
    pub asked: serde_json::Value,
    /// A new data or episode file is begun before one grows beyond this many
    /// bytes.
    pub data_file_bytes: u64,
    /// A new video file is begun before one grows beyond this many bytes.
    pub video_file_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            codec: Codec::H264,
            size: None,
            fit: FitMode::Crop,
            variant: None,
            ffmpeg: "ffmpeg".into(),
            ffprobe: "ffprobe".into(),
            replace: false,
            required: 0,
            license: None,
            asked: serde_json::Value::Null,
            data_file_bytes: 100_000_000,
            video_file_bytes: 200_000_000,
        }
    }
}

/// Video codec of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264 by x264, a keyframe every 12th image: read by every loader, and quicker to write.
    H264,
    /// AV1 by SVT-AV1, a keyframe every 2nd image, as the official LeRobot writer.
    Av1,
}

/// How far a writer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Images of one episode are being encoded.
    Encoding {
        /// The episode, counted from 0 as received.
        episode: usize,
        /// Images encoded so far, over all cameras.
        images: usize,
        /// Images of the episode, over all cameras.
        of: usize,
    },
    /// The episodes are written; files are joined and statistics computed.
    Finishing,
    /// The written dataset is being checked.
    Checking,
}

/// What became of the episodes that a writer received:
/// `episodes_received == episodes_written + rejected.len()`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the format.
    pub format: &'static str,
    /// The dataset's folder.
    pub path: PathBuf,
    /// Episodes that the writer was given, errors included.
    pub episodes_received: usize,
    /// Episodes in the dataset.
    pub episodes_written: usize,
    /// Episodes left out, and why.
    pub rejected: Vec<Rejected>,
    /// Rows (steps) in the dataset; each camera has one image per row.
    pub rows: u64,
    /// Distinct task sentences.
    pub tasks: usize,
    /// The cameras.
    pub cameras: Vec<CameraReport>,
    /// Size of the dataset on disk in bytes.
    pub bytes: u64,
    /// Videos that were finished before: by an export that was interrupted, or in the dataset that
    /// was replaced.
    pub videos_reused: u64,
    /// Codec of the videos, as the dataset names it.
    pub codec: &'static str,
    /// The encoder used and its settings.
    pub encoder: String,
    /// What the user should know before training.
    pub warnings: Vec<String>,
}

/// An episode that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Position of the episode among those received, from 0.
    pub received: usize,
    /// Why, with the episode's id where it is known.
    pub why: String,
}

/// One camera of a written dataset.
#[derive(Debug, Clone, Serialize)]
pub struct CameraReport {
    /// Name of the camera.
    pub name: String,
    /// Images written, one per row.
    pub images: u64,
    /// Rows that show the image of the row before once more, because the
    /// camera gave none in between.
    pub repeated: u64,
    /// Width and height of the written images in pixels.
    pub size: (u32, u32),
    /// The part of the recorded image that was kept: x, y, width, height in
    /// pixels.
    pub crop: (u32, u32, u32, u32),
    /// Where it lies in the written image, x, y, width, height in pixels: all of
    /// it unless padded.
    pub placed: (u32, u32, u32, u32),
}
