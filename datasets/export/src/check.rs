//! Whether a resampled episode can be written at all.

use std::collections::HashSet;

use crate::error::ExportError;
use crate::model::{HandMotion, Resampled};
use crate::timestamp::MAX_FPS;

impl Resampled {
    /// Whether the episode can be written at all: at least one step, every
    /// part has the same number of steps, every value is finite, names are
    /// distinct and free of `/`.
    ///
    /// # Errors
    /// [`ExportError::Episode`] with the first fault.
    pub fn check(&self) -> Result<(), ExportError> {
        self.faults().map_err(|what| ExportError::Episode {
            episode: self.episode_id.clone(),
            what,
        })
    }

    fn faults(&self) -> Result<(), String> {
        let steps = self.steps();
        if steps == 0 {
            return Err("no steps: expected at least two grid times".into());
        }
        if !(1..=MAX_FPS).contains(&self.fps) {
            return Err(format!("fps is {}: expected 1 to {MAX_FPS}", self.fps));
        }
        if self.task.trim().is_empty() {
            return Err("the task is empty: say in one sentence what was done".into());
        }
        if self.hands.is_empty() || !self.hands.is_sorted_by(|a, b| a.side < b.side) {
            let sides: Vec<_> = self.hands.iter().map(|hand| hand.side.name()).collect();
            return Err(format!(
                "hands are {sides:?}: expected left, right, or left before right"
            ));
        }
        for hand in &self.hands {
            hand.faults(steps)?;
        }
        let mut end = 0;
        for subtask in &self.subtasks {
            if subtask.from < end || subtask.to <= subtask.from || subtask.to > steps {
                return Err(format!(
                    "subtask {:?} covers steps {} to {}: expected a stretch of {steps} steps behind {end}",
                    subtask.text, subtask.from, subtask.to
                ));
            }
            end = subtask.to;
        }
        let mut seen = HashSet::new();
        for extra in &self.extras {
            check_name("extra feature", &extra.name, &mut seen)?;
            check_columns(&extra.name, &extra.names)?;
            let expected = steps * extra.names.len();
            check_count(&extra.name, "values", extra.values.len(), expected)?;
            if let Some(at) = extra.values.first_not_finite() {
                return Err(not_finite(&extra.name, &extra.names, at));
            }
        }
        self.camera_faults(steps)?;
        let features = self.features();
        let mut seen = HashSet::new();
        match features.iter().find(|feature| !seen.insert(&feature.name)) {
            Some(twice) => Err(format!(
                "extra feature {:?} has the name of one that every episode has",
                twice.name
            )),
            None => Ok(()),
        }
    }

    fn camera_faults(&self, steps: usize) -> Result<(), String> {
        let mut seen = HashSet::new();
        for camera in &self.cameras {
            check_name("camera", &camera.name, &mut seen)?;
            let name = format!("camera {:?}", camera.name);
            check_count(&name, "images", camera.images.len(), steps)?;
            check_count(&name, "capture times", camera.capture_times.len(), steps)?;
            check_count(&name, "validity marks", camera.valid.len(), steps)?;
            if let Some(poses) = &camera.world_from_camera {
                check_count(&name, "camera poses", poses.len(), steps)?;
            }
            if camera.width < 2 || camera.height < 2 {
                return Err(format!(
                    "{name} is {}x{}: expected at least 2x2 pixels",
                    camera.width, camera.height
                ));
            }
        }
        Ok(())
    }
}

impl HandMotion {
    fn faults(&self, steps: usize) -> Result<(), String> {
        let name = format!("{} hand", self.side.name());
        check_columns(&name, &self.joint_names)?;
        let (rows, width) = (steps + 1, self.joint_names.len());
        check_count(&name, "wrist poses", self.world_from_wrist.len(), rows)?;
        check_count(&name, "joint values", self.joints_rad.len(), rows * width)?;
        check_count(&name, "validity marks", self.valid.len(), rows)?;
        if let Some(at) = self.joints_rad.iter().position(|x| !x.is_finite()) {
            return Err(not_finite(&name, &self.joint_names, at));
        }
        let finite = |k: &usize| {
            let pose = self.world_from_wrist[*k];
            let numbers = pose
                .translation
                .vector
                .iter()
                .chain(pose.rotation.coords.iter());
            numbers.copied().all(f64::is_finite)
        };
        if let Some(k) = (0..rows).find(|k| !finite(k)) {
            return Err(format!(
                "the wrist pose of the {name} is not finite at step {k}: fill or cut the gap before the export"
            ));
        }
        if let Some(force) = &self.force {
            check_columns("force", &force.fingers)?;
            let expected = steps * force.fingers.len();
            check_count(&name, "forces", force.counts.len(), expected)?;
            check_count(&name, "force validity marks", force.valid.len(), steps)?;
            if let Some(at) = force
                .counts
                .iter()
                .position(|f| f.iter().any(|x| !x.is_finite()))
            {
                return Err(not_finite("force", &force.fingers, at));
            }
        }
        if let Some(robot) = &self.robot {
            let (motors, tips) = (rows * robot.motor_units.len(), rows * robot.fingers.len());
            check_count(&name, "motor commands", robot.motors.len(), motors)?;
            check_count(&name, "fingertips", robot.tips_m.len(), tips)?;
            let tips = robot.tips_m.as_flattened().iter();
            if robot.motors.iter().chain(tips).any(|x| !x.is_finite()) {
                return Err(format!("motors or fingertips of the {name} are not finite"));
            }
        }
        if let Some(keypoints) = &self.keypoints {
            check_count(&name, "rows of keypoints", keypoints.points_m.len(), steps)?;
            check_count(
                &name,
                "keypoint validity marks",
                keypoints.valid.len(),
                steps,
            )?;
            if let Some(joints) = &keypoints.joints {
                check_columns("joint poses", &joints.names)?;
                let expected = steps * joints.names.len();
                check_count(
                    &name,
                    "joint poses",
                    joints.glove_from_joint.len(),
                    expected,
                )?;
            }
            let points = keypoints.points_m.iter();
            let mut finite = points.map(|row| row.as_flattened().iter().all(|x| x.is_finite()));
            if let Some(k) = finite.position(|finite| !finite) {
                return Err(format!(
                    "keypoints of the {name} are not finite at step {k}"
                ));
            }
        }
        Ok(())
    }
}

fn check_columns(name: &str, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Err(format!("{name} has no columns: expected at least one name"));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|n| !seen.insert(*n)) {
        Some(twice) => Err(format!("{name} names the column {twice:?} twice")),
        None => Ok(()),
    }
}

fn check_count(name: &str, what: &str, got: usize, expected: usize) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{name} has {got} {what}: expected {expected}"))
}

fn not_finite(name: &str, names: &[String], at: usize) -> String {
    format!(
        "{name} column {:?} is not finite at step {}: fill or cut the gap before the export",
        names[at % names.len()],
        at / names.len()
    )
}

fn check_name<'a>(kind: &str, name: &'a str, seen: &mut HashSet<&'a str>) -> Result<(), String> {
    let valid = !name.is_empty()
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !valid {
        return Err(format!(
            "{kind} {name:?}: expected letters, digits, '_', '-' and '.' only"
        ));
    }
    if !seen.insert(name) {
        return Err(format!("{kind} {name:?} appears twice"));
    }
    Ok(())
}
