//! Capsules and tapered cylinders as they lie in an image.
//!
//! A round shape is drawn exactly as a parallel projection along the ray to its middle would show
//! it, with its radius and depth following the perspective along its axis. That is within a pixel
//! or two of the true outline for shapes as small as a finger, and costs a division and a square
//! root a pixel.

use super::raster::{Lens, NEAR_M, V3, narrow, pixels};
use super::surface::{Light, Material, Shader, at_least, tone};

/// Steps of the shading across a round shape.
pub const SHADES: usize = 128;
/// Pixels of a row that are worked out together.
pub const LANES: usize = 64;

/// A tapered cylinder, with round ends (a capsule) or flat ones.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Middles of both ends, in camera axes [m].
    pub ends: [V3; 2],
    /// Radii there [m].
    pub radii: [f32; 2],
    /// Whether the ends are half balls or cut off flat (and open).
    pub round_ends: bool,
    /// Its surface.
    pub material: Material,
}

/// A round shape as it lies in the image.
pub struct Side {
    /// First end, and unit vector towards the other [pixel].
    a: [f32; 2],
    e: [f32; 2],
    /// Distance of the ends, and one over it [pixel]; 0 and 0 for a ball.
    pub length: f32,
    inv_length: f32,
    /// Radii at the ends, in the image [pixel] and in space [m].
    pub pixel_radii: [f32; 2],
    inv_pixel_radii: [f32; 2],
    radii: [f32; 2],
    /// One over the depth of the ends [1/m].
    near: [f32; 2],
    /// Cosine and sine of the angle between the shape and the view.
    lean: f32,
    upright: f32,
    /// To the lamp, upwards, and half-way to the lamp: aside, ahead and towards the camera.
    light: [[f32; 3]; 3],
}

/// Where the rays of some pixels of a row meet the side of a shape, or would if it went on.
pub struct Lanes {
    /// Place along the shape [pixel]; below 0 or above its length they meet an end instead.
    pub along: [f32; LANES],
    /// Part of the normal across the shape.
    pub aside: [f32; LANES],
    /// Share of the pixel that is covered; above 1 inside, below 0 outside.
    pub cover: [f32; LANES],
    /// One over the depth [1/m].
    pub here: [f32; LANES],
}

impl Lanes {
    /// Room for a run of pixels.
    pub fn new() -> Self {
        let none = [0.0; LANES];
        Self {
            along: none,
            aside: none,
            cover: none,
            here: none,
        }
    }
}

/// Where a ray meets a round end.
pub struct End {
    /// See [`Lanes`].
    pub cover: f32,
    /// See [`Lanes`].
    pub here: f32,
    /// Aside, ahead and towards the camera.
    pub normal: [f32; 3],
}

impl Side {
    /// As `lens` shows a shape under `light`; `None` if all of it is behind the camera.
    pub fn new(lens: &Lens, light: &Light, shape: &Round) -> Option<Self> {
        let (ends, radii) = before_camera(shape)?;
        let [a, b] = ends.map(|end| lens.project(&end));
        let near = ends.map(|end| 1.0 / end.z);
        let [ra, rb] = [0, 1].map(|i| (lens.focal[0] * radii[i] * near[i]).max(0.5));
        let along = [b[0] - a[0], b[1] - a[1]];
        let length = along[0].hypot(along[1]);
        let e = if length > 1e-3 {
            along.map(|x| x / length)
        } else {
            [1.0, 0.0]
        };
        // Local axes: `out` away from the camera, `ahead` along the shape as seen, `aside` across.
        let out = ((ends[0] + ends[1]) * 0.5)
            .try_normalize(1e-9)
            .unwrap_or_else(V3::z);
        let axis = (ends[1] - ends[0])
            .try_normalize(1e-9)
            .unwrap_or_else(V3::x);
        let sideways = V3::new(e[0], e[1], 0.0);
        let ahead = axis - out * axis.dot(&out);
        let ahead = ahead
            .try_normalize(1e-3)
            .or_else(|| (sideways - out * sideways.dot(&out)).try_normalize(1e-6))
            .unwrap_or_else(V3::x);
        let aside = out.cross(&ahead);
        let lean = axis.dot(&out);
        let upright = (1.0 - lean * lean).max(0.0).sqrt();
        let halfway = Shader::new(&shape.material, light, &out).halfway;
        Some(Self {
            a,
            e,
            length,
            inv_length: if length > 1e-3 { 1.0 / length } else { 0.0 },
            pixel_radii: [ra, rb],
            inv_pixel_radii: [1.0 / ra, 1.0 / rb],
            radii,
            near,
            lean,
            upright,
            light: [light.lamp, light.up, halfway]
                .map(|to| [to.dot(&aside), to.dot(&ahead), -to.dot(&out)]),
        })
    }

    /// Colours (blue, green, red) across the side, from -1 to 1, [`SHADES`] of them.
    pub fn shades(&self, material: &Material) -> [[u8; 3]; SHADES] {
        std::array::from_fn(|i| {
            let n = (i as f32 + 0.5) * (2.0 / SHADES as f32) - 1.0;
            let bulge = (1.0 - n * n).sqrt();
            material.toned(self.tone([n, bulge * self.lean, bulge * self.upright]))
        })
    }

    /// Rows in which the shape may be.
    pub fn rows(&self, height: usize) -> std::ops::Range<usize> {
        let b = self.a[1] + self.length * self.e[1];
        let [ra, rb] = self.pixel_radii;
        pixels(
            (self.a[1] - ra).min(b - rb) - 1.0,
            (self.a[1] + ra).max(b + rb) + 1.0,
            height,
        )
    }

    /// Columns in which a row may meet the shape.
    pub fn columns(&self, y: f32, width: usize) -> std::ops::Range<usize> {
        let [ra, rb] = self.pixel_radii;
        let widest = ra.max(rb) + 1.0;
        let (u, d) = self.along_and_across(0.0, y);
        let span = narrow((0.0, width as f32), d, -self.e[1], -widest, widest);
        let span = narrow(span, u, self.e[0], -ra - 1.0, self.length + rb + 1.0);
        pixels(span.0, span.1, width)
    }

    /// Place of a pixel along the shape and across it [pixel].
    #[inline(always)]
    fn along_and_across(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.a[0], y - self.a[1]);
        (
            dx * self.e[0] + dy * self.e[1],
            dy * self.e[0] - dx * self.e[1],
        )
    }

    /// Works out `count` pixels from (x, y) on, at most [`LANES`]. No branches, and a count that is
    /// not known beforehand: so the compiler does several at a time.
    pub fn fill(&self, x: f32, y: f32, count: usize, lanes: &mut Lanes) {
        let [ra, rb] = self.pixel_radii;
        let share = |x: f32| if x < 1.0 { at_least(0.0, x) } else { 1.0 };
        let (along, aside) = (&mut lanes.along[..count], &mut lanes.aside[..count]);
        let (cover, here) = (&mut lanes.cover[..count], &mut lanes.here[..count]);
        for k in 0..count {
            let (u, d) = self.along_and_across(x + k as i32 as f32, y);
            let r = ra + (rb - ra) * share(u * self.inv_length);
            let n = d / r;
            let bulge = at_least(0.0, 1.0 - n * n).sqrt();
            let s = u - r * bulge * self.lean;
            let part = share(s * self.inv_length);
            let near = self.near[0] + (self.near[1] - self.near[0]) * part;
            let radius = self.radii[0] + (self.radii[1] - self.radii[0]) * part;
            here[k] = near + near * near * radius * bulge * self.upright;
            cover[k] = r - d.abs() + 0.5;
            (along[k], aside[k]) = (s, n);
        }
    }

    /// The first or the last end at a pixel, if it is there.
    #[inline(always)]
    pub fn end(&self, last: bool, x: f32, y: f32) -> Option<End> {
        let (u, d) = self.along_and_across(x, y);
        let i = usize::from(last);
        let inv_r = self.inv_pixel_radii[i];
        let ahead = if last { u - self.length } else { u } * inv_r;
        let aside = d * inv_r;
        let squared = ahead * ahead + aside * aside;
        // Distance from the outline in radii, to first order.
        let cover = 0.5 * (1.0 - squared) * self.pixel_radii[i] + 0.5;
        if cover <= 0.0 {
            return None;
        }
        let facing = at_least(0.0, 1.0 - squared).sqrt();
        let here = self.near[i] + self.near[i] * self.near[i] * self.radii[i] * facing;
        Some(End {
            cover,
            here,
            normal: [aside, ahead, facing],
        })
    }

    /// See [`tone`]; for a normal aside, ahead and towards the camera.
    #[inline(always)]
    pub fn tone(&self, normal: [f32; 3]) -> (f32, f32) {
        let [n, a, f] = normal;
        let [lamp, up, shine] = self.light.map(|to| n * to[0] + a * to[1] + f * to[2]);
        tone(lamp, up, f, shine)
    }
}

/// The part of a round shape before the camera, or `None`.
fn before_camera(shape: &Round) -> Option<([V3; 2], [f32; 2])> {
    let (mut ends, mut radii) = (shape.ends, shape.radii);
    let nearest = |i: usize| NEAR_M.max(1.2 * shape.radii[i]);
    for (i, j) in [(0, 1), (1, 0)] {
        if ends[i].z < nearest(i) {
            let (from, to) = (ends[i].z, shape.ends[j].z);
            if to <= nearest(i) {
                return None;
            }
            let part = (nearest(i) - from) / (to - from);
            ends[i] += (shape.ends[j] - ends[i]) * part;
            radii[i] += (shape.radii[j] - radii[i]) * part;
        }
    }
    Some((ends, radii))
}
