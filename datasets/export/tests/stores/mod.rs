//! Episodes with all that the formats beside LeRobot take, and edits of what they wrote.

// Each test program uses another part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dexumi_export::{
    ExportError, ForceTrack, HandMotion, KeypointTrack, Options, Report, Resampled, RobotRows,
    Side, format,
};

use crate::synthetic::{SMALL, episode, hand, jpegs, options};

pub const STEPS: usize = 24;

/// A right hand, open and closing, in the glove's own axes.
fn keypoints(k: usize) -> [[f64; 3]; 21] {
    let bend = 0.02 * k as f64;
    let mut points = [[0.0; 3]; 21];
    for finger in 0..5 {
        let (mut x, mut z, y) = (0.0, 0.06, 0.04 - 0.02 * finger as f64);
        for part in 0..4 {
            points[1 + 4 * finger + part] = [x, y, z];
            x += 0.03 * (bend * (part + 1) as f64).sin();
            z += 0.03 * (bend * (part + 1) as f64).cos();
        }
    }
    points
}

fn full(mut hand: HandMotion, steps: usize) -> HandMotion {
    let tip = |k: usize, finger: usize| [0.02, 0.01 * finger as f64, 0.1 + 0.001 * k as f64];
    hand.robot = Some(RobotRows {
        motor_units: vec!["rad".into(); 2],
        motors: hand.joints_rad.clone(),
        fingers: ["thumb", "index"].map(String::from).into(),
        tips_m: (0..=steps).flat_map(|k| [tip(k, 0), tip(k, 4)]).collect(),
    });
    hand.force = Some(ForceTrack {
        fingers: ["thumb", "index"].map(String::from).into(),
        counts: (0..steps)
            .flat_map(|k| [[3.0, 4.0, 0.0], [0.0, 0.0, k as f64]])
            .collect(),
        valid: vec![true; steps],
    });
    hand.keypoints = Some(KeypointTrack {
        points_m: (0..steps).map(keypoints).collect(),
        valid: vec![true; steps],
        joints: None,
    });
    hand.valid = vec![true; steps + 1];
    hand
}

/// A right hand with all that a format may take.
pub fn full_hand(number: u32, steps: usize) -> HandMotion {
    full(hand(number, Side::Right, steps + 1), steps)
}

/// Two episodes of a right hand with cameras on head and wrist.
pub fn episodes() -> Vec<Resampled> {
    let images = pictures();
    let cameras = [("head", SMALL, &images[..]), ("wrist", SMALL, &images[..9])];
    (0..2)
        .map(|number| {
            let mut made = episode(number, STEPS, &cameras);
            made.hands = vec![full_hand(number, STEPS)];
            for camera in &mut made.cameras {
                camera.valid = vec![true; STEPS];
            }
            made
        })
        .collect()
}

/// The images that the episodes have.
pub fn pictures() -> Vec<Bytes> {
    jpegs("testsrc2", STEPS, SMALL)
}

/// Writes a data set of a format.
pub fn write(name: &str, episodes: Vec<Resampled>, out: &Path) -> Result<Report, ExportError> {
    write_with(name, episodes, out, &options())
}

pub fn write_with(
    name: &str,
    episodes: Vec<Resampled>,
    out: &Path,
    options: &Options,
) -> Result<Report, ExportError> {
    let mut episodes = episodes.into_iter().map(Ok);
    (format(name)?.write)(&mut episodes, out, options, &mut |_| {})
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Changes a JSON file.
pub fn json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// Changes one line of a file of JSON lines.
pub fn line(path: &Path, number: usize, change: impl FnOnce(&mut serde_json::Value)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut value = serde_json::from_str(&lines[number]).unwrap();
    change(&mut value);
    lines[number] = value.to_string();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Overwrites bytes of a file.
pub fn patch(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, content).unwrap();
}

/// Numbers of a file of 64-bit floats.
pub fn floats(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|&b| f64::from_le_bytes(b))
        .collect()
}

/// Numbers of a file of 32-bit floats.
pub fn singles(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect()
}

/// Takes a stored ZIP file apart, lets its folder be changed, and puts it together.
pub fn zipped(path: &Path, change: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    archive.extract(folder.path()).unwrap();
    change(folder.path());
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in crate::synthetic::listing(folder.path()) {
        writer.start_file(name.clone(), stored).unwrap();
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        std::io::Write::write_all(&mut writer, &bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// Writes an HDF5 file of numbers anew, with changed values of one array.
pub fn hdf5(path: &Path, changed: &str, change: impl FnOnce(&mut Vec<f64>)) {
    let file = hdf5_pure::File::open(path).unwrap();
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut change = Some(change);
    fn fill(
        group: &hdf5_pure::Group,
        at: String,
        builder: &mut hdf5_pure::GroupBuilder,
        change: &mut dyn FnMut(&str, &mut Vec<f64>),
    ) {
        for (name, value) in group.attrs().unwrap() {
            builder.set_attr(&name, value);
        }
        for name in group.datasets().unwrap() {
            let array = group.dataset(&name).unwrap();
            let mut values = array.read_f64().unwrap();
            change(&format!("{at}/{name}"), &mut values);
            let made = builder.create_dataset(&name);
            made.with_f64_data(&values)
                .with_shape(&array.shape().unwrap());
        }
        for name in group.groups().unwrap() {
            let mut inner = builder.create_group(&name);
            fill(
                &group.group(&name).unwrap(),
                format!("{at}/{name}"),
                &mut inner,
                change,
            );
            builder.add_group(inner.finish());
        }
    }
    for name in file.root().groups().unwrap() {
        let mut group = builder.create_group(&name);
        fill(
            &file.group(&name).unwrap(),
            name.clone(),
            &mut group,
            &mut |key, values| {
                if key == changed
                    && let Some(change) = change.take()
                {
                    change(values);
                }
            },
        );
        builder.add_group(group.finish());
    }
    std::fs::write(path, builder.finish().unwrap()).unwrap();
    assert!(change.is_none(), "no array {changed}");
}

/// The golden listing of a format.
pub fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("listing-{name}.txt"))
}
