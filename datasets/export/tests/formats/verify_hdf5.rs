//! The checker refuses every dataset of HDF5 files that breaks one rule.

use std::process::Command;

use crate::breaking::{hdf5, json, line, stores_are_refused};
use crate::synthetic::run;

#[test]
fn egoscale_that_breaks_a_rule_is_refused() {
    const CHUNKS: &str = "meta/chunks_stage1.jsonl";
    const NUMBERS: &str = "data/episodes/episode_000001.h5";
    stores_are_refused(
        "egoscale",
        &[
            (
                "capture times out of order",
                |d| {
                    hdf5(&d.join(NUMBERS), "timestamps/capture_time_ns/head", |v| {
                        v.swap(3, 8)
                    })
                },
                "goes back",
            ),
            (
                "no rate",
                |d| {
                    json(&d.join("meta/info.json"), |v| {
                        v["control_frequency_hz"] = 0.into()
                    })
                },
                "control_frequency_hz",
            ),
            (
                "a video at another rate",
                |d| {
                    json(&d.join("meta/info.json"), |v| {
                        v["control_frequency_hz"] = 15.into()
                    })
                },
                "timestamps/step",
            ),
            (
                "another embodiment",
                |d| line(&d.join(CHUNKS), 3, |v| v["embodiment_id"] = "g1".into()),
                "line 4: embodiment_id",
            ),
            (
                "another semantics",
                |d| {
                    line(&d.join(CHUNKS), 0, |v| {
                        v["action_semantics_name"] = "x".into()
                    })
                },
                "action_semantics_name",
            ),
            (
                "another width",
                |d| line(&d.join(CHUNKS), 0, |v| v["action_dim"] = 27.into()),
                "action_dim",
            ),
            (
                "another horizon",
                |d| line(&d.join(CHUNKS), 0, |v| v["action_horizon"] = 16.into()),
                "action_horizon",
            ),
            (
                "human data with state",
                |d| line(&d.join(CHUNKS), 0, |v| v["has_proprio"] = true.into()),
                "does not take",
            ),
            (
                "robot data in stage 1",
                |d| {
                    line(&d.join(CHUNKS), 0, |v| {
                        v["data_source"] = "robot_native".into()
                    })
                },
                "does not take",
            ),
            (
                "another stage",
                |d| line(&d.join(CHUNKS), 0, |v| v["stage"] = "stage2".into()),
                "stage",
            ),
            (
                "views out of order",
                |d| {
                    line(&d.join(CHUNKS), 0, |v| {
                        v["camera_views"] = serde_json::json!(["right_wrist", "head"])
                    })
                },
                "camera_views",
            ),
            (
                "an action after its image",
                |d| {
                    line(&d.join(CHUNKS), 0, |v| {
                        v["action_timestamps"][0] = 0.5.into()
                    })
                },
                "action_timestamps",
            ),
            (
                "an image at another time",
                |d| line(&d.join(CHUNKS), 0, |v| v["obs_timestamps"][0] = 0.01.into()),
                "obs_timestamps",
            ),
            (
                "actions beyond the end",
                |d| line(&d.join(CHUNKS), 0, |v| v["action_index_start"] = 20.into()),
                "starts 0 and 20",
            ),
            (
                "no instruction",
                |d| line(&d.join(CHUNKS), 0, |v| v["instruction"] = "".into()),
                "instruction",
            ),
            (
                "a sample twice",
                |d| {
                    line(&d.join(CHUNKS), 1, |v| {
                        v["chunk_id"] = "episode_000000:0".into()
                    })
                },
                "twice",
            ),
            (
                "an unknown episode",
                |d| {
                    line(&d.join(CHUNKS), 0, |v| {
                        v["episode_id"] = "episode_000009".into()
                    })
                },
                "unknown episode",
            ),
            (
                "no samples",
                |d| std::fs::write(d.join(CHUNKS), "").unwrap(),
                "no samples",
            ),
            (
                "a line that is no JSON",
                |d| std::fs::write(d.join(CHUNKS), "{").unwrap(),
                CHUNKS,
            ),
            (
                "a video missing",
                |d| std::fs::remove_file(d.join("videos/dexumi/episode_000001_head.mp4")).unwrap(),
                "the video is missing",
            ),
            (
                "an episode in two splits",
                |d| {
                    json(&d.join("meta/splits.json"), |v| {
                        v["val_episode_ids"] = serde_json::json!(["episode_000000"])
                    })
                },
                "two splits",
            ),
            (
                "an episode in no split",
                |d| {
                    json(&d.join("meta/splits.json"), |v| {
                        v["train_episode_ids"] = serde_json::json!(["episode_000000"])
                    })
                },
                "episodes in splits",
            ),
            (
                "steps that are not there",
                |d| {
                    line(&d.join("meta/episodes.jsonl"), 1, |v| {
                        v["num_steps"] = 25.into()
                    })
                },
                "num_steps",
            ),
            (
                "an action that is not the motion",
                |d| hdf5(&d.join(NUMBERS), "signals/actions", |v| v[28 * 5] += 0.01),
                "step 5: the wrist moves",
            ),
            (
                "a hand that is not the next one",
                |d| {
                    hdf5(&d.join(NUMBERS), "signals/actions", |v| {
                        v[28 * 5 + 6] += 0.01
                    })
                },
                "step 5: the action's hand",
            ),
            (
                "a state without its hand",
                |d| hdf5(&d.join(NUMBERS), "signals/raw_state", |v| v[32 * 5] += 0.01),
                "step 5: raw_state",
            ),
            (
                "a number that is none",
                |d| hdf5(&d.join(NUMBERS), "signals/actions", |v| v[3] = f64::NAN),
                "not finite",
            ),
            (
                "numbers missing",
                |d| std::fs::remove_file(d.join(NUMBERS)).unwrap(),
                NUMBERS,
            ),
        ],
    );
}

#[test]
fn dreamdojo_mano_that_breaks_a_rule_is_refused() {
    const EPISODE: &str = "part1/pick_up_the_cup/0.hdf5";
    stores_are_refused(
        "dreamdojo-mano",
        &[
            (
                "time that goes back",
                |d| {
                    hdf5(&d.join(EPISODE), "timestamps/grid_time_ns", |v| {
                        v.swap(3, 8)
                    })
                },
                "does not increase",
            ),
            (
                "numbers without a video",
                |d| std::fs::remove_file(d.join(EPISODE).with_extension("mp4")).unwrap(),
                "other half",
            ),
            (
                "a video without numbers",
                |d| std::fs::remove_file(d.join(EPISODE)).unwrap(),
                "other half",
            ),
            (
                "a file too many",
                |d| std::fs::write(d.join("part1/pick_up_the_cup/notes.txt"), "x").unwrap(),
                "superfluous",
            ),
            (
                "no rotation",
                |d| {
                    hdf5(&d.join(EPISODE), "rot6d/right/rightThumbTip", |v| {
                        v[0] += 0.5
                    })
                },
                "no two columns",
            ),
            (
                "a wrist without rotation",
                |d| {
                    hdf5(&d.join(EPISODE), "wrist/left_pose_cam_rot6d", |v| {
                        v[4] = 0.5
                    })
                },
                "no two columns",
            ),
            (
                "a number that is none",
                |d| {
                    hdf5(&d.join(EPISODE), "rot6d/left/leftThumbTip", |v| {
                        v[1] = f64::NAN
                    })
                },
                "not finite",
            ),
            (
                "a video of another length",
                |d| {
                    let path = d.join(EPISODE).with_extension("mp4");
                    let short = path.with_extension("short.mp4");
                    run(Command::new("ffmpeg")
                        .args(["-v", "error", "-i"])
                        .arg(&path)
                        .args(["-frames:v", "20", "-c", "copy"])
                        .arg(&short));
                    std::fs::rename(short, path).unwrap();
                },
                "expected 24 images",
            ),
            (
                "nothing at all",
                |d| {
                    std::fs::remove_dir_all(d.join("part1/pick_up_the_cup"))
                        .and_then(|()| std::fs::remove_dir_all(d.join("part1/open_the_drawer")))
                        .unwrap()
                },
                "no pair",
            ),
        ],
    );
}
