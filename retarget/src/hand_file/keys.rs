//! The TOML keys of a hand file, as `docs/hand-file.md` describes them.

use serde::Deserialize;

use crate::hand::{Finger, JointKind, Side};
use crate::motor::MotorUnit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandFile {
    pub(super) name: String,
    pub(super) side: Side,
    pub(super) root: String,
    pub(super) joint: Vec<JointEntry>,
    #[serde(default)]
    pub(super) frame: Vec<FrameEntry>,
    pub(super) tip: Vec<TipEntry>,
    #[serde(default)]
    pub(super) capsule: Vec<CapsuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JointEntry {
    pub(super) name: String,
    pub(super) link: Option<String>,
    #[serde(default)]
    pub(super) kind: JointKind,
    pub(super) parent: String,
    pub(super) xyz: [f64; 3],
    pub(super) rpy: [f64; 3],
    pub(super) axis: [f64; 3],
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) velocity: f64,
    pub(super) motor: Option<MotorEntry>,
    pub(super) mimic: Option<MimicEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MotorEntry {
    pub(super) unit: MotorUnit,
    pub(super) sign: Option<f64>,
    pub(super) offset: Option<f64>,
    pub(super) at_lower: Option<f64>,
    pub(super) at_upper: Option<f64>,
    pub(super) index: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MimicEntry {
    pub(super) joint: String,
    pub(super) factor: f64,
    pub(super) offset: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameEntry {
    pub(super) name: String,
    pub(super) parent: String,
    pub(super) xyz: [f64; 3],
    pub(super) rpy: [f64; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TipEntry {
    pub(super) finger: Finger,
    pub(super) joint: String,
    pub(super) xyz: [f64; 3],
    #[serde(default)]
    pub(super) rpy: [f64; 3],
    #[serde(default)]
    pub(super) pad: [f64; 3],
    pub(super) link: Option<String>,
    pub(super) middle_joint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapsuleEntry {
    pub(super) link: String,
    pub(super) from: [f64; 3],
    pub(super) to: [f64; 3],
    pub(super) radius: f64,
    pub(super) rgb: [u8; 3],
}
