//! What can go wrong between a device and a file.

use std::path::PathBuf;

use dexumi_episode::{Device, EpisodeError};
use thiserror::Error;

/// An error of this crate. Sources are not repeated in `Display`.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// A rig names a driver that does not exist.
    #[error("unknown driver `{driver}` of stream `{stream}`, expected one of: {known}")]
    UnknownDriver {
        /// As written in the rig.
        driver: String,
        /// Which device.
        stream: String,
        /// All drivers.
        known: String,
    },
    /// A driver cannot feed the stream that the rig gives it.
    #[error("driver `{driver}` cannot feed stream `{stream}`, expected {expected}")]
    WrongStream {
        /// The driver.
        driver: &'static str,
        /// The stream.
        stream: String,
        /// What would do.
        expected: &'static str,
    },
    /// Two streams from a device that has only one.
    #[error(
        "`{first}` and `{second}` both name {address}, but driver `{driver}` takes one stream from \
         a device; give each its own address"
    )]
    Shared {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// Their driver.
        driver: &'static str,
        /// Their address.
        address: String,
    },
    /// A device cannot be opened.
    #[error("cannot open `{stream}` at {address}: {problem}; {next}")]
    Open {
        /// Which device.
        stream: String,
        /// Where it was looked for.
        address: String,
        /// What happened.
        problem: String,
        /// What to do.
        next: String,
    },
    /// A device is open, but sends nothing.
    #[error(
        "`{stream}` at {address} is open, but sent nothing valid within {waited_s:.1} s; {next}"
    )]
    Silent {
        /// Which device.
        stream: String,
        /// Where it is.
        address: String,
        /// How long.
        waited_s: f64,
        /// What to do.
        next: String,
    },
    /// A device is gone: unplugged, switched off, or the link is cut.
    #[error("`{stream}` at {address} is gone: {problem}")]
    Gone {
        /// Which device.
        stream: String,
        /// Where it was.
        address: String,
        /// What happened.
        problem: String,
    },
    /// Too little room for an episode.
    #[error("only {free_mb} MB free, expected at least {reserve_mb} MB kept in reserve; free some space or choose another folder: {}", path.display())]
    DiskReserve {
        /// Free [MB].
        free_mb: u64,
        /// Reserve [MB].
        reserve_mb: u64,
        /// Where.
        path: PathBuf,
    },
    /// A command that the recorder's state does not allow.
    #[error("cannot {command}: {problem}")]
    State {
        /// What was asked.
        command: &'static str,
        /// Why not, and what to do.
        problem: String,
    },
    /// The episode file.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// A thread could not be started.
    #[error("cannot start thread `{name}`")]
    Thread {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Why a device cannot be had, where it is not known yet for which stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What happened.
    pub problem: String,
    /// What to do.
    pub next: String,
}

impl Refusal {
    /// From its two parts.
    pub fn new(problem: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            next: next.into(),
        }
    }

    /// As the error of a device of a rig.
    pub fn of(self, device: &Device) -> CaptureError {
        CaptureError::Open {
            stream: device.stream.clone(),
            address: device.address.clone(),
            problem: self.problem,
            next: self.next,
        }
    }
}
