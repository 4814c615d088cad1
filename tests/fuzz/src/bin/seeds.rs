//! Writes the corpus anew from the encoders of the drivers and from bytes that
//! their documents give: `cargo run --release --bin seeds -- FOLDER`. A file lies
//! in the folder of its target; its first bytes say how the target reads it
//! (`src/`).

use std::path::{Path, PathBuf};

use dexumi_capture::driver::{
    Data, NamedPose, arkit, board, bridge,
    ffmpeg::nut,
    inspire_encoders, inspire_fsr, mjpeg_http, natnet,
    packets::Packet as _,
    polhemus, record3d, rokoko, survive,
    udp::{self, Payload},
    xhand_encoders, xhand_force,
};
use dexumi_episode::{
    Calibration, EpisodeInfo, EpisodeWriter, JointCalibration, JointMap, Latency, Ledger, Rig,
    SessionAnchor, SessionTime, StreamLedger,
    schema::{CompressedImage, Encoders, Event, Health, Loss, Stamp, StreamHealth},
};

struct Seeds(PathBuf);

impl Seeds {
    fn write(&self, target: &str, name: &str, prefix: &[u8], bytes: impl AsRef<[u8]>) {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        let bytes = [prefix, bytes.as_ref()].concat();
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("a folder to write to");
    let seeds = Seeds(folder.into());
    serial(&seeds);
    boards(&seeds);
    polhemuses(&seeds);
    arkits(&seeds);
    natnets(&seeds);
    phones(&seeds);
    cameras(&seeds);
    bridges(&seeds);
    udps(&seeds);
    gloves(&seeds);
    texts(&seeds);
    episodes(&seeds);
    hands(&seeds);
}

/// Behind its length, as the targets take several things.
fn part(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Several packets in a row, noise before them, and one damaged in between.
fn disturbed(packets: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![0x55, 0xAA, 0xAA];
    for (index, mut packet) in packets.into_iter().enumerate() {
        if index == 2 {
            packet[5] ^= 0x10;
        }
        bytes.extend(packet);
    }
    bytes
}

fn serial(seeds: &Seeds) {
    fn scans<const N: usize>() -> Vec<Vec<u8>> {
        (0..7)
            .map(|k| dexumi_capture::driver::encoder_scan::Scan::<N> {
                words: std::array::from_fn(|w| 1000 * w as i32 - 17 * k),
                ticks: 65_530_u16.wrapping_add(6 * k as u16),
            })
            .map(|scan| scan.encode())
            .collect()
    }
    let force = |k: u16| xhand_force::Reading::<0> {
        xy: [k as i8, -3],
        z: 10,
        taxels: [],
        ticks: 300 + 10 * k,
    };
    let taxels = |k: u16| xhand_force::Reading::<{ xhand_force::TAXELS }> {
        xy: [1, -2],
        z: 10,
        taxels: std::array::from_fn(|t| t as u16 + k),
        ticks: 300 + 10 * k,
    };
    let fsr = |k: u16| inspire_fsr::Reading {
        words: std::array::from_fn(|w| w as i32 - 6),
        counts: [100 + k, 900],
        ticks: 50 + 5 * k,
    };
    seeds.write(
        "serial",
        "xhand",
        &[0, 64],
        disturbed(scans::<{ xhand_encoders::CHANNELS }>()),
    );
    seeds.write(
        "serial",
        "inspire",
        &[1, 7],
        disturbed(scans::<{ inspire_encoders::CHANNELS }>()),
    );
    seeds.write(
        "serial",
        "force",
        &[2, 3],
        disturbed((0..7).map(|k| force(k).encode()).collect()),
    );
    seeds.write(
        "serial",
        "taxels",
        &[3, 255],
        disturbed((0..3).map(|k| taxels(k).encode()).collect()),
    );
    seeds.write(
        "serial",
        "fsr",
        &[4, 60],
        disturbed((0..7).map(|k| fsr(k).encode()).collect()),
    );
}

fn boards(seeds: &Seeds) {
    use board::{
        describe::{Board, Channel, Field, Format, role},
        protocol::{Kind, Packet},
    };
    let field = |role, format, count, turn, scale, unit: &str| Field {
        role,
        format,
        count,
        turn,
        scale,
        unit: unit.to_owned(),
    };
    let channel = |name: &str, rate_mhz, fields| Channel {
        name: name.to_owned(),
        rate_mhz,
        scan_us: 500,
        fields,
    };
    let channels = [
        channel(
            "joints",
            200_000,
            vec![
                field(role::ANGLE, Format::I32, 2, 0, 0.0, "count"),
                field(role::REFERENCE, Format::I32, 1, 0, 0.0, "count"),
            ],
        ),
        channel(
            "thumb",
            0,
            vec![
                field(role::FORCE, Format::I16, 3, 0, 0.01, "N"),
                field(role::TAXELS, Format::U8, 4, 0, 0.0, ""),
            ],
        ),
        channel(
            "wrist",
            400_000,
            vec![
                field(role::ACCELERATION, Format::F32, 3, 0, 9.81, "m/s2"),
                field(role::ANGULAR_VELOCITY, Format::I16, 3, 0, 0.001, "rad/s"),
                field(200, Format::U8, 1, 0, 0.0, "C"),
            ],
        ),
    ];
    let board = Board {
        channels: 3,
        started: true,
        name: "glove".to_owned(),
        firmware: "1.2".to_owned(),
        serial: "A7".to_owned(),
    };
    let mut packets = vec![(Kind::Board, 0, 0, board.encode())];
    for (number, channel) in (1..).zip(&channels) {
        packets.push((Kind::Channel, number, 0, channel.encode()));
    }
    for k in [0_u16, 1, 3] {
        for (number, channel) in (1_u8..).zip(&channels) {
            let payload = (0..channel.bytes()).map(|b| b as u8 ^ k as u8).collect();
            packets.push((Kind::Sample, number, k, payload));
        }
    }
    packets.push((Kind::Text, 0, 0, b"\x01warm".to_vec()));
    packets.push((Kind::Pong, 0, 0, vec![1, 2, 3, 4]));
    let wire = packets
        .iter()
        .flat_map(|(kind, channel, sequence, payload)| {
            let packet = Packet {
                kind: *kind,
                channel: *channel,
                sequence: *sequence,
                time_us: 9_000 + 5_000 * u32::from(*sequence),
                payload: payload.clone(),
            };
            packet.encode()
        });
    let mut wire: Vec<u8> = [0].into_iter().chain(wire).collect();
    seeds.write("board", "connection", &[0, 40], &wire);
    let at = wire.len() - 30;
    wire[at] ^= 4;
    seeds.write("board", "damaged", &[0, 255], &wire);
    // By their parts, so that a fuzzer needs no checksum: places in the target's
    // list of kinds.
    let parts = packets
        .iter()
        .flat_map(|(kind, channel, sequence, payload)| {
            let place = match kind {
                Kind::Sample => 0,
                Kind::Board => 1,
                Kind::Channel => 2,
                Kind::Pong => 3,
                _ => 4,
            };
            let time_us = 9_000 + 5_000 * u32::from(*sequence);
            let mut bytes = vec![place, *channel];
            bytes.extend(sequence.to_le_bytes());
            bytes.extend(time_us.to_le_bytes());
            bytes.extend(payload);
            part(bytes)
        });
    seeds.write("board", "parts", &[1, 90], parts.collect::<Vec<u8>>());
    let long = Packet {
        kind: Kind::Sample,
        channel: 1,
        sequence: 7,
        time_us: 1,
        payload: vec![7; 300],
    };
    seeds.write("board", "long", &[0, 255], long.encode());
}

fn polhemuses(seeds: &Seeds) {
    use polhemus::record::{Format, Model, Record, encode};
    let of = |model: Model, format: Format| {
        let record = |k: u32| Record {
            station: 1 + (k % 2) as u8,
            error: b' ',
            time_ms: (model == Model::Patriot).then_some(5_000 + 17 * k),
            count: (model == Model::Patriot).then_some(300 + k),
            position_cm: [12.5 + f64::from(k), -3.25, 40.0],
            rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        };
        let records = (0..6).map(|k| encode(model, format, model.items(), &record(k)));
        let mut bytes = b"\r\n01".to_vec();
        for (k, mut record) in records.enumerate() {
            if k == 3 {
                record[11] ^= 0x40;
            }
            bytes.extend(record);
        }
        bytes
    };
    for (mode, name, model, format) in [
        (0, "fastrak", Model::Fastrak, Format::Binary),
        (1, "patriot", Model::Patriot, Format::Binary),
        (2, "fastrak_ascii", Model::Fastrak, Format::Ascii),
        (3, "patriot_ascii", Model::Patriot, Format::Ascii),
    ] {
        seeds.write("polhemus", name, &[mode, 50], of(model, format));
    }
}

fn arkits(seeds: &Seeds) {
    use arkit::packet::{Datagram, Imu, ImuSample, Moment, encode, fragments};
    let jpeg = whole_jpeg();
    let moment = |sequence| {
        Datagram::Moment(Moment {
            session: 9,
            sequence,
            timestamp_ns: 1_000_000_000 + 16_000_000 * u64::from(sequence),
            sent_ns: 1_020_000_000 + 16_000_000 * u64::from(sequence),
            position_m: [1.0, 2.0, -0.5],
            rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
            intrinsics: [1500.0, 1500.0, 960.0, 720.0],
            image_size: [8, 16],
            exposure_us: 8333,
            tracking: 2,
            reason: 0,
            image_bytes: jpeg.len() as u32,
        })
    };
    let imu = Datagram::Imu(Imu {
        sequence: 5,
        sent_ns: 1_030_000_000,
        samples: vec![
            ImuSample {
                timestamp_ns: 1_000_000_000,
                acceleration: [0.0, 0.0, 9.81],
                angular_velocity: [0.1, 0.2, 0.3],
            };
            2
        ],
    });
    let about = Datagram::About {
        json: br#"{"model":"iPhone15,3","os":17}"#[..].into(),
    };
    let echo = Datagram::EchoReply {
        number: 1,
        now_ns: 1_040_000_000,
    };
    let mut all = vec![about, moment(7)];
    all.extend(fragments(9, 7, &jpeg, 30));
    all.extend(fragments(9, 8, &jpeg, 100));
    all.extend([moment(8), imu, echo, moment(10), moment(9)]);
    let wire: Vec<u8> = all
        .iter()
        .flat_map(|datagram| part(encode(datagram)))
        .collect();
    seeds.write("arkit", "phone", &[], wire);
}

fn natnets(seeds: &Seeds) {
    use natnet::*;
    let body = |id| RigidBody {
        id,
        position_m: [0.1, -0.2, 1.3],
        rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        mean_error_m: 0.0003,
        tracked: true,
    };
    let frame = Frame {
        number: 7,
        marker_sets: vec![MarkerSet {
            name: "hand".to_owned(),
            points_m: vec![[1.0, 2.0, 3.0], [-0.5, 0.25, 0.0]],
        }],
        bodies: vec![body(1), body(-5)],
        software_time_s: 1.5,
        mid_exposure_ticks: 123_456_789,
        received_ticks: 123_466_789,
        transmit_ticks: 123_512_389,
        models_changed: true,
    };
    let models = Models {
        bodies: vec![(1, "wrist".to_owned()), (-5, "Kopf – ü".to_owned())],
        marker_sets: vec![("hand".to_owned(), vec!["a".to_owned(), "b".to_owned()])],
    };
    let info = ServerInfo {
        name: "Motive".to_owned(),
        version: [3, 1, 2, 0],
        natnet: [4, 1, 0, 0],
        tick_hz: 10_000_000,
        data_port: 1511,
        multicast: true,
        group: [239, 255, 42, 99],
    };
    for (mode, version) in (0_u8..).zip([(3, 0), (3, 1), (4, 0), (4, 1)]) {
        let name = format!("{}_{}", version.0, version.1);
        let mode = [mode | 0x80];
        seeds.write(
            "natnet",
            &format!("frame_{name}"),
            &mode,
            encode_frame(&frame, version),
        );
        seeds.write(
            "natnet",
            &format!("models_{name}"),
            &mode,
            encode_models(&models, version),
        );
    }
    seeds.write("natnet", "server", &[0x83], encode_server_info(&info));
    seeds.write(
        "natnet",
        "echo_request",
        &[0x83],
        encode_echo_request(278_554_190),
    );
    let response = encode_echo_response(278_554_190, 1_416_498_545_924);
    seeds.write("natnet", "echo_response", &[0x83], response);
    // A skeleton, a force plate, a device and a camera, as before 4.1: kind, then
    // what its description has.
    let mut list = 4_i32.to_le_bytes().to_vec();
    let int = |list: &mut Vec<u8>, value: i32| list.extend(value.to_le_bytes());
    int(&mut list, 2);
    list.extend(b"body\0");
    int(&mut list, 1);
    int(&mut list, 1);
    list.extend(b"hip\0");
    list.extend([0; 4 + 16 + 4]);
    int(&mut list, 3);
    int(&mut list, 9);
    list.extend(b"SN\0");
    list.extend([0; 4 * 163]);
    int(&mut list, 1);
    list.extend(b"Fx\0");
    int(&mut list, 4);
    int(&mut list, 8);
    list.extend(b"ADC\0SN\0");
    list.extend([0; 8]);
    int(&mut list, 1);
    list.extend(b"ch\0");
    int(&mut list, 5);
    list.extend(b"cam\0");
    list.extend([0; 28]);
    let head = [5, 0, list.len() as u8, (list.len() >> 8) as u8];
    seeds.write(
        "natnet",
        "models_other",
        &[0x80],
        [&head[..], &list].concat(),
    );
}

fn phones(seeds: &Seeds) {
    use record3d::{protocol, usbmux};
    let list = usbmux::plist(
        "<dict><key>DeviceList</key><array><dict><key>DeviceID</key><integer>3</integer>\
         <key>Properties</key><dict><key>ConnectionType</key><string>USB</string>\
         <key>DeviceID</key><integer>3</integer><key>SerialNumber</key>\
         <string>00008110-000A11223344801E</string></dict></dict></array></dict>",
    );
    seeds.write("usbmux", "list", &[0], usbmux::encode(1, &list));
    seeds.write("usbmux", "list_bare", &[1], &list);
    seeds.write("usbmux", "connect", &[1], usbmux::connect(3, 1337));
    let other = "<plist><array><true/><string>a&amp;b &lt;</string><array/><dict/><integer> 7</integer></array></plist>";
    seeds.write("usbmux", "others", &[1], other);
    let depths: Vec<u8> = (0..48_u8)
        .flat_map(|k| (1.0 + f32::from(k % 6) * 0.1).to_le_bytes())
        .collect();
    let mut packed = Vec::new();
    lzfse_rust::encode_bytes(&depths, &mut packed).expect("packed");
    seeds.write("depth", "small", &[8, 6], &packed);
    let noise: Vec<u8> = (0..4 * 64 * 64_u32)
        .map(|k| (k.wrapping_mul(2_654_435_761) >> 13) as u8 & 0x3F)
        .collect();
    let mut long = Vec::new();
    lzfse_rust::encode_bytes(&noise, &mut long).expect("packed");
    seeds.write("depth", "large", &[64, 64], &long);
    let packet = protocol::Packet {
        image_size: [720, 960],
        depth_size: [8, 6],
        confidence_size: [8, 6],
        device_type: protocol::LIDAR,
        intrinsics: [700.0, 701.0, 360.0, 480.0],
        rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        position_m: [1.0, 2.0, 3.0],
        jpeg: whole_jpeg().into(),
        depth: packed.into(),
        confidence: vec![7; 3].into(),
        rest: b"{}"[..].into(),
        head: Default::default(),
    };
    let wire = protocol::encode(&packet);
    seeds.write("record3d", "stream", &[0, 200], wire.repeat(2));
    seeds.write(
        "record3d",
        "body",
        &[1, 255],
        &wire[protocol::HEADER_BYTES..],
    );
}

/// A JPEG by hand: a comment, a frame of 8 × 16, a scan with a stuffed byte and a
/// restart marker.
fn whole_jpeg() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xFE, 0, 4, b'h', b'i'];
    bytes.extend([0xFF, 0xC4, 0, 3, 0]);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 8, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.extend([7, 0xFF, 0, 9, 0xFF, 0xD3, 4, 0xFF, 0xD9]);
    bytes
}

fn cameras(seeds: &Seeds) {
    let jpeg = whole_jpeg();
    seeds.write("jpeg", "whole", &[], &jpeg);
    seeds.write(
        "jpeg",
        "padded",
        &[],
        [&jpeg[..], &[0xFF, 0xFF, 0, 0xFF, 0xD9]].concat(),
    );
    seeds.write("jpeg", "two_scans", &[], {
        let mut two = jpeg[..jpeg.len() - 2].to_vec();
        two.extend(&jpeg[jpeg.len() - 19..]);
        two
    });
    seeds.write("jpeg", "cut", &[], &jpeg[..jpeg.len() - 3]);
    let parts = [
        mjpeg_http::encode_part(&jpeg, Some(1_700_000_000.123456)),
        mjpeg_http::encode_part(&jpeg, None),
        mjpeg_http::encode_part(&[], Some(-0.5)),
    ];
    seeds.write("mjpeg", "parts", &[64], parts.concat());
    seeds.write(
        "mjpeg",
        "long_line",
        &[255],
        [b"--x\r\nA: ".as_slice(), &[b'y'; 9000]].concat(),
    );
    let golden = include_bytes!("../../../../capture/tests/golden/mjpeg.nut");
    seeds.write("nut", "ffmpeg", &[0, 100], golden);
    let mut own = nut::encode_header(8, 16);
    own.extend(nut::encode_packet(5_000, &jpeg));
    own.extend(nut::encode_packet(38_333, &jpeg));
    seeds.write("nut", "own", &[0, 9], &own);
    // By their parts: main header with short codes and an elided header, stream,
    // synchronisation, a packet.
    let mut main = vec![3, 1, 10, 1, 1, 10];
    main.extend([0xC0, 0, 6, 0, 1, 0, 0, 0, 1]);
    main.extend([0, 8, 2, 1, 0, 4, 0, 20, 0, 1]);
    main.extend([8 | 32, 6, 0, 1, 0, 0, 0, 0x81, 0x69]);
    main.extend([1, 2, 0xFF, 0xD8]);
    let stream = [
        &[0, 0, 4][..],
        b"MJPG",
        &[0, 7, 10, 0, 0, 0, 8, 16, 0, 0, 0],
    ]
    .concat();
    let parts = [
        part([&[0][..], &main].concat()),
        part([&[1][..], &stream].concat()),
        part([2, 30, 0]),
        part([&[9, 3][..], b"abcdefgh"].concat()),
        part([&[9, 60, 5, 3][..], b"abc"].concat()),
    ];
    seeds.write("nut", "parts", &[1, 11], parts.concat());
}

fn bridges(seeds: &Seeds) {
    use bridge::{packet::*, payload::*};
    let hello = Hello {
        bridge: "test 1".to_owned(),
        clock: Some("device clock".to_owned()),
        echo: true,
        streams: vec![StreamHello {
            name: "left".to_owned(),
            kind: "hand".to_owned(),
            joints: vec!["wrist".to_owned(), "tip".to_owned()],
            points: vec![Some(1), None, Some(0)],
            ..StreamHello::default()
        }],
    };
    let head = ImageHead {
        width: 4,
        height: 2,
        step: 8,
        unit_m: 0.001,
        intrinsics: [500.0, 500.0, 2.0, 1.0],
    };
    let pose = PoseValues {
        position_m: [0.1, -0.2, 1.0],
        rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
        mean_error_m: 0.001,
    };
    let joint = ([0.25, 0.5, 1.0], [0.0, 0.0, 0.0, 1.0]);
    let payloads: [(Kind, u8, Vec<u8>); 10] = [
        (Kind::Hello, 0, serde_json::to_vec(&hello).expect("JSON")),
        (Kind::Take, 1, br#"{"streams":[0]}"#.to_vec()),
        (Kind::Log, 2, b"warm".to_vec()),
        (Kind::About, 3, br#"{"serial":"7","n":1}"#.to_vec()),
        (Kind::EchoReply, 5, Vec::new()),
        (Kind::Jpeg, 6, encode_image(&head, &whole_jpeg())),
        (Kind::Raw, 7, encode_image(&head, &[7; 16])),
        (Kind::Imu, 9, encode_imu([0.0, 0.0, 9.81], [0.1, 0.2, 0.3])),
        (Kind::Pose, 10, encode_pose(&pose)),
        (Kind::Hand, 11, encode_hand(&[], &[joint, joint])),
    ];
    let (mut wire, mut parts) = (vec![b'D', b'X', 1], Vec::new());
    for (kind, place, payload) in payloads {
        let packet = Packet {
            device_ns: Some(123_456_789),
            exposure_us: Some(1000),
            ..Packet::new(kind, 0, payload.clone())
        };
        wire.extend(encode(&packet));
        let time = 123_456_789_i64.to_le_bytes();
        parts.extend(part([&[place, 0, 13][..], &time, &payload].concat()));
    }
    seeds.write("bridge", "stream", &[0, 200], &wire);
    seeds.write("bridge", "parts", &[1, 77], parts);
    let hand = encode_hand(&[[0.1, 0.2, 0.3]; 21], &[]);
    let mut damaged = encode(&Packet::new(Kind::Hand, 0, hand));
    let whole = damaged.clone();
    damaged[60] ^= 1;
    damaged.extend(whole);
    seeds.write("bridge", "damaged", &[0, 50], damaged);
}

fn measured() -> Vec<(&'static str, &'static str, Data)> {
    let points: Vec<[f64; 3]> = (0..21).map(|k| [0.01 * f64::from(k), -0.02, 0.3]).collect();
    let joint = NamedPose {
        name: "wrist".to_owned(),
        position_m: [0.1, 0.2, 0.3],
        rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
    };
    vec![
        (
            "pose",
            "wrist",
            Data::Pose {
                position_m: [0.1, -0.2, 1.0],
                rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
                valid: true,
                mean_error_m: 0.0005,
            },
        ),
        (
            "keypoints",
            "right",
            Data::Keypoints {
                points_m: points,
                joints: vec![joint],
                valid: true,
            },
        ),
        (
            "markers",
            "m",
            Data::Markers {
                points_m: vec![[1.0, 2.0, 3.0], [f64::NAN; 3]],
            },
        ),
        (
            "imu",
            "imu",
            Data::Imu {
                acceleration_m_s2: [0.0, 0.0, 9.81],
                angular_velocity_rad_s: [0.1, 0.2, 0.3],
            },
        ),
        (
            "force",
            "right_thumb",
            Data::Force {
                counts: [1, -1, 256],
                taxels: vec![7, 9],
            },
        ),
        (
            "encoders",
            "right",
            Data::Encoders {
                counts: vec![100, -5],
                reference: 4096,
                spare: 3,
            },
        ),
    ]
}

fn udps(seeds: &Seeds) {
    let packet = |name: &str, sequence, data| udp::Packet {
        name: name.to_owned(),
        sequence: Some(sequence),
        time_ns: Some(1_500_000_000 + sequence as i64 * 5_000_000),
        sent_ns: Some(1_600_000_000),
        payload: Payload::Data(data),
    };
    for (what, name, data) in measured() {
        let packets: Vec<udp::Packet> = [5, 7, 6].map(|n| packet(name, n, data.clone())).into();
        let json: Vec<u8> = packets
            .iter()
            .flat_map(|p| part(udp::encode_json(p)))
            .collect();
        let osc: Vec<u8> = packets
            .iter()
            .flat_map(|p| part(udp::encode_osc(p)))
            .collect();
        seeds.write("udp_json", what, &[], json);
        seeds.write("osc", what, &[], osc);
    }
    let many = br#"[{"stream":"imu","imu":{"a":[0,0,9.8],"w":[0,0,0]}},{"echo":5,"t":-1.5},{"stream":"imu","about":{"serial":"7"}}]"#;
    seeds.write("udp_json", "many", &[], part(many));
    let inner = udp::encode_osc(&packet("m", 3, measured()[2].2.clone()));
    let mut bundle = b"#bundle\0".to_vec();
    bundle.extend([0xE0, 0, 0, 1, 0x80, 0, 0, 0]);
    bundle.extend((inner.len() as u32).to_be_bytes());
    bundle.extend(&inner);
    seeds.write("osc", "bundle", &[], part(&bundle));
    let other = b"/tracker/wrist/pose\0,fffffffsTbt\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x3F\x80\0\0hi\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01";
    seeds.write("osc", "other_program", &[], part(other));
    let numbers: String = (0..63)
        .map(|k| format!(", {}", 0.01 * f64::from(k)))
        .collect();
    let lines = format!(
        "Right wrist | f=12 | t=5000000000:, 0.25, 1.06, 0.254, 0, 0.6, 0, 0.8\r\n\
         Right landmarks | f=12 | t=5000000000:{numbers}\nHead pose:, 1, 2, 3, 0, 0, 0, 1"
    );
    let later = "Right wrist | f=13 | t=5016000000:, 0.26, 1.06, 0.254, 0, 0.6, 0, 0.8\n";
    seeds.write("hts", "lines", &[], [part(&lines), part(later)].concat());
    let published = "Right wrist:, 0.2502, 1.0635, 0.2540, 0.194, -0.116, 0.094, -0.970\n";
    seeds.write("hts", "published", &[], part(published));
}

fn gloves(seeds: &Seeds) {
    let body = rokoko::joints("right")
        .into_iter()
        .map(|name| {
            (
                name,
                Some(rokoko::studio_joint([0.3, -0.2, 1.1], [0.0, 0.0, 0.6, 0.8])),
            )
        })
        .take(4)
        .collect();
    let live = rokoko::Live {
        scene: rokoko::Scene {
            timestamp: 12.3456,
            actors: vec![rokoko::Actor {
                name: "a".to_owned(),
                meta: rokoko::Meta {
                    has_left_glove: false,
                    has_right_glove: true,
                },
                body,
            }],
        },
    };
    seeds.write("rokoko", "plain", &[], rokoko::encode(&live, false));
    seeds.write("rokoko", "lz4", &[], rokoko::encode(&live, true));
    let partial = br#"{"version":3,"scene":{"timestamp":1,"actors":[{"name":"b","body":{"leftHand":null}},{"name":"c"}]}}"#;
    seeds.write("rokoko", "partial", &[], partial);
}

fn texts(seeds: &Seeds) {
    let mut lines = b"Info: Loaded drivers\n0.1 INFO LOG Adding tracked object T20\r\n".to_vec();
    lines.extend(b"0.654321 T20 CONFIG {\"device_serial_number\": \"LHR-1A2B3C4D\"}\r\n");
    for k in 0..3 {
        let x = 0.1 + 0.001 * f64::from(k);
        let time_us = 12_345_678 + 4_000 * u64::from(k as u8);
        lines.extend(
            survive::encode_pose(time_us, "T20", [x, -0.2, 1.0], [0.0, 0.6, 0.0, 0.8]).bytes(),
        );
    }
    lines.extend(b"1.5 T20 VELOCITY 0.1 0.2 0.3 0.0 0.0 0.0 \r\n1.0 T20 POSE 0 0 0 1 0 0 \r\n");
    seeds.write("survive", "record", &[33], lines);
    seeds.write("rig", "bench", &[], RIG);
    let rig = Rig::parse(RIG, Path::new("rig.toml")).expect("good");
    seeds.write("rig", "written", &[], rig.to_toml());
    let map = |joint_rad: Vec<f64>| JointMap {
        name: "bend".to_owned(),
        channel: 1,
        sensor_rad: vec![-0.5, 0.25, 1.5, 2.0],
        joint_rad,
        residual_rms_rad: 0.01,
        residual_max_rad: 0.02,
        leave_one_out_rms_rad: 0.01,
        hysteresis_rad: Some(0.003),
        noise_rad: 0.001,
    };
    let joints = JointCalibration {
        hand: "xhand_right".to_owned(),
        created: "2026-01-02T03:04:05Z".to_owned(),
        method: "sweep".to_owned(),
        source: "episode_0000".to_owned(),
        joint: vec![
            map(vec![0.0, 0.3, 1.2, 1.3]),
            map(vec![1.3, 1.2, 0.3, -0.5]),
        ],
    };
    let latency = Latency {
        seconds: 0.035,
        source: "measured".to_owned(),
    };
    let calibration = Calibration {
        joints: [("right".to_owned(), joints)].into(),
        latency: [("/camera/wrist/image".to_owned(), latency)].into(),
        ..Calibration::new()
    };
    seeds.write("calibration", "right", &[], calibration.to_toml());
}

const RIG: &str = r#"
format = 1
name = "bench"
hand = "xhand_right"
[[device]]
stream = "/exo/right/encoders"
driver = "dexumi_xhand_encoders"
address = "/dev/ttyACM0"
baud = 921600
min_delay_s = 0.001
source = "0"
options = { taxels = true, list = [1, 2.5, "x"], when = 2026-01-02 }
[[device]]
stream = "/camera/wrist/image"
driver = "v4l2"
address = "usb:1"
[device.camera]
width = 640
height = 480
fps = 30.0
raw = true
pixel = "yuyv"
controls = { exposure_s = 0.008 }
intrinsics = [500.0, 500.0, 320.0, 240.0]
[[mount]]
parent = "hand"
child = "camera"
translation_m = [0.1, 0.0, 0.05]
rotation_xyzw = [0.0, 0.6, 0.0, 0.8]
source = "drawing"
"#;

fn episodes(seeds: &Seeds) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("e.mcap");
    let partial = dexumi_episode::partial_path(&path);
    let whole = episode(&path, true);
    seeds.write(
        "episode",
        "whole",
        &[],
        std::fs::read(&whole).expect("readable"),
    );
    std::fs::remove_file(&whole).expect("removed");
    episode(&path, false);
    let unfinished = std::fs::read(&partial).expect("readable");
    std::fs::remove_file(&partial).expect("removed");
    seeds.write("recover", "unfinished", &[], &unfinished);
    seeds.write("recover", "cut", &[], &unfinished[..unfinished.len() - 40]);
    for (name, compression) in [
        ("plain", None),
        ("lz4", Some(mcap::Compression::Lz4)),
        ("zstd", Some(mcap::Compression::Zstd)),
    ] {
        let bytes = foreign(compression);
        seeds.write("episode", name, &[], &bytes);
        seeds.write("recover", name, &[], &bytes[..bytes.len() / 2]);
        seeds.write("recover", &format!("{name}_whole"), &[], &bytes);
    }
}

/// An episode of ours; its path.
fn episode(path: &Path, finished: bool) -> PathBuf {
    let info = EpisodeInfo {
        format: dexumi_episode::FORMAT_VERSION,
        id: "0190".to_owned(),
        number: 0,
        task: "pick".to_owned(),
        operator: "a".to_owned(),
        hand: "xhand_right".to_owned(),
        rig: "bench".to_owned(),
        software: "dexumi".to_owned(),
        anchor: SessionAnchor {
            host_time_ns: 5,
            unix_time_ns: 1_000,
            uncertainty_ns: 1,
        },
    };
    let mut writer = EpisodeWriter::create(path, &info, RIG, None).expect("created");
    let topic = "/exo/right/encoders";
    let encoders = writer
        .channel::<Encoders>(topic, &[("unit", "count".to_owned())])
        .expect("a channel");
    let images = writer
        .channel::<CompressedImage>("/camera/wrist/image", &[])
        .expect("a channel");
    let events = writer.channel::<Event>("/events", &[]).expect("a channel");
    let health = writer.channel::<Health>("/health", &[]).expect("a channel");
    let at = SessionTime::from_nanos;
    let start = Event {
        timestamp_ns: 1_000,
        kind: "start".to_owned(),
        text: String::new(),
    };
    writer.write(events, 0, at(1_000), at(1_000), &start);
    for k in 0..3_i64 {
        let time = at(2_000 + 100 * k);
        let scan = Encoders {
            stamp: Some(Stamp {
                timestamp_ns: time.nanos(),
                host_time_ns: 7,
                sequence: k as u64,
                ..Stamp::default()
            }),
            counts: vec![1, 2, -3],
            reference: 4096,
            spare: 0,
        };
        writer.write(encoders, k as u64, time, time, &scan);
        let image = CompressedImage {
            data: whole_jpeg().into(),
            format: "jpeg".to_owned(),
            ..CompressedImage::default()
        };
        writer.write(images, k as u64, time, time, &image);
    }
    let loss = Loss {
        kind: "corrupt".to_owned(),
        count: 2,
    };
    let of_stream = StreamHealth {
        stream: topic.to_owned(),
        received: 5,
        written: 3,
        losses: vec![loss],
        ..StreamHealth::default()
    };
    let ledger = Health {
        timestamp_ns: 2_500,
        streams: vec![of_stream],
    };
    writer.write(health, 0, at(2_500), at(2_500), &ledger);
    writer.tick().expect("written");
    if finished {
        let ledger: Ledger = [(topic.to_owned(), StreamLedger::default())].into();
        return writer
            .finish(Some((at(1_000), at(3_000))), &ledger)
            .expect("finished");
    }
    drop(writer);
    path.to_owned()
}

/// A small file by the crate `mcap`, as other programs write them.
fn foreign(compression: Option<mcap::Compression>) -> Vec<u8> {
    let mut writer = mcap::WriteOptions::new()
        .compression(compression)
        .create(std::io::Cursor::new(Vec::new()))
        .expect("created");
    let schema = writer
        .add_schema("dexumi.Health", "protobuf", b"")
        .expect("a schema");
    let channel = writer.add_channel(schema, "/health", "protobuf", &Default::default());
    let channel_id = channel.expect("a channel");
    for sequence in 0..4 {
        let header = mcap::records::MessageHeader {
            channel_id,
            sequence,
            log_time: 10 * u64::from(sequence),
            publish_time: 10,
        };
        writer
            .write_to_known_channel(&header, &[8, 1, 8, 2, 8, 3])
            .expect("written");
    }
    let metadata = mcap::records::Metadata {
        name: "episode".to_owned(),
        metadata: [("json".to_owned(), "{}".to_owned())].into(),
    };
    writer.write_metadata(&metadata).expect("written");
    writer.finish().expect("finished");
    writer.into_inner().into_inner()
}

/// Hands, and keypoints for them.
fn hands(seeds: &Seeds) {
    let known = dexumi_retarget::HANDS.iter();
    let (_, text) = known.clone().find(|(name, _)| *name == "inspire_right").expect("ours");
    seeds.write("hand", "inspire_right", &[], text);
    let link = |name: &str| format!("<link name=\"{name}\"/>\n");
    let joint = |name: &str, kind: &str, parent: &str, child: &str, more: &str| {
        format!(
            "<joint name=\"{name}\" type=\"{kind}\"><parent link=\"{parent}\"/><child link=\"{child}\"/>\
             <origin xyz=\"0 0.02 0.04\" rpy=\"0 0.1 0\"/><axis xyz=\"0 1 0\"/>{more}</joint>\n"
        )
    };
    let limit = "<limit lower=\"0\" upper=\"1.5\" velocity=\"3\" effort=\"1\"/>";
    let mimic = format!("{limit}<mimic joint=\"index_proximal\" multiplier=\"1.1\" offset=\"0.05\"/>");
    let links = ["base", "thumb_proximal_link", "thumb_tip", "index_proximal_link", "index_distal_link", "index_tip"];
    let robot = [
        "<?xml version=\"1.0\"?>\n<robot name=\"small\">\n".to_owned(),
        links.map(link).concat(),
        joint("thumb_proximal", "revolute", "base", "thumb_proximal_link", limit),
        joint("thumb_end", "fixed", "thumb_proximal_link", "thumb_tip", ""),
        joint("index_proximal", "revolute", "base", "index_proximal_link", limit),
        joint("index_distal", "revolute", "index_proximal_link", "index_distal_link", &mimic),
        joint("index_end", "fixed", "index_distal_link", "index_tip", ""),
        "</robot>\n".to_owned(),
    ];
    seeds.write("urdf", "small", &[], robot.concat());
    for (name, kind, bytes) in [
        ("f32", "<f4", [0_u8, 0, 128, 62].repeat(126)),
        ("f64", "<f8", 0.25_f64.to_le_bytes().repeat(126)),
    ] {
        let dictionary = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 21, 3), }}");
        let header = format!("{dictionary:<117}\n");
        let start = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()].concat();
        seeds.write("npy", name, &start, [header.as_bytes(), &bytes].concat());
    }
}
