//! Data records of Polhemus trackers; no input or output.
//!
//! FASTRAK, binary: `0`, station (`1` to `4`), error letter, then the items of the
//! output list as little-endian floats. Patriot, binary: `PA` (Liberty: `LY`),
//! station, command, error, a reserved byte, u16 size of what follows, then the
//! items. Both in ASCII: `0`, station, error letter, then numbers with fixed widths
//! that may touch where a sign stands between them. A quaternion is w x y z; here
//! each record ends with carriage return and line feed.
//!
//! (3Space Fastrak User Manual OPM00PI002 Rev. G, output data list and records;
//! Polhemus Developer Interface, `PDImdat.h` and `PDItracker.h`, for Patriot and
//! Liberty; vrpn, `vrpn_Tracker_Liberty.C`, for the milliseconds of its stamps.)

/// Which tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// FASTRAK.
    Fastrak,
    /// Patriot, and Liberty, which speaks the same.
    Patriot,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Floats.
    Binary,
    /// Text.
    Ascii,
}

/// An item of the output list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A blank.
    Space,
    /// Carriage return and line feed.
    LineEnd,
    /// x, y, z.
    Position,
    /// Azimuth, elevation, roll; read by nobody here.
    Euler,
    /// w, x, y, z.
    Quaternion,
    /// Milliseconds.
    Time,
    /// Number of the measurement.
    Count,
}

/// What a station said.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// From 1.
    pub station: u8,
    /// Blank or zero for none.
    pub error: u8,
    /// Of a Patriot: the tracker's clock [ms].
    pub time_ms: Option<u32>,
    /// Of a Patriot: number of the measurement.
    pub count: Option<u32>,
    /// x, y, z [cm] in the transmitter's axes.
    pub position_cm: [f64; 3],
    /// Quaternion x, y, z, w.
    pub rotation_xyzw: [f64; 4],
}

/// A quaternion's length is one, give or take what rounding makes of it.
const MAX_NORM_OFF: f64 = 0.01;
/// No magnetic tracker reaches further [cm].
const FARTHEST_CM: f64 = 1_000.0;
/// Command of a record that was not asked for.
const CONTINUOUS: u8 = b'C';
/// A head of a Patriot's packet.
pub(super) const HEAD_BYTES: usize = 8;

impl Model {
    /// Our output list.
    pub fn items(self) -> &'static [Item] {
        match self {
            Self::Fastrak => &[Item::Position, Item::Quaternion, Item::LineEnd],
            Self::Patriot => &[
                Item::Time,
                Item::Count,
                Item::Position,
                Item::Quaternion,
                Item::LineEnd,
            ],
        }
    }

    /// Number of an item in the model's output list.
    fn codes(self) -> &'static [(u8, Item)] {
        match self {
            Self::Fastrak => &[
                (0, Item::Space),
                (1, Item::LineEnd),
                (2, Item::Position),
                (4, Item::Euler),
                (11, Item::Quaternion),
            ],
            Self::Patriot => &[
                (0, Item::Space),
                (1, Item::LineEnd),
                (2, Item::Position),
                (4, Item::Euler),
                (7, Item::Quaternion),
                (8, Item::Time),
                (9, Item::Count),
            ],
        }
    }

    /// Our output list as a command has it.
    pub fn list(self) -> String {
        let code = |item: &Item| {
            let (code, _) = self
                .codes()
                .iter()
                .find(|(_, known)| known == item)
                .expect("ours");
            code.to_string()
        };
        self.items().iter().map(code).collect::<Vec<_>>().join(",")
    }

    /// Reads an output list of a command; `None` with an item that is not known here.
    pub fn read_list(self, list: &str) -> Option<Vec<Item>> {
        list.split(',')
            .map(|code| {
                let code: u8 = code.trim().parse().ok()?;
                let found = self.codes().iter().find(|(known, _)| *known == code);
                found.map(|(_, item)| *item)
            })
            .collect()
    }

    /// Stations that it can have.
    pub fn stations(self) -> std::ops::RangeInclusive<u8> {
        match self {
            Self::Fastrak => 1..=4,
            Self::Patriot => 1..=16,
        }
    }

    /// Length of a binary record of our list.
    pub fn binary_bytes(self) -> usize {
        let width = |item: &Item| match item {
            Item::Space => 1,
            Item::LineEnd => 2,
            Item::Position | Item::Euler => 12,
            Item::Quaternion => 16,
            Item::Time | Item::Count => 4,
        };
        let head = match self {
            Self::Fastrak => 3,
            Self::Patriot => HEAD_BYTES,
        };
        head + self.items().iter().map(width).sum::<usize>()
    }
}

/// Reads a record of our list, its line end included; `None` for anything else.
pub fn decode(model: Model, format: Format, bytes: &[u8]) -> Option<Record> {
    let body = bytes.strip_suffix(b"\r\n")?;
    let record = match (model, format) {
        (_, Format::Ascii) => ascii(model, body)?,
        (_, Format::Binary) if bytes.len() != model.binary_bytes() => return None,
        (Model::Fastrak, Format::Binary) => match body {
            [b'0', station @ b'1'..=b'9', error @ b' '..=b'~', rest @ ..] => {
                let (position_cm, rotation_xyzw) = pose(rest)?;
                Record {
                    station: station - b'0',
                    error: *error,
                    time_ms: None,
                    count: None,
                    position_cm,
                    rotation_xyzw,
                }
            }
            _ => return None,
        },
        (Model::Patriot, Format::Binary) => {
            let (head, rest) = body.split_at_checked(HEAD_BYTES)?;
            let is_ours = matches!(&head[..2], b"PA" | b"LY")
                && usize::from(u16::from_le_bytes([head[6], head[7]])) == rest.len() + 2;
            let (numbers, rest) = rest.split_at_checked(8)?;
            let (position_cm, rotation_xyzw) = pose(rest)?;
            let number = |at: usize| u32::from_le_bytes(numbers[at..at + 4].try_into().expect("4"));
            is_ours.then_some(Record {
                station: head[2],
                error: head[4],
                time_ms: Some(number(0)),
                count: Some(number(4)),
                position_cm,
                rotation_xyzw,
            })?
        }
    };
    let norm = record
        .rotation_xyzw
        .iter()
        .map(|v| v * v)
        .sum::<f64>()
        .sqrt();
    let sane = model.stations().contains(&record.station)
        && (norm - 1.0).abs() < MAX_NORM_OFF
        && record.position_cm.iter().all(|v| v.abs() < FARTHEST_CM);
    sane.then_some(record)
}

/// Position and quaternion of seven floats.
fn pose(bytes: &[u8]) -> Option<([f64; 3], [f64; 4])> {
    let floats: Vec<f64> = bytes
        .chunks_exact(4)
        .map(|four| f64::from(f32::from_le_bytes(four.try_into().expect("4"))))
        .collect();
    match floats[..] {
        [x, y, z, qw, qx, qy, qz] => Some(([x, y, z], [qx, qy, qz, qw])),
        _ => None,
    }
}

fn ascii(model: Model, body: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.is_ascii())?;
    let (station, rest) = text.split_at_checked(2)?;
    let (error, rest) = rest.split_at_checked(1)?;
    let numbers = numbers(rest)?;
    let (stamps, pose) = match model {
        Model::Fastrak => (None, &numbers[..]),
        Model::Patriot => {
            let (stamps, pose) = numbers.split_at_checked(2)?;
            let whole = |v: f64| {
                (v.fract() == 0.0 && (0.0..4_294_967_296.0).contains(&v)).then_some(v as u32)
            };
            (Some((whole(stamps[0])?, whole(stamps[1])?)), pose)
        }
    };
    let &[x, y, z, qw, qx, qy, qz] = pose else {
        return None;
    };
    Some(Record {
        station: station.parse().ok()?,
        error: error.as_bytes()[0],
        time_ms: stamps.map(|(time, _)| time),
        count: stamps.map(|(_, count)| count),
        position_cm: [x, y, z],
        rotation_xyzw: [qx, qy, qz, qw],
    })
}

/// Numbers one after another; a sign begins a new one.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let mut words: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in text.chars() {
        match character {
            ' ' => in_word = false,
            '+' | '-' => {
                // But not within an exponent.
                let last = words
                    .last_mut()
                    .filter(|word| in_word && word.ends_with(['E', 'e']));
                match last {
                    Some(word) => word.push(character),
                    None => words.push(character.to_string()),
                }
                in_word = true;
            }
            _ if in_word => words.last_mut()?.push(character),
            _ => {
                words.push(character.to_string());
                in_word = true;
            }
        }
    }
    let number = |word: String| word.parse().ok().filter(|v: &f64| v.is_finite());
    words.into_iter().map(number).collect()
}

/// A record of an output list, as the tracker sends it.
pub fn encode(model: Model, format: Format, items: &[Item], record: &Record) -> Vec<u8> {
    let mut body = Vec::new();
    let floats = |body: &mut Vec<u8>, values: &[f64], digits: usize| {
        for value in values {
            match format {
                Format::Binary => body.extend((*value as f32).to_le_bytes()),
                Format::Ascii => body.extend(format!("{value:7.digits$}").bytes()),
            }
        }
    };
    let [qx, qy, qz, qw] = record.rotation_xyzw;
    for item in items {
        match item {
            Item::Space => body.push(b' '),
            Item::LineEnd => body.extend(b"\r\n"),
            Item::Position => floats(&mut body, &record.position_cm, 2),
            Item::Euler => floats(&mut body, &[0.0; 3], 2),
            Item::Quaternion => floats(&mut body, &[qw, qx, qy, qz], 4),
            Item::Time | Item::Count => {
                let number = match item {
                    Item::Time => record.time_ms.unwrap_or(0),
                    _ => record.count.unwrap_or(0),
                };
                match format {
                    Format::Binary => body.extend(number.to_le_bytes()),
                    Format::Ascii => body.extend(format!("{number:10} ").bytes()),
                }
            }
        }
    }
    let mut bytes = match (model, format) {
        (_, Format::Ascii) => {
            format!("{:02}{}", record.station, char::from(record.error)).into_bytes()
        }
        (Model::Fastrak, Format::Binary) => vec![b'0', b'0' + record.station, record.error],
        (Model::Patriot, Format::Binary) => {
            let size = (body.len() as u16).to_le_bytes();
            vec![
                b'P',
                b'A',
                record.station,
                CONTINUOUS,
                record.error,
                0,
                size[0],
                size[1],
            ]
        }
    };
    bytes.extend(body);
    bytes
}

/// Searches records in a byte stream.
#[derive(Debug)]
pub struct Search {
    model: Model,
    format: Format,
    buffer: Vec<u8>,
    skipped: usize,
    /// Lines among them that were too long for noise.
    lines: u64,
}

/// What a search found.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// A record, and how many bytes came after it.
    Record(Record, usize),
    /// Before it, something that was none.
    Skipped {
        /// Bytes.
        bytes: usize,
        /// How many records they must have been.
        records: u64,
    },
}

impl Search {
    /// For records of our list.
    pub fn new(model: Model, format: Format) -> Self {
        Self {
            model,
            format,
            buffer: Vec::new(),
            skipped: 0,
            lines: 0,
        }
    }

    /// Takes bytes and hands what they complete to `found`. A misfit is searched
    /// further from its second byte on.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Found)) {
        self.buffer.extend_from_slice(bytes);
        let longest = match self.format {
            Format::Binary => self.model.binary_bytes(),
            Format::Ascii => LONGEST_LINE,
        };
        let mut at = 0;
        while let Some(length) = self.candidate(at) {
            let end = at + length;
            match decode(self.model, self.format, &self.buffer[at..end]) {
                Some(record) => {
                    self.tell_skipped(&mut found);
                    found(Found::Record(record, self.buffer.len() - end));
                    at = end;
                }
                None => {
                    let step = match self.format {
                        Format::Binary => 1,
                        Format::Ascii => length,
                    };
                    self.skipped += step;
                    self.lines += u64::from(length > NOISE);
                    at += step;
                }
            }
        }
        // A line without end.
        let rest = self.buffer.len() - at;
        if rest > longest {
            self.skipped += rest;
            at += rest;
        }
        self.buffer.drain(..at);
    }

    /// Length of what may be a record at a place, where it is complete.
    fn candidate(&self, at: usize) -> Option<usize> {
        let rest = &self.buffer[at..];
        match self.format {
            Format::Binary => {
                Some(self.model.binary_bytes()).filter(|length| rest.len() >= *length)
            }
            Format::Ascii => rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|end| end + 1),
        }
    }

    fn tell_skipped(&mut self, found: &mut impl FnMut(Found)) {
        let bytes = std::mem::take(&mut self.skipped);
        if bytes == 0 {
            return;
        }
        let records = match self.format {
            Format::Binary => {
                // A damaged record has its length, give or take a byte.
                let length = self.model.binary_bytes();
                (bytes + length / 16) / length
            }
            Format::Ascii => self.lines as usize,
        };
        self.lines = 0;
        found(Found::Skipped {
            bytes,
            records: records as u64,
        });
    }

    /// Tells what was skipped when no record may come to end it.
    pub fn flush(&mut self, mut found: impl FnMut(Found)) {
        if self.skipped >= self.model.binary_bytes() {
            self.tell_skipped(&mut found);
        }
    }
}

/// A line of any list that a person would choose [byte].
const LONGEST_LINE: usize = 256;
/// A shorter one is no damaged record [byte].
const NOISE: usize = 20;
