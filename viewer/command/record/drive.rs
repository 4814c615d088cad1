//! Waits for whatever may happen next: the clock, an order, a signal.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use dexumi_capture::{Ended, EpisodeReport, RecorderState};
use dexumi_live::LiveView;
use tokio::sync::{mpsc, watch};

use super::{
    Record,
    episodes::Episodes,
    interrupted,
    keyboard::{self, RawTerminal},
    words,
};
use crate::{
    Exit,
    control::{self, Done, is_clean},
    remote::{Doors, Served},
};

/// Removes the socket's file at the end.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Record {
    /// Records until it is over: the episodes asked for, a signal, or an order.
    pub(super) async fn drive(
        &self,
        mut episodes: Episodes,
        doors: Doors,
        live: Option<LiveView>,
    ) -> Result<(Exit, Episodes)> {
        let (orders, mut inbox) = mpsc::channel(16);
        let raw = RawTerminal::new();
        let by_keyboard = raw.is_some();
        if by_keyboard {
            keyboard::listen(orders.clone())?;
            eprintln!("Space starts and stops, d discards, m marks, q ends");
        }
        let (publish, published) = watch::channel(episodes.published());
        let recorder = episodes.recorder.clone();
        let _socket = match &self.control {
            Some(path) => {
                let _ = std::fs::remove_file(path);
                let listener = tokio::net::UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on {}", path.display()))?;
                let recorder = recorder.clone();
                tokio::spawn(control::serve(
                    listener,
                    published.clone(),
                    move || recorder.previews(),
                    orders.clone(),
                ));
                Some(SocketFile(path.clone()))
            }
            None => None,
        };
        let has_driver = by_keyboard || self.control.is_some() || doors.has_control();
        let serving = doors.serve(Served {
            recorder,
            published,
            orders: orders.clone(),
            live,
        })?;
        // By the clock, or when nobody else could start it, the first one starts by itself.
        let automatic = self.seconds.is_some() || !has_driver;
        let wanted = match (self.episodes, automatic) {
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
        while !quitting && (episodes.reports.len() as u32) < wanted {
            tokio::select! {
                result = &mut interrupt => {
                    result?;
                    eprintln!("ending the episode");
                    quitting = true;
                }
                Some(request) = inbox.recv() => {
                    let answer = episodes.obey(request.order);
                    quitting = answer == Ok(Done::Quitting);
                    // Whoever is answered and looks sees what was done.
                    let _ = publish.send(episodes.published());
                    if let Some(reply) = request.reply {
                        let _ = reply.send(answer);
                    }
                }
                _ = ticker.tick() => {
                    let status = episodes.recorder.status();
                    let elapsed = status.elapsed_s;
                    match status.state {
                        RecorderState::Idle if automatic && began.elapsed() >= settle => {
                            episodes.start("")?;
                        }
                        RecorderState::Recording if self.seconds.is_some_and(|s| elapsed >= s) => {
                            episodes.stop()?;
                        }
                        RecorderState::Ended => {
                            episodes.stop()?;
                            quitting |= !has_driver;
                        }
                        RecorderState::Recording if last_line.elapsed() > Duration::from_secs(1) => {
                            last_line = Instant::now();
                            words::progress(&status, episodes.number, self.seconds);
                        }
                        _ => {}
                    }
                    let _ = publish.send(episodes.published());
                }
            }
        }
        // Who still waits for an answer is told that it is over.
        drop(inbox);
        if matches!(
            episodes.recorder.status().state,
            RecorderState::Recording | RecorderState::Ended
        ) {
            episodes.stop()?;
        }
        let _ = publish.send(episodes.published());
        serving.close().await;
        drop(raw);
        Ok((exit_of(&episodes.reports), episodes))
    }
}

fn exit_of(reports: &[EpisodeReport]) -> Exit {
    let failed = |report: &EpisodeReport| matches!(report.ended, Ended::WriteError { .. });
    if reports.iter().any(failed) {
        Exit::Failed
    } else if reports.iter().all(is_clean) {
        Exit::Done
    } else {
        Exit::Lossy
    }
}
