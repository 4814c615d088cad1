//! GR00T N1.6 and N1.7: LeRobot v2.1 with `modality.json`, statistics and statistics of relative
//! actions by step of the horizon.
//!
//! State and action are, for each hand, `<side>_wrist_eef_9d` (position and rotation as two rows; the
//! loader makes the action relative by SE(3)) and `<side>_hand` (joints; relative by subtraction). These
//! are also the names that NVIDIA's recipes for two dexterous hands (Sharpa, human data) use.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::columns::{Columns, Numbers, Relative, axes, of_poses, rows_6d};
use crate::error::ExportError;
use crate::features::write_json;
use crate::flat::eef_9d;
use crate::formats::{Episodes, Format};
use crate::model::Resampled;
use crate::options::{Options, Progress, Report};
use crate::relative::per_step;
use crate::stats::Summary;
use crate::v21::{self, Dataset};
use crate::writing::Plan;

const N17: &str = "n1.7";
const N16: &str = "n1.6";
/// Horizons of the two models; statistics are written for both.
const HORIZONS: [(&str, usize); 2] = [(N17, 40), (N16, 16)];
/// Widest state and action of N1.7.
pub(crate) const MAX_WIDTH: usize = 132;

/// The format.
pub(crate) const FORMAT: Format = Format {
    name: "gr00t",
    help: "GR00T N1.6 and N1.7: LeRobot v2.1 with modality.json, wrists as eef_9d, a configuration \
           in Python",
    variants: &[(N17, "actions of 40 steps"), (N16, "actions of 16 steps")],
    fps: 30,
    has_stills: false,
    keys: &[],
    load: "With Isaac GR00T's `LeRobotEpisodeLoader`, under `NEW_EMBODIMENT`, whose keys `new_embodiment_config.py` registers.",
    write,
};

/// Steps of an action of a variant.
fn horizon(options: &Options) -> Result<usize, ExportError> {
    let variant = FORMAT.variant(options)?;
    let found = HORIZONS.iter().find(|(name, _)| *name == variant);
    Ok(found.map_or(HORIZONS[0].1, |(_, horizon)| *horizon))
}

fn write(
    episodes: &mut Episodes<'_>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ExportError> {
    let plan = Plan {
        name: FORMAT.name,
        size: None,
        least_steps: horizon(options)?,
        columns,
    };
    v21::write(&plan, further, (episodes, out), options, progress)
}

fn columns(episode: &mut Resampled, _: &Options) -> Result<Columns, String> {
    let mut numbers = Vec::new();
    for hand in &episode.hands {
        let side = hand.side.name();
        let wrist = format!("{side}_wrist_eef_9d");
        let mut names = axes(&format!("{side}_wrist"));
        names.extend(rows_6d(&format!("{side}_wrist_rot6d")));
        let poses = of_poses(&hand.world_from_wrist, |pose| eef_9d(pose).into());
        numbers.push(Numbers::new(wrist, names, poses).relative(Relative::Pose));
        let names = hand
            .joint_names
            .iter()
            .map(|name| match name.starts_with(side) {
                true => name.clone(),
                false => format!("{side}_{name}"),
            });
        let joints = (0..hand.valid.len()).map(|k| hand.joints(k).to_vec());
        numbers.push(
            Numbers::new(format!("{side}_hand"), names.collect(), joints.collect())
                .relative(Relative::Difference),
        );
    }
    let width: usize = numbers.iter().map(|part| part.names.len()).sum();
    if width > MAX_WIDTH {
        return Err(format!(
            "state and action would be {width} numbers wide, expected at most {MAX_WIDTH}"
        ));
    }
    Ok(Columns::of(&numbers, episode.steps()))
}

fn further(dataset: &Dataset<'_>) -> Result<Vec<String>, ExportError> {
    dataset.write_modality(&dataset.views())?;
    let chosen = horizon(dataset.book.options)?;
    let mut warnings = Vec::new();
    for (model, horizon) in HORIZONS {
        match relative_stats(dataset, horizon)? {
            Some(stats) => {
                write_json(&dataset.meta(&relative_name(horizon)), &stats)?;
                if horizon == chosen {
                    write_json(&dataset.meta("relative_stats.json"), &stats)?;
                }
            }
            None => warnings.push(format!(
                "no episode has the {horizon} steps of an action of {model}: no statistics for it"
            )),
        }
    }
    dataset.write_text("new_embodiment_config.py", &config(dataset, chosen))?;
    Ok(warnings)
}

/// File in `meta/` for actions of so many steps.
pub(crate) fn relative_name(horizon: usize) -> String {
    format!("relative_stats_{horizon}.json")
}

fn relative_stats(dataset: &Dataset<'_>, horizon: usize) -> Result<Option<Value>, ExportError> {
    let mut all = Map::new();
    for part in &dataset.book.schema().columns.parts {
        let Some(steps) = per_step(&dataset.files, part, horizon)? else {
            return Ok(None);
        };
        let rows = |value: fn(&Summary) -> f64| -> Value {
            let row = |row: &Vec<Summary>| row.iter().map(value).collect::<Value>();
            steps.iter().map(row).collect()
        };
        let entry = json!({
            "max": rows(|s| s.max),
            "min": rows(|s| s.min),
            "mean": rows(|s| s.mean),
            "std": rows(|s| s.std),
            "q01": rows(|s| s.quantiles[0]),
            "q99": rows(|s| s.quantiles[4]),
        });
        all.insert(part.key.clone(), entry);
    }
    Ok(Some(Value::Object(all)))
}

/// The modality configuration for `--modality-config-path`.
fn config(dataset: &Dataset<'_>, horizon: usize) -> String {
    let parts = &dataset.book.schema().columns.parts;
    let quoted = |names: Vec<&str>| {
        let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("[{}]", names.join(", "))
    };
    let keys = quoted(parts.iter().map(|part| part.key.as_str()).collect());
    let views = dataset.views();
    let video = quoted(views.iter().map(|(name, _)| name.as_str()).collect());
    let actions: String = parts
        .iter()
        .map(|part| {
            let (kind, format) = match part.relative {
                Relative::Pose => ("EEF", "XYZ_ROT6D"),
                Relative::No | Relative::Difference => ("NON_EEF", "DEFAULT"),
            };
            format!(
                "            ActionConfig(rep=ActionRepresentation.RELATIVE, type=ActionType.{kind}, \
                 format=ActionFormat.{format}, state_key={:?}),\n",
                part.key
            )
        })
        .collect();
    format!(
        "\
\"\"\"Modality configuration of this dataset for GR00T, actions of {horizon} steps.

    python gr00t/experiment/launch_finetune.py --dataset-path DATASET \\\\
        --embodiment-tag NEW_EMBODIMENT --modality-config-path DATASET/new_embodiment_config.py

`meta/relative_stats.json` holds for {horizon} steps; for another horizon copy `meta/relative_stats_<H>.json`
over it, or remove it and let GR00T make its own. A pretrained tag for dexterous hands
(`real_r1_pro_sharpa_relative_eef` and its relatives) has its list of keys in the checkpoint's
`processor_config.json`; where it names other keys, rename those of `meta/modality.json`.
\"\"\"

from gr00t.configs.data.embodiment_configs import register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig

CONFIG = {{
    \"video\": ModalityConfig(delta_indices=[0], modality_keys={video}),
    \"state\": ModalityConfig(delta_indices=[0], modality_keys={keys}),
    \"action\": ModalityConfig(
        delta_indices=list(range({horizon})),
        modality_keys={keys},
        action_configs=[
{actions}        ],
    ),
    \"language\": ModalityConfig(delta_indices=[0], modality_keys=[\"annotation.human.task_description\"]),
}}

register_modality_config(CONFIG, embodiment_tag=EmbodimentTag.NEW_EMBODIMENT)
"
    )
}
