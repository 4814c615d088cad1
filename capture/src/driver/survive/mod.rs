//! Vive trackers, through libsurvive: lines of `survive-cli --record-stdout`, of a
//! program that is started here or from a named pipe.
//!
//! libsurvive stamps a pose when it writes it, in seconds since its start. It has
//! been seen to go on saying the same pose when a tracker is lost: a pose that
//! does not change by a millionth for 0.3 s, which no tracked body does, is not
//! valid, nor is one that is not said again for as long.

mod process;
mod record;
mod stale;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use dexumi_episode::{ClockModel, Device, DeviceTime, HostTime, StreamKind};

pub use record::{Record, encode_pose, parse};

use self::{
    process::{Chunk, Feed},
    stale::{Change, Freshness},
};
use super::{
    Data, Driver, Item, Output, Sample, Source,
    lines::Lines,
    min_delay_ns,
    options::{Options, failed},
};
use crate::error::CaptureError;

const WAIT: Duration = Duration::from_millis(100);
/// A program that cannot run ends at once.
const BEGINNING: Duration = Duration::from_millis(300);
/// A headset's configuration is one line of tens of kilobytes.
const LONGEST_LINE: usize = 1 << 20;
/// Lines of a program that go into the log, per burst.
const MAX_NOTES: u32 = 20;
const NOTES_AGAIN: Duration = Duration::from_secs(10);
/// Without a record after so much other text, the option is missing.
const LINES_WITHOUT_RECORD: u32 = 30;

/// The registration.
pub const DRIVER: Driver = Driver {
    name: "survive",
    help: "Vive trackers by libsurvive's survive-cli: a command, or a named pipe",
    feeds: "/tracker/<name>/pose",
    can_feed: |topic| matches!(StreamKind::of(topic), Some(StreamKind::Tracker { .. })),
    clock: |device| {
        Some(ClockModel {
            tick_ns: 1_000,
            min_delay_ns: min_delay_ns(device),
        })
    },
    metadata: |_| vec![("frame", "libsurvive's world, z up".to_owned())],
    shares: true,
    // Poses come at no steady rate and have no number: nobody can say what is
    // missing.
    counts_missing: true,
    keeps_packets: false,
    open,
};

struct Stream {
    /// As in the rig: an object's three letters, or a serial number.
    wanted: String,
    freshness: Freshness,
    sequence: u64,
    last: Option<Data>,
}

struct SurviveSource {
    feed: Feed,
    lines: Lines,
    buffer: Vec<u8>,
    complaints: Lines,
    streams: Vec<Stream>,
    /// Serial number of each object that has told it.
    serials: BTreeMap<String, String>,
    notes: Notes,
    /// Lines that were no record, while none has come.
    other_lines: Option<u32>,
    first: Device,
}

/// What a program says, thinned out.
struct Notes {
    since: Instant,
    said: u32,
}

impl Notes {
    fn say(&mut self, text: &str, out: &mut Output) {
        if self.since.elapsed() > NOTES_AGAIN {
            let held_back = self.said.saturating_sub(MAX_NOTES);
            *self = Self {
                since: Instant::now(),
                said: 0,
            };
            if held_back > 0 {
                note(true, format!("libsurvive said {held_back} lines more"), out);
            }
        }
        self.said += 1;
        if self.said <= MAX_NOTES && !text.trim().is_empty() {
            let lower = text.to_lowercase();
            let warning = lower.contains("error") || lower.contains("warn");
            note(warning, format!("libsurvive: {}", text.trim()), out);
        }
    }
}

fn note(warning: bool, text: String, out: &mut Output) {
    out.push(0, Item::Note { warning, text });
}

fn open(devices: &[Device]) -> Result<Box<dyn Source>, CaptureError> {
    let first = &devices[0];
    Options::of(devices, &[])?;
    let streams = devices
        .iter()
        .map(|device| {
            let wanted = device.source.clone().ok_or_else(|| {
                failed(
                    device,
                    "no source given",
                    "write the tracker's serial number, such as source = \"LHR-1A2B3C4D\", \
                     or libsurvive's name of it, such as \"T20\"",
                )
            })?;
            Ok(Stream {
                wanted,
                freshness: Freshness::default(),
                sequence: 0,
                last: None,
            })
        })
        .collect::<Result<_, CaptureError>>()?;
    let address = first.address.as_str();
    let begin = || {
        if process::is_pipe(address) {
            return Feed::pipe(Path::new(address));
        }
        let mut feed = Feed::start(address)?;
        match feed.end_within(BEGINNING)? {
            Some(how) => Err(std::io::Error::other(format!("it ended at once: {how}"))),
            None => Ok(feed),
        }
    };
    let feed = begin().map_err(|error| {
        failed(
            first,
            error.to_string(),
            "is it a command that runs in a terminal, or the path of a named pipe?",
        )
    })?;
    Ok(Box::new(SurviveSource {
        feed,
        lines: Lines::new(LONGEST_LINE),
        complaints: Lines::new(LONGEST_LINE),
        buffer: vec![0; 1 << 16],
        streams,
        serials: BTreeMap::new(),
        notes: Notes {
            since: Instant::now(),
            said: 0,
        },
        other_lines: Some(0),
        first: first.clone(),
    }))
}

impl SurviveSource {
    /// Takes what the program wrote.
    fn take(&mut self, count: usize, arrival: HostTime, out: &mut Output) {
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(0));
        let bytes = self.buffer[..count].to_vec();
        lines.push(&bytes, |line| self.line(line, arrival, out));
        let bytes = lines.take_discarded();
        self.lines = lines;
        if bytes > 0 {
            out.push(0, Item::Discarded { bytes });
        }
    }

    fn line(&mut self, line: &[u8], arrival: HostTime, out: &mut Output) {
        let Some(record) = parse(line) else {
            if let Some(count) = &mut self.other_lines {
                *count += 1;
                if *count == LINES_WITHOUT_RECORD {
                    let text = "libsurvive writes no records; is it started with --record-stdout?";
                    note(true, text.to_owned(), out);
                }
            }
            return;
        };
        self.other_lines = None;
        match record {
            Record::Pose {
                time_us,
                object,
                position_m,
                rotation_xyzw,
            } => {
                let time = DeviceTime::from_nanos(time_us as i64 * 1_000);
                for index in self.streams_of(object) {
                    let pose = (position_m, rotation_xyzw);
                    self.pose(index, pose, (time_us, time), arrival, out);
                }
            }
            Record::Broken { object } => {
                for index in self.streams_of(object) {
                    out.lost(index, "corrupt", 1, arrival);
                }
            }
            Record::Serial { object, serial } => {
                self.serials.insert(object.to_owned(), serial.clone());
                for index in self.streams_of(object) {
                    let about = [("object", object), ("serial", &serial)];
                    let about = about.map(|(key, value)| (key.to_owned(), value.to_owned()));
                    out.push(index, Item::About(about.to_vec()));
                }
            }
            Record::Log(text) => self.notes.say(text, out),
            Record::Other => {}
        }
    }

    /// Streams that take an object.
    fn streams_of(&self, object: &str) -> Vec<usize> {
        let serial = self.serials.get(object);
        let is_wanted = |stream: &Stream| stream.wanted == object || Some(&stream.wanted) == serial;
        (0..self.streams.len())
            .filter(|&index| is_wanted(&self.streams[index]))
            .collect()
    }

    fn pose(
        &mut self,
        index: usize,
        (position_m, rotation_xyzw): ([f64; 3], [f64; 4]),
        (time_us, time): (u64, DeviceTime),
        arrival: HostTime,
        out: &mut Output,
    ) {
        let stream = &mut self.streams[index];
        let [x, y, z] = position_m;
        let [qx, qy, qz, qw] = rotation_xyzw;
        let change = stream
            .freshness
            .take([x, y, z, qx, qy, qz, qw], time, arrival);
        let data = Data::Pose {
            position_m,
            rotation_xyzw,
            valid: stream.freshness.is_fresh(),
            mean_error_m: 0.0,
        };
        stream.last = Some(data.clone());
        out.sample(
            index,
            Sample {
                arrival,
                captured: None,
                device: Some(time),
                sent: None,
                ticks: Some(time_us),
                sequence: stream.sequence,
                suspect: 0,
                data,
                raw: None,
            },
        );
        stream.sequence += 1;
        say(index, &stream.wanted, change, out);
    }

    /// What is not said again is not true any more.
    fn watch(&mut self, now: HostTime, out: &mut Output) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let change = stream.freshness.watch(now);
            if let (
                Some(Change::Silent),
                Some(Data::Pose {
                    position_m,
                    rotation_xyzw,
                    ..
                }),
            ) = (change, &stream.last)
            {
                // One that says so in the file, dated by now.
                out.sample(
                    index,
                    Sample {
                        arrival: now,
                        captured: None,
                        device: None,
                        sent: None,
                        ticks: None,
                        sequence: stream.sequence,
                        suspect: 0,
                        data: Data::Pose {
                            position_m: *position_m,
                            rotation_xyzw: *rotation_xyzw,
                            valid: false,
                            mean_error_m: 0.0,
                        },
                        raw: None,
                    },
                );
                stream.sequence += 1;
            }
            say(index, &stream.wanted, change, out);
        }
    }
}

/// Tells people what became of a tracker.
fn say(index: usize, tracker: &str, change: Option<Change>, out: &mut Output) {
    let (warning, text) = match change {
        None => return,
        Some(Change::Frozen) => (
            true,
            format!("{tracker} is frozen: it says the same pose again"),
        ),
        Some(Change::Silent) => (true, format!("{tracker} gives no pose any more")),
        Some(Change::Fresh) => (false, format!("{tracker} tracks again")),
    };
    out.push(index, Item::Note { warning, text });
}

impl Source for SurviveSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        let gone = |first: &Device, problem: String| CaptureError::Gone {
            stream: first.stream.clone(),
            address: first.address.clone(),
            problem,
        };
        let chunk = self
            .feed
            .read(&mut self.buffer, WAIT)
            .map_err(|error| gone(&self.first, error.to_string()))?;
        match chunk {
            Chunk::Output(count, arrival) => self.take(count, arrival, out),
            Chunk::Complaint(count) => {
                let (notes, bytes) = (&mut self.notes, &self.buffer[..count]);
                self.complaints
                    .push(bytes, |line| notes.say(&String::from_utf8_lossy(line), out));
            }
            Chunk::Nothing => {}
            Chunk::End => {
                let how = match self.feed.end_within(WAIT) {
                    Ok(Some(how)) => how,
                    _ => "its writer closed it".to_owned(),
                };
                return Err(gone(&self.first, how));
            }
        }
        self.watch(HostTime::now(), out);
        Ok(())
    }
}
