//! Files: calibrations and rigs, episodes, descriptions of hands.

use std::path::{Path, PathBuf};

use dexumi_capture::driver::survive;
use dexumi_episode::{
    Calibration, EpisodeInfo, EpisodeWriter, JointCalibration, JointMap, Latency, Ledger, Rig,
    SessionAnchor, SessionTime, StreamLedger,
    schema::{CompressedImage, Encoders, Event, Health, Loss, Stamp, StreamHealth},
};

use crate::Seeds;
use crate::cameras::whole_jpeg;

pub fn texts(seeds: &Seeds) {
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

pub fn episodes(seeds: &Seeds) {
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
pub fn hands(seeds: &Seeds) {
    let known = dexumi_retarget::HANDS.iter();
    let (_, text) = known
        .clone()
        .find(|(name, _)| *name == "inspire_right")
        .expect("ours");
    seeds.write("hand", "inspire_right", &[], text);
    let link = |name: &str| format!("<link name=\"{name}\"/>\n");
    let joint = |name: &str, kind: &str, parent: &str, child: &str, more: &str| {
        format!(
            "<joint name=\"{name}\" type=\"{kind}\"><parent link=\"{parent}\"/><child link=\"{child}\"/>\
             <origin xyz=\"0 0.02 0.04\" rpy=\"0 0.1 0\"/><axis xyz=\"0 1 0\"/>{more}</joint>\n"
        )
    };
    let limit = "<limit lower=\"0\" upper=\"1.5\" velocity=\"3\" effort=\"1\"/>";
    let mimic =
        format!("{limit}<mimic joint=\"index_proximal\" multiplier=\"1.1\" offset=\"0.05\"/>");
    let links = [
        "base",
        "thumb_proximal_link",
        "thumb_tip",
        "index_proximal_link",
        "index_distal_link",
        "index_tip",
    ];
    let robot = [
        "<?xml version=\"1.0\"?>\n<robot name=\"small\">\n".to_owned(),
        links.map(link).concat(),
        joint(
            "thumb_proximal",
            "revolute",
            "base",
            "thumb_proximal_link",
            limit,
        ),
        joint("thumb_end", "fixed", "thumb_proximal_link", "thumb_tip", ""),
        joint(
            "index_proximal",
            "revolute",
            "base",
            "index_proximal_link",
            limit,
        ),
        joint(
            "index_distal",
            "revolute",
            "index_proximal_link",
            "index_distal_link",
            &mimic,
        ),
        joint("index_end", "fixed", "index_distal_link", "index_tip", ""),
        "</robot>\n".to_owned(),
    ];
    seeds.write("urdf", "small", &[], robot.concat());
    for (name, kind, bytes) in [
        ("f32", "<f4", [0_u8, 0, 128, 62].repeat(126)),
        ("f64", "<f8", 0.25_f64.to_le_bytes().repeat(126)),
    ] {
        let dictionary =
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 21, 3), }}");
        let header = format!("{dictionary:<117}\n");
        let start = [
            &b"\x93NUMPY\x01\x00"[..],
            &(header.len() as u16).to_le_bytes(),
        ]
        .concat();
        seeds.write("npy", name, &start, [header.as_bytes(), &bytes].concat());
    }
}
