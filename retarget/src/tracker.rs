//! Live keypoints, evened out: a critically damped follower behind the solver.
//!
//! ẍ = ω² (u − x) − 2 ω ẋ with the solver's answer u, exactly over a step of Δt: with d = x − u and
//! t = (v + ω d) Δt, v ← (v − ω t) e and x ← u + (d + t) e, e = exp(−ω Δt). Its answer to a step rises
//! without overshoot and does not depend on the rate. ω grows while a pinch is closed, so that the
//! pinch is not smeared. Then the answer passes through the same box and distance of links as every
//! other; where that stops a joint, its speed is forgotten.

use crate::hand::Hand;
use crate::keypoints::Keypoints;
use crate::preset::PresetError;
use crate::retargeter::{RESEEDED, RetargetOptions, Retargeter, Verdict};

/// How quickly live answers are followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerOptions {
    /// ω with an open hand (rad/s).
    pub open: f64,
    /// ω in a closed pinch (rad/s).
    pub pinching: f64,
}

impl Default for TrackerOptions {
    fn default() -> Self {
        Self {
            open: 16.0,
            pinching: 32.0,
        }
    }
}

/// Follows live keypoints, evened out. No step allocates.
#[derive(Debug, Clone)]
pub struct Tracker {
    options: TrackerOptions,
    solved: Retargeter,
    settled: Retargeter,
    position: Vec<f64>,
    speed: Vec<f64>,
}

impl Tracker {
    /// A tracker for `hand`.
    ///
    /// # Errors
    /// As [`Retargeter::new`].
    pub fn new(
        hand: impl Into<std::sync::Arc<Hand>>,
        options: &RetargetOptions,
        tracker: TrackerOptions,
    ) -> Result<Self, PresetError> {
        let hand = hand.into();
        let solved = Retargeter::new(hand.clone(), options)?;
        Ok(Self {
            options: tracker,
            position: solved.last().position.clone(),
            speed: vec![0.0; solved.hand().dof()],
            // No clone, whose buffers would have to grow again.
            settled: Retargeter::new(hand, options)?,
            solved,
        })
    }

    /// Follows the keypoints of the next moment, as [`Retargeter::step`] does.
    pub fn step(&mut self, keypoints: &Keypoints, dt_s: Option<f64>) -> &Verdict {
        let in_time = self.settled.step_time(dt_s);
        let solved = self.solved.step(keypoints, dt_s);
        if solved.is_held() {
            self.speed.fill(0.0);
            return self.settled.hold(solved.flags);
        }
        let pinch = solved.pinch.iter().copied().fold(0.0, f64::max);
        let rate = self.options.open + pinch * (self.options.pinching - self.options.open);
        for (i, &to) in solved.position.iter().enumerate() {
            let (position, speed) = (&mut self.position[i], &mut self.speed[i]);
            match in_time {
                Some(dt_s) => {
                    let fading = (-rate * dt_s).exp();
                    let away = *position - to;
                    let moved = (*speed + rate * away) * dt_s;
                    *speed = (*speed - rate * moved) * fading;
                    *position = to + (away + moved) * fading;
                }
                None => (*position, *speed) = (to, 0.0),
            }
        }
        let flags = solved.flags & RESEEDED;
        let verdict = self.settled.settle(keypoints, &self.position, dt_s, flags);
        for (i, &given) in verdict.position.iter().enumerate() {
            if given != self.position[i] {
                (self.position[i], self.speed[i]) = (given, 0.0);
            }
        }
        verdict
    }
}
