//! `videos/`: one image per row and camera.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::meta::{Episode, Meta};
use super::{each_at_once, equal, invalid, keyframes_near};
use crate::error::ExportError;
use crate::features::{self, Feature};
use crate::ffmpeg::{Tools, probe};

/// Checks every packet of every video, adds the files to `files` and returns
/// their number.
pub(super) fn check(
    dataset: &Path,
    meta: &Meta,
    tools: &Tools,
    files: &mut BTreeSet<PathBuf>,
) -> Result<usize, ExportError> {
    let mut videos = Vec::new();
    for (key, feature) in meta.info.features.iter().filter(|(_, f)| f.is_video()) {
        let mut episodes_of: BTreeMap<u64, Vec<&Episode>> = BTreeMap::new();
        for episode in &meta.episodes {
            episodes_of
                .entry(episode.videos[key].0)
                .or_default()
                .push(episode);
        }
        for (n, episodes) in episodes_of {
            videos.push((features::video_path(key, n), key, feature, episodes));
        }
    }
    let fps = meta.info.fps;
    each_at_once(&videos, |(relative, key, feature, episodes)| {
        check_file(&dataset.join(relative), key, feature, episodes, fps, tools)
    })?;
    let count = videos.len();
    files.extend(videos.into_iter().map(|(relative, ..)| relative));
    Ok(count)
}

fn check_file(
    path: &Path,
    key: &str,
    feature: &Feature,
    episodes: &[&Episode],
    fps: u32,
    tools: &Tools,
) -> Result<(), ExportError> {
    if !path.is_file() {
        return Err(invalid("the video is missing", path));
    }
    let track = probe(tools, path)?;
    let info = feature.info.as_ref();
    let told = |name: &str| info.and_then(|info| info[name].as_str());
    equal(
        "shape",
        &vec![track.height, track.width, 3],
        &feature.shape,
        path,
    )?;
    equal(
        "codec",
        told("video.codec"),
        Some(track.codec.as_str()),
        path,
    )?;
    equal(
        "pixel format",
        told("video.pix_fmt"),
        Some(track.pixel_format.as_str()),
        path,
    )?;
    equal("image rate", &format!("{fps}/1"), &track.rate, path)?;
    let steps = episodes
        .iter()
        .map(|episode| episode.to - episode.from)
        .sum();
    track
        .check_grid(steps, fps)
        .map_err(|what| invalid(what, path))?;
    let mut start = 0;
    for episode in episodes {
        let length = episode.to - episode.from;
        let (_, from, to) = episode.videos[key];
        let seconds = |step: u64| step as f64 / f64::from(fps);
        equal("from_timestamp", seconds(start), from, path)?;
        equal("to_timestamp", seconds(start + length), to, path)?;
        equal(
            format!("keyframe at packet {start}"),
            true,
            track.keyframes[start as usize],
            path,
        )?;
        start += length;
    }
    keyframes_near(&track).map_err(|what| invalid(what, path))
}
