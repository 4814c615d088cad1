//! A small software renderer: capsules, tapered cylinders and convex polygons, smoothly shaded,
//! anti-aliased, with a depth buffer.

use nalgebra::Vector3;

use super::round::{LANES, Lanes, Round, SHADES, Side};
use super::surface::Light;

/// A point or direction in camera axes: x right, y down, z forward [m].
pub type V3 = Vector3<f32>;

/// Nothing nearer than this is drawn [m].
pub const NEAR_M: f32 = 0.02;

/// Pinhole lens: pixel (column, row) = (fx·x/z + cx, fy·y/z + cy); whole numbers are centres of
/// pixels [pixel].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lens {
    /// Focal lengths, right and down.
    pub focal: [f32; 2],
    /// Principal point.
    pub centre: [f32; 2],
}

impl Lens {
    /// Where a point before the camera is seen.
    pub fn project(&self, point: &V3) -> [f32; 2] {
        [
            self.focal[0] * point.x / point.z + self.centre[0],
            self.focal[1] * point.y / point.z + self.centre[1],
        ]
    }
}

/// An image with the depth of what is drawn in it.
#[derive(Debug, Clone)]
pub struct Canvas {
    /// Width [pixel].
    pub width: usize,
    /// Height [pixel].
    pub height: usize,
    /// Pixels, row by row: blue, green, red.
    pub bgr: Vec<[u8; 3]>,
    /// One over the depth along z, row by row [1/m]; 0 is infinitely far.
    pub nearness: Vec<f32>,
}

fn blend(pixel: &mut [u8; 3], colour: [u8; 3], cover: f32) {
    if cover >= 1.0 {
        *pixel = colour;
        return;
    }
    for (old, new) in pixel.iter_mut().zip(colour) {
        *old = (f32::from(*old) + cover * (f32::from(new) - f32::from(*old))) as u8;
    }
}

/// Whole numbers from `low` to `high` within 0 to `count`.
pub fn pixels(low: f32, high: f32, count: usize) -> std::ops::Range<usize> {
    let start = low.ceil().max(0.0) as usize;
    let end = (high.floor() + 1.0).clamp(0.0, count as f32) as usize;
    start.min(end)..end
}

/// Numbers x within `range` with low ≤ offset + slope·x ≤ high; an empty range if there are none.
pub fn narrow(range: (f32, f32), offset: f32, slope: f32, low: f32, high: f32) -> (f32, f32) {
    if slope.abs() < 1e-5 {
        return if (low..=high).contains(&offset) {
            range
        } else {
            (1.0, 0.0)
        };
    }
    let (one, other) = ((low - offset) / slope, (high - offset) / slope);
    (range.0.max(one.min(other)), range.1.min(one.max(other)))
}

impl Canvas {
    /// A black image.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            bgr: vec![[0; 3]; width * height],
            nearness: vec![0.0; width * height],
        }
    }

    /// Draws a round shape. What is farther should be drawn first: outlines blend with what is
    /// there.
    pub fn round(&mut self, lens: &Lens, light: &Light, shape: &Round) {
        let Some(side) = Side::new(lens, light, shape) else {
            return;
        };
        let shades = side.shades(&shape.material);
        let (length, rb) = (side.length, side.pixel_radii[1]);
        let mut lanes = Lanes::new();
        for y in side.rows(self.height) {
            let columns = side.columns(y as f32, self.width);
            let row = y * self.width;
            let bgr = &mut self.bgr[row..row + self.width][columns.clone()];
            let nearness = &mut self.nearness[row..row + self.width][columns.clone()];
            let blocks = bgr.chunks_mut(LANES).zip(nearness.chunks_mut(LANES));
            for ((bgr, nearness), x) in blocks.zip(columns.step_by(LANES)) {
                side.fill(x as f32, y as f32, bgr.len(), &mut lanes);
                for (k, (pixel, nearest)) in bgr.iter_mut().zip(nearness).enumerate() {
                    let s = lanes.along[k];
                    let (mut cover, mut here) = (lanes.cover[k], lanes.here[k]);
                    let mut end = None;
                    if !shape.round_ends {
                        // The far end reaches a little further, under the rim of a cup: seen from
                        // close by, that is not quite where parallel rays have it.
                        cover = cover.min(s + 0.5).min(length - s + 0.5 + 0.05 * rb);
                    } else if s < 0.0 || s > length {
                        let Some(met) = side.end(s > length, (x + k) as f32, y as f32) else {
                            continue;
                        };
                        (cover, here) = (met.cover, met.here);
                        end = Some(met);
                    }
                    if cover <= 0.0 || here <= *nearest {
                        continue;
                    }
                    let shade = match end {
                        None => {
                            let step = (lanes.aside[k] + 1.0) * (SHADES as f32 / 2.0);
                            shades[(step as usize).min(SHADES - 1)]
                        }
                        Some(met) => shape.material.toned(side.tone(met.normal)),
                    };
                    blend(pixel, shade, cover);
                    if cover > 0.5 {
                        *nearest = here;
                    }
                }
            }
        }
    }

    /// Fills a convex polygon, given in camera axes, with one colour. Its edges reach half a pixel
    /// further than they should, so that neighbours leave no gap.
    pub fn polygon(&mut self, lens: &Lens, corners: &[V3], colour: [u8; 3]) {
        let corners = cut_near(corners);
        if corners.len() < 3 {
            return;
        }
        let points: Vec<[f32; 2]> = corners.iter().map(|corner| lens.project(corner)).collect();
        let pairs = || points.iter().zip(points.iter().cycle().skip(1));
        let area: f32 = pairs().map(|(p, q)| p[0] * q[1] - p[1] * q[0]).sum();
        if area.abs() < 0.5 {
            return;
        }
        // Distance inwards from each edge: a·x + b·y + c [pixel].
        let edges: Vec<[f32; 3]> = pairs()
            .filter_map(|(p, q)| {
                let (dx, dy) = (q[0] - p[0], q[1] - p[1]);
                let length = dx.hypot(dy) * area.signum();
                let (a, b) = (-dy / length, dx / length);
                (length.abs() > 1e-3).then(|| [a, b, 1.0 - a * p[0] - b * p[1]])
            })
            .collect();
        // In a plane n·p = k, one over the depth is n·ray / k: linear in the image.
        let normal = (corners[1] - corners[0]).cross(&(corners[2] - corners[0]));
        let k = normal.dot(&corners[0]);
        if k.abs() < 1e-12 {
            return;
        }
        let (na, nb) = (
            normal.x / (k * lens.focal[0]),
            normal.y / (k * lens.focal[1]),
        );
        let nc = normal.z / k - na * lens.centre[0] - nb * lens.centre[1];
        let low = points.iter().map(|p| p[1]).fold(f32::MAX, f32::min);
        let high = points.iter().map(|p| p[1]).fold(f32::MIN, f32::max);
        for y in pixels(low - 1.0, high + 1.0, self.height) {
            let mut span = (0.0, self.width as f32);
            for &[a, b, c] in &edges {
                span = narrow(span, b * y as f32 + c, a, 0.0, f32::MAX);
            }
            let row = y * self.width;
            for x in pixels(span.0, span.1, self.width) {
                let (xf, yf) = (x as f32, y as f32);
                let here = na * xf + nb * yf + nc;
                let cover = edges
                    .iter()
                    .map(|[a, b, c]| a * xf + b * yf + c)
                    .fold(f32::MAX, f32::min);
                let nearest = &mut self.nearness[row + x];
                if cover > 0.0 && here > *nearest {
                    blend(&mut self.bgr[row + x], colour, cover);
                    // The margin must not hide the neighbour, in front of which it lies.
                    if cover >= 1.0 {
                        *nearest = here;
                    }
                }
            }
        }
    }
}

/// A polygon cut at the near plane (Sutherland and Hodgman).
fn cut_near(corners: &[V3]) -> Vec<V3> {
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (p, q) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        if p.z >= NEAR_M {
            kept.push(*p);
        }
        if (p.z >= NEAR_M) != (q.z >= NEAR_M) {
            kept.push(p + (q - p) * ((NEAR_M - p.z) / (q.z - p.z)));
        }
    }
    kept
}

#[cfg(test)]
mod tests;
