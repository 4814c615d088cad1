//! Sizes, depths and hiding of what is drawn.

use super::super::surface::Material;
use super::*;

const LENS: Lens = Lens {
    focal: [100.0, 100.0],
    centre: [49.5, 49.5],
};

fn light() -> Light {
    Light {
        lamp: -V3::y(),
        up: -V3::y(),
    }
}

fn capsule(ends: [V3; 2], radius: f32, bgr: [f32; 3]) -> Round {
    let material = Material { bgr, gloss: 0.0 };
    Round {
        ends,
        radii: [radius; 2],
        round_ends: true,
        material,
    }
}

/// Number of pixels of the canvas where the first channel rules, and where the last does.
fn blue_and_red(canvas: &Canvas) -> (usize, usize) {
    let count = |k: usize, j: usize| canvas.bgr.iter().filter(|p| p[k] > 40 && p[j] == 0).count();
    (count(0, 2), count(2, 0))
}

#[test]
fn a_ball_and_a_capsule_have_their_size_and_depth() {
    let mut canvas = Canvas::new(100, 100);
    let middle = V3::new(0.1, -0.2, 2.0);
    canvas.round(
        &LENS,
        &light(),
        &capsule([middle, middle], 0.2, [255.0, 0.0, 0.0]),
    );
    // Radius 10 pixels around (54.5, 39.5).
    let area = blue_and_red(&canvas).0 as f32;
    assert!(
        (area / (std::f32::consts::PI * 100.0) - 1.0).abs() < 0.1,
        "{area}"
    );
    assert!((canvas.nearness[40 * 100 + 54] - 1.0 / 1.8).abs() < 0.02);
    let mut canvas = Canvas::new(100, 100);
    let ends = [V3::new(-0.4, 0.0, 2.0), V3::new(0.4, 0.0, 2.0)];
    canvas.round(&LENS, &light(), &capsule(ends, 0.1, [255.0, 0.0, 0.0]));
    let area = blue_and_red(&canvas).0 as f32;
    assert!(
        (area / (40.0 * 10.0 + std::f32::consts::PI * 25.0) - 1.0).abs() < 0.1,
        "{area}"
    );
}

#[test]
fn what_is_nearer_hides_what_is_farther_in_either_order() {
    let near = capsule(
        [V3::new(0.0, -0.1, 1.0), V3::new(0.0, 0.1, 1.0)],
        0.05,
        [255.0, 0.0, 0.0],
    );
    let wall: Vec<V3> = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
        .map(|[x, y]| V3::new(x, y, 3.0))
        .into();
    let draw = |near_first: bool| {
        let mut canvas = Canvas::new(100, 100);
        if near_first {
            canvas.round(&LENS, &light(), &near);
        }
        canvas.polygon(&LENS, &wall, [0, 0, 200]);
        if !near_first {
            canvas.round(&LENS, &light(), &near);
        }
        blue_and_red(&canvas)
    };
    for near_first in [true, false] {
        let (blue, red) = draw(near_first);
        assert!((230..330).contains(&blue), "{blue}");
        // 66.7 pixels square, less the capsule, and the half-pixel margin.
        assert!((4000..4700).contains(&red), "{red}");
    }
}

#[test]
fn nothing_behind_the_camera_is_drawn_and_nothing_panics_at_it() {
    let mut canvas = Canvas::new(100, 100);
    let behind = [V3::new(0.0, 0.0, -1.0), V3::new(0.1, 0.0, -0.5)];
    canvas.round(&LENS, &light(), &capsule(behind, 0.1, [255.0, 0.0, 0.0]));
    canvas.polygon(
        &LENS,
        &[behind[0], behind[1], V3::new(0.0, 1.0, -1.0)],
        [255, 0, 0],
    );
    assert_eq!(blue_and_red(&canvas).0, 0);
    let across = [V3::new(0.0, 0.3, -1.0), V3::new(0.0, 0.3, 2.0)];
    canvas.round(&LENS, &light(), &capsule(across, 0.1, [255.0, 0.0, 0.0]));
    assert!(blue_and_red(&canvas).0 > 100);
}
