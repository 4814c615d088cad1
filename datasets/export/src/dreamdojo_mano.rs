//! DreamDojo's pre-training data with hands (NVIDIA/DreamDojo at 02f119b,
//! `MANODataset` on EgoDex-21): a video and an HDF5 file of rotations for each
//! episode, from a glove's 21 keypoints and a tracked wrist.
//!
//! `wrist/<side>_pose_cam_rot6d` `[T][9]` is the wrist in the camera's frame:
//! position [m], then the first two columns of its rotation. `rot6d/<side>/<joint>`
//! `[T][6]` is the rotation of each joint in the same frame, as two columns.
//!
//! Keypoints have positions alone. A joint's rotation is that of the palm, swung
//! along the finger from bone to bone, each by the smallest turn that brings the
//! bone before it to its own direction; a tip has the rotation of its last bone. The
//! loader takes rotations relative to an earlier step, so that how a joint's own axes
//! lie does not matter, as long as they stay.
//!
//! A camera that nothing tracks is taken to stand still: the frame is then the
//! tracker's world, turned by nothing, and the file says so.

use std::path::{Path, PathBuf};

use nalgebra::{Isometry3, Matrix3, Rotation3, UnitQuaternion, Vector3};

use crate::cameras::encode_all;
use crate::containers::{self, Book, Container, Told, fault, quality};
use crate::error::ExportError;
use crate::ffmpeg::Encoder;
use crate::fit::Fit;
use crate::flat::rotation_6d_columns;
use crate::formats::{Episodes, Format};
use crate::hdf5::{Group, Numbers, times};
use crate::model::{CameraRole, HandMotion, Resampled, Side};
use crate::options::{Options, Progress, Report};

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "dreamdojo-mano",
    help: "DreamDojo's pre-training data with hands: videos and HDF5 of joint rotations, of gloves, for its MANODataset",
    variants: &[],
    fps: 30,
    has_stills: false,
    keys: &[
        (
            "part1/TASK/N.mp4",
            "video of the head's camera, one image a step",
        ),
        (
            "part1/TASK/N.hdf5",
            "`wrist/SIDE_pose_cam_rot6d`: position (metres) and rotation of each wrist, `rot6d/SIDE/JOINT`: rotation of \
             each joint by EgoDex's names (first two columns of the matrix), a row a step, in the frame that the \
             attribute `frame` names; `timestamps`: grid and capture times, and whether all of a step was measured",
        ),
    ],
    load: "With DreamDojo's `MANODataset` on this folder.",
    write,
};

/// A sample of the loader takes this many images.
pub(crate) const LEAST_STEPS: usize = 13;
/// Joints of each finger by EgoDex's names, thumb first, each from base to tip.
pub(crate) const FINGERS: [&str; 5] = [
    "Thumb",
    "IndexFinger",
    "MiddleFinger",
    "RingFinger",
    "LittleFinger",
];
pub(crate) const PARTS: [&str; 4] = ["Knuckle", "IntermediateBase", "IntermediateTip", "Tip"];
pub(crate) const SIDES: [Side; 2] = [Side::Left, Side::Right];

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    containers::write(FORMAT.name, episodes, out, options, progress, |book| {
        Ok(DreamDojoMano {
            root: book.root.to_owned(),
            encoder: Encoder::choose(options.codec, &book.tools)?,
        })
    })
}

struct DreamDojoMano {
    root: PathBuf,
    encoder: Encoder,
}

impl Container for DreamDojoMano {
    fn add(
        &mut self,
        book: &mut Book<'_>,
        mut episode: Resampled,
        told: &mut Told<'_>,
    ) -> Result<(), ExportError> {
        if episode.steps() < LEAST_STEPS {
            let what = format!(
                "it has {} steps: the loader takes nothing from less than {LEAST_STEPS}",
                episode.steps()
            );
            return Err(fault(&episode, what));
        }
        if let Some(hand) = episode.hands.iter().find(|hand| hand.keypoints.is_none()) {
            let what = format!(
                "the {} hand has no keypoints, expected those of a glove; an exoskeleton's joints are a \
                 robot's: export them by another format",
                hand.side.name()
            );
            return Err(fault(&episode, what));
        }
        let cameras = episode.cameras.iter();
        let head = cameras
            .clone()
            .position(|camera| camera.role == CameraRole::Head);
        let Some(at) = head.or((!episode.cameras.is_empty()).then_some(0)) else {
            return Err(fault(
                &episode,
                "it has no camera, expected one on the head",
            ));
        };
        let chosen = vec![episode.cameras.swap_remove(at)];
        for track in &episode.cameras {
            book.warn(format!(
                "camera {:?} has no place in this format",
                track.name
            ));
        }
        // Where the camera is not tracked, the pose before is held, and the step is marked.
        let world = chosen[0].world_from_camera.as_ref().map(|poses| {
            let mut held = poses.iter().flatten().next().copied().unwrap_or_default();
            let each = poses.iter().map(|pose| {
                held = pose.unwrap_or(held);
                held
            });
            each.collect::<Vec<_>>()
        });
        if world.is_none() {
            book.warn(format!(
                "camera {:?} is not tracked (no tracker with a mount to `camera/{}`): it is taken to stand still",
                chosen[0].name, chosen[0].name
            ));
        }
        let mut hands = Vec::new();
        for side in SIDES {
            let hand = episode.hand(side);
            if hand.is_none() {
                book.warn(format!(
                    "there is no {} hand: it rests at the origin",
                    side.name()
                ));
            }
            let rotations = hand.map(|hand| turns(hand, episode.steps(), world.as_deref()));
            let rotations = match rotations {
                Some(rotations) => rotations.map_err(|what| fault(&episode, what))?,
                None => {
                    vec![(Isometry3::identity(), [UnitQuaternion::identity(); 20]); episode.steps()]
                }
            };
            hands.push((side, rotations));
        }
        let stem = Path::new("part1")
            .join(slug(&episode.task))
            .join(book.episodes.to_string());
        episode.cameras = chosen;
        let settings = book.videos(&self.encoder);
        let videos = encode_all(settings, &mut episode, || told.image())?;
        let shown = &episode.cameras[0];
        for video in videos {
            let of = (book.episodes, shown.name.as_str());
            book.parts.place(of, &video, &stem.with_extension("mp4"))?;
        }
        let (size, mode) = (book.options.size, book.options.fit);
        let fit = Fit::new((shown.width, shown.height), size, mode);
        book.count_images(0, shown, &fit);
        let frame = if world.is_some() { "camera" } else { "world" };
        file(&episode, &hands, frame).write(&self.root.join(stem).with_extension("hdf5"))
    }

    fn finish(self, _: &mut Book<'_>) -> Result<(), ExportError> {
        Ok(())
    }

    fn codec(book: &Book<'_>) -> (&'static str, String) {
        // It was chosen once already, with the same answer.
        let encoder = Encoder::choose(book.options.codec, &book.tools);
        encoder.map_or(("", String::new()), |encoder| {
            (encoder.codec, encoder.settings.to_owned())
        })
    }
}

/// A task as the name of a folder.
fn slug(task: &str) -> String {
    let words = task.to_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    match words[..] {
        [] => "task".to_owned(),
        _ => words.join("_"),
    }
}

fn file(episode: &Resampled, hands: &[(Side, Vec<Turns>)], frame: &str) -> Group {
    let steps = episode.steps();
    let mut file = Group::default();
    for (name, words) in [
        ("llm_description", episode.task.as_str()),
        ("source_episode_id", &episode.episode_id),
        ("frame", frame),
        ("quality", &quality(episode).to_string()),
        ("software", concat!("dexumi ", env!("CARGO_PKG_VERSION"))),
    ] {
        file.attribute(name, words);
    }
    let (mut wrist, mut rot6d) = (Group::default(), Group::default());
    for (side, turns) in hands {
        let side = side.name();
        let poses = turns.iter().flat_map(|(pose, _)| {
            let turn = rotation_6d_columns(&pose.rotation);
            pose.translation
                .vector
                .iter()
                .copied()
                .chain(turn)
                .collect::<Vec<_>>()
        });
        let poses = poses.map(|value| value as f32).collect();
        wrist.array(
            &format!("{side}_pose_cam_rot6d"),
            &[steps, 9],
            Numbers::F32(poses),
        );
        let mut joints = Group::default();
        for (at, name) in joint_names(side).into_iter().enumerate() {
            let values = turns
                .iter()
                .flat_map(|(_, joints)| rotation_6d_columns(&joints[at]));
            let values = values.map(|value| value as f32).collect();
            joints.array(&name, &[steps, 6], Numbers::F32(values));
        }
        rot6d.group(side, joints);
    }
    file.group(
        "timestamps",
        times(
            episode,
            |k| episode.is_valid(k) && episode.lost_cameras(k) == 0,
            |track| track.name.clone(),
        ),
    );
    file.group("wrist", wrist);
    file.group("rot6d", rot6d);
    file
}

/// Names of a hand's 20 joints, in the order of keypoints 1 to 20.
pub(crate) fn joint_names(side: &str) -> Vec<String> {
    let of = |finger: &'static str| PARTS.map(|part| format!("{side}{finger}{part}"));
    FINGERS.into_iter().flat_map(of).collect()
}

/// The wrist's pose and the rotations of its joints in the camera's frame.
type Turns = (Isometry3<f64>, [UnitQuaternion<f64>; 20]);

fn turns(
    hand: &HandMotion,
    steps: usize,
    world_from_camera: Option<&[Isometry3<f64>]>,
) -> Result<Vec<Turns>, String> {
    let points = hand
        .keypoints
        .as_ref()
        .map_or(&[][..], |keypoints| &keypoints.points_m);
    (0..steps)
        .map(|k| {
            let camera = world_from_camera.map_or_else(Isometry3::identity, |poses| poses[k]);
            let wrist = camera.inv_mul(&hand.world_from_wrist[k]);
            let joints = palm_from_joints(&points[k], hand.side).ok_or_else(|| {
                format!(
                    "keypoints of the {} hand at step {k} span no palm: wrist and knuckles lie on a line",
                    hand.side.name()
                )
            })?;
            Ok((wrist, joints.map(|joint| wrist.rotation * joint)))
        })
        .collect()
}

/// Rotations of the 20 joints in the palm's axes (x out of the palm, z to the
/// fingers), which are those of the tracked wrist.
fn palm_from_joints(points: &[[f64; 3]; 21], side: Side) -> Option<[UnitQuaternion<f64>; 20]> {
    let point = |at: usize| Vector3::from(points[at]);
    let (wrist, index, middle, little) = (point(0), point(5), point(9), point(17));
    let forward = (middle - wrist).try_normalize(1e-6)?;
    let across = match side {
        Side::Right => index - little,
        Side::Left => little - index,
    };
    let out = across.cross(&forward).try_normalize(1e-6)?;
    let axes = Matrix3::from_columns(&[out, forward.cross(&out), forward]);
    let palm_from_glove =
        UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(axes)).inverse();
    let mut joints = [UnitQuaternion::identity(); 20];
    for finger in 0..5 {
        let mut turn = UnitQuaternion::identity();
        for part in 0..4 {
            let at = 1 + 4 * finger + part;
            if part < 3 {
                let bone = palm_from_glove * (point(at + 1) - point(at));
                let before = turn * Vector3::z();
                // A bone without length, or one turned right back, keeps the turn before.
                let swing = UnitQuaternion::rotation_between(&before, &bone);
                turn = swing.map_or(turn, |swing| swing * turn);
            }
            joints[at - 1] = turn;
        }
    }
    Some(joints)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flat right hand, fingers along z, thumb towards +y, palm to +x.
    fn flat() -> [[f64; 3]; 21] {
        let mut points = [[0.0; 3]; 21];
        for finger in 0..5 {
            for part in 0..4 {
                let y = 0.04 - 0.02 * finger as f64;
                points[1 + 4 * finger + part] = [0.0, y, 0.05 + 0.03 * part as f64];
            }
        }
        points
    }

    #[test]
    fn a_flat_hand_turns_nothing_and_a_bent_finger_its_joints() {
        let joints = palm_from_joints(&flat(), Side::Right).unwrap();
        // The little finger's knuckle lies beside the middle one's line; bones are all along z.
        for joint in &joints[4..] {
            assert!(joint.angle() < 1e-9, "{joint}");
        }
        let mut bent = flat();
        // The last two bones of the index finger point out of the palm.
        bent[7] = [0.03, bent[6][1], bent[6][2]];
        bent[8] = [0.06, bent[6][1], bent[6][2]];
        let joints = palm_from_joints(&bent, Side::Right).unwrap();
        assert!(joints[4].angle() < 1e-9);
        for joint in &joints[5..8] {
            // A quarter turn about +y brings z to x.
            assert!(
                (joint.scaled_axis() - Vector3::y() * std::f64::consts::FRAC_PI_2).norm() < 1e-9
            );
        }
    }

    #[test]
    fn where_the_glove_s_axes_lie_does_not_matter() {
        let mut bent = flat();
        bent[8] = [0.02, bent[7][1], bent[7][2] + 0.01];
        let turned = UnitQuaternion::from_euler_angles(0.3, -1.0, 2.0);
        let moved = bent.map(|p| {
            let p = turned * Vector3::from(p) + Vector3::new(1.0, 2.0, 3.0);
            [p.x, p.y, p.z]
        });
        let (a, b) = (
            palm_from_joints(&bent, Side::Right).unwrap(),
            palm_from_joints(&moved, Side::Right).unwrap(),
        );
        for (a, b) in a.iter().zip(&b) {
            assert!(a.angle_to(b) < 1e-7);
        }
        assert!(palm_from_joints(&[[0.0; 3]; 21], Side::Right).is_none());
    }
}
