//! Very many short episodes: what grows with their number.
//!
//! `DEXUMI_LONG=1 cargo test --release -p dexumi_export --test scale -- --nocapture` takes 10,000 of numbers
//! alone and 1,000 with a camera, and prints what it took; `DEXUMI_EPISODES=N,M` takes others.

// What the other tests need of it is not used here.
#[allow(dead_code)]
#[path = "formats/synthetic.rs"]
mod synthetic;

use std::time::Instant;

use dexumi_export::{Options, Origin, Progress, ResampleReport, format, verify};
use synthetic::{episode, ffmpeg_is_installed, folder, jpegs, options};

const SIZE: (u32, u32) = (64, 48);

/// The most memory that this process has had since it was last asked [MB].
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    kilobytes.unwrap() / 1e3
}

#[test]
fn memory_hardly_grows_with_the_number_of_episodes() {
    if !ffmpeg_is_installed() {
        return;
    }
    let long = std::env::var_os("DEXUMI_LONG").is_some();
    let mut counts = if long { [10_000, 1_000] } else { [200, 10] };
    if let Ok(asked) = std::env::var("DEXUMI_EPISODES") {
        let asked = asked.split(',').map(|count| count.parse::<u32>().unwrap());
        counts
            .iter_mut()
            .zip(asked)
            .for_each(|(count, asked)| *count = asked);
    }
    let [numbers, filmed] = counts;
    for name in ["lerobot-v3", "lerobot-v2.1"] {
        write_and_check(name, numbers, false);
        write_and_check(name, filmed, true);
    }
}

fn write_and_check(name: &str, count: u32, has_camera: bool) {
    let images = jpegs("testsrc2", 18, SIZE);
    let temporary = folder();
    let out = temporary.path().join("dataset");
    let mut episodes = (0..count).map(|number| {
        let steps = 12 + number as usize % 7;
        let cameras = [("head", SIZE, &images[..steps])];
        let mut made = episode(number, steps, &cameras[..usize::from(has_camera)]);
        made.origin = Some(Origin {
            path: format!("/recordings/episode_{number:04}.mcap").into(),
            fingerprint: format!("synthetic {number}"),
            inputs_sha256: String::new(),
            calibration_sha256: String::new(),
            motion: Vec::new(),
            rig: "synthetic".into(),
            resampled: ResampleReport::default(),
        });
        Ok(made)
    });
    let begun = Instant::now();
    peak_mb();
    let mut encoded = (0.0, 0.0);
    let options: Options = options();
    let write = format(name).unwrap().write;
    let report = write(&mut episodes, &out, &options, &mut |progress| {
        if progress == Progress::Finishing {
            encoded = (begun.elapsed().as_secs_f64(), peak_mb());
        }
    })
    .unwrap();
    assert_eq!(report.episodes_written, count as usize);
    let written = (begun.elapsed().as_secs_f64(), peak_mb());
    let begun = Instant::now();
    let verified = verify(&out, &options).unwrap();
    assert_eq!(verified.episodes, u64::from(count));
    let checked = (begun.elapsed().as_secs_f64(), peak_mb());
    eprintln!(
        "{name}, camera: {has_camera}: {count} episodes, {} steps, {:.1} MB; encoded after {:.1} s, at most {:.0} MB; whole after \
             {:.1} s, {:.0} MB; verify {:.1} s, {:.0} MB",
        report.rows,
        report.bytes as f64 / 1e6,
        encoded.0,
        encoded.1,
        written.0,
        written.1,
        checked.0,
        checked.1
    );
    assert!(
        [encoded.1, written.1, checked.1]
            .iter()
            .all(|&peak| peak < 800.0),
        "{encoded:?} {written:?} {checked:?}"
    );
}
