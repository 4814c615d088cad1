use std::ops::ControlFlow;
use std::sync::Arc;

use dexumi_retarget::{
    FollowError, FollowOptions, Follower, Hand, Keypoints, Limits, PointAxes, Preset, PresetKind,
    RetargetOptions, Side, SmoothOptions, StepFigures, Verdict, finger_scales, retarget_clip,
};
use nalgebra::Point3;

use crate::axes::hand;

const DT_S: f64 = 1.0 / 30.0;

/// A hand that closes and opens once in 2 s.
fn clip(steps: usize) -> Vec<Keypoints> {
    let bend = |step: usize| 0.25 - 0.25 * (std::f64::consts::PI * step as f64 * DT_S).cos();
    (0..steps)
        .map(|step| hand(Side::Right, bend(step)))
        .collect()
}

fn times_s(steps: usize) -> Vec<f64> {
    (0..steps).map(|step| step as f64 * DT_S).collect()
}

fn follow(options: &FollowOptions, clip: &[Keypoints]) -> (StepFigures, Vec<Verdict>) {
    let robot = Arc::new(Hand::by_name("xhand_right").unwrap());
    let follower = Follower::new(&robot, options, clip).unwrap();
    let mut verdicts = Vec::new();
    let figures = follower.run(clip, &times_s(clip.len()), |index, verdict| {
        assert_eq!(index, verdicts.len(), "in order");
        verdicts.push(verdict.clone());
        ControlFlow::Continue(())
    });
    (figures.unwrap(), verdicts)
}

#[test]
fn a_recording_is_answered_as_by_the_parts_that_it_is_made_of() {
    let clip = clip(500);
    let robot = Hand::by_name("xhand_right").unwrap();
    let scales = finger_scales(&robot, &clip).unwrap();
    let options = RetargetOptions::new(Preset::dexumi(scales));
    let smooth = SmoothOptions::default();
    let expected = retarget_clip(robot, &options, smooth, &clip, DT_S).unwrap();
    let (figures, verdicts) = follow(&FollowOptions::default(), &clip);
    assert_eq!(
        (figures.steps, verdicts.len(), expected.len()),
        (500, 500, 500)
    );
    for (step, (verdict, expected)) in verdicts.iter().zip(&expected).enumerate() {
        for (q, expected) in verdict.position.iter().zip(&expected.position) {
            // Times that are sums of steps differ in their last digits.
            assert!((q - expected).abs() < 1e-6, "step {step}: {q}, {expected}");
        }
    }
}

#[test]
fn figures_count_what_the_answers_say() {
    let mut clip = clip(200);
    clip[70][3] = Point3::new(f64::NAN, 0.0, 0.0);
    clip[71][0] = Point3::new(f64::INFINITY, 0.0, 0.0);
    for smooth in [None, Some(SmoothOptions::default())] {
        let options = FollowOptions {
            smooth,
            axes: PointAxes::Hand,
            ..FollowOptions::default()
        };
        let (figures, verdicts) = follow(&options, &clip);
        let held = verdicts.iter().filter(|verdict| verdict.is_held()).count() as u64;
        assert_eq!((figures.held, held), (2, 2));
        let errors: Vec<f64> = verdicts
            .iter()
            .flat_map(|verdict| verdict.tip_error_m.iter().copied())
            .filter(|error| error.is_finite())
            .collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!((figures.tip_error_mean_m.unwrap() - mean).abs() < 1e-12);
        let above = errors
            .iter()
            .filter(|&&error| error > figures.tip_error_p95_m.unwrap())
            .count();
        assert!(above as f64 <= 0.05 * errors.len() as f64, "{above}");
        let (mut sum, mut count) = (0.0, 0);
        for three in verdicts
            .windows(3)
            .filter(|three| three.iter().all(|v| !v.is_held()))
        {
            for at in 0..three[0].position.len() {
                let [a, b, c] = [0, 1, 2].map(|step: usize| three[step].position[at]);
                sum += (a - 2.0 * b + c).powi(2);
                count += 1;
            }
        }
        let jitter = sum / f64::from(count);
        let got = figures.jitter_rad2.unwrap();
        assert!((got - jitter).abs() <= 1e-9 * jitter, "{got} {jitter}");
        assert!(
            figures.step_time_p50_s > 0.0 && figures.step_time_p50_s <= figures.step_time_p99_s
        );
    }
    let still = vec![hand(Side::Right, 0.2); 100];
    let options = FollowOptions {
        smooth: None,
        ..FollowOptions::default()
    };
    let verdicts = follow(&options, &still).1;
    // It settles within the first steps, and then stands.
    for two in verdicts[20..].windows(2) {
        for (a, b) in two[0].position.iter().zip(&two[1].position) {
            assert!((a - b).abs() < 1e-4, "a hand that is still moves: {a} {b}");
        }
    }
}

#[test]
fn every_preset_and_limit_can_be_asked_for() {
    let clip = clip(30);
    for preset in [
        PresetKind::Vector,
        PresetKind::Position,
        PresetKind::DexPilot,
        PresetKind::Dexumi,
    ] {
        for limits in [Limits::All, Limits::Position, Limits::Joints] {
            let options = FollowOptions {
                preset,
                limits,
                ..FollowOptions::default()
            };
            let (figures, verdicts) = follow(&options, &clip);
            assert_eq!(figures.held, 0, "{preset:?}");
            let dof = verdicts[0].position.len();
            let free = if preset == PresetKind::Position { 6 } else { 0 };
            assert_eq!(dof, 12 + free, "{preset:?}");
        }
    }
}

#[test]
fn a_recording_can_be_broken_off_and_one_without_a_hand_is_refused() {
    let clip = clip(50);
    let robot = Arc::new(Hand::by_name("xhand_right").unwrap());
    let follower = Follower::new(&robot, &FollowOptions::default(), &clip).unwrap();
    let mut seen = 0;
    let figures = follower.run(&clip, &times_s(50), |_, _| {
        seen += 1;
        if seen == 10 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((figures, seen), (None, 10));
    let none = vec![[Point3::origin(); 21]; 5];
    let refused = Follower::new(&robot, &FollowOptions::default(), &none);
    assert!(matches!(refused, Err(FollowError::Keypoints(_))));
}
