//! Records for hours at the usual load while two cameras are unplugged and
//! plugged in again every minute, checks each episode against the emulator's
//! truth, and deletes it.
//!
//! ```text
//! cargo run --release --example measure_soak -- [--minutes 60]
//! ```
//! Prints Markdown, a line an episode; ends with 1 when something leaked, drifted
//! or was lost without being accounted for.

#[allow(dead_code, reason = "another measurement uses the rest")]
mod rig;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use dexumi_capture::emulate::{EmulatedRig, Faults, Part, RigOptions, Scene, Unplug};
use dexumi_episode::{Episode, StreamKind};
use rig::CheapScene;

/// Records for a long time.
#[derive(Parser)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Length of an episode [s].
    #[arg(long, default_value_t = 120.0)]
    episode: f64,
    /// Where to record.
    #[arg(long, default_value = "measure-soak")]
    out: PathBuf,
}

/// Cameras that come and go.
const UNPLUGGED: [&str; 2] = ["view0", "view1"];
/// For how long [s].
const UNPLUGGED_S: f64 = 3.0;

fn parts() -> Vec<Part> {
    let board = |driver, stream: &str, drift| Part {
        rate_hz: Some(500.0),
        ..Part::new(driver, &[stream], drift)
    };
    let camera = |stream: &str, drift| Part::new("mjpeg_http", &[stream], drift).variant("stamped");
    vec![
        board("dexumi_xhand_encoders", "/exo/left/encoders", 1.0),
        board("dexumi_xhand_encoders", "/exo/right/encoders", -0.8),
        board("dexumi_xhand_force", "/exo/left/force/thumb", 0.6),
        board("dexumi_xhand_force", "/exo/right/force/thumb", -0.4),
        Part::new("natnet", &["/tracker/wrist/pose"], -1.0),
        camera("/camera/view0/image", 0.9),
        camera("/camera/view1/image", -0.7),
        camera("/camera/view2/image", 0.5),
    ]
}

fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.out)?;
    let folder = tempfile::tempdir_in(&options.out)?;
    let seconds = options.minutes * 60.0;
    let unplug = (0..(options.minutes as usize + 2))
        .flat_map(|minute| {
            UNPLUGGED.iter().enumerate().map(move |(i, name)| Unplug {
                stream: format!("/camera/{name}/"),
                at_s: 60.0 * minute as f64 + 20.0 + 20.0 * i as f64,
                for_s: UNPLUGGED_S,
            })
        })
        .collect();
    let scene = CheapScene::new(1280, 720)? as Arc<dyn Scene>;
    let emulated = EmulatedRig::start(
        scene,
        RigOptions {
            parts: parts(),
            faults: Faults {
                unplug,
                ..Faults::default()
            },
            ..RigOptions::default()
        },
    )?;
    let rig = folder.path().join("rig.toml");
    std::fs::write(&rig, emulated.rig().to_toml())?;
    let session = folder.path().join("session");
    let episodes = (seconds / options.episode).ceil().max(1.0) as u32;
    let mut child = rig::record(&rig, &session, options.episode, episodes, &[])?;
    println!(
        "| episode | s | samples | lost | missing, unplugged cameras | missing, all else | outages | worst skew error, ppm | RSS, MB | open files | threads |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    // Its report is longer than a pipe holds.
    let mut stdout = child.stdout.take().context("no standard output")?;
    let report = std::thread::Builder::new()
        .name("report".to_owned())
        .spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        })?;
    let mut problems = Vec::new();
    let mut usage: Vec<(f64, usize, usize)> = Vec::new();
    let mut checked = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let pid = child.id();
        let ended = child.try_wait()?.is_some();
        if let Some((_, memory_mb)) = rig::used(pid).filter(|_| !ended) {
            let count = |what: &str| {
                std::fs::read_dir(format!("/proc/{pid}/{what}"))
                    .map_or(0, |entries| entries.count())
            };
            usage.push((memory_mb, count("fd"), count("task")));
        }
        while let Some(path) = finished(&session, checked) {
            let line = check(&path, &mut problems)?;
            let (memory_mb, files, threads) = usage.last().copied().unwrap_or_default();
            println!("| {checked} | {line} | {memory_mb:.0} | {files} | {threads} |");
            std::fs::remove_file(&path)?;
            checked += 1;
        }
        if ended {
            break;
        }
    }
    if let Some(problem) = emulated.stop() {
        bail!("the emulator failed: {problem}");
    }
    let status = child.wait()?;
    // 3: cameras were away, which is reported.
    if !matches!(status.code(), Some(0 | 3)) || !matches!(report.join(), Ok(Ok(_))) {
        let log = std::fs::read_to_string(rig::log(&rig)).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(20).collect();
        problems.push(format!("the recorder ended with {status}: {last:?}"));
    }
    if checked != episodes as usize {
        problems.push(format!("{checked} of {episodes} episodes were written"));
    }
    // Once all is running, nothing may grow: a third into the run against its end.
    let (early, late) = (
        &usage[usage.len() / 3],
        &usage[usage.len() - usage.len() / 20 - 1],
    );
    println!(
        "\nOver the last two thirds: RSS {:.0} to {:.0} MB, open files {} to {}, threads {} to {}.",
        early.0, late.0, early.1, late.1, early.2, late.2
    );
    if late.0 > early.0 * 1.1 + 10.0 || late.1 > early.1 + 4 || late.2 > early.2 {
        problems.push("memory, open files or threads grew".to_owned());
    }
    for problem in &problems {
        println!("- {problem}");
    }
    if problems.is_empty() {
        println!("Nothing leaked, nothing drifted, every packet is accounted for.");
        return Ok(());
    }
    std::process::exit(1);
}

/// The episode of a number, once it is complete.
fn finished(session: &Path, number: usize) -> Option<PathBuf> {
    let path = session.join(format!("episode_{number:04}.mcap"));
    path.exists().then_some(path)
}

/// Checks an episode; a line of the table.
fn check(path: &Path, problems: &mut Vec<String>) -> Result<String> {
    let began = Instant::now();
    let episode = Episode::open(path).with_context(|| path.display().to_string())?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let drifts: BTreeMap<String, f64> = parts()
        .into_iter()
        .flat_map(|part| {
            part.streams
                .into_iter()
                .map(move |stream| (stream, part.drift * 40.0))
        })
        .collect();
    let (mut written, mut lost, mut outages) = (0, 0, 0);
    let (mut missing_unplugged, mut missing_else) = (0, 0);
    let mut skew_error = 0.0_f64;
    for (stream, ledger) in &episode.ledger {
        if !ledger.balances() {
            problems.push(format!("{name}: the ledger of {stream} does not balance"));
        }
        // The file itself is counted, not only what is said of it.
        let counted = episode
            .file
            .topics()
            .get(stream)
            .map_or(0, |(_, count)| *count);
        if counted != ledger.written {
            problems.push(format!(
                "{name}: {stream} has {counted} messages, {} written",
                ledger.written
            ));
        }
        written += ledger.written;
        lost += ledger.lost();
        outages += ledger.outages;
        let unplugged = UNPLUGGED.iter().any(|name| stream.contains(name));
        if unplugged {
            missing_unplugged += ledger.missing;
        } else {
            missing_else += ledger.missing;
        }
        // A camera that is plugged in anew starts its fit anew: short ones say little of skew.
        if let (Some(fit), false) = (
            episode
                .clocks
                .get(stream)
                .and_then(|clock| clock.fit.as_ref()),
            unplugged || matches!(StreamKind::of(stream), Some(StreamKind::Camera { .. })),
        ) {
            skew_error =
                skew_error.max((fit.skew_ppm + drifts.get(stream).copied().unwrap_or(0.0)).abs());
        }
    }
    if lost + missing_else > 0 {
        problems.push(format!(
            "{name}: {lost} packets lost, {missing_else} missing"
        ));
    }
    if skew_error > 20.0 {
        problems.push(format!(
            "{name}: a clock is {skew_error:.0} ppm from its true rate"
        ));
    }
    let seconds = (episode.interval.1 - episode.interval.0).secs_f64();
    eprintln!("{name}: checked in {:.1} s", began.elapsed().as_secs_f64());
    Ok(format!(
        "{seconds:.1} | {written} | {lost} | {missing_unplugged} | {missing_else} | {outages} | {skew_error:.1}"
    ))
}
