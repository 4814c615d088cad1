//! What is around the emulated hand: a room with a table, textured so that every motion of a camera
//! shows.

use nalgebra::Vector3;

use super::shadow::{Shadow, darkened, lit};
use super::texture::{Texture, hash, noise};

/// A point or direction in the world: x away from the wearer, y left, z up, origin on the floor [m].
pub type W3 = Vector3<f32>;

/// Height of the table's top [m].
pub const TABLE_Z_M: f32 = 0.74;
/// Corner of the table nearest to the wearer, on his right, x and y [m].
pub const TABLE_MIN_M: [f32; 2] = [-0.12, -0.95];
/// Size of the table along x and y [m].
pub const TABLE_SIZE_M: [f32; 2] = [1.25, 1.9];
/// The room's walls, floor and ceiling [m].
const ROOM_M: [[f32; 2]; 3] = [[-2.2, 3.4], [-2.8, 2.8], [0.0, 2.7]];
/// Metres per texel of table and room.
const TABLE_TEXEL_M: f32 = 0.001;
const ROOM_TEXEL_M: f32 = 0.01;

/// Direction towards the lamp, in the world (not of length 1).
pub const LAMP: [f32; 3] = [0.28, 0.42, 0.86];

/// The room.
#[derive(Debug, Clone)]
pub struct Room {
    table: Texture,
    /// Walls at low and high x, at low and high y, floor and ceiling.
    faces: [Texture; 6],
}

/// What a ray meets.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// Face of the room, or the table.
    face: usize,
    /// Place on it, in texels of its finest level.
    texel: [f32; 2],
    /// Level of its texture.
    level: usize,
}

/// The table, among the faces.
const TABLE: usize = 6;
/// Pixels of a row over which a place on a surface moves evenly enough.
const BLOCK: usize = 16;

impl Hit {
    /// The place on the table [m from its corner], if that is what was met.
    pub fn on_table(&self) -> Option<[f32; 2]> {
        (self.face == TABLE).then(|| self.texel.map(|x| x * TABLE_TEXEL_M))
    }
}

impl Room {
    /// Builds the pictures; `resting` is the shadow of what stands on the table for ever.
    pub fn new(resting: &Shadow) -> Self {
        let texels = |size: f32, texel: f32| (size / texel) as usize;
        let table = Texture::new(
            texels(TABLE_SIZE_M[0], TABLE_TEXEL_M),
            texels(TABLE_SIZE_M[1], TABLE_TEXEL_M),
            |u, v| {
                let (x, y) = (u as f32 * TABLE_TEXEL_M, v as f32 * TABLE_TEXEL_M);
                let bgr = table_colour(x, y);
                let light = lit(resting.at(x, y));
                bgr.map(|channel| channel * light)
            },
        );
        let size = ROOM_M.map(|[low, high]| high - low);
        let face = |axes: [usize; 2], kind: u32| {
            Texture::new(
                texels(size[axes[0]], ROOM_TEXEL_M),
                texels(size[axes[1]], ROOM_TEXEL_M),
                |u, v| face_colour(u as f32 * ROOM_TEXEL_M, v as f32 * ROOM_TEXEL_M, kind),
            )
        };
        let faces = [
            face([1, 2], 2),
            face([1, 2], 3),
            face([0, 2], 4),
            face([0, 2], 5),
            face([0, 1], 0),
            face([0, 1], 1),
        ];
        Self { table, faces }
    }

    /// What is met from `eye` along `ray` (any length), where a pixel is `angle` wide [rad].
    pub fn meet(&self, eye: &W3, ray: &W3, angle: f32) -> Hit {
        let per_length = ray.norm();
        if ray.z < -1e-4 {
            let far = (TABLE_Z_M - eye.z) / ray.z;
            let x = eye.x + far * ray.x - TABLE_MIN_M[0];
            let y = eye.y + far * ray.y - TABLE_MIN_M[1];
            let on = |x: f32, size: f32| x >= 0.0 && x < size;
            if far > 0.0 && on(x, TABLE_SIZE_M[0]) && on(y, TABLE_SIZE_M[1]) {
                // Between the pixel's narrow and long side on a slanted surface.
                let slant = (per_length / -ray.z).sqrt();
                let level = self
                    .table
                    .level(far * per_length * angle * slant / TABLE_TEXEL_M);
                let texel = [x / TABLE_TEXEL_M, y / TABLE_TEXEL_M];
                return Hit {
                    face: TABLE,
                    texel,
                    level,
                };
            }
        }
        // The room is a box seen from inside: the nearest of the three faces ahead.
        let (mut far, mut axis) = (f32::MAX, 0);
        for k in 0..3 {
            let wall = ROOM_M[k][usize::from(ray[k] > 0.0)];
            let distance = (wall - eye[k]) / ray[k];
            if distance < far {
                (far, axis) = (distance, k);
            }
        }
        let (u, v) = [(1, 2), (0, 2), (0, 1)][axis];
        let place = |k: usize| (eye[k] + far * ray[k] - ROOM_M[k][0]) / ROOM_TEXEL_M;
        let face = 2 * axis + usize::from(ray[axis] > 0.0);
        let level = self.faces[face].level(far * per_length * angle / ROOM_TEXEL_M);
        Hit {
            face,
            texel: [place(u), place(v)],
            level,
        }
    }

    fn texture(&self, face: usize) -> &Texture {
        self.faces.get(face).unwrap_or(&self.table)
    }

    /// Colour there (blue, green, red), with the moving shadows.
    pub fn colour(&self, hit: &Hit, shadow: &Shadow) -> [u8; 3] {
        let texture = self.texture(hit.face);
        let colour = texture.at(texture.place(hit.texel, hit.level), hit.level);
        let [b, g, r, _] = colour.to_le_bytes();
        match hit.on_table() {
            Some([x, y]) => darkened([b, g, r], shadow.at(x, y)),
            None => [b, g, r],
        }
    }

    /// Fills a row of pixels: the first along `ray`, each next one `step` further.
    pub fn row(
        &self,
        eye: &W3,
        ray: &W3,
        step: &W3,
        angle: f32,
        shadow: &Shadow,
        row: &mut [[u8; 3]],
    ) {
        let along = |x: usize| ray + step * x as f32;
        let mut first = self.meet(eye, ray, angle);
        for (i, block) in row.chunks_mut(BLOCK).enumerate() {
            let x = i * BLOCK;
            let next = self.meet(eye, &along(x + BLOCK), angle);
            if first.face == next.face {
                self.block(&first, &next, shadow, block);
            } else {
                for (k, pixel) in block.iter_mut().enumerate() {
                    *pixel = self.colour(&self.meet(eye, &along(x + k), angle), shadow);
                }
            }
            first = next;
        }
    }

    /// Fills up to [`BLOCK`] pixels that lie evenly between two hits on one surface.
    fn block(&self, first: &Hit, next: &Hit, shadow: &Shadow, block: &mut [[u8; 3]]) {
        let (texture, level) = (self.texture(first.face), first.level);
        let from = texture.place(first.texel, level);
        let to = texture.place(next.texel, level);
        let by = [0, 1].map(|k| (to[k] - from[k]) / BLOCK as i32);
        let mut place = from;
        for pixel in block.iter_mut() {
            let [b, g, r, _] = texture.at(place, level).to_le_bytes();
            *pixel = [b, g, r];
            place = [place[0] + by[0], place[1] + by[1]];
        }
        let (Some(from), Some(to)) = (first.on_table(), next.on_table()) else {
            return;
        };
        if shadow.may_touch(from, to) {
            for (k, pixel) in block.iter_mut().enumerate() {
                let part = k as f32 / BLOCK as f32;
                let [x, y] = [0, 1].map(|k| from[k] + (to[k] - from[k]) * part);
                *pixel = darkened(*pixel, shadow.at(x, y));
            }
        }
    }
}

/// Oak planks with a light mat of a 5 cm grid; metres from the table's corner.
fn table_colour(x: f32, y: f32) -> [f32; 3] {
    let mat = [x - 0.30, y - 0.55];
    let in_mat = (0.0..0.62).contains(&mat[0]) && (0.0..0.80).contains(&mat[1]);
    let pool = 1.05 - 0.22 * ((x - 0.55).powi(2) + (y - 1.0).powi(2));
    if in_mat {
        let edge = mat[0].min(0.62 - mat[0]).min(mat[1]).min(0.80 - mat[1]);
        let line = |step: f32| {
            let from = |x: f32| ((x / step).round() * step - x).abs();
            from(mat[0]).min(from(mat[1]))
        };
        let speck = 4.0 * (hash((x * 1000.0) as i32, (y * 1000.0) as i32, 5) - 0.5);
        let ink = if edge < 0.006 || line(0.05) < 0.0011 {
            0.62
        } else if line(0.01) < 0.0006 {
            0.90
        } else {
            1.0
        };
        return [196.0, 194.0, 182.0].map(|channel| (channel * ink + speck) * pool);
    }
    let plank = (y / 0.145).floor();
    let across = y / 0.145 - plank;
    let shift = hash(plank as i32, 1, 3) * 40.0;
    let tone = 0.90 + 0.16 * hash(plank as i32, 0, 3);
    let wave = noise(x * 3.0 + shift, y * 18.0, 7) * 9.0;
    let rings = 0.5 + 0.5 * ((y * 260.0 + wave * 5.0 + shift) * 0.55).sin();
    let fibre = noise(x * 22.0 + shift, y * 900.0, 9);
    let grain = 0.86 + 0.10 * rings + 0.10 * fibre;
    let joint = if across < 0.012 { 0.62 } else { 1.0 };
    [98.0, 146.0, 190.0].map(|channel| channel * tone * grain * joint * pool)
}

/// Floor (0), ceiling (1) and walls (2 to 5); metres from the face's corner, v up on walls.
fn face_colour(u: f32, v: f32, kind: u32) -> [f32; 3] {
    let speck = 3.0 * (hash((u * 100.0) as i32, (v * 100.0) as i32, kind) - 0.5);
    match kind {
        0 => {
            let tile = 0.40;
            let (i, j) = ((u / tile).floor(), (v / tile).floor());
            let tone = 96.0 + 26.0 * hash(i as i32, j as i32, 11);
            let gap = (u - i * tile).min(v - j * tile) < 0.018;
            // Under the table it is darker.
            let off = ((u - 2.7).abs() - 0.6)
                .max((v - 2.8).abs() - 0.9)
                .clamp(0.0, 0.7);
            let tone = (if gap { 70.0 } else { tone } + speck) * (0.45 + 0.75 * off);
            [tone * 1.06, tone, tone * 0.95]
        }
        1 => [236.0, 238.0, 238.0],
        _ => {
            let within = |u0: f32, v0: f32, w: f32, h: f32| {
                (u0..u0 + w).contains(&u) && (v0..v0 + h).contains(&v)
            };
            if v < 0.09 {
                return [96.0, 100.0, 104.0];
            }
            if kind == 3 || kind == 5 {
                let pane = within(1.0, 1.0, 1.5, 1.2) || within(3.1, 1.0, 1.5, 1.2);
                let frame = within(0.93, 0.93, 1.64, 1.34) || within(3.03, 0.93, 1.64, 1.34);
                if pane {
                    let sky = 205.0 + 40.0 * (v - 1.0);
                    return [sky + 12.0, sky, sky - 16.0];
                }
                if frame {
                    return [226.0, 228.0, 230.0];
                }
            } else if within(1.3, 0.4, 2.4, 1.7) {
                // Shelves with books.
                let (shelf, rest) = ((v - 0.4) / 0.34, ((v - 0.4) % 0.34) / 0.34);
                let book = (u * 19.0).floor() as i32;
                let tall = 0.55 + 0.35 * hash(book, shelf as i32, 21);
                if rest < 0.08 {
                    return [70.0, 96.0, 124.0];
                }
                if rest < tall {
                    let tint = |seed| 60.0 + 130.0 * hash(book, shelf as i32, seed);
                    return [tint(22), tint(23), tint(24)];
                }
                return [52.0, 60.0, 70.0];
            }
            let tone = 172.0 + 16.0 * v + speck;
            [tone * 0.97, tone, tone * 1.01]
        }
    }
}
