//! DreamDojo: LeRobot v2.1 for its post-training, or a tree of head videos for its pre-training.
//!
//! Its loader knows four robots and tells them by the dataset's path. One view, of the head, at 4:3.

use std::path::Path;

use serde_json::json;

use crate::columns::{Columns, Numbers, axes, of_poses, rows_6d};
use crate::error::ExportError;
use crate::fingers::first_joints;
use crate::flat::eef_9d;
use crate::formats::{Episodes, Format};
use crate::model::{CameraRole, HandMotion, Resampled, Side};
use crate::options::{Options, Progress, Report};
use crate::v21::{self, Dataset};
use crate::video_tree;
use crate::writing::Plan;

pub(crate) const G1: &str = "g1";
pub(crate) const OWN: &str = "own";
pub(crate) const VIDEO: &str = "video";

/// Free action slots of the loader's 384.
const SLOTS: std::ops::Range<usize> = 169..220;
/// 13 images and one before them, every second row.
pub(crate) const LEAST_STEPS: usize = 27;
/// 13 images in a row, and one more.
pub(crate) const LEAST_IMAGES: usize = 14;
/// Width and height of its images.
pub(crate) const SIZE: (u32, u32) = (640, 480);

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "dreamdojo",
    help: "DreamDojo: LeRobot v2.1 with its keys for post-training, or videos for pre-training; one \
           view of the head, 640x480",
    variants: &[
        (
            G1,
            "wrists and hands in the places of a G1's arms and hands; the folder's name has g1 in it",
        ),
        (
            OWN,
            "wrists and hands as they are, for action slots 169 to 220; the folder's name has dexumi in it; DREAMDOJO.md \
             says what to add",
        ),
        (VIDEO, "a tree of head videos without actions"),
    ],
    fps: 20,
    has_stills: false,
    keys: &[],
    load: "With DreamDojo's loaders: post-training by `MultiVideoActionDataset` on this folder (`DREAMDOJO.md`, where \
           there is one, says what to add), pre-training on the tree of videos.",
    write,
};

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    let variant = FORMAT.variant(options)?;
    let absolute = std::path::absolute(out).map_err(ExportError::io("resolve a path", out))?;
    if let Some(what) = path_fault(variant, &absolute) {
        return Err(ExportError::PathName {
            what,
            path: absolute,
        });
    }
    if let Some((width, height)) = options.size
        && (SIZE.0 * height != SIZE.1 * width || (variant == VIDEO && (width, height) != SIZE))
    {
        let what = match variant {
            VIDEO => format!("expected {}x{}", SIZE.0, SIZE.1),
            _ => format!("expected the shape of {}x{}", SIZE.0, SIZE.1),
        };
        return Err(ExportError::Choice {
            what: format!("image size {width}x{height} for {}: {what}", FORMAT.name),
        });
    }
    let mut plan = Plan {
        name: FORMAT.name,
        size: Some(SIZE),
        least_steps: LEAST_STEPS,
        columns,
    };
    if variant == VIDEO {
        plan.least_steps = LEAST_IMAGES;
        return video_tree::write(&plan, (episodes, out), options, progress);
    }
    v21::write(&plan, further, (episodes, out), options, progress)
}

/// Words in a path by which the loader takes a dataset for another, or leaves its files out.
pub(crate) fn path_fault(variant: &str, path: &Path) -> Option<String> {
    let text = path.to_string_lossy().to_lowercase();
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    // In the order in which the loader looks for them.
    let (needed, forbidden): (Option<&str>, &[&str]) = match variant {
        G1 => (Some("g1"), &["egodex_21", "gr1", "agibot", "inhouse_human"]),
        OWN => (Some("dexumi"), &["egodex_21", "gr1", "agibot", "g1", "yam"]),
        _ => {
            let forbidden = &[
                "egodex_21",
                "gr1",
                "agibot",
                "g1",
                "yam",
                "left",
                "right",
                "resize",
            ];
            (None, forbidden)
        }
    };
    let video = (variant == VIDEO).then_some(["pad", "xdof"]);
    let mut all = forbidden.iter().copied().chain(video.into_iter().flatten());
    if let Some(word) = all.find(|word| text.contains(word)) {
        return Some(format!(
            "{word:?} is in the path: DreamDojo's loader decides by it what the dataset is"
        ));
    }
    let missing = needed.filter(|word| !name.contains(word));
    missing.map(|word| {
        format!("{word:?} is not in the folder's name, by which DreamDojo's loader knows the robot")
    })
}

fn columns(episode: &mut Resampled, options: &Options) -> Result<Columns, String> {
    let variant = FORMAT.variant(options).map_err(|error| error.to_string())?;
    let mut warnings = Vec::new();
    episode.cameras.retain(|camera| {
        let keeps = camera.role == CameraRole::Head;
        if !keeps {
            warnings.push(format!(
                "camera {:?} is left out: one view, of the head",
                camera.name
            ));
        }
        keeps
    });
    if episode.cameras.is_empty() {
        return Err("no camera of the head, expected one named head, ego or top".into());
    }
    let numbers = match variant {
        G1 => as_g1(episode, &mut warnings)?,
        _ => as_they_are(episode),
    };
    let width: usize = numbers.iter().map(|part| part.names.len()).sum();
    if variant == OWN && width > SLOTS.len() {
        return Err(format!(
            "the action would be {width} numbers wide, expected at most {} (slots {} to {}); retarget to \
             a hand with fewer joints, or take --variant {G1}",
            SLOTS.len(),
            SLOTS.start,
            SLOTS.end
        ));
    }
    let mut columns = Columns::of(&numbers, episode.steps());
    columns.warnings = warnings;
    Ok(columns)
}

fn as_they_are(episode: &Resampled) -> Vec<Numbers> {
    let mut numbers = Vec::new();
    for hand in &episode.hands {
        let side = hand.side.name();
        let mut names = axes(&format!("{side}_wrist"));
        names.extend(rows_6d(&format!("{side}_wrist_rot6d")));
        let poses = of_poses(&hand.world_from_wrist, |pose| eef_9d(pose).into());
        numbers.push(Numbers::new(format!("{side}_wrist"), names, poses));
        let names = hand.joint_names.iter().map(|name| format!("{side}_{name}"));
        let joints = (0..hand.valid.len()).map(|k| hand.joints(k).to_vec());
        numbers.push(Numbers::new(
            format!("{side}_hand"),
            names.collect(),
            joints.collect(),
        ));
    }
    numbers
}

/// The 43 numbers of a G1: legs and waist at rest; seven of an arm are the wrist's position and its
/// rotation as a quaternion; seven of a hand are three joints of the thumb and two each of index and
/// middle finger. A side that was not recorded is at rest.
fn as_g1(episode: &Resampled, warnings: &mut Vec<String>) -> Result<Vec<Numbers>, String> {
    let rows = episode.times.len();
    let rest = |key: &str, width: usize| {
        let names = (0..width).map(|at| format!("{key}_{at}_at_rest"));
        Numbers::new(key.into(), names.collect(), vec![vec![0.0; width]; rows])
    };
    let mut numbers = vec![rest("left_leg", 6), rest("right_leg", 6), rest("waist", 3)];
    for side in [Side::Left, Side::Right] {
        let (arm, palm) = (
            format!("{}_arm", side.name()),
            format!("{}_hand", side.name()),
        );
        let Some(hand) = episode.hand(side) else {
            numbers.extend([rest(&arm, 7), rest(&palm, 7)]);
            continue;
        };
        let mut names = axes(&format!("{}_wrist", side.name()));
        names.extend(["qx", "qy", "qz", "qw"].map(|q| format!("{}_wrist_{q}", side.name())));
        numbers.push(Numbers::new(arm, names, poses_of_seven(hand)));
        numbers.push(hand_of_seven(hand, palm, warnings)?);
    }
    Ok(numbers)
}

/// Position and quaternion x, y, z, w, of the two that mean one rotation always the nearer one.
fn poses_of_seven(hand: &HandMotion) -> Vec<Vec<f64>> {
    let mut last = nalgebra::Vector4::new(0.0, 0.0, 0.0, 1.0);
    of_poses_in_turn(hand, |pose| {
        let mut q = pose.rotation.coords;
        if q.dot(&last) < 0.0 {
            q = -q;
        }
        last = q;
        pose.translation
            .vector
            .iter()
            .chain(q.iter())
            .copied()
            .collect()
    })
}

fn of_poses_in_turn(
    hand: &HandMotion,
    numbers: impl FnMut(&nalgebra::Isometry3<f64>) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    hand.world_from_wrist.iter().map(numbers).collect()
}

fn hand_of_seven(
    hand: &HandMotion,
    key: String,
    warnings: &mut Vec<String>,
) -> Result<Numbers, String> {
    let wanted = [("thumb", 3), ("index", 2), ("middle", 2)];
    let chosen = first_joints(hand, &wanted)?;
    let mut joints: Vec<Option<usize>> = Vec::new();
    for (found, (_, count)) in chosen.iter().zip(wanted) {
        joints.extend((0..count).map(|at| found.get(at).copied()));
    }
    let dropped = hand.joint_names.len() - joints.iter().flatten().count();
    if dropped > 0 {
        warnings.push(format!(
            "{dropped} of {} joints of {} have no place among a G1's and are left out",
            hand.joint_names.len(),
            hand.hand
        ));
    }
    let name = |(at, joint): (usize, &Option<usize>)| match joint {
        Some(joint) => format!("{}_{}", hand.side.name(), hand.joint_names[*joint]),
        None => format!("{key}_{at}_at_rest"),
    };
    let names = joints.iter().enumerate().map(name).collect();
    let row = |k: usize| {
        let values = joints
            .iter()
            .map(|joint| joint.map_or(0.0, |at| hand.joints(k)[at]));
        values.collect()
    };
    let rows = (0..hand.valid.len()).map(row).collect();
    Ok(Numbers::new(key.clone(), names, rows))
}

fn further(dataset: &Dataset<'_>) -> Result<Vec<String>, ExportError> {
    let variant = FORMAT.variant(dataset.book.options)?;
    let view = |name: &str| {
        let cameras = dataset.book.cameras.iter();
        cameras
            .map(|camera| (name.to_owned(), camera.key.clone()))
            .collect::<Vec<_>>()
    };
    dataset.write_modality(&view(if variant == G1 { "ego_view" } else { "head" }))?;
    dataset.write_text("DREAMDOJO.md", &notes(dataset, variant))?;
    Ok(Vec::new())
}

fn notes(dataset: &Dataset<'_>, variant: &str) -> String {
    let parts = &dataset.book.schema().columns.parts;
    let table: String = parts
        .iter()
        .map(|part| format!("| `{}` | {} to {} |\n", part.key, part.start, part.end))
        .collect();
    let rate = dataset.book.schema().fps;
    let head = format!(
        "\
# Training DreamDojo on this dataset

| key of state and action | columns |
|---|---|
{table}
"
    );
    if variant == G1 {
        return head
            + &format!(
                "\
The loader takes this for a G1, since `g1` is in the path: keep it there, and keep `gr1`, `agibot`,
`inhouse_human` and `egodex_21` out. It takes every second of the {rate} steps a second, and normalises by
its own statistics of a G1 (`shared_meta/G1_stats.json`), whatever `meta/stats.json` says; values outside of
those are clipped. Legs and waist are at rest; a wrist's position [m] and quaternion (x, y, z, w) stand in
the seven places of an arm, three joints of the thumb and two each of index and middle finger in those of a
hand.
"
            );
    }
    let width = parts.last().map_or(0, |part| part.end);
    let config = json!({
        "video": ["video.head"],
        "state": parts.iter().map(|part| format!("state.{}", part.key)).collect::<Vec<_>>(),
        "action": parts.iter().map(|part| format!("action.{}", part.key)).collect::<Vec<_>>(),
    });
    head + &format!(
        "\
Rotations are the first two rows of the matrix. The loader does not know this robot; add it, under the tag
`dexumi`, which it finds in the path of this folder:

1. `groot_dreams/data/embodiment_tags.py`: a member `DEXUMI = \"dexumi\"`.
2. `groot_dreams/dataloader.py`: `dexumi` among the words of `is_lerobot_dataset`, and a branch that chooses
   the embodiment.
3. `groot_dreams/groot_configs.py`: a branch for `dexumi` with every second step and these keys, state at
   index 0: `{config}`.
4. `groot_dreams/data/dataset.py`: no statistics of others for this tag (`has_default_meta = False`), and the
   actions into slots {start} to {end}: `action_seq[:, {start}:{end}] = delta_actions`.
",
        start = SLOTS.start,
        end = SLOTS.start + width,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_name_another_robot_are_told() {
        let fault = |variant: &str, path: &str| path_fault(variant, Path::new(path));
        assert_eq!(fault(G1, "/data/cups_g1"), None);
        assert!(
            fault(G1, "/data/cups")
                .unwrap()
                .contains("not in the folder's name")
        );
        assert!(fault(G1, "/data/GR1/cups_g1").unwrap().contains("gr1"));
        assert_eq!(fault(OWN, "/data/dexumi_cups"), None);
        assert!(fault(OWN, "/data/log1/dexumi").unwrap().contains("g1"));
        assert_eq!(fault(VIDEO, "/data/cups"), None);
        for path in ["/data/left/cups", "/data/ipad", "/data/log1", "/data/yams"] {
            assert!(fault(VIDEO, path).is_some(), "{path}");
        }
    }

    #[test]
    fn quaternions_do_not_jump() {
        let pose =
            |turn: f64| nalgebra::Isometry3::rotation(nalgebra::Vector3::new(0.0, 0.0, turn));
        let hand = HandMotion {
            side: Side::Left,
            hand: "h".into(),
            joint_names: vec!["thumb".into()],
            // Once and a half around: past the sign change of the quaternion's usual form.
            world_from_wrist: (0..100).map(|k| pose(f64::from(k) * 0.1)).collect(),
            joints_rad: vec![0.0; 100],
            valid: vec![true; 100],
            force: None,
            keypoints: None,
            robot: None,
        };
        let rows = poses_of_seven(&hand);
        for pair in rows.windows(2) {
            let step: f64 = (3..7).map(|i| (pair[1][i] - pair[0][i]).powi(2)).sum();
            assert!(step.sqrt() < 0.06, "{pair:?}");
        }
    }
}
