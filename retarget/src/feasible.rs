//! The box that each answer lies in.
//!
//! B = limits ∩ \[q₋ ± v̄ Δt\] ∩ \[q₋ + (v₋ ± a Δt) Δt\] ∩ braking, with v₋ the last speed. Braking keeps
//! v Δt + v²/(2a) ≤ distance to the limit, so that what follows can stop in time: v ≤ −a Δt +
//! √(a² Δt² + 2a · distance). If the last step kept it, slowing down by a Δt keeps it now, so B is never
//! empty, whatever Δt follows.

use crate::exo_map::LONGEST_STEP_S;
use crate::hand::Hand;
use crate::retargeter::{AT_LIMIT, AT_SPEED, Limits};

/// Where the hand is, and how fast it moves.
#[derive(Debug, Clone)]
pub(crate) struct Motion {
    pub(crate) position: Vec<f64>,
    /// Per second.
    pub(crate) speed: Vec<f64>,
    /// Whether `position` is an answer, or only where the hand stands at the beginning.
    pub(crate) is_answer: bool,
}

impl Motion {
    pub(crate) fn standing(position: &[f64]) -> Self {
        Self {
            position: position.to_vec(),
            speed: vec![0.0; position.len()],
            is_answer: false,
        }
    }

    /// Goes to `position` in `dt_s`; `None` is a gap, after which the hand stands.
    pub(crate) fn go(&mut self, position: &[f64], dt_s: Option<f64>) {
        for ((speed, now), &next) in self.speed.iter_mut().zip(&mut self.position).zip(position) {
            *speed = match dt_s {
                Some(dt_s) if dt_s > 0.0 => (next - *now) / dt_s,
                Some(_) => *speed,
                None => 0.0,
            };
            *now = next;
        }
        self.is_answer = true;
    }

    /// Stays where it is.
    pub(crate) fn hold(&mut self) {
        self.speed.fill(0.0);
    }
}

/// Limits of a hand, and the box of the step at hand.
#[derive(Debug, Clone)]
pub(crate) struct Feasible {
    limits: Vec<(f64, f64)>,
    velocities: Vec<f64>,
    acceleration: f64,
    bounds: Vec<(f64, f64)>,
}

impl Feasible {
    pub(crate) fn new(hand: &Hand, limits: Limits, acceleration: Option<f64>) -> Self {
        let (limits, velocities) = match limits {
            Limits::All => (hand.limits().to_vec(), hand.velocities().to_vec()),
            Limits::Position => (hand.limits().to_vec(), vec![f64::INFINITY; hand.dof()]),
            Limits::Joints => {
                let joints = hand.variables().iter().map(|&joint| &hand.joints()[joint]);
                (
                    joints.map(|joint| (joint.lower, joint.upper)).collect(),
                    vec![f64::INFINITY; hand.dof()],
                )
            }
        };
        Self {
            bounds: limits.clone(),
            limits,
            velocities,
            acceleration: acceleration.unwrap_or(f64::INFINITY),
        }
    }

    /// Position limits, shape (dof,).
    pub(crate) fn limits(&self) -> &[(f64, f64)] {
        &self.limits
    }

    /// The box of the last [`Feasible::find`].
    pub(crate) fn bounds(&self) -> &[(f64, f64)] {
        &self.bounds
    }

    /// Time to the next step that limits of speed count for: `None` at the beginning and across gaps.
    pub(crate) fn step_time(motion: &Motion, dt_s: Option<f64>) -> Option<f64> {
        dt_s.filter(|dt_s| motion.is_answer && dt_s.is_finite() && *dt_s <= LONGEST_STEP_S)
            .map(|dt_s| dt_s.max(0.0))
    }

    /// The box of a step of `dt_s` from where `motion` is; `None`: the limits alone.
    pub(crate) fn find(&mut self, motion: &Motion, dt_s: Option<f64>) -> &[(f64, f64)] {
        self.bounds.copy_from_slice(&self.limits);
        let Some(dt_s) = dt_s else {
            return &self.bounds;
        };
        let a = self.acceleration;
        for (variable, bounds) in self.bounds.iter_mut().enumerate() {
            let (lower, upper) = self.limits[variable];
            let now = motion.position[variable];
            let (mut slowest, mut fastest) =
                (-self.velocities[variable], self.velocities[variable]);
            if a.is_finite() {
                let brake = |distance: f64| {
                    (a * a * dt_s * dt_s + 2.0 * a * distance.max(0.0)).sqrt() - a * dt_s
                };
                let last = motion.speed[variable].clamp(slowest, fastest);
                slowest = slowest.max(last - a * dt_s).max(-brake(now - lower));
                fastest = fastest.min(last + a * dt_s).min(brake(upper - now));
                // Rounding, or a stop that was forced, may cross them: then brake as hard as one can.
                if slowest > fastest {
                    let most = if last > 0.0 { slowest } else { fastest };
                    (slowest, fastest) = (most, most);
                }
            }
            let (low, high) = (now + slowest * dt_s, now + fastest * dt_s);
            // Infinite speeds in no time are no number.
            if low > bounds.0 {
                bounds.0 = low.min(bounds.1);
            }
            if high < bounds.1 {
                bounds.1 = high.max(bounds.0);
            }
            if dt_s == 0.0 {
                *bounds = (now.clamp(lower, upper), now.clamp(lower, upper));
            }
        }
        &self.bounds
    }

    /// Flags of an answer in the box of the last [`Feasible::find`].
    pub(crate) fn flags(&self, position: &[f64]) -> u32 {
        let mut flags = 0;
        for (variable, &q) in position.iter().enumerate() {
            let (lower, upper) = self.limits[variable];
            let (low, high) = self.bounds[variable];
            if q <= lower || q >= upper {
                flags |= AT_LIMIT;
            } else if low < high && (q <= low || q >= high) {
                flags |= AT_SPEED;
            }
        }
        flags
    }
}
