//! Textures made of noise and rules, with smaller copies for what is far.

/// Noise at whole numbers, 0 to 1, the same on every machine.
pub fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed;
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 / 16_777_216.0
}

/// Smooth noise, 0 to 1.
pub fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (i, j) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (s, t) = (ease(x - i), ease(y - j));
    let (i, j) = (i as i32, j as i32);
    let row = |j| hash(i, j, seed) * (1.0 - s) + hash(i + 1, j, seed) * s;
    row(j) * (1.0 - t) + row(j + 1) * t
}

/// A picture with halved copies of itself, four bytes a texel (blue, green, red, unused).
#[derive(Debug, Clone)]
pub struct Texture {
    levels: Vec<(Vec<u32>, usize, usize)>,
}

fn pack(bgr: [f32; 3]) -> u32 {
    let [b, g, r] = bgr.map(|x| x.clamp(0.0, 255.0) as u8);
    u32::from_le_bytes([b, g, r, 0])
}

/// Between two texels, `part` of 256 from `a` to `b`, all channels at once. No sum leaves its 16
/// bits, so nothing wraps; without the check the compiler does several at a time.
#[inline]
fn mix(a: u32, b: u32, part: u32) -> u32 {
    const ODD: u32 = 0x00FF_00FF;
    let rest = 256_u32.wrapping_sub(part);
    let weigh = |a: u32, b: u32| {
        (a & ODD)
            .wrapping_mul(rest)
            .wrapping_add((b & ODD).wrapping_mul(part))
    };
    ((weigh(a, b) >> 8) & ODD) | (weigh(a >> 8, b >> 8) & !ODD)
}

impl Texture {
    /// Of a size, with the colour (blue, green, red) of each texel (column, row).
    pub fn new(width: usize, height: usize, colour: impl Fn(usize, usize) -> [f32; 3]) -> Self {
        let texels = (0..width * height)
            .map(|i| pack(colour(i % width, i / width)))
            .collect();
        let mut levels: Vec<(Vec<u32>, usize, usize)> = vec![(texels, width, height)];
        while let Some((texels, width, height)) =
            levels.last().filter(|level| level.1.min(level.2) >= 8)
        {
            let (w, h) = (width / 2, height / 2);
            let half = (0..w * h).map(|i| {
                let at = i / w * 2 * width + i % w * 2;
                let upper = mix(texels[at], texels[at + 1], 128);
                mix(
                    upper,
                    mix(texels[at + width], texels[at + width + 1], 128),
                    128,
                )
            });
            levels.push((half.collect(), w, h));
        }
        Self { levels }
    }

    /// Level whose texels are half a pixel to a pixel wide, where a pixel is `footprint` texels of
    /// the finest level wide.
    pub fn level(&self, footprint: f32) -> usize {
        // The exponent of the number.
        let level = (footprint.max(1.0).to_bits() >> 23) as usize - 127;
        level.min(self.levels.len() - 1)
    }

    /// Texel (u, v) of the finest level as a place on another level, in 256ths of its texels,
    /// kept inside.
    pub fn place(&self, [u, v]: [f32; 2], level: usize) -> [i32; 2] {
        let (_, width, height) = &self.levels[level];
        let scale = 256.0 / (1u32 << level) as f32;
        let inside = |x: f32, count: usize| {
            (x * scale - 128.0).clamp(0.0, ((count - 1) * 256 - 1) as f32) as i32
        };
        [inside(u, *width), inside(v, *height)]
    }

    /// Colour at such a place.
    #[inline]
    pub fn at(&self, [u, v]: [i32; 2], level: usize) -> u32 {
        let (texels, width, _) = &self.levels[level];
        let at = (v >> 8) as usize * width + (u >> 8) as usize;
        let (upper, lower) = (&texels[at..at + 2], &texels[at + width..at + width + 2]);
        let (s, t) = ((u & 255) as u32, (v & 255) as u32);
        mix(mix(upper[0], upper[1], s), mix(lower[0], lower[1], s), t)
    }
}
