//! Hand Tracking Streamer on a Meta Quest: lines of text in Unity's axes.
//!
//! ```text
//! Right wrist:, 0.2502, 1.0635, 0.2540, 0.194, -0.116, 0.094, -0.970
//! Right landmarks:, 0.0, 0.0, 0.0, … (21 points, in the wrist's axes)
//! Head pose:, x, y, z, qx, qy, qz, qw
//! Right wrist | f=12 | t=1234567890:, …   (number and time [ns], where the app is set so)
//! ```
//!
//! (wengmister/hand-tracking-streamer, `CONNECTIONS.md`; wengmister/hand-tracking-sdk,
//! `parser.py`.)

use super::{Axes, Data, Format, Message, Packet, Payload};

pub(super) const FORMAT: Format = Format {
    parse,
    echo: None,
    axes: Axes::Unity,
};

/// Reads a datagram of one or more lines. Streams are named `left`, `right` and
/// `head`.
///
/// # Errors
/// A line is none of these; in words for people.
pub fn parse(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let messages: Vec<Message> = lines.map(line).collect::<Result<_, _>>()?;
    match messages.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(messages),
    }
}

fn line(line: &str) -> Result<Message, String> {
    let (label, numbers) = line.split_once(':').ok_or("a line without label")?;
    let mut parts = label.split('|').map(str::trim);
    let (side, what) = parts
        .next()
        .and_then(|label| label.split_once(' '))
        .ok_or_else(|| format!("a line labelled `{label}`"))?;
    let (mut sequence, mut time_ns) = (None, None);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let (value, problem) = (value.trim(), || format!("`{key}` of `{value}`"));
        match key.trim().to_ascii_lowercase().as_str() {
            "f" | "frame" | "frame_id" => sequence = Some(value.parse().map_err(|_| problem())?),
            "t" | "ts" | "timestamp" => time_ns = Some(value.parse().map_err(|_| problem())?),
            _ => {}
        }
    }
    let values: Vec<f64> = numbers
        .split(',')
        .map(str::trim)
        .filter(|number| !number.is_empty())
        .map(|number| {
            number
                .parse()
                .map_err(|_| format!("`{number}` is no number"))
        })
        .collect::<Result<_, _>>()?;
    let data = match (side, what.trim(), &values[..]) {
        ("Left" | "Right", "wrist", &[x, y, z, qx, qy, qz, qw])
        | ("Head", "pose", &[x, y, z, qx, qy, qz, qw]) => Data::Pose {
            position_m: [x, y, z],
            rotation_xyzw: [qx, qy, qz, qw],
            valid: true,
            mean_error_m: 0.0,
        },
        ("Left" | "Right", "landmarks", values) if values.len() == 63 => Data::Keypoints {
            points_m: values.chunks(3).map(|v| [v[0], v[1], v[2]]).collect(),
            joints: Vec::new(),
            valid: true,
        },
        _ => return Err(format!("`{side} {what}` with {} numbers", values.len())),
    };
    Ok(Message::Sample(Packet {
        name: side.to_lowercase(),
        sequence,
        time_ns,
        sent_ns: None,
        payload: Payload::Data(data),
    }))
}

/// A line as the app writes it, with number and time; values in Unity's axes.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let side = match packet.name.as_str() {
        "left" => "Left",
        "right" => "Right",
        _ => "Head",
    };
    let (what, values): (&str, Vec<f64>) = match &packet.payload {
        Payload::Data(Data::Keypoints { points_m, .. }) => {
            ("landmarks", points_m.iter().flatten().copied().collect())
        }
        Payload::Data(Data::Pose {
            position_m,
            rotation_xyzw,
            ..
        }) => {
            let what = if side == "Head" { "pose" } else { "wrist" };
            (
                what,
                position_m.iter().chain(rotation_xyzw).copied().collect(),
            )
        }
        _ => ("nothing", Vec::new()),
    };
    let mut line = format!("{side} {what}");
    if let Some(sequence) = packet.sequence {
        line += &format!(" | f={sequence}");
    }
    if let Some(time_ns) = packet.time_ns {
        line += &format!(" | t={time_ns}");
    }
    line.push(':');
    for value in values {
        line += &format!(", {value:.7}");
    }
    line.push('\n');
    line.into_bytes()
}
