//! The emulated scene: a hand that moves over a table, seen by two cameras. It answers what the
//! emulated devices of `dexumi_capture` measure, at any time.
//!
//! # Conventions
//!
//! World: x away from the wearer, y to his left, z up, origin on the floor, as the emulated motion
//! capture has it. `wrist` is the tracked body, of which the hand stands at
//! [`tracker_from_hand`]. Cameras: x right, y down, z forward.

mod curve;
mod draw;
mod motion;
mod objects;
mod raster;
mod room;
mod round;
mod shadow;
mod surface;
mod texture;
mod video;
mod wrist;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail, ensure};
use dexumi_capture::emulate::{Mark, Scene, mark, tracker_from_hand};
use dexumi_episode::Mount;
use dexumi_retarget::{Finger, Hand};
use nalgebra::Isometry3;
use opencv::core::{Mat, Vec3b, Vector};
use opencv::imgcodecs;
use opencv::prelude::*;

pub use curve::Repeat;
pub use draw::{Eye, hand_from_wrist_camera, intrinsics, world_from_head_camera};
pub use motion::Motion;
pub use wrist::WristPath;

use draw::{Painter, furnished_room};
use video::Video;

/// The hand that the emulated exoskeleton moves like.
pub const HAND: &str = "xhand_right";
/// Quality of the JPEG images, of 100. Chroma is halved both ways (4:2:0).
const JPEG_QUALITY: i32 = 90;
/// Names of the cameras.
const CAMERAS: [(&str, Eye); 2] = [("wrist", Eye::Wrist), ("head", Eye::Head)];

/// What the scene is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneOptions {
    /// Hand keypoints to follow: `.npy` of shape (n, 21, 3) [m]. Built-in grasps else.
    pub motion: Option<PathBuf>,
    /// Rate of `motion` and `wrist` [Hz].
    pub fps: f64,
    /// Set-points file to go through, in place of a motion.
    pub setpoints: Option<PathBuf>,
    /// Wrist poses to follow: `.npy` of shape (n, 7), x y z [m] and quaternion x y z w. A built-in
    /// motion else.
    pub wrist: Option<PathBuf>,
    /// Recordings that cameras show in place of a drawing: camera and file. With any, motion and
    /// wrist play forward and start again as the recording does; without, they go back and forth.
    pub video: Vec<(String, PathBuf)>,
    /// Width of the images [pixel].
    pub width: u32,
    /// Height of the images [pixel].
    pub height: u32,
}

impl Default for SceneOptions {
    fn default() -> Self {
        Self {
            motion: None,
            fps: 30.0,
            setpoints: None,
            wrist: None,
            video: Vec::new(),
            width: 1280,
            height: 720,
        }
    }
}

/// Where a camera's pictures come from.
enum Source {
    Drawn(Box<Painter>),
    Recorded(Video),
}

struct Camera {
    name: &'static str,
    source: Mutex<Source>,
    drawn: bool,
}

/// The scene; see [`Scene`].
pub struct EmulatedScene {
    hand: Arc<Hand>,
    motion: Motion,
    wrist: WristPath,
    cameras: Vec<Camera>,
    width: u32,
    height: u32,
    description: String,
}

impl EmulatedScene {
    /// Reads what is to be read and builds the room (about half a second).
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be, a camera does not exist, two sources are
    /// given for one thing, or the size of the images is out of range.
    pub fn new(options: &SceneOptions) -> Result<Self> {
        let (width, height) = (options.width, options.height);
        ensure!(
            (64..=4096).contains(&width) && (48..=4096).contains(&height),
            "size of the images: expected 64x48 to 4096x4096, got {width}x{height}; give --size"
        );
        let hand = Arc::new(Hand::by_name(HAND)?);
        let repeat = if options.video.is_empty() {
            Repeat::PingPong
        } else {
            Repeat::Forward
        };
        let (motion, what) = match (&options.motion, &options.setpoints) {
            (Some(_), Some(_)) => {
                bail!("motion: expected --motion or --setpoints, got both; leave one out")
            }
            (Some(path), None) => (
                Motion::from_keypoints(path, options.fps, &hand, repeat)?,
                format!("keypoints {} at {} Hz", path.display(), options.fps),
            ),
            (None, Some(path)) => (
                Motion::setpoints(path, &hand)?,
                format!("set-points {}", path.display()),
            ),
            (None, None) => (Motion::grasps(&hand)?, "built-in grasps".to_owned()),
        };
        let (wrist, where_) = match &options.wrist {
            Some(path) => (
                WristPath::from_path(path, options.fps, repeat)?,
                format!("wrist {}", path.display()),
            ),
            None => (WristPath::Sines, "built-in wrist motion".to_owned()),
        };
        Ok(Self {
            cameras: cameras(options, &hand)?,
            hand,
            motion,
            wrist,
            width,
            height,
            description: format!("{what}; {where_}"),
        })
    }

    /// Pose of the hand in the world at a time [s].
    pub fn world_from_hand(&self, t_s: f64) -> Isometry3<f64> {
        self.wrist.world_from_wrist(t_s) * tracker_from_hand()
    }

    fn camera(&self, name: &str) -> Option<&Camera> {
        // `left_wrist` and `right_wrist` see what `wrist` sees: there is one hand.
        let sees =
            |camera: &&Camera| name == camera.name || name.ends_with(&format!("_{}", camera.name));
        self.cameras.iter().find(sees)
    }

    fn jpeg(&self, camera: &Camera, t_s: f64, mark: Option<Mark>) -> Result<Vec<u8>> {
        let mut source = camera.source.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *source {
            Source::Drawn(painter) => {
                let canvas = painter.draw(&self.world_from_hand(t_s), &self.motion.at(t_s));
                let (width, height) = (canvas.width, canvas.height);
                let bytes = canvas.bgr.as_flattened_mut();
                draw_mark(mark, bytes, width, height);
                let (rows, columns) = (height as i32, width as i32);
                encode(&Mat::new_rows_cols_with_bytes::<Vec3b>(
                    rows, columns, bytes,
                )?)
            }
            Source::Recorded(video) => {
                // The recording's own picture stays clean: it may be shown again.
                let mut picture = video.picture(t_s)?.try_clone()?;
                let (width, height) = (picture.cols() as usize, picture.rows() as usize);
                draw_mark(mark, picture.data_bytes_mut()?, width, height);
                encode(&picture)
            }
        }
    }

    /// How hard a finger (thumb 0, index 1, middle 2) presses at a time, 0 to 1: in a pinch as its
    /// tip comes to the thumb's, in a grasp as it bends before an opposed thumb. The thumb presses
    /// as hard as the finger that presses it.
    fn pressing(&self, finger: usize, q: &[f64]) -> f64 {
        let tips = self.hand.forward(q).tips;
        let tip = |finger: Finger| {
            let index = self.hand.tips().iter().position(|tip| tip.finger == finger);
            index.map(|index| tips[index])
        };
        let opposed = ramp(q[0], 0.7, 1.1);
        let by = |finger: Finger, proximal: usize| {
            let bent = ramp(q[proximal] + q[proximal + 1], 1.9, 2.4) * opposed;
            let gap = tip(Finger::Thumb)
                .zip(tip(finger))
                .map(|(a, b)| (a - b).norm());
            bent.max(gap.map_or(0.0, |gap| ramp(-gap, -0.034, -0.018)))
        };
        match finger {
            1 => by(Finger::Index, 4),
            2 => by(Finger::Middle, 6),
            _ => by(Finger::Index, 4).max(by(Finger::Middle, 6)),
        }
    }
}

/// 0 below `low`, 1 above `high`, smooth between.
fn ramp(x: f64, low: f64, high: f64) -> f64 {
    curve::minimum_jerk((x - low) / (high - low))
}

impl Scene for EmulatedScene {
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64> {
        self.motion.at(t_s)
    }

    /// Made up: 180 counts of pressing force and a resting value of 2; the tangential parts sway
    /// within a fifth of it.
    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3] {
        let pressing = self.pressing(finger, &self.motion.at(t_s));
        let phase = std::f64::consts::TAU * (0.37 * t_s + finger as f64 / 3.0);
        let normal = 180.0 * pressing * (1.0 + 0.05 * (2.3 * phase).sin());
        [
            0.20 * normal * phase.sin(),
            0.12 * normal * (1.7 * phase).cos(),
            2.0 + normal,
        ]
    }

    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        self.wrist.world_from_wrist(t_s)
    }

    fn image(&self, camera: &str, t_s: f64, mark: Option<Mark>) -> Result<Vec<u8>, String> {
        let known = self
            .camera(camera)
            .ok_or_else(|| format!("unknown camera: expected wrist or head, got {camera}"))?;
        self.jpeg(known, t_s, mark)
            .map_err(|error| format!("camera {camera}: {error:#}"))
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    /// Of a camera whose pictures are drawn.
    fn intrinsics(&self, camera: &str) -> Option<[f64; 4]> {
        let drawn = self.camera(camera).is_some_and(|camera| camera.drawn);
        drawn.then(|| intrinsics(self.width, self.height))
    }

    /// Tracker to hand, and the cameras whose pictures are drawn.
    fn mounts(&self) -> Vec<Mount> {
        let mount = |parent: &str, child: &str, parent_from_child: Isometry3<f64>| Mount {
            parent: parent.to_owned(),
            child: child.to_owned(),
            translation_m: parent_from_child.translation.vector.into(),
            rotation_xyzw: parent_from_child.rotation.coords.into(),
            source: "emulated scene: drawn so".to_owned(),
        };
        let mut mounts = vec![mount("tracker/wrist", "hand", tracker_from_hand())];
        for camera in self.cameras.iter().filter(|camera| camera.drawn) {
            mounts.push(match camera.name {
                "wrist" => mount("hand", "camera/wrist", hand_from_wrist_camera()),
                _ => mount("world", "camera/head", world_from_head_camera()),
            });
        }
        mounts
    }
}

fn cameras(options: &SceneOptions, hand: &Arc<Hand>) -> Result<Vec<Camera>> {
    let known = CAMERAS.map(|(name, _)| name).join(" or ");
    for (index, (name, path)) in options.video.iter().enumerate() {
        ensure!(
            CAMERAS.iter().any(|(known, _)| known == name),
            "camera of --video: expected {known}, got {name}; give --video NAME=FILE: {}",
            path.display()
        );
        ensure!(
            options.video[..index]
                .iter()
                .all(|(other, _)| other != name),
            "camera of --video: expected {name} once, got it twice; leave one out: {}",
            path.display()
        );
    }
    let room = Arc::new(furnished_room());
    let (width, height) = (options.width, options.height);
    CAMERAS
        .into_iter()
        .map(|(name, eye)| {
            let video = options.video.iter().find(|(given, _)| given == name);
            let source = match video {
                Some((_, path)) => Source::Recorded(Video::open(path, width, height)?),
                None => {
                    let painter =
                        Painter::new(eye, Arc::clone(hand), Arc::clone(&room), width, height);
                    Source::Drawn(Box::new(painter))
                }
            };
            Ok(Camera {
                name,
                source: Mutex::new(source),
                drawn: video.is_none(),
            })
        })
        .collect()
}

/// Fills the cells of a mark; `bytes` has three a pixel.
fn draw_mark(mark: Option<Mark>, bytes: &mut [u8], width: usize, height: usize) {
    let Some(mark) = mark else { return };
    for cell in mark::cells(mark, width as u32, height as u32) {
        let grey = if cell.bright {
            mark::BRIGHT
        } else {
            mark::DARK
        };
        let (left, top, size) = (cell.x as usize, cell.y as usize, cell.size as usize);
        for row in bytes.chunks_exact_mut(3 * width).skip(top).take(size) {
            row[3 * left.min(width)..3 * (left + size).min(width)].fill(grey);
        }
    }
}

fn encode(picture: &impl opencv::core::ToInputArray) -> Result<Vec<u8>> {
    let parameters = Vector::from_slice(&[imgcodecs::IMWRITE_JPEG_QUALITY, JPEG_QUALITY]);
    let mut bytes = Vector::new();
    let done = imgcodecs::imencode(".jpg", picture, &mut bytes, &parameters)?;
    ensure!(done, "JPEG encoding failed");
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
