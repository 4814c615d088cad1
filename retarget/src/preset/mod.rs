//! What a step asks of the hand: which points follow which keypoints, how strongly, and to where.
//!
//! Three presets state the objectives of dex-retargeting (Qin et al., AnyTeleop, RSS 2023; Handa et
//! al., DexPilot, ICRA 2020) exactly as its release 0.5 computes them, for comparison; `dexumi` is
//! our own.

mod dexpilot;
mod ours;
mod plain;

use nalgebra::{Point3, Vector3};

pub use ours::DexumiWeights;

use crate::hand::{Finger, Hand};
use crate::keypoints::{FingerScale, Keypoints};
use crate::solver::{LinkPoint, Loss, Pull, Term};

/// Which objective is minimised.
#[derive(Debug, Clone, PartialEq)]
pub enum Preset {
    /// dex-retargeting's `vector`: wrist to tip, Huber of the length,
    /// (1/n) Σ H₀.₀₂(‖p_tip − p_wrist − s v‖) + 4·10⁻³ ‖q − q₋‖².
    Vector {
        /// s, robot over human.
        scale: f64,
        /// Places of the hand and the keypoints that they follow; empty: its tips.
        follow: Vec<(String, usize)>,
    },
    /// dex-retargeting's `position`: points in the world, Huber of each coordinate, the hand's root
    /// free to move (see [`Hand::with_floating_root`]).
    Position {
        /// Places of the hand and the keypoints that they follow; empty: its tips.
        follow: Vec<(String, usize)>,
    },
    /// dex-retargeting's `dexpilot`: wrist to tip and every pair of tips, which latch together below
    /// 3 cm and release above 5 cm.
    DexPilot {
        /// Robot over human.
        scale: f64,
    },
    /// Ours: a scale per finger, tip, middle joint and distal direction, a pinch that comes on smoothly, a
    /// posture to fall back on.
    Dexumi {
        /// The person, from [`crate::finger_scales`]; a finger without an entry has scale 1.
        scales: Vec<FingerScale>,
        /// How strongly each part counts.
        weights: DexumiWeights,
    },
}

impl Preset {
    /// Our own preset with its usual weights, for a person measured by [`crate::finger_scales`].
    pub fn dexumi(scales: Vec<FingerScale>) -> Self {
        Self::Dexumi {
            scales,
            weights: DexumiWeights::default(),
        }
    }

    /// The name that the command line and files use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vector { .. } => "vector",
            Self::Position { .. } => "position",
            Self::DexPilot { .. } => "dexpilot",
            Self::Dexumi { .. } => "dexumi",
        }
    }
}

/// Why a preset does not fit a hand.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// A place that the hand does not have.
    #[error(
        "hand {hand} has no place \"{name}\": expected one of {known}; correct the list of places to follow"
    )]
    UnknownPlace {
        /// The hand.
        hand: String,
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },
    /// A keypoint that there is not.
    #[error(
        "place \"{name}\" shall follow keypoint {keypoint}: expected 1 to 20; correct the list"
    )]
    UnknownKeypoint {
        /// The place.
        name: String,
        /// The keypoint asked for.
        keypoint: usize,
    },
    /// The open hand touches itself.
    #[error(
        "hand {hand} stands with links {clearance_m:.4} m apart: expected more than the safe distance; \
         correct its capsules, or go without collision"
    )]
    StandsInCollision {
        /// The hand.
        hand: String,
        /// Least distance of its links (m).
        clearance_m: f64,
    },
}

/// Weight of the pull to the last answer in dex-retargeting, `norm_delta`.
pub(crate) const REFERENCE_INERTIA: f64 = 4e-3;

/// Target and weight of one term.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    pub(crate) target: Vector3<f64>,
    pub(crate) weight: f64,
}

/// A preset made ready for a hand: what [`crate::solver::StepSolver`] wants, and the rule that turns
/// keypoints into goals.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) points: Vec<LinkPoint>,
    pub(crate) terms: Vec<Term>,
    pub(crate) delta: f64,
    pub(crate) inertia: f64,
    /// The term of each tip, in the order of [`Hand::tips`].
    pub(crate) tip_terms: Vec<usize>,
    rule: Rule,
    goals: Vec<Goal>,
}

#[derive(Debug, Clone)]
enum Rule {
    Plain(plain::Plain),
    DexPilot(dexpilot::DexPilot),
    Dexumi(ours::Dexumi),
}

impl Plan {
    /// # Errors
    /// [`PresetError`] when the preset names places that the hand does not have.
    pub(crate) fn new(hand: &Hand, preset: &Preset) -> Result<Self, PresetError> {
        match preset {
            Preset::Vector { scale, follow } => plain::vector(hand, *scale, follow),
            Preset::Position { follow } => plain::position(hand, follow),
            Preset::DexPilot { scale } => Ok(dexpilot::plan(hand, *scale)),
            Preset::Dexumi { scales, weights } => Ok(ours::plan(hand, scales, weights)),
        }
    }

    fn build(
        points: Vec<LinkPoint>,
        terms: Vec<Term>,
        (delta, inertia): (f64, f64),
        tip_terms: Vec<usize>,
        rule: Rule,
    ) -> Self {
        let nothing = Goal {
            target: Vector3::zeros(),
            weight: 0.0,
        };
        Self {
            goals: vec![nothing; terms.len()],
            points,
            terms,
            delta,
            inertia,
            tip_terms,
            rule,
        }
    }

    /// Goals of the terms for keypoints, which are finite, in the order of [`Plan::terms`].
    pub(crate) fn update(&mut self, keypoints: &Keypoints) -> &[Goal] {
        match &mut self.rule {
            Rule::Plain(rule) => rule.update(keypoints, &mut self.goals),
            Rule::DexPilot(rule) => rule.update(keypoints, &mut self.goals),
            Rule::Dexumi(rule) => rule.update(keypoints, &mut self.goals),
        }
        &self.goals
    }

    /// Goals of the last [`Plan::update`].
    pub(crate) fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// The posture that keypoints speak for, one entry per variable; `None` where the preset has
    /// none.
    pub(crate) fn posture(&self) -> Option<&[Pull]> {
        match &self.rule {
            Rule::Dexumi(rule) => Some(rule.posture()),
            Rule::Plain(_) | Rule::DexPilot(_) => None,
        }
    }

    /// How closed each pinch of the last update is, thumb to each other tip of the hand: 0 open, 1
    /// closed.
    pub(crate) fn pinch(&self) -> &[f64] {
        match &self.rule {
            Rule::Dexumi(rule) => rule.pinch(),
            Rule::DexPilot(rule) => rule.pinch(),
            Rule::Plain(_) => &[],
        }
    }

    /// Forgets what earlier keypoints left behind.
    pub(crate) fn restart(&mut self) {
        if let Rule::DexPilot(rule) = &mut self.rule {
            rule.restart();
        }
    }
}

/// The vendor's point of each tip, in file order.
fn tip_points(hand: &Hand) -> impl Iterator<Item = LinkPoint> {
    hand.tips().iter().map(|tip| LinkPoint {
        joint: Some(tip.joint),
        point_in_joint: tip.point_in_joint,
    })
}

/// The hand's wrist, where the human one is laid.
pub(crate) fn wrist_point(hand: &Hand) -> LinkPoint {
    let frame = hand.wrist();
    LinkPoint {
        joint: frame.joint,
        point_in_joint: Point3::from(frame.link_from_frame.translation.vector),
    }
}

/// Index of a finger's tip among the keypoints.
fn tip_keypoint(finger: Finger) -> usize {
    4 + 4 * finger as usize
}

/// A term whose goal is still to be set.
fn term(origin: Option<usize>, task: usize, loss: Loss) -> Term {
    Term {
        origin,
        task,
        loss,
        target: Vector3::zeros(),
        weight: 0.0,
    }
}
