//! From the numbers of a status to messages.

use dexumi_capture::{Status, StreamStatus};
use dexumi_episode::{
    CameraMode, HostTime, Mount, SessionTime, isometry,
    schema::{
        CameraCalibration, Force, FrameTransform, Health, Imu, JointState, JointStates, Log, Loss,
        Pose, PoseInFrame, Quaternion, Stamp, StreamHealth, Vector3, timestamp,
    },
};
use nalgebra::Isometry3;

/// Foxglove's level of a log message: a warning. The recorder's messages carry
/// none of their own, and all are about devices and disks in trouble.
const WARNING: i32 = 3;

pub(crate) fn stamp(time: SessionTime, host: HostTime, sequence: u64) -> Stamp {
    Stamp {
        timestamp_ns: time.nanos(),
        host_time_ns: host.nanos(),
        sequence,
        ..Stamp::default()
    }
}

/// Angles by name; as many as there are of both.
pub(crate) fn joint_states(names: &[String], angles_rad: &[f64], time: SessionTime) -> JointStates {
    let joints = names.iter().zip(angles_rad);
    JointStates {
        timestamp: Some(timestamp(time)),
        joints: joints
            .map(|(name, &angle_rad)| JointState {
                name: name.clone(),
                position: Some(angle_rad),
                ..JointState::default()
            })
            .collect(),
    }
}

/// Force counts; `None` where these are not three. A status has no taxels.
pub(crate) fn force(counts: &[f64], stamp: Stamp) -> Option<Force> {
    let &[x, y, z] = counts else { return None };
    Some(Force {
        stamp: Some(stamp),
        x: x as i32,
        y: y as i32,
        z: z as i32,
        taxels: Vec::new(),
    })
}

/// Acceleration [m/s²] and angular velocity [rad/s]; `None` where these are not six.
pub(crate) fn imu(values: &[f64], stamp: Stamp) -> Option<Imu> {
    let (acceleration, angular_velocity) = values.split_at_checked(3)?;
    (angular_velocity.len() == 3).then(|| Imu {
        stamp: Some(stamp),
        acceleration: acceleration.to_vec(),
        angular_velocity: angular_velocity.to_vec(),
    })
}

/// Points x, y, z [m], not a number where hidden: a status, which is JSON, has
/// zeros for these.
pub(crate) fn points(values: &[f64]) -> Vec<f64> {
    let mut points = values.to_vec();
    for point in points.chunks_exact_mut(3) {
        if point.iter().all(|v| *v == 0.0) {
            point.fill(f64::NAN);
        }
    }
    points
}

/// `jpeg` or `png`, by its first bytes; `None` for raw pixels.
pub fn image_format(image: &[u8]) -> Option<&'static str> {
    match image {
        [0xFF, 0xD8, ..] => Some("jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        _ => None,
    }
}

/// Pose of x, y, z [m] and quaternion x, y, z, w; `None` where that is not what
/// came, or the quaternion is far from a rotation (a tracker that sees nothing).
pub(crate) fn pose(values: &[f64]) -> Option<Isometry3<f64>> {
    let &[x, y, z, qx, qy, qz, qw] = values else {
        return None;
    };
    let norm = [qx, qy, qz, qw].iter().map(|v| v * v).sum::<f64>().sqrt();
    let sane = values.iter().all(|v| v.is_finite()) && (0.9..1.1).contains(&norm);
    sane.then(|| isometry([x, y, z], [qx, qy, qz, qw]))
}

fn translation(transform: &Isometry3<f64>) -> Vector3 {
    let [x, y, z] = transform.translation.vector.into();
    Vector3 { x, y, z }
}

fn rotation(transform: &Isometry3<f64>) -> Quaternion {
    let [x, y, z, w] = transform.rotation.coords.into();
    Quaternion { x, y, z, w }
}

pub(crate) fn pose_in_world(world_from_body: &Isometry3<f64>, time: SessionTime) -> PoseInFrame {
    PoseInFrame {
        timestamp: Some(timestamp(time)),
        frame_id: "world".to_owned(),
        pose: Some(Pose {
            position: Some(translation(world_from_body)),
            orientation: Some(rotation(world_from_body)),
        }),
    }
}

pub(crate) fn transform(
    parent: &str,
    child: &str,
    parent_from_child: &Isometry3<f64>,
    time: SessionTime,
) -> FrameTransform {
    FrameTransform {
        timestamp: Some(timestamp(time)),
        parent_frame_id: parent.to_owned(),
        child_frame_id: child.to_owned(),
        translation: Some(translation(parent_from_child)),
        rotation: Some(rotation(parent_from_child)),
    }
}

pub(crate) fn mount(mount: &Mount, time: SessionTime) -> FrameTransform {
    let parent_from_child = mount.parent_from_child();
    transform(&mount.parent, &mount.child, &parent_from_child, time)
}

/// A camera's lens; `None` while it is not calibrated.
pub(crate) fn lens(name: &str, mode: &CameraMode, time: SessionTime) -> Option<CameraCalibration> {
    let [fx, fy, cx, cy] = mode.intrinsics?;
    Some(CameraCalibration {
        timestamp: Some(timestamp(time)),
        frame_id: format!("camera/{name}"),
        width: mode.width,
        height: mode.height,
        distortion_model: String::new(),
        d: Vec::new(),
        k: vec![fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p: vec![fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    })
}

pub(crate) fn health(status: &Status, time: SessionTime) -> Health {
    let stream = |stream: &StreamStatus| StreamHealth {
        stream: stream.stream.clone(),
        received: stream.received,
        written: stream.written,
        // A status has their sum only.
        losses: (stream.lost > 0)
            .then(|| Loss {
                kind: "any".to_owned(),
                count: stream.lost,
            })
            .into_iter()
            .collect(),
        suspect: stream.suspect,
        missing: stream.missing,
        bytes_discarded: 0,
        rate_hz: stream.rate_hz,
        age_s: stream.age_s,
        clock_state: stream.clock.clone(),
        skew_ppm: stream.skew_ppm,
        residual_p95_s: stream.residual_p95_s,
        outages: stream.outages,
        outage_ns: 0,
        bound_s: stream.bound_s,
    };
    Health {
        timestamp_ns: time.nanos(),
        streams: status.streams.iter().map(stream).collect(),
    }
}

pub(crate) fn log(text: &str, time: SessionTime) -> Log {
    Log {
        timestamp: Some(timestamp(time)),
        level: WARNING,
        message: text.to_owned(),
        name: "recorder".to_owned(),
        ..Log::default()
    }
}

/// What is new in a list that grows at its end and is cut at its start.
pub(crate) fn newcomers<'a>(before: &[String], now: &'a [String]) -> &'a [String] {
    let kept = (0..=before.len())
        .map(|cut| &before[cut..])
        .find(|rest| now.starts_with(rest))
        .map_or(0, <[String]>::len);
    &now[kept..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn messages_are_new_once_also_where_the_oldest_have_left() {
        assert_eq!(newcomers(&texts(""), &texts("a b")), texts("a b"));
        assert_eq!(newcomers(&texts("a b"), &texts("a b")), texts(""));
        assert_eq!(newcomers(&texts("a b"), &texts("a b c")), texts("c"));
        assert_eq!(newcomers(&texts("a b c"), &texts("b c d e")), texts("d e"));
        assert_eq!(newcomers(&texts("a b"), &texts("x y")), texts("x y"));
        // The same words twice: the longest overlap counts.
        assert_eq!(newcomers(&texts("a a"), &texts("a a a")), texts("a"));
    }

    #[test]
    fn a_tracker_that_sees_nothing_has_no_pose() {
        assert!(pose(&[0.0; 7]).is_none());
        let seen = pose(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0]).expect("a pose");
        assert_eq!(translation(&seen).z, 3.0);
        assert_eq!(rotation(&seen).w, 1.0);
    }

    #[test]
    fn a_hidden_point_is_not_at_the_origin() {
        let shown = points(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert!(shown[..3].iter().all(|v| v.is_nan()));
        assert_eq!(shown[3..], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn images_are_told_by_their_first_bytes() {
        assert_eq!(image_format(&[0xFF, 0xD8, 0xFF]), Some("jpeg"));
        assert_eq!(image_format(b"\x89PNG\r\n"), Some("png"));
        assert_eq!(image_format(&[0; 8]), None);
        assert_eq!(image_format(&[]), None);
    }

    proptest! {
        #[test]
        fn every_new_message_of_a_list_cut_to_its_newest_is_told_once(
            steps in prop::collection::vec(0_usize..4, 1..20),
        ) {
            let (mut list, mut before, mut told) = (Vec::new(), Vec::new(), Vec::new());
            let mut said = 0;
            for step in steps {
                for _ in 0..step {
                    list.push(said.to_string());
                    said += 1;
                }
                let excess = list.len().saturating_sub(5);
                list.drain(..excess);
                told.extend(newcomers(&before, &list).to_vec());
                before.clone_from(&list);
            }
            let all: Vec<String> = (0..said).map(|number| number.to_string()).collect();
            prop_assert_eq!(told, all);
        }

        #[test]
        fn any_numbers_at_all_make_messages_or_none(
            values in prop::collection::vec(prop::num::f64::ANY, 0..12),
            names in prop::collection::vec("[a-z]{1,3}", 0..12),
        ) {
            let time = SessionTime::from_nanos(1);
            let joints = joint_states(&names, &values, time).joints;
            prop_assert_eq!(joints.len(), names.len().min(values.len()));
            let stamp = stamp(time, HostTime::from_nanos(1), 0);
            prop_assert_eq!(force(&values, stamp).is_some(), values.len() == 3);
            if let Some(pose) = pose(&values) {
                prop_assert!(pose.rotation.coords.iter().all(|v| v.is_finite()));
            }
        }
    }
}
