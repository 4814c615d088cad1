//! What the payloads of a bridge's packets carry; their byte tables are in
//! `docs/bridge-packet.md`.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::super::NamedPose;

/// Length of what stands before an image's bytes.
pub const IMAGE_HEAD_BYTES: usize = 32;
/// Keypoints of a hand.
pub const KEYPOINTS: usize = 21;
/// No hand has more joints.
const MAX_JOINTS: usize = 256;
/// Encodings of raw images, by Foxglove's names, and bytes a pixel in a row.
const ENCODINGS: [(&str, u32); 14] = [
    ("mono8", 1),
    ("mono16", 2),
    ("rgb8", 3),
    ("bgr8", 3),
    ("rgba8", 4),
    ("bgra8", 4),
    ("yuyv", 2),
    ("uyvy", 2),
    ("nv12", 1),
    ("bayer_rggb8", 1),
    ("bayer_bggr8", 1),
    ("bayer_gbrg8", 1),
    ("bayer_grbg8", 1),
    ("8UC1", 1),
];

/// What a bridge says of itself and of what it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Name and version of the bridge, free text.
    pub bridge: String,
    /// What its time stamps are, such as `device clock, middle of the exposure`;
    /// absent where it has none.
    #[serde(default)]
    pub clock: Option<String>,
    /// Whether it answers questions for the time on that clock.
    #[serde(default)]
    pub echo: bool,
    /// Its streams; packets name them by their place here.
    pub streams: Vec<StreamHello>,
}

/// One stream of a bridge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamHello {
    /// Name; an entry of the rig asks for it with `source`.
    pub name: String,
    /// `jpeg`, `raw`, `depth`, `imu`, `pose` or `hand`.
    pub kind: String,
    /// What its sequence counts, free text: `device`, or `bridge` where the
    /// device has none.
    #[serde(default)]
    pub sequence: String,
    /// The source's own name of its coordinate frame.
    #[serde(default)]
    pub frame: String,
    /// Raw images: how a pixel is encoded.
    #[serde(default)]
    pub encoding: String,
    /// Hands: names of the joints, in the order in which they are sent.
    #[serde(default)]
    pub joints: Vec<String>,
    /// Hands without points of their own: which joint is which of the 21, `null`
    /// where there is none.
    #[serde(default)]
    pub points: Vec<Option<usize>>,
}

/// Which streams the driver wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Places in the list of the hello.
    pub streams: Vec<u16>,
}

/// What stands before an image's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageHead {
    /// Width [pixel].
    pub width: u32,
    /// Height [pixel].
    pub height: u32,
    /// Length of a row [byte]; 0 for a JPEG.
    pub step: u32,
    /// Depths: metres of one unit; else 0.
    pub unit_m: f32,
    /// fx, fy, cx, cy [pixel]; NaN where unknown.
    pub intrinsics: [f32; 4],
}

/// An image's payload.
pub fn encode_image(head: &ImageHead, image: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IMAGE_HEAD_BYTES + image.len());
    for value in [head.width, head.height, head.step] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(head.unit_m.to_le_bytes());
    for value in head.intrinsics {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend_from_slice(image);
    bytes
}

/// Splits an image's payload.
pub fn decode_image(mut payload: Bytes) -> Option<(ImageHead, Bytes)> {
    if payload.len() < IMAGE_HEAD_BYTES {
        return None;
    }
    let mut head = payload.split_to(IMAGE_HEAD_BYTES);
    let head = ImageHead {
        width: head.get_u32_le(),
        height: head.get_u32_le(),
        step: head.get_u32_le(),
        unit_m: head.get_f32_le(),
        intrinsics: std::array::from_fn(|_| head.get_f32_le()),
    };
    Some((head, payload))
}

/// Finite numbers, or none.
fn finite<const N: usize>(payload: &mut Bytes) -> Option<[f64; N]> {
    let values = std::array::from_fn(|_| payload.try_get_f64_le().unwrap_or(f64::NAN));
    values
        .iter()
        .all(|value: &f64| value.is_finite())
        .then_some(values)
}

/// Six numbers: acceleration [m/s²] and angular velocity [rad/s].
pub fn encode_imu(acceleration: [f64; 3], angular_velocity: [f64; 3]) -> Vec<u8> {
    let values = acceleration.into_iter().chain(angular_velocity);
    values.flat_map(f64::to_le_bytes).collect()
}

/// Reads them.
pub fn decode_imu(mut payload: Bytes) -> Option<([f64; 3], [f64; 3])> {
    if payload.len() != 48 {
        return None;
    }
    let [ax, ay, az, wx, wy, wz] = finite(&mut payload)?;
    Some(([ax, ay, az], [wx, wy, wz]))
}

/// A pose as it is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoseValues {
    /// x, y, z [m].
    pub position_m: [f64; 3],
    /// Quaternion x, y, z, w.
    pub rotation_xyzw: [f64; 4],
    /// Mean error [m]; 0 where unknown.
    pub mean_error_m: f64,
}

/// Eight numbers.
pub fn encode_pose(pose: &PoseValues) -> Vec<u8> {
    let values = pose.position_m.into_iter().chain(pose.rotation_xyzw);
    let values = values.chain([pose.mean_error_m]);
    values.flat_map(f64::to_le_bytes).collect()
}

/// Reads them; the quaternion must be one of a rotation.
pub fn decode_pose(mut payload: Bytes) -> Option<PoseValues> {
    if payload.len() != 64 {
        return None;
    }
    let [x, y, z, qx, qy, qz, qw, mean_error_m] = finite(&mut payload)?;
    let rotation_xyzw = [qx, qy, qz, qw];
    is_rotation(rotation_xyzw).then_some(PoseValues {
        position_m: [x, y, z],
        rotation_xyzw,
        mean_error_m,
    })
}

fn is_rotation(rotation_xyzw: [f64; 4]) -> bool {
    let norm = rotation_xyzw.iter().map(|v| v * v).sum::<f64>().sqrt();
    (0.9..1.1).contains(&norm)
}

/// A hand: number of points (0 or 21) and of joints, points x, y, z, joints x, y,
/// z and quaternion x, y, z, w.
pub fn encode_hand(points_m: &[[f32; 3]], joints: &[([f32; 3], [f32; 4])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((points_m.len() as u16).to_le_bytes());
    bytes.extend((joints.len() as u16).to_le_bytes());
    let points = points_m.iter().flatten();
    let joints = joints.iter().flat_map(|(p, q)| p.iter().chain(q));
    points
        .chain(joints)
        .for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

/// Points and joints of a hand. Points that the bridge does not send are those of
/// its joints, by the list of the hello. A point that is not there is NaN, and so
/// is the place of a joint without a pose: a joint's place in the list is its name.
pub fn decode_hand(
    mut payload: Bytes,
    hello: &StreamHello,
) -> Option<(Vec<[f64; 3]>, Vec<NamedPose>)> {
    let points = usize::from(payload.try_get_u16_le().ok()?);
    let joints = usize::from(payload.try_get_u16_le().ok()?);
    let known = matches!(points, 0 | KEYPOINTS) && joints <= MAX_JOINTS;
    if !known || payload.len() != 12 * points + 28 * joints || points + joints == 0 {
        return None;
    }
    let mut number = || f64::from(payload.get_f32_le());
    let sent: Vec<[f64; 3]> = (0..points)
        .map(|_| std::array::from_fn(|_| number()))
        .collect();
    let joints: Vec<NamedPose> = (0..joints)
        .map(|joint| {
            let name = hello.joints.get(joint).cloned();
            let pose = NamedPose {
                name: name.unwrap_or_else(|| format!("joint {joint}")),
                position_m: std::array::from_fn(|_| number()),
                rotation_xyzw: std::array::from_fn(|_| number()),
            };
            match is_rotation(pose.rotation_xyzw) {
                true => pose,
                false => NamedPose {
                    position_m: [f64::NAN; 3],
                    rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
                    ..pose
                },
            }
        })
        .collect();
    let points_m = match points {
        0 => (0..KEYPOINTS)
            .map(|point| {
                let joint = hello.points.get(point).copied().flatten();
                let joint = joint.and_then(|joint| joints.get(joint));
                joint.map_or([f64::NAN; 3], |joint| joint.position_m)
            })
            .collect(),
        _ => sent,
    };
    Some((points_m, joints))
}

/// The encoding of raw images by its name.
pub fn encoding(name: &str) -> Option<&'static str> {
    let known = ENCODINGS.iter().find(|(known, _)| *known == name);
    known.map(|(known, _)| *known)
}

/// Whether so many bytes are an image of that encoding and size.
pub fn fits(encoding: &str, head: &ImageHead, bytes: usize) -> bool {
    let Some(&(_, pixel_bytes)) = ENCODINGS.iter().find(|(known, _)| *known == encoding) else {
        return false;
    };
    let (width, height, step) = (
        u64::from(head.width),
        u64::from(head.height),
        u64::from(head.step),
    );
    let rows = match encoding {
        "nv12" => height + height / 2,
        _ => height,
    };
    width > 0
        && height > 0
        && step >= width * u64::from(pixel_bytes)
        && step.checked_mul(rows) == Some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(joints: usize, points: Vec<Option<usize>>) -> StreamHello {
        StreamHello {
            joints: (0..joints).map(|joint| format!("node {joint}")).collect(),
            points,
            ..StreamHello::default()
        }
    }

    #[test]
    fn a_hand_of_joints_alone_gets_its_points_from_them() {
        let rotation = [0.0, 0.0, 0.0, 1.0];
        let joints = [([0.25, 0.5, 1.0], rotation), ([2.0, 3.0, 4.0], [0.0; 4])];
        let payload = Bytes::from(encode_hand(&[], &joints));
        let hello = hello(2, vec![Some(1), None, Some(0), Some(7)]);
        let (points, poses) = decode_hand(payload, &hello).expect("a hand");
        assert_eq!(points.len(), 21);
        assert_eq!(points[2], [0.25, 0.5, 1.0]);
        // A joint without a rotation, one that is not mapped, one that is not sent.
        assert!(
            [0, 1, 3, 20]
                .iter()
                .all(|&point: &usize| points[point][0].is_nan())
        );
        assert_eq!((poses.len(), poses[0].name.as_str()), (2, "node 0"));
        assert!(poses[1].position_m[0].is_nan());
    }

    #[test]
    fn raw_images_have_the_size_that_they_say() {
        let head = |width, height, step| ImageHead {
            width,
            height,
            step,
            unit_m: 0.0,
            intrinsics: [f32::NAN; 4],
        };
        assert!(fits("yuyv", &head(640, 480, 1280), 614_400));
        assert!(fits("nv12", &head(640, 480, 640), 460_800));
        assert!(
            !fits("yuyv", &head(640, 480, 1279), 613_920),
            "rows too short"
        );
        assert!(
            !fits("yuyv", &head(640, 480, 1280), 614_399),
            "a byte too few"
        );
        assert!(!fits("h264", &head(640, 480, 1280), 614_400));
        assert!(!fits("mono8", &head(0, 0, 0), 0));
        assert!(!fits("mono8", &head(u32::MAX, u32::MAX, u32::MAX), 1));
    }

    proptest! {
        #[test]
        fn hands_come_back(
            sent in proptest::collection::vec(any::<[f32; 3]>().prop_filter("finite", |p| p.iter().all(|v| v.is_finite())), 21),
            position in [-2.0_f32..2.0, -2.0..2.0, -2.0..2.0],
        ) {
            let payload = Bytes::from(encode_hand(&sent, &[(position, [0.0, 1.0, 0.0, 0.0])]));
            let (points, joints) = decode_hand(payload, &hello(1, vec![])).expect("a hand");
            let meant: Vec<[f64; 3]> = sent.iter().map(|point| point.map(f64::from)).collect();
            prop_assert_eq!(points, meant);
            prop_assert_eq!(joints[0].position_m, position.map(f64::from));
        }

        #[test]
        fn poses_and_inertial_samples_come_back(values in proptest::collection::vec(-1e6_f64..1e6, 6)) {
            let (a, w) = ([values[0], values[1], values[2]], [values[3], values[4], values[5]]);
            prop_assert_eq!(decode_imu(encode_imu(a, w).into()), Some((a, w)));
            let pose = PoseValues { position_m: a, rotation_xyzw: [0.6, 0.0, 0.0, 0.8], mean_error_m: 0.5 };
            prop_assert_eq!(decode_pose(encode_pose(&pose).into()), Some(pose));
            let nothing = PoseValues { rotation_xyzw: [0.0; 4], ..pose };
            prop_assert_eq!(decode_pose(encode_pose(&nothing).into()), None);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let bytes = Bytes::from(bytes);
            let _ = decode_image(bytes.clone());
            let _ = decode_imu(bytes.clone());
            let _ = decode_pose(bytes.clone());
            let _ = decode_hand(bytes, &hello(3, vec![Some(2); 30]));
        }
    }
}
