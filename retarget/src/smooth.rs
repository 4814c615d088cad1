//! Recorded keypoints: followed without lag, by looking ahead.
//!
//! First every step is solved as it would be live. Then stretches of the recording are smoothed as a
//! whole, min Σ F_t + κ Σ ‖q̈_t‖² by Newton on a band (`solver/trajectory.rs`), so that what jitters is
//! evened out between its past and its future and nothing lags. Last the smoothed answers pass
//! through the same box and the same distance between links as live ones, in order.

use crate::hand::Hand;
use crate::keypoints::Keypoints;
use crate::preset::PresetError;
use crate::retargeter::{COLLISION_CLIPPED, RetargetOptions, Retargeter, Verdict};
use crate::solver::{StretchStep, TrajectoryBuffers};

/// How recorded motion is smoothed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothOptions {
    /// κ: cost of acceleration, κ ‖q̈‖², beside the objective (m s⁴/rad²).
    pub roughness: f64,
    /// Steps that are smoothed together.
    pub stretch: usize,
    /// Steps at a stretch's end that are only looked at, and done again with the next.
    pub ahead: usize,
}

impl Default for SmoothOptions {
    fn default() -> Self {
        Self {
            roughness: 1.6e-6,
            stretch: 240,
            ahead: 40,
        }
    }
}

/// Where links still had to be kept apart by cutting an answer short, a stretch is smoothed again from
/// there with links that push harder, so often in all, and by this factor.
const ATTEMPTS: i32 = 3;
const STIFFER: f64 = 6.0;

/// A step that waits for its future.
#[derive(Debug, Clone)]
struct Waiting {
    keypoints: Keypoints,
    dt_s: Option<f64>,
}

/// Follows a recording of keypoints. Memory is that of one stretch.
#[derive(Debug, Clone)]
pub struct Smoother {
    options: SmoothOptions,
    live: Retargeter,
    settled: Retargeter,
    waiting: Vec<Waiting>,
    steps: Vec<StretchStep>,
    /// Steps at the beginning of `steps` that have been given out already.
    done: usize,
    buffers: TrajectoryBuffers,
}

impl Smoother {
    /// A smoother for `hand`.
    ///
    /// # Errors
    /// As [`Retargeter::new`].
    pub fn new(
        hand: impl Into<std::sync::Arc<Hand>>,
        options: &RetargetOptions,
        smooth: SmoothOptions,
    ) -> Result<Self, PresetError> {
        let mut live = Retargeter::new(hand, options)?;
        live.take_time();
        Ok(Self {
            settled: live.clone(),
            live,
            options: smooth,
            waiting: Vec::new(),
            steps: Vec::new(),
            done: 0,
            buffers: TrajectoryBuffers::default(),
        })
    }

    /// Takes the next step, as [`Retargeter::step`] does; `out` gets the answers that are ready, one
    /// for each step in order.
    pub fn push(
        &mut self,
        keypoints: &Keypoints,
        dt_s: Option<f64>,
        mut out: impl FnMut(&Verdict),
    ) {
        let was_answer = self.live.has_answer();
        let in_time = self.live.step_time(dt_s).is_some();
        let verdict = self.live.step(keypoints, dt_s);
        let (flags, position) = (verdict.flags, verdict.position.clone());
        if verdict.is_held() {
            self.flush(&mut out);
            out(self.settled.hold(flags));
            return;
        }
        if !in_time && was_answer {
            self.flush(&mut out);
        }
        let (goals, posture) = self.live.aims();
        let step = StretchStep {
            goals: goals.to_vec(),
            posture: posture.to_vec(),
            roughness: 0.0,
            q: position,
        };
        self.steps.push(step);
        self.waiting.push(Waiting {
            keypoints: *keypoints,
            dt_s,
        });
        if self.steps.len() >= self.options.stretch {
            self.smooth_and_give(self.options.ahead, &mut out);
        }
    }

    /// Gives the answers of all steps that still wait: at the end of a recording.
    pub fn flush(&mut self, mut out: impl FnMut(&Verdict)) {
        self.smooth_and_give(0, &mut out);
        self.steps.clear();
        self.waiting.clear();
        self.done = 0;
    }

    /// Smooths what waits and gives all but the last `ahead` steps.
    fn smooth_and_give(&mut self, ahead: usize, out: &mut impl FnMut(&Verdict)) {
        let total = self.steps.len();
        // The second difference is that of the interval around a step.
        for t in 1..total.saturating_sub(1) {
            let before = self.waiting[t].dt_s.unwrap_or(0.0);
            let after = self.waiting[t + 1].dt_s.unwrap_or(0.0);
            let dt_s = 0.5 * (before + after);
            let is_even = before > 0.0 && after > 0.0;
            self.steps[t].roughness = if is_even {
                self.options.roughness / dt_s.powi(4)
            } else {
                0.0
            };
        }
        let end = total.saturating_sub(ahead).max(self.done);
        let mut given = Vec::new();
        for attempt in 0..ATTEMPTS {
            if total > self.done {
                let stiffer = STIFFER.powi(attempt);
                self.live
                    .smooth(&mut self.steps, self.done, stiffer, &mut self.buffers);
            }
            let mut settled = self.settled.clone();
            given.clear();
            for t in self.done..end {
                let waiting = &self.waiting[t];
                let verdict = settled.settle(&waiting.keypoints, &self.steps[t].q, waiting.dt_s, 0);
                given.push(verdict.clone());
            }
            let was_cut = given
                .iter()
                .any(|verdict| verdict.flags & COLLISION_CLIPPED != 0);
            for (step, verdict) in self.steps[self.done..].iter_mut().zip(&given) {
                step.q.copy_from_slice(&verdict.position);
            }
            if !was_cut || attempt + 1 == ATTEMPTS {
                self.settled = settled;
                break;
            }
        }
        for verdict in &given {
            out(verdict);
        }
        // Two steps of the past tie the next stretch to it.
        let keep = end.saturating_sub(2);
        self.steps.drain(..keep);
        self.waiting.drain(..keep);
        self.done = end - keep;
    }
}

/// Follows a whole recording; one answer per step.
///
/// # Errors
/// As [`Retargeter::new`].
pub fn retarget_clip(
    hand: impl Into<std::sync::Arc<Hand>>,
    options: &RetargetOptions,
    smooth: SmoothOptions,
    clip: &[Keypoints],
    dt_s: f64,
) -> Result<Vec<Verdict>, PresetError> {
    let mut smoother = Smoother::new(hand, options, smooth)?;
    let mut verdicts = Vec::with_capacity(clip.len());
    for keypoints in clip {
        smoother.push(keypoints, Some(dt_s), |verdict| {
            verdicts.push(verdict.clone())
        });
    }
    smoother.flush(|verdict| verdicts.push(verdict.clone()));
    Ok(verdicts)
}
