use dexumi_retarget::{se3_exp, se3_log, translation_and_rotation_vector};
use nalgebra::{Isometry3, Matrix4, Vector3};
use proptest::prelude::*;

/// exp of a 4×4 twist matrix by scaling, Taylor and squaring: shares nothing with the crate.
fn matrix_exp(twist: &[f64; 6]) -> Matrix4<f64> {
    let [vx, vy, vz, wx, wy, wz] = *twist;
    #[rustfmt::skip]
    let matrix = Matrix4::new(
        0.0, -wz, wy, vx,
        wz, 0.0, -wx, vy,
        -wy, wx, 0.0, vz,
        0.0, 0.0, 0.0, 0.0,
    ) / 1024.0;
    let mut term = Matrix4::identity();
    let mut sum = Matrix4::identity();
    for order in 1..20 {
        term = term * matrix / f64::from(order);
        sum += term;
    }
    for _ in 0..10 {
        sum = sum * sum;
    }
    sum
}

/// Twists with rotations from almost nothing to just short of half a turn.
fn twist() -> impl Strategy<Value = [f64; 6]> {
    let direction = proptest::array::uniform3(-1.0..1.0_f64).prop_map(Vector3::from);
    let angle = prop_oneof![
        Just(0.0),
        Just(1e-12),
        Just(1e-6),
        Just(0.049),
        Just(0.051),
        0.0..3.1,
        Just(3.1),
    ];
    (proptest::array::uniform3(-2.0..2.0), direction, angle).prop_map(|(v, direction, angle)| {
        let w = direction.try_normalize(1e-3).unwrap_or_else(Vector3::x) * angle;
        [v[0], v[1], v[2], w.x, w.y, w.z]
    })
}

proptest! {
    #[test]
    fn exp_agrees_with_the_matrix_exponential_and_log_undoes_it(twist in twist()) {
        let pose = se3_exp(&twist);
        let error = (pose.to_homogeneous() - matrix_exp(&twist)).abs().max();
        prop_assert!(error < 1e-10, "{error}");
        for (back, given) in se3_log(&pose).into_iter().zip(twist) {
            prop_assert!((back - given).abs() < 1e-9, "{back} {given}");
        }
    }

    #[test]
    fn log_of_the_inverse_is_minus_the_log(twist in twist()) {
        let inverse = se3_log(&se3_exp(&twist).inverse());
        for (back, given) in inverse.into_iter().zip(twist) {
            prop_assert!((back + given).abs() < 1e-9);
        }
    }

    #[test]
    fn the_split_vector_keeps_the_translation(twist in twist()) {
        let pose = se3_exp(&twist);
        let split = translation_and_rotation_vector(&pose);
        prop_assert_eq!(&split[..3], pose.translation.vector.as_slice());
        for (split, log) in split[3..].iter().zip(&se3_log(&pose)[3..]) {
            prop_assert!((split - log).abs() < 1e-12);
        }
    }
}

#[test]
fn the_identity_is_zero() {
    assert_eq!(se3_log(&Isometry3::identity()), [0.0; 6]);
    assert_eq!(se3_exp(&[0.0; 6]), Isometry3::identity());
}
