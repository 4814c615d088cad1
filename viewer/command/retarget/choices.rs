//! What the options of the command mean.

use std::path::Path;

use anyhow::Result;
use clap::{ValueEnum, error::ErrorKind};
use dexumi_retarget::{
    Arm, FollowOptions, Hand, Limits, PointAxes, PresetKind, Side, SmoothOptions, UrdfOptions,
};

use super::Retarget;

/// Choice of `--preset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetChoice {
    /// Ours: a scale per finger, pads that meet in a pinch, links held apart.
    Dexumi,
    /// Wrist to tips, as dex-retargeting's `vector`.
    Vector,
    /// Tips in the world, the hand's root free, as dex-retargeting's `position`.
    Position,
    /// Wrist to tips and tips to tips, as dex-retargeting's `dexpilot`.
    #[value(name = "dexpilot")]
    DexPilot,
}

/// Choice of `--limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LimitsChoice {
    /// Position and speed of every joint, coupled ones included.
    All,
    /// Position of every joint, coupled ones included.
    Position,
    /// Position of the actuated joints alone, as dex-retargeting.
    Joints,
}

/// Choice of `--axes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AxesChoice {
    /// The hand's: x out of the palm, z from wrist to fingers.
    Hand,
    /// Found from the points, for a glove always, for a .npy file where they do not lie along the hand's.
    Auto,
}

/// Choice of `--side`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SideChoice {
    /// Left.
    Left,
    /// Right.
    Right,
}

impl From<SideChoice> for Side {
    fn from(choice: SideChoice) -> Self {
        match choice {
            SideChoice::Left => Self::Left,
            SideChoice::Right => Self::Right,
        }
    }
}

/// What the options say of following keypoints.
pub fn follow(command: &Retarget) -> FollowOptions {
    FollowOptions {
        preset: match command.preset {
            PresetChoice::Dexumi => PresetKind::Dexumi,
            PresetChoice::Vector => PresetKind::Vector,
            PresetChoice::Position => PresetKind::Position,
            PresetChoice::DexPilot => PresetKind::DexPilot,
        },
        scale: command.scale,
        limits: match command.limits {
            LimitsChoice::All => Limits::All,
            LimitsChoice::Position => Limits::Position,
            LimitsChoice::Joints => Limits::Joints,
        },
        collision: !command.no_collision,
        smooth: (!command.live).then(SmoothOptions::default),
        axes: match command.axes {
            AxesChoice::Hand => PointAxes::Hand,
            AxesChoice::Auto => PointAxes::Auto,
        },
    }
}

/// Whether a hand is given as a URDF.
pub fn is_urdf(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("urdf"))
}

/// A hand by name or by path, with what a URDF does not say.
///
/// # Errors
/// It does not exist or is no hand; the message lists the known names.
pub fn read_hand(name: &str, tips: Option<&str>, side: Option<Side>) -> Result<Hand> {
    let path = Path::new(name);
    if is_urdf(name) {
        let options = UrdfOptions {
            side,
            tips: tips.map_or(Ok(Vec::new()), UrdfOptions::tips_from_text)?,
            name: None,
        };
        return Ok(Hand::from_urdf(path, &options)?);
    }
    let is_file = path.extension().is_some_and(|ending| ending == "toml");
    Ok(if is_file {
        Hand::from_path(path)?
    } else {
        Hand::by_name(name)?
    })
}

/// An arm by name or by path.
///
/// # Errors
/// It does not exist or is no arm; the message lists the known names.
pub fn read_arm(name: &str) -> Result<Arm> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|ending| ending == "toml") || is_urdf(name);
    Ok(if is_file {
        Arm::from_path(path)?
    } else {
        Arm::by_name(name)?
    })
}

/// Ends the program with a message on its usage (exit code 2).
pub fn refuse(message: &str) -> ! {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")).exit()
}

/// A rate, for `--fps` and `--rate`.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text, 10_000.0, "Hz")
}

/// A factor, for `--scale`.
pub fn scale(text: &str) -> Result<f64, String> {
    number(text, 100.0, "times")
}

fn number(text: &str, most: f64, unit: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|&number: &f64| number > 0.0 && number <= most);
    number.ok_or_else(|| format!("got `{text}`, expected more than 0 and at most {most} {unit}"))
}
