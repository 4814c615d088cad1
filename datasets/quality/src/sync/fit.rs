//! How well the motion in images goes with a known one, at one lag.

use dexumi_episode::Delta;
use nalgebra::DMatrix;

use super::{BLOCKS, Pair, reference::Reference};
use crate::flow::SHIFTS;

/// Motion beyond so many medians counts as that much: one bad image shall not decide.
const MOST_MEDIANS: f64 = 6.0;

/// The image's motion of each pair, without what is far out of what that part usually does.
pub(super) fn tamed(pairs: &[Pair]) -> Vec<[f64; SHIFTS]> {
    let mut tamed: Vec<[f64; SHIFTS]> = pairs.iter().map(|pair| pair.moved).collect();
    for part in 0..SHIFTS {
        let mut sizes: Vec<f64> = tamed.iter().map(|moved| moved[part].abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let most = MOST_MEDIANS * sizes[sizes.len() / 2].max(1e-3);
        for moved in &mut tamed {
            moved[part] = moved[part].clamp(-most, most);
        }
    }
    tamed
}

/// How well a reference explains the image at one lag.
pub(super) struct Fit {
    /// Mean size of what is left unexplained, over that of the motion itself, block by block: sums
    /// of both for each part of the picture.
    pub left: Vec<[f64; SHIFTS]>,
    pub motion: Vec<[f64; SHIFTS]>,
    /// Pairs that have a counterpart at this lag.
    count: usize,
    /// For what each number of the reference counts, for each part of the picture.
    pub coefficients: Vec<[f64; SHIFTS]>,
    /// The multiple correlation of the part that is explained best.
    pub correlation: f64,
}

/// Least squares of each part's motion on the reference's; `None` where too little is known.
pub(super) fn fit(
    reference: &Reference,
    pairs: &[Pair],
    seen: &[[f64; SHIFTS]],
    lag_s: f64,
) -> Option<Fit> {
    // With a 1, for a camera that drifts.
    let n = reference.dimensions + 1;
    let lag = Delta::from_secs_f64(lag_s);
    let mut rows: Vec<f64> = Vec::with_capacity(pairs.len() * n);
    let mut known: Vec<usize> = Vec::with_capacity(pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        let begin = rows.len();
        if reference.change(pair.from - lag, pair.to - lag, &mut rows) {
            rows.push(1.0);
            known.push(index);
        } else {
            rows.truncate(begin);
        }
    }
    // A lag at which half of the images have no counterpart says little.
    if 2 * known.len() < pairs.len() || known.len() < 4 * n {
        return None;
    }
    let mut xx = vec![0.0; n * n];
    let mut xy = vec![[0.0; SHIFTS]; n];
    let mut sums = [0.0; SHIFTS];
    for (x, &index) in rows.chunks_exact(n).zip(&known) {
        for ((&of_row, squares), products) in x.iter().zip(xx.chunks_exact_mut(n)).zip(&mut xy) {
            for (square, of_column) in squares.iter_mut().zip(x) {
                *square += of_row * of_column;
            }
            for (product, y) in products.iter_mut().zip(&seen[index]) {
                *product += of_row * y;
            }
        }
        for (sum, y) in sums.iter_mut().zip(&seen[index]) {
            *sum += y;
        }
    }
    // As little stiffness as keeps what does not move out of it.
    let mut xx = DMatrix::from_row_slice(n, n, &xx);
    let scale: Vec<f64> = (0..n).map(|i| 1.0 / (xx[(i, i)] + 1e-12).sqrt()).collect();
    for (i, &of_row) in scale.iter().enumerate() {
        for (j, &of_column) in scale.iter().enumerate() {
            xx[(i, j)] *= of_row * of_column;
        }
        xx[(i, i)] += 1e-9;
    }
    let scaled = DMatrix::from_fn(n, SHIFTS, |i, part| xy[i][part] * scale[i]);
    let solved = xx.cholesky()?.solve(&scaled);
    let coefficients: Vec<[f64; SHIFTS]> = (0..n)
        .map(|i| std::array::from_fn(|part| solved[(i, part)] * scale[i]))
        .collect();
    let count = known.len() as f64;
    let mut left = vec![[0.0; SHIFTS]; BLOCKS];
    let mut motion = vec![[0.0; SHIFTS]; BLOCKS];
    let (mut unexplained, mut all) = ([0.0; SHIFTS], [0.0; SHIFTS]);
    for (x, &index) in rows.chunks_exact(n).zip(&known) {
        let block = index * BLOCKS / pairs.len();
        let explained = explained(x, &coefficients);
        let (left, motion) = (&mut left[block], &mut motion[block]);
        for part in 0..SHIFTS {
            let about = seen[index][part] - sums[part] / count;
            let rest = seen[index][part] - explained[part];
            left[part] += rest.abs();
            motion[part] += about.abs();
            unexplained[part] += rest * rest;
            all[part] += about * about;
        }
    }
    // Without what any reference of as many numbers explains by chance.
    let chance = (count - 1.0) / (count - n as f64);
    let correlation = (0..SHIFTS)
        .filter(|part| all[*part] > 0.0)
        .map(|part| {
            (1.0 - chance * unexplained[part] / all[part])
                .max(0.0)
                .sqrt()
        })
        .fold(0.0, f64::max);
    Some(Fit {
        left,
        motion,
        count: known.len(),
        coefficients,
        correlation,
    })
}

/// Motion of each part of the picture by a row of the reference.
pub(super) fn explained(row: &[f64], coefficients: &[[f64; SHIFTS]]) -> [f64; SHIFTS] {
    let mut explained = [0.0; SHIFTS];
    for (x, coefficients) in row.iter().zip(coefficients) {
        for (explained, c) in explained.iter_mut().zip(coefficients) {
            *explained += x * c;
        }
    }
    explained
}

impl Fit {
    /// How much is explained: minus the mean logarithm, over the parts of the picture, of the share
    /// of their motion that is left. Without a block, or with all.
    pub fn score(&self, left_out: Option<usize>) -> f64 {
        let sum = |of: &[[f64; SHIFTS]], part: usize| {
            let blocks = of.iter().enumerate();
            let kept = blocks.filter(|(block, _)| Some(*block) != left_out);
            kept.map(|(_, sums)| sums[part]).sum::<f64>()
        };
        let n = self.coefficients.len() as f64;
        let chance = self.count as f64 / (self.count as f64 - n);
        let logarithms = (0..SHIFTS).map(|part| {
            let (left, motion) = (sum(&self.left, part), sum(&self.motion, part));
            // A part of nothing, such as a wall, has no motion to explain.
            if motion > 1e-9 {
                (chance * left / motion).max(1e-6).ln()
            } else {
                0.0
            }
        });
        -logarithms.sum::<f64>() / SHIFTS as f64
    }
}
