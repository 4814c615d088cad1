//! The data of EgoScale as its open scaffold reads it (wingAGI/open-egoscale at
//! 241c328): a manifest of chunks for each training stage, HDF5 for the numbers of an
//! episode, videos.
//!
//! One hand acts in a sample: the one that moves more, where both are measured as
//! well. An action is 28 numbers: the wrist's motion to the next step, in its own axes
//! before (`inverse(T_k) * T_{k+1}`: metres, then a rotation vector), and the hand's
//! 22 joints at step k + 1. The state is 32: the 22 joints, wrist position, rotation
//! as two rows, and 1 where all of it was measured, else 0.
//!
//! The 22 are those of the Sharpa Wave, in its order. A hand with fewer joints fills
//! the first ones and leaves the others 0, which only means the same as other data
//! of the scaffold where that was retargeted to the same hand.
//!
//! Stages 1 and 2 take worn data as `human_retargeted` without state (variant
//! `human`). Stage 3, and stage 2, take `robot_native` with state: what an
//! exoskeleton with a robot hand's own joints records can stand for that (variant
//! `robot`), and whoever asks for it says so.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cameras::encode_all;
use crate::containers::{self, Book, Container, Told, fault, quality};
use crate::error::ExportError;
use crate::ffmpeg::Encoder;
use crate::fit::Fit;
use crate::flat::rotation_6d_rows;
use crate::formats::{Episodes, Format};
use crate::hdf5::{Group, Numbers, times};
use crate::model::{CameraRole, CameraTrack, HandMotion, Resampled};
use crate::options::{Options, Progress, Report};

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "egoscale",
    help: "open-egoscale: chunk manifests of stages 1 to 3, HDF5 and videos, wrist motion and 22 hand joints",
    variants: &[
        (
            "human",
            "worn data without state, human_retargeted: stages 1 and 2",
        ),
        (
            "robot",
            "in the robot hand's own joints with state, robot_native: stages 2 and 3",
        ),
    ],
    fps: 10,
    has_stills: false,
    keys: &[
        (
            "actions",
            "[28]: the wrist's motion to the next step in its own axes before (3 metres, 3 radians as a rotation vector), 22 hand joints one step later in radians",
        ),
        (
            "raw_state",
            "[32]: 22 hand joints in radians, wrist position in metres, rotation as two rows (both in the tracker's world), 1 where all of it was measured",
        ),
        (
            "active_wrist_pose",
            "[4, 4]: wrist in the tracker's world, metres",
        ),
        ("videos/dexumi/EPISODE_VIEW.mp4", "one image a step"),
    ],
    load: "With open-egoscale, by the chunk manifests `meta/chunks_stage*.jsonl`.",
    write,
};

/// Images that a sample looks at, and actions that it holds.
pub(crate) const HORIZONS: (usize, usize) = (2, 8);
/// Joints of a Sharpa Wave.
pub(crate) const HAND: usize = 22;
/// Numbers of an action and of a state.
pub(crate) const ACTION: usize = 6 + HAND;
pub(crate) const STATE: usize = 32;
/// Views in the order of the scaffold.
pub(crate) const VIEWS: [(CameraRole, &str); 3] = [
    (CameraRole::Head, "head"),
    (CameraRole::LeftWrist, "left_wrist"),
    (CameraRole::RightWrist, "right_wrist"),
];
/// Of ten episodes one is for validation, once there are as many.
const VALIDATE_EVERY: u64 = 10;

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    let variant = FORMAT.variant(options)?;
    containers::write(FORMAT.name, episodes, out, options, progress, |book| {
        let encoder = Encoder::choose(options.codec, &book.tools)?;
        EgoScale::new(book.root, Source::of(variant), encoder)
    })
}

/// What a variant calls the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub name: &'static str,
    pub has_state: bool,
    pub stages: [u32; 2],
}

impl Source {
    fn of(variant: &str) -> Self {
        match variant {
            "robot" => Self {
                name: "robot_native",
                has_state: true,
                stages: [2, 3],
            },
            _ => Self {
                name: "human_retargeted",
                has_state: false,
                stages: [1, 2],
            },
        }
    }
}

/// Name of a stage's manifest.
pub(crate) fn manifest(stage: u32) -> String {
    format!("meta/chunks_stage{stage}.jsonl")
}

struct EgoScale {
    root: PathBuf,
    source: Source,
    encoder: Encoder,
    manifests: Vec<std::fs::File>,
    episodes: Vec<Value>,
    tasks: Vec<Value>,
    chunks: u64,
    left_out: u64,
    statistics: BTreeMap<&'static str, Spread>,
    about: Value,
}

impl EgoScale {
    fn new(root: &Path, source: Source, encoder: Encoder) -> Result<Self, ExportError> {
        for folder in ["meta/stats", "data/episodes", "videos/dexumi"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(ExportError::io("create a folder", path))?;
        }
        let create = |stage: u32| {
            let path = root.join(manifest(stage));
            std::fs::File::create(&path).map_err(ExportError::io("create", path))
        };
        Ok(Self {
            root: root.to_owned(),
            source,
            encoder,
            manifests: source
                .stages
                .map(create)
                .into_iter()
                .collect::<Result<_, _>>()?,
            episodes: Vec::new(),
            tasks: Vec::new(),
            chunks: 0,
            left_out: 0,
            statistics: BTreeMap::new(),
            about: Value::Null,
        })
    }

    /// The manifest's rows of an episode: one for each start whose steps were measured.
    fn chunks(&mut self, row: &Value, episode: &Resampled) -> Result<(), ExportError> {
        let (images, actions) = HORIZONS;
        let steps = episode.steps();
        let second = |k: usize| k as f64 / f64::from(episode.fps);
        let id = row["episode_id"].as_str().unwrap_or_default();
        for start in 0..(steps + 1).saturating_sub(images + actions - 1) {
            // The first action is taken at the last image.
            let first = start + images - 1;
            if !(start..first + actions).all(|k| episode.is_valid(k)) {
                self.left_out += 1;
                continue;
            }
            let times =
                |from: usize, count: usize| (from..from + count).map(second).collect::<Vec<_>>();
            let mut chunk = row.clone();
            let more = json!({
                "chunk_id": format!("{id}:{start}"),
                "instruction": episode.language(first),
                "obs_timestamps": times(start, images),
                "action_timestamps": times(first, actions),
                "obs_index_start": start,
                "action_index_start": first,
            });
            if let (Value::Object(chunk), Value::Object(more)) = (&mut chunk, more) {
                chunk.extend(more);
            }
            for (stage, file) in self.source.stages.iter().zip(&mut self.manifests) {
                chunk["stage"] = json!(format!("stage{stage}"));
                writeln!(file, "{chunk}").map_err(ExportError::io(
                    "write to",
                    self.root.join(manifest(*stage)),
                ))?;
            }
            self.chunks += 1;
        }
        Ok(())
    }
}

impl Container for EgoScale {
    fn add(
        &mut self,
        book: &mut Book<'_>,
        mut episode: Resampled,
        told: &mut Told<'_>,
    ) -> Result<(), ExportError> {
        let least = HORIZONS.0 + HORIZONS.1 - 1;
        if episode.steps() < least {
            let what = format!("it has {} steps: a sample takes {least}", episode.steps());
            return Err(fault(&episode, what));
        }
        let hand = active(&episode);
        if hand.joint_names.len() > HAND {
            let what = format!(
                "{} has {} joints, expected at most {HAND}: retarget to sharpa_{}",
                hand.hand,
                hand.joint_names.len(),
                hand.side.name()
            );
            return Err(fault(&episode, what));
        }
        let side = hand.side;
        if let Some(other) = episode.hands.iter().find(|hand| hand.side != side) {
            book.warn(format!(
                "one hand acts in a sample: of episode {} the {} one is left out",
                book.episodes,
                other.side.name()
            ));
        }
        if hand.joint_names.len() < HAND {
            book.warn(format!(
                "{} has {} joints, which fill the first of the {HAND} places; the others are 0. \
                 They mean what the scaffold's other data mean only for sharpa_{}",
                hand.hand,
                hand.joint_names.len(),
                side.name()
            ));
        }
        let (mut views, rest): (Vec<CameraTrack>, Vec<_>) = std::mem::take(&mut episode.cameras)
            .into_iter()
            .partition(|track| view(track).is_some());
        for track in rest {
            book.warn(format!(
                "camera {:?} has no place in this format",
                track.name
            ));
        }
        views.sort_by_key(|track| track.role);
        episode.cameras = views;
        if episode.camera(CameraRole::Head).is_none() {
            return Err(fault(
                &episode,
                "it has no camera on the head, which every sample shows first",
            ));
        }
        let settings = book.videos(&self.encoder);
        let videos = encode_all(settings, &mut episode, || told.image())?;
        // From here on nothing is the episode's own fault any more.
        let hand = active(&episode);
        let (states, actions, wrists) = numbers(&episode, hand);
        let id = format!("episode_{:06}", book.episodes);
        self.write_episode(&id, &episode, hand, (&states, &actions, &wrists))?;
        let train = !is_for_validation(book.episodes);
        if train {
            let spread = |name, width| Spread::new(name, width);
            let statistics = &mut self.statistics;
            statistics
                .entry("actions")
                .or_insert_with(|| spread("actions", ACTION))
                .add(&actions);
            statistics
                .entry("state")
                .or_insert_with(|| spread("state", STATE))
                .add(&states);
        }
        let names = episode.cameras.iter().filter_map(view);
        let views: Vec<&str> = names.clone().collect();
        let mut refs = serde_json::Map::new();
        for (view, video) in names.zip(&videos) {
            let file = format!("videos/dexumi/{id}_{view}.mp4");
            let of = (book.episodes, view);
            book.parts.place(of, video, file.as_ref())?;
            refs.insert(view.to_owned(), json!(file));
        }
        let task = book.tasks.iter().position(|task| *task == episode.task);
        let task = task.unwrap_or(book.tasks.len());
        let task_id = format!("task_{task:04}");
        let row = json!({
            "episode_id": id,
            "task_id": task_id,
            "embodiment_id": "sharpa",
            "data_source": self.source.name,
            "has_proprio": self.source.has_state,
            "state_semantics_name": "sharpa_proprio_v1",
            "action_semantics_name": "sharpa_wristdelta_hand22_v1",
            "state_dim": STATE,
            "action_dim": ACTION,
            "obs_horizon": HORIZONS.0,
            "action_horizon": HORIZONS.1,
            "camera_views": views,
            "episode_file": format!("data/episodes/{id}.h5"),
            "video_refs": refs,
        });
        self.chunks(&row, &episode)?;
        // Names of the scaffold's own converter, where it has them.
        self.episodes.push(json!({
            "episode_id": id,
            "source_episode_id": episode.episode_id,
            "source_dataset": "dexumi",
            "data_source": row["data_source"],
            "embodiment_id": row["embodiment_id"],
            "available_views": row["camera_views"],
            "quality": quality(&episode),
            "task_id": task_id,
            "language": episode.task,
            "active_hand": hand.side.name(),
            "episode_file": row["episode_file"],
            "video_paths": row["video_refs"],
            "num_steps": episode.steps(),
            "duration_sec": episode.steps() as f64 / f64::from(episode.fps),
            "control_frequency_hz": episode.fps,
        }));
        if task == self.tasks.len() {
            self.tasks.push(json!({
                "task_id": task_id,
                "task_name": episode.task,
                "source_dataset": "dexumi",
            }));
        }
        for (at, track) in episode.cameras.iter().enumerate() {
            let fit = Fit::new(
                (track.width, track.height),
                book.options.size,
                book.options.fit,
            );
            book.count_images(at, track, &fit);
        }
        self.about = json!({
            "fps": episode.fps,
            "hand": hand.hand,
            "hand_columns": hand.joint_names,
        });
        Ok(())
    }

    fn finish(self, book: &mut Book<'_>) -> Result<(), ExportError> {
        for (file, stage) in self.manifests.iter().zip(self.source.stages) {
            file.sync_all()
                .map_err(ExportError::io("write", self.root.join(manifest(stage))))?;
        }
        if self.chunks == 0 {
            return Err(ExportError::Invalid {
                what: format!(
                    "none of {} samples has all of its steps measured; `dexumi align` shows the gaps, \
                     --max-gap-ms widens what is interpolated across",
                    self.left_out
                ),
                path: self.root,
            });
        }
        if self.left_out > 0 {
            book.warn(format!(
                "{} of {} samples are left out, since a step of theirs was not measured",
                self.left_out,
                self.left_out + self.chunks
            ));
        }
        let lines = |name: &str, rows: &[Value]| {
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let path = self.root.join(name);
            std::fs::write(&path, text).map_err(ExportError::io("write", path))
        };
        lines("meta/episodes.jsonl", &self.episodes)?;
        lines("meta/tasks.jsonl", &self.tasks)?;
        let ids = |validation: bool| -> Vec<&Value> {
            let episodes = self.episodes.iter().enumerate();
            let wanted = episodes.filter(|(n, _)| is_for_validation(*n as u64) == validation);
            wanted.map(|(_, episode)| &episode["episode_id"]).collect()
        };
        let json_file = |name: &str, value: &Value| {
            let path = self.root.join(name);
            let text = serde_json::to_vec_pretty(value).unwrap_or_default();
            std::fs::write(&path, text).map_err(ExportError::io("write", path))
        };
        json_file(
            "meta/splits.json",
            &json!({
                "train_episode_ids": ids(false),
                "val_episode_ids": ids(true),
                "test_episode_ids": [],
            }),
        )?;
        for stage in self.source.stages {
            for (name, spread) in &self.statistics {
                let name = name.trim_end_matches('s');
                json_file(
                    &format!("meta/stats/{name}_stats_stage{stage}.json"),
                    &spread.to_json(),
                )?;
            }
        }
        json_file(
            "meta/info.json",
            &json!({
                "dataset_name": "dexumi",
                "version": "1",
                "software": concat!("dexumi ", env!("CARGO_PKG_VERSION")),
                "stages": self.source.stages.map(|stage| format!("stage{stage}")),
                "embodiments": ["sharpa"],
                "canonical_view_order": VIEWS.map(|(_, view)| view),
                "control_frequency_hz": self.about["fps"],
                "obs_horizon": HORIZONS.0,
                "action_horizon": HORIZONS.1,
                "hand": self.about["hand"],
                "hand_columns": self.about["hand_columns"],
                "action_layout": "wrist x y z [m], rotation vector [rad], inverse(T_k) * T_k+1 in the wrist's axes at step k; 22 hand joints at k + 1 [rad]",
                "state_layout": "22 hand joints [rad], wrist x y z [m], rotation as two rows (6), 1 where measured",
                "num_chunks": self.chunks,
                "num_chunks_left_out": self.left_out,
            }),
        )
    }

    fn codec(book: &Book<'_>) -> (&'static str, String) {
        // It was chosen once already, with the same answer.
        let encoder = Encoder::choose(book.options.codec, &book.tools);
        encoder.map_or(("", String::new()), |encoder| {
            (encoder.codec, encoder.settings.to_owned())
        })
    }
}

impl EgoScale {
    fn write_episode(
        &self,
        id: &str,
        episode: &Resampled,
        hand: &HandMotion,
        (states, actions, wrists): (&[f32], &[f32], &[f32]),
    ) -> Result<(), ExportError> {
        let steps = episode.steps();
        let mut meta = Group::default();
        for (name, words) in [
            ("episode_id", id),
            ("source_episode_id", &episode.episode_id),
            ("instruction", &episode.task),
            ("embodiment_id", "sharpa"),
            ("data_source", self.source.name),
            ("active_hand", hand.side.name()),
            ("hand", &hand.hand),
        ] {
            meta.attribute(name, words);
        }
        let mut timestamps = times(
            episode,
            |k| episode.is_valid(k),
            |track| view(track).unwrap_or_default().to_owned(),
        );
        let seconds = (0..=steps)
            .map(|k| k as f64 / f64::from(episode.fps))
            .collect();
        timestamps.array("step", &[steps + 1], Numbers::F64(seconds));
        let mut signals = Group::default();
        let hand_now = states
            .chunks(STATE)
            .flat_map(|row| &row[..HAND])
            .copied()
            .collect();
        signals.array("raw_state", &[steps, STATE], Numbers::F32(states.to_vec()));
        signals.array("actions", &[steps, ACTION], Numbers::F32(actions.to_vec()));
        signals.array(
            "active_wrist_pose",
            &[steps, 4, 4],
            Numbers::F32(wrists.to_vec()),
        );
        signals.array("hand_descriptor", &[steps, HAND], Numbers::F32(hand_now));
        let mut file = Group::default();
        file.group("meta", meta);
        file.group("timestamps", timestamps);
        file.group("signals", signals);
        file.write(&self.root.join(format!("data/episodes/{id}.h5")))
    }
}

fn is_for_validation(episode: u64) -> bool {
    episode % VALIDATE_EVERY == VALIDATE_EVERY - 1
}

/// About as long as a finger is \[m\].
const FINGER_M: f64 = 0.08;

/// What the scaffold calls a camera.
fn view(track: &CameraTrack) -> Option<&'static str> {
    let known = VIEWS.iter().find(|(role, _)| *role == track.role);
    known.map(|(_, view)| *view)
}

/// The hand that acts: the one that moves more where it is measured, its wrist along its path and its
/// joints on an arm of [`FINGER_M`]; one that is measured in less than half as many steps does not act.
fn active(episode: &Resampled) -> &HandMotion {
    let measured = |hand: &HandMotion| hand.valid.iter().filter(|valid| **valid).count();
    let most = episode.hands.iter().map(measured).max().unwrap_or(0);
    let path = |hand: &HandMotion| -> f64 {
        let both = |k: &usize| hand.valid[*k] && hand.valid[k + 1];
        let step = |k: usize| {
            let (a, b) = (&hand.world_from_wrist[k], &hand.world_from_wrist[k + 1]);
            let joints = hand.joints(k).iter().zip(hand.joints(k + 1));
            let bent: f64 = joints.map(|(a, b)| (a - b).abs()).sum();
            (a.translation.vector - b.translation.vector).norm() + FINGER_M * bent
        };
        (0..hand.valid.len() - 1).filter(both).map(step).sum()
    };
    let acting = episode
        .hands
        .iter()
        .filter(|hand| 2 * measured(hand) >= most);
    // Of two that move alike, the first.
    acting
        .rev()
        .max_by(|a, b| path(a).total_cmp(&path(b)))
        .unwrap_or(&episode.hands[0])
}

/// States `[T][32]`, actions `[T][28]` and wrist poses `[T][4][4]`, row-major.
fn numbers(episode: &Resampled, hand: &HandMotion) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let steps = episode.steps();
    let joints = |k: usize| {
        let mut all = [0.0; HAND];
        all[..hand.joint_names.len()].copy_from_slice(hand.joints(k));
        all
    };
    let (mut states, mut actions, mut wrists) = (Vec::new(), Vec::new(), Vec::new());
    let push = |to: &mut Vec<f32>, values: &[f64]| to.extend(values.iter().map(|&v| v as f32));
    for k in 0..steps {
        let (now, next) = (&hand.world_from_wrist[k], &hand.world_from_wrist[k + 1]);
        push(&mut states, &joints(k));
        push(&mut states, now.translation.vector.as_slice());
        push(&mut states, &rotation_6d_rows(&now.rotation));
        push(&mut states, &[f64::from(u8::from(hand.valid[k]))]);
        let delta = now.inv_mul(next);
        push(&mut actions, delta.translation.vector.as_slice());
        push(&mut actions, delta.rotation.scaled_axis().as_slice());
        push(&mut actions, &joints(k + 1));
        // nalgebra has columns one behind the other.
        push(&mut wrists, now.to_homogeneous().transpose().as_slice());
    }
    (states, actions, wrists)
}

/// Mean, deviation and range of columns.
struct Spread {
    name: &'static str,
    count: u64,
    sum: Vec<f64>,
    squares: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
}

impl Spread {
    fn new(name: &'static str, width: usize) -> Self {
        Self {
            name,
            count: 0,
            sum: vec![0.0; width],
            squares: vec![0.0; width],
            min: vec![f64::INFINITY; width],
            max: vec![f64::NEG_INFINITY; width],
        }
    }

    fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sum.len()) {
            self.count += 1;
            for (at, &value) in row.iter().enumerate() {
                let value = f64::from(value);
                self.sum[at] += value;
                self.squares[at] += value * value;
                self.min[at] = self.min[at].min(value);
                self.max[at] = self.max[at].max(value);
            }
        }
    }

    fn to_json(&self) -> Value {
        let n = self.count.max(1) as f64;
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / n).collect();
        let std: Vec<f64> = self
            .squares
            .iter()
            .zip(&mean)
            .map(|(squares, mean)| (squares / n - mean * mean).max(0.0).sqrt().max(1e-6))
            .collect();
        json!({
            "of": self.name, "split": "train", "count": self.count,
            "mean": mean, "std": std, "min": self.min, "max": self.max,
        })
    }
}
