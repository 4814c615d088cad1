//! Ways to break a dataset.

// Each test program uses another part of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Float32Type, Int64Type};
use dexumi_export::{Options, verify};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::synthetic::{listing, run};

/// What is broken, how, and what the checker says of it.
pub type Break = (&'static str, fn(&Path), &'static str);

/// Breaks copies of the dataset `good` and fails where the checker does not say why. A copy lies in
/// `beside`, in a folder of the same name.
pub fn all_are_refused(good: &Path, beside: &Path, breaks: &[Break], options: &Options) {
    for (number, (name, break_it, expected)) in breaks.iter().enumerate() {
        let copy = beside
            .join(number.to_string())
            .join(good.file_name().unwrap());
        for file in listing(good) {
            let to = copy.join(&file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(good.join(&file), to).unwrap();
        }
        break_it(&copy);
        match verify(&copy, options) {
            Ok(_) => panic!("{name}: not noticed"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(expected), "{name}: {error}");
            }
        }
    }
}

/// Changes `meta/<name>.json`.
pub fn json(dataset: &Path, name: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = dataset.join(format!("meta/{name}.json"));
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Changes a Parquet file of one schema.
pub fn table(
    dataset: &Path,
    file: &str,
    change: impl Fn(RecordBatch) -> RecordBatch,
    metadata: bool,
) {
    let path = dataset.join(file);
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let pairs = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .cloned();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let batch = change(concat_batches(&batches[0].schema(), &batches).unwrap());
    let plain = batch
        .schema()
        .as_ref()
        .clone()
        .with_metadata(HashMap::new());
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), plain.into(), None).unwrap();
    let kept = pairs
        .into_iter()
        .flatten()
        .filter(|p| p.key != "ARROW:schema");
    for pair in kept.filter(|_| metadata) {
        writer.append_key_value_metadata(pair);
    }
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Rows the other way round.
pub fn reversed(batch: RecordBatch) -> RecordBatch {
    let order = Int64Array::from_iter_values((0..batch.num_rows() as i64).rev());
    take_record_batch(&batch, &order).unwrap()
}

/// Another column of that name.
pub fn replace(
    batch: RecordBatch,
    name: &str,
    change: impl Fn(&ArrayRef) -> ArrayRef,
) -> RecordBatch {
    let at = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = change(&columns[at]);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Changes floats of a column, or of the vectors in it, by their place.
pub fn floats(dataset: &Path, file: &str, name: &str, change: impl Fn(usize, f32) -> f32) {
    table(
        dataset,
        file,
        |batch| {
            replace(batch, name, |array| {
                let changed = |values: &ArrayRef| -> Float32Array {
                    let values = values.as_primitive::<Float32Type>().values();
                    values
                        .iter()
                        .enumerate()
                        .map(|(k, &x)| change(k, x))
                        .collect::<Vec<_>>()
                        .into()
                };
                match array.as_fixed_size_list_opt() {
                    None => Arc::new(changed(array)),
                    Some(lists) => {
                        let (field, width, values, _) = lists.clone().into_parts();
                        let values = Arc::new(changed(&values));
                        Arc::new(arrow::array::FixedSizeListArray::new(
                            field, width, values, None,
                        ))
                    }
                }
            })
        },
        true,
    );
}

/// Changes whole numbers of a column.
pub fn integers(dataset: &Path, file: &str, name: &str, change: impl Fn(i64) -> i64) {
    table(
        dataset,
        file,
        |batch| {
            replace(batch, name, |array| {
                Arc::new(
                    array
                        .as_primitive::<Int64Type>()
                        .unary::<_, Int64Type>(&change),
                )
            })
        },
        true,
    );
}

/// Writes a video anew by ffmpeg.
pub fn video(dataset: &Path, file: &str, arguments: &[&str]) {
    let (path, new) = (dataset.join(file), dataset.join("new.mp4"));
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(arguments)
        .arg(&new));
    std::fs::rename(new, path).unwrap();
}

/// Changes the lines of `meta/<name>.jsonl`.
pub fn lines(dataset: &Path, name: &str, change: impl Fn(&mut Vec<String>)) {
    let path = dataset.join(format!("meta/{name}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}
