//! The checker refuses every zarr store that breaks one rule.

use std::path::Path;

use crate::breaking::{json, patch, stores_are_refused, zipped};
use crate::stores::{STEPS, copy, pictures};
use crate::synthetic::jpegs;

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
    stores_are_refused(
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
    stores_are_refused(
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
