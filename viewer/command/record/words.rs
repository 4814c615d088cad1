//! What the recorder says on standard error.

use std::io::IsTerminal;

use dexumi_capture::{Ended, EpisodeReport, Status};
use dexumi_episode::StreamKind;

use crate::terminal;

/// Takes the progress line away before something else is said.
pub(super) fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// One line about the running episode.
pub(super) fn progress(status: &Status, number: u32, seconds: Option<f64>) {
    let lost: u64 = status.streams.iter().map(|stream| stream.lost).sum();
    let silent: Vec<_> = status
        .streams
        .iter()
        .filter(|stream| stream.problem.is_some() || stream.age_s > 1.0)
        .map(|stream| stream.stream.as_str())
        .collect();
    let of = seconds.map_or(String::new(), |s| format!(" of {s:.0}"));
    let silent = match silent[..] {
        [] => String::new(),
        _ => format!(", SILENT: {}", silent.join(" ")),
    };
    let line = format!(
        "episode {number}: {:.0}{of} s, {}, {lost} lost{silent}",
        status.elapsed_s,
        terminal::bytes(status.bytes)
    );
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
}

/// What became of an episode.
pub(super) fn report(report: &EpisodeReport) {
    clear_line();
    for broken in &report.broken {
        eprintln!(
            "error: {}: {}; the episode went on in another file",
            broken.path.display(),
            broken.problem
        );
    }
    match &report.ended {
        Ended::Stopped => eprintln!(
            "{}: {:.2} s, {}",
            report.path.display(),
            report.duration_s,
            terminal::bytes(report.bytes)
        ),
        Ended::DiskReserve => eprintln!(
            "{}: ended after {:.2} s because the disk is down to its reserve; it is complete up to there; \
             free some space before the next",
            report.path.display(),
            report.duration_s
        ),
        Ended::WriteError { problem } => eprintln!(
            "error: recording broke off after {:.2} s: {problem}; what is on disk can be had by \
             `dexumi recover {}`",
            report.duration_s,
            report.path.display()
        ),
    }
    for (stream, ledger) in &report.ledger {
        let what = match StreamKind::of(stream) {
            Some(StreamKind::Camera { .. } | StreamKind::Depth { .. }) => "images",
            _ => "samples",
        };
        let mut notes: Vec<String> = ledger
            .losses
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if ledger.suspect > 0 {
            notes.push(format!("{} suspect", ledger.suspect));
        }
        if ledger.missing > 0 {
            notes.push(format!("{} never arrived", ledger.missing));
        }
        if ledger.outages > 0 {
            let seconds = ledger.outage_ns as f64 * 1e-9;
            notes.push(format!("gone {} times for {seconds:.1} s", ledger.outages));
        }
        let notes = if notes.is_empty() {
            "nothing lost".to_owned()
        } else {
            notes.join(", ")
        };
        eprintln!("  {stream:28} {:>6} {what}, {notes}", ledger.written);
    }
}
