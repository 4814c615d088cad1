//! How well a recording was followed, in figures.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exo_map::{CLIPPED_LIMIT, CLIPPED_VELOCITY, NO_ANSWER_YET, NON_FINITE_HELD};
use crate::hand::{Finger, Hand, JointKind};
use crate::keypoints::{Keypoints, tip_and_middle};
use crate::kinematics::Kinematics;
use crate::retargeter::{AT_LIMIT, AT_SPEED, COLLISION_CLIPPED, Verdict};

/// Human tips nearer than this pinch (m).
pub const PINCH_M: f64 = 0.03;

/// A recording in figures. What the source does not have is absent: an exoskeleton asks for no tips.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepFigures {
    /// Steps answered.
    pub steps: u64,
    /// Those whose input could not be followed: the answer before was kept.
    pub held: u64,
    /// Those at a limit, at a speed limit, or cut short to keep links apart.
    pub clipped: u64,
    /// Those with a joint at a limit of position.
    pub at_limit: u64,
    /// Those with a joint at a limit of speed or acceleration.
    pub at_speed: u64,
    /// Those cut short to keep links apart.
    pub collision_clipped: u64,
    /// Distance of fingertips from where they were asked to be, mean over tips and steps (m).
    pub tip_error_mean_m: Option<f64>,
    /// Its 95th percentile (m).
    pub tip_error_p95_m: Option<f64>,
    /// Times that the human thumb and another tip were less than [`PINCH_M`] apart.
    pub pinches: u64,
    /// Distance of the same robot tips then, mean (m).
    pub pinch_gap_mean_m: Option<f64>,
    /// Second difference of the revolute joints, mean square over joints and steps (rad²).
    pub jitter_rad2: Option<f64>,
    /// Time for a step, median (s); with smoothing, that of a stretch shared among its steps.
    pub step_time_p50_s: f64,
    /// Its 99th percentile (s).
    pub step_time_p99_s: f64,
    /// Its mean (s).
    pub step_time_mean_s: f64,
}

/// Gathers [`StepFigures`] step by step.
#[derive(Debug, Clone)]
pub(crate) struct FigureTally {
    figures: StepFigures,
    kinematics: Kinematics,
    revolute: Vec<usize>,
    /// Index of the thumb among the hand's tips, and of each other one, with their keypoints.
    pairs: Vec<[(usize, usize); 2]>,
    tip_errors_m: Vec<f64>,
    gap_sum_m: f64,
    /// The two positions before, as far as no gap and no held step lies between.
    before: Vec<Vec<f64>>,
    square_sum: f64,
    squares: u64,
    times_s: Vec<f64>,
}

impl FigureTally {
    pub(crate) fn new(hand: &Arc<Hand>) -> Self {
        let tips = || hand.tips().iter().enumerate();
        let end = |(index, tip): (usize, &crate::Tip)| (index, tip_and_middle(tip.finger).0);
        let thumb = tips().find(|(_, tip)| tip.finger == Finger::Thumb).map(end);
        let others = || {
            tips()
                .filter(|(_, tip)| tip.finger != Finger::Thumb)
                .map(end)
        };
        Self {
            figures: StepFigures::default(),
            kinematics: Kinematics::new(hand.clone()),
            revolute: (0..hand.dof())
                .filter(|&at| hand.joints()[hand.variables()[at]].kind == JointKind::Revolute)
                .collect(),
            pairs: thumb.map_or(Vec::new(), |thumb| {
                others().map(|other| [thumb, other]).collect()
            }),
            tip_errors_m: Vec::new(),
            gap_sum_m: 0.0,
            before: Vec::new(),
            square_sum: 0.0,
            squares: 0,
            times_s: Vec::new(),
        }
    }

    /// Counts the time that one step took (s).
    pub(crate) fn time(&mut self, seconds: f64) {
        self.times_s.push(seconds);
    }

    /// Counts an answer to keypoints; `is_gap`: the time before it was a gap.
    pub(crate) fn keypoints(&mut self, keypoints: &Keypoints, verdict: &Verdict, is_gap: bool) {
        let figures = &mut self.figures;
        figures.steps += 1;
        if verdict.is_held() {
            figures.held += 1;
            self.before.clear();
            return;
        }
        let has = |flag: u32| u64::from(verdict.flags & flag != 0);
        figures.at_limit += has(AT_LIMIT);
        figures.at_speed += has(AT_SPEED);
        figures.collision_clipped += has(COLLISION_CLIPPED);
        figures.clipped += has(AT_LIMIT | AT_SPEED | COLLISION_CLIPPED);
        self.tip_errors_m
            .extend(verdict.tip_error_m.iter().filter(|error| error.is_finite()));
        self.pinch(keypoints, &verdict.position);
        self.jitter(&verdict.position, is_gap);
    }

    /// Counts an answer to joint angles, with the flags of all joints together.
    pub(crate) fn joints(&mut self, position: &[f64], flags: u32, is_gap: bool) {
        let figures = &mut self.figures;
        figures.steps += 1;
        if flags & (NON_FINITE_HELD | NO_ANSWER_YET) != 0 {
            figures.held += 1;
            self.before.clear();
            return;
        }
        let has = |flag: u32| u64::from(flags & flag != 0);
        figures.at_limit += has(CLIPPED_LIMIT);
        figures.at_speed += has(CLIPPED_VELOCITY);
        figures.clipped += has(CLIPPED_LIMIT | CLIPPED_VELOCITY);
        self.jitter(position, is_gap);
    }

    fn pinch(&mut self, keypoints: &Keypoints, position: &[f64]) {
        let apart = |[(_, thumb), (_, other)]: &[(usize, usize); 2]| {
            (keypoints[*thumb] - keypoints[*other]).norm()
        };
        if self.pairs.iter().all(|pair| apart(pair) >= PINCH_M) {
            return;
        }
        let hand = self.kinematics.hand().clone();
        let pose = self.kinematics.update(position);
        let pad = |at: usize| {
            let tip = &hand.tips()[at];
            pose.root_from_joint[tip.joint] * (tip.point_in_joint + tip.pad)
        };
        for pair in self.pairs.iter().filter(|pair| apart(pair) < PINCH_M) {
            self.figures.pinches += 1;
            self.gap_sum_m += (pad(pair[0].0) - pad(pair[1].0)).norm();
        }
    }

    fn jitter(&mut self, position: &[f64], is_gap: bool) {
        if is_gap {
            self.before.clear();
        }
        if let [first, second] = &self.before[..] {
            for &at in &self.revolute {
                let difference = position[at] - 2.0 * second[at] + first[at];
                self.square_sum += difference * difference;
                self.squares += 1;
            }
            self.before.remove(0);
        }
        self.before.push(position.to_vec());
    }

    pub(crate) fn finish(mut self) -> StepFigures {
        let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let part = |sorted: &[f64], part: f64| {
            let at = (part * sorted.len() as f64) as usize;
            sorted.get(at.min(sorted.len().saturating_sub(1))).copied()
        };
        let mut figures = self.figures;
        let errors = &mut self.tip_errors_m;
        errors.sort_by(f64::total_cmp);
        figures.tip_error_mean_m = mean(errors.iter().sum(), errors.len());
        figures.tip_error_p95_m = part(errors, 0.95);
        figures.pinch_gap_mean_m = mean(self.gap_sum_m, figures.pinches as usize);
        figures.jitter_rad2 = mean(self.square_sum, self.squares as usize);
        let times = &mut self.times_s;
        times.sort_by(f64::total_cmp);
        figures.step_time_p50_s = part(times, 0.5).unwrap_or(0.0);
        figures.step_time_p99_s = part(times, 0.99).unwrap_or(0.0);
        figures.step_time_mean_s = mean(times.iter().sum(), times.len()).unwrap_or(0.0);
        figures
    }
}
