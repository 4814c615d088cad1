//! Rules of `dexumi-zarr`: what `DexUMIDataset` takes for granted.

use std::collections::BTreeSet;
use std::path::Path;

use super::store::Checked;
use super::{Verified, invalid};
use crate::dexumi_zarr::store_name;
use crate::error::ExportError;
use crate::lifecycle::BESIDES;
use crate::model::Side;
use crate::zarr::Type;

/// Whether `dataset` is of this format.
pub(super) fn is(dataset: &Path) -> bool {
    sides(dataset).next().is_some()
}

fn sides(dataset: &Path) -> impl Iterator<Item = Side> {
    let there = move |side: &Side| dataset.join(store_name(*side)).is_dir();
    [Side::Left, Side::Right].into_iter().filter(there)
}

/// Checks the hierarchy of each hand.
pub(super) fn check(dataset: &Path) -> Result<Verified, ExportError> {
    let mut all: Vec<(Side, Verified)> = Vec::new();
    for side in sides(dataset) {
        all.push((side, hand(dataset, side)?));
    }
    let Some((_, first)) = all.first() else {
        return Err(invalid("no left.zarr and no right.zarr", dataset));
    };
    if let Some((side, other)) = all.iter().find(|(_, other)| other != first) {
        let what = format!("hands differ: {first:?}, but {} has {other:?}", side.name());
        return Err(invalid(what, dataset));
    }
    for entry in std::fs::read_dir(dataset).map_err(ExportError::io("list a folder", dataset))? {
        let name = entry
            .map_err(ExportError::io("list a folder", dataset))?
            .file_name();
        let name = name.to_string_lossy();
        let store = all.iter().any(|(side, _)| store_name(*side) == name);
        if !store && !BESIDES.contains(&&*name) {
            return Err(invalid("superfluous file", &dataset.join(&*name)));
        }
    }
    Ok(first.clone())
}

fn hand(dataset: &Path, side: Side) -> Result<Verified, ExportError> {
    let path = dataset.join(store_name(side));
    let mut store = Checked::open(&path)?;
    let about = store.attributes("")?;
    if about["color_order"] != "RGB" {
        return Err(store.broken("the attribute color_order must say RGB"));
    }
    if about["fps"].as_u64().is_none_or(|fps| fps == 0) || about["shift"].as_str().is_none() {
        return Err(store.broken("the attributes fps and shift must be there"));
    }
    // The loader takes groups as they are listed; their numbers are for people.
    let groups: BTreeSet<String> = store.children("")?.into_iter().collect();
    let expected: BTreeSet<String> = (0..groups.len()).map(|n| format!("episode_{n}")).collect();
    if groups.is_empty() || groups != expected {
        return Err(store.broken(format!(
            "expected groups episode_0 to episode_N, got {groups:?}"
        )));
    }
    let mut verified = Verified {
        format: crate::dexumi_zarr::FORMAT.name,
        episodes: groups.len() as u64,
        rows: 0,
        tasks: 0,
        videos: 0,
        files: None,
        is_card_edited: false,
    };
    let mut tasks = BTreeSet::new();
    let mut shape = None;
    for number in 0..groups.len() {
        let episode = format!("episode_{number}");
        let task = store.attributes(&episode)?["task"]
            .as_str()
            .map(str::to_owned);
        match task.filter(|task| !task.trim().is_empty()) {
            Some(task) => tasks.insert(task),
            None => return Err(store.broken(format!("{episode} has no task"))),
        };
        let (rows, own) = self::episode(&mut store, &episode)?;
        verified.rows += rows;
        match &shape {
            None => shape = Some(own),
            Some(first) if *first == own => {}
            Some(first) => {
                let what = format!(
                    "{episode}: expected hand, force and image sizes {first:?}, got {own:?}"
                );
                return Err(store.broken(what));
            }
        }
    }
    verified.tasks = tasks.len() as u64;
    Ok(verified)
}

/// Width of the hand's and the force's columns, sizes of the images by camera.
type Shape = (u64, Option<u64>, Vec<(u32, u32)>);

fn episode(store: &mut Checked, episode: &str) -> Result<(u64, Shape), ExportError> {
    let key = |name: &str| format!("{episode}/{name}");
    let (rows, poses) = store.numbers(&key("pose"), Type::F64, None, Some(6))?;
    for (row, pose) in poses.as_chunks::<6>().0.iter().enumerate() {
        let [.., x, y, z] = pose;
        let angle = (x * x + y * y + z * z).sqrt();
        if angle > std::f64::consts::PI + 1e-9 {
            let what =
                format!("{episode}/pose row {row}: a rotation of {angle} rad, expected at most pi");
            return Err(store.broken(what));
        }
    }
    let width = store
        .array(&key("hand_action"))?
        .shape
        .get(1)
        .copied()
        .unwrap_or(0);
    if width == 0 {
        return Err(store.broken(format!("{episode}/hand_action has no columns")));
    }
    let mut hand = |name: &str| store.numbers(&key(name), Type::F32, Some(rows), Some(width));
    let (action, now) = (hand("hand_action")?.1, hand("proprioception")?.1);
    // One step ahead: what is commanded now is measured next.
    let width_ = width as usize;
    if action[..action.len() - width_] != now[width_..] {
        return Err(store.broken(format!(
            "{episode}: hand_action of a row is not proprioception of the next one"
        )));
    }
    let children = store.children(episode)?;
    let force = match children.iter().any(|name| name == "fsr") {
        false => None,
        true => {
            let width = store.array(&key("fsr"))?.shape.get(1).copied().unwrap_or(0);
            let (_, force) = store.numbers(&key("fsr"), Type::F64, Some(rows), Some(width))?;
            if force.iter().any(|force| *force < 0.0) {
                return Err(store.broken(format!("{episode}/fsr: a total force is below 0")));
            }
            Some(width)
        }
    };
    store.numbers(&key("valid"), Type::Bool, Some(rows), None)?;
    let (_, times) = store.numbers(&key("grid_time_ns"), Type::I64, Some(rows), None)?;
    if !times.is_sorted_by(|a, b| a < b) {
        return Err(store.broken(format!("{episode}/grid_time_ns does not increase")));
    }
    let cameras: Vec<&String> = children
        .iter()
        .filter(|name| name.starts_with("camera_"))
        .collect();
    let mut sizes = Vec::new();
    for number in 0..cameras.len().max(1) {
        let camera = key(&format!("camera_{number}"));
        if store.attributes(&camera)?["color_order"] != "RGB" {
            return Err(store.broken(format!("{camera}: the attribute color_order must say RGB")));
        }
        sizes.push(store.images(&format!("{camera}/rgb"), rows)?);
    }
    let known = [
        "pose",
        "hand_action",
        "proprioception",
        "fsr",
        "valid",
        "grid_time_ns",
    ];
    if let Some(extra) = children
        .iter()
        .find(|name| !known.contains(&name.as_str()) && !name.starts_with("camera_"))
    {
        return Err(store.broken(format!("superfluous: {episode}/{extra}")));
    }
    Ok((rows, (width, force, sizes)))
}
