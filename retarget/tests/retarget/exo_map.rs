use dexumi_retarget::{
    CLIPPED_LIMIT, CLIPPED_VELOCITY, Hand, JointMap, LONGEST_STEP_S, NO_ANSWER_YET, NON_FINITE_HELD,
};
use proptest::prelude::*;

use crate::hands;
use crate::kinematics::COUPLED;

/// Any number a broken device could send.
fn angle() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -4.0..4.0,
        1 => prop_oneof![
            Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY),
            Just(1e30), Just(-1e30), Just(f64::MIN_POSITIVE), Just(f64::MAX),
        ],
    ]
}

fn dt() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(0.0)),
        Just(Some(-1.0)),
        (0.0..0.5).prop_map(Some),
        (0.001..0.01).prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn every_answer_is_finite_within_limits_and_within_speed(
        steps in proptest::collection::vec((proptest::collection::vec(angle(), 32), dt()), 1..20),
    ) {
        for hand in hands() {
            let mut map = JointMap::new(hand.clone());
            let mut has_answer = vec![false; hand.dof()];
            let mut previous = hand.rest();
            for (angles, dt_s) in &steps {
                let angles = &angles[..hand.dof()];
                let step = map.step(angles, *dt_s).clone();
                for (joint, &asked) in angles.iter().enumerate() {
                    let (lower, upper) = hand.limits()[joint];
                    let given = step.position[joint];
                    prop_assert!((lower..=upper).contains(&given));
                    prop_assert_eq!(step.motor[joint], hand.motors()[joint].command(given));
                    let flags = step.flags[joint];
                    if !asked.is_finite() {
                        prop_assert_eq!(given, previous[joint]);
                        prop_assert!(flags & NON_FINITE_HELD != 0);
                        prop_assert_eq!(flags & NO_ANSWER_YET != 0, !has_answer[joint]);
                        prop_assert!(step.residual_rad[joint].is_nan());
                        continue;
                    }
                    prop_assert_eq!(step.residual_rad[joint], asked - given);
                    prop_assert_eq!(flags == 0, asked == given, "flagged exactly when changed");
                    prop_assert_eq!(flags & CLIPPED_LIMIT != 0, !(lower..=upper).contains(&asked));
                    let is_enforced = dt_s.is_some_and(|dt_s| dt_s <= LONGEST_STEP_S);
                    if let Some(dt_s) = dt_s.filter(|_| is_enforced && has_answer[joint]) {
                        let travel = (given - previous[joint]).abs();
                        prop_assert!(travel <= hand.velocities()[joint] * dt_s.max(0.0) + 1e-12);
                    } else {
                        prop_assert_eq!(flags & CLIPPED_VELOCITY, 0);
                        prop_assert_eq!(given, asked.clamp(lower, upper));
                    }
                    has_answer[joint] = true;
                }
                previous = step.position;
            }
            let counts = map.counts();
            prop_assert_eq!(counts.received, (steps.len() * hand.dof()) as u64);
            prop_assert_eq!(counts.received, counts.passed + counts.clipped + counts.held);
        }
    }
}

#[test]
fn motor_commands_take_sign_and_offset() {
    let mut map = JointMap::new(Hand::from_toml(COUPLED, "test").unwrap());
    let step = map.step(&[0.5], None);
    assert_eq!((step.position[0], step.motor[0]), (0.5, -0.25));
}

#[test]
fn a_jump_is_followed_at_the_speed_limit_and_a_gap_restarts_it() {
    let mut map = JointMap::new(Hand::by_name("xhand_right").unwrap());
    assert_eq!(map.step(&[0.0; 12], None).any_flags(), 0);
    let mut asked = [0.0; 12];
    asked[4] = 1.0;
    let step = map.step(&asked, Some(0.01));
    assert!(
        (step.position[4] - 0.0863).abs() < 1e-12,
        "8.63 rad/s for 10 ms"
    );
    assert_eq!((step.flags[4], step.flags[5]), (CLIPPED_VELOCITY, 0));
    let step = map.step(&asked, Some(0.3));
    assert_eq!((step.position[4], step.any_flags()), (1.0, 0));
}

#[test]
fn play_is_taken_up_before_the_hand_turns_back() {
    let hand = std::sync::Arc::new(Hand::by_name("xhand_right").unwrap());
    let mut widths = vec![0.0; hand.dof()];
    widths[4] = 0.05;
    let mut map = JointMap::new(hand.clone()).with_play(&widths);
    let mut at = |angle: f64| {
        let mut angles = vec![0.3; hand.dof()];
        angles[3] = 0.0;
        angles[4] = angle;
        let step = map.step(&angles, Some(0.1));
        assert_eq!(step.position[5], 0.3, "others have no play");
        step.position[4]
    };
    assert_eq!(at(0.5), 0.5);
    assert!(
        (at(0.7) - 0.65).abs() < 1e-12,
        "behind by half the play on the way up"
    );
    assert!(
        (at(0.62) - 0.65).abs() < 1e-12,
        "stands while the play is taken up"
    );
    assert!(
        (at(0.4) - 0.45).abs() < 1e-12,
        "ahead by it on the way down"
    );
}
