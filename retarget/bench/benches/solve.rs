//! Time of a step, for every hand and preset:
//!
//! ```sh
//! KEYPOINTS=hand.npy cargo bench --manifest-path retarget/bench/Cargo.toml
//! ```
//!
//! `hand.npy`: keypoints [n, 21, 3] (m) of a right hand at 30 Hz, in the hand's axes; without it a hand that
//! opens and closes is made up.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dexumi_retarget::{
    HANDS, Hand, Keypoints, NpyArray, Preset, RetargetOptions, Retargeter, finger_scales,
    keypoints_from_array,
};

fn main_clip() -> Vec<Keypoints> {
    match std::env::var("KEYPOINTS") {
        Ok(file) => {
            let array = NpyArray::from_path(file.as_ref()).expect("a file of keypoints");
            keypoints_from_array(&array).expect("keypoints [n, 21, 3]")
        }
        Err(_) => (0..300).map(|step| closing(f64::from(step) / 30.0)).collect(),
    }
}

/// A hand that opens and closes, each finger a little later than the one before.
fn closing(time_s: f64) -> Keypoints {
    let mut points = Keypoints::default();
    for finger in 0..5 {
        let bend = 0.5 - 0.5 * (2.0 * time_s - 0.3 * f64::from(finger)).cos();
        let mut at = [0.0, 0.04 - 0.02 * f64::from(finger), 0.09];
        let mut angle = 0.1_f64;
        for bone in 0..4 {
            points[1 + 4 * finger as usize + bone] = at.into();
            angle += bend;
            at = [at[0] + 0.03 * angle.sin(), at[1], at[2] + 0.03 * angle.cos()];
        }
    }
    points
}

fn solve(criterion: &mut Criterion) {
    let clip = main_clip();
    for (name, _) in HANDS.iter().filter(|(name, _)| name.ends_with("_right")) {
        let hand = Hand::by_name(name).expect("a hand of the list");
        let scales = finger_scales(&hand, &clip).expect("a hand in the clip");
        let presets = [
            RetargetOptions::reference(Preset::Vector { scale: 1.2, follow: Vec::new() }),
            RetargetOptions::reference(Preset::DexPilot { scale: 1.2 }),
            RetargetOptions::new(Preset::dexumi(scales)),
        ];
        let mut group = criterion.benchmark_group(*name);
        for options in presets {
            let mut retargeter =
                Retargeter::new(hand.clone(), &options).expect("a preset that fits the hand");
            let mut steps = clip.iter().cycle();
            group.bench_function(options.preset.name(), |bencher| {
                bencher.iter(|| {
                    let points = steps.next().expect("a clip that is not empty");
                    black_box(retargeter.step(black_box(points), Some(1.0 / 30.0)).objective)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, solve);
criterion_main!(benches);
