//! Joint positions for one pose of the flange.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use nalgebra::{Isometry3, Point3, Vector3, Vector6};

use crate::arm::box_solver::BoxSolver;
use crate::arm::chain::{ArmKinematics, least_singular_value};
use crate::arm::{Arm, ArmJoint, ArmMotion};

/// Fixed starts, the same for every pose: the home posture and points of the joint ranges. Of
/// random postures of the shipped arms, about one in thousands is not found again from so few.
const FEW_SEEDS: usize = 9;
/// Fixed starts where the few do not reach a pose: one after the other, until one does.
const MOST_SEEDS: usize = 96;

/// Pull of a redundant arm's joints to the home posture while it looks for a posture (m²/rad²).
/// The pose gives way to it, by up to 1 mm; the second pass takes that back.
const POSTURE_WEIGHT: f64 = 1e-4;

/// Pull to where the second pass starts (m²/rad²): it makes the shortest way to the pose the
/// best, and costs nothing there.
const STAY_WEIGHT: f64 = 1e-7;

/// Largest tolerance of angle (rad): 3 degrees are no answer any more.
pub(crate) const MOST_TURN: f64 = 0.05;

/// How far an answer is from the pose asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Miss {
    /// Distance of the origins (m).
    pub(crate) position_m: f64,
    /// Angle between the axes (rad).
    pub(crate) rotation_rad: f64,
}

/// What counts as an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) position_m: f64,
    pub(crate) rotation_rad: f64,
    /// Another start is tried when the answer is farther than this from the last one, in any
    /// joint (rad or m).
    pub(crate) jump: f64,
}

impl Tolerance {
    pub(crate) fn holds(&self, miss: &Miss) -> bool {
        miss.position_m <= self.position_m && miss.rotation_rad <= self.rotation_rad
    }

    /// Length that makes a turn as bad as a shift (m/rad).
    fn lever(&self) -> f64 {
        self.position_m / self.rotation_rad
    }

    fn cost(&self, miss: &Miss) -> f64 {
        miss.position_m.powi(2) + (self.lever() * miss.rotation_rad).powi(2)
    }
}

/// Inverse kinematics of one arm by [`BoxSolver`], with its own buffers.
///
/// Minimises ½|Δp|² + ½ℓ²|log(R·R_target⁻¹)|² within the joint limits, ℓ being the ratio of the
/// two tolerances. Its gradient is exact: the derivative of ½|log R|² along an angular velocity ω
/// is log R · ω.
#[derive(Debug, Clone)]
pub(crate) struct PoseSolver {
    kinematics: ArmKinematics,
    solver: BoxSolver,
    tolerance: Tolerance,
    limits: Vec<(f64, f64)>,
    seeds: Vec<Vec<f64>>,
    reach: Reach,
    columns: Vec<Vector6<f64>>,
    trial: Vec<f64>,
    centre: Vec<f64>,
    unpulled: Vec<f64>,
}

/// How hard to look for a posture before a pose counts as missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// From the few fixed starts: right after a miss, where the next is a miss as well most times.
    Few,
    /// From all fixed starts.
    All,
}

impl PoseSolver {
    pub(crate) fn new(arm: Arc<Arm>, tolerance: Tolerance) -> Self {
        let n = arm.dof();
        let limits: Vec<_> = arm.joints.iter().map(|j| (j.lower, j.upper)).collect();
        Self {
            seeds: seeds(&arm),
            reach: Reach::new(&arm),
            kinematics: ArmKinematics::new(arm),
            solver: BoxSolver::new(n),
            tolerance,
            limits,
            columns: vec![Vector6::zeros(); n],
            trial: vec![0.0; n],
            centre: vec![0.0; n],
            unpulled: vec![0.0; n],
        }
    }

    /// Takes the limits off joints that can make a full turn: where one begins is then free, and
    /// [`settle_turns`] chooses it afterwards.
    pub(crate) fn without_turn_limits(mut self) -> Self {
        let joints = self.kinematics.arm().joints.iter();
        for (joint, limits) in joints.zip(&mut self.limits) {
            if can_turn(joint) {
                *limits = (f64::NEG_INFINITY, f64::INFINITY);
            }
        }
        self
    }

    pub(crate) fn kinematics(&mut self) -> &mut ArmKinematics {
        &mut self.kinematics
    }

    pub(crate) fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }

    /// The answer for `base_from_flange` that suits `previous` best, into `q`.
    ///
    /// The last answer is the first start. Where that does not reach the pose, or only by a jump,
    /// the fixed ones follow, and of all answers that reach it the nearest to the last one is
    /// taken; where none does, the one that misses least, unless the first is about as good.
    pub(crate) fn answer(
        &mut self,
        base_from_flange: &Isometry3<f64>,
        previous: &[f64],
        search: Search,
        q: &mut [f64],
    ) -> Miss {
        q.copy_from_slice(previous);
        let mut best = self.refine(base_from_flange, q);
        let mut is_reached = self.tolerance.holds(&best);
        if is_reached && farthest(previous, q) <= self.tolerance.jump {
            return best;
        }
        if self
            .reach
            .excludes(base_from_flange, self.tolerance.position_m)
        {
            return best;
        }
        let mut trial = std::mem::take(&mut self.trial);
        for seed in 0..self.seeds.len() {
            if seed >= FEW_SEEDS && (is_reached || search == Search::Few) {
                break;
            }
            let (miss, reached) = self.begin_at_seed(base_from_flange, seed, previous, &mut trial);
            let is_better = match (reached, is_reached) {
                (true, true) => farthest(previous, &trial) < farthest(previous, q),
                (true, false) => true,
                (false, true) => false,
                (false, false) => self.tolerance.cost(&miss) < 0.5 * self.tolerance.cost(&best),
            };
            if is_better {
                best = miss;
                is_reached = reached;
                q.copy_from_slice(&trial);
            }
        }
        self.trial = trial;
        best
    }

    /// All different answers that the few fixed starts lead to, else the first of the others, near `previous` where full turns
    /// leave a choice.
    pub(crate) fn answers(
        &mut self,
        base_from_flange: &Isometry3<f64>,
        previous: &[f64],
    ) -> Vec<Vec<f64>> {
        let mut found: Vec<Vec<f64>> = Vec::new();
        let mut trial = previous.to_vec();
        for seed in 0..self.seeds.len() {
            if seed >= FEW_SEEDS && !found.is_empty() {
                break;
            }
            let (_, reached) = self.begin_at_seed(base_from_flange, seed, previous, &mut trial);
            if reached && found.iter().all(|known| farthest(known, &trial) > 0.05) {
                found.push(trial.clone());
            }
        }
        found
    }

    fn begin_at_seed(
        &mut self,
        base_from_flange: &Isometry3<f64>,
        seed: usize,
        previous: &[f64],
        q: &mut [f64],
    ) -> (Miss, bool) {
        q.copy_from_slice(&self.seeds[seed]);
        let mut centre = std::mem::take(&mut self.centre);
        centre.copy_from_slice(q);
        self.minimise(base_from_flange, &centre, STAY_WEIGHT, q);
        self.centre = centre;
        let mut miss = self.miss(base_from_flange, q);
        // A posture is worth looking for only where the pose is reached.
        if q.len() > 6 && self.tolerance.holds(&miss) {
            let mut unpulled = std::mem::take(&mut self.unpulled);
            unpulled.copy_from_slice(q);
            let refined = self.refine(base_from_flange, q);
            if self.tolerance.holds(&refined) {
                miss = refined;
            } else {
                // On the way to the home posture the pose was lost.
                q.copy_from_slice(&unpulled);
            }
            self.unpulled = unpulled;
        }
        self.unwind(previous, q);
        (miss, self.tolerance.holds(&miss))
    }

    /// Takes full turns out of the way from `previous` to `q`, where the limits allow.
    fn unwind(&self, previous: &[f64], q: &mut [f64]) {
        let joints = self.kinematics.arm().joints.iter().zip(&self.limits);
        for (((joint, limits), &from), to) in joints.zip(previous).zip(q) {
            if joint.motion == ArmMotion::Revolute {
                let turned = *to + TAU * ((from - *to) / TAU).round();
                if (limits.0..=limits.1).contains(&turned) {
                    *to = turned;
                }
            }
        }
    }

    /// Moves `q` to the pose, from where it is.
    fn refine(&mut self, base_from_flange: &Isometry3<f64>, q: &mut [f64]) -> Miss {
        let mut centre = std::mem::take(&mut self.centre);
        if q.len() > 6 {
            centre.copy_from_slice(&self.kinematics.arm().home);
            self.minimise(base_from_flange, &centre, POSTURE_WEIGHT, q);
        }
        centre.copy_from_slice(q);
        self.minimise(base_from_flange, &centre, STAY_WEIGHT, q);
        self.centre = centre;
        self.miss(base_from_flange, q)
    }

    /// How far the flange at `q` is from the pose.
    fn miss(&mut self, base_from_flange: &Isometry3<f64>, q: &[f64]) -> Miss {
        let (shift, turn) = errors(self.kinematics.update(q), base_from_flange);
        Miss {
            position_m: shift.norm(),
            rotation_rad: turn.norm(),
        }
    }

    fn minimise(
        &mut self,
        base_from_flange: &Isometry3<f64>,
        centre: &[f64],
        pull: f64,
        q: &mut [f64],
    ) {
        let Self {
            kinematics,
            solver,
            columns,
            limits,
            tolerance,
            ..
        } = self;
        let square = tolerance.lever().powi(2);
        let n = q.len();
        solver.minimise(q, limits, |q, normal| {
            let (shift, turn) = errors(kinematics.update(q), base_from_flange);
            let away: f64 = q.iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum();
            if let Some(normal) = normal {
                kinematics.jacobian(columns);
                let mut error = Vector6::zeros();
                error.fixed_rows_mut::<3>(0).copy_from(&shift);
                error.fixed_rows_mut::<3>(3).copy_from(&(turn * square));
                for (i, column) in columns.iter().enumerate() {
                    normal.gradient[i] = column.dot(&error) + pull * (q[i] - centre[i]);
                    let mut weighted = *column;
                    weighted.fixed_rows_mut::<3>(3).scale_mut(square);
                    for (j, other) in columns.iter().enumerate().take(i + 1) {
                        let product = weighted.dot(other);
                        normal.matrix[i * n + j] = product;
                        normal.matrix[j * n + i] = product;
                    }
                    normal.matrix[i * n + i] += pull;
                }
            }
            0.5 * (shift.norm_squared() + square * turn.norm_squared() + pull * away)
        });
    }

    /// Smallest singular value of the flange's Jacobian at `q`.
    pub(crate) fn singular_value(&mut self, q: &[f64]) -> f64 {
        self.kinematics.update(q);
        self.kinematics.jacobian(&mut self.columns);
        least_singular_value(&self.columns)
    }
}

/// A ball that a point of the flange's frame cannot leave, however the joints stand.
///
/// The first and the last joint do not move the points on their axes. So the way from one such
/// point to another is at most as long as the links between them laid in a line, and the last
/// link's length along its axis does not count.
#[derive(Debug, Clone)]
struct Reach {
    point_in_flange: Point3<f64>,
    centre_in_base: Point3<f64>,
    radius: f64,
}

impl Reach {
    fn new(arm: &Arm) -> Self {
        let joints = &arm.joints;
        let are_turning = joints
            .iter()
            .all(|joint| joint.motion == ArmMotion::Revolute);
        if joints.len() < 3 || !are_turning {
            return Self {
                point_in_flange: Point3::origin(),
                centre_in_base: joints[0].parent_from_joint * Point3::origin(),
                radius: arm.reach(),
            };
        }
        let shift = |joint: &ArmJoint| joint.parent_from_joint.translation.vector;
        let (first, second) = (&joints[0], &joints[1]);
        let along = first.axis.into_inner() * first.axis.dot(&shift(second));
        let mut radius = (shift(second) - along).norm();
        let last = &joints[joints.len() - 1];
        let axis_in_parent = last.parent_from_joint.rotation * last.axis.into_inner();
        let height = axis_in_parent.dot(&shift(last));
        radius += (shift(last) - axis_in_parent * height).norm();
        for joint in &joints[2..joints.len() - 1] {
            radius += shift(joint).norm();
        }
        let point_in_last = Point3::from(last.axis.into_inner() * -height);
        Self {
            point_in_flange: arm.last_from_flange.inverse() * point_in_last,
            centre_in_base: first.parent_from_joint * Point3::from(along),
            radius,
        }
    }

    /// No posture comes within `tolerance_m` of the pose.
    fn excludes(&self, base_from_flange: &Isometry3<f64>, tolerance_m: f64) -> bool {
        let distance = (base_from_flange * self.point_in_flange - self.centre_in_base).norm();
        // A turn within its tolerance moves the point too, by less than its arm.
        let arm = self.point_in_flange.coords.norm();
        distance > self.radius + tolerance_m + arm * MOST_TURN
    }
}

/// From the pose asked for to the one there is, in base axes: shift (m) and rotation vector (rad).
fn errors(is: &Isometry3<f64>, asked: &Isometry3<f64>) -> (Vector3<f64>, Vector3<f64>) {
    let shift = is.translation.vector - asked.translation.vector;
    let turn = (is.rotation * asked.rotation.inverse()).scaled_axis();
    (shift, turn)
}

/// Farthest that any joint moves from one configuration to the other (rad or m).
pub(crate) fn farthest(one: &[f64], other: &[f64]) -> f64 {
    let moves = one.iter().zip(other).map(|(a, b)| (a - b).abs());
    moves.fold(0.0, f64::max)
}

fn can_turn(joint: &ArmJoint) -> bool {
    joint.motion == ArmMotion::Revolute && joint.upper - joint.lower >= TAU
}

/// Adds full turns to whole columns of a track that was followed without turn limits, shape
/// (steps, dof), so that as few steps as possible are outside the limits, and of such choices the
/// one whose middle is nearest to home. Steps that are still outside go back by full turns.
pub(crate) fn settle_turns(arm: &Arm, track: &mut [&mut [f64]]) {
    for (index, joint) in arm.joints.iter().enumerate() {
        if !(can_turn(joint) && joint.lower.is_finite() && joint.upper.is_finite()) {
            continue;
        }
        let column = || track.iter().map(move |q| q[index]);
        let (low, high) = (
            column().fold(f64::INFINITY, f64::min),
            column().fold(f64::NEG_INFINITY, f64::max),
        );
        let first = ((joint.lower - high) / TAU).ceil() as i64;
        let last = ((joint.upper - low) / TAU).floor() as i64;
        let best = (first..=last).min_by_key(|&turns| {
            let shift = TAU * turns as f64;
            let is_outside = |q: &f64| !(joint.lower..=joint.upper).contains(&(q + shift));
            let from_home = 0.5 * (low + high) + shift - arm.home[index];
            let outside = column().filter(is_outside).count();
            (outside, (from_home.abs() * 1e6) as u64)
        });
        let shift = TAU * best.unwrap_or(0) as f64;
        for q in track.iter_mut() {
            let position = q[index] + shift;
            let back = if position > joint.upper {
                -((position - joint.upper) / TAU).ceil()
            } else if position < joint.lower {
                ((joint.lower - position) / TAU).ceil()
            } else {
                0.0
            };
            q[index] = (position + TAU * back).clamp(joint.lower, joint.upper);
        }
    }
}

/// The home posture and points spread evenly over the joint ranges, at most a turn of each:
/// Halton's sequence, one prime a joint (Halton, Numerische Mathematik 2, 1960).
fn seeds(arm: &Arm) -> Vec<Vec<f64>> {
    const PRIMES: [usize; crate::arm::MOST_ARM_JOINTS] =
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    let part = |mut number: usize, base: usize| {
        let (mut part, mut digit) = (0.0, 1.0);
        while number > 0 {
            digit /= base as f64;
            part += digit * (number % base) as f64;
            number /= base;
        }
        part
    };
    let mut seeds = vec![arm.home.clone()];
    seeds.extend((1..MOST_SEEDS).map(|number| {
        let joints = arm.joints.iter().zip(PRIMES);
        joints
            .map(|(joint, prime)| {
                let (mut lower, mut upper) = (joint.lower, joint.upper);
                if joint.motion == ArmMotion::Revolute {
                    lower = lower.max(upper.min(PI) - TAU);
                    upper = upper.min(lower + TAU);
                }
                lower + part(number, prime) * (upper - lower)
            })
            .collect()
    }));
    seeds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arm::ARMS;

    proptest! {
        #[test]
        fn no_posture_is_beyond_the_reach_and_the_reach_is_not_much_longer(
            parts in proptest::collection::vec(0.0..1.0, 7),
        ) {
            for (name, _) in ARMS {
                let arm = Arc::new(Arm::by_name(name).unwrap());
                let joints = arm.joints.iter().zip(&parts);
                let q: Vec<f64> = joints
                    .map(|(joint, part)| joint.lower + part * (joint.upper - joint.lower))
                    .collect();
                let reach = Reach::new(&arm);
                let mut kinematics = ArmKinematics::new(arm.clone());
                let base_from_flange = *kinematics.update(&q);
                let distance = (base_from_flange * reach.point_in_flange - reach.centre_in_base).norm();
                prop_assert!(distance <= reach.radius + 1e-9, "{name}: {distance} {}", reach.radius);
                prop_assert!(reach.radius < arm.reach());
            }
        }

        #[test]
        fn turns_are_settled_within_the_limits_by_whole_turns(
            begin in -20.0..20.0_f64, sweep in -12.5..12.5_f64,
        ) {
            let arm = Arm::by_name("ur5e").unwrap();
            let mut steps: Vec<Vec<f64>> = (0..=100)
                .map(|step| {
                    let mut q = arm.home.clone();
                    q[5] = begin + sweep * f64::from(step) / 100.0;
                    q
                })
                .collect();
            let before: Vec<f64> = steps.iter().map(|q| q[5]).collect();
            let mut track: Vec<&mut [f64]> = steps.iter_mut().map(|q| &mut q[..]).collect();
            settle_turns(&arm, &mut track);
            for (q, before) in steps.iter().zip(&before) {
                let turns = (q[5] - before) / TAU;
                prop_assert!((turns - turns.round()).abs() < 1e-9);
                prop_assert!((arm.joints[5].lower..=arm.joints[5].upper).contains(&q[5]));
                prop_assert_eq!(&q[..5], &arm.home[..5]);
            }
            // A whole turn fits, wherever it begins: up to one turn nothing may be torn apart.
            if sweep.abs() < TAU {
                for pair in steps.windows(2) {
                    prop_assert!((pair[1][5] - pair[0][5]).abs() < 0.2);
                }
            }
        }
    }
}
