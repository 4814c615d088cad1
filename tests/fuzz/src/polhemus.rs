//! Records of Polhemus trackers, which have no checksum.

use dexumi_capture::driver::polhemus::record::{
    Format, Found, Model, Record, Search, decode, encode,
};

/// Which tracker and format, how many bytes a read brings, then the bytes.
pub fn records(mut bytes: &[u8]) -> usize {
    let mode = super::byte(&mut bytes);
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let model = [Model::Fastrak, Model::Patriot][usize::from(mode & 1)];
    let format = [Format::Binary, Format::Ascii][usize::from(mode >> 1 & 1)];
    let mut search = Search::new(model, format);
    let (mut records, mut skipped, mut damaged) = (Vec::new(), 0, 0);
    let mut count = |found: Found, cut: usize| match found {
        Found::Record(record, after) => {
            assert!(after < cut);
            records.push(record);
        }
        Found::Skipped { bytes, records } => {
            skipped += bytes;
            damaged += records;
        }
    };
    for part in bytes.chunks(cut) {
        search.push(part, |found| count(found, part.len()));
    }
    search.flush(|found| count(found, usize::MAX));
    assert!(damaged <= skipped as u64);
    match format {
        Format::Binary => {
            let length = model.binary_bytes();
            let accounted = records.len() * length + skipped;
            // The rest waits: less than a record, and noise of less than one.
            assert!(accounted <= bytes.len() && bytes.len() - accounted < 2 * length);
        }
        Format::Ascii => assert!(records.len() + skipped <= bytes.len()),
    }
    for record in &records {
        sane(record);
        let written = encode(model, format, model.items(), record);
        match (decode(model, format, &written), format) {
            (Some(again), Format::Binary) => assert_eq!(again, *record),
            (Some(again), Format::Ascii) => {
                assert_eq!((again.station, again.error), (record.station, record.error));
                assert_eq!((again.time_ms, again.count), (record.time_ms, record.count));
                let pairs = again.position_cm.iter().zip(&record.position_cm);
                let mut pairs = pairs.chain(again.rotation_xyzw.iter().zip(&record.rotation_xyzw));
                assert!(
                    pairs.all(|(a, b)| (a - b).abs() < 0.006),
                    "{again:?} {record:?}"
                );
            }
            // Rounded to its digits a value at the limit is beyond it.
            (None, _) => {
                let norm = record
                    .rotation_xyzw
                    .iter()
                    .map(|v| v * v)
                    .sum::<f64>()
                    .sqrt();
                let far = record.position_cm.iter().any(|v| v.abs() > 999.9);
                let near = format == Format::Ascii && (far || (norm - 1.0).abs() > 0.0098);
                assert!(near, "{record:?}");
            }
        }
    }
    records.len()
}

fn sane(record: &Record) {
    assert!((1..=16).contains(&record.station));
    assert!(record.position_cm.iter().all(|v| v.abs() < 1e3));
    assert!(super::is_rotation(&record.rotation_xyzw));
}
