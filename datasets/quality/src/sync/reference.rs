//! What images are held against: motion of trackers and joints.

use dexumi_episode::{
    Delta, SessionTime,
    align::{Interpolate, Timeline, Track},
};
use nalgebra::Isometry3;

use super::GRID_S;

/// Something whose motion is known, on the grid of lags: numbers of which each image motion is
/// held to be a linear function of their change; NaN in gaps.
pub(super) struct Reference {
    pub name: String,
    origin: SessionTime,
    pub dimensions: usize,
    points: Vec<f64>,
    /// Of a body: its change is seen from itself, as by a camera on it. 6 numbers: place, and
    /// rotation vector from the first pose; else as they are.
    poses: Option<Vec<Option<Isometry3<f64>>>>,
}

impl Reference {
    fn new(name: String, (from, to): (SessionTime, SessionTime), dimensions: usize) -> Self {
        let steps = ((to - from).secs_f64() / GRID_S).ceil() as usize + 2;
        Self {
            name,
            origin: from,
            dimensions,
            points: vec![f64::NAN; steps * dimensions],
            poses: None,
        }
    }

    fn times(&self) -> impl Iterator<Item = (usize, SessionTime)> + use<> {
        let (origin, steps) = (self.origin, self.points.len() / self.dimensions);
        (0..steps).map(move |step| (step, origin + Delta::from_secs_f64(step as f64 * GRID_S)))
    }

    /// A body's motion in the world.
    fn in_world(name: &str, track: &Track<Isometry3<f64>>, span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {name} tracker"), span, 6);
        let mut last: Option<Isometry3<f64>> = None;
        let mut turned = nalgebra::Vector3::zeros();
        for (step, time) in one.times() {
            let Some(pose) = track.at(time, max_gap) else {
                last = None;
                continue;
            };
            // Small turns add up as vectors of the world.
            if let Some(last) = last {
                turned += (pose.rotation * last.rotation.inverse()).scaled_axis();
            }
            last = Some(pose);
            let place = pose.translation.vector;
            let row = &mut one.points[6 * step..6 * step + 6];
            row[..3].copy_from_slice(place.as_slice());
            row[3..].copy_from_slice(turned.as_slice());
        }
        one
    }

    /// A body's motion as it is seen from the body.
    fn on_body(name: &str, track: &Track<Isometry3<f64>>, span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {name} tracker, seen from it"), span, 6);
        let poses = one.times().map(|(_, time)| track.at(time, max_gap));
        one.poses = Some(poses.collect());
        one
    }

    fn joints(side: &str, tracks: &[Track<f64>], span: Span, max_gap: Delta) -> Self {
        let mut one = Self::new(format!("the {side} joints"), span, tracks.len());
        for (step, time) in one.times() {
            for (joint, track) in tracks.iter().enumerate() {
                let value = track.at(time, max_gap).unwrap_or(f64::NAN);
                one.points[step * tracks.len() + joint] = value;
            }
        }
        one
    }

    /// Its change between two times, appended to `row`; `false` in a gap.
    pub fn change(&self, a: SessionTime, b: SessionTime, row: &mut Vec<f64>) -> bool {
        let place = |time: SessionTime| {
            let x = (time - self.origin).secs_f64() / GRID_S;
            let step = x.floor().max(0.0);
            (step as usize, x - step)
        };
        let ((a, fa), (b, fb)) = (place(a), place(b));
        if let Some(poses) = &self.poses {
            let pose = |step: usize, part: f64| {
                let pair = poses.get(step..step + 2)?;
                Some(Isometry3::between(
                    pair[0].as_ref()?,
                    pair[1].as_ref()?,
                    part,
                ))
            };
            let (Some(from), Some(to)) = (pose(a, fa), pose(b, fb)) else {
                return false;
            };
            let moved = from.inv_mul(&to);
            row.extend(moved.translation.vector.iter());
            row.extend(moved.rotation.scaled_axis().iter());
            return true;
        }
        let d = self.dimensions;
        let at = |step: usize| self.points.get(step * d..(step + 2) * d);
        let (Some(p), Some(q)) = (at(a), at(b)) else {
            return false;
        };
        let begin = row.len();
        row.extend((0..d).map(|k| {
            let from = p[k] + fa * (p[d + k] - p[k]);
            let to = q[k] + fb * (q[d + k] - q[k]);
            to - from
        }));
        row[begin..].iter().all(|value| value.is_finite())
    }
}

/// From when to when.
type Span = (SessionTime, SessionTime);

/// What images are held against: each tracker, seen from the world (by a camera that stands still) and
/// from itself (by one that it carries); and each side's joints, where there is no tracker.
pub(super) fn references(timeline: &Timeline, span: Span) -> Vec<Reference> {
    let max_gap = timeline.max_gap;
    let mut all = Vec::new();
    for (name, track) in &timeline.poses {
        all.push(Reference::in_world(name, track, span, max_gap));
        all.push(Reference::on_body(name, track, span, max_gap));
    }
    if all.is_empty() {
        for (side, joints) in &timeline.joints {
            all.push(Reference::joints(side, &joints.tracks, span, max_gap));
        }
    }
    all
}

/// How much the trackers and joints move in a span of time, for choosing among spans.
pub(crate) fn motion_between(timeline: &Timeline, from: SessionTime, seconds: f64) -> f64 {
    fn varies<T: Interpolate>(
        track: &Track<T>,
        from: SessionTime,
        seconds: f64,
        max_gap: Delta,
        distance: impl Fn(&T, &T) -> f64,
    ) -> f64 {
        let at = |k: usize| from + Delta::from_secs_f64(seconds * k as f64 / 100.0);
        let moves = (0..100).filter_map(|k| {
            let (a, b) = (track.at(at(k), max_gap)?, track.at(at(k + 1), max_gap)?);
            Some(distance(&a, &b).powi(2))
        });
        moves.sum::<f64>()
    }
    let max_gap = timeline.max_gap;
    let turns = timeline.poses.values().map(|track| {
        varies(track, from, seconds, max_gap, |a, b| {
            a.rotation.angle_to(&b.rotation)
        })
    });
    let joints = timeline.joints.values().flat_map(|joints| &joints.tracks);
    let joints = joints.map(|track| varies(track, from, seconds, max_gap, |a, b| (b - a).abs()));
    turns.chain(joints).sum()
}
