//! Which image is shown at each step.

use std::sync::Arc;

use bytes::Bytes;
use dexumi_episode::{
    Delta, Episode, ImageIndex, SessionTime,
    align::{ImageChoice, ImageTrack, Timeline},
};

use nalgebra::Isometry3;

use super::{ResampleJob, ResampleReport};
use crate::error::ExportError;
use crate::model::{CameraRole, CameraTrack, ImageSource};

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

/// Chooses images by the rule that was asked for.
pub(super) struct Chooser {
    pub fps: u32,
    pub causal: bool,
}

impl Chooser {
    /// An image may be one and a half periods away, of the grid, and where it must not be after the
    /// step, of the camera if that is slower; else the cell is a gap.
    fn choose(
        &self,
        track: &ImageTrack,
        camera_fps: f64,
        time: SessionTime,
    ) -> Option<ImageChoice> {
        let fps = f64::from(self.fps);
        if self.causal {
            track.latest(time, Delta::from_secs_f64(1.5 / fps.min(camera_fps)))
        } else {
            track.nearest(time, Delta::from_secs_f64(1.5 / fps))
        }
    }

    /// Whether every camera has an image for `time`.
    pub fn covers(&self, episode: &Episode, timeline: &Timeline, time: SessionTime) -> bool {
        timeline.images.iter().all(|(name, track)| {
            let fps = mode(episode, name).map_or(f64::from(self.fps), |mode| mode.fps);
            self.choose(track, fps, time).is_some()
        })
    }

    /// The cameras at the steps' times, the first of which all of them cover.
    pub fn tracks(
        &self,
        job: &ResampleJob<'_>,
        times: &[SessionTime],
    ) -> Result<Vec<CameraTrack>, String> {
        let only = match &job.hands[..] {
            [hand] => Some(hand.side),
            _ => None,
        };
        let mut cameras = Vec::new();
        for (name, track) in &job.timeline.images {
            let mode = mode(job.episode, name)
                .ok_or_else(|| format!("the rig has no mode for `{}`", topic(name)))?;
            let mut role = CameraRole::of_name(name, only);
            if cameras.iter().any(|other: &CameraTrack| other.role == role) {
                role = CameraRole::Other;
            }
            let mut camera = CameraTrack {
                name: name.clone(),
                role,
                width: mode.width,
                height: mode.height,
                intrinsics: mode.intrinsics,
                world_from_camera: world_from_camera(job, name, times),
                images: Vec::with_capacity(times.len()),
                capture_times: Vec::with_capacity(times.len()),
                valid: Vec::with_capacity(times.len()),
                source: Box::new(RecordedImages {
                    episode: job.episode.clone(),
                    index: track.index.clone(),
                }),
            };
            for &time in times {
                let choice = self.choose(track, mode.fps, time);
                let held = camera.images.last().copied();
                let Some(index) = choice.map(|c| c.index).or(held) else {
                    return Err(format!("camera `{name}` has no image for the first step"));
                };
                camera.images.push(index);
                camera.capture_times.push(track.times[index]);
                camera.valid.push(choice.is_some());
            }
            cameras.push(camera);
        }
        cameras.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
        Ok(cameras)
    }
}

/// Poses of a camera that stands in the world, or that a tracker carries, by a mount to `camera/<name>`.
fn world_from_camera(
    job: &ResampleJob<'_>,
    name: &str,
    times: &[SessionTime],
) -> Option<Vec<Option<Isometry3<f64>>>> {
    let camera = format!("camera/{name}");
    if let Some(fixed) = job.episode.rig.mount("world", &camera) {
        return Some(vec![Some(fixed); times.len()]);
    }
    job.timeline.poses.iter().find_map(|(tracker, track)| {
        let mount = job
            .episode
            .rig
            .mount(&format!("tracker/{tracker}"), &camera)?;
        let at = |time: &SessionTime| track.at(*time, job.timeline.max_gap);
        let poses: Vec<_> = times.iter().map(|time| Some(at(time)? * mount)).collect();
        poses.iter().any(Option::is_some).then_some(poses)
    })
}

/// Counts images that repeat and those that no step shows.
pub(super) fn count(images: &[usize], report: &mut ResampleReport) {
    let repeated = images.windows(2).filter(|pair| pair[0] == pair[1]).count();
    report.repeated_images += repeated as u64;
    if let [first, .., last] = images {
        let used = images.len() - repeated;
        report.unused_images += ((last + 1).saturating_sub(first + used)) as u64;
    }
}

fn topic(camera: &str) -> String {
    format!("/camera/{camera}/image")
}

fn mode<'a>(episode: &'a Episode, camera: &str) -> Option<&'a dexumi_episode::CameraMode> {
    episode.rig.device(&topic(camera))?.camera.as_ref()
}
