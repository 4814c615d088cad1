//! Measures how far capture times are from the truth, for each emulated device
//! under each condition of its link and clock; beside it what other methods make
//! of the same recording: arrival time, a least-squares line, and the constants
//! that DexUMI subtracts.
//!
//! ```text
//! cargo run --release --example measure_sync -- [--seconds 20]
//! ```
//! Prints Markdown: 95th percentile of the absolute error in milliseconds.

#[allow(dead_code, reason = "the other measurement uses the rest")]
mod rig;

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dexumi::{
    command::Alignment,
    emulate::{EmulatedScene, SceneOptions},
    sync::{Matched, matched},
};
use dexumi_capture::emulate::{EmulatedRig, Faults, Mark, PRESETS, Part, RigOptions, Scene, truth};
use dexumi_episode::{SessionTime, StreamKind, episodes_in};
use nalgebra::Isometry3;

/// Measures synchronisation.
#[derive(Parser)]
struct Options {
    /// Length of each recording [s].
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Only the rig of this name: a preset's, `trackers` or `phones`.
    #[arg(long)]
    preset: Option<String>,
    /// Only conditions that contain this.
    #[arg(long, default_value = "")]
    condition: String,
}

/// Name, drift [ppm], faults.
const CONDITIONS: [(&str, f64, &str); 5] = [
    ("clean", 0.0, "none"),
    ("40 ppm", 40.0, "none"),
    ("40 ppm, 2 % stalls", 40.0, "stall=0.02"),
    ("40 ppm, 16 ms batches", 40.0, "batch=16ms"),
    ("40 ppm, reboot", 40.0, "reboot=/@12s"),
];

/// What no preset has: every tracker, and phones.
const OTHERS: [(&str, fn() -> Vec<Part>); 2] = [("trackers", trackers), ("phones", phones)];

fn trackers() -> Vec<Part> {
    vec![
        Part::new("survive", &["/tracker/survive/pose"], 0.8),
        Part::new("polhemus_patriot", &["/tracker/patriot/pose"], -0.6),
        Part::new("polhemus_fastrak", &["/tracker/fastrak/pose"], 0.0),
        Part::new("udp_json", &["/tracker/json/pose"], 0.4),
        Part::new("osc", &["/tracker/osc/pose"], -0.2),
        Part::new("hts", &["/glove/left/keypoints"], 0.0),
        Part::new("bridge", &["/tracker/bridge/pose"], 1.0),
    ]
}

fn phones() -> Vec<Part> {
    let arkit = ["/tracker/arkit/pose", "/camera/arkit/image", "/imu/arkit"];
    vec![
        Part::new("arkit_udp", &arkit, 0.7),
        Part::new(
            "record3d",
            &["/tracker/record3d/pose", "/camera/record3d/image"],
            0.0,
        ),
        Part::new("ffmpeg", &["/camera/ffmpeg/image"], -0.5),
    ]
}

/// 95th percentiles [ms].
struct Row {
    ours: f64,
    bound: f64,
    arrival: f64,
    least_squares: f64,
    constant: f64,
    samples: usize,
}

/// The scene, for cameras of any name: those that it does not know see what the wrist's sees.
struct AnyCamera(EmulatedScene);

impl Scene for AnyCamera {
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64> {
        self.0.joint_angles_rad(t_s)
    }

    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3] {
        self.0.force_counts(finger, t_s)
    }

    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        self.0.world_from_wrist(t_s)
    }

    fn image(&self, camera: &str, t_s: f64, mark: Option<Mark>) -> Result<Vec<u8>, String> {
        let known = if camera == "head" { camera } else { "wrist" };
        self.0.image(known, t_s, mark)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    // Small images: only their marks count.
    let scene: Arc<dyn Scene> = Arc::new(AnyCamera(EmulatedScene::new(&SceneOptions {
        motion: None,
        fps: 30.0,
        setpoints: None,
        wrist: None,
        video: Vec::new(),
        width: 320,
        height: 240,
    })?));
    println!(
        "| driver | stream | condition | samples | ours | our own bound | arrival | least squares | DexUMI's constant |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let presets = PRESETS
        .iter()
        .map(|preset| (preset.name, preset.parts, preset.hand));
    let others = OTHERS.map(|(name, parts)| (name, parts, PRESETS[0].hand));
    for (rig_name, parts, hand) in presets.chain(others) {
        if options.preset.as_ref().is_some_and(|name| name != rig_name) {
            continue;
        }
        let mut table: BTreeMap<(String, String), Vec<(&str, Row)>> = BTreeMap::new();
        for (name, drift_ppm, faults) in CONDITIONS {
            if !name.contains(&options.condition) {
                continue;
            }
            eprintln!("{rig_name}: {name}");
            let rig = RigOptions {
                parts: parts(),
                hand: hand.to_owned(),
                drift_ppm,
                faults: Faults::parse(faults)?,
                mark: true,
                width: 320,
                height: 240,
                ..RigOptions::default()
            };
            for (stream, driver, row) in measure(scene.clone(), rig, options.seconds)? {
                table.entry((driver, stream)).or_default().push((name, row));
            }
        }
        for ((driver, stream), rows) in table {
            for (condition, row) in rows {
                println!(
                    "| {driver} | {stream} | {condition} | {} | **{:.2}** | {:.2} | {:.2} | {:.2} | {:.0} |",
                    row.samples, row.ours, row.bound, row.arrival, row.least_squares, row.constant
                );
            }
        }
    }
    Ok(())
}

fn measure(
    scene: Arc<dyn Scene>,
    options: RigOptions,
    seconds: f64,
) -> Result<Vec<(String, String, Row)>> {
    let folder = tempfile::tempdir()?;
    let truth_path = folder.path().join("truth.jsonl");
    let emulated = EmulatedRig::start(
        scene,
        RigOptions {
            truth: Some(truth_path.clone()),
            ..options
        },
    )?;
    let rig = folder.path().join("rig.toml");
    std::fs::write(&rig, emulated.rig().to_toml())?;
    emulated
        .calibration()
        .save(&folder.path().join("calibration.toml"))?;
    let session = folder.path().join("session");
    let mut child = rig::record(&rig, &session, seconds, 1, &[])?;
    let mut text = String::new();
    child
        .stdout
        .take()
        .context("no standard output")?
        .read_to_string(&mut text)?;
    let status = child.wait()?;
    // 3: stalls and reboots leave gaps, which are reported.
    ensure!(
        matches!(status.code(), Some(0 | 3)),
        "the recorder ended with {status}: {}",
        std::fs::read_to_string(rig::log(&rig)).unwrap_or_default()
    );
    if let Some(problem) = emulated.stop() {
        anyhow::bail!("the emulator failed: {problem}");
    }
    rows(&session, &truth::read(&truth_path)?)
}

fn rows(session: &Path, truth: &truth::Truth) -> Result<Vec<(String, String, Row)>> {
    let path = episodes_in(session)?.pop().context("no episode")?;
    let aligned = Alignment {
        calibration: None,
        max_gap_ms: 100,
    }
    .load(&path)?;
    let mut rows = Vec::new();
    for device in &aligned.episode.rig.device {
        let (matched, _) = matched(&aligned, truth, &device.stream)?;
        if matched.len() < 10 {
            continue;
        }
        let report = aligned.timeline.report.get(&device.stream);
        let row = row(
            &device.stream,
            &matched,
            &aligned,
            report.map_or(f64::NAN, |r| r.bound_s),
        );
        rows.push((device.stream.clone(), device.driver.clone(), row));
    }
    Ok(rows)
}

fn row(stream: &str, matched: &[Matched], aligned: &dexumi::command::Aligned, bound_s: f64) -> Row {
    let anchor = &aligned.episode.info.anchor;
    let arrival = |m: &Matched| anchor.to_session(m.stamp.host_time());
    let error = |time: SessionTime, m: &Matched| (time - m.truth).secs_f64();
    // What the original subtracts from the time of reception: 0_interpolation.py.
    let constant_s = match StreamKind::of(stream) {
        Some(StreamKind::Encoders { .. }) => 0.25,
        Some(StreamKind::Force { .. }) => 0.23,
        Some(StreamKind::Tracker { .. }) => 0.183,
        _ => 0.1849,
    };
    Row {
        ours: p95_ms(matched.iter().map(|m| error(m.capture, m))),
        bound: bound_s * 1e3,
        arrival: p95_ms(matched.iter().map(|m| error(arrival(m), m))),
        least_squares: least_squares(matched, arrival),
        constant: p95_ms(matched.iter().map(|m| error(arrival(m), m) - constant_s)),
        samples: matched.len(),
    }
}

/// Arrival as a straight line of the device's time, or of the sample's number
/// where it has no clock.
fn least_squares(matched: &[Matched], arrival: impl Fn(&Matched) -> SessionTime) -> f64 {
    let first = arrival(&matched[0]);
    let points: Vec<(f64, f64)> = matched
        .iter()
        .enumerate()
        .map(|(i, m)| {
            let x = match (m.stamp.device_time(), matched[0].stamp.device_time()) {
                (Some(time), Some(zero)) => (time - zero).secs_f64(),
                _ => i as f64,
            };
            (x, (arrival(m) - first).secs_f64())
        })
        .collect();
    let n = points.len() as f64;
    let (mx, my) = points
        .iter()
        .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (sxy, sxx) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| {
        (a + (x - mx) * (y - my), b + (x - mx) * (x - mx))
    });
    let slope = sxy / sxx.max(1e-12);
    p95_ms(matched.iter().zip(&points).map(|(m, (x, _))| {
        let fitted = my + slope * (x - mx);
        fitted - (m.truth - first).secs_f64()
    }))
}

fn p95_ms(errors: impl Iterator<Item = f64>) -> f64 {
    let mut errors: Vec<f64> = errors.map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    let index = (errors.len() as f64 * 0.95) as usize;
    errors
        .get(index.min(errors.len().saturating_sub(1)))
        .map_or(f64::NAN, |e| e * 1e3)
}
