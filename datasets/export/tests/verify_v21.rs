//! The checker refuses every dataset of the v2.1 layouts that breaks one rule.

mod breaking;
mod synthetic;

use std::path::Path;

use breaking::{Break, all_are_refused, floats, integers, json, lines, reversed, table, video};
use dexumi_export::{Options, format, verify};
use serde_json::{Value, json as value};
use synthetic::{ffmpeg_is_installed, jpegs, options, plain_folder, two_hands};

const DATA: &str = "data/chunk-000/episode_000001.parquet";
const VIDEO: &str = "videos/chunk-000/observation.images.head/episode_000001.mp4";
const HEAD: &str = "observation.images.head";

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key);
}

fn rename(value: &mut Value, key: &str, new: &str) {
    let entry = value[key].clone();
    remove(value, key);
    value[new] = entry;
}

const ANY_FORMAT: &[Break] = &[
    (
        "a row too many",
        |d| json(d, "info", |v| v["total_frames"] = 91.into()),
        "total_frames",
    ),
    (
        "an episode too many",
        |d| json(d, "info", |v| v["total_episodes"] = 3.into()),
        "split train",
    ),
    (
        "a video too many",
        |d| json(d, "info", |v| v["total_videos"] = 7.into()),
        "total_videos",
    ),
    (
        "a chunk too many",
        |d| json(d, "info", |v| v["total_chunks"] = 2.into()),
        "total_chunks",
    ),
    (
        "a task too many",
        |d| json(d, "info", |v| v["total_tasks"] = 9.into()),
        "total_tasks",
    ),
    (
        "no total of chunks",
        |d| json(d, "info", |v| remove(v, "total_chunks")),
        "total_chunks",
    ),
    (
        "another fps",
        |d| json(d, "info", |v| v["fps"] = 15.into()),
        "video.fps",
    ),
    (
        "another path",
        |d| json(d, "info", |v| v["data_path"] = "x".into()),
        "data_path",
    ),
    (
        "another split",
        |d| json(d, "info", |v| v["splits"]["train"] = "0:1".into()),
        "split train",
    ),
    (
        "unnamed sides of an image",
        |d| {
            json(d, "info", |v| {
                v["features"][HEAD]["names"] = value!(["h", "w", "c"])
            })
        },
        "names of observation.images.head",
    ),
    (
        "no channels",
        |d| {
            json(d, "info", |v| {
                remove(&mut v["features"][HEAD]["info"], "video.channels")
            })
        },
        "video.channels",
    ),
    (
        "another codec",
        |d| {
            json(d, "info", |v| {
                v["features"][HEAD]["info"]["video.codec"] = "av1".into()
            })
        },
        "codec",
    ),
    (
        "language as text",
        |d| {
            json(d, "info", |v| {
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
            json(d, "info", |v| v["total_frames"] = 91.into());
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
        |d| json(d, "stats", |v| v["action"]["q50"] = value!([0])),
        "statistics of action",
    ),
    (
        "no q01",
        |d| json(d, "stats", |v| remove(&mut v["action"], "q01")),
        "statistics of action",
    ),
    (
        "statistics of images",
        |d| json(d, "stats", |v| v[HEAD] = value!({})),
        "features with statistics",
    ),
    (
        "statistics of other data",
        |d| json(d, "stats", |v| v["action"]["max"][0] = 9.into()),
        "max of action",
    ),
    (
        "quantiles out of order",
        |d| json(d, "stats", |v| v["action"]["q01"][0] = 9.into()),
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

const MODALITY: &[Break] = &[
    (
        "a part that overlaps",
        |d| {
            json(d, "modality", |v| {
                v["state"]["right_hand"]["start"] = 12.into()
            })
        },
        "start of state \"right_hand\"",
    ),
    (
        "a part that reaches too far",
        |d| {
            json(d, "modality", |v| {
                v["action"]["right_hand"]["end"] = 90.into()
            })
        },
        "columns of \"action\"",
    ),
    (
        "a dot in a name",
        |d| {
            json(d, "modality", |v| {
                let part = v["state"]["right_hand"].clone();
                v["state"]["right.hand"] = part;
            });
        },
        "must not contain '.'",
    ),
    (
        "an action without its state",
        |d| json(d, "modality", |v| rename(&mut v["state"], "left_hand", "x")),
        "width of state \"left_hand\"",
    ),
    (
        "a view that is not there",
        |d| {
            json(d, "modality", |v| {
                v["video"]["head"]["original_key"] = "x".into()
            })
        },
        "view \"head\"",
    ),
    (
        "no language",
        |d| json(d, "modality", |v| v["annotation"] = value!({})),
        "no annotation",
    ),
    (
        "language that is no index",
        |d| {
            json(d, "modality", |v| {
                v["annotation"]["task"]["original_key"] = "timestamp".into()
            })
        },
        "dtype of annotation",
    ),
];

const DREAMZERO: &[Break] = &[
    (
        "an unknown tag",
        |d| json(d, "embodiment", |v| v["embodiment_tag"] = "dexumi".into()),
        "embodiment_tag",
    ),
    (
        "views of two sizes",
        |d| {
            json(d, "info", |v| {
                v["features"]["observation.images.left_wrist"]["shape"] = value!([90, 160, 3])
            })
        },
        "width and height",
    ),
    (
        "views by other names",
        |d| json(d, "modality", |v| rename(&mut v["video"], "head", "top")),
        "views: expected",
    ),
    (
        "no relative statistics of a rotation",
        |d| {
            json(d, "relative_stats_dreamzero", |v| {
                remove(v, "left_wrist_rot6d")
            })
        },
        "keys of relative actions",
    ),
    (
        "no relative statistics of a hand",
        |d| json(d, "relative_stats_dreamzero", |v| remove(v, "left_hand")),
        "keys of relative actions",
    ),
    (
        "relative statistics without q99",
        |d| {
            json(d, "relative_stats_dreamzero", |v| {
                remove(&mut v["left_hand"], "q99")
            })
        },
        "statistics of left_hand",
    ),
    (
        "a sentence that Python evaluates",
        |d| {
            lines(d, "tasks", |l| {
                l[2] = r#"{"task_index":2,"task":"['a']"}"#.into();
            });
        },
        "for a Python value",
    ),
    (
        "a filter that lacks an episode",
        |d| lines(d, "step_filter", |l| l.truncate(1)),
        "lines",
    ),
    (
        "a filter behind the end",
        |d| {
            lines(d, "step_filter", |l| {
                l[1] = r#"{"episode_index":1,"step_indices":[45]}"#.into()
            })
        },
        "expected steps below 45",
    ),
    (
        "a configuration for fewer numbers",
        |d| {
            let path = d.join("dreamzero.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(
                path,
                text.replace("max_action_dim: 32", "max_action_dim: 16"),
            )
            .unwrap();
        },
        "max_action_dim",
    ),
];

const GR00T: &[Break] = &[
    (
        "a pose of other width",
        |d| {
            json(d, "modality", |v| {
                for of in ["state", "action"] {
                    v[of]["left_wrist_eef_9d"]["end"] = 8.into();
                    v[of]["left_hand"]["start"] = 8.into();
                }
            });
        },
        "width of",
    ),
    (
        "statistics of fewer steps",
        |d| {
            json(d, "relative_stats", |v| {
                v["left_hand"]["mean"].as_array_mut().unwrap().truncate(39);
            });
        },
        "steps of",
    ),
    (
        "statistics of another width",
        |d| {
            json(d, "relative_stats", |v| {
                v["left_hand"]["std"][0] = value!([1.0])
            })
        },
        "finite values a step",
    ),
    (
        "statistics of another horizon",
        |d| {
            std::fs::copy(
                d.join("meta/relative_stats_16.json"),
                d.join("meta/relative_stats.json"),
            )
            .map(drop)
            .unwrap()
        },
        "delta_indices=list(range(16))",
    ),
    (
        "a key without statistics",
        |d| json(d, "relative_stats", |v| remove(v, "left_hand")),
        "keys of relative actions",
    ),
    (
        "rows that are no rotation",
        |d| {
            floats(d, DATA, "action", |k, x| {
                if k == 22 * 7 + 3 { 0.999 * x } else { x }
            });
        },
        "two rows of a rotation",
    ),
    (
        "a configuration of other keys",
        |d| {
            let path = d.join("new_embodiment_config.py");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace("left_hand", "hand")).unwrap();
        },
        "does not name \"left_hand\"",
    ),
];

const DREAMDOJO: &[Break] = &[
    (
        "a key that a G1 has not",
        |d| {
            json(d, "modality", |v| {
                rename(&mut v["state"], "waist", "belt");
                rename(&mut v["action"], "waist", "belt");
            });
        },
        "keys of a G1",
    ),
    (
        "a view by another name",
        |d| {
            json(d, "modality", |v| {
                let view = v["video"]["ego_view"].clone();
                v["video"] = value!({"head": view});
            });
        },
        "views",
    ),
];

fn written(name: &str, folder: &Path, chosen: &Options) {
    let images = jpegs("testsrc2", 45, (160, 120));
    let mut episodes = (0..2).map(|n| Ok(two_hands(n, 45, &images)));
    (format(name).unwrap().write)(&mut episodes, folder, chosen, &mut |_| {}).unwrap();
    assert_eq!(verify(folder, &options()).unwrap().rows, 90);
}

#[test]
fn every_broken_v21_dataset_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("lerobot-v2.1", &good, &options());
        all_are_refused(&good, root.path(), ANY_FORMAT, &options());
    }
}

#[test]
fn every_broken_dataset_of_dreamzero_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("dreamzero", &good, &options());
        all_are_refused(&good, root.path(), MODALITY, &options());
        all_are_refused(&good, &root.path().join("own"), DREAMZERO, &options());
    }
}

#[test]
fn every_broken_dataset_of_gr00t_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("gr00t", &good, &options());
        all_are_refused(&good, root.path(), GR00T, &options());
    }
}

#[test]
fn every_broken_dataset_of_dreamdojo_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups_g1");
        written("dreamdojo", &good, &options());
        all_are_refused(&good, root.path(), DREAMDOJO, &options());
        // The same dataset at a place that says something else of it.
        for place in ["cups", "gr1/cups_g1"] {
            let other = root.path().join("moved").join(place);
            std::fs::create_dir_all(other.parent().unwrap()).unwrap();
            std::fs::rename(&good, &other).unwrap();
            let error = verify(&other, &options()).unwrap_err().to_string();
            assert!(error.contains("DreamDojo's loader"), "{place}: {error}");
            std::fs::rename(&other, &good).unwrap();
        }
    }
}

#[test]
fn every_broken_tree_of_videos_is_refused_for_its_reason() {
    if !ffmpeg_is_installed() {
        return;
    }
    const HEAD_VIDEO: &str = "videos/chunk-000/episode_000001/head.mp4";
    const TREE: &[Break] = &[
        (
            "a lost image",
            |d| video(d, HEAD_VIDEO, &["-frames:v", "44", "-c", "copy"]),
            "expected 45 images",
        ),
        (
            "another shape",
            |d| {
                video(
                    d,
                    HEAD_VIDEO,
                    &["-c:v", "libx264", "-g", "1", "-vf", "scale=640:360"],
                )
            },
            "width and height",
        ),
        (
            "a lost video",
            |d| std::fs::remove_file(d.join(HEAD_VIDEO)).unwrap(),
            "video is missing",
        ),
        (
            "too few images",
            |d| {
                lines(d, "episodes", |l| {
                    l[1] = l[1].replace("\"length\":45", "\"length\":13")
                })
            },
            "at least 14",
        ),
        (
            "another place",
            |d| {
                lines(d, "episodes", |l| {
                    l[1] = l[1].replace("000001/head", "000000/head")
                })
            },
            "video",
        ),
        (
            "a stray video",
            |d| std::fs::write(d.join("videos/x.mp4"), "").unwrap(),
            "superfluous file",
        ),
    ];
    let root = plain_folder();
    let good = root.path().join("cups");
    let chosen = Options {
        variant: Some("video".into()),
        ..options()
    };
    written("dreamdojo", &good, &chosen);
    all_are_refused(&good, root.path(), TREE, &options());
}
