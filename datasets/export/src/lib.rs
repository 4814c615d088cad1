//! Export formats for dexumi episodes.
//!
//! Every format is written from one model, [`Resampled`]: values and images on
//! a constant grid of steps, SI units; [`resample`] makes it from a recorded episode. [`FORMATS`] lists the formats.
//!
//! ```no_run
//! use dexumi_export::{Options, Resampled, format};
//!
//! # fn main() -> Result<(), dexumi_export::ExportError> {
//! let mut episodes = std::iter::empty::<Result<Resampled, _>>();
//! let out = std::path::Path::new("dataset");
//! let write = format("lerobot-v3")?.write;
//! let report = write(&mut episodes, out, &Options::default(), &mut |_| {})?;
//! println!("{} rows", report.rows);
//! # Ok(())
//! # }
//! ```

// Sizes and counts cross between u64, usize, i64 and f64 all over a file
// format; none comes near 2^53.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

mod cameras;
mod check;
mod columns;
mod containers;
mod decode;
mod dexumi_zarr;
mod dreamdojo;
mod dreamdojo_mano;
mod dreamzero;
mod egoscale;
mod error;
mod features;
mod ffmpeg;
mod fingers;
mod fit;
mod flat;
mod formats;
mod gr00t;
mod hdf5;
pub mod import;
mod join;
mod jpeg;
mod lerobot_v21;
mod lerobot_v3;
mod lifecycle;
mod model;
mod mp4;
mod options;
mod relative;
mod resample;
mod rows;
mod stats;
mod stills;
mod tables;
mod timestamp;
mod totals;
mod umi_zarr;
mod v21;
mod verify;
mod video;
mod video_tree;
mod writing;
mod zarr;

pub use error::ExportError;
pub use flat::{Matrix, eef_9d, rotation_6d_columns, rotation_6d_rows};
pub use formats::{Episodes, FORMATS, Format, Source, Write, format};
pub use jpeg::size as jpeg_size;
pub use lifecycle::{
    CARD_FILE, Configuration, Entry, Expected, ExpectedImages, FileEntry, MANIFEST_FILE, Manifest,
    check_output, check_space, has_finished_work, space_needed,
};
pub use model::{
    CameraRole, CameraTrack, Extra, ExtraValues, ForceTrack, HandMotion, ImageSource,
    KeypointTrack, Motion, Origin, Quality, Resampled, RobotRows, Side, Subtask,
};
pub use options::{CameraReport, Codec, FitMode, Options, Progress, Rejected, Report};
pub use resample::{
    DerivedHand, IDLE_JOINT_RAD, IDLE_KEEP_SECS, IDLE_POSITION_M, IDLE_ROTATION_RAD, ResampleJob,
    ResampleOptions, ResampleReport, resample,
};
pub use timestamp::{MAX_EPISODE_SECS, MAX_FPS, seconds_rounded_up};
pub use verify::{Verified, verify};
