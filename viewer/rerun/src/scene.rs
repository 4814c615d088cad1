//! What stands where in 3-D: trackers, their paths, and what is mounted on them.

use std::collections::{BTreeMap, VecDeque};

use dexumi_episode::{
    Delta, Rig, SessionTime,
    align::{Timeline, Track},
};
use nalgebra::{Isometry3, Vector3};
use rerun::{EntityPath, EntityPathPart};

use crate::{
    error::ViewError,
    palette::{TRACKER_PATH, rgb},
    rrd::Rrd,
};

/// Coordinate frame of the hand in a rig's mounts.
pub(crate) const HAND: &str = "hand";
/// Root of all that is drawn in 3-D; the tracking system's world, z up.
pub(crate) const WORLD: &str = "world";
/// Length of the drawn axes of a tracker [m].
const AXES_M: f32 = 0.04;
/// Radius of the drawn path [m].
const PATH_RADIUS_M: f32 = 0.0012;

/// Entity of a name that may hold any character; `/` separates levels.
pub(crate) fn below(parent: &EntityPath, name: &str) -> EntityPath {
    let parts = name.split('/').filter(|part| !part.is_empty());
    parent
        .iter()
        .cloned()
        .chain(parts.map(EntityPathPart::from))
        .collect()
}

/// Entities of the rig's coordinate frames that hang on the world.
pub(crate) struct Scene {
    frames: BTreeMap<String, Placed>,
}

struct Placed {
    entity: EntityPath,
    /// `parent_from_frame`; `None` for the world, and for trackers, which move.
    mounted: Option<Isometry3<f64>>,
    /// The tracker that carries it, and `tracker_from_frame`; `None` for the world.
    carrier: Option<String>,
    carrier_from_frame: Isometry3<f64>,
}

impl Scene {
    /// Finds the place of every coordinate frame: from the world and the
    /// trackers along the mounts, whichever way round those are given.
    pub fn of(rig: &Rig, timeline: &Timeline) -> Self {
        let world = EntityPath::from(WORLD);
        let mut frames = BTreeMap::new();
        let mut queue = VecDeque::from([WORLD.to_owned()]);
        frames.insert(
            WORLD.to_owned(),
            Placed {
                entity: world.clone(),
                mounted: None,
                carrier: None,
                carrier_from_frame: Isometry3::identity(),
            },
        );
        for name in timeline.poses.keys() {
            let frame = format!("tracker/{name}");
            frames.insert(
                frame.clone(),
                Placed {
                    entity: below(&world, &frame),
                    mounted: None,
                    carrier: Some(name.clone()),
                    carrier_from_frame: Isometry3::identity(),
                },
            );
            queue.push_back(frame);
        }
        while let Some(parent) = queue.pop_front() {
            for mount in &rig.mount {
                let child = if mount.parent == parent {
                    &mount.child
                } else if mount.child == parent {
                    &mount.parent
                } else {
                    continue;
                };
                let Some(parent_from_child) = rig.mount(&parent, child) else {
                    continue;
                };
                if frames.contains_key(child) {
                    continue;
                }
                let above = &frames[&parent];
                let placed = Placed {
                    entity: below(&above.entity, child),
                    mounted: Some(parent_from_child),
                    carrier: above.carrier.clone(),
                    carrier_from_frame: above.carrier_from_frame * parent_from_child,
                };
                frames.insert(child.clone(), placed);
                queue.push_back(child.clone());
            }
        }
        Self { frames }
    }

    /// Entity of a coordinate frame; `None` where no mount leads to it.
    pub fn entity(&self, frame: &str) -> Option<&EntityPath> {
        self.frames.get(frame).map(|placed| &placed.entity)
    }

    /// `world_from_frame` over time: one pose where it does not move.
    pub fn track(&self, frame: &str, timeline: &Timeline) -> Vec<Isometry3<f64>> {
        let Some(placed) = self.frames.get(frame) else {
            return Vec::new();
        };
        match &placed.carrier {
            Some(name) => timeline.poses[name]
                .values
                .iter()
                .map(|world_from_tracker| world_from_tracker * placed.carrier_from_frame)
                .collect(),
            None => vec![placed.carrier_from_frame],
        }
    }

    /// Writes the world, the trackers with their paths, and the mounts.
    /// Returns the number of poses.
    pub fn log(&self, rrd: &mut Rrd, timeline: &Timeline) -> Result<u64, ViewError> {
        let world = EntityPath::from(WORLD);
        rrd.fixed(&world, &rerun::ViewCoordinates::RIGHT_HAND_Z_UP())?;
        for placed in self.frames.values() {
            if let Some(parent_from_frame) = &placed.mounted {
                rrd.fixed(&placed.entity, &transform(parent_from_frame))?;
            }
        }
        let mut poses = 0;
        for (name, track) in &timeline.poses {
            let entity = &self.frames[&format!("tracker/{name}")].entity;
            log_poses(rrd, entity, &track.times, &track.values)?;
            rrd.fixed(entity, &rerun::TransformAxes3D::new(AXES_M))?;
            let strips = strips(track, timeline.max_gap);
            let path = rerun::LineStrips3D::new(strips)
                .with_radii([PATH_RADIUS_M])
                .with_colors([rgb(TRACKER_PATH)]);
            rrd.fixed(&below(&world, &format!("path/{name}")), &path)?;
            poses += track.times.len() as u64;
        }
        Ok(poses)
    }
}

/// Positions of a track, cut where samples are missing.
fn strips(track: &Track<Isometry3<f64>>, max_gap: Delta) -> Vec<Vec<[f32; 3]>> {
    let mut strips: Vec<Vec<[f32; 3]>> = Vec::new();
    let mut last: Option<SessionTime> = None;
    for (&time, pose) in track.times.iter().zip(&track.values) {
        if last.is_none_or(|last| time - last > max_gap) {
            strips.push(Vec::new());
        }
        if let Some(strip) = strips.last_mut() {
            strip.push(floats(&pose.translation.vector));
        }
        last = Some(time);
    }
    strips
}

/// Writes `parent_from_entity` over time.
pub(crate) fn log_poses(
    rrd: &mut Rrd,
    entity: &EntityPath,
    times: &[SessionTime],
    parent_from_entity: &[Isometry3<f64>],
) -> Result<(), ViewError> {
    let translations = parent_from_entity
        .iter()
        .map(|pose| floats(&pose.translation.vector));
    let rotations = parent_from_entity.iter().map(quaternion);
    let columns = rerun::Transform3D::update_fields()
        .with_many_translation(translations)
        .with_many_quaternion(rotations)
        .columns_of_unit_batches();
    rrd.columns(entity, times, columns)
}

/// `parent_from_entity`, as Rerun reads a transform by default.
pub(crate) fn transform(parent_from_entity: &Isometry3<f64>) -> rerun::Transform3D {
    rerun::Transform3D::new()
        .with_translation(floats(&parent_from_entity.translation.vector))
        .with_quaternion(quaternion(parent_from_entity))
}

/// Single precision, as Rerun draws.
pub(crate) fn floats(vector: &Vector3<f64>) -> [f32; 3] {
    [vector.x as f32, vector.y as f32, vector.z as f32]
}

/// Rotation as Rerun's quaternion x, y, z, w.
pub(crate) fn quaternion(pose: &Isometry3<f64>) -> rerun::Quaternion {
    let q = pose.rotation.coords;
    rerun::Quaternion::from_xyzw([q.x as f32, q.y as f32, q.z as f32, q.w as f32])
}
