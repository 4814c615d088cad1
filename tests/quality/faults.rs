//! Faults of every kind that a metric has to find, put into a take.

use std::sync::Arc;

use dexumi_quality::Grade;
use opencv::{
    core::{Mat, Size, Vector},
    imgcodecs, imgproc,
    prelude::*,
};

use super::studio::{CAMERAS, Dice, ENCODERS, FORCES, IMAGE_HZ, Take};

/// A fault, and what has to be said of an episode that has it.
pub struct Fault {
    /// For the table.
    pub name: &'static str,
    /// The metric that finds it.
    pub metric: &'static str,
    /// At the least.
    pub grade: Grade,
    /// Its size, for the table.
    pub size: &'static str,
    /// Puts it in.
    pub seed: fn(&mut Take, &mut Dice),
}

const fn fault(
    name: &'static str,
    metric: &'static str,
    grade: Grade,
    size: &'static str,
    seed: fn(&mut Take, &mut Dice),
) -> Fault {
    Fault {
        name,
        metric,
        grade,
        size,
        seed,
    }
}

/// All but duplicates, which take a second episode.
#[rustfmt::skip]
pub const FAULTS: &[Fault] = &[
    fault("tracker lost", "tracking_lost", Grade::C, "12–40 % of the time", |take, dice| {
        let (from, to) = stretch(take, dice, 0.12, 0.4);
        take.wrist.iter_mut().filter(|pose| (from..to).contains(&pose.t)).for_each(|pose| pose.value.1 = false);
    }),
    fault("tracker jumps", "pose_jumps", Grade::B, "1–4 jumps of 25–100 mm", |take, dice| {
        for _ in 0..=dice.below(4) {
            let (at, size) = (take.seconds * dice.between(0.1, 0.9), dice.between(0.025, 0.1));
            let way = std::array::from_fn::<f64, 3, _>(|_| dice.gauss());
            let length = way.iter().map(|x| x * x).sum::<f64>().sqrt();
            for pose in take.wrist.iter_mut().filter(|pose| pose.t > at) {
                (0..3).for_each(|i| pose.value.0.translation.vector[i] += size * way[i] / length);
            }
        }
    }),
    fault("camera clock off by 30 ms", "sync_residual", Grade::C, "±30 ms", |take, dice| shift(take, dice, 0.030)),
    fault("camera clock off by 60 ms", "sync_residual", Grade::C, "±60 ms", |take, dice| shift(take, dice, 0.060)),
    fault("camera clock off by 120 ms", "sync_residual", Grade::D, "±120 ms", |take, dice| shift(take, dice, 0.120)),
    fault("dropped images", "missing_share", Grade::B, "3–20 %, here and there", |take, dice| {
        let share = dice.between(0.03, 0.2);
        let camera = dice.below(2);
        take.images[camera].retain(|_| dice.unit() > share);
    }),
    fault("a gap in the images", "longest_gap", Grade::C, "0.6–1.8 s", |take, dice| {
        let (from, to) = span(take, dice, 0.6, 1.8);
        let camera = dice.below(2);
        take.images[camera].retain(|image| !(from..to).contains(&image.t));
    }),
    fault("frozen images", "frozen", Grade::C, "0.7–2 s", |take, dice| {
        let (from, to) = span(take, dice, 0.7, 2.0);
        let camera = dice.below(2);
        let mut stands: Option<Arc<Vec<u8>>> = None;
        for image in take.images[camera].iter_mut().filter(|image| (from..to).contains(&image.t)) {
            image.value = stands.get_or_insert(image.value.clone()).clone();
        }
    }),
    fault("images sent twice", "duplicate_images", Grade::B, "4–20 %", |take, dice| {
        let (share, camera) = (dice.between(0.04, 0.2), dice.below(2));
        let images = &mut take.images[camera];
        for at in 1..images.len() {
            if dice.unit() < share {
                images[at].value = images[at - 1].value.clone();
            }
        }
    }),
    fault("out of focus", "blurred", Grade::C, "Gaussian, 2–4 pixels of 320", |take, dice| {
        let sigma = dice.between(2.0, 4.0);
        redraw(take, dice, |image| {
            let mut soft = Mat::default();
            let done = imgproc::gaussian_blur_def(image, &mut soft, Size::new(0, 0), sigma);
            done.map(|()| soft)
        });
    }),
    fault("dark", "dark", Grade::C, "10–25 % of the light", |take, dice| {
        let light = dice.between(0.10, 0.25);
        redraw(take, dice, |image| scaled(image, light));
    }),
    fault("overexposed", "burnt", Grade::C, "4–6 times the light", |take, dice| {
        let light = dice.between(4.0, 6.0);
        redraw(take, dice, |image| scaled(image, light));
    }),
    fault("damaged images", "damaged_images", Grade::B, "1–5 % cut", |take, dice| {
        let (share, camera) = (dice.between(0.01, 0.05), dice.below(2));
        let count = take.images[camera].len();
        for _ in 0..((share * count as f64) as usize).max(1) {
            let image = &mut take.images[camera][dice.below(count)];
            let half = image.value.len() / 2;
            image.value = Arc::new(image.value[..half].to_vec());
        }
    }),
    fault("idle", "idle_share", Grade::C, "75–90 % of the time", |take, dice| {
        let busy = take.seconds * (1.0 - dice.between(0.75, 0.9));
        hold(take, busy);
    }),
    fault("beyond the robot's limits", "limit_hits", Grade::C, "one joint, 5–11° over, 15–60 % of the time", |take, dice| {
        let (from, to) = stretch(take, dice, 0.15, 0.6);
        // The middle finger's first joint bends to 110° on the robot.
        let over = 1.9199 + dice.between(0.09, 0.19);
        take.joints.iter_mut().filter(|scan| (from..to).contains(&scan.t)).for_each(|scan| scan.value[6] = over);
    }),
    fault("beyond the calibrated span", "outside_calibration", Grade::B, "one joint, 3–30 % of the time", |take, dice| {
        let (from, to) = stretch(take, dice, 0.03, 0.3);
        take.joints.iter_mut().filter(|scan| (from..to).contains(&scan.t)).for_each(|scan| scan.value[6] = 2.6);
    }),
    fault("force at the end of its range", "force_saturation", Grade::B, "cut at 45–70 % of the largest", |take, dice| {
        let largest = |force: &Vec<super::studio::Sample<[f64; 3]>>| force.iter().map(|s| s.value[2]).fold(0.0, f64::max);
        let finger = (0..3).max_by(|&a, &b| largest(&take.forces[a]).total_cmp(&largest(&take.forces[b]))).expect("three");
        let most = (largest(&take.forces[finger]) * dice.between(0.45, 0.7)).round();
        take.forces[finger].iter_mut().for_each(|sample| sample.value[2] = sample.value[2].min(most));
    }),
    fault("noisy tracker", "wrist_jitter", Grade::C, "rms 6–15 mm", |take, dice| {
        let sigma = dice.between(0.006, 0.015) / 3_f64.sqrt();
        for pose in &mut take.wrist {
            (0..3).for_each(|i| pose.value.0.translation.vector[i] += sigma * dice.gauss());
        }
    }),
    fault("noisy joints", "joint_jitter", Grade::C, "2.5–5°", |take, dice| {
        let (sigma, joint) = (dice.between(2.5, 5.0).to_radians(), dice.below(12));
        take.joints.iter_mut().for_each(|scan| scan.value[joint] += sigma * dice.gauss());
    }),
    fault("trembling wrist", "smoothness", Grade::B, "6–9 Hz, 6–12 mm", |take, dice| {
        let (hz, size) = (dice.between(6.0, 9.0), dice.between(0.006, 0.012));
        let phase = dice.between(0.0, 6.0);
        for pose in &mut take.wrist {
            let turn = std::f64::consts::TAU * hz * pose.t;
            pose.value.0.translation.vector.x += size * (turn + phase).sin();
            pose.value.0.translation.vector.y += size * (1.13 * turn).cos();
        }
    }),
    fault("no task", "language", Grade::B, "empty, placeholder, one word", |take, dice| {
        take.task = ["", "  ", "test", "todo", "42", "cube", "asdf"][dice.below(7)].to_owned();
    }),
    fault("packets lost", "loss_share", Grade::B, "2–20 % by the ledger", |take, dice| {
        let stream = [ENCODERS, FORCES[0], FORCES[1]][dice.below(3)];
        let sent = if stream == ENCODERS { take.joints.len() } else { take.forces[0].len() };
        take.lost.push((stream, (dice.between(0.025, 0.25) * sent as f64) as u64));
    }),
    fault("suspect samples", "suspect_share", Grade::B, "3–15 %", |take, dice| {
        let share = dice.between(0.03, 0.15);
        take.joints.iter_mut().for_each(|scan| scan.suspect = u32::from(dice.unit() < share));
    }),
    fault("a clock starts anew", "clock_jumps", Grade::B, "once", |take, dice| {
        take.reboot = Some(take.seconds * dice.between(0.25, 0.75));
    }),
    fault("irregular samples", "interval_cv", Grade::B, "intervals ±35–45 %", |take, dice| {
        let size = dice.between(0.35, 0.45) / 180.0;
        take.joints.iter_mut().for_each(|scan| scan.t += size * dice.between(-1.0, 1.0));
    }),
    fault("a board is silent", "silent", Grade::D, "no sample", |take, dice| {
        take.absent.push(FORCES[dice.below(3)]);
    }),
    fault("too short", "duration", Grade::C, "0.9–1.7 s", |take, dice| {
        let seconds = dice.between(0.9, 1.7);
        cut(take, seconds);
    }),
    fault("bones that stretch", "bone_cv", Grade::C, "7–15 %", |take, dice| {
        let (size, hz) = (dice.between(0.07, 0.15) * 1.5, dice.between(0.3, 2.0));
        for sample in &mut take.glove {
            let factor = 1.0 + size * (std::f64::consts::TAU * hz * sample.t).sin();
            sample.value.as_flattened_mut().iter_mut().for_each(|x| *x *= factor);
        }
    }),
];

/// A part of the take, away from its ends, of a share of its length [s].
fn stretch(take: &Take, dice: &mut Dice, least: f64, most: f64) -> (f64, f64) {
    let seconds = take.seconds;
    span(take, dice, least * seconds, most * seconds)
}

fn span(take: &Take, dice: &mut Dice, least: f64, most: f64) -> (f64, f64) {
    let length = dice.between(least, most);
    let from = dice.between(0.1, (take.seconds - length - 0.1).max(0.11));
    (from, from + length)
}

fn shift(take: &mut Take, dice: &mut Dice, seconds: f64) {
    let camera = dice.below(CAMERAS.len());
    let late = seconds * dice.sign() - take.late[camera];
    for image in &mut take.images[camera] {
        image.t += late;
        // Nothing arrives before it was taken.
        image.arrival += late.max(0.0);
    }
}

/// All images of a camera through `change`.
fn redraw(take: &mut Take, dice: &mut Dice, change: impl Fn(&Mat) -> opencv::Result<Mat>) {
    let camera = dice.below(CAMERAS.len());
    for image in &mut take.images[camera] {
        let bytes = Mat::from_slice(&image.value).expect("bytes");
        let drawn = imgcodecs::imdecode(&bytes, imgcodecs::IMREAD_COLOR).expect("an image");
        let changed = change(&drawn).expect("a changed image");
        let mut jpeg = Vector::new();
        imgcodecs::imencode_def(".jpg", &changed, &mut jpeg).expect("a JPEG");
        image.value = Arc::new(jpeg.into());
    }
}

fn scaled(image: &Mat, factor: f64) -> opencv::Result<Mat> {
    let mut scaled = Mat::default();
    image.convert_to(&mut scaled, -1, factor, 0.0)?;
    Ok(scaled)
}

/// From `busy` on everything stands still, but for its noise.
fn hold(take: &mut Take, busy: f64) {
    let mut dice = Dice::new(1);
    let still = |t: f64| t > busy;
    if let Some(stand) = take.joints.iter().rfind(|scan| !still(scan.t)).cloned() {
        for scan in take.joints.iter_mut().filter(|scan| still(scan.t)) {
            scan.value = stand
                .value
                .iter()
                .map(|angle| angle + 0.001 * dice.gauss())
                .collect();
        }
    }
    if let Some(stand) = take.wrist.iter().rfind(|pose| !still(pose.t)).cloned() {
        for pose in take.wrist.iter_mut().filter(|pose| still(pose.t)) {
            pose.value.0 = stand.value.0;
            (0..3).for_each(|i| pose.value.0.translation.vector[i] += 0.0002 * dice.gauss());
        }
    }
    if let Some(stand) = take.glove.iter().rfind(|hand| !still(hand.t)).cloned() {
        for hand in take.glove.iter_mut().filter(|hand| still(hand.t)) {
            hand.value = stand.value;
            hand.value
                .as_flattened_mut()
                .iter_mut()
                .for_each(|x| *x += 0.0003 * dice.gauss());
        }
    }
    for images in &mut take.images {
        if let Some(stand) = images.iter().rfind(|image| !still(image.t)).cloned() {
            images
                .iter_mut()
                .filter(|image| still(image.t))
                .for_each(|image| image.value = stand.value.clone());
        }
    }
    for force in &mut take.forces {
        if let Some(stand) = force.iter().rfind(|sample| !still(sample.t)).cloned() {
            for sample in force.iter_mut().filter(|sample| still(sample.t)) {
                sample.value = stand.value.map(|count| count + 0.6 * dice.gauss());
            }
        }
    }
}

/// The take ends after `seconds`.
fn cut(take: &mut Take, seconds: f64) {
    let end = seconds + 0.1;
    take.seconds = seconds;
    take.joints.retain(|sample| sample.t < end);
    take.wrist.retain(|sample| sample.t < end);
    take.glove.retain(|sample| sample.t < end);
    take.forces
        .iter_mut()
        .for_each(|force| force.retain(|sample| sample.t < end));
    take.images
        .iter_mut()
        .for_each(|images| images.retain(|image| image.t < end + 1.0 / IMAGE_HZ));
}
