//! The single writer thread: takes samples, keeps clocks and ledgers, writes.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, select};
use dexumi_episode::{
    Calibration, ChannelId, EpisodeError, EpisodeWriter, HostTime, Ledger, Rig, SessionAnchor,
    SessionTime,
    schema::{Event, FrameTransform, FrameTransforms, Health, Log, Quaternion, Vector3, timestamp},
};

use super::{
    Command, Ended, EpisodePlan, EpisodeReport, RecorderOptions, RecorderState, Shared,
    device::Queued, free_bytes, stream::Stream,
};
use crate::error::CaptureError;

/// Chunks are closed this often: what a kill may cost, besides the queue.
const TICK: Duration = Duration::from_millis(50);
const HEALTH: Duration = Duration::from_millis(1000);
const STATUS: Duration = Duration::from_millis(50);
/// After Stop, how long a stream may take to pass the stop time.
const DRAIN: Duration = Duration::from_millis(500);
const KEPT_MESSAGES: usize = 50;

pub(super) struct WriterThread {
    pub rig: Rig,
    pub calibration: Option<Calibration>,
    pub anchor: SessionAnchor,
    pub options: RecorderOptions,
    pub shared: Arc<Shared>,
    pub streams: Vec<Stream>,
}

struct Open {
    writer: EpisodeWriter,
    path: PathBuf,
    start: SessionTime,
    stop: Option<Stopping>,
    events: ChannelId,
    health: ChannelId,
    log: ChannelId,
    last_health: Instant,
}

struct Stopping {
    at: SessionTime,
    deadline: Instant,
    why: Ended,
    reply: Option<Sender<Result<EpisodeReport, CaptureError>>>,
}

impl WriterThread {
    pub fn run(
        mut self,
        sensors: &Receiver<Queued>,
        images: &Receiver<Queued>,
        commands: &Receiver<Command>,
    ) {
        let mut open: Option<Open> = None;
        let mut ended: Option<EpisodeReport> = None;
        let mut next_tick = Instant::now() + TICK;
        let mut next_status = Instant::now();
        loop {
            select! {
                recv(sensors) -> message => match message {
                    Ok(message) => self.take(message, &mut open),
                    Err(_) => std::thread::sleep(TICK),
                },
                recv(images) -> message => match message {
                    Ok(message) => self.take(message, &mut open),
                    Err(_) => std::thread::sleep(TICK),
                },
                recv(commands) -> command => match command {
                    Ok(Command::Shutdown) | Err(_) => break,
                    Ok(command) => self.command(command, &mut open, &mut ended),
                },
                default(next_tick.saturating_duration_since(Instant::now())) => {}
            }
            // Whatever else has come is taken before the next look at the clock.
            for _ in 0..256 {
                let Ok(message) = sensors.try_recv().or_else(|_| images.try_recv()) else {
                    break;
                };
                self.take(message, &mut open);
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(&mut open, &mut ended);
            }
            if now >= next_status {
                next_status = now + STATUS;
                self.publish(open.as_ref(), ended.is_some());
            }
        }
        // The program ends: an episode that still runs is completed, not left.
        if let Some(running) = open.take() {
            let at = self.anchor.to_session(HostTime::now());
            let stopping = running.stop.as_ref().map_or(at, |stopping| stopping.at);
            let _ = self.finish(running, stopping, Ended::Stopped);
        }
    }

    fn take(&mut self, message: Queued, open: &mut Option<Open>) {
        match message {
            Queued::Item(index, item) => {
                let target = open.as_mut().map(|open| {
                    let stop = open.stop.as_ref().map(|stopping| stopping.at);
                    (&mut open.writer, open.start, stop)
                });
                let stream = &mut self.streams[index];
                if let Some(jpeg) = stream.take(item, &self.anchor, target) {
                    let mut previews = self.shared.previews();
                    let entry = previews.entry(stream.name().to_owned()).or_default();
                    *entry = (entry.0 + 1, jpeg);
                }
            }
            Queued::Connection {
                stream,
                problem,
                at,
            } => {
                let name = self.streams[stream].name().to_owned();
                let text = match &problem {
                    Some(problem) => problem.clone(),
                    None => format!("`{name}` is back"),
                };
                let level = if problem.is_some() { 4 } else { 2 };
                self.streams[stream].set_problem(problem);
                self.say(open.as_mut(), level, &name, text, at);
            }
        }
    }

    /// A message for people: into the file, and into the status. Levels are
    /// Foxglove's: 2 info, 3 warning, 4 error.
    fn say(&self, open: Option<&mut Open>, level: i32, name: &str, text: String, at: HostTime) {
        if let Some(open) = open {
            let time = self.anchor.to_session(at);
            let message = Log {
                timestamp: Some(timestamp(time)),
                level,
                message: text.clone(),
                name: name.to_owned(),
                ..Log::default()
            };
            open.writer.write(open.log, 0, time, time, &message);
        }
        let mut status = self.shared.status();
        status.messages.push(text);
        let excess = status.messages.len().saturating_sub(KEPT_MESSAGES);
        status.messages.drain(..excess);
    }

    fn command(
        &mut self,
        command: Command,
        open: &mut Option<Open>,
        ended: &mut Option<EpisodeReport>,
    ) {
        let not_running = |command: &'static str| CaptureError::State {
            command,
            problem: "no episode is being recorded; start one first".to_owned(),
        };
        match command {
            Command::Start(plan, reply) => {
                let result = if open.is_some() {
                    Err(CaptureError::State {
                        command: "start",
                        problem: "an episode is being recorded; stop it first".to_owned(),
                    })
                } else {
                    *ended = None;
                    self.start(*plan).map(|started| *open = Some(started))
                };
                self.publish(open.as_ref(), false);
                let _ = reply.send(result);
            }
            Command::Stop(reply) => match (open.as_mut(), ended.take()) {
                (Some(running), _) if running.stop.is_none() => {
                    let at = self.anchor.to_session(HostTime::now());
                    running.stop = Some(Stopping {
                        at,
                        deadline: Instant::now() + DRAIN,
                        why: Ended::Stopped,
                        reply: Some(reply),
                    });
                }
                (Some(running), _) => {
                    // Already ending by itself: this caller gets the report.
                    if let Some(stopping) = &mut running.stop {
                        stopping.reply = Some(reply);
                    }
                }
                (None, Some(report)) => {
                    let _ = reply.send(Ok(report));
                }
                (None, None) => {
                    let _ = reply.send(Err(not_running("stop")));
                }
            },
            Command::Discard(reply) => {
                let result = match open.take() {
                    Some(running) => {
                        self.streams.iter_mut().for_each(Stream::close_channels);
                        running.writer.discard().map_err(CaptureError::from)
                    }
                    None => Err(not_running("discard")),
                };
                self.publish(None, false);
                let _ = reply.send(result);
            }
            Command::Event { kind, text } => {
                if let Some(open) = open {
                    let now = self.anchor.to_session(HostTime::now());
                    let message = Event {
                        timestamp_ns: now.nanos(),
                        kind,
                        text,
                    };
                    open.writer.write(open.events, 0, now, now, &message);
                }
            }
            Command::Shutdown => {}
        }
    }

    fn start(&mut self, plan: EpisodePlan) -> Result<Open, CaptureError> {
        let EpisodePlan { path, info } = plan;
        let calibration = self.calibration.as_ref().map(Calibration::to_toml);
        let mut writer =
            EpisodeWriter::create(&path, &info, &self.rig.to_toml(), calibration.as_deref())?;
        match self.open_channels(&mut writer, &info.task) {
            Ok((start, events, health, log)) => Ok(Open {
                writer,
                path,
                start,
                stop: None,
                events,
                health,
                log,
                last_health: Instant::now(),
            }),
            Err(error) => {
                let _ = writer.discard();
                Err(error.into())
            }
        }
    }

    fn open_channels(
        &mut self,
        writer: &mut EpisodeWriter,
        task: &str,
    ) -> Result<(SessionTime, ChannelId, ChannelId, ChannelId), EpisodeError> {
        let events = writer.channel::<Event>("/events", &[])?;
        let health = writer.channel::<Health>("/health", &[])?;
        let log = writer.channel::<Log>("/log", &[])?;
        let now = HostTime::now();
        for stream in &mut self.streams {
            stream.open_channels(writer)?;
            if let Some(clock) = stream.clock(now) {
                writer.clock(stream.name(), &clock)?;
            }
        }
        let start = self.anchor.to_session(HostTime::now());
        for stream in &self.streams {
            stream.write_intrinsics(writer, start)?;
        }
        if !self.rig.mount.is_empty() {
            let tf = writer.channel::<FrameTransforms>("/tf", &[])?;
            let message = FrameTransforms {
                transforms: mounts(&self.rig, start),
            };
            writer.write(tf, 0, start, start, &message);
        }
        let event = Event {
            timestamp_ns: start.nanos(),
            kind: "start".to_owned(),
            text: task.to_owned(),
        };
        writer.write(events, 0, start, start, &event);
        // On disk at once: a killed recorder leaves a file that explains itself.
        writer.tick()?;
        Ok((start, events, health, log))
    }

    fn tick(&mut self, open: &mut Option<Open>, ended: &mut Option<EpisodeReport>) {
        let Some(running) = open else { return };
        self.streams.iter_mut().for_each(Stream::count_dropped);
        let now = HostTime::now();
        if running.last_health.elapsed() >= HEALTH {
            running.last_health = Instant::now();
            let time = self.anchor.to_session(now);
            write_health(&self.streams, running, time, now);
            if running.stop.is_none() && free_bytes(&running.path) < self.options.reserve_bytes {
                running.stop = Some(Stopping {
                    at: time,
                    deadline: Instant::now() + DRAIN,
                    why: Ended::DiskReserve,
                    reply: None,
                });
                let text = format!(
                    "disk is down to its reserve of {} MB: the episode is ended and complete up to here",
                    self.options.reserve_bytes / 1_000_000
                );
                self.say(open.as_mut(), 4, "writer", text, now);
            }
        }
        let Some(running) = open else { return };
        if let Err(error) = running.writer.tick() {
            let failed = open.take().expect("it was open a line ago");
            let problem = chain(&error);
            self.say(
                None,
                4,
                "writer",
                format!("cannot write the episode: {problem}"),
                now,
            );
            let reply = failed.stop.and_then(|stopping| stopping.reply);
            let report = EpisodeReport {
                duration_s: (self.anchor.to_session(now) - failed.start).secs_f64(),
                bytes: failed.writer.bytes(),
                path: failed.writer.abandon(),
                ledger: self.ledger(),
                clocks: Default::default(),
                ended: Ended::WriteError { problem },
            };
            self.streams.iter_mut().for_each(Stream::close_channels);
            // Whoever waits for the report reads the state next.
            self.publish(None, reply.is_none());
            hand_over(report, reply, ended);
            return;
        }
        let done = running.stop.as_ref().is_some_and(|stopping| {
            let passed = |stream: &Stream| {
                !stream.is_connected() || stream.newest().is_none_or(|newest| newest > stopping.at)
            };
            self.streams.iter().all(passed) || Instant::now() >= stopping.deadline
        });
        if done {
            let mut running = open.take().expect("it was open a line ago");
            let stopping = running.stop.take().expect("checked above");
            let result = self.finish(running, stopping.at, stopping.why);
            self.publish(None, stopping.reply.is_none() && result.is_ok());
            match result {
                Ok(report) => hand_over(report, stopping.reply, ended),
                Err(error) => {
                    if let Some(reply) = stopping.reply {
                        let _ = reply.send(Err(error));
                    }
                }
            }
        }
    }

    fn ledger(&self) -> Ledger {
        self.streams
            .iter()
            .map(|stream| (stream.name().to_owned(), stream.ledger().clone()))
            .collect()
    }

    fn finish(
        &mut self,
        mut open: Open,
        stop: SessionTime,
        ended: Ended,
    ) -> Result<EpisodeReport, CaptureError> {
        self.streams.iter_mut().for_each(Stream::count_dropped);
        let now = HostTime::now();
        let event = Event {
            timestamp_ns: stop.nanos(),
            kind: "stop".to_owned(),
            text: String::new(),
        };
        open.writer.write(open.events, 1, stop, stop, &event);
        write_health(&self.streams, &mut open, stop, now);
        let ledger = self.ledger();
        let bytes = open.writer.bytes();
        let mut clocks = std::collections::BTreeMap::new();
        let partial = open.writer.partial().to_owned();
        let mut complete = |writer: &mut EpisodeWriter| -> Result<(), EpisodeError> {
            writer.tick()?;
            for stream in &self.streams {
                if let Some(clock) = stream.clock(now) {
                    writer.clock(stream.name(), &clock)?;
                    clocks.insert(stream.name().to_owned(), clock);
                }
            }
            Ok(())
        };
        let duration_s = (stop - open.start).secs_f64();
        let result = complete(&mut open.writer);
        let result = match result {
            Ok(()) => open.writer.finish(Some((open.start, stop)), &ledger),
            Err(error) => {
                open.writer.abandon();
                Err(error)
            }
        };
        self.streams.iter_mut().for_each(Stream::close_channels);
        let (path, ended) = match result {
            Ok(path) => (path, ended),
            Err(error) => (
                partial,
                Ended::WriteError {
                    problem: chain(&error),
                },
            ),
        };
        Ok(EpisodeReport {
            path,
            duration_s,
            bytes,
            ledger,
            clocks,
            ended,
        })
    }

    fn publish(&self, open: Option<&Open>, ended: bool) {
        let now = HostTime::now();
        let streams = self
            .streams
            .iter()
            .map(|stream| stream.status(now))
            .collect();
        let mut status = self.shared.status();
        status.streams = streams;
        status.state = match open {
            Some(open) if open.stop.is_some() => RecorderState::Saving,
            Some(_) => RecorderState::Recording,
            None if ended => RecorderState::Ended,
            None => RecorderState::Idle,
        };
        status.episode = open.map(|open| open.path.clone());
        status.elapsed_s = open.map_or(0.0, |open| {
            (self.anchor.to_session(now) - open.start).secs_f64()
        });
        status.bytes = open.map_or(0, |open| open.writer.bytes());
        if let Some(open) = open {
            status.free_bytes = free_bytes(&open.path);
        }
    }
}

fn write_health(streams: &[Stream], open: &mut Open, time: SessionTime, now: HostTime) {
    let streams = streams.iter().map(|stream| stream.health(now)).collect();
    let message = Health {
        timestamp_ns: time.nanos(),
        streams,
    };
    open.writer.write(open.health, 0, time, time, &message);
}

fn hand_over(
    report: EpisodeReport,
    reply: Option<Sender<Result<EpisodeReport, CaptureError>>>,
    ended: &mut Option<EpisodeReport>,
) {
    match reply {
        Some(reply) => {
            let _ = reply.send(Ok(report));
        }
        None => *ended = Some(report),
    }
}

fn mounts(rig: &Rig, now: SessionTime) -> Vec<FrameTransform> {
    rig.mount
        .iter()
        .map(|mount| {
            let parent_from_child = mount.parent_from_child();
            let (p, q) = (
                parent_from_child.translation.vector,
                parent_from_child.rotation.coords,
            );
            FrameTransform {
                timestamp: Some(timestamp(now)),
                parent_frame_id: mount.parent.clone(),
                child_frame_id: mount.child.clone(),
                translation: Some(Vector3 {
                    x: p.x,
                    y: p.y,
                    z: p.z,
                }),
                rotation: Some(Quaternion {
                    x: q.x,
                    y: q.y,
                    z: q.z,
                    w: q.w,
                }),
            }
        })
        .collect()
}

/// An error with its sources, for a message that leaves the program as text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
