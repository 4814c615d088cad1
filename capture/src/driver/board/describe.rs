//! How a board describes itself and its channels, and what a sample of a channel
//! means by that.

use super::protocol::MAX_PAYLOAD_BYTES;
use crate::driver::Data;

/// Version of the protocol that this speaks.
pub const VERSION: u8 = 1;
/// Fields of a channel, at most.
pub const MAX_FIELDS: usize = 8;

/// What a board says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Board {
    /// How many channels it has.
    pub channels: u8,
    /// It has just been switched on or reset: its clock and sequences start anew.
    pub started: bool,
    /// Its name.
    pub name: String,
    /// Its firmware.
    pub firmware: String,
    /// Its serial number.
    pub serial: String,
}

/// What a board says of a channel: a stream of samples, each taken at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name, by which the rig asks for it.
    pub name: String,
    /// Nominal rate [mHz]; 0 where it has none.
    pub rate_mhz: u32,
    /// Time over which the elements of the first field are sampled one after
    /// another, the stamp being at its end [µs]; 0 where all are sampled at once.
    pub scan_us: u32,
    /// What a sample consists of, in order.
    pub fields: Vec<Field>,
}

/// Some elements of one meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// What they mean; [`role`] has those that are known.
    pub role: u8,
    /// How each is written.
    pub format: Format,
    /// How many.
    pub count: u16,
    /// Of angles: counts of a full turn, 0 where field `REFERENCE` has them.
    pub turn: u32,
    /// Units per count; 0 where unknown.
    pub scale: f32,
    /// The unit, such as `N`.
    pub unit: String,
}

/// Meanings of fields.
pub mod role {
    /// Joint encoders, counts.
    pub const ANGLE: u8 = 1;
    /// Counts of a full turn at this moment, one element.
    pub const REFERENCE: u8 = 2;
    /// Force: z, or x, y and z, counts.
    pub const FORCE: u8 = 3;
    /// Single cells of a tactile sensor, counts from 0 to 65535.
    pub const TAXELS: u8 = 4;
    /// Acceleration x, y, z, gravity included; its scale makes it m/s².
    pub const ACCELERATION: u8 = 5;
    /// Angular velocity x, y, z; its scale makes it rad/s.
    pub const ANGULAR_VELOCITY: u8 = 6;
}

/// How an element is written, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Format {
    I8 = 1,
    U8 = 2,
    I16 = 3,
    U16 = 4,
    I32 = 5,
    F32 = 6,
}

impl Format {
    /// Length of an element [byte].
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::F32,
            _ => return None,
        })
    }

    /// An element; all are exact in f64.
    fn read(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Self::I8, &[a]) => f64::from(a as i8),
            (Self::U8, &[a]) => f64::from(a),
            (Self::I16, &[a, b]) => f64::from(i16::from_le_bytes([a, b])),
            (Self::U16, &[a, b]) => f64::from(u16::from_le_bytes([a, b])),
            (Self::I32, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
            (Self::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => unreachable!("elements are cut by their length"),
        }
    }
}

/// What a channel can feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feeds {
    /// `/exo/<side>/encoders`.
    Encoders,
    /// `/exo/<side>/force/<finger>`.
    Force,
    /// `/imu/<name>`.
    Imu,
}

impl Field {
    fn bytes(&self) -> usize {
        self.format.bytes() * usize::from(self.count)
    }
}

impl Channel {
    fn field(&self, role: u8) -> Option<&Field> {
        self.fields.iter().find(|field| field.role == role)
    }

    /// Length of a sample's payload [byte].
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(Field::bytes).sum()
    }

    /// Whether decoding drops fields.
    pub fn drops(&self) -> bool {
        let known = role::ANGLE..=role::ANGULAR_VELOCITY;
        self.fields.iter().any(|field| !known.contains(&field.role))
    }

    /// What it can feed.
    ///
    /// # Errors
    /// It contradicts itself; in words for people.
    pub fn feeds(&self) -> Result<Feeds, String> {
        let count = |role: u8| self.field(role).map_or(0, |field| field.count);
        for (index, field) in self.fields.iter().enumerate() {
            let twice = self.fields[..index].iter().any(|f| f.role == field.role);
            if twice && field.role <= role::ANGULAR_VELOCITY {
                return Err(format!("has role {} twice", field.role));
            }
            let counts = matches!(field.role, role::ANGLE..=role::TAXELS);
            if counts && field.format == Format::F32 {
                return Err(format!("has role {} in floating point", field.role));
            }
        }
        if self.bytes() > MAX_PAYLOAD_BYTES {
            return Err(format!("has samples of {} bytes", self.bytes()));
        }
        match () {
            () if count(role::ANGLE) > 0 => {
                let turn = self.field(role::ANGLE).map_or(0, |field| field.turn);
                match (turn, count(role::REFERENCE)) {
                    (0, 1) | (1..=0x7FFF_FFFF, 0) => Ok(Feeds::Encoders),
                    _ => Err("says neither once what a full turn is nor has one reference".into()),
                }
            }
            () if matches!(count(role::FORCE), 1 | 3) => match self.field(role::TAXELS) {
                Some(taxels) if !matches!(taxels.format, Format::U8 | Format::U16) => {
                    Err("has taxels with a sign".into())
                }
                _ => Ok(Feeds::Force),
            },
            () if count(role::ACCELERATION) == 3 && count(role::ANGULAR_VELOCITY) == 3 => {
                let scaled = [role::ACCELERATION, role::ANGULAR_VELOCITY].map(|role| {
                    let scale = self.field(role).map_or(0.0, |field| field.scale);
                    scale.is_finite() && scale != 0.0
                });
                match scaled {
                    [true, true] => Ok(Feeds::Imu),
                    _ => Err("does not say the scale of its acceleration and rotation".into()),
                }
            }
            () => Err(
                "has neither angles, nor a force of 1 or 3 axes, nor acceleration and \
                       angular velocity"
                    .into(),
            ),
        }
    }

    /// A sample, of a channel that [`feeds`](Self::feeds) something; `None` where
    /// its length is wrong, or a measured value is no number.
    pub fn read(&self, feeds: Feeds, payload: &[u8]) -> Option<Data> {
        if payload.len() != self.bytes() {
            return None;
        }
        let elements = |role: u8| -> Vec<f64> {
            let mut rest = payload;
            for field in &self.fields {
                let (own, after) = rest.split_at(field.bytes());
                if field.role == role {
                    let elements = own.chunks_exact(field.format.bytes());
                    return elements.map(|bytes| field.format.read(bytes)).collect();
                }
                rest = after;
            }
            Vec::new()
        };
        let scaled = |role: u8| -> Option<[f64; 3]> {
            let scale = self.field(role).map_or(0.0, |field| f64::from(field.scale));
            let elements = elements(role);
            let values: [f64; 3] = std::array::from_fn(|axis| elements[axis] * scale);
            values.iter().all(|v| v.is_finite()).then_some(values)
        };
        Some(match feeds {
            Feeds::Encoders => Data::Encoders {
                counts: elements(role::ANGLE).iter().map(|&v| v as i32).collect(),
                reference: match elements(role::REFERENCE)[..] {
                    [reference] => reference as i32,
                    _ => self.field(role::ANGLE).map_or(0, |field| field.turn as i32),
                },
                spare: 0,
            },
            Feeds::Force => Data::Force {
                counts: match elements(role::FORCE)[..] {
                    [x, y, z] => [x as i32, y as i32, z as i32],
                    [z] => [0, 0, z as i32],
                    _ => unreachable!("`feeds` has looked"),
                },
                taxels: elements(role::TAXELS).iter().map(|&v| v as u16).collect(),
            },
            Feeds::Imu => Data::Imu {
                acceleration_m_s2: scaled(role::ACCELERATION)?,
                angular_velocity_rad_s: scaled(role::ANGULAR_VELOCITY)?,
            },
        })
    }
}

fn push_text(payload: &mut Vec<u8>, text: &str) {
    let length = text.len().min(255);
    payload.push(length as u8);
    payload.extend(&text.as_bytes()[..length]);
}

/// Takes from the front of a payload.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).trim().to_owned())
    }
}

impl Board {
    /// As a payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = vec![VERSION, self.channels, u8::from(self.started), 0];
        for text in [&self.name, &self.firmware, &self.serial] {
            push_text(&mut payload, text);
        }
        payload
    }

    /// From a payload; the version comes first, and is all that is read of
    /// another one.
    pub fn decode(payload: &[u8]) -> Option<Result<Self, u8>> {
        let mut reader = Reader(payload);
        let version = reader.byte()?;
        if version != VERSION {
            return Some(Err(version));
        }
        let [channels, flags, _] = reader.take()?;
        Some(Ok(Self {
            channels,
            started: flags & 1 != 0,
            name: reader.text()?,
            firmware: reader.text()?,
            serial: reader.text()?,
        }))
    }
}

impl Channel {
    /// As a payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = vec![self.fields.len() as u8];
        payload.extend(self.rate_mhz.to_le_bytes());
        payload.extend(self.scan_us.to_le_bytes());
        push_text(&mut payload, &self.name);
        for field in &self.fields {
            payload.extend([field.role, field.format as u8]);
            payload.extend(field.count.to_le_bytes());
            payload.extend(field.turn.to_le_bytes());
            payload.extend(field.scale.to_le_bytes());
            push_text(&mut payload, &field.unit);
        }
        payload
    }

    /// From a payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let fields = usize::from(reader.byte()?);
        if fields > MAX_FIELDS {
            return None;
        }
        let rate_mhz = u32::from_le_bytes(reader.take()?);
        let scan_us = u32::from_le_bytes(reader.take()?);
        let name = reader.text()?;
        let field = |_| {
            let [role, format] = reader.take()?;
            Some(Field {
                role,
                format: Format::of(format)?,
                count: u16::from_le_bytes(reader.take()?),
                turn: u32::from_le_bytes(reader.take()?),
                scale: f32::from_le_bytes(reader.take()?),
                unit: reader.text()?,
            })
        };
        Some(Self {
            fields: (0..fields).map(field).collect::<Option<_>>()?,
            name,
            rate_mhz,
            scan_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(role: u8, format: Format, count: u16) -> Field {
        Field {
            role,
            format,
            count,
            turn: 0,
            scale: 0.0,
            unit: String::new(),
        }
    }

    fn channel(fields: Vec<Field>) -> Channel {
        Channel {
            name: "x".to_owned(),
            rate_mhz: 0,
            scan_us: 0,
            fields,
        }
    }

    #[test]
    fn encoders_have_a_reference_of_their_own_or_a_fixed_turn() {
        let live = channel(vec![
            field(role::ANGLE, Format::I32, 2),
            field(role::REFERENCE, Format::I32, 1),
        ]);
        let feeds = live.feeds().expect("encoders");
        let payload: Vec<u8> = [-5_i32, 7, 1000]
            .into_iter()
            .flat_map(i32::to_le_bytes)
            .collect();
        let Some(Data::Encoders {
            counts, reference, ..
        }) = live.read(feeds, &payload)
        else {
            panic!("encoders");
        };
        assert_eq!((&counts[..], reference), (&[-5, 7][..], 1000));
        assert!(live.read(feeds, &payload[1..]).is_none());

        let mut fixed = channel(vec![field(role::ANGLE, Format::U16, 1)]);
        assert!(fixed.feeds().expect_err("no turn").contains("full turn"));
        fixed.fields[0].turn = 16_384;
        let feeds = fixed.feeds().expect("encoders");
        let Some(Data::Encoders {
            counts, reference, ..
        }) = fixed.read(feeds, &[0xFF, 0xFF])
        else {
            panic!("encoders");
        };
        assert_eq!((&counts[..], reference), (&[65_535][..], 16_384));
    }

    #[test]
    fn forces_have_one_axis_or_three_and_perhaps_taxels() {
        let one = channel(vec![
            field(role::FORCE, Format::I16, 1),
            field(role::TAXELS, Format::U8, 3),
        ]);
        let data = one.read(one.feeds().expect("force"), &[0xFE, 0xFF, 1, 2, 3]);
        assert!(
            matches!(&data, Some(Data::Force { counts: [0, 0, -2], taxels }) if taxels[..] == [1, 2, 3])
        );
        let two = channel(vec![field(role::FORCE, Format::I16, 2)]);
        assert!(two.feeds().is_err());
        let signed = channel(vec![
            field(role::FORCE, Format::I16, 1),
            field(role::TAXELS, Format::I8, 3),
        ]);
        assert!(signed.feeds().expect_err("signed").contains("sign"));
    }

    #[test]
    fn an_imu_needs_its_scales() {
        let mut imu = channel(vec![
            field(role::ACCELERATION, Format::I16, 3),
            field(0xF0, Format::I16, 1),
            field(role::ANGULAR_VELOCITY, Format::F32, 3),
        ]);
        assert!(imu.feeds().expect_err("no scale").contains("scale"));
        imu.fields[0].scale = 0.5;
        imu.fields[2].scale = 2.0;
        assert!(imu.drops());
        let mut payload: Vec<u8> = [2_i16, -4, 6, 99]
            .into_iter()
            .flat_map(i16::to_le_bytes)
            .collect();
        payload.extend([0.25_f32, 0.0, -1.0].into_iter().flat_map(f32::to_le_bytes));
        let data = imu.read(imu.feeds().expect("imu"), &payload);
        let Some(Data::Imu {
            acceleration_m_s2: a,
            angular_velocity_rad_s: w,
        }) = data
        else {
            panic!("imu");
        };
        assert_eq!((a, w), ([1.0, -2.0, 3.0], [0.5, 0.0, -2.0]));
        for none in [f32::NAN, f32::INFINITY] {
            payload.truncate(16);
            payload.extend(none.to_le_bytes());
            assert!(imu.read(Feeds::Imu, &payload).is_none());
        }
    }

    #[test]
    fn another_version_is_told_by_its_number() {
        assert_eq!(Board::decode(&[9, 1, 2]), Some(Err(9)));
        assert_eq!(Board::decode(&[]), None);
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9/. ²µ-]{0,20}".prop_map(|text| text.trim().to_owned())
    }

    fn any_field() -> impl Strategy<Value = Field> {
        let format = prop_oneof![
            Just(Format::I8),
            Just(Format::U8),
            Just(Format::I16),
            Just(Format::U16),
            Just(Format::I32),
            Just(Format::F32),
        ];
        (
            0_u8..8,
            format,
            0_u16..200,
            any::<u32>(),
            -1e3_f32..1e3,
            text(),
        )
            .prop_map(|(role, format, count, turn, scale, unit)| Field {
                role,
                format,
                count,
                turn,
                scale,
                unit,
            })
    }

    proptest! {
        #[test]
        fn descriptions_decode_to_what_was_encoded(
            channels: u8, started: bool, texts in [text(), text(), text(), text()],
            rate_mhz: u32, scan_us: u32,
            fields in proptest::collection::vec(any_field(), 0..=MAX_FIELDS),
        ) {
            let [name, firmware, serial, channel_name] = texts;
            let board = Board { channels, started, name, firmware, serial };
            prop_assert_eq!(Board::decode(&board.encode()), Some(Ok(board)));
            let channel = Channel { name: channel_name, rate_mhz, scan_us, fields };
            prop_assert_eq!(Channel::decode(&channel.encode()), Some(channel));
        }

        #[test]
        fn garbage_never_panics(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            fields in proptest::collection::vec(any_field(), 0..=MAX_FIELDS),
        ) {
            let _ = Board::decode(&payload);
            let _ = Channel::decode(&payload);
            let channel = channel(fields);
            if let Ok(feeds) = channel.feeds() {
                let _ = channel.read(feeds, &payload);
                prop_assert!(channel.read(feeds, &vec![0x5A; channel.bytes()]).is_some());
            }
        }
    }
}
