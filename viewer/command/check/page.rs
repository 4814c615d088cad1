//! `quality.html`: how good a session is, at a glance; and what is wrong with the worst.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dexumi_episode::{Episode, EpisodeError, StreamKind, write_atomically};
use dexumi_quality::{Figure, GRADES, Grade, METRICS, Verdict, Worse};

use super::{
    Unjudged, judge,
    table::{Row, by_grade, shown, value},
};
use crate::{
    page::{self, Line, escape, plot},
    picture,
};

/// Episodes that are drawn; a page for a thousand would be too large to open.
const MOST_DRAWN: usize = 24;
/// Thumbnails of each camera, and their width [pixel].
const THUMBNAILS: usize = 6;
const THUMBNAIL_WIDTH: i32 = 240;
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
/// It cannot be written. An episode that cannot be drawn is said so on the page.
pub fn write(path: &Path, rows: &[Row<'_>], unjudged: &[Unjudged]) -> Result<()> {
    let mut body = String::new();
    head(&mut body, rows, unjudged);
    episodes(&mut body, rows);
    metrics(&mut body, rows);
    let mut worst: Vec<usize> = (0..rows.len()).collect();
    worst.sort_by_key(|&at| {
        let verdict = &rows[at].judged.verdict;
        (std::cmp::Reverse((verdict.grade, verdict.tags.len())), at)
    });
    if rows.len() > MOST_DRAWN {
        let _ = write!(
            body,
            "<p class=\"soft\">The worst {MOST_DRAWN} of {} episodes are drawn.</p>",
            rows.len()
        );
    }
    worst.truncate(MOST_DRAWN);
    for at in worst {
        draw(&mut body, at, &rows[at]);
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(EpisodeError::io("create folder", folder))?;
    }
    let page = page::page("dexumi check", &body);
    Ok(write_atomically(path, page.as_bytes())?)
}

fn badge(grade: Grade) -> String {
    format!("<span class=\"grade {grade}\">{grade}</span>")
}

fn head(body: &mut String, rows: &[Row<'_>], unjudged: &[Unjudged]) {
    let verdicts = || rows.iter().map(|row| &row.judged.verdict);
    let grades = by_grade(verdicts());
    let seconds: f64 = grades.iter().map(|(_, seconds)| seconds).sum();
    let _ = write!(
        body,
        "<h1>dexumi check</h1><p class=\"soft\">{} episodes, {:.1} min. An episode has the grade of \
         its worst figure: A nothing found, B hardly matters, C doubtful, D not to be trained on as \
         it is.</p><div class=\"cards\">",
        rows.len(),
        seconds / 60.0
    );
    for (grade, (count, seconds)) in GRADES.iter().zip(grades) {
        let _ = write!(
            body,
            "<div class=\"card\"><b>{} {count}</b><span>{:.1} min</span></div>",
            badge(*grade),
            seconds / 60.0
        );
    }
    let taken = rows.iter().filter(|row| row.taken).count();
    if taken < rows.len() {
        let _ = write!(
            body,
            "<div class=\"card\"><b>{taken}</b><span>pass the conditions</span></div>"
        );
    }
    body.push_str(
        "</div><div class=\"bar\" role=\"img\" aria-label=\"share of each grade, by time\">",
    );
    for (grade, (_, part)) in GRADES.iter().zip(grades) {
        let share = 100.0 * part / seconds.max(1e-9);
        let _ = write!(
            body,
            "<i class=\"{grade}\" style=\"width:{share:.2}%\"></i>"
        );
    }
    body.push_str("</div>");
    for one in unjudged {
        let _ = write!(
            body,
            "<p class=\"bad\">not judged: {}: {}</p>",
            escape(&one.path.display().to_string()),
            escape(&format!("{:#}", one.error))
        );
    }
}

fn tags(verdict: &Verdict) -> String {
    let tag = |tag: &String| {
        let grade = verdict
            .findings()
            .iter()
            .find(|figure| figure.metric == *tag)
            .and_then(|figure| figure.grade);
        let class = match grade {
            Some(Grade::D) => "bad",
            Some(Grade::C) => "warn",
            _ => "soft",
        };
        let worst = verdict.worst(tag, None).map_or(String::new(), shown);
        format!("<span class=\"tag {class}\">{} {worst}</span>", escape(tag))
    };
    verdict.tags.iter().map(tag).collect()
}

/// An episode by its file and the session's folder: files of two sessions have the same names.
fn name(row: &Row<'_>) -> String {
    let path = &row.judged.path;
    let folder = path.parent().and_then(Path::file_name);
    let names = folder.into_iter().chain(path.file_name());
    names
        .map(|name| name.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

fn episodes(body: &mut String, rows: &[Row<'_>]) {
    body.push_str("<h2>Episodes</h2><section><table><thead><tr><th>episode</th><th>grade</th><th>s</th>\
         <th style=\"text-align:left\">task</th><th style=\"text-align:left\">found</th></tr></thead><tbody>");
    for (at, row) in rows.iter().enumerate() {
        let verdict = &row.judged.verdict;
        let left_out = if row.taken {
            ""
        } else {
            " <span class=\"soft\">left out</span>"
        };
        let task = match verdict.task.trim() {
            "" => "<span class=\"warn\">(none)</span>".to_owned(),
            task => escape(task),
        };
        let _ = write!(
            body,
            "<tr><td><a href=\"#e{at}\">{}</a>{left_out}</td><td>{}</td><td>{:.1}</td>\
             <td class=\"wide\">{task}</td><td class=\"wide\">{}</td></tr>",
            escape(&name(row)),
            badge(verdict.grade),
            verdict.duration_s,
            tags(verdict)
        );
    }
    body.push_str("</tbody></table></section>");
}

/// What each metric found over all episodes.
fn metrics(body: &mut String, rows: &[Row<'_>]) {
    let mut table: Vec<Vec<String>> = Vec::new();
    for metric in METRICS {
        let mut worst: Vec<&Figure> = rows
            .iter()
            .filter_map(|row| row.judged.verdict.worst(metric.key, None))
            .collect();
        worst.sort_by(|a, b| {
            let (a, b) = (a.value.unwrap_or(0.0), b.value.unwrap_or(0.0));
            match metric.worse {
                Worse::Above => a.total_cmp(&b),
                Worse::Below => b.total_cmp(&a),
            }
        });
        let counts = [Grade::B, Grade::C, Grade::D].map(|grade| {
            let count = worst
                .iter()
                .filter(|figure| figure.grade == Some(grade))
                .count();
            match count {
                0 => String::new(),
                _ => count.to_string(),
            }
        });
        let at = |part: f64| {
            let index = (part * worst.len().saturating_sub(1) as f64).round() as usize;
            worst
                .get(index)
                .map_or("-".to_owned(), |figure| value(figure))
        };
        let sign = match metric.worse {
            Worse::Above => "&gt;",
            Worse::Below => "&lt;",
        };
        let limits = metric
            .limits
            .map(|limit| limit.map_or("–".to_owned(), |l| l.to_string()));
        let [b, c, d] = counts;
        table.push(vec![
            format!(
                "<span title=\"{}\">{}</span>",
                escape(metric.what),
                escape(metric.key)
            ),
            format!("{} of {}", worst.len(), rows.len()),
            at(0.5),
            at(1.0),
            format!("{sign} {} {}", limits.join(", "), escape(metric.unit)),
            b,
            c,
            d,
        ]);
    }
    body.push_str(
        "<h2>Metrics</h2><section><details><summary>every metric over all episodes</summary>",
    );
    let head = [
        "metric", "measured", "median", "worst", "B, C, D", "B", "C", "D",
    ];
    body.push_str(&page::table(&head, &table));
    body.push_str("</details></section>");
}

fn draw(body: &mut String, at: usize, row: &Row<'_>) {
    let verdict = &row.judged.verdict;
    let _ = write!(
        body,
        "<h2 id=\"e{at}\">{} {}</h2><p class=\"soft\">{}; {:.2} s; {}; id {}</p><section>",
        badge(verdict.grade),
        escape(&name(row)),
        match verdict.task.trim() {
            "" => "no task".to_owned(),
            task => escape(task),
        },
        verdict.duration_s,
        escape(&verdict.rig),
        escape(&verdict.id)
    );
    if let Err(error) = thumbnails(body, &row.judged.path) {
        let _ = write!(
            body,
            "<p class=\"bad\">{}</p>",
            escape(&format!("{error:#}"))
        );
    }
    let findings = verdict.findings();
    if findings.is_empty() {
        body.push_str("<p class=\"good\">Nothing found.</p>");
    } else {
        figures(body, &findings);
    }
    for why in &verdict.not_measured {
        let _ = write!(body, "<p class=\"soft\">not measured: {}</p>", escape(why));
    }
    let plots = judge::plots(&row.judged.path);
    if !plots.is_empty() {
        body.push_str("<div class=\"plots\">");
        for one in &plots {
            let lines: Vec<Line<'_>> = one
                .lines
                .iter()
                .enumerate()
                .map(|(index, (name, points))| Line {
                    name,
                    colour: COLOURS[index % COLOURS.len()],
                    points: points
                        .iter()
                        .map(|&(x, y)| (f64::from(x), y.map_or(f64::NAN, f64::from)))
                        .collect(),
                    dashed: false,
                })
                .collect();
            body.push_str(&plot(&one.title, "s", &lines));
        }
        body.push_str("</div>");
    }
    let all: Vec<&Figure> = verdict.figures.iter().collect();
    let _ = write!(
        body,
        "<details><summary>all {} figures</summary>",
        all.len()
    );
    figures(body, &all);
    body.push_str("</details></section>");
}

fn figures(body: &mut String, figures: &[&Figure]) {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            vec![
                escape(&figure.metric),
                escape(&figure.subject),
                value(figure),
                figure.grade.map_or("–".to_owned(), badge),
                format!(
                    "<div style=\"text-align:left;white-space:normal\">{}</div>",
                    escape(&figure.note)
                ),
            ]
        })
        .collect();
    let table = page::table(&["metric", "of", "value", "grade", "remark"], &rows);
    body.push_str(&table);
}

fn thumbnails(body: &mut String, path: &Path) -> Result<()> {
    let episode = Episode::open(path)?;
    for topic in episode.file.topics().into_keys() {
        let Some(StreamKind::Camera { name }) = StreamKind::of(&topic) else {
            continue;
        };
        let index = episode.file.images(&topic)?;
        let count = THUMBNAILS.min(index.len());
        body.push_str("<div class=\"strip\" style=\"margin-bottom:8px\">");
        for k in 0..count {
            let at = k * (index.len() - 1) / (count - 1).max(1);
            let image = episode.file.image(&index, at)?;
            let caption = format!("{}, image {at}", escape(&name));
            match picture::thumbnail(&image.data, THUMBNAIL_WIDTH) {
                Ok(small) => {
                    let _ = write!(
                        body,
                        "<figure><img alt=\"{caption}\" src=\"data:image/jpeg;base64,{}\">\
                         <figcaption>{caption}</figcaption></figure>",
                        STANDARD.encode(small)
                    );
                }
                Err(_) => {
                    let _ = write!(
                        body,
                        "<figure><figcaption class=\"bad\">{caption}: cannot be decoded</figcaption></figure>"
                    );
                }
            }
        }
        body.push_str("</div>");
    }
    Ok(())
}
