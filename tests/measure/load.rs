//! Measures what recording costs and where it first loses: three 720p cameras at
//! 30 Hz, four boards at 500 Hz and motion capture at 240 Hz, all emulated at
//! their bytes, recorded by the program itself.
//!
//! ```text
//! cargo run --release --example measure_load -- [--seconds 600] [--limit]
//! ```
//! Prints Markdown. Run it on a machine that does nothing else.

mod rig;

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dexumi_capture::emulate::{EmulatedRig, Faults, Part, RigOptions, Scene, truth};
use rig::CheapScene;
use serde_json::Value;

/// Measures recording under load.
#[derive(Parser)]
struct Options {
    /// Length of the measurement [s]; 0 leaves it out.
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    /// Also raise the load until something is lost, in steps of so many seconds.
    #[arg(long, value_name = "S")]
    limit: Option<f64>,
    /// Words in front of the recorder, to find its limit where the emulator on the same
    /// machine gives out first: `--under "taskset -c 0 nice -n 19"`.
    #[arg(long, value_name = "WORDS", default_value = "")]
    under: String,
    /// The first step of raising the load: so many times the usual one.
    #[arg(long, default_value_t = 2)]
    from: usize,
    /// Where to record; the disk is part of what is measured.
    #[arg(long, default_value = "measure-load")]
    out: std::path::PathBuf,
}

/// Cameras, boards and their rate, motion-capture rate.
#[derive(Clone, Copy)]
struct Load {
    cameras: usize,
    boards: usize,
    board_hz: f64,
    mocap_hz: f64,
}

const USUAL: Load = Load {
    cameras: 3,
    boards: 4,
    board_hz: 500.0,
    mocap_hz: 240.0,
};

impl Load {
    fn times(self, factor: usize) -> Self {
        // Two hands have no more: encoders and five fingertips each. Further it goes by
        // their rate, up to what 921,600 baud carry.
        let boards = (self.boards * factor).min(12);
        let each = (self.boards * factor) as f64 / boards as f64;
        Self {
            cameras: self.cameras * factor,
            boards,
            board_hz: (self.board_hz * each).min(1_400.0),
            mocap_hz: self.mocap_hz * factor as f64,
        }
    }

    fn name(self) -> String {
        let Self {
            cameras,
            boards,
            board_hz,
            mocap_hz,
        } = self;
        format!("{cameras} × 720p30 + {boards} × {board_hz:.0} Hz + {mocap_hz:.0} Hz")
    }

    fn parts(self) -> Vec<Part> {
        let drift = |i: usize| [1.0, -0.8, 0.6, -0.4][i % 4];
        let mut parts = Vec::new();
        for i in 0..self.boards {
            // Encoders of two hands, then fingertips.
            let fingers = ["thumb", "index", "middle", "ring", "little"];
            let side = if i % 2 == 0 { "left" } else { "right" };
            let (driver, stream) = match i {
                0 | 1 => ("dexumi_xhand_encoders", format!("/exo/{side}/encoders")),
                _ => {
                    let finger = fingers[(i - 2) / 2 % 5];
                    ("dexumi_xhand_force", format!("/exo/{side}/force/{finger}"))
                }
            };
            parts.push(Part {
                rate_hz: Some(self.board_hz),
                ..Part::new(driver, &[&stream], drift(i))
            });
        }
        parts.push(Part {
            rate_hz: Some(self.mocap_hz),
            ..Part::new("natnet", &["/tracker/wrist/pose"], -1.0)
        });
        for i in 0..self.cameras {
            let stream = format!("/camera/view{i}/image");
            parts.push(Part::new("mjpeg_http", &[&stream], drift(i)).variant("stamped"));
        }
        parts
    }
}

/// What one recording gave.
struct Measured {
    /// Of one core [%].
    cpu_percent: f64,
    /// Resident memory after a tenth of the time, and at the end [MB].
    memory_mb: (f64, f64),
    queue_p99_ms: f64,
    bytes: u64,
    written: u64,
    /// Of what the emulator sent: lost or missing, by the recorder's own account.
    lost: u64,
    /// Samples that the emulator itself could not send in time.
    unsent: u64,
    /// Worst lines of the ledger, for people.
    said: Vec<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.out)?;
    let scene = CheapScene::new(1280, 720)?;
    println!(
        "| load | s | MB/s | CPU, % of a core | RSS, MB (early, end) | p99 in queue, ms | samples | lost | emulator late |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let under: Vec<String> = options.under.split_whitespace().map(String::from).collect();
    if options.seconds > 0.0 {
        let usual = measure(&scene, USUAL, options.seconds, &options.out, &under)?;
        line(&USUAL.name(), options.seconds, &usual);
        plain_writer(&options.out, &usual, options.seconds)?;
    }
    if let Some(seconds) = options.limit {
        let factors = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
        for factor in factors.into_iter().filter(|&factor| factor >= options.from) {
            let load = USUAL.times(factor);
            let measured = measure(&scene, load, seconds, &options.out, &under)?;
            line(&format!("× {factor}: {}", load.name()), seconds, &measured);
            if measured.lost > 0 {
                break;
            }
        }
    }
    Ok(())
}

fn line(name: &str, seconds: f64, m: &Measured) {
    println!(
        "| {name} | {seconds:.0} | {:.1} | {:.1} | {:.0}, {:.0} | {:.1} | {} | {} | {} |",
        m.bytes as f64 / 1e6 / seconds,
        m.cpu_percent,
        m.memory_mb.0,
        m.memory_mb.1,
        m.queue_p99_ms,
        m.written,
        m.lost,
        m.unsent
    );
    for said in &m.said {
        eprintln!("{name}: {said}");
    }
}

fn measure(
    scene: &Arc<CheapScene>,
    load: Load,
    seconds: f64,
    out: &Path,
    under: &[String],
) -> Result<Measured> {
    let folder = tempfile::tempdir_in(out)?;
    let truth_path = folder.path().join("truth.jsonl");
    let emulated = EmulatedRig::start(
        scene.clone() as Arc<dyn Scene>,
        RigOptions {
            parts: load.parts(),
            faults: Faults::default(),
            truth: Some(truth_path.clone()),
            ..RigOptions::default()
        },
    )?;
    let rig = folder.path().join("rig.toml");
    std::fs::write(&rig, emulated.rig().to_toml())?;
    let mut child = rig::record(&rig, &folder.path().join("session"), seconds, 1, under)?;
    let pid = child.id();
    let mut stdout = child.stdout.take().context("no standard output")?;
    let began = Instant::now();
    // From the second second on: opening devices is not recording.
    let (mut first, mut last, mut early) = (None, None, None);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if child.try_wait()?.is_some() {
            break;
        }
        let elapsed = began.elapsed().as_secs_f64();
        if let Some((cpu_s, memory_mb)) = rig::used(pid).filter(|_| elapsed > 2.0) {
            first.get_or_insert((elapsed, cpu_s));
            if elapsed > 2.0 + seconds / 10.0 {
                early.get_or_insert(memory_mb);
            }
            if elapsed < seconds + 1.0 {
                last = Some((elapsed, cpu_s, memory_mb));
            }
        }
    }
    let mut text = String::new();
    stdout.read_to_string(&mut text)?;
    if let Some(problem) = emulated.stop() {
        anyhow::bail!("the emulator failed: {problem}");
    }
    let report: Value = serde_json::from_str(&text).context("the recorder gave no report")?;
    let episode = &report["episodes"][0];
    let ledger = episode["ledger"].as_object().context("no ledger")?;
    let (mut written, mut lost, mut said) = (0, 0, Vec::new());
    for (stream, counts) in ledger {
        let number = |key: &str| counts[key].as_u64().unwrap_or(0);
        let losses: u64 = counts["losses"]
            .as_object()
            .map_or(0, |losses| losses.values().filter_map(Value::as_u64).sum());
        written += number("written");
        lost += losses + number("missing");
        if losses + number("missing") > 0 {
            said.push(format!("{stream}: {counts}"));
        }
    }
    if lost > 0 {
        let log = std::fs::read_to_string(rig::log(&rig)).unwrap_or_default();
        said.extend(log.lines().map(str::to_owned));
    }
    let truth = truth::read(&truth_path)?;
    let unsent: u64 = truth
        .events
        .iter()
        .filter(|e| e.what == "late")
        .map(|e| e.count)
        .sum();
    let (start, end) = first.zip(last).context("the recording was too short")?;
    ensure!(end.0 > start.0, "the recording was too short");
    Ok(Measured {
        cpu_percent: (end.1 - start.1) / (end.0 - start.0) * 100.0,
        memory_mb: (early.unwrap_or(0.0), end.2),
        queue_p99_ms: episode["queue_p99_s"].as_f64().unwrap_or(f64::NAN) * 1e3,
        bytes: episode["bytes"].as_u64().unwrap_or(0),
        written,
        lost,
        unsent,
        said,
    })
}

/// The same bytes by one thread that only writes and syncs, as fast as it can.
fn plain_writer(out: &Path, usual: &Measured, seconds: f64) -> Result<()> {
    let path = out.join("plain.bin");
    let mut file = File::create(&path)?;
    let block: Vec<u8> = (0..1_u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let (began, before) = (Instant::now(), rig::used(std::process::id()));
    let (mut left, mut synced) = (usual.bytes, Instant::now());
    let mut longest = Duration::ZERO;
    while left > 0 {
        let count = (block.len() as u64).min(left) as usize;
        let start = Instant::now();
        file.write_all(&block[..count])?;
        if synced.elapsed() > Duration::from_millis(200) {
            file.sync_data()?;
            synced = Instant::now();
        }
        longest = longest.max(start.elapsed());
        left -= count as u64;
    }
    file.sync_data()?;
    let took = began.elapsed().as_secs_f64();
    let cpu_s = rig::used(std::process::id())
        .zip(before)
        .map_or(f64::NAN, |(after, before)| after.0 - before.0);
    std::fs::remove_file(&path)?;
    println!(
        "\nThe same {:.0} MB by a plain sequential writer with fdatasync every 200 ms: {:.0} MB/s, \
         {:.1} % of a core at the recording's pace, longest write {:.0} ms.",
        usual.bytes as f64 / 1e6,
        usual.bytes as f64 / 1e6 / took,
        cpu_s / seconds * 100.0,
        longest.as_secs_f64() * 1e3
    );
    Ok(())
}
