//! A session: a folder of episodes, locked by its recorder, and the notes beside
//! each episode.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::{
    calibration::Calibration,
    error::{EpisodeError, read_toml, write_atomically},
    time::SessionAnchor,
};

/// An open session folder; the lock is held as long as this lives.
pub struct Session {
    folder: PathBuf,
    _lock: Flock<File>,
    /// Ties host time to the session clock.
    pub anchor: SessionAnchor,
}

/// `session.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SessionFile {
    format: u32,
    rig: String,
    hand: String,
    software: String,
    opened_unix_ns: i64,
}

/// What the operator or a later judgement says of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not judged yet.
    #[default]
    Unknown,
    /// The task was done.
    Success,
    /// The task was not done.
    Failure,
}

/// `episode_0000.toml`: what is decided after the recording, replaced atomically.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Notes {
    /// Whether the task was done.
    #[serde(default)]
    pub outcome: Outcome,
    /// Free words to filter by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Free text.
    #[serde(default)]
    pub note: String,
}

impl Session {
    /// Opens or makes a session folder and locks it.
    ///
    /// # Errors
    /// Somebody else records there, or the folder cannot be made or written.
    pub fn open(
        folder: &Path,
        rig: &str,
        hand: &str,
        software: &str,
    ) -> Result<Self, EpisodeError> {
        let lock = lock(folder)?;
        let anchor = SessionAnchor::now();
        let path = folder.join("session.toml");
        if !path.exists() {
            let file = SessionFile {
                format: 1,
                rig: rig.to_owned(),
                hand: hand.to_owned(),
                software: software.to_owned(),
                opened_unix_ns: anchor.unix_time_ns,
            };
            let text = toml::to_string(&file).expect("plain data is representable as TOML");
            write_atomically(&path, text.as_bytes())?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
            anchor,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number and path of the next episode: one above the highest that any file
    /// of the folder uses, so that a deleted or unfinished one is never reused.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn next_episode(&self) -> Result<(u32, PathBuf), EpisodeError> {
        let entries =
            std::fs::read_dir(&self.folder).map_err(EpisodeError::io("list", &self.folder))?;
        let number = entries
            .filter_map(|entry| number_of(&entry.ok()?.file_name().to_string_lossy()))
            .max()
            .map_or(0, |highest| highest + 1);
        Ok((
            number,
            self.folder.join(format!("episode_{number:04}.mcap")),
        ))
    }

    /// Unfinished episodes of the folder.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn unfinished(&self) -> Result<Vec<PathBuf>, EpisodeError> {
        unfinished_in(&self.folder)
    }
}

/// Locks a session folder, making it if needed.
///
/// # Errors
/// Somebody else holds it, or the folder cannot be made or written.
fn lock(folder: &Path) -> Result<Flock<File>, EpisodeError> {
    std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    let path = folder.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(EpisodeError::io("lock", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == nix::errno::Errno::EWOULDBLOCK {
            EpisodeError::content(
                "another dexumi records or recovers in this session, expected nobody; \
                 stop it, or choose another folder",
                folder,
            )
        } else {
            EpisodeError::io("lock", &path)(errno.into())
        }
    })
}

impl Session {
    /// Locks a folder for repairs, without making a session of it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn lock_for_repair(folder: &Path) -> Result<impl Sized + use<>, EpisodeError> {
        lock(folder)
    }
}

impl Notes {
    /// Notes beside an episode; the default where there are none.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn load(episode: &Path) -> Result<Self, EpisodeError> {
        let path = episode.with_extension("toml");
        if path.exists() {
            read_toml("notes", &path)
        } else {
            Ok(Self::default())
        }
    }

    /// Replaces the notes beside an episode.
    ///
    /// # Errors
    /// The folder is read-only or full.
    pub fn save(&self, episode: &Path) -> Result<(), EpisodeError> {
        let text = toml::to_string(self).expect("plain data is representable as TOML");
        write_atomically(&episode.with_extension("toml"), text.as_bytes())
    }
}

/// Unfinished episodes of a folder.
///
/// # Errors
/// It cannot be listed.
pub fn unfinished_in(folder: &Path) -> Result<Vec<PathBuf>, EpisodeError> {
    files_in(folder, |name| {
        name.starts_with("episode_") && name.ends_with(".mcap.partial")
    })
}

fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("episode_")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn files_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, EpisodeError> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(EpisodeError::io("list", folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| wanted(&name.to_string_lossy()))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Finished episodes of what a user names: an episode, or a session folder.
///
/// # Errors
/// Nothing is there, or the folder has no finished episode.
pub fn episodes_in(path: &Path) -> Result<Vec<PathBuf>, EpisodeError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let files = files_in(path, |name| {
        name.starts_with("episode_") && name.ends_with(".mcap")
    })?;
    if files.is_empty() {
        let unfinished = unfinished_in(path)?;
        let problem = if unfinished.is_empty() {
            "no episode_*.mcap found, expected a session made by `dexumi record`".to_owned()
        } else {
            format!(
                "{} unfinished episodes and no finished one; run `dexumi recover`",
                unfinished.len()
            )
        };
        return Err(EpisodeError::content(problem, path));
    }
    Ok(files)
}

/// The calibration that holds for an episode: the one given, else
/// `calibration.toml` in its session folder, else the one attached to it.
///
/// # Errors
/// The file given or found cannot be read.
pub fn find_calibration(
    given: Option<&Path>,
    episode: &Path,
    attached: Option<&Calibration>,
) -> Result<Option<Calibration>, EpisodeError> {
    if let Some(path) = given {
        return Calibration::load(path).map(Some);
    }
    let beside = episode.with_file_name("calibration.toml");
    if beside.exists() {
        return Calibration::load(&beside).map(Some);
    }
    Ok(attached.cloned())
}
