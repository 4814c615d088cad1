//! The dexumi board protocol: its lines, its descriptions, a whole connection.

use dexumi_capture::driver::{
    Chunk, Data, Item, Output,
    board::{
        Link,
        describe::{Board, Channel},
        protocol::{Deframer, Found, Kind, MAX_PAYLOAD_BYTES, Packet, Refusal},
    },
};
use dexumi_episode::{Device, HostTime};

const KINDS: [Kind; 7] = [
    Kind::Sample,
    Kind::Board,
    Kind::Channel,
    Kind::Pong,
    Kind::Text,
    Kind::Describe,
    Kind::Ping,
];

/// How it is to be read, how many bytes a read brings, then the bytes of a line,
/// or parts that become packets with a checksum that fits: kind, channel,
/// sequence, time, payload.
pub fn stream(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let line = match mode % 2 {
        0 => bytes.to_vec(),
        _ => super::parts(bytes).into_iter().flat_map(packet).collect(),
    };
    let understood = lines(&line, cut);
    connection(&line, cut);
    understood
}

fn packet(mut part: &[u8]) -> Vec<u8> {
    let kind = KINDS[usize::from(super::byte(&mut part)) % KINDS.len()];
    let channel = super::byte(&mut part);
    let mut word = || u16::from_le_bytes([super::byte(&mut part), super::byte(&mut part)]);
    let (sequence, low, high) = (word(), word(), word());
    let packet = Packet {
        kind,
        channel,
        sequence,
        time_us: u32::from(high) << 16 | u32::from(low),
        payload: part[..part.len().min(MAX_PAYLOAD_BYTES)].to_vec(),
    };
    packet.encode()
}

fn lines(bytes: &[u8], cut: usize) -> usize {
    let mut deframer = Deframer::default();
    let mut all = Vec::new();
    for part in bytes.chunks(cut) {
        deframer.push(part, |found| all.push(found));
    }
    // Each line that has ended is one thing, and says its length.
    let mut ended: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
    ended.pop();
    ended.retain(|line| !line.is_empty());
    assert_eq!(all.len(), ended.len());
    let mut packets = 0;
    for (found, line) in all.into_iter().zip(ended) {
        match found {
            Found::Packet { packet, after } => {
                packets += 1;
                assert!(after < cut);
                described(&packet);
                assert_eq!(Packet::decode(line).as_ref(), Ok(&packet));
                let again = packet.encode();
                let again = &again[..again.len() - 1];
                // Behind a full last block some write that no zero follows.
                assert!(line == again || line.strip_suffix(&[1]) == Some(again));
            }
            Found::Unknown(length) | Found::Corrupt(length) => {
                assert_eq!(length, line.len() + 1);
                assert!(matches!(
                    Packet::decode(line),
                    Err(Refusal::Corrupt | Refusal::Unknown)
                ));
            }
        }
    }
    packets
}

/// Descriptions that are read say the same when they are written.
fn described(packet: &Packet) {
    if let Some(Ok(board)) = &Board::decode(&packet.payload) {
        let mut texts = [&board.name, &board.firmware, &board.serial].into_iter();
        if texts.all(|text| text.len() < 256) {
            assert_eq!(Board::decode(&board.encode()), Some(Ok(board.clone())));
        }
    }
    if let Some(channel) = Channel::decode(&packet.payload) {
        // Text that is no UTF-8 becomes longer, and may not fit any more.
        let mut texts = channel.fields.iter().map(|field| &field.unit);
        if channel.name.len() < 256 && texts.all(|text| text.len() < 256) {
            let again = Channel::decode(&channel.encode());
            assert_eq!(format!("{again:?}"), format!("{:?}", Some(&channel)));
        }
        let feeds = channel.feeds();
        if let Ok(feeds) = feeds {
            let data = channel.read(feeds, &vec![0; channel.bytes()]);
            assert!(data.is_some());
        }
    }
}

fn connection(bytes: &[u8], cut: usize) {
    let devices = [
        "/exo/right/encoders",
        "/exo/right/force/thumb",
        "/imu/wrist",
    ]
    .map(|stream| Device::new(stream, "dexumi_board", "/dev/ttyX"));
    let mut link = Link::new(HostTime::from_nanos(0));
    let mut out = Output::default();
    let mut attached = false;
    for (read, part) in bytes.chunks(cut).enumerate() {
        let arrival = HostTime::from_nanos(read as i64 * 5_000_000);
        let _ = link.outgoing(arrival, &mut out);
        let chunk = Chunk {
            bytes: part,
            arrival,
            uart_baud: None,
        };
        link.push(&chunk, &mut out);
        if link.ended.is_some() {
            break;
        }
        if link.is_described() && !attached {
            attached = link.attach(&devices, &mut out).is_ok()
                || devices
                    .chunks(1)
                    .any(|device| link.attach(device, &mut out).is_ok());
        }
    }
    assert!(link.bytes <= bytes.len() as u64);
    let discarded = out.items.iter().map(|(_, item)| match item {
        Item::Discarded { bytes } => *bytes,
        _ => 0,
    });
    assert!(discarded.sum::<u64>() <= link.bytes);
    for (_, item) in &out.items {
        if let Item::Sample(sample) = item
            && let Data::Imu {
                acceleration_m_s2: a,
                angular_velocity_rad_s: w,
            } = &sample.data
        {
            assert!(a.iter().chain(w).all(|v| v.is_finite()), "{a:?} {w:?}");
        }
    }
}
