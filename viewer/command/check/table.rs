//! Verdicts as a table and as JSON.

use dexumi_quality::{Figure, GRADES, METRICS, Verdict, Worse, rules_sha256};
use serde_json::{Value, json};

use super::{Judged, Unjudged};

/// An episode, and whether it is wanted.
pub struct Row<'a> {
    /// The episode and its verdict.
    pub judged: &'a Judged,
    /// It passes the conditions.
    pub taken: bool,
    /// What a condition asks for and was not measured.
    pub not_measured: Vec<&'static str>,
}

/// A value as a person reads it.
pub fn value(figure: &Figure) -> String {
    let Some(value) = figure.value else {
        return "-".to_owned();
    };
    let text = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match figure.unit.as_str() {
        "" => text,
        unit @ ("%" | "°") => format!("{text} {unit}"),
        unit => format!("{text} {unit}"),
    }
}

/// A value, or in words what a number stands for that is none.
pub fn shown(figure: &Figure) -> String {
    match figure.metric.as_str() {
        "language" | "clock_state" => figure.note.clone(),
        _ => value(figure),
    }
}

/// "blurred 62 % (wrist)".
fn finding(figure: &Figure) -> String {
    let subject = match figure.subject.as_str() {
        "" => String::new(),
        subject => format!(" ({subject})"),
    };
    format!("{} {}{subject}", figure.metric, shown(figure))
}

/// How many of each grade, best first, and their length [s].
pub fn by_grade<'a>(verdicts: impl Iterator<Item = &'a Verdict> + Clone) -> [(usize, f64); 4] {
    GRADES.map(|grade| {
        let of = verdicts.clone().filter(|verdict| verdict.grade == grade);
        of.fold((0, 0.0), |(count, seconds), verdict| {
            (count + 1, seconds + verdict.duration_s)
        })
    })
}

/// Prints the table on stdout.
pub fn print(rows: &[Row<'_>], is_selected: bool) {
    let width = rows
        .iter()
        .map(|row| row.judged.path.display().to_string().len());
    let width = width.max().unwrap_or(0).max(7);
    println!("{:width$}  grade      s  findings", "episode");
    for row in rows {
        let verdict = &row.judged.verdict;
        // The worst of each metric; the others are in the JSON and on the page.
        let mut findings: Vec<String> = Vec::new();
        let mut seen = Vec::new();
        for figure in verdict.findings() {
            if !seen.contains(&&figure.metric) {
                seen.push(&figure.metric);
                let worst = verdict.worst(&figure.metric, None).unwrap_or(figure);
                findings.push(finding(worst));
            }
        }
        if findings.is_empty() {
            findings.push("none".to_owned());
        }
        let not_measured = verdict.not_measured.iter();
        let not_measured: Vec<&str> = not_measured
            .map(|why| why.split(':').next().unwrap_or(why))
            .collect();
        let mut words = findings.join(", ");
        if !not_measured.is_empty() {
            words += &format!("; not measured: {}", not_measured.join(", "));
        }
        if is_selected && !row.taken {
            words += "; left out";
            if !row.not_measured.is_empty() {
                words += &format!(", {} not measured", row.not_measured.join(" and "));
            }
        }
        println!(
            "{:width$}  {:5} {:6.1}  {words}",
            row.judged.path.display().to_string(),
            verdict.grade,
            verdict.duration_s,
        );
    }
    let verdicts = rows.iter().map(|row| &row.judged.verdict);
    let grades = by_grade(verdicts);
    let words: Vec<String> = GRADES
        .iter()
        .zip(grades)
        .map(|(grade, (count, seconds))| format!("{count} {grade} ({:.1} min)", seconds / 60.0))
        .collect();
    eprintln!("{} episodes: {}", rows.len(), words.join(", "));
    let reused = rows.iter().filter(|row| row.judged.reused).count();
    if reused > 0 {
        eprintln!("{reused} unchanged, kept");
    }
    if is_selected {
        let taken = rows.iter().filter(|row| row.taken).count();
        eprintln!("{taken} of {} pass", rows.len());
    }
}

/// Every number of a verdict, and by which rules.
pub fn verdict_json(verdict: &Verdict) -> Value {
    let mut value = json!(verdict);
    if let Some(map) = value.as_object_mut() {
        // For finding duplicates; no figure.
        map.remove("signature");
        map.insert("rules_sha256".to_owned(), json!(rules_sha256()));
    }
    value
}

/// The rules, and every number of every episode.
pub fn json(rows: &[Row<'_>], unjudged: &[Unjudged]) -> Value {
    let episodes: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut value = verdict_json(&row.judged.verdict);
            if let Some(map) = value.as_object_mut() {
                map.insert("path".to_owned(), json!(row.judged.path));
                map.insert("passes".to_owned(), json!(row.taken));
                map.insert("reused".to_owned(), json!(row.judged.reused));
            }
            value
        })
        .collect();
    let failed: Vec<Value> = unjudged
        .iter()
        .map(|one| json!({"path": one.path, "error": format!("{:#}", one.error)}))
        .collect();
    let verdicts = rows.iter().map(|row| &row.judged.verdict);
    let grades: serde_json::Map<String, Value> = GRADES
        .iter()
        .zip(by_grade(verdicts))
        .map(|(grade, (count, seconds))| {
            (
                grade.to_string(),
                json!({"episodes": count, "seconds": seconds}),
            )
        })
        .collect();
    json!({
        "rules": rules(),
        "grades": grades,
        "episodes": episodes,
        "failed": failed,
    })
}

/// Every metric with its thresholds, as they were applied.
pub fn rules() -> Value {
    let metrics: Vec<Value> = METRICS
        .iter()
        .map(|metric| {
            let [b, c, d] = metric.limits;
            json!({
                "metric": metric.key,
                "unit": metric.unit,
                "what": metric.what,
                "worse": match metric.worse { Worse::Above => "above", Worse::Below => "below" },
                "B": b, "C": c, "D": d,
                "source": metric.source,
            })
        })
        .collect();
    json!({"sha256": rules_sha256(), "metrics": metrics})
}
