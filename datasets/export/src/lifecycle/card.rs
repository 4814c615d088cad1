//! The dataset's card: `README.md`, for whoever finds the dataset without us, and `statistics.svg`.
//!
//! Both lie beside the data's folders, where no loader looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::manifest::{Entry, Manifest};
use super::plots;
use crate::error::ExportError;
use crate::formats::format;
use crate::options::CameraReport;
use crate::verify::json;

/// The card: who has the dataset may write more into it.
pub const CARD_FILE: &str = "README.md";
/// Its plots.
pub(crate) const PLOTS_FILE: &str = "statistics.svg";
/// Longest lists of the card.
const MOST: usize = 50;

/// Writes the card of the dataset in `root`, whose files are all there but the manifest.
pub(super) fn write(
    root: &Path,
    manifest: &Manifest,
    cameras: &[CameraReport],
    warnings: &[String],
) -> Result<(), ExportError> {
    let read = |name: &str| -> Option<Value> { json(&root.join(name)).ok() };
    let info = read("meta/info.json");
    let state = read("meta/stats.json").map(|stats| stats["observation.state"].clone());
    let names = info
        .as_ref()
        .map(|info| info["features"]["observation.state"]["names"].clone());
    let steps: Vec<u64> = manifest.episodes.iter().map(|entry| entry.steps).collect();
    let columns = state.zip(names);
    let picture = plots::draw(&steps, manifest.fps, columns.as_ref());
    let text = card(manifest, cameras, warnings, info.as_ref())?;
    for (name, content) in [(CARD_FILE, text), (PLOTS_FILE, picture)] {
        let path = root.join(name);
        std::fs::write(&path, content).map_err(ExportError::io("write", path))?;
    }
    Ok(())
}

fn card(
    manifest: &Manifest,
    cameras: &[CameraReport],
    warnings: &[String],
    info: Option<&Value>,
) -> Result<String, ExportError> {
    let format = format(&manifest.format)?;
    let license = manifest.configuration.license.as_deref();
    let mut card = String::new();
    // Tables that the Hub can show are in LeRobot's layouts alone.
    if info.is_some_and(|info| !info["features"].is_null()) {
        card += &front_matter(manifest, license);
    }
    let episodes = &manifest.episodes;
    let _ = writeln!(
        card,
        "# {} episode{} of {}\n\n{}\n",
        episodes.len(),
        if episodes.len() == 1 { "" } else { "s" },
        manifest.robot_type,
        format.help
    );
    card += &summary(manifest, cameras, license.unwrap_or("not stated"));
    card += "\n## Tasks\n\n| task | episodes | minutes |\n|---|---|---|\n";
    let minutes = |steps: u64| steps as f64 / f64::from(manifest.fps.max(1)) / 60.0;
    let tasks = count(episodes, |entry| Some(entry.task.clone()));
    for (task, (number, steps)) in tasks.iter().take(MOST) {
        let _ = writeln!(
            card,
            "| {} | {number} | {:.1} |",
            cell(task),
            minutes(*steps)
        );
    }
    card += &rest(tasks.len());
    card += &grades(episodes, minutes);
    card += &motion(episodes);
    let keys: Vec<_> = keys(info)
        .into_iter()
        .chain(own_keys(format.keys))
        .collect();
    if !keys.is_empty() {
        card += "\n## Keys\n\n| key | what |\n|---|---|\n";
    }
    for (key, what) in &keys {
        let _ = writeln!(card, "| `{key}` | {} |", cell(what));
    }
    let _ = writeln!(
        card,
        "\n## Statistics\n\n![Lengths and ranges]({PLOTS_FILE})"
    );
    if !warnings.is_empty() {
        card += "\n## Before training\n\n";
        for warning in warnings {
            let _ = writeln!(card, "- {warning}");
        }
    }
    let _ = writeln!(card, "\n## How to load it\n\n{}", format.load);
    card += &provenance(manifest);
    Ok(card)
}

/// What the Hugging Face Hub reads.
fn front_matter(manifest: &Manifest, license: Option<&str>) -> String {
    format!(
        "---\nlicense: {}\ntask_categories:\n- robotics\ntags:\n- LeRobot\n- dexumi\n- {}\n\
         configs:\n- config_name: default\n  data_files: data/*/*.parquet\n---\n\n",
        serde_json::json!(license.unwrap_or("unknown").to_lowercase()),
        manifest.format
    )
}

fn summary(manifest: &Manifest, cameras: &[CameraReport], license: &str) -> String {
    let steps: u64 = manifest.episodes.iter().map(|entry| entry.steps).sum();
    let hours = steps as f64 / f64::from(manifest.fps.max(1)) / 3600.0;
    let rigs = count(&manifest.episodes, |entry| {
        Some(entry.origin.as_ref()?.rig.clone())
    });
    let rigs: Vec<&str> = rigs.keys().map(String::as_str).collect();
    let cameras: Vec<String> = cameras
        .iter()
        .map(|camera| format!("{} {}x{}", camera.name, camera.size.0, camera.size.1))
        .collect();
    let or_none = |words: String| {
        if words.is_empty() {
            "none known".to_owned()
        } else {
            words
        }
    };
    let variant = &manifest.configuration.variant;
    let variant = if variant.is_empty() {
        String::new()
    } else {
        format!(", variant {variant}")
    };
    let rows = [
        ("format", format!("{}{variant}", manifest.format)),
        ("episodes", manifest.episodes.len().to_string()),
        ("steps", format!("{steps}, {} a second", manifest.fps)),
        ("hours", format!("{hours:.3}")),
        ("rig", or_none(rigs.join(", "))),
        ("hands", manifest.robot_type.replace('+', ", ")),
        ("cameras", or_none(cameras.join(", "))),
        (
            "images",
            format!("{}, {}", manifest.codec, manifest.encoder),
        ),
        ("licence", license.to_owned()),
    ];
    let mut table = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(table, "| {name} | {} |", cell(&value));
    }
    table
}

fn grades(episodes: &[Entry], minutes: impl Fn(u64) -> f64) -> String {
    let mut text = String::from("\n## Quality\n\n");
    let judged = count(episodes, |entry| entry.grade.clone());
    if judged.is_empty() {
        return text + "Not judged.\n";
    }
    text += "Grades of the recordings, A best; each is that of its worst figure.\n\n\
             | grade | episodes | minutes |\n|---|---|---|\n";
    for (grade, (number, steps)) in &judged {
        let _ = writeln!(text, "| {grade} | {number} | {:.1} |", minutes(*steps));
    }
    let tags = episodes.iter().flat_map(|entry| &entry.tags);
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for tag in tags {
        *found.entry(tag).or_default() += 1;
    }
    if !found.is_empty() {
        text += "\n| found | episodes |\n|---|---|\n";
        for (tag, number) in found.iter().take(MOST) {
            let _ = writeln!(text, "| {tag} | {number} |");
        }
        text += &rest(found.len());
    }
    let mut unknown: BTreeMap<&str, u64> = BTreeMap::new();
    for what in episodes.iter().flat_map(|entry| &entry.not_measured) {
        *unknown.entry(what).or_default() += 1;
    }
    if !unknown.is_empty() {
        text += "\n| could not be measured | episodes |\n|---|---|\n";
        for (what, number) in unknown.iter().take(MOST) {
            let _ = writeln!(text, "| {} | {number} |", cell(what));
        }
        text += &rest(unknown.len());
    }
    text
}

/// How the motion of each hand was made, and how well.
fn motion(episodes: &[Entry]) -> String {
    #[derive(Default)]
    struct Sum {
        episodes: u64,
        samples: u64,
        clipped: u64,
        held: u64,
        tip_error_p95_m: Option<f64>,
    }
    let mut all: BTreeMap<(&str, String), Sum> = BTreeMap::new();
    let each = episodes.iter().filter_map(|entry| entry.origin.as_ref());
    for made in each.flat_map(|origin| &origin.motion) {
        let sum = all.entry((&made.hand, words(&made.method))).or_default();
        sum.episodes += 1;
        sum.samples += made.samples;
        sum.clipped += made.clipped;
        sum.held += made.held;
        sum.tip_error_p95_m = match (sum.tip_error_p95_m, made.tip_error_p95_m) {
            (Some(a), Some(b)) => Some(f64::max(a, b)),
            (a, b) => a.or(b),
        };
    }
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Motion\n\nHow the hands' motion was made. Clipped: at a limit of position or speed, or cut short to \
         keep links apart. Held: the sample showed no hand. Tip error: distance of fingertips from where they were \
         asked to be, the largest 95th percentile of an episode.\n\n\
         | hand | how | episodes | samples | clipped | held | tip error |\n|---|---|---|---|---|---|---|\n",
    );
    for ((hand, how), sum) in &all {
        let error = sum.tip_error_p95_m;
        let _ = writeln!(
            text,
            "| {hand} | {} | {} | {} | {} | {} | {} |",
            cell(how),
            sum.episodes,
            sum.samples,
            sum.clipped,
            sum.held,
            error.map_or_else(|| "-".to_owned(), |error| format!("{:.1} mm", 1e3 * error))
        );
    }
    text
}

/// A method of retargeting for people.
fn words(method: &Value) -> String {
    if method["source"] == "exoskeleton" {
        return "joints of the exoskeleton, one for one".to_owned();
    }
    let follow = method["follow"].as_str().map(serde_json::from_str::<Value>);
    let Some(Ok(Value::Object(follow))) = follow else {
        return "not stated".to_owned();
    };
    let each = follow.iter().filter(|(_, value)| !value.is_null());
    let each: Vec<String> = each
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name} {text}"),
            None => format!("{name} {value}"),
        })
        .collect();
    format!("keypoints: {}", each.join(", "))
}

/// Episodes and steps of each kind.
fn count(
    episodes: &[Entry],
    kind: impl Fn(&Entry) -> Option<String>,
) -> BTreeMap<String, (u64, u64)> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for entry in episodes {
        if let Some(kind) = kind(entry) {
            let (number, steps) = found.entry(kind).or_default();
            *number += 1;
            *steps += entry.steps;
        }
    }
    found
}

fn rest(length: usize) -> String {
    match length.checked_sub(MOST) {
        None | Some(0) => String::new(),
        Some(more) => format!("\nand {more} more.\n"),
    }
}

/// Keys of a LeRobot layout, as its description has them.
fn keys(info: Option<&Value>) -> Vec<(String, String)> {
    let features = info.and_then(|info| info["features"].as_object());
    let each = features.into_iter().flatten().map(|(name, feature)| {
        let kind = feature["dtype"].as_str().unwrap_or_default();
        let shape: Vec<String> = feature["shape"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        let names = feature["names"].as_array().filter(|_| kind != "video");
        let names: Vec<&str> = names
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let names = match names.len() {
            2.. => format!(": {}", names.join(", ")),
            _ => String::new(),
        };
        let what = format!("{kind} [{}], {}{names}", shape.join(", "), meaning(name));
        (name.clone(), what)
    });
    each.collect()
}

/// Unit and frame of a column.
fn meaning(name: &str) -> &'static str {
    let begins = |prefix: &str| name.starts_with(prefix);
    match name {
        "observation.state" => {
            "measured at the step: wrists in the tracker's world (metres; rotations as named), joints in \
             radians"
        }
        "action" => "the state one step later: an absolute target that was reached, same units",
        "timestamp" => "seconds since the episode's first step, rounded up",
        "frame_index" => "step in the episode",
        "episode_index" => "episode",
        "index" => "step in the dataset",
        "task_index" | "annotation.task" => "the task's place in the table of tasks",
        "annotation.subtask" => "the subtask's place in the table of tasks, else the task's",
        "observation.valid" => "whether each part of the step was measured, else it is held",
        "grid_time_ns" => "when the step is, nanoseconds since 1970",
        _ if begins("capture_time_ns") => "when the step's image was taken, nanoseconds since 1970",
        _ if begins("observation.force") => "fingertip force in raw counts, the sensor's own axes",
        _ if begins("observation.keypoints") => "hand keypoints in metres, the glove's own axes",
        _ if begins("observation.images") => "one image a step",
        _ => "as the recording has it",
    }
}

fn own_keys(keys: &[(&str, &str)]) -> Vec<(String, String)> {
    keys.iter()
        .map(|(key, what)| ((*key).to_owned(), (*what).to_owned()))
        .collect()
}

fn provenance(manifest: &Manifest) -> String {
    let mut text = format!(
        "\n## Where it comes from\n\nWritten by {} with ffmpeg {}. `manifest.json` lists every recording and \
         every file by hash, and all that was chosen:\n\n```json\n{}\n```\n",
        manifest.software,
        manifest.ffmpeg,
        serde_json::to_string_pretty(&manifest.configuration).unwrap_or_default()
    );
    let sessions = count(&manifest.episodes, |entry| {
        let path = &entry.origin.as_ref()?.path;
        Some(path.parent()?.display().to_string())
    });
    if !sessions.is_empty() {
        text += "\n| recordings in | episodes |\n|---|---|\n";
        for (session, (number, _)) in sessions.iter().take(MOST) {
            let _ = writeln!(text, "| {} | {number} |", cell(session));
        }
        text += &rest(sessions.len());
    }
    let left_out = &manifest.left_out;
    if !left_out.is_empty() {
        let _ = writeln!(text, "\n{} recordings were left out:\n", left_out.len());
        for rejected in left_out.iter().take(MOST) {
            let _ = writeln!(text, "- {}", rejected.why);
        }
        text += &rest(left_out.len());
    }
    text + "\n`dexumi verify` checks the dataset, `dexumi rebuild` writes it once more from its recordings.\n"
}

/// Words that keep to a cell of a table.
fn cell(words: &str) -> String {
    words.replace('|', "\\|").replace('\n', " ")
}
