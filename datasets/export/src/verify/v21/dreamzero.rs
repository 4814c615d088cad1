//! DreamZero's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::{equal, invalid, json, lines};
use super::meta::{self, Meta};
use super::modality;
use crate::dreamzero::{LEAST_STEPS, MAX_ACTION, is_literal};
use crate::error::ExportError;

/// Tags that the trainer's collator knows and that fit this data.
const TAGS: [&str; 4] = ["xdof", "yam", "mecka_hands", "gr1_unified"];
/// Views in the order in which the model packs them.
const VIEWS: [&str; 3] = ["head", "left_wrist", "right_wrist"];

#[derive(Deserialize)]
struct Embodiment {
    robot_type: String,
    embodiment_tag: String,
}

#[derive(Deserialize)]
struct Filtered {
    episode_index: u64,
    step_indices: Vec<u64>,
}

pub(super) fn check(dataset: &Path, meta: &mut Meta) -> Result<(), ExportError> {
    let modality = modality::check(dataset, meta)?;
    let path = dataset.join("meta/embodiment.json");
    let embodiment: Embodiment = json(&path)?;
    if embodiment.robot_type.is_empty() || !TAGS.contains(&embodiment.embodiment_tag.as_str()) {
        let what = format!(
            "embodiment_tag: expected one of {TAGS:?}, got {:?}",
            embodiment.embodiment_tag
        );
        return Err(invalid(what, &path));
    }
    check_views(&modality, meta, dataset)?;
    let path = dataset.join("dreamzero.yaml");
    let yaml = std::fs::read_to_string(&path).map_err(ExportError::io("read", &path))?;
    let width = modality
        .action
        .values()
        .map(|slice| slice.end)
        .max()
        .unwrap_or(0);
    let told = yaml
        .lines()
        .find_map(|line| line.strip_prefix("max_action_dim: ")?.parse().ok());
    equal("max_action_dim", Some(MAX_ACTION.max(width)), told, &path)?;
    let path = dataset.join("meta/relative_stats_dreamzero.json");
    let relative: BTreeMap<String, BTreeMap<String, Value>> = json(&path)?;
    equal(
        "keys of relative actions",
        modality.action.keys().collect::<BTreeSet<_>>(),
        relative.keys().collect(),
        &path,
    )?;
    for (key, entry) in &relative {
        let slice = &modality.action[key];
        meta::six(entry, key, slice.end - slice.start, &path)?;
    }
    let path = dataset.join("meta/episodes.jsonl");
    for (number, episode) in meta.episodes.iter().enumerate() {
        if episode.length < LEAST_STEPS as u64 {
            let what = format!(
                "episode {number}: expected at least {LEAST_STEPS} rows, got {}",
                episode.length
            );
            return Err(invalid(what, &path));
        }
    }
    let path = dataset.join("meta/tasks.jsonl");
    if let Some(task) = meta.tasks.iter().find(|task| is_literal(task)) {
        let what = format!("the trainer would take the sentence {task:?} for a Python value");
        return Err(invalid(what, &path));
    }
    check_filter(dataset, meta)?;
    let names = ["embodiment.json", "relative_stats_dreamzero.json"];
    meta.files
        .extend(names.map(|name| Path::new("meta").join(name)));
    meta.files
        .extend(["dreamzero.yaml", "DREAMZERO.md"].map(Into::into));
    Ok(())
}

fn check_views(
    modality: &modality::Modality,
    meta: &Meta,
    dataset: &Path,
) -> Result<(), ExportError> {
    let path = dataset.join("meta/modality.json");
    let names: Vec<&str> = modality.video.keys().map(String::as_str).collect();
    let known: Vec<&str> = VIEWS
        .into_iter()
        .filter(|view| names.contains(view))
        .collect();
    equal("views", &known, &names, &path)?;
    let shapes: BTreeSet<&Vec<u32>> = modality
        .video
        .values()
        .map(|view| &meta.info.features[&view.original_key].shape)
        .collect();
    if shapes.len() != 1 {
        let what = format!("views: expected one size for all, got {shapes:?}");
        return Err(invalid(what, &dataset.join("meta/info.json")));
    }
    Ok(())
}

/// Where the file is there, the loader wants every episode in it.
fn check_filter(dataset: &Path, meta: &mut Meta) -> Result<(), ExportError> {
    let relative = Path::new("meta/step_filter.jsonl");
    let path = dataset.join(relative);
    if !path.exists() {
        return Ok(());
    }
    let filter: Vec<Filtered> = lines(&path)?;
    equal("lines", meta.episodes.len(), filter.len(), &path)?;
    for (number, (line, episode)) in filter.iter().zip(&meta.episodes).enumerate() {
        equal(
            "episode_index in line order",
            number as u64,
            line.episode_index,
            &path,
        )?;
        if let Some(step) = line
            .step_indices
            .iter()
            .find(|&&step| step >= episode.length)
        {
            let what = format!(
                "episode {number}: expected steps below {}, got {step}",
                episode.length
            );
            return Err(invalid(what, &path));
        }
    }
    meta.files.insert(relative.into());
    Ok(())
}
