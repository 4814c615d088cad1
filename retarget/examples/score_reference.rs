//! Scores this solver against dex-retargeting's own answers, step by step.
//!
//! ```sh
//! cargo run --release --example score_reference -- --urdf DIR --out DIR FILE.npz …
//! ```
//!
//! A file holds a recording as dex-retargeting solved it: for each step the targets (`ref`, `w`), the
//! answer that it started from (`q_last`) and its own answer (`q_opt`), and in `meta` (JSON) the
//! links, indices, limits, Huber's δ and λ. Each step is solved here from the same `q_last`, within
//! the joint limits, and both answers are put into the same objective F; theirs, which may be outside
//! the limits by 1e-3 rad, is clamped to them first. Exit status 1: some step is worse.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use dexumi_retarget::{HANDS, Hand, LinkPoint, Loss, NpyArray, Npz, StepSolver, Term, UrdfOptions};
use nalgebra::Vector3;
use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;

/// A step is worse when its F is above theirs by more than this, and lower when below by more.
const TOLERANCE: f64 = 1e-9;

type Failure = Box<dyn std::error::Error>;

/// What a file says of its problem; other entries are of no use here.
#[derive(Deserialize)]
struct Meta {
    hand: String,
    #[serde(rename = "type")]
    kind: String,
    urdf: String,
    huber_delta: f64,
    lam: f64,
    target_joint_names: Vec<String>,
    links: Vec<String>,
    origin_idx: Option<Vec<usize>>,
    task_idx: Vec<usize>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

/// A recording and what is needed to solve it.
struct Problem {
    meta: Meta,
    hand: Hand,
    points: Vec<LinkPoint>,
    terms: Vec<Term>,
    /// Index of the hand's variable behind each of their joints.
    variables: Vec<usize>,
    bounds: Vec<(f64, f64)>,
    steps: usize,
    targets: NpyArray,
    weights: NpyArray,
    q_last: NpyArray,
    q_opt: NpyArray,
}

/// One solved recording.
struct Score {
    /// F of each step: ours, and theirs clamped to the limits.
    values: Vec<(f64, f64)>,
    micros: Vec<f64>,
    iterations: Vec<u32>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("score_reference: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Failure> {
    let mut urdf = None;
    let mut out = None;
    let mut files = Vec::new();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .map(PathBuf::from)
                .ok_or("expected a folder after it")
        };
        match argument.to_str() {
            Some("--urdf") => urdf = Some(value()?),
            Some("--out") => out = Some(value()?),
            Some("--help" | "-h") => {
                println!("score_reference [--urdf DIR] [--out DIR] FILE.npz …");
                println!(
                    "  --urdf DIR  the URDFs of hands that have no hand file here (ability, shadow, svh)"
                );
                println!("  --out DIR   writes NAME.csv there, F of each step");
                return Ok(true);
            }
            _ => files.push(PathBuf::from(argument)),
        }
    }
    if files.is_empty() {
        return Err("no file given, expected one or more .npz; see --help".into());
    }
    println!(
        "{:44} {:>5} {:>6} {:>6} {:>5} {:>10} {:>11} {:>11} {:>8} {:>8} {:>5}",
        "file",
        "steps",
        "lower",
        "equal",
        "worse",
        "worst",
        "mean F",
        "theirs",
        "µs p50",
        "p99",
        "iter"
    );
    let (mut steps, mut lower, mut worse) = (0, 0, 0);
    for file in &files {
        let problem = Problem::read(file, urdf.as_deref())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let score = problem.solve()?;
        let count = |keep: fn(f64) -> bool| {
            score
                .values
                .iter()
                .filter(|(ours, theirs)| keep(ours - theirs))
                .count()
        };
        let (file_lower, file_worse) = (count(|d| d < -TOLERANCE), count(|d| d > TOLERANCE));
        let worst = score
            .values
            .iter()
            .map(|(ours, theirs)| ours - theirs)
            .fold(f64::MIN, f64::max);
        let mean = |pick: fn(&(f64, f64)) -> f64| {
            score.values.iter().map(pick).sum::<f64>() / score.values.len() as f64
        };
        let mut micros = score.micros.clone();
        micros.sort_by(f64::total_cmp);
        let mut iterations = score.iterations.clone();
        iterations.sort_unstable();
        println!(
            "{:44} {:>5} {:>6} {:>6} {:>5} {:>10.2e} {:>11.6} {:>11.6} {:>8.1} {:>8.1} {:>5}",
            file.file_name().unwrap_or_default().to_string_lossy(),
            problem.steps,
            file_lower,
            problem.steps - file_lower - file_worse,
            file_worse,
            worst,
            mean(|(ours, _)| *ours),
            mean(|(_, theirs)| *theirs),
            at(&micros, 0.5),
            at(&micros, 0.99),
            iterations[iterations.len() / 2],
        );
        steps += problem.steps;
        lower += file_lower;
        worse += file_worse;
        if let Some(out) = &out {
            score.write(out, file)?;
        }
    }
    println!(
        "together: {steps} steps, {lower} lower ({:.2} %), {} equal within {TOLERANCE:e}, {worse} worse",
        100.0 * lower as f64 / steps as f64,
        steps - lower - worse,
    );
    Ok(worse == 0)
}

/// CPU time of this thread (s): other programs do not count.
fn cpu_time_s() -> Result<f64, Failure> {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(now.tv_sec() as f64 + 1e-9 * now.tv_nsec() as f64)
}

/// The value at a part of a sorted list.
fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

impl Problem {
    fn read(file: &Path, urdf: Option<&Path>) -> Result<Self, Failure> {
        let mut archive = Npz::open(file)?;
        let meta: Meta = serde_json::from_str(&archive.text("meta")?)?;
        let hand = find_hand(&meta, urdf)?;
        let points = meta
            .links
            .iter()
            .map(|name| LinkPoint::of(&hand, name))
            .collect::<Result<Vec<_>, _>>()?;
        let loss = match meta.kind.as_str() {
            "position" => Loss::Axes,
            "vector" | "dexpilot" => Loss::Norm,
            other => {
                return Err(format!("type {other}, expected vector, position or dexpilot").into());
            }
        };
        let terms: Vec<Term> = meta
            .task_idx
            .iter()
            .enumerate()
            .map(|(index, &task)| Term {
                origin: meta.origin_idx.as_ref().map(|origins| origins[index]),
                task,
                loss,
                target: Vector3::zeros(),
                weight: 0.0,
            })
            .collect();
        let names: Vec<&str> = hand.variable_names().collect();
        let variables = meta
            .target_joint_names
            .iter()
            .map(|name| {
                names
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| format!("joint {name}, expected one of {names:?}"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if variables.len() != names.len() {
            return Err(format!("{} joints, expected {}", variables.len(), names.len()).into());
        }
        let mut bounds = vec![(0.0, 0.0); names.len()];
        for (index, &variable) in variables.iter().enumerate() {
            bounds[variable] = (meta.lower[index], meta.upper[index]);
        }
        let mut numbers = |name: &str, shape: &[usize]| -> Result<NpyArray, Failure> {
            let array = archive.numbers(name)?;
            if array.shape.get(1..) != Some(shape) {
                return Err(
                    format!("{name}: shape {:?}, expected [n] + {shape:?}", array.shape).into(),
                );
            }
            Ok(array)
        };
        let (q_last, q_opt) = (
            numbers("q_last", &[names.len()])?,
            numbers("q_opt", &[names.len()])?,
        );
        let (targets, weights) = (
            numbers("ref", &[terms.len(), 3])?,
            numbers("w", &[terms.len()])?,
        );
        let steps = q_last.shape[0];
        if [&q_opt, &targets, &weights]
            .iter()
            .any(|array| array.shape[0] != steps)
            || steps == 0
        {
            return Err(
                "q_last, q_opt, ref and w differ in their number of steps, or are empty".into(),
            );
        }
        Ok(Self {
            hand,
            points,
            terms,
            variables,
            bounds,
            steps,
            targets,
            weights,
            q_last,
            q_opt,
            meta,
        })
    }

    /// Solves every step from their last answer.
    fn solve(&self) -> Result<Score, Failure> {
        let dof = self.variables.len();
        let parameters = (self.meta.huber_delta, self.meta.lam);
        let mut solver = StepSolver::new(&self.hand, &self.points, &self.terms, parameters, None);
        let mut score = Score {
            values: Vec::new(),
            micros: Vec::new(),
            iterations: Vec::new(),
        };
        let (mut last, mut q) = (vec![0.0; dof], vec![0.0; dof]);
        let terms = self.terms.len();
        // What the position problems weigh is the mean over all coordinates.
        let share = if self.terms[0].loss == Loss::Axes {
            1.0 / (3 * terms) as f64
        } else {
            1.0
        };
        for step in 0..self.steps {
            self.permute(&self.q_last, step, &mut last);
            q.copy_from_slice(&last);
            solver.set_targets(|term, target, weight| {
                let at = step * terms + term;
                *target = Vector3::from_column_slice(&self.targets.data[3 * at..3 * at + 3]);
                *weight = share * self.weights.data[at];
            });
            let start = cpu_time_s()?;
            let outcome = solver.minimise(&mut q, &self.bounds, &last, &[]);
            score.micros.push((cpu_time_s()? - start) * 1e6);
            score.iterations.push(outcome.iterations);
            let ours = solver.value(&q);
            self.permute(&self.q_opt, step, &mut q);
            for (q, &(lower, upper)) in q.iter_mut().zip(&self.bounds) {
                *q = q.clamp(lower, upper);
            }
            score.values.push((ours, solver.value(&q)));
        }
        Ok(score)
    }

    /// A row of their joints, in the order of the hand's variables.
    fn permute(&self, array: &NpyArray, step: usize, out: &mut [f64]) {
        let dof = self.variables.len();
        for (&variable, &value) in self.variables.iter().zip(&array.data[step * dof..]) {
            out[variable] = value;
        }
    }
}

impl Score {
    fn write(&self, out: &Path, file: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(out)?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut text = String::from("step,F,F_dex_retargeting,micros,iterations\n");
        for (step, (ours, theirs)) in self.values.iter().enumerate() {
            text += &format!(
                "{step},{ours:.17e},{theirs:.17e},{:.3},{}\n",
                self.micros[step], self.iterations[step]
            );
        }
        std::fs::write(out.join(format!("{name}.csv")), text)?;
        Ok(())
    }
}

/// Our own hand of the name that the file gives, or the URDF that it names; with a floating root
/// where their problem has one.
fn find_hand(meta: &Meta, urdf: Option<&Path>) -> Result<Hand, Failure> {
    let own = format!("{}_right", meta.hand);
    let hand = if HANDS.iter().any(|(name, _)| *name == own) {
        Hand::by_name(&own)?
    } else {
        let name = Path::new(&meta.urdf).file_name().unwrap_or_default();
        let folder = urdf.ok_or_else(|| {
            format!(
                "no hand file {own}; give the folder that holds {} by --urdf",
                name.display()
            )
        })?;
        let path = find_file(folder, Path::new(name)).ok_or_else(|| {
            format!(
                "no {} in {} or below; correct --urdf",
                name.display(),
                folder.display()
            )
        })?;
        Hand::from_urdf(&path, &UrdfOptions::default())?
    };
    let is_floating = meta
        .target_joint_names
        .iter()
        .any(|name| name.starts_with("dummy_"));
    Ok(if is_floating {
        hand.with_floating_root()
    } else {
        hand
    })
}

/// A file of that name in a folder or below.
fn find_file(folder: &Path, name: &Path) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries
        .iter()
        .find(|path| path.is_file() && path.file_name() == Some(name.as_os_str()))
        .cloned()
        .or_else(|| {
            entries
                .iter()
                .filter(|path| path.is_dir())
                .find_map(|path| find_file(path, name))
        })
}
