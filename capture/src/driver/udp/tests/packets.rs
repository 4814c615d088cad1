//! Bytes of all formats; OSC against the crate `rosc`, which is not ours.

use proptest::prelude::*;
use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType, decoder, encoder};

use super::super::*;
use crate::driver::NamedPose;

/// The one sample of a datagram.
fn one(messages: Result<Vec<Message>, String>) -> Packet {
    match &messages.expect("readable")[..] {
        [Message::Sample(packet)] => packet.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(data: &Data) -> String {
    // NaN is no equal of NaN; in words it is.
    format!("{data:?}")
}

fn every_kind() -> Vec<Data> {
    vec![
        Data::Pose {
            position_m: [0.5, -0.25, 1.0],
            rotation_xyzw: [0.0, 0.0, 1.0, 0.0],
            valid: false,
            mean_error_m: 0.125,
        },
        Data::Keypoints {
            points_m: (0..21).map(|i| [f64::from(i), 0.5, -1.0]).collect(),
            joints: vec![NamedPose {
                name: "tip".to_owned(),
                position_m: [1.0, 2.0, 3.0],
                rotation_xyzw: [0.0, 0.0, 0.0, 1.0],
            }],
            valid: true,
        },
        Data::Encoders {
            counts: vec![1, -2, i32::MAX],
            reference: 4096,
            spare: 7,
        },
        Data::Force {
            counts: [-128, 0, 255],
            taxels: vec![1, 65_535],
        },
        Data::Imu {
            acceleration_m_s2: [0.0, 0.0, 9.75],
            angular_velocity_rad_s: [0.5, -0.5, 0.0],
        },
        Data::Markers {
            points_m: vec![[1.0, 2.0, 3.0], [f64::NAN; 3]],
        },
    ]
}

#[test]
fn golden_json() {
    let packet = one(parse_json(
        br#"{"stream": "wrist", "seq": 12, "t": 3.25, "sent": 3.5,
            "pose": {"p": [0.1, 0.2, 1.0], "q": [0, 0, 0, 1], "error": 0.0003}, "battery": 3}"#,
    ));
    assert_eq!((packet.name.as_str(), packet.sequence), ("wrist", Some(12)));
    assert_eq!(packet.time_ns, Some(3_250_000_000));
    assert_eq!(packet.sent_ns, Some(3_500_000_000));
    let Payload::Data(Data::Pose {
        position_m, valid, ..
    }) = packet.payload
    else {
        panic!("a pose");
    };
    assert_eq!((position_m, valid), ([0.1, 0.2, 1.0], true));
    let many = parse_json(
        br#"[{"stream":"a","imu":{"a":[0,0,9.8],"w":[0,0,0]}},{"echo":5,"t":-1.5},
        {"stream":"a","about":{"serial":"7"}}]"#,
    )
    .expect("a list");
    assert!(matches!(&many[0], Message::Sample(p) if p.sequence.is_none() && p.time_ns.is_none()));
    assert!(matches!(
        many[1],
        Message::Echo {
            number: 5,
            time_ns: -1_500_000_000
        }
    ));
    assert!(matches!(&many[2], Message::About { about, .. } if about[0].1 == "7"));
}

#[test]
fn a_time_since_1970_keeps_its_microseconds() {
    let packet = one(parse_json(
        br#"{"stream":"a","t":1764000000.123456,"markers":{"points":[]}}"#,
    ));
    let off = packet.time_ns.expect("a time") - 1_764_000_000_123_456_000;
    assert!(off.abs() < 300, "{off} ns");
}

#[test]
fn what_json_is_wrong_is_said() {
    let problem = |text: &str| parse_json(text.as_bytes()).expect_err("wrong");
    assert!(problem(r#"{"seq": 1, "imu": {"a":[0,0,0],"w":[0,0,0]}}"#).contains("`stream`"));
    assert!(problem(r#"{"stream": "a"}"#).contains("none of pose"));
    assert!(problem(r#"{"stream": "a", "pose": {"p": [0, 0]}}"#).contains("line 1"));
    assert!(problem(r#"{"stream":"a","t":1e300,"markers":{"points":[]}}"#).contains("seconds"));
    assert!(problem("nonsense").contains("expected"));
    let two = r#"{"stream":"a","markers":{"points":[]},"force":{"counts":[1,2,3]}}"#;
    assert!(problem(two).contains("two things"));
}

#[test]
fn json_carries_every_kind_there_and_back() {
    for data in every_kind() {
        let packet = Packet {
            name: "x".to_owned(),
            sequence: Some(7),
            time_ns: Some(1_500_000_000),
            sent_ns: None,
            payload: Payload::Data(data.clone()),
        };
        let read = one(parse_json(&encode_json(&packet)));
        let Payload::Data(got) = &read.payload else {
            panic!("data");
        };
        assert_eq!(text(got), text(&data));
        assert_eq!(
            (read.sequence, read.time_ns),
            (Some(7), Some(1_500_000_000))
        );
    }
}

/// A pose of an independent encoder.
fn their_pose(first: Vec<OscType>) -> OscPacket {
    let numbers = [0.5, -0.25, 1.0, 0.0, 0.0, 1.0, 0.0].map(OscType::Float);
    let args = first.into_iter().chain(numbers).collect();
    OscPacket::Message(OscMessage {
        addr: "/dexumi/wrist/pose".to_owned(),
        args,
    })
}

fn numbers(packet: &Packet) -> &[f64] {
    match &packet.payload {
        Payload::Numbers { values, .. } => values,
        Payload::Data(_) => panic!("numbers"),
    }
}

#[test]
fn messages_of_an_independent_encoder_are_read() {
    let encode = |packet: &OscPacket| encoder::encode(packet).expect("encodable");
    let plain = one(parse_osc(&encode(&their_pose(Vec::new()))));
    assert_eq!((plain.name.as_str(), plain.sequence), ("wrist", None));
    assert_eq!(numbers(&plain), [0.5, -0.25, 1.0, 0.0, 0.0, 1.0, 0.0]);
    let stamped = vec![OscType::Long(12), OscType::Double(3.25)];
    let stamped = one(parse_osc(&encode(&their_pose(stamped))));
    assert_eq!(
        (stamped.sequence, stamped.time_ns),
        (Some(12), Some(3_250_000_000))
    );
    assert_eq!(numbers(&stamped).len(), 7);
    // A time tag, two messages, a bundle within.
    let timetag = OscTime {
        seconds: 3_900_000_000,
        fractional: 1 << 31,
    };
    let inner = OscBundle {
        timetag: OscTime {
            seconds: 0,
            fractional: 1,
        },
        content: vec![their_pose(vec![OscType::Long(3)])],
    };
    let bundle = OscPacket::Bundle(OscBundle {
        timetag,
        content: vec![their_pose(Vec::new()), OscPacket::Bundle(inner)],
    });
    let messages = parse_osc(&encode(&bundle)).expect("readable");
    assert_eq!(messages.len(), 2);
    for message in messages {
        let Message::Sample(packet) = message else {
            panic!("a sample");
        };
        assert_eq!(packet.time_ns, Some(3_900_000_000_500_000_000));
    }
    // Of another program: every type there is, by its whole address.
    let foreign = OscPacket::Message(OscMessage {
        addr: "/vicon/object/Wrist".to_owned(),
        args: vec![
            OscType::String("Wrist".to_owned()),
            OscType::Int(3),
            OscType::Double(0.5),
            OscType::Long(-4),
            OscType::Blob(vec![1, 2, 3, 4, 5]),
            OscType::Bool(false),
            OscType::Nil,
            OscType::Char('x'),
            OscType::Float(2.0),
        ],
    });
    let foreign = one(parse_osc(&encode(&foreign)));
    assert_eq!(foreign.name, "/vicon/object/Wrist");
    assert_eq!(numbers(&foreign), [3.0, 0.5, -4.0, 2.0]);
    assert!(matches!(
        foreign.payload,
        Payload::Numbers { valid: false, .. }
    ));
}

#[test]
fn an_independent_decoder_reads_our_messages() {
    for data in every_kind() {
        let packet = Packet {
            name: "x".to_owned(),
            sequence: Some(7),
            time_ns: Some(1_500_000_000),
            sent_ns: None,
            payload: Payload::Data(data.clone()),
        };
        let bytes = encode_osc(&packet);
        let (rest, read) = decoder::decode_udp(&bytes).expect("valid");
        assert!(rest.is_empty());
        let OscPacket::Message(message) = read else {
            panic!("a message");
        };
        assert!(message.addr.starts_with("/dexumi/x/"), "{}", message.addr);
        assert_eq!(message.args[..2], [OscType::Long(7), OscType::Double(1.5)]);
        assert_eq!(one(parse_osc(&bytes)).sequence, Some(7));
    }
    let question = (super::super::osc::FORMAT.echo.expect("asks"))(9);
    let (_, read) = decoder::decode_udp(&question).expect("valid");
    assert!(
        matches!(read, OscPacket::Message(m) if m.addr == "/dexumi/echo" && m.args == [OscType::Long(9)])
    );
}

#[test]
fn answers_are_those_that_are_understood() {
    let json = answer_json(br#"{"echo": 17}"#, 1_250_000_000).expect("an answer");
    let question = (super::super::osc::FORMAT.echo.expect("asks"))(17);
    let osc = answer_osc(&question, 1_250_000_000).expect("an answer");
    for answer in [parse_json(&json), parse_osc(&osc)] {
        let answer = &answer.expect("readable")[0];
        assert!(
            matches!(
                answer,
                Message::Echo {
                    number: 17,
                    time_ns: 1_250_000_000
                }
            ),
            "{answer:?}"
        );
    }
    assert_eq!(answer_json(b"{}", 1), None);
    assert_eq!(answer_osc(&osc, 1), None, "an answer is no question");
}

#[test]
fn golden_osc() {
    let packet = Packet {
        name: "w".to_owned(),
        sequence: Some(1),
        time_ns: Some(500_000_000),
        sent_ns: None,
        payload: Payload::Data(Data::Force {
            counts: [1, -1, 256],
            taxels: Vec::new(),
        }),
    };
    let bytes = encode_osc(&packet);
    let mut golden = b"/dexumi/w/force\0,hdiii\0\0".to_vec();
    golden.extend([0, 0, 0, 0, 0, 0, 0, 1, 0x3F, 0xE0, 0, 0, 0, 0, 0, 0]);
    golden.extend([0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0]);
    assert_eq!(bytes, golden);
}

/// As printed in the app's own description.
const HTS: &str = "Right wrist:, 0.2502, 1.0635, 0.2540, 0.194, -0.116, 0.094, -0.970\n";

#[test]
fn golden_hand_tracking_streamer() {
    let wrist = one(parse_hts(HTS.as_bytes()));
    assert_eq!((wrist.name.as_str(), wrist.sequence), ("right", None));
    let points: Vec<String> = (0..63)
        .map(|i| format!("{}", f64::from(i) * 0.01))
        .collect();
    let lines = format!(
        "Left wrist | f=12 | t=5000000000:, 0, 1, 2, 0, 0, 0, 1\r\nLeft landmarks | f=12 | t=5000000000:, {}\r\n\
         Head pose:, 1, 2, 3, 0, 0, 0, 1",
        points.join(", ")
    );
    let messages = parse_hts(lines.as_bytes()).expect("readable");
    let packets: Vec<&Packet> = messages
        .iter()
        .map(|message| match message {
            Message::Sample(packet) => packet,
            _ => panic!("samples"),
        })
        .collect();
    assert_eq!(packets[0].sequence, Some(12));
    assert_eq!(packets[1].time_ns, Some(5_000_000_000));
    assert_eq!(packets[2].name, "head");
    assert!(
        matches!(&packets[1].payload, Payload::Data(Data::Keypoints { points_m, .. }) if points_m[20] == [0.6, 0.61, 0.62])
    );
    for wrong in [
        "",
        "Right wrist:, 1, 2",
        "Up wrist:, 1",
        "nothing",
        "Right wrist:, 1,2,3,4,5,6,x",
        "Right wrist | f=-1:, 1,2,3,0,0,0,1",
    ] {
        assert!(parse_hts(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        words in proptest::collection::vec(prop_oneof![
            Just("#bundle\0"), Just("/dexumi/a/pose\0\0"), Just(",hdfff\0\0"), Just("\0\0\0\x01\0\0\0\x10"),
            Just("{\"stream\":"), Just("[[[["), Just("1e999"), Just("}"), Just("Right wrist:,"),
        ], 0..12),
    ) {
        let words = words.concat().into_bytes();
        for bytes in [bytes, words] {
            let _ = parse_json(&bytes);
            let _ = parse_osc(&bytes);
            let _ = parse_hts(&bytes);
        }
    }

    #[test]
    fn a_cut_packet_is_always_seen(cut in 1_usize..64, at in 0_usize..6) {
        let packet = Packet {
            name: "x".to_owned(),
            sequence: Some(7),
            time_ns: Some(1_500_000_000),
            sent_ns: None,
            payload: Payload::Data(every_kind().swap_remove(at)),
        };
        for (bytes, parse) in [
            (encode_json(&packet), parse_json as fn(&[u8]) -> _),
            (encode_osc(&packet), parse_osc),
        ] {
            let short = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert!(parse(short).is_err());
        }
    }

    #[test]
    fn osc_keeps_numbers(values in proptest::collection::vec(-1e6..1e6_f32, 0..70), sequence: Option<i64>) {
        let packet = Packet {
            name: "n".to_owned(),
            sequence: sequence.map(|s| s as u64),
            time_ns: None,
            sent_ns: None,
            payload: Payload::Numbers {
                what: None,
                values: values.iter().copied().map(f64::from).collect(),
                valid: true,
            },
        };
        let read = one(parse_osc(&encode_osc(&packet)));
        prop_assert_eq!(read.sequence, packet.sequence);
        prop_assert_eq!(numbers(&read), numbers(&packet));
    }
}

#[test]
fn bundles_in_bundles_without_end_are_refused() {
    let mut bytes = b"/a\0\0,\0\0\0".to_vec();
    for _ in 0..3000 {
        let mut outer = b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec();
        outer.extend((bytes.len() as u32).to_be_bytes());
        outer.extend(bytes);
        bytes = outer;
    }
    assert!(parse_osc(&bytes).is_err());
}
