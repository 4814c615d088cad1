//! DreamZero: LeRobot v2.1 with GEAR metadata.
//!
//! State and action are, for each hand, the wrist's position and the hand's joints (both made relative
//! to the state by the loader, number by number) and the wrist's rotation as two rows (absolute). All
//! views have one size and stand in the order head, left wrist, right wrist.

use std::path::Path;

use serde_json::{Value, json};

use crate::columns::{Columns, Numbers, Part, Relative, axes, of_poses, rows_6d};
use crate::error::ExportError;
use crate::features::write_json;
use crate::fingers::{SIX, first_joints};
use crate::flat::rotation_6d_rows;
use crate::formats::{Episodes, Format};
use crate::model::{CameraRole, HandMotion, Resampled};
use crate::options::{Options, Progress, Report};
use crate::relative::pooled;
use crate::v21::{self, Dataset, Jsonl, six};
use crate::writing::Plan;

/// Widest action that the shipped model takes.
pub(crate) const MAX_ACTION: usize = 32;
/// Widest state that the shipped configurations take; a wider one is cut without a word.
pub(crate) const MAX_STATE: usize = 64;
/// Steps of an action chunk.
pub(crate) const HORIZON: usize = 24;
/// A chunk, its closing image, and one step more.
pub(crate) const LEAST_STEPS: usize = 26;

const FULL: &str = "full";
const REDUCED: &str = "reduced";
const WIDE: &str = "wide";

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "dreamzero",
    help: "DreamZero: LeRobot v2.1 with GEAR metadata, equal views head, left, right wrist",
    variants: &[
        (
            FULL,
            "all joints; refused where the action is wider than 32 numbers",
        ),
        (
            REDUCED,
            "two joints of the thumb and one of each other finger",
        ),
        (
            WIDE,
            "all joints, whatever the width; the model's max_action_dim must be raised",
        ),
    ],
    fps: 30,
    has_stills: false,
    keys: &[],
    load: "With DreamZero's trainer, by the data configuration `dreamzero.yaml`; `DREAMZERO.md` says where it goes.",
    write,
};

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    FORMAT.variant(options)?;
    let plan = Plan {
        name: FORMAT.name,
        size: Some((320, 176)),
        least_steps: LEAST_STEPS,
        columns,
    };
    v21::write(&plan, further, (episodes, out), options, progress)
}

fn columns(episode: &mut Resampled, options: &Options) -> Result<Columns, String> {
    let variant = FORMAT.variant(options).map_err(|error| error.to_string())?;
    let texts = episode.subtasks.iter().map(|subtask| subtask.text.as_str());
    if let Some(text) = texts
        .chain([episode.task.as_str()])
        .find(|text| is_literal(text))
    {
        return Err(format!(
            "the sentence {text:?} would be read as a Python value by the trainer; begin it with a word"
        ));
    }
    let mut warnings = Vec::new();
    episode.cameras.retain(|camera| {
        let keeps = camera.role != CameraRole::Other;
        if !keeps {
            warnings.push(format!(
                "camera {:?} is neither at the head nor at a wrist and is left out",
                camera.name
            ));
        }
        keeps
    });
    if episode.cameras.is_empty() {
        return Err("no camera of the head or a wrist, expected one to three".into());
    }
    let mut numbers = Vec::new();
    for hand in &episode.hands {
        numbers.extend(of_hand(hand, variant)?);
    }
    let width: usize = numbers.iter().map(|part| part.names.len()).sum();
    if width > MAX_ACTION && variant != WIDE {
        return Err(format!(
            "the action would be {width} numbers wide, expected at most {MAX_ACTION}; take --variant \
             {REDUCED}, or --variant {WIDE} and raise max_action_dim to {width}"
        ));
    }
    if width > MAX_STATE {
        warnings.push(format!(
            "the state is {width} numbers wide: raise max_state_dim above {MAX_STATE}, else the rest is \
             cut without a word"
        ));
    }
    let mut columns = Columns::of(&numbers, episode.steps());
    columns.warnings = warnings;
    Ok(columns)
}

fn of_hand(hand: &HandMotion, variant: &str) -> Result<[Numbers; 3], String> {
    let side = hand.side.name();
    let kept: Vec<usize> = match variant {
        REDUCED => first_joints(hand, &SIX)?.concat(),
        _ => (0..hand.joint_names.len()).collect(),
    };
    let joints = |k| kept.iter().map(|&at| hand.joints(k)[at]).collect();
    let position = format!("{side}_wrist_pos");
    let rotation = format!("{side}_wrist_rot6d");
    Ok([
        Numbers::new(
            position.clone(),
            axes(&position),
            of_poses(&hand.world_from_wrist, |pose| {
                pose.translation.vector.iter().copied().collect()
            }),
        )
        .relative(Relative::Difference),
        Numbers::new(
            rotation.clone(),
            rows_6d(&rotation),
            of_poses(&hand.world_from_wrist, |pose| {
                rotation_6d_rows(&pose.rotation).into()
            }),
        )
        .rotation("rotation_6d"),
        Numbers::new(
            format!("{side}_hand"),
            kept.iter()
                .map(|&at| format!("{side}_{}", hand.joint_names[at]))
                .collect(),
            (0..hand.valid.len()).map(joints).collect(),
        )
        .relative(Relative::Difference),
    ])
}

/// Whether the trainer, which evaluates captions that parse as a Python literal, would take this for
/// one.
pub(crate) fn is_literal(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(['[', '(', '{', '"', '\''])
        || text.parse::<f64>().is_ok()
        || matches!(text, "None" | "True" | "False")
}

/// The embodiment tag that the model's collator knows for as many views.
fn tag(views: usize) -> &'static str {
    if views > 1 { "xdof" } else { "mecka_hands" }
}

/// The model is told by their places in one picture which view is which hand's: the first above, the second
/// below on the left, the third on the right. What is wrong with that where only a right wrist has a
/// camera; dreamzero_cotrain.py, commit ab790c1.
fn misplaced(views: &[(String, String)]) -> Option<String> {
    let has = |role: CameraRole| views.iter().any(|(name, _)| name == role.name());
    (has(CameraRole::RightWrist) && !has(CameraRole::LeftWrist)).then(|| {
        "only the right wrist has a camera: DreamZero puts the second view at the left hand's place, and its \
         prompt says so; change that sentence for this dataset (DREAMZERO.md says where)"
            .to_owned()
    })
}

fn further(dataset: &Dataset<'_>) -> Result<Vec<String>, ExportError> {
    let (book, schema) = (dataset.book, dataset.book.schema());
    let views: Vec<(String, String)> = book
        .cameras
        .iter()
        .map(|camera| (camera.role.to_owned(), camera.key.clone()))
        .collect();
    dataset.write_modality(&views)?;
    let tag = tag(views.len());
    let embodiment = json!({"robot_type": schema.robot_type, "embodiment_tag": tag});
    write_json(&dataset.meta("embodiment.json"), &embodiment)?;
    let mut relative = serde_json::Map::new();
    for part in &schema.columns.parts {
        // Of rotations as well, which stay absolute unless who trains lists them: without an entry the
        // trainer would take the absolute statistics and not say so.
        let part = &Part {
            relative: Relative::Difference,
            ..part.clone()
        };
        if let Some(summaries) = pooled(&dataset.files, part, HORIZON)? {
            relative.insert(part.key.clone(), six(&summaries));
        }
    }
    write_json(
        &dataset.meta("relative_stats_dreamzero.json"),
        &Value::Object(relative),
    )?;
    let mut warnings = Vec::new();
    if let Some(words) = misplaced(&views) {
        warnings.push(words);
    }
    let invalid: usize = dataset.invalid.iter().map(Vec::len).sum();
    if invalid > 0 {
        // Where the file is there, the loader wants every episode in it.
        let mut filter = Jsonl::create(dataset.meta("step_filter.jsonl"))?;
        for (number, steps) in dataset.invalid.iter().enumerate() {
            filter.add(&json!({"episode_index": number, "step_indices": steps}))?;
        }
        filter.finish()?;
        warnings.push(format!(
            "{invalid} steps hold a cell over a gap; meta/step_filter.jsonl keeps training from \
             beginning there"
        ));
    }
    dataset.write_text("dreamzero.yaml", &yaml(dataset, &views, tag))?;
    dataset.write_text("DREAMZERO.md", &places(dataset, &views, tag))?;
    Ok(warnings)
}

/// A data configuration for the trainer.
fn yaml(dataset: &Dataset<'_>, views: &[(String, String)], tag: &str) -> String {
    let schema = dataset.book.schema();
    let parts = &schema.columns.parts;
    let list = |indent: &str, items: &mut dyn Iterator<Item = String>| -> String {
        items.map(|item| format!("{indent}- {item}\n")).collect()
    };
    let video = || views.iter().map(|(name, _)| format!("video.{name}"));
    let keys = |of: &str| {
        parts
            .iter()
            .map(|part| format!("{of}.{}", part.key))
            .collect::<Vec<_>>()
    };
    let modes = |of: &str| -> String {
        let each = keys(of).into_iter();
        each.map(|key| format!("          {key}: q99\n")).collect()
    };
    let relative = parts.iter().filter(|part| part.relative != Relative::No);
    let relative = list("  ", &mut relative.map(|part| part.key.clone()));
    let indices = |count: usize| {
        (0..count)
            .map(|k| k.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let width = parts.last().map_or(0, |part| part.end);
    let config = format!("modality_config_{tag}");
    format!(
        "\
# @package _global_
# Data configuration of this dataset for DreamZero: copy it to
# groot/vla/configs/data/dreamzero/dexumi_relative.yaml and train with
#   data=dreamzero/dexumi_relative dexumi_data_root=... num_views={views_count}
# Made for embodiment tag `{tag}`, action {width} wide (model: max_action_dim, 32 as shipped).

defaults:
  - dreamzero/base_48_wan_fine_aug_relative
  - _self_

max_state_dim: {max_state}
max_action_dim: {max_action}
action_horizon: {HORIZON}
image_resolution_width: 320
image_resolution_height: 176
use_global_metadata: false
relative_action: true
relative_action_per_horizon: false
relative_action_keys:
{relative}max_chunk_size: 4
dataset_shard_sampling_rate: 0.1
mixture_dataset_cls: groot.vla.data.dataset.lerobot_sharded.ShardedLeRobotMixtureDataset.from_mixture_spec
single_dataset_cls: groot.vla.data.dataset.lerobot_sharded.ShardedLeRobotSubLangSingleActionChunkDatasetDROID
dexumi_data_root: ???

{config}:
  video:
    _target_: groot.vla.data.dataset.ModalityConfig
    delta_indices: [{frames}]
    eval_delta_indices: [0]
    modality_keys:
{video_keys}  state:
    _target_: groot.vla.data.dataset.ModalityConfig
    delta_indices: [0]
    modality_keys:
{state_keys}  action:
    _target_: groot.vla.data.dataset.ModalityConfig
    delta_indices: [{actions}]
    modality_keys:
{action_keys}  language:
    _target_: groot.vla.data.dataset.ModalityConfig
    delta_indices: [0]
    modality_keys:
      - annotation.subtask

transform_{tag}:
  _target_: groot.vla.data.transform.ComposedModalityTransform
  transforms:
    - _target_: groot.vla.data.transform.VideoToTensor
      apply_to: ${{{config}.video.modality_keys}}
    - _target_: groot.vla.data.transform.VideoCrop
      apply_to: ${{{config}.video.modality_keys}}
      scale: 0.95
      mode: random
    - _target_: groot.vla.data.transform.VideoResize
      apply_to: ${{{config}.video.modality_keys}}
      height: ${{image_resolution_height}}
      width: ${{image_resolution_width}}
      interpolation: linear
    - _target_: groot.vla.data.transform.VideoColorJitter
      apply_to: ${{{config}.video.modality_keys}}
      brightness: 0.3
      contrast: 0.4
      saturation: 0.5
      hue: 0.08
    - _target_: groot.vla.data.transform.VideoToNumpy
      apply_to: ${{{config}.video.modality_keys}}
    - _target_: groot.vla.data.transform.StateActionToTensor
      apply_to: ${{{config}.state.modality_keys}}
    - _target_: groot.vla.data.transform.StateActionTransform
      apply_to: ${{{config}.state.modality_keys}}
      normalization_modes:
{state_modes}    - _target_: groot.vla.data.transform.StateActionToTensor
      apply_to: ${{{config}.action.modality_keys}}
    - _target_: groot.vla.data.transform.StateActionTransform
      apply_to: ${{{config}.action.modality_keys}}
      normalization_modes:
{action_modes}    - _target_: groot.vla.data.transform.ConcatTransform
      video_concat_order: ${{{config}.video.modality_keys}}
      state_concat_order: ${{{config}.state.modality_keys}}
      action_concat_order: ${{{config}.action.modality_keys}}
    - ${{model_specific_transform}}

modality_configs:
  {tag}: ${{{config}}}
transforms:
  {tag}: ${{transform_{tag}}}
metadata_versions:
  {tag}: '0221'
fps:
  {tag}: {fps}

train_dataset:
  _target_: ${{mixture_dataset_cls}}
  _convert_: object
  mixture_spec:
    - dataset_path:
        {tag}:
          - ${{dexumi_data_root}}
      dataset_weight: 1.0
      distribute_weights: true
  dataset_class: ${{single_dataset_cls}}
  all_modality_configs: ${{modality_configs}}
  all_transforms: ${{transforms}}
  metadata_versions: ${{metadata_versions}}
  fps: ${{fps}}
  dataset_kwargs:
    video_backend: decord
    use_global_metadata: ${{use_global_metadata}}
    max_chunk_size: ${{max_chunk_size}}
    relative_action: ${{relative_action}}
    relative_action_keys: ${{relative_action_keys}}
    relative_action_per_horizon: ${{relative_action_per_horizon}}
  mixture_kwargs:
    training: true
    balance_dataset_weights: false
    seed: 42
    shard_sampling_rate: ${{dataset_shard_sampling_rate}}
",
        views_count = views.len(),
        max_state = MAX_STATE.max(width),
        max_action = MAX_ACTION.max(width),
        frames = indices(25),
        actions = indices(HORIZON),
        video_keys = list("      ", &mut video()),
        state_keys = list("      ", &mut keys("state").into_iter()),
        action_keys = list("      ", &mut keys("action").into_iter()),
        state_modes = modes("state"),
        action_modes = modes("action"),
        fps = schema.fps,
    )
}

/// What has to be touched in the trainer.
fn places(dataset: &Dataset<'_>, views: &[(String, String)], tag: &str) -> String {
    let width = dataset
        .book
        .schema()
        .columns
        .parts
        .last()
        .map_or(0, |part| part.end);
    let wide = match width > MAX_ACTION {
        true => format!(
            "\nThe action is {width} numbers wide, more than the {MAX_ACTION} of the released model: \
             `max_action_dim: {width}` makes new first and last layers that the checkpoint does not fill.\n"
        ),
        false => String::new(),
    };
    let placed = match misplaced(views) {
        Some(_) => {
            "\nThere is no camera on the left wrist, so that the second view, which the prompt calls the left hand's, is \
             that of the right wrist: in the collator's branch of this tag, say so in the prompt.\n"
        }
        None => "",
    };
    let views = views.len();
    format!(
        "\
# Training DreamZero on this dataset

`meta/embodiment.json` says `{tag}`: a tag that the trainer's collator knows for {views} view(s), so that
nothing but the data configuration is new. Copy `dreamzero.yaml` to
`groot/vla/configs/data/dreamzero/dexumi_relative.yaml`.
{placed}{wide}
A tag of its own has to be added in all of these places, else training ends with a KeyError or a
ValueError:

1. `groot/vla/data/schema/embodiment_tags.py`: the enumeration.
2. `scripts/data/convert_lerobot_to_gear.py`: the list of tags, if that script is used. It must not run
   with `--force` here: it would replace `meta/tasks.jsonl`, and the language would be lost.
3. The data configuration: `modality_configs`, `transforms`, `metadata_versions` and `fps`.
4. `groot/vla/configs/model/dreamzero/transform/base.yaml`: `embodiment_tag_to_projector_index`.
5. `groot/vla/model/dreamzero/transform/dreamzero_cotrain.py`: the branches of the collator, which raise
   for every tag that they do not name, and describe the views in the prompt.

Rotations (`*_wrist_rot6d`, the first two rows of the matrix) stay absolute: leave them out of
`relative_action_keys`, since the trainer subtracts number by number. Language is the column
`annotation.subtask`; a sample never crosses from one sentence to another.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_that_python_would_evaluate_are_told() {
        for text in ["[pick]", "('a')", "\"pick\"", "12", "None", " {}"] {
            assert!(is_literal(text), "{text}");
        }
        assert!(!is_literal("pick up the [red] cup"));
    }
}
