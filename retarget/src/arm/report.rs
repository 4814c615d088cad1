//! The sum of an arm check.

use dexumi_episode::SessionTime;
use serde::{Deserialize, Serialize};

use crate::arm::Arm;
use crate::arm::check::{ARM_FLAGS, ArmStep, INPUT_HELD, UNREACHABLE};

/// How a whole recording suits an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmReport {
    /// The arm.
    pub arm: String,
    /// Steps asked for: reached + unreachable + held.
    pub steps: u64,
    /// Steps whose pose the arm reaches.
    pub reached: u64,
    /// They, in percent of all steps; 0 of no steps.
    pub reachable_percent: f64,
    /// Steps without any flag.
    pub good: u64,
    /// How often each flag is set, in the order of [`ARM_FLAGS`].
    pub flags: Vec<FlagCount>,
    /// The first step with any flag.
    pub first_bad: Option<FirstBad>,
    /// Pairs of capsules that were held against each other; 0: nothing is known of the arm's
    /// shape, and no collision could be seen.
    pub collision_pairs: u64,
}

/// How often a flag is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagCount {
    /// Its name, as in [`ARM_FLAGS`].
    pub flag: String,
    /// Steps that have it.
    pub steps: u64,
    /// The first of them.
    pub first: Option<SessionTime>,
}

/// The first step that is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstBad {
    /// Its index.
    pub step: u64,
    /// Its time.
    pub time: SessionTime,
    /// Its flags.
    pub flags: u32,
}

impl ArmReport {
    pub(crate) fn new(arm: &Arm, steps: &[ArmStep]) -> Self {
        let reached = steps
            .iter()
            .filter(|step| step.flags & (UNREACHABLE | INPUT_HELD) == 0)
            .count();
        let flags = ARM_FLAGS.iter().map(|&(flag, name)| {
            let mut having = steps.iter().filter(|step| step.flags & flag != 0);
            let first = having.next().map(|step| step.time);
            FlagCount {
                flag: name.to_owned(),
                steps: u64::from(first.is_some()) + having.count() as u64,
                first,
            }
        });
        let first_bad = steps.iter().position(|step| step.flags != 0);
        Self {
            arm: arm.name().to_owned(),
            steps: steps.len() as u64,
            reached: reached as u64,
            reachable_percent: percent(reached, steps.len()),
            good: steps.iter().filter(|step| step.flags == 0).count() as u64,
            flags: flags.collect(),
            first_bad: first_bad.map(|index| FirstBad {
                step: index as u64,
                time: steps[index].time,
                flags: steps[index].flags,
            }),
            collision_pairs: arm.collision_pairs().len() as u64,
        }
    }
}

pub(crate) fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}
