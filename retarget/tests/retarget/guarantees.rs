//! What every answer keeps, whatever comes in: hands of the list and hands made at random.

use std::fmt::Write as _;
use std::sync::Arc;

use dexumi_retarget::{
    CollisionOptions, DexumiWeights, HELD, Hand, Keypoints, LONGEST_STEP_S, Limits, NO_ANSWER,
    Preset, PresetError, RetargetOptions, Retargeter, SmoothOptions, Smoother, Tracker,
    TrackerOptions, Verdict,
};
use nalgebra::Point3;
use proptest::prelude::*;

use crate::hands;

/// A hand of two to five fingers with one to four joints each, some of them coupled, in random
/// places and with random limits; now and then a sliding joint, and capsules that may overlap.
fn any_hand() -> impl Strategy<Value = Arc<Hand>> {
    let joint = (
        proptest::array::uniform3(-0.03..0.03),
        proptest::array::uniform3(-1.5..1.5_f64),
        0..3_usize,
        (-1.0..0.0_f64, 0.1..1.5_f64),
        0.3..20.0_f64,
        proptest::option::weighted(0.25, (-1.2..1.2_f64, -0.1..0.1_f64)),
        proptest::bool::weighted(0.1),
    );
    let finger = proptest::collection::vec(joint, 1..=4);
    proptest::collection::vec(finger, 2..=5).prop_filter_map("no hand", |fingers| {
        let names = ["thumb", "index", "middle", "ring", "little"];
        let mut text = String::from("name = \"any\"\nside = \"right\"\nroot = \"palm\"\n");
        let mut tips = String::new();
        for (finger, joints) in fingers.iter().enumerate() {
            let mut parent = "palm".to_owned();
            let mut source: Option<String> = None;
            for (at, (xyz, rpy, axis, (lower, upper), velocity, mimic, slides)) in
                joints.iter().enumerate()
            {
                let name = format!("{}_{at}", names[finger]);
                let mut xyz = *xyz;
                if at == 0 {
                    xyz = [xyz[0], 0.04 - 0.02 * finger as f64, 0.09 + xyz[2]];
                } else {
                    xyz[2] = 0.03;
                }
                let mut along = [0.0; 3];
                along[*axis] = 1.0;
                let (kind, size) = if *slides { ("prismatic", 0.02) } else { ("revolute", 1.0) };
                let _ = write!(
                    text,
                    "[[joint]]\nname = \"{name}\"\nparent = \"{parent}\"\nkind = \"{kind}\"\n\
                     xyz = {xyz:?}\nrpy = {:?}\naxis = {along:?}\nlower = {}\nupper = {}\n\
                     velocity = {velocity:?}\n",
                    rpy.map(|angle| 0.3 * angle),
                    lower * size,
                    upper * size,
                );
                match (&source, mimic) {
                    (Some(source), Some((factor, offset))) if factor.abs() > 0.1 && !slides => {
                        let _ = writeln!(
                            text,
                            "mimic = {{ joint = \"{source}\", factor = {factor:?}, offset = {offset:?} }}"
                        );
                    }
                    _ => {
                        let unit = if *slides { "m" } else { "rad" };
                        let _ = writeln!(text, "motor = {{ unit = \"{unit}\", sign = 1.0, offset = 0.0 }}");
                        if !slides {
                            source = Some(name.clone());
                        }
                    }
                }
                let _ = write!(
                    tips,
                    "[[capsule]]\nlink = \"{name}\"\nfrom = [0.0, 0.0, 0.0]\nto = [0.0, 0.0, 0.02]\n\
                     radius = 0.006\nrgb = [1, 2, 3]\n"
                );
                parent = name;
            }
            let _ = write!(
                tips,
                "[[tip]]\nfinger = \"{}\"\njoint = \"{parent}\"\nxyz = [0.0, 0.0, 0.03]\n",
                names[finger]
            );
        }
        text += &tips;
        // A coupled joint may leave its source no room.
        Hand::from_toml(&text, "any").ok().map(Arc::new)
    })
}

#[derive(Debug, Clone)]
enum Input {
    Hand(Box<[f64; 63]>),
    Bad(usize, f64),
    Frozen,
    Mirrored,
    Zero,
}

fn any_input() -> impl Strategy<Value = (Input, Option<f64>)> {
    let number = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e30),
        Just(-1e30),
        Just(0.0),
        Just(1e-300)
    ];
    let numbers = proptest::collection::vec(-0.04..0.04_f64, 63)
        .prop_map(|numbers| Input::Hand(Box::new(numbers.try_into().expect("63 numbers"))));
    let input = prop_oneof![
        6 => numbers,
        1 => (0..63_usize, number).prop_map(|(at, number)| Input::Bad(at, number)),
        1 => Just(Input::Frozen),
        1 => Just(Input::Mirrored),
        1 => Just(Input::Zero),
    ];
    let dt = prop_oneof![
        1 => Just(None),
        8 => (0.0..0.1_f64).prop_map(Some),
        1 => prop_oneof![Just(f64::NAN), Just(-1.0), Just(0.0), Just(10.0), Just(f64::INFINITY)].prop_map(Some),
    ];
    (input, dt)
}

/// An open hand, each coordinate moved by as much as `numbers` say.
fn keypoints(numbers: &[f64; 63]) -> Keypoints {
    std::array::from_fn(|index| {
        let offset = |axis: usize| numbers[3 * index + axis];
        if index == 0 {
            return Point3::new(0.1, 0.2, -0.3);
        }
        let (finger, bone) = ((index - 1) / 4, (index - 1) % 4);
        let y = 0.04 - 0.02 * finger as f64;
        Point3::new(
            0.1 + offset(0),
            0.2 + y + 0.2 * offset(1),
            -0.3 + 0.09 + 0.03 * bone as f64 + offset(2),
        )
    })
}

fn inputs(steps: &[(Input, Option<f64>)]) -> Vec<(Keypoints, Option<f64>)> {
    let mut last = keypoints(&[0.0; 63]);
    steps
        .iter()
        .map(|(input, dt_s)| {
            let next = match input {
                Input::Hand(numbers) => keypoints(numbers),
                Input::Bad(at, number) => {
                    let mut points = last;
                    points[at / 3][at % 3] = *number;
                    points
                }
                Input::Frozen => last,
                Input::Mirrored => last.map(|point| Point3::new(point.x, -point.y, point.z)),
                Input::Zero => [Point3::origin(); 21],
            };
            if !matches!(input, Input::Bad(..) | Input::Zero) {
                last = next;
            }
            (next, *dt_s)
        })
        .collect()
}

/// Everything that an answer promises, given the one before it.
fn check(
    hand: &Hand,
    options: &RetargetOptions,
    before: Option<&Verdict>,
    step: &Verdict,
    dt_s: Option<f64>,
) -> Result<(), TestCaseError> {
    let is_bound = before.is_some_and(|before| before.flags & NO_ANSWER == 0);
    let dt_s = dt_s.filter(|dt_s| is_bound && dt_s.is_finite() && *dt_s <= LONGEST_STEP_S);
    for (i, &q) in step.position.iter().enumerate() {
        prop_assert!(q.is_finite());
        let joint = &hand.joints()[hand.variables()[i]];
        prop_assert!((joint.lower..=joint.upper).contains(&q));
        if options.limits == Limits::Joints {
            continue;
        }
        let (lower, upper) = hand.limits()[i];
        prop_assert!((lower..=upper).contains(&q));
        if let (Some(before), Some(dt_s)) = (before, dt_s) {
            let travel = (q - before.position[i]).abs();
            prop_assert!(travel <= hand.velocities()[i] * dt_s.max(0.0) + 1e-12);
        }
    }
    if options.limits != Limits::Joints {
        for joint in hand.joints() {
            let position = joint.factor * step.position[joint.variable] + joint.offset;
            prop_assert!(position >= joint.lower - 1e-12 && position <= joint.upper + 1e-12);
        }
    }
    if step.flags & HELD != 0 {
        if let Some(before) = before {
            prop_assert_eq!(&before.position, &step.position);
        }
        prop_assert!(step.confidence == 0.0 && step.objective.is_nan());
    } else {
        prop_assert!(step.objective.is_finite() && (0.0..=1.0).contains(&step.confidence));
    }
    if let Some(collision) = &options.collision {
        let clearance = hand.clearance(&step.position);
        prop_assert!(clearance >= collision.safe_m, "{clearance} m");
    }
    Ok(())
}

fn presets() -> Vec<Preset> {
    let weights = DexumiWeights::default();
    vec![
        Preset::Dexumi {
            scales: Vec::new(),
            weights,
        },
        Preset::Vector {
            scale: 1.2,
            follow: Vec::new(),
        },
        Preset::DexPilot { scale: 1.1 },
    ]
}

fn run(hand: &Arc<Hand>, steps: &[(Keypoints, Option<f64>)]) -> Result<(), TestCaseError> {
    for preset in presets() {
        for limits in [Limits::All, Limits::Joints] {
            let mut options = RetargetOptions::new(preset.clone());
            options.limits = limits;
            options.acceleration = (limits == Limits::All).then_some(300.0);
            options.collision = (limits == Limits::All).then(CollisionOptions::default);
            let mut retargeter = match Retargeter::new(hand.clone(), &options) {
                Err(PresetError::StandsInCollision { .. }) => continue,
                other => other.unwrap(),
            };
            let mut twin = retargeter.clone();
            let mut before: Option<Verdict> = None;
            for (points, dt_s) in steps {
                let step = retargeter.step(points, *dt_s).clone();
                check(hand, &options, before.as_ref(), &step, *dt_s)?;
                let bits = |verdict: &Verdict| -> Vec<u64> {
                    verdict.position.iter().map(|q| q.to_bits()).collect()
                };
                prop_assert_eq!(bits(twin.step(points, *dt_s)), bits(&step));
                before = Some(step);
            }
            let mut tracker =
                Tracker::new(hand.clone(), &options, TrackerOptions::default()).unwrap();
            let mut before: Option<Verdict> = None;
            for (points, dt_s) in steps {
                let step = tracker.step(points, *dt_s).clone();
                check(hand, &options, before.as_ref(), &step, *dt_s)?;
                before = Some(step);
            }
            let smooth = SmoothOptions {
                stretch: 6,
                ahead: 2,
                ..SmoothOptions::default()
            };
            let mut smoother = Smoother::new(hand.clone(), &options, smooth).unwrap();
            let mut answers = Vec::new();
            for (points, dt_s) in steps {
                smoother.push(points, *dt_s, |verdict| answers.push(verdict.clone()));
            }
            smoother.flush(|verdict| answers.push(verdict.clone()));
            prop_assert_eq!(answers.len(), steps.len());
            for (at, (_, dt_s)) in steps.iter().enumerate() {
                let before = at.checked_sub(1).map(|at| &answers[at]);
                check(hand, &options, before, &answers[at], *dt_s)?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_hand_keeps_every_promise_whatever_comes(
        hand in any_hand(), steps in proptest::collection::vec(any_input(), 1..20),
    ) {
        run(&hand, &inputs(&steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn every_hand_of_the_list_keeps_every_promise_whatever_comes(
        steps in proptest::collection::vec(any_input(), 1..30),
    ) {
        for hand in hands() {
            let mut steps = inputs(&steps);
            if hand.side().thumb_along_y() < 0.0 {
                for (points, _) in &mut steps {
                    *points = points.map(|point| Point3::new(point.x, -point.y, point.z));
                }
            }
            run(&hand, &steps)?;
        }
    }
}
