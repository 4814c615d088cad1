//! The packet of an ARKit app, without input or output; its specification for people
//! is `docs/arkit-packet.md`. UDP, little-endian. UDP's checksum guards the bytes;
//! magic, version and an exact length guard against everybody else's.

use bytes::{Buf, Bytes};

/// First bytes of each datagram.
pub const MAGIC: [u8; 4] = *b"DXAR";
/// Version of the packet.
pub const VERSION: u8 = 1;
/// Length of a [`Moment`].
pub const MOMENT_BYTES: usize = 96;
/// Length of what stands before a fragment's bytes.
pub const FRAGMENT_HEAD_BYTES: usize = 20;
/// No image is larger.
pub const MAX_IMAGE_BYTES: u32 = 8 << 20;
/// Inertial samples in one datagram.
pub const MAX_IMU: usize = 40;

const KIND_MOMENT: u8 = 1;
const KIND_FRAGMENT: u8 = 2;
const KIND_IMU: u8 = 3;
const KIND_ABOUT: u8 = 4;
const KIND_ECHO_REQUEST: u8 = 5;
const KIND_ECHO_REPLY: u8 = 6;

/// A datagram.
#[derive(Debug, Clone, PartialEq)]
pub enum Datagram {
    /// One ARFrame without its image.
    Moment(Moment),
    /// A part of an image.
    Fragment(Fragment),
    /// Inertial samples on end.
    Imu(Imu),
    /// JSON: what the phone says of itself.
    About {
        /// The JSON.
        json: Bytes,
    },
    /// To the phone: what does its clock show?
    EchoRequest {
        /// Number of the question.
        number: u32,
    },
    /// From the phone.
    EchoReply {
        /// Number of the question.
        number: u32,
        /// The phone's clock [ns].
        now_ns: u64,
    },
}

/// One ARFrame without its image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Of the AR session: another number is another world.
    pub session: u32,
    /// Counts the moments of the session.
    pub sequence: u32,
    /// `ARFrame.timestamp` [ns].
    pub timestamp_ns: u64,
    /// The same clock when the datagram was sent [ns].
    pub sent_ns: u64,
    /// Camera's place in ARKit's world [m].
    pub position_m: [f32; 3],
    /// Camera's rotation, quaternion x, y, z, w.
    pub rotation_xyzw: [f32; 4],
    /// fx, fy, cx, cy [pixel].
    pub intrinsics: [f32; 4],
    /// Size of the camera's image [pixel].
    pub image_size: [u16; 2],
    /// Length of the exposure [µs]; 0 where unknown.
    pub exposure_us: u32,
    /// 0 not available, 1 limited, 2 normal.
    pub tracking: u8,
    /// Why it is limited: 0 none, 1 initializing, 2 excessive motion, 3 insufficient
    /// features, 4 relocalizing.
    pub reason: u8,
    /// Length of its JPEG, which follows in fragments; 0 for none [byte].
    pub image_bytes: u32,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// As its moment's.
    pub session: u32,
    /// As its moment's.
    pub sequence: u32,
    /// Where it lies in the JPEG.
    pub offset: u32,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Inertial samples on end.
#[derive(Debug, Clone, PartialEq)]
pub struct Imu {
    /// Number of the first.
    pub sequence: u32,
    /// The phone's clock when the datagram was sent [ns].
    pub sent_ns: u64,
    /// One after the other.
    pub samples: Vec<ImuSample>,
}

/// One inertial sample, in the phone's axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImuSample {
    /// The phone's clock [ns].
    pub timestamp_ns: u64,
    /// With gravity, up at rest [m/s²].
    pub acceleration: [f32; 3],
    /// [rad/s]
    pub angular_velocity: [f32; 3],
}

fn head(kind: u8, words: [u32; 2]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([VERSION, kind, 0, 0]);
    words
        .iter()
        .for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes
}

fn numbers(bytes: &mut Vec<u8>, numbers: &[f32]) {
    numbers
        .iter()
        .for_each(|number| bytes.extend(number.to_le_bytes()));
}

/// As it goes over the network.
pub fn encode(datagram: &Datagram) -> Vec<u8> {
    match datagram {
        Datagram::Moment(moment) => {
            let mut bytes = head(KIND_MOMENT, [moment.session, moment.sequence]);
            bytes.extend(moment.timestamp_ns.to_le_bytes());
            bytes.extend(moment.sent_ns.to_le_bytes());
            numbers(&mut bytes, &moment.position_m);
            numbers(&mut bytes, &moment.rotation_xyzw);
            numbers(&mut bytes, &moment.intrinsics);
            moment
                .image_size
                .iter()
                .for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(moment.exposure_us.to_le_bytes());
            bytes.extend([moment.tracking, moment.reason, 0, 0]);
            bytes.extend(moment.image_bytes.to_le_bytes());
            bytes.extend([0; 4]);
            bytes
        }
        Datagram::Fragment(fragment) => {
            let mut bytes = head(KIND_FRAGMENT, [fragment.session, fragment.sequence]);
            bytes.extend(fragment.offset.to_le_bytes());
            bytes.extend_from_slice(&fragment.bytes);
            bytes
        }
        Datagram::Imu(imu) => {
            let mut bytes = head(KIND_IMU, [imu.samples.len() as u32, imu.sequence]);
            bytes.extend(imu.sent_ns.to_le_bytes());
            for sample in &imu.samples {
                bytes.extend(sample.timestamp_ns.to_le_bytes());
                numbers(&mut bytes, &sample.acceleration);
                numbers(&mut bytes, &sample.angular_velocity);
            }
            bytes
        }
        Datagram::About { json } => {
            let mut bytes = head(KIND_ABOUT, [0, 0]);
            bytes.extend_from_slice(json);
            bytes
        }
        Datagram::EchoRequest { number } => head(KIND_ECHO_REQUEST, [0, *number]),
        Datagram::EchoReply { number, now_ns } => {
            let mut bytes = head(KIND_ECHO_REPLY, [0, *number]);
            bytes.extend(now_ns.to_le_bytes());
            bytes
        }
    }
}

/// Reads a datagram; `None` for one that is not ours, or cut.
pub fn parse(datagram: &[u8]) -> Option<Datagram> {
    let length = datagram.len();
    let mut bytes = datagram;
    if length < 16 || bytes[..4] != MAGIC || bytes[4] != VERSION {
        return None;
    }
    let kind = bytes[5];
    bytes.advance(8);
    let words = [bytes.get_u32_le(), bytes.get_u32_le()];
    match kind {
        KIND_MOMENT if length == MOMENT_BYTES => moment(words, bytes).map(Datagram::Moment),
        KIND_FRAGMENT if length > FRAGMENT_HEAD_BYTES => Some(Datagram::Fragment(Fragment {
            session: words[0],
            sequence: words[1],
            offset: bytes.get_u32_le(),
            bytes: Bytes::copy_from_slice(bytes),
        })),
        KIND_IMU
            if (1..=MAX_IMU as u32).contains(&words[0])
                && length == 24 + 32 * words[0] as usize =>
        {
            imu(words, bytes).map(Datagram::Imu)
        }
        KIND_ABOUT => Some(Datagram::About {
            json: Bytes::copy_from_slice(bytes),
        }),
        KIND_ECHO_REQUEST if length == 16 => Some(Datagram::EchoRequest { number: words[1] }),
        KIND_ECHO_REPLY if length == 24 => Some(Datagram::EchoReply {
            number: words[1],
            now_ns: bytes.get_u64_le(),
        }),
        _ => None,
    }
}

fn moment([session, sequence]: [u32; 2], mut bytes: &[u8]) -> Option<Moment> {
    let moment = Moment {
        session,
        sequence,
        timestamp_ns: bytes.get_u64_le(),
        sent_ns: bytes.get_u64_le(),
        position_m: std::array::from_fn(|_| bytes.get_f32_le()),
        rotation_xyzw: std::array::from_fn(|_| bytes.get_f32_le()),
        intrinsics: std::array::from_fn(|_| bytes.get_f32_le()),
        image_size: std::array::from_fn(|_| bytes.get_u16_le()),
        exposure_us: bytes.get_u32_le(),
        tracking: bytes.get_u8(),
        reason: bytes.get_u8(),
        image_bytes: {
            bytes.advance(2);
            bytes.get_u32_le()
        },
    };
    let sane = moment.tracking <= 2
        && moment.image_bytes <= MAX_IMAGE_BYTES
        && is_time(moment.timestamp_ns)
        && is_time(moment.sent_ns);
    sane.then_some(moment)
}

fn imu([count, sequence]: [u32; 2], mut bytes: &[u8]) -> Option<Imu> {
    let sent_ns = bytes.get_u64_le();
    let samples: Vec<ImuSample> = (0..count)
        .map(|_| ImuSample {
            timestamp_ns: bytes.get_u64_le(),
            acceleration: std::array::from_fn(|_| bytes.get_f32_le()),
            angular_velocity: std::array::from_fn(|_| bytes.get_f32_le()),
        })
        .collect();
    let sane = is_time(sent_ns)
        && samples.iter().all(|sample| {
            let mut numbers = sample.acceleration.iter().chain(&sample.angular_velocity);
            is_time(sample.timestamp_ns) && numbers.all(|number| number.is_finite())
        });
    sane.then_some(Imu {
        sequence,
        sent_ns,
        samples,
    })
}

/// Less than a century since the phone was started.
fn is_time(nanos: u64) -> bool {
    nanos < 100 * 366 * 86_400 * 1_000_000_000
}

/// Cuts an image into datagrams of at most `bytes` bytes of it.
pub fn fragments(
    session: u32,
    sequence: u32,
    jpeg: &[u8],
    bytes: usize,
) -> impl Iterator<Item = Datagram> + use<'_> {
    jpeg.chunks(bytes).enumerate().map(move |(index, part)| {
        Datagram::Fragment(Fragment {
            session,
            sequence,
            offset: (index * bytes) as u32,
            bytes: Bytes::copy_from_slice(part),
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn moment() -> Moment {
        Moment {
            session: 0x0A0B_0C0D,
            sequence: 7,
            timestamp_ns: 1_234_567_890_123,
            sent_ns: 1_234_587_890_123,
            position_m: [1.0, 2.0, -0.5],
            rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
            intrinsics: [1500.0, 1500.0, 960.0, 720.0],
            image_size: [1920, 1440],
            exposure_us: 8333,
            tracking: 2,
            reason: 0,
            image_bytes: 4000,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = encode(&Datagram::Moment(moment()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4458415201010000\
             0d0c0b0a07000000\
             cb04fb711f010000cb31 2c731f010000\
             0000803f00000040000000bf\
             0000000000000000000000000000803f\
             0080bb440080bb440000704400003444\
             8007a0058d2000000200 0000a00f000000000000"
                .replace(' ', "")
        );
        assert_eq!(parse(&bytes), Some(Datagram::Moment(moment())));
        let question = encode(&Datagram::EchoRequest { number: 3 });
        assert_eq!(question, *b"DXAR\x01\x05\0\0\0\0\0\0\x03\0\0\0");
    }

    #[test]
    fn what_is_cut_foreign_or_senseless_is_refused() {
        let bytes = encode(&Datagram::Moment(moment()));
        assert_eq!(parse(&bytes[..95]), None);
        assert_eq!(parse(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(parse(b"{\"hello\": \"world\", \"more\": 1}"), None);
        for (at, value) in [(4, 2), (84, 3), (95 - 4, 1), (23, 0x80)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(parse(&other), None, "byte {at}");
        }
    }

    fn any_datagram() -> impl Strategy<Value = Datagram> {
        let vector = || [-1e3_f32..1e3, -1e3..1e3, -1e3..1e3];
        let time = 0_u64..1 << 60;
        let sample = (time.clone(), vector(), vector()).prop_map(
            |(timestamp_ns, acceleration, angular_velocity)| ImuSample {
                timestamp_ns,
                acceleration,
                angular_velocity,
            },
        );
        let imu = (
            any::<u32>(),
            time.clone(),
            proptest::collection::vec(sample, 1..=MAX_IMU),
        )
            .prop_map(|(sequence, sent_ns, samples)| {
                Datagram::Imu(Imu {
                    sequence,
                    sent_ns,
                    samples,
                })
            });
        let fragment = (
            any::<[u32; 3]>(),
            proptest::collection::vec(any::<u8>(), 1..50),
        )
            .prop_map(|([session, sequence, offset], bytes)| {
                Datagram::Fragment(Fragment {
                    session,
                    sequence,
                    offset,
                    bytes: bytes.into(),
                })
            });
        let moment = (
            any::<[u32; 3]>(),
            time,
            vector(),
            0_u8..3,
            0..MAX_IMAGE_BYTES,
        )
            .prop_map(
                |(
                    [session, sequence, exposure_us],
                    timestamp_ns,
                    position_m,
                    tracking,
                    image_bytes,
                )| {
                    Datagram::Moment(Moment {
                        session,
                        sequence,
                        timestamp_ns,
                        position_m,
                        tracking,
                        image_bytes,
                        exposure_us,
                        ..moment()
                    })
                },
            );
        let about = proptest::collection::vec(any::<u8>(), 0..50)
            .prop_map(|json| Datagram::About { json: json.into() });
        let request = any::<u32>().prop_map(|number| Datagram::EchoRequest { number });
        let reply =
            any::<(u32, u64)>().prop_map(|(number, now_ns)| Datagram::EchoReply { number, now_ns });
        prop_oneof![moment, fragment, imu, about, request, reply]
    }

    proptest! {
        #[test]
        fn datagrams_come_back(datagram in any_datagram()) {
            prop_assert_eq!(parse(&encode(&datagram)), Some(datagram));
        }

        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..8, ours: bool) {
            if ours && bytes.len() > 6 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4] = VERSION;
                bytes[5] = kind;
            }
            let _ = parse(&bytes);
        }
    }
}
