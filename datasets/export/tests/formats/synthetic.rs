//! Synthetic episodes: `ffmpeg`'s moving test picture as recorded JPEGs, and
//! smooth motion as values.

// Each test program uses another part of it.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use dexumi_episode::SessionTime;
use dexumi_export::{
    CameraRole, CameraTrack, Codec, ExportError, Extra, ExtraValues, HandMotion, ImageSource,
    Options, Report, Resampled, Side, Subtask, format,
};
use nalgebra::{Isometry3, Translation3, UnitQuaternion};

/// JPEGs in memory.
pub struct Images(pub Vec<Bytes>);

impl ImageSource for Images {
    fn read(&mut self, index: usize) -> Result<Bytes, ExportError> {
        self.0
            .get(index)
            .cloned()
            .ok_or_else(|| ExportError::Episode {
                episode: "synthetic".into(),
                what: format!("image {index} of {}", self.0.len()),
            })
    }
}

/// Whether `ffmpeg` and `ffprobe` can be started; says so where not.
#[must_use]
pub fn ffmpeg_is_installed() -> bool {
    let there = ["ffmpeg", "ffprobe"].iter().all(|tool| {
        let mut command = Command::new(tool);
        command.arg("-version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if !there {
        eprintln!("skipped: ffmpeg and ffprobe are not installed (apt install ffmpeg)");
    }
    there
}

/// `count` JPEGs of a moving picture with noise, `width` x `height` pixels.
pub fn jpegs(picture: &str, count: usize, (width, height): (u32, u32)) -> Vec<Bytes> {
    let filter =
        format!("{picture}=size={width}x{height}:rate=30,noise=alls=6:allf=t,format=yuvj422p");
    split(&run(Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &filter])
        .args([
            "-frames:v",
            &count.to_string(),
            "-q:v",
            "3",
            "-f",
            "mjpeg",
            "pipe:1",
        ])))
}

/// The output of a command that must succeed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("cannot start");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

/// Cuts a stream of JPEGs without thumbnails at their end markers.
fn split(stream: &[u8]) -> Vec<Bytes> {
    let mut images = Vec::new();
    let mut start = 0;
    for end in 2..=stream.len() {
        if stream[end - 2..end] == [0xFF, 0xD9] {
            images.push(Bytes::copy_from_slice(&stream[start..end]));
            start = end;
        }
    }
    images
}

/// Names of the joints of a synthetic hand.
pub const JOINTS: [&str; 2] = ["thumb", "index"];

/// A hand whose wrist and joints move smoothly, `rows` rows at 30 a second.
pub fn hand(number: u32, side: Side, rows: usize) -> HandMotion {
    let away = if side == Side::Left { 1.0 } else { 0.0 };
    let time = |k: usize| k as f64 / 30.0 + f64::from(number) + away;
    let pose = |k: usize| {
        let t = time(k);
        Isometry3::from_parts(
            Translation3::new(0.1 * t.sin(), 0.2 * t.cos(), 0.05 * (0.3 * t).sin()),
            UnitQuaternion::from_euler_angles(0.3 * t.sin(), 0.2 * t.cos(), 0.1 * t),
        )
    };
    HandMotion {
        side,
        hand: format!("xhand_{}", side.name()),
        joint_names: JOINTS.map(String::from).into(),
        world_from_wrist: (0..rows).map(pose).collect(),
        joints_rad: (0..rows)
            .flat_map(|k| [(0.7 * time(k)).sin(), (0.4 * time(k)).cos()])
            .collect(),
        valid: (0..rows).map(|k| k % 11 != 7).collect(),
        force: None,
        keypoints: None,
        robot: None,
    }
}

/// An episode of `steps` steps at 30 a second with the given cameras, each a
/// name, its size and its JPEGs; a camera with fewer JPEGs than steps is shown
/// slower, images repeating.
pub fn episode(number: u32, steps: usize, cameras: &[(&str, (u32, u32), &[Bytes])]) -> Resampled {
    let extra = |name: &str, names: &[&str], values| Extra {
        name: name.into(),
        names: names.iter().map(|&n| n.into()).collect(),
        values,
    };
    let start = 1_760_000_000_000_000_000 + i64::from(number) * 60_000_000_000;
    let time = |k: usize, late_us: i64| {
        SessionTime::from_nanos(start + k as i64 * 1_000_000_000 / 30 + 1000 * late_us)
    };
    let tracks = cameras
        .iter()
        .map(|&(name, (width, height), images)| CameraTrack {
            name: name.into(),
            role: CameraRole::of_name(name, Some(Side::Right)),
            width,
            height,
            world_from_camera: None,
            intrinsics: (name == "head").then_some([100.0, 100.0, 79.5, 59.5]),
            images: (0..steps).map(|k| k * images.len() / steps).collect(),
            capture_times: (0..steps).map(|k| time(k, 100 * (k as i64 % 7))).collect(),
            valid: (0..steps).map(|k| k % 5 != 0).collect(),
            source: Box::new(Images(images.to_vec())),
        });
    Resampled {
        episode_id: format!("episode-{number}"),
        task: ["pick up the cup", "open the drawer"][number as usize % 2].into(),
        fps: 30,
        robot_type: "xhand_right".into(),
        times: (0..=steps).map(|k| time(k, 0)).collect(),
        hands: vec![hand(number, Side::Right, steps + 1)],
        subtasks: Vec::new(),
        extras: vec![extra(
            "phase",
            &["part"],
            ExtraValues::F64((0..steps).map(|k| k as f64 / steps as f64).collect()),
        )],
        cameras: tracks.collect(),
        quality: None,
        origin: None,
    }
}

/// An episode of two hands and three cameras, with subtasks.
pub fn two_hands(number: u32, steps: usize, images: &[Bytes]) -> Resampled {
    let cameras = ["head", "left_wrist", "right_wrist"].map(|name| (name, SMALL, images));
    let mut made = episode(number, steps, &cameras);
    made.hands.insert(0, hand(number, Side::Left, steps + 1));
    made.robot_type = "xhand_left+xhand_right".into();
    let subtask = |from, to, text: &str| Subtask {
        from,
        to,
        text: text.into(),
    };
    let middle = steps / 2;
    made.subtasks = vec![
        subtask(0, middle, "reach"),
        subtask(middle, steps - 5, "grasp"),
    ];
    made
}

/// Every file under `folder`, relative to it, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap();
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Size of small images, pixels.
pub const SMALL: (u32, u32) = (160, 120);

/// H.264, which every ffmpeg has.
pub fn options() -> Options {
    Options {
        codec: Codec::H264,
        ..Options::default()
    }
}

/// Writes a LeRobot v3 dataset.
pub fn write(
    episodes: impl IntoIterator<Item = Resampled>,
    out: &Path,
    options: &Options,
) -> Result<Report, ExportError> {
    let mut episodes = episodes.into_iter().map(Ok);
    (format("lerobot-v3")?.write)(&mut episodes, out, options, &mut |_| {})
}

/// A temporary folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A temporary folder whose path says nothing to DreamDojo's loader: no random letters.
pub fn plain_folder() -> tempfile::TempDir {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("x-{}-{number}", std::process::id());
    tempfile::Builder::new()
        .prefix(&prefix)
        .rand_bytes(0)
        .tempdir()
        .unwrap()
}

/// Fails where a folder holds anything but the names given.
pub fn assert_holds(folder: &Path, names: &[&str]) {
    let found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, names);
}
