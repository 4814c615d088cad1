//! A recording of keypoints through a preset, with figures: the same for gloves and for files.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::axes::{PointAxes, in_hand_axes, lies_along_hand_axes};
use crate::exo_map::LONGEST_STEP_S;
use crate::figures::{FigureTally, StepFigures};
use crate::hand::Hand;
use crate::keypoints::{FingerScale, KeypointError, Keypoints, finger_scales};
use crate::preset::{Preset, PresetError};
use crate::retargeter::{Limits, RetargetOptions, Retargeter, Verdict};
use crate::smooth::{SmoothOptions, Smoother};

/// Which preset is used, its scales still to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PresetKind {
    /// [`Preset::Vector`].
    Vector,
    /// [`Preset::Position`], the hand's root free to move.
    Position,
    /// [`Preset::DexPilot`].
    DexPilot,
    /// [`Preset::Dexumi`].
    #[default]
    Dexumi,
}

impl PresetKind {
    /// The name that the command line and files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Position => "position",
            Self::DexPilot => "dexpilot",
            Self::Dexumi => "dexumi",
        }
    }
}

/// How a recording of keypoints is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FollowOptions {
    /// The objective.
    pub preset: PresetKind,
    /// Robot over human; `None`: measured on the recording, finger by finger ([`finger_scales`]), for
    /// `vector` and `dexpilot` their mean.
    pub scale: Option<f64>,
    /// What every answer keeps.
    pub limits: Limits,
    /// Links are held apart, where the preset does so.
    pub collision: bool,
    /// Smoothed without lag, or `None`: as live.
    pub smooth: Option<SmoothOptions>,
    /// The axes that the points are given in.
    pub axes: PointAxes,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            preset: PresetKind::Dexumi,
            scale: None,
            limits: Limits::All,
            collision: true,
            smooth: Some(SmoothOptions::default()),
            axes: PointAxes::Auto,
        }
    }
}

/// What decides a result, as text that two runs can compare.
#[derive(Serialize)]
struct Configuration {
    preset: &'static str,
    scale: Option<f64>,
    limits: &'static str,
    collision: bool,
    smooth: Option<(f64, usize, usize)>,
    axes: &'static str,
}

impl FollowOptions {
    /// All of it as JSON.
    pub fn to_json(&self) -> String {
        let configuration = Configuration {
            preset: self.preset.name(),
            scale: self.scale,
            limits: match self.limits {
                Limits::All => "all",
                Limits::Position => "position",
                Limits::Joints => "joints",
            },
            collision: self.collision,
            smooth: self
                .smooth
                .map(|smooth| (smooth.roughness, smooth.stretch, smooth.ahead)),
            axes: match self.axes {
                PointAxes::Hand => "hand",
                PointAxes::Any => "any",
                PointAxes::Auto => "auto",
            },
        };
        serde_json::to_string(&configuration).expect("plain data is representable as JSON")
    }
}

/// Why a recording cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The person could not be measured.
    #[error(transparent)]
    Keypoints(#[from] KeypointError),
    /// The preset does not fit the hand.
    #[error(transparent)]
    Preset(#[from] PresetError),
}

enum Engine {
    Live(Box<Retargeter>),
    Recorded(Box<Smoother>),
}

/// Follows one recording.
pub struct Follower {
    hand: Arc<Hand>,
    engine: Engine,
    is_turned: bool,
    scales: Vec<FingerScale>,
}

impl Follower {
    /// Measures the person on `clip` and makes everything ready.
    ///
    /// # Errors
    /// [`FollowError`]: no hand in the clip, or a preset that does not fit.
    pub fn new(
        hand: &Arc<Hand>,
        options: &FollowOptions,
        clip: &[Keypoints],
    ) -> Result<Self, FollowError> {
        let scales = match (options.preset, options.scale) {
            (PresetKind::Position, _) => Vec::new(),
            (_, None) => finger_scales(hand, clip)?,
            (_, Some(scale)) => {
                let tips = hand.tips().iter();
                tips.map(|tip| FingerScale {
                    finger: tip.finger,
                    tip: scale,
                    middle: scale,
                })
                .collect()
            }
        };
        let mean = scales.iter().map(|scale| scale.tip).sum::<f64>() / scales.len().max(1) as f64;
        let mut hand = hand.clone();
        let preset = match options.preset {
            PresetKind::Vector => Preset::Vector {
                scale: mean,
                follow: Vec::new(),
            },
            PresetKind::DexPilot => Preset::DexPilot { scale: mean },
            PresetKind::Dexumi => Preset::dexumi(scales.clone()),
            PresetKind::Position => {
                hand = Arc::new(hand.with_floating_root());
                Preset::Position { follow: Vec::new() }
            }
        };
        let mut retarget = RetargetOptions::new(preset);
        retarget.limits = options.limits;
        if !options.collision {
            retarget.collision = None;
        }
        let is_turned = match options.axes {
            _ if options.preset == PresetKind::Position => false,
            PointAxes::Hand => false,
            PointAxes::Any => true,
            PointAxes::Auto => !lies_along_hand_axes(clip, hand.side()),
        };
        let engine = match options.smooth {
            None => Engine::Live(Box::new(Retargeter::new(hand.clone(), &retarget)?)),
            Some(smooth) => {
                Engine::Recorded(Box::new(Smoother::new(hand.clone(), &retarget, smooth)?))
            }
        };
        Ok(Self {
            hand,
            engine,
            is_turned,
            scales,
        })
    }

    /// The hand followed with: for [`PresetKind::Position`], one whose root is free.
    pub fn hand(&self) -> &Arc<Hand> {
        &self.hand
    }

    /// Whether every step is turned into the axes that its points show.
    pub fn is_turned(&self) -> bool {
        self.is_turned
    }

    /// Robot over human, finger by finger.
    pub fn scales(&self) -> &[FingerScale] {
        &self.scales
    }

    /// Follows `clip` at `times_s` (s), as many and increasing; `each` gets every answer with its index, in
    /// order. `None` when `each` breaks it off.
    ///
    /// # Panics
    /// When there are not as many times as steps.
    pub fn run(
        mut self,
        clip: &[Keypoints],
        times_s: &[f64],
        mut each: impl FnMut(usize, &Verdict) -> ControlFlow<()>,
    ) -> Option<StepFigures> {
        assert_eq!(clip.len(), times_s.len(), "one time a step");
        let mut tally = FigureTally::new(&self.hand);
        let mut ready: Vec<Verdict> = Vec::new();
        let mut next = 0;
        let mut spent_s = 0.0;
        let since = |at: usize| {
            at.checked_sub(1)
                .map(|before| times_s[at] - times_s[before])
        };
        for step in 0..=clip.len() {
            let began = Instant::now();
            match (clip.get(step), &mut self.engine) {
                (Some(points), engine) => {
                    let points = if self.is_turned {
                        in_hand_axes(points, self.hand.side())
                    } else {
                        *points
                    };
                    let keep = |verdict: &Verdict| ready.push(verdict.clone());
                    match engine {
                        Engine::Live(live) => ready.push(live.step(&points, since(step)).clone()),
                        Engine::Recorded(smoother) => smoother.push(&points, since(step), keep),
                    }
                }
                (None, Engine::Live(_)) => break,
                (None, Engine::Recorded(smoother)) => {
                    smoother.flush(|verdict| ready.push(verdict.clone()));
                }
            }
            // A stretch is worked on at once: its time is shared among its steps.
            spent_s += began.elapsed().as_secs_f64();
            let share_s = spent_s / ready.len().max(1) as f64;
            if !ready.is_empty() {
                spent_s = 0.0;
            }
            for verdict in ready.drain(..) {
                tally.time(share_s);
                let is_gap = since(next).is_none_or(|dt_s| dt_s > LONGEST_STEP_S);
                tally.keypoints(&clip[next], &verdict, is_gap);
                if each(next, &verdict).is_break() {
                    return None;
                }
                next += 1;
            }
        }
        Some(tally.finish())
    }
}
