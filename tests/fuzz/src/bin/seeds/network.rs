//! Packets of motion capture, phones and gloves.

use dexumi_capture::driver::{
    Data, NamedPose, arkit, bridge, natnet, record3d, rokoko,
    udp::{self, Payload},
};

use crate::cameras::whole_jpeg;
use crate::{Seeds, part};

pub fn arkits(seeds: &Seeds) {
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

pub fn natnets(seeds: &Seeds) {
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

pub fn phones(seeds: &Seeds) {
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

pub fn bridges(seeds: &Seeds) {
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

pub fn udps(seeds: &Seeds) {
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

pub fn gloves(seeds: &Seeds) {
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
