//! What the emulated devices really measured, when, and what became of it on
//! the way: one JSON object a line, so that a test can judge a recording by it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    exo_map::ExoMap,
    faults::{Damage, Faults},
};

const FORMAT: u32 = 1;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    Header(Header),
    Sample(Sample),
    Event(Event),
}

/// First line: what holds for the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the file's layout; 1.
    pub format: u32,
    /// CLOCK_MONOTONIC at scene time 0 [ns].
    pub host_start_ns: i64,
    /// How much faster than the host each device's clock is [ppm], by stream.
    pub drift_ppm: BTreeMap<String, f64>,
    /// When each encoder channel is sampled, relative to the tick [s].
    pub scan_offsets_s: Vec<f64>,
    /// The exoskeleton's true map from joint to sensor angle.
    pub exo_map: ExoMap,
    /// What goes wrong on request.
    pub faults: Faults,
    /// Of the random numbers.
    pub seed: u64,
    /// What the scene says of itself.
    pub motion: String,
}

/// One sample that a device took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Stream, as in the rig.
    pub stream: String,
    /// Counts the samples that the device took, from 0.
    pub seq: u64,
    /// True capture time, CLOCK_MONOTONIC [ns]; of encoders the moment of the
    /// tick, the channels being earlier by the scan offsets.
    pub t_ns: i64,
    /// The device's stamp as sent: ms counter of 16 bits, server ticks, or
    /// microseconds of a camera's clock; absent for a device without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_ticks: Option<u64>,
    /// What was there to measure: 12 joint angles [rad], each at its channel's
    /// own time; 3 forces [counts]; pose x, y, z [m] and quaternion x, y, z, w.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
    /// What the device made of it, with its noise: 14 words or 3 counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<i32>,
    /// What became of it.
    pub fate: Fate,
    /// How it was damaged, with fate `corrupt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damaged>,
    /// How long after the scheduled moment the bytes were handed over [µs];
    /// stalls are part of the schedule. With fate `sent` or `corrupt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_us: Option<f64>,
    /// When that was noted, right after the bytes were handed over, CLOCK_MONOTONIC [ns]. With
    /// fate `sent` or `corrupt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<i64>,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Handed to the kernel whole, for every reader there was.
    Sent,
    /// Not sent, by the fault `drop`.
    Dropped,
    /// Sent, but damaged.
    Corrupt,
    /// Not sent: nobody was reading, a reader was too slow, the link was
    /// unplugged, or the emulator could not keep up (an event says so).
    #[default]
    Unsent,
}

/// What can be known of a damaged packet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Damaged {
    /// How.
    pub kind: Damage,
    /// Header, length, checksum and sign extension either show that something is
    /// wrong, or lead to the packet as it was meant. Otherwise a packet that was
    /// never sent passes them all.
    pub exposable: bool,
    /// The packet as it was meant can still be found among the bytes.
    pub intact: bool,
    /// Largest change of a joint's sensor angle in the packet that passes [deg].
    #[serde(default)]
    pub jump_deg: f64,
    /// Largest change of a force in the packet that passes [counts].
    #[serde(default)]
    pub jump_counts: f64,
    /// Change of its counter [ms].
    #[serde(default)]
    pub jump_ms: f64,
}

/// Something that happened to a device or to this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Stream, as in the rig.
    pub stream: String,
    /// When, CLOCK_MONOTONIC [ns].
    pub t_ns: i64,
    /// `unplug`, `plug`, `reader_left`, `slow_reader` (an image did not fit a
    /// reader's queue), `late` (an image was not rendered, the emulator being
    /// behind), `failed: …`, or `truth_lost` (lines of this file).
    pub what: String,
    /// How many, where it is counted.
    #[serde(default)]
    pub count: u64,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Its first line.
    pub header: Header,
    /// Samples in the order in which they were sent, per stream in order of time.
    pub samples: Vec<Sample>,
    /// Events.
    pub events: Vec<Event>,
}

/// A truth file that cannot be read.
#[derive(Debug, Error)]
pub enum TruthError {
    /// Opening or reading failed.
    #[error("cannot read truth file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line that is none of ours; the last may be cut short.
    #[error("line {line} is not what the emulator writes ({problem}); is this a truth file? {}", path.display())]
    Line {
        /// Counted from 1.
        line: usize,
        /// What does not fit.
        problem: String,
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a file. A last line without its end, as a killed emulator leaves it, is
/// not read.
///
/// # Errors
/// The file cannot be read, or has a line that is not the emulator's.
pub fn read(path: &Path) -> Result<Truth, TruthError> {
    let failed = |source| TruthError::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut text = String::new();
    let (mut header, mut samples, mut events) = (None, Vec::new(), Vec::new());
    for line in 1.. {
        text.clear();
        reader.read_line(&mut text).map_err(failed)?;
        let wrong = |problem: String| TruthError::Line {
            line,
            problem,
            path: path.to_owned(),
        };
        if !text.ends_with('\n') {
            let header = header.ok_or_else(|| wrong("it has no header".to_owned()))?;
            return Ok(Truth {
                header,
                samples,
                events,
            });
        }
        match serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))? {
            Line::Header(first) if line == 1 && first.format == FORMAT => header = Some(first),
            Line::Header(other) => {
                return Err(wrong(format!(
                    "header of format {}, expected format {FORMAT} in line 1",
                    other.format
                )));
            }
            Line::Sample(sample) => samples.push(sample),
            Line::Event(event) => events.push(event),
        }
    }
    unreachable!("a file ends")
}

impl Header {
    pub(super) const FORMAT: u32 = FORMAT;
}

#[cfg(test)]
mod tests {
    use super::{super::sink::Sink, *};

    fn header() -> Header {
        Header {
            format: FORMAT,
            host_start_ns: 17,
            drift_ppm: BTreeMap::from([("/exo/right/encoders".to_owned(), 40.0)]),
            scan_offsets_s: vec![-0.001; 14],
            exo_map: ExoMap::xhand(),
            faults: Faults::default(),
            seed: 1,
            motion: "still".to_owned(),
        }
    }

    fn sample(seq: u64) -> Sample {
        Sample {
            stream: "/exo/right/encoders".to_owned(),
            seq,
            t_ns: i64::MAX - 1,
            device_ticks: Some(7),
            values: vec![0.1, -2.625],
            counts: vec![-4, 5],
            fate: Fate::Corrupt,
            damage: Some(Damaged {
                kind: Damage::FlippedBit,
                exposable: false,
                intact: false,
                jump_deg: 4.0,
                jump_counts: 0.0,
                jump_ms: -32.0,
            }),
            late_us: Some(55.5),
            sent_ns: Some(i64::MAX),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("truth.jsonl");
        let (sink, thread) = Sink::create(&path, header()).expect("create");
        (0..100).for_each(|seq| sink.sample(sample(seq)));
        sink.event("/camera/head/image", "slow_reader", 3);
        sink.close();
        thread.join().expect("writer");
        let truth = read(&path).expect("read");
        assert_eq!(truth.header, header());
        assert_eq!(truth.samples, (0..100).map(sample).collect::<Vec<_>>());
        assert_eq!((truth.events.len(), truth.events[0].count), (1, 3));
    }

    #[test]
    fn a_cut_last_line_is_left_out_and_a_foreign_one_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("truth.jsonl");
        let (sink, thread) = Sink::create(&path, header()).expect("create");
        sink.sample(sample(0));
        sink.sample(sample(1));
        sink.close();
        thread.join().expect("writer");
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, &text[..text.len() - 10]).expect("cut");
        assert_eq!(read(&path).expect("cut").samples.len(), 1);
        std::fs::write(&path, format!("{text}{{\"type\":\"else\"}}\n")).expect("foreign");
        let message = read(&path).expect_err("foreign").to_string();
        assert!(message.contains("line 4"), "{message}");
    }
}
