//! Why an episode could not be shown.

use std::path::{Path, PathBuf};

use dexumi_episode::EpisodeError;
use rerun::{SerializationError, log::ChunkError};
use thiserror::Error;

/// What [`save`](crate::save) can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The episode, or what was derived from it, cannot be read.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// An option that makes no sense.
    #[error("option {name} is {got}, expected {expected}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// As given.
        got: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {doing} the Rerun recording, expected a writable folder with room: {}", path.display())]
    Io {
        /// What was tried, such as `create`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Rerun's library refused data or file.
    #[error("cannot {doing} the Rerun recording: {}", path.display())]
    Rerun {
        /// What was tried, such as `encode /world into`.
        doing: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ViewError {
    pub(crate) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn rerun(
        doing: impl Into<String>,
        path: &Path,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Rerun {
            doing: doing.into(),
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}

/// What Rerun's library says of data that it cannot take.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// A value does not fit its component.
    #[error("a value does not fit its component")]
    Value(#[from] SerializationError),
    /// Columns do not fit together.
    #[error("the columns do not fit together")]
    Chunk(#[from] ChunkError),
}
