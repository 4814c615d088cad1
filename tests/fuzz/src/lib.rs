//! What every parser of dexumi holds, whatever bytes it is given. A target takes
//! bytes, panics where something does not hold, and says how many things in the
//! bytes were understood.
//!
//! The same code runs under libFuzzer (`fuzz_targets/`) and, over the committed
//! corpus, as an ordinary test (`capture/tests/corpus.rs`; what `hands.rs` holds: `retarget/tests/corpus.rs`).

mod board;
mod bounded;
mod bridge;
mod camera;
mod files;
mod natnet;
mod phone;
mod polhemus;
mod serial;
mod survive;
mod udp;

/// A target: what it checks, by the name of its corpus.
pub type Target = fn(&[u8]) -> usize;

/// All targets.
pub const TARGETS: &[(&str, Target)] = &[
    ("serial", serial::packets),
    ("board", board::stream),
    ("polhemus", polhemus::records),
    ("natnet", natnet::packet),
    ("usbmux", phone::usbmux),
    ("record3d", phone::record3d),
    ("depth", phone::depth),
    ("mjpeg", camera::multipart),
    ("jpeg", camera::jpeg),
    ("nut", camera::nut),
    ("bridge", bridge::stream),
    ("udp_json", udp::json),
    ("osc", udp::osc),
    ("hts", udp::hts),
    ("rokoko", udp::rokoko),
    ("arkit", udp::arkit),
    ("survive", survive::lines),
    ("rig", files::rig),
    ("calibration", files::calibration),
    ("recover", files::recover),
    ("episode", files::episode),
];

/// Runs a target.
///
/// # Panics
/// There is no such target, or what it checks does not hold.
pub fn run(name: &str, bytes: &[u8]) -> usize {
    let target = TARGETS.iter().find(|(of, _)| *of == name);
    let (_, target) = target.expect("a target of that name");
    target(bytes)
}

/// Takes a byte off the front: 0 where there is none.
fn byte(bytes: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = bytes.split_first() else {
        return 0;
    };
    *bytes = rest;
    first
}

/// Cuts bytes into parts, each behind its length in two bytes, most significant
/// first; the last is what is left.
fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (part, after) = rest.split_at(length);
        parts.push(part);
        bytes = after;
    }
    parts
}

/// Whether it can be a rotation.
fn is_rotation(xyzw: &[f64; 4]) -> bool {
    let norm = xyzw.iter().map(|v| v * v).sum::<f64>().sqrt();
    (0.9..1.1).contains(&norm)
}
