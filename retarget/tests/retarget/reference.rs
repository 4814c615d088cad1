//! Against dex-retargeting's own answers, where they are at hand.

use std::path::Path;

use dexumi_retarget::{
    HANDS, Hand, LinkPoint, Loss, Npz, Preset, RetargetOptions, Retargeter, StepSolver, Term,
    UrdfOptions, keypoints_from_array,
};
use nalgebra::Vector3;

use crate::shared;

struct Recording {
    hand: Hand,
    meta: serde_json::Value,
    archive: Npz<std::fs::File>,
}

/// Every recording of `kind`, or none, with a message.
fn recordings(kind: &str) -> Vec<(String, Recording)> {
    let Some(folder) = shared("retarget_reference") else {
        return Vec::new();
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(&format!("__{kind}.npz")))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, Recording::open(&path))
        })
        .collect()
}

impl Recording {
    fn open(path: &Path) -> Self {
        let mut archive = Npz::open(path).unwrap();
        let meta: serde_json::Value = serde_json::from_str(&archive.text("meta").unwrap()).unwrap();
        let own = format!("{}_right", meta["hand"].as_str().unwrap());
        let hand = if HANDS.iter().any(|(name, _)| *name == own) {
            Hand::by_name(&own).unwrap()
        } else {
            let folder = match meta["hand"].as_str().unwrap() {
                "svh" => "schunk_hand",
                other => &format!("{other}_hand"),
            };
            let file = format!("urdf/{folder}/{}", meta["urdf"].as_str().unwrap());
            Hand::from_urdf(&shared(&file).unwrap(), &UrdfOptions::default()).unwrap()
        };
        let is_floating = meta["type"] == "position";
        let hand = if is_floating {
            hand.with_floating_root()
        } else {
            hand
        };
        Self {
            hand,
            meta,
            archive,
        }
    }

    fn indices(&self, key: &str) -> Option<Vec<usize>> {
        let list = self.meta[key].as_array()?;
        Some(
            list.iter()
                .map(|index| index.as_u64().unwrap() as usize)
                .collect(),
        )
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.meta[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    }

    fn names(&self, key: &str) -> Vec<String> {
        let list = self.meta[key].as_array().unwrap();
        list.iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    /// Solves every step from their last answer: F of ours, theirs as they say, and theirs as we
    /// compute it.
    fn solve(&mut self) -> Vec<[f64; 3]> {
        let points: Vec<LinkPoint> = self
            .names("links")
            .iter()
            .map(|name| LinkPoint::of(&self.hand, name).unwrap())
            .collect();
        let origins = self.indices("origin_idx");
        let is_position = self.meta["type"] == "position";
        let terms: Vec<Term> = self
            .indices("task_idx")
            .unwrap()
            .into_iter()
            .enumerate()
            .map(|(index, task)| Term {
                origin: origins.as_ref().map(|origins| origins[index]),
                task,
                loss: if is_position { Loss::Axes } else { Loss::Norm },
                target: Vector3::zeros(),
                weight: 0.0,
            })
            .collect();
        let order: Vec<usize> = self
            .names("target_joint_names")
            .iter()
            .map(|name| {
                self.hand
                    .variable_names()
                    .position(|known| known == name)
                    .unwrap()
            })
            .collect();
        let dof = order.len();
        let permuted = |values: &[f64]| {
            let mut out = vec![0.0; dof];
            for (&variable, &value) in order.iter().zip(values) {
                out[variable] = value;
            }
            out
        };
        let limits: Vec<(f64, f64)> = permuted(&self.numbers("lower"))
            .into_iter()
            .zip(permuted(&self.numbers("upper")))
            .collect();
        let number = |key: &str| self.meta[key].as_f64().unwrap();
        let parameters = (number("huber_delta"), number("lam"));
        let mut solver = StepSolver::new(&self.hand, &points, &terms, parameters, None);
        let mut array = |name: &str| self.archive.numbers(name).unwrap();
        let [last, theirs, targets, weights, clamped] =
            ["q_last", "q_opt", "ref", "w", "f_clamped"].map(|name| array(name).data);
        let count = terms.len();
        let share = if is_position {
            1.0 / (3 * count) as f64
        } else {
            1.0
        };
        (0..clamped.len())
            .map(|step| {
                let last = permuted(&last[step * dof..]);
                let mut q = last.clone();
                solver.set_targets(|term, target, weight| {
                    let at = step * count + term;
                    *target = Vector3::from_column_slice(&targets[3 * at..3 * at + 3]);
                    *weight = share * weights[at];
                });
                let outcome = solver.minimise(&mut q, &limits, &last, &[]);
                for (q, &(lower, upper)) in q.iter().zip(&limits) {
                    assert!((lower..=upper).contains(q), "step {step}");
                }
                let ours = solver.value(&q);
                assert!((ours - outcome.value).abs() <= 1e-12 * ours.abs());
                let mut theirs = permuted(&theirs[step * dof..]);
                for (q, &(lower, upper)) in theirs.iter_mut().zip(&limits) {
                    *q = q.clamp(lower, upper);
                }
                [ours, clamped[step], solver.value(&theirs)]
            })
            .collect()
    }
}

#[test]
fn no_step_is_worse_than_dex_retargeting_s() {
    let (mut steps, mut lower) = (0, 0);
    for kind in ["vector", "dexpilot", "position"] {
        for (name, mut recording) in recordings(kind) {
            for (step, [ours, theirs, recomputed]) in recording.solve().into_iter().enumerate() {
                // Our hand files agree with their URDFs to a nanometre.
                assert!(
                    (theirs - recomputed).abs() < 1e-7,
                    "{name}, step {step}: {theirs} {recomputed}"
                );
                assert!(
                    ours <= theirs + 1e-9,
                    "{name}, step {step}: {ours} above {theirs}"
                );
                steps += 1;
                lower += usize::from(ours < theirs - 1e-9);
            }
        }
    }
    assert!(lower * 100 >= steps * 99, "{lower} of {steps} lower");
}

/// Targets and weights that our presets make of the keypoints are those that dex-retargeting made.
#[test]
fn presets_state_dex_retargeting_s_objective() {
    for kind in ["vector", "dexpilot", "position"] {
        for (name, mut recording) in recordings(kind) {
            let scale = recording.meta["scaling"].as_f64().unwrap();
            let links = recording.names("links");
            let follow: Vec<(String, usize)> = if kind == "dexpilot" {
                Vec::new()
            } else {
                let human = match kind {
                    "vector" => recording.meta["human_indices"][1].clone(),
                    _ => recording.meta["human_indices"].clone(),
                };
                let human: Vec<usize> = human
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_u64().unwrap() as usize)
                    .collect();
                let tasks = recording.indices("task_idx").unwrap();
                tasks
                    .iter()
                    .map(|&task| links[task].clone())
                    .zip(human)
                    .collect()
            };
            let preset = match kind {
                "vector" => Preset::Vector { scale, follow },
                "dexpilot" => Preset::DexPilot { scale },
                _ => Preset::Position { follow },
            };
            let options = RetargetOptions::reference(preset);
            let mut retargeter = Retargeter::new(recording.hand.clone(), &options).unwrap();
            let mut array = |name: &str| recording.archive.numbers(name).unwrap();
            let clip = keypoints_from_array(&array("keypoints")).unwrap();
            let (targets, weights) = (array("ref").data, array("w").data);
            let share = if kind == "position" {
                1.0 / (3 * weights.len() / clip.len()) as f64
            } else {
                1.0
            };
            for (step, keypoints) in clip.iter().enumerate() {
                retargeter.step(keypoints, Some(1.0 / 30.0));
                let goals: Vec<(Vector3<f64>, f64)> = retargeter.goals().collect();
                for (term, (target, weight)) in goals.iter().enumerate() {
                    let at = step * goals.len() + term;
                    let theirs = Vector3::from_column_slice(&targets[3 * at..3 * at + 3]);
                    assert!(
                        (target - theirs).norm() < 1e-9,
                        "{name}, step {step}, term {term}"
                    );
                    let theirs = share * weights[at];
                    assert!(
                        (weight - theirs).abs() < 1e-12,
                        "{name}, step {step}, term {term}: {weight} {theirs}"
                    );
                }
            }
        }
    }
}
