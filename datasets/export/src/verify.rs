//! Strict checkers of the folders that this crate writes.
//!
//! Stricter than the official readers, which decode the wrong image or fail
//! in the middle of training where these say what is wrong: rows equal
//! images, every image lies at exactly its time, every episode starts on a
//! keyframe, indices and tasks agree everywhere, values are finite, statistics
//! are complete and bound the data, and no file is missing or superfluous; and for
//! each model what its loader silently assumes.

mod dexumi_zarr;
mod dreamdojo_mano;
mod egoscale;
mod ranges;
mod store;
mod tree;
mod umi_zarr;
mod v21;
mod v3;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use serde::de::DeserializeOwned;

use crate::error::ExportError;
use crate::ffmpeg::{Tools, Track};
use crate::lifecycle::{BESIDES, MANIFEST_FILE, Manifest};
use crate::options::Options;
use crate::{dreamdojo, dreamzero, gr00t, lerobot_v3, lerobot_v21, tables};

/// What a valid dataset holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Name of the format.
    pub format: &'static str,
    /// Episodes.
    pub episodes: u64,
    /// Rows (steps).
    pub rows: u64,
    /// Distinct sentences.
    pub tasks: u64,
    /// Video files over all cameras.
    pub videos: usize,
    /// Files that are what the manifest says; `None` where there is no manifest.
    pub files: Option<usize>,
    /// The card is not the one that was written.
    pub is_card_edited: bool,
}

/// Which format a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LeRobotV3,
    LeRobotV21,
    DreamZero,
    Gr00t,
    DreamDojo,
    VideoTree,
    DreamDojoMano,
    EgoScale,
    DexumiZarr,
    UmiZarr,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::LeRobotV3 => lerobot_v3::FORMAT.name,
            Self::LeRobotV21 => lerobot_v21::FORMAT.name,
            Self::DreamZero => dreamzero::FORMAT.name,
            Self::Gr00t => gr00t::FORMAT.name,
            Self::DreamDojo | Self::VideoTree => dreamdojo::FORMAT.name,
            Self::DreamDojoMano => crate::dreamdojo_mano::FORMAT.name,
            Self::EgoScale => crate::egoscale::FORMAT.name,
            Self::DexumiZarr => crate::dexumi_zarr::FORMAT.name,
            Self::UmiZarr => crate::umi_zarr::FORMAT.name,
        }
    }

    /// By the files that only one format has.
    fn of(dataset: &Path) -> Result<Self, ExportError> {
        #[derive(serde::Deserialize)]
        struct Version {
            codebase_version: String,
        }
        let containers: [(fn(&Path) -> bool, Self); 4] = [
            (dexumi_zarr::is, Self::DexumiZarr),
            (umi_zarr::is, Self::UmiZarr),
            (egoscale::is, Self::EgoScale),
            (dreamdojo_mano::is, Self::DreamDojoMano),
        ];
        if let Some((_, kind)) = containers.iter().find(|(is, _)| is(dataset)) {
            return Ok(*kind);
        }
        let meta = dataset.join("meta");
        let has = |name: &str| meta.join(name).is_file();
        let info = meta.join("info.json");
        if !info.is_file() {
            return match has("episodes.jsonl") {
                true => Ok(Self::VideoTree),
                false => Err(invalid("no meta/info.json, expected a dataset", dataset)),
            };
        }
        let Version { codebase_version } = json(&info)?;
        Ok(match codebase_version.as_str() {
            "v3.0" => Self::LeRobotV3,
            "v2.1" if has("embodiment.json") => Self::DreamZero,
            "v2.1" if has("relative_stats.json") => Self::Gr00t,
            "v2.1" if has("modality.json") => Self::DreamDojo,
            "v2.1" => Self::LeRobotV21,
            other => {
                let what =
                    format!("codebase_version: expected \"v3.0\" or \"v2.1\", got {other:?}");
                return Err(invalid(what, &info));
            }
        })
    }
}

/// Checks the dataset in the folder `dataset`, whose format is told by its files. Of `options`, only
/// the path of `ffprobe` is used.
///
/// # Errors
/// [`ExportError::Invalid`] with the first broken rule and its file, or the
/// reason why a file cannot be read.
pub fn verify(dataset: &Path, options: &Options) -> Result<Verified, ExportError> {
    let destination =
        std::path::absolute(dataset).map_err(ExportError::io("resolve a path", dataset))?;
    // What was changed by hand is told as that, before it breaks some rule.
    let manifest = Manifest::read(dataset)?;
    if let Some(manifest) = &manifest {
        manifest.check(dataset, true)?;
    }
    let mut found = check(Kind::of(dataset)?, dataset, &destination, options)?;
    if let Some(manifest) = &manifest {
        let path = dataset.join(MANIFEST_FILE);
        equal("format", found.format, &manifest.format, &path)?;
        let steps: u64 = manifest.episodes.iter().map(|entry| entry.steps).sum();
        equal(
            "episodes and steps",
            (found.episodes, found.rows),
            (manifest.episodes.len() as u64, steps),
            &path,
        )?;
        found.files = Some(manifest.files.len());
        found.is_card_edited = manifest.is_card_edited(dataset)?;
    }
    Ok(found)
}

/// As [`verify`], of a dataset of the format `name` that will lie at `destination`.
pub(crate) fn verify_as(
    name: &str,
    dataset: &Path,
    destination: &Path,
    options: &Options,
) -> Result<Verified, ExportError> {
    let kind = Kind::of(dataset)?;
    equal("format", name, kind.name(), dataset)?;
    let destination =
        std::path::absolute(destination).map_err(ExportError::io("resolve a path", destination))?;
    check(kind, dataset, &destination, options)
}

fn check(
    kind: Kind,
    dataset: &Path,
    destination: &Path,
    options: &Options,
) -> Result<Verified, ExportError> {
    let tools = Tools::new(options);
    match kind {
        Kind::LeRobotV3 => v3::check(dataset, &tools),
        Kind::VideoTree => tree::check(dataset, destination, &tools),
        Kind::DreamDojoMano => dreamdojo_mano::check(dataset, &tools),
        Kind::EgoScale => egoscale::check(dataset, &tools),
        Kind::DexumiZarr => dexumi_zarr::check(dataset),
        Kind::UmiZarr => umi_zarr::check(dataset),
        kind => v21::check(kind, dataset, destination, &tools),
    }
}

/// Refuses files that nothing refers to.
fn nothing_besides(dataset: &Path, expected: &BTreeSet<PathBuf>) -> Result<(), ExportError> {
    let mut present = BTreeSet::new();
    list(dataset, dataset, &mut present)?;
    for any in BESIDES {
        present.remove(Path::new(any));
    }
    match present.difference(expected).next() {
        Some(extra) => Err(invalid("superfluous file", &dataset.join(extra))),
        None => Ok(()),
    }
}

pub(crate) fn invalid(what: impl Into<String>, path: &Path) -> ExportError {
    ExportError::Invalid {
        what: what.into(),
        path: path.into(),
    }
}

/// `Ok` when the two are equal, else what was expected.
pub(crate) fn equal<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(
    what: impl std::fmt::Display,
    expected: A,
    got: B,
    path: &Path,
) -> Result<(), ExportError> {
    if expected == got {
        return Ok(());
    }
    Err(invalid(
        format!("{what}: expected {expected:?}, got {got:?}"),
        path,
    ))
}

/// Longest distance of keyframes: what a loader decodes to reach an image.
const LONGEST_GOP: usize = 15;

/// Refuses a video in which an image may be further than that from its keyframe.
fn keyframes_near(track: &Track) -> Result<(), String> {
    // What lies between keyframes, and one of them.
    let between = track.keyframes.split(|&is_key| is_key).map(<[bool]>::len);
    let longest = between.max().unwrap_or(0) + 1;
    if longest > LONGEST_GOP {
        return Err(format!(
            "distance of keyframes: expected at most {LONGEST_GOP}, got {longest}"
        ));
    }
    Ok(())
}

/// Values of a numeric column.
fn column(batch: &RecordBatch, name: &str, path: &Path) -> Result<Vec<f64>, ExportError> {
    let array = batch.column_by_name(name);
    array
        .and_then(|array| tables::numbers(array.as_ref()))
        .ok_or_else(|| {
            invalid(
                format!("expected a numeric column {name} without nulls"),
                path,
            )
        })
}

pub(crate) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ExportError> {
    let text = std::fs::read(path).map_err(ExportError::io("read a description", path))?;
    serde_json::from_slice(&text).map_err(|e| invalid(e.to_string(), path))
}

/// Values, one a line; a blank line ends the models' loaders.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ExportError> {
    Lines::open(path)?.collect()
}

/// Values, one a line, read one by one: there may be more of them than memory.
struct Lines<T> {
    path: PathBuf,
    lines: std::iter::Enumerate<std::io::Lines<BufReader<File>>>,
    kind: PhantomData<T>,
}

impl<T> Lines<T> {
    fn open(path: &Path) -> Result<Self, ExportError> {
        let file = File::open(path).map_err(ExportError::io("read a description", path))?;
        Ok(Self {
            path: path.to_owned(),
            lines: BufReader::new(file).lines().enumerate(),
            kind: PhantomData,
        })
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (number, line) = self.lines.next()?;
        let path = &self.path;
        let line = line.map_err(ExportError::io("read a description", path));
        let read = |line: String| {
            let value = serde_json::from_str(&line);
            value.map_err(|e| invalid(format!("line {}: {e}", number + 1), path))
        };
        Some(line.and_then(read))
    }
}

/// A list of `width` finite numbers, each inside `depth` lists of one.
fn flatten(value: &serde_json::Value, width: usize, depth: usize) -> Option<Vec<f64>> {
    let list = value.as_array().filter(|list| list.len() == width)?;
    list.iter()
        .map(|mut value| {
            for _ in 0..depth {
                let [inner] = &value.as_array()?[..] else {
                    return None;
                };
                value = inner;
            }
            value.as_f64().filter(|x| x.is_finite())
        })
        .collect()
}

/// Does the same with all items, as many at once as there are cores; the first error by order of items
/// that were reached.
pub(crate) fn each_at_once<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), ExportError> + Sync,
) -> Result<(), ExportError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        if let Ok(mut failed) = failed.lock() {
                            failed.get_or_insert(error);
                        }
                        // The others stop as well.
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_default().map_or(Ok(()), Err)
}

/// What git and the Hugging Face Hub put into a dataset's folder.
pub(crate) const FOREIGN: [&str; 4] = [".git", ".gitattributes", ".gitignore", ".cache"];

pub(crate) fn list(
    root: &Path,
    folder: &Path,
    into: &mut BTreeSet<PathBuf>,
) -> Result<(), ExportError> {
    let failed = || ExportError::io("list a folder", folder);
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if folder == root
            && path
                .file_name()
                .is_some_and(|name| FOREIGN.iter().any(|own| name == *own))
        {
            continue;
        }
        if path.is_dir() {
            list(root, &path, into)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            into.insert(relative.into());
        }
    }
    Ok(())
}
