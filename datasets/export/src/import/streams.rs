//! From the groups of a raw episode to streams of ours.

use std::path::{Path, PathBuf};

use dexumi_episode::{CameraMode, Device, Ledger, Mount};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::Imported;
use super::images;
use super::raw::{RawEpisode, Times, source_error};
use super::raw_episode::Choices;
use crate::error::ExportError;
use crate::ffmpeg::Tools;

/// Fingers of the XHand's three force boards, in the order of the recorder.
const XHAND_FINGERS: [&str; 3] = ["thumb", "index", "middle"];

/// One stream: its device, its times, its samples.
pub(super) struct Stream {
    pub device: Device,
    pub times: Times,
    pub samples: Samples,
}

pub(super) enum Samples {
    Encoders(Vec<Vec<i32>>),
    Force(Vec<[i32; 3]>),
    Poses(Vec<Option<Isometry3<f64>>>),
    Images { path: PathBuf },
}

pub(super) fn streams(
    raw: &mut RawEpisode,
    tools: &Tools,
    choices: &Choices<'_>,
    report: &mut Imported,
    ledger: &mut Ledger,
) -> Result<Vec<Stream>, ExportError> {
    let mut streams = Vec::new();
    for group in raw.groups()? {
        let before = streams.len();
        let known: &[&str] = match group.split_once('_') {
            Some(("numeric", "0")) => {
                encoders(raw, &group, choices, report, &mut streams)?;
                &["raw_voltage", "joint_angles"]
            }
            Some(("numeric", _)) => {
                force(raw, &group, choices, &mut streams)?;
                &["fsr_values"]
            }
            Some(("camera", _)) => {
                camera(raw, &group, tools, report, ledger, &mut streams)?;
                &["pose", "intrinsics"]
            }
            _ => &[],
        };
        for array in raw.arrays(&group)? {
            let times = matches!(array.as_str(), "receive_time" | "capture_time");
            if streams.len() > before && (times || known.contains(&array.as_str())) {
                continue;
            }
            let shape = raw.shape(&format!("{group}/{array}"))?.unwrap_or_default();
            let derived = array.ends_with("_interp") || array == "valid_indices";
            let why = if derived {
                "a result of the original's interpolation"
            } else {
                "not known here"
            };
            report
                .left_out
                .push(format!("{group}/{array} {shape:?}: {why}"));
            report.lossy |= !derived;
        }
    }
    if streams.is_empty() {
        return Err(source_error(
            "no stream found in the raw episode",
            &raw.path,
        ));
    }
    Ok(streams)
}

/// A device whose samples are dated as the recorder dated them: arrival minus its
/// own constant.
fn device(
    stream: String,
    driver: &str,
    raw: &RawEpisode,
    group: &str,
    times: &Times,
) -> Result<Device, ExportError> {
    let (latency, spread) = times.latency_s();
    if !(-1e-6..1.0).contains(&latency) || spread > 1e-3 {
        return Err(source_error(
            format!(
                "{group}: receive minus capture time is {latency:.4} s and differs by {spread:.4} s, \
                 expected a constant of 0 to 1 s"
            ),
            &raw.path,
        ));
    }
    let episode = raw.path.file_name().unwrap_or_default().to_string_lossy();
    let mut device = Device::new(&stream, driver, &format!("imported:{episode}/{group}"));
    // Rounded to a microsecond: the difference of two floating-point times.
    device.min_delay_s = (latency * 1e6).round().max(0.0) / 1e6;
    device.min_delay_source =
        "DexUMI's recorder: receive_time minus capture_time, a constant set by hand".to_owned();
    Ok(device)
}

fn encoders(
    raw: &mut RawEpisode,
    group: &str,
    choices: &Choices<'_>,
    report: &mut Imported,
    streams: &mut Vec<Stream>,
) -> Result<(), ExportError> {
    let times = raw.times(group)?;
    let rows = raw.encoders(group, times.len())?;
    let driver = match rows.counts.first().map(Vec::len) {
        Some(14) => "dexumi_xhand_encoders",
        Some(_) => "dexumi_inspire_encoders",
        None => return Err(source_error(format!("{group} has no sample"), &raw.path)),
    };
    if rows.contradicting > 0 {
        report.notes.push(format!(
            "{group}: joint_angles of {} of {} samples are not those of raw_voltage, which is taken",
            rows.contradicting,
            times.len()
        ));
    }
    let stream = format!("/exo/{}/encoders", choices.side);
    streams.push(Stream {
        device: device(stream, driver, raw, group, &times)?,
        times,
        samples: Samples::Encoders(rows.counts),
    });
    Ok(())
}

fn force(
    raw: &mut RawEpisode,
    group: &str,
    choices: &Choices<'_>,
    streams: &mut Vec<Stream>,
) -> Result<(), ExportError> {
    let times = raw.times(group)?;
    let Some((width, values)) = raw.force(group, times.len())? else {
        return Ok(());
    };
    let side = &choices.side;
    if width == 3 {
        let number: usize = group["numeric_".len()..].parse().unwrap_or(0);
        let finger = XHAND_FINGERS.get(number.wrapping_sub(1)).ok_or_else(|| {
            source_error(
                format!(
                    "{group} is a fingertip, expected numeric_1 to numeric_3 (thumb, index, middle)"
                ),
                &raw.path,
            )
        })?;
        let stream = format!("/exo/{side}/force/{finger}");
        streams.push(Stream {
            device: device(stream, "dexumi_xhand_force", raw, group, &times)?,
            times,
            samples: Samples::Force(values.as_chunks::<3>().0.to_vec()),
        });
        return Ok(());
    }
    for (sensor, finger) in choices.fingers.iter().enumerate() {
        let stream = format!("/exo/{side}/force/{finger}");
        let mut device = device(stream, "dexumi_inspire_fsr", raw, group, &times)?;
        device.source = Some(sensor.to_string());
        let each = values.as_chunks::<2>().0.iter();
        streams.push(Stream {
            device,
            times: Times {
                receive: times.receive.clone(),
                capture: times.capture.clone(),
            },
            // One axis: the driver puts it on z, as its fingertips have it.
            samples: Samples::Force(each.map(|pair| [0, 0, pair[sensor]]).collect()),
        });
    }
    Ok(())
}

fn camera(
    raw: &mut RawEpisode,
    group: &str,
    tools: &Tools,
    report: &mut Imported,
    ledger: &mut Ledger,
    streams: &mut Vec<Stream>,
) -> Result<(), ExportError> {
    let mut times = raw.times(group)?;
    let poses = raw.poses(group, times.len())?;
    let intrinsics = raw.intrinsics(group, times.len())?;
    // The phone's camera is the one with poses; the other one sits on the wrist.
    let name = if poses.is_some() { "phone" } else { "wrist" };
    if let Some(poses) = poses {
        let poses: Vec<_> = poses.iter().map(pose_of).collect();
        let wrong = poses.iter().filter(|pose| pose.is_none()).count();
        if wrong > 0 {
            report.notes.push(format!(
                "{group}: {wrong} of {} poses are no rotation and translation, marked not valid",
                poses.len()
            ));
        }
        let stream = "/tracker/wrist/pose".to_owned();
        streams.push(Stream {
            device: device(stream, "record3d", raw, group, &times)?,
            times: Times {
                receive: times.receive.clone(),
                capture: times.capture.clone(),
            },
            samples: Samples::Poses(poses),
        });
    }
    let path = raw.path.join(format!("{group}.mp4"));
    if !path.is_file() {
        let what = format!(
            "{group}: {} images have times but no video {group}.mp4",
            times.len()
        );
        report.left_out.push(what);
        report.lossy = true;
        return Ok(());
    }
    let header = images::header(tools, &path)?;
    let stream = format!("/camera/{name}/image");
    let driver = if name == "phone" {
        "record3d"
    } else {
        "bridge"
    };
    let mut device = device(stream.clone(), driver, raw, group, &times)?;
    let middle = intrinsics.map(|mut all| {
        all.sort_by(|a, b| a[0].total_cmp(&b[0]));
        (all[all.len() / 2], all[all.len() - 1][0] - all[0][0])
    });
    if let Some((_, range)) = middle.filter(|(_, range)| *range > 0.0) {
        report.notes.push(format!(
            "{group}: the focal length changes by {range:.2} pixels; the median is kept"
        ));
    }
    device.camera = Some(CameraMode {
        width: header.width,
        height: header.height,
        fps: header.fps,
        intrinsics: middle
            .map(|(middle, _)| middle)
            .filter(|k| k[0] > 0.0 && k[1] > 0.0),
        ..CameraMode::default()
    });
    let count = header.images.min(times.len());
    let entry = ledger.entry(stream).or_default();
    entry.received = header.images as u64;
    entry.lose("without_time", (header.images - count) as u64);
    entry.missing = (times.len() - count) as u64;
    if header.images != times.len() {
        report.notes.push(format!(
            "{group}: {} images and {} times; they are paired from the start, and which one is missing is not known",
            header.images,
            times.len()
        ));
    }
    times.receive.truncate(count);
    times.capture.truncate(count);
    streams.push(Stream {
        device,
        times,
        samples: Samples::Images { path },
    });
    Ok(())
}

/// World (z up) from camera (x right, y down, z forward), of a pose as Record3D has
/// it: world with y up, camera x right, y up, z backward. `None` for what is none.
fn pose_of(matrix: &[f64; 16]) -> Option<Isometry3<f64>> {
    let rotation = Matrix3::from_fn(|row, column| matrix[4 * row + column]);
    let translation = Vector3::new(matrix[3], matrix[7], matrix[11]);
    let orthogonal = (rotation.transpose() * rotation - Matrix3::identity()).norm() < 1e-3;
    if !orthogonal || rotation.determinant() < 0.0 || translation.norm() > 1e3 {
        return None;
    }
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&rotation));
    let pose = Isometry3::from_parts(Translation3::from(translation), rotation);
    let z_up_from_y_up =
        UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::FRAC_PI_2);
    Some(z_up_from_y_up * pose * opengl_from_camera())
}

/// Half a turn about x: from y up and z backward to y down and z forward.
fn opengl_from_camera() -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI)
}

pub(super) fn hand_of(
    streams: &[Stream],
    choices: &Choices<'_>,
    path: &Path,
) -> Result<String, ExportError> {
    let driver = streams.iter().map(|stream| stream.device.driver.as_str());
    let kind = driver.filter_map(|driver| match driver {
        "dexumi_xhand_encoders" => Some("xhand"),
        "dexumi_inspire_encoders" => Some("inspire"),
        _ => None,
    });
    kind.map(|kind| format!("{kind}_{}", choices.side))
        .next()
        .ok_or_else(|| {
            source_error(
                "no encoders (numeric_0), so that the hand is not known; name one",
                path,
            )
        })
}

pub(super) fn mounts(
    streams: &[Stream],
    choices: &Choices<'_>,
    report: &mut Imported,
) -> Vec<Mount> {
    let tracked = streams
        .iter()
        .any(|stream| matches!(stream.samples, Samples::Poses(_)));
    if !tracked {
        return Vec::new();
    }
    let (mount, source) = match choices.tracker_from_hand {
        Some(mount) => (mount, "given at the import".to_owned()),
        None => {
            let words = "the hand's coordinate frame is the phone's as Record3D has it (x right, y up, \
                z backward), as in DexUMI's data sets; where the phone sits on the hand is not in the source";
            report.notes.push(words.to_owned());
            let rotation = opengl_from_camera().inverse();
            (
                Isometry3::from_parts(Translation3::identity(), rotation),
                words.to_owned(),
            )
        }
    };
    vec![Mount {
        parent: "tracker/wrist".to_owned(),
        child: "hand".to_owned(),
        translation_m: mount.translation.vector.into(),
        rotation_xyzw: mount.rotation.coords.into(),
        source,
    }]
}
