//! Datasets that are interrupted, extended, shrunk, and changed behind their manifest's back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dexumi_export::{
    Expected, ExpectedImages, ExportError, ImageSource, MANIFEST_FILE, Manifest, Options, Origin,
    Report, Resampled, check_space, format, space_needed, verify,
};

use crate::stores::{self, copy};
use crate::synthetic::{self, SMALL, assert_holds, ffmpeg_is_installed, folder, listing, options};

/// Images that say when they are read.
struct Watched(
    Box<dyn ImageSource>,
    std::sync::Arc<std::sync::atomic::AtomicU64>,
);

impl ImageSource for Watched {
    fn read(&mut self, index: usize) -> Result<Bytes, ExportError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.read(index)
    }
}

/// Five episodes with all that any format takes, as if from recordings.
struct Recorded {
    images: Vec<Bytes>,
    reads: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Recorded {
    fn new() -> Self {
        Self {
            images: stores::pictures(),
            reads: std::sync::Arc::default(),
        }
    }

    fn episode(&self, number: u32) -> Resampled {
        let steps = 20 + number as usize;
        let images = &self.images[number as usize % 3..];
        let cameras = [("head", SMALL, images), ("wrist", SMALL, &images[..9])];
        let mut made = synthetic::episode(number, steps, &cameras);
        made.hands = vec![stores::full_hand(number, steps)];
        for camera in &mut made.cameras {
            camera.valid = vec![true; steps];
            let source = std::mem::replace(&mut camera.source, Box::new(synthetic::Images(vec![])));
            camera.source = Box::new(Watched(source, self.reads.clone()));
        }
        made.origin = Some(Origin {
            path: format!("/recordings/episode_{number:04}.mcap").into(),
            fingerprint: format!("recording {number}"),
            inputs_sha256: "inputs".into(),
            calibration_sha256: String::new(),
            motion: Vec::new(),
            rig: "desk".into(),
            resampled: Default::default(),
        });
        made
    }

    /// Writes episodes; `None` is where the export breaks off.
    fn write(
        &self,
        name: &str,
        numbers: &[Option<u32>],
        out: &Path,
        options: &Options,
    ) -> Result<Report, ExportError> {
        let mut episodes = numbers.iter().map(|number| match number {
            Some(number) => Ok(self.episode(*number)),
            None => Err(ExportError::Io {
                what: "read the next recording",
                path: "/recordings".into(),
                source: std::io::ErrorKind::TimedOut.into(),
            }),
        });
        (format(name)?.write)(&mut episodes, out, options, &mut |_| {})
    }

    fn reads(&self) -> u64 {
        self.reads.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

fn all(numbers: &[u32]) -> Vec<Option<u32>> {
    numbers.iter().copied().map(Some).collect()
}

fn tree(dataset: &Path) -> BTreeMap<String, Vec<u8>> {
    listing(dataset)
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(dataset.join(file)).unwrap()))
        .collect()
}

fn assert_same(a: &Path, b: &Path, what: &str) {
    let (a, b) = (tree(a), tree(b));
    let (names_a, names_b): (Vec<_>, Vec<_>) = (a.keys().collect(), b.keys().collect());
    assert_eq!(names_a, names_b, "{what}");
    let different: Vec<_> = a.keys().filter(|name| a[*name] != b[*name]).collect();
    assert!(different.is_empty(), "{what}: {different:?} differ");
}

/// Formats, folders whose names suit them, and options by which files are small.
fn formats() -> Vec<(&'static str, &'static str, Options)> {
    let small = Options {
        video_file_bytes: 40_000,
        data_file_bytes: 8_000,
        ..options()
    };
    let with = |variant: &str| Options {
        variant: Some(variant.into()),
        ..small.clone()
    };
    vec![
        ("lerobot-v3", "cups", small.clone()),
        ("lerobot-v2.1", "cups", small.clone()),
        ("dreamdojo", "cups", with("video")),
        ("egoscale", "cups", small.clone()),
        ("dreamdojo-mano", "cups", small.clone()),
        ("dexumi-zarr", "cups", small.clone()),
        ("umi-zarr", "cups", small.clone()),
    ]
}

#[test]
fn what_was_interrupted_goes_on_and_ends_as_if_it_had_not_been() {
    if !ffmpeg_is_installed() {
        return;
    }
    let recorded = Recorded::new();
    for (name, leaf, options) in formats() {
        let (calm, broken) = (synthetic::plain_folder(), synthetic::plain_folder());
        let (whole, out) = (calm.path().join(leaf), broken.path().join(leaf));
        let numbers = [0, 1, 2, 3, 4];
        recorded
            .write(name, &all(&numbers), &whole, &options)
            .unwrap();
        let all_reads = recorded.reads();
        for after in [1, 3, 5] {
            let mut numbers = all(&numbers);
            numbers.insert(after, None);
            let error = recorded.write(name, &numbers, &out, &options).unwrap_err();
            assert!(
                error.to_string().contains("next recording"),
                "{name}: {error}"
            );
            assert_holds(broken.path(), &[&format!("{leaf}.partial")]);
            // What is there can be mistaken for nothing.
            assert!(verify(&broken.path().join(format!("{leaf}.partial")), &options).is_err());
        }
        recorded.reads();
        let report = recorded
            .write(name, &all(&numbers), &out, &options)
            .unwrap();
        assert_holds(broken.path(), &[leaf]);
        assert_same(&whole, &out, name);
        match name {
            // The recorded images are copied once more, but not decoded.
            "dexumi-zarr" => assert_eq!(recorded.reads(), all_reads),
            _ => assert_eq!(recorded.reads(), 0, "{name}"),
        }
        let cameras: u64 = if matches!(name, "dreamdojo" | "dreamdojo-mano" | "umi-zarr") {
            1
        } else {
            2
        };
        if name != "dexumi-zarr" {
            assert_eq!(report.videos_reused, 5 * cameras, "{name}");
        }
    }
}

#[test]
fn a_longer_or_shorter_dataset_is_what_a_fresh_one_would_be() {
    if !ffmpeg_is_installed() {
        return;
    }
    let recorded = Recorded::new();
    for (name, leaf, options) in formats() {
        let root = synthetic::plain_folder();
        let out = root.path().join(leaf);
        recorded
            .write(name, &all(&[0, 1, 2]), &out, &options)
            .unwrap();
        let replace = Options {
            replace: true,
            ..options.clone()
        };
        for (step, numbers) in [&[0, 1, 2, 3][..], &[0, 2, 3]].iter().enumerate() {
            recorded.reads();
            recorded.write(name, &all(numbers), &out, &replace).unwrap();
            let reads = recorded.reads();
            assert_holds(root.path(), &[leaf]);
            let fresh = synthetic::plain_folder();
            let fresh_out = fresh.path().join(leaf);
            recorded
                .write(name, &all(numbers), &fresh_out, &options)
                .unwrap();
            assert_same(&fresh_out, &out, &format!("{name} {numbers:?}"));
            // Nothing is encoded that was encoded before.
            let has_videos = !matches!(name, "dexumi-zarr" | "umi-zarr");
            if has_videos && step > 0 {
                assert_eq!(reads, 0, "{name} {numbers:?}");
            }
        }
    }
}

#[test]
fn a_dataset_that_is_there_is_replaced_by_a_whole_one_or_not_at_all() {
    if !ffmpeg_is_installed() {
        return;
    }
    let recorded = Recorded::new();
    let root = folder();
    let out = root.path().join("dataset");
    recorded
        .write("lerobot-v3", &all(&[0, 1]), &out, &options())
        .unwrap();
    let before = tree(&out);
    let replace = Options {
        replace: true,
        ..options()
    };
    recorded
        .write("lerobot-v3", &[Some(0), Some(2), None], &out, &replace)
        .unwrap_err();
    assert_eq!(tree(&out), before);
    verify(&out, &options()).unwrap();
    // Another of the same place waits for the first.
    let lock = root.path().join("dataset.partial/lock");
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let error = recorded
        .write("lerobot-v3", &all(&[0]), &out, &replace)
        .unwrap_err();
    assert!(matches!(error, ExportError::Busy { .. }), "{error}");
    drop(held);
    recorded
        .write("lerobot-v3", &all(&[0, 2]), &out, &replace)
        .unwrap();
    assert_holds(root.path(), &["dataset"]);
    assert_ne!(tree(&out), before);
}

#[test]
fn a_manifest_says_what_was_made_from_what() {
    if !ffmpeg_is_installed() {
        return;
    }
    let recorded = Recorded::new();
    let root = folder();
    let out = root.path().join("dataset");
    let options = Options {
        asked: serde_json::json!({"causal": true}),
        license: Some("CC-BY-4.0".into()),
        ..options()
    };
    recorded
        .write("lerobot-v2.1", &all(&[0, 3]), &out, &options)
        .unwrap();
    let manifest = Manifest::read(&out).unwrap().unwrap();
    assert_eq!(
        (
            manifest.format.as_str(),
            manifest.fps,
            manifest.robot_type.as_str()
        ),
        ("lerobot-v2.1", 30, "xhand_right")
    );
    assert_eq!(manifest.configuration.asked["causal"], true);
    let steps: Vec<_> = manifest
        .episodes
        .iter()
        .map(|entry| (entry.episode_index, entry.steps))
        .collect();
    assert_eq!(steps, [(0, 20), (1, 23)]);
    let origin = manifest.episodes[1].origin.as_ref().unwrap();
    assert_eq!(
        (origin.path.to_str(), origin.fingerprint.as_str()),
        (Some("/recordings/episode_0003.mcap"), "recording 3")
    );
    let mut listed: Vec<String> = manifest
        .files
        .iter()
        .map(|file| file.path.to_string_lossy().into_owned())
        .collect();
    listed.push(MANIFEST_FILE.into());
    listed.sort();
    assert_eq!(listed, listing(&out));
    let verified = verify(&out, &options).unwrap();
    assert_eq!(verified.files, Some(listed.len() - 1));
    // A dataset without one is judged by its format alone.
    std::fs::remove_file(out.join(MANIFEST_FILE)).unwrap();
    assert_eq!(verify(&out, &options).unwrap().files, None);
}

/// A file that no rule of the format looks into.
const ASIDE: &str = "statistics.svg";

fn edit(dataset: &Path, change: impl FnOnce(&mut Manifest)) {
    let mut manifest = Manifest::read(dataset).unwrap().unwrap();
    change(&mut manifest);
    let text = serde_json::to_vec(&manifest).unwrap();
    std::fs::write(dataset.join(MANIFEST_FILE), text).unwrap();
}

type Break = (&'static str, fn(&Path), &'static str);

#[test]
fn what_differs_from_the_manifest_is_refused() {
    if !ffmpeg_is_installed() {
        return;
    }
    let breaks: &[Break] = &[
        ("a changed file", |d| touch(d, b"x", false), "SHA-256"),
        (
            "a longer file",
            |d| touch(d, b"x", true),
            "was changed since",
        ),
        (
            "a missing file",
            |d| std::fs::remove_file(d.join(ASIDE)).unwrap(),
            "lists a file that is not there",
        ),
        (
            "a file besides",
            |d| std::fs::write(d.join("more"), "x").unwrap(),
            "does not list",
        ),
        (
            "another format",
            |d| edit(d, |m| m.format = "umi-zarr".into()),
            "format",
        ),
        (
            "an episode less",
            |d| edit(d, |m| _ = m.episodes.pop()),
            "episodes and steps",
        ),
        (
            "other steps",
            |d| edit(d, |m| m.episodes[0].steps += 1),
            "episodes and steps",
        ),
        (
            "other order",
            |d| edit(d, |m| m.episodes[0].episode_index = 1),
            "episode_index",
        ),
        (
            "another choice",
            |d| edit(d, |m| m.configuration.fit = "Pad".into()),
            "configuration_sha256",
        ),
        (
            "another schema",
            |d| edit(d, |m| m.schema = "x".into()),
            "schema",
        ),
        (
            "a later version",
            |d| edit(d, |m| m.version = 2),
            "version of the schema",
        ),
    ];
    let recorded = Recorded::new();
    let root = folder();
    let good = root.path().join("good");
    recorded
        .write("dreamdojo-mano", &all(&[0, 1]), &good, &options())
        .unwrap();
    for (name, break_it, expected) in breaks {
        let copied: PathBuf = root.path().join(name);
        copy(&good, &copied);
        break_it(&copied);
        let error = verify(&copied, &options()).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

fn touch(dataset: &Path, bytes: &[u8], longer: bool) {
    let path = dataset.join(ASIDE);
    let mut content = std::fs::read(&path).unwrap();
    match longer {
        true => content.extend_from_slice(bytes),
        false => content[0..bytes.len()].copy_from_slice(bytes),
    }
    std::fs::write(path, content).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_with_both_numbers() {
    let root = folder();
    let out = root.path().join("dataset");
    check_space(&out, 1).unwrap();
    let error = check_space(&out, u64::MAX).unwrap_err();
    let ExportError::NoSpace { needed, free, .. } = error else {
        panic!("{error}");
    };
    assert!(needed == u64::MAX && free > 0);
    let camera = ExpectedImages {
        size: (640, 480),
        bytes: 60_000,
    };
    let recording = Expected {
        steps: 300,
        cameras: vec![camera.clone(), camera],
    };
    // 307,200 pixels of a quarter bit, two cameras, 300 steps; 600 bytes a step, 100 kB.
    let videos = 2 * 300 * 9_600;
    let all = videos + 300 * 600 + 100_000;
    assert_eq!(
        space_needed(std::slice::from_ref(&recording), &options(), false),
        2 * all
    );
    let stills = 2 * 300 * 60_000 + 300 * 600 + 100_000;
    assert_eq!(space_needed(&[recording], &options(), true), stills);
}
