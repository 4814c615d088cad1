//! What can go wrong with episodes and the files beside them.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// An error of this crate. Sources are not repeated in `Display`.
#[derive(Debug, Error)]
pub enum EpisodeError {
    /// A file or folder could not be read, written, renamed or synced.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// An unfinished episode that ends before its first record.
    #[error(
        "holds no whole record, nothing to recover; remove it: {}",
        path.display()
    )]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// A file that a person edits does not say what it should.
    #[error("{what}: {problem} in {}", path.display())]
    Config {
        /// Which kind of file.
        what: &'static str,
        /// What is wrong, with line and column where known, and what was expected.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// There is nothing of that name.
    #[error("no such file or folder: {}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// An episode whose recording was cut off.
    #[error("the recording was cut off; run `dexumi recover` on {}", path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// The MCAP container is damaged.
    #[error(
        "episode is not a whole MCAP file: {problem}; what can be read of it is saved by `dexumi recover` once it \
         is renamed to {}.partial: {}",
        path.file_name().unwrap_or_default().display(),
        path.display()
    )]
    Damaged {
        /// What was found.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// The MCAP library refused.
    #[error("cannot {action} MCAP file {}", path.display())]
    Mcap {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: mcap::McapError,
    },
    /// The file is whole, but does not hold what is asked of it.
    #[error("{problem} in {}", path.display())]
    Content {
        /// What is missing or wrong, what was expected, and the next step.
        problem: String,
        /// The file.
        path: PathBuf,
    },
}

impl EpisodeError {
    /// Wraps an input or output error with what was tried on what.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Wraps an error of the MCAP library.
    pub fn mcap(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(mcap::McapError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Mcap {
            action,
            path,
            source,
        }
    }

    /// What the content of a file lacks.
    pub fn content(problem: impl Into<String>, path: impl AsRef<Path>) -> Self {
        Self::Content {
            problem: problem.into(),
            path: path.as_ref().to_owned(),
        }
    }

    /// Whether the disk is full or a quota is reached.
    pub fn is_out_of_space(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => source,
            Self::Mcap {
                source: mcap::McapError::Io(source),
                ..
            } => source,
            _ => return false,
        };
        matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::FileTooLarge
        )
    }
}

/// Reads a TOML file that a person edits: unknown keys are refused by `T`, and
/// the message carries line, column and the known keys.
pub fn read_toml<T: serde::de::DeserializeOwned>(
    what: &'static str,
    path: &Path,
) -> Result<T, EpisodeError> {
    let text = std::fs::read_to_string(path).map_err(EpisodeError::io("read", path))?;
    parse_toml(what, &text, path)
}

/// As [`read_toml`], from text that came from `path`.
pub fn parse_toml<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &str,
    path: &Path,
) -> Result<T, EpisodeError> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(String::new(), |span| {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before
                .rfind('\n')
                .map_or(before.len(), |at| before.len() - at - 1)
                + 1;
            format!(" at line {line}, column {column}")
        });
        let problem = format!("{}{place}", error.message().replace('\n', ", "));
        EpisodeError::Config {
            what,
            problem,
            path: path.to_owned(),
        }
    })
}

/// Writes a file whole or not at all: beside it first, synced, then renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), EpisodeError> {
    use std::io::Write as _;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = std::fs::File::create(&beside).map_err(EpisodeError::io("create", &beside))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(EpisodeError::io("write", &beside))?;
    std::fs::rename(&beside, path).map_err(EpisodeError::io("rename to", path))?;
    sync_folder_of(path)
}

/// Makes a rename in the folder of `path` survive a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), EpisodeError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(EpisodeError::io("sync", folder))
}
