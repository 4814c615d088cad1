//! Bytes of records and of answers.

use proptest::prelude::*;

use super::{
    fastrak, patriot,
    record::{Format, Found, Item, Model, Record, Search, decode, encode},
};

const KINDS: [(Model, Format); 4] = [
    (Model::Fastrak, Format::Binary),
    (Model::Fastrak, Format::Ascii),
    (Model::Patriot, Format::Binary),
    (Model::Patriot, Format::Ascii),
];

fn record(model: Model) -> Record {
    let has = |number: u32| (model == Model::Patriot).then_some(number);
    Record {
        station: 2,
        error: b' ',
        time_ms: has(123_456),
        count: has(7_407),
        position_cm: [12.5, -100.25, 3.0],
        rotation_xyzw: [0.0, 0.6, 0.0, -0.8],
    }
}

fn ours(model: Model, format: Format, record: &Record) -> Vec<u8> {
    encode(model, format, model.items(), record)
}

#[test]
fn golden_records() {
    let floats: Vec<u8> = [12.5_f32, -100.25, 3.0, -0.8, 0.0, 0.6, 0.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let fastrak = record(Model::Fastrak);
    assert_eq!(
        ours(Model::Fastrak, Format::Binary, &fastrak),
        [b"02 ", &floats[..], b"\r\n"].concat()
    );
    assert_eq!(
        ours(Model::Fastrak, Format::Ascii, &fastrak),
        b"02   12.50-100.25   3.00-0.8000 0.0000 0.6000 0.0000\r\n"
    );
    let patriot = record(Model::Patriot);
    let stamps = [123_456_u32.to_le_bytes(), 7_407_u32.to_le_bytes()].concat();
    assert_eq!(
        ours(Model::Patriot, Format::Binary, &patriot),
        [b"PA\x02C \0\x26\0", &stamps[..], &floats, b"\r\n"].concat()
    );
    assert_eq!(
        ours(Model::Patriot, Format::Ascii, &patriot),
        b"02     123456       7407   12.50-100.25   3.00-0.8000 0.0000 0.6000 0.0000\r\n"
    );
    for (model, format) in KINDS {
        let got = decode(model, format, &ours(model, format, &record(model))).expect("a record");
        assert_eq!((got.station, got.time_ms), (2, record(model).time_ms));
        assert!((got.rotation_xyzw[3] + 0.8).abs() < 1e-6);
        assert_eq!(got.position_cm, record(model).position_cm);
    }
    // A Liberty differs in two letters; extended precision is text like any.
    let mut liberty = ours(Model::Patriot, Format::Binary, &patriot);
    liberty[..2].copy_from_slice(b"LY");
    assert!(decode(Model::Patriot, Format::Binary, &liberty).is_some());
    let extended = b"01  1.25000E+01 -1.00250E+02  3.00000E+00  1.00000E+00 0.00000E-03 0.00000E+00 0.00000E+00\r\n";
    let extended = decode(Model::Fastrak, Format::Ascii, extended).expect("a record");
    assert_eq!(extended.position_cm, [12.5, -100.25, 3.0]);
}

#[test]
fn output_lists_are_those_of_the_manuals() {
    assert_eq!(Model::Fastrak.list(), "2,11,1");
    assert_eq!(Model::Patriot.list(), "8,9,2,7,1");
    assert_eq!(
        Model::Fastrak.read_list("2,4,1"),
        Some(vec![Item::Position, Item::Euler, Item::LineEnd])
    );
    assert_eq!(Model::Fastrak.read_list("8"), None);
    assert_eq!(
        (Model::Fastrak.binary_bytes(), Model::Patriot.binary_bytes()),
        (33, 46)
    );
}

#[test]
fn what_cannot_be_a_record_is_none() {
    for (model, format) in KINDS {
        let none = |change: &dyn Fn(&mut Record)| {
            let mut record = record(model);
            change(&mut record);
            let bytes = ours(model, format, &record);
            assert_eq!(decode(model, format, &bytes), None, "{record:?}");
        };
        none(&|r| r.rotation_xyzw[3] = 0.7);
        none(&|r| r.position_cm[0] = 2e4);
        none(&|r| r.position_cm[0] = f64::NAN);
        none(&|r| r.station = 0);
    }
}

#[test]
fn answers_are_found_among_records() {
    let noise = ours(Model::Fastrak, Format::Ascii, &record(Model::Fastrak));
    let status = format!("21S3F3  0   1  {:6}{:32}\r\n", "1.23", "serial 42");
    let heard = [&noise[..], status.as_bytes(), b"21l1101\r\n"].concat();
    let found = fastrak::status(&heard).expect("a status");
    assert_eq!(found.flags, 0x3F3);
    assert_eq!(
        (found.version.trim(), found.identification.trim()),
        ("1.23", "serial 42")
    );
    assert_eq!(fastrak::active_stations(&heard), Some(vec![1, 2, 4]));
    assert_eq!(fastrak::status(&heard[..heard.len() - 12]), None);

    let heard = [
        &ours(Model::Patriot, Format::Binary, &record(Model::Patriot))[..],
        b"xPA\x01\x15\0\0\x04\0\x03\0\x01\0PA\x01O\x03\0\0\0PA\x01\x16\0\0\xFF",
    ]
    .concat();
    let answers = patriot::answers(&heard);
    assert_eq!(answers.len(), 3, "the last is not complete");
    assert_eq!(answers[1].body, [3, 0, 1, 0]);
    assert_eq!(
        patriot::error_name(answers[2].error),
        Some("invalid parameter")
    );
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        station in 1_u8..=4, error in b' '..=b'~', time: u32, count: u32,
        p in proptest::array::uniform3(-30_000_i32..30_000), q in proptest::array::uniform4(-1.0..1.0_f64),
    ) {
        let norm = q.iter().map(|v| v * v).sum::<f64>().sqrt();
        prop_assume!(norm > 0.1);
        for (model, format) in KINDS {
            let has = |number: u32| (model == Model::Patriot).then_some(number);
            let meant = Record {
                station,
                error,
                time_ms: has(time),
                count: has(count),
                position_cm: p.map(|v| f64::from(v) * 0.01),
                rotation_xyzw: q.map(|v| v / norm),
            };
            let got = decode(model, format, &ours(model, format, &meant)).expect("a record");
            prop_assert_eq!((got.station, got.error, got.time_ms, got.count), (meant.station, error, meant.time_ms, meant.count));
            for (got, meant) in got.position_cm.iter().zip(meant.position_cm) {
                prop_assert!((got - meant).abs() < 1e-4, "{got} {meant}");
            }
            for (got, meant) in got.rotation_xyzw.iter().zip(meant.rotation_xyzw) {
                prop_assert!((got - meant).abs() < 6e-5, "{got} {meant}");
            }
        }
    }

    #[test]
    fn garbage_never_panics_and_every_byte_is_accounted_for(
        parts in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            Just(ours(Model::Fastrak, Format::Binary, &record(Model::Fastrak))),
            Just(ours(Model::Patriot, Format::Ascii, &record(Model::Patriot))),
            Just(ours(Model::Patriot, Format::Binary, &record(Model::Patriot))),
            Just(b"\r\n".to_vec()),
        ], 0..20),
        cut in 1_usize..50,
    ) {
        let bytes = parts.concat();
        let _ = (fastrak::status(&bytes), fastrak::active_stations(&bytes), patriot::answers(&bytes));
        for (model, format) in KINDS {
            let mut search = Search::new(model, format);
            let (mut records, mut skipped) = (0, 0);
            let mut take = |found: Found| match found {
                Found::Record(..) => records += 1,
                Found::Skipped { bytes, .. } => skipped += bytes,
            };
            for part in bytes.chunks(cut) {
                search.push(part, &mut take);
            }
            // To the end, with a whole record behind.
            let last = ours(model, format, &record(model));
            search.push(b"\r\n", &mut take);
            search.push(&last, &mut take);
            prop_assert!(skipped <= bytes.len() + 2);
            if format == Format::Binary {
                prop_assert_eq!(records * last.len() + skipped, bytes.len() + 2 + last.len());
            }
        }
    }
}
