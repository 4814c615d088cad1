//! The features of a LeRobot v3 dataset and its `meta/info.json`.

use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::columns::Columns;
use crate::error::ExportError;
use crate::ffmpeg::Encoder;
use crate::model::{ExtraValues, Resampled};

/// Files in one chunk folder.
pub(crate) const CHUNK_FILES: u64 = 1000;

/// Columns that every dataset has, in order, after those of its own.
pub(crate) const STANDARD: [(&str, &str); 5] = [
    ("timestamp", "float32"),
    ("frame_index", "int64"),
    ("episode_index", "int64"),
    ("index", "int64"),
    ("task_index", "int64"),
];

/// Columns that say what is being done, behind the standard ones: the episode's task, and the subtask
/// where one was named, else the task; both count in the same table of sentences as `task_index`.
pub(crate) const LANGUAGE: [(&str, &str); 2] = [
    ("annotation.task", "int64"),
    ("annotation.subtask", "int64"),
];

/// One feature as `info.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feature {
    pub dtype: String,
    pub shape: Vec<u32>,
    pub names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<serde_json::Value>,
}

impl Feature {
    fn numeric(dtype: &str, names: &[String]) -> Self {
        Self {
            dtype: dtype.into(),
            shape: vec![names.len() as u32],
            names: Some(names.to_vec()),
            info: None,
        }
    }

    pub fn is_video(&self) -> bool {
        self.dtype == "video"
    }

    /// Values per row of a numeric feature.
    pub fn width(&self) -> usize {
        self.shape.iter().product::<u32>() as usize
    }
}

/// Features in column order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features(pub Vec<(String, Feature)>);

impl Features {
    /// The features of `episode`, whose cameras are written in `sizes`
    /// (width, height in pixels).
    pub fn new(
        episode: &Resampled,
        columns: &Columns,
        sizes: &[(u32, u32)],
        encoder: &Encoder,
    ) -> Self {
        let mut list = vec![
            (
                "observation.state".into(),
                Feature::numeric("float32", &columns.state.names),
            ),
            (
                "action".into(),
                Feature::numeric("float32", &columns.action.names),
            ),
        ];
        for extra in episode.features() {
            let dtype = match extra.values {
                ExtraValues::F32(_) => "float32",
                ExtraValues::F64(_) => "float64",
                ExtraValues::I64(_) => "int64",
                ExtraValues::Bool(_) => "bool",
            };
            let feature = Feature::numeric(dtype, &extra.names);
            list.push((extra.name, feature));
        }
        for (camera, &(width, height)) in episode.cameras.iter().zip(sizes) {
            let info = serde_json::json!({
                "video.height": height,
                "video.width": width,
                "video.codec": encoder.codec,
                "video.pix_fmt": "yuv420p",
                "video.fps": episode.fps,
                "video.channels": 3,
                "has_audio": false,
                "is_depth_map": false,
                "video.g": encoder.interval,
                "video.crf": encoder.crf,
            });
            list.push((
                video_key(&camera.name),
                Feature {
                    dtype: "video".into(),
                    shape: vec![height, width, 3],
                    names: Some(["height", "width", "channels"].map(String::from).into()),
                    info: Some(info),
                },
            ));
        }
        for (name, dtype) in STANDARD.into_iter().chain(LANGUAGE) {
            list.push((
                name.into(),
                Feature {
                    dtype: dtype.into(),
                    shape: vec![1],
                    names: None,
                    info: None,
                },
            ));
        }
        Self(list)
    }

    /// Features that have a column in the data files.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Feature)> {
        let numeric = self.0.iter().filter(|(_, f)| !f.is_video());
        numeric.map(|(name, f)| (name.as_str(), f))
    }

    /// The first difference from `other`, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (name, mine) in &self.0 {
            match other.0.iter().find(|(n, _)| n == name) {
                None => return Some(format!("expected the feature {name:?}, got none")),
                Some((_, theirs)) if theirs != mine => {
                    let words = |feature: &Feature| {
                        let names = feature.names.iter().flatten();
                        let names: Vec<&str> = names.map(String::as_str).collect();
                        format!(
                            "{} {:?} ({})",
                            feature.dtype,
                            feature.shape,
                            names.join(", ")
                        )
                    };
                    let sized = match mine.is_video() {
                        true => "; --image-size brings images to one size",
                        false => "",
                    };
                    return Some(format!(
                        "feature {name:?}: expected {}, got {}{sized}",
                        words(mine),
                        words(theirs)
                    ));
                }
                Some(_) => {}
            }
        }
        let new = other
            .0
            .iter()
            .find(|(n, _)| self.0.iter().all(|(m, _)| m != n));
        new.map(|(name, _)| format!("feature {name:?} is new"))
            .or_else(|| (self != other).then(|| "the features are in another order".into()))
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, feature) in &self.0 {
            map.serialize_entry(name, feature)?;
        }
        map.end()
    }
}

/// `meta/info.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Info<'a> {
    pub codebase_version: &'a str,
    pub fps: u32,
    pub features: &'a Features,
    pub total_episodes: u64,
    pub total_frames: u64,
    pub total_tasks: u64,
    pub chunks_size: u64,
    pub data_files_size_in_mb: u64,
    pub video_files_size_in_mb: u64,
    pub data_path: &'a str,
    pub video_path: Option<&'a str>,
    pub robot_type: &'a str,
    pub splits: serde_json::Value,
}

/// The feature's name of a camera.
pub(crate) fn video_key(camera: &str) -> String {
    format!("observation.images.{camera}")
}

/// Template of the paths of data files, as the reader fills it in.
pub(crate) const DATA_PATH: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
/// Template of the paths of video files.
pub(crate) const VIDEO_PATH: &str =
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4";

/// Path of data file `n` inside a dataset.
pub(crate) fn data_path(n: u64) -> PathBuf {
    numbered("data", n, "parquet")
}

/// Path of episode file `n` inside a dataset.
pub(crate) fn episodes_path(n: u64) -> PathBuf {
    numbered("meta/episodes", n, "parquet")
}

/// Path of video file `n` of a camera's feature inside a dataset.
pub(crate) fn video_path(key: &str, n: u64) -> PathBuf {
    numbered(&format!("videos/{key}"), n, "mp4")
}

fn numbered(folder: &str, n: u64, extension: &str) -> PathBuf {
    let (chunk, file) = (n / CHUNK_FILES, n % CHUNK_FILES);
    format!("{folder}/chunk-{chunk:03}/file-{file:03}.{extension}").into()
}

/// Writes one of the JSON files in `meta/`.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), ExportError> {
    let failed = || ExportError::io("write a description", path);
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(std::io::Error::from)
        .map_err(failed())?;
    text.push(b'\n');
    std::fs::write(path, text).map_err(failed())
}
