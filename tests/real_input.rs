//! A real video and real hand keypoints through the whole job: what comes out
//! of the dataset is the picture that went in, at the time at which it was shown.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use dexumi_capture::emulate::mark;

use crate::program::{alone, json, long, run_well, shared, text};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
/// Rows at the top that carry the mark, with a margin for the codec.
const MARKED_ROWS: usize = 48;

/// All images of a video as brightness, scaled to WIDTH x HEIGHT.
fn gray(video: &Path) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-i",
            text(video),
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
        ])
        .args(["-vf", &format!("scale={WIDTH}:{HEIGHT}:flags=area")])
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg should start");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
        .stdout
        .chunks_exact(WIDTH * HEIGHT)
        .map(<[u8]>::to_vec)
        .collect()
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let from = MARKED_ROWS * WIDTH;
    let square: f64 = a[from..]
        .iter()
        .zip(&b[from..])
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 / (square / (a.len() - from) as f64).max(1e-9)).log10()
}

#[test]
fn a_real_video_comes_out_of_the_dataset_at_its_own_times() {
    let (Some(video), Some(motion)) = (
        shared("human_hand_right_1280x720_30fps.mp4"),
        shared("mediapipe_right_621x21x3_30fps_m.npy"),
    ) else {
        return;
    };
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let seconds = if long() { "20" } else { "6" };
    let wrist = format!("wrist={}", video.display());
    let output = run_well(
        &[
            "demo",
            "--out",
            text(&out),
            "--episodes",
            "1",
            "--seconds",
            seconds,
            "--video",
            &wrist,
            "--motion",
            text(&motion),
            "--image-size",
            "1280x720",
            "--json",
        ],
        &[0, 3],
    );
    let report = json(&output);
    let rms = report["truth"][0]["joint_rms_rad"]
        .as_f64()
        .expect("a number")
        .to_degrees();
    assert!(rms < 0.5, "joint angles are {rms}° rms from the truth");

    let dataset = out.join("dataset/videos/observation.images.wrist/chunk-000/file-000.mp4");
    let (source, decoded) = (gray(&video), gray(&dataset));
    let rows = report["dataset"]["rows"].as_u64().expect("a number") as usize;
    assert_eq!(decoded.len(), rows, "every step has an image");
    let mut worst = f64::INFINITY;
    let mut previous = None;
    for (step, image) in decoded.iter().enumerate() {
        let shown_s = mark::read(image, WIDTH as u32, HEIGHT as u32);
        let shown_s = shown_s.unwrap_or_else(|| panic!("the mark of step {step} cannot be read"));
        // The emulator shows image round(t * fps) of the video at scene time t.
        let index = (shown_s * 30.0).round() as usize % source.len();
        let got = psnr(image, &source[index]);
        worst = worst.min(got);
        assert!(
            got >= 30.0,
            "step {step}: {got:.1} dB from image {index} of the video"
        );
        // Nearest image: half a period from the grid at most, so that two steps
        // show images of 0 to 2 periods apart.
        if let Some(previous) = previous.replace(shown_s) {
            let advance: f64 = shown_s - previous;
            assert!(
                (-1e-9..=2.0 / 30.0 + 2e-3).contains(&advance),
                "step {step} advances by {advance} s"
            );
        }
    }
    eprintln!("{rows} images, at least {worst:.1} dB");
}
