//! A hand that closes and opens, as files of keypoints and as episodes of a glove.

use std::{f64::consts::TAU, path::Path};

use dexumi_episode::{
    EpisodeInfo, EpisodeWriter, FORMAT_VERSION, Ledger, SessionAnchor, SessionTime,
    schema::{Keypoints, Pose, PoseInFrame, Quaternion, Stamp, Tracking, Vector3},
};

/// A right hand in its own axes that closes and opens once in 2 s, 30 steps a second [m].
pub fn motion(step: usize) -> [[f64; 3]; 21] {
    let bend = 0.6 * (0.5 - 0.5 * (TAU * step as f64 / 60.0).cos());
    let mut points = [[0.0; 3]; 21];
    for finger in 0..5 {
        let is_thumb = finger == 0;
        let mut at = match is_thumb {
            true => [0.01, 0.035, 0.03],
            false => [0.0, 0.045 - 0.02 * finger as f64, 0.09],
        };
        let length = if is_thumb { 0.034 } else { 0.03 };
        for bone in 0..4 {
            points[1 + 4 * finger + bone] = at;
            let angle = bend * (bone + 1) as f64 * if is_thumb { 0.4 } else { 1.0 };
            let aside: f64 = if is_thumb { 0.5 } else { 0.0 };
            at[0] += length * angle.sin();
            at[1] += length * aside * angle.cos();
            at[2] += length * (1.0 - aside * aside).sqrt() * angle.cos();
        }
    }
    points
}

/// As a tracker gives it: x, y, z of the hand along z, x, y of the world, somewhere.
pub fn in_the_world(points: [[f64; 3]; 21]) -> [[f64; 3]; 21] {
    points.map(|[x, y, z]| [y + 0.3, z - 0.2, x + 1.1])
}

/// A `.npy` as NumPy writes it.
pub fn write_npy(path: &Path, shape: &str, numbers: impl Iterator<Item = f64>) {
    let entries = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{entries:117}\n");
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.flat_map(f64::to_le_bytes));
    std::fs::write(path, bytes).expect("a file");
}

pub fn write_clip(path: &Path, steps: usize, points: impl Fn(usize) -> [[f64; 3]; 21]) {
    let numbers = (0..steps).flat_map(|step| points(step).into_iter().flatten());
    write_npy(path, &format!("({steps}, 21, 3)"), numbers);
}

/// An episode of a glove, 100 samples a second, the hand in the world; every tenth sample is not tracked
/// where `has_losses`.
pub fn write_episode(path: &Path, steps: usize, has_losses: bool) {
    write_glove(path, steps, has_losses, None);
}

/// As [`write_episode`]; with `mounts`, text of the rig, a wrist tracker that moves away from x = 0.4 m
/// by 1 m in 3 s, the hand pointing down.
pub fn write_glove(path: &Path, steps: usize, has_losses: bool, mounts: Option<&str>) {
    let start = 1_760_000_000_000_000_000;
    let info = EpisodeInfo {
        format: FORMAT_VERSION,
        id: "0199".to_owned(),
        number: 0,
        task: String::new(),
        operator: String::new(),
        hand: "xhand_right".to_owned(),
        rig: "glove".to_owned(),
        software: "test".to_owned(),
        anchor: SessionAnchor {
            host_time_ns: 0,
            unix_time_ns: start,
            uncertainty_ns: 0,
        },
    };
    let rig = "format = 1\nname = \"glove\"\nhand = \"xhand_right\"\n[[device]]\n\
               stream = \"/glove/right/keypoints\"\ndriver = \"udp_json\"\naddress = \"127.0.0.1:9\"\n";
    let rig = format!("{rig}{}", mounts.unwrap_or(""));
    let mut writer = EpisodeWriter::create(path, &info, &rig, None).expect("an episode");
    let channel = writer
        .channel::<Keypoints>("/glove/right/keypoints", &[])
        .expect("a channel");
    let tracker = mounts.map(|_| {
        let poses = writer
            .channel::<PoseInFrame>("/tracker/wrist/pose", &[])
            .expect("a channel");
        let status = writer
            .channel::<Tracking>("/tracker/wrist/status", &[])
            .expect("a channel");
        (poses, status)
    });
    let time = |step: usize| SessionTime::from_nanos(start + step as i64 * 10_000_000);
    for step in 0..steps {
        let valid = !(has_losses && step % 10 == 3);
        let points = in_the_world(motion(step * 30 / 100)).into_iter().flatten();
        let message = Keypoints {
            stamp: Some(Stamp {
                timestamp_ns: time(step).nanos(),
                host_time_ns: step as i64 * 10_000_000,
                sequence: step as u64,
                ..Stamp::default()
            }),
            points: points.map(|x| if valid { x } else { f64::NAN }).collect(),
            valid,
        };
        writer.write(channel, step as u64, time(step), time(step), &message);
        if let Some((poses, status)) = tracker {
            let pose = PoseInFrame {
                pose: Some(Pose {
                    position: Some(Vector3 {
                        x: 0.4 + step as f64 / 300.0,
                        y: 0.1,
                        z: 0.3,
                    }),
                    // Half a turn about x: fingers down.
                    orientation: Some(Quaternion {
                        x: 1.0,
                        y: 0.0,
                        z: 0.0,
                        w: 0.0,
                    }),
                }),
                ..PoseInFrame::default()
            };
            let state = Tracking {
                stamp: message.stamp,
                valid: true,
                ..Tracking::default()
            };
            writer.write(poses, step as u64, time(step), time(step), &pose);
            writer.write(status, step as u64, time(step), time(step), &state);
        }
        if step % 1000 == 999 {
            writer.tick().expect("a tick");
        }
    }
    writer
        .finish(Some((time(0), time(steps))), &Ledger::new())
        .expect("an episode");
}

pub fn write_glove_anew(path: &Path, mounts: &str) {
    std::fs::remove_file(path).expect("an episode");
    write_glove(path, 300, false, Some(mounts));
}
