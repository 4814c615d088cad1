//! `dexumi info`: what an episode holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;
use dexumi_episode::{
    ClockFit, Delta, Episode, EpisodeInfo, Ledger, Notes, Recovered, time::SessionTime,
};
use dexumi_export::import;
use serde::Serialize;
use serde_json::Value;

use super::{all_episodes, print_json};
use crate::{Exit, terminal};

/// What is in an episode: streams, losses, clocks.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dexumi info session\n  dexumi info session/episode_0000.mcap --json"
)]
pub struct Info {
    /// Episodes or session folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Topic {
    schema: String,
    messages: u64,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    bytes: u64,
    episode: EpisodeInfo,
    start: String,
    duration_s: f64,
    calibrated: Vec<String>,
    recovered: Option<Recovered>,
    /// Of an episode that `dexumi import` made: from what, and what that never had.
    imported: Option<BTreeMap<String, String>>,
    /// Of an imported episode `suspect` and `missing` are null where they are not known.
    ledger: BTreeMap<String, Value>,
    balances: bool,
    clocks: BTreeMap<String, Option<ClockFit>>,
    /// What the devices say of themselves, by stream.
    devices: BTreeMap<String, BTreeMap<String, String>>,
    topics: BTreeMap<String, Topic>,
    notes: Notes,
}

fn report(path: &Path) -> Result<(Report, Ledger)> {
    let episode = Episode::open(path)?;
    let ledger = episode.ledger.clone();
    let unix_s = |time: SessionTime| time.nanos().div_euclid(1_000_000_000);
    let report = Report {
        path: path.to_owned(),
        bytes: episode.file.size(),
        start: terminal::rfc3339(unix_s(episode.interval.0)),
        duration_s: episode.duration_s(),
        calibrated: episode
            .calibration
            .iter()
            .flat_map(|calibration| calibration.joints.keys().cloned())
            .collect(),
        recovered: episode.recovered.clone(),
        imported: episode.file.metadata(import::RECORD).cloned(),
        balances: episode
            .ledger
            .values()
            .all(dexumi_episode::StreamLedger::balances),
        ledger: ledger_of(&episode),
        clocks: episode
            .clocks
            .iter()
            .map(|(name, clock)| (name.clone(), clock.fit.clone()))
            .collect(),
        devices: episode
            .file
            .metadata_names()
            .filter_map(|name| {
                let about = episode.file.metadata(name)?;
                Some((name.strip_prefix("device.")?.to_owned(), about.clone()))
            })
            .collect(),
        topics: episode
            .file
            .topics()
            .into_iter()
            .map(|(name, (schema, messages))| (name, Topic { schema, messages }))
            .collect(),
        notes: Notes::load(path)?,
        episode: episode.info,
    };
    Ok((report, ledger))
}

/// Counts by stream. A source that had neither checksums nor sequences left nothing by which suspect
/// or missing samples can be told: of an imported stream a zero there is no number.
fn ledger_of(episode: &Episode) -> BTreeMap<String, Value> {
    let is_imported = episode.file.metadata(import::RECORD).is_some();
    let entries = episode.ledger.iter().map(|(stream, counts)| {
        let mut entry = serde_json::to_value(counts).unwrap_or_default();
        if is_imported {
            for (key, count) in [("suspect", counts.suspect), ("missing", counts.missing)] {
                if count == 0 {
                    entry[key] = Value::Null;
                }
            }
        }
        (stream.clone(), entry)
    });
    entries.collect()
}

impl Info {
    /// Looks.
    pub fn run(self) -> Result<Exit> {
        let mut lossy = false;
        let mut reports = Vec::new();
        let mut failure = None;
        let paths = all_episodes(&self.paths)?;
        for path in &paths {
            let (report, ledger) = match report(path) {
                Ok(read) => read,
                Err(error) if paths.len() == 1 => return Err(error),
                // Of several, the others are told as well.
                Err(error) => {
                    eprintln!("failed: {error:#}");
                    failure.get_or_insert(error);
                    continue;
                }
            };
            lossy |= report.recovered.is_some() || ledger.values().any(|counts| !counts.is_clean());
            if !self.json {
                print(&report, &ledger);
            }
            reports.push(report);
        }
        if self.json {
            print_json(&reports)?;
        }
        if let Some(error) = failure {
            return Ok(Exit::of(&error));
        }
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}

fn print(report: &Report, ledger: &Ledger) {
    let info = &report.episode;
    println!("{}", report.path.display());
    println!(
        "  task      {}",
        if info.task.is_empty() {
            "(none)"
        } else {
            &info.task
        }
    );
    println!("  id        {}", info.id);
    println!(
        "  recorded  {}, {:.3} s, {}",
        report.start,
        report.duration_s,
        terminal::bytes(report.bytes)
    );
    println!(
        "  rig       {}, hand {}, by {}",
        info.rig, info.hand, info.software
    );
    let calibrated = match report.calibrated[..] {
        [] => "no joints".to_owned(),
        _ => format!("joints of {}", report.calibrated.join(", ")),
    };
    println!("  calibrated {calibrated}");
    if let Some(recovered) = &report.recovered {
        println!(
            "  RECOVERED from {}: it ends at its last whole chunk, {} were cut; losses of its last second are not known",
            recovered.from,
            terminal::bytes(recovered.bytes_cut)
        );
    }
    if let Some(imported) = &report.imported {
        let of = |key: &str| imported.get(key).map_or("", String::as_str);
        println!("  IMPORTED  from {}, {}", of("source"), of("format"));
        for (key, words) in [
            ("missing", "never had"),
            ("left_out", "left out"),
            ("notes", "note:"),
        ] {
            for line in of(key).lines() {
                println!("    {words} {line}");
            }
        }
    }
    println!(
        "  {:28} {:>9} {:>9} {:>7} {:>8} {:>8}  {:10} {:>9} {:>10} {:>9}",
        "stream",
        "received",
        "written",
        "lost",
        "suspect",
        "missing",
        "clock",
        "skew ppm",
        "jitter ms",
        "bound ms"
    );
    for (stream, ledger) in ledger {
        // What is null in the report was never known.
        let told = |key: &str| match report.ledger.get(stream).map(|entry| &entry[key]) {
            Some(Value::Number(count)) => count.to_string(),
            _ => "—".to_owned(),
        };
        let fit = report.clocks.get(stream).and_then(Option::as_ref);
        let millis = |nanos| format!("{:.3}", Delta::from_nanos(nanos).secs_f64() * 1e3);
        let [state, skew, jitter, bound] = match fit {
            Some(fit) => [
                fit.state.name().to_owned(),
                format!("{:.1}", fit.skew_ppm),
                millis(fit.residual_p95_ns),
                millis(fit.bound_ns),
            ],
            // No device clock: `dexumi align` says what dates it.
            None => ["-"; 4].map(str::to_owned),
        };
        println!(
            "  {stream:28} {:>9} {:>9} {:>7} {:>8} {:>8}  {state:10} {skew:>9} {jitter:>10} {bound:>9}",
            ledger.received,
            ledger.written,
            ledger.lost(),
            told("suspect"),
            told("missing"),
        );
        for (kind, count) in &ledger.losses {
            println!("    {count} {kind}");
        }
        if ledger.outages > 0 {
            println!(
                "    gone {} times, {:.1} s in all",
                ledger.outages,
                Delta::from_nanos(ledger.outage_ns).secs_f64()
            );
        }
        let device = report.devices.get(stream).into_iter().flatten();
        for (key, value) in device {
            println!("    {key}: {value}");
        }
    }
    if !report.balances {
        println!("  ledger does not balance: it was written before the last samples");
    }
}
