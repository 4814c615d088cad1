//! `dexumi align`: when each sample was really captured.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use dexumi_episode::{
    Delta, SessionTime,
    align::{Grid, StreamReport, Timeline},
};
use serde::Serialize;

use super::{Alignment, print_json};
use crate::Exit;

/// Fit every clock over the whole episode and put all streams on one grid.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dexumi align session/episode_0000.mcap
  dexumi align session/episode_0000.mcap --grid 30 --csv aligned.csv
  dexumi align session/episode_0000.mcap --grid head --json")]
pub struct Align {
    /// The episode.
    episode: PathBuf,
    #[command(flatten)]
    alignment: Alignment,
    /// Grid: a rate [Hz], or the name of a camera whose times are taken
    /// [default: camera wrist, else 30].
    #[arg(long, value_name = "RATE|CAMERA")]
    grid: Option<String>,
    /// Write the grid with its values and validity.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    episode: &'a str,
    streams: &'a BTreeMap<String, StreamReport>,
    grid_steps: usize,
    grid_s: f64,
    /// Share of grid cells with a value, by column group.
    valid_share: BTreeMap<String, f64>,
}

impl Align {
    /// Aligns.
    pub fn run(self) -> Result<Exit> {
        let aligned = self.alignment.load(&self.episode)?;
        let timeline = &aligned.timeline;
        let grid = match &self.grid {
            None if timeline.images.contains_key("wrist") => Grid::Camera("wrist".to_owned()),
            None => Grid::Rate(30),
            Some(text) => match text.parse::<u32>() {
                Ok(0) => bail!("grid rate is 0, expected at least 1 Hz"),
                Ok(rate) => Grid::Rate(rate),
                Err(_) => Grid::Camera(text.clone()),
            },
        };
        let times = timeline.grid(&grid).map_err(anyhow::Error::msg)?;
        let max_gap = Delta::from_millis(self.alignment.max_gap_ms);
        let columns = columns(timeline, max_gap);
        let mut valid: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut rows = Vec::with_capacity(times.len());
        for &time in &times {
            let mut row = Vec::new();
            for column in &columns {
                let values = (column.at)(time);
                let entry = valid.entry(column.stream.clone()).or_default();
                entry.0 += u64::from(values.is_some());
                entry.1 += 1;
                row.push(values);
            }
            rows.push(row);
        }
        if let Some(path) = &self.csv {
            write_csv(path, &times, &columns, &rows)?;
            eprintln!("{} rows written to {}", rows.len(), path.display());
        }
        let report = Report {
            episode: &aligned.episode.info.id,
            streams: &timeline.report,
            grid_steps: times.len(),
            grid_s: match times[..] {
                [first, .., last] => (last - first).secs_f64(),
                _ => 0.0,
            },
            valid_share: valid
                .into_iter()
                .map(|(name, (ok, all))| (name, ok as f64 / (all as f64).max(1.0)))
                .collect(),
        };
        if self.json {
            print_json(&report)?;
        } else {
            print_table(&report);
        }
        let lossy = timeline.report.values().any(|stream| stream.gaps > 0);
        Ok(if lossy { Exit::Lossy } else { Exit::Done })
    }
}

fn print_table(report: &Report<'_>) {
    println!(
        "{:28} {:>12} {:>8} {:>8} {:>9} {:>9} {:>9} {:>6} {:>7} {:>5}",
        "stream",
        "times from",
        "samples",
        "Hz",
        "skew ppm",
        "jitter ms",
        "bound ms",
        "gaps",
        "suspect",
        "valid"
    );
    for (name, stream) in report.streams {
        let method = match stream.timing {
            dexumi_episode::align::TimingMethod::DeviceClock => "device clock",
            dexumi_episode::align::TimingMethod::KernelStamp => "kernel stamp",
            dexumi_episode::align::TimingMethod::Period => "steady rate",
            dexumi_episode::align::TimingMethod::Arrival => "arrival",
        };
        let valid = report.valid_share.get(name);
        println!(
            "{name:28} {method:>12} {:>8} {:>8.1} {:>9.1} {:>9.3} {:>9.3} {:>6} {:>7} {:>5}",
            stream.samples,
            stream.rate_hz,
            stream.skew_ppm,
            stream.residual_p95_s * 1e3,
            stream.bound_s * 1e3,
            stream.gaps,
            stream.suspect,
            valid.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0)),
        );
    }
    println!(
        "grid: {} steps over {:.3} s",
        report.grid_steps, report.grid_s
    );
}

struct Column<'a> {
    stream: String,
    names: Vec<String>,
    at: Box<dyn Fn(SessionTime) -> Option<Vec<f64>> + 'a>,
}

fn columns(timeline: &Timeline, max_gap: Delta) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    for (side, joints) in &timeline.joints {
        columns.push(Column {
            stream: format!("/exo/{side}/encoders"),
            names: joints
                .names
                .iter()
                .map(|name| format!("{name}_rad"))
                .collect(),
            at: Box::new(move |t| {
                joints
                    .tracks
                    .iter()
                    .map(|track| track.at(t, max_gap))
                    .collect()
            }),
        });
    }
    for (topic, track) in &timeline.force {
        let name = topic.trim_start_matches('/').replace('/', "_");
        columns.push(Column {
            stream: topic.clone(),
            names: ["x", "y", "z"]
                .map(|axis| format!("{name}_{axis}_counts"))
                .to_vec(),
            at: Box::new(move |t| track.at(t, max_gap).map(|v| v.to_vec())),
        });
    }
    for (name, track) in &timeline.poses {
        columns.push(Column {
            stream: format!("/tracker/{name}/pose"),
            names: ["x_m", "y_m", "z_m", "qx", "qy", "qz", "qw"]
                .map(|axis| format!("{name}_{axis}"))
                .to_vec(),
            at: Box::new(move |t| {
                let pose = track.at(t, max_gap)?;
                let (p, q) = (pose.translation.vector, pose.rotation.coords);
                Some(vec![p.x, p.y, p.z, q.x, q.y, q.z, q.w])
            }),
        });
    }
    for (name, track) in &timeline.images {
        columns.push(Column {
            stream: format!("/camera/{name}/image"),
            names: vec![format!("{name}_image"), format!("{name}_image_age_s")],
            at: Box::new(move |t| {
                let choice = track.nearest(t, Delta::from_millis(50))?;
                Some(vec![choice.index as f64, (t - choice.capture).secs_f64()])
            }),
        });
    }
    columns
}

fn write_csv(
    path: &std::path::Path,
    times: &[SessionTime],
    columns: &[Column<'_>],
    rows: &[Vec<Option<Vec<f64>>>],
) -> Result<()> {
    let mut text = Vec::new();
    let names = columns.iter().flat_map(|column| {
        column
            .names
            .iter()
            .cloned()
            .chain([format!("{}_valid", column.stream)])
    });
    writeln!(text, "unix_ns,{}", names.collect::<Vec<_>>().join(","))?;
    for (time, row) in times.iter().zip(rows) {
        write!(text, "{}", time.nanos())?;
        for (values, column) in row.iter().zip(columns) {
            match values {
                Some(values) => values.iter().try_for_each(|v| write!(text, ",{v:.9}"))?,
                None => column.names.iter().try_for_each(|_| write!(text, ","))?,
            }
            write!(text, ",{}", u8::from(values.is_some()))?;
        }
        writeln!(text)?;
    }
    dexumi_episode::write_atomically(path, &text).context("cannot write the grid")
}
