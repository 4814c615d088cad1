//! The layouts of one file an episode: their files, and what the models' loaders take from them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int64Type};
use dexumi_export::{Options, Side, eef_9d, verify};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::stores::write_with;
use crate::synthetic::{
    SMALL, episode, ffmpeg_is_installed, jpegs, listing, options, plain_folder, two_hands,
};

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn variant(name: &str) -> Options {
    Options {
        variant: Some(name.into()),
        ..options()
    }
}

/// A column of vectors.
fn vectors(dataset: &Path, number: u64, name: &str) -> Vec<Vec<f32>> {
    let path = dataset.join(format!("data/chunk-000/episode_{number:06}.parquet"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let lists = batch.column_by_name(name).unwrap().as_fixed_size_list();
        let values = lists.values().as_primitive::<Float32Type>().values();
        rows.extend(
            values
                .chunks(lists.value_length() as usize)
                .map(<[f32]>::to_vec),
        );
    }
    rows
}

fn integers(dataset: &Path, number: u64, name: &str) -> Vec<i64> {
    let path = dataset.join(format!("data/chunk-000/episode_{number:06}.parquet"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches = builder.build().unwrap().map(Result::unwrap);
    let column = batches.flat_map(|batch| {
        let column = batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone();
        column.values().to_vec()
    });
    column.collect()
}

#[test]
fn every_format_has_its_files() {
    if !ffmpeg_is_installed() {
        return;
    }
    let images = jpegs("testsrc2", 45, SMALL);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, choice, folder, file) in [
        ("lerobot-v2.1", None, "cups", "lerobot-v2.1.txt"),
        ("dreamzero", None, "cups", "dreamzero.txt"),
        ("gr00t", None, "cups", "gr00t.txt"),
        ("dreamdojo", Some("g1"), "cups_g1", "dreamdojo.txt"),
        ("dreamdojo", Some("own"), "dexumi_cups", "dreamdojo.txt"),
        ("dreamdojo", Some("video"), "cups", "dreamdojo-video.txt"),
    ] {
        let root = plain_folder();
        let out = root.path().join(folder);
        let chosen = choice.map_or_else(options, variant);
        let episodes = (0..2).map(|n| two_hands(n, 45, &images)).collect();
        write_with(name, episodes, &out, &chosen)
            .unwrap_or_else(|e| panic!("{name} {choice:?}: {e}"));
        let expected = std::fs::read_to_string(golden.join(file)).unwrap();
        assert_eq!(
            listing(&out),
            expected.lines().collect::<Vec<_>>(),
            "{name} {choice:?}"
        );
        let verified = verify(&out, &options()).unwrap();
        assert_eq!(
            (verified.format, verified.episodes, verified.rows),
            (name, 2, 90)
        );
    }
}

#[test]
fn rows_and_language_are_those_of_the_episode() {
    if !ffmpeg_is_installed() {
        return;
    }
    let images = jpegs("testsrc2", 45, SMALL);
    let root = plain_folder();
    let out = root.path().join("cups");
    write_with(
        "gr00t",
        (0..2).map(|n| two_hands(n, 45, &images)).collect(),
        &out,
        &options(),
    )
    .unwrap();
    let modality = json(&out.join("meta/modality.json"));
    let slice = |of: &str, key: &str| {
        let at = |end: &str| modality[of][key][end].as_u64().unwrap() as usize;
        at("start")..at("end")
    };
    for number in 0..2 {
        let expected = two_hands(number as u32, 45, &images);
        let (state, action) = (
            vectors(&out, number, "observation.state"),
            vectors(&out, number, "action"),
        );
        for hand in &expected.hands {
            let side = hand.side.name();
            let wrist = slice("state", &format!("{side}_wrist_eef_9d"));
            let joints = slice("action", &format!("{side}_hand"));
            for k in 0..45 {
                let pose = eef_9d(&hand.world_from_wrist[k]).map(|x| x as f32);
                assert_eq!(state[k][wrist.clone()], pose, "{side} wrist at {k}");
                let next: Vec<f32> = hand.joints(k + 1).iter().map(|&x| x as f32).collect();
                assert_eq!(action[k][joints.clone()], next, "{side} joints behind {k}");
            }
        }
        let tasks: BTreeMap<i64, String> = std::fs::read_to_string(out.join("meta/tasks.jsonl"))
            .unwrap()
            .lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap();
                let index = value["task_index"].as_i64().unwrap();
                (index, value["task"].as_str().unwrap().to_owned())
            })
            .collect();
        let (task, said) = (
            integers(&out, number, "task_index"),
            integers(&out, number, "annotation.subtask"),
        );
        for k in 0..45 {
            assert_eq!(tasks[&task[k]], expected.task);
            assert_eq!(tasks[&said[k]], expected.language(k), "step {k}");
        }
    }
    // Statistics of relative actions: the first step is one step ahead of the state.
    let stats = json(&out.join("meta/relative_stats.json"));
    let rows = stats["right_hand"]["max"].as_array().unwrap();
    assert_eq!(rows.len(), 40);
    let mut most = f64::NEG_INFINITY;
    for number in 0..2 {
        let made = two_hands(number, 45, &images);
        let hand = made.hand(Side::Right).unwrap();
        for start in 0..6 {
            let ahead = f64::from(hand.joints(start + 40)[0] as f32);
            most = most.max(ahead - f64::from(hand.joints(start)[0] as f32));
        }
    }
    let told = rows[39][0].as_f64().unwrap();
    assert!((told - most).abs() < 1e-9, "{told} against {most}");
}

#[test]
fn an_action_too_wide_for_dreamzero_is_refused_and_the_ways_out_named() {
    if !ffmpeg_is_installed() {
        return;
    }
    let images = jpegs("testsrc2", 30, SMALL);
    let wide = || {
        let mut made = two_hands(0, 30, &images);
        for hand in &mut made.hands {
            let fingers = ["thumb", "index", "middle", "ring", "pinky"];
            let joints = fingers
                .iter()
                .flat_map(|f| (0..3).map(move |at| format!("{f}_joint{at}")));
            hand.joint_names = joints.collect();
            hand.joints_rad = (0..31 * 15).map(|at| (at as f64 * 0.01).sin()).collect();
        }
        made
    };
    let root = plain_folder();
    let error = write_with(
        "dreamzero",
        vec![wide()],
        &root.path().join("full"),
        &options(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("48 numbers wide") && error.contains("reduced"),
        "{error}"
    );
    let out = root.path().join("reduced");
    write_with("dreamzero", vec![wide()], &out, &variant("reduced")).unwrap();
    let action = &json(&out.join("meta/modality.json"))["action"];
    assert_eq!(action["right_hand"]["end"], 30);
    let out = root.path().join("wide");
    write_with("dreamzero", vec![wide()], &out, &variant("wide")).unwrap();
    let yaml = std::fs::read_to_string(out.join("dreamzero.yaml")).unwrap();
    assert!(yaml.contains("max_action_dim: 48\n"), "{yaml}");
    let error = write_with(
        "dreamzero",
        vec![wide()],
        &root.path().join("x"),
        &variant("narrow"),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("full, reduced, wide"), "{error}");
}

#[test]
fn what_a_loader_takes_nothing_from_is_left_out_and_said() {
    if !ffmpeg_is_installed() {
        return;
    }
    let images = jpegs("testsrc2", 45, SMALL);
    let root = plain_folder();
    let episodes = vec![two_hands(0, 39, &images), two_hands(1, 40, &images)];
    let report = write_with("gr00t", episodes, &root.path().join("cups"), &options()).unwrap();
    assert!(
        report.rejected[0].why.contains("less than 40"),
        "{:?}",
        report.rejected
    );
    let mut evaluated = two_hands(0, 30, &images);
    evaluated.task = "[pick, place]".into();
    let error = write_with(
        "dreamzero",
        vec![evaluated],
        &root.path().join("x"),
        &options(),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("Python value"), "{error}");
    let error = write_with(
        "dreamdojo",
        vec![two_hands(0, 30, &images)],
        &root.path().join("x"),
        &options(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("\"g1\" is not in the folder's name"),
        "{error}"
    );
}

#[test]
fn a_g1_has_wrists_in_its_arms_and_rests_where_nothing_was_recorded() {
    if !ffmpeg_is_installed() {
        return;
    }
    let images = jpegs("testsrc2", 30, SMALL);
    let root = plain_folder();
    let out = root.path().join("cups_g1");
    let one = || episode(0, 30, &[("head", SMALL, &images[..])]);
    write_with("dreamdojo", vec![one()], &out, &options()).unwrap();
    let expected = one();
    let hand = &expected.hands[0];
    for (k, row) in vectors(&out, 0, "observation.state").iter().enumerate() {
        assert_eq!(row.len(), 43);
        assert!(row[..29].iter().all(|&x| x == 0.0), "{row:?}");
        let position = hand.world_from_wrist[k]
            .translation
            .vector
            .map(|x| x as f32);
        assert_eq!(row[29..32], *position.as_slice());
        let norm: f32 = row[32..36].iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-6);
        // Thumb and index have one joint each here.
        assert_eq!(row[36], hand.joints(k)[0] as f32);
        assert_eq!(row[39], hand.joints(k)[1] as f32);
    }
    let shape = &json(&out.join("meta/info.json"))["features"]["observation.images.head"]["shape"];
    assert_eq!(*shape, serde_json::json!([480, 640, 3]));
}
