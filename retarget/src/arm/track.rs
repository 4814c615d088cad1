//! Joint positions for a sequence of poses: the last answer starts the next, in pieces that
//! several threads can work on.

use std::num::NonZeroUsize;
use std::sync::Arc;

use nalgebra::Isometry3;

use crate::arm::Arm;
use crate::arm::solve::{Miss, PoseSolver, Search, Tolerance, farthest, settle_turns};
use crate::parallel::in_parallel;

/// Steps in a piece: about 10 s, long enough that joining pieces costs little.
const PIECE: usize = 256;
/// The first pass looks at every so many steps, to find where each piece begins.
const STRIDE: usize = 8;
/// Pieces join where their answers are no farther apart than this (rad or m): what two starts
/// leave between them on one branch, and far below what any check notices.
const JOIN: f64 = 2e-3;

/// One step of a track.
#[derive(Debug, Clone)]
pub(crate) struct TrackStep {
    pub(crate) q: Vec<f64>,
    /// `None` where there was no pose: q is held.
    pub(crate) miss: Option<Miss>,
}

impl TrackStep {
    /// No pose: the arm is at `q`.
    fn held(q: &[f64]) -> Self {
        Self {
            q: q.to_vec(),
            miss: None,
        }
    }
}

/// What [`track`] needs besides the poses.
pub(crate) struct Tracking<'a> {
    pub(crate) arm: &'a Arc<Arm>,
    pub(crate) tolerance: Tolerance,
    pub(crate) threads: NonZeroUsize,
    /// Begin in each posture that reaches the first pose and keep the one that `badness`, of the
    /// steps looked at and their indices, finds best; else begin near the home posture.
    pub(crate) tries_postures: bool,
}

/// Follows `base_from_flange`, `None` where there is no pose: one answer a step.
///
/// A first pass follows every eighth pose, from each posture that reaches the first one, picks the
/// posture that fares best, and of joints that can make a full turn the turn that leaves them
/// the most room. Its answers start pieces of equal length that are then
/// worked on at the same time. At last each piece's beginning is held against what the piece
/// before it leads to, and where they differ it is followed again until they meet. The pieces do
/// not depend on the number of threads, so neither do the answers.
pub(crate) fn track(
    tracking: &Tracking,
    base_from_flange: &[Option<Isometry3<f64>>],
    badness: impl Fn(&[usize], &[TrackStep]) -> Vec<f64> + Sync,
) -> Vec<TrackStep> {
    let solver = || PoseSolver::new(tracking.arm.clone(), tracking.tolerance);
    let home = tracking.arm.home();
    let sparse: Vec<usize> = {
        let first = base_from_flange.iter().position(Option::is_some);
        let steps = (0..base_from_flange.len()).step_by(STRIDE);
        let mut steps: Vec<usize> = steps.chain(first).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    let begins = match base_from_flange.iter().flatten().next() {
        Some(first) if tracking.tries_postures => solver().answers(first, home),
        _ => Vec::new(),
    };
    // The home posture too: nothing may reach the first pose.
    let begins: Vec<Vec<f64>> = begins.into_iter().chain([home.to_vec()]).collect();
    let follow_sparse = |solver: &mut PoseSolver, begin: usize| {
        let poses = sparse.iter().map(|&step| &base_from_flange[step]);
        let mut steps = follow(solver, &TrackStep::held(&begins[begin]), poses);
        let mut qs: Vec<_> = steps.iter_mut().map(|step| &mut step.q[..]).collect();
        settle_turns(tracking.arm, &mut qs);
        (badness(&sparse, &steps), steps)
    };
    let free = || solver().without_turn_limits();
    let passes = in_parallel(tracking.threads, begins.len(), free, follow_sparse);
    let best = passes.into_iter().reduce(|best, next| {
        let is_better = next.0.partial_cmp(&best.0) == Some(std::cmp::Ordering::Less);
        if is_better { next } else { best }
    });
    let Some((_, begin)) = best else {
        return Vec::new();
    };

    let pieces: Vec<_> = base_from_flange.chunks(PIECE).collect();
    let mut followed = in_parallel(tracking.threads, pieces.len(), solver, |solver, piece| {
        // The sparse pass has an answer of just this step: PIECE is a multiple of STRIDE.
        let at = sparse.binary_search(&(piece * PIECE)).unwrap_or(0);
        follow(solver, &begin[at], pieces[piece].iter())
    });
    let mut solver = solver();
    for piece in 1..followed.len() {
        let (before, after) = followed.split_at_mut(piece);
        let Some(last) = before[piece - 1].last() else {
            continue;
        };
        let mut previous = last;
        for (pose, step) in pieces[piece].iter().zip(&mut after[0]) {
            let again = one(&mut solver, previous, pose);
            if farthest(&again.q, &step.q) <= JOIN {
                break;
            }
            *step = again;
            previous = step;
        }
    }
    followed.into_iter().flatten().collect()
}

/// One pose after the other, from `begin`.
fn follow<'a>(
    solver: &mut PoseSolver,
    begin: &TrackStep,
    poses: impl Iterator<Item = &'a Option<Isometry3<f64>>>,
) -> Vec<TrackStep> {
    let mut steps: Vec<TrackStep> = Vec::with_capacity(poses.size_hint().0);
    for pose in poses {
        let step = one(solver, steps.last().unwrap_or(begin), pose);
        steps.push(step);
    }
    steps
}

fn one(solver: &mut PoseSolver, previous: &TrackStep, pose: &Option<Isometry3<f64>>) -> TrackStep {
    let mut q = previous.q.clone();
    let tolerance = solver.tolerance();
    let was_missed = previous.miss.is_some_and(|miss| !tolerance.holds(&miss));
    let search = if was_missed { Search::Few } else { Search::All };
    let answer = |pose| solver.answer(pose, &previous.q, search, &mut q);
    let miss = pose.as_ref().map(answer);
    TrackStep { q, miss }
}
