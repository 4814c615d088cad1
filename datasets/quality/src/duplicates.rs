//! Episodes whose motion was there before.

use serde::{Deserialize, Serialize};

use crate::{
    grade::Grade,
    measured::Measured,
    metric::metric,
    verdict::{Figure, Verdict, kept},
};

/// Points of a signature, evenly over the time in which the wearer moves.
const POINTS: usize = 48;
/// A wrist counts as much as a joint where it moves so far [m] for each radian.
const WRIST_M: f64 = 0.1;
/// Episodes whose lengths differ by more than this share are not compared.
const LENGTH: f64 = 0.1;

/// An episode's motion in few numbers: wrists from where they begin, and joints.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Signature {
    /// Time with motion, from the first to the last [s].
    pub busy_s: f64,
    /// What the columns are.
    columns: Vec<String>,
    /// Row by row; empty where there is not enough motion.
    values: Vec<f32>,
}

impl Signature {
    pub(crate) fn of(measured: &Measured<'_>) -> Self {
        let motion = &measured.motion;
        let Some((first, last)) = motion.busy().filter(|(first, last)| last - first >= POINTS)
        else {
            return Self::default();
        };
        let mut columns = Vec::new();
        for (name, _) in motion.positions() {
            columns.extend(["x", "y", "z"].map(|axis| format!("{name} {axis}")));
        }
        for (side, joints) in &motion.joints {
            let count = joints
                .angles
                .iter()
                .flatten()
                .map(Vec::len)
                .next()
                .unwrap_or(0);
            columns.extend((0..count).map(|joint| format!("{side} {joint}")));
        }
        let row = |point: usize| -> Option<Vec<f64>> {
            let at = first + (last - first) * point / (POINTS - 1);
            let mut row = Vec::with_capacity(columns.len());
            for (_, places) in motion.positions() {
                let from = places[first..=last].iter().flatten().next()?;
                let moved = (places[at]? - from) / WRIST_M;
                row.extend(moved.iter());
            }
            for joints in motion.joints.values() {
                row.extend(joints.angles[at].as_ref()?);
            }
            Some(row)
        };
        // In a gap the last point stands.
        let mut values: Vec<f32> = Vec::new();
        let mut before: Option<Vec<f64>> = None;
        for point in 0..POINTS {
            let known = row(point).filter(|row| row.len() == columns.len());
            if let Some(row) = known.or_else(|| before.clone()) {
                // Four decimals are a tenth of a millirad; what is stored reads back the same.
                values.extend(row.iter().map(|v| ((v * 1e4).round() / 1e4) as f32));
                before = Some(row);
            }
        }
        if values.len() != POINTS * columns.len() {
            values.clear();
        }
        Self {
            busy_s: kept((last - first) as f64 / crate::motion::STEPS_HZ),
            columns,
            values,
        }
    }

    /// Rms difference over the rms of the motion itself; `None` where they cannot be compared.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        let is_near = (self.busy_s - other.busy_s).abs() <= LENGTH * self.busy_s.max(other.busy_s);
        if self.values.is_empty() || !is_near || self.columns != other.columns {
            return None;
        }
        let apart: f64 = self
            .values
            .iter()
            .zip(&other.values)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum();
        Some((apart / self.spread().min(other.spread()).max(1e-9)).sqrt())
    }

    /// Square sum about the mean of each column.
    fn spread(&self) -> f64 {
        let columns = self.columns.len();
        (0..columns)
            .map(|column| {
                let values = || self.values.iter().skip(column).step_by(columns);
                let mean = values().map(|v| f64::from(*v)).sum::<f64>() / POINTS as f64;
                values()
                    .map(|v| (f64::from(*v) - mean).powi(2))
                    .sum::<f64>()
            })
            .sum()
    }
}

/// Holds the motion of each episode against all before it, and grades what is near one: of two
/// equal ones the later is the duplicate. What was found by an earlier call is replaced.
pub fn mark_duplicates(verdicts: &mut [Verdict]) {
    let metric = metric("near_duplicate").expect("registered");
    let mut by_length: Vec<usize> = (0..verdicts.len()).collect();
    by_length.sort_by(|&a, &b| {
        let length = |at: usize| verdicts[at].signature.busy_s;
        length(a).total_cmp(&length(b)).then(a.cmp(&b))
    });
    let mut nearest: Vec<Option<(f64, usize)>> = vec![None; verdicts.len()];
    for (rank, &a) in by_length.iter().enumerate() {
        let longest = verdicts[a].signature.busy_s / (1.0 - LENGTH) + 1e-9;
        for &b in &by_length[rank + 1..] {
            if verdicts[b].signature.busy_s > longest {
                break;
            }
            let (earlier, later) = (a.min(b), a.max(b));
            let same_file = verdicts[a].id == verdicts[b].id && !verdicts[a].id.is_empty();
            let distance = match same_file {
                true => Some(0.0),
                false => verdicts[a].signature.distance(&verdicts[b].signature),
            };
            if let Some(distance) = distance
                && nearest[later].is_none_or(|(least, at)| (distance, earlier) < (least, at))
            {
                nearest[later] = Some((distance, earlier));
            }
        }
    }
    let names: Vec<String> = verdicts
        .iter()
        .map(|verdict| verdict.episode.clone())
        .collect();
    for (verdict, nearest) in verdicts.iter_mut().zip(nearest) {
        verdict.figures.retain(|figure| figure.metric != metric.key);
        if let Some((distance, at)) = nearest {
            let grade = metric.grade(distance);
            let note = match grade {
                Grade::A => String::new(),
                _ => format!("of {}", names[at]),
            };
            verdict.figures.push(Figure {
                metric: metric.key.to_owned(),
                subject: String::new(),
                value: Some(distance),
                unit: metric.unit.to_owned(),
                grade: Some(grade),
                note,
            });
        }
        verdict.conclude();
    }
}
