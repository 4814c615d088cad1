//! The motors of a hand: units, and joint positions to commands.

use serde::Deserialize;

use crate::hand::JointKind;

/// Unit of a motor command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MotorUnit {
    /// Radians.
    Rad,
    /// Metres, of a prismatic joint.
    M,
    /// Thousandths of the travel, 0 to 1000.
    Thousandth,
}

impl MotorUnit {
    /// As in hand files and in what is written: `rad`, `m`, `thousandth`.
    pub fn name(self) -> &'static str {
        match self {
            MotorUnit::Rad => "rad",
            MotorUnit::M => "m",
            MotorUnit::Thousandth => "thousandth",
        }
    }
}

/// How a joint position becomes a motor command:
/// command = scale · position + offset, kept between `lower` and `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motor {
    /// Unit of the command.
    pub unit: MotorUnit,
    /// Command per unit of position, not 0: +1 or −1 where both are in rad.
    pub scale: f64,
    /// Command at joint position zero.
    pub offset: f64,
    /// Smallest command that the motor takes.
    pub lower: f64,
    /// Largest command that the motor takes.
    pub upper: f64,
}

impl Motor {
    /// A motor that takes the joint's own position, within the joint's limits (rad or m).
    pub(crate) fn direct(kind: JointKind, (lower, upper): (f64, f64)) -> Self {
        Self {
            unit: match kind {
                JointKind::Revolute => MotorUnit::Rad,
                JointKind::Prismatic => MotorUnit::M,
            },
            scale: 1.0,
            offset: 0.0,
            lower,
            upper,
        }
    }

    /// Motor command ([`Motor::unit`]) for a joint position (rad or m), within the motor's range.
    pub fn command(&self, position: f64) -> f64 {
        (self.scale * position + self.offset).clamp(self.lower, self.upper)
    }

    /// Joint position (rad or m) that a motor command stands for.
    pub fn position(&self, command: f64) -> f64 {
        (command - self.offset) / self.scale
    }
}
