//! What goes wrong with emulated devices, on request.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Shares of samples that something happens to, and unpluggings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Faults {
    /// Share of packets damaged on the wire, 0 to 1 (serial ports and NatNet).
    pub corrupt: f64,
    /// Share of samples that are taken but never sent, 0 to 1.
    pub drop: f64,
    /// Share of samples whose sending is held up by 2 to 30 ms, 0 to 1; what
    /// follows waits behind them.
    pub stall: f64,
    /// Links hand over only so often, as a USB adapter does whose latency timer
    /// has run out [s]; 0 for at once.
    #[serde(default)]
    pub batch_s: f64,
    /// Devices whose clock starts anew.
    #[serde(default)]
    pub reboot: Vec<Reboot>,
    /// Devices unplugged for a while.
    pub unplug: Vec<Unplug>,
}

/// A device that restarts: its clock begins at zero again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reboot {
    /// Part of the name of its stream, or of several.
    pub stream: String,
    /// When, in scene time [s].
    pub at_s: f64,
}

/// A device that is unplugged and plugged in again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unplug {
    /// Part of the name of its stream, or of several.
    pub stream: String,
    /// When, in scene time [s].
    pub at_s: f64,
    /// For how long [s].
    pub for_s: f64,
}

/// Faults that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultsError {
    /// No such fault.
    #[error("unknown fault `{name}`, expected one of: {}", KNOWN.join(", "))]
    Unknown {
        /// As given.
        name: String,
    },
    /// A share that is none.
    #[error(
        "fault `{name}` is `{value}`, expected a share of samples from 0 to 1, such as {name}=0.02"
    )]
    Share {
        /// Which fault.
        name: String,
        /// As given.
        value: String,
    },
    /// A fault that is given twice.
    #[error("fault `{name}` is given twice, expected once")]
    Twice {
        /// Which fault.
        name: String,
    },
    /// A time that is none.
    #[error("fault `{name}` is `{value}`, expected {expected}")]
    Time {
        /// Which fault.
        name: &'static str,
        /// As given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// An unplugging that is none.
    #[error(
        "fault `unplug` is `{value}`, expected STREAM@START+DURATION, such as unplug=encoders@5s+2s"
    )]
    Unplug {
        /// As given.
        value: String,
    },
}

const KNOWN: [&str; 7] = [
    "corrupt", "drop", "stall", "batch", "reboot", "unplug", "none",
];

impl Faults {
    /// What ordinary hardware does on an ordinary day: the default of
    /// `dexumi emulate`.
    pub const ORDINARY: &'static str = "stall=0.02";

    /// Reads `corrupt=0.01,drop=0.002,stall=0.02,batch=16ms,reboot=encoders@5s,unplug=encoders@5s+2s`; `none`
    /// is no fault. Several flags are one text, joined by commas.
    ///
    /// # Errors
    /// An unknown name, a share outside 0 to 1 or given twice, or an unplugging
    /// that is not `STREAM@START+DURATION`.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        let mut seen = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let share = match name {
                "corrupt" => &mut faults.corrupt,
                "drop" => &mut faults.drop,
                "stall" => &mut faults.stall,
                "unplug" => {
                    faults.unplug.push(parse_unplug(value)?);
                    continue;
                }
                "batch" => {
                    faults.batch_s = parse_batch(value)?;
                    continue;
                }
                "reboot" => {
                    faults.reboot.push(parse_reboot(value)?);
                    continue;
                }
                "none" if value.is_empty() => continue,
                _ => {
                    return Err(FaultsError::Unknown {
                        name: name.to_owned(),
                    });
                }
            };
            if seen.contains(&name) {
                return Err(FaultsError::Twice {
                    name: name.to_owned(),
                });
            }
            seen.push(name);
            *share = value
                .parse()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| FaultsError::Share {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })?;
        }
        Ok(faults)
    }

    /// What happens to the next sample.
    pub(super) fn draw(&self, random: &mut Random) -> Draw {
        Draw {
            drop: random.chance(self.drop),
            corrupt: random.chance(self.corrupt),
            stall_ns: if random.chance(self.stall) {
                (random.between(2e-3, 30e-3) * 1e9) as i64
            } else {
                0
            },
        }
    }
}

impl FromStr for Faults {
    type Err = FaultsError;
    fn from_str(text: &str) -> Result<Self, FaultsError> {
        Self::parse(text)
    }
}

fn parse_batch(value: &str) -> Result<f64, FaultsError> {
    value
        .trim()
        .strip_suffix("ms")
        .and_then(|text| text.trim().parse::<f64>().ok())
        .filter(|ms| (0.0..=1000.0).contains(ms))
        .map(|ms| ms * 1e-3)
        .ok_or_else(|| FaultsError::Time {
            name: "batch",
            value: value.to_owned(),
            expected: "milliseconds, such as batch=16ms",
        })
}

fn parse_reboot(value: &str) -> Result<Reboot, FaultsError> {
    value
        .split_once('@')
        .filter(|(stream, _)| !stream.is_empty())
        .and_then(|(stream, at)| {
            let at_s = at.trim().trim_end_matches('s').parse::<f64>().ok()?;
            (at_s.is_finite() && at_s >= 0.0).then(|| Reboot {
                stream: stream.to_owned(),
                at_s,
            })
        })
        .ok_or_else(|| FaultsError::Time {
            name: "reboot",
            value: value.to_owned(),
            expected: "STREAM@TIME, such as reboot=encoders@5s",
        })
}

fn parse_unplug(value: &str) -> Result<Unplug, FaultsError> {
    let seconds = |text: &str| {
        let number = text.trim().trim_end_matches('s').parse::<f64>().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    };
    let parsed = || {
        let (stream, when) = value.split_once('@')?;
        let (at, duration) = when.split_once('+')?;
        (!stream.is_empty()).then_some(())?;
        Some(Unplug {
            stream: stream.to_owned(),
            at_s: seconds(at)?,
            for_s: seconds(duration)?,
        })
    };
    parsed().ok_or_else(|| FaultsError::Unplug {
        value: value.to_owned(),
    })
}

/// What happens to one sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub drop: bool,
    pub corrupt: bool,
    pub stall_ns: i64,
}

/// How a packet was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// One bit flipped.
    FlippedBit,
    /// 2 to 8 bits flipped, anywhere.
    FlippedBits,
    /// One byte replaced by another.
    OverwrittenByte,
    /// One byte missing.
    MissingByte,
    /// One byte too many, inside.
    InsertedByte,
    /// 1 to 40 bytes of noise before it; the packet itself is whole.
    Garbage,
    /// A datagram cut short.
    Truncated,
    /// A datagram of someone else.
    Foreign,
}

/// A damaged copy of a packet on a serial line; always differs from it.
pub(super) fn damage(packet: &[u8], random: &mut Random) -> (Vec<u8>, Damage) {
    let mut bytes = packet.to_vec();
    let at = random.below(bytes.len());
    let kind = match random.below(6) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            Damage::FlippedBit
        }
        1 => {
            let mut bits: Vec<usize> = (0..bytes.len() * 8).collect();
            for _ in 0..2 + random.below(7) {
                let bit = bits.swap_remove(random.below(bits.len()));
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Damage::FlippedBits
        }
        2 => {
            bytes[at] ^= 1 + random.below(255) as u8;
            Damage::OverwrittenByte
        }
        3 => {
            bytes.remove(at);
            Damage::MissingByte
        }
        4 => {
            bytes.insert(1 + random.below(packet.len() - 1), random.next() as u8);
            Damage::InsertedByte
        }
        _ => {
            let count = 1 + random.below(40);
            bytes.splice(0..0, (0..count).map(|_| random.next() as u8));
            Damage::Garbage
        }
    };
    (bytes, kind)
}

/// SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom
/// number generators", OOPSLA 2014): the same seed makes the same faults.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A sequence of its own for each name.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut random = Self(seed);
        for byte in name.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.uniform() * count as f64) as usize
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    /// Mean 0, standard deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_read() {
        let faults = Faults::parse(
            "corrupt=0.01, drop=0.002,stall=0,unplug=encoders@5s+2s,unplug=head@1+0.5s",
        )
        .expect("good");
        assert_eq!(
            (faults.corrupt, faults.drop, faults.stall),
            (0.01, 0.002, 0.0)
        );
        assert_eq!(
            faults.unplug[0],
            Unplug {
                stream: "encoders".to_owned(),
                at_s: 5.0,
                for_s: 2.0
            }
        );
        assert_eq!(
            faults.unplug[1],
            Unplug {
                stream: "head".to_owned(),
                at_s: 1.0,
                for_s: 0.5
            }
        );
        assert_eq!(Faults::parse("none").expect("none"), Faults::default());
        assert_eq!(
            Faults::parse(Faults::ORDINARY).expect("ordinary").stall,
            0.02
        );
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_known_ones() {
        let message = |text: &str| Faults::parse(text).expect_err("bad").to_string();
        assert!(message("corupt=0.1").contains("corrupt, drop, stall, batch, reboot, unplug"));
        assert!(message("drop=2").contains("0 to 1"));
        assert!(message("drop=").contains("0 to 1"));
        assert!(message("drop=0.1,drop=0.2").contains("twice"));
        assert!(message("unplug=encoders@5s").contains("STREAM@START+DURATION"));
        assert!(message("unplug=@5s+1s").contains("STREAM@START+DURATION"));
    }

    #[test]
    fn damage_always_damages_and_each_kind_happens() {
        let packet: Vec<u8> = (0..64).collect();
        let mut random = Random::new(7, "damage");
        let mut kinds = Vec::new();
        for _ in 0..500 {
            let (bytes, kind) = damage(&packet, &mut random);
            assert_ne!(bytes, packet, "{kind:?}");
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        assert_eq!(kinds.len(), 6);
    }

    #[test]
    fn shares_and_moments_are_as_asked() {
        let mut random = Random::new(1, "moments");
        let hits = (0..20_000).filter(|_| random.chance(0.02)).count();
        assert!((300..500).contains(&hits), "{hits}");
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..20_000 {
            let x = random.normal();
            sum += x;
            squares += x * x;
        }
        assert!((sum / 20_000.0).abs() < 0.03 && (squares / 20_000.0 - 1.0).abs() < 0.05);
    }
}
