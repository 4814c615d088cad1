//! The demo, in a short form: every stage by its own command, held against the
//! truth of the emulated rig.

use std::path::Path;

use dexumi_episode::{Episode, episodes_in};

use crate::program::{alone, json, run_well, text};

/// No machine that tests are worth running on is later than this (s).
const LATE_AT_MOST_S: f64 = 0.05;

#[test]
fn the_whole_job_runs_and_keeps_its_promises() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let arguments = [
        "demo",
        "--out",
        text(&out),
        "--episodes",
        "1",
        "--seconds",
        "8",
        "--image-size",
        "320x240",
        "--json",
    ];
    let output = run_well(&arguments, &[0, 3]);
    let report = json(&output);

    let truth = &report["truth"][0];
    let rms = truth["joint_rms_rad"]
        .as_f64()
        .expect("a number")
        .to_degrees();
    assert!(rms < 0.5, "joint angles are {rms}° rms from the truth");
    let tips = truth["tip_rms_m"]
        .as_f64()
        .expect("tips of a hand that is built in");
    assert!(tips < 1e-3, "fingertips are {tips} m rms from the truth");
    let list = std::fs::read_to_string(out.join("truth.jsonl")).expect("the emulator's list");
    for (stream, error) in truth["sync"].as_object().expect("streams") {
        let number = |key: &str| error[key].as_f64().expect("a number");
        // What the emulator itself was late by on a slow machine cannot be told from a later capture.
        let mut late_s: Vec<f64> = list
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|line| line["stream"] == stream.as_str())
            .filter_map(|line| Some(line["late_us"].as_f64()? * 1e-6))
            .collect();
        late_s.sort_by(f64::total_cmp);
        let late_s = late_s.get(late_s.len() * 98 / 100).copied().unwrap_or(0.0);
        let late_s = late_s.min(LATE_AT_MOST_S);
        assert!(
            number("p95_s") <= number("limit_s") + late_s,
            "{stream}: p95 {} s, promised {} s, sent up to {late_s} s late",
            number("p95_s"),
            number("limit_s")
        );
        assert!(
            number("samples") > 100.0 && number("unmatched") == 0.0,
            "{stream}: {error}"
        );
    }

    let session = out.join("session");
    let paths = episodes_in(&session).expect("episodes");
    let episode = Episode::open(&paths[0]).expect("an episode");
    assert!(episode.ledger.len() == 7 && episode.ledger.values().all(|ledger| ledger.balances()));
    for (stream, ledger) in &episode.ledger {
        assert_eq!(ledger.lost(), 0, "{stream}: {ledger:?}");
        assert!(ledger.written > 200, "{stream}: {ledger:?}");
    }
    assert!(
        (episode.duration_s() - 8.0).abs() < 0.3,
        "{} s",
        episode.duration_s()
    );
    images_are_whole(&episode);
    sensors_lie_apart_from_images(&paths[0]);

    assert!(report["dataset"]["rows"].as_u64().expect("a number") > 220);
    for made in [
        "report.html",
        "episode_0000.rrd",
        "dataset/meta/info.json",
        "rig.toml",
    ] {
        assert!(out.join(made).exists(), "{made} is missing");
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("data:image/jpeg") && page.contains("p95 ms"));

    // Again: retargeting knows that nothing has changed; the dataset is not overwritten.
    let output = run_well(&["retarget", text(&session), "--json"], &[0]);
    assert_eq!(json(&output)[0]["reused"], true);
    let dataset = out.join("dataset");
    let again = [
        "export",
        text(&session),
        "--format",
        "lerobot-v3",
        "--out",
        text(&dataset),
    ];
    run_well(&again, &[1]);
    // A new demo replaces the old one, and nothing else.
    std::fs::remove_file(out.join(".dexumi-demo")).expect("the marker");
    let refused = run_well(&["demo", "--out", text(&out)], &[1]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no earlier demo"));
    assert!(paths[0].exists());
}

fn images_are_whole(episode: &Episode) {
    for camera in ["/camera/wrist/image", "/camera/head/image"] {
        let images = episode.file.images(camera).expect("an index");
        for index in 0..images.len() {
            let jpeg = episode.file.image(&images, index).expect("an image").data;
            assert!(jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9]));
        }
    }
}

/// A reader of sensors must not have to read the images.
fn sensors_lie_apart_from_images(path: &Path) {
    let bytes = std::fs::read(path).expect("an episode");
    let summary = mcap::Summary::read(&bytes)
        .expect("MCAP")
        .expect("a summary");
    let is_image = |id: &u16| summary.channels[id].topic.ends_with("/image");
    for chunk in &summary.chunk_indexes {
        let images = chunk
            .message_index_offsets
            .keys()
            .filter(|id| is_image(id))
            .count();
        assert!(images == 0 || images == chunk.message_index_offsets.len());
        let span_ns = chunk.message_end_time - chunk.message_start_time;
        assert!(span_ns < 1_000_000_000, "a chunk spans {span_ns} ns");
    }
}
