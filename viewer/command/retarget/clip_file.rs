//! Results for a file of keypoints: `.npz`, `.csv`, `.parquet`.

use std::{fmt::Write as _, io::Cursor, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, UInt32Array},
    datatypes::{DataType, Field, Schema},
};
use dexumi_retarget::{Derivation, Npz, NpzWriter, RetargetReport, Verdict};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde::{Deserialize, Serialize};

/// Key of the metadata in a Parquet file.
const PARQUET_KEY: &str = "dexumi";

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// NumPy's archive.
    Npz,
    /// Text, one row a step.
    Csv,
    /// Columns.
    Parquet,
}

impl Format {
    /// By the ending of a path.
    ///
    /// # Errors
    /// Another ending; the message lists those that are known.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("npz") => Ok(Self::Npz),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!(
                "--out: expected a name that ends in .npz, .csv or .parquet, got {}",
                path.display()
            ),
        }
    }
}

/// What a result says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    /// From what and how it was made.
    pub derivation: Derivation,
    /// What became of the steps.
    pub report: RetargetReport,
}

/// A result, one row a step.
#[derive(Debug, Default)]
pub struct Rows {
    /// Names of the joints.
    pub names: Vec<String>,
    /// Fingers of the tips.
    pub tips: Vec<String>,
    /// Time [s].
    pub time: Vec<f64>,
    /// Joint positions, joint after joint [rad].
    pub q: Vec<Vec<f64>>,
    /// Value of the objective.
    pub objective: Vec<f64>,
    /// See [`Verdict::confidence`].
    pub confidence: Vec<f64>,
    /// See [`Verdict::flags`].
    pub flags: Vec<u32>,
    /// Tip after tip [m].
    pub tip_error: Vec<Vec<f64>>,
}

impl Rows {
    /// Rows for joints and tips of these names.
    pub fn new(names: Vec<String>, tips: Vec<String>) -> Self {
        Self {
            q: vec![Vec::new(); names.len()],
            tip_error: vec![Vec::new(); tips.len()],
            names,
            tips,
            ..Self::default()
        }
    }

    /// Adds a step.
    pub fn push(&mut self, time_s: f64, verdict: &Verdict) {
        self.time.push(time_s);
        for (column, &position) in self.q.iter_mut().zip(&verdict.position) {
            column.push(position);
        }
        for (column, &error) in self.tip_error.iter_mut().zip(&verdict.tip_error_m) {
            column.push(error);
        }
        self.objective.push(verdict.objective);
        self.confidence.push(verdict.confidence);
        self.flags.push(verdict.flags);
    }

    /// Columns one after another as rows.
    fn rows_of(columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
        (0..rows)
            .flat_map(|row| columns.iter().map(move |column| column[row]))
            .collect()
    }

    /// The whole file.
    ///
    /// # Errors
    /// It cannot be represented.
    pub fn to_bytes(&self, format: Format, meta: &Meta) -> Result<Vec<u8>> {
        let meta = serde_json::to_string(meta).context("cannot represent the metadata as JSON")?;
        match format {
            Format::Npz => self.npz(&meta),
            Format::Csv => Ok(self.csv(&meta).into_bytes()),
            Format::Parquet => self.parquet(meta),
        }
    }

    fn npz(&self, meta: &str) -> Result<Vec<u8>> {
        let rows = self.time.len();
        let flags: Vec<i64> = self.flags.iter().copied().map(i64::from).collect();
        let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
        archive.texts("names", &[self.names.len()], &texts(&self.names))?;
        archive.numbers("time", &[rows], &self.time)?;
        archive.numbers(
            "q",
            &[rows, self.names.len()],
            &Self::rows_of(&self.q, rows),
        )?;
        archive.numbers("objective", &[rows], &self.objective)?;
        archive.numbers("confidence", &[rows], &self.confidence)?;
        archive.integers("flags", &[rows], &flags)?;
        archive.texts("tips", &[self.tips.len()], &texts(&self.tips))?;
        let errors = Self::rows_of(&self.tip_error, rows);
        archive.numbers("tip_error", &[rows, self.tips.len()], &errors)?;
        archive.texts("meta", &[], &[meta])?;
        Ok(archive.finish()?.into_inner())
    }

    fn csv(&self, meta: &str) -> String {
        let mut text = format!("# {meta}\ntime");
        let tips = self.tips.iter().map(|tip| format!("tip_error_{tip}"));
        let rest = ["objective", "confidence", "flags"].map(str::to_owned);
        for name in self.names.iter().cloned().chain(rest).chain(tips) {
            let _ = write!(text, ",{}", quoted(&name));
        }
        text.push('\n');
        for row in 0..self.time.len() {
            let _ = write!(text, "{}", self.time[row]);
            for column in &self.q {
                let _ = write!(text, ",{}", column[row]);
            }
            let (objective, confidence) = (self.objective[row], self.confidence[row]);
            let _ = write!(text, ",{objective},{confidence},{}", self.flags[row]);
            for column in &self.tip_error {
                let _ = write!(text, ",{}", column[row]);
            }
            text.push('\n');
        }
        text
    }

    fn parquet(&self, meta: String) -> Result<Vec<u8>> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut add = |name: &str, kind: DataType, column: ArrayRef| {
            fields.push(Field::new(name, kind, false));
            columns.push(column);
        };
        let numbers = |column: &[f64]| Arc::new(Float64Array::from(column.to_vec())) as ArrayRef;
        add("time", DataType::Float64, numbers(&self.time));
        for (name, column) in self.names.iter().zip(&self.q) {
            add(name, DataType::Float64, numbers(column));
        }
        add("objective", DataType::Float64, numbers(&self.objective));
        add("confidence", DataType::Float64, numbers(&self.confidence));
        add(
            "flags",
            DataType::UInt32,
            Arc::new(UInt32Array::from(self.flags.clone())),
        );
        for (tip, column) in self.tips.iter().zip(&self.tip_error) {
            add(
                &format!("tip_error_{tip}"),
                DataType::Float64,
                numbers(column),
            );
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![KeyValue::new(PARQUET_KEY.to_owned(), meta)]))
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    }
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A name as a cell of a CSV file (RFC 4180).
fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

/// What a result that is there says of itself; `None` where there is none, or none of ours.
pub fn meta_of(path: &Path, format: Format) -> Option<Meta> {
    let text = match format {
        Format::Npz => Npz::open(path).ok()?.text("meta").ok()?,
        Format::Csv => {
            let text = std::fs::read_to_string(path).ok()?;
            let meta = text.lines().next()?.strip_prefix("# ")?;
            let made: Meta = serde_json::from_str(meta).ok()?;
            // Of the other two forms, what is cut cannot be opened.
            let lines = made.report.figures.steps as usize + 2;
            return (text.ends_with('\n') && text.lines().count() == lines).then_some(made);
        }
        Format::Parquet => {
            let file = std::fs::File::open(path).ok()?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).ok()?;
            let pairs = reader.metadata().file_metadata().key_value_metadata()?;
            pairs
                .iter()
                .find(|pair| pair.key == PARQUET_KEY)?
                .value
                .clone()?
        }
    };
    serde_json::from_str(&text).ok()
}
