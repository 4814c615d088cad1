//! Ways to break a dataset.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Float32Type, Int64Type};
use dexumi_export::{MANIFEST_FILE, Options, format, verify};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use serde_json::Value;

use crate::stores::{self, copy};
use crate::synthetic::{
    ffmpeg_is_installed, jpegs, listing, options, plain_folder, run, two_hands,
};

/// What is broken, how, and what the checker says of it.
pub type Break = (&'static str, fn(&Path), &'static str);

/// Breaks copies of the dataset `good` and fails where the checker does not say why. A copy lies in
/// `beside`, in a folder of the same name.
pub fn all_are_refused(good: &Path, beside: &Path, breaks: &[Break]) {
    for (number, (name, break_it, expected)) in breaks.iter().enumerate() {
        let folder = beside.join(number.to_string());
        let broken = folder.join(good.file_name().unwrap());
        copy(good, &broken);
        // It would tell that a file was changed, before any rule does.
        std::fs::remove_file(broken.join(MANIFEST_FILE)).unwrap();
        break_it(&broken);
        match verify(&broken, &options()) {
            Ok(_) => panic!("{name}: not noticed"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains(expected),
                    "{name}: expected {expected:?} in {error:?}"
                );
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// [`all_are_refused`] of a store as a format writes it.
pub fn stores_are_refused(format: &str, breaks: &[Break]) {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = plain_folder();
    let good = temporary.path().join(format);
    stores::write(format, stores::episodes(), &good).unwrap();
    all_are_refused(&good, &temporary.path().join("broken"), breaks);
}

/// A dataset of two episodes of 45 steps, of a layout of one file an episode.
pub fn written(name: &str, folder: &Path, chosen: &Options) {
    let images = jpegs("testsrc2", 45, (160, 120));
    let mut episodes = (0..2).map(|n| Ok(two_hands(n, 45, &images)));
    (format(name).unwrap().write)(&mut episodes, folder, chosen, &mut |_| {}).unwrap();
    assert_eq!(verify(folder, &options()).unwrap().rows, 90);
}

/// Takes an entry out of a JSON object.
pub fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key);
}

/// Names an entry of a JSON object anew.
pub fn rename(value: &mut Value, key: &str, new: &str) {
    let entry = value[key].clone();
    remove(value, key);
    value[new] = entry;
}

/// Changes `meta/<name>.json`.
pub fn meta(dataset: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    json(&dataset.join(format!("meta/{name}.json")), change);
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

/// Changes a JSON file.
pub fn json(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Changes one line of a file of JSON lines.
pub fn line(path: &Path, number: usize, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut value = serde_json::from_str(&lines[number]).unwrap();
    change(&mut value);
    lines[number] = value.to_string();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Overwrites bytes of a file.
pub fn patch(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, content).unwrap();
}

/// Takes a stored ZIP file apart, lets its folder be changed, and puts it together.
pub fn zipped(path: &Path, change: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    archive.extract(folder.path()).unwrap();
    change(folder.path());
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in listing(folder.path()) {
        writer.start_file(name.clone(), stored).unwrap();
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        std::io::Write::write_all(&mut writer, &bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// Writes an HDF5 file of numbers anew, with changed values of one array.
pub fn hdf5(path: &Path, changed: &str, change: impl FnOnce(&mut Vec<f64>)) {
    let file = hdf5_pure::File::open(path).unwrap();
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut change = Some(change);
    fn fill(
        group: &hdf5_pure::Group,
        at: String,
        builder: &mut hdf5_pure::GroupBuilder,
        change: &mut dyn FnMut(&str, &mut Vec<f64>),
    ) {
        for (name, value) in group.attrs().unwrap() {
            builder.set_attr(&name, value);
        }
        for name in group.datasets().unwrap() {
            let array = group.dataset(&name).unwrap();
            let mut values = array.read_f64().unwrap();
            change(&format!("{at}/{name}"), &mut values);
            let made = builder.create_dataset(&name);
            made.with_f64_data(&values)
                .with_shape(&array.shape().unwrap());
        }
        for name in group.groups().unwrap() {
            let mut inner = builder.create_group(&name);
            fill(
                &group.group(&name).unwrap(),
                format!("{at}/{name}"),
                &mut inner,
                change,
            );
            builder.add_group(inner.finish());
        }
    }
    for name in file.root().groups().unwrap() {
        let mut group = builder.create_group(&name);
        fill(
            &file.group(&name).unwrap(),
            name.clone(),
            &mut group,
            &mut |key, values| {
                if key == changed
                    && let Some(change) = change.take()
                {
                    change(values);
                }
            },
        );
        builder.add_group(group.finish());
    }
    std::fs::write(path, builder.finish().unwrap()).unwrap();
    assert!(change.is_none(), "no array {changed}");
}
