//! Whatever comes by UDP, through the drivers themselves: a socket is opened as
//! for a rig, datagrams are sent to it, and each must become samples or losses.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
};

use dexumi_capture::driver::{
    Data, Driver, Item, Output, Source, arkit as phone,
    axes::{is_point, is_pose},
    mjpeg_http::is_whole_jpeg,
    rokoko as gloves,
    udp::{
        HTS, JSON, Message, OSC, Packet, encode_hts, encode_json, parse_hts, parse_json, parse_osc,
    },
};
use dexumi_episode::Device;

type Parse = fn(&[u8]) -> Result<Vec<Message>, String>;

const STREAMS: [&str; 7] = [
    "/tracker/wrist/pose",
    "/tracker/head/pose",
    "/exo/right/encoders",
    "/exo/right/force/thumb",
    "/imu/imu",
    "/mocap/m/markers",
    "/glove/right/keypoints",
];

/// Datagrams, each behind its length, as JSON.
pub fn json(bytes: &[u8]) -> usize {
    let devices = STREAMS.map(|stream| device(stream, JSON.name));
    datagrams(bytes, &JSON, &devices, parse_json, |packet| {
        again(packet, &encode_json(packet), parse_json);
    })
}

/// The same as Open Sound Control.
pub fn osc(bytes: &[u8]) -> usize {
    let devices = STREAMS.map(|stream| device(stream, OSC.name));
    datagrams(bytes, &OSC, &devices, parse_osc, |_| {})
}

/// The same as Hand Tracking Streamer writes it.
pub fn hts(bytes: &[u8]) -> usize {
    let mut devices = [
        "/tracker/head/pose",
        "/tracker/right/pose",
        "/glove/right/keypoints",
    ]
    .map(|stream| device(stream, HTS.name));
    devices[0].source = Some("head".to_owned());
    datagrams(bytes, &HTS, &devices, parse_hts, |packet| {
        again(packet, &encode_hts(packet), parse_hts);
    })
}

/// One datagram of Rokoko Studio, which comes twice.
pub fn rokoko(bytes: &[u8]) -> usize {
    let devices = ["left", "right"]
        .map(|side| device(&format!("/glove/{side}/keypoints"), gloves::DRIVER.name));
    let live = gloves::parse(bytes);
    if let Ok(live) = &live {
        // Once from numbers that JSON has rounded, they stay.
        let packed = gloves::encode(live, false);
        let once = gloves::parse(&packed).expect("our own");
        assert_eq!(once.scene.actors.len(), live.scene.actors.len());
        assert!(gloves::parse(&gloves::encode(live, true)).is_ok());
    }
    let (mut source, sender, to) = open(&gloves::DRIVER, &devices);
    for _ in 0..2 {
        let mut out = Output::default();
        if sender.send_to(bytes, to).is_err() {
            break;
        }
        source.read(&mut out).expect("a socket");
        for stream in 0..devices.len() {
            let outcomes = outcomes(&out, stream);
            assert_eq!(outcomes, 1, "each datagram is a sample or a loss");
        }
        out.items.iter().for_each(|(_, item)| sane(item));
    }
    usize::from(live.is_ok())
}

/// Datagrams of an ARKit app, each behind its length.
pub fn arkit(bytes: &[u8]) -> usize {
    use phone::packet::{Datagram, encode, parse};
    let devices = ["/tracker/phone/pose", "/camera/phone/image", "/imu/phone"]
        .map(|stream| device(stream, phone::DRIVER.name));
    let (mut source, sender, to) = open(&phone::DRIVER, &devices);
    let mut understood = 0;
    for datagram in super::parts(bytes) {
        let read = parse(datagram);
        // As text, because of numbers that are none.
        if let Some(read) = &read {
            understood += 1;
            let again = parse(&encode(read));
            assert_eq!(format!("{again:?}"), format!("{:?}", Some(read)));
        }
        if sender.send_to(datagram, to).is_err() {
            continue;
        }
        let mut out = Output::default();
        source.read(&mut out).expect("a socket");
        let of_imu = match &read {
            Some(Datagram::Imu(imu)) => imu.samples.len() as u64,
            _ => 0,
        };
        assert_eq!(outcomes(&out, 2), of_imu, "each is a sample or a loss");
        let of_tracker = u64::from(matches!(read, Some(Datagram::Moment(_))));
        assert_eq!(outcomes(&out, 0), of_tracker, "each is a sample or a loss");
        for (stream, item) in &out.items {
            match item {
                Item::Sample(sample) if *stream == 1 => match &sample.data {
                    Data::Image(image) => assert!(is_whole_jpeg(&image.data)),
                    other => panic!("{other:?} of a camera"),
                },
                item => sane(item),
            }
        }
    }
    understood
}

fn device(stream: &str, driver: &str) -> Device {
    Device::new(stream, driver, "")
}

/// Opens a driver on a port of this computer that is free.
fn open(driver: &Driver, devices: &[Device]) -> (Box<dyn Source>, UdpSocket, SocketAddr) {
    // Between finding a port and opening it again nobody else here may.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    (0..100)
        .find_map(|_| {
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            let to = free.local_addr().expect("an address");
            drop(free);
            let mut devices = devices.to_vec();
            for device in &mut devices {
                device.address = to.to_string();
            }
            let source = (driver.open)(&devices).ok()?;
            Some((source, sender.try_clone().expect("a socket"), to))
        })
        .expect("a free port")
}

/// Samples and losses of a stream.
fn outcomes(out: &Output, stream: usize) -> u64 {
    let of_stream = out.items.iter().filter(|(of, _)| *of == stream);
    of_stream
        .map(|(_, item)| match item {
            Item::Sample(_) => 1,
            Item::Lost { count, .. } => *count,
            _ => 0,
        })
        .sum()
}

fn datagrams(
    bytes: &[u8],
    driver: &Driver,
    devices: &[Device],
    parse: Parse,
    each: impl Fn(&Packet),
) -> usize {
    let names = |stream: &str| -> Vec<String> {
        let short = stream.split('/').nth(2).unwrap_or_default().to_owned();
        vec![stream.to_owned(), short]
    };
    let taken: Vec<String> = devices
        .iter()
        .flat_map(|device| match &device.source {
            Some(source) => vec![source.clone()],
            None if device.stream.contains("/force/") => {
                vec![device.stream.clone(), "right_thumb".to_owned()]
            }
            None => names(&device.stream),
        })
        .collect();
    let mut samples = 0;
    let (mut source, sender, to) = open(driver, devices);
    for datagram in super::parts(bytes) {
        let (read, meant) = match parse(datagram) {
            Ok(messages) => {
                let packets = messages.iter().filter_map(|message| match message {
                    Message::Sample(packet) => Some(packet),
                    _ => None,
                });
                let packets: Vec<&Packet> = packets.collect();
                packets.iter().for_each(|packet| each(packet));
                let meant = packets.iter().filter(|p| taken.contains(&p.name)).count();
                (packets.len(), meant as u64)
            }
            Err(_) => (0, 1),
        };
        samples += read;
        if sender.send_to(datagram, to).is_err() {
            continue;
        }
        let mut out = Output::default();
        source.read(&mut out).expect("a socket");
        let total: u64 = (0..devices.len())
            .map(|stream| outcomes(&out, stream))
            .sum();
        assert_eq!(total, meant, "each packet is a sample or a loss");
        out.items.iter().for_each(|(_, item)| sane(item));
    }
    samples
}

/// What is written reads back the same.
fn again(packet: &Packet, written: &[u8], parse: Parse) {
    let text = || String::from_utf8_lossy(written).into_owned();
    let read = parse(written).unwrap_or_else(|problem| panic!("{problem}: {}", text()));
    let [Message::Sample(read)] = &read[..] else {
        panic!("one sample: {}", text());
    };
    assert_eq!((&read.name, read.sequence), (&packet.name, packet.sequence));
    assert_eq!(read.time_ns.is_some(), packet.time_ns.is_some());
}

/// What a sample can be at all.
fn sane(item: &Item) {
    let Item::Sample(sample) = item else { return };
    let seen_or_not = |p: &[f64; 3]| is_point(p) || p.iter().all(|v| v.is_nan());
    match &sample.data {
        Data::Pose {
            position_m,
            rotation_xyzw,
            mean_error_m,
            ..
        } => assert!(is_pose(position_m, rotation_xyzw) && mean_error_m.is_finite()),
        Data::Keypoints {
            points_m, joints, ..
        } => {
            assert!(points_m.len() == 21 && points_m.iter().all(seen_or_not));
            for joint in joints {
                assert!(seen_or_not(&joint.position_m));
                assert!(super::is_rotation(&joint.rotation_xyzw));
            }
        }
        Data::Markers { points_m } => assert!(points_m.iter().all(seen_or_not)),
        Data::Imu {
            acceleration_m_s2: a,
            angular_velocity_rad_s: w,
        } => assert!(a.iter().chain(w).all(|v| v.is_finite())),
        Data::Encoders { counts, .. } => assert!(counts.len() < 65_536),
        Data::Force { .. } => {}
        Data::Image(_) => panic!("an image by UDP"),
    }
}
