//! Small dense symmetric systems, in arrays of fixed size, so that inner loops are without checks.

use super::by_fours::by_fours;

/// Most variables of one problem.
pub(super) const MOST_VARIABLES: usize = 64;

/// A solver for systems of up to a certain size.
#[derive(Debug, Clone)]
pub(super) enum Dense {
    Of8(Box<Rows<8>>),
    Of16(Box<Rows<16>>),
    Of24(Box<Rows<24>>),
    Of32(Box<Rows<32>>),
    Of64(Box<Rows<MOST_VARIABLES>>),
}

/// Upper triangle, row by row.
#[derive(Debug, Clone)]
pub(super) struct Rows<const N: usize>([[f64; N]; N]);

impl Dense {
    /// For `n` variables or fewer.
    pub(super) fn new(n: usize) -> Self {
        match n {
            0..=8 => Self::Of8(Box::new(Rows([[0.0; 8]; 8]))),
            9..=16 => Self::Of16(Box::new(Rows([[0.0; 16]; 16]))),
            17..=24 => Self::Of24(Box::new(Rows([[0.0; 24]; 24]))),
            25..=32 => Self::Of32(Box::new(Rows([[0.0; 32]; 32]))),
            _ => Self::Of64(Box::new(Rows([[0.0; MOST_VARIABLES]; MOST_VARIABLES]))),
        }
    }

    /// Solves a system; `right` has an entry per free variable. `None`, or the pivot that fell below
    /// the least: the matrix is not positive definite.
    pub(super) fn solve(&mut self, system: System<'_>, right: &mut [f64]) -> Option<f64> {
        match self {
            Self::Of8(rows) => rows.solve(system, right),
            Self::Of16(rows) => rows.solve(system, right),
            Self::Of24(rows) => rows.solve(system, right),
            Self::Of32(rows) => rows.solve(system, right),
            Self::Of64(rows) => rows.solve(system, right),
        }
    }
}

/// (A + μ I) x = right for some rows and columns of A.
#[derive(Clone, Copy)]
pub(super) struct System<'a> {
    /// The lower triangle of A, row-major, shape (n, n).
    pub lower: &'a [f64],
    pub n: usize,
    /// The rows and columns that count, ascending.
    pub free: &'a [usize],
    /// μ.
    pub damping: f64,
    /// Least pivot.
    pub least: f64,
}

impl<const N: usize> Rows<N> {
    by_fours! {
        fn solve, solve_by_fours, eliminate(
            &mut self, system: System<'_>, right: &mut [f64],
        ) -> Option<f64>
    }

    #[inline(always)]
    fn eliminate(&mut self, system: System<'_>, right: &mut [f64]) -> Option<f64> {
        let System {
            lower,
            n,
            free,
            damping,
            least,
        } = system;
        let m = free.len();
        assert!(m <= N && right.len() >= m, "{m} of {N} variables");
        let (rows, right) = (&mut self.0, &mut right[..m]);
        for (at, &i) in free.iter().enumerate() {
            let row = &lower[i * n..i * n + i + 1];
            for (above, &k) in free[..=at].iter().enumerate() {
                rows[above][at] = row[k];
            }
            rows[at][at] += damping;
        }
        // Elimination, the right side along with it.
        for j in 0..m {
            let (above, below) = rows.split_at_mut(j + 1);
            let row = &above[j];
            let pivot = row[j];
            if pivot < least {
                return Some(pivot);
            }
            let inverse = 1.0 / pivot;
            let known = right[j];
            for i in j + 1..m {
                let entry = row[i];
                // Fingers that no term ties together.
                if entry == 0.0 {
                    continue;
                }
                let factor = entry * inverse;
                right[i] -= factor * known;
                // What lies left of the diagonal is of no use, but costs less than a check; many
                // fours of it do not.
                let used = if N > 8 { i & !3..(m + 3) & !3 } else { 0..N };
                for (to, from) in below[i - j - 1][used.clone()].iter_mut().zip(&row[used]) {
                    *to -= factor * from;
                }
            }
        }
        for i in (0..m).rev() {
            let x = right[i] / rows[i][i];
            right[i] = x;
            for (right, row) in right[..i].iter_mut().zip(&rows[..i]) {
                *right -= row[i] * x;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_solution_solves_the_free_part(
            n in 1_usize..40,
            numbers in proptest::collection::vec(-1.0..1.0, 40 * 40),
            right in proptest::collection::vec(-1.0..1.0, 40),
            taken in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let free: Vec<usize> = (0..n).filter(|&i| taken[i]).collect();
            let entry = |i: usize, k: usize| {
                // Diagonally dominant, so positive definite.
                if i == k { 50.0 } else { numbers[i.max(k) * 40 + i.min(k)] }
            };
            let lower: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
            let mut x = right.clone();
            let mut dense = Dense::new(n);
            let system = |damping| System { lower: &lower, n, free: &free, damping, least: 1e-12 };
            prop_assert_eq!(dense.solve(system(0.5), &mut x), None);
            for (at, &i) in free.iter().enumerate() {
                let product: f64 = free
                    .iter()
                    .enumerate()
                    .map(|(other, &k)| (entry(i, k) + if i == k { 0.5 } else { 0.0 }) * x[other])
                    .sum();
                prop_assert!((product - right[at]).abs() < 1e-10);
            }
            if !free.is_empty() {
                let fell = dense.solve(system(-60.0), &mut x);
                prop_assert!(fell.is_some_and(|pivot| pivot < 0.0));
            }
        }
    }
}
