//! Words: what happened when, and what the episode is and lost.

use std::fmt::Write as _;

use dexumi_episode::{
    Episode, SessionTime,
    align::{Timeline, TimingMethod},
    schema::{Event, Log},
};
use rerun::EntityPath;

use crate::{error::ViewError, rrd::Rrd};

/// Entity of the log.
pub(crate) const LOG: &str = "log";
/// Entity of the document.
pub(crate) const ABOUT: &str = "about";

struct Line {
    time: SessionTime,
    level: &'static str,
    text: String,
}

/// Writes events, messages and gaps in the order of time; returns how many.
pub(crate) fn log_lines(
    rrd: &mut Rrd,
    episode: &Episode,
    timeline: &Timeline,
) -> Result<u64, ViewError> {
    let mut lines = gaps(timeline);
    for (_, event) in episode.file.read::<Event>("/events")? {
        let separator = if event.text.is_empty() { "" } else { ": " };
        lines.push(Line {
            time: SessionTime::from_nanos(event.timestamp_ns),
            level: "INFO",
            text: format!("{}{separator}{}", event.kind, event.text),
        });
    }
    for (times, message) in episode.file.read::<Log>("/log")? {
        let separator = if message.name.is_empty() { "" } else { ": " };
        lines.push(Line {
            time: times.publish_time,
            level: level(message.level),
            text: format!("{}{separator}{}", message.name, message.message),
        });
    }
    lines.sort_by_key(|line| line.time);
    let times: Vec<_> = lines.iter().map(|line| line.time).collect();
    let columns = rerun::TextLog::update_fields()
        .with_many_level(lines.iter().map(|line| line.level))
        .with_many_text(lines.iter().map(|line| line.text.as_str()))
        .columns_of_unit_batches();
    rrd.columns(&EntityPath::from(LOG), &times, columns)?;
    Ok(times.len() as u64)
}

/// Foxglove's levels by Rerun's names.
fn level(level: i32) -> &'static str {
    match level {
        1 => "DEBUG",
        3 => "WARN",
        4 => "ERROR",
        5 => "CRITICAL",
        _ => "INFO",
    }
}

/// Where a stream has no sample for longer than is interpolated across.
fn gaps(timeline: &Timeline) -> Vec<Line> {
    let joints = timeline.joints.iter();
    let joints = joints.map(|(side, joints)| (format!("/exo/{side}/encoders"), &joints.rows));
    let force = timeline.force.iter();
    let force = force.map(|(stream, track)| (stream.clone(), &track.times));
    let poses = timeline.poses.iter();
    let poses = poses.map(|(name, track)| (format!("/tracker/{name}/pose"), &track.times));
    let mut lines = Vec::new();
    for (stream, times) in joints.chain(force).chain(poses) {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            if gap > timeline.max_gap {
                lines.push(Line {
                    time: pair[0],
                    level: "WARN",
                    text: format!("{stream}: no sample for {:.3} s", gap.secs_f64()),
                });
            }
        }
    }
    lines
}

/// Writes what the episode is, its streams, its losses, and what is not shown.
pub(crate) fn log_about(
    rrd: &mut Rrd,
    episode: &Episode,
    timeline: &Timeline,
    notes: &[String],
) -> Result<(), ViewError> {
    let text = about(episode, timeline, notes);
    rrd.fixed(
        &EntityPath::from(ABOUT),
        &rerun::TextDocument::from_markdown(text),
    )
}

fn about(episode: &Episode, timeline: &Timeline, notes: &[String]) -> String {
    let info = &episode.info;
    let mut text = format!("## Episode {}: {}\n\n", info.number, info.task);
    let mut line = |line: String| writeln!(text, "{line}").expect("a string always has room");
    line(format!(
        "{:.1} s · operator {} · rig {} · {} · {}\n",
        episode.duration_s(),
        info.operator,
        info.rig,
        info.hand,
        info.software
    ));
    if episode.recovered.is_some() {
        line("**Recovered**: the recording was cut off; its end is missing.\n".to_owned());
    }
    line("| stream | rate | written | lost | suspect | missing | gaps | clock |".to_owned());
    line("|:--|--:|--:|--:|--:|--:|--:|:--|".to_owned());
    for (stream, report) in &timeline.report {
        let ledger = episode.ledger.get(stream).cloned().unwrap_or_default();
        let clock = match report.timing {
            TimingMethod::DeviceClock => format!(
                "own, {:+.0} ppm, ±{:.2} ms",
                report.skew_ppm,
                report.bound_s * 1e3
            ),
            TimingMethod::KernelStamp => {
                format!("the kernel's, jitter {:.2} ms", report.bound_s * 1e3)
            }
            TimingMethod::Period => {
                format!("its steady rate, ±{:.2} ms", report.bound_s * 1e3)
            }
            TimingMethod::Arrival => "arrival".to_owned(),
        };
        line(format!(
            "| {stream} | {:.1} Hz | {} | {} | {} | {} | {} | {clock} |",
            report.rate_hz,
            report.samples,
            ledger.lost(),
            ledger.suspect,
            ledger.missing,
            report.gaps
        ));
    }
    let losses: Vec<String> = episode
        .ledger
        .iter()
        .flat_map(|(stream, ledger)| {
            let items = ledger.losses.iter();
            items.map(move |(kind, count)| format!("- {stream}: {count} × {kind}"))
        })
        .collect();
    line("\n### Losses\n".to_owned());
    match losses.is_empty() {
        true => line("None: all that was received is in the file.".to_owned()),
        false => line(losses.join("\n")),
    }
    if !notes.is_empty() {
        line("\n### Not shown, or not as usual\n".to_owned());
        for note in notes {
            line(format!("- {note}"));
        }
    }
    line(format!(
        "\nCurves break, and the log says so, where no sample came for {:.0} ms.",
        timeline.max_gap.secs_f64() * 1e3
    ));
    text
}
