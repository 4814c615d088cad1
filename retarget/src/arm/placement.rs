//! Where to put an arm's base so that it can follow a recording.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use serde::{Deserialize, Serialize};

use crate::arm::check::{
    ArmCheckOptions, ArmChecker, ArmStep, COLLISION, INPUT_HELD, TimedPose, UNREACHABLE,
};
use crate::arm::report::percent;
use crate::arm::{Arm, ArmError};
use crate::parallel::{all_threads, in_parallel};

/// Most places of one search: 30 to each side in three directions.
const MOST_PLACES: usize = 1_000_000;

/// Values from `from` to `to`, `step` apart; the last one is at most `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The first value.
    pub from: f64,
    /// The largest that may come.
    pub to: f64,
    /// Distance of two values; without effect when `from` equals `to`.
    pub step: f64,
}

impl Span {
    /// One value.
    pub fn only(value: f64) -> Self {
        Self {
            from: value,
            to: value,
            step: 1.0,
        }
    }

    fn values(&self, name: &str) -> Result<Vec<f64>, ArmError> {
        let is_sound = self.from.is_finite()
            && self.to.is_finite()
            && self.from <= self.to
            && self.step.is_finite()
            && self.step > 0.0;
        // Rounding in the division must not lose the last value.
        let steps = ((self.to - self.from) / self.step + 1e-9).floor();
        if !is_sound || steps >= MOST_PLACES as f64 {
            return Err(ArmError::Option {
                option: format!("span of {name}"),
                expected: "finite from <= to and a step above 0 that is not too small".to_owned(),
                got: format!("from {} to {} by {}", self.from, self.to, self.step),
            });
        }
        let values = 0..=steps as usize;
        Ok(values
            .map(|number| self.from + self.step * number as f64)
            .collect())
    }
}

/// Where the base may be put: every combination of these.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementGrid {
    /// Position of the base in the world (m).
    pub x: Span,
    /// As `x`.
    pub y: Span,
    /// As `x`.
    pub z: Span,
    /// Turn about the world's z (rad).
    pub yaw: Span,
    /// How the base is mounted, before yaw: the identity stands on a table, half a turn about x
    /// hangs from a ceiling.
    pub mounted: UnitQuaternion<f64>,
    /// Steps of the recording that are tried at each place, spread evenly; all when there are
    /// fewer.
    pub most_steps: NonZeroUsize,
}

/// One place and how the arm fares there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Position of the base in the world (m).
    pub x: f64,
    /// As `x`.
    pub y: f64,
    /// As `x`.
    pub z: f64,
    /// Turn about the world's z (rad).
    pub yaw: f64,
    /// Steps tried whose pose is reached without a collision, in percent.
    pub reachable_percent: f64,
    /// Manipulability margin: the smallest singular value that 95 % of the steps reached exceed
    /// (m and rad); 0 when none is reached.
    pub margin: f64,
}

/// The map of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacementReport {
    /// The arm.
    pub arm: String,
    /// Steps tried at each place.
    pub steps: u64,
    /// The place with the most steps reached, of those the one with the largest margin, of those
    /// the first.
    pub best: Placement,
    /// Every place: x slowest, then y, z, and yaw fastest.
    pub places: Vec<Placement>,
}

impl Placement {
    /// The base at this place, mounted as the grid says (m).
    pub fn world_from_base(&self, mounted: &UnitQuaternion<f64>) -> Isometry3<f64> {
        let yaw = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), self.yaw);
        Isometry3::from_parts(Translation3::new(self.x, self.y, self.z), yaw * mounted)
    }
}

/// Tries every place of `grid` for the base of `arm`. Here `poses` hold `world_from_effector`, in
/// whatever world the grid is in. `progress` is told of places done and places in all, from
/// several threads.
///
/// # Errors
/// [`ArmError::Option`] for a span without values, too many places, or an option of the check
/// that makes no sense.
pub fn search_placements(
    arm: impl Into<Arc<Arm>>,
    options: &ArmCheckOptions,
    poses: &[TimedPose],
    grid: &PlacementGrid,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<PlacementReport, ArmError> {
    let threads = options.threads.unwrap_or_else(all_threads);
    let checker = ArmChecker::new(arm, options.clone())?;
    let (xs, ys) = (grid.x.values("x")?, grid.y.values("y")?);
    let (zs, yaws) = (grid.z.values("z")?, grid.yaw.values("yaw")?);
    let counts = [xs.len(), ys.len(), zs.len(), yaws.len()];
    let count = counts
        .iter()
        .try_fold(1_usize, |all, &n| all.checked_mul(n));
    let count = count
        .filter(|&count| count <= MOST_PLACES)
        .ok_or_else(|| ArmError::Option {
            option: "placement grid".to_owned(),
            expected: format!("at most {MOST_PLACES} places"),
            got: format!("{counts:?}"),
        })?;
    let poses = thinned(poses, grid.most_steps.get());
    let done = AtomicUsize::new(0);
    let places = in_parallel(
        threads,
        count,
        || (),
        |(), number| {
            let (rest, yaw) = (number / yaws.len(), yaws[number % yaws.len()]);
            let (rest, z) = (rest / zs.len(), zs[rest % zs.len()]);
            let (x, y) = (xs[rest / ys.len()], ys[rest % ys.len()]);
            let mut place = Placement {
                x,
                y,
                z,
                yaw,
                reachable_percent: 0.0,
                margin: 0.0,
            };
            let base_from_world = place.world_from_base(&grid.mounted).inverse();
            let poses: Vec<_> = poses
                .iter()
                .map(|pose| TimedPose {
                    base_from_effector: pose.base_from_effector.map(|pose| base_from_world * pose),
                    ..*pose
                })
                .collect();
            let steps = checker.judged(&poses, NonZeroUsize::MIN, false);
            (place.reachable_percent, place.margin) = score(&steps);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
            place
        },
    );
    let best = places.iter().copied().reduce(|best, next| {
        let key = |place: &Placement| (place.reachable_percent, place.margin);
        if key(&next) > key(&best) { next } else { best }
    });
    Ok(PlacementReport {
        arm: checker.arm().name().to_owned(),
        steps: poses.len() as u64,
        best: best.expect("a grid has at least one place"),
        places,
    })
}

/// At most so many steps, from the first to the last.
fn thinned(poses: &[TimedPose], most: usize) -> Vec<TimedPose> {
    if poses.len() <= most {
        return poses.to_vec();
    }
    let last = poses.len() - 1;
    let index = |number: usize| number * last / (most - 1).max(1);
    (0..most).map(|number| poses[index(number)]).collect()
}

/// Percent of steps reached without a collision, and the margin over them.
fn score(steps: &[ArmStep]) -> (f64, f64) {
    let bad = UNREACHABLE | COLLISION | INPUT_HELD;
    let reached = steps.iter().filter(|step| step.flags & bad == 0);
    let mut values: Vec<f64> = reached.map(|step| step.singular_value).collect();
    values.sort_by(f64::total_cmp);
    let margin = values.get(values.len() / 20).copied().unwrap_or(0.0);
    (percent(values.len(), steps.len()), margin)
}
