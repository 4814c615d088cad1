//! The container against what ffmpeg wrote, against itself, and damaged.

use proptest::prelude::*;

use super::*;

/// `ffmpeg -f lavfi -i color=size=16x16:rate=10:color=gray -t 0.3 -c:v mjpeg
/// -fflags +bitexact -flags:v +bitexact -f nut -write_index 0`, by ffmpeg 5.1.
const GOLDEN: &[u8] = include_bytes!("../../../../tests/golden/mjpeg.nut");

fn all(parser: &mut Parser) -> Result<Vec<Found>, NutError> {
    std::iter::from_fn(|| parser.pull().transpose()).collect()
}

fn golden() -> Vec<Found> {
    let mut parser = Parser::default();
    parser.push(GOLDEN);
    all(&mut parser).expect("what ffmpeg wrote")
}

#[test]
fn what_ffmpeg_writes_is_read() {
    let found = golden();
    let stream = Found::Stream {
        fourcc: *b"MJPG",
        width: 16,
        height: 16,
        time_base: (1, 81_920),
    };
    assert_eq!((found.len(), &found[0]), (4, &stream));
    for (number, packet) in found[1..].iter().enumerate() {
        let Found::Packet { pts, data } = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(*pts, 8192 * number as i64, "a tenth of a second each");
        assert!(data.starts_with(&[0xFF, 0xD8]) && data.ends_with(&[0xFF, 0xD9]));
    }
}

#[test]
fn a_flipped_bit_of_a_header_is_seen() {
    // Of the main header, the stream's, a synchronisation point.
    for at in [40, 0x78, 0xE4] {
        let mut bytes = GOLDEN.to_vec();
        bytes[at] ^= 1;
        let mut parser = Parser::default();
        parser.push(&bytes);
        assert!(
            matches!(all(&mut parser), Err(NutError::Checksum { .. })),
            "byte {at}"
        );
    }
    let mut parser = Parser::default();
    parser.push(b"nut/mp4");
    assert_eq!(parser.pull(), Err(NutError::Foreign));
}

#[test]
fn time_stamps_are_completed_from_their_low_bits() {
    let stream = |last_pts| Stream {
        time_base: (1, 90_000),
        msb_pts_shift: 7,
        last_pts,
    };
    assert_eq!(stream(1000).pts(1000 & 127), Some(1000));
    assert_eq!(stream(1000).pts(1063 & 127), Some(1063));
    assert_eq!(stream(1000).pts(938 & 127), Some(938), "a little back");
    assert_eq!(stream(1000).pts(128 + 77), Some(77), "in full");
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(images in proptest::collection::vec((0_u64..1 << 50, proptest::collection::vec(any::<u8>(), 1..50)), 1..6)) {
        let mut parser = Parser::default();
        parser.push(&encode_header(8, 9));
        images.iter().for_each(|(micros, jpeg)| parser.push(&encode_packet(*micros, jpeg)));
        let found = all(&mut parser).expect("our own");
        let stream = Found::Stream { fourcc: *b"MJPG", width: 8, height: 9, time_base: (1, 1_000_000) };
        prop_assert_eq!(&found[0], &stream);
        let packets = images.into_iter().map(|(micros, jpeg)| Found::Packet { pts: micros as i64, data: jpeg.into() });
        prop_assert_eq!(&found[1..], &packets.collect::<Vec<_>>()[..]);
    }

    #[test]
    fn it_reads_the_same_however_it_is_cut(cut in 1_usize..200) {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in GOLDEN.chunks(cut) {
            parser.push(piece);
            found.extend(all(&mut parser).expect("what ffmpeg wrote"));
        }
        prop_assert_eq!(found, golden());
    }

    #[test]
    fn damage_never_panics(changes in proptest::collection::vec((0..GOLDEN.len(), any::<u8>()), 1..6)) {
        let mut bytes = GOLDEN.to_vec();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let mut parser = Parser::default();
        parser.push(&bytes);
        let _ = all(&mut parser);
    }

    #[test]
    fn wrong_headers_with_right_checksums_never_panic(
        code in prop_oneof![Just(MAIN), Just(STREAM), Just(SYNCPOINT)],
        body in proptest::collection::vec(any::<u8>(), 0..200),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut parser = Parser::default();
        parser.push(GOLDEN);
        let _ = all(&mut parser);
        let mut bytes = code.to_be_bytes().to_vec();
        let length = body.len() as u64 + 4;
        bytes.extend(if length < 128 { vec![length as u8] } else { vec![0x80 | (length >> 7) as u8, (length & 127) as u8] });
        bytes.extend(&body);
        bytes.extend(crc(&body).to_be_bytes());
        bytes.extend(&tail);
        parser.push(&bytes);
        let _ = all(&mut parser);
    }
}
