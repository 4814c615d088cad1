//! Calibrated exoskeleton joint angles to robot joint positions and motor commands.
//!
//! The exoskeleton is built joint for joint like the hand, so the map itself is the identity in
//! motor order; what is left to do is to keep every answer finite, within limits and within speed.

use std::sync::Arc;

use crate::hand::Hand;

/// The angle asked for was outside the joint's limits.
pub const CLIPPED_LIMIT: u32 = 1;
/// The angle asked for was farther away than the joint can travel in the time given.
pub const CLIPPED_VELOCITY: u32 = 1 << 1;
/// The angle was not a finite number: the previous answer was kept.
pub const NON_FINITE_HELD: u32 = 1 << 2;
/// No finite angle has come yet: the answer is [`Hand::rest`], not a measurement.
pub const NO_ANSWER_YET: u32 = 1 << 3;

/// Longest time between steps over which the speed limit is enforced (s); after a longer gap the
/// hand may start anywhere.
pub const LONGEST_STEP_S: f64 = 0.25;

/// One answer of a [`JointMap`], shape (dof,) each, in motor order.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Joint positions (rad): always finite and within limits.
    pub position: Vec<f64>,
    /// Motor commands, in the unit of each [`crate::Motor`].
    pub motor: Vec<f64>,
    /// Asked minus given (rad); NaN where the angle asked for was not a finite number.
    pub residual_rad: Vec<f64>,
    /// Per joint: [`CLIPPED_LIMIT`], [`CLIPPED_VELOCITY`], [`NON_FINITE_HELD`], [`NO_ANSWER_YET`].
    pub flags: Vec<u32>,
}

impl Step {
    /// The flags of all joints together.
    pub fn any_flags(&self) -> u32 {
        self.flags.iter().fold(0, |all, flags| all | flags)
    }
}

/// What a [`JointMap`] did so far, in angles: received = passed + clipped + held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MapCounts {
    /// Angles received.
    pub received: u64,
    /// Angles passed on unchanged.
    pub passed: u64,
    /// Angles clipped to a limit, to the speed limit, or both.
    pub clipped: u64,
    /// Angles that were not finite and left the joint where it was.
    pub held: u64,
}

/// The map and its memory: the previous answer.
#[derive(Debug, Clone)]
pub struct JointMap {
    hand: Arc<Hand>,
    /// Half width of each joint's play (rad), and where it has been taken up.
    play: Vec<(f64, Option<f64>)>,
    last: Step,
    has_answer: Vec<bool>,
    counts: MapCounts,
}

impl JointMap {
    /// A map onto `hand`, which stands in [`Hand::rest`] until the first finite angle.
    pub fn new(hand: impl Into<Arc<Hand>>) -> Self {
        let hand = hand.into();
        let position = hand.rest();
        let dof = hand.dof();
        let motor = position
            .iter()
            .zip(hand.motors())
            .map(|(&position, motor)| motor.command(position))
            .collect();
        Self {
            last: Step {
                position,
                motor,
                residual_rad: vec![0.0; dof],
                flags: vec![NO_ANSWER_YET; dof],
            },
            has_answer: vec![false; dof],
            counts: MapCounts::default(),
            play: vec![(0.0, None); dof],
            hand,
        }
    }

    /// Takes out the exoskeleton's play: within ±`half_widths` (rad, shape (dof,), none below 0) of where
    /// the hand stands an angle moves nothing, beyond it the rest. A calibration measures them as half
    /// the gap between its sweeps up and down; this is the play operator (Brokate & Sprekels,
    /// Hysteresis and Phase Transitions, section 2.1).
    ///
    /// # Panics
    /// When the number of widths is not [`Hand::dof`], or one is below 0 or no number.
    pub fn with_play(mut self, half_widths: &[f64]) -> Self {
        assert_eq!(half_widths.len(), self.hand.dof(), "wrong number of widths");
        assert!(
            half_widths.iter().all(|&width| width >= 0.0),
            "a width below 0: {half_widths:?}"
        );
        self.play = half_widths.iter().map(|&width| (width, None)).collect();
        self
    }

    /// The hand mapped onto.
    pub fn hand(&self) -> &Arc<Hand> {
        &self.hand
    }

    /// What was done so far.
    pub fn counts(&self) -> MapCounts {
        self.counts
    }

    /// Maps calibrated exoskeleton angles, shape (dof,) (rad), in motor order.
    ///
    /// `dt_s` is the time since the previous step (s). `None`, a value that is not finite, or one
    /// above [`LONGEST_STEP_S`] is a gap and restarts the speed limit; zero or less leaves no time
    /// to move in.
    ///
    /// # Panics
    /// When the number of angles is not [`Hand::dof`].
    pub fn step(&mut self, angles: &[f64], dt_s: Option<f64>) -> &Step {
        assert_eq!(angles.len(), self.hand.dof(), "wrong number of angles");
        let dt_s = dt_s.filter(|dt_s| dt_s.is_finite() && *dt_s <= LONGEST_STEP_S);
        for (joint, &asked) in angles.iter().enumerate() {
            self.step_joint(joint, asked, dt_s);
        }
        &self.last
    }

    fn step_joint(&mut self, joint: usize, asked: f64, dt_s: Option<f64>) {
        self.counts.received += 1;
        if !asked.is_finite() {
            self.counts.held += 1;
            self.last.residual_rad[joint] = f64::NAN;
            self.last.flags[joint] = NON_FINITE_HELD;
            if !self.has_answer[joint] {
                self.last.flags[joint] |= NO_ANSWER_YET;
            }
            return;
        }
        let (half_width, at) = &mut self.play[joint];
        let played = at
            .unwrap_or(asked)
            .clamp(asked - *half_width, asked + *half_width);
        *at = Some(played);
        let asked = played;
        let (lower, upper) = self.hand.limits()[joint];
        let mut flags = 0;
        let mut given = asked.clamp(lower, upper);
        if given != asked {
            flags |= CLIPPED_LIMIT;
        }
        if let Some(dt_s) = dt_s.filter(|_| self.has_answer[joint]) {
            let reach = self.hand.velocities()[joint] * dt_s.max(0.0);
            let previous = self.last.position[joint];
            let reached = given.clamp(previous - reach, previous + reach);
            if reached != given {
                flags |= CLIPPED_VELOCITY;
                given = reached;
            }
        }
        self.has_answer[joint] = true;
        self.last.position[joint] = given;
        self.last.motor[joint] = self.hand.motors()[joint].command(given);
        self.last.residual_rad[joint] = asked - given;
        self.last.flags[joint] = flags;
        if flags == 0 {
            self.counts.passed += 1;
        } else {
            self.counts.clipped += 1;
        }
    }
}
