//! Soft shadows on the table.

use super::room::{LAMP, TABLE_MIN_M, TABLE_SIZE_M, TABLE_Z_M, W3};

/// Cell of the shadows [m].
const CELL_M: f32 = 0.008;

/// Shadows on the table: how much of the lamp's light is missing, in cells.
#[derive(Debug, Clone)]
pub struct Shadow {
    width: usize,
    dark: Vec<f32>,
    /// All that is dark lies between these places [m from the table's corner].
    reach: [[f32; 2]; 2],
}

const NO_REACH: [[f32; 2]; 2] = [[f32::MAX; 2], [f32::MIN; 2]];

impl Shadow {
    /// No shadow.
    pub fn new() -> Self {
        let count = |size: f32| (size / CELL_M) as usize + 2;
        let width = count(TABLE_SIZE_M[0]);
        let dark = vec![0.0; width * count(TABLE_SIZE_M[1])];
        Self {
            width,
            dark,
            reach: NO_REACH,
        }
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.dark.fill(0.0);
        self.reach = NO_REACH;
    }

    /// Adds the shadow of a capsule from `a` to `b` of a radius [m]: softer the higher it is.
    pub fn add(&mut self, a: &W3, b: &W3, radius: f32) {
        let height = ((a.z + b.z) * 0.5 - TABLE_Z_M).max(0.0);
        let fall = |p: &W3| {
            let h = (p.z - TABLE_Z_M) / LAMP[2];
            [
                p.x - LAMP[0] * h - TABLE_MIN_M[0],
                p.y - LAMP[1] * h - TABLE_MIN_M[1],
            ]
        };
        let soft = 0.008 + 0.10 * height;
        let strength = 1.0 / (1.0 + 1.6 * height);
        self.paint(fall(a), fall(b), radius, soft, strength);
    }

    fn paint(&mut self, a: [f32; 2], b: [f32; 2], radius: f32, soft: f32, strength: f32) {
        let reach = radius + soft;
        for k in 0..2 {
            self.reach[0][k] = self.reach[0][k].min(a[k].min(b[k]) - reach - CELL_M);
            self.reach[1][k] = self.reach[1][k].max(a[k].max(b[k]) + reach + CELL_M);
        }
        let height = self.dark.len() / self.width;
        let cells = |low: f32, high: f32, count: usize| {
            let cell = |x: f32| (x / CELL_M).clamp(0.0, count as f32) as usize;
            cell(low - reach)..cell(high + reach + CELL_M)
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let squared = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        for j in cells(a[1].min(b[1]), a[1].max(b[1]), height) {
            for i in cells(a[0].min(b[0]), a[0].max(b[0]), self.width) {
                let p = [i as f32 * CELL_M - a[0], j as f32 * CELL_M - a[1]];
                let part = ((p[0] * along[0] + p[1] * along[1]) / squared).clamp(0.0, 1.0);
                let distance = (p[0] - part * along[0]).hypot(p[1] - part * along[1]);
                let x = ((reach - distance) / (2.0 * soft)).clamp(0.0, 1.0);
                let dark = strength * x * x * (3.0 - 2.0 * x);
                let cell = &mut self.dark[j * self.width + i];
                // Overlapping shadows of one body are no darker than the darkest.
                *cell = cell.max(dark);
            }
        }
    }

    /// Whether a line between two places on the table [m from its corner] may be in shadow.
    pub fn may_touch(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        let [low, high] = self.reach;
        (0..2).all(|k| from[k].max(to[k]) >= low[k] && from[k].min(to[k]) <= high[k])
    }

    /// Share of the lamp's light missing at a place on the table [m from its corner].
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let [low, high] = self.reach;
        if x < low[0] || x > high[0] || y < low[1] || y > high[1] {
            return 0.0;
        }
        let (x, y) = ((x / CELL_M).max(0.0), (y / CELL_M).max(0.0));
        let (i, j) = (x as usize, y as usize);
        let at = j * self.width + i;
        let Some(upper) = self.dark.get(at..at + 2) else {
            return 0.0;
        };
        let Some(lower) = self.dark.get(at + self.width..at + self.width + 2) else {
            return 0.0;
        };
        let (s, t) = (x - i as f32, y - j as f32);
        let top = upper[0] + (upper[1] - upper[0]) * s;
        top + (lower[0] + (lower[1] - lower[0]) * s - top) * t
    }
}

/// Share of the light that stays on the table where the lamp is hidden by `dark`: the rest comes
/// from all around.
pub fn lit(dark: f32) -> f32 {
    1.0 - 0.58 * dark
}

/// A colour where `dark` of the lamp's light is missing.
pub fn darkened(colour: [u8; 3], dark: f32) -> [u8; 3] {
    let light = (256.0 * lit(dark)) as u32;
    colour.map(|channel| ((u32::from(channel) * light) >> 8) as u8)
}
