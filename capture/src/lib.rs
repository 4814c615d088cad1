//! Device drivers, byte-level emulators and the recording session.
//!
//! ```text
//! device thread: read → stamp → frame → bounded queue ─┐
//! device thread: …                                    ─┼─▶ one writer thread ─▶ MCAP
//! device thread: …                                    ─┘     clock fits, ledger
//! ```
//!
//! Times, units and axes are those of [`dexumi_episode`].

pub mod discover;
pub mod driver;
pub mod emulate;
mod error;
pub mod jpeg;
mod record;

pub use driver::{DRIVERS, Driver};
pub use error::{CaptureError, Refusal};
pub use record::{
    BrokenSegment, Ended, EpisodePlan, EpisodeReport, Recorder, RecorderOptions, RecorderState,
    Status, StreamStatus,
};
