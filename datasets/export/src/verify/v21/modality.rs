//! `meta/modality.json`: where each part of state and action, each view and each annotation lies.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::{equal, invalid, json};
use super::meta::Meta;
use crate::error::ExportError;

#[derive(Deserialize)]
pub(super) struct Slice {
    pub original_key: String,
    pub start: usize,
    pub end: usize,
}

#[derive(Deserialize)]
pub(super) struct Original {
    pub original_key: String,
}

#[derive(Deserialize)]
pub(super) struct Modality {
    pub state: BTreeMap<String, Slice>,
    pub action: BTreeMap<String, Slice>,
    pub video: BTreeMap<String, Original>,
    pub annotation: BTreeMap<String, Original>,
}

pub(super) fn check(dataset: &Path, meta: &mut Meta) -> Result<Modality, ExportError> {
    let path = dataset.join("meta/modality.json");
    let modality: Modality = json(&path)?;
    meta.files.insert("meta/modality.json".into());
    for (name, slices) in [("state", &modality.state), ("action", &modality.action)] {
        check_slices(name, slices, meta, &path)?;
    }
    for (key, action) in &modality.action {
        let state = modality.state.get(key);
        let width = state.map(|state| state.end - state.start);
        let what = format!("width of state {key:?}, which the action is relative to");
        equal(what, Some(action.end - action.start), width, &path)?;
    }
    let videos: Vec<&String> = meta
        .info
        .features
        .iter()
        .filter(|(_, f)| f.is_video())
        .map(|(name, _)| name)
        .collect();
    for (name, Original { original_key }) in &modality.video {
        if name.contains('.') {
            return Err(invalid(
                format!("view {name:?}: names must not contain '.'"),
                &path,
            ));
        }
        if !videos.contains(&original_key) {
            let what = format!("view {name:?}: expected one of {videos:?}, got {original_key:?}");
            return Err(invalid(what, &path));
        }
    }
    if modality.annotation.is_empty() {
        return Err(invalid("no annotation: expected at least one", &path));
    }
    for (name, Original { original_key }) in &modality.annotation {
        // Text in a column is a KeyError in one loader and a crash in another: rows hold indices.
        let dtype = meta
            .info
            .features
            .get(original_key)
            .map(|f| f.dtype.as_str());
        equal(
            format!("dtype of annotation {name:?}"),
            Some("int64"),
            dtype,
            &path,
        )?;
    }
    Ok(modality)
}

/// Slices lie in their column, one behind the other, and cover it.
fn check_slices(
    name: &str,
    slices: &BTreeMap<String, Slice>,
    meta: &Meta,
    path: &Path,
) -> Result<(), ExportError> {
    let mut by_column: BTreeMap<&str, Vec<(&String, &Slice)>> = BTreeMap::new();
    for (key, slice) in slices {
        if key.contains('.') {
            let what = format!("{name} {key:?}: names must not contain '.'");
            return Err(invalid(what, path));
        }
        by_column
            .entry(&slice.original_key)
            .or_default()
            .push((key, slice));
    }
    if by_column.is_empty() {
        return Err(invalid(
            format!("no {name}: expected at least one key"),
            path,
        ));
    }
    for (column, mut slices) in by_column {
        let feature = meta.info.features.get(column);
        let width = feature
            .filter(|f| !f.is_video())
            .map(|feature| feature.width());
        slices.sort_by_key(|(_, slice)| slice.start);
        let mut end = 0;
        for (key, slice) in slices {
            equal(format!("start of {name} {key:?}"), end, slice.start, path)?;
            if slice.end <= slice.start {
                return Err(invalid(format!("{name} {key:?} is empty"), path));
            }
            end = slice.end;
        }
        equal(
            format!("columns of {column:?} that {name} takes"),
            width,
            Some(end),
            path,
        )?;
    }
    Ok(())
}
