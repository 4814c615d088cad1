//! iPhones: usbmuxd's answers, and what Record3D sends through it.

use bytes::Bytes;
use dexumi_capture::driver::axes;
use dexumi_capture::driver::record3d::{
    protocol::{self, Framer, HEADER_BYTES},
    usbmux,
};

/// An answer of usbmuxd; without the header where the first byte is odd.
pub fn usbmux(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let value = match mode % 2 {
        0 => usbmux::read_answer(&mut &bytes[..]).ok(),
        _ => usbmux::parse(&String::from_utf8_lossy(bytes)),
    };
    let Some(value) = value else { return 0 };
    let phones = usbmux::phones(&value);
    for phone in &phones {
        assert!(!phone.udid.contains('-'));
        let chosen = usbmux::choose(&phones, &phone.udid);
        // A phone without a name is that of whoever asks for any.
        assert!(phone.udid.is_empty() || chosen.is_ok());
    }
    let _ = usbmux::choose(&phones, "");
    1
}

/// How it is to be read, how many bytes a read brings, then the bytes of a
/// connection, or the body of one packet.
pub fn record3d(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let mut wire = Vec::new();
    if mode % 2 == 1 {
        wire.extend([0; 12]);
        wire.extend((bytes.len() as u32).to_be_bytes());
    }
    wire.extend(bytes);
    let mut framer = Framer::default();
    let (mut used, mut packets) = (0, 0);
    'reads: for part in wire.chunks(cut) {
        framer.push(part);
        loop {
            match framer.pull() {
                Ok(Some(body)) => {
                    assert_eq!(body, wire[used + HEADER_BYTES..][..body.len()]);
                    used += HEADER_BYTES + body.len();
                    packets += self::packet(body);
                }
                Ok(None) => break,
                Err(_) => break 'reads,
            }
        }
    }
    packets
}

fn packet(body: Bytes) -> usize {
    let Some(packet) = protocol::parse(body.clone()) else {
        return 0;
    };
    // All parts are where they were, and nothing but reserved bytes follows.
    let again = protocol::encode(&packet);
    assert!(body.starts_with(&again[HEADER_BYTES..]));
    if let Some(pose) = protocol::world_from_camera(&packet) {
        let (position, rotation) = (pose.translation.vector, pose.rotation.coords);
        assert!(position.iter().all(|v| v.is_finite()));
        assert!((rotation.norm() - 1.0).abs() < 1e-6);
        let (back, _) = axes::opengl_camera(&pose);
        let error = back.iter().zip(packet.position_m);
        let scale = packet
            .position_m
            .iter()
            .fold(1.0_f32, |m, v| m.max(v.abs()));
        assert!(
            error
                .into_iter()
                .all(|(a, b)| (*a as f32 - b).abs() <= 1e-5 * scale)
        );
    }
    unpacked(&packet.depth, packet.depth_size);
    1
}

fn unpacked(packed: &[u8], size: [u32; 2]) -> usize {
    let Some(depths) = protocol::unpack_depth(packed, size) else {
        return 0;
    };
    assert_eq!(depths.len() as u64, u64::from(size[0]) * u64::from(size[1]));
    1
}

/// Width and height, a byte each, then depths as LZFSE has packed them.
pub fn depth(mut bytes: &[u8]) -> usize {
    let size = [super::byte(&mut bytes), super::byte(&mut bytes)].map(u32::from);
    unpacked(bytes, size)
}
