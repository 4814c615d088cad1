//! The checker refuses every dataset of the v2.1 layouts that breaks one rule.

use serde_json::json as value;

use crate::breaking::{
    Break, all_are_refused, floats, integers, lines, meta, remove, reversed, table, video, written,
};
use crate::synthetic::{ffmpeg_is_installed, options, plain_folder};

const DATA: &str = "data/chunk-000/episode_000001.parquet";
const VIDEO: &str = "videos/chunk-000/observation.images.head/episode_000001.mp4";
const HEAD: &str = "observation.images.head";

const ANY_FORMAT: &[Break] = &[
    (
        "a row too many",
        |d| meta(d, "info", |v| v["total_frames"] = 91.into()),
        "total_frames",
    ),
    (
        "an episode too many",
        |d| meta(d, "info", |v| v["total_episodes"] = 3.into()),
        "split train",
    ),
    (
        "a video too many",
        |d| meta(d, "info", |v| v["total_videos"] = 7.into()),
        "total_videos",
    ),
    (
        "a chunk too many",
        |d| meta(d, "info", |v| v["total_chunks"] = 2.into()),
        "total_chunks",
    ),
    (
        "a task too many",
        |d| meta(d, "info", |v| v["total_tasks"] = 9.into()),
        "total_tasks",
    ),
    (
        "no total of chunks",
        |d| meta(d, "info", |v| remove(v, "total_chunks")),
        "total_chunks",
    ),
    (
        "another fps",
        |d| meta(d, "info", |v| v["fps"] = 15.into()),
        "video.fps",
    ),
    (
        "another path",
        |d| meta(d, "info", |v| v["data_path"] = "x".into()),
        "data_path",
    ),
    (
        "another split",
        |d| meta(d, "info", |v| v["splits"]["train"] = "0:1".into()),
        "split train",
    ),
    (
        "unnamed sides of an image",
        |d| {
            meta(d, "info", |v| {
                v["features"][HEAD]["names"] = value!(["h", "w", "c"])
            })
        },
        "names of observation.images.head",
    ),
    (
        "no channels",
        |d| {
            meta(d, "info", |v| {
                remove(&mut v["features"][HEAD]["info"], "video.channels")
            })
        },
        "video.channels",
    ),
    (
        "another codec",
        |d| {
            meta(d, "info", |v| {
                v["features"][HEAD]["info"]["video.codec"] = "av1".into()
            })
        },
        "codec",
    ),
    (
        "language as text",
        |d| {
            meta(d, "info", |v| {
                v["features"]["annotation.task"]["dtype"] = "string".into()
            })
        },
        "dtype of annotation.task",
    ),
    (
        "a blank line",
        |d| lines(d, "tasks", |l| l.insert(1, String::new())),
        "line 2",
    ),
    (
        "tasks in another order",
        |d| lines(d, "tasks", |l| l.reverse()),
        "task_index in line order",
    ),
    (
        "an empty task",
        |d| {
            lines(d, "tasks", |l| {
                l[0] = r#"{"task_index":0,"task":" "}"#.into()
            })
        },
        "task 0",
    ),
    (
        "episodes in another order",
        |d| lines(d, "episodes", |l| l.reverse()),
        "episode_index in line order",
    ),
    (
        "an episode longer than its data",
        |d| {
            lines(d, "episodes", |l| {
                l[1] = l[1].replace("\"length\":45", "\"length\":46")
            });
            meta(d, "info", |v| v["total_frames"] = 91.into());
        },
        "count of action of episode 1",
    ),
    (
        "no statistics of an episode",
        |d| lines(d, "episodes_stats", |l| l.truncate(1)),
        "episode_index in line order",
    ),
    (
        "statistics of another episode",
        |d| {
            lines(d, "episodes_stats", |l| {
                l[1] = l[0].replacen("\"episode_index\":0", "\"episode_index\":1", 1);
            });
        },
        "of episode 1",
    ),
    (
        "a seventh statistic",
        |d| meta(d, "stats", |v| v["action"]["q50"] = value!([0])),
        "statistics of action",
    ),
    (
        "no q01",
        |d| meta(d, "stats", |v| remove(&mut v["action"], "q01")),
        "statistics of action",
    ),
    (
        "statistics of images",
        |d| meta(d, "stats", |v| v[HEAD] = value!({})),
        "features with statistics",
    ),
    (
        "statistics of other data",
        |d| meta(d, "stats", |v| v["action"]["max"][0] = 9.into()),
        "max of action",
    ),
    (
        "quantiles out of order",
        |d| meta(d, "stats", |v| v["action"]["q01"][0] = 9.into()),
        "not in order",
    ),
    (
        "not a number",
        |d| floats(d, DATA, "action", |k, x| if k == 70 { f32::NAN } else { x }),
        "action is not finite",
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
        "rows in another order",
        |d| table(d, DATA, reversed, true),
        "of row 0",
    ),
    (
        "an index from zero",
        |d| integers(d, DATA, "index", |x| x - 45),
        "index of row 0",
    ),
    (
        "another task",
        |d| integers(d, DATA, "task_index", |x| 3 - x),
        "task",
    ),
    (
        "a lost row",
        |d| table(d, DATA, |b| b.slice(0, b.num_rows() - 1), true),
        "rows: expected 45, got 44",
    ),
    (
        "lost data",
        |d| std::fs::remove_file(d.join(DATA)).unwrap(),
        "data of episode 1 is missing",
    ),
    (
        "a lost video",
        |d| std::fs::remove_file(d.join(VIDEO)).unwrap(),
        "video is missing",
    ),
    (
        "a lost image",
        |d| video(d, VIDEO, &["-frames:v", "44", "-c", "copy"]),
        "expected 45 images, got 44",
    ),
    (
        "coarse ticks",
        |d| video(d, VIDEO, &["-c", "copy", "-video_track_timescale", "1000"]),
        "expected packet 1 at 1/30 s",
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
                    "250",
                    "-bf",
                    "0",
                    "-sc_threshold",
                    "0",
                ],
            )
        },
        "distance of keyframes",
    ),
    (
        "images out of order",
        |d| {
            video(
                d,
                VIDEO,
                &[
                    "-c:v",
                    "libx264",
                    "-g",
                    "12",
                    "-bf",
                    "2",
                    "-b_strategy",
                    "0",
                ],
            )
        },
        "expected packet",
    ),
    (
        "full chroma",
        |d| {
            video(
                d,
                VIDEO,
                &[
                    "-c:v", "libx264", "-g", "12", "-bf", "0", "-pix_fmt", "yuv444p",
                ],
            )
        },
        "pixel format",
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
        "width and height",
    ),
    (
        "a stray file",
        |d| std::fs::write(d.join("data/x.parquet"), "").unwrap(),
        "superfluous file",
    ),
];

#[test]
fn every_broken_v21_dataset_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("lerobot-v2.1", &good, &options());
        all_are_refused(&good, root.path(), ANY_FORMAT);
    }
}
