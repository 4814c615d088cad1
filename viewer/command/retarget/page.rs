//! `retarget.html`: figures of all inputs, plots of the first.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use dexumi_episode::{EpisodeError, write_atomically};
use dexumi_retarget::{Hand, JointKind, Source};

use super::{Done, table, trace::Trace};
use crate::page::{self, Line, escape, plot, thin};

/// Inputs that are drawn; a page for a thousand would be too large to open.
const MOST_DRAWN: usize = 12;
const PLOT_POINTS: usize = 700;
/// Bars of a histogram.
const BARS: usize = 60;
/// Colours of fingers, thumb to little.
const COLOURS: [&str; 5] = [
    "var(--a)",
    "var(--b)",
    "var(--good)",
    "var(--bad)",
    "var(--warn)",
];

/// Writes the page.
///
/// # Errors
/// A result cannot be read, or the page cannot be written.
pub fn write(path: &Path, done: &[&Done]) -> Result<()> {
    let mut body = String::new();
    head(&mut body, done);
    for one in done.iter().take(MOST_DRAWN) {
        let read;
        let trace = match &one.trace {
            Some(trace) => trace,
            None => {
                read = Trace::of_episode(&one.report, &one.hand)?;
                &read
            }
        };
        draw(&mut body, one, &table::label(one, done), trace);
    }
    if done.len() > MOST_DRAWN {
        let _ = write!(
            body,
            "<p class=\"soft\">The first {MOST_DRAWN} of {} are drawn.</p>",
            done.len()
        );
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    }
    Ok(write_atomically(
        path,
        page::page("dexumi retarget", &body).as_bytes(),
    )?)
}

fn head(body: &mut String, done: &[&Done]) {
    let mut hands: Vec<&str> = done.iter().map(|done| done.hand.name()).collect();
    hands.sort_unstable();
    hands.dedup();
    let _ = write!(
        body,
        "<h1>dexumi retarget</h1><p class=\"soft\">To {}. {} {}.</p><section>",
        escape(&hands.join(", ")),
        done.len(),
        if done.len() == 1 { "input" } else { "inputs" }
    );
    let heading: Vec<&str> = std::iter::once("input").chain(table::HEAD).collect();
    let rows: Vec<Vec<String>> = done
        .iter()
        .map(|one| {
            std::iter::once(escape(&table::label(one, done)))
                .chain(table::cells(&one.report))
                .collect()
        })
        .collect();
    body.push_str(&page::table(&heading, &rows));
    body.push_str(
        "<p class=\"soft\">held: the input could not be followed, the answer before was kept; limit, speed, \
         collision: steps with a joint at a limit of position, of speed, or cut short to keep links apart \
         (clipped: any of them); tip: fingertips from where they were asked to be, mean and 95th \
         percentile; pinch: robot tips apart while the human ones were less than 30 mm apart; jitter: \
         second difference of the joints, mean square; µs: time for a step.</p></section>",
    );
}

fn draw(body: &mut String, done: &Done, label: &str, trace: &Trace) {
    let report = &done.report;
    let _ = write!(
        body,
        "<h2>{}</h2><p class=\"soft\">{}{}</p><section><div class=\"plots\">",
        escape(label),
        escape(&report.path.display().to_string()),
        table::remarks(report)
            .into_iter()
            .chain(done.apart.as_ref().map(table::apart_remark))
            .collect::<Vec<_>>()
            .iter()
            .fold(String::new(), |text, remark| text + "; " + &escape(remark)),
    );
    if report.source == Source::Keypoints {
        tip_errors(body, trace);
    }
    for (at, name) in trace.names.iter().enumerate() {
        joint(body, &done.hand, trace, at, name);
    }
    body.push_str("</div></section>");
}

fn tip_errors(body: &mut String, trace: &Trace) {
    let lines: Vec<Line<'_>> = trace
        .tips
        .iter()
        .enumerate()
        .map(|(tip, name)| {
            let errors = trace.tip_errors_m.iter();
            let millis = errors.map(|row| row.get(tip).map_or(f64::NAN, |error| error * 1e3));
            Line {
                name,
                colour: COLOURS[tip % COLOURS.len()],
                points: thin(
                    trace.times_s.iter().copied().zip(millis).collect(),
                    PLOT_POINTS,
                ),
                dashed: false,
            }
        })
        .collect();
    body.push_str(&plot("tip error [mm]", "s", &lines));
    let errors = trace
        .tip_errors_m
        .iter()
        .flatten()
        .filter(|error| error.is_finite());
    let millis: Vec<f64> = errors.map(|error| error * 1e3).collect();
    let outline = Line {
        name: "",
        colour: "var(--a)",
        points: histogram(&millis),
        dashed: false,
    };
    body.push_str(&plot(
        "tip error: % of tips and steps per bar",
        "mm",
        &[outline],
    ));
}

/// The outline of the bars of a histogram: value, % of all.
fn histogram(values: &[f64]) -> Vec<(f64, f64)> {
    let highest = values.iter().copied().fold(0.0, f64::max);
    if highest <= 0.0 {
        return Vec::new();
    }
    let width = highest / BARS as f64;
    let mut bars = [0_usize; BARS];
    for value in values {
        bars[((value / width) as usize).min(BARS - 1)] += 1;
    }
    let mut outline = vec![(0.0, 0.0)];
    for (at, &bar) in bars.iter().enumerate() {
        let height = 100.0 * bar as f64 / values.len() as f64;
        outline.extend([
            (at as f64 * width, height),
            ((at + 1) as f64 * width, height),
        ]);
    }
    outline.push((highest, 0.0));
    outline
}

fn joint(body: &mut String, hand: &Hand, trace: &Trace, at: usize, name: &str) {
    let variable = hand.variable_names().position(|known| known == name);
    let slides = variable.is_some_and(|variable| {
        hand.joints()[hand.variables()[variable]].kind == JointKind::Prismatic
    });
    // Of a hand whose root is free, the root's own joints are not the hand's.
    let (factor, unit) = match slides || name.ends_with("_translation_joint") {
        true => (1e3, "mm"),
        false => (1_f64.to_degrees(), "°"),
    };
    let positions = trace.positions.iter();
    let values = positions.map(|row| row.get(at).map_or(f64::NAN, |value| value * factor));
    let points = thin(
        trace.times_s.iter().copied().zip(values).collect(),
        PLOT_POINTS,
    );
    let ends = trace
        .times_s
        .first()
        .copied()
        .zip(trace.times_s.last().copied());
    let limits = variable.map(|variable| hand.limits()[variable]).zip(ends);
    let mut lines: Vec<Line<'_>> = limits
        .into_iter()
        .flat_map(|((lower, upper), (first, last))| {
            [lower, upper].map(|limit| (limit, first, last))
        })
        .map(|(limit, first, last)| Line {
            name: "",
            colour: "var(--bad)",
            points: vec![(first, limit * factor), (last, limit * factor)],
            dashed: true,
        })
        .collect();
    lines.push(Line {
        name: "",
        colour: "var(--a)",
        points,
        dashed: false,
    });
    body.push_str(&plot(&format!("{name} [{unit}]"), "s", &lines));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_of_a_histogram_hold_every_value_once() {
        let values = [0.0, 1.0, 1.0, 2.0, 60.0];
        let outline = histogram(&values);
        let tops: f64 = outline[1..outline.len() - 1]
            .chunks(2)
            .map(|bar| bar[0].1)
            .sum();
        assert!((tops - 100.0).abs() < 1e-9, "{outline:?}");
        assert_eq!(outline.last(), Some(&(60.0, 0.0)));
        assert!(histogram(&[]).is_empty() && histogram(&[0.0]).is_empty());
    }
}
