//! One line of libsurvive's record format; no input or output.
//!
//! `survive-cli --record-stdout` writes, in seconds since its start, metres, and
//! quaternions w x y z:
//!
//! ```text
//! 12.345678 T20 POSE 0.100000 0.200000 1.000000 1.000000 0.000000 0.000000 0.000000 \r\n
//! 12.345679 T20 VELOCITY …
//! 0.654321 T20 CONFIG {"device_serial_number": "LHR-1A2B3C4D", …}\r\n
//! 0.100000 INFO LOG text\r\n
//! ```
//!
//! (cntools/libsurvive, `src/survive_recording.c`.)

/// A quaternion of six decimals is this near to length one.
const MAX_NORM_OFF: f64 = 1e-3;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// Pose of an object.
    Pose {
        /// When it was written [µs since the program's start].
        time_us: u64,
        /// Three letters, such as `T20`.
        object: &'a str,
        /// x, y, z [m], z up.
        position_m: [f64; 3],
        /// Quaternion x, y, z, w.
        rotation_xyzw: [f64; 4],
    },
    /// An object says who it is.
    Serial {
        /// Three letters.
        object: &'a str,
        /// Serial number, such as `LHR-1A2B3C4D`.
        serial: String,
    },
    /// The program says something.
    Log(&'a str),
    /// A pose that cannot be one.
    Broken {
        /// Of which object.
        object: &'a str,
    },
    /// Something else: velocities, light, IMU, lighthouses.
    Other,
}

/// Reads a line; `None` for one that is no record.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (time, rest) = line.split_once(' ')?;
    let time_s: f64 = time.parse().ok().filter(|t: &f64| (0.0..1e9).contains(t))?;
    let (object, rest) = rest.split_once(' ')?;
    let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(match what {
        "POSE" | "EXTERNAL_POSE" => match pose(rest) {
            Some((position_m, rotation_xyzw)) => Record::Pose {
                time_us: (time_s * 1e6).round() as u64,
                object,
                position_m,
                rotation_xyzw,
            },
            None => Record::Broken { object },
        },
        "CONFIG" => serial(rest).map_or(Record::Other, |serial| Record::Serial { object, serial }),
        "LOG" if object == "INFO" => Record::Log(rest),
        _ => Record::Other,
    })
}

fn pose(text: &str) -> Option<([f64; 3], [f64; 4])> {
    let mut words = text.split_ascii_whitespace();
    let mut digits = None;
    let mut number = || {
        let word = words.next()?;
        // All have the same number of decimals; one that was cut has less.
        let decimals = word
            .split_once('.')
            .map_or(0, |(_, decimals)| decimals.len());
        if *digits.get_or_insert(decimals) != decimals {
            return None;
        }
        word.parse().ok().filter(|v: &f64| v.is_finite())
    };
    let position_m = [number()?, number()?, number()?];
    let [w, x, y, z] = [number()?, number()?, number()?, number()?];
    let norm = (w * w + x * x + y * y + z * z).sqrt();
    let near = position_m.iter().all(|v| v.abs() < 1e3);
    (words.next().is_none() && near && (norm - 1.0).abs() < MAX_NORM_OFF)
        .then_some((position_m, [x, y, z, w]))
}

fn serial(json: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Config {
        device_serial_number: String,
    }
    let config: Config = serde_json::from_str(json).ok()?;
    Some(config.device_serial_number)
}

/// A pose as `survive-cli` writes it, with the end of its line.
pub fn encode_pose(
    time_us: u64,
    object: &str,
    position_m: [f64; 3],
    rotation_xyzw: [f64; 4],
) -> String {
    let [x, y, z] = position_m;
    let [qx, qy, qz, qw] = rotation_xyzw;
    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
    format!(
        "{seconds}.{micros:06} {object} POSE \
         {x:.6} {y:.6} {z:.6} {qw:.6} {qx:.6} {qy:.6} {qz:.6} \r\n"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_lines() {
        assert_eq!(
            parse(b"12.345678 T20 POSE 0.100000 -0.200000 1.000000 0.800000 0.000000 0.600000 0.000000 \r"),
            Some(Record::Pose {
                time_us: 12_345_678,
                object: "T20",
                position_m: [0.1, -0.2, 1.0],
                rotation_xyzw: [0.0, 0.6, 0.0, 0.8],
            })
        );
        assert_eq!(
            parse(br#"0.654321 T21 CONFIG {"device_class": "generic_tracker", "device_serial_number": "LHR-1A2B3C4D", "x": [1]}"#),
            Some(Record::Serial {
                object: "T21",
                serial: "LHR-1A2B3C4D".to_owned()
            })
        );
        let velocity = b"1.5 T20 VELOCITY 0.1 0.2 0.3 0.0 0.0 0.0 ";
        assert_eq!(parse(velocity), Some(Record::Other));
        let lighthouse = b"1.5 0 LH_POSE 1.0 2.0 2.5 1.0 0.0 0.0 0.0  123";
        assert_eq!(parse(lighthouse), Some(Record::Other));
        assert_eq!(
            parse(b"0.1 INFO LOG Adding tracked object T20"),
            Some(Record::Log("Adding tracked object T20"))
        );
        assert_eq!(parse(b"Info: Loaded drivers: HTCVive"), None);
    }

    #[test]
    fn a_pose_that_cannot_be_one_is_broken() {
        for pose in [
            "0 0 0 1 0 0",
            "0 0 0 1 0 0 0 0",
            "0 0 nan 1 0 0 0",
            "0 0 5000 1 0 0 0",
            "0 0 0 0.9 0 0 0",
            "0 0 0 1 0 0 0x",
            "0.10 0.20 0.30 1.00 0.00 0.00 0.0",
        ] {
            let line = format!("1.0 T20 POSE {pose} ");
            let broken = Some(Record::Broken { object: "T20" });
            assert_eq!(parse(line.as_bytes()), broken, "{pose}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(
            time_us in 0_u64..1_000_000_000_000,
            p in proptest::array::uniform3(-9_000_000_i64..9_000_000),
            q in proptest::array::uniform4(-1.0..1.0_f64),
        ) {
            let norm = q.iter().map(|v| v * v).sum::<f64>().sqrt();
            prop_assume!(norm > 0.1);
            let (p, q) = (p.map(|v| v as f64 * 1e-6), q.map(|v| v / norm));
            let line = encode_pose(time_us, "WM0", p, q);
            match parse(line.trim_end_matches('\n').as_bytes()) {
                Some(Record::Pose { time_us: t, object, position_m, rotation_xyzw }) => {
                    prop_assert_eq!((t, object), (time_us, "WM0"));
                    for (got, meant) in position_m.iter().zip(p) {
                        prop_assert!((got - meant).abs() < 1e-9);
                    }
                    for (got, meant) in rotation_xyzw.iter().zip(q) {
                        prop_assert!((got - meant).abs() < 1e-6);
                    }
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_line_is_never_a_wild_pose(at in 0_usize..90, byte: u8) {
            let mut line = encode_pose(12_345_678, "T20", [0.1, -0.2, 1.0], [0.0, 0.6, 0.0, 0.8]).into_bytes();
            let at = at % line.len();
            line[at] = byte;
            if let Some(Record::Pose { position_m, rotation_xyzw, .. }) = parse(&line) {
                prop_assert!(crate::driver::axes::is_pose(&position_m, &rotation_xyzw));
            }
        }
    }
}
