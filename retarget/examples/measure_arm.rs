//! How long the arm check takes, and how surely it finds what the arm can do:
//! `cargo run --release -p dexumi_retarget --example measure_arm`.

use std::num::NonZeroUsize;

use dexumi_episode::SessionTime;
use dexumi_retarget::{
    ARMS, Arm, ArmCheckOptions, ArmChecker, ArmError, ArmKinematics, PlacementGrid, Span,
    TimedPose, UNREACHABLE, search_placements,
};
use nalgebra::{Isometry3, UnitQuaternion};

/// Their roots make steps that fill a box evenly (Weyl).
const PRIMES: [f64; 7] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0];

/// Processor time of this thread (s): what others do on the machine does not count.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse::<f64>().ok());
    first.expect("Linux tells a thread's processor time") * 1e-9
}

fn timed(poses: Vec<Isometry3<f64>>) -> Vec<TimedPose> {
    let poses = poses.into_iter().enumerate();
    poses
        .map(|(step, pose)| TimedPose {
            time: SessionTime::from_nanos(step as i64 * 33_333_333),
            base_from_effector: Some(pose),
        })
        .collect()
}

fn main() -> Result<(), ArmError> {
    let options = ArmCheckOptions {
        threads: NonZeroUsize::new(1),
        ..Default::default()
    };
    println!("one thread, processor time; µs a step");
    for (name, _) in ARMS {
        let arm = Arm::by_name(name)?;
        let dof = arm.dof();
        let home = arm.home().to_vec();
        let checker = ArmChecker::new(arm.clone(), options.clone())?;
        let mut kinematics = ArmKinematics::new(arm.clone());

        let mut pose_at = |step: usize, amplitude: f64| {
            let joint = |index: usize| {
                let phase = step as f64 * 0.03 * (0.7 + 0.13 * index as f64);
                home[index] + amplitude * phase.sin()
            };
            *kinematics.update(&(0..dof).map(joint).collect::<Vec<_>>())
        };
        let steps = 30 * 600;
        let smooth = timed((0..steps).map(|step| pose_at(step, 0.25)).collect());
        let start = cpu_s();
        let check = checker.check(&smooth);
        let smooth_us = (cpu_s() - start) * 1e6 / f64::from(steps as u32);
        let reached = check.report.reachable_percent;

        // Postures spread over the whole range, each from nothing.
        let trials = 20_000;
        let mut unfound = 0;
        let start = cpu_s();
        for trial in 0..trials {
            let q: Vec<f64> = (arm.joints().iter().enumerate())
                .map(|(index, joint)| {
                    let part = (f64::from(trial) * PRIMES[index].sqrt()).fract();
                    joint.lower + (0.02 + 0.96 * part) * (joint.upper - joint.lower)
                })
                .collect();
            let pose = *kinematics.update(&q);
            let check = checker.check(&timed(vec![pose]));
            unfound += u32::from(check.steps[0].flags & UNREACHABLE != 0);
        }
        let cold_us = (cpu_s() - start) * 1e6 / f64::from(trials);

        // The same path, stretched: in part beyond the arm.
        let below = timed(
            (0..2000)
                .map(|step| {
                    let mut pose = smooth[step].base_from_effector.unwrap_or_default();
                    pose.translation.vector *= 1.4;
                    pose
                })
                .collect(),
        );
        let start = cpu_s();
        let check = checker.check(&below);
        let far_us = (cpu_s() - start) * 1e6 / 2000.0;
        let far_reached = check.report.reachable_percent;

        let grid = PlacementGrid {
            x: Span {
                from: -0.4,
                to: 0.4,
                step: 0.1,
            },
            y: Span {
                from: -0.4,
                to: 0.4,
                step: 0.1,
            },
            z: Span {
                from: -0.2,
                to: 0.2,
                step: 0.2,
            },
            yaw: Span {
                from: 0.0,
                to: 6.0,
                step: 1.5,
            },
            mounted: UnitQuaternion::identity(),
            most_steps: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
        };
        let start = cpu_s();
        let map = search_placements(arm, &options, &smooth, &grid, |_, _| {})?;
        let search_s = cpu_s() - start;
        println!(
            "{name:7} smooth {smooth_us:6.1} ({reached:.1} % reached), single poses {cold_us:6.1} \
             ({unfound} of {trials} not found), stretched {far_us:6.1} ({far_reached:.1} % \
             reached); {} places × {} steps in {search_s:.2} s, best {:.1} %",
            map.places.len(),
            map.steps,
            map.best.reachable_percent
        );
    }
    Ok(())
}
