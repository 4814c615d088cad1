//! A tree of videos, one an episode, without numbers: what DreamDojo's pre-training and its
//! latent-action model read.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::ExportError;
use crate::features::CHUNK_FILES;
use crate::formats::Episodes;
use crate::options::{Options, Progress, Report};
use crate::v21::Jsonl;
use crate::writing::{self, Accepted, Book, Layout, Plan};

/// Video of an episode.
pub(crate) fn path(episode: u64) -> PathBuf {
    let chunk = episode / CHUNK_FILES;
    format!("videos/chunk-{chunk:03}/episode_{episode:06}/head.mp4").into()
}

/// Writes a tree.
pub(crate) fn write(
    plan: &Plan,
    (episodes, out): (&mut Episodes<'_>, &Path),
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    writing::write(plan, episodes, out, options, progress, |_, _| Tree {
        lines: None,
    })
}

struct Tree {
    lines: Option<Jsonl>,
}

impl Layout for Tree {
    fn append(&mut self, book: &Book, accepted: &Accepted) -> Result<(), ExportError> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(Jsonl::create(book.root.join("meta/episodes.jsonl"))?),
        };
        let relative = path(book.episodes);
        for (camera, video) in book.cameras.iter().zip(&accepted.videos) {
            let of = (book.episodes, camera.key.as_str());
            book.parts.place(of, video, &relative)?;
        }
        lines.add(&json!({
            "episode_index": book.episodes,
            "episode_id": accepted.episode.episode_id,
            "tasks": [accepted.episode.task],
            "length": accepted.episode.steps(),
            "fps": accepted.episode.fps,
            "video": relative,
        }))
    }

    fn finish(self, _: &Book) -> Result<Vec<String>, ExportError> {
        if let Some(lines) = self.lines {
            lines.finish()?;
        }
        Ok(Vec::new())
    }
}
