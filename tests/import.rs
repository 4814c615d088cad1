//! Raw episodes of DexUMI's recorder become episodes, and go all the way.

mod raw;

use std::path::Path;

use dexumi_episode::align::{DEFAULT_MAX_GAP, Timeline};
use dexumi_episode::schema::{Encoders, Force, PoseInFrame};
use dexumi_episode::{Calibration, Episode, JointCalibration, JointMap};
use dexumi_retarget::Hand;
use raw::Exo;

use crate::program::{alone, json, run, run_well, text};

const SECONDS: f64 = 4.0;

fn imported(folder: &Path) -> (std::path::PathBuf, serde_json::Value) {
    let source = folder.join("data_recording");
    raw::write(&source.join("episode_3"), SECONDS);
    let session = folder.join("session");
    let arguments = [
        "import",
        "dexumi",
        text(&source),
        "--task",
        "pick up the cube",
    ];
    let output = run_well(
        &[&arguments[..], &["--out", text(&session), "--json"]].concat(),
        &[0],
    );
    (session, json(&output))
}

#[test]
fn every_sample_is_in_the_episode_at_its_own_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (session, outcome) = imported(folder.path());
    let [oak, phone, boards, tips] = raw::COUNTS.map(|count| count as u64);
    let samples = &outcome["imported"][0]["samples"];
    for (stream, count) in [
        ("/camera/wrist/image", oak),
        ("/camera/phone/image", phone),
        ("/tracker/wrist/pose", phone),
        ("/exo/right/encoders", boards),
        ("/exo/right/force/thumb", tips),
        ("/exo/right/force/index", tips),
        ("/exo/right/force/middle", tips),
    ] {
        assert_eq!(samples[stream], count, "{stream} of {samples}");
    }

    let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
    assert_eq!(
        (episode.info.task.as_str(), episode.info.hand.as_str()),
        ("pick up the cube", "xhand_right")
    );
    assert!(
        episode
            .ledger
            .values()
            .all(|ledger| ledger.is_clean() && ledger.balances())
    );
    let encoders = episode
        .file
        .read::<Encoders>("/exo/right/encoders")
        .expect("encoders");
    let times = raw::receive_times(raw::COUNTS[2], SECONDS);
    for (k, (_, message)) in encoders.iter().enumerate() {
        let counts = raw::encoder_counts(k);
        assert_eq!(message.counts, counts[..12], "sample {k}");
        assert_eq!((message.reference, message.spare), (counts[12], counts[13]));
        let stamp = message.stamp.as_ref().expect("a stamp");
        assert_eq!(stamp.host_time_ns, (times[k] * 1e9).round() as i64);
        assert_eq!((stamp.device_time_ns, stamp.captured_time_ns), (None, None));
    }
    for (finger, name) in ["thumb", "index", "middle"].iter().enumerate() {
        let forces = episode
            .file
            .read::<Force>(&format!("/exo/right/force/{name}"))
            .expect("force");
        for (k, (_, message)) in forces.iter().enumerate() {
            let got = [message.x, message.y, message.z].map(i64::from);
            assert_eq!(got, raw::force(finger + 1, k), "{name} sample {k}");
        }
    }
    let poses = episode
        .file
        .read::<PoseInFrame>("/tracker/wrist/pose")
        .expect("poses");
    for (k, (_, message)) in poses.iter().enumerate() {
        let pose = raw::phone_pose(k);
        let got = message
            .pose
            .as_ref()
            .and_then(|pose| pose.position)
            .expect("a position");
        // ARKit's y is up; here z is.
        let expected = [pose[3], -pose[11], pose[7]];
        for (got, expected) in [got.x, got.y, got.z].into_iter().zip(expected) {
            assert!(
                (got - expected).abs() < 1e-12,
                "pose {k}: {got} for {expected}"
            );
        }
    }
    let images = episode.file.images("/camera/wrist/image").expect("images");
    for k in 0..images.len() {
        let image = episode.file.image(&images, k).expect("an image");
        assert_eq!(
            dexumi_export::jpeg_size(&image.data),
            Ok((320, 200)),
            "image {k}"
        );
    }
    // Without a clock of its own and without a rhythm, an image is dated as the recorder did.
    let timeline = Timeline::of(&episode, None, DEFAULT_MAX_GAP).expect("aligned");
    let track = &timeline.images["wrist"];
    for (k, time) in raw::receive_times(raw::COUNTS[0], SECONDS)
        .iter()
        .enumerate()
    {
        let arrival = episode
            .info
            .anchor
            .to_session(dexumi_episode::HostTime::from_nanos(
                (time * 1e9).round() as i64
            ));
        let latency = (arrival - track.times[k]).secs_f64();
        assert!(
            (latency - raw::OAK_LATENCY_S).abs() < 1e-6,
            "image {k}: {latency} s"
        );
    }
}

#[test]
fn what_the_source_never_had_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (session, _) = imported(folder.path());
    let output = run_well(&["info", text(&session), "--json"], &[0]);
    let report = &json(&output)[0];
    let record = &report["imported"];
    assert_eq!(record["source"], "episode_3");
    let missing = record["missing"].as_str().expect("words");
    for word in [
        "device clocks",
        "checksums",
        "wall-clock",
        "compressed again",
    ] {
        assert!(missing.contains(word), "{word:?} in {missing:?}");
    }
    assert!(
        record["notes"]
            .as_str()
            .expect("words")
            .contains("focal length"),
        "{record}"
    );
    let words = run_well(&["info", text(&session)], &[0]);
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(
        words.contains("IMPORTED") && words.contains("never had device clocks"),
        "{words}"
    );
    // Nothing tells suspect or missing samples: no number, and not 0.
    let counts = &report["ledger"]["/exo/right/encoders"];
    assert!(counts["suspect"].is_null() && counts["missing"].is_null());
    assert_eq!(counts["received"], counts["written"]);
    let row = words
        .lines()
        .find(|line| line.contains("/exo/right/encoders"))
        .expect("its row");
    assert_eq!(row.matches('—').count(), 2, "{row}");
    // A second import goes beside the first.
    let source = folder.path().join("data_recording/episode_3");
    run_well(
        &[
            "import",
            "dexumi",
            text(&source),
            "--task",
            "again",
            "--out",
            text(&session),
        ],
        &[0],
    );
    assert!(session.join("episode_0001.mcap").is_file());
}

/// Sensor angles [rad] that stand for a joint's limits in the tests.
const SENSOR_RAD: [f64; 2] = [1.4, 2.6];

/// Gives a session a calibration: each joint a straight line through its limits.
fn calibrate(session: &Path, name: &str) {
    let hand = Hand::by_name(name).expect("a hand");
    let mut calibration = Calibration::new();
    let joint = |(channel, (name, &(lower, upper))): (usize, (&str, &(f64, f64)))| {
        JointMap::through(name, channel, SENSOR_RAD.to_vec(), vec![lower, upper])
    };
    let joints = JointCalibration {
        hand: name.to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        method: "a straight line".to_owned(),
        source: "this test".to_owned(),
        joint: hand
            .variable_names()
            .zip(hand.limits())
            .enumerate()
            .map(joint)
            .collect(),
    };
    calibration.joints.insert("right".to_owned(), joints);
    calibration
        .save(&session.join("calibration.toml"))
        .expect("saved");
}

/// What DexUMI recorded comes back in its own training format: poses, motors, force and images of each step are those
/// of the source at the step's time.
#[test]
fn an_imported_episode_returns_to_dexumi_s_own_format() {
    let _alone = alone();
    for (exo, name, joints) in [
        (Exo::XHand, "xhand_right", 12),
        (Exo::Inspire, "inspire_right", 6),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("episode_0");
        raw::write_of(exo, &source, SECONDS);
        let session = folder.path().join("session");
        let target = text(&session);
        run_well(
            &[
                "import",
                "dexumi",
                text(&source),
                "--task",
                "t",
                "--out",
                target,
            ],
            &[0],
        );
        calibrate(&session, name);
        let out = folder.path().join("dataset");
        let arguments = [
            "export",
            target,
            "--format",
            "dexumi-zarr",
            "--out",
            text(&out),
        ];
        let gap = ["--max-gap-ms", "120"];
        run_well(&[&arguments[..], &gap[..]].concat(), &[0, 3]);

        let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
        let group = out.join("right.zarr/episode_0");
        // When a step was, on the recorder's clock [s].
        let host_s = |nanos: f64| {
            let session = dexumi_episode::SessionTime::from_nanos(nanos as i64);
            episode.info.anchor.to_host(session).nanos() as f64 * 1e-9
        };
        let times: Vec<f64> = numbers(&group.join("grid_time_ns/0"), i64::from_le_bytes)
            .map(|nanos| host_s(nanos as f64))
            .collect();
        let steps = times.len();
        assert!((40..=60).contains(&steps), "{name}: {steps} steps");
        // Which sample of a stream a time is, in parts of one.
        let place = |receive: &[f64], latency_s: f64, time: f64| {
            let next = receive
                .partition_point(|t| t - latency_s <= time)
                .clamp(1, receive.len() - 1);
            let (a, b) = (receive[next - 1], receive[next]);
            (next - 1) as f64 + (time + latency_s - a) / (b - a)
        };
        let hand = Hand::by_name(name).expect("a hand");
        let boards = raw::receive_times(raw::COUNTS[2], SECONDS);
        // What the export should hold of a joint at a time: the motor's command / 1000, or radians * 3.
        let motor = |joint: usize, time: f64| {
            let k = place(&boards, 0.0, time);
            let angle = |k: usize| {
                let counts = raw::encoder_counts(k);
                f64::from(counts[joint]) / f64::from(counts[12]) * std::f64::consts::TAU
            };
            let at = k.floor() as usize;
            let sensor = angle(at) + (k - at as f64) * (angle(at + 1) - angle(at));
            let (lower, upper) = hand.limits()[joint];
            let share = (sensor - SENSOR_RAD[0]) / (SENSOR_RAD[1] - SENSOR_RAD[0]);
            let position = lower + share * (upper - lower);
            match exo {
                Exo::XHand => 3.0 * position,
                Exo::Inspire => hand.motors()[joint].command(position) / 1000.0,
            }
        };
        let action: Vec<f32> =
            numbers(&group.join("hand_action/0.0"), f32::from_le_bytes).collect();
        let state: Vec<f32> =
            numbers(&group.join("proprioception/0.0"), f32::from_le_bytes).collect();
        assert_eq!(
            (action.len(), state.len()),
            (joints * steps, joints * steps),
            "{name}"
        );
        let step_s = 1.0 / 15.0;
        for k in 0..steps {
            for joint in 0..joints {
                for (what, got, time) in [
                    ("state", state[joints * k + joint], times[k]),
                    ("action", action[joints * k + joint], times[k] + step_s),
                ] {
                    // The board scans its channels one after another, up to 6 ms before the packet.
                    let expected =
                        [0.0, 0.002, 0.004, 0.006].map(|early| motor(joint, time + early));
                    let off = expected.map(|value| (f64::from(got) - value).abs());
                    let nearest = off.into_iter().fold(f64::INFINITY, f64::min);
                    assert!(
                        nearest < 3e-3,
                        "{name}, {what} of joint {joint} at step {k}: {got}, expected {expected:?}"
                    );
                }
            }
        }
        // Poses are one step ahead; our world's z is up, the phone's y.
        let phone = raw::receive_times(raw::COUNTS[1], SECONDS);
        let poses: Vec<f64> = numbers(&group.join("pose/0.0"), f64::from_le_bytes).collect();
        let z_up = nalgebra::Rotation3::from_axis_angle(
            &nalgebra::Vector3::x_axis(),
            std::f64::consts::FRAC_PI_2,
        );
        for (k, pose) in poses.chunks_exact(6).enumerate() {
            let place = place(&phone, raw::PHONE_LATENCY_S, times[k] + step_s);
            let matrix = nalgebra::Matrix4::from_row_slice(&raw::phone_pose_between(place));
            let position = z_up * matrix.fixed_view::<3, 1>(0, 3).into_owned();
            let turn = z_up.matrix() * matrix.fixed_view::<3, 3>(0, 0);
            let got = nalgebra::Rotation3::new(nalgebra::Vector3::from_column_slice(&pose[3..]));
            let off = (nalgebra::Vector3::from_column_slice(&pose[..3]) - position).norm();
            let turned = (got.matrix() - turn).norm();
            assert!(
                off < 1e-5 && turned < 1e-5,
                "{name}, step {k}: {off} m, {turned}"
            );
        }
        // Force: the length of three axes of the XHand, the one of each Inspire sensor.
        let tips = raw::receive_times(raw::COUNTS[3], SECONDS);
        let force: Vec<f64> = numbers(&group.join("fsr/0.0"), f64::from_le_bytes).collect();
        let fingers = force.len() / steps;
        assert_eq!(fingers, if exo == Exo::XHand { 3 } else { 2 });
        if exo == Exo::Inspire {
            for k in 0..steps {
                let place = place(&tips, 0.0, times[k]);
                for sensor in 0..fingers {
                    let expected = 300.0 * sensor as f64 + 7.0 * place;
                    let off = (0..fingers).map(|at| (force[fingers * k + at] - expected).abs());
                    assert!(
                        off.fold(f64::INFINITY, f64::min) < 0.1,
                        "step {k}: {:?}, expected {expected}",
                        &force[fingers * k..fingers * (k + 1)]
                    );
                }
            }
        }
        // The wrist's image of each step is the recorded one that is nearest to it.
        let oak = raw::receive_times(raw::COUNTS[0], SECONDS);
        let images = episode.file.images("/camera/wrist/image").expect("images");
        for (k, time) in times.iter().enumerate() {
            let nearest = (0..oak.len())
                .min_by(|&a, &b| {
                    let off = |at: usize| (oak[at] - raw::OAK_LATENCY_S - time).abs();
                    off(a).total_cmp(&off(b))
                })
                .expect("images");
            let recorded = episode.file.image(&images, nearest).expect("an image");
            let written =
                std::fs::read(group.join(format!("camera_0/rgb/{k}.0.0.0"))).expect("a chunk");
            assert!(
                written == recorded.data[..],
                "{name}: step {k} shows another image than {nearest}"
            );
        }
    }
}

/// Numbers of a chunk that is not packed.
fn numbers<T, const N: usize>(path: &Path, of: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Vec<T> = bytes.as_chunks::<N>().0.iter().map(|&b| of(b)).collect();
    all.into_iter()
}

#[test]
fn an_imported_episode_is_retargeted_and_exported() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let (session, _) = imported(folder.path());
    calibrate(&session, "xhand_right");
    // Samples are up to 80 ms apart: the recorder kept the newest at each turn.
    let gap = ["--max-gap-ms", "120"];
    run_well(&[&["retarget", text(&session)], &gap[..]].concat(), &[0, 3]);
    let out = folder.path().join("dataset");
    let arguments = [
        "export",
        text(&session),
        "--format",
        "lerobot-v3",
        "--codec",
        "h264",
        "--fps",
        "15",
        "--out",
        text(&out),
        "--json",
    ];
    let output = run_well(&[&arguments[..], &gap[..]].concat(), &[0, 3]);
    let rows = json(&output)["dataset"]["rows"].as_u64().expect("a number");
    assert!(
        (40..=60).contains(&rows),
        "{rows} rows of {SECONDS} s at 15 a second"
    );
}

#[test]
fn a_video_that_ends_early_costs_its_last_images_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("episode_0");
    raw::write(&source, SECONDS);
    let short = folder.path().join("short.mp4");
    let cut = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(source.join("camera_0.mp4"))
        .args(["-frames:v", "70", "-c", "copy"])
        .arg(&short)
        .status();
    assert!(cut.is_ok_and(|status| status.success()));
    std::fs::rename(&short, source.join("camera_0.mp4")).expect("replaced");
    let session = folder.path().join("session");
    let output = run_well(
        &[
            "import",
            "dexumi",
            text(&source),
            "--task",
            "t",
            "--out",
            text(&session),
        ],
        &[3],
    );
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("70 images and 85 times"), "{words}");
    let episode = Episode::open(&session.join("episode_0000.mcap")).expect("an episode");
    let ledger = &episode.ledger["/camera/wrist/image"];
    assert_eq!((ledger.written, ledger.missing), (70, 15));
    assert!(ledger.balances());
}

#[test]
fn a_video_that_is_damaged_is_refused_and_not_repaired_by_guesswork() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("episode_0");
    raw::write(&source, SECONDS);
    let video = source.join("camera_0.mp4");
    let mut bytes = std::fs::read(&video).expect("a video");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xa5);
    std::fs::write(&video, bytes).expect("writable");
    let session = folder.path().join("session");
    let arguments = ["import", "dexumi", text(&source), "--task", "t", "--out"];
    let output = run(&[&arguments[..], &[text(&session)]].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("decoding a video"),
        "{words}"
    );
    assert!(!session.join("episode_0000.mcap").exists(), "{words}");
}

#[test]
fn what_is_no_raw_episode_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("session");
    let refused = |source: &Path, word: &str| {
        let output = run(&[
            "import",
            "dexumi",
            text(source),
            "--task",
            "t",
            "--out",
            text(&session),
        ]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && words.contains(word),
            "{word:?} in {words}"
        );
        let left = std::fs::read_dir(&session).into_iter().flatten().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().contains("mcap")),
            "{left:?}"
        );
    };
    refused(folder.path(), "no raw episode found");
    let source = folder.path().join("episode_0");
    raw::write(&source, SECONDS);
    let volts = source.join("numeric_0/raw_voltage");
    let description = std::fs::read_to_string(volts.join(".zarray")).expect("a description");
    std::fs::write(
        volts.join(".zarray"),
        description.replace("\"lz4\"", "\"zstd\""),
    )
    .expect("written");
    let chunk = std::fs::read(volts.join("0.0")).expect("a chunk");
    let mut other = chunk.clone();
    other[2] = 1 | 16 | 4 << 5;
    std::fs::write(volts.join("0.0"), other).expect("written");
    refused(&source, "Zstandard");
    std::fs::write(volts.join("0.0"), &chunk[..40]).expect("written");
    refused(&source, "numeric_0/raw_voltage");
    std::fs::remove_dir_all(&volts).expect("removed");
    refused(&source, "raw_voltage has shape None");
    let output = run(&[
        "import",
        "dexumi",
        text(&source),
        "--task",
        " ",
        "--out",
        text(&session),
    ]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the task is empty"));
}
