//! Open Sound Control 1.0: messages and bundles, big-endian, in units of 4 bytes.
//!
//! Ours are `/dexumi/<name>/<what>` with the numbers of a sample, in front of which a
//! 64-bit number (`h`) is the sequence and a double (`d`) after that the time in
//! seconds. Without, the time tag of the bundle is the time. Messages of other
//! programs are taken by their whole address.
//! (The Open Sound Control 1.0 Specification, opensoundcontrol.stanford.edu.)

use super::{Axes, Data, Format, Message, Packet, Payload};

pub(super) const FORMAT: Format = Format {
    parse,
    echo: Some(|number| {
        let mut bytes = text("/dexumi/echo");
        bytes.extend(text(",h"));
        bytes.extend((number as i64).to_be_bytes());
        bytes
    }),
    axes: Axes::ZUp,
};

/// Bundles within bundles; deeper is nonsense.
const DEEPEST: u32 = 8;
/// The time tag that says no time.
const IMMEDIATELY: u64 = 1;
const OURS: &str = "/dexumi/";

/// Reads a datagram.
///
/// # Errors
/// It is no such packet; in words for people.
pub fn parse(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    packet(bytes, None, DEEPEST, &mut messages)?;
    Ok(messages)
}

fn packet(
    bytes: &[u8],
    time_ns: Option<i64>,
    depth: u32,
    messages: &mut Vec<Message>,
) -> Result<(), String> {
    let mut reader = Reader { bytes };
    if bytes.first() != Some(&b'#') {
        messages.extend(message(&mut reader, time_ns)?);
        return Ok(());
    }
    if reader.text()? != "#bundle" || depth == 0 {
        return Err("a bundle that is none".to_owned());
    }
    let tag = u64::from_be_bytes(reader.array()?);
    let time_ns = match tag {
        IMMEDIATELY => time_ns,
        // Seconds since 1900 and 2³² parts of one; as a clock like any.
        tag => Some(
            (tag >> 32) as i64 * 1_000_000_000
                + (((tag & 0xFFFF_FFFF) * 1_000_000_000) >> 32) as i64,
        ),
    };
    while !reader.bytes.is_empty() {
        let size = u32::from_be_bytes(reader.array()?) as usize;
        packet(reader.take(size)?, time_ns, depth - 1, messages)?;
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (part, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or("it ends too early")?;
        self.bytes = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("so many"))
    }

    /// Text up to a zero, filled up to four bytes.
    fn text(&mut self) -> Result<&'a str, String> {
        let length = self
            .bytes
            .iter()
            .position(|&byte| byte == 0)
            .ok_or("a text without end")?;
        let text = &self.take(length / 4 * 4 + 4)?[..length];
        std::str::from_utf8(text).map_err(|_| "a text that is none".to_owned())
    }
}

fn message(reader: &mut Reader<'_>, bundle_ns: Option<i64>) -> Result<Option<Message>, String> {
    let address = reader.text()?;
    if !address.starts_with('/') {
        return Err("an address that is none".to_owned());
    }
    let types = reader.text()?;
    let types = types.strip_prefix(',').ok_or("a message without types")?;
    let ours = address.strip_prefix(OURS);
    let (mut sequence, mut time_ns) = (None, bundle_ns);
    let (mut values, mut valid) = (Vec::new(), true);
    for (index, kind) in types.chars().enumerate() {
        match kind {
            'i' => values.push(f64::from(i32::from_be_bytes(reader.array()?))),
            'f' => values.push(f64::from(f32::from_be_bytes(reader.array()?))),
            'h' => {
                let number = i64::from_be_bytes(reader.array()?);
                if ours.is_some() && index == 0 {
                    sequence = Some(number as u64);
                } else {
                    values.push(number as f64);
                }
            }
            'd' => {
                let number = f64::from_be_bytes(reader.array()?);
                if sequence.is_some() && index == 1 {
                    let nanos = number * 1e9;
                    // Within three centuries either way.
                    if nanos.is_nan() || nanos.abs() >= 9e18 {
                        return Err(format!("its time is {number}, expected seconds"));
                    }
                    time_ns = Some(nanos.round() as i64);
                } else {
                    values.push(number);
                }
            }
            'T' => valid = true,
            'F' => valid = false,
            's' | 'S' => drop(reader.text()?),
            'b' => {
                let size = i32::from_be_bytes(reader.array()?);
                let size = usize::try_from(size).map_err(|_| "a blob below zero")?;
                reader.take(size.div_ceil(4) * 4)?;
            }
            't' => drop(reader.take(8)?),
            'c' | 'r' | 'm' => drop(reader.take(4)?),
            'N' | 'I' | '[' | ']' => {}
            other => return Err(format!("a value of unknown type `{other}`")),
        }
    }
    if !reader.bytes.is_empty() {
        return Err("more bytes than its types say".to_owned());
    }
    if ours == Some("echo") {
        let echo = sequence.zip(time_ns);
        return Ok(echo.map(|(number, time_ns)| Message::Echo { number, time_ns }));
    }
    let (name, what) = match ours.map(|path| path.split_once('/')) {
        Some(Some((name, what))) => (name, Some(what.to_owned())),
        Some(None) => return Err(format!("`{address}` is not /dexumi/<name>/<what>")),
        None => (address, None),
    };
    Ok(Some(Message::Sample(Packet {
        name: name.to_owned(),
        sequence,
        time_ns,
        sent_ns: None,
        payload: Payload::Numbers {
            what,
            values,
            valid,
        },
    })))
}

/// What a sender answers to a question for its time; `None` to anything else.
pub fn answer(question: &[u8], time_ns: i64) -> Option<Vec<u8>> {
    let mut reader = Reader { bytes: question };
    if reader.text().ok()? != "/dexumi/echo" || reader.text().ok()? != ",h" {
        return None;
    }
    let number: [u8; 8] = reader.array().ok()?;
    let mut bytes = text("/dexumi/echo");
    bytes.extend(text(",hd"));
    bytes.extend(number);
    bytes.extend((time_ns as f64 * 1e-9).to_be_bytes());
    Some(bytes)
}

/// A text with its zeros.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() / 4 * 4 + 4, 0);
    bytes
}

/// A sample as a sender writes it; hidden points are NaN.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut types = ",".to_owned();
    let mut values = Vec::new();
    if let Some(sequence) = packet.sequence {
        types.push('h');
        values.extend((sequence as i64).to_be_bytes());
        if let Some(time_ns) = packet.time_ns {
            types.push('d');
            values.extend((time_ns as f64 * 1e-9).to_be_bytes());
        }
    }
    let floats =
        |types: &mut String, values: &mut Vec<u8>, numbers: &mut dyn Iterator<Item = f64>| {
            for number in numbers {
                types.push('f');
                values.extend((number as f32).to_be_bytes());
            }
        };
    let whole = |types: &mut String, values: &mut Vec<u8>, numbers: &[i32]| {
        for number in numbers {
            types.push('i');
            values.extend(number.to_be_bytes());
        }
    };
    let what = match &packet.payload {
        Payload::Data(Data::Pose {
            position_m,
            rotation_xyzw,
            valid,
            ..
        }) => {
            let mut numbers = position_m.iter().chain(rotation_xyzw).copied();
            floats(&mut types, &mut values, &mut numbers);
            types.push(if *valid { 'T' } else { 'F' });
            "pose"
        }
        Payload::Data(Data::Keypoints {
            points_m, valid, ..
        }) => {
            floats(
                &mut types,
                &mut values,
                &mut points_m.iter().flatten().copied(),
            );
            types.push(if *valid { 'T' } else { 'F' });
            "keypoints"
        }
        Payload::Data(Data::Markers { points_m }) => {
            floats(
                &mut types,
                &mut values,
                &mut points_m.iter().flatten().copied(),
            );
            "markers"
        }
        Payload::Data(Data::Imu {
            acceleration_m_s2,
            angular_velocity_rad_s,
        }) => {
            let mut numbers = acceleration_m_s2
                .iter()
                .chain(angular_velocity_rad_s)
                .copied();
            floats(&mut types, &mut values, &mut numbers);
            "imu"
        }
        Payload::Data(Data::Force { counts, .. }) => {
            whole(&mut types, &mut values, counts);
            "force"
        }
        Payload::Data(Data::Encoders {
            counts, reference, ..
        }) => {
            whole(&mut types, &mut values, counts);
            whole(&mut types, &mut values, &[*reference]);
            "encoders"
        }
        Payload::Data(Data::Image(_)) => "nothing",
        Payload::Numbers {
            what,
            values: numbers,
            valid,
        } => {
            floats(&mut types, &mut values, &mut numbers.iter().copied());
            types.push(if *valid { 'T' } else { 'F' });
            what.as_deref().unwrap_or("numbers")
        }
    };
    let mut bytes = text(&format!("{OURS}{}/{what}", packet.name));
    bytes.extend(text(&types));
    bytes.extend(values);
    bytes
}
