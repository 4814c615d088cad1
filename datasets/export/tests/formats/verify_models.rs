//! The checker refuses every dataset that breaks one rule of the model it is for.

use dexumi_export::{Options, verify};
use serde_json::json as value;

use crate::breaking::{
    Break, all_are_refused, floats, lines, meta, remove, rename, video, written,
};
use crate::synthetic::{ffmpeg_is_installed, options, plain_folder};

const DATA: &str = "data/chunk-000/episode_000001.parquet";

const MODALITY: &[Break] = &[
    (
        "a part that overlaps",
        |d| {
            meta(d, "modality", |v| {
                v["state"]["right_hand"]["start"] = 12.into()
            })
        },
        "start of state \"right_hand\"",
    ),
    (
        "a part that reaches too far",
        |d| {
            meta(d, "modality", |v| {
                v["action"]["right_hand"]["end"] = 90.into()
            })
        },
        "columns of \"action\"",
    ),
    (
        "a dot in a name",
        |d| {
            meta(d, "modality", |v| {
                let part = v["state"]["right_hand"].clone();
                v["state"]["right.hand"] = part;
            });
        },
        "must not contain '.'",
    ),
    (
        "an action without its state",
        |d| meta(d, "modality", |v| rename(&mut v["state"], "left_hand", "x")),
        "width of state \"left_hand\"",
    ),
    (
        "a view that is not there",
        |d| {
            meta(d, "modality", |v| {
                v["video"]["head"]["original_key"] = "x".into()
            })
        },
        "view \"head\"",
    ),
    (
        "no language",
        |d| meta(d, "modality", |v| v["annotation"] = value!({})),
        "no annotation",
    ),
    (
        "language that is no index",
        |d| {
            meta(d, "modality", |v| {
                v["annotation"]["task"]["original_key"] = "timestamp".into()
            })
        },
        "dtype of annotation",
    ),
];

const DREAMZERO: &[Break] = &[
    (
        "an unknown tag",
        |d| meta(d, "embodiment", |v| v["embodiment_tag"] = "dexumi".into()),
        "embodiment_tag",
    ),
    (
        "views of two sizes",
        |d| {
            meta(d, "info", |v| {
                v["features"]["observation.images.left_wrist"]["shape"] = value!([90, 160, 3])
            })
        },
        "width and height",
    ),
    (
        "views by other names",
        |d| meta(d, "modality", |v| rename(&mut v["video"], "head", "top")),
        "views: expected",
    ),
    (
        "no relative statistics of a rotation",
        |d| {
            meta(d, "relative_stats_dreamzero", |v| {
                remove(v, "left_wrist_rot6d")
            })
        },
        "keys of relative actions",
    ),
    (
        "no relative statistics of a hand",
        |d| meta(d, "relative_stats_dreamzero", |v| remove(v, "left_hand")),
        "keys of relative actions",
    ),
    (
        "relative statistics without q99",
        |d| {
            meta(d, "relative_stats_dreamzero", |v| {
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
            meta(d, "modality", |v| {
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
            meta(d, "relative_stats", |v| {
                v["left_hand"]["mean"].as_array_mut().unwrap().truncate(39);
            });
        },
        "steps of",
    ),
    (
        "statistics of another width",
        |d| {
            meta(d, "relative_stats", |v| {
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
        |d| meta(d, "relative_stats", |v| remove(v, "left_hand")),
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
            meta(d, "modality", |v| {
                rename(&mut v["state"], "waist", "belt");
                rename(&mut v["action"], "waist", "belt");
            });
        },
        "keys of a G1",
    ),
    (
        "a view by another name",
        |d| {
            meta(d, "modality", |v| {
                let view = v["video"]["ego_view"].clone();
                v["video"] = value!({"head": view});
            });
        },
        "views",
    ),
];

#[test]
fn every_broken_dataset_of_dreamzero_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("dreamzero", &good, &options());
        all_are_refused(&good, root.path(), MODALITY);
        all_are_refused(&good, &root.path().join("own"), DREAMZERO);
    }
}

#[test]
fn every_broken_dataset_of_gr00t_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups");
        written("gr00t", &good, &options());
        all_are_refused(&good, root.path(), GR00T);
    }
}

#[test]
fn every_broken_dataset_of_dreamdojo_is_refused_for_its_reason() {
    if ffmpeg_is_installed() {
        let root = plain_folder();
        let good = root.path().join("cups_g1");
        written("dreamdojo", &good, &options());
        all_are_refused(&good, root.path(), DREAMDOJO);
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
    all_are_refused(&good, root.path(), TREE);
}
