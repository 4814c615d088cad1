//! libsurvive: `survive-cli --record-stdout` into a named pipe, 120 poses a second
//! of each tracker, among the other lines that it writes.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use dexumi_episode::{Device as Entry, HostTime, StreamKind};
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};

use super::{
    EmulateError,
    assembly::{Assembly, Emulator, Part, system},
    device::Device,
    faults::Damage,
    pty::Written,
    rig,
    truth::{Damaged, Fate},
};
use crate::driver::survive::{Record, encode_pose, parse};

/// Poses a second of each tracker.
const RATE_HZ: f64 = 120.0;
/// From the light on the sensors to the line, at least [s].
const LATENCY_S: f64 = 2e-3;
/// And up to so much more [s].
const LATENCY_JITTER_S: f64 = 0.5e-3;
/// Between the lines of two trackers [ns].
const BETWEEN_NS: i64 = 300_000;

/// The program.
pub(super) const EMULATOR: Emulator = Emulator {
    driver: "survive",
    start,
};

/// A tracker, by libsurvive's names.
#[derive(Clone)]
struct Tracker {
    name: String,
    object: String,
    serial: String,
}

fn start(assembly: &mut Assembly<'_>, part: &Part) -> Result<(), EmulateError> {
    let path = assembly.path(&part.streams[0]);
    let pipe =
        Pipe::create(&path).map_err(system(format!("make named pipe {}", path.display())))?;
    let mut trackers = Vec::new();
    for (index, stream) in part.streams.iter().enumerate() {
        let Some(StreamKind::Tracker { name }) = StreamKind::of(stream) else {
            continue;
        };
        let tracker = Tracker {
            name,
            object: format!("T2{index}"),
            serial: format!("LHR-EEEE000{index}"),
        };
        let source = "emulator: a line is written when it is stamped";
        assembly.rig.device.push(Entry {
            // By either name.
            source: Some(match index % 2 {
                0 => tracker.serial.clone(),
                _ => tracker.object.clone(),
            }),
            ..rig::entry(part, stream, &path.to_string_lossy(), 0.0, source)
        });
        trackers.push(tracker);
    }
    let devices = part
        .streams
        .iter()
        .map(|stream| assembly.device(part, stream))
        .collect();
    let rate_hz = part.rate_hz.unwrap_or(RATE_HZ);
    assembly.spawn("emulate survive", move || {
        run(devices, &trackers, pipe, rate_hz)
    })
}

/// The program's end of the pipe.
struct Pipe {
    path: PathBuf,
    file: Option<File>,
}

impl Pipe {
    fn create(path: &Path) -> std::io::Result<Self> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(Self {
            path: path.to_owned(),
            file: None,
        })
    }

    /// Writes without waiting; what a reader should know first is `preamble`.
    fn write(&mut self, text: &str, preamble: impl Fn() -> String) -> std::io::Result<Written> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let opened = OpenOptions::new()
                    .write(true)
                    .custom_flags(OFlag::O_NONBLOCK.bits())
                    .open(&self.path);
                // Without a reader there is no such device.
                let Ok(mut file) = opened else {
                    return Ok(Written::Nobody);
                };
                let _ = file.write(preamble().as_bytes());
                self.file.insert(file)
            }
        };
        match file.write(text.as_bytes()) {
            Ok(count) if count == text.len() => Ok(Written::Whole),
            Ok(_) => Ok(Written::Overrun),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Written::Overrun),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.file = None;
                Ok(Written::ReaderLeft)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the program says when it begins.
fn preamble(time_us: u64, trackers: &[Tracker]) -> String {
    let time = time_us as f64 * 1e-6;
    let mut text =
        format!("Info: Loaded drivers: GlobalSceneSolver, HTCVive\n{time:.6} OPTION v i 10\n");
    for Tracker { object, serial, .. } in trackers {
        text += &format!(
            "{time:.6} INFO LOG Adding tracked object {object} from HTC\r\n\
             {time:.6} {object} CONFIG {{\"device_class\": \"generic_tracker\", \
             \"device_serial_number\": \"{serial}\"}}\r\n"
        );
    }
    text + &format!("{time:.6} 0 LH_POSE 1.5 2.0 2.4 0.9 0.1 0.2 0.3  1234567\r\n")
}

/// Writes lines until it is time to stop.
fn run(mut devices: Vec<Device>, trackers: &[Tracker], mut pipe: Pipe, rate_hz: f64) {
    let shared = devices[0].shared.clone();
    let clock = devices[0].clock;
    let streams: Vec<String> = devices.iter().map(|device| device.stream.clone()).collect();
    let unplugged = |t_ns: i64| streams.iter().find_map(|s| shared.unplugged(s, t_ns));
    let micros = |t_ns: i64| (clock.at(t_ns) / 1_000) as u64;
    let period_ns = clock.host_s(1.0 / rate_hz) * 1e9;
    let phase_ns = devices[0].random.between(0.0, period_ns);
    let mut plugged = true;
    for step in 0_u32.. {
        let step_ns = shared.start_ns + (phase_ns + f64::from(step) * period_ns) as i64;
        for (index, tracker) in trackers.iter().enumerate() {
            let t_ns = step_ns + index as i64 * BETWEEN_NS;
            let was_plugged = std::mem::replace(&mut plugged, unplugged(t_ns).is_none());
            if plugged != was_plugged {
                // A program that ends closes its output.
                pipe.file = None;
                let what = if plugged { "plug" } else { "unplug" };
                streams
                    .iter()
                    .for_each(|stream| shared.truth.event(stream, what, 1));
            }
            let pose = shared
                .scene
                .world_from_tracker(&tracker.name, shared.scene_s(t_ns));
            let (position, rotation) = (pose.translation.vector, pose.rotation.coords);
            let jitter_s = devices[0].random.between(0.0, LATENCY_JITTER_S);
            let written_ns = t_ns + ((LATENCY_S + jitter_s) * 1e9) as i64;
            let time_us = micros(written_ns);
            let line = encode_pose(time_us, &tracker.object, position.into(), rotation.into());
            let values = position.iter().chain(rotation.iter()).copied().collect();
            let mut sample = devices[index].sample(t_ns, Some(time_us), values, Vec::new());
            let draw = devices[0].draw();
            let due_ns = devices[0].due(written_ns + draw.stall_ns);
            if !shared.sleep_until(due_ns) {
                return;
            }
            if draw.drop {
                devices[index].conclude(sample, Fate::Dropped);
                continue;
            }
            let (mut text, damaged) = match draw.corrupt {
                true => cut(&line, &mut devices[0]),
                false => (line, None),
            };
            text += &format!(
                "{}.{:06} {} VELOCITY 0.1 0.2 0.3 0.0 0.0 0.1 \r\n",
                time_us / 1_000_000,
                time_us % 1_000_000,
                tracker.object
            );
            let late_us = (HostTime::now().nanos() - due_ns) as f64 * 1e-3;
            let written = match plugged {
                true => pipe.write(&text, || preamble(time_us, trackers)),
                false => Ok(Written::Nobody),
            };
            let fate = match written {
                Ok(Written::Whole) if damaged.is_some() => Fate::Corrupt,
                Ok(Written::Whole) => Fate::Sent,
                Ok(Written::Overrun | Written::Nobody) => Fate::Unsent,
                Ok(Written::ReaderLeft) => {
                    shared.truth.event(&streams[index], "reader_left", 1);
                    Fate::Unsent
                }
                Err(error) => {
                    return shared.fail(&streams[index], format!("cannot write: {error}"));
                }
            };
            if fate != Fate::Unsent {
                sample.damage = damaged;
                sample.late_us = Some(late_us);
            }
            devices[index].conclude(sample, fate);
        }
    }
}

/// A pipe flips no bits. What goes wrong is that a line ends early, as when two
/// threads of a program write at once.
fn cut(line: &str, device: &mut Device) -> (String, Option<Damaged>) {
    let length = 1 + device.random.below(line.len() - 3);
    let short = format!("{}\n", &line[..length]);
    let passes =
        |text: &str| matches!(parse(text.trim_end().as_bytes()), Some(Record::Pose { .. }));
    let intact = parse(short.trim_end().as_bytes()) == parse(line.trim_end().as_bytes());
    let damaged = Damaged {
        kind: Damage::Truncated,
        exposable: intact || !passes(&short),
        intact,
        jump_deg: 0.0,
        jump_counts: 0.0,
        jump_ms: 0.0,
    };
    (short, Some(damaged))
}
