//! What the window shows and what its keys mean, from what the recorder tells.
//! Nothing here draws, waits or looks at a clock: times are handed in, seconds on
//! the window's own clock.

mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dexumi_capture::{RecorderState, StreamStatus};

use super::{
    history::History,
    words::{Expected, Verdict, count},
};
use crate::control::{Order, Published};

pub(super) use state::Phase;

/// A recorder that publishes 20 times a second is stuck after this [s].
const STALE_AFTER_S: f64 = 1.5;
/// How long a start may take before the keys work again [s] …
const START_PATIENCE_S: f64 = 5.0;
/// … and a stop, which waits for the disk.
const STOP_PATIENCE_S: f64 = 30.0;
/// A glove bounces: a second press within this is the first one [s].
const BOUNCE_S: f64 = 0.35;
/// Discard has to be pressed again within this [s].
const CONFIRM_S: f64 = 3.0;
/// How fast the rate that a device has done so far follows (per status).
const LEARNING: f64 = 0.02;
/// The first second of a stream does not fill the window in which it is counted.
const STATUSES_BEFORE_LEARNING: u32 = 30;

/// How things stand with the recorder's process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LinkState {
    /// It is coming up, or is being looked for.
    Starting {
        /// Where it is waited for, in words.
        what: String,
    },
    /// It talks.
    Connected,
    /// It did not start, or is gone.
    Failed(Failure),
    /// It has ended, as it was asked to.
    Ended,
}

/// Why there is no recorder.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Failure {
    /// What happened, one sentence.
    pub what: String,
    /// The last lines that it said.
    pub lines: Vec<String>,
    /// Where there is more.
    pub log: String,
}

/// What an operator does, by key or button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Start or stop, whichever applies.
    Toggle,
    /// Throw the running episode away; twice.
    Discard,
    /// Note a moment.
    Mark,
}

/// One line of the table of streams.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// As published.
    pub status: &'a StreamStatus,
    /// Rate that it should have, as far as known.
    pub expected: Option<Expected>,
    /// What there is to say.
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    statuses: u32,
    hz: f64,
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    /// The recorder's process.
    pub link: LinkState,
    /// The recorder's last word.
    pub published: Published,
    /// Values to plot.
    pub history: History,
    /// Task of the next episode, as typed.
    pub task: String,
    /// Marks in this episode.
    pub marks: u32,
    /// The recorder was told to end.
    pub is_closing: bool,
    nominal_hz: BTreeMap<String, f64>,
    seen: BTreeMap<String, Seen>,
    heard_s: Option<f64>,
    pending: Option<(Action, f64)>,
    toggled_s: Option<f64>,
    armed_s: Option<f64>,
}

impl Model {
    /// Before anything was heard. `nominal_hz` by topic, where the rig says so.
    pub fn new(task: String, nominal_hz: BTreeMap<String, f64>) -> Self {
        Self {
            link: LinkState::Starting {
                what: "Starting the recorder".to_owned(),
            },
            published: Published::default(),
            history: History::default(),
            task,
            marks: 0,
            is_closing: false,
            nominal_hz,
            seen: BTreeMap::new(),
            heard_s: None,
            pending: None,
            toggled_s: None,
            armed_s: None,
        }
    }

    /// Takes a new status of the recorder, heard at `now_s`.
    pub fn hear(&mut self, published: Published, now_s: f64) {
        if self.heard_s.is_none() && self.task.is_empty() {
            self.task.clone_from(&published.task);
        }
        let (was, is) = (self.published.status.state, published.status.state);
        if is != was {
            self.pending = None;
        }
        if is == RecorderState::Recording && was != RecorderState::Recording {
            self.marks = 0;
        }
        if is != RecorderState::Recording {
            self.armed_s = None;
        }
        if published.error.is_some() {
            self.pending = None;
        }
        for stream in &published.status.streams {
            let seen = self.seen.entry(stream.stream.clone()).or_default();
            // A fall is not learned from, or a dying device would look healthy.
            if stream.rate_hz > 0.8 * seen.hz && stream.rate_hz > 0.0 {
                seen.statuses = seen.statuses.saturating_add(1);
                let share = if seen.statuses < STATUSES_BEFORE_LEARNING {
                    1.0
                } else {
                    LEARNING
                };
                seen.hz += (stream.rate_hz - seen.hz) * share;
            }
        }
        self.history.push(now_s, &published.status.streams);
        self.heard_s = Some(now_s);
        self.published = published;
    }

    /// An episode is being written, as far as anybody knows.
    pub fn is_recording(&self) -> bool {
        self.published.status.state == RecorderState::Recording
            && matches!(self.link, LinkState::Connected | LinkState::Starting { .. })
    }

    /// Time since the start of the episode [s], going on between statuses.
    pub fn elapsed_s(&self, now_s: f64) -> f64 {
        let since = self
            .heard_s
            .map_or(0.0, |heard_s| (now_s - heard_s).clamp(0.0, STALE_AFTER_S));
        let runs = self.is_recording() && self.pending_action(now_s) != Some(Action::Toggle);
        self.published.status.elapsed_s + if runs { since } else { 0.0 }
    }

    /// The streams with their verdicts, in the rig's order.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let streams = &self.published.status.streams;
        streams
            .iter()
            .map(|status| {
                let expected = self.expected(&status.stream);
                Row {
                    status,
                    expected,
                    verdict: Verdict::of(status, expected.map(|expected| expected.hz)),
                }
            })
            .collect()
    }

    fn expected(&self, topic: &str) -> Option<Expected> {
        let seen = self
            .seen
            .get(topic)
            .filter(|seen| seen.statuses > STATUSES_BEFORE_LEARNING);
        match self.nominal_hz.get(topic) {
            Some(&hz) => Some(Expected {
                hz,
                is_nominal: true,
            })
            .filter(|_| seen.is_some()),
            None => seen.map(|seen| Expected {
                hz: seen.hz,
                is_nominal: false,
            }),
        }
    }

    fn pending_action(&self, now_s: f64) -> Option<Action> {
        let patience_s = match self.published.status.state {
            RecorderState::Idle => START_PATIENCE_S,
            _ => STOP_PATIENCE_S,
        };
        self.pending
            .filter(|&(_, at_s)| now_s - at_s < patience_s)
            .map(|(action, _)| action)
    }

    fn silence_s(&self, now_s: f64) -> Option<f64> {
        self.heard_s
            .map(|heard_s| now_s - heard_s)
            .filter(|&silence_s| silence_s > STALE_AFTER_S)
    }

    /// Does an action; the order to send, if one is due.
    pub fn act(&mut self, action: Action, now_s: f64) -> Option<Order> {
        self.check(action, now_s).ok()?;
        let state = self.published.status.state;
        match action {
            Action::Toggle if self.toggled_s.is_some_and(|at_s| now_s - at_s < BOUNCE_S) => None,
            Action::Toggle => {
                self.toggled_s = Some(now_s);
                self.pending = Some((action, now_s));
                self.armed_s = None;
                Some(match state {
                    RecorderState::Recording => Order::Stop,
                    _ => Order::Start {
                        task: self.task.trim().to_owned(),
                    },
                })
            }
            Action::Discard => match self.armed_s {
                Some(armed_s) if now_s - armed_s < BOUNCE_S => None,
                Some(armed_s) if now_s - armed_s < CONFIRM_S => {
                    self.armed_s = None;
                    self.pending = Some((action, now_s));
                    Some(Order::Discard)
                }
                _ => {
                    self.armed_s = Some(now_s);
                    None
                }
            },
            Action::Mark => {
                self.marks += 1;
                Some(Order::Mark {
                    text: format!("mark {}", count(u64::from(self.marks))),
                })
            }
        }
    }

    /// Whether discard has been pressed once and waits for the second time.
    pub fn is_discard_armed(&self, now_s: f64) -> bool {
        self.armed_s
            .is_some_and(|armed_s| now_s - armed_s < CONFIRM_S)
    }

    /// What an episode costs [byte/s], by the running or else the last one.
    pub fn bytes_per_s(&self) -> Option<f64> {
        let status = &self.published.status;
        let running = (status.bytes, status.elapsed_s);
        let last = self
            .published
            .finished
            .last()
            .map(|last| (last.bytes, last.duration_s));
        [Some(running), last]
            .into_iter()
            .flatten()
            .find(|&(bytes, seconds)| bytes > 0 && seconds > 1.0)
            .map(|(bytes, seconds)| bytes as f64 / seconds)
    }
}
