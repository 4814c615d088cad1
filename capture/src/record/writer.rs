//! The single writer thread: takes samples, keeps clocks and ledgers, writes.

mod open;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};
use dexumi_episode::{Calibration, Delta, HostTime, Ledger, Rig, SessionAnchor};

use self::open::{Open, Stopping, chain};
use super::{
    Command, Ended, EpisodeReport, RecorderOptions, RecorderState, Shared,
    delay::Delays,
    device::{Queued, image_bytes},
    free_bytes,
    ring::Ring,
    stream::Stream,
};
use crate::{
    driver::{Data, Item},
    error::CaptureError,
};

/// Chunks are closed this often: what a kill may cost, besides the queue.
const TICK: Duration = Duration::from_millis(50);
const HEALTH: Duration = Duration::from_millis(1000);
const STATUS: Duration = Duration::from_millis(50);
/// After Stop, how long a stream may take to pass the stop time.
const DRAIN: Duration = Duration::from_millis(500);
const KEPT_MESSAGES: usize = 50;
/// The wall clock is said to have been set when it moved by more within a second.
const WALL_CLOCK_STEP: Delta = Delta::from_millis(20);
/// A file that breaks sooner after another is not worth a third.
const SHORTEST_SEGMENT: Duration = Duration::from_secs(2);

/// Foxglove's levels of messages.
#[derive(Clone, Copy)]
enum Level {
    Info = 2,
    Warning = 3,
    Error = 4,
}

pub(super) struct WriterThread {
    pub rig: Rig,
    pub calibration: Option<Calibration>,
    pub anchor: SessionAnchor,
    pub options: RecorderOptions,
    pub shared: Arc<Shared>,
    pub streams: Vec<Stream>,
    pub image_bytes: Arc<AtomicUsize>,
}

/// What the thread works with.
struct Writer {
    fixed: WriterThread,
    open: Option<Open>,
    /// An episode that ended by itself waits here for its stop.
    ended: Option<EpisodeReport>,
    /// What was captured before an episode, or after its end.
    ring: Ring,
    delays: Delays,
    /// UNIX time minus host time when last looked at.
    wall_offset: Delta,
    last_look: Instant,
}

impl WriterThread {
    pub fn run(
        self,
        sensors: &Receiver<Queued>,
        images: &Receiver<Queued>,
        commands: &Receiver<Command>,
    ) {
        let wall_offset = wall_offset();
        Writer {
            ring: Ring::new(self.options.pre_roll),
            fixed: self,
            open: None,
            ended: None,
            delays: Delays::default(),
            wall_offset,
            last_look: Instant::now(),
        }
        .run(sensors, images, commands);
    }
}

impl Writer {
    fn run(
        &mut self,
        sensors: &Receiver<Queued>,
        images: &Receiver<Queued>,
        commands: &Receiver<Command>,
    ) {
        let mut next_tick = Instant::now() + TICK;
        let mut next_status = Instant::now();
        loop {
            select! {
                recv(sensors) -> message => match message {
                    Ok(message) => self.take(message),
                    Err(_) => std::thread::sleep(TICK),
                },
                recv(images) -> message => match message {
                    Ok(message) => self.take(message),
                    Err(_) => std::thread::sleep(TICK),
                },
                recv(commands) -> command => match command {
                    Ok(Command::Shutdown) | Err(_) => break,
                    Ok(command) => self.command(command),
                },
                default(next_tick.saturating_duration_since(Instant::now())) => {}
            }
            // Whatever else has come is taken before the next look at the clock.
            for _ in 0..256 {
                let Ok(message) = sensors.try_recv().or_else(|_| images.try_recv()) else {
                    break;
                };
                self.take(message);
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick();
            }
            if now >= next_status {
                next_status = now + STATUS;
                self.publish();
            }
        }
        // The program ends: an episode that still runs is completed, not left.
        if let Some(mut running) = self.open.take() {
            let at = self.fixed.anchor.to_session(HostTime::now());
            let stopping = running.stop.take().map_or(at, |stopping| stopping.at);
            let _ = self.finish(running, stopping, Ended::Stopped);
        }
    }

    fn take(&mut self, message: Queued) {
        match message {
            Queued::Item {
                stream: index,
                item,
                dropped,
                pushed,
            } => {
                self.delays.push(pushed.elapsed());
                let bytes = image_bytes(&item);
                self.fixed.image_bytes.fetch_sub(bytes, Ordering::Relaxed);
                if let Item::Note { warning, text } = &item {
                    let name = self.fixed.streams[index].name().to_owned();
                    let level = if *warning {
                        Level::Warning
                    } else {
                        Level::Info
                    };
                    self.say(level, &name, text.clone(), HostTime::now());
                    return;
                }
                self.preview(index, &item);
                let anchor = self.fixed.anchor;
                let stream = &mut self.fixed.streams[index];
                stream.leave_out(dropped);
                let Some(entry) = stream.take(item, &anchor) else {
                    return;
                };
                match &mut self.open {
                    Some(open) if open.stop.as_ref().is_none_or(|stop| entry.at <= stop.at) => {
                        // Older than the pre-roll: of an episode before.
                        if entry.at >= open.from {
                            stream.write(entry, &anchor, &mut open.writer);
                        }
                    }
                    _ => self.ring.push(index, entry),
                }
            }
            Queued::Connection {
                stream,
                problem,
                at,
            } => {
                let name = self.fixed.streams[stream].name().to_owned();
                let (level, text) = match &problem {
                    Some(problem) => (Level::Error, problem.clone()),
                    None => (Level::Info, format!("`{name}` is back")),
                };
                self.fixed.streams[stream].set_problem(problem, at);
                self.say(level, &name, text, at);
            }
        }
    }

    fn preview(&self, index: usize, item: &Item) {
        if let Item::Sample(sample) = item
            && let Data::Image(image) = &sample.data
        {
            let mut previews = self.fixed.shared.previews();
            let topic = self.fixed.streams[index].name();
            let entry = previews.entry(topic.to_owned()).or_default();
            *entry = (entry.0 + 1, image.data.clone());
        }
    }

    /// A message for people: into the file, and into the status.
    fn say(&mut self, level: Level, name: &str, text: String, at: HostTime) {
        if let Some(open) = &mut self.open {
            open.log(level as i32, name, &text, self.fixed.anchor.to_session(at));
        }
        let mut status = self.fixed.shared.status();
        status.messages.push(text);
        let excess = status.messages.len().saturating_sub(KEPT_MESSAGES);
        status.messages.drain(..excess);
    }

    fn command(&mut self, command: Command) {
        let not_running = |command: &'static str| CaptureError::State {
            command,
            problem: "no episode is being recorded; start one first".to_owned(),
        };
        match command {
            Command::Start { plan, at, reply } => {
                let result = if self.open.is_some() {
                    Err(CaptureError::State {
                        command: "start",
                        problem: "an episode is being recorded; stop it first".to_owned(),
                    })
                } else {
                    self.ended = None;
                    self.start(*plan, at)
                };
                self.publish();
                let _ = reply.send(result);
            }
            Command::Stop { at, reply } => match (&mut self.open, self.ended.take()) {
                (Some(running), _) => match &mut running.stop {
                    // Already ending by itself: this caller gets the report.
                    Some(stopping) => stopping.reply = Some(reply),
                    None => {
                        running.stop = Some(Stopping {
                            at: self.fixed.anchor.to_session(at),
                            deadline: Instant::now() + DRAIN,
                            why: Ended::Stopped,
                            reply: Some(reply),
                        });
                    }
                },
                (None, Some(report)) => {
                    // Whoever waits for the report reads the state next.
                    self.publish();
                    let _ = reply.send(Ok(report));
                }
                (None, None) => {
                    let _ = reply.send(Err(not_running("stop")));
                }
            },
            Command::Discard(reply) => {
                let result = match self.open.take() {
                    Some(running) => {
                        let streams = &mut self.fixed.streams;
                        streams.iter_mut().for_each(Stream::close_channels);
                        running.discard().map_err(CaptureError::from)
                    }
                    None => Err(not_running("discard")),
                };
                self.publish();
                let _ = reply.send(result);
            }
            Command::Event { kind, text } => {
                if let Some(open) = &mut self.open {
                    let now = self.fixed.anchor.to_session(HostTime::now());
                    open.event(0, &kind, &text, now);
                }
            }
            Command::Shutdown => {}
        }
    }

    /// Once a second: the ledger into the file, a look at the disk, at the wall
    /// clock, and at devices that say nothing.
    fn look_around(&mut self) {
        let now = HostTime::now();
        let time = self.fixed.anchor.to_session(now);
        let wall_offset = wall_offset();
        let step = wall_offset - std::mem::replace(&mut self.wall_offset, wall_offset);
        if step.abs() > WALL_CLOCK_STEP {
            let text = format!(
                "the computer's wall clock was set by {:+.3} s; the recording runs on its own clock \
                 and is not affected",
                step.secs_f64()
            );
            self.say(Level::Warning, "clock", text, now);
        }
        let Some(running) = &mut self.open else {
            return;
        };
        running.health(&self.fixed.streams, time, now);
        if running.stop.is_none() && free_bytes(&running.path) < self.fixed.options.reserve_bytes {
            running.stop = Some(Stopping {
                at: time,
                deadline: Instant::now() + DRAIN,
                why: Ended::DiskReserve,
                reply: None,
            });
            let text = format!(
                "disk is down to its reserve of {} MB: the episode is ended and complete up to here",
                self.fixed.options.reserve_bytes / 1_000_000
            );
            self.say(Level::Error, "writer", text, now);
        }
    }

    fn tick(&mut self) {
        let now = HostTime::now();
        let streams = &mut self.fixed.streams;
        let changes: Vec<_> = streams
            .iter_mut()
            .filter_map(|stream| Some((stream.watch(now)?, stream.name().to_owned())))
            .collect();
        for (text, name) in changes {
            self.say(Level::Warning, &name, text, now);
        }
        if self.last_look.elapsed() >= HEALTH {
            self.last_look = Instant::now();
            self.look_around();
        }
        let streams = &mut self.fixed.streams;
        streams.iter_mut().for_each(Stream::count_dropped);
        let Some(running) = &mut self.open else {
            return;
        };
        if let Err(error) = running.writer.tick() {
            let failed = self.open.take().expect("it was open a line ago");
            self.broken(failed, chain(&error), now);
            return;
        }
        let done = running.stop.as_ref().is_some_and(|stopping| {
            let passed = |stream: &Stream| {
                !stream.is_connected() || stream.newest().is_none_or(|newest| newest > stopping.at)
            };
            self.fixed.streams.iter().all(passed) || Instant::now() >= stopping.deadline
        });
        if done {
            let mut running = self.open.take().expect("it was open a line ago");
            let stopping = running.stop.take().expect("checked above");
            let result = self.finish(running, stopping.at, stopping.why);
            match (result, stopping.reply) {
                (result, Some(reply)) => {
                    self.publish();
                    let _ = reply.send(result);
                }
                (Ok(report), None) => {
                    self.ended = Some(report);
                    self.publish();
                }
                (Err(_), None) => self.publish(),
            }
        }
    }

    fn ledger(&self) -> Ledger {
        self.fixed
            .streams
            .iter()
            .map(|stream| (stream.name().to_owned(), stream.ledger().clone()))
            .collect()
    }

    fn publish(&self) {
        let now = HostTime::now();
        let fixed = &self.fixed;
        let streams = fixed.streams.iter().map(|stream| stream.status(now));
        let streams = streams.collect();
        let open = self.open.as_ref();
        let mut status = fixed.shared.status();
        status.streams = streams;
        status.state = match open {
            Some(open) if open.stop.is_some() => RecorderState::Saving,
            Some(_) => RecorderState::Recording,
            None if self.ended.is_some() => RecorderState::Ended,
            None => RecorderState::Idle,
        };
        status.episode = open.map(|open| open.path.clone());
        status.elapsed_s = open.map_or(0.0, |open| {
            (fixed.anchor.to_session(now) - open.began).secs_f64()
        });
        status.bytes = open.map_or(0, |open| open.writer.bytes());
        status.queue_p99_s = self.delays.p99_s();
        let folder = fixed.options.folder.as_ref().map(|folder| folder.join("."));
        if let Some(path) = open.map(|open| &open.path).or(folder.as_ref()) {
            status.free_bytes = free_bytes(path);
        }
    }
}

/// UNIX time minus CLOCK_MONOTONIC, just now.
fn wall_offset() -> Delta {
    let anchor = SessionAnchor::now();
    Delta::from_nanos(anchor.to_session(HostTime::from_nanos(0)).nanos())
}
