//! An hour of recorded episodes through `dexumi retarget`: `measure_retarget_hour [DIR]`.
//!
//! Makes 30 episodes of two minutes with the recorder's own writer: two exoskeletons at 180 Hz, two wrist
//! trackers at 240 Hz, three cameras with images of 30 kB at 30 Hz, about 10 GB. Retargets both hands on the
//! 30 Hz grid and then at every scan, and prints wall time, processor time and the largest memory.

use std::{
    f64::consts::TAU,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use dexumi_episode::{
    Calibration, CameraMode, ChannelId, Device, EpisodeInfo, EpisodeWriter, FORMAT_VERSION,
    JointCalibration, JointMap, Ledger, Mount, Rig, SessionAnchor, SessionTime,
    schema::{
        CompressedImage, Encoders, Pose, PoseInFrame, Quaternion, Stamp, Timing, Tracking, Vector3,
        timestamp, timing_topic,
    },
};
use dexumi_retarget::Hand;

const EPISODES: u32 = 30;
const SECONDS: i64 = 120;
const ENCODER_HZ: i64 = 180;
const TRACKER_HZ: i64 = 240;
const IMAGE_HZ: i64 = 30;
const IMAGE_BYTES: usize = 30_000;
const CAMERAS: [&str; 3] = ["head", "left_wrist", "right_wrist"];
const SIDES: [&str; 2] = ["left", "right"];
const START_NS: i64 = 1_760_000_000_000_000_000;
/// The writer closes its chunks so often.
const TICK_NS: i64 = 50_000_000;
/// Sensor angle at a joint's lower and upper limit (rad), and the encoders' reference.
const SENSOR_RAD: [f64; 2] = [0.5, 2.5];
const REFERENCE: i32 = 1 << 20;

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or(PathBuf::from("retarget-hour"), PathBuf::from);
    let program = std::env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .context("this program's folder")?
        .join("dexumi");
    ensure!(
        program.exists(),
        "no {}; build the program first",
        program.display()
    );
    std::fs::create_dir_all(&folder)?;
    for number in 0..EPISODES {
        let path = folder.join(format!("episode_{number:04}.mcap"));
        if !path.exists() {
            write_episode(&path, number)?;
        }
        eprint!("\r{} of {EPISODES} episodes", number + 1);
    }
    eprintln!();
    println!("| what | hand | wall, s | processor, s | memory, MB |");
    println!("|---|---|---|---|---|");
    for (what, rate) in [("30 Hz grid", Some("30")), ("every scan, 180 Hz", None)] {
        for side in SIDES {
            let _ = std::fs::remove_dir_all(folder.join("derived"));
            let mut command = Command::new(&program);
            command
                .arg("retarget")
                .arg(&folder)
                .args(["--hand", &format!("xhand_{side}")]);
            command.args(["--jobs", "2"]);
            if let Some(rate) = rate {
                command.args(["--rate", rate]);
            }
            let start = Instant::now();
            let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
            let mut spent = (0.0, 0.0);
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                spent = seen(child.id()).unwrap_or(spent);
                std::thread::sleep(std::time::Duration::from_millis(20));
            };
            let wall_s = start.elapsed().as_secs_f64();
            ensure!(status.code() == Some(0), "dexumi retarget: {status}");
            println!(
                "| {what} | {side} | {wall_s:.1} | {:.1} | {:.0} |",
                spent.0, spent.1
            );
        }
    }
    Ok(())
}

/// Processor time (s) of a running process so far, and the most memory that it had (MB).
fn seen(id: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which may hold spaces, fields 14 and 15 of proc(5), in hundredths of seconds.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.split_whitespace().next()?.parse().ok()?;
    Some((ticks / 100.0, kilobytes / 1e3))
}

fn at(at_ns: i64) -> SessionTime {
    SessionTime::from_nanos(START_NS + at_ns)
}

fn stamp(at_ns: i64, sequence: u64) -> Option<Stamp> {
    Some(Stamp {
        timestamp_ns: START_NS + at_ns,
        host_time_ns: at_ns,
        sequence,
        ..Stamp::default()
    })
}

fn rig() -> Rig {
    let camera = CameraMode {
        width: 1280,
        height: 720,
        fps: IMAGE_HZ as f64,
        ..CameraMode::default()
    };
    let mut device = Vec::new();
    let mut mount = Vec::new();
    for side in SIDES {
        device.push(Device::new(
            &format!("/exo/{side}/encoders"),
            "synthetic",
            "none",
        ));
        device.push(Device::new(
            &format!("/tracker/{side}/pose"),
            "synthetic",
            "none",
        ));
        mount.push(Mount {
            parent: format!("tracker/{side}"),
            child: "hand".to_owned(),
            translation_m: [0.0, 0.0, 0.06],
            rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
            source: String::new(),
        });
    }
    for name in CAMERAS {
        device.push(Device {
            camera: Some(camera.clone()),
            ..Device::new(&format!("/camera/{name}/image"), "synthetic", "none")
        });
    }
    Rig {
        format: 1,
        name: "synthetic".to_owned(),
        hand: "xhand_right".to_owned(),
        device,
        mount,
    }
}

fn calibration(hands: &[Hand]) -> Calibration {
    let mut calibration = Calibration::new();
    for (side, hand) in SIDES.iter().zip(hands) {
        let joint = hand.variable_names().zip(hand.limits()).enumerate();
        let joint = joint.map(|(channel, (name, &(lower, upper)))| {
            JointMap::through(name, channel, SENSOR_RAD.to_vec(), vec![lower, upper])
        });
        let joints = JointCalibration {
            hand: hand.name().to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
            method: "synthetic".to_owned(),
            source: "synthetic".to_owned(),
            joint: joint.collect(),
        };
        calibration.joints.insert((*side).to_owned(), joints);
    }
    calibration
}

/// The channels of an episode.
struct Channels {
    encoders: Vec<ChannelId>,
    trackers: Vec<(ChannelId, ChannelId)>,
    cameras: Vec<(ChannelId, ChannelId)>,
}

fn write_episode(path: &Path, number: u32) -> Result<()> {
    let hands = ["xhand_left", "xhand_right"].map(|name| Hand::by_name(name).expect("built in"));
    let info = EpisodeInfo {
        format: FORMAT_VERSION,
        id: format!("0199c0de-0000-7000-8000-{number:012}"),
        number,
        task: "pick up the cup".to_owned(),
        operator: String::new(),
        hand: "xhand_right".to_owned(),
        rig: "synthetic".to_owned(),
        software: "measure".to_owned(),
        anchor: SessionAnchor {
            host_time_ns: 0,
            unix_time_ns: START_NS,
            uncertainty_ns: 0,
        },
    };
    let calibration = calibration(&hands).to_toml();
    let mut writer = EpisodeWriter::create(path, &info, &rig().to_toml(), Some(&calibration))?;
    let mut channels = Channels {
        encoders: Vec::new(),
        trackers: Vec::new(),
        cameras: Vec::new(),
    };
    for side in SIDES {
        let topic = format!("/exo/{side}/encoders");
        channels
            .encoders
            .push(writer.channel::<Encoders>(&topic, &[])?);
        let pose = writer.channel::<PoseInFrame>(&format!("/tracker/{side}/pose"), &[])?;
        let state = writer.channel::<Tracking>(&format!("/tracker/{side}/status"), &[])?;
        channels.trackers.push((pose, state));
    }
    for name in CAMERAS {
        let topic = format!("/camera/{name}/image");
        let image = writer.channel::<CompressedImage>(&topic, &[])?;
        channels
            .cameras
            .push((image, writer.channel::<Timing>(&timing_topic(&topic), &[])?));
    }
    // No image, but as large as one: it is never looked into.
    let mut noise = 1_u32.wrapping_add(number);
    let image: Vec<u8> = (0..IMAGE_BYTES)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let mut due = [0_i64; 3];
    for tick in 0..SECONDS * 1_000_000_000 / TICK_NS {
        let end_ns = (tick + 1) * TICK_NS;
        let mut each = |which: usize, hz: i64, write: &mut dyn FnMut(u64, i64)| {
            while due[which] * 1_000_000_000 / hz < end_ns {
                write(due[which] as u64, due[which] * 1_000_000_000 / hz);
                due[which] += 1;
            }
        };
        each(0, ENCODER_HZ, &mut |step, at_ns| {
            for (hand, &channel) in hands.iter().zip(&channels.encoders) {
                let counts = (0..hand.dof()).map(|joint| {
                    let t = at_ns as f64 * 1e-9 + f64::from(number);
                    let share = 0.5 - 0.45 * (TAU * (t / 3.0 - 0.02 * joint as f64)).cos();
                    let sensor = SENSOR_RAD[0] + share * (SENSOR_RAD[1] - SENSOR_RAD[0]);
                    (sensor / TAU * f64::from(REFERENCE)).round() as i32
                });
                let message = Encoders {
                    stamp: stamp(at_ns, step),
                    counts: counts.collect(),
                    reference: REFERENCE,
                    spare: 0,
                };
                writer.write(channel, step, at(at_ns), at(at_ns), &message);
            }
        });
        each(1, TRACKER_HZ, &mut |step, at_ns| {
            let t = at_ns as f64 * 1e-9;
            for (index, &(pose, state)) in channels.trackers.iter().enumerate() {
                let message = PoseInFrame {
                    timestamp: Some(timestamp(at(at_ns))),
                    frame_id: "world".to_owned(),
                    pose: Some(Pose {
                        position: Some(Vector3 {
                            x: 0.3 + 0.1 * (0.9 * t).sin(),
                            y: 0.4 * index as f64 + 0.1 * t.cos(),
                            z: 1.0,
                        }),
                        orientation: Some(Quaternion {
                            x: 0.0,
                            y: 0.0,
                            z: 0.0,
                            w: 1.0,
                        }),
                    }),
                };
                let tracking = Tracking {
                    stamp: stamp(at_ns, step),
                    valid: true,
                    mean_error_m: 0.0,
                };
                writer.write(pose, step, at(at_ns), at(at_ns), &message);
                writer.write(state, step, at(at_ns), at(at_ns), &tracking);
            }
        });
        each(2, IMAGE_HZ, &mut |step, at_ns| {
            for (name, &(channel, timing)) in CAMERAS.iter().zip(&channels.cameras) {
                let message = CompressedImage {
                    timestamp: Some(timestamp(at(at_ns))),
                    frame_id: format!("camera/{name}"),
                    data: image.clone().into(),
                    format: "jpeg".to_owned(),
                };
                writer.write(channel, step, at(at_ns), at(at_ns), &message);
                let message = Timing {
                    stamp: stamp(at_ns, step),
                    exposure_ns: None,
                };
                writer.write(timing, step, at(at_ns), at(at_ns), &message);
            }
        });
        writer.tick()?;
    }
    writer.finish(Some((at(0), at(SECONDS * 1_000_000_000))), &Ledger::new())?;
    Ok(())
}
