//! What the crate promises, from the outside. Tests over [`HANDS`] cover a newcomer unasked.

mod arm;
mod arm_check;
mod arm_urdf;
mod axes;
mod capsules;
mod exo_map;
mod follow;
mod guarantees;
mod hand;
mod hand_file;
mod hand_urdf;
mod keypoints;
mod kinematics;
mod placement;
mod reference;
mod se3;
mod two_hands;
mod urdf;
mod urdf_import;
mod urdf_random;
mod wrist;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dexumi_retarget::{ARMS, Arm, HANDS, Hand};

/// Every built-in hand.
fn hands() -> Vec<Arc<Hand>> {
    HANDS
        .iter()
        .map(|(name, _)| Arc::new(Hand::by_name(name).unwrap()))
        .collect()
}

/// Every built-in arm.
fn arms() -> Vec<Arc<Arm>> {
    ARMS.iter()
        .map(|(name, _)| Arc::new(Arm::by_name(name).unwrap()))
        .collect()
}

/// A file of the reference data beside the repository; `None`, with a message, where it is absent.
fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(path);
    if !file.exists() {
        eprintln!("skipped: no reference data at {}", file.display());
        return None;
    }
    Some(file)
}

/// The point of the hand's box at `parts` (each 0 to 1, repeated as needed).
fn within_limits(hand: &Hand, parts: &[f64]) -> Vec<f64> {
    let ranges = hand.limits().iter().zip(parts.iter().cycle());
    ranges
        .map(|(&(lower, upper), part)| lower + part * (upper - lower))
        .collect()
}

/// The point of the arm's box at `parts` (each 0 to 1, repeated as needed).
fn within_arm_limits(arm: &Arm, parts: &[f64]) -> Vec<f64> {
    let joints = arm.joints().iter().zip(parts.iter().cycle());
    joints
        .map(|(joint, part)| joint.lower + part * (joint.upper - joint.lower))
        .collect()
}

/// Endless vectors of `count` numbers from −`reach` to `reach`, the same in every run; the first
/// one is all zeros.
fn random(count: usize, reach: f64) -> impl Iterator<Item = Vec<f64>> {
    let mut state = 1_u64;
    // Knuth's linear congruential generator, top 53 bits.
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (2.0 * (state >> 11) as f64 / (1_u64 << 53) as f64 - 1.0) * reach
    };
    (0..).map(move |trial| match trial {
        0 => vec![0.0; count],
        _ => (0..count).map(|_| next()).collect(),
    })
}
