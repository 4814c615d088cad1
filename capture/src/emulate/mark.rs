//! The mark: the true capture time of an image, drawn into it, so that a test
//! (or a latency measurement) can read from any image when it was taken.
//!
//! Two rows of 24 square cells at the top of the image, centred, a cell being
//! one eighteenth of the height: 40 px and 960 of 1280 columns at 1280x720. It
//! survives the crop to the central 4:3, scaling to 320x240 and strong video
//! compression. 48 cells: 4 guards (also the reference for dark and bright), 32
//! bits of time in units of 100 µs, 12 check bits.

/// Cells in a row.
const COLUMNS: usize = 24;
/// Rows.
const ROWS: usize = 2;
/// Cells on the image's height.
const CELLS_IN_HEIGHT: f64 = 18.0;
/// Cell numbers, row by row, of the guards, and whether they are bright: the
/// four corners, crosswise.
const GUARDS: [(usize, bool); 4] = [(0, true), (23, false), (24, false), (47, true)];
/// Units of a second.
const UNITS_PER_S: f64 = 1e4;
/// Grey value of a dark cell.
pub const DARK: u8 = 32;
/// Grey value of a bright cell.
pub const BRIGHT: u8 = 224;
/// Least difference between bright and dark guards that is taken for a mark.
const MIN_CONTRAST: f64 = 48.0;
/// Share of the contrast by which a cell must be on its side of the middle.
const MARGIN: f64 = 0.1;

/// A time to be drawn into an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// Scene time of the capture [s], 0 to 429 496 s.
    pub t_s: f64,
}

impl Mark {
    /// The mark of a scene time [s].
    pub fn at(t_s: f64) -> Self {
        Self { t_s }
    }
}

/// One square of the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Left edge [pixel].
    pub x: u32,
    /// Top edge [pixel].
    pub y: u32,
    /// Width and height [pixel].
    pub size: u32,
    /// Whether to fill it with [`BRIGHT`] or with [`DARK`].
    pub bright: bool,
}

/// The squares to fill in an image of this size [pixel]; none where the image is
/// narrower than 4:3.
pub fn cells(mark: Mark, width: u32, height: u32) -> impl Iterator<Item = Cell> {
    let units = (mark.t_s.max(0.0) * UNITS_PER_S)
        .round()
        .min(f64::from(u32::MAX)) as u32;
    let bits = bits_of(units);
    let layout = Layout::of(width, height);
    bits.into_iter()
        .enumerate()
        .filter_map(move |(index, bright)| {
            let Layout { left, cell } = layout?;
            let edge = |at: f64| at.round() as u32;
            let (column, row) = ((index % COLUMNS) as f64, (index / COLUMNS) as f64);
            let (x, y) = (edge(left + column * cell), edge(row * cell));
            let size = (edge(left + (column + 1.0) * cell) - x).max(edge((row + 1.0) * cell) - y);
            Some(Cell { x, y, size, bright })
        })
}

/// Reads the mark of a grey image (one byte a pixel, row by row), drawn at any
/// size and perhaps cropped to 4:3 and scaled since: scene time of the capture
/// [s], or `None` where there is no mark or it is damaged.
pub fn read(gray: &[u8], width: u32, height: u32) -> Option<f64> {
    if gray.len() != width as usize * height as usize {
        return None;
    }
    let Layout { left, cell } = Layout::of(width, height)?;
    let level = |index: usize| {
        let (column, row) = ((index % COLUMNS) as f64, (index / COLUMNS) as f64);
        // The inner 60 %: neighbours bleed in when an image is scaled.
        let inner = |start: f64| {
            let first = (start + 0.2 * cell).round() as usize;
            first..((start + 0.8 * cell).round() as usize).max(first + 1)
        };
        let (mut sum, mut count) = (0_u64, 0_u64);
        for y in inner(row * cell) {
            for x in inner(left + column * cell) {
                sum += u64::from(*gray.get(y * width as usize + x)?);
                count += 1;
            }
        }
        Some(sum as f64 / count as f64)
    };
    let levels: Vec<f64> = (0..ROWS * COLUMNS).map(level).collect::<Option<_>>()?;
    let guards = |bright| {
        GUARDS
            .iter()
            .filter(move |guard| guard.1 == bright)
            .map(|&(at, _)| levels[at])
    };
    let lowest_bright = guards(true).fold(f64::INFINITY, f64::min);
    let highest_dark = guards(false).fold(f64::NEG_INFINITY, f64::max);
    let contrast = lowest_bright - highest_dark;
    if contrast < MIN_CONTRAST {
        return None;
    }
    let middle = (lowest_bright + highest_dark) / 2.0;
    if levels
        .iter()
        .any(|level| (level - middle).abs() < MARGIN * contrast)
    {
        return None;
    }
    let bits = levels.iter().map(|&level| level > middle);
    let units = payload(bits.clone());
    bits.eq(bits_of(units))
        .then(|| f64::from(units) / UNITS_PER_S)
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    left: f64,
    cell: f64,
}

impl Layout {
    fn of(width: u32, height: u32) -> Option<Self> {
        let cell = f64::from(height) / CELLS_IN_HEIGHT;
        let left = (f64::from(width) - COLUMNS as f64 * cell) / 2.0;
        // One pixel of a 4:3 crop may be lost to rounding.
        (cell >= 4.0 && left > -1.0).then(|| Self {
            left: left.max(0.0),
            cell,
        })
    }
}

/// Time, then check bits, most significant first, around the guards.
fn bits_of(units: u32) -> [bool; ROWS * COLUMNS] {
    let word = u64::from(units) << 12 | u64::from(check_bits(units));
    let mut next = 44;
    std::array::from_fn(|index| match GUARDS.iter().find(|guard| guard.0 == index) {
        Some(&(_, bright)) => bright,
        None => {
            next -= 1;
            word >> next & 1 == 1
        }
    })
}

fn payload(bits: impl Iterator<Item = bool>) -> u32 {
    bits.enumerate()
        .filter(|(index, _)| GUARDS.iter().all(|guard| guard.0 != *index))
        .take(32)
        .fold(0, |units, (_, bit)| units << 1 | u32::from(bit))
}

/// CRC-12 with polynomial x¹² + x¹¹ + x³ + x² + x + 1, starting from all ones so
/// that an all-dark mark is no time.
fn check_bits(units: u32) -> u16 {
    (0..32).rev().fold(0xFFF, |crc: u16, at| {
        let feedback = (crc >> 11 & 1) ^ (units >> at & 1) as u16;
        (crc << 1 & 0xFFF) ^ (0x80F * feedback)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(t_s: f64, width: u32, height: u32, ground: u8) -> Vec<u8> {
        let mut gray = vec![ground; (width * height) as usize];
        for cell in cells(Mark::at(t_s), width, height) {
            for y in cell.y..(cell.y + cell.size).min(height) {
                let row = (y * width) as usize;
                let right = (cell.x + cell.size).min(width);
                gray[row + cell.x as usize..row + right as usize].fill(if cell.bright {
                    BRIGHT
                } else {
                    DARK
                });
            }
        }
        gray
    }

    /// Central 4:3 of a 1280x720 image, mean of each 3x3 block: 320x240.
    fn cropped_and_scaled(gray: &[u8]) -> Vec<u8> {
        (0..240 * 320)
            .map(|pixel| {
                let (x, y) = (160 + pixel % 320 * 3, pixel / 320 * 3);
                let sum: u32 = (0..9)
                    .map(|i| u32::from(gray[(y + i / 3) * 1280 + x + i % 3]))
                    .sum();
                (sum / 9) as u8
            })
            .collect()
    }

    #[test]
    fn the_mark_covers_the_central_960_columns() {
        let all: Vec<_> = cells(Mark::at(1.0), 1280, 720).collect();
        assert_eq!(all.len(), 48);
        assert!(all.iter().all(|cell| cell.size == 40));
        assert_eq!((all[0].x, all[0].y), (160, 0));
        assert_eq!((all[47].x + 40, all[47].y + 40), (1120, 80));
    }

    #[test]
    fn an_image_without_a_mark_has_no_time() {
        for ground in [0, 128, 255] {
            assert_eq!(read(&vec![ground; 640 * 480], 640, 480), None);
        }
        assert_eq!(read(&[0; 100], 640, 480), None);
        assert_eq!(cells(Mark::at(1.0), 100, 720).count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_reads_at_any_size(units: u32, height in 100_u32..800, wide: bool, ground: u8) {
            let width = if wide { height * 16 / 9 } else { height * 4 / 3 };
            let t_s = f64::from(units) / UNITS_PER_S;
            prop_assert_eq!(read(&drawn(t_s, width, height, ground), width, height), Some(t_s));
        }

        #[test]
        fn it_survives_crop_scaling_and_noise(units: u32, ground: u8, seed: u64) {
            let t_s = f64::from(units) / UNITS_PER_S;
            let mut small = cropped_and_scaled(&drawn(t_s, 1280, 720, ground));
            let mut state = seed | 1;
            for pixel in &mut small {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 33) as i32 % 41 - 20;
                *pixel = (i32::from(*pixel) + noise).clamp(0, 255) as u8;
            }
            prop_assert_eq!(read(&small, 320, 240), Some(t_s));
        }

        #[test]
        fn a_damaged_one_is_refused(units: u32, damaged in proptest::collection::btree_set(0_usize..48, 1..4)) {
            // CRC-12 with this polynomial sees all errors of 1 to 3 bits.
            let (width, height) = (1280, 720);
            let t_s = f64::from(units) / UNITS_PER_S;
            let mut gray = drawn(t_s, width, height, 128);
            for (index, cell) in cells(Mark::at(t_s), width, height).enumerate() {
                if damaged.contains(&index) {
                    for y in cell.y..cell.y + cell.size {
                        for x in cell.x..cell.x + cell.size {
                            gray[(y * width + x) as usize] = if cell.bright { DARK } else { BRIGHT };
                        }
                    }
                }
            }
            prop_assert_eq!(read(&gray, width, height), None);
        }
    }
}
