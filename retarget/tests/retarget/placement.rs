use std::f64::consts::FRAC_PI_2;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use dexumi_episode::SessionTime;
use dexumi_retarget::{
    ArmCheckOptions, ArmChecker, ArmError, COLLISION, PlacementGrid, Span, TimedPose, UNREACHABLE,
    search_placements,
};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};

use crate::arms;

/// A hand that points down and goes round in a circle of 0.1 m at (3, 1) m, 0.3 m high.
fn circle() -> Vec<TimedPose> {
    (0..120)
        .map(|step| {
            let (sin, cos) = (step as f64 * 0.05).sin_cos();
            TimedPose {
                time: SessionTime::from_nanos(step * 33_333_333),
                base_from_effector: Some(Isometry3::from_parts(
                    Translation3::new(3.0 + 0.1 * cos, 1.0 + 0.1 * sin, 0.3),
                    UnitQuaternion::from_scaled_axis(Vector3::x() * std::f64::consts::PI),
                )),
            }
        })
        .collect()
}

fn span(from: f64, to: f64, step: f64) -> Span {
    Span { from, to, step }
}

fn grid() -> PlacementGrid {
    PlacementGrid {
        x: span(2.0, 4.0, 0.5),
        y: span(0.5, 1.5, 0.5),
        z: Span::only(0.0),
        yaw: span(0.0, FRAC_PI_2, FRAC_PI_2),
        mounted: UnitQuaternion::identity(),
        most_steps: NonZeroUsize::new(30).unwrap(),
    }
}

#[test]
fn the_best_place_is_the_best_of_the_map_and_the_check_agrees_with_it() {
    for arm in arms() {
        let options = ArmCheckOptions::default();
        let told = Mutex::new(Vec::new());
        let report = search_placements(arm.clone(), &options, &circle(), &grid(), |done, all| {
            told.lock().unwrap().push((done, all));
        })
        .unwrap();
        let mut told = told.into_inner().unwrap();
        told.sort_unstable();
        assert_eq!(told, (1..=30).map(|done| (done, 30)).collect::<Vec<_>>());
        assert_eq!((report.places.len(), report.steps), (30, 30));
        let best = report.best;
        println!("{}: {best:?}", arm.name());
        assert_eq!(best.reachable_percent, 100.0, "{}", arm.name());
        assert!(best.margin > 0.02);
        for place in &report.places {
            let key = (place.reachable_percent, place.margin);
            assert!(key <= (best.reachable_percent, best.margin));
            // Right under the circle nothing that points down is reached from above.
            let off = (place.x - 3.0).hypot(place.y - 1.0);
            if off > 1.4 {
                assert!(place.reachable_percent < 100.0, "{place:?}");
            }
        }
        assert!(report.places.contains(&best));
        // The full check from there, with every step.
        let base_from_world = best.world_from_base(&grid().mounted).inverse();
        let poses: Vec<_> = circle()
            .into_iter()
            .map(|pose| TimedPose {
                base_from_effector: pose.base_from_effector.map(|pose| base_from_world * pose),
                ..pose
            })
            .collect();
        let check = ArmChecker::new(arm.clone(), options).unwrap().check(&poses);
        let bad = check
            .steps
            .iter()
            .filter(|step| step.flags & (UNREACHABLE | COLLISION) != 0);
        assert_eq!(bad.count(), 0);
    }
}

#[test]
fn the_map_does_not_depend_on_the_number_of_threads() {
    let arm = arms().remove(0);
    let run = |threads| {
        let options = ArmCheckOptions {
            threads: NonZeroUsize::new(threads),
            ..Default::default()
        };
        search_placements(arm.clone(), &options, &circle(), &grid(), |_, _| {}).unwrap()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn yaw_turns_the_base_and_far_away_nothing_is_reached() {
    let arm = arms().remove(0);
    let options = ArmCheckOptions::default();
    let mut far = grid();
    (far.x, far.y) = (span(-9.0, -8.0, 1.0), Span::only(0.0));
    let report = search_placements(arm, &options, &circle(), &far, |_, _| {}).unwrap();
    assert_eq!(
        (report.best.reachable_percent, report.best.margin),
        (0.0, 0.0)
    );
    let world_from_base = report.places[1].world_from_base(&far.mounted);
    assert_eq!(report.places[1].yaw, FRAC_PI_2);
    let forward = world_from_base * nalgebra::Point3::new(1.0, 0.0, 0.0);
    assert!((forward.coords - Vector3::new(-9.0, 1.0, 0.0)).norm() < 1e-12);
}

#[test]
fn a_grid_without_places_or_with_too_many_is_refused() {
    let arm = arms().remove(0);
    let options = ArmCheckOptions::default();
    let refused = |change: fn(&mut PlacementGrid)| {
        let mut grid = grid();
        change(&mut grid);
        search_placements(arm.clone(), &options, &circle(), &grid, |_, _| {}).unwrap_err()
    };
    for error in [
        refused(|grid| grid.x = span(1.0, 0.0, 0.1)),
        refused(|grid| grid.y = span(0.0, 1.0, 0.0)),
        refused(|grid| grid.z = span(f64::NAN, 1.0, 0.1)),
        refused(|grid| grid.yaw = span(0.0, 1e9, 1e-9)),
        refused(|grid| (grid.x, grid.y) = (span(0.0, 1.0, 1e-4), span(0.0, 1.0, 1e-4))),
    ] {
        assert!(matches!(error, ArmError::Option { .. }), "{error}");
    }
}
