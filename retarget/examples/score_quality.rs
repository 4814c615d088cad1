//! Quality of motion, ours against dex-retargeting's, by the rules of docs/retargeting.md.
//!
//! ```sh
//! cargo run --release --example score_quality -- --urdf DIR FILE.npz …
//! ```
//!
//! Files as for `score_reference`, with `keypoints` and the filtered answer `q_out` as well. Rows: theirs
//! as their program gives it out (filtered), theirs before the filter, ours live, ours recorded.

use std::{path::PathBuf, process::ExitCode};

use dexumi_retarget::{
    Finger, HANDS, Hand, Keypoints, Limits, LinkPoint, Loss, NpyArray, Npz, Preset,
    RetargetOptions, Retargeter, SmoothOptions, StepSolver, Term, Tracker, TrackerOptions,
    UrdfOptions, Verdict, finger_scales, keypoints_from_array, retarget_clip,
};
use nalgebra::{Point3, Vector3};
use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;

type Failure = Box<dyn std::error::Error>;

/// Steps at the beginning that do not count: both come from elsewhere.
const SETTLING: usize = 30;
/// Human tips nearer than this pinch (m).
const PINCH_M: f64 = 0.03;
/// Lags that are tried (s), and their grid.
const LAGS_S: (f64, f64, f64) = (-0.1, 0.3, 0.002);

#[derive(Deserialize)]
struct Meta {
    hand: String,
    #[serde(rename = "type")]
    kind: String,
    urdf: String,
    fps: f64,
    scaling: f64,
    target_joint_names: Vec<String>,
    full_joint_names: Vec<String>,
}

/// A motion of a hand: joint positions, step by step.
type Motion = Vec<Vec<f64>>;

struct Row {
    pinch_mm: f64,
    tip_mm: f64,
    jitter: f64,
    lag_ms: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("score_quality: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut urdf = None;
    let mut files = Vec::new();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--urdf" {
            urdf = Some(PathBuf::from(
                arguments.next().ok_or("expected a folder after --urdf")?,
            ));
        } else {
            files.push(PathBuf::from(argument));
        }
    }
    println!(
        "{:10} {:9} {:18} {:>9} {:>7} {:>10} {:>7}",
        "hand", "theirs", "motion", "pinch mm", "tip mm", "jitter", "lag ms"
    );
    for file in &files {
        score(file, urdf.as_deref()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn score(file: &std::path::Path, urdf: Option<&std::path::Path>) -> Result<(), Failure> {
    let mut archive = Npz::open(file)?;
    let meta: Meta = serde_json::from_str(&archive.text("meta")?)?;
    if meta.kind == "position" {
        return Ok(());
    }
    let clip = keypoints_from_array(&archive.numbers("keypoints")?)?;
    let hand = find_hand(&meta, urdf)?;
    let theirs = motion(&hand, &archive.numbers("q_out")?, &meta.full_joint_names);
    let raw = motion(&hand, &archive.numbers("q_opt")?, &meta.target_joint_names);
    let scales = finger_scales(&hand, &clip)?;
    let mut options = RetargetOptions::new(Preset::dexumi(scales.clone()));
    options.limits = Limits::Position;
    let smooth = SmoothOptions::default();
    if let Preset::Dexumi { weights, .. } = &mut options.preset {
        weights.at_pads = false;
    }
    let dt_s = 1.0 / meta.fps;
    let mut live = Retargeter::new(hand.clone(), &options)?;
    let live: Motion = clip
        .iter()
        .map(|keypoints| live.step(keypoints, Some(dt_s)).position.clone())
        .collect();
    let mut tracker = Tracker::new(hand.clone(), &options, TrackerOptions::default())?;
    let tracked: Motion = clip
        .iter()
        .map(|keypoints| tracker.step(keypoints, Some(dt_s)).position.clone())
        .collect();
    let recorded: Vec<Verdict> = retarget_clip(hand.clone(), &options, smooth, &clip, dt_s)?;
    let recorded: Motion = recorded
        .into_iter()
        .map(|verdict| verdict.position)
        .collect();

    let their_scale = |_: Finger| meta.scaling;
    let our_scale = |finger: Finger| {
        scales
            .iter()
            .find(|scale| scale.finger == finger)
            .map_or(1.0, |s| s.tip)
    };
    let (their_goals, our_goals) = (
        reachable(&hand, &clip, their_scale),
        reachable(&hand, &clip, our_scale),
    );
    let rows = [
        ("theirs", &theirs, &their_goals),
        ("theirs, no filter", &raw, &their_goals),
        ("ours, live", &live, &our_goals),
        ("ours, tracked", &tracked, &our_goals),
        ("ours, recorded", &recorded, &our_goals),
    ];
    for (name, motion, goals) in rows {
        let row = judge(&hand, &clip, motion, goals, dt_s);
        println!(
            "{:10} {:9} {:18} {:>9.1} {:>7.1} {:>10.2e} {:>7.0}",
            meta.hand, meta.kind, name, row.pinch_mm, row.tip_mm, row.jitter, row.lag_ms
        );
    }
    // Everything on: speed and coupling limits, links apart, pads.
    let mut retargeter = Retargeter::new(hand, &RetargetOptions::new(Preset::dexumi(scales)))?;
    let mut micros = Vec::with_capacity(clip.len());
    for keypoints in &clip {
        let start = cpu_time_s()?;
        retargeter.step(keypoints, Some(dt_s));
        micros.push((cpu_time_s()? - start) * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let at = |part: f64| micros[((micros.len() - 1) as f64 * part).round() as usize];
    println!(
        "{:10} dexumi, live, all limits, links apart: {:.1} µs CPU p50, {:.1} p99",
        meta.hand,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// CPU time of this thread (s): other programs do not count.
fn cpu_time_s() -> Result<f64, Failure> {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(now.tv_sec() as f64 + 1e-9 * now.tv_nsec() as f64)
}

fn find_hand(meta: &Meta, urdf: Option<&std::path::Path>) -> Result<Hand, Failure> {
    let own = format!("{}_right", meta.hand);
    if HANDS.iter().any(|(name, _)| *name == own) {
        return Ok(Hand::by_name(&own)?);
    }
    let folder = urdf.ok_or("expected --urdf DIR for this hand")?;
    let name = std::path::Path::new(&meta.urdf)
        .file_name()
        .unwrap_or_default();
    let path = find_file(folder, name).ok_or("its URDF is not below --urdf")?;
    Ok(Hand::from_urdf(&path, &UrdfOptions::default())?)
}

fn find_file(folder: &std::path::Path, name: &std::ffi::OsStr) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            find_file(&path, name)
        } else {
            (path.file_name() == Some(name)).then_some(path)
        }
    })
}

/// Rows of `array`, whose columns are `names`, as positions of the hand's variables.
fn motion(hand: &Hand, array: &NpyArray, names: &[String]) -> Motion {
    let columns: Vec<usize> = hand
        .variable_names()
        .map(|name| {
            names
                .iter()
                .position(|known| known == name)
                .expect("a known joint")
        })
        .collect();
    array
        .data
        .chunks_exact(names.len())
        .map(|row| columns.iter().map(|&column| row[column]).collect())
        .collect()
}

/// Tip positions from the wrist (m), step by step, tip by tip.
fn tips(hand: &Hand, motion: &Motion) -> Vec<Vec<Vector3<f64>>> {
    motion
        .iter()
        .map(|q| {
            let pose = hand.forward(q);
            let frame = hand.wrist();
            let wrist = Point3::from(frame.link_from_frame.translation.vector);
            let wrist = frame
                .joint
                .map_or(wrist, |joint| pose.root_from_joint[joint] * wrist);
            pose.tips.iter().map(|tip| tip - wrist).collect()
        })
        .collect()
}

/// For every step and tip the point nearest to the scaled human one that the finger can reach
/// (m, from the wrist).
fn reachable(
    hand: &Hand,
    clip: &[Keypoints],
    scale: impl Fn(Finger) -> f64,
) -> Vec<Vec<Vector3<f64>>> {
    let mut points: Vec<LinkPoint> = hand
        .tips()
        .iter()
        .map(|tip| LinkPoint {
            joint: Some(tip.joint),
            point_in_joint: tip.point_in_joint,
        })
        .collect();
    let frame = hand.wrist();
    points.push(LinkPoint {
        joint: frame.joint,
        point_in_joint: Point3::from(frame.link_from_frame.translation.vector),
    });
    // Each finger by itself, so that one does not hold back another.
    let mut goals = vec![vec![Vector3::zeros(); hand.tips().len()]; clip.len()];
    for (index, tip) in hand.tips().iter().enumerate() {
        let term = Term {
            origin: Some(points.len() - 1),
            task: index,
            loss: Loss::Norm,
            target: Vector3::zeros(),
            weight: 1.0,
        };
        let mut solver = StepSolver::new(hand, &points, &[term], (0.02, 1e-9), None);
        let mut q = hand.rest();
        for (step, keypoints) in clip.iter().enumerate() {
            let human = keypoints[4 + 4 * tip.finger as usize] - keypoints[0];
            let goal = human * scale(tip.finger);
            solver.set_targets(|_, target, _| *target = goal);
            let last = q.clone();
            solver.minimise(&mut q, hand.limits(), &last, &[0.15, 0.5, 0.85]);
            goals[step][index] = tips(hand, &vec![q.clone()])[0][index];
        }
    }
    goals
}

fn judge(
    hand: &Hand,
    clip: &[Keypoints],
    motion: &Motion,
    goals: &[Vec<Vector3<f64>>],
    dt_s: f64,
) -> Row {
    let tips = tips(hand, motion);
    let (mut gap, mut pinches) = (0.0, 0);
    let (mut error, mut errors) = (0.0, 0);
    for step in SETTLING..clip.len() {
        for (index, tip) in hand.tips().iter().enumerate() {
            error += (tips[step][index] - goals[step][index]).norm();
            errors += 1;
            let thumb = hand
                .tips()
                .iter()
                .position(|tip| tip.finger == Finger::Thumb);
            let Some(thumb) = thumb.filter(|&thumb| thumb != index) else {
                continue;
            };
            let human = clip[step][4] - clip[step][4 + 4 * tip.finger as usize];
            if human.norm() < PINCH_M {
                gap += (tips[step][thumb] - tips[step][index]).norm();
                pinches += 1;
            }
        }
    }
    let mut jitter = 0.0;
    let mut count = 0;
    for window in motion[SETTLING..].windows(3) {
        for ((a, b), c) in window[0].iter().zip(&window[1]).zip(&window[2]) {
            jitter += (c - 2.0 * b + a).powi(2);
            count += 1;
        }
    }
    Row {
        pinch_mm: 1e3 * gap / f64::from(pinches.max(1)),
        tip_mm: 1e3 * error / f64::from(errors),
        jitter: jitter / f64::from(count),
        lag_ms: 1e3 * lag(&tips, goals, dt_s),
    }
}

/// The shift by which the goals, moved later, come closest to the tips (s).
fn lag(tips: &[Vec<Vector3<f64>>], goals: &[Vec<Vector3<f64>>], dt_s: f64) -> f64 {
    let (first, last, grid) = LAGS_S;
    let margin = (last / dt_s).ceil() as usize + 1;
    let steps = ((last - first) / grid).round() as usize;
    let miss = |shift_s: f64| {
        let mut sum = 0.0;
        let first = SETTLING.max(margin);
        for (step, tips) in tips
            .iter()
            .enumerate()
            .take(tips.len() - margin)
            .skip(first)
        {
            let at = step as f64 - shift_s / dt_s;
            let (before, part) = (at.floor(), at - at.floor());
            for (tip, position) in tips.iter().enumerate() {
                let (a, b) = (goals[before as usize][tip], goals[before as usize + 1][tip]);
                sum += (position - a.lerp(&b, part)).norm_squared();
            }
        }
        sum
    };
    (0..=steps)
        .map(|index| first + grid * index as f64)
        .min_by(|a, b| miss(*a).total_cmp(&miss(*b)))
        .unwrap_or(0.0)
}
