//! The rules as a person reads them, and as one number.

use std::fmt::Write as _;

use crate::metric::{METRICS, Worse};

/// The table of metrics as Markdown: name, what, thresholds, source.
pub fn markdown() -> String {
    let mut text = String::from(
        "| metric | unit | what | B | C | D | thresholds from |\n|---|---|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let sign = match metric.worse {
            Worse::Above => '>',
            Worse::Below => '<',
        };
        let [b, c, d] = metric.limits.map(|limit| match limit {
            Some(limit) => format!("{sign} {limit}").replace('-', "−"),
            None => String::new(),
        });
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {b} | {c} | {d} | {} |",
            metric.key, metric.unit, metric.what, metric.source
        );
    }
    text
}

/// SHA-256 of the table: a verdict that was made by other rules is made anew.
pub fn rules_sha256() -> String {
    dexumi_retarget::sha256(markdown().as_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_has_the_table_as_it_is() {
        let docs = include_str!("../../../docs/quality.md");
        assert!(
            docs.contains(&super::markdown()),
            "docs/quality.md has another table, expected:\n{}",
            super::markdown()
        );
    }
}
