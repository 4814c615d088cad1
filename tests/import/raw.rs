//! A raw episode byte by byte as DexUMI's recorder leaves it: Zarr 2 in folders,
//! packed by Blosc with LZ4 as `zarr` does unless told otherwise, and MPEG-4 videos.

use std::path::Path;
use std::process::Command;

/// Full scale of the board's converter.
pub const VOLTS_PER_COUNT: f64 = 5.0 / 0x7F_FFFF as f64;
/// The recorder's constants for the two cameras [s].
pub const OAK_LATENCY_S: f64 = 0.119;
pub const PHONE_LATENCY_S: f64 = 0.143;
/// Images of each camera, samples of the encoder board and of each fingertip.
pub const COUNTS: [usize; 4] = [85, 78, 70, 50];

/// Values of one array, with NumPy's name of their type.
pub enum Numbers {
    F64(Vec<f64>),
    I64(Vec<i64>),
}

/// One Blosc buffer: bytes of equal weight together, one block, one stream.
fn blosc(bytes: &[u8]) -> Vec<u8> {
    let width = 8;
    let count = bytes.len() / width;
    let shuffled: Vec<u8> = (0..bytes.len())
        .map(|at| bytes[(at % count) * width + at / count])
        .collect();
    let packed = lz4_flex::block::compress(&shuffled);
    let mut buffer = vec![2, 1, 1 | 16 | 1 << 5, width as u8];
    let length = 16 + 4 + 4 + packed.len();
    for number in [bytes.len(), bytes.len(), length, 20, packed.len()] {
        buffer.extend((number as u32).to_le_bytes());
    }
    buffer.extend(packed);
    buffer
}

fn array(path: &Path, shape: &[usize], numbers: &Numbers) {
    std::fs::create_dir_all(path).expect("a folder");
    let (dtype, bytes): (_, Vec<u8>) = match numbers {
        Numbers::F64(v) => ("<f8", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Numbers::I64(v) => ("<i8", v.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    assert_eq!(bytes.len(), 8 * shape.iter().product::<usize>());
    let description = serde_json::json!({
        "chunks": shape,
        "compressor": {"blocksize": 0, "clevel": 5, "cname": "lz4", "id": "blosc", "shuffle": 1},
        "dtype": dtype, "fill_value": 0, "filters": null, "order": "C", "shape": shape,
        "zarr_format": 2,
    });
    std::fs::write(path.join(".zarray"), description.to_string()).expect("written");
    let name = vec!["0"; shape.len()].join(".");
    std::fs::write(path.join(name), blosc(&bytes)).expect("written");
}

fn group(path: &Path) {
    std::fs::create_dir_all(path).expect("a folder");
    std::fs::write(path.join(".zgroup"), r#"{"zarr_format": 2}"#).expect("written");
}

/// Receive times [s] of `count` samples: the recorder's loop, never quite regular.
pub fn receive_times(count: usize, seconds: f64) -> Vec<f64> {
    let step = seconds / count as f64;
    (0..count)
        .map(|k| 5000.25 + k as f64 * step + 0.003 * (k as f64 * 1.7).sin())
        .collect()
}

/// Counts of the encoder board at sample `k`: 12 joints, reference, spare.
pub fn encoder_counts(k: usize) -> [i32; 14] {
    let reference = 5_500_000;
    std::array::from_fn(|channel| match channel {
        12 => reference,
        13 => 1234,
        joint => {
            let angle = 2.0 + 0.4 * (0.05 * k as f64 + joint as f64).sin();
            (angle / std::f64::consts::TAU * f64::from(reference)) as i32
        }
    })
}

/// Phone pose at sample `k`, 4x4 row-major: ARKit's world (y up), OpenGL's camera.
pub fn phone_pose(k: usize) -> [f64; 16] {
    phone_pose_between(k as f64)
}

/// The same between samples: turning and moving at a constant rate.
pub fn phone_pose_between(k: f64) -> [f64; 16] {
    let (s, c) = (0.01 * k).sin_cos();
    // Turned about y, moving up and forward.
    [
        c,
        0.0,
        s,
        0.1,
        0.0,
        1.0,
        0.0,
        1.2 + 0.002 * k,
        -s,
        0.0,
        c,
        -0.3,
        0.0,
        0.0,
        0.0,
        1.0,
    ]
}

/// Force at a fingertip.
pub fn force(finger: usize, k: usize) -> [i64; 3] {
    [finger as i64, -(k as i64 % 20), k as i64]
}

fn video(path: &Path, images: usize, size: &str, fps: u32) {
    let source = format!("testsrc2=size={size}:rate={fps}");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-frames:v"])
        .args([
            &images.to_string(),
            "-c:v",
            "mpeg4",
            "-tag:v",
            "mp4v",
            "-q:v",
            "3",
            "-y",
        ])
        .arg(path)
        .output()
        .expect("ffmpeg");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Which exoskeleton was recorded.
#[derive(Clone, Copy, PartialEq)]
pub enum Exo {
    /// 12 joints, three fingertips of three axes.
    XHand,
    /// 6 joints, one board of two force sensors.
    Inspire,
}

/// Force of sensor `sensor` of an Inspire board.
pub fn inspire_force(sensor: usize, k: usize) -> i64 {
    (300 * sensor + 7 * k) as i64
}

/// Writes an XHand episode of `seconds`, with the phone and three fingertips.
pub fn write(episode: &Path, seconds: f64) {
    write_of(Exo::XHand, episode, seconds);
}

/// Writes an episode of `seconds` with the phone.
pub fn write_of(exo: Exo, episode: &Path, seconds: f64) {
    group(episode);
    let [oak, phone, boards, tips] = COUNTS;
    let times = |name: &str, count: usize, latency: f64| {
        let folder = episode.join(name);
        group(&folder);
        let receive = receive_times(count, seconds);
        let capture = receive.iter().map(|time| time - latency).collect();
        array(
            &folder.join("receive_time"),
            &[count],
            &Numbers::F64(receive),
        );
        array(
            &folder.join("capture_time"),
            &[count],
            &Numbers::F64(capture),
        );
        folder
    };
    times("camera_0", oak, OAK_LATENCY_S);
    video(&episode.join("camera_0.mp4"), oak, "320x200", 45);
    let folder = times("camera_1", phone, PHONE_LATENCY_S);
    let poses = (0..phone).flat_map(phone_pose).collect();
    array(&folder.join("pose"), &[phone, 4, 4], &Numbers::F64(poses));
    let lens = (0..phone).flat_map(|k| {
        [
            600.0 + 0.01 * k as f64,
            0.0,
            120.0,
            0.0,
            601.0,
            160.0,
            0.0,
            0.0,
            1.0,
        ]
    });
    array(
        &folder.join("intrinsics"),
        &[phone, 3, 3],
        &Numbers::F64(lens.collect()),
    );
    video(&episode.join("camera_1.mp4"), phone, "240x320", 45);
    let folder = times("numeric_0", boards, 0.0);
    let joints = if exo == Exo::XHand { 12 } else { 6 };
    let scan = |k: usize| {
        let counts = encoder_counts(k);
        [&counts[..joints], &counts[12..]].concat()
    };
    let volts: Vec<f64> = (0..boards)
        .flat_map(scan)
        .map(|counts| f64::from(counts) * VOLTS_PER_COUNT)
        .collect();
    let angles = volts.chunks(joints + 2).flat_map(|volts| {
        let (angles, rest) = volts.split_at(joints);
        let reference = rest[0];
        angles
            .iter()
            .map(move |volts| volts / reference * 360.0)
            .collect::<Vec<_>>()
    });
    array(
        &folder.join("joint_angles"),
        &[boards, joints],
        &Numbers::F64(angles.collect()),
    );
    array(
        &folder.join("raw_voltage"),
        &[boards, joints + 2],
        &Numbers::F64(volts),
    );
    if exo == Exo::Inspire {
        let folder = times("numeric_1", tips, 0.0);
        let pairs = (0..tips).flat_map(|k| [inspire_force(0, k), inspire_force(1, k)]);
        array(
            &folder.join("fsr_values"),
            &[tips, 2],
            &Numbers::I64(pairs.collect()),
        );
        return;
    }
    for finger in 1..4 {
        let folder = times(&format!("numeric_{finger}"), tips, 0.0);
        let values = (0..tips).flat_map(|k| force(finger, k)).collect();
        array(
            &folder.join("fsr_values"),
            &[tips, 3],
            &Numbers::I64(values),
        );
    }
}
