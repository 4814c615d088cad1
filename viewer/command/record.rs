//! `dexumi record`: headless recording, by clock, keyboard or control socket.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use dexumi_capture::{
    CaptureError, Ended, EpisodePlan, EpisodeReport, Recorder, RecorderOptions, RecorderState,
};
use dexumi_episode::{Calibration, EpisodeInfo, FORMAT_VERSION, Rig, Session, StreamKind, recover};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::{SOFTWARE, print_json, recover::sentence};
use crate::{
    Exit,
    control::{self, Finished, Order, Published},
    terminal,
};

/// Record episodes of a rig, one MCAP file each.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal: Space starts and stops, d discards, m marks, q ends. Ctrl-C ends
the episode cleanly, with its file complete.

Examples:
  dexumi record --rig rig.toml --task \"pick up the cube\" --episodes 5 --seconds 20 --out session
  dexumi record --rig rig.toml --task \"fold the towel\" --out session     by keyboard")]
pub struct Record {
    /// The rig.
    #[arg(long, value_name = "FILE")]
    pub rig: PathBuf,
    /// What the operator is asked to do.
    #[arg(long, default_value = "")]
    pub task: String,
    /// Session folder; made if needed.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How many episodes; unlimited by keyboard or control.
    #[arg(long)]
    pub episodes: Option<u32>,
    /// Length of each; without it, until stopped.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Calibration [default: calibration.toml in the session folder, then beside the rig].
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Pseudonym of the operator.
    #[arg(long, default_value = "")]
    pub operator: String,
    /// End the episode cleanly when less than this is free [MB].
    #[arg(long, value_name = "MB", default_value_t = 500)]
    pub reserve_mb: u64,
    /// Let devices and their clocks settle before the first episode [s].
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub settle_s: f64,
    /// Take orders and publish state on this Unix socket.
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    pub json: bool,
}

/// Waits for Ctrl-C or a termination signal.
///
/// # Errors
/// Signals cannot be waited for.
pub async fn interrupted() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A terminal without line editing, set back when this is dropped.
struct RawTerminal(nix::sys::termios::Termios);

impl RawTerminal {
    fn new() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    session: PathBuf,
    episodes: Vec<EpisodeReport>,
}

struct Running {
    recorder: Arc<Recorder>,
    session: Session,
    rig: Rig,
    operator: String,
    task: String,
    number: u32,
    reports: Vec<EpisodeReport>,
    error: Option<String>,
    joint_names: Vec<String>,
}

impl Record {
    /// Records.
    pub fn run(self) -> Result<Exit> {
        let rig = Rig::load(&self.rig)?;
        let session = Session::open(&self.out, &rig.name, &rig.hand, SOFTWARE)?;
        for partial in session.unfinished()? {
            match recover(&partial) {
                Ok(recovery) => eprintln!("{}", sentence(&recovery)),
                Err(error) => eprintln!("note: {:#}", anyhow::Error::from(error)),
            }
        }
        let calibration = self.calibration()?;
        let joint_names = calibration
            .iter()
            .flat_map(|calibration| calibration.joints.values())
            .flat_map(|joints| joints.joint.iter().map(|joint| joint.name.clone()))
            .collect();
        let options = RecorderOptions {
            reserve_bytes: self.reserve_mb * 1_000_000,
            folder: Some(self.out.clone()),
            ..RecorderOptions::default()
        };
        let recorder = Recorder::open(&rig, calibration, session.anchor, options)?;
        recorder.wait_until_live()?;
        let (number, _) = session.next_episode()?;
        let running = Running {
            recorder: Arc::new(recorder),
            session,
            rig,
            operator: self.operator.clone(),
            task: self.task.clone(),
            number,
            reports: Vec::new(),
            error: None,
            joint_names,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (exit, running) = runtime.block_on(self.drive(running))?;
        // The keyboard thread may still wait for a key.
        runtime.shutdown_background();
        if self.json {
            let session = running.session.folder().to_owned();
            print_json(&Outcome {
                session,
                episodes: running.reports,
            })?;
        }
        Ok(exit)
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        if let Some(path) = &self.calibration {
            return Ok(Some(Calibration::load(path)?));
        }
        let beside_rig = self.rig.with_file_name("calibration.toml");
        for path in [self.out.join("calibration.toml"), beside_rig] {
            if path.exists() {
                eprintln!("calibration: {}", path.display());
                return Ok(Some(Calibration::load(&path)?));
            }
        }
        eprintln!("calibration: none; joint angles can be had later, from the raw counts");
        Ok(None)
    }

    async fn drive(&self, mut running: Running) -> Result<(Exit, Running)> {
        let (orders, mut inbox) = mpsc::channel(16);
        let raw = RawTerminal::new();
        let by_keyboard = raw.is_some();
        if by_keyboard {
            keyboard(orders.clone())?;
            eprintln!("Space starts and stops, d discards, m marks, q ends");
        }
        let (publish, published) = watch::channel(running.published());
        let _socket = match &self.control {
            Some(path) => {
                let _ = std::fs::remove_file(path);
                let listener = tokio::net::UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on {}", path.display()))?;
                let recorder = running.recorder.clone();
                tokio::spawn(control::serve(
                    listener,
                    published,
                    move || recorder.previews(),
                    orders.clone(),
                ));
                Some(SocketFile(path.clone()))
            }
            None => None,
        };
        // By the clock, or when nobody else could start it, the first one starts by itself.
        let automatic = self.seconds.is_some() || !(by_keyboard || self.control.is_some());
        let episodes = match (self.episodes, automatic) {
            (Some(episodes), _) => episodes,
            (None, true) => 1,
            (None, false) => u32::MAX,
        };
        let began = Instant::now();
        let settle = Duration::from_secs_f64(self.settle_s.clamp(0.0, 60.0));
        let mut ticker = tokio::time::interval(Duration::from_millis(50));
        let mut interrupt = std::pin::pin!(interrupted());
        let mut last_line = Instant::now();
        let mut quitting = false;
        while !quitting && (running.reports.len() as u32) < episodes {
            tokio::select! {
                result = &mut interrupt => {
                    result?;
                    eprintln!("ending the episode");
                    quitting = true;
                }
                Some(order) = inbox.recv() => {
                    quitting = running.obey(order, by_keyboard || self.control.is_some())?;
                }
                _ = ticker.tick() => {
                    let status = running.recorder.status();
                    let elapsed = status.elapsed_s;
                    match status.state {
                        RecorderState::Idle if automatic && began.elapsed() >= settle => {
                            running.start()?;
                        }
                        RecorderState::Recording if self.seconds.is_some_and(|s| elapsed >= s) => {
                            running.stop()?;
                        }
                        RecorderState::Ended => {
                            running.stop()?;
                            quitting |= !by_keyboard && self.control.is_none();
                        }
                        RecorderState::Recording if last_line.elapsed() > Duration::from_secs(1) => {
                            last_line = Instant::now();
                            progress_line(&status, running.number, self.seconds);
                        }
                        _ => {}
                    }
                    let _ = publish.send(running.published());
                }
            }
        }
        if matches!(
            running.recorder.status().state,
            RecorderState::Recording | RecorderState::Ended
        ) {
            running.stop()?;
        }
        let _ = publish.send(running.published());
        drop(raw);
        let failed = running
            .reports
            .iter()
            .any(|r| matches!(r.ended, Ended::WriteError { .. }));
        let lossy = running.reports.iter().any(|report| {
            report.ended != Ended::Stopped
                || !report.broken.is_empty()
                || report.ledger.values().any(|ledger| !ledger.is_clean())
        });
        let exit = match (failed, lossy) {
            (true, _) => Exit::Failed,
            (false, true) => Exit::Lossy,
            (false, false) => Exit::Done,
        };
        Ok((exit, running))
    }
}

/// Removes the socket's file at the end.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn keyboard(orders: mpsc::Sender<Order>) -> Result<()> {
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(move || {
            for byte in std::io::stdin().lock().bytes() {
                let order = match byte {
                    Ok(b' ' | b'\n' | b'\r' | b's') => Order::Toggle,
                    Ok(b'd' | b'D') => Order::Discard,
                    Ok(b'm' | b'M') => Order::Mark {
                        text: String::new(),
                    },
                    Ok(b'q' | b'Q') => Order::Quit,
                    Ok(_) => continue,
                    Err(_) => break,
                };
                if orders.blocking_send(order).is_err() {
                    break;
                }
            }
        })
        .context("cannot start the keyboard thread")?;
    Ok(())
}

fn progress_line(status: &dexumi_capture::Status, number: u32, seconds: Option<f64>) {
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

impl Running {
    fn start(&mut self) -> Result<(), CaptureError> {
        let (number, path) = self.session.next_episode()?;
        self.number = number;
        let info = EpisodeInfo {
            format: FORMAT_VERSION,
            id: uuid(),
            number,
            task: self.task.clone(),
            operator: self.operator.clone(),
            hand: self.rig.hand.clone(),
            rig: self.rig.name.clone(),
            software: SOFTWARE.to_owned(),
            anchor: self.session.anchor,
        };
        self.recorder.start(EpisodePlan { path, info })?;
        eprintln!("episode {number}: recording");
        Ok(())
    }

    fn stop(&mut self) -> Result<(), CaptureError> {
        let report = self.recorder.stop()?;
        say(&report);
        for broken in &report.broken {
            match recover(&broken.path) {
                Ok(recovery) => eprintln!("{}", sentence(&recovery)),
                Err(error) => eprintln!("note: {:#}", anyhow::Error::from(error)),
            }
        }
        self.error = match &report.ended {
            Ended::Stopped => None,
            Ended::DiskReserve => Some(
                "the episode was ended because the disk is down to its reserve; it is complete up to \
                 there. Free some space before the next"
                    .to_owned(),
            ),
            Ended::WriteError { problem } => Some(format!(
                "the recording broke off: {problem}. What is on disk can be had by `dexumi recover`"
            )),
        };
        self.reports.push(report);
        self.number += 1;
        Ok(())
    }

    /// Does what was ordered; true ends the program. Where a person is there to
    /// try again, an error is shown and the recorder goes on.
    fn obey(&mut self, order: Order, interactive: bool) -> Result<bool> {
        self.error = None;
        let running = self.recorder.status().state == RecorderState::Recording;
        let result = match order {
            Order::Toggle if running => self.stop(),
            Order::Toggle => self.start(),
            Order::Start { task } => {
                if !task.is_empty() {
                    self.task = task;
                }
                self.start()
            }
            Order::Stop => self.stop(),
            Order::Discard => {
                let number = self.number;
                self.recorder.discard().map(|()| {
                    clear_line();
                    eprintln!("episode {number} discarded");
                })
            }
            Order::Mark { text } => {
                self.recorder.event("mark", &text);
                Ok(())
            }
            Order::Quit => return Ok(true),
        };
        match result {
            Err(error) if interactive => {
                let text = format!("{:#}", anyhow::Error::from(error));
                eprintln!("error: {text}");
                self.error = Some(text);
                Ok(false)
            }
            result => {
                result?;
                Ok(false)
            }
        }
    }

    fn published(&self) -> Published {
        let finished = self.reports.iter().map(|report| Finished {
            name: name_of(&report.path),
            duration_s: report.duration_s,
            bytes: report.bytes,
            written: report.ledger.values().map(|ledger| ledger.written).sum(),
            lost: report
                .ledger
                .values()
                .map(dexumi_episode::StreamLedger::lost)
                .sum(),
            suspect: report.ledger.values().map(|ledger| ledger.suspect).sum(),
        });
        Published {
            status: self.recorder.status(),
            rig: self.rig.name.clone(),
            hand: self.rig.hand.clone(),
            joint_names: self.joint_names.clone(),
            session: self.session.folder().display().to_string(),
            task: self.task.clone(),
            number: self.number,
            finished: finished.collect(),
            error: self.error.clone(),
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Takes the progress line away before something else is said.
fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

fn say(report: &EpisodeReport) {
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
        let notes = if notes.is_empty() {
            "nothing lost".to_owned()
        } else {
            notes.join(", ")
        };
        eprintln!("  {stream:28} {:>6} {what}, {notes}", ledger.written);
    }
}

fn uuid() -> String {
    uuid::Uuid::now_v7().to_string()
}
