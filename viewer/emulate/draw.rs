//! Pictures of the emulated hand: what the wrist camera and the head camera see.

use std::sync::Arc;

use dexumi_retarget::Hand;
use nalgebra::{Isometry3, Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::objects;
use super::raster::{Canvas, Lens, V3};
use super::room::{LAMP, Room};
use super::round::Round;
use super::shadow::{Shadow, darkened};
use super::surface::{Light, Material};

/// Focal length of both cameras, in widths of the image: 900 pixels at 1280.
const FOCAL_IN_WIDTHS: f64 = 900.0 / 1280.0;
/// Place of the head camera and what it looks at, in the world [m].
const HEAD_EYE_M: [f64; 3] = [0.0, 0.38, 1.38];
const HEAD_TARGET_M: [f64; 3] = [0.37, 0.0, 0.93];
/// Where the wearer's elbow stays, in the world [m].
const ELBOW_M: [f32; 3] = [-0.22, -0.30, 0.88];

/// A camera of the emulated rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eye {
    /// Fixed to the hand, below the wrist; sees the palm side of the fingers.
    Wrist,
    /// Fixed in the room, above the wearer's shoulder.
    Head,
}

/// fx, fy, cx, cy of both cameras at a size [pixel]: a pinhole without distortion, square pixels,
/// whole numbers at the centres of pixels.
pub fn intrinsics(width: u32, height: u32) -> [f64; 4] {
    let focal = FOCAL_IN_WIDTHS * f64::from(width);
    let middle = |count: u32| (f64::from(count) - 1.0) / 2.0;
    [focal, focal, middle(width), middle(height)]
}

/// Pose of the head camera: `world_from_camera`, camera x right, y down, z forward.
pub fn world_from_head_camera() -> Isometry3<f64> {
    let (eye, target) = (Point3::from(HEAD_EYE_M), Point3::from(HEAD_TARGET_M));
    Isometry3::face_towards(&eye, &target, &-Vector3::z())
}

/// Pose of the wrist camera: `hand_from_camera`, camera x right, y down, z forward.
///
/// Below the wrist, 85 mm out of the palm, looking along the fingers and 14 degrees up to them.
pub fn hand_from_wrist_camera() -> Isometry3<f64> {
    // Camera x, y, z along the hand's -y, x, z.
    let along = Matrix3::from_columns(&[-Vector3::y(), Vector3::x(), Vector3::z()]);
    let along = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(along));
    let up = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), 14.0_f64.to_radians());
    Isometry3::from_parts(Translation3::new(0.085, 0.0, -0.06), along * up)
}

/// Draws for one camera; buffers are kept from image to image.
#[derive(Debug)]
pub struct Painter {
    eye: Eye,
    hand: Arc<Hand>,
    room: Arc<Room>,
    lens: Lens,
    canvas: Canvas,
    shadow: Shadow,
    backdrop: Backdrop,
}

#[derive(Debug)]
enum Backdrop {
    /// A camera that stands still: colours, and the place on the table seen at each pixel, if any.
    Still(Vec<[u8; 3]>, Vec<[f32; 2]>),
    /// A camera that moves: the room at half the width and height. It is out of focus.
    Moving(Vec<[u8; 3]>),
}

/// The room with the shadows of what stands in it for ever. Takes a while; share it.
pub fn furnished_room() -> Room {
    let mut resting = Shadow::new();
    objects::cast(&mut resting);
    Room::new(&resting)
}

/// Axes and origin of a camera in the world.
struct Pose {
    origin: V3,
    world_from_camera: Matrix3<f32>,
}

impl Pose {
    fn new(world_from_camera: &Isometry3<f64>) -> Self {
        let rotation = world_from_camera.rotation.to_rotation_matrix();
        Self {
            origin: world_from_camera.translation.vector.cast(),
            world_from_camera: rotation.matrix().cast(),
        }
    }

    fn camera_from_world(&self, point: &V3) -> V3 {
        self.world_from_camera.tr_mul(&(point - self.origin))
    }

    /// Ray through a pixel, in the world, of length 1 along the camera's z.
    fn ray(&self, lens: &Lens, x: f32, y: f32) -> V3 {
        let right = (x - lens.centre[0]) / lens.focal[0];
        let down = (y - lens.centre[1]) / lens.focal[1];
        self.world_from_camera * V3::new(right, down, 1.0)
    }
}

/// Something to draw, in camera axes.
pub enum Shape {
    /// See [`Canvas::round`].
    Round(Round),
    /// See [`Canvas::polygon`]; its colour is final.
    Polygon(Vec<V3>, [u8; 3]),
}

impl Shape {
    fn depth(&self) -> f32 {
        match self {
            Self::Round(round) => (round.ends[0].z + round.ends[1].z) / 2.0,
            Self::Polygon(corners, _) => {
                corners.iter().map(|corner| corner.z).sum::<f32>() / corners.len() as f32
            }
        }
    }
}

/// What shapes are drawn with: one camera's axes and light.
pub struct View {
    pose: Pose,
    /// In camera axes.
    pub light: Light,
}

impl View {
    fn new(world_from_camera: &Isometry3<f64>) -> Self {
        let pose = Pose::new(world_from_camera);
        let turn = |direction: V3| pose.world_from_camera.tr_mul(&direction);
        let lamp = V3::from(LAMP) / V3::from(LAMP).norm();
        let light = Light {
            lamp: turn(lamp),
            up: turn(V3::z()),
        };
        Self { pose, light }
    }

    /// A point of the world in camera axes.
    pub fn point(&self, world: &V3) -> V3 {
        self.pose.camera_from_world(world)
    }

    /// A direction of the world in camera axes.
    pub fn direction(&self, world: &V3) -> V3 {
        self.pose.world_from_camera.tr_mul(world)
    }
}

impl Painter {
    /// For a camera of this size [pixel].
    pub fn new(eye: Eye, hand: Arc<Hand>, room: Arc<Room>, width: u32, height: u32) -> Self {
        let [fx, fy, cx, cy] = intrinsics(width, height).map(|x| x as f32);
        let lens = Lens {
            focal: [fx, fy],
            centre: [cx, cy],
        };
        let (width, height) = (width as usize, height as usize);
        let backdrop = match eye {
            Eye::Wrist => Backdrop::Moving(vec![[0; 3]; width.div_ceil(2) * height.div_ceil(2)]),
            Eye::Head => still(&room, &lens, width, height),
        };
        Self {
            eye,
            hand,
            room,
            lens,
            canvas: Canvas::new(width, height),
            shadow: Shadow::new(),
            backdrop,
        }
    }

    /// Draws the hand at `q`, shape (dof,) [rad], and what is around it.
    pub fn draw(&mut self, world_from_hand: &Isometry3<f64>, q: &[f64]) -> &mut Canvas {
        let world_from_camera = match self.eye {
            Eye::Wrist => world_from_hand * hand_from_wrist_camera(),
            Eye::Head => world_from_head_camera(),
        };
        let view = View::new(&world_from_camera);
        let body = self.body(world_from_hand, q);
        self.shadow.clear();
        for round in &body {
            self.shadow
                .add(&round.ends[0], &round.ends[1], round.radii[0]);
        }
        self.paint_backdrop(&view.pose);
        self.canvas.nearness.fill(0.0);
        let mut shapes: Vec<Shape> = objects::shapes(&view);
        shapes.extend(body.into_iter().map(|mut round| {
            round.ends = round.ends.map(|end| view.point(&end));
            Shape::Round(round)
        }));
        // From far to near, so that outlines blend with what is behind them.
        shapes.sort_by(|one, other| other.depth().total_cmp(&one.depth()));
        for shape in &shapes {
            match shape {
                Shape::Round(round) => self.canvas.round(&self.lens, &view.light, round),
                Shape::Polygon(corners, colour) => {
                    self.canvas.polygon(&self.lens, corners, *colour)
                }
            }
        }
        &mut self.canvas
    }

    /// The hand's capsules and the wearer's forearm, in the world.
    fn body(&self, world_from_hand: &Isometry3<f64>, q: &[f64]) -> Vec<Round> {
        let pose = self.hand.forward(q);
        let place = |joint: Option<usize>, point: &Point3<f64>| -> V3 {
            let in_hand = joint.map_or(*point, |joint| pose.root_from_joint[joint] * point);
            (world_from_hand * in_hand).coords.cast()
        };
        let mut body: Vec<Round> = self
            .hand
            .capsules()
            .iter()
            .map(|capsule| {
                let [r, g, b] = capsule.rgb.map(f32::from);
                let dark = r + g + b < 300.0;
                Round {
                    ends: [
                        place(capsule.joint, &capsule.from),
                        place(capsule.joint, &capsule.to),
                    ],
                    radii: [capsule.radius as f32; 2],
                    round_ends: true,
                    // Black plastic is a dark grey under the lamp.
                    material: Material {
                        bgr: [b, g, r].map(|channel| channel * if dark { 1.5 } else { 1.0 }),
                        gloss: if dark { 0.8 } else { 0.3 },
                    },
                }
            })
            .collect();
        let wrist = place(None, &Point3::new(0.0, 0.0, -0.03));
        let cuff = place(None, &Point3::new(0.0, 0.0, -0.065));
        let elbow = V3::from(ELBOW_M);
        let mut tube = |ends, radii, bgr, gloss| {
            let material = Material { bgr, gloss };
            body.push(Round {
                ends,
                radii,
                round_ends: true,
                material,
            });
        };
        tube(
            [place(None, &Point3::origin()), wrist],
            [0.021, 0.024],
            [70.0, 66.0, 62.0],
            0.5,
        );
        tube([wrist, cuff], [0.026, 0.028], [118.0, 150.0, 198.0], 0.1);
        tube(
            [cuff, cuff + (elbow - cuff) * 0.12],
            [0.035, 0.037],
            [120.0, 74.0, 44.0],
            0.12,
        );
        tube(
            [cuff + (elbow - cuff) * 0.1, elbow],
            [0.034, 0.050],
            [132.0, 82.0, 50.0],
            0.12,
        );
        body
    }

    fn paint_backdrop(&mut self, pose: &Pose) {
        let (width, height) = (self.canvas.width, self.canvas.height);
        match &mut self.backdrop {
            Backdrop::Still(colours, places) => {
                self.canvas.bgr.copy_from_slice(colours);
                for (pixel, [x, y]) in self.canvas.bgr.iter_mut().zip(places.iter()) {
                    let dark = self.shadow.at(*x, *y);
                    if dark > 0.0 {
                        *pixel = darkened(*pixel, dark);
                    }
                }
            }
            Backdrop::Moving(half) => {
                let columns = width.div_ceil(2);
                // Two pixels wide, and twice that: out of focus, and kinder to the memory.
                let angle = 4.0 / self.lens.focal[0];
                let step = pose.ray(&self.lens, 2.0, 0.0) - pose.ray(&self.lens, 0.0, 0.0);
                for (j, row) in half.chunks_exact_mut(columns).enumerate() {
                    let ray = pose.ray(&self.lens, 0.5, 2.0 * j as f32 + 0.5);
                    self.room
                        .row(&pose.origin, &ray, &step, angle, &self.shadow, row);
                }
                double(half, columns, &mut self.canvas.bgr, width, height);
            }
        }
    }
}

/// What a camera that stands still sees of the room; four rays a pixel.
fn still(room: &Room, lens: &Lens, width: usize, height: usize) -> Backdrop {
    let pose = Pose::new(&world_from_head_camera());
    let angle = 0.5 / lens.focal[0];
    let mut colours = Vec::with_capacity(width * height);
    let mut places = Vec::with_capacity(width * height);
    let none = Shadow::new();
    for (x, y) in (0..width * height).map(|i| ((i % width) as f32, (i / width) as f32)) {
        let mut sum = [0_u16; 3];
        for (right, down) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
            let ray = pose.ray(lens, x + right, y + down);
            let colour = room.colour(&room.meet(&pose.origin, &ray, angle), &none);
            for (sum, channel) in sum.iter_mut().zip(colour) {
                *sum += u16::from(channel);
            }
        }
        colours.push(sum.map(|sum| (sum / 4) as u8));
        let hit = room.meet(&pose.origin, &pose.ray(lens, x, y), angle);
        // Outside of the table there is no shadow.
        places.push(hit.on_table().unwrap_or([-1.0, -1.0]));
    }
    Backdrop::Still(colours, places)
}

/// Three parts of one and one of the other, at most 4080 here: nothing wraps, and without the check
/// the compiler does eight at a time.
fn three_to_one(three: u16, one: u16) -> u16 {
    three.wrapping_mul(3).wrapping_add(one)
}

/// Doubles an image of `columns` pixels a row: linear, as pixels are areas.
fn double(half: &[[u8; 3]], columns: usize, full: &mut [[u8; 3]], width: usize, height: usize) {
    let rows = half.len() / columns;
    // One pixel more on both sides, so that every pixel has two neighbours.
    let mut mixed = vec![[0_u16; 3]; columns + 2];
    let (mut left, mut right) = (vec![[0_u8; 3]; columns], vec![[0_u8; 3]; columns]);
    for (y, out) in full.chunks_exact_mut(width).enumerate().take(height) {
        let near = y / 2;
        let far = if y % 2 == 0 {
            near.saturating_sub(1)
        } else {
            (near + 1).min(rows - 1)
        };
        let (near, far) = (
            &half[near * columns..][..columns],
            &half[far * columns..][..columns],
        );
        let inner = mixed[1..=columns].as_flattened_mut().iter_mut();
        for ((mixed, near), far) in inner.zip(near.as_flattened()).zip(far.as_flattened()) {
            *mixed = three_to_one(u16::from(*near), u16::from(*far));
        }
        mixed[0] = mixed[1];
        mixed[columns + 1] = mixed[columns];
        let mixed = mixed.as_flattened();
        let here = mixed[3..].iter();
        for ((out, here), side) in left
            .as_flattened_mut()
            .iter_mut()
            .zip(here.clone())
            .zip(mixed)
        {
            *out = (three_to_one(*here, *side).wrapping_add(8) >> 4) as u8;
        }
        for ((out, here), side) in right
            .as_flattened_mut()
            .iter_mut()
            .zip(here)
            .zip(&mixed[6..])
        {
            *out = (three_to_one(*here, *side).wrapping_add(8) >> 4) as u8;
        }
        for ((pair, left), right) in out.chunks_mut(2).zip(&left).zip(&right) {
            pair[0] = *left;
            if let Some(pixel) = pair.get_mut(1) {
                *pixel = *right;
            }
        }
    }
}
