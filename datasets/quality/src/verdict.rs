//! What is said of an episode.

use serde::{Deserialize, Serialize};

use crate::{
    duplicates::Signature,
    grade::Grade,
    measured::Measured,
    metric::{METRICS, Measure},
};

/// One figure, graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The metric's name.
    pub metric: String,
    /// The stream, camera, tracker or side; empty for the whole episode.
    pub subject: String,
    /// In `unit`; absent where nothing can be said.
    pub value: Option<f64>,
    /// Unit of the value.
    pub unit: String,
    /// Absent where nothing can be said.
    pub grade: Option<Grade>,
    /// What else is to be known.
    pub note: String,
}

/// What is said of an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the episode's file.
    pub episode: String,
    /// The episode's id.
    pub id: String,
    /// What was to be done.
    pub task: String,
    /// Pseudonym of the operator.
    pub operator: String,
    /// Robot hand of the rig.
    pub hand: String,
    /// Name of the rig.
    pub rig: String,
    /// Start to stop [s].
    pub duration_s: f64,
    /// That of the worst figure.
    pub grade: Grade,
    /// Names of the metrics with a figure worse than A.
    pub tags: Vec<String>,
    /// Every figure, in the order of the metrics.
    pub figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub not_measured: Vec<String>,
    /// The motion in few numbers, to find duplicates by.
    pub signature: Signature,
}

/// Twelve digits of a figure, fifteen behind the point: it is not known to more, and so many are read back
/// from text to the last bit, so that a verdict is the same whether it was kept or made anew.
pub(crate) fn kept(value: f64) -> f64 {
    let short = match value.abs() >= 1e-3 {
        true => format!("{value:.11e}"),
        false => format!("{value:.15}"),
    };
    short.parse().unwrap_or(value)
}

impl Verdict {
    /// Judges what was measured of an episode, by all metrics but those of sets.
    pub fn of(measured: &Measured<'_>) -> Self {
        let episode = measured.input.episode;
        let mut figures = Vec::new();
        let mut not_measured = Vec::new();
        for metric in METRICS {
            let Measure::Episode(measure) = metric.measure else {
                continue;
            };
            for found in measure(measured) {
                // What is no number is no figure.
                let value = found.value.filter(|value| value.is_finite()).map(kept);
                if value.is_none() {
                    not_measured.push(format!(
                        "{} of {}: {}",
                        metric.key, found.subject, found.note
                    ));
                }
                figures.push(Figure {
                    metric: metric.key.to_owned(),
                    subject: found.subject,
                    value,
                    unit: metric.unit.to_owned(),
                    grade: value.map(|value| metric.grade(value)),
                    note: found.note,
                });
            }
        }
        for why in measured.input.not_retargeted {
            not_measured.push(format!("limit_hits, speed_hits: {why}"));
        }
        let info = &episode.info;
        let file = episode.file.path().file_name().unwrap_or_default();
        let mut verdict = Self {
            episode: file.to_string_lossy().into_owned(),
            id: info.id.clone(),
            task: info.task.clone(),
            operator: info.operator.clone(),
            hand: info.hand.clone(),
            rig: info.rig.clone(),
            duration_s: episode.duration_s(),
            grade: Grade::A,
            tags: Vec::new(),
            figures,
            not_measured,
            signature: Signature::of(measured),
        };
        verdict.conclude();
        verdict
    }

    /// Grade and tags from the figures.
    pub(crate) fn conclude(&mut self) {
        let is_worse = |figure: &&Figure| figure.grade.is_some_and(|grade| grade > Grade::A);
        let grades = self.figures.iter().filter_map(|figure| figure.grade);
        self.grade = grades.max().unwrap_or(Grade::A);
        self.tags = METRICS
            .iter()
            .filter(|metric| {
                let mut worse = self.figures.iter().filter(is_worse);
                worse.any(|figure| figure.metric == metric.key)
            })
            .map(|metric| metric.key.to_owned())
            .collect();
    }

    /// The worst figure of a metric, of one subject or of any.
    pub fn worst(&self, metric: &str, subject: Option<&str>) -> Option<&Figure> {
        let is_it = |figure: &&Figure| {
            figure.metric == metric && subject.is_none_or(|subject| figure.subject == subject)
        };
        let known = self.figures.iter().filter(is_it);
        let worse_is_above =
            crate::metric(metric).is_none_or(|metric| metric.worse == crate::Worse::Above);
        known
            .filter_map(|figure| Some((figure.value?, figure)))
            .max_by(|a, b| match worse_is_above {
                true => a.0.total_cmp(&b.0),
                false => b.0.total_cmp(&a.0),
            })
            .map(|(_, figure)| figure)
    }

    /// Figures worse than A, worst first.
    pub fn findings(&self) -> Vec<&Figure> {
        let mut worse: Vec<&Figure> = self
            .figures
            .iter()
            .filter(|figure| figure.grade.is_some_and(|grade| grade > Grade::A))
            .collect();
        worse.sort_by_key(|figure| std::cmp::Reverse(figure.grade));
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn a_figure_reads_back_from_text_to_the_last_bit() {
        let mut value = 0.193_554_072_476_804_15;
        for _ in 0..100_000 {
            value = (value * 1.618_033_988_749_895 + 0.1) % 1.0e7;
            for scale in [1.0, 1e-3, 1e-7, 1e-13, -1e5] {
                let figure = kept(value * scale);
                let text = serde_json::to_string(&figure).unwrap();
                let back: f64 = serde_json::from_str(&text).unwrap();
                assert_eq!(figure.to_bits(), back.to_bits(), "{text}");
            }
        }
    }
}
