//! Logging dexumi episodes to Rerun: [`save`] writes an `.rrd` with images,
//! curves, the hand in 3-D, log and losses, and the layout to see them in.
//!
//! Timelines are `capture_time` (date) and `episode_time` (since the start).
//! Entities: `world/…` is all that is 3-D, along the rig's mounts; `joints/<side>`
//! and `retarget/<side>` are angles [degree], `force/<side>/<finger>` are raw
//! counts, `camera/<name>` are the cameras that have no place in 3-D.

mod blueprint;
mod cameras;
mod error;
mod hand;
mod layout;
mod palette;
mod plots;
mod rrd;
mod scene;
mod text;

use std::{path::Path, sync::Arc};

use dexumi_episode::{Episode, EpisodeFile, align::Timeline};
use dexumi_retarget::{Hand, Side};
use nalgebra::Isometry3;
use rerun::EntityPath;

use crate::{
    blueprint::{Contents, Shown, blueprint},
    hand::{Motion, RetargetedProblem, log_hand, retarget_topic, side_name},
    palette::{MEASURED_HAND, ROBOT_HAND},
    rrd::Rrd,
    scene::{HAND, Scene, WORLD, below, transform},
};

pub use error::ViewError;

/// Distance of the robot hand from the measured one, towards the little finger [m].
const BESIDE_M: f64 = 0.16;

/// What to leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewOptions {
    /// Of each camera's images, the first and every nth from there; 1 keeps all.
    pub every_nth_image: usize,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { every_nth_image: 1 }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewReport {
    /// Images, of all cameras.
    pub images: u64,
    /// Samples: encoder scans, force samples, tracker poses, retargeted steps,
    /// and lines of the log.
    pub samples: u64,
    /// Size of the file [byte].
    pub bytes: u64,
    /// What could not be shown, and why.
    pub notes: Vec<String>,
}

/// Writes an episode as `out`, an `.rrd` for Rerun's viewer; one that exists is
/// replaced once the new one is whole.
///
/// `derived` holds the robot hand's joints on `/retarget/<side>/joints`. They are
/// drawn beside the measured hand: a channel's metadata may name its `hand`
/// (else the rig's) and the `names` of its joints (else the hand's order).
///
/// # Errors
/// An option makes no sense, the episode or `derived` is damaged, or `out` cannot
/// be written. What merely cannot be shown is a note in the report.
pub fn save(
    episode: &Episode,
    timeline: &Timeline,
    derived: Option<&EpisodeFile>,
    options: &ViewOptions,
    out: &Path,
) -> Result<ViewReport, ViewError> {
    if options.every_nth_image == 0 {
        return Err(ViewError::Option {
            name: "every_nth_image",
            got: "0".to_owned(),
            expected: "at least 1",
        });
    }
    let info = &episode.info;
    let name = format!("Episode {}: {}", info.number, info.task);
    let rrd = Rrd::create(out, &info.id, &name, timeline.interval.0)?;
    let partial = rrd.partial().to_owned();
    let written = View {
        rrd,
        episode,
        timeline,
        scene: Scene::of(&episode.rig, timeline),
        contents: Contents::default(),
        report: ViewReport::default(),
    }
    .write(derived, options);
    if written.is_err() {
        // The error that counts is the one in hand.
        let _ = std::fs::remove_file(partial);
    }
    written
}

/// What is known while an episode is written.
struct View<'a> {
    rrd: Rrd,
    episode: &'a Episode,
    timeline: &'a Timeline,
    scene: Scene,
    contents: Contents,
    report: ViewReport,
}

impl View<'_> {
    fn write(
        mut self,
        derived: Option<&EpisodeFile>,
        options: &ViewOptions,
    ) -> Result<ViewReport, ViewError> {
        self.report.samples += self.scene.log(&mut self.rrd, self.timeline)?;
        self.hands(derived)?;
        self.force()?;
        self.cameras(options.every_nth_image)?;
        self.report.samples += text::log_lines(&mut self.rrd, self.episode, self.timeline)?;
        text::log_about(
            &mut self.rrd,
            self.episode,
            self.timeline,
            &self.report.notes,
        )?;
        self.rrd.blueprint(blueprint(&self.contents))?;
        self.report.bytes = self.rrd.finish()?;
        Ok(self.report)
    }

    /// Joints, measured and retargeted, as curves and in 3-D.
    fn hands(&mut self, derived: Option<&EpisodeFile>) -> Result<(), ViewError> {
        let rig_hand = match Hand::by_name(&self.episode.rig.hand) {
            Ok(hand) => Some(Arc::new(hand)),
            Err(error) => {
                self.report.notes.push(format!("no hand is drawn: {error}"));
                None
            }
        };
        let side = rig_hand.as_ref().map_or(Side::Right, |hand| hand.side());
        self.contents.thumb_along_y = side.thumb_along_y();
        let root = self.hand_root();
        self.contents.hand = self.scene.track(HAND, self.timeline);
        if self.contents.hand.is_empty() {
            let trackers = self.timeline.poses.values();
            self.contents.hand = trackers.flat_map(|track| track.values.clone()).collect();
        }
        for (name, joints) in &self.timeline.joints {
            let hand = rig_hand
                .as_ref()
                .filter(|hand| side_name(hand.side()) == name);
            let entity = below(&EntityPath::from("joints"), name);
            plots::log_joints(
                &mut self.rrd,
                &entity,
                joints,
                hand.map(|hand| &**hand),
                self.timeline.max_gap,
            )?;
            self.contents.joints.push(Shown {
                name: match joints.calibrated {
                    true => format!("Joint angles, {name} hand [°]"),
                    false => format!("Sensor angles, {name}, not calibrated [°]"),
                },
                entity,
            });
            self.report.samples += joints.rows.len() as u64;
            self.measured_hand(name, hand, &root)?;
        }
        let Some(derived) = derived else {
            return Ok(());
        };
        let mut has_robot = false;
        for side in [Side::Left, Side::Right] {
            has_robot |= self.robot_hand(derived, side, &root)?;
        }
        if !has_robot {
            self.report.notes.push(format!(
                "no robot hand is drawn: nothing on {} or {}: {}",
                retarget_topic(Side::Left),
                retarget_topic(Side::Right),
                derived.path().display()
            ));
        }
        Ok(())
    }

    /// Entity whose axes are the hand's.
    fn hand_root(&mut self) -> EntityPath {
        if let Some(entity) = self.scene.entity(HAND) {
            return entity.clone();
        }
        self.report.notes.push(format!(
            "no mount leads from a tracker to `{HAND}`: the hand stands at the world's origin"
        ));
        below(&EntityPath::from(WORLD), HAND)
    }

    fn measured_hand(
        &mut self,
        side: &str,
        hand: Option<&Arc<Hand>>,
        root: &EntityPath,
    ) -> Result<(), ViewError> {
        let joints = &self.timeline.joints[side];
        let Some(hand) = hand else {
            self.report.notes.push(format!(
                "the {side} hand is not drawn: the rig names no hand of that side"
            ));
            return Ok(());
        };
        if !joints.calibrated {
            self.report.notes.push(format!(
                "the {side} hand is not drawn: its joints are not calibrated; \
                 run `dexumi calibrate joints`"
            ));
            return Ok(());
        }
        match Motion::measured(hand, joints, self.timeline.max_gap) {
            Ok(motion) => log_hand(
                &mut self.rrd,
                &below(root, "measured"),
                hand,
                &motion,
                MEASURED_HAND,
            ),
            Err(problem) => {
                self.report
                    .notes
                    .push(format!("the {side} hand is not drawn: {problem}"));
                Ok(())
            }
        }
    }

    /// Whether the file has a robot hand of this side.
    fn robot_hand(
        &mut self,
        derived: &EpisodeFile,
        side: Side,
        root: &EntityPath,
    ) -> Result<bool, ViewError> {
        let (hand, motion) = match Motion::retargeted(derived, side, &self.episode.rig.hand) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(RetargetedProblem::Damaged(error)) => return Err(error.into()),
            Err(RetargetedProblem::Unfit(problem)) => {
                self.report
                    .notes
                    .push(format!("no robot hand is drawn: {problem}"));
                return Ok(true);
            }
        };
        let entity = below(root, "robot");
        let beside = -side.thumb_along_y() * BESIDE_M;
        self.rrd.fixed(
            &entity,
            &transform(&Isometry3::translation(0.0, beside, 0.0)),
        )?;
        log_hand(&mut self.rrd, &entity, &hand, &motion, ROBOT_HAND)?;
        let curves = below(&EntityPath::from("retarget"), side_name(side));
        plots::log_motion(
            &mut self.rrd,
            &curves,
            &hand,
            &motion,
            self.timeline.max_gap,
        )?;
        self.contents.joints.push(Shown {
            name: format!("Robot joints, {} [°]", hand.name()),
            entity: curves,
        });
        self.report.samples += motion.times.len() as u64;
        Ok(true)
    }

    fn force(&mut self) -> Result<(), ViewError> {
        let tracks = self.timeline.force.iter();
        let fingers = dexumi_episode::FINGERS;
        let mut tracks: Vec<_> = tracks
            .map(|(stream, track)| {
                let place = stream.replace("/exo/", "").replace("/force/", "/");
                let (side, finger) = place.split_once('/').unwrap_or((&place, ""));
                let nth = fingers.iter().position(|&known| known == finger);
                ((side.to_owned(), nth, finger.to_owned()), track)
            })
            .collect();
        tracks.sort_by(|(a, _), (b, _)| a.cmp(b));
        for ((side, _, finger), track) in tracks {
            let entity = below(&EntityPath::from("force"), &format!("{side}/{finger}"));
            plots::log_force(&mut self.rrd, &entity, track, self.timeline.max_gap)?;
            self.contents.force.push(Shown {
                name: format!("Force, {side} {finger} [counts]"),
                entity,
            });
            self.report.samples += track.times.len() as u64;
        }
        Ok(())
    }

    fn cameras(&mut self, every_nth: usize) -> Result<(), ViewError> {
        for (name, track) in &self.timeline.images {
            let camera = cameras::log_camera(
                &mut self.rrd,
                self.episode,
                &self.scene,
                (name, track),
                every_nth,
            )?;
            self.report.images += camera.images;
            self.report.notes.extend(camera.flat);
            self.contents.cameras.push(Shown {
                name: format!("Camera {name}"),
                entity: camera.entity,
            });
        }
        Ok(())
    }
}
