//! Least and largest values of a dataset's numeric columns, and whether its statistics are theirs.

use std::path::Path;

use arrow::array::RecordBatch;

use super::{column, equal, invalid};
use crate::error::ExportError;

/// Of every numeric feature.
#[derive(Debug, Clone)]
pub(super) struct Ranges(Vec<Range>);

/// Least and largest value of each column of a feature.
#[derive(Debug, Clone)]
struct Range {
    name: String,
    least: Vec<f64>,
    most: Vec<f64>,
}

impl Ranges {
    /// Of no rows yet; names and widths of the features.
    pub fn new<'a>(features: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let ranges = features.map(|(name, width)| Range {
            name: name.to_owned(),
            least: vec![f64::INFINITY; width],
            most: vec![f64::NEG_INFINITY; width],
        });
        Self(ranges.collect())
    }

    /// Takes in the rows of a table.
    ///
    /// # Errors
    /// The table has other columns, or a value is not finite.
    pub fn add(&mut self, batch: &RecordBatch, path: &Path) -> Result<(), ExportError> {
        let columns = batch.num_columns();
        equal("number of columns", self.0.len(), columns, path)?;
        for Range { name, least, most } in &mut self.0 {
            let values = column(batch, name, path)?;
            let width = least.len();
            let expected = width * batch.num_rows();
            equal(format!("values of {name}"), expected, values.len(), path)?;
            for (at, &value) in values.iter().enumerate() {
                if !value.is_finite() {
                    let what = format!("{name} is not finite in row {} of the file", at / width);
                    return Err(invalid(what, path));
                }
                least[at % width] = least[at % width].min(value);
                most[at % width] = most[at % width].max(value);
            }
        }
        Ok(())
    }

    /// Takes in those of other rows of the same features.
    pub fn include(&mut self, others: &Self) {
        for (range, other) in self.0.iter_mut().zip(&others.0) {
            for (least, other) in range.least.iter_mut().zip(&other.least) {
                *least = least.min(*other);
            }
            for (most, other) in range.most.iter_mut().zip(&other.most) {
                *most = most.max(*other);
            }
        }
    }

    /// Whether the statistics in the file at `path` are these. `told` finds least and largest values of
    /// a feature there; `of` says which rows, behind the name of the feature.
    pub fn check<'a>(
        &self,
        told: impl Fn(&str) -> [&'a [f64]; 2],
        of: &str,
        path: &Path,
    ) -> Result<(), ExportError> {
        for Range { name, least, most } in &self.0 {
            let stored = told(name);
            for (statistic, data, stored) in [("min", least, stored[0]), ("max", most, stored[1])] {
                // Decimal text may change the last digits.
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * a.abs().max(1.0);
                if data.len() != stored.len() || !data.iter().zip(stored).all(close) {
                    let what =
                        format!("{statistic} of {name}{of}: expected {data:?}, got {stored:?}");
                    return Err(invalid(what, path));
                }
            }
        }
        Ok(())
    }
}
