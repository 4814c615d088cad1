//! A tree of videos without numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::v21::check_video;
use super::{Verified, each_at_once, equal, invalid, lines, nothing_besides};
use crate::dreamdojo::{LEAST_IMAGES, SIZE, VIDEO, path_fault};
use crate::error::ExportError;
use crate::ffmpeg::Tools;
use crate::video_tree;

#[derive(Deserialize)]
struct Line {
    episode_index: u64,
    length: u64,
    fps: u32,
    video: PathBuf,
}

pub(super) fn check(
    dataset: &Path,
    destination: &Path,
    tools: &Tools,
) -> Result<Verified, ExportError> {
    if let Some(what) = path_fault(VIDEO, destination) {
        return Err(invalid(what, destination));
    }
    let path = dataset.join("meta/episodes.jsonl");
    let episodes: Vec<Line> = lines(&path)?;
    let mut files = BTreeSet::from(["meta/episodes.jsonl", "meta/cameras.json"].map(PathBuf::from));
    for (number, line) in episodes.iter().enumerate() {
        equal(
            "episode_index in line order",
            number as u64,
            line.episode_index,
            &path,
        )?;
        equal(
            "video",
            &video_tree::path(number as u64),
            &line.video,
            &path,
        )?;
        if line.length < LEAST_IMAGES as u64 {
            let what = format!(
                "episode {number}: expected at least {LEAST_IMAGES} images, got {}",
                line.length
            );
            return Err(invalid(what, &path));
        }
        files.insert(line.video.clone());
    }
    each_at_once(&episodes, |line| {
        check_video(
            &dataset.join(&line.video),
            SIZE,
            line.length,
            line.fps,
            tools,
        )
        .map(drop)
    })?;
    nothing_besides(dataset, &files)?;
    Ok(Verified {
        format: "dreamdojo",
        episodes: episodes.len() as u64,
        rows: episodes.iter().map(|line| line.length).sum(),
        tasks: 0,
        videos: episodes.len(),
        files: None,
        is_card_edited: false,
    })
}
