//! An episode being written: its start, its end, and what happens when the disk
//! refuses.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use crossbeam_channel::Sender;
use dexumi_episode::{
    Calibration, ChannelId, Delta, EpisodeError, EpisodeInfo, EpisodeWriter, HostTime, Rig,
    SessionTime,
    schema::{Event, FrameTransform, FrameTransforms, Health, Log, Quaternion, Vector3, timestamp},
};

use super::{Level, SHORTEST_SEGMENT, Writer};
use crate::{
    error::CaptureError,
    record::{
        BrokenSegment, Ended, EpisodePlan, EpisodeReport, channels::write_intrinsics,
        delay::Delays, stream::Stream,
    },
};

/// An episode being written.
pub(super) struct Open {
    pub writer: EpisodeWriter,
    pub path: PathBuf,
    pub info: EpisodeInfo,
    /// Start of the episode; of a file after a write error, where that begins.
    pub start: SessionTime,
    /// Start of the first file.
    pub began: SessionTime,
    /// Start of the pre-roll.
    pub from: SessionTime,
    pub stop: Option<Stopping>,
    events: ChannelId,
    health: ChannelId,
    log: ChannelId,
    broken: Vec<BrokenSegment>,
    opened: Instant,
}

/// An episode that is to end.
pub(super) struct Stopping {
    pub at: SessionTime,
    pub deadline: Instant,
    pub why: Ended,
    pub reply: Option<Sender<Result<EpisodeReport, CaptureError>>>,
}

impl Open {
    pub fn log(&mut self, level: i32, name: &str, text: &str, time: SessionTime) {
        let message = Log {
            timestamp: Some(timestamp(time)),
            level,
            message: text.to_owned(),
            name: name.to_owned(),
            ..Log::default()
        };
        self.writer.write(self.log, 0, time, time, &message);
    }

    pub fn event(&mut self, sequence: u64, kind: &str, text: &str, time: SessionTime) {
        let message = Event {
            timestamp_ns: time.nanos(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        self.writer
            .write(self.events, sequence, time, time, &message);
    }

    pub fn health(&mut self, streams: &[Stream], time: SessionTime, now: HostTime) {
        let message = Health {
            timestamp_ns: time.nanos(),
            streams: streams.iter().map(|stream| stream.health(now)).collect(),
        };
        self.writer.write(self.health, 0, time, time, &message);
    }

    pub fn discard(self) -> Result<(), EpisodeError> {
        for broken in self.broken {
            std::fs::remove_file(&broken.path).map_err(EpisodeError::io("remove", &broken.path))?;
        }
        self.writer.discard()
    }
}

impl Writer {
    /// Starts an episode: it begins at `at`, whatever the making of the file takes.
    pub(super) fn start(&mut self, plan: EpisodePlan, at: HostTime) -> Result<(), CaptureError> {
        let start = self.fixed.anchor.to_session(at);
        let pre_roll = Delta::from_secs_f64(self.fixed.options.pre_roll.as_secs_f64());
        let from = start - pre_roll;
        let mut open = self.create(plan.path, plan.info, start, from)?;
        self.delays = Delays::default();
        for (index, entry) in self.ring.drain() {
            if entry.at >= from {
                let stream = &mut self.fixed.streams[index];
                stream.write(entry, &self.fixed.anchor, &mut open.writer);
            }
        }
        let task = open.info.task.clone();
        open.event(0, "start", &task, start);
        // On disk at once: a killed recorder leaves a file that explains itself.
        if let Err(error) = open.writer.tick() {
            let _ = open.discard();
            return Err(error.into());
        }
        self.open = Some(open);
        Ok(())
    }

    fn create(
        &mut self,
        path: PathBuf,
        info: EpisodeInfo,
        start: SessionTime,
        from: SessionTime,
    ) -> Result<Open, EpisodeError> {
        let calibration = self.fixed.calibration.as_ref().map(Calibration::to_toml);
        let rig = self.fixed.rig.to_toml();
        let mut writer = EpisodeWriter::create(&path, &info, &rig, calibration.as_deref())?;
        match self.prepare(&mut writer, start, from) {
            Ok((events, health, log)) => Ok(Open {
                writer,
                path,
                info,
                start,
                began: start,
                from,
                stop: None,
                events,
                health,
                log,
                broken: Vec::new(),
                opened: Instant::now(),
            }),
            Err(error) => {
                let _ = writer.discard();
                Err(error)
            }
        }
    }

    /// Writes what explains the file, and adds its channels, always in the same order.
    fn prepare(
        &mut self,
        writer: &mut EpisodeWriter,
        start: SessionTime,
        from: SessionTime,
    ) -> Result<(ChannelId, ChannelId, ChannelId), EpisodeError> {
        let events = writer.channel::<Event>("/events", &[])?;
        let health = writer.channel::<Health>("/health", &[])?;
        let log = writer.channel::<Log>("/log", &[])?;
        let from = ("from_ns".to_owned(), from.nanos().to_string());
        writer.metadata("pre_roll", &[from].into())?;
        let now = HostTime::now();
        let host_start = self.fixed.anchor.to_host(start);
        for stream in &mut self.fixed.streams {
            stream.open_channels(writer, host_start)?;
            if let Some(clock) = stream.clock(now) {
                writer.clock(stream.name(), &clock)?;
            }
            write_about(stream, writer)?;
        }
        for stream in &self.fixed.streams {
            write_intrinsics(stream, writer, start)?;
        }
        if !self.fixed.rig.mount.is_empty() {
            let tf = writer.channel::<FrameTransforms>("/tf", &[])?;
            let message = FrameTransforms {
                transforms: mounts(&self.fixed.rig, start),
            };
            writer.write(tf, 0, start, start, &message);
        }
        Ok((events, health, log))
    }

    /// The disk refused: the episode goes on in another file, if that can be made.
    pub(super) fn broken(&mut self, mut failed: Open, problem: String, now: HostTime) {
        let time = self.fixed.anchor.to_session(now);
        let text = format!("cannot write the episode: {problem}");
        let part = failed.broken.len() + 2;
        let stem = failed.info_stem();
        let path = failed
            .path
            .with_file_name(format!("{stem}.part{part}.mcap"));
        let lasted = failed.opened.elapsed() >= SHORTEST_SEGMENT;
        // What the first file lacks begins with its last tick.
        let next = lasted
            .then(|| self.create(path, failed.info.clone(), time, time))
            .and_then(Result::ok);
        let Some(mut next) = next else {
            self.say(Level::Error, "writer", text, now);
            self.give_up(failed, problem, time);
            return;
        };
        next.stop = failed.stop.take();
        next.began = failed.began;
        next.broken = std::mem::take(&mut failed.broken);
        let (partial, moved) = failed.writer.abandon_into(&mut next.writer);
        for stream in &mut self.fixed.streams {
            stream.adopt(&moved);
        }
        // Late ones that belong to the first file's time are in this one.
        next.from = failed.from;
        next.event(0, "start", &next.info.task.clone(), time);
        next.broken.push(BrokenSegment {
            path: partial,
            problem,
        });
        let text = format!("{text}; it goes on in {}", next.path.display());
        self.open = Some(next);
        self.say(Level::Error, "writer", text, now);
    }

    fn give_up(&mut self, failed: Open, problem: String, time: SessionTime) {
        let reply = failed.stop.and_then(|stopping| stopping.reply);
        let bytes = failed.writer.bytes();
        let (path, lost) = failed.writer.abandon();
        for stream in &mut self.fixed.streams {
            stream.count_dropped();
            stream.unwrite(&lost);
        }
        let report = EpisodeReport {
            duration_s: (time - failed.began).secs_f64(),
            bytes,
            path,
            ledger: self.ledger(),
            clocks: BTreeMap::new(),
            queue_p99_s: self.delays.p99_s(),
            broken: failed.broken,
            ended: Ended::WriteError { problem },
        };
        let streams = &mut self.fixed.streams;
        streams.iter_mut().for_each(Stream::close_channels);
        // Whoever waits for the report reads the state next.
        match reply {
            Some(reply) => {
                self.publish();
                let _ = reply.send(Ok(report));
            }
            None => {
                self.ended = Some(report);
                self.publish();
            }
        }
    }

    /// Completes the file.
    pub(super) fn finish(
        &mut self,
        mut open: Open,
        stop: SessionTime,
        ended: Ended,
    ) -> Result<EpisodeReport, CaptureError> {
        let now = HostTime::now();
        for stream in &mut self.fixed.streams {
            stream.count_dropped();
            stream.count_outage(now);
        }
        open.event(1, "stop", "", stop);
        open.health(&self.fixed.streams, stop, now);
        let ledger = self.ledger();
        let bytes = open.writer.bytes();
        let mut clocks = BTreeMap::new();
        let partial = open.writer.partial().to_owned();
        let mut complete = |writer: &mut EpisodeWriter| -> Result<(), EpisodeError> {
            writer.tick()?;
            for stream in &self.fixed.streams {
                if let Some(clock) = stream.clock(now) {
                    writer.clock(stream.name(), &clock)?;
                    clocks.insert(stream.name().to_owned(), clock);
                }
                write_about(stream, writer)?;
            }
            Ok(())
        };
        let duration_s = (stop - open.began).secs_f64();
        let result = complete(&mut open.writer);
        let result = match result {
            Ok(()) => open.writer.finish(Some((open.start, stop)), &ledger),
            Err(error) => {
                open.writer.abandon();
                Err(error)
            }
        };
        let streams = &mut self.fixed.streams;
        streams.iter_mut().for_each(Stream::close_channels);
        let (path, ended) = match result {
            Ok(path) => (path, ended),
            Err(error) => {
                let problem = chain(&error);
                (partial, Ended::WriteError { problem })
            }
        };
        Ok(EpisodeReport {
            path,
            duration_s,
            bytes,
            ledger,
            clocks,
            queue_p99_s: self.delays.p99_s(),
            broken: open.broken,
            ended,
        })
    }
}

impl Open {
    /// Name of the episode, without the part of a file after a write error.
    fn info_stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.split('.').next().unwrap_or_default().to_owned()
    }
}

/// What a device says of itself; the last one in a file holds.
fn write_about(stream: &Stream, writer: &mut EpisodeWriter) -> Result<(), EpisodeError> {
    if stream.about().is_empty() {
        return Ok(());
    }
    let about = stream.about().iter().cloned().collect();
    writer.metadata(&format!("device.{}", stream.name()), &about)
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
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
