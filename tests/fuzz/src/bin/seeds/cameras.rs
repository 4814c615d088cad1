//! Images, and the streams that carry them.

use dexumi_capture::driver::{ffmpeg::nut, mjpeg_http};

use crate::{Seeds, part};

/// A JPEG by hand: a comment, a frame of 8 × 16, a scan with a stuffed byte and a
/// restart marker.
pub fn whole_jpeg() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xFE, 0, 4, b'h', b'i'];
    bytes.extend([0xFF, 0xC4, 0, 3, 0]);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 8, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.extend([7, 0xFF, 0, 9, 0xFF, 0xD3, 4, 0xFF, 0xD9]);
    bytes
}

pub fn cameras(seeds: &Seeds) {
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
    let golden = include_bytes!("../../../../../capture/tests/golden/mjpeg.nut");
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
