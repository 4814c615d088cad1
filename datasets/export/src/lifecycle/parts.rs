//! Finished videos, kept until the dataset has its name, and those of a dataset that is to be replaced.
//!
//! `KEY.part` is a video of one camera and episode, or its JPEGs, `KEY.json` what is known of it; the
//! second is written after the first has reached the disk, so that what has it is whole.
//! `joined-GROUP.part` and `.json` are videos one behind the other, in the place of their own files. In a finished dataset [`VIDEOS_FILE`]
//! says the same of its files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::staging::{Staging, sync_one};
use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::stats::PixelCounts;
use crate::timestamp::ticks_per_second;
use crate::v21::Jsonl;

/// What is known of each video of a dataset: JSON, one line a video.
pub(super) const VIDEOS_FILE: &str = "manifest.videos.jsonl";

/// Hash of all that the bytes of a video depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct VideoKey(String);

impl VideoKey {
    /// Of the recording `content`, and of what is done to which of its images.
    pub fn new(content: &str, camera: &str, settings: &[&str], images: &[usize]) -> Self {
        let mut hash = Sha256::new();
        for words in [&[content, camera], settings].concat() {
            hash.update((words.len() as u64).to_le_bytes());
            hash.update(words);
        }
        for &image in images {
            hash.update((image as u64).to_le_bytes());
        }
        Self(super::hex(hash))
    }
}

/// The video of one camera and episode.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// None where it is not known what it was made from.
    pub key: Option<VideoKey>,
    /// The file that holds it.
    pub path: PathBuf,
    /// Steps of others before it in that file; `None` where it has the file for itself.
    pub from: Option<u64>,
    pub known: Known,
}

/// What is known of a video.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Of a file of its own.
    pub bytes: u64,
    pub steps: u64,
    pub fps: u32,
    /// Hash of the codec's parameters; videos of equal ones can be joined.
    pub parameters: String,
    /// Version of the program that encoded it.
    pub ffmpeg: String,
    pub pixels: Option<PixelCounts>,
}

/// A line of [`VIDEOS_FILE`].
#[derive(Serialize, Deserialize)]
struct Line {
    episode_index: u64,
    camera: String,
    key: VideoKey,
    file: PathBuf,
    from: Option<u64>,
    #[serde(flatten)]
    known: Known,
}

/// The finished videos of an export.
pub(crate) struct Parts {
    folder: PathBuf,
    dataset: PathBuf,
    tools: Tools,
    ffmpeg: String,
    /// Where videos lie that were joined: file and steps before.
    joined: Mutex<HashMap<VideoKey, (PathBuf, u64)>>,
    replaced: Option<Replaced>,
    lines: Mutex<Option<Jsonl>>,
    /// Those that are being looked for or made.
    busy: (Mutex<HashSet<VideoKey>>, Condvar),
    unnamed: AtomicU64,
    reused: AtomicU64,
}

/// Whether a folder of parts has any.
pub(super) fn has_finished(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| path.extension() == Some("json".as_ref()))
}

/// Nobody else makes the video of a key meanwhile.
pub(crate) struct Alone<'a> {
    parts: &'a Parts,
    key: VideoKey,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let (busy, changed) = &self.parts.busy;
        let mut others = busy.lock().unwrap_or_else(PoisonError::into_inner);
        others.remove(&self.key);
        changed.notify_all();
    }
}

impl Parts {
    /// Takes up what is finished.
    pub fn open(staging: &Staging, tools: &Tools) -> Result<Self, ExportError> {
        let folder = staging.parts();
        let mut joined = HashMap::new();
        let failed = || ExportError::io("list a folder", &folder);
        for entry in std::fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("joined-") && name.ends_with(".json") {
                let mut from = 0;
                for (key, steps) in read::<Vec<(VideoKey, u64)>>(&path).unwrap_or_default() {
                    joined.insert(key, (path.with_extension("part"), from));
                    from += steps;
                }
            }
        }
        Ok(Self {
            ffmpeg: tools.version()?,
            dataset: staging.dataset(),
            tools: tools.clone(),
            joined: Mutex::new(joined),
            replaced: staging.replaced().map(Replaced::open).transpose()?,
            lines: Mutex::new(None),
            busy: Default::default(),
            unnamed: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            folder,
        })
    }

    /// Waits until nobody else makes the video of that key.
    pub fn alone_with(&self, key: &VideoKey) -> Alone<'_> {
        let (busy, changed) = &self.busy;
        let mut others = busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !others.insert(key.clone()) {
            others = changed.wait(others).unwrap_or_else(PoisonError::into_inner);
        }
        Alone {
            parts: self,
            key: key.clone(),
        }
    }

    /// A finished video.
    pub fn find(&self, key: &VideoKey) -> Option<Encoded> {
        let found = self
            .find_own(key)
            .or_else(|| self.replaced.as_ref()?.find(key))?;
        self.reused.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    fn find_own(&self, key: &VideoKey) -> Option<Encoded> {
        let known: Known = read(&self.described(key))?;
        let path = self.file(key);
        let (path, from) = match path.metadata() {
            Ok(file) if file.len() == known.bytes => (path, None),
            _ => {
                let joined = self.joined.lock().ok()?;
                let (path, from) = joined.get(key)?.clone();
                (path.is_file().then_some(path)?, Some(from))
            }
        };
        Some(Encoded {
            key: Some(key.clone()),
            path,
            from,
            known,
        })
    }

    /// The folder of parts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether something is known to be done that leaves no file.
    pub fn is_known(&self, key: &VideoKey) -> bool {
        self.described(key).is_file()
    }

    /// Remembers that something is done.
    pub fn know(&self, key: &VideoKey, known: &Known) -> Result<(), ExportError> {
        keep(&self.described(key), known)
    }

    /// Version of the program that encodes.
    pub fn ffmpeg(&self) -> &str {
        &self.ffmpeg
    }

    /// Videos that were finished before.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    fn file(&self, key: &VideoKey) -> PathBuf {
        self.folder.join(format!("{}.part", key.0))
    }

    fn described(&self, key: &VideoKey) -> PathBuf {
        self.folder.join(format!("{}.json", key.0))
    }

    /// Has a video made at the path that `make` is given, and keeps it.
    pub fn make(
        &self,
        key: Option<VideoKey>,
        make: impl FnOnce(&Path) -> Result<Known, ExportError>,
    ) -> Result<Encoded, ExportError> {
        let path = match &key {
            Some(key) => self.file(key),
            None => {
                let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
                self.folder.join(format!("unnamed-{number}.part"))
            }
        };
        let growing = path.with_extension("new");
        let made = make(&growing);
        if made.is_err() {
            // Where it cannot be removed, the next attempt writes over it.
            let _ = std::fs::remove_file(&growing);
        }
        let mut known = made?;
        known.ffmpeg.clone_from(&self.ffmpeg);
        if key.is_some() {
            sync_one(&growing)?;
        }
        std::fs::rename(&growing, &path).map_err(ExportError::io("rename a video", &path))?;
        if let Some(key) = &key {
            keep(&self.described(key), &known)?;
        }
        Ok(Encoded {
            key,
            path,
            from: None,
            known,
        })
    }

    /// The file that holds a video alone; cut out of a joined one where there is none.
    fn alone(&self, video: &Encoded) -> Result<PathBuf, ExportError> {
        let (Some(from), Some(key)) = (video.from, &video.key) else {
            return Ok(video.path.clone());
        };
        let Known { steps, fps, .. } = video.known;
        let path = self.file(key);
        let growing = path.with_extension("new");
        // The keyframe at or before this time is the video's first; rounded down it might be the
        // one before.
        let micros = (from * 1_000_000).div_ceil(u64::from(fps));
        let mut command = self.tools.ffmpeg();
        command
            .args(["-ss", &format!("{micros}us"), "-i"])
            .arg(&video.path)
            .args(["-map", "0:v:0", "-c", "copy", "-bitexact"])
            .args(["-frames:v", &steps.to_string()])
            .args(["-video_track_timescale", &ticks_per_second(fps).to_string()])
            .args(["-f", "mp4", "-y"])
            .arg(&growing);
        self.tools.run(command, "cutting out a video", &growing)?;
        std::fs::rename(&growing, &path).map_err(ExportError::io("rename a video", &path))?;
        Ok(path)
    }

    /// Puts a video into the dataset as a file of its own.
    pub fn place(
        &self,
        (episode, camera): (u64, &str),
        video: &Encoded,
        relative: &Path,
    ) -> Result<(), ExportError> {
        link(&self.alone(video)?, &self.dataset.join(relative))?;
        self.note((episode, camera), video, relative, None)
    }

    /// Puts videos into the dataset, one behind the other in one file. Their own files are removed.
    pub fn place_joined(
        &self,
        videos: &[Encoded],
        relative: &Path,
        join: impl FnOnce(&[PathBuf], &Path) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let target = self.dataset.join(relative);
        let keys: Option<Vec<&VideoKey>> = videos.iter().map(|video| video.key.as_ref()).collect();
        let group = keys.map(|keys| group_of(keys.into_iter()));
        if let Some(group) = &group
            && let Some(joined) = self.find_joined(group)
        {
            return link(&joined, &target);
        }
        let files: Vec<PathBuf> = videos
            .iter()
            .map(|video| self.alone(video))
            .collect::<Result<_, _>>()?;
        let path = match &group {
            Some(group) => self.folder.join(format!("joined-{group}.part")),
            // Several cameras may be joined at once.
            None => {
                let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
                self.folder.join(format!("joined-unnamed-{number}.part"))
            }
        };
        let growing = path.with_extension("new");
        join(&files, &growing)?;
        if group.is_some() {
            sync_one(&growing)?;
        }
        std::fs::rename(&growing, &path).map_err(ExportError::io("rename a video", &path))?;
        if group.is_some() {
            let members = videos
                .iter()
                .filter_map(|video| Some((video.key.clone()?, video.known.steps)));
            let members: Vec<(VideoKey, u64)> = members.collect();
            keep(&path.with_extension("json"), &members)?;
            if let Ok(mut joined) = self.joined.lock() {
                let mut from = 0;
                for (key, steps) in members {
                    joined.insert(key, (path.clone(), from));
                    from += steps;
                }
            }
        }
        link(&path, &target)?;
        // Of the dataset that is to be replaced nothing is removed.
        let own: BTreeSet<&PathBuf> = files
            .iter()
            .filter(|file| file.starts_with(&self.folder))
            .collect();
        for file in own {
            std::fs::remove_file(file)
                .map_err(ExportError::io("remove a temporary video", file))?;
        }
        if group.is_none() {
            std::fs::remove_file(&path)
                .map_err(ExportError::io("remove a temporary video", &path))?;
        }
        Ok(())
    }

    fn find_joined(&self, group: &str) -> Option<PathBuf> {
        let own = self.folder.join(format!("joined-{group}.json"));
        if own.is_file() {
            let video = own.with_extension("part");
            return video.is_file().then_some(video);
        }
        self.replaced.as_ref()?.groups.get(group).cloned()
    }

    /// Says in the dataset what is known of a video that has its place.
    pub fn note(
        &self,
        (episode_index, camera): (u64, &str),
        video: &Encoded,
        relative: &Path,
        from: Option<u64>,
    ) -> Result<(), ExportError> {
        let (Some(key), Ok(mut lines)) = (video.key.clone(), self.lines.lock()) else {
            return Ok(());
        };
        let line = Line {
            episode_index,
            camera: camera.to_owned(),
            key,
            file: relative.to_owned(),
            from,
            known: video.known.clone(),
        };
        let lines = match &mut *lines {
            Some(lines) => lines,
            none => none.insert(Jsonl::create(self.dataset.join(VIDEOS_FILE))?),
        };
        lines.add(&serde_json::json!(line))
    }

    /// Completes what is said of the videos.
    pub fn finish(&self) -> Result<(), ExportError> {
        match self.lines.lock().ok().and_then(|mut lines| lines.take()) {
            Some(lines) => lines.finish(),
            None => Ok(()),
        }
    }
}

/// Videos one behind the other, by name.
fn group_of<'a>(keys: impl Iterator<Item = &'a VideoKey>) -> String {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(&key.0);
    }
    super::hex(hash)
}

/// The videos of the dataset that is to be replaced.
struct Replaced {
    dataset: PathBuf,
    /// Where the line of a video begins.
    lines: HashMap<VideoKey, u64>,
    /// Files of joined videos.
    groups: HashMap<String, PathBuf>,
}

impl Replaced {
    fn open(dataset: &Path) -> Result<Self, ExportError> {
        let mut replaced = Self {
            dataset: dataset.to_owned(),
            lines: HashMap::new(),
            groups: HashMap::new(),
        };
        let path = dataset.join(VIDEOS_FILE);
        let Ok(file) = File::open(&path) else {
            // Without it all videos are encoded anew.
            return Ok(replaced);
        };
        let mut members: BTreeMap<PathBuf, Vec<(u64, VideoKey)>> = BTreeMap::new();
        let (mut file, mut text, mut at) = (BufReader::new(file), String::new(), 0);
        loop {
            text.clear();
            let read = file
                .read_line(&mut text)
                .map_err(ExportError::io("read", &path))? as u64;
            let Ok(line) = serde_json::from_str::<Line>(&text) else {
                break;
            };
            replaced.lines.insert(line.key.clone(), at);
            if let Some(from) = line.from {
                members.entry(line.file).or_default().push((from, line.key));
            }
            at += read;
        }
        for (file, mut members) in members {
            members.sort();
            let group = group_of(members.iter().map(|(_, key)| key));
            replaced.groups.insert(group, dataset.join(file));
        }
        Ok(replaced)
    }

    fn find(&self, key: &VideoKey) -> Option<Encoded> {
        let at = *self.lines.get(key)?;
        let mut file = BufReader::new(File::open(self.dataset.join(VIDEOS_FILE)).ok()?);
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut text = String::new();
        file.read_line(&mut text).ok()?;
        let line: Line = serde_json::from_str(&text).ok()?;
        let path = self.dataset.join(&line.file);
        let is_there = match (line.from, path.metadata()) {
            (None, Ok(file)) => file.len() == line.known.bytes,
            (Some(_), Ok(_)) => true,
            _ => false,
        };
        is_there.then_some(Encoded {
            key: Some(line.key),
            path,
            from: line.from,
            known: line.known,
        })
    }
}

/// A second name for a file, or a copy where the file system has no second names.
fn link(from: &Path, to: &Path) -> Result<(), ExportError> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(ExportError::io("create a folder", folder))?;
    }
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    std::fs::copy(from, to)
        .map(drop)
        .map_err(ExportError::io("copy a video to", to))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a description that is there whole or not at all, and not before what it describes.
fn keep(path: &Path, value: &impl Serialize) -> Result<(), ExportError> {
    let text = serde_json::to_vec(value).map_err(|error| ExportError::Invalid {
        what: error.to_string(),
        path: path.into(),
    })?;
    Ok(dexumi_episode::write_atomically(path, &text)?)
}
