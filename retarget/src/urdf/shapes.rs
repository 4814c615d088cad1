//! Pieces of a link to capsules: a segment with a radius each.

use std::f64::consts::PI;
use std::path::Path;

use nalgebra::{Isometry3, Matrix3, Point3, SymmetricEigen, Vector3};

use super::{UrdfGeometry, UrdfShape, mesh};

/// Most capsules that a flat box is laid out with.
const MOST_PER_BOX: usize = 5;
/// Radius of a capsule around points on one line (m): a capsule has one above 0.
const LEAST_RADIUS: f64 = 1e-4;

/// A segment with a radius, in some link's axes (m).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    pub(super) from: Point3<f64>,
    pub(super) to: Point3<f64>,
    pub(super) radius: f64,
}

impl Segment {
    /// Volume of the capsule (m³).
    pub(super) fn volume(&self) -> f64 {
        let length = nalgebra::distance(&self.from, &self.to);
        PI * self.radius.powi(2) * (length + 4.0 / 3.0 * self.radius)
    }

    /// Whether `other` sticks out by no more than `outside` (m).
    pub(super) fn holds(&self, other: &Self, outside: f64) -> bool {
        // Both are convex: what holds the ends holds what is between them.
        [other.from, other.to]
            .iter()
            .all(|end| self.distance_to_axis(end) + other.radius <= self.radius + outside)
    }

    fn distance_to_axis(&self, point: &Point3<f64>) -> f64 {
        let axis = self.to - self.from;
        let part = (point - self.from).dot(&axis) / axis.norm_squared();
        // 0/0 when the axis is a point.
        let part = if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        };
        nalgebra::distance(point, &(self.from + axis * part))
    }
}

/// Capsules that stand for a shape, in the axes of its link.
///
/// # Errors
/// Why a mesh cannot stand for itself, in a phrase with its name.
pub(super) fn segments(shape: &UrdfShape, urdf: &Path) -> Result<Vec<Segment>, String> {
    let z = Vector3::z();
    let along_z = |length: f64, radius: f64| {
        let half = z * (length / 2.0);
        vec![Segment {
            from: Point3::from(-half),
            to: Point3::from(half),
            radius,
        }]
    };
    let segments = match &shape.geometry {
        UrdfGeometry::Box(size) => boxed(size),
        UrdfGeometry::Sphere(radius) => along_z(0.0, *radius),
        UrdfGeometry::Capsule { radius, length } => along_z(*length, *radius),
        // As long as the cylinder, round ends instead of edges.
        UrdfGeometry::Cylinder { radius, length } if *length > 2.0 * radius => {
            along_z(length - 2.0 * radius, *radius)
        }
        UrdfGeometry::Cylinder { radius, length } => {
            boxed(&Vector3::new(2.0 * radius, 2.0 * radius, *length))
        }
        UrdfGeometry::Mesh { file, scale } => {
            let path = mesh::locate(file, urdf).ok_or_else(|| format!("{file}: not found"))?;
            let corners = mesh::corners(&path, scale).map_err(|what| format!("{file}: {what}"))?;
            vec![around(&corners)]
        }
    };
    Ok(moved(segments, &shape.link_from_shape))
}

/// `segments` in other axes.
pub(super) fn moved(mut segments: Vec<Segment>, a_from_b: &Isometry3<f64>) -> Vec<Segment> {
    for segment in &mut segments {
        segment.from = a_from_b * segment.from;
        segment.to = a_from_b * segment.to;
    }
    segments
}

/// Capsules side by side along the longest edge of a box, as thick as its shortest one: they reach
/// its faces, not its edges and corners.
fn boxed(size: &Vector3<f64>) -> Vec<Segment> {
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| size[b].total_cmp(&size[a]));
    let [long, wide, thick] = axes;
    let count = ((size[wide] / size[thick]).round() as usize).clamp(1, MOST_PER_BOX);
    let radius = match count {
        1 => (size[wide] + size[thick]) / 4.0,
        _ => size[thick] / 2.0,
    };
    let mut half = Vector3::zeros();
    half[long] = (size[long] / 2.0 - radius).max(0.0);
    let reach = size[wide] / 2.0 - radius;
    let segment = |index: usize| {
        let mut middle = Vector3::zeros();
        if count > 1 {
            middle[wide] = reach * (2.0 * index as f64 / (count - 1) as f64 - 1.0);
        }
        Segment {
            from: Point3::from(middle - half),
            to: Point3::from(middle + half),
            radius,
        }
    };
    (0..count).map(segment).collect()
}

/// A capsule around all points (at least one), along the direction in which they spread most.
fn around(points: &[Point3<f64>]) -> Segment {
    let count = points.len() as f64;
    let sum: Vector3<f64> = points.iter().map(|point| point.coords).sum();
    let mean = sum / count;
    let spread: Matrix3<f64> = points
        .iter()
        .map(|point| (point.coords - mean) * (point.coords - mean).transpose())
        .sum();
    let eigen = SymmetricEigen::new(spread / count);
    let along = eigen
        .eigenvectors
        .column(eigen.eigenvalues.imax())
        .into_owned();
    let across = [0, 1, 2].map(|axis| eigen.eigenvectors.column(axis).into_owned());
    // The axis runs through the middle of the box around the points, not through their mean, which
    // lies where the mesh is finest.
    let mut middle = Vector3::zeros();
    for direction in across {
        let heights = points.iter().map(|point| point.coords.dot(&direction));
        let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| {
            (low.min(at), high.max(at))
        });
        middle += direction * ((low + high) / 2.0);
    }
    let local = points.iter().map(|point| {
        let arm = point.coords - middle;
        let height = arm.dot(&along);
        (height, (arm - along * height).norm())
    });
    let radius = local.clone().map(|(_, away)| away).fold(0.0, f64::max);
    // Each point asks that the segment come near enough to reach it with the radius.
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (height, away) in local {
        let slack = (radius * radius - away * away).max(0.0).sqrt();
        low = low.min(height + slack);
        high = high.max(height - slack);
    }
    if low > high {
        let both = (low + high) / 2.0;
        (low, high) = (both, both);
    }
    Segment {
        from: Point3::from(middle + along * low),
        to: Point3::from(middle + along * high),
        radius: radius.max(LEAST_RADIUS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_capsule_holds_what_lies_in_it() {
        let capsule = |x: f64, length: f64, radius: f64| Segment {
            from: Point3::new(x, 0.0, 0.0),
            to: Point3::new(x, 0.0, length),
            radius,
        };
        let large = capsule(0.0, 0.1, 0.02);
        assert!(large.holds(&capsule(0.01, 0.1, 0.01), 0.0));
        assert!(!large.holds(&capsule(0.0101, 0.1, 0.01), 0.0));
        assert!(large.holds(&capsule(0.0101, 0.1, 0.01), 0.001));
        assert!(!large.holds(&capsule(0.0, 0.12, 0.01), 0.0));
        assert!(large.volume() > capsule(0.0, 0.1, 0.01).volume());
    }

    proptest! {
        #[test]
        fn a_capsule_around_points_holds_them_all(
            points in proptest::collection::vec(proptest::array::uniform3(-1.0..1.0), 1..40),
        ) {
            let points: Vec<Point3<f64>> = points.into_iter().map(Point3::from).collect();
            let capsule = around(&points);
            for point in points {
                let away = capsule.distance_to_axis(&point);
                prop_assert!(away <= capsule.radius + 1e-9, "{away} > {}", capsule.radius);
            }
        }

        #[test]
        fn a_box_is_filled_to_its_faces_and_nowhere_beyond(
            size in proptest::array::uniform3(0.002..0.2),
        ) {
            let size = Vector3::from(size);
            let thick = size.min();
            for segment in boxed(&size) {
                for end in [segment.from, segment.to] {
                    for axis in 0..3 {
                        let reach = end[axis].abs() + segment.radius;
                        // A single capsule is as thick as the mean of both edges.
                        prop_assert!(reach <= size[axis] / 2.0 + 0.13 * thick, "{segment:?}");
                    }
                }
            }
        }
    }
}
