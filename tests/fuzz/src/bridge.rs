//! The packet between a bridge and the driver, and its payloads.

use dexumi_capture::driver::bridge::{
    packet::{Found, HEADER_BYTES, Kind, NO_STREAM, Packet, Parser, encode},
    payload::{
        Hello, StreamHello, Take, decode_hand, decode_image, decode_imu, decode_pose, encode_image,
        encode_imu, encode_pose, encoding, fits,
    },
};

/// How it is to be read, how many bytes a read brings, then the bytes, or parts
/// that become packets with checksums that fit: kind, stream, flags, times,
/// payload.
pub fn stream(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let wire = match mode % 2 {
        0 => bytes.to_vec(),
        _ => super::parts(bytes).into_iter().flat_map(packet).collect(),
    };
    let mut parser = Parser::default();
    let (mut packets, mut accounted) = (0, 0);
    let mut hello = None;
    for part in wire.chunks(cut) {
        parser.push(part);
        while let Some(found) = parser.pull() {
            match found {
                Found::Packet(packet) => {
                    packets += 1;
                    accounted += HEADER_BYTES + packet.payload.len();
                    read(&packet, &mut hello);
                    let mut again = Parser::default();
                    again.push(&encode(&packet));
                    assert_eq!(again.pull(), Some(Found::Packet(packet)));
                }
                Found::Damaged { .. } | Found::Version(_) => accounted += HEADER_BYTES,
                Found::Discarded(bytes) => {
                    assert!(bytes > 0);
                    accounted += bytes as usize;
                }
            }
            assert!(accounted <= wire.len());
        }
    }
    packets
}

fn packet(mut part: &[u8]) -> Vec<u8> {
    let mut next = || super::byte(&mut part);
    let kind = Kind::ALL
        .get(usize::from(next()))
        .map_or(0x77, |&kind| kind as u8);
    let stream = match next() {
        0xFF => NO_STREAM,
        place => place.into(),
    };
    let flags = next();
    let time = i64::from_le_bytes(std::array::from_fn(|_| next()));
    encode(&Packet {
        kind,
        stream,
        device_ns: (flags & 1 != 0).then_some(time),
        sent_ns: (flags & 2 != 0).then_some(!time),
        sequence: time as u64 >> 3,
        exposure_us: (flags & 4 != 0).then_some(time as u32),
        valid: flags & 8 != 0,
        warning: flags & 16 != 0,
        payload: bytes::Bytes::copy_from_slice(part),
    })
}

fn read(packet: &Packet, hello: &mut Option<Hello>) {
    let payload = packet.payload.clone();
    let bytes = payload.len();
    match Kind::of(packet.kind) {
        Some(Kind::Hello) => {
            if let Ok(read) = serde_json::from_slice::<Hello>(&payload) {
                let text = serde_json::to_vec(&read).expect("JSON");
                assert_eq!(
                    serde_json::from_slice::<Hello>(&text).expect("our own"),
                    read
                );
                *hello = Some(read);
            }
        }
        Some(Kind::Take) => drop(serde_json::from_slice::<Take>(&payload)),
        Some(Kind::Jpeg | Kind::Raw | Kind::Depth) => {
            let Some((head, image)) = decode_image(payload.clone()) else {
                return;
            };
            assert_eq!(encode_image(&head, &image), payload);
            for name in ["mono8", "mono16", "yuyv", "nv12", "rgba8", "none"] {
                if fits(name, &head, image.len()) {
                    assert!(encoding(name).is_some());
                    assert!(u64::from(head.width) * u64::from(head.height) <= image.len() as u64);
                }
            }
        }
        Some(Kind::Imu) => {
            if let Some((a, w)) = decode_imu(payload.clone()) {
                assert!(a.iter().chain(&w).all(|v| v.is_finite()));
                assert_eq!(encode_imu(a, w), payload);
            }
        }
        Some(Kind::Pose) => {
            if let Some(pose) = decode_pose(payload.clone()) {
                assert!(pose.position_m.iter().all(|v| v.is_finite()));
                assert!(super::is_rotation(&pose.rotation_xyzw));
                assert_eq!(encode_pose(&pose), payload);
            }
        }
        Some(Kind::Hand) => {
            let unknown = StreamHello::default();
            let streams = hello.iter().flat_map(|hello| &hello.streams);
            for hello in streams.chain([&unknown]) {
                if let Some((points, joints)) = decode_hand(payload.clone(), hello) {
                    assert!(points.len() == 21 && 28 * joints.len() <= bytes);
                    assert!(joints.iter().all(|j| super::is_rotation(&j.rotation_xyzw)));
                }
            }
        }
        _ => {}
    }
}
