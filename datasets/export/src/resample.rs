//! From a recorded and retargeted episode to the grid that all formats share.
//!
//! Step k is at `start + k / fps` on the session clock. State is measured at
//! that instant (wrist pose and retargeted hand joints, interpolated), action is
//! the state of the next step, an image is the nearest one, ties earlier. Cells
//! that no sample covers hold the last value, are marked in
//! `observation.valid` and counted; steps before the first and after the last
//! covered one are cut off.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use dexumi_episode::{
    Delta, Episode, EpisodeFile, ImageIndex, SessionTime,
    align::{Grid, ImageTrack, Timeline, Track},
    isometry,
    schema::{EffectorPose, Retargeted},
};
use nalgebra::Isometry3;

use crate::{
    error::ExportError,
    model::{CameraTrack, Extra, ExtraValues, ImageSource, Matrix, Resampled},
};

/// What the grid left out or filled.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct ResampleReport {
    /// Steps of the grid over the whole episode.
    pub steps: u64,
    /// Cut off at the ends, where a stream does not cover them, and the last
    /// step, which has no action.
    pub trimmed: u64,
    /// Written steps with a cell that no sample covers.
    pub filled: u64,
    /// Images used more than once.
    pub repeated_images: u64,
    /// Recorded images that no step shows.
    pub unused_images: u64,
}

struct RecordedImages {
    episode: Arc<Episode>,
    index: ImageIndex,
}

impl ImageSource for RecordedImages {
    fn read(&mut self, index: usize) -> Result<Bytes, ExportError> {
        self.episode
            .file
            .image(&self.index, index)
            .map(|image| image.data)
            .map_err(|error| ExportError::Episode {
                episode: self.episode.info.id.clone(),
                what: error.to_string(),
            })
    }
}

/// Rotation as the first two rows of its matrix, flattened (GR00T's and UMI's
/// order; DreamDojo takes columns).
pub fn rotation_6d_rows(pose: &Isometry3<f64>) -> [f64; 6] {
    let m = pose.rotation.to_rotation_matrix();
    std::array::from_fn(|i| m[(i / 3, i % 3)])
}

struct Motion {
    effector: Track<Isometry3<f64>>,
    joints: Vec<Track<f64>>,
    names: Vec<String>,
}

impl Motion {
    fn read(derived: &EpisodeFile, side: &str) -> Result<Self, String> {
        let topic = format!("/retarget/{side}/joints");
        let names: Vec<String> = derived
            .channel_metadata(&topic, "names")
            .ok_or_else(|| {
                format!(
                    "no topic `{topic}` in {}; run `dexumi retarget` anew",
                    derived.path().display()
                )
            })?
            .split(',')
            .map(str::to_owned)
            .collect();
        let mut joints = vec![Track::default(); names.len()];
        let steps = derived
            .read::<Retargeted>(&topic)
            .map_err(|error| error.to_string())?;
        for (times, step) in &steps {
            for (track, &position) in joints.iter_mut().zip(&step.position) {
                track.times.push(times.publish_time);
                track.values.push(position);
            }
        }
        let mut effector = Track::default();
        let poses = derived
            .read::<EffectorPose>(&format!("/retarget/{side}/end_effector"))
            .map_err(|error| error.to_string())?;
        for (times, pose) in &poses {
            if let ([x, y, z], [qx, qy, qz, qw]) = (&pose.position[..], &pose.rotation[..]) {
                effector.times.push(times.publish_time);
                effector
                    .values
                    .push(isometry([*x, *y, *z], [*qx, *qy, *qz, *qw]));
            }
        }
        if effector.times.is_empty() {
            return Err(
                "the episode has no wrist pose, expected a tracker with a mount to `hand`"
                    .to_owned(),
            );
        }
        Ok(Self {
            effector,
            joints,
            names,
        })
    }

    fn state_names(&self, side: &str) -> Vec<String> {
        let position = ["x", "y", "z"].map(|axis| format!("{side}_wrist_{axis}"));
        let rotation = (0..6).map(|i| format!("{side}_wrist_rot6d_row{}_{}", i / 3, i % 3));
        position
            .into_iter()
            .chain(rotation)
            .chain(self.names.iter().cloned())
            .collect()
    }

    fn state(&self, time: SessionTime, max_gap: Delta) -> Option<Vec<f64>> {
        let pose = self.effector.at(time, max_gap)?;
        let mut row: Vec<f64> = pose.translation.vector.iter().copied().collect();
        row.extend(rotation_6d_rows(&pose));
        for joint in &self.joints {
            row.push(joint.at(time, max_gap)?);
        }
        Some(row)
    }
}

/// Puts an episode on a grid of `fps`.
///
/// # Errors
/// The derived file lacks joints or wrist, no instant is covered by all
/// streams, or the rig names no camera.
pub fn resample(
    episode: &Arc<Episode>,
    timeline: &Timeline,
    derived: &Path,
    side: &str,
    fps: u32,
) -> Result<(Resampled, ResampleReport), ExportError> {
    let fail = |what: String| ExportError::Episode {
        episode: episode.info.id.clone(),
        what,
    };
    let file = EpisodeFile::open(derived).map_err(|error| fail(error.to_string()))?;
    let motion = Motion::read(&file, side).map_err(&fail)?;
    let grid = timeline.grid(&Grid::Rate(fps)).map_err(&fail)?;
    let max_gap = timeline.max_gap;
    let mut report = ResampleReport {
        steps: grid.len() as u64,
        ..ResampleReport::default()
    };

    let states: Vec<Option<Vec<f64>>> = grid.iter().map(|&t| motion.state(t, max_gap)).collect();
    // An image may be at most a period and a half away, else the cell is a gap.
    let image_limit = Delta::from_secs_f64(1.5 / f64::from(fps));
    let cameras: Vec<(&String, &ImageTrack)> = timeline.images.iter().collect();
    let has_images = |t: SessionTime| {
        cameras
            .iter()
            .all(|(_, track)| track.nearest(t, image_limit).is_some())
    };
    let whole = |k: &usize| states[*k].is_some() && has_images(grid[*k]);
    let covered = (0..grid.len())
        .find(whole)
        .zip((0..grid.len()).rfind(whole));
    let Some((first, last)) = covered.filter(|(first, last)| first < last) else {
        return Err(fail(format!(
            "no two of {} steps are covered by all streams; `dexumi align` shows what each covers",
            grid.len()
        )));
    };
    report.trimmed = (grid.len() - (last - first)) as u64;

    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(last - first + 1);
    let mut valid = Vec::with_capacity(last - first + 1);
    for state in &states[first..=last] {
        valid.push(state.is_some());
        let row = state.clone().or_else(|| rows.last().cloned());
        rows.push(row.expect("the first step is covered"));
    }
    let steps = last - first;
    let flat = |rows: &[Vec<f64>]| {
        rows.iter()
            .flatten()
            .map(|&v| v as f32)
            .collect::<Vec<f32>>()
    };
    let names = motion.state_names(side);
    let state = Matrix {
        names: names.clone(),
        values: flat(&rows[..steps]),
    };
    let action = Matrix {
        names,
        values: flat(&rows[1..]),
    };
    let times = &grid[first..last];

    let mut extras = vec![Extra {
        name: "grid_time_ns".to_owned(),
        names: vec!["unix_ns".to_owned()],
        values: ExtraValues::I64(times.iter().map(|t| t.nanos()).collect()),
    }];
    let mut image_valid = vec![true; steps];
    let mut tracks = Vec::new();
    for (name, track) in cameras {
        let mut choices = Vec::with_capacity(steps);
        let mut captures = Vec::with_capacity(steps);
        for (k, &t) in times.iter().enumerate() {
            let choice = track.nearest(t, image_limit);
            image_valid[k] &= choice.is_some();
            // The first step is covered, so that there is always one to hold.
            let index = choice.map(|c| c.index).or_else(|| choices.last().copied());
            let index = index.expect("the first step is covered");
            choices.push(index);
            captures.push(track.times[index].nanos());
        }
        report.repeated_images +=
            choices.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
        let mut used = choices.clone();
        used.dedup();
        let (from, to) = (choices[0], choices[steps - 1]);
        report.unused_images += ((to - from + 1) as u64).saturating_sub(used.len() as u64);
        extras.push(Extra {
            name: format!("capture_time_ns.{name}"),
            names: vec!["unix_ns".to_owned()],
            values: ExtraValues::I64(captures),
        });
        let stream = format!("/camera/{name}/image");
        let mode = episode
            .rig
            .device(&stream)
            .and_then(|device| device.camera.as_ref());
        let mode = mode.ok_or_else(|| fail(format!("the rig has no mode for `{stream}`")))?;
        tracks.push(CameraTrack {
            name: name.clone(),
            width: mode.width,
            height: mode.height,
            images: choices,
            source: Box::new(RecordedImages {
                episode: episode.clone(),
                index: track.index.clone(),
            }),
        });
    }
    let mut force_valid = vec![true; steps];
    let fingers: Vec<_> = timeline
        .force
        .iter()
        .filter(|(topic, _)| topic.contains(side))
        .collect();
    if !fingers.is_empty() {
        let mut values = Vec::with_capacity(steps * fingers.len() * 3);
        let mut held = vec![[0.0; 3]; fingers.len()];
        for (k, &t) in times.iter().enumerate() {
            for (finger, (_, track)) in fingers.iter().enumerate() {
                match track.at(t, max_gap) {
                    Some(value) => held[finger] = value,
                    None => force_valid[k] = false,
                }
                values.extend(held[finger].map(|v| v as f32));
            }
        }
        let names = fingers.iter().flat_map(|(topic, _)| {
            let finger = topic.rsplit('/').next().unwrap_or_default();
            ["x", "y", "z"].map(|axis| format!("{finger}_{axis}_counts"))
        });
        extras.push(Extra {
            name: "observation.force".to_owned(),
            names: names.collect(),
            values: ExtraValues::F32(values),
        });
    }
    let mut cells = Vec::with_capacity(steps * 3);
    for k in 0..steps {
        let row = [valid[k], image_valid[k], force_valid[k]];
        report.filled += u64::from(row.contains(&false));
        cells.extend(row);
    }
    extras.push(Extra {
        name: "observation.valid".to_owned(),
        names: ["state", "images", "force"].map(str::to_owned).to_vec(),
        values: ExtraValues::Bool(cells),
    });
    let resampled = Resampled {
        episode_id: episode.info.id.clone(),
        task: episode.info.task.clone(),
        fps,
        robot_type: episode.info.hand.clone(),
        state,
        action,
        extras,
        cameras: tracks,
    };
    Ok((resampled, report))
}
