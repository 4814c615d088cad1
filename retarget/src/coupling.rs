//! What a coupled joint asks of the joint that it follows.

/// Narrows the limits of a variable so that a joint that mimics it, position = factor · variable +
/// offset with a factor other than 0, keeps to its own `(lower, upper)`.
///
/// # Errors
/// The limits of the variable that the joint alone would leave, where none are left of both.
pub(crate) fn narrowed(
    limits: (f64, f64),
    (lower, upper): (f64, f64),
    (factor, offset): (f64, f64),
) -> Result<(f64, f64), (f64, f64)> {
    let one = (lower - offset) / factor;
    let other = (upper - offset) / factor;
    let alone = (one.min(other), one.max(other));
    let both = (limits.0.max(alone.0), limits.1.min(alone.1));
    if both.0 < both.1 {
        Ok(both)
    } else {
        Err(alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_factor_turns_the_limits_round() {
        // 0 <= 1 - 2 q <= 0.5 leaves 0.25 to 0.5.
        let limits = narrowed((-9.0, 9.0), (0.0, 0.5), (-2.0, 1.0));
        assert_eq!(limits, Ok((0.25, 0.5)));
        let limits = narrowed((0.5, 9.0), (0.0, 0.5), (-2.0, 1.0));
        assert_eq!(limits, Err((0.25, 0.5)), "one point is no room");
    }
}
