//! The formats that are no LeRobot layouts: what is written, and what is left out.

use dexumi_export::{Options, Side, rotation_6d_columns, verify};

use crate::breaking::zipped;
use crate::stores::{STEPS, episodes, floats, golden, pictures, singles, write, write_with};
use crate::synthetic::{self, JOINTS, SMALL, ffmpeg_is_installed, folder, listing, options};

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
fn egoscale_takes_the_hand_that_moves_though_it_was_lost_for_a_moment() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut made = synthetic::two_hands(0, STEPS, &pictures());
    for camera in &mut made.cameras {
        camera.valid = vec![true; STEPS];
    }
    let [left, right] = &mut made.hands[..] else {
        panic!("two hands");
    };
    let first = left.world_from_wrist[0];
    left.world_from_wrist.fill(first);
    let still = left.joints(0).to_vec();
    left.joints_rad = still.repeat(STEPS + 1);
    right.valid[7] = false;
    write("egoscale", vec![made], &out).unwrap();
    let lines = std::fs::read_to_string(out.join("meta/episodes.jsonl")).unwrap();
    assert!(lines.contains(r#""active_hand":"right""#), "{lines}");
}

#[test]
fn a_step_at_which_the_camera_is_not_tracked_is_marked() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut all = episodes();
    for episode in &mut all {
        let mut poses = vec![Some(nalgebra::Isometry3::translation(0.1, 0.2, 0.3)); STEPS];
        poses[9] = None;
        episode.cameras[0].world_from_camera = Some(poses);
    }
    write("dreamdojo-mano", all, &out).unwrap();
    let file = hdf5_pure::File::open(out.join("part1/pick_up_the_cup/0.hdf5")).unwrap();
    let valid = file
        .dataset("timestamps/valid")
        .unwrap()
        .read_f64()
        .unwrap();
    let invalid: Vec<usize> = (0..STEPS).filter(|&k| valid[k] == 0.0).collect();
    assert!(invalid.contains(&9), "{invalid:?}");
    let wrist = file.dataset("wrist/right_pose_cam_rot6d").unwrap();
    assert!(wrist.read_f64().unwrap().iter().all(|x| x.is_finite()));
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
        episode.cameras[0].world_from_camera = Some(vec![Some(camera); STEPS]);
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
