//! Episodes with all that the formats beside LeRobot take, and edits of what they wrote.

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

/// The golden listing of a format.
pub fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("listing-{name}.txt"))
}
