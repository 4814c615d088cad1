//! Datasets written from synthetic episodes, by the real ffmpeg.

use std::path::Path;
use std::process::Command;

use dexumi_export::{Codec, Options, Progress, Quality, format, verify};

use crate::synthetic::{
    JOINTS, SMALL, assert_holds, episode, ffmpeg_is_installed, folder, jpegs, listing, options,
    run, write,
};

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
    let expected = std::fs::read_to_string(golden.join("lerobot-v3.txt")).unwrap();
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
fn verdicts_on_quality_are_in_the_metadata() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let images = jpegs("testsrc2", 40, SMALL);
    let make = || {
        (0..2).map(|n| {
            let mut made = episode(n, 40, &[("head", SMALL, &images[..])]);
            let tags = ["blurred".to_owned(), "dark".to_owned()];
            made.quality = Some(Quality {
                grade: ["A", "C"][n as usize].to_owned(),
                tags: tags[..2 * n as usize].to_vec(),
                not_measured: vec!["sync_residual of head: too little motion".to_owned()],
                verdict: serde_json::json!({"grade": (["A", "C"][n as usize])}),
            });
            made
        })
    };
    let out = temporary.path().join("v3");
    write(make(), &out, &options()).unwrap();
    let lines = std::fs::read_to_string(out.join("meta/quality.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines.len(), &lines[1]["verdict"]["grade"]),
        (2, &"C".into())
    );
    let v21 = temporary.path().join("v21");
    let format = format("lerobot-v2.1").unwrap();
    (format.write)(&mut make().map(Ok), &v21, &options(), &mut |_| {}).unwrap();
    let episodes = std::fs::read_to_string(v21.join("meta/episodes.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(episodes.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["quality_grade"], &last["quality_tags"]),
        (&"C".into(), &"blurred,dark".into())
    );
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
    for column in 0..9 + JOINTS.len() {
        let values: Vec<f64> = make()
            .flat_map(|e| e.action().values)
            .skip(column)
            .step_by(9 + JOINTS.len())
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
fn av1_is_refused_where_ffmpeg_cannot_do_it() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let images = jpegs("testsrc2", 7, SMALL);
    let cameras = [("head", SMALL, &images[..])];
    let av1 = Options {
        codec: Codec::Av1,
        ..Options::default()
    };
    let help = run(Command::new("ffmpeg").args(["-v", "error", "-h", "encoder=libsvtav1"]));
    if String::from_utf8_lossy(&help).contains("-crf") {
        let out = temporary.path().join("new");
        let report = write((0..2).map(|n| episode(n, 7, &cameras)), &out, &av1).unwrap();
        assert_eq!(report.codec, "av1");
    } else {
        eprintln!("skipped: this ffmpeg has no libsvtav1 with -crf");
    }

    // Ubuntu 22.04's ffmpeg 4.4: libsvtav1 without -crf.
    let old = temporary.path().join("ffmpeg");
    let script = "#!/bin/sh\ncase \"$*\" in\n\
        *encoder=libsvtav1*) echo 'Encoder libsvtav1 [SVT-AV1]:'; echo '  -rc  -qp' ;;\n\
        *) exec ffmpeg \"$@\" ;;\nesac\n";
    std::fs::write(&old, script).unwrap();
    run(Command::new("chmod").arg("+x").arg(&old));
    let old = Options { ffmpeg: old, ..av1 };
    let error = write([], &temporary.path().join("av1"), &old)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no usable encoder for AV1"), "{error}");
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
    let write = format("lerobot-v3").unwrap().write;
    write(
        &mut episodes,
        &temporary.path().join("d"),
        &options(),
        &mut |p| seen.push(p),
    )
    .unwrap();
    let [encoding @ .., Progress::Finishing, Progress::Checking] = &seen[..] else {
        panic!("{seen:?}");
    };
    let images: Vec<usize> = encoding
        .iter()
        .map(|step| match step {
            Progress::Encoding {
                episode: 0,
                images,
                of: 80,
            } => *images,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(images.is_sorted_by(|a, b| a < b), "{images:?}");
    assert_eq!(images.last(), Some(&80));
}

#[test]
fn intrinsics_and_cuts_are_in_the_dataset() {
    if !ffmpeg_is_installed() {
        return;
    }
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let images = jpegs("testsrc2", 3, SMALL);
    let cameras = [("head", SMALL, &images[..]), ("wrist", SMALL, &images[..])];
    let mut later = episode(2, 3, &cameras);
    later.cameras[0].intrinsics = Some([110.0, 110.0, 79.5, 59.5]);
    let options = Options {
        size: Some((60, 60)),
        ..options()
    };
    let episodes = [episode(0, 3, &cameras), episode(1, 3, &cameras), later];
    write(episodes, &out, &options).unwrap();
    let text = std::fs::read_to_string(out.join("meta/cameras.json")).unwrap();
    let cameras: serde_json::Value = serde_json::from_str(&text).unwrap();
    // 160x120 is cut to 120x120 in the middle and scaled by 1/2; the middle stays the middle.
    let expected = serde_json::json!({
        "role": "head",
        "recorded_size": [160, 120],
        "kept_x_y_w_h": [20, 0, 120, 120],
        "placed_x_y_w_h": [0, 0, 60, 60],
        "size": [60, 60],
        "intrinsics": [
            {"from_episode": 0, "fx_fy_cx_cy": [50.0, 50.0, 29.5, 29.5]},
            {"from_episode": 2, "fx_fy_cx_cy": [55.0, 55.0, 29.5, 29.5]},
        ],
    });
    assert_eq!(cameras["observation.images.head"], expected);
    assert_eq!(cameras["observation.images.wrist"]["role"], "right_wrist");
    let unknown = &cameras["observation.images.wrist"]["intrinsics"];
    assert_eq!(unknown[0]["fx_fy_cx_cy"], serde_json::Value::Null);
}
