//! A stream of JPEGs in NUT, for the emulator.

use super::{FILE_ID, MAIN, STREAM, SYNCPOINT, cursor::crc, flag};

fn put_v(bytes: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        bytes.push((value >> (7 * group)) as u8 & 0x7F | more);
    }
}

fn put_header(bytes: &mut Vec<u8>, code: u64, body: &[u8]) {
    bytes.extend(code.to_be_bytes());
    put_v(bytes, body.len() as u64 + 4);
    bytes.extend(body);
    bytes.extend(crc(body).to_be_bytes());
}

fn numbers(values: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|&value| put_v(&mut bytes, value));
    bytes
}

/// The beginning of a stream of JPEGs with microseconds as time stamps.
pub fn encode_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = FILE_ID.to_vec();
    // Version, one stream, a distance that any image fits, one time base, then the
    // frame codes: the first is invalid, all others have everything written out.
    let plain = flag::CODED_PTS | flag::SIZE_MSB | flag::CHECKSUM | 1;
    let main = [
        &[3, 1, 65_536, 1, 1, 1_000_000][..],
        &[flag::INVALID, 6, 0, 1, 0, 0, 0, 1],
        &[plain, 6, 0, 1, 0, 0, 0, 254],
        &[0, 0],
    ];
    put_header(&mut bytes, MAIN, &numbers(&main.concat()));
    let mut stream = numbers(&[0, 0, 4]);
    stream.extend(b"MJPG");
    let size = [u64::from(width), u64::from(height)];
    stream.extend(numbers(&[
        0, 7, 1_000_000, 0, 0, 0, size[0], size[1], 0, 0, 0,
    ]));
    put_header(&mut bytes, STREAM, &stream);
    bytes
}

/// One image, behind a synchronisation point.
pub fn encode_packet(micros: u64, jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(jpeg.len() + 64);
    put_header(&mut bytes, SYNCPOINT, &numbers(&[micros, 0]));
    // Code 1: all of the time stamp, the size, the checksum of both.
    let mut head = vec![1];
    put_v(&mut head, micros + (1 << 7));
    put_v(&mut head, jpeg.len() as u64);
    let crc = crc(&head);
    bytes.extend(head);
    bytes.extend(crc.to_be_bytes());
    bytes.extend_from_slice(jpeg);
    bytes
}
