//! What came of it, as a table and as JSON.

use dexumi_retarget::{
    ArmFigures, HANDS_NEAR_M, HandsApart, RetargetReport, Source, arm_flag_names,
};
use serde_json::{Value, json};

use super::{Done, Outcome};

/// Names of the columns after the input's, with their units.
pub const HEAD: [&str; 13] = [
    "steps",
    "held",
    "gaps",
    "clipped",
    "limit",
    "speed",
    "collision",
    "tip mm",
    "p95 mm",
    "pinch mm",
    "jitter rad²",
    "p50 µs",
    "p99 µs",
];

/// The cells after the input's name.
pub fn cells(report: &RetargetReport) -> [String; 13] {
    let figures = &report.figures;
    let millis = |value: Option<f64>| value.map_or("-".to_owned(), |m| format!("{:.1}", m * 1e3));
    let micros = |seconds: f64| format!("{:.1}", seconds * 1e6);
    [
        figures.steps.to_string(),
        figures.held.to_string(),
        report.gaps.to_string(),
        figures.clipped.to_string(),
        figures.at_limit.to_string(),
        figures.at_speed.to_string(),
        figures.collision_clipped.to_string(),
        millis(figures.tip_error_mean_m),
        millis(figures.tip_error_p95_m),
        millis(figures.pinch_gap_mean_m),
        figures
            .jitter_rad2
            .map_or("-".to_owned(), |jitter| format!("{jitter:.2e}")),
        micros(figures.step_time_p50_s),
        micros(figures.step_time_p99_s),
    ]
}

/// What a report says besides its figures, in words.
pub fn remarks(report: &RetargetReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if report.reused {
        remarks.push("unchanged, kept".to_owned());
    }
    if report.source == Source::Keypoints {
        remarks.push(if report.turned {
            "points turned into the hand axes that they show".to_owned()
        } else {
            "points taken along the axes given".to_owned()
        });
    }
    if let Some(rms) = report.residual_rms_rad {
        remarks.push(format!("asked minus given {:.3}° rms", rms.to_degrees()));
    }
    if report.left_out > 0 {
        remarks.push(format!(
            "{} samples suspect or out of order, left out",
            report.left_out
        ));
    }
    if report.poses_rejected > 0 {
        remarks.push(format!("{} wrist poses refused", report.poses_rejected));
    }
    if let Some(arm) = &report.arm {
        remarks.push(arm_remark(arm));
    }
    remarks
}

/// How near two hands come, in words.
pub fn apart_remark(apart: &HandsApart) -> String {
    let near = match apart.first_near_s {
        Some(first_s) => format!(
            "{} of {} steps below {:.0} mm, the first at {first_s:.2} s",
            apart.near,
            apart.steps,
            HANDS_NEAR_M * 1e3
        ),
        None => format!("no step below {:.0} mm", HANDS_NEAR_M * 1e3),
    };
    format!(
        "hands {:.1} mm apart at least, at {:.2} s, {near}",
        apart.least_m * 1e3,
        apart.least_at_s
    )
}

/// What an arm makes of it, in words.
fn arm_remark(arm: &ArmFigures) -> String {
    let found = &arm.report;
    let flags: Vec<String> = found
        .flags
        .iter()
        .filter(|flag| flag.steps > 0)
        .map(|flag| format!("{} {}", flag.steps, flag.flag))
        .collect();
    let first = match (arm.first_bad_s, found.first_bad) {
        (Some(seconds), Some(bad)) => {
            let names: Vec<_> = arm_flag_names(bad.flags).collect();
            format!(
                "first bad at {seconds:.2} s ({}), in all {}",
                names.join(", "),
                flags.join(", ")
            )
        }
        _ => "every step good".to_owned(),
    };
    let [x, y, z] = arm.base_position_m;
    let searched = if arm.searched {
        "searched"
    } else {
        "from the rig"
    };
    format!(
        "arm {}: {:.1} % of poses reachable, {first}; base at {x:.2} {y:.2} {z:.2} m ({searched})",
        found.arm, found.reachable_percent
    )
}

/// The input's name, and the hand's where there are two of it.
pub fn label(of: &Done, all: &[&Done]) -> String {
    let input = &of.report.input;
    let is_other =
        |done: &&&Done| done.report.input == *input && done.report.path != of.report.path;
    match all.iter().find(is_other) {
        Some(_) => format!("{input} {}", of.hand.name()),
        None => input.clone(),
    }
}

/// Prints the table on stderr.
pub fn print(done: &[&Done]) {
    if done.is_empty() {
        return;
    }
    let mut rows: Vec<Vec<String>> = vec![
        std::iter::once("input")
            .chain(HEAD)
            .map(str::to_owned)
            .collect(),
    ];
    for one in done {
        rows.push(
            std::iter::once(label(one, done))
                .chain(cells(&one.report))
                .collect(),
        );
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..=HEAD.len()).map(width).collect();
    for row in &rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row[1..].iter().zip(&widths[1..]) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        eprintln!("{line}");
    }
    for done in done {
        let mut remarks = remarks(&done.report);
        remarks.extend(done.apart.as_ref().map(apart_remark));
        let remarks = if remarks.is_empty() {
            String::new()
        } else {
            format!(" ({})", remarks.join("; "))
        };
        eprintln!(
            "{} -> {}{remarks}",
            done.report.input,
            done.report.path.display()
        );
    }
}

/// One entry an input and hand, in their order: a report, or what went wrong.
pub fn json(outcomes: &[Outcome<'_>]) -> Value {
    let report = |done: &Done| {
        let mut report = json!(done.report);
        if let Some(apart) = &done.apart {
            report["hands_apart"] = json!(apart);
        }
        report
    };
    let entries = |outcome: &Outcome<'_>| match &outcome.done {
        Ok(done) => done.iter().map(report).collect(),
        Err(error) => vec![json!({
            "input": outcome.input.path().display().to_string(),
            "error": format!("{error:#}"),
        })],
    };
    outcomes.iter().flat_map(entries).collect()
}

/// Whether something was lost or rejected on the way.
pub fn is_lossy(report: &RetargetReport) -> bool {
    // The first and the last scan have no neighbour on one side.
    report.held > 0 || report.gaps > 4 || report.left_out > 0 || report.poses_rejected > 0
}
