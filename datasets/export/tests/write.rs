//! Datasets written from synthetic episodes, by the real ffmpeg.

mod synthetic;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dexumi_export::{Codec, ExportError, Options, Progress, Report, Resampled, format, verify};
use synthetic::{episode, ffmpeg_is_installed, jpegs, listing, run};

const SMALL: (u32, u32) = (160, 120);

fn options() -> Options {
    Options {
        codec: Codec::H264,
        ..Options::default()
    }
}

fn write(
    episodes: impl IntoIterator<Item = Resampled>,
    out: &Path,
    options: &Options,
) -> Result<Report, ExportError> {
    let mut episodes = episodes.into_iter().map(Ok);
    (format("lerobot_v3")?.write)(&mut episodes, out, options, &mut |_| {})
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Fails where a folder holds anything but the names given.
fn assert_holds(folder: &Path, names: &[&str]) {
    let found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, names);
}

#[test]
fn a_dataset_has_the_files_and_the_description_of_the_format() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let images = jpegs("testsrc2", 40, SMALL);
    let cameras = [("head", SMALL, &images[..]), ("wrist", SMALL, &images[..9])];
    let report = write((0..3).map(|n| episode(n, 40, &cameras)), &out, &options()).unwrap();
    assert_holds(temporary.path(), &["dataset"]);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let expected = std::fs::read_to_string(golden.join("listing.txt")).unwrap();
    assert_eq!(listing(&out), expected.lines().collect::<Vec<_>>());
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    assert_eq!(
        json(&out.join("meta/info.json")),
        json(&golden.join("info.json"))
    );
    assert_eq!(
        (report.rows, report.episodes_written, report.tasks),
        (120, 3, 2)
    );
    assert_eq!(report.cameras[0].repeated, 0);
    // 9 images over 40 steps leave 31 repeats in each of three episodes.
    assert_eq!(report.cameras[1].repeated, 93);
    let bytes: u64 = listing(&out)
        .iter()
        .map(|f| out.join(f).metadata().unwrap().len())
        .sum();
    assert_eq!(report.bytes, bytes);
}

#[test]
fn statistics_are_those_of_all_values() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let images = jpegs("testsrc2", 5, SMALL);
    let make = || (0..2).map(|n| episode(n, 50, &[("head", SMALL, &images[..])]));
    write(make(), &out, &options()).unwrap();
    let text = std::fs::read_to_string(out.join("meta/stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    for column in 0..3 {
        let values: Vec<f64> = make()
            .flat_map(|e| e.action.values)
            .skip(column)
            .step_by(3)
            .map(f64::from)
            .collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        // 100 values: the median lies between the 50th and 51st, q99 between
        // the 99th and 100th, a hundredth of the way from the former.
        let median = (sorted[49] + sorted[50]) / 2.0;
        let q99 = sorted[98] + 0.01 * (sorted[99] - sorted[98]);
        for (name, expected) in [("mean", mean), ("std", std), ("q50", median), ("q99", q99)] {
            let got = stats["action"][name][column].as_f64().unwrap();
            assert!(
                (got - expected).abs() < 1e-9,
                "{name}[{column}]: {got} against {expected}"
            );
        }
    }
    assert_eq!(stats["action"]["count"][0], 100);
    assert_eq!(stats["observation.images.head"]["count"][0], 100);
}

#[test]
fn colours_survive_with_and_without_cut_and_scaling() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    for (at, size) in [None, Some((96, 96))].into_iter().enumerate() {
        let out = temporary.path().join(at.to_string());
        // Saturated and mixed colours show a wrong range or matrix; FFmpeg's
        // own decoding of the JPEG is the reference.
        let bars = jpegs("smptehdbars", 1, SMALL);
        let options = Options { size, ..options() };
        let report = write(
            [episode(0, 3, &[("head", SMALL, &bars[..])])],
            &out,
            &options,
        )
        .unwrap();
        let (width, height) = size.unwrap_or(SMALL);
        assert_eq!(report.cameras[0].size, (width, height));
        let jpeg = temporary.path().join("bars.jpg");
        std::fs::write(&jpeg, &bars[0]).unwrap();
        let (x, y, w, h) = report.cameras[0].crop;
        let rgb = |path: &Path, filter: &str| {
            run(Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(path)
                .args([
                    "-vf",
                    filter,
                    "-frames:v",
                    "1",
                    "-pix_fmt",
                    "rgb24",
                    "-f",
                    "rawvideo",
                    "pipe:1",
                ]))
        };
        // Averaged down, so that edges and noise do not matter.
        let exact = "scale=24:24:flags=area+accurate_rnd+full_chroma_int";
        let cut = format!("crop={w}:{h}:{x}:{y},{exact}");
        let recorded = rgb(&jpeg, &cut);
        let written = rgb(
            &out.join("videos/observation.images.head/chunk-000/file-000.mp4"),
            exact,
        );
        let errors: Vec<i32> = recorded
            .iter()
            .zip(&written)
            .map(|(&a, &b)| i32::from(a) - i32::from(b))
            .collect();
        let bias = errors.iter().sum::<i32>() as f64 / errors.len() as f64;
        let mean = errors.iter().map(|e| e.abs()).sum::<i32>() as f64 / errors.len() as f64;
        assert!(
            bias.abs() < 0.5 && mean < 3.0,
            "size {size:?}: bias {bias}, mean error {mean}"
        );
    }
}

#[test]
fn many_short_episodes_stay_on_the_grid_over_several_files() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let tiny = (64, 64);
    let images = jpegs("testsrc2", 7, tiny);
    let cameras = [("a", tiny, &images[..]), ("b", tiny, &images[..1])];
    let options = Options {
        // Seven steps of the moving camera take about 10 kB.
        video_file_bytes: 100_000,
        data_file_bytes: 4_000,
        ..options()
    };
    // 7/30 s is not a whole number of microseconds.
    let report = write((0..30).map(|n| episode(n, 7, &cameras)), &out, &options).unwrap();
    assert_eq!(report.rows, 210);
    let verified = verify(&out, &options).unwrap();
    assert_eq!(
        (verified.episodes, verified.rows, verified.tasks),
        (30, 210, 2)
    );
    let count = |part: &str| listing(&out).iter().filter(|f| f.contains(part)).count();
    let (a, b) = (count("images.a/"), count("images.b/"));
    assert!(
        a > b && b >= 1,
        "{a} files of the moving camera, {b} of the still one"
    );
    assert_eq!(verified.videos, a + b);
    assert!(count("data/") > 1);
}

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
        *byte = (at * 37 % 128) as u8;
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
    nan.state.values[7] = f32::NAN;
    let error = write([nan], &out, &options()).unwrap_err().to_string();
    assert!(error.contains("1 episodes received"), "{error}");
    assert!(
        error.contains(r#"state column "wrist_y_m" is not finite at step 2"#),
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
    other.action.names[2] = "index_rad".into();
    let error = write([episode(0, 5, &[]), other], &out, &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("episode-1 differs") && error.contains("index_rad"),
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

#[test]
fn progress_reaches_the_number_of_images() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let images = jpegs("testsrc2", 40, SMALL);
    let cameras = [("a", SMALL, &images[..]), ("b", SMALL, &images[..])];
    let mut seen = Vec::new();
    let mut episodes = [Ok(episode(0, 40, &cameras))].into_iter();
    let write = format("lerobot_v3").unwrap().write;
    write(
        &mut episodes,
        &temporary.path().join("d"),
        &options(),
        &mut |p| seen.push(p),
    )
    .unwrap();
    let at = |images| Progress::Encoding {
        episode: 0,
        images,
        of: 80,
    };
    assert_eq!(
        seen,
        [
            at(30),
            at(60),
            at(80),
            Progress::Finishing,
            Progress::Checking
        ]
    );
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
        .args(["--exact", "victim", "--ignored"])
        .env(VICTIM, &out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partial = temporary
        .path()
        .join(format!("dataset.partial-{}", victim.id()));
    let name = partial.file_name().unwrap().to_str().unwrap();
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
        partial.join("temporary/head-000001.mp4").exists()
    });
    assert!(mentioned_by_a_process(name), "an encoder is running");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("end of the children", &|| !mentioned_by_a_process(name));
    assert_holds(temporary.path(), &[name]);
    assert!(verify(&partial, &options()).is_err());

    let report = write([episode(0, 5, &[])], &out, &options()).unwrap();
    assert!(
        report.warnings.iter().any(|w| w.contains(name)),
        "{:?}",
        report.warnings
    );
}

/// Whether the command line of any process contains `text`.
fn mentioned_by_a_process(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(text))
}
