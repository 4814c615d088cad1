//! LeRobotDataset v3.0.

mod data;
mod meta;
mod video;

use std::path::Path;

use super::{Kind, Verified, each_at_once, equal, invalid, keyframes_near, nothing_besides};
use crate::error::ExportError;
use crate::ffmpeg::Tools;

pub(super) fn check(dataset: &Path, tools: &Tools) -> Result<Verified, ExportError> {
    let meta = meta::read(dataset)?;
    let mut expected = meta.files.clone();
    data::check(dataset, &meta, &mut expected)?;
    let videos = video::check(dataset, &meta, tools, &mut expected)?;
    if videos > 0 {
        expected.insert("meta/cameras.json".into());
    }
    nothing_besides(dataset, &expected)?;
    Ok(Verified {
        format: Kind::LeRobotV3.name(),
        episodes: meta.info.total_episodes,
        rows: meta.info.total_frames,
        tasks: meta.tasks.len() as u64,
        videos,
        files: None,
        is_card_edited: false,
    })
}
