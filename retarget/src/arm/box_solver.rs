//! Projected damped Gauss-Newton for a sum of squares within a box: the pose of a flange.

/// Gradient and Gauss-Newton matrix of the objective, row-major, shapes (n,) and (n, n).
#[derive(Debug, Clone)]
pub(crate) struct Normal {
    pub(crate) gradient: Vec<f64>,
    pub(crate) matrix: Vec<f64>,
}

/// Most iterations of one solve. Every iterate is feasible and no worse than the start, so
/// stopping early costs accuracy only.
const MOST_ITERATIONS: u32 = 30;
/// A free gradient entry below this is converged (m²/rad).
const GRADIENT_TOLERANCE: f64 = 1e-7;
/// A step that gains less than this is the last (m²).
const GAIN_TOLERANCE: f64 = 1e-11;
/// First damping after a step that does not help, and the factor from there on (m²/rad²).
const FIRST_DAMPING: f64 = 1e-5;
const DAMPING_UP: f64 = 6.0;
const DAMPING_DOWN: f64 = 10.0;
/// A variable so near to a side is on it (rad, m): what was put there misses it by rounding,
/// and a step of one rounding would pass for the last one.
const ON_SIDE: f64 = 1e-12;
/// Damping below this is dropped.
const LEAST_DAMPING: f64 = 1e-7;

/// Buffers for problems of one size: no call allocates.
#[derive(Debug, Clone)]
pub(crate) struct BoxSolver {
    normal: Normal,
    factor: Vec<f64>,
    step: Vec<f64>,
    trial: Vec<f64>,
    free: Vec<bool>,
}

impl BoxSolver {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            normal: Normal {
                gradient: vec![0.0; n],
                matrix: vec![0.0; n * n],
            },
            factor: vec![0.0; n * n],
            step: vec![0.0; n],
            trial: vec![0.0; n],
            free: vec![false; n],
        }
    }

    /// Minimises from `q`, which must lie within `bounds` and stays there.
    ///
    /// `evaluate` returns the objective at a point and fills the normal equations when given some.
    pub(crate) fn minimise(
        &mut self,
        q: &mut [f64],
        bounds: &[(f64, f64)],
        mut evaluate: impl FnMut(&[f64], Option<&mut Normal>) -> f64,
    ) {
        let mut value = evaluate(q, Some(&mut self.normal));
        let mut damping = 0.0;
        let mut iterations = 0;
        while iterations < MOST_ITERATIONS {
            if self.find_free(q, bounds) < GRADIENT_TOLERANCE {
                break;
            }
            iterations += 1;
            let solved = self.find_step(q, bounds, damping);
            for (i, trial) in self.trial.iter_mut().enumerate() {
                *trial = (q[i] + self.step[i]).clamp(bounds[i].0, bounds[i].1);
            }
            let trial_value = if solved {
                evaluate(&self.trial, None)
            } else {
                f64::INFINITY
            };
            if trial_value < value {
                let gain = value - trial_value;
                q.copy_from_slice(&self.trial);
                value = evaluate(q, Some(&mut self.normal));
                if gain < GAIN_TOLERANCE {
                    break;
                }
                damping /= DAMPING_DOWN;
                if damping < LEAST_DAMPING {
                    damping = 0.0;
                }
            } else {
                damping = (damping * DAMPING_UP).max(FIRST_DAMPING);
            }
        }
    }

    /// Marks the variables that may move: all but those at a bound and pushed against it. Returns
    /// the largest gradient among them.
    fn find_free(&mut self, q: &[f64], bounds: &[(f64, f64)]) -> f64 {
        let mut largest: f64 = 0.0;
        for (i, &(lower, upper)) in bounds.iter().enumerate() {
            let slope = self.normal.gradient[i];
            self.free[i] =
                !(q[i] <= lower + ON_SIDE && slope > 0.0 || q[i] >= upper - ON_SIDE && slope < 0.0);
            if self.free[i] {
                largest = largest.max(slope.abs());
            }
        }
        largest
    }

    /// Solves (H + μI) d = −g for the free variables. Those that would leave the box are put on
    /// its side and the rest is solved again, so that they share the work that is left.
    fn find_step(&mut self, q: &[f64], bounds: &[(f64, f64)], damping: f64) -> bool {
        let n = q.len();
        let mut on_side = std::mem::take(&mut self.trial);
        on_side.fill(0.0);
        let mut solved = true;
        // Each round fixes at least one variable more.
        for _ in 0..=n {
            for i in 0..n {
                let row = &self.normal.matrix[i * n..(i + 1) * n];
                self.step[i] = if self.free[i] {
                    let fixed: f64 = row.iter().zip(&on_side).map(|(h, d)| h * d).sum();
                    -self.normal.gradient[i] - fixed
                } else {
                    on_side[i]
                };
                for (j, entry) in row.iter().enumerate() {
                    let both = self.free[i] && self.free[j];
                    self.factor[i * n + j] = if both { *entry } else { 0.0 };
                }
                self.factor[i * n + i] = if self.free[i] { row[i] + damping } else { 1.0 };
            }
            solved = solve_cholesky(&mut self.factor, &mut self.step);
            if !solved {
                break;
            }
            let mut is_inside = true;
            for (i, &(lower, upper)) in bounds.iter().enumerate() {
                let to = q[i] + self.step[i];
                if self.free[i] && !(lower..=upper).contains(&to) {
                    on_side[i] = to.clamp(lower, upper) - q[i];
                    self.free[i] = false;
                    is_inside = false;
                }
            }
            if is_inside {
                break;
            }
        }
        self.trial = on_side;
        solved
    }
}

/// Solves A x = b in place (x in `b`) for a symmetric A, shape (n, n), by Cholesky; false when A is
/// not positive definite.
fn solve_cholesky(a: &mut [f64], b: &mut [f64]) -> bool {
    let n = b.len();
    for j in 0..n {
        for i in j..n {
            let product: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - product;
            if i > j {
                a[i * n + j] = rest / a[j * n + j];
            } else if rest > f64::EPSILON {
                a[j * n + j] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    for i in 0..n {
        let product: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - product) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let product: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - product) / a[i * n + i];
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// ½ Σ (row·q − target)² over a box, checked by its optimality conditions: no gradient in
        /// the inside, an outward one on the sides.
        #[test]
        fn a_quadratic_ends_where_its_optimality_conditions_hold(
            rows in proptest::collection::vec(proptest::array::uniform4(-1.0..1.0), 6),
            targets in proptest::array::uniform6(-2.0..2.0),
        ) {
            let bounds = [(-0.5, 0.5); 4];
            let mut q = [0.5, -0.5, 0.0, 0.1];
            let slope = |q: &[f64]| {
                let mut gradient = [0.0; 4];
                for (row, target) in rows.iter().zip(targets) {
                    let error: f64 = row.iter().zip(q).map(|(a, b)| a * b).sum::<f64>() - target;
                    for i in 0..4 {
                        gradient[i] += row[i] * error + 1e-4 * q[i] / 6.0;
                    }
                }
                gradient
            };
            BoxSolver::new(4).minimise(&mut q, &bounds, |q, normal| {
                let mut value = 0.5e-4 * q.iter().map(|x| x * x).sum::<f64>();
                for (row, target) in rows.iter().zip(targets) {
                    let error: f64 = row.iter().zip(q).map(|(a, b)| a * b).sum::<f64>() - target;
                    value += 0.5 * error * error;
                }
                if let Some(normal) = normal {
                    normal.gradient.copy_from_slice(&slope(q));
                    for i in 0..4 {
                        for j in 0..4 {
                            normal.matrix[i * 4 + j] = rows.iter().map(|row| row[i] * row[j]).sum();
                        }
                        normal.matrix[i * 5] += 1e-4;
                    }
                }
                value
            });
            for (i, slope) in slope(&q).into_iter().enumerate() {
                prop_assert!((-0.5..=0.5).contains(&q[i]));
                if q[i] > -0.5 + 1e-9 {
                    prop_assert!(slope < 1e-4, "{i}: {slope} at {}", q[i]);
                }
                if q[i] < 0.5 - 1e-9 {
                    prop_assert!(slope > -1e-4, "{i}: {slope} at {}", q[i]);
                }
            }
        }
    }
}
