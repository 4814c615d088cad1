//! The rig file of the emulated devices, and how its parts are mounted.

use std::{net::SocketAddr, path::Path};

use dexumi_episode::{Calibration, CameraMode, Device, Latency, Mount};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::{
    RigOptions,
    camera::{self, Camera},
    exo, natnet,
    running::CAMERAS,
};
use crate::driver::{xhand_encoders, xhand_force};

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

fn device(stream: &str, driver: &str, address: String, min_delay_s: f64, source: &str) -> Device {
    Device {
        min_delay_s,
        min_delay_source: source.to_owned(),
        ..Device::new(stream, driver, &address)
    }
}

/// A board of the exoskeleton.
pub(super) fn serial(stream: &str, link: &Path) -> Device {
    let (driver, bytes) = match stream.contains("/force/") {
        true => ("dexumi_xhand_force", xhand_force::PACKET_BYTES),
        false => ("dexumi_xhand_encoders", xhand_encoders::PACKET_BYTES),
    };
    let source = format!("{bytes} bytes of 10 bits at 921600 baud");
    // In whole microseconds, for the reader of the file.
    let min_delay_s = (exo::wire_s(bytes) * 1e6).round() / 1e6;
    let address = link.to_string_lossy().into_owned();
    Device {
        baud: Some(921_600),
        ..device(stream, driver, address, min_delay_s, &source)
    }
}

/// The motion-capture server.
pub(super) fn tracker(stream: &str, address: SocketAddr) -> Device {
    let source = "emulator: stamp of transmission to the network";
    let tracker = device(
        stream,
        "natnet",
        address.to_string(),
        natnet::TRANSMIT_DELAY_S,
        source,
    );
    Device {
        source: Some(natnet::RIGID_BODY.to_string()),
        ..tracker
    }
}

/// A camera.
pub(super) fn camera(
    stream: &str,
    address: SocketAddr,
    camera: &Camera,
    options: &RigOptions,
    intrinsics: Option<[f64; 4]>,
) -> Device {
    let source = match camera.stamps {
        true => "emulator: X-Timestamp to arrival",
        false => "emulator: capture to arrival",
    };
    let url = format!("http://{address}{}", camera::PATH);
    let (width, height, fps) = (options.width, options.height, options.fps);
    Device {
        camera: Some(CameraMode {
            width,
            height,
            fps,
            intrinsics,
            ..CameraMode::default()
        }),
        ..device(stream, "mjpeg_http", url, camera::DELAY_S, source)
    }
}

/// Latencies of the cameras beyond the declared delay.
pub(super) fn calibration() -> Calibration {
    let latency = |stamps: bool| Latency {
        seconds: 0.0,
        source: match stamps {
            true => "emulator: stamps in the middle of the exposure",
            false => {
                "emulator: no stamp, the declared delay counts from the middle of the exposure"
            }
        }
        .to_owned(),
    };
    let mut calibration = Calibration::new();
    for (name, stamps) in CAMERAS {
        calibration
            .latency
            .insert(format!("/camera/{name}/image"), latency(stamps));
    }
    calibration
}
