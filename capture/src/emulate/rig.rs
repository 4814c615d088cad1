//! The rig file of the emulated devices, and how its parts are mounted.

use dexumi_episode::{Calibration, Device, Latency, Mount, Rig, StreamKind};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::assembly::Part;

/// Tilt of the wrist camera towards the hand [rad].
const CAMERA_TILT_RAD: f64 = 0.35;
/// Turn of the tracked body about the hand's z axis [rad].
const TRACKER_TURN_RAD: f64 = 0.26;

/// Where the tracked body on the back of the forearm has the hand:
/// `tracker/wrist` from `hand` [m].
pub fn tracker_from_hand() -> Isometry3<f64> {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), TRACKER_TURN_RAD);
    Isometry3::from_parts(
        Translation3::from(turn * Vector3::new(0.045, 0.0, 0.06)),
        turn,
    )
}

/// The wrist camera, below the palm's side of the wrist, looking along the
/// fingers and a little towards them; the thumb is on the right of its image:
/// `hand` from `camera/wrist` [m].
pub fn hand_from_wrist_camera() -> Isometry3<f64> {
    let (sin, cos) = CAMERA_TILT_RAD.sin_cos();
    // Columns: the camera's x (right), y (down) and z (forward) in hand axes.
    let axes = Matrix3::from_columns(&[
        Vector3::new(0.0, 1.0, 0.0),
        Vector3::new(-cos, 0.0, -sin),
        Vector3::new(-sin, 0.0, cos),
    ]);
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(axes));
    Isometry3::from_parts(Translation3::new(0.085, 0.0, -0.03), rotation)
}

/// Both as they stand in the rig file.
pub fn nominal_mounts() -> Vec<Mount> {
    let mount = |parent: &str, child: &str, parent_from_child: Isometry3<f64>| Mount {
        parent: parent.to_owned(),
        child: child.to_owned(),
        translation_m: parent_from_child.translation.vector.into(),
        rotation_xyzw: parent_from_child.rotation.coords.into(),
        source: "emulator: made up".to_owned(),
    };
    vec![
        mount("tracker/wrist", "hand", tracker_from_hand()),
        mount("hand", "camera/wrist", hand_from_wrist_camera()),
    ]
}

/// Those of a scene, and of each tracked wrist of a named side its own: `tracker/left_wrist` carries
/// `hand_left`.
pub(super) fn with_wrists(mut mounts: Vec<Mount>, parts: &[Part]) -> Vec<Mount> {
    let one = mounts.iter().find(|mount| mount.child == "hand").cloned();
    let streams = parts.iter().flat_map(|part| &part.streams);
    for name in streams.filter_map(|stream| stream.strip_prefix("/tracker/")?.strip_suffix("/pose"))
    {
        let side = name
            .strip_suffix("_wrist")
            .filter(|side| matches!(*side, "left" | "right"));
        if let (Some(side), Some(one)) = (side, &one) {
            mounts.push(Mount {
                parent: format!("tracker/{name}"),
                child: format!("hand_{side}"),
                ..one.clone()
            });
        }
    }
    mounts
}

/// An entry of the rig with its declared delay.
pub(super) fn entry(
    part: &Part,
    stream: &str,
    address: &str,
    min_delay_s: f64,
    source: &str,
) -> Device {
    Device {
        min_delay_s,
        min_delay_source: source.to_owned(),
        ..Device::new(stream, part.driver, address)
    }
}

/// Latencies of the cameras beyond the declared delay.
pub(super) fn calibration(rig: &Rig) -> Calibration {
    let mut calibration = Calibration::new();
    for device in &rig.device {
        let Some(StreamKind::Camera { .. }) = StreamKind::of(&device.stream) else {
            continue;
        };
        let latency = Latency {
            seconds: 0.0,
            source: format!("emulator: {}", device.min_delay_source),
        };
        calibration.latency.insert(device.stream.clone(), latency);
    }
    calibration
}
