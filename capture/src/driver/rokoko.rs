//! Rokoko Smartgloves through Rokoko Studio: "Custom streaming", JSON v3 over UDP,
//! plain or in an LZ4 frame; both hands in one datagram.
//!
//! `scene.timestamp` is Studio's clock in seconds. Its axes are Unity's: left-handed,
//! y up, z forward, metres.
//! (Rokoko's page "Custom Streaming" with its example file; the plugins for Unity and
//! Blender, which say what is optional.)

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read},
    net::UdpSocket,
    time::Duration,
};

use bytes::Bytes;
use dexumi_episode::{ClockModel, Device, DeviceTime, FINGERS, HostTime, StreamKind};
use serde::{Deserialize, Serialize};

use super::{
    Data, Driver, Item, NamedPose, Output, Sample, Source,
    axes::{Axes, is_pose},
    min_delay_ns,
    options::Options,
};
use crate::error::CaptureError;

/// First bytes of an LZ4 frame.
const LZ4: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];
/// No scene is larger, unpacked: five actors are some 100 kB.
const MAX_JSON_BYTES: u64 = 8 << 20;
/// A finger's joints, by Rokoko's names.
const BONES: [&str; 4] = ["Proximal", "Medial", "Distal", "Tip"];

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "rokoko",
    help: "Rokoko Smartgloves: Rokoko Studio's custom streaming, JSON v3 over UDP, plain or LZ4",
    feeds: "/glove/<side>/keypoints",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Keypoints { .. })),
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| {
        vec![
            ("clock", "scene.timestamp of Rokoko Studio".to_owned()),
            (
                "frame",
                "Rokoko Studio's world, from left-handed y up to right-handed z up".to_owned(),
            ),
            ("joints", joints("").join(",")),
        ]
    },
    shares: true,
    counts_missing: false,
    keeps_packets: true,
    open,
};

/// What is read of a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The scene.
    pub scene: Scene,
}

/// One moment of all actors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Studio's clock [s].
    pub timestamp: f64,
    /// Everybody.
    #[serde(default)]
    pub actors: Vec<Actor>,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// Name, as shown in Studio.
    pub name: String,
    /// What the person wears.
    #[serde(default)]
    pub meta: Meta,
    /// Joints by name; some may be absent.
    #[serde(default)]
    pub body: BTreeMap<String, Option<Joint>>,
}

/// What a person wears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// A glove on the left hand.
    pub has_left_glove: bool,
    /// A glove on the right hand.
    pub has_right_glove: bool,
}

/// A joint in Studio's world.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    /// Where it is [m].
    pub position: Xyz,
    /// How it is turned.
    pub rotation: Xyzw,
}

/// A point in Studio's axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Xyz {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Forward.
    pub z: f64,
}

/// A quaternion in Studio's axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Xyzw {
    /// x.
    pub x: f64,
    /// y.
    pub y: f64,
    /// z.
    pub z: f64,
    /// w.
    pub w: f64,
}

/// Why a packet cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No JSON, or LZ4 that does not unpack.
    Corrupt,
    /// JSON, but not of this version.
    Version,
}

/// Reads a datagram.
///
/// # Errors
/// It is damaged, or of another version.
pub fn parse(datagram: &[u8]) -> Result<Live, Refusal> {
    let mut unpacked = Vec::new();
    let json = match datagram.starts_with(&LZ4) {
        true => {
            let decoder = lz4_flex::frame::FrameDecoder::new(datagram);
            let read = decoder.take(MAX_JSON_BYTES).read_to_end(&mut unpacked);
            read.map_err(|_| Refusal::Corrupt)?;
            &unpacked[..]
        }
        false => datagram,
    };
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::Version,
        _ => Refusal::Corrupt,
    })
}

/// A datagram of JSON v3, for the emulator.
pub fn encode(live: &Live, lz4: bool) -> Vec<u8> {
    let mut value = serde_json::to_value(live).expect("numbers and text are JSON");
    value["version"] = 3.into();
    value["fps"] = 60.into();
    let json = value.to_string();
    match lz4 {
        true => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, json.as_bytes()).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        false => json.into_bytes(),
    }
}

/// Studio's names of a hand's joints, in the order of the 21 keypoints.
pub fn joints(side: &str) -> Vec<String> {
    let finger = |name: &str| {
        let (first, rest) = name.split_at(1);
        format!("{}{rest}", first.to_uppercase())
    };
    let fingers = FINGERS
        .iter()
        .flat_map(|name| BONES.map(|bone| format!("{side}{}{bone}", finger(name))));
    [format!("{side}Hand")].into_iter().chain(fingers).collect()
}

/// A joint in our axes; NaN where it is absent or none.
fn converted(name: String, joint: Option<&Joint>) -> NamedPose {
    let pose = joint.map(
        |Joint {
             position: p,
             rotation: q,
         }| {
            let position_m = Axes::Unity.point([p.x, p.y, p.z]);
            (position_m, Axes::Unity.rotation([q.x, q.y, q.z, q.w]))
        },
    );
    let sane = pose.filter(|(position_m, rotation_xyzw)| is_pose(position_m, rotation_xyzw));
    let (position_m, rotation_xyzw) = sane.unwrap_or(([f64::NAN; 3], [0.0, 0.0, 0.0, 1.0]));
    NamedPose {
        name,
        position_m,
        rotation_xyzw,
    }
}

/// The inverse of the conversion.
pub fn studio_joint(position_m: [f64; 3], rotation_xyzw: [f64; 4]) -> Joint {
    let [x, y, z] = Axes::Unity.foreign_point(position_m);
    let position = Xyz { x, y, z };
    let [x, y, z, w] = Axes::Unity.foreign_rotation(rotation_xyzw);
    let rotation = Xyzw { x, y, z, w };
    Joint { position, rotation }
}

/// A hand of an actor, and whether it wears a glove; `None` where Studio sends none
/// of its joints.
pub fn hand(actor: &Actor, side: &str) -> Option<(Vec<NamedPose>, bool)> {
    let names = joints(side);
    let known = |name: &String| matches!(actor.body.get(name), Some(Some(_)));
    names.iter().any(known).then(|| {
        let poses = names.into_iter().map(|name| {
            let joint = actor.body.get(&name).and_then(Option::as_ref);
            converted(name, joint)
        });
        let glove = match side {
            "left" => actor.meta.has_left_glove,
            _ => actor.meta.has_right_glove,
        };
        (poses.collect(), glove)
    })
}

struct RokokoSource {
    socket: UdpSocket,
    /// Side and actor of each stream.
    hands: Vec<(String, Option<String>)>,
    sequence: u64,
    last_timestamp: Option<f64>,
    told_version: bool,
    buffer: Vec<u8>,
    stream: String,
    address: String,
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let device = &devices[0];
    Options::of(devices, &[])?;
    let socket = UdpSocket::bind(&device.address).and_then(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    });
    let socket = socket.map_err(|error| CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem: error.to_string(),
        next: "write the address to listen at, such as 0.0.0.0:14043, as Studio sends to it; no \
            other program may listen there"
            .to_owned(),
    })?;
    let hands = devices.iter().map(|device| {
        let side = match StreamKind::of(&device.stream) {
            Some(StreamKind::Keypoints { side }) => side,
            _ => "right".to_owned(),
        };
        (side, device.source.clone())
    });
    Ok(Box::new(RokokoSource {
        socket,
        hands: hands.collect(),
        sequence: 0,
        last_timestamp: None,
        told_version: false,
        buffer: vec![0; 65_536],
        stream: device.stream.clone(),
        address: device.address.clone(),
    }))
}

impl RokokoSource {
    fn take(&mut self, count: usize, arrival: HostTime, out: &mut Output) {
        let datagram = &self.buffer[..count];
        let lost = |out: &mut Output, kind| {
            (0..self.hands.len()).for_each(|stream| out.lost(stream, kind, 1, arrival));
        };
        let live = match parse(datagram) {
            Ok(live) => live,
            Err(Refusal::Corrupt) => return lost(out, "corrupt"),
            Err(Refusal::Version) => {
                lost(out, "other_version");
                if !std::mem::replace(&mut self.told_version, true) {
                    let text =
                        "Rokoko Studio sends another format, expected JSON v3: choose it in \
                        the settings of its custom streaming"
                            .to_owned();
                    out.push(
                        0,
                        Item::Note {
                            warning: true,
                            text,
                        },
                    );
                }
                return;
            }
        };
        let timestamp = live.scene.timestamp;
        // A paused Studio repeats its time; such samples are dated by arrival.
        let fresh =
            timestamp.is_finite() && self.last_timestamp.replace(timestamp) != Some(timestamp);
        let micros = (timestamp * 1e6).round();
        let device = (fresh && (0.0..9e12).contains(&micros))
            .then(|| DeviceTime::from_nanos(micros as i64 * 1000));
        let mut raw = Some(Bytes::copy_from_slice(datagram));
        for (stream, (side, actor)) in self.hands.iter().enumerate() {
            let mut actors = live.scene.actors.iter();
            let found = match actor {
                Some(name) => actors.find(|actor| actor.name == *name),
                None => actors.find(|actor| hand(actor, side).is_some()),
            };
            let Some(found) = found else {
                out.lost(stream, "actor_absent", 1, arrival);
                continue;
            };
            let Some((joints, glove)) = hand(found, side) else {
                out.lost(stream, "hand_absent", 1, arrival);
                continue;
            };
            let points_m = joints.iter().map(|joint| joint.position_m).collect();
            out.sample(
                stream,
                Sample {
                    arrival,
                    device,
                    sent: None,
                    ticks: device.map(|_| micros as u64),
                    sequence: self.sequence,
                    captured: None,
                    suspect: 0,
                    data: Data::Keypoints {
                        points_m,
                        joints,
                        valid: glove,
                    },
                    raw: raw.take(),
                },
            );
        }
        self.sequence += 1;
    }
}

impl Source for RokokoSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        match self.socket.recv(&mut self.buffer) {
            Ok(count) => {
                self.take(count, HostTime::now(), out);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(()),
                _ => Err(CaptureError::Gone {
                    stream: self.stream.clone(),
                    address: self.address.clone(),
                    problem: error.to_string(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// After Rokoko's example file, with what its comments say is there.
    const EXAMPLE: &str = r#"{"version": 3, "fps": 60, "scene": {"timestamp": 12.3456, "actors": [
        {"name": "Dimitris", "color": [1, 2, 3],
         "meta": {"hasGloves": true, "hasLeftGlove": false, "hasRightGlove": true, "hasBody": true, "hasFace": false},
         "dimensions": {"totalHeight": 1.8, "hipHeight": 1.0},
         "body": {
            "hip": {"position": {"x": 0, "y": 1, "z": 0}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1}},
            "rightHand": {"position": {"x": 0.2, "y": 1.1, "z": 0.3}, "rotation": {"x": 0, "y": 0.70710678, "z": 0, "w": 0.70710678}},
            "rightThumbTip": null,
            "rightIndexProximal": {"position": {"x": 0.25, "y": 1.1, "z": 0.38}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1}}}}],
        "props": []}}"#;

    #[test]
    fn the_example_is_read_and_its_axes_become_ours() {
        let live = parse(EXAMPLE.as_bytes()).expect("the example");
        assert_eq!(live.scene.timestamp, 12.3456);
        let (joints, glove) = hand(&live.scene.actors[0], "right").expect("a hand");
        assert!(glove && joints.len() == 21);
        assert_eq!(joints[0].name, "rightHand");
        assert_eq!(joints[0].position_m, [0.3, -0.2, 1.1], "forward, left, up");
        // Turned to the right about the vertical.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let expected = [0.0, 0.0, -half, half];
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
        assert!(joints[0].rotation_xyzw.iter().zip(&expected).all(close));
        assert_eq!(
            (joints[5].name.as_str(), joints[5].position_m),
            ("rightIndexProximal", [0.38, -0.25, 1.1])
        );
        assert!(joints[4].position_m[0].is_nan() && joints[20].name == "rightLittleTip");
        assert_eq!(hand(&live.scene.actors[0], "left"), None);
    }

    #[test]
    fn both_packings_are_read() {
        let live = parse(EXAMPLE.as_bytes()).expect("the example");
        for lz4 in [false, true] {
            let datagram = encode(&live, lz4);
            assert_eq!(datagram.starts_with(&LZ4), lz4);
            assert_eq!(parse(&datagram).expect("encoded"), live);
            assert_eq!(
                parse(&datagram[..datagram.len() / 2]),
                Err(Refusal::Corrupt)
            );
        }
        // By Python's lz4.frame.compress.
        let python = b"\x04\x22\x4d\x18\x68\x40\x1b\0\0\0\0\0\0\0\xfa\x1b\0\0\x80\
            {\"scene\":{\"timestamp\":1.5}}\0\0\0\0";
        assert_eq!(parse(python).expect("a scene").scene.timestamp, 1.5);
        assert_eq!(
            parse(br#"{"version": 2, "timestamp": 1, "actors": []}"#),
            Err(Refusal::Version)
        );
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut encoder, &vec![b' '; 64 << 20]).expect("memory takes it");
        let bomb = encoder.finish().expect("memory takes it");
        assert_eq!(parse(&bomb), Err(Refusal::Corrupt));
    }

    proptest! {
        #[test]
        fn axes_come_back(p in [-2.0_f64..2.0, -2.0..2.0, -2.0..2.0], angle in -3.0_f64..3.0) {
            let q = [0.6 * (angle / 2.0).sin(), 0.0, 0.8 * (angle / 2.0).sin(), (angle / 2.0).cos()];
            let back = converted(String::new(), Some(&studio_joint(p, q)));
            prop_assert_eq!(back.position_m, p);
            prop_assert_eq!(back.rotation_xyzw, q);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), lz4: bool) {
            let bytes = if lz4 { [&LZ4[..], &bytes].concat() } else { bytes };
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_packing_never_panics(at: proptest::sample::Index, value: u8) {
            let live = parse(EXAMPLE.as_bytes()).expect("the example");
            let mut datagram = encode(&live, true);
            let at = at.index(datagram.len());
            datagram[at] = value;
            let _ = parse(&datagram);
        }
    }
}
