//! The formats that are no LeRobot layouts: what is written, and that the checker
//! refuses every data set that breaks one rule.

mod stores;
mod synthetic;

use std::path::Path;

use dexumi_export::{Options, Side, rotation_6d_columns, verify};
use stores::{
    STEPS, copy, episodes, floats, golden, hdf5, json, line, patch, pictures, singles, write,
    write_with, zipped,
};
use synthetic::{JOINTS, SMALL, ffmpeg_is_installed, folder, jpegs, listing, options};

const FORMATS: [&str; 4] = ["dexumi-zarr", "umi-zarr", "egoscale", "dreamdojo-mano"];

/// Images of the same array are told by their number alone.
fn short(listing: Vec<String>) -> Vec<String> {
    let image = |line: &String| line.contains("rgb/") && !line.ends_with(".zarray");
    let first = |line: &String| line.ends_with("rgb/0.0.0.0");
    listing
        .into_iter()
        .filter(|line| !image(line) || first(line))
        .collect()
}

#[test]
fn every_format_has_its_files_and_passes_its_own_rules() {
    if !ffmpeg_is_installed() {
        return;
    }
    for name in FORMATS {
        let temporary = folder();
        let out = temporary.path().join("dataset");
        let report =
            write(name, episodes(), &out).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (report.rows, report.episodes_written),
            (2 * STEPS as u64, 2),
            "{name}"
        );
        assert!(report.rejected.is_empty(), "{name}");
        let verified = verify(&out, &options()).unwrap();
        assert_eq!(
            (verified.episodes, verified.rows),
            (2, 2 * STEPS as u64),
            "{name}"
        );
        let found = short(listing(&out)).join("\n") + "\n";
        if std::env::var_os("DEXUMI_BLESS").is_some() {
            std::fs::write(golden(name), &found).unwrap();
        }
        assert_eq!(
            found,
            std::fs::read_to_string(golden(name)).unwrap(),
            "{name}"
        );
        synthetic::assert_holds(temporary.path(), &["dataset"]);
    }
}

#[test]
fn dexumi_zarr_holds_the_episode_one_step_ahead_and_the_recorded_jpegs() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    write("dexumi-zarr", episodes(), &out).unwrap();
    let images = pictures();
    for (number, episode) in episodes().iter().enumerate() {
        let group = out.join(format!("right.zarr/episode_{number}"));
        let hand = episode.hand(Side::Right).unwrap();
        let poses = floats(&group.join("pose/0.0"));
        let action = singles(&group.join("hand_action/0.0"));
        let now = singles(&group.join("proprioception/0.0"));
        let force = floats(&group.join("fsr/0.0"));
        assert_eq!(poses.len(), 6 * STEPS);
        for k in 0..STEPS {
            let pose = hand.world_from_wrist[k + 1];
            let expected: Vec<f64> = pose
                .translation
                .vector
                .iter()
                .copied()
                .chain(pose.rotation.scaled_axis().iter().copied())
                .collect();
            assert_eq!(poses[6 * k..6 * k + 6], expected);
            for joint in 0..JOINTS.len() {
                assert_eq!(
                    action[2 * k + joint],
                    hand.joints(k + 1)[joint] as f32 * 3.0
                );
                assert_eq!(now[2 * k + joint], hand.joints(k)[joint] as f32 * 3.0);
            }
            assert_eq!(force[2 * k..2 * k + 2], [5.0, k as f64]);
            // Camera 0 is the wrist's, with 9 images over 24 steps; camera 1 the head's.
            let image = |camera: usize| {
                std::fs::read(group.join(format!("camera_{camera}/rgb/{k}.0.0.0"))).unwrap()
            };
            assert_eq!(image(0), images[k * 9 / STEPS], "step {k}");
            assert_eq!(image(1), images[k], "step {k}");
        }
    }
}

#[test]
fn umi_zarr_has_square_images_of_the_right_steps_and_widths_between_tips() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let report = write("umi-zarr", episodes(), &out).unwrap();
    assert_eq!(report.cameras[0].size, (224, 224));
    assert!(
        report
            .warnings
            .iter()
            .any(|w| w.contains("one gripper width")),
        "{:?}",
        report.warnings
    );
    assert!(
        report.warnings.iter().any(|w| w.contains("\"head\"")),
        "{:?}",
        report.warnings
    );
    zipped(&out.join("dataset.zarr.zip"), |root| {
        let width = singles(&root.join("data/robot0_gripper_width/0.0"));
        assert!(
            width.iter().all(|width| (width - 0.04).abs() < 1e-6),
            "{width:?}"
        );
        let position = singles(&root.join("data/robot0_eef_pos/0.0"));
        let all = episodes();
        for (row, step) in (0..2 * STEPS).map(|row| (row, row % STEPS)) {
            let pose = all[row / STEPS].hands[0].world_from_wrist[step];
            for axis in 0..3 {
                assert_eq!(
                    position[3 * row + axis],
                    pose.translation.vector[axis] as f32
                );
            }
        }
        let jpeg = std::fs::read(root.join("data/camera0_rgb/30.0.0.0")).unwrap();
        assert_eq!(dexumi_export::jpeg_size(&jpeg), Ok((224, 224)));
    });
}

#[test]
fn egoscale_variants_say_what_the_data_stand_for() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    for (variant, stages, source) in [
        ("human", [1, 2], "human_retargeted"),
        ("robot", [2, 3], "robot_native"),
    ] {
        let out = temporary.path().join(variant);
        let options = Options {
            variant: Some(variant.into()),
            ..options()
        };
        let report = write_with("egoscale", episodes(), &out, &options).unwrap();
        assert!(
            report
                .warnings
                .iter()
                .any(|w| w.contains("fill the first of the 22"))
        );
        for stage in 1..=3 {
            let manifest = out.join(format!("meta/chunks_stage{stage}.jsonl"));
            assert_eq!(
                manifest.is_file(),
                stages.contains(&stage),
                "{variant} {stage}"
            );
        }
        let text =
            std::fs::read_to_string(out.join(format!("meta/chunks_stage{}.jsonl", stages[0])))
                .unwrap();
        // A sample takes 9 steps of 24: 16 starts in each of two episodes.
        assert_eq!(text.lines().count(), 32);
        assert!(text.contains(&format!("\"data_source\":\"{source}\"")));
    }
    let error = write_with(
        "egoscale",
        episodes(),
        &temporary.path().join("x"),
        &Options {
            variant: Some("g1".into()),
            ..options()
        },
    );
    assert!(error.unwrap_err().to_string().contains("human, robot"));
}

#[test]
fn mano_rotations_are_in_the_frame_of_a_tracked_camera() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut all = episodes();
    let turned = nalgebra::UnitQuaternion::from_euler_angles(0.4, -0.2, 1.0);
    let camera =
        nalgebra::Isometry3::from_parts(nalgebra::Translation3::new(0.1, 0.2, 0.3), turned);
    for episode in &mut all {
        episode.cameras[0].world_from_camera = Some(vec![camera; STEPS]);
    }
    let hand = all[0].hands[0].clone();
    write("dreamdojo-mano", all, &out).unwrap();
    let file = hdf5_pure::File::open(out.join("part1/pick_up_the_cup/0.hdf5")).unwrap();
    let wrist = file
        .dataset("wrist/right_pose_cam_rot6d")
        .unwrap()
        .read_f64()
        .unwrap();
    let knuckle = file
        .dataset("rot6d/right/rightMiddleFingerKnuckle")
        .unwrap()
        .read_f64()
        .unwrap();
    for k in 0..STEPS {
        let pose = camera.inv_mul(&hand.world_from_wrist[k]);
        let columns = rotation_6d_columns(&pose.rotation);
        for axis in 0..3 {
            assert!((wrist[9 * k + axis] - pose.translation.vector[axis]).abs() < 1e-6);
        }
        for at in 0..6 {
            assert!((wrist[9 * k + 3 + at] - columns[at]).abs() < 1e-6);
        }
        // The first bone bends by 0.02 k about the hand's y.
        let bend = nalgebra::UnitQuaternion::from_axis_angle(
            &nalgebra::Vector3::y_axis(),
            0.02 * k as f64,
        );
        let expected = rotation_6d_columns(&(pose.rotation * bend));
        for at in 0..6 {
            assert!(
                (knuckle[6 * k + at] - expected[at]).abs() < 1e-5,
                "step {k}"
            );
        }
    }
}

#[test]
fn an_episode_that_cannot_be_written_is_left_out_and_leaves_nothing() {
    if !ffmpeg_is_installed() {
        return;
    }
    for (name, word) in [
        ("umi-zarr", "1 of 24 steps do not decode"),
        ("dexumi-zarr", "1 of 24 steps do not decode"),
        ("egoscale", "steps: a sample takes 9"),
        ("dreamdojo-mano", "no keypoints"),
    ] {
        let temporary = folder();
        let out = temporary.path().join("dataset");
        let mut all = episodes();
        match name {
            "umi-zarr" | "dexumi-zarr" => {
                let mut broken = pictures();
                let mut bytes = broken[5].to_vec();
                let middle = bytes.len() / 2;
                bytes[middle..middle + 40].fill(0x55);
                bytes.truncate(middle + 60);
                bytes.extend([0xFF, 0xD9]);
                broken[5] = bytes.into();
                for camera in &mut all[0].cameras {
                    camera.images = (0..STEPS).collect();
                    camera.source = Box::new(synthetic::Images(broken.clone()));
                }
            }
            "egoscale" => {
                all[0] = synthetic::episode(
                    0,
                    8,
                    &[
                        ("head", SMALL, &pictures()[..]),
                        ("wrist", SMALL, &pictures()[..9]),
                    ],
                )
            }
            _ => all[0].hands[0].keypoints = None,
        }
        let report = write(name, all, &out).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (report.episodes_written, report.rejected.len()),
            (1, 1),
            "{name}"
        );
        assert!(
            report.rejected[0].why.contains(word),
            "{name}: {}",
            report.rejected[0].why
        );
        assert_eq!(
            verify(&out, &options()).unwrap().rows,
            STEPS as u64,
            "{name}"
        );
    }
}

type Break = fn(&Path);

/// Every data set is written once, and broken in a copy.
fn refused(format: &str, breaks: &[(&str, Break, &str)]) {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let whole = temporary.path().join("whole");
    write(format, episodes(), &whole).unwrap();
    for (number, (what, damage, word)) in breaks.iter().enumerate() {
        let copied = temporary.path().join(number.to_string());
        copy(&whole, &copied);
        damage(&copied);
        match verify(&copied, &options()) {
            Ok(_) => panic!("{format}: {what} was not noticed"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains(word),
                    "{format}: {what}: expected {word:?} in {error:?}"
                );
            }
        }
        std::fs::remove_dir_all(&copied).unwrap();
    }
}

const EPISODE: &str = "right.zarr/episode_1";

/// A JPEG whose header tells of one component.
fn grey() -> Vec<u8> {
    let mut bytes = pictures()[0].to_vec();
    let header = bytes
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    bytes[header + 9] = 1;
    bytes
}

fn image(dataset: &Path) -> std::path::PathBuf {
    dataset.join(EPISODE).join("camera_0/rgb/3.0.0.0")
}

#[test]
fn dexumi_zarr_that_breaks_a_rule_is_refused() {
    refused(
        "dexumi-zarr",
        &[
            (
                "no hierarchy",
                |d| std::fs::remove_file(d.join("right.zarr/.zgroup")).unwrap(),
                "no .zgroup",
            ),
            (
                "colours swapped",
                |d| {
                    json(&d.join("right.zarr/.zattrs"), |v| {
                        v["color_order"] = "BGR".into()
                    })
                },
                "color_order",
            ),
            (
                "no fps",
                |d| json(&d.join("right.zarr/.zattrs"), |v| v["fps"] = 0.into()),
                "fps",
            ),
            (
                "camera's colours swapped",
                |d| {
                    json(&d.join(EPISODE).join("camera_0/.zattrs"), |v| {
                        v["color_order"] = "BGR".into()
                    })
                },
                "color_order",
            ),
            (
                "a gap in the episodes",
                |d| std::fs::rename(d.join(EPISODE), d.join("right.zarr/episode_5")).unwrap(),
                "expected groups",
            ),
            (
                "no task",
                |d| json(&d.join(EPISODE).join(".zattrs"), |v| v["task"] = " ".into()),
                "no task",
            ),
            (
                "no poses",
                |d| std::fs::remove_dir_all(d.join(EPISODE).join("pose")).unwrap(),
                "no array",
            ),
            (
                "poses of another type",
                |d| {
                    json(&d.join(EPISODE).join("pose/.zarray"), |v| {
                        v["dtype"] = "<i8".into()
                    })
                },
                "expected <f8",
            ),
            (
                "poses of another width",
                |d| {
                    json(&d.join(EPISODE).join("pose/.zarray"), |v| {
                        v["shape"][1] = 5.into()
                    })
                },
                "expected shape",
            ),
            (
                "a chunk missing",
                |d| std::fs::remove_file(d.join(EPISODE).join("pose/0.0")).unwrap(),
                "chunk 0 is missing",
            ),
            (
                "a number that is none",
                |d| {
                    patch(
                        &d.join(EPISODE).join("pose/0.0"),
                        8,
                        &f64::NAN.to_le_bytes(),
                    )
                },
                "not finite",
            ),
            (
                "a rotation beyond pi",
                |d| patch(&d.join(EPISODE).join("pose/0.0"), 32, &4.0f64.to_le_bytes()),
                "at most pi",
            ),
            (
                "an action that is not the next state",
                |d| {
                    patch(
                        &d.join(EPISODE).join("hand_action/0.0"),
                        16,
                        &9.0f32.to_le_bytes(),
                    )
                },
                "not proprioception of the next",
            ),
            (
                "rows cut off",
                |d| {
                    json(&d.join(EPISODE).join("hand_action/.zarray"), |v| {
                        v["shape"][0] = 23.into()
                    })
                },
                "expected shape",
            ),
            (
                "negative force",
                |d| {
                    patch(
                        &d.join(EPISODE).join("fsr/0.0"),
                        0,
                        &(-1.0f64).to_le_bytes(),
                    )
                },
                "below 0",
            ),
            (
                "times that stand still",
                |d| {
                    let path = d.join(EPISODE).join("grid_time_ns/0");
                    let bytes = std::fs::read(&path).unwrap();
                    patch(&path, 8, &bytes[..8]);
                },
                "does not increase",
            ),
            (
                "an image missing",
                |d| std::fs::remove_file(image(d)).unwrap(),
                "image 3: is missing",
            ),
            (
                "an image cut",
                |d| {
                    let bytes = std::fs::read(image(d)).unwrap();
                    std::fs::write(image(d), &bytes[..bytes.len() / 2]).unwrap();
                },
                "cut JPEG",
            ),
            (
                "an image of another size",
                |d| std::fs::write(image(d), &jpegs("testsrc2", 1, (80, 60))[0]).unwrap(),
                "pixels",
            ),
            (
                "a grey image",
                |d| std::fs::write(image(d), grey()).unwrap(),
                "three components",
            ),
            (
                "an image whose data is broken",
                |d| {
                    let mut bytes = std::fs::read(image(d)).unwrap();
                    let middle = bytes.len() / 2;
                    bytes.truncate(middle);
                    bytes.extend([0xFF, 0xD9]);
                    std::fs::write(image(d), bytes).unwrap();
                },
                "does not decode",
            ),
            (
                "fewer images than rows",
                |d| {
                    json(&d.join(EPISODE).join("camera_0/rgb/.zarray"), |v| {
                        v["shape"][0] = 23.into()
                    })
                },
                "expected 24 images",
            ),
            (
                "a codec that is not JPEG",
                |d| {
                    json(&d.join(EPISODE).join("camera_0/rgb/.zarray"), |v| {
                        v["compressor"]["id"] = "imagecodecs_jpegxl".into()
                    })
                },
                "imagecodecs_jpegxl",
            ),
            (
                "no codec",
                |d| {
                    json(&d.join(EPISODE).join("camera_0/rgb/.zarray"), |v| {
                        v["compressor"] = serde_json::Value::Null
                    })
                },
                "as JPEG",
            ),
            (
                "another format version",
                |d| {
                    json(&d.join(EPISODE).join("pose/.zarray"), |v| {
                        v["zarr_format"] = 3.into()
                    })
                },
                "expected 2",
            ),
            (
                "episodes of different widths",
                |d| std::fs::remove_dir_all(d.join(EPISODE).join("fsr")).unwrap(),
                "expected hand, force",
            ),
            (
                "an array too many",
                |d| {
                    copy(
                        &d.join(EPISODE).join("pose"),
                        &d.join(EPISODE).join("pose2"),
                    )
                },
                "superfluous",
            ),
            (
                "a file too many",
                |d| std::fs::write(d.join("notes.txt"), "x").unwrap(),
                "superfluous",
            ),
        ],
    );
}

#[test]
fn umi_zarr_that_breaks_a_rule_is_refused() {
    fn inside(dataset: &Path, change: impl FnOnce(&Path)) {
        zipped(&dataset.join("dataset.zarr.zip"), change);
    }
    refused(
        "umi-zarr",
        &[
            (
                "time that stands still",
                |d| {
                    inside(d, |r| {
                        let path = r.join("meta/grid_time_ns/0");
                        let first = std::fs::read(&path).unwrap()[..8].to_vec();
                        patch(&path, 8, &first)
                    })
                },
                "does not increase",
            ),
            (
                "no capture times",
                |d| {
                    inside(d, |r| {
                        std::fs::remove_dir_all(r.join("meta/camera0_capture_time_ns")).unwrap()
                    })
                },
                "no array meta/camera0_capture_time_ns",
            ),
            (
                "no hierarchy",
                |d| inside(d, |r| std::fs::remove_file(r.join(".zgroup")).unwrap()),
                "no .zgroup",
            ),
            (
                "no colour order",
                |d| {
                    inside(d, |r| {
                        json(&r.join(".zattrs"), |v| v["color_order"] = "BGR".into())
                    })
                },
                "color_order",
            ),
            (
                "ends out of order",
                |d| {
                    inside(d, |r| {
                        patch(&r.join("meta/episode_ends/0"), 0, &48i64.to_le_bytes())
                    })
                },
                "do not increase",
            ),
            (
                "fewer rows than the last end",
                |d| {
                    inside(d, |r| {
                        json(&r.join("data/robot0_eef_pos/.zarray"), |v| {
                            v["shape"][0] = 47.into()
                        })
                    })
                },
                "expected shape",
            ),
            (
                "a width that no hand has",
                |d| {
                    inside(d, |r| {
                        patch(
                            &r.join("data/robot0_gripper_width/0.0"),
                            40,
                            &2.0f32.to_le_bytes(),
                        )
                    })
                },
                "gripper_width row 10",
            ),
            (
                "a rotation beyond pi",
                |d| {
                    inside(d, |r| {
                        patch(
                            &r.join("data/robot0_eef_rot_axis_angle/0.0"),
                            0,
                            &5.0f32.to_le_bytes(),
                        )
                    })
                },
                "beyond pi",
            ),
            (
                "a start pose that changes",
                |d| {
                    inside(d, |r| {
                        patch(
                            &r.join("data/robot0_demo_start_pose/0.0"),
                            48,
                            &7.0f64.to_le_bytes(),
                        )
                    })
                },
                "demo_start_pose of episode 0",
            ),
            (
                "an end pose of another episode",
                |d| {
                    inside(d, |r| {
                        let path = r.join("data/robot0_demo_end_pose/0.0");
                        let bytes = std::fs::read(&path).unwrap();
                        let first = bytes[..48 * STEPS].to_vec();
                        patch(&path, 48 * STEPS, &first);
                    })
                },
                "demo_end_pose of episode 1",
            ),
            (
                "no widths",
                |d| {
                    inside(d, |r| {
                        std::fs::remove_dir_all(r.join("data/robot0_gripper_width")).unwrap()
                    })
                },
                "no array",
            ),
            (
                "no camera",
                |d| {
                    inside(d, |r| {
                        std::fs::remove_dir_all(r.join("data/camera0_rgb")).unwrap()
                    })
                },
                "0 cameras for 1 robots",
            ),
            (
                "an image missing",
                |d| {
                    inside(d, |r| {
                        std::fs::remove_file(r.join("data/camera0_rgb/3.0.0.0")).unwrap()
                    })
                },
                "image 3: is missing",
            ),
            (
                "an array too many",
                |d| {
                    inside(d, |r| {
                        copy(&r.join("data/robot0_eef_pos"), &r.join("data/action"))
                    })
                },
                "superfluous",
            ),
            (
                "a file too many",
                |d| std::fs::write(d.join("notes.txt"), "x").unwrap(),
                "superfluous",
            ),
            (
                "a ZIP file that is cut",
                |d| {
                    let path = d.join("dataset.zarr.zip");
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
                },
                "dataset.zarr.zip",
            ),
        ],
    );
}

#[test]
fn egoscale_that_breaks_a_rule_is_refused() {
    const CHUNKS: &str = "meta/chunks_stage1.jsonl";
    const NUMBERS: &str = "data/episodes/episode_000001.h5";
    refused(
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
    refused(
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
                    synthetic::run(
                        std::process::Command::new("ffmpeg")
                            .args(["-v", "error", "-i"])
                            .arg(&path)
                            .args(["-frames:v", "20", "-c", "copy"])
                            .arg(&short),
                    );
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
