//! LeRobot v2.1, and what DreamZero, GR00T and DreamDojo want besides.

mod data;
mod dreamdojo;
mod dreamzero;
mod gr00t;
mod meta;
mod modality;
mod video;

use std::path::Path;

pub(super) use video::check_file as check_video;

use super::{Kind, Verified, nothing_besides};
use crate::error::ExportError;
use crate::ffmpeg::Tools;

/// Checks a dataset that is or will be at `destination`.
pub(super) fn check(
    kind: Kind,
    dataset: &Path,
    destination: &Path,
    tools: &Tools,
) -> Result<Verified, ExportError> {
    let mut meta = meta::read(dataset)?;
    data::check(dataset, &mut meta)?;
    let videos = video::check(dataset, &mut meta, tools)?;
    match kind {
        Kind::LeRobotV21 => {}
        Kind::DreamZero => dreamzero::check(dataset, &mut meta)?,
        Kind::Gr00t => gr00t::check(dataset, &mut meta)?,
        _ => dreamdojo::check(dataset, destination, &mut meta)?,
    }
    nothing_besides(dataset, &meta.files)?;
    Ok(Verified {
        format: kind.name(),
        episodes: meta.episodes.len() as u64,
        rows: meta.info.total_frames,
        tasks: meta.tasks.len() as u64,
        videos,
        files: None,
        is_card_edited: false,
    })
}
