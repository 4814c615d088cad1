//! Symmetric band matrices: U ᵀD U without pivoting.

/// Upper band of a symmetric matrix: row `i` has the columns `i ..= i + width`.
#[derive(Debug, Clone)]
pub(super) struct Band {
    width: usize,
    rows: usize,
    entries: Vec<f64>,
}

impl Band {
    /// Room for matrices of up to `rows` rows.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            rows: 0,
            entries: vec![0.0; rows * (width + 1)],
        }
    }

    /// Most rows that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len() / (self.width + 1)
    }

    /// A matrix of zeros.
    pub(super) fn clear(&mut self, rows: usize) {
        self.rows = rows;
        self.entries[..rows * (self.width + 1)].fill(0.0);
    }

    /// Entry at `row` ≤ `column` ≤ `row` + width.
    pub(super) fn at(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.entries[row * (self.width + 1) + column - row]
    }

    /// Makes a row and its column those of the identity.
    pub(super) fn detach(&mut self, row: usize) {
        let stride = self.width + 1;
        for above in row.saturating_sub(self.width)..row {
            self.entries[above * stride + row - above] = 0.0;
        }
        self.entries[row * stride..(row + 1) * stride].fill(0.0);
        self.entries[row * stride] = 1.0;
    }

    /// Factorises in place; false when the matrix is not positive definite.
    pub(super) fn factorise(&mut self, least_pivot: f64) -> bool {
        let stride = self.width + 1;
        for j in 0..self.rows {
            let (head, tail) = self.entries.split_at_mut((j + 1) * stride);
            let row = &mut head[j * stride..];
            let pivot = row[0];
            if pivot < least_pivot {
                return false;
            }
            let reach = self.width.min(self.rows - 1 - j);
            for below in 1..=reach {
                let entry = row[below];
                if entry == 0.0 {
                    continue;
                }
                let factor = entry / pivot;
                let to = &mut tail[(below - 1) * stride..][..=reach - below];
                for (to, from) in to.iter_mut().zip(&row[below..=reach]) {
                    *to -= factor * from;
                }
            }
        }
        true
    }

    /// Solves in place with the factors of [`Band::factorise`].
    pub(super) fn solve(&self, right: &mut [f64]) {
        let stride = self.width + 1;
        for j in 0..self.rows {
            let row = &self.entries[j * stride..(j + 1) * stride];
            let reach = self.width.min(self.rows - 1 - j);
            let scaled = right[j] / row[0];
            for (to, entry) in right[j + 1..=j + reach].iter_mut().zip(&row[1..=reach]) {
                *to -= entry * scaled;
            }
        }
        for j in (0..self.rows).rev() {
            let row = &self.entries[j * stride..(j + 1) * stride];
            let reach = self.width.min(self.rows - 1 - j);
            let known: f64 = row[1..=reach]
                .iter()
                .zip(&right[j + 1..=j + reach])
                .map(|(u, x)| u * x)
                .sum();
            right[j] = (right[j] - known) / row[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_solution_solves(
            width in 0_usize..6,
            numbers in proptest::collection::vec(-1.0..1.0, 12 * 7),
            right in proptest::collection::vec(-1.0..1.0, 12),
        ) {
            let n = right.len();
            let mut band = Band::new(n, width);
            band.clear(n);
            let mut full = vec![0.0; n * n];
            for row in 0..n {
                for column in row..n.min(row + width + 1) {
                    // Diagonally dominant, so positive definite.
                    let entry = if row == column { 14.0 } else { numbers[row * 7 + column - row] };
                    *band.at(row, column) = entry;
                    full[row * n + column] = entry;
                    full[column * n + row] = entry;
                }
            }
            prop_assert!(band.factorise(1e-12));
            let mut x = right.clone();
            band.solve(&mut x);
            for row in 0..n {
                let product: f64 = (0..n).map(|column| full[row * n + column] * x[column]).sum();
                prop_assert!((product - right[row]).abs() < 1e-12);
            }
        }
    }
}
