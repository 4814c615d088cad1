use dexumi_retarget::{
    AT_SPEED, COLLISION_CLIPPED, DEGENERATE, DexumiWeights, Finger, FingerScale, Fusion, HELD,
    Hand, JointMap, Keypoints, LONGEST_STEP_S, Limits, NON_FINITE, NpyArray, Preset, RESEEDED,
    RetargetOptions, Retargeter, SmoothOptions, Tracker, TrackerOptions, WRONG_AXES, finger_scales,
    keypoints_from_array, retarget_clip,
};
use nalgebra::Point3;
use proptest::prelude::*;

use crate::{hands, shared, within_limits};

/// A human hand that answers exactly to a robot hand at `q`, `scale` times as large: the points
/// that draw the robot are its own, the rest is any hand's.
fn keypoints_of(hand: &Hand, q: &[f64], scale: f64) -> Keypoints {
    let across = hand.side().thumb_along_y();
    let pose = hand.forward(q);
    let mut points = [Point3::origin(); 21];
    for finger in 0..5 {
        let y = across * (0.04 - 0.02 * finger as f64);
        for bone in 0..4 {
            points[1 + 4 * finger + bone] = Point3::new(0.0, y, 0.09 + 0.03 * bone as f64);
        }
    }
    let wrist = hand.wrist().link_from_frame.translation.vector;
    assert!(hand.wrist().joint.is_none(), "{}", hand.name());
    points[0] = Point3::from(wrist);
    for tip in hand.tips() {
        let base = 1 + 4 * tip.finger as usize;
        points[base + 3] = pose.root_from_joint[tip.joint] * (tip.point_in_joint + tip.pad);
        if let Some(joint) = tip.middle_joint {
            let middle = base + if base == 1 { 2 } else { 1 };
            points[middle] = pose.root_from_joint[joint].translation.vector.into();
        }
    }
    // The wrist may lie anywhere.
    points.map(|point| point * scale + nalgebra::Vector3::new(0.3, -0.2, 0.1))
}

fn same_size(hand: &Hand, human_over_robot: f64) -> Vec<FingerScale> {
    let scale = 1.0 / human_over_robot;
    let tips = hand.tips().iter();
    tips.map(|tip| FingerScale {
        finger: tip.finger,
        tip: scale,
        middle: scale,
    })
    .collect()
}

fn retargeter(hand: &std::sync::Arc<Hand>, scales: Vec<FingerScale>) -> Retargeter {
    Retargeter::new(hand.clone(), &RetargetOptions::new(Preset::dexumi(scales))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The points that draw a hand at q bring it back to q's tips, as far as links that are too near,
    /// pinches and the posture of a human hand let it.
    #[test]
    fn the_hand_s_own_points_are_found_again(
        parts in proptest::collection::vec(0.1..0.4, 24), scale in 0.6..1.2,
    ) {
        for hand in hands() {
            let q = within_limits(&hand, &parts);
            let mut solver = retargeter(&hand, same_size(&hand, scale));
            let points = keypoints_of(&hand, &q, scale);
            solver.step(&points, None);
            // The pull fades as the answer it pulls to comes near.
            for _ in 0..30 {
                solver.step(&points, Some(0.1));
            }
            let last = solver.last();
            prop_assert!(!last.is_held(), "{}: {:#x}", hand.name(), last.flags);
            let (mean, worst) = mean_and_p99(last.tip_error_m.clone());
            prop_assert!(mean < 0.015 && worst < 0.05, "{}: {mean} {worst}", hand.name());
        }
    }

    /// Where nothing but the points counts, they are found to a millimetre.
    #[test]
    fn the_hand_s_own_points_alone_are_found_exactly(
        parts in proptest::collection::vec(0.1..0.9, 24), scale in 0.6..1.2,
    ) {
        for hand in hands() {
            let q = within_limits(&hand, &parts);
            let weights = DexumiWeights {
                direction: 0.0,
                pair: 0.0,
                pinch: 0.0,
                posture: 0.0,
                inertia: 1e-6,
                reach: 2.0,
                ..DexumiWeights::default()
            };
            let options = RetargetOptions {
                limits: Limits::Position,
                collision: None,
                ..RetargetOptions::new(Preset::Dexumi { scales: same_size(&hand, scale), weights })
            };
            let mut solver = Retargeter::new(hand.clone(), &options).unwrap();
            // On the way from where it stands, and then there.
            let rest = hand.rest();
            for step in 1..=120 {
                let part = f64::from(step.min(60)) / 60.0;
                let on_the_way: Vec<f64> =
                    rest.iter().zip(&q).map(|(from, to)| from + part * (to - from)).collect();
                solver.step(&keypoints_of(&hand, &on_the_way, scale), Some(0.1));
            }
            for (tip, error) in hand.tips().iter().zip(&solver.last().tip_error_m) {
                // LEAP's thumb can be led into another bend of its four axes, from which every small step
                // is worse.
                let is_led_astray = hand.name().starts_with("leap") && tip.finger == Finger::Thumb;
                let most = if is_led_astray { 4e-3 } else { 1e-3 };
                prop_assert!(*error < most, "{} {:?}: {error} m", hand.name(), tip.finger);
            }
        }
    }
}

#[test]
fn bad_keypoints_hold_the_answer_and_say_why() {
    let hand = std::sync::Arc::new(Hand::by_name("xhand_right").unwrap());
    let q = within_limits(&hand, &[0.4]);
    let good = keypoints_of(&hand, &q, 1.0);
    let mut solver = retargeter(&hand, same_size(&hand, 1.0));
    let held = solver.step(&good, None).position.clone();
    let mut missing = good;
    missing[20].z = f64::NAN;
    let mut torn = good;
    torn[8].z = 3.0;
    let mirrored = good.map(|point| Point3::new(point.x, -point.y, point.z));
    let on_side = good.map(|point| Point3::new(point.z, point.y, -point.x));
    let cases = [
        (missing, NON_FINITE),
        ([good[0]; 21], DEGENERATE),
        (torn, DEGENERATE),
        (mirrored, WRONG_AXES),
        (on_side, WRONG_AXES),
    ];
    for (points, flags) in cases {
        let step = solver.step(&points, Some(0.03));
        assert_eq!((step.flags, &step.position), (flags, &held));
        assert!(step.tip_error_m.iter().all(|error| error.is_nan()));
    }
    assert_eq!(solver.step(&good, Some(0.03)).flags & HELD, 0);
}

#[test]
fn arrays_of_another_shape_are_refused() {
    for shape in [vec![2, 21, 2], vec![0, 21, 3], vec![126]] {
        let data = vec![0.0; shape.iter().product()];
        let message = keypoints_from_array(&NpyArray { shape, data })
            .unwrap_err()
            .to_string();
        assert!(message.contains("[n, 21, 3]"), "{message}");
    }
    let hand = Hand::by_name("xhand_left").unwrap();
    let message = finger_scales(&hand, &[[Point3::origin(); 21]])
        .unwrap_err()
        .to_string();
    assert!(message.contains("Thumb"), "{message}");
}

/// Mean, and the value that 99 % do not exceed.
fn mean_and_p99(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values[(values.len() - 1) * 99 / 100])
}

/// The recorded clip, as a hand of that side makes it.
fn clip_of(hand: &Hand) -> Option<Vec<Keypoints>> {
    let file = shared("data/mediapipe_right_621x21x3_30fps_m.npy")?;
    let right = keypoints_from_array(&NpyArray::from_path(&file).unwrap()).unwrap();
    assert_eq!(right.len(), 621);
    let across = hand.side().thumb_along_y();
    let turn = |point: Point3<f64>| Point3::new(point.x, across * point.y, point.z);
    Some(right.iter().map(|points| points.map(turn)).collect())
}

#[test]
fn a_recorded_hand_is_followed_closely_live() {
    for hand in hands() {
        let Some(clip) = clip_of(&hand) else { return };
        let scales = finger_scales(&hand, &clip).unwrap();
        let mut solver = retargeter(&hand, scales);
        let (mut errors, mut at_speed) = (Vec::new(), 0);
        for points in &clip {
            let step = solver.step(points, Some(LONGEST_STEP_S));
            assert!(!step.is_held());
            at_speed += usize::from(step.flags & AT_SPEED != 0);
            errors.extend_from_slice(&step.tip_error_m);
        }
        // Inspire's fingers take three seconds from open to closed.
        if at_speed > 31 {
            assert!(
                hand.velocities().iter().any(|&velocity| velocity < 1.0),
                "{}",
                hand.name()
            );
            continue;
        }
        let (mean, p99) = mean_and_p99(errors);
        assert!(
            mean < 0.025 && p99 < 0.08,
            "{}: mean {mean} m, p99 {p99} m",
            hand.name()
        );
    }
}

/// Mean square of the second difference of all joints.
fn jitter(motion: &[Vec<f64>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for window in motion.windows(3) {
        for ((a, b), c) in window[0].iter().zip(&window[1]).zip(&window[2]) {
            sum += (c - 2.0 * b + a).powi(2);
            count += 1;
        }
    }
    sum / f64::from(count)
}

#[test]
fn a_recording_comes_out_smoother_than_live_and_no_farther_behind() {
    for hand in hands() {
        let Some(clip) = clip_of(&hand) else { return };
        let options = RetargetOptions::new(Preset::dexumi(finger_scales(&hand, &clip).unwrap()));
        let dt_s = 1.0 / 30.0;
        let mut live = Retargeter::new(hand.clone(), &options).unwrap();
        let live: Vec<Vec<f64>> = clip
            .iter()
            .map(|points| live.step(points, Some(dt_s)).position.clone())
            .collect();
        let smooth = SmoothOptions::default();
        let recorded = retarget_clip(hand.clone(), &options, smooth, &clip, dt_s).unwrap();
        assert_eq!(recorded.len(), clip.len());
        for window in recorded.windows(2) {
            for (i, &velocity) in hand.velocities().iter().enumerate() {
                let travel = (window[1].position[i] - window[0].position[i]).abs();
                assert!(travel <= velocity * dt_s + 1e-12, "{}", hand.name());
            }
        }
        let recorded: Vec<Vec<f64>> = recorded.into_iter().map(|step| step.position).collect();
        let (was, is) = (jitter(&live), jitter(&recorded));
        assert!(is < 0.5 * was, "{}: {is} of {was}", hand.name());
        // Mostly the same, whatever the stretches are that it is cut into: a finger that stretches in
        // vain has more than one way to.
        let other = SmoothOptions {
            stretch: 150,
            ahead: 60,
            ..smooth
        };
        let again = retarget_clip(hand.clone(), &options, other, &clip, dt_s).unwrap();
        let off = recorded
            .iter()
            .zip(&again)
            .flat_map(|(one, other)| one.iter().zip(&other.position).map(|(a, b)| (a - b).abs()));
        let mut off: Vec<f64> = off.collect();
        off.sort_by(f64::total_cmp);
        let median = off[off.len() / 2];
        assert!(median < 0.005, "{}: {median} rad", hand.name());
    }
}

#[test]
fn a_held_step_in_a_recording_stays_where_it_was() {
    let hand = std::sync::Arc::new(Hand::by_name("xhand_right").unwrap());
    let good = keypoints_of(&hand, &within_limits(&hand, &[0.4]), 1.0);
    let other = keypoints_of(&hand, &within_limits(&hand, &[0.2]), 1.0);
    let mut bad = good;
    bad[3].x = f64::INFINITY;
    let clip = [vec![good; 50], vec![bad; 3], vec![other; 50]].concat();
    let options = RetargetOptions::new(Preset::dexumi(same_size(&hand, 1.0)));
    let smooth = SmoothOptions::default();
    let steps = retarget_clip(hand, &options, smooth, &clip, 1.0 / 30.0).unwrap();
    assert_eq!(steps.len(), 103);
    for held in &steps[50..53] {
        assert_eq!(held.flags & HELD, NON_FINITE);
        assert_eq!(held.position, steps[49].position);
    }
    assert!(!steps[53].is_held() && steps[53].position != steps[49].position);
}

#[test]
fn a_tracked_hand_is_smoother_than_a_solved_one_and_arrives_without_overshoot() {
    let hand = std::sync::Arc::new(Hand::by_name("xhand_right").unwrap());
    let from = keypoints_of(&hand, &within_limits(&hand, &[0.3]), 1.0);
    let to = keypoints_of(&hand, &within_limits(&hand, &[0.15]), 1.0);
    let options = RetargetOptions::new(Preset::dexumi(same_size(&hand, 1.0)));
    // The same course at two rates.
    for (dt_s, steps) in [(1.0 / 30.0, 45), (1.0 / 120.0, 180)] {
        let mut tracker = Tracker::new(hand.clone(), &options, TrackerOptions::default()).unwrap();
        for _ in 0..40 {
            tracker.step(&from, Some(0.1));
        }
        let start = tracker.step(&from, Some(dt_s)).position.clone();
        let course: Vec<Vec<f64>> = (0..steps)
            .map(|_| tracker.step(&to, Some(dt_s)).position.clone())
            .collect();
        let end = course.last().unwrap();
        for i in 0..hand.dof() {
            let (low, high) = (start[i].min(end[i]), start[i].max(end[i]));
            // The pull of the solver to its own last answer lets the end drift a little.
            assert!(
                course
                    .iter()
                    .all(|q| q[i] > low - 0.02 && q[i] < high + 0.02),
                "joint {i}"
            );
        }
    }
}

#[test]
fn encoders_settle_what_keypoints_leave_open_and_both_answers_are_told() {
    let hand = std::sync::Arc::new(Hand::by_name("xhand_right").unwrap());
    let angles = within_limits(&hand, &[0.3]);
    let points = keypoints_of(&hand, &within_limits(&hand, &[0.2]), 1.0);
    // At these angles the thumb is near the palm.
    let mut options = RetargetOptions::new(Preset::dexumi(same_size(&hand, 1.0)));
    options.collision = None;
    let retargeter = || Retargeter::new(hand.clone(), &options).unwrap();
    let mut apart = Vec::new();
    for weight in [0.0, 0.01, 100.0] {
        let map = JointMap::new(hand.clone());
        let mut fusion = Fusion::new(map, retargeter(), weight);
        for _ in 0..30 {
            fusion.step(&angles, &points, Some(0.1));
        }
        let (step, verdict) = fusion.step(&angles, &points, Some(0.1));
        assert_eq!(step.position, angles, "the map alone");
        let off = step
            .position
            .iter()
            .zip(&verdict.position)
            .map(|(a, b)| (a - b).abs());
        apart.push((
            off.fold(0.0, f64::max),
            mean_and_p99(verdict.tip_error_m.clone()).0,
        ));
    }
    assert!(
        apart[0].0 > apart[1].0 && apart[1].0 > apart[2].0,
        "{apart:?}"
    );
    assert!(apart[2].0 < 1e-3, "{apart:?}");
    assert!(apart[0].1 < apart[2].1, "{apart:?}");
    let mut angles = angles;
    angles[4] = f64::NAN;
    let mut fusion = Fusion::new(JointMap::new(hand.clone()), retargeter(), 1.0);
    let (step, verdict) = fusion.step(&angles, &points, None);
    assert!(!verdict.is_held() && step.any_flags() != 0);
}

/// A step that leaps through a link is taken back; the next must not leap again and stand still.
#[test]
fn a_hand_does_not_stay_in_front_of_a_link() {
    for hand in hands() {
        let Some(clip) = clip_of(&hand) else { return };
        let mut solver = retargeter(&hand, finger_scales(&hand, &clip).unwrap());
        let (mut last, mut longest, mut standing) = (hand.rest(), 0, 0);
        for keypoints in &clip {
            let verdict = solver.step(keypoints, Some(1.0 / 30.0));
            let stands = verdict.flags & COLLISION_CLIPPED != 0 && verdict.position == last;
            standing = if stands { standing + 1 } else { 0 };
            longest = longest.max(standing);
            last.clone_from(&verdict.position);
        }
        assert!(longest <= 3, "{}: {longest} steps", hand.name());
    }
}

/// Whatever the hand did before, another basin that it went to or looked for: shown a posture that
/// stays, it comes to rest, and then there is nothing left to do.
#[test]
fn a_hand_comes_to_rest_where_nothing_moves() {
    for hand in hands() {
        let Some(clip) = clip_of(&hand) else { return };
        let mut solver = retargeter(&hand, finger_scales(&hand, &clip).unwrap());
        for (step, keypoints) in clip.iter().enumerate() {
            solver.step(keypoints, Some(1.0 / 30.0));
            if step % 60 != 59 {
                continue;
            }
            let mut resting = solver.clone();
            for _ in 0..90 {
                resting.step(keypoints, Some(1.0 / 30.0));
            }
            let before = resting.last().position.clone();
            let verdict = resting.step(keypoints, Some(1.0 / 30.0));
            let moved = verdict.position.iter().zip(&before);
            let most = moved.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let name = hand.name();
            assert!(most < 1e-3, "{name}, from step {step}: moves by {most}");
            assert!(
                verdict.iterations <= 2,
                "{name}, from step {step}: {} iterations",
                verdict.iterations
            );
        }
    }
}

/// A search for other basins is spread over the steps.
#[test]
fn no_step_does_all_of_a_search() {
    for hand in hands() {
        let Some(clip) = clip_of(&hand) else { return };
        let mut solver = retargeter(&hand, finger_scales(&hand, &clip).unwrap());
        let mut searching = 0;
        for (step, keypoints) in clip.iter().enumerate() {
            let verdict = solver.step(keypoints, (step > 0).then_some(1.0 / 30.0));
            let name = hand.name();
            if step == 0 {
                assert!(verdict.flags & RESEEDED != 0, "{name}");
            } else if verdict.flags & (RESEEDED | COLLISION_CLIPPED) == RESEEDED {
                searching += 1;
                assert!(
                    verdict.iterations < 20,
                    "{name}, step {step}: {} iterations",
                    verdict.iterations
                );
            }
        }
        assert!(searching > 0, "{}", hand.name());
    }
}
