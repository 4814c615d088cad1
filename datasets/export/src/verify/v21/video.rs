//! `videos/`: one image per row and camera, one file an episode.

use std::path::{Path, PathBuf};

use super::super::{each_at_once, equal, invalid, keyframes_near};
use super::meta::Meta;
use crate::error::ExportError;
use crate::features::Feature;
use crate::ffmpeg::{Tools, probe};
use crate::v21::video_path;

struct Video<'a> {
    relative: PathBuf,
    feature: &'a Feature,
    length: u64,
}

/// Checks every packet of every video, adds the files to those of `meta` and returns their number.
pub(super) fn check(dataset: &Path, meta: &mut Meta, tools: &Tools) -> Result<usize, ExportError> {
    let mut videos = Vec::new();
    for (key, feature) in meta.info.features.iter().filter(|(_, f)| f.is_video()) {
        for (number, episode) in meta.episodes.iter().enumerate() {
            videos.push(Video {
                relative: video_path(key, number as u64),
                feature,
                length: episode.length,
            });
        }
    }
    let fps = meta.info.fps;
    each_at_once(&videos, |video| {
        let shape = [video.feature.shape[1], video.feature.shape[0]];
        let path = dataset.join(&video.relative);
        let codec = check_file(&path, (shape[0], shape[1]), video.length, fps, tools)?;
        let info = video.feature.info.as_ref();
        let told = info.and_then(|info| info["video.codec"].as_str());
        equal("codec", told, Some(codec.as_str()), &path)
    })?;
    let files: Vec<PathBuf> = videos.into_iter().map(|video| video.relative).collect();
    let count = files.len();
    meta.files.extend(files);
    Ok(count)
}

/// Checks one video of so many images and returns its codec.
pub(in super::super) fn check_file(
    path: &Path,
    size: (u32, u32),
    length: u64,
    fps: u32,
    tools: &Tools,
) -> Result<String, ExportError> {
    if !path.is_file() {
        return Err(invalid("the video is missing", path));
    }
    let track = probe(tools, path)?;
    equal("width and height", size, (track.width, track.height), path)?;
    equal("pixel format", "yuv420p", &track.pixel_format, path)?;
    equal("image rate", &format!("{fps}/1"), &track.rate, path)?;
    track
        .check_grid(length, fps)
        .map_err(|what| invalid(what, path))?;
    equal(
        "keyframe at packet 0",
        Some(&true),
        track.keyframes.first(),
        path,
    )?;
    keyframes_near(&track).map_err(|what| invalid(what, path))?;
    Ok(track.codec)
}
