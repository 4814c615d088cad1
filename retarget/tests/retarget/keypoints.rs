use dexumi_retarget::{
    FingerScale, Hand, KEYPOINTS_DEGENERATE, KEYPOINTS_NON_FINITE, KEYPOINTS_WRONG_AXES,
    KeypointSolver, Keypoints, LONGEST_STEP_S, NpyArray, finger_scales, keypoints_from_array,
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
    for (tip, point) in hand.tips().iter().zip(&pose.tips) {
        let base = 1 + 4 * tip.finger as usize;
        points[base + 3] = *point;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The points that draw a hand at q bring it back to within the pull's bias of q's tips.
    #[test]
    fn the_hand_s_own_points_are_found_again(
        parts in proptest::collection::vec(0.05..0.95, 24), scale in 0.6..1.2,
    ) {
        for hand in hands() {
            let q = within_limits(&hand, &parts);
            let mut solver = KeypointSolver::new(hand.clone(), &same_size(&hand, scale));
            let points = keypoints_of(&hand, &q, scale);
            solver.step(&points, None);
            // The pull fades as the answer it pulls to comes near.
            for _ in 0..10 {
                solver.step(&points, Some(0.1));
            }
            let step = solver.step(&points, Some(0.1));
            prop_assert_eq!(step.flags, 0);
            for error in &step.tip_error_m {
                prop_assert!(*error < 1e-3, "{} {:?}", hand.name(), step);
            }
        }
    }

    #[test]
    fn no_input_leads_out_of_the_limits_or_to_a_number_that_is_not_finite(
        rows in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![
                8 => -0.2..0.2,
                1 => prop_oneof![Just(f64::NAN), Just(1e30), Just(f64::MAX), Just(-f64::INFINITY), Just(0.0)],
            ], 63),
            1..4,
        ),
        is_hand in any::<bool>(),
        dt_s in prop_oneof![Just(None), Just(Some(f64::NAN)), (-0.1..0.5).prop_map(Some)],
    ) {
        for hand in hands() {
            let mut solver = KeypointSolver::new(hand.clone(), &same_size(&hand, 0.8));
            let mut previous = hand.rest();
            let mut has_answer = false;
            for row in &rows {
                let mut points: Keypoints =
                    std::array::from_fn(|i| Point3::new(row[3 * i], row[3 * i + 1], row[3 * i + 2]));
                if is_hand {
                    // Like a hand where that is checked, so that the solver gets to work.
                    let own = keypoints_of(&hand, &hand.rest(), 0.8);
                    for at in [0, 5, 9, 17] {
                        points[at] = own[at];
                    }
                }
                let step = solver.step(&points, dt_s);
                let is_enforced = has_answer && dt_s.is_some_and(|dt_s: f64| dt_s <= LONGEST_STEP_S);
                for (i, &(lower, upper)) in hand.limits().iter().enumerate() {
                    prop_assert!((lower..=upper).contains(&step.position[i]));
                    if let Some(dt_s) = dt_s.filter(|_| is_enforced) {
                        let travel = (step.position[i] - previous[i]).abs();
                        prop_assert!(travel <= hand.velocities()[i] * dt_s.max(0.0) + 1e-12);
                    }
                }
                has_answer |= step.flags == 0;
                if step.flags != 0 {
                    prop_assert_eq!(&step.position, &previous);
                }
                previous.clone_from(&step.position);
            }
        }
    }
}

#[test]
fn bad_keypoints_hold_the_answer_and_say_why() {
    let hand = Hand::by_name("xhand_right").unwrap();
    let q = within_limits(&hand, &[0.4]);
    let good = keypoints_of(&hand, &q, 1.0);
    let mut solver = KeypointSolver::new(hand.clone(), &same_size(&hand, 1.0));
    let held = solver.step(&good, None).position.clone();
    let mut missing = good;
    missing[20].z = f64::NAN;
    let mut torn = good;
    torn[8].z = 3.0;
    let mirrored = good.map(|point| Point3::new(point.x, -point.y, point.z));
    let on_side = good.map(|point| Point3::new(point.z, point.y, -point.x));
    let cases = [
        (missing, KEYPOINTS_NON_FINITE),
        ([good[0]; 21], KEYPOINTS_DEGENERATE),
        (torn, KEYPOINTS_DEGENERATE),
        (mirrored, KEYPOINTS_WRONG_AXES),
        (on_side, KEYPOINTS_WRONG_AXES),
    ];
    for (points, flags) in cases {
        let step = solver.step(&points, Some(0.03));
        assert_eq!((step.flags, &step.position), (flags, &held));
        assert!(step.tip_error_m.iter().all(|error| error.is_nan()));
    }
    assert_eq!(solver.step(&good, Some(0.03)).flags, 0);
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

#[test]
fn a_recorded_hand_is_followed_closely_and_smoothly() {
    let Some(file) = shared("data/mediapipe_right_621x21x3_30fps_m.npy") else {
        return;
    };
    let right = keypoints_from_array(&NpyArray::from_path(&file).unwrap()).unwrap();
    assert_eq!(right.len(), 621);
    let mirror = |point: Point3<f64>| Point3::new(point.x, -point.y, point.z);
    let left: Vec<Keypoints> = right.iter().map(|points| points.map(mirror)).collect();
    for hand in hands() {
        let clip = if hand.side().thumb_along_y() > 0.0 {
            &right
        } else {
            &left
        };
        let scales = finger_scales(&hand, clip).unwrap();
        // The longest step there is: at 8.6 rad/s it allows a joint's whole range, so that the
        // speeds are what the solver does of its own, not what the limit makes of it.
        let dt_s = Some(LONGEST_STEP_S);
        let mut solver = KeypointSolver::new(hand.clone(), &scales);
        let (mut errors, mut speeds) = (Vec::new(), Vec::new());
        let mut previous: Option<Vec<f64>> = None;
        for points in clip {
            let step = solver.step(points, previous.as_ref().and(dt_s));
            assert_eq!(step.flags, 0);
            errors.extend_from_slice(&step.tip_error_m);
            for (i, &(lower, upper)) in hand.limits().iter().enumerate() {
                assert!((lower..=upper).contains(&step.position[i]));
                if let Some(previous) = &previous {
                    speeds.push((step.position[i] - previous[i]).abs() * 30.0);
                }
            }
            previous = Some(step.position.clone());
        }
        let (error, error_p99) = mean_and_p99(errors);
        let (speed, speed_p99) = mean_and_p99(speeds);
        println!(
            "{}: tip error mean {:.1} mm, p99 {:.1} mm; joint speed mean {speed:.2}, p99 {speed_p99:.1} rad/s",
            hand.name(),
            1e3 * error,
            1e3 * error_p99,
        );
        assert!(error < 0.030, "mean tip error {error} m");
        assert!(speed_p99 < 25.0, "p99 joint speed {speed_p99} rad/s");
    }
}
