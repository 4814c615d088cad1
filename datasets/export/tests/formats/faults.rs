//! What goes wrong while a dataset is written: nothing half-written is left, and
//! the message names the fault.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dexumi_export::{ExportError, Options, verify};

use crate::synthetic::{
    SMALL, assert_holds, episode, ffmpeg_is_installed, folder, jpegs, options, write,
};

#[test]
fn an_episode_with_a_broken_image_is_left_out_and_named() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let good = jpegs("testsrc2", 20, SMALL);
    let other_size = jpegs("testsrc2", 1, (128, 96));
    let with = |image: Bytes| {
        let mut images = good.clone();
        images[12] = image;
        images
    };
    let half = good[12].len() / 2;
    let mut garbled = good[12].to_vec();
    for (at, byte) in garbled[half..half + 300].iter_mut().enumerate() {
        *byte = (at % 128) as u8;
    }
    let mut shortened = good[12][..half].to_vec();
    shortened.extend([0xFF, 0xD9]);
    for (name, image, expected) in [
        ("garbled", garbled.into(), "broken JPEG data"),
        ("shortened", shortened.into(), "broken JPEG data"),
        ("cut", good[12].slice(..half), "without the end marker"),
        ("empty", Bytes::new(), "not a JPEG"),
        (
            "other size",
            other_size[0].clone(),
            "expected 160x120 pixels, got 128x96",
        ),
    ] {
        let out = temporary.path().join(name);
        let broken = with(image);
        let episodes = [
            episode(0, 20, &[("head", SMALL, &good[..])]),
            episode(1, 20, &[("head", SMALL, &broken[..])]),
            episode(2, 20, &[("head", SMALL, &good[..])]),
        ];
        let report = write(episodes, &out, &options()).unwrap();
        assert_eq!(
            (report.episodes_received, report.episodes_written),
            (3, 2),
            "{name}"
        );
        let [rejected] = &report.rejected[..] else {
            panic!("{name}: {:?}", report.rejected)
        };
        assert_eq!(rejected.received, 1);
        let why = &rejected.why;
        assert!(
            why.starts_with("episode episode-1, camera head, step 12 (image 12"),
            "{name}: {why}"
        );
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn only_rejected_episodes_leave_no_dataset() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut nan = episode(0, 5, &[]);
    nan.hands[0].joints_rad[5] = f64::NAN;
    let error = write([nan], &out, &options()).unwrap_err().to_string();
    assert!(error.contains("1 episodes received"), "{error}");
    assert!(
        error.contains(r#"right hand column "index" is not finite at step 2"#),
        "{error}"
    );
    assert_holds(temporary.path(), &[]);
}

#[test]
fn episodes_of_different_features_are_refused() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut other = episode(1, 5, &[]);
    other.hands[0].joint_names[1] = "middle".into();
    let error = write([episode(0, 5, &[]), other], &out, &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("episode-1 differs") && error.contains("middle"),
        "{error}"
    );
    let mut slower = episode(1, 5, &[]);
    slower.fps = 15;
    let error = write([episode(0, 5, &[]), slower], &out, &options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("fps: expected 30, got 15"), "{error}");
    assert_holds(temporary.path(), &[]);
}

#[test]
fn an_episode_too_long_for_the_readers_tolerance_is_left_out() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let episodes = [episode(0, 1024 * 30 + 1, &[]), episode(1, 1024 * 30, &[])];
    let report = write(episodes, &out, &options()).unwrap();
    assert_eq!(report.rows, 1024 * 30);
    assert!(
        report.rejected[0].why.contains("split it"),
        "{:?}",
        report.rejected
    );
}

#[test]
fn a_missing_ffmpeg_is_named_with_the_next_step() {
    let temporary = folder();
    let options = Options {
        ffmpeg: "/nowhere/ffmpeg".into(),
        ..options()
    };
    let error = write([], &temporary.path().join("dataset"), &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("install FFmpeg") && error.ends_with("/nowhere/ffmpeg"),
        "{error}"
    );
    assert_holds(temporary.path(), &[]);
}

#[test]
fn an_odd_image_size_is_refused() {
    let temporary = folder();
    let options = Options {
        size: Some((321, 240)),
        ..options()
    };
    let error = write([], &temporary.path().join("dataset"), &options).unwrap_err();
    assert!(
        matches!(error, ExportError::Size { width: 321, .. }),
        "{error}"
    );
}

#[test]
fn an_existing_output_is_never_touched() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("precious"), "x").unwrap();
    let error = write([episode(0, 5, &[])], &out, &options()).unwrap_err();
    assert!(matches!(error, ExportError::OutputExists { .. }), "{error}");
    assert_holds(&out, &["precious"]);
    std::fs::remove_file(out.join("precious")).unwrap();
    let report = write([episode(0, 5, &[])], &out, &options()).unwrap();
    assert_eq!(report.rows, 5, "an empty folder is taken");
}

const VICTIM: &str = "DEXUMI_EXPORT_TEST_VICTIM";

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "run by a_killed_export_leaves_no_dataset_and_no_child"]
fn victim() {
    let out = std::env::var_os(VICTIM).expect("run by another test only");
    let images = jpegs("testsrc2", 300, (640, 480));
    let cameras = [("head", (640, 480), &images[..])];
    write(
        (0..).map(|n| episode(n, 300, &cameras)),
        out.as_ref(),
        &options(),
    )
    .unwrap();
}

#[test]
fn a_killed_export_leaves_no_dataset_and_no_child() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::victim", "--ignored"])
        .env(VICTIM, &out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = "dataset.partial";
    let partial = temporary.path().join(name);
    // Other tests have folders of the same name.
    let place = partial.to_str().unwrap();
    let wait_for = |what: &str, met: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !met() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no {what} in 60 s"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for("second episode", &|| {
        partial.join("parts/unnamed-1.new").exists()
    });
    assert!(mentioned_by_a_process(place), "an encoder is running");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("end of the children", &|| !mentioned_by_a_process(place));
    assert_holds(temporary.path(), &[name]);
    assert!(verify(&partial, &options()).is_err());

    write([episode(0, 5, &[])], &out, &options()).unwrap();
    assert_holds(temporary.path(), &["dataset"]);
}

/// Whether the command line of any process contains `text`.
fn mentioned_by_a_process(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(text))
}
