//! `manifest.json`: what a dataset was made from, how, and every file of it by its hash.
//!
//! It holds no time and nothing of the machine but the recordings' paths, so that the same recordings and
//! choices give the same manifest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ExportError;
use crate::model::{Origin, Resampled};
use crate::options::{Options, Rejected};
use crate::verify::{each_at_once, equal, invalid, json, list};

/// Name of the file, in the dataset's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
const SCHEMA: &str = "dexumi-dataset";
const VERSION: u32 = 1;

/// What a dataset was made from, and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `dexumi-dataset`.
    pub schema: String,
    /// Of the schema, 1.
    pub version: u32,
    /// Program and version that wrote it.
    pub software: String,
    /// Name of the format.
    pub format: String,
    /// All that was chosen.
    pub configuration: Configuration,
    /// SHA-256 of `configuration` as compact JSON, keys in order.
    pub configuration_sha256: String,
    /// Codec of the images.
    pub codec: String,
    /// How it was set.
    pub encoder: String,
    /// Version of the program that did it; videos taken over have that of their own in
    /// `manifest.videos.jsonl`.
    pub ffmpeg: String,
    /// Steps a second.
    pub fps: u32,
    /// Names of the robot hands, joined by `+`.
    pub robot_type: String,
    /// The episodes in the order of their index.
    pub episodes: Vec<Entry>,
    /// Episodes that could not be written.
    pub left_out: Vec<Rejected>,
    /// Every other file, by path.
    pub files: Vec<FileEntry>,
}

/// All that was chosen for a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Variant of the format; empty where there is no choice.
    pub variant: String,
    /// `H264` or `Av1`; of images that are no videos, theirs.
    pub codec: String,
    /// Size of the written images; none where it is that of the recorded ones.
    pub image_size: Option<(u32, u32)>,
    /// `Crop`, `Pad` or `Stretch`.
    pub fit: String,
    /// Largest data file \[bytes\].
    pub data_file_bytes: u64,
    /// Largest video file \[bytes\].
    pub video_file_bytes: u64,
    /// Terms under which the dataset may be used, an SPDX name where there is one.
    pub license: Option<String>,
    /// What the program was asked for, in its own words.
    pub asked: serde_json::Value,
}

/// An episode of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its index in the dataset.
    pub episode_index: u64,
    /// Id of the recording.
    pub episode_id: String,
    /// What was done.
    pub task: String,
    /// Steps written.
    pub steps: u64,
    /// Grade of its quality, where it was judged.
    pub grade: Option<String>,
    /// What was found of it.
    pub tags: Vec<String>,
    /// What could not be measured of it.
    #[serde(default)]
    pub not_measured: Vec<String>,
    /// What it was made from; none where that is not known.
    pub origin: Option<Origin>,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path in the dataset.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

impl Entry {
    /// An episode at its place.
    pub(crate) fn of(episode: &Resampled, episode_index: u64) -> Self {
        let quality = episode.quality.as_ref();
        Self {
            episode_index,
            episode_id: episode.episode_id.clone(),
            task: episode.task.clone(),
            steps: episode.steps() as u64,
            grade: quality.map(|quality| quality.grade.clone()),
            tags: quality.map_or_else(Vec::new, |quality| quality.tags.clone()),
            not_measured: quality.map_or_else(Vec::new, |quality| {
                let each = quality.not_measured.iter();
                each.map(|why| why.split(':').next().unwrap_or(why).to_owned())
                    .collect()
            }),
            origin: episode.origin.clone(),
        }
    }
}

impl Configuration {
    pub(crate) fn of(options: &Options, variant: &str) -> Self {
        Self {
            variant: variant.to_owned(),
            codec: format!("{:?}", options.codec),
            image_size: options.size,
            fit: format!("{:?}", options.fit),
            data_file_bytes: options.data_file_bytes,
            video_file_bytes: options.video_file_bytes,
            license: options.license.clone(),
            asked: options.asked.clone(),
        }
    }

    fn sha256(&self) -> String {
        // By way of a value, whose keys are in order.
        let text = serde_json::json!(self).to_string();
        super::hex(Sha256::new_with_prefix(text))
    }
}

impl Manifest {
    /// Of a dataset whose files are not listed yet.
    pub(crate) fn new(format: &str, configuration: Configuration) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            software: concat!("dexumi ", env!("CARGO_PKG_VERSION")).to_owned(),
            format: format.to_owned(),
            configuration_sha256: configuration.sha256(),
            configuration,
            codec: String::new(),
            encoder: String::new(),
            ffmpeg: String::new(),
            fps: 0,
            robot_type: String::new(),
            episodes: Vec::new(),
            left_out: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Lists the files of `dataset` and writes itself beside them.
    pub(crate) fn write(mut self, dataset: &Path) -> Result<(), ExportError> {
        let mut paths = BTreeSet::new();
        list(dataset, dataset, &mut paths)?;
        let files = Mutex::new(Vec::with_capacity(paths.len()));
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        each_at_once(&paths, |path| {
            let (bytes, sha256) = hash(&dataset.join(path))?;
            if let Ok(mut files) = files.lock() {
                files.push(FileEntry {
                    path: path.clone(),
                    bytes,
                    sha256,
                });
            }
            Ok(())
        })?;
        self.files = files.into_inner().unwrap_or_default();
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let path = dataset.join(MANIFEST_FILE);
        let failed = || ExportError::io("write", &path);
        let mut file = BufWriter::new(File::create(&path).map_err(failed())?);
        serde_json::to_writer_pretty(&mut file, &self)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(file))
            .and_then(|()| file.flush())
            .map_err(failed())
    }

    /// The manifest of a dataset, where it has one.
    ///
    /// # Errors
    /// It cannot be read, or is of another schema.
    pub fn read(dataset: &Path) -> Result<Option<Self>, ExportError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
            version: u32,
        }
        let path = dataset.join(MANIFEST_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let head: Head = json(&path)?;
        equal("schema", SCHEMA, &head.schema, &path)?;
        equal("version of the schema", VERSION, head.version, &path)?;
        json(&path).map(Some)
    }

    /// Whether the files of `dataset` are those listed: none missing, none besides, each of its size;
    /// and with `hashes`, each of its content.
    ///
    /// # Errors
    /// [`ExportError::Invalid`] with the first that is not.
    pub fn check(&self, dataset: &Path, hashes: bool) -> Result<(), ExportError> {
        let path = dataset.join(MANIFEST_FILE);
        equal(
            "configuration_sha256",
            &self.configuration.sha256(),
            &self.configuration_sha256,
            &path,
        )?;
        for (at, entry) in self.episodes.iter().enumerate() {
            equal("episode_index", at as u64, entry.episode_index, &path)?;
        }
        let mut recordings = BTreeSet::new();
        for origin in self
            .episodes
            .iter()
            .filter_map(|entry| entry.origin.as_ref())
        {
            if !recordings.insert(&origin.fingerprint) {
                let what = format!("the recording {} is in it twice", origin.path.display());
                return Err(invalid(what, &path));
            }
        }
        let mut present = BTreeSet::new();
        list(dataset, dataset, &mut present)?;
        present.remove(Path::new(MANIFEST_FILE));
        for file in &self.files {
            if !present.remove(&file.path) {
                let what = "the manifest lists a file that is not there";
                return Err(invalid(what, &dataset.join(&file.path)));
            }
        }
        if let Some(besides) = present.first() {
            let what = "a file that the manifest does not list";
            return Err(invalid(what, &dataset.join(besides)));
        }
        each_at_once(&self.files, |file| {
            // Who has the dataset may write more into its card.
            if file.path == Path::new(super::CARD_FILE) {
                return Ok(());
            }
            let path = dataset.join(&file.path);
            let metadata = path.metadata().map_err(ExportError::io("look at", &path))?;
            if file.bytes != metadata.len() {
                let (told, got) = (file.bytes, metadata.len());
                return Err(changed(
                    &format!("it had {told} bytes, it has {got}"),
                    &path,
                ));
            }
            if hashes && file.sha256 != hash(&path)?.1 {
                return Err(changed("its SHA-256 is another", &path));
            }
            Ok(())
        })
    }

    /// Whether the card is not the one that was written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_card_edited(&self, dataset: &Path) -> Result<bool, ExportError> {
        let card = Path::new(super::CARD_FILE);
        let written = self.files.iter().find(|file| file.path == card);
        match written {
            Some(file) => Ok(hash(&dataset.join(card))?.1 != file.sha256),
            None => Ok(false),
        }
    }
}

fn changed(how: &str, path: &Path) -> ExportError {
    let what = format!(
        "the file was changed since the dataset was written ({how}); bring it back, or make the dataset anew by \
         `dexumi rebuild`"
    );
    invalid(what, path)
}

/// Size and SHA-256 of a file.
fn hash(path: &Path) -> Result<(u64, String), ExportError> {
    let mut file = File::open(path).map_err(ExportError::io("open", path))?;
    let mut hash = Sha256::new();
    let bytes = std::io::copy(&mut file, &mut hash).map_err(ExportError::io("read", path))?;
    Ok((bytes, super::hex(hash)))
}
