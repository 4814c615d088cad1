//! GR00T's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::RecordBatch;
use serde_json::Value;

use super::super::{column, equal, flatten, invalid, json};
use super::meta::{Meta, SIX};
use super::modality::{self, Modality, Slice};
use crate::error::ExportError;
use crate::gr00t::{MAX_WIDTH, relative_name};
use crate::tables;
use crate::v21::data_path;

pub(super) fn check(dataset: &Path, meta: &mut Meta) -> Result<(), ExportError> {
    let modality = modality::check(dataset, meta)?;
    let path = dataset.join("meta/modality.json");
    for (name, slices) in [("state", &modality.state), ("action", &modality.action)] {
        let width = slices.values().map(|slice| slice.end).max().unwrap_or(0);
        if width > MAX_WIDTH {
            let what = format!("{name}: expected at most {MAX_WIDTH} numbers, got {width}");
            return Err(invalid(what, &path));
        }
        for (key, slice) in slices.iter().filter(|(key, _)| is_pose(key)) {
            equal(
                format!("width of {name} {key:?}"),
                9,
                slice.end - slice.start,
                &path,
            )?;
        }
    }
    let horizon = check_relative("relative_stats.json", dataset, &modality)?;
    meta.files.insert("meta/relative_stats.json".into());
    for other in [16, 40] {
        let name = relative_name(other);
        if dataset.join("meta").join(&name).exists() {
            equal(
                "steps",
                other,
                check_relative(&name, dataset, &modality)?,
                &dataset.join("meta").join(&name),
            )?;
            meta.files.insert(Path::new("meta").join(name));
        }
    }
    let path = dataset.join("meta/episodes.jsonl");
    for (number, episode) in meta.episodes.iter().enumerate() {
        if episode.length < horizon as u64 {
            let what = format!(
                "episode {number}: expected at least the {horizon} rows of an action, got {}",
                episode.length
            );
            return Err(invalid(what, &path));
        }
    }
    check_rotations(dataset, meta, &modality)?;
    let config = dataset.join("new_embodiment_config.py");
    let text = std::fs::read_to_string(&config).map_err(ExportError::io("read", &config))?;
    for key in modality.action.keys().chain(modality.video.keys()) {
        if !text.contains(&format!("{key:?}")) {
            return Err(invalid(
                format!("the configuration does not name {key:?}"),
                &config,
            ));
        }
    }
    let steps = format!("delta_indices=list(range({horizon}))");
    if !text.contains(&steps) {
        return Err(invalid(
            format!("the configuration has not {steps}"),
            &config,
        ));
    }
    meta.files.insert("new_embodiment_config.py".into());
    Ok(())
}

fn is_pose(key: &str) -> bool {
    key.ends_with("eef_9d")
}

/// Statistics by key, each `[horizon][width]`; returns the horizon.
fn check_relative(name: &str, dataset: &Path, modality: &Modality) -> Result<usize, ExportError> {
    let path = dataset.join("meta").join(name);
    let read: BTreeMap<String, BTreeMap<String, Value>> = json(&path)?;
    let keys: BTreeSet<&String> = modality.action.keys().collect();
    equal(
        "keys of relative actions",
        keys,
        read.keys().collect(),
        &path,
    )?;
    let mut horizon = None;
    for (key, entry) in &read {
        let expected: BTreeSet<&str> = SIX.into();
        let got: BTreeSet<&str> = entry.keys().map(String::as_str).collect();
        equal(format!("statistics of {key}"), expected, got, &path)?;
        let slice = &modality.action[key];
        let width = slice.end - slice.start;
        for (statistic, rows) in entry {
            let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
            let steps = *horizon.get_or_insert(rows.len());
            equal(
                format!("steps of {statistic} of {key}"),
                steps,
                rows.len(),
                &path,
            )?;
            if rows.iter().any(|row| flatten(row, width, 0).is_none()) {
                let what = format!("{statistic} of {key}: expected {width} finite values a step");
                return Err(invalid(what, &path));
            }
        }
    }
    match horizon {
        Some(steps @ 1..) => Ok(steps),
        _ => Err(invalid("no statistics", &path)),
    }
}

/// Nine numbers of a pose hold two rows of a rotation: of length one, at a right angle.
fn check_rotations(dataset: &Path, meta: &Meta, modality: &Modality) -> Result<(), ExportError> {
    for number in 0..meta.episodes.len() {
        let path = dataset.join(data_path(number as u64));
        let wanted = |name: &str| name == "observation.state" || name == "action";
        tables::read(&path, wanted, |batch| {
            for slices in [&modality.state, &modality.action] {
                for (key, slice) in slices.iter().filter(|(key, _)| is_pose(key)) {
                    check_poses(batch, key, slice, &path)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn check_poses(
    batch: &RecordBatch,
    key: &str,
    slice: &Slice,
    path: &Path,
) -> Result<(), ExportError> {
    let values = column(batch, &slice.original_key, path)?;
    let width = values.len() / batch.num_rows().max(1);
    for (row, numbers) in values.chunks_exact(width.max(1)).enumerate() {
        let [a, b] = [3, 6].map(|at| &numbers[slice.start + at..][..3]);
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let off = [dot(a, a) - 1.0, dot(b, b) - 1.0, dot(a, b)];
        if off.iter().any(|off| off.abs() > 1e-4) {
            let what = format!(
                "{key} of {}, row {row}: expected two rows of a rotation, got {a:?} and {b:?}",
                slice.original_key
            );
            return Err(invalid(what, path));
        }
    }
    Ok(())
}
