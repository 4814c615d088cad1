//! Writes a LeRobot v3 dataset of synthetic episodes and prints the report:
//! `cargo run --example synthetic -- OUT [EPISODES] [STEPS] [av1|h264]`.
//!
//! Used to try readers without a recording, and to measure the writer.

// The tests use more of it.
#[allow(dead_code)]
#[path = "../tests/formats/synthetic.rs"]
mod synthetic;

use std::time::Instant;

use dexumi_export::{Codec, Options, Progress, format};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("expected a folder to write into")?;
    let count: u32 = arguments.next().map_or(Ok(3), |n| n.parse())?;
    let steps: usize = arguments.next().map_or(Ok(150), |n| n.parse())?;
    let codec = match arguments.next().as_deref() {
        Some("av1") => Codec::Av1,
        _ => Codec::H264,
    };
    let size = (640, 480);
    let head = synthetic::jpegs("testsrc2", steps, size);
    // A slower camera: every other image is shown twice.
    let wrist = synthetic::jpegs("mandelbrot", steps.div_ceil(2), size);
    let mut episodes = (0..count).map(|number| {
        let cameras = [("head", size, &head[..]), ("wrist", size, &wrist[..])];
        Ok(synthetic::episode(
            number,
            steps - number as usize % 3,
            &cameras,
        ))
    });
    let options = Options {
        codec,
        ..Options::default()
    };
    let start = Instant::now();
    let write = format("lerobot-v3")?.write;
    let report = write(&mut episodes, out.as_ref(), &options, &mut |progress| {
        if !matches!(progress, Progress::Encoding { .. }) {
            println!("{progress:?} after {:.2} s", start.elapsed().as_secs_f64());
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let images: u64 = report.cameras.iter().map(|camera| camera.images).sum();
    println!("{}", serde_json::to_string_pretty(&report)?);
    println!(
        "{images} images in {seconds:.2} s, {:.1} images/s",
        images as f64 / seconds
    );
    Ok(())
}
