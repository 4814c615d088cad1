//! What stands on the emulated table: boxes, a mug, a ball, a cup.

use std::f32::consts::TAU;

use super::draw::{Shape, View};
use super::raster::V3;
use super::room::TABLE_Z_M;
use super::round::Round;
use super::shadow::Shadow;
use super::surface::{Material, Shader};

/// A box, turned about the vertical.
struct Block {
    /// Middle of its bottom: x, y [m], and height over the table [m].
    at: [f32; 3],
    /// Length, width, height [m].
    size: [f32; 3],
    /// Turn about the vertical [rad].
    turn: f32,
    /// Blue, green, red.
    bgr: [f32; 3],
}

const fn block(at: [f32; 3], size: [f32; 3], turn: f32, bgr: [f32; 3]) -> Block {
    Block {
        at,
        size,
        turn,
        bgr,
    }
}

const BLOCKS: &[Block] = &[
    // A red box with a white band.
    block(
        [0.66, 0.27, 0.0],
        [0.07, 0.13, 0.11],
        0.35,
        [52.0, 58.0, 205.0],
    ),
    block(
        [0.66, 0.27, 0.055],
        [0.0712, 0.1312, 0.022],
        0.35,
        [232.0, 236.0, 238.0],
    ),
    // A green and a yellow cube, one on the other, and a blue one.
    block(
        [0.44, -0.30, 0.0],
        [0.055, 0.055, 0.055],
        -0.30,
        [84.0, 160.0, 70.0],
    ),
    block(
        [0.44, -0.30, 0.055],
        [0.045, 0.045, 0.045],
        0.25,
        [60.0, 190.0, 236.0],
    ),
    block(
        [0.56, -0.22, 0.0],
        [0.050, 0.050, 0.050],
        0.55,
        [196.0, 128.0, 52.0],
    ),
    // A flat book.
    block(
        [0.88, -0.12, 0.0],
        [0.15, 0.21, 0.025],
        0.20,
        [120.0, 92.0, 66.0],
    ),
];

/// Tapered cups: middle of the bottom x, y [m], radii at bottom and top [m], height [m], colour.
type Cup = ([f32; 2], [f32; 2], f32, [f32; 3]);
const CUPS: &[Cup] = &[
    ([0.52, 0.22], [0.034, 0.040], 0.090, [176.0, 120.0, 40.0]),
    ([0.74, -0.34], [0.030, 0.041], 0.105, [226.0, 228.0, 232.0]),
];
/// Colour of what is in them: coffee and tea.
const DRINK_BGR: [f32; 3] = [26.0, 44.0, 70.0];

/// A ball: x, y [m] and radius [m].
const BALL: ([f32; 2], f32) = ([0.78, 0.05], 0.038);
const BALL_BGR: [f32; 3] = [30.0, 122.0, 238.0];

fn on_table(x: f32, y: f32, height: f32) -> V3 {
    V3::new(x, y, TABLE_Z_M + height)
}

/// Adds the shadows of all objects.
pub fn cast(shadow: &mut Shadow) {
    for block in BLOCKS {
        let (sin, cos) = block.turn.sin_cos();
        let [length, width, height] = block.size;
        // Lines along the longer side, inset by a radius that leaves the corners square enough.
        let (radius, steps) = (0.008, 4_u8);
        for i in 0..=steps {
            let part = f32::from(i) / f32::from(steps);
            let across = (part - 0.5) * (length - 2.0 * radius);
            let half = width / 2.0 - radius;
            for layer in 0..=steps {
                let z = block.at[2] + height * f32::from(layer) / f32::from(steps);
                let end = |y: f32| {
                    let (x, y) = (across * cos - y * sin, across * sin + y * cos);
                    on_table(block.at[0] + x, block.at[1] + y, z)
                };
                shadow.add(&end(-half), &end(half), radius);
            }
        }
    }
    for ([x, y], radii, height, _) in CUPS {
        for layer in 0..=4_u8 {
            let part = f32::from(layer) / 4.0;
            let middle = on_table(*x, *y, height * part);
            shadow.add(&middle, &middle, radii[0] + (radii[1] - radii[0]) * part);
        }
    }
    let ([x, y], radius) = BALL;
    shadow.add(&on_table(x, y, radius), &on_table(x, y, radius), radius);
}

/// All objects as seen by a camera.
pub fn shapes(view: &View) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for block in BLOCKS {
        add_block(view, block, &mut shapes);
    }
    for cup in CUPS {
        add_cup(view, cup, &mut shapes);
    }
    // The mug's handle: an arc of short tubes.
    let ([x, y], radii, height, bgr) = CUPS[0];
    let arc: Vec<V3> = (0..=6_u8)
        .map(|i| {
            let angle = TAU * (f32::from(i) / 12.0 - 0.25);
            let (out, up) = (0.026 * angle.cos(), 0.026 * angle.sin());
            view.point(&on_table(
                x + 0.3 * (radii[0] + out),
                y + 0.95 * (radii[0] + out),
                height / 2.0 + up,
            ))
        })
        .collect();
    for pair in arc.windows(2) {
        shapes.push(Shape::Round(Round {
            ends: [pair[0], pair[1]],
            radii: [0.0055; 2],
            round_ends: true,
            material: Material { bgr, gloss: 0.5 },
        }));
    }
    let ([x, y], radius) = BALL;
    let middle = view.point(&on_table(x, y, radius));
    shapes.push(Shape::Round(Round {
        ends: [middle, middle],
        radii: [radius; 2],
        round_ends: true,
        material: Material {
            bgr: BALL_BGR,
            gloss: 0.25,
        },
    }));
    shapes
}

/// The faces of a box that look to the camera.
fn add_block(view: &View, block: &Block, shapes: &mut Vec<Shape>) {
    let (sin, cos) = block.turn.sin_cos();
    let axes = [V3::new(cos, sin, 0.0), V3::new(-sin, cos, 0.0), V3::z()];
    let half: [V3; 3] = std::array::from_fn(|k| axes[k] * (block.size[k] / 2.0));
    let middle = on_table(block.at[0], block.at[1], block.at[2] + block.size[2] / 2.0);
    for k in 0..3 {
        for sign in [-1.0, 1.0] {
            let centre = middle + half[k] * sign;
            let normal = view.direction(&(axes[k] * sign));
            let seen_from = view.point(&centre);
            if normal.dot(&seen_from) >= 0.0 {
                continue;
            }
            let (one, other) = (half[(k + 1) % 3], half[(k + 2) % 3]);
            let corners = [one + other, one - other, -one - other, other - one];
            let corners = corners
                .map(|corner| view.point(&(centre + corner)))
                .to_vec();
            let material = Material {
                bgr: block.bgr,
                gloss: 0.0,
            };
            let along = seen_from.try_normalize(1e-6).unwrap_or_else(V3::z);
            let colour = Shader::new(&material, &view.light, &along).colour(&normal);
            shapes.push(Shape::Polygon(corners, colour));
        }
    }
}

/// A cup: its wall, and its rim and content where the camera looks in from above.
fn add_cup(view: &View, ([x, y], radii, height, bgr): &Cup, shapes: &mut Vec<Shape>) {
    let material = Material {
        bgr: *bgr,
        gloss: 0.5,
    };
    shapes.push(Shape::Round(Round {
        ends: [
            view.point(&on_table(*x, *y, 0.0)),
            view.point(&on_table(*x, *y, *height)),
        ],
        radii: *radii,
        round_ends: false,
        material,
    }));
    let disc = |radius: f32, up: f32| -> Vec<V3> {
        (0..40_u8)
            .map(|i| {
                let (sin, cos) = (TAU * f32::from(i) / 40.0).sin_cos();
                view.point(&on_table(x + radius * cos, y + radius * sin, height + up))
            })
            .collect()
    };
    let up = view.direction(&V3::z());
    let rim = disc(radii[1], 0.0);
    if up.dot(&rim[0]) >= 0.0 {
        return;
    }
    let along = rim[0].try_normalize(1e-6).unwrap_or_else(V3::z);
    let colour =
        |bgr: [f32; 3]| Shader::new(&Material { bgr, gloss: 0.0 }, &view.light, &along).colour(&up);
    shapes.push(Shape::Polygon(
        rim,
        colour(bgr.map(|x| (x * 1.08).min(255.0))),
    ));
    // Each a little higher, so that it is drawn over the one before.
    let wall = bgr.map(|x| x * 0.55);
    shapes.push(Shape::Polygon(
        disc(radii[1] - 0.0035, 0.0003),
        colour(wall),
    ));
    shapes.push(Shape::Polygon(
        disc(radii[1] - 0.0065, 0.0006),
        colour(DRINK_BGR),
    ));
}
