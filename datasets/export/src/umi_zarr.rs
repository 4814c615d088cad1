//! The training data of UMI (real-stanford/universal_manipulation_interface at
//! d095ba9, `UmiDataset`): `dataset.zarr.zip`, every array concatenated over the
//! episodes, `meta/episode_ends`.
//!
//! Row k is what is known at step k; UMI's loader makes the actions of later rows.
//! It has no channel for fingers: a hand becomes a gripper by one number, the
//! distance between the tip of the thumb and the nearer one of index and middle
//! finger [m], of the robot hand where its kinematics are known, else of the glove's
//! keypoints. UMI takes a width below 0.08 m as a grasp.
//!
//! `robot<r>` are the hands in order, left before right; `camera<r>_rgb` is the
//! camera on the wrist of robot r, or else the r-th of the others.

use std::path::Path;

use dexumi_episode::SessionTime;
use serde_json::json;

use crate::containers::{self, Book, Container, Told, fault, quality};
use crate::dexumi_zarr::pose_6d;
use crate::error::ExportError;
use crate::formats::{Episodes, Format};
use crate::model::{CameraRole, HandMotion, Resampled, Side};
use crate::options::{Options, Progress, Report};
use crate::stills::QUALITY;
use crate::zarr::{Images, Rows, Store, Type, Values};

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "umi-zarr",
    help: "UMI's training data: dataset.zarr.zip, 224x224 JPEG images, hands as gripper widths, for its UmiDataset",
    variants: &[],
    fps: 60,
    has_stills: true,
    keys: &[
        ("data/cameraR_rgb", "one JPEG a step, RGB"),
        (
            "data/robotR_eef_pos",
            "[3] at the step: end effector in the tracker's world, metres",
        ),
        (
            "data/robotR_eef_rot_axis_angle",
            "[3] at the step: rotation vector, radians",
        ),
        (
            "data/robotR_gripper_width",
            "[1] distance of the thumb's tip to the nearer of index and middle finger, metres",
        ),
        (
            "data/robotR_demo_start_pose",
            "[6] pose of the episode's first step",
        ),
        (
            "data/robotR_demo_end_pose",
            "[6] pose of the episode's last step",
        ),
        (
            "meta/episode_ends",
            "step behind the last one of each episode",
        ),
    ],
    load: "With UMI's `UmiDataset`, `dataset_path` being `dataset.zarr.zip` in this folder.",
    write,
};

/// Name of the file.
pub(crate) const FILE: &str = "dataset.zarr.zip";
/// Size of images unless the user asks for another: that of UMI's encoder.
const SIZE: (u32, u32) = (224, 224);
/// Tips of thumb, index and middle finger among a glove's 21 keypoints.
const TIP_POINTS: [usize; 3] = [4, 8, 12];

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    containers::write(FORMAT.name, episodes, out, options, progress, |book| {
        let mut store = Store::zip(&book.root.join(FILE))?;
        store.group("data")?;
        store.group("meta")?;
        Ok(UmiZarr {
            store,
            robots: Vec::new(),
            cameras: Vec::new(),
            grid: Rows::new("meta/grid_time_ns", Type::I64, None),
            valid: Rows::new("meta/valid", Type::Bool, None),
            captures: Vec::new(),
            ends: Vec::new(),
            episodes: Vec::new(),
            about: serde_json::Value::Null,
        })
    })
}

struct UmiZarr {
    store: Store,
    /// Position, rotation, width, start and end pose of each.
    robots: Vec<[Rows; 5]>,
    cameras: Vec<Images>,
    /// Grid times and validity of the steps, capture times of each camera's images.
    grid: Rows,
    valid: Rows,
    captures: Vec<Rows>,
    ends: Vec<i64>,
    /// Id, task and verdict of each episode.
    episodes: Vec<serde_json::Value>,
    about: serde_json::Value,
}

impl Container for UmiZarr {
    fn add(
        &mut self,
        book: &mut Book<'_>,
        mut episode: Resampled,
        told: &mut Told<'_>,
    ) -> Result<(), ExportError> {
        let chosen = cameras_of(&episode);
        if chosen.len() < episode.hands.len() {
            return Err(fault(
                &episode,
                format!(
                    "{} cameras for {} hands, expected one for each",
                    episode.cameras.len(),
                    episode.hands.len()
                ),
            ));
        }
        let mut widths = Vec::new();
        for hand in &episode.hands {
            let width = gripper_widths(hand, episode.steps());
            widths.push(width.map_err(|what| fault(&episode, what))?);
        }
        let content = episode.content().map(str::to_owned);
        let mut stills = Vec::new();
        for &at in &chosen {
            let track = &mut episode.cameras[at];
            stills.push(book.stills(
                (&episode.episode_id, content.as_deref()),
                track,
                Some(SIZE),
                told,
            )?);
        }
        // From here on nothing is the episode's own fault any more.
        if self.robots.is_empty() {
            self.begin(&episode, &chosen, stills.iter().map(|still| still.fit.size));
        }
        let steps = episode.steps();
        for ((hand, (width, _)), rows) in episode.hands.iter().zip(&widths).zip(&mut self.robots) {
            let poses: Vec<[f64; 6]> = hand.world_from_wrist[..steps].iter().map(pose_6d).collect();
            let part = |from: usize| -> Vec<f32> {
                let three = poses.iter().flat_map(|pose| &pose[from..from + 3]);
                three.map(|&value| value as f32).collect()
            };
            let constant = |pose: [f64; 6]| pose.repeat(steps);
            let [position, rotation, gripper, start, end] = rows;
            position.push(&mut self.store, Values::F32(&part(0)))?;
            rotation.push(&mut self.store, Values::F32(&part(3)))?;
            gripper.push(&mut self.store, Values::F32(width))?;
            start.push(&mut self.store, Values::F64(&constant(poses[0])))?;
            end.push(&mut self.store, Values::F64(&constant(poses[steps - 1])))?;
        }
        for (place, (still, &at)) in stills.into_iter().zip(&chosen).enumerate() {
            book.count_images(place, &episode.cameras[at], &still.fit);
            let array = &mut self.cameras[place];
            still.each(|jpeg| array.push(&mut self.store, jpeg))?;
        }
        let nanos = |times: &[SessionTime]| -> Vec<i64> {
            times.iter().take(steps).map(|t| t.nanos()).collect()
        };
        self.grid
            .push(&mut self.store, Values::I64(&nanos(&episode.times)))?;
        let valid: Vec<bool> = (0..steps).map(|k| episode.is_valid(k)).collect();
        self.valid.push(&mut self.store, Values::Bool(&valid))?;
        for (rows, &at) in self.captures.iter_mut().zip(&chosen) {
            let times = nanos(&episode.cameras[at].capture_times);
            rows.push(&mut self.store, Values::I64(&times))?;
        }
        let last = self.ends.last().copied().unwrap_or(0);
        self.ends.push(last + steps as i64);
        self.episodes.push(json!({
            "episode_id": episode.episode_id,
            "task": episode.task,
            "quality": quality(&episode),
        }));
        for (at, camera) in episode.cameras.iter().enumerate() {
            if !chosen.contains(&at) {
                book.warn(format!(
                    "camera {:?} has no place in this format",
                    camera.name
                ));
            }
        }
        for (hand, (_, source)) in episode.hands.iter().zip(&widths) {
            book.warn(format!(
                "{}: fingers became one gripper width, thumb to index or middle finger, of {source}",
                hand.hand
            ));
        }
        Ok(())
    }

    fn finish(mut self, _: &mut Book<'_>) -> Result<(), ExportError> {
        for robot in self.robots {
            for rows in robot {
                rows.finish(&mut self.store)?;
            }
        }
        for camera in self.cameras {
            camera.finish(&mut self.store)?;
        }
        for rows in [self.grid, self.valid].into_iter().chain(self.captures) {
            rows.finish(&mut self.store)?;
        }
        let mut ends = Rows::new("meta/episode_ends", Type::I64, None);
        ends.push(&mut self.store, Values::I64(&self.ends))?;
        ends.finish(&mut self.store)?;
        self.store.attributes("", &self.about)?;
        let episodes = json!({"episodes": self.episodes});
        self.store.attributes("meta", &episodes)?;
        self.store.finish()
    }

    fn codec(_: &Book<'_>) -> (&'static str, String) {
        let words =
            format!("JPEG as recorded where the size allows, else ffmpeg mjpeg -q:v {QUALITY}");
        ("jpeg", words)
    }
}

impl UmiZarr {
    fn begin(
        &mut self,
        episode: &Resampled,
        chosen: &[usize],
        sizes: impl Iterator<Item = (u32, u32)>,
    ) {
        let rows = |robot: usize, name: &str, kind: Type, width: usize| {
            Rows::new(format!("data/robot{robot}_{name}"), kind, Some(width))
        };
        self.robots = (0..episode.hands.len())
            .map(|robot| {
                [
                    rows(robot, "eef_pos", Type::F32, 3),
                    rows(robot, "eef_rot_axis_angle", Type::F32, 3),
                    rows(robot, "gripper_width", Type::F32, 1),
                    rows(robot, "demo_start_pose", Type::F64, 6),
                    rows(robot, "demo_end_pose", Type::F64, 6),
                ]
            })
            .collect();
        self.cameras = sizes
            .enumerate()
            .map(|(camera, size)| Images::new(format!("data/camera{camera}_rgb"), size))
            .collect();
        self.captures = (0..chosen.len())
            .map(|camera| {
                let key = format!("meta/camera{camera}_capture_time_ns");
                Rows::new(key, Type::I64, None)
            })
            .collect();
        let cameras: Vec<_> = chosen.iter().map(|&at| &episode.cameras[at].name).collect();
        let hands: Vec<_> = episode.hands.iter().map(|hand| &hand.hand).collect();
        self.about = json!({
            "format": FORMAT.name,
            "version": 1,
            "software": concat!("dexumi ", env!("CARGO_PKG_VERSION")),
            "fps": episode.fps,
            "robots": hands,
            "cameras": cameras,
            "color_order": "RGB",
            "gripper_width": "distance of the thumb's tip to the nearer of index and middle finger [m]",
        });
    }
}

/// The camera of each hand: on its wrist, else the next of those on no wrist.
fn cameras_of(episode: &Resampled) -> Vec<usize> {
    let on = |role: CameraRole| {
        episode
            .cameras
            .iter()
            .position(|camera| camera.role == role)
    };
    let mut others = (0..episode.cameras.len()).filter(|&at| {
        let role = episode.cameras[at].role;
        !matches!(role, CameraRole::LeftWrist | CameraRole::RightWrist)
    });
    let of = |hand: &HandMotion| match hand.side {
        Side::Left => on(CameraRole::LeftWrist),
        Side::Right => on(CameraRole::RightWrist),
    };
    let hands = episode.hands.iter();
    hands
        .filter_map(|hand| of(hand).or_else(|| others.next()))
        .collect()
}

/// Distance of the thumb's tip to the nearer of index and middle finger at each step
/// [m], and of whose tips.
fn gripper_widths(hand: &HandMotion, steps: usize) -> Result<(Vec<f32>, &'static str), String> {
    type Tips = [[f64; 3]; 3];
    let (tips, source): (Vec<Tips>, _) = if let Some(robot) = &hand.robot {
        let of = |finger: &str| robot.fingers.iter().position(|name| name == finger);
        let (Some(thumb), Some(index)) = (of("thumb"), of("index")) else {
            return Err(format!("{} has no thumb or no index finger", hand.hand));
        };
        let middle = of("middle").unwrap_or(index);
        let rows = robot.tips_m.chunks_exact(robot.fingers.len()).take(steps);
        let tips = rows.map(|row| [row[thumb], row[index], row[middle]]);
        (tips.collect(), "the robot hand")
    } else if let Some(keypoints) = &hand.keypoints {
        let rows = keypoints.points_m.iter();
        let tips = rows.map(|points| TIP_POINTS.map(|point| points[point]));
        (tips.collect(), "the glove")
    } else {
        return Err(format!(
            "fingertips of {} are not known, neither by its kinematics nor by keypoints: \
             they make the gripper's width",
            hand.hand
        ));
    };
    let distance = |a: &[f64; 3], b: &[f64; 3]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let width =
        |[thumb, index, middle]: &Tips| distance(thumb, index).min(distance(thumb, middle)) as f32;
    Ok((tips.iter().map(width).collect(), source))
}
