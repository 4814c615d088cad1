//! The training data of DexUMI (real-stanford/DexUMI at 56b8fc7,
//! `6_generate_dataset.py` and `DexUMIDataset`): one Zarr 2 hierarchy for each hand,
//! a group for each episode.
//!
//! Of an episode with T steps, row k has
//! - `camera_0/rgb`, `proprioception`, `fsr`: what is known at step k,
//! - `pose`, `hand_action`: wrist (x, y, z in metres, rotation vector in radians) and
//!   motors at step k + 1, absolute: the target one step ahead.
//!
//! Motors are scaled as the original scales them, so that every range is above the
//! 0.05 below which its loader leaves a column as it is: thousandths of a travel
//! / 1000, radians · 3. Its `proprioception` is the command too; ours is what was
//! measured on the exoskeleton. Images are JPEG and hold RGB, as the original's do,
//! whose shipped configuration nevertheless asks for `bgr2rgb: True`: set it to False.

use std::path::Path;

use serde_json::json;

use crate::containers::{self, Book, Container, Told, fault, quality};
use crate::error::ExportError;
use crate::formats::{Episodes, Format};
use crate::model::{CameraRole, HandMotion, Resampled, Side};
use crate::options::{Options, Progress, Report};
use crate::stills::QUALITY;
use crate::zarr::{Images, Rows, Store, Type, Values};

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "dexumi-zarr",
    help: "DexUMI's training data: <side>.zarr, a group for each episode, JPEG images, for its DexUMIDataset",
    variants: &[],
    fps: 15,
    has_stills: true,
    keys: &[
        ("episode_N/camera_M/rgb", "one JPEG a step, RGB"),
        (
            "episode_N/pose",
            "[6] at the next step: end effector in the tracker's world, metres and a rotation vector in radians",
        ),
        (
            "episode_N/hand_action",
            "motors at the next step, scaled as the hierarchy's attributes say",
        ),
        (
            "episode_N/proprioception",
            "motors at the step, as measured, in the same scale",
        ),
        ("episode_N/fsr", "total force of each finger in counts"),
        (
            "episode_N/valid",
            "whether every cell of the step was measured",
        ),
        (
            "episode_N/grid_time_ns",
            "when the step is, nanoseconds since 1970",
        ),
    ],
    load: "With DexUMI's `DexUMIDataset` on one of the hierarchies `<side>.zarr`; set `bgr2rgb` to False.",
    write,
};

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    containers::write(FORMAT.name, episodes, out, options, progress, |_| {
        Ok(DexumiZarr {
            stores: Vec::new(),
            as_recorded: true,
        })
    })
}

/// Name of a hand's hierarchy.
pub(crate) fn store_name(side: Side) -> String {
    format!("{}.zarr", side.name())
}

struct DexumiZarr {
    stores: Vec<(Side, Store)>,
    as_recorded: bool,
}

impl Container for DexumiZarr {
    fn add(
        &mut self,
        book: &mut Book<'_>,
        mut episode: Resampled,
        told: &mut Told<'_>,
    ) -> Result<(), ExportError> {
        if episode.cameras.is_empty() {
            return Err(fault(
                &episode,
                "it has no camera, expected one on the wrist",
            ));
        }
        // Each hand has all cameras, its own wrist's first; the images are made once.
        let content = episode.content().map(str::to_owned);
        let mut stills = Vec::new();
        for at in 0..episode.cameras.len() {
            let track = &mut episode.cameras[at];
            stills.push(book.stills(
                (&episode.episode_id, content.as_deref()),
                track,
                None,
                told,
            )?);
        }
        for (at, (track, still)) in episode.cameras.iter().zip(&stills).enumerate() {
            book.count_images(at, track, &still.fit);
            self.as_recorded &= still.as_recorded;
        }
        if self.stores.is_empty() {
            for hand in &episode.hands {
                let mut store = Store::folder(&book.root.join(store_name(hand.side)))?;
                store.attributes("", &attributes(&episode, hand))?;
                self.stores.push((hand.side, store));
            }
        }
        if episode.hands.len() > 1 {
            book.warn(
                "DexUMI's loader takes one hand: each has a hierarchy of its own, with all images",
            );
        }
        let group = format!("episode_{}", book.episodes);
        for (side, store) in &mut self.stores {
            let hand = episode.hand(*side);
            let hand = hand.ok_or_else(|| fault(&episode, format!("no {} hand", side.name())))?;
            write_motion(store, &group, &episode, hand)?;
        }
        for (at, still) in stills.into_iter().enumerate() {
            let size = still.fit.size;
            let track = &episode.cameras[at];
            let mut arrays = Vec::new();
            for (side, store) in &mut self.stores {
                let number = camera_number(&episode, *side, at);
                let camera = format!("{group}/camera_{number}");
                store.group(&camera)?;
                store.attributes(
                    &camera,
                    &json!({
                        "name": track.name,
                        "role": track.role.name(),
                        "color_order": "RGB",
                        "intrinsics_fx_fy_cx_cy": track.intrinsics.map(|k| still.fit.intrinsics(k)),
                    }),
                )?;
                let mut times = Rows::new(format!("{camera}/capture_time_ns"), Type::I64, None);
                let nanos: Vec<i64> = track.capture_times.iter().map(|t| t.nanos()).collect();
                times.push(store, Values::I64(&nanos))?;
                times.finish(store)?;
                arrays.push(Images::new(format!("{camera}/rgb"), size));
            }
            still.each(|jpeg| {
                for (array, (_, store)) in arrays.iter_mut().zip(&mut self.stores) {
                    array.push(store, jpeg)?;
                }
                Ok(())
            })?;
            for (array, (_, store)) in arrays.into_iter().zip(&mut self.stores) {
                array.finish(store)?;
            }
        }
        Ok(())
    }

    fn finish(self, book: &mut Book<'_>) -> Result<(), ExportError> {
        for (_, store) in self.stores {
            store.finish()?;
        }
        if !self.as_recorded {
            book.warn("images were scaled, and so compressed once more");
        }
        Ok(())
    }

    fn codec(_: &Book<'_>) -> (&'static str, String) {
        let words =
            format!("JPEG as recorded where the size allows, else ffmpeg mjpeg -q:v {QUALITY}");
        ("jpeg", words)
    }
}

/// Place of camera `at` among those of a hand: its own wrist's, then the others.
fn camera_number(episode: &Resampled, side: Side, at: usize) -> usize {
    let own = match side {
        Side::Left => CameraRole::LeftWrist,
        Side::Right => CameraRole::RightWrist,
    };
    let first = episode.cameras.iter().position(|camera| camera.role == own);
    match first {
        Some(first) if at == first => 0,
        Some(first) if at < first => at + 1,
        _ => at,
    }
}

/// Factor of the motors, its reason, and their values by row, `[T + 1][M]`.
fn motors(hand: &HandMotion) -> (f32, &'static str, Vec<String>, Vec<f64>) {
    match &hand.robot {
        Some(robot) if robot.motor_units.iter().all(|unit| unit == "thousandth") => {
            let names = hand.joint_names.clone();
            (
                1e-3,
                "motor command in thousandths of the travel / 1000",
                names,
                robot.motors.clone(),
            )
        }
        // A motor of an exoskeleton's hand moves one joint, and its radians are the joint's.
        _ => (
            3.0,
            "joint in radians * 3",
            hand.joint_names.clone(),
            hand.joints_rad.clone(),
        ),
    }
}

fn attributes(episode: &Resampled, hand: &HandMotion) -> serde_json::Value {
    let (_, scale, names, _) = motors(hand);
    json!({
        "format": FORMAT.name,
        "version": 1,
        "software": concat!("dexumi ", env!("CARGO_PKG_VERSION")),
        "fps": episode.fps,
        "side": hand.side.name(),
        "hand": hand.hand,
        "hand_columns": names,
        "hand_scale": scale,
        "pose_columns": ["x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad"],
        "pose_frame": "end effector in the tracker's world, absolute; rotation as a rotation vector",
        "shift": "pose and hand_action row k are of step k + 1, all else of step k",
        "proprioception": "measured, not commanded",
        "fsr": "total force of each finger: length of its three axes in counts",
        "fsr_columns": hand.force.as_ref().map(|force| force.fingers.clone()),
        "color_order": "RGB",
    })
}

fn write_motion(
    store: &mut Store,
    group: &str,
    episode: &Resampled,
    hand: &HandMotion,
) -> Result<(), ExportError> {
    let steps = episode.steps();
    store.group(group)?;
    store.attributes(
        group,
        &json!({
            "episode_id": episode.episode_id,
            "task": episode.task,
            "quality": quality(episode),
        }),
    )?;
    let poses: Vec<f64> = hand.world_from_wrist[1..]
        .iter()
        .flat_map(pose_6d)
        .collect();
    let mut rows = Rows::new(format!("{group}/pose"), Type::F64, Some(6));
    rows.push(store, Values::F64(&poses))?;
    rows.finish(store)?;
    let (factor, _, names, values) = motors(hand);
    let scaled: Vec<f32> = values.iter().map(|&v| v as f32 * factor).collect();
    let width = names.len();
    for (name, from) in [("hand_action", 1), ("proprioception", 0)] {
        let mut rows = Rows::new(format!("{group}/{name}"), Type::F32, Some(width));
        rows.push(
            store,
            Values::F32(&scaled[from * width..(from + steps) * width]),
        )?;
        rows.finish(store)?;
    }
    if let Some(force) = &hand.force {
        let total: Vec<f64> = force
            .counts
            .iter()
            .map(|axes| axes.iter().map(|x| x * x).sum::<f64>().sqrt())
            .collect();
        let mut rows = Rows::new(format!("{group}/fsr"), Type::F64, Some(force.fingers.len()));
        rows.push(store, Values::F64(&total))?;
        rows.finish(store)?;
    }
    let valid: Vec<bool> = (0..steps).map(|k| episode.is_valid(k)).collect();
    let mut rows = Rows::new(format!("{group}/valid"), Type::Bool, None);
    rows.push(store, Values::Bool(&valid))?;
    rows.finish(store)?;
    let grid: Vec<i64> = episode.times[..steps].iter().map(|t| t.nanos()).collect();
    let mut rows = Rows::new(format!("{group}/grid_time_ns"), Type::I64, None);
    rows.push(store, Values::I64(&grid))?;
    rows.finish(store)
}

/// Position [m] and rotation vector [rad].
pub(crate) fn pose_6d(pose: &nalgebra::Isometry3<f64>) -> [f64; 6] {
    let (position, turn) = (pose.translation.vector, pose.rotation.scaled_axis());
    std::array::from_fn(|i| if i < 3 { position[i] } else { turn[i - 3] })
}
