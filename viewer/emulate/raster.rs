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
const LANES: usize = 16;
/// Their places.
const STEPS: [f32; LANES] = [
    0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
];

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

    /// Colour (blue, green, red) where the unit normal is `normal`. Lambert's and Blinn's laws,
    /// with a bright rim.
    #[inline]
    pub fn colour(&self, normal: &V3) -> [u8; 3] {
        let lamp = normal.dot(&self.light.lamp).max(0.0);
        let sky = 0.5 + 0.5 * normal.dot(&self.light.up);
        let facing = (-normal.dot(&self.view)).clamp(0.0, 1.0);
        let diffuse = 0.20 + 0.22 * sky + 0.50 * lamp + 0.38 * facing;
        let (shine, away) = (normal.dot(&self.halfway).max(0.0), 1.0 - facing);
        let (shine, front) = (shine.powi(28) * 0.62, facing.powi(16) * 0.12);
        let added = shine + front + away * away * away * (0.10 + 0.22 * sky);
        let added = 255.0 * self.material.gloss * added;
        self.material
            .bgr
            .map(|channel| (channel * diffuse + added).min(255.0) as u8)
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
        // Normal of the side on its ridge: perpendicular to the axis, towards the camera.
        let ridge = ahead * lean - out * upright;
        let shader = Shader::new(&shape.material, light, &out);
        let shades: [[u8; 3]; SHADES] = std::array::from_fn(|i| {
            let n = (i as f32 + 0.5) * (2.0 / SHADES as f32) - 1.0;
            let normal = aside * n + ridge * (1.0 - n * n).sqrt();
            shader.colour(&normal)
        });
        let (inv_length, rmax) = (
            if length > 1e-3 { 1.0 / length } else { 0.0 },
            ra.max(rb) + 1.0,
        );
        let rows = pixels(
            (a[1] - ra).min(b[1] - rb) - 1.0,
            (a[1] + ra).max(b[1] + rb) + 1.0,
            self.height,
        );
        for y in rows {
            let dy = y as f32 - a[1];
            let (u_row, d_row) = (dy * e[1] - a[0] * e[0], dy * e[0] + a[0] * e[1]);
            let span = narrow((0.0, self.width as f32), d_row, -e[1], -rmax, rmax);
            let span = narrow(span, u_row, e[0], -ra - 1.0, length + rb + 1.0);
            let columns = pixels(span.0, span.1, self.width);
            let row = y * self.width;
            let bgr = &mut self.bgr[row..row + self.width][columns.clone()];
            let nearness = &mut self.nearness[row..row + self.width][columns.clone()];
            let blocks = bgr.chunks_mut(LANES).zip(nearness.chunks_mut(LANES));
            for ((bgr, nearness), x) in blocks.zip(columns.step_by(LANES)) {
                // The side of the shape, without branches: the compiler does four at a time.
                let (mut sides, mut places, mut covers) =
                    ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                let mut heres = [0.0; LANES];
                let x = x as f32;
                for k in 0..LANES {
                    let (u, d) = (u_row + (x + STEPS[k]) * e[0], d_row - (x + STEPS[k]) * e[1]);
                    let r = ra + (rb - ra) * (u * inv_length).max(0.0).min(1.0);
                    let n = d / r;
                    let bulge = (1.0 - n * n).max(0.0).sqrt();
                    let s = u - r * bulge * lean;
                    let part = (s * inv_length).max(0.0).min(1.0);
                    let middle = near[0] + (near[1] - near[0]) * part;
                    let radius = radii[0] + (radii[1] - radii[0]) * part;
                    heres[k] = middle + middle * middle * radius * bulge * upright;
                    covers[k] = r - d.abs() + 0.5;
                    (sides[k], places[k]) = (n, s);
                }
                for (k, (pixel, nearest)) in bgr.iter_mut().zip(nearness).enumerate() {
                    let s = places[k];
                    if s >= 0.0 && s <= length || !shape.round_ends {
                        let mut cover = covers[k];
                        if !shape.round_ends {
                            // The far end reaches a little further, under the rim of a cup: seen
                            // from close by, that is not quite where parallel rays have it.
                            cover = cover.min(s + 0.5).min(length - s + 0.5 + 0.05 * rb);
                        }
                        if cover > 0.0 && heres[k] > *nearest {
                            let shade = ((sides[k] + 1.0) * (SHADES as f32 / 2.0)) as usize;
                            blend(pixel, shades[shade.min(SHADES - 1)], cover);
                            if cover > 0.5 {
                                *nearest = heres[k];
                            }
                        }
                        continue;
                    }
                    let (u, d) = (u_row + (x + STEPS[k]) * e[0], d_row - (x + STEPS[k]) * e[1]);
                    let i = usize::from(s > length);
                    let (from_end, r) = if i == 0 { (u, ra) } else { (u - length, rb) };
                    let (n_ahead, n_aside) = (from_end / r, d / r);
                    let squared = n_ahead * n_ahead + n_aside * n_aside;
                    let bulge = (1.0 - squared).max(0.0).sqrt();
                    let here = near[i] + near[i] * near[i] * radii[i] * bulge;
                    if here <= *nearest {
                        continue;
                    }
                    let cover = r * (1.0 - squared.sqrt()) + 0.5;
                    if cover > 0.0 {
                        let normal = ahead * n_ahead + aside * n_aside - out * bulge;
                        blend(pixel, shader.colour(&normal), cover);
                        if cover > 0.5 {
                            *nearest = here;
                        }
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
