//! The checker refuses every dataset that breaks one rule.

mod synthetic;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Float32Type, Int64Type};
use dexumi_export::{Codec, Options, format, verify};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use synthetic::{episode, ffmpeg_is_installed, jpegs, listing, run};

const DATA: &str = "data/chunk-000/file-000.parquet";
const EPISODES: &str = "meta/episodes/chunk-000/file-000.parquet";
const TASKS: &str = "meta/tasks.parquet";
const VIDEO: &str = "videos/observation.images.head/chunk-000/file-000.mp4";

type Break = fn(&Path);

/// What is broken, how, and what the checker says of it.
const BREAKS: &[(&str, Break, &str)] = &[
    (
        "a row too many",
        |d| json(d, "info", |v| v["total_frames"] = 61.into()),
        "total_frames",
    ),
    (
        "another fps",
        |d| json(d, "info", |v| v["fps"] = 15.into()),
        "timestamp of row 1",
    ),
    (
        "old version",
        |d| json(d, "info", |v| v["codebase_version"] = "v2.1".into()),
        "codebase_version",
    ),
    (
        "a slash in a name",
        |d| {
            json(d, "info", |v| {
                let feature = v["features"]["action"].clone();
                v["features"]["my/action"] = feature;
            })
        },
        "must not contain '/'",
    ),
    (
        "undeclared column",
        |d| {
            json(d, "info", |v| {
                v["features"].as_object_mut().unwrap().remove("phase");
            })
        },
        "number of columns",
    ),
    (
        "wrong codec",
        |d| {
            json(d, "info", |v| {
                v["features"]["observation.images.head"]["info"]["video.codec"] = "av1".into();
            })
        },
        "codec",
    ),
    (
        "no q99",
        |d| {
            json(d, "stats", |v| {
                v["action"].as_object_mut().unwrap().remove("q99");
            })
        },
        "q99 of action",
    ),
    (
        "statistics of other data",
        |d| json(d, "stats", |v| v["action"]["min"][0] = (-9).into()),
        "min of action",
    ),
    (
        "quantiles out of order",
        |d| json(d, "stats", |v| v["action"]["q10"][0] = 9.into()),
        "not in order",
    ),
    (
        "flat image statistics",
        |d| {
            json(d, "stats", |v| {
                v["observation.images.head"]["mean"] = serde_json::json!([0.5, 0.5, 0.5]);
            })
        },
        "mean of observation.images.head",
    ),
    (
        "no pandas index",
        |d| table(d, TASKS, |b| b, false),
        "pandas index",
    ),
    (
        "tasks in another order",
        |d| table(d, TASKS, reversed, true),
        "task_index in row order",
    ),
    (
        "episodes in another order",
        |d| table(d, EPISODES, reversed, true),
        "episode_index",
    ),
    (
        "a shifted video",
        |d| {
            let name = "videos/observation.images.head/from_timestamp";
            table(
                d,
                EPISODES,
                |b| {
                    replace(b, name, |a| {
                        let values = a.as_primitive::<arrow::datatypes::Float64Type>();
                        Arc::new(values.unary::<_, arrow::datatypes::Float64Type>(|x| x + 0.001))
                    })
                },
                true,
            );
        },
        "from_timestamp",
    ),
    (
        "not a number",
        |d| floats(d, "action", |k, x| if k == 70 { f32::NAN } else { x }),
        "action is not finite in row 23",
    ),
    (
        "times rounded down",
        |d| {
            floats(
                d,
                "timestamp",
                |_, x| if x > 0.0 { x.next_down() } else { x },
            )
        },
        "timestamp of row 1",
    ),
    (
        "jitter in the times",
        |d| floats(d, "timestamp", |k, x| if k == 5 { x + 1e-3 } else { x }),
        "timestamp of row 5",
    ),
    (
        "a gap in the index",
        |d| integers(d, "index", |x| if x >= 30 { x + 1 } else { x }),
        "index of row 30",
    ),
    (
        "another task",
        |d| integers(d, "task_index", |x| 1 - x),
        "task of row 0",
    ),
    (
        "a lost row",
        |d| table(d, DATA, |b| b.slice(0, b.num_rows() - 1), true),
        "rows of all data files",
    ),
    (
        "a lost video",
        |d| std::fs::remove_file(d.join(VIDEO)).unwrap(),
        "video is missing",
    ),
    (
        "a lost image",
        |d| video(d, &["-frames:v", "59", "-c", "copy"]),
        "expected 60 images, got 59",
    ),
    (
        "coarse ticks",
        |d| video(d, &["-c", "copy", "-video_track_timescale", "1000"]),
        "expected packet 1 at 1/30 s",
    ),
    (
        "no keyframe at an episode's start",
        |d| {
            video(
                d,
                &[
                    "-c:v",
                    "libx264",
                    "-g",
                    "250",
                    "-bf",
                    "0",
                    "-sc_threshold",
                    "0",
                ],
            );
        },
        "keyframe at packet 30",
    ),
    (
        "another size",
        |d| video(d, &["-c:v", "libx264", "-g", "1", "-vf", "scale=80:60"]),
        "shape",
    ),
    (
        "a stray file",
        |d| std::fs::write(d.join("data/x.parquet"), "").unwrap(),
        "superfluous file",
    ),
];

#[test]
fn every_broken_dataset_is_refused_for_its_reason() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let good = temporary.path().join("good");
    let size = (160, 120);
    let images = jpegs("testsrc2", 30, size);
    let mut episodes = (0..2).map(|n| Ok(episode(n, 30, &[("head", size, &images[..])])));
    let options = Options {
        codec: Codec::H264,
        ..Options::default()
    };
    let write = format("lerobot-v3").unwrap().write;
    write(&mut episodes, &good, &options, &mut |_| {}).unwrap();
    assert_eq!(verify(&good, &options).unwrap().rows, 60);

    for (name, break_it, expected) in BREAKS {
        let copy = temporary.path().join(name);
        for file in listing(&good) {
            let to = copy.join(&file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(good.join(&file), to).unwrap();
        }
        break_it(&copy);
        match verify(&copy, &options) {
            Ok(_) => panic!("{name}: not noticed"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(expected), "{name}: {error}");
            }
        }
    }
}

fn json(dataset: &Path, name: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = dataset.join(format!("meta/{name}.json"));
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn table(dataset: &Path, file: &str, change: impl Fn(RecordBatch) -> RecordBatch, metadata: bool) {
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

fn reversed(batch: RecordBatch) -> RecordBatch {
    let order = Int64Array::from_iter_values((0..batch.num_rows() as i64).rev());
    take_record_batch(&batch, &order).unwrap()
}

fn replace(batch: RecordBatch, name: &str, change: impl Fn(&ArrayRef) -> ArrayRef) -> RecordBatch {
    let at = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = change(&columns[at]);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn floats(dataset: &Path, name: &str, change: impl Fn(usize, f32) -> f32) {
    table(
        dataset,
        DATA,
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

fn integers(dataset: &Path, name: &str, change: impl Fn(i64) -> i64) {
    table(
        dataset,
        DATA,
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

fn video(dataset: &Path, arguments: &[&str]) {
    let (path, new) = (dataset.join(VIDEO), dataset.join("new.mp4"));
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(arguments)
        .arg(&new));
    std::fs::rename(new, path).unwrap();
}
