//! A recorded hand to joint positions: `cargo run --release --example retarget_clip -- hand.npy`
//!
//! `hand.npy`: keypoints [n, 21, 3] (m) of a right hand at 30 Hz, in the hand's axes.

use dexumi_retarget::{
    Hand, NpyArray, Preset, RetargetOptions, SmoothOptions, finger_scales, keypoints_from_array,
    retarget_clip,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("expected a file of keypoints, [n, 21, 3]")?;
    let hand = Hand::by_name("xhand_right")?;
    let clip = keypoints_from_array(&NpyArray::from_path(file.as_ref())?)?;
    let scales = finger_scales(&hand, &clip)?;
    let options = RetargetOptions::new(Preset::dexumi(scales));
    for step in retarget_clip(hand, &options, SmoothOptions::default(), &clip, 1.0 / 30.0)? {
        println!(
            "{:.4?} index tip off by {:.1} mm",
            step.position,
            1e3 * step.tip_error_m[1]
        );
    }
    Ok(())
}
