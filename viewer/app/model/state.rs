//! The state of the whole, in a colour and in words, and what may be done in it.

use dexumi_capture::RecorderState;

use super::{Action, LinkState, Model};
use crate::app::words::{Severity, capitalised, stream_name};

/// State of the whole, one colour each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Phase {
    /// Not ready yet.
    Idle,
    /// Everything is live.
    Ready,
    /// An episode is being written and all is well.
    Recording,
    /// It is being completed.
    Saving,
    /// Somebody has to look.
    Fault,
}

/// The band at the top, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Headline {
    /// State.
    pub word: &'static str,
    /// What it means and what to do.
    pub sentence: String,
}

impl Model {
    /// The state's colour.
    pub fn phase(&self, now_s: f64) -> Phase {
        self.state(now_s).0
    }

    /// The state in words.
    pub fn headline(&self, now_s: f64) -> Headline {
        let (_, word, sentence) = self.state(now_s);
        Headline { word, sentence }
    }

    fn state(&self, now_s: f64) -> (Phase, &'static str, String) {
        match &self.link {
            LinkState::Starting { what } => return (Phase::Idle, "STARTING", format!("{what}.")),
            LinkState::Failed(failure) => {
                return (Phase::Fault, "NO RECORDER", failure.what.clone());
            }
            LinkState::Ended => {
                return (Phase::Idle, "CLOSED", "The recorder has ended.".to_owned());
            }
            LinkState::Connected if self.is_closing => {
                let sentence = "The recorder completes its files.".to_owned();
                return (Phase::Saving, "CLOSING", sentence);
            }
            LinkState::Connected if self.heard_s.is_none() => {
                return (
                    Phase::Idle,
                    "STARTING",
                    "Connected; waiting for the first status.".to_owned(),
                );
            }
            LinkState::Connected => {}
        }
        if let Some(silence_s) = self.silence_s(now_s) {
            let what = format!("The recorder has not answered for {silence_s:.0} s.");
            let rest = if self.is_recording() {
                " The episode may still be running."
            } else {
                ""
            };
            return (Phase::Fault, "NO ANSWER", what + rest);
        }
        let number = self.published.number;
        let rows = self.rows();
        let bad = |severity: Severity| {
            let found = rows.iter().filter(|row| row.verdict.severity == severity);
            let said: Vec<String> = found
                .map(|row| format!("{}: {}", stream_name(&row.status.stream), row.verdict.text))
                .collect();
            match &said[..] {
                [] => None,
                [only] => Some(only.clone()),
                [first, rest @ ..] => Some(format!("{first}; and {} more", rest.len())),
            }
        };
        let pending = self.pending_action(now_s);
        let error = self.published.error.clone();
        match self.published.status.state {
            RecorderState::Saving => (
                Phase::Saving,
                "SAVING",
                format!("Completing episode {number}."),
            ),
            RecorderState::Ended => (
                Phase::Saving,
                "SAVING",
                format!("Episode {number} ended by itself."),
            ),
            RecorderState::Recording => match pending {
                Some(Action::Toggle) => (
                    Phase::Saving,
                    "SAVING",
                    format!("Completing episode {number}."),
                ),
                Some(Action::Discard) => (
                    Phase::Saving,
                    "DISCARDING",
                    format!("Throwing episode {number} away."),
                ),
                _ => match bad(Severity::Fault).or(error) {
                    Some(what) => (
                        Phase::Fault,
                        "FAULT",
                        format!("Still recording. {}", capitalised(&what)),
                    ),
                    None => (
                        Phase::Recording,
                        "RECORDING",
                        "Space stops and saves.".to_owned(),
                    ),
                },
            },
            RecorderState::Idle if pending == Some(Action::Toggle) => (
                Phase::Ready,
                "STARTING",
                format!("Starting episode {number}."),
            ),
            RecorderState::Idle => match (
                error.or_else(|| bad(Severity::Fault)),
                bad(Severity::Waiting),
            ) {
                (Some(what), _) => (Phase::Fault, "FAULT", capitalised(&what)),
                (None, Some(what)) => (Phase::Idle, "WAIT", what),
                (None, None) => (
                    Phase::Ready,
                    "READY",
                    format!("Space starts episode {number}."),
                ),
            },
        }
    }

    /// Whether an action makes sense now; if not, why.
    ///
    /// # Errors
    /// The reason, a sentence for the operator.
    pub fn check(&self, action: Action, now_s: f64) -> Result<(), String> {
        if self.link != LinkState::Connected || self.heard_s.is_none() {
            return Err("There is no recorder.".to_owned());
        }
        if self.pending_action(now_s).is_some() {
            return Err("One moment.".to_owned());
        }
        match (action, self.published.status.state) {
            (Action::Toggle, RecorderState::Recording) => Ok(()),
            (Action::Toggle, RecorderState::Idle) => {
                match self.rows().iter().find(|row| row.verdict.is_silent) {
                    Some(row) => Err(format!(
                        "Cannot start: {} has {}.",
                        stream_name(&row.status.stream),
                        if row.status.problem.is_some() {
                            "a problem"
                        } else {
                            "no data"
                        }
                    )),
                    None => Ok(()),
                }
            }
            (Action::Discard | Action::Mark, RecorderState::Recording) => Ok(()),
            (Action::Discard | Action::Mark, RecorderState::Idle) => {
                Err("No episode is running.".to_owned())
            }
            (_, RecorderState::Saving | RecorderState::Ended) => {
                Err("The episode is being saved.".to_owned())
            }
        }
    }
}
