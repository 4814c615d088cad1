//! Images: HTTP multipart, the end of a JPEG, ffmpeg's container.

use std::io::BufReader;

use dexumi_capture::{
    driver::{
        ffmpeg::nut::{Found, NutError, Parser},
        mjpeg_http::{encode_part, read_part},
    },
    jpeg::{Defect, walk},
};

/// How many bytes a read brings, then what a camera sends behind its answer.
pub fn multipart(mut bytes: &[u8]) -> usize {
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let mut reader = BufReader::with_capacity(cut, bytes);
    let (mut parts, mut total) = (0, 0);
    while let Ok(part) = read_part(&mut reader) {
        parts += 1;
        total += part.jpeg.len();
        assert!(total <= bytes.len());
        let timestamp_s = part.timestamp_ns.map(|ns| ns as f64 * 1e-9);
        let again = read_part(&mut &encode_part(&part.jpeg, timestamp_s)[..]).expect("our own");
        assert_eq!(again.jpeg, part.jpeg);
        match (again.timestamp_ns, part.timestamp_ns) {
            (None, None) => {}
            // Microseconds, and what a double has left of them.
            (Some(again), Some(ns)) => {
                let room = 1_000 + ns.unsigned_abs() / (1 << 50);
                assert!(again.abs_diff(ns) <= room, "{again} {ns}");
            }
            // At the ends of the range.
            (again, Some(ns)) => assert!(again.is_none() && ns.unsigned_abs() > 1 << 62),
            (Some(_), None) => panic!("a time from nowhere"),
        }
    }
    parts
}

/// A camera's buffer.
pub fn jpeg(bytes: &[u8]) -> usize {
    let Ok(found) = walk(bytes) else { return 0 };
    let image = &bytes[..found.length];
    assert!(image.starts_with(&[0xFF, 0xD8]) && image.ends_with(&[0xFF, 0xD9]));
    // It is whole by itself, and not before its last byte.
    assert_eq!(walk(image), Ok(found));
    assert_eq!(walk(&image[..image.len() - 1]), Err(Defect::Truncated));
    assert!(found.width > 0);
    1
}

const STARTCODES: [u64; 4] = [
    0x4E4D_7A56_1F5F_04AD,
    0x4E53_1140_5BF2_F9DB,
    0x4E4B_E4AD_EECA_4569,
    0x4E58_DD67_2F23_E64E,
];

/// How it is to be read, how many bytes a read brings, then the bytes, or parts
/// that become headers with a checksum that fits (kind, body) or stay as they are.
pub fn nut(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let wire = match mode % 2 {
        0 => bytes.to_vec(),
        _ => {
            let parts = super::parts(bytes);
            let headers = parts.into_iter().flat_map(header);
            b"nut/multimedia container\0"
                .iter()
                .copied()
                .chain(headers)
                .collect()
        }
    };
    let (all, ended) = found(&wire, wire.len().max(1));
    // However it is cut, it is the same.
    assert_eq!((&all, ended), (&found(&wire, cut).0, found(&wire, cut).1));
    all.len()
}

fn header(mut part: &[u8]) -> Vec<u8> {
    let Some(code) = STARTCODES.get(usize::from(super::byte(&mut part))) else {
        return part.to_vec();
    };
    let length = part.len() + 4;
    let mut bytes = code.to_be_bytes().to_vec();
    // Three groups of seven bits: parts are below 64 kB.
    bytes.extend([
        (length >> 14) as u8 | 0x80,
        (length >> 7) as u8 & 0x7F | 0x80,
        length as u8 & 0x7F,
    ]);
    if length > 4096 {
        bytes.extend(crc(&bytes).to_be_bytes());
    }
    bytes.extend(part);
    bytes.extend(crc(part).to_be_bytes());
    bytes
}

/// CRC-32 of NUT: polynomial 0x04C11DB7, most significant bit first, from zero.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

/// Headers and packets (as time stamp, length, checksum), and why it ended.
fn found(wire: &[u8], cut: usize) -> (Vec<String>, Option<NutError>) {
    let mut parser = Parser::default();
    let (mut all, mut given) = (Vec::new(), 0);
    for part in wire.chunks(cut) {
        parser.push(part);
        given += part.len();
        loop {
            match parser.pull() {
                Ok(Some(Found::Packet { pts, data })) => {
                    // Of its bytes some may stand in a header, once for all.
                    assert!(data.len() <= given);
                    all.push(format!(
                        "{pts} {} {:08x}",
                        data.len(),
                        crc32fast::hash(&data)
                    ));
                }
                Ok(Some(stream)) => all.push(format!("{stream:?}")),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}
