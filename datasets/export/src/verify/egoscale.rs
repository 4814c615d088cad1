//! Rules of `egoscale`: what the scaffold's loader asserts, drops in silence, or
//! reads wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::{Verified, equal, invalid, json, keyframes_near, lines};
use crate::egoscale::{ACTION, HAND, HORIZONS, STATE, VIEWS, manifest};
use crate::error::ExportError;
use crate::ffmpeg::{Tools, probe};
use crate::hdf5::Reader;

/// Whether `dataset` is of this format.
pub(super) fn is(dataset: &Path) -> bool {
    stages(dataset).next().is_some()
}

fn stages(dataset: &Path) -> impl Iterator<Item = u32> {
    (1..=3).filter(move |stage| dataset.join(manifest(*stage)).is_file())
}

/// Checks manifests, numbers and videos.
pub(super) fn check(dataset: &Path, tools: &Tools) -> Result<Verified, ExportError> {
    let info: Value = json(&dataset.join("meta/info.json"))?;
    let fps = info["control_frequency_hz"].as_u64().filter(|fps| *fps > 0);
    let fps = fps.ok_or_else(|| {
        invalid(
            "control_frequency_hz is no number above 0",
            &dataset.join("meta/info.json"),
        )
    })? as u32;
    let episodes: Vec<Value> = lines(&dataset.join("meta/episodes.jsonl"))?;
    let mut steps = BTreeMap::new();
    let mut verified = Verified {
        format: crate::egoscale::FORMAT.name,
        episodes: episodes.len() as u64,
        rows: 0,
        tasks: lines::<Value>(&dataset.join("meta/tasks.jsonl"))?.len() as u64,
        videos: 0,
        files: None,
        is_card_edited: false,
    };
    for episode in &episodes {
        let id = text(episode, "episode_id", dataset)?;
        let count = episode_file(&dataset.join(format!("data/episodes/{id}.h5")), &id, fps)?;
        equal(
            "num_steps",
            episode["num_steps"].as_u64(),
            Some(count),
            dataset,
        )?;
        verified.rows += count;
        steps.insert(id, count);
    }
    splits(dataset, &steps)?;
    let mut videos: BTreeSet<String> = BTreeSet::new();
    for stage in stages(dataset) {
        chunks(dataset, stage, fps, &steps, &mut videos)?;
    }
    for video in &videos {
        let path = dataset.join(video);
        let id = video.rsplit('/').next().unwrap_or_default();
        let own = steps
            .iter()
            .find(|(episode, _)| id.starts_with(episode.as_str()));
        let count = own.map(|(_, count)| *count);
        let count = count.ok_or_else(|| invalid("a video of no episode", &path))?;
        if !path.is_file() {
            return Err(invalid("the video is missing", &path));
        }
        let track = probe(tools, &path)?;
        track
            .check_grid(count, fps)
            .and_then(|()| keyframes_near(&track))
            .map_err(|what| invalid(what, &path))?;
        verified.videos += 1;
    }
    Ok(verified)
}

fn text(row: &Value, key: &str, path: &Path) -> Result<String, ExportError> {
    let words = row[key].as_str().filter(|words| !words.trim().is_empty());
    words
        .map(str::to_owned)
        .ok_or_else(|| invalid(format!("{key} is no text: {}", row[key]), path))
}

/// Checks the numbers of an episode and returns its steps.
fn episode_file(path: &Path, id: &str, fps: u32) -> Result<u64, ExportError> {
    let broken = |what: String| invalid(what, path);
    let file = Reader::open(path).map_err(broken)?;
    for (name, expected) in [
        ("episode_id", Some(id)),
        ("embodiment_id", Some("sharpa")),
        ("instruction", None),
    ] {
        let words = file.attribute("meta", name).map_err(broken)?;
        if words.trim().is_empty() || expected.is_some_and(|expected| expected != words) {
            return Err(broken(format!(
                "meta attribute {name}: expected {expected:?}, got {words:?}"
            )));
        }
    }
    let (shape, times) = file.array("timestamps/step").map_err(broken)?;
    let rows = shape.first().copied().unwrap_or(0).saturating_sub(1);
    let expected: Vec<f64> = (0..=rows).map(|k| k as f64 / f64::from(fps)).collect();
    if shape.len() != 1 || times != expected {
        return Err(broken(format!(
            "timestamps/step: expected k/{fps} for each k"
        )));
    }
    let first = VIEWS[0].1;
    file.check_times("timestamps", rows, &[first])
        .map_err(broken)?;
    let of = |name: &str, shape: &[u64]| {
        let (own, values) = file.array(&format!("signals/{name}")).map_err(broken)?;
        equal(format!("shape of signals/{name}"), shape, &own[..], path)?;
        Ok::<_, ExportError>(values)
    };
    let state = of("raw_state", &[rows, STATE as u64])?;
    let actions = of("actions", &[rows, ACTION as u64])?;
    let wrists = of("active_wrist_pose", &[rows, 4, 4])?;
    let hand = of("hand_descriptor", &[rows, HAND as u64])?;
    for k in 0..rows as usize {
        if state[k * STATE..k * STATE + HAND] != hand[k * HAND..(k + 1) * HAND] {
            return Err(broken(format!(
                "step {k}: raw_state does not begin with the hand"
            )));
        }
        if k + 1 == rows as usize {
            break;
        }
        // The target of a step is the state of the next.
        if actions[k * ACTION + 6..(k + 1) * ACTION] != hand[(k + 1) * HAND..(k + 2) * HAND] {
            return Err(broken(format!(
                "step {k}: the action's hand is not that of the next step"
            )));
        }
        let now = &wrists[16 * k..16 * k + 16];
        let next = &wrists[16 * k + 16..16 * k + 32];
        for axis in 0..3 {
            // inverse(T_k) T_k+1: the difference in the axes at step k.
            let delta: f64 = (0..3)
                .map(|row| now[4 * row + axis] * (next[4 * row + 3] - now[4 * row + 3]))
                .sum();
            let told = actions[k * ACTION + axis];
            if (delta - told).abs() > 1e-4 {
                return Err(broken(format!(
                    "step {k}: the wrist moves by {delta:.5} m along axis {axis}, its action says {told:.5}"
                )));
            }
        }
    }
    Ok(rows)
}

fn splits(dataset: &Path, steps: &BTreeMap<String, u64>) -> Result<(), ExportError> {
    let path = dataset.join("meta/splits.json");
    let splits: Value = json(&path)?;
    let mut seen = BTreeSet::new();
    for name in ["train_episode_ids", "val_episode_ids", "test_episode_ids"] {
        let ids = splits[name].as_array();
        let ids = ids.ok_or_else(|| invalid(format!("{name} is no list"), &path))?;
        for id in ids.iter().filter_map(Value::as_str) {
            if !steps.contains_key(id) || !seen.insert(id.to_owned()) {
                return Err(invalid(
                    format!("{name}: {id} is not known, or in two splits"),
                    &path,
                ));
            }
        }
    }
    equal("episodes in splits", steps.len(), seen.len(), &path)
}

fn chunks(
    dataset: &Path,
    stage: u32,
    fps: u32,
    steps: &BTreeMap<String, u64>,
    videos: &mut BTreeSet<String>,
) -> Result<(), ExportError> {
    let path = dataset.join(manifest(stage));
    let rows: Vec<Value> = lines(&path)?;
    if rows.is_empty() {
        return Err(invalid(
            "no samples: the loader would train on nothing",
            &path,
        ));
    }
    let mut seen = BTreeSet::new();
    for (number, row) in rows.iter().enumerate() {
        let broken = |what: String| invalid(format!("line {}: {what}", number + 1), &path);
        let is = |key: &str, expected: Value| {
            if row[key] == expected {
                return Ok(());
            }
            Err(broken(format!(
                "{key}: expected {expected}, got {}",
                row[key]
            )))
        };
        is("stage", format!("stage{stage}").into())?;
        is("embodiment_id", "sharpa".into())?;
        is("state_semantics_name", "sharpa_proprio_v1".into())?;
        is(
            "action_semantics_name",
            "sharpa_wristdelta_hand22_v1".into(),
        )?;
        is("state_dim", STATE.into())?;
        is("action_dim", ACTION.into())?;
        is("obs_horizon", HORIZONS.0.into())?;
        is("action_horizon", HORIZONS.1.into())?;
        // The rules of the stages: anything else raises, or is dropped in silence.
        let robot = row["data_source"] == "robot_native";
        let allowed = match stage {
            1 => row["data_source"] == "human_retargeted",
            2 => robot || row["data_source"] == "human_retargeted",
            _ => robot,
        };
        if !allowed || row["has_proprio"] != robot {
            return Err(broken(format!(
                "stage {stage} does not take data_source {} with has_proprio {}",
                row["data_source"], row["has_proprio"]
            )));
        }
        let views: Vec<&str> = row["camera_views"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let order: Vec<&str> = VIEWS
            .iter()
            .map(|(_, view)| *view)
            .filter(|view| views.contains(view))
            .collect();
        if views.first() != Some(&"head") || views != order {
            return Err(broken(format!(
                "camera_views {views:?}: expected head, then the wrists in order"
            )));
        }
        let id = text(row, "episode_id", &path)?;
        let count = *steps
            .get(&id)
            .ok_or_else(|| broken(format!("unknown episode {id}")))?;
        for view in views {
            let video = row["video_refs"][view].as_str();
            let video = video.ok_or_else(|| broken(format!("no video of view {view}")))?;
            videos.insert(video.to_owned());
        }
        is("episode_file", format!("data/episodes/{id}.h5").into())?;
        text(row, "instruction", &path)?;
        let start = row["obs_index_start"].as_u64().unwrap_or(u64::MAX);
        let first = row["action_index_start"].as_u64().unwrap_or(u64::MAX);
        if start.saturating_add(HORIZONS.0 as u64 - 1) != first
            || first.saturating_add(HORIZONS.1 as u64) > count
        {
            return Err(broken(format!(
                "starts {start} and {first} in {count} steps"
            )));
        }
        for (key, from, count) in [
            ("obs_timestamps", start, HORIZONS.0),
            ("action_timestamps", first, HORIZONS.1),
        ] {
            let times = row[key].as_array().map_or(&[][..], Vec::as_slice);
            // serde_json reads numbers to their last digit but one.
            let on_grid = |(k, time): (u64, &Value)| {
                let expected = k as f64 / f64::from(fps);
                time.as_f64()
                    .is_some_and(|time| (time - expected).abs() < 1e-12 * expected.max(1.0))
            };
            if times.len() != count || !(from..).zip(times).all(on_grid) {
                return Err(broken(format!(
                    "{key}: expected k/{fps} from {from}, got {}",
                    row[key]
                )));
            }
        }
        // The loader asserts that the two are the same number.
        if row["obs_timestamps"][HORIZONS.0 - 1] != row["action_timestamps"][0] {
            return Err(broken(
                "the last image is not at the first action".to_owned(),
            ));
        }
        if !seen.insert(text(row, "chunk_id", &path)?) {
            return Err(broken("chunk_id is there twice".to_owned()));
        }
    }
    Ok(())
}
