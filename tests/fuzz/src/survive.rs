//! Lines of libsurvive.

use dexumi_capture::driver::{
    axes::is_pose,
    lines::Lines,
    survive::{Record, encode_pose, parse},
};

/// How many bytes a read brings, then the bytes. Longer lines than 400 bytes are
/// discarded here.
pub fn lines(mut bytes: &[u8]) -> usize {
    const LONGEST: usize = 400;
    let cut = usize::from(super::byte(&mut bytes)).max(1);
    let mut lines = Lines::new(LONGEST);
    let (mut taken, mut returns, mut records) = (0, 0, 0);
    for part in bytes.chunks(cut) {
        lines.push(part, |line| {
            assert!(line.len() <= LONGEST);
            taken += line.len() as u64 + 1;
            // A carriage return before the end may stand for itself.
            returns += 1;
            records += record(line);
        });
    }
    let all = bytes.len() as u64;
    let accounted = taken + lines.take_discarded();
    assert!(accounted <= all && accounted + returns + LONGEST as u64 >= all);
    records
}

fn record(line: &[u8]) -> usize {
    let Some(record) = parse(line) else { return 0 };
    if let Record::Pose {
        time_us,
        object,
        position_m,
        rotation_xyzw,
    } = record
    {
        assert!(is_pose(&position_m, &rotation_xyzw));
        let again = encode_pose(time_us, object, position_m, rotation_xyzw);
        match parse(again.as_bytes()) {
            Some(Record::Pose {
                time_us: time,
                position_m: position,
                rotation_xyzw: rotation,
                ..
            }) => {
                assert_eq!(time, time_us);
                let pairs = position.iter().zip(&position_m);
                let mut pairs = pairs.chain(rotation.iter().zip(&rotation_xyzw));
                assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-6));
            }
            // Rounded to six decimals a length at the limit may be beyond it, and
            // so may a position.
            _ => {
                let norm = rotation_xyzw.iter().map(|v| v * v).sum::<f64>().sqrt();
                let far = position_m.iter().any(|v| v.abs() > 999.9);
                assert!((norm - 1.0).abs() > 0.99e-3 || far, "{again}");
            }
        }
    }
    1
}
