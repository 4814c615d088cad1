//! How a picture moves: the shift of each part that makes one image most like the next.

use std::ops::Range;

/// Iterations on each level of the pyramid.
const ITERATIONS: usize = 3;

/// Brightness of an image, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    width: usize,
    height: usize,
    pixels: Vec<f32>,
}

impl Plane {
    /// Of bytes, each pixel the mean of its 3 x 3 neighbourhood: noise and JPEG's blocks go.
    pub(crate) fn smooth(width: usize, height: usize, bytes: &[u8]) -> Self {
        let around = |at: usize, size: usize| at.saturating_sub(1)..(at + 2).min(size);
        let mut pixels = Vec::with_capacity(width * height);
        let mut columns = vec![0.0_f32; width];
        for y in 0..height {
            let rows = around(y, height);
            columns.fill(0.0);
            for row in rows.clone() {
                for (sum, &byte) in columns.iter_mut().zip(&bytes[row * width..][..width]) {
                    *sum += f32::from(byte);
                }
            }
            pixels.extend((0..width).map(|x| {
                let beside = around(x, width);
                let count = (beside.len() * rows.len()) as f32;
                columns[beside].iter().sum::<f32>() / count
            }));
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    fn half(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 2 * y * self.width + 2 * x;
                let row = |at: usize| self.pixels[at] + self.pixels[at + 1];
                pixels.push(0.25 * (row(at) + row(at + self.width)));
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Whether both have the same size.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.width, self.height) == (other.width, other.height)
    }
}

/// Parts into which a picture is cut: columns, rows.
const TILES: [usize; 2] = [4, 3];
/// How many numbers say how a picture moved.
pub(crate) const SHIFTS: usize = 2 * TILES[0] * TILES[1];

/// Shift of each part of the picture from `then` to `now` [pixel], x to the right and y down, tile by
/// tile: by least squares over its pixels, from coarse to fine (B. Lucas, T. Kanade, "An iterative
/// image registration technique", IJCAI 1981). Where only a part of a tile moves, it is that
/// part's share of its contrast times its shift. A change of all brightness moves nothing.
pub(crate) fn shifts(then: &Plane, now: &Plane) -> [f64; SHIFTS] {
    let whole = |plane: &Plane| (0..plane.width, 0..plane.height);
    let (then2, now2) = (then.half(), now.half());
    let (then4, now4) = (then2.half(), now2.half());
    let coarse = refine(&then4, &now4, whole(&then4), [0.0; 2]);
    let middle = refine(&then2, &now2, whole(&then2), coarse.map(|d| 2.0 * d));
    let fine = refine(then, now, whole(then), middle.map(|d| 2.0 * d));
    let mut shifts = [0.0; SHIFTS];
    for row in 0..TILES[1] {
        for column in 0..TILES[0] {
            let part = |size: usize, of: usize, at: usize| at * size / of..(at + 1) * size / of;
            let tile = (
                part(then.width, TILES[0], column),
                part(then.height, TILES[1], row),
            );
            let d = refine(then, now, tile, fine);
            let at = 2 * (row * TILES[0] + column);
            shifts[at] = f64::from(d[0]);
            shifts[at + 1] = f64::from(d[1]);
        }
    }
    shifts
}

/// Those of some columns or rows that lie between two of `size` after a shift by whole ones.
fn inside(of: &Range<usize>, shift: isize, size: usize) -> Range<usize> {
    let least = 0_isize.saturating_sub(shift).max(0) as usize;
    let most = (size as isize - 1).saturating_sub(shift).max(0) as usize;
    let start = of.start.max(least).min(of.end);
    start..of.end.min(most).max(start)
}

/// Pixels that are summed side by side.
const LANES: usize = 8;

/// Sums over pixels of the slopes to the right and down and of what changed: their products and
/// themselves.
#[derive(Default)]
struct Sums([[f32; LANES]; 8]);

impl Sums {
    #[inline(always)]
    fn add(&mut self, lane: usize, gx: f32, gy: f32, change: f32) {
        let terms = [
            gx * gx,
            gx * gy,
            gy * gy,
            gx * change,
            gy * change,
            gx,
            gy,
            change,
        ];
        for (sum, term) in self.0.iter_mut().zip(terms) {
            sum[lane] += term;
        }
    }

    fn total(&self) -> [f64; 8] {
        self.0
            .map(|lanes| lanes.iter().map(|&lane| f64::from(lane)).sum())
    }
}

fn refine(
    then: &Plane,
    now: &Plane,
    (columns, rows): (Range<usize>, Range<usize>),
    mut d: [f32; 2],
) -> [f32; 2] {
    let (width, height) = (then.width, then.height);
    if width < 4 || height < 4 {
        return d;
    }
    let (columns, rows) = (
        columns.start.max(1)..columns.end.min(width - 1),
        rows.start.max(1)..rows.end.min(height - 1),
    );
    for _ in 0..ITERATIONS {
        // All pixels move by as many whole ones and by the same part of one.
        let whole = d.map(|d| d.floor() as isize);
        let part = [d[0] - whole[0] as f32, d[1] - whole[1] as f32];
        let [columns, rows] = [
            inside(&columns, whole[0], width),
            inside(&rows, whole[1], height),
        ];
        if columns.is_empty() || rows.is_empty() {
            return d;
        }
        let mut sums = Sums::default();
        let count = (columns.len() * rows.len()) as f64;
        for y in rows {
            let line = |y: usize| &then.pixels[y * width..][columns.clone()];
            let around = &then.pixels[y * width..][columns.start - 1..columns.end + 1];
            let from = y.wrapping_add_signed(whole[1]) * width
                + columns.start.wrapping_add_signed(whole[0]);
            let (here, over, under) = (line(y), line(y - 1), line(y + 1));
            let seen = &now.pixels[from..][..columns.len() + 1];
            let below = &now.pixels[from + width..][..columns.len() + 1];
            let mix = |pair: &[f32], at: usize| pair[at] + part[0] * (pair[at + 1] - pair[at]);
            let mut at = 0;
            while at < here.len() {
                let most = (here.len() - at).min(LANES);
                for lane in 0..most {
                    let x = at + lane;
                    let (upper, lower) = (mix(seen, x), mix(below, x));
                    sums.add(
                        lane,
                        0.5 * (around[x + 2] - around[x]),
                        0.5 * (under[x] - over[x]),
                        upper + part[1] * (lower - upper) - here[x],
                    );
                }
                at += LANES;
            }
        }
        let [xx, xy, yy, xt, yt, sx, sy, st] = sums.total();
        if count < 16.0 {
            return d;
        }
        // Without the mean: lamps flicker, exposure follows.
        let (xt, yt) = (xt - sx * st / count, yt - sy * st / count);
        // A little stiffness: a picture of nothing does not move.
        let (xx, yy) = (xx + 0.02 * count, yy + 0.02 * count);
        let determinant = xx * yy - xy * xy;
        let step = [
            -(yy * xt - xy * yt) / determinant,
            -(xx * yt - xy * xt) / determinant,
        ];
        let most = 0.25 * width as f64;
        for axis in 0..2 {
            d[axis] = (f64::from(d[axis]) + step[axis]).clamp(-most, most) as f32;
        }
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(dx: f64, dy: f64, light: f64) -> Plane {
        let (width, height) = (80, 60);
        let bytes: Vec<u8> = (0..width * height)
            .map(|at| {
                let (x, y) = ((at % width) as f64 - dx, (at / width) as f64 - dy);
                let waves = (0.21 * x + 0.13 * y).sin() + (0.33 * y - 0.1 * x).cos();
                (128.0 + light + 40.0 * waves) as u8
            })
            .collect();
        Plane::smooth(width, height, &bytes)
    }

    #[test]
    fn a_picture_that_is_shifted_says_by_how_much() {
        for (dx, dy) in [(0.0, 0.0), (0.4, -0.2), (2.5, 1.5), (-6.0, 3.0)] {
            let shifts = shifts(&picture(0.0, 0.0, 0.0), &picture(dx, dy, 9.0));
            for part in shifts.chunks(2) {
                let off = (part[0] - dx).abs().max((part[1] - dy).abs());
                assert!(off < 0.3, "{dx} {dy}: {part:?}");
            }
        }
    }
}
