//! The checker refuses every dataset of the v3 layout that breaks one rule.

use std::sync::Arc;

use arrow::array::AsArray;
use dexumi_export::{format, verify};

use crate::breaking::{
    Break, all_are_refused, floats, integers, meta, replace, reversed, table, video,
};
use crate::synthetic::{episode, ffmpeg_is_installed, jpegs, options};

const DATA: &str = "data/chunk-000/file-000.parquet";
const EPISODES: &str = "meta/episodes/chunk-000/file-000.parquet";
const TASKS: &str = "meta/tasks.parquet";
const VIDEO: &str = "videos/observation.images.head/chunk-000/file-000.mp4";

const BREAKS: &[Break] = &[
    (
        "a row too many",
        |d| meta(d, "info", |v| v["total_frames"] = 61.into()),
        "total_frames",
    ),
    (
        "another fps",
        |d| meta(d, "info", |v| v["fps"] = 15.into()),
        "timestamp of row 1",
    ),
    (
        "old version",
        |d| meta(d, "info", |v| v["codebase_version"] = "v2.0".into()),
        "codebase_version",
    ),
    (
        "a slash in a name",
        |d| {
            meta(d, "info", |v| {
                let feature = v["features"]["action"].clone();
                v["features"]["my/action"] = feature;
            })
        },
        "must not contain '/'",
    ),
    (
        "another place of the data",
        |d| {
            meta(d, "info", |v| {
                v["data_path"] = "dota/{episode_index}.parquet".into();
            })
        },
        "data_path",
    ),
    (
        "another place of the videos",
        |d| meta(d, "info", |v| v["video_path"] = "x".into()),
        "video_path",
    ),
    (
        "keyframes far apart",
        |d| {
            video(
                d,
                VIDEO,
                &[
                    "-c:v",
                    "libx264",
                    "-g",
                    "30",
                    "-bf",
                    "0",
                    "-sc_threshold",
                    "0",
                ],
            );
        },
        "distance of keyframes",
    ),
    (
        "undeclared column",
        |d| {
            meta(d, "info", |v| {
                v["features"].as_object_mut().unwrap().remove("phase");
            })
        },
        "number of columns",
    ),
    (
        "wrong codec",
        |d| {
            meta(d, "info", |v| {
                v["features"]["observation.images.head"]["info"]["video.codec"] = "av1".into();
            })
        },
        "codec",
    ),
    (
        "no q99",
        |d| {
            meta(d, "stats", |v| {
                v["action"].as_object_mut().unwrap().remove("q99");
            })
        },
        "q99 of action",
    ),
    (
        "statistics of other data",
        |d| meta(d, "stats", |v| v["action"]["min"][0] = (-9).into()),
        "min of action",
    ),
    (
        "quantiles out of order",
        |d| meta(d, "stats", |v| v["action"]["q10"][0] = 9.into()),
        "not in order",
    ),
    (
        "flat image statistics",
        |d| {
            meta(d, "stats", |v| {
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
        |d| floats(d, DATA, "action", |k, x| if k == 70 { f32::NAN } else { x }),
        "action is not finite in row 6",
    ),
    (
        "times rounded down",
        |d| {
            floats(d, DATA, "timestamp", |_, x| {
                if x > 0.0 { x.next_down() } else { x }
            })
        },
        "timestamp of row 1",
    ),
    (
        "jitter in the times",
        |d| {
            floats(
                d,
                DATA,
                "timestamp",
                |k, x| if k == 5 { x + 1e-3 } else { x },
            )
        },
        "timestamp of row 5",
    ),
    (
        "a gap in the index",
        |d| integers(d, DATA, "index", |x| if x >= 30 { x + 1 } else { x }),
        "index of row 30",
    ),
    (
        "a subtask that is no sentence",
        |d| integers(d, DATA, "annotation.subtask", |x| x + 9),
        "annotation.subtask of row 0",
    ),
    (
        "another task",
        |d| integers(d, DATA, "task_index", |x| 1 - x),
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
        |d| video(d, VIDEO, &["-frames:v", "59", "-c", "copy"]),
        "expected 60 images, got 59",
    ),
    (
        "coarse ticks",
        |d| video(d, VIDEO, &["-c", "copy", "-video_track_timescale", "1000"]),
        "expected packet 1 at 1/30 s",
    ),
    (
        "no keyframe at an episode's start",
        |d| {
            video(
                d,
                VIDEO,
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
        |d| {
            video(
                d,
                VIDEO,
                &["-c:v", "libx264", "-g", "1", "-vf", "scale=80:60"],
            )
        },
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
    let write = format("lerobot-v3").unwrap().write;
    write(&mut episodes, &good, &options(), &mut |_| {}).unwrap();
    assert_eq!(verify(&good, &options()).unwrap().rows, 60);
    all_are_refused(&good, temporary.path(), BREAKS);
}
