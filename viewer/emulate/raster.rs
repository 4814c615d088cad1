//! A small software renderer: capsules, tapered cylinders and convex polygons, smoothly shaded,
//! anti-aliased, with a depth buffer.
//!
//! A round shape is drawn exactly as a parallel projection along the ray to its middle would show
//! it, with its radius and depth following the perspective along its axis. That is within a pixel
//! or two of the true outline for shapes as small as a finger, and needs no division or trigonometry
//! per pixel beyond one reciprocal and one square root.

use nalgebra::Vector3;

/// A point or direction in camera axes: x right, y down, z forward [m].
pub type V3 = Vector3<f32>;

/// Nothing nearer than this is drawn [m].
const NEAR_M: f32 = 0.02;
/// Steps of the shading across a round shape.
const SHADES: usize = 128;
/// Pixels of a row that are worked out together.
const LANES: usize = 64;

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
    fn project(&self, point: &V3) -> [f32; 2] {
        [
            self.focal[0] * point.x / point.z + self.centre[0],
            self.focal[1] * point.y / point.z + self.centre[1],
        ]
    }
}

/// What a surface looks like.
#[derive(Debug, Clone, Copy)]
pub struct Material {
    /// Colour, blue, green, red, 0 to 255.
    pub bgr: [f32; 3],
    /// Strength of the highlight, 0 to 1.
    pub gloss: f32,
}

/// Light in camera axes: one lamp, sky above and floor below, and a weak light at the camera.
#[derive(Debug, Clone, Copy)]
pub struct Light {
    /// Unit vector towards the lamp.
    pub lamp: V3,
    /// Unit vector upwards in the world.
    pub up: V3,
}

/// A surface under a light, seen along one direction.
#[derive(Debug, Clone, Copy)]
pub struct Shader {
    material: Material,
    light: Light,
    /// Unit vector away from the camera.
    view: V3,
    /// Unit vector between the lamp and the camera.
    halfway: V3,
}

impl Shader {
    /// For a surface seen along `view`, a unit vector away from the camera.
    pub fn new(material: &Material, light: &Light, view: &V3) -> Self {
        let halfway = (light.lamp - view)
            .try_normalize(1e-6)
            .unwrap_or(light.lamp);
        Self {
            material: *material,
            light: *light,
            view: *view,
            halfway,
        }
    }

    /// Colour (blue, green, red) where the unit normal is `normal`.
    pub fn colour(&self, normal: &V3) -> [u8; 3] {
        let lamp = normal.dot(&self.light.lamp);
        let up = normal.dot(&self.light.up);
        let tone = tone(lamp, up, -normal.dot(&self.view), normal.dot(&self.halfway));
        self.material.toned(tone)
    }
}

/// How bright a surface is, and how much white is added, as multiples of its gloss: Lambert's and
/// Blinn's laws, with a bright rim. All are cosines of its normal: to the lamp, upwards, to the
/// camera, and half-way between lamp and camera.
#[inline(always)]
fn tone(lamp: f32, up: f32, facing: f32, shine: f32) -> (f32, f32) {
    let (lamp, facing, shine) = (
        at_least(0.0, lamp),
        at_least(0.0, facing),
        at_least(0.0, shine),
    );
    let sky = 0.5 + 0.5 * up;
    let away = at_least(0.0, 1.0 - facing);
    let square = |x: f32| x * x;
    let (shine4, facing4) = (square(square(shine)), square(square(facing)));
    let (shine8, front) = (square(shine4), square(square(facing4)));
    let shine28 = square(shine8) * shine8 * shine4;
    let added = 0.62 * shine28 + 0.12 * front + away * away * away * (0.10 + 0.22 * sky);
    (0.20 + 0.22 * sky + 0.50 * lamp + 0.38 * facing, added)
}

/// The greater; unlike `max`, one instruction, as no number here is not a number.
#[inline(always)]
fn at_least(low: f32, x: f32) -> f32 {
    if x > low { x } else { low }
}

impl Material {
    fn toned(&self, (bright, added): (f32, f32)) -> [u8; 3] {
        let added = 255.0 * self.gloss * added;
        // The conversion saturates.
        self.bgr.map(|channel| (channel * bright + added) as u8)
    }
}

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
fn pixels(low: f32, high: f32, count: usize) -> std::ops::Range<usize> {
    let start = low.ceil().max(0.0) as usize;
    let end = (high.floor() + 1.0).clamp(0.0, count as f32) as usize;
    start.min(end)..end
}

/// Numbers x with |offset + slope·x| ≤ bound, widened a little, within `range`.
fn narrow(range: (f32, f32), offset: f32, slope: f32, low: f32, high: f32) -> (f32, f32) {
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
        let Some((ends, radii)) = before_camera(shape) else {
            return;
        };
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
        let side = Side {
            a,
            e,
            length,
            inv_length: if length > 1e-3 { 1.0 / length } else { 0.0 },
            pixel_radii: [ra, rb],
            radii,
            near,
            lean,
            upright,
            light: [light.lamp, light.up, halfway]
                .map(|to| [to.dot(&aside), to.dot(&ahead), -to.dot(&out)]),
        };
        let shades: [[u8; 3]; SHADES] = std::array::from_fn(|i| {
            let n = (i as f32 + 0.5) * (2.0 / SHADES as f32) - 1.0;
            let bulge = (1.0 - n * n).sqrt();
            let tone = side.tone([n, bulge * lean, bulge * upright]);
            shape.material.toned(tone)
        });
        let none = [0.0; LANES];
        let mut lanes = Lanes { along: none, aside: none, cover: none, here: none };
        let (low, high) = ((a[1] - ra).min(b[1] - rb), (a[1] + ra).max(b[1] + rb));
        for y in pixels(low - 1.0, high + 1.0, self.height) {
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
                        let met = side.end(s > length, (x + k) as f32, y as f32);
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

/// A round shape as it lies in the image.
struct Side {
    /// First end, and unit vector towards the other [pixel].
    a: [f32; 2],
    e: [f32; 2],
    /// Distance of the ends, and one over it [pixel]; 0 and 0 for a ball.
    length: f32,
    inv_length: f32,
    /// Radii at the ends, in the image [pixel] and in space [m].
    pixel_radii: [f32; 2],
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
struct Lanes {
    /// Place along the shape [pixel]; below 0 or above its length they meet an end instead.
    along: [f32; LANES],
    /// Part of the normal across the shape.
    aside: [f32; LANES],
    /// Share of the pixel that is covered; above 1 inside, below 0 outside.
    cover: [f32; LANES],
    /// One over the depth [1/m].
    here: [f32; LANES],
}

/// Where a ray meets a round end.
struct End {
    /// See [`Lanes`].
    cover: f32,
    here: f32,
    /// Aside, ahead and towards the camera.
    normal: [f32; 3],
}

impl Side {
    /// Columns in which a row may meet the shape.
    fn columns(&self, y: f32, width: usize) -> std::ops::Range<usize> {
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
    fn fill(&self, x: f32, y: f32, count: usize, lanes: &mut Lanes) {
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

    /// The first or the last end at a pixel.
    #[inline(always)]
    fn end(&self, last: bool, x: f32, y: f32) -> End {
        let (u, d) = self.along_and_across(x, y);
        let i = usize::from(last);
        let (from_end, r) = (if last { u - self.length } else { u }, self.pixel_radii[i]);
        let (ahead, aside) = (from_end / r, d / r);
        let squared = ahead * ahead + aside * aside;
        let facing = at_least(0.0, 1.0 - squared).sqrt();
        End {
            cover: r * (1.0 - squared.sqrt()) + 0.5,
            here: self.near[i] + self.near[i] * self.near[i] * self.radii[i] * facing,
            normal: [aside, ahead, facing],
        }
    }

    /// See [`tone`]; for a normal aside, ahead and towards the camera.
    #[inline(always)]
    fn tone(&self, normal: [f32; 3]) -> (f32, f32) {
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
