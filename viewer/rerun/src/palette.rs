//! Colours, sRGB 0 to 255. Chosen to be told apart on a dark background.

use dexumi_retarget::Finger;

/// Path of a tracker.
pub(crate) const TRACKER_PATH: [u8; 3] = [255, 193, 79];
/// The operator's hand, as the exoskeleton measures it.
pub(crate) const MEASURED_HAND: [u8; 3] = [236, 200, 170];
/// The robot hand that follows.
pub(crate) const ROBOT_HAND: [u8; 3] = [92, 170, 255];
/// Outline of a camera.
pub(crate) const CAMERA: [u8; 3] = [150, 150, 160];
/// x, y, z: red, green, blue, as everywhere.
pub(crate) const XYZ: [[u8; 3]; 3] = [[240, 92, 92], [104, 203, 108], [96, 156, 255]];

/// As Rerun takes it.
pub(crate) fn rgb([r, g, b]: [u8; 3]) -> rerun::Color {
    rerun::Color::from_rgb(r, g, b)
}

/// `colour` as light as a part that is drawn in `part`: parts stay apart.
pub(crate) fn tint(colour: [u8; 3], part: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = part.map(f64::from);
    // Rec. 709 luma; a dark part keeps most of the colour.
    let luma = (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255.0;
    colour.map(|channel| (f64::from(channel) * (0.72 + 0.28 * luma)).round() as u8)
}

/// Colour of the `nth` joint of a finger, from the palm outwards.
pub(crate) fn joint(finger: Option<Finger>, nth: usize) -> [u8; 3] {
    let base = match finger {
        Some(Finger::Thumb) => [240, 92, 92],
        Some(Finger::Index) => [255, 176, 59],
        Some(Finger::Middle) => [104, 203, 108],
        Some(Finger::Ring) => [79, 195, 247],
        Some(Finger::Little) => [186, 120, 230],
        None => [190, 190, 190],
    };
    // Further out is lighter.
    let towards_white = 0.28 * nth.min(2) as f64;
    base.map(|channel: u8| {
        let channel = f64::from(channel);
        (channel + (255.0 - channel) * towards_white).round() as u8
    })
}
