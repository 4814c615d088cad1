//! What Record3D 1.10 and newer sends: a PeerTalk header (four u32, big-endian, the
//! last one the length of the body), then the body, little-endian: eleven u32, four
//! f32 of intrinsics, seven f32 of pose, a JPEG, depths and confidences packed with
//! LZFSE, and reserved bytes. There is no time stamp and no number.
//! (`Record3DStream.cpp` and `Record3DStructs.h` of the record3d library.)

use bytes::{Buf, Bytes, BytesMut};
use lzfse_rust::LzfseRingDecoder;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion, Vector3};
use std::io::Read;

/// TCP port of the app on the phone.
pub const PORT: u16 = 1337;
/// Length of the PeerTalk header.
pub const HEADER_BYTES: usize = 16;
/// Length of what stands before the JPEG.
pub const HEAD_BYTES: usize = 88;
/// No packet of a phone is longer.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// No depth image of a phone has more pixels.
const MAX_PIXELS: u64 = 4096 * 4096;

/// Which camera the app uses.
pub const TRUE_DEPTH: u32 = 0;
/// The one that ARKit tracks with.
pub const LIDAR: u32 = 1;

/// One packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// Size of the image [pixel].
    pub image_size: [u32; 2],
    /// Size of the depth image [pixel].
    pub depth_size: [u32; 2],
    /// Size of the confidence map [pixel].
    pub confidence_size: [u32; 2],
    /// [`TRUE_DEPTH`] or [`LIDAR`].
    pub device_type: u32,
    /// fx, fy, cx, cy of the image [pixel].
    pub intrinsics: [f32; 4],
    /// Quaternion x, y, z, w: world from camera, with the app's axes.
    pub rotation_xyzw: [f32; 4],
    /// x, y, z [m].
    pub position_m: [f32; 3],
    /// The image.
    pub jpeg: Bytes,
    /// f32 metres, row by row, packed.
    pub depth: Bytes,
    /// A byte a pixel, packed.
    pub confidence: Bytes,
    /// Reserved.
    pub rest: Bytes,
    /// What stands before the JPEG, as it came.
    pub head: Bytes,
}

/// A packet as it goes over the wire; `head` is not looked at.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let parts = [
        &packet.jpeg,
        &packet.depth,
        &packet.confidence,
        &packet.rest,
    ];
    let body_bytes = HEAD_BYTES + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body_bytes);
    // PeerTalk's version, type and tag; the library looks at the length alone.
    for word in [1, 101, 0, body_bytes as u32] {
        bytes.extend(word.to_be_bytes());
    }
    let sizes = [packet.image_size, packet.depth_size, packet.confidence_size];
    let lengths = parts.map(|part| part.len() as u32);
    let words = sizes
        .into_iter()
        .flatten()
        .chain(lengths)
        .chain([packet.device_type]);
    words.for_each(|word| bytes.extend(word.to_le_bytes()));
    let numbers = packet
        .intrinsics
        .iter()
        .chain(&packet.rotation_xyzw)
        .chain(&packet.position_m);
    numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Reads the body of a packet.
pub fn parse(body: Bytes) -> Option<Packet> {
    if body.len() < HEAD_BYTES {
        return None;
    }
    let mut rest = body.clone();
    let head = rest.split_to(HEAD_BYTES);
    let mut numbers = head.clone();
    let mut pair = || [numbers.get_u32_le(), numbers.get_u32_le()];
    let [image_size, depth_size, confidence_size] = [pair(), pair(), pair()];
    let lengths: [u32; 4] = std::array::from_fn(|_| numbers.get_u32_le());
    let device_type = numbers.get_u32_le();
    let mut number = || numbers.get_f32_le();
    let intrinsics = std::array::from_fn(|_| number());
    let rotation_xyzw = std::array::from_fn(|_| number());
    let position_m = std::array::from_fn(|_| number());
    let mut part = |length: u32| {
        let length = length as usize;
        (length <= rest.len()).then(|| rest.split_to(length))
    };
    Some(Packet {
        image_size,
        depth_size,
        confidence_size,
        device_type,
        intrinsics,
        rotation_xyzw,
        position_m,
        jpeg: part(lengths[0])?,
        depth: part(lengths[1])?,
        confidence: part(lengths[2])?,
        rest: part(lengths[3])?,
        head,
    })
}

/// Bytes in, bodies out. Holds no more than one body and what was pushed last.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
}

/// A header that cannot be one: where the next begins is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Length that it gave [byte].
    pub body_bytes: usize,
}

impl Framer {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole body.
    ///
    /// # Errors
    /// The stream is not Record3D's.
    pub fn pull(&mut self) -> Result<Option<Bytes>, Lost> {
        let Some(header) = self.buffer.get(..HEADER_BYTES) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(header[12..].try_into().expect("four bytes")) as usize;
        if !(HEAD_BYTES..=MAX_BODY_BYTES).contains(&length) {
            return Err(Lost { body_bytes: length });
        }
        let whole = HEADER_BYTES + length;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(whole).freeze();
        packet.advance(HEADER_BYTES);
        Ok(Some(packet))
    }
}

/// World from camera, in our axes: a world with z up, a camera with x right, y down
/// and z forward. The app's world has y up, its camera x right, y up and z backward
/// (OpenGL). `None` where the quaternion is none.
pub fn world_from_camera(packet: &Packet) -> Option<Isometry3<f64>> {
    let [x, y, z, w] = packet.rotation_xyzw.map(f64::from);
    let rotation = Quaternion::new(w, x, y, z);
    let position = packet.position_m.map(f64::from);
    let sane = (0.9..1.1).contains(&rotation.norm()) && position.iter().all(|v| v.is_finite());
    sane.then(|| {
        let app = Isometry3::from_parts(
            Translation3::from(position),
            UnitQuaternion::from_quaternion(rotation),
        );
        world_from_app_world() * app * app_camera_from_camera()
    })
}

/// The same pose in the app's axes: position and quaternion x, y, z, w.
pub fn app_pose(world_from_camera: &Isometry3<f64>) -> ([f32; 3], [f32; 4]) {
    let app =
        world_from_app_world().inverse() * world_from_camera * app_camera_from_camera().inverse();
    let position = app.translation.vector;
    let rotation = app.rotation.coords;
    (
        [0, 1, 2].map(|axis| position[axis] as f32),
        [0, 1, 2, 3].map(|axis| rotation[axis] as f32),
    )
}

/// x stays, the app's y goes up, its z backward.
fn world_from_app_world() -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::FRAC_PI_2)
}

fn app_camera_from_camera() -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI)
}

/// Depths [m], unpacked; `None` where they are not as many as the size says.
pub fn unpack_depth(packed: &[u8], [width, height]: [u32; 2]) -> Option<Vec<f32>> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return None;
    }
    let bytes = 4 * pixels;
    let mut unpacked = Vec::with_capacity(bytes as usize);
    let mut decoder = LzfseRingDecoder::default();
    // One more than there may be, so that more is noticed but not unpacked.
    let mut reader = decoder.reader_bytes(packed).take(bytes + 1);
    reader.read_to_end(&mut unpacked).ok()?;
    let numbers = unpacked.chunks_exact(4);
    (unpacked.len() as u64 == bytes).then(|| {
        numbers
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(jpeg: &[u8], depth: &[u8]) -> Packet {
        Packet {
            image_size: [720, 960],
            depth_size: [192, 256],
            confidence_size: [192, 256],
            device_type: LIDAR,
            intrinsics: [700.0, 701.0, 360.0, 480.0],
            rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
            position_m: [1.0, 2.0, 3.0],
            jpeg: Bytes::copy_from_slice(jpeg),
            depth: Bytes::copy_from_slice(depth),
            confidence: Bytes::from_static(&[7; 3]),
            rest: Bytes::from_static(b"{}"),
            head: Bytes::new(),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_library_s_structures() {
        let bytes = encode(&packet(&[0xFF, 0xD8], &[9; 5]));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            // PeerTalk: body of 100 bytes.
            "00000001000000650000000000000064\
             d0020000c0030000c000000000010000c000000000010000\
             0200000005000000030000000200000001000000\
             00002f4400402f440000b4430000f043\
             0000000000000000000000000000803f\
             0000803f0000004000004040\
             ffd80909090909070707\
             7b7d"
        );
        let parsed = parse(Bytes::from(bytes).slice(HEADER_BYTES..)).expect("a packet");
        assert_eq!(parsed.head.len(), HEAD_BYTES);
        assert_eq!(
            Packet {
                head: Bytes::new(),
                ..parsed
            },
            packet(&[0xFF, 0xD8], &[9; 5])
        );
    }

    #[test]
    fn axes_are_ours_after_conversion() {
        // The app's identity looks along its −z with y up.
        let pose = world_from_camera(&packet(&[], &[])).expect("a pose");
        let close = |a: Vector3<f64>, b: [f64; 3]| (a - Vector3::from(b)).norm() < 1e-6;
        assert!(
            close(pose.translation.vector, [1.0, -3.0, 2.0]),
            "y up becomes z up"
        );
        assert!(
            close(pose * Vector3::z(), [0.0, 1.0, 0.0]),
            "it looks along y"
        );
        assert!(
            close(pose * Vector3::y(), [0.0, 0.0, -1.0]),
            "its y is down"
        );
        assert!(close(pose * Vector3::x(), [1.0, 0.0, 0.0]));
        let (position, rotation) = app_pose(&pose);
        assert!((position[1] - 2.0).abs() < 1e-6 && (rotation[3].abs() - 1.0).abs() < 1e-6);
        let nothing = Packet {
            rotation_xyzw: [0.0; 4],
            ..packet(&[], &[])
        };
        assert_eq!(world_from_camera(&nothing), None);
    }

    fn packed(depths: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = depths
            .iter()
            .flat_map(|depth| depth.to_le_bytes())
            .collect();
        let mut packed = Vec::new();
        lzfse_rust::encode_bytes(&bytes, &mut packed).expect("packed");
        packed
    }

    #[test]
    fn a_packing_that_unpacks_to_more_is_refused_without_unpacking_it() {
        // 256 MB of zeros in some kilobytes.
        let mut bomb = Vec::new();
        lzfse_rust::encode_bytes(&vec![0; 64 << 20], &mut bomb).expect("packed");
        assert!(bomb.len() < 1 << 20);
        assert_eq!(unpack_depth(&bomb, [4, 3]), None);
        assert_eq!(unpack_depth(&packed(&[1.0; 12]), [4, 4]), None, "fewer");
        assert_eq!(unpack_depth(&packed(&[]), [0, 0]), None);
        assert_eq!(unpack_depth(&[], [u32::MAX, u32::MAX]), None);
    }

    proptest! {
        #[test]
        fn depths_come_back(depths in proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), 12)) {
            let unpacked = unpack_depth(&packed(&depths), [4, 3]).expect("depths");
            let bits = |depths: &[f32]| depths.iter().map(|depth| depth.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&unpacked), bits(&depths));
        }

        #[test]
        fn packets_come_back_however_they_are_cut(
            jpegs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..5),
            cut in 1_usize..120,
        ) {
            let wire: Vec<u8> = jpegs.iter().flat_map(|jpeg| encode(&packet(jpeg, &[1, 2]))).collect();
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for piece in wire.chunks(cut) {
                framer.push(piece);
                while let Some(body) = framer.pull().expect("Record3D's") {
                    got.push(parse(body).expect("a packet").jpeg.to_vec());
                }
            }
            prop_assert_eq!(got, jpegs);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in any::<[u8; 2]>()) {
            let mut framer = Framer::default();
            framer.push(&bytes);
            while let Ok(Some(body)) = framer.pull() {
                let _ = parse(body);
            }
            let _ = parse(Bytes::from(bytes.clone()));
            let _ = unpack_depth(&bytes, size.map(u32::from));
        }

        #[test]
        fn damaged_packings_never_panic(flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8)) {
            let depths: Vec<f32> = (0..3000).map(|i| 1.0 + (i % 60) as f32 * 0.01).collect();
            let mut bytes = packed(&depths);
            for (index, value) in flips {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            let _ = unpack_depth(&bytes, [60, 50]);
        }
    }
}
