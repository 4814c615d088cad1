//! Keypoints to joint positions, step after step.

use std::sync::Arc;

use nalgebra::Vector3;

use crate::collision::{Collision, CollisionOptions};
use crate::feasible::{Feasible, Motion};
use crate::hand::Hand;
use crate::keypoints::{Axes, Keypoints, check};
use crate::preset::{Goal, Plan, Preset, PresetError};
use crate::solver::{Outcome, Pull, StepSolver, StretchStep, TrajectoryBuffers};

/// A coordinate was not a finite number: the previous answer was kept.
pub const NON_FINITE: u32 = 1;
/// The points cannot be a hand (palm, fingers far too short or long): the previous answer was kept.
pub const DEGENERATE: u32 = 1 << 1;
/// The points do not lie along the axes of this hand's frame, or belong to the other hand: the
/// previous answer was kept.
pub const WRONG_AXES: u32 = 1 << 2;
/// Some joint stands at a limit.
pub const AT_LIMIT: u32 = 1 << 3;
/// Some joint moves as fast, or speeds up as fast, as it may, and would go on.
pub const AT_SPEED: u32 = 1 << 4;
/// Other places were tried as starts.
pub const RESEEDED: u32 = 1 << 5;
/// The answer was cut short, so that the links keep their distance.
pub const COLLISION_CLIPPED: u32 = 1 << 6;
/// No input has been good yet: the answer is where the hand stands, not what was asked.
pub const NO_ANSWER: u32 = 1 << 7;
/// The flags that say that the input was not followed.
pub const HELD: u32 = NON_FINITE | DEGENERATE | WRONG_AXES;

/// Which limits an answer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// Those of every joint, coupled ones included, of speed and, where given, of acceleration.
    #[default]
    All,
    /// Position limits of every joint, coupled ones included; any speed.
    Position,
    /// Position limits of the actuated joints alone: what dex-retargeting keeps, for comparison.
    Joints,
}

/// How keypoints are followed.
#[derive(Debug, Clone, PartialEq)]
pub struct RetargetOptions {
    /// The objective.
    pub preset: Preset,
    /// What every answer keeps.
    pub limits: Limits,
    /// Largest acceleration of every joint (rad/s²); `None` where it is not limited.
    pub acceleration: Option<f64>,
    /// Distance between links; `None` lets them pass through each other.
    pub collision: Option<CollisionOptions>,
}

impl RetargetOptions {
    /// `preset` with all limits and, for our own, links kept apart.
    pub fn new(preset: Preset) -> Self {
        let collision = matches!(preset, Preset::Dexumi { .. });
        Self {
            preset,
            limits: Limits::All,
            acceleration: None,
            collision: collision.then(CollisionOptions::default),
        }
    }

    /// What dex-retargeting does: position limits of the joints alone.
    pub fn reference(preset: Preset) -> Self {
        Self {
            preset,
            limits: Limits::Joints,
            acceleration: None,
            collision: None,
        }
    }
}

/// One answer of a [`Retargeter`].
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Joint positions, shape (dof,) (rad; m for a prismatic joint): finite and within all limits.
    pub position: Vec<f64>,
    /// F, the objective there; NaN where the input was held.
    pub objective: f64,
    /// Distance of each fingertip from where it was asked to be, in the order of [`Hand::tips`] (m);
    /// NaN where the input was held.
    pub tip_error_m: Vec<f64>,
    /// 1 where every tip is where it was asked to be, ½ where they are 20 mm off in the mean square,
    /// 0 where the input was held.
    pub confidence: f64,
    /// How closed the thumb's pinch with each other fingertip is, 0 to 1; empty where the preset
    /// knows none.
    pub pinch: Vec<f64>,
    /// Least distance between links that are held apart (m); infinite where none are.
    pub clearance_m: f64,
    /// Iterations taken, those of all starts together.
    pub iterations: u32,
    /// 0, or flags of this module.
    pub flags: u32,
}

impl Verdict {
    /// The input was not followed: the position is the one before.
    pub fn is_held(&self) -> bool {
        self.flags & HELD != 0
    }
}

/// Tip error that halves the confidence (m).
const HALF_CONFIDENCE_M: f64 = 0.02;
/// A pinch that becomes more closed than this has switched on.
const PINCH_ON: f64 = 0.5;
/// An objective above this many times its usual height asks for other starts.
const UNUSUAL: f64 = 3.0;
/// How fast the usual height follows, per step.
const USUAL_RATE: f64 = 0.05;
/// Another basin is taken when it is lower by this factor.
const MUCH_LOWER: f64 = 0.95;
/// Places in the joint ranges that other starts are made from.
const SEEDS: [f64; 3] = [0.15, 0.5, 0.85];
/// A step that took more linear systems leaves the search to the next.
const BUSY: u32 = 10;
/// Steps that a search from one of them may take.
const SEARCH_STEPS: u32 = 12;
/// A hand that comes no nearer than this part of the way to another basin in one step gives it up.
const NEARER: f64 = 0.98;
/// Joints nearer than this are in the same basin (rad, m).
const SAME_PLACE: f64 = 1e-3;

/// What a hand does about basins of F other than its own. One is looked for a few iterations in each
/// step, so that no step takes much longer than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Nothing,
    /// Something asks for a search.
    Wanted,
    /// From which of the seeds, and for how many steps already.
    From {
        seed: usize,
        steps: u32,
    },
    /// A better place is known.
    UnderWay,
}

/// Follows keypoints with a hand, step by step. No step allocates; equal input gives equal bits.
#[derive(Debug, Clone)]
pub struct Retargeter {
    plan: Plan,
    solver: StepSolver,
    feasible: Feasible,
    collision: Option<Collision>,
    hand: Arc<Hand>,
    axes: Axes,
    motion: Motion,
    candidate: Vec<f64>,
    search: Search,
    /// The place that a search is at, and another basin that the hand is on its way to.
    elsewhere: Vec<f64>,
    was_pinching: Vec<bool>,
    was_unusual: bool,
    /// Running height of the objective.
    usual: f64,
    last: Verdict,
}

impl Retargeter {
    /// A retargeter for `hand`. It stands in the middle of the joint ranges for the presets of
    /// dex-retargeting, and in [`Hand::rest`] for ours.
    ///
    /// # Errors
    /// [`PresetError`] when the preset names places that the hand does not have, or the hand stands
    /// in collision.
    pub fn new(hand: impl Into<Arc<Hand>>, options: &RetargetOptions) -> Result<Self, PresetError> {
        let hand = hand.into();
        let plan = Plan::new(&hand, &options.preset)?;
        let mut solver = StepSolver::new(
            &hand,
            &plan.points,
            &plan.terms,
            (plan.delta, plan.inertia),
            options.collision.as_ref(),
        );
        solver.set_brief(true);
        let feasible = Feasible::new(&hand, options.limits, options.acceleration);
        let start: Vec<f64> = match options.preset {
            Preset::Dexumi { .. } => hand.rest(),
            _ => feasible
                .limits()
                .iter()
                .map(|&(lower, upper)| 0.5 * (lower + upper))
                .collect(),
        };
        let mut collision = options
            .collision
            .as_ref()
            .map(|options| Collision::new(&hand, options));
        if let Some(collision) = &mut collision {
            let clearance_m = collision.clearance(&start);
            if !collision.is_safe(&start) {
                return Err(PresetError::StandsInCollision {
                    hand: hand.name().to_owned(),
                    clearance_m,
                });
            }
        }
        let pairs = plan.pinch().len();
        Ok(Self {
            solver,
            feasible,
            collision,
            axes: match options.preset {
                Preset::Position { .. } => Axes::World,
                _ => Axes::Hand,
            },
            motion: Motion::standing(&start),
            candidate: start.clone(),
            search: Search::Nothing,
            elsewhere: start.clone(),
            was_pinching: vec![false; pairs],
            was_unusual: false,
            usual: f64::NAN,
            last: Verdict {
                position: start,
                objective: f64::NAN,
                tip_error_m: vec![f64::NAN; hand.tips().len()],
                confidence: 0.0,
                pinch: vec![0.0; pairs],
                clearance_m: f64::INFINITY,
                iterations: 0,
                flags: NO_ANSWER,
            },
            plan,
            hand,
        })
    }

    /// The hand.
    pub fn hand(&self) -> &Arc<Hand> {
        &self.hand
    }

    /// The last answer.
    pub fn last(&self) -> &Verdict {
        &self.last
    }

    /// Target and weight of each term of the objective at the last step, in the preset's order.
    pub fn goals(&self) -> impl ExactSizeIterator<Item = (Vector3<f64>, f64)> {
        self.plan
            .goals()
            .iter()
            .map(|goal| (goal.target, goal.weight))
    }

    /// Follows the keypoints of the next moment, in the hand's axes (those of the world for
    /// [`Preset::Position`]).
    ///
    /// `dt_s` is the time since the previous step (s); it keeps the joints within their speed.
    /// `None`, a value that is not finite, or one above [`crate::LONGEST_STEP_S`] is a gap: the hand may
    /// start anywhere.
    pub fn step(&mut self, keypoints: &Keypoints, dt_s: Option<f64>) -> &Verdict {
        self.step_with(keypoints, None, dt_s)
    }

    /// As [`Retargeter::step`], with a posture, shape (dof,), from elsewhere.
    pub(crate) fn step_from_posture(
        &mut self,
        keypoints: &Keypoints,
        posture: &[Pull],
        dt_s: Option<f64>,
    ) -> &Verdict {
        self.step_with(keypoints, Some(posture), dt_s)
    }

    fn step_with(
        &mut self,
        keypoints: &Keypoints,
        posture: Option<&[Pull]>,
        dt_s: Option<f64>,
    ) -> &Verdict {
        let held = check(keypoints, self.hand.side(), self.axes);
        if held != 0 {
            return self.hold(held);
        }
        let dt_s = Feasible::step_time(&self.motion, dt_s);
        self.aim(keypoints, dt_s);
        if let Some(posture) = posture {
            self.solver.set_posture(posture);
        }
        let bounds = self.feasible.find(&self.motion, dt_s);
        let first = dt_s.is_none();
        if first {
            self.search = Search::Nothing;
        }
        let answer = &mut self.last.position;
        let start = match self.search {
            Search::UnderWay => &self.elsewhere,
            _ => &self.motion.position,
        };
        let mut is_there = true;
        for ((answer, &start), &(lower, upper)) in answer.iter_mut().zip(start).zip(bounds) {
            *answer = start.clamp(lower, upper);
            is_there &= *answer == start;
        }
        let seeds = if first { &SEEDS[..] } else { &[] };
        let Outcome {
            value,
            iterations,
            systems,
            ..
        } = self
            .solver
            .minimise(answer, bounds, &self.motion.position, seeds);
        self.last.objective = value;
        self.last.iterations = iterations;
        let mut flags = if first { RESEEDED } else { 0 };
        if self.search == Search::UnderWay && (is_there || !self.comes_nearer()) {
            self.search = Search::Nothing;
        }
        if self.asks_for_search(value) && self.search == Search::Nothing && !first {
            self.search = Search::Wanted;
        }
        if systems <= BUSY && self.look_elsewhere() {
            flags |= RESEEDED;
        }
        self.usual = if self.usual.is_finite() && !first {
            self.usual + USUAL_RATE * (value - self.usual)
        } else {
            value
        };
        self.finish(dt_s, flags, true)
    }

    /// Takes the time that each step needs, as where nobody waits for it.
    pub(crate) fn take_time(&mut self) {
        self.solver.set_brief(false);
    }

    /// Whether any input has been followed yet.
    pub(crate) fn has_answer(&self) -> bool {
        self.motion.is_answer
    }

    /// The time that limits of speed count for, of a step that comes `dt_s` after the last.
    pub(crate) fn step_time(&self, dt_s: Option<f64>) -> Option<f64> {
        Feasible::step_time(&self.motion, dt_s)
    }

    /// Goals and posture of the last step.
    pub(crate) fn aims(&self) -> (&[Goal], &[Pull]) {
        (self.plan.goals(), self.solver.posture())
    }

    /// Smooths a stretch of steps, links pushing each other `stiffer` times as hard as live; see
    /// [`StepSolver::smooth`]. The next step sets all goals anew.
    pub(crate) fn smooth(
        &mut self,
        steps: &mut [StretchStep],
        fixed: usize,
        stiffer: f64,
        buffers: &mut TrajectoryBuffers,
    ) {
        self.solver.stiffen(stiffer);
        self.solver
            .smooth(steps, fixed, self.feasible.limits(), buffers);
        self.solver.stiffen(1.0);
    }

    /// Goes to `position` instead of solving, as near as the limits, speed and distance of links
    /// allow; `flags` go into the verdict.
    pub(crate) fn settle(
        &mut self,
        keypoints: &Keypoints,
        position: &[f64],
        dt_s: Option<f64>,
        flags: u32,
    ) -> &Verdict {
        let dt_s = Feasible::step_time(&self.motion, dt_s);
        self.aim(keypoints, dt_s);
        let bounds = self.feasible.find(&self.motion, dt_s);
        for ((answer, &wanted), &(lower, upper)) in
            self.last.position.iter_mut().zip(position).zip(bounds)
        {
            *answer = wanted.clamp(lower, upper);
        }
        self.last.iterations = 0;
        // What is judged is the place, not the way from the last one.
        self.solver.set_last(&self.last.position);
        self.finish(dt_s, flags, false)
    }

    /// Turns keypoints into goals.
    fn aim(&mut self, keypoints: &Keypoints, dt_s: Option<f64>) {
        if dt_s.is_none() {
            self.plan.restart();
        }
        let goals = self.plan.update(keypoints);
        self.solver.set_targets(|term, target, weight| {
            *target = goals[term].target;
            *weight = goals[term].weight;
        });
        if let Some(posture) = self.plan.posture() {
            self.solver.set_posture(posture);
        }
    }

    pub(crate) fn hold(&mut self, flags: u32) -> &Verdict {
        self.motion.hold();
        self.last.objective = f64::NAN;
        self.last.tip_error_m.fill(f64::NAN);
        self.last.confidence = 0.0;
        self.last.iterations = 0;
        self.last.flags = flags | if self.motion.is_answer { 0 } else { NO_ANSWER };
        &self.last
    }

    /// A pinch has just switched on, or the objective has just become unusually high.
    fn asks_for_search(&mut self, value: f64) -> bool {
        let is_unusual = value > UNUSUAL * self.usual;
        let mut asks = is_unusual && !self.was_unusual;
        self.was_unusual = is_unusual;
        for (was, &pinch) in self.was_pinching.iter_mut().zip(self.plan.pinch()) {
            let is = pinch > PINCH_ON;
            asks |= is && !*was;
            *was = is;
        }
        asks
    }

    /// Whether the answer is nearer to the other basin than the last one was.
    fn comes_nearer(&self) -> bool {
        let way = |from: &[f64]| -> f64 {
            let there = self.elsewhere.iter().zip(from);
            there.map(|(there, from)| (there - from).powi(2)).sum()
        };
        way(&self.last.position) < NEARER * NEARER * way(&self.motion.position)
    }

    /// Goes on with a search for another basin, in all of the limits; a much better place is where the
    /// hand goes from now on. Whether it did.
    ///
    /// It waits while speed holds the hand back, since a place that is lower may lie ahead in its own
    /// basin, and while the step itself takes long.
    fn look_elsewhere(&mut self) -> bool {
        let is_held_back = self.feasible.flags(&self.last.position) & AT_SPEED != 0;
        if is_held_back {
            return false;
        }
        let limits = self.feasible.limits();
        let (seed, steps) = match self.search {
            Search::Nothing | Search::UnderWay => return false,
            Search::Wanted => (0, 0),
            Search::From { seed, steps } => (seed, steps),
        };
        if steps == 0 {
            let part = SEEDS[seed];
            for (to, &(lower, upper)) in self.elsewhere.iter_mut().zip(limits) {
                *to = lower + part * (upper - lower);
            }
        }
        let found = self
            .solver
            .advance(&mut self.elsewhere, limits, &self.motion.position);
        self.last.iterations += found.iterations;
        let mut apart = self.elsewhere.iter().zip(&self.last.position);
        let is_same = apart.all(|(one, other)| (one - other).abs() < SAME_PLACE);
        let is_better = found.value < MUCH_LOWER * self.last.objective;
        self.search = if is_better && !is_same {
            let bounds = self.feasible.bounds();
            let answer = self.last.position.iter_mut().zip(&self.elsewhere);
            for ((answer, &to), &(lower, upper)) in answer.zip(bounds) {
                *answer = to.clamp(lower, upper);
            }
            Search::UnderWay
        } else if steps + 1 < SEARCH_STEPS && !is_same && !found.is_settled {
            Search::From {
                seed,
                steps: steps + 1,
            }
        } else if seed + 1 < SEEDS.len() {
            Search::From {
                seed: seed + 1,
                steps: 0,
            }
        } else {
            Search::Nothing
        };
        true
    }

    /// Keeps the distance, and judges the answer. `may_feel`: where a link is in the way, another way is
    /// looked for; a smooth motion keeps its own.
    fn finish(&mut self, dt_s: Option<f64>, mut flags: u32, may_feel: bool) -> &Verdict {
        let answer = &mut self.last.position;
        if let Some(collision) = &mut self.collision {
            let (clearance, was_cut) = collision.keep(&self.motion.position, answer);
            self.last.clearance_m = clearance;
            if was_cut {
                flags |= COLLISION_CLIPPED;
            }
            if was_cut && may_feel {
                // The answer lies behind a link, and so would the next: from here the hand feels its way.
                let bounds = self.feasible.bounds();
                for ((start, &answer), &(lower, upper)) in
                    self.candidate.iter_mut().zip(&*answer).zip(bounds)
                {
                    *start = answer.clamp(lower, upper);
                }
                self.solver.set_short(true);
                let last = &self.motion.position;
                self.last.iterations += self
                    .solver
                    .minimise(&mut self.candidate, bounds, last, &[])
                    .iterations;
                self.solver.set_short(false);
                let (clearance, _) = collision.keep(answer, &mut self.candidate);
                if self.solver.value(&self.candidate) < self.solver.value(answer) {
                    answer.copy_from_slice(&self.candidate);
                    self.last.clearance_m = clearance;
                }
            }
        }
        self.last.objective = self.solver.value(answer);
        flags |= self.feasible.flags(answer);
        self.motion.go(answer, dt_s);
        let mut squares = 0.0;
        let tips = self.last.tip_error_m.len();
        for (tip, error) in self.last.tip_error_m.iter_mut().enumerate() {
            *error = self.solver.error(self.plan.tip_terms[tip]);
            squares += *error * *error / tips as f64;
        }
        self.last.confidence = 1.0 / (1.0 + squares / (HALF_CONFIDENCE_M * HALF_CONFIDENCE_M));
        self.last.pinch.copy_from_slice(self.plan.pinch());
        self.last.flags = flags;
        &self.last
    }
}
