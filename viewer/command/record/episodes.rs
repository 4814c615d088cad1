//! One after another, the episodes of a session: what an order does.

use std::sync::Arc;

use dexumi_capture::{CaptureError, Ended, EpisodePlan, EpisodeReport, Recorder, RecorderState};
use dexumi_episode::{EpisodeInfo, FORMAT_VERSION, Rig, Session, StreamLedger};
use dexumi_live::Announcer;

use super::words;
use crate::{
    command::SOFTWARE,
    control::{Answer, Done, Finished, Order, Published, Stopped, absolute},
};

/// A recorder, and what it has recorded.
pub(super) struct Episodes {
    pub recorder: Arc<Recorder>,
    pub session: Session,
    pub rig: Rig,
    pub operator: String,
    /// Of the next or the running episode.
    pub task: String,
    /// Of the next or the running episode.
    pub number: u32,
    pub reports: Vec<EpisodeReport>,
    /// The last one, until the next order.
    pub error: Option<String>,
    pub joint_names: Vec<String>,
    /// Of the live view, where there is one.
    pub announcer: Option<Announcer>,
}

impl Episodes {
    /// Starts an episode; an empty task is the task as it stands.
    pub fn start(&mut self, task: &str) -> Result<Done, CaptureError> {
        match self.recorder.status().state {
            RecorderState::Idle => {}
            // It ended by itself just now: its report comes first.
            RecorderState::Ended => self.stop().map(drop)?,
            RecorderState::Recording | RecorderState::Saving => {
                return Err(CaptureError::State {
                    command: "start",
                    problem: "an episode is being recorded; stop it first".to_owned(),
                });
            }
        }
        let (number, path) = self.session.next_episode()?;
        let task = if task.is_empty() { &self.task } else { task }.to_owned();
        let info = EpisodeInfo {
            format: FORMAT_VERSION,
            id: uuid::Uuid::now_v7().to_string(),
            number,
            task: task.clone(),
            operator: self.operator.clone(),
            hand: self.rig.hand.clone(),
            rig: self.rig.name.clone(),
            software: SOFTWARE.to_owned(),
            anchor: self.session.anchor,
        };
        let plan = EpisodePlan {
            path: path.clone(),
            info,
        };
        self.recorder.start(plan)?;
        self.number = number;
        self.task = task.clone();
        words::clear_line();
        eprintln!("episode {number}: recording");
        self.announce("start", &task);
        Ok(Done::Started {
            number,
            path: absolute(&path),
            task,
        })
    }

    /// Ends the episode, or takes the report of one that ended by itself.
    pub fn stop(&mut self) -> Result<Done, CaptureError> {
        let report = self.recorder.stop()?;
        words::report(&report);
        for broken in &report.broken {
            super::recover_partial(&broken.path);
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
        let stopped = Stopped::new(self.number, &report);
        self.reports.push(report);
        self.number += 1;
        self.announce("stop", "");
        Ok(Done::Stopped(Box::new(stopped)))
    }

    fn discard(&mut self) -> Result<Done, CaptureError> {
        let number = self.number;
        self.recorder.discard()?;
        words::clear_line();
        eprintln!("episode {number} discarded");
        self.announce("discard", "");
        Ok(Done::Discarded { number })
    }

    fn mark(&self, text: String) -> Result<Done, CaptureError> {
        if self.recorder.status().state != RecorderState::Recording {
            return Err(CaptureError::State {
                command: "mark",
                problem: "no episode is being recorded; start one first".to_owned(),
            });
        }
        self.recorder.event("mark", &text);
        self.announce("mark", &text);
        let number = self.number;
        Ok(Done::Marked { number, text })
    }

    /// Does what was ordered. Whoever ordered it is there to try again: what goes
    /// wrong is said, and the recorder goes on.
    pub fn obey(&mut self, order: Order) -> Answer {
        self.error = None;
        let result = match order {
            Order::Toggle if self.recorder.status().state == RecorderState::Recording => {
                self.stop()
            }
            Order::Toggle => self.start(""),
            Order::Start { task } => self.start(&task),
            Order::Stop => self.stop(),
            Order::Discard => self.discard(),
            Order::Mark { text } => self.mark(text),
            Order::Quit => Ok(Done::Quitting),
        };
        result.map_err(|error| {
            let refusal = crate::control::Refusal::from(error);
            words::clear_line();
            eprintln!("error: {}", refusal.reason);
            self.error = Some(refusal.reason.clone());
            refusal
        })
    }

    fn announce(&self, kind: &str, text: &str) {
        if let Some(announcer) = &self.announcer {
            announcer.event(kind, text);
        }
    }

    /// What is told to whoever drives or watches.
    pub fn published(&self) -> Published {
        let finished = self.reports.iter().map(|report| Finished {
            name: report
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            duration_s: report.duration_s,
            bytes: report.bytes,
            written: report.ledger.values().map(|ledger| ledger.written).sum(),
            lost: report.ledger.values().map(StreamLedger::lost).sum(),
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
