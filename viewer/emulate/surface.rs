//! How surfaces look under the light.

use super::raster::V3;

/// What a surface looks like.
#[derive(Debug, Clone, Copy)]
pub struct Material {
    /// Colour, blue, green, red, 0 to 255.
    pub bgr: [f32; 3],
    /// Strength of the highlight, 0 to 1.
    pub gloss: f32,
}

/// Light in camera axes: one lamp, sky above and floor below, and a weak light at the camera.
#[derive(Debug, Clone, Copy)]
pub struct Light {
    /// Unit vector towards the lamp.
    pub lamp: V3,
    /// Unit vector upwards in the world.
    pub up: V3,
}

/// A surface under a light, seen along one direction.
#[derive(Debug, Clone, Copy)]
pub struct Shader {
    material: Material,
    light: Light,
    /// Unit vector away from the camera.
    view: V3,
    /// Unit vector between the lamp and the camera.
    pub halfway: V3,
}

impl Shader {
    /// For a surface seen along `view`, a unit vector away from the camera.
    pub fn new(material: &Material, light: &Light, view: &V3) -> Self {
        let halfway = (light.lamp - view)
            .try_normalize(1e-6)
            .unwrap_or(light.lamp);
        Self {
            material: *material,
            light: *light,
            view: *view,
            halfway,
        }
    }

    /// Colour (blue, green, red) where the unit normal is `normal`.
    pub fn colour(&self, normal: &V3) -> [u8; 3] {
        let lamp = normal.dot(&self.light.lamp);
        let up = normal.dot(&self.light.up);
        let tone = tone(lamp, up, -normal.dot(&self.view), normal.dot(&self.halfway));
        self.material.toned(tone)
    }
}

/// How bright a surface is, and how much white is added, as multiples of its gloss: Lambert's and
/// Blinn's laws, with a bright rim. All are cosines of its normal: to the lamp, upwards, to the
/// camera, and half-way between lamp and camera.
#[inline(always)]
pub fn tone(lamp: f32, up: f32, facing: f32, shine: f32) -> (f32, f32) {
    let (lamp, facing, shine) = (
        at_least(0.0, lamp),
        at_least(0.0, facing),
        at_least(0.0, shine),
    );
    let sky = 0.5 + 0.5 * up;
    let away = at_least(0.0, 1.0 - facing);
    let square = |x: f32| x * x;
    let (shine4, facing4) = (square(square(shine)), square(square(facing)));
    let (shine8, front) = (square(shine4), square(square(facing4)));
    let shine28 = square(shine8) * shine8 * shine4;
    let added = 0.62 * shine28 + 0.12 * front + away * away * away * (0.10 + 0.22 * sky);
    (0.20 + 0.22 * sky + 0.50 * lamp + 0.38 * facing, added)
}

/// The greater; unlike `max`, one instruction, as no number here is not a number.
#[inline(always)]
pub fn at_least(low: f32, x: f32) -> f32 {
    if x > low { x } else { low }
}

impl Material {
    /// Colour (blue, green, red) for a [`tone`].
    pub fn toned(&self, (bright, added): (f32, f32)) -> [u8; 3] {
        let added = 255.0 * self.gloss * added;
        // The conversion saturates.
        self.bgr.map(|channel| (channel * bright + added) as u8)
    }
}
