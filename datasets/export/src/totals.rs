//! Statistics over a whole dataset: `meta/stats.json`.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::error::ExportError;
use crate::features::{Feature, Features};
use crate::stats::{PixelCounts, Summary};
use crate::tables;
use crate::v21;

/// Values held in memory at once, 256 MiB of them.
const VALUES_AT_ONCE: usize = 1 << 25;

/// Statistics by feature.
pub(crate) struct Totals {
    features: Vec<(String, Feature, Vec<Summary>)>,
    rows: u64,
    images: Vec<(String, [Summary; 3], u64)>,
}

/// Exact statistics of every numeric feature over all `rows` rows. As many columns are read at once as
/// fit into memory.
pub(crate) fn of_columns(
    files: &[PathBuf],
    features: &Features,
    rows: u64,
) -> Result<Totals, ExportError> {
    let mut totals = Totals {
        features: features
            .columns()
            .map(|(name, feature)| (name.to_owned(), feature.clone(), Vec::new()))
            .collect(),
        rows,
        images: Vec::new(),
    };
    let widths = totals
        .features
        .iter()
        .map(|(_, feature, _)| feature.width());
    let all: Vec<(usize, usize)> = widths
        .enumerate()
        .flat_map(|(feature, width)| (0..width).map(move |column| (feature, column)))
        .collect();
    let at_once = (VALUES_AT_ONCE / (rows as usize).max(1)).max(1);
    for wanted in all.chunks(at_once) {
        let columns = read(files, &totals.features, wanted, rows)?;
        for ((feature, _), mut column) in wanted.iter().zip(columns) {
            totals.features[*feature].2.extend(Summary::of(&mut column));
        }
    }
    Ok(totals)
}

/// The values of columns, each told by feature and place in it.
fn read(
    files: &[PathBuf],
    features: &[(String, Feature, Vec<Summary>)],
    wanted: &[(usize, usize)],
    rows: u64,
) -> Result<Vec<Vec<f64>>, ExportError> {
    let mut columns = vec![Vec::with_capacity(rows as usize); wanted.len()];
    let is_wanted = |name: &str| {
        wanted
            .iter()
            .any(|(feature, _)| features[*feature].0 == name)
    };
    for path in files {
        tables::read(path, is_wanted, |batch| {
            for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
                let values = tables::numbers(array.as_ref()).unwrap_or_default();
                for ((feature, place), column) in wanted.iter().zip(&mut columns) {
                    let (name, feature, _) = &features[*feature];
                    if name == field.name() {
                        column.extend(values.iter().skip(*place).step_by(feature.width().max(1)));
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(columns)
}

impl Totals {
    /// Adds the statistics of a camera's sampled pixels.
    pub fn add_pixels(&mut self, key: &str, pixels: &PixelCounts) {
        if let Some(rgb) = pixels.summaries() {
            self.images.push((key.into(), rgb, pixels.images));
        }
    }

    /// Columns of state and action on which normalisation by quantiles divides
    /// by zero.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, feature, summaries) in &self.features {
            if name != "observation.state" && name != "action" {
                continue;
            }
            let names = feature.names.iter().flatten();
            let still: Vec<&str> = names
                .zip(summaries)
                .filter(|(_, s)| s.quantiles[0] == s.quantiles[4])
                // What has no place in the recording stands still by design.
                .filter(|(name, _)| !name.ends_with("_at_rest"))
                .map(|(name, _)| name.as_str())
                .collect();
            if !still.is_empty() {
                warnings.push(format!(
                    "{name}: q01 = q99 in {}, which a normalisation by quantiles divides by; leave these out",
                    still.join(", ")
                ));
            }
        }
        warnings
    }

    /// Numeric features alone, with the six statistics that the models' loaders want.
    pub fn to_json_of_six(&self) -> Value {
        let each = self.features.iter();
        let entry = |(name, _, summaries): &(String, Feature, Vec<Summary>)| {
            (name.clone(), v21::six(summaries))
        };
        Value::Object(each.map(entry).collect())
    }

    /// As `meta/stats.json` of v3 holds them.
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        for (name, _, summaries) in &self.features {
            let entry = entries(summaries, self.rows, |value| json!(value));
            all.insert(name.clone(), entry);
        }
        for (key, rgb, images) in &self.images {
            let entry = entries(rgb, *images, |value| json!([[value]]));
            all.insert(key.clone(), entry);
        }
        Value::Object(all)
    }
}

fn entries(summaries: &[Summary], count: u64, shape: impl Fn(f64) -> Value) -> Value {
    let mut entry = Map::new();
    for summary in summaries {
        for (statistic, value) in summary.entries() {
            let list = entry.entry(statistic).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(shape(value));
            }
        }
    }
    entry.insert("count".into(), json!([count]));
    Value::Object(entry)
}
