//! Rules of `dreamdojo-mano`: what `MANODataset` takes for granted.

use std::path::{Path, PathBuf};

use super::{Verified, invalid, keyframes_near};
use crate::dreamdojo_mano::{LEAST_STEPS, SIDES, joint_names};
use crate::error::ExportError;
use crate::ffmpeg::{Tools, probe};
use crate::hdf5::Reader;

/// Whether `dataset` is of this format.
pub(super) fn is(dataset: &Path) -> bool {
    dataset.join("part1").is_dir()
}

/// Checks every pair of HDF5 file and video.
pub(super) fn check(dataset: &Path, tools: &Tools) -> Result<Verified, ExportError> {
    let mut verified = Verified {
        format: crate::dreamdojo_mano::FORMAT.name,
        episodes: 0,
        rows: 0,
        tasks: 0,
        videos: 0,
        files: None,
        is_card_edited: false,
    };
    let root = dataset.join("part1");
    for folder in entries(&root)? {
        verified.tasks += 1;
        let files = entries(&folder)?;
        for file in &files {
            let extension = file.extension().and_then(|extension| extension.to_str());
            let twin = |extension: &str| files.contains(&file.with_extension(extension));
            match extension {
                Some("hdf5") if twin("mp4") => {
                    let rows = numbers(file)?;
                    let video = file.with_extension("mp4");
                    let track = probe(tools, &video)?;
                    let rate = track.rate.split_once('/');
                    let fps = rate.and_then(|(images, seconds)| {
                        Some(images.parse::<u32>().ok()? / seconds.parse::<u32>().ok()?.max(1))
                    });
                    track
                        .check_grid(rows, fps.unwrap_or(0))
                        .and_then(|()| keyframes_near(&track))
                        .map_err(|what| invalid(what, &video))?;
                    verified.rows += rows;
                    verified.episodes += 1;
                    verified.videos += 1;
                }
                Some("mp4") if twin("hdf5") => {}
                Some("hdf5" | "mp4") => {
                    return Err(invalid(
                        "without its other half, which the loader pairs by name",
                        file,
                    ));
                }
                _ => return Err(invalid("superfluous file", file)),
            }
        }
    }
    if verified.episodes == 0 {
        return Err(invalid("no pair of .hdf5 and .mp4", &root));
    }
    Ok(verified)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let failed = || ExportError::io("list a folder", folder);
    let entries = std::fs::read_dir(folder).map_err(failed())?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(failed())?;
    paths.sort();
    Ok(paths)
}

/// Checks the rotations of an episode and returns its rows.
fn numbers(path: &Path) -> Result<u64, ExportError> {
    let broken = |what: String| invalid(what, path);
    let file = Reader::open(path).map_err(broken)?;
    let mut rows = None;
    let mut read = |key: String, width: usize| {
        let (shape, values) = file.array(&key)?;
        let count = *rows.get_or_insert(shape.first().copied().unwrap_or(0));
        if shape != [count, width as u64] || count < LEAST_STEPS as u64 {
            return Err(format!(
                "{key}: expected [{count}, {width}] of at least {LEAST_STEPS} rows, got {shape:?}"
            ));
        }
        for (row, values) in values.chunks_exact(width).enumerate() {
            let (a, b) = values[width - 6..].split_at(3);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let off = (dot(a, a) - 1.0)
                .abs()
                .max((dot(b, b) - 1.0).abs())
                .max(dot(a, b).abs());
            if off > 1e-4 {
                return Err(format!("{key} row {row}: no two columns of a rotation"));
            }
        }
        Ok(())
    };
    for side in SIDES {
        let side = side.name();
        read(format!("wrist/{side}_pose_cam_rot6d"), 9).map_err(broken)?;
        for joint in joint_names(side) {
            read(format!("rot6d/{side}/{joint}"), 6).map_err(broken)?;
        }
    }
    let rows = rows.unwrap_or(0);
    file.check_times("timestamps", rows, &[]).map_err(broken)?;
    Ok(rows)
}
