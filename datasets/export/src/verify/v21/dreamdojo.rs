//! DreamDojo's metadata.

use std::path::Path;

use super::super::{equal, invalid};
use super::meta::Meta;
use super::modality;
use crate::dreamdojo::{G1, LEAST_STEPS, OWN, SIZE, path_fault};
use crate::error::ExportError;

/// Keys of a G1 and their widths, as its loader has them.
const G1_KEYS: [(&str, usize); 7] = [
    ("left_leg", 6),
    ("right_leg", 6),
    ("waist", 3),
    ("left_arm", 7),
    ("left_hand", 7),
    ("right_arm", 7),
    ("right_hand", 7),
];

pub(super) fn check(
    dataset: &Path,
    destination: &Path,
    meta: &mut Meta,
) -> Result<(), ExportError> {
    let modality = modality::check(dataset, meta)?;
    let path = dataset.join("meta/modality.json");
    let variant = match modality.state.contains_key("left_leg") {
        true => G1,
        false => OWN,
    };
    if let Some(what) = path_fault(variant, destination) {
        return Err(invalid(what, destination));
    }
    if variant == G1 {
        for (name, slices) in [("state", &modality.state), ("action", &modality.action)] {
            let got: Vec<(&str, usize)> = slices
                .iter()
                .map(|(key, s)| (key.as_str(), s.end - s.start))
                .collect();
            let mut expected = G1_KEYS.to_vec();
            expected.sort_unstable();
            equal(format!("{name} keys of a G1"), expected, got, &path)?;
        }
    }
    let view = if variant == G1 { "ego_view" } else { "head" };
    let names: Vec<&str> = modality.video.keys().map(String::as_str).collect();
    equal("views", vec![view], names, &path)?;
    let shape = &meta.info.features[&modality.video[view].original_key].shape;
    let info = dataset.join("meta/info.json");
    equal(
        "ratio of width and height",
        SIZE.0 * shape[0],
        SIZE.1 * shape[1],
        &info,
    )?;
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
    meta.files.insert("DREAMDOJO.md".into());
    Ok(())
}
