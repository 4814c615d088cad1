//! Rules of `umi-zarr`: what `UmiDataset` takes for granted.

use std::path::Path;

use super::store::Checked;
use super::{Verified, invalid};
use crate::error::ExportError;
use crate::lifecycle::BESIDES;
use crate::umi_zarr::FILE;
use crate::zarr::Type;

/// Wider than a hand opens [m].
const WIDEST_M: f64 = 0.35;

/// Whether `dataset` is of this format.
pub(super) fn is(dataset: &Path) -> bool {
    dataset.join(FILE).is_file()
}

/// Checks `dataset.zarr.zip`.
pub(super) fn check(dataset: &Path) -> Result<Verified, ExportError> {
    let path = dataset.join(FILE);
    let mut store = Checked::open(&path)?;
    let about = store.attributes("")?;
    if about["color_order"] != "RGB" || about["fps"].as_u64().is_none_or(|fps| fps == 0) {
        return Err(store.broken("the attributes fps and color_order (RGB) must be there"));
    }
    let (episodes, ends) = store.numbers("meta/episode_ends", Type::I64, None, None)?;
    let starts: Vec<f64> = std::iter::once(0.0).chain(ends.iter().copied()).collect();
    if !starts.is_sorted_by(|a, b| a < b) {
        return Err(store.broken(format!("meta/episode_ends do not increase: {ends:?}")));
    }
    let rows = starts[ends.len()] as u64;
    let names = store.children("data")?;
    let robots = names
        .iter()
        .filter(|name| name.ends_with("_eef_pos"))
        .count();
    if robots == 0 {
        return Err(store.broken("no data/robot0_eef_pos"));
    }
    let mut known = Vec::new();
    for robot in 0..robots {
        let mut read = |name: &str, kind: Type, width: u64| {
            let name = format!("robot{robot}_{name}");
            let key = format!("data/{name}");
            known.push(name);
            store
                .numbers(&key, kind, Some(rows), Some(width))
                .map(|(_, values)| values)
        };
        let position = read("eef_pos", Type::F32, 3)?;
        let rotation = read("eef_rot_axis_angle", Type::F32, 3)?;
        let width = read("gripper_width", Type::F32, 1)?;
        let start = read("demo_start_pose", Type::F64, 6)?;
        let end = read("demo_end_pose", Type::F64, 6)?;
        let turned = rotation.chunks_exact(3);
        let mut angles = turned.map(|r| r.iter().map(|x| x * x).sum::<f64>().sqrt());
        if let Some(row) = angles.position(|angle| angle > std::f64::consts::PI + 1e-5) {
            return Err(store.broken(format!("robot{robot} row {row}: a rotation beyond pi")));
        }
        if let Some(row) = width
            .iter()
            .position(|width| !(0.0..WIDEST_M).contains(width))
        {
            return Err(store.broken(format!(
                "data/robot{robot}_gripper_width row {row} is {} m, expected 0 to {WIDEST_M}",
                width[row]
            )));
        }
        for (episode, ends) in starts.windows(2).enumerate() {
            let (from, to) = (ends[0] as usize, ends[1] as usize);
            let pose = |row: usize| {
                position[3 * row..3 * row + 3]
                    .iter()
                    .chain(&rotation[3 * row..3 * row + 3])
            };
            for (what, poses, row) in [("start", &start, from), ("end", &end, to - 1)] {
                let first = &poses[6 * from..6 * from + 6];
                let constant = poses[6 * from..6 * to]
                    .chunks_exact(6)
                    .all(|row| row == first);
                let own = first
                    .iter()
                    .zip(pose(row))
                    .all(|(a, b)| (a - b).abs() < 1e-4);
                if !constant || !own {
                    return Err(store.broken(format!(
                        "data/robot{robot}_demo_{what}_pose of episode {episode} is not that of its {what}"
                    )));
                }
            }
        }
    }
    let cameras = names
        .iter()
        .filter(|name| name.starts_with("camera"))
        .count();
    if cameras < robots {
        return Err(store.broken(format!("{cameras} cameras for {robots} robots")));
    }
    for camera in 0..cameras {
        let name = format!("camera{camera}_rgb");
        store.images(&format!("data/{name}"), rows)?;
        known.push(name);
    }
    if let Some(extra) = names.iter().find(|name| !known.contains(name)) {
        return Err(store.broken(format!("superfluous: data/{extra}")));
    }
    // The loader takes all of `meta` along; without these, no row can be found in its recording.
    store.numbers("meta/valid", Type::Bool, Some(rows), None)?;
    let (_, grid) = store.numbers("meta/grid_time_ns", Type::I64, Some(rows), None)?;
    for ends in starts.windows(2) {
        if !grid[ends[0] as usize..ends[1] as usize].is_sorted_by(|a, b| a < b) {
            return Err(store.broken("meta/grid_time_ns does not increase within an episode"));
        }
    }
    for camera in 0..cameras {
        let key = format!("meta/camera{camera}_capture_time_ns");
        store.numbers(&key, Type::I64, Some(rows), None)?;
    }
    for entry in std::fs::read_dir(dataset).map_err(ExportError::io("list a folder", dataset))? {
        let name = entry
            .map_err(ExportError::io("list a folder", dataset))?
            .file_name();
        let name = name.to_string_lossy();
        if name != FILE && !BESIDES.contains(&&*name) {
            return Err(invalid("superfluous file", &dataset.join(&*name)));
        }
    }
    Ok(Verified {
        format: crate::umi_zarr::FORMAT.name,
        episodes,
        rows,
        tasks: 0,
        videos: 0,
        files: None,
        is_card_edited: false,
    })
}
