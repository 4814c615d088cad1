//! The recording session: devices run from opening to closing, episodes are
//! intervals of capture time cut out of what they send.

mod channels;
mod delay;
mod device;
mod rhythm;
mod ring;
mod stream;
mod writer;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use dexumi_episode::{
    Calibration, Device, EpisodeInfo, HostTime, Ledger, Rig, SessionAnchor, StreamClock,
};
use serde::{Deserialize, Serialize};

use crate::{
    driver::{Driver, driver_of},
    error::CaptureError,
};

/// Samples in front of the writer: two seconds and more of the busiest rig, so
/// that one slow write of the disk loses nothing.
const SENSOR_QUEUE: usize = 16_384;
/// Images in front of the writer: more than two seconds of four cameras.
const IMAGE_QUEUE: usize = 256;

/// How to record.
#[derive(Debug, Clone)]
pub struct RecorderOptions {
    /// An episode ends cleanly before less than this is free [byte].
    pub reserve_bytes: u64,
    /// How long a device may take to send its first sample.
    pub patience: Duration,
    /// Samples captured up to so long before Start are in the file as well, before
    /// the episode's interval: what is interpolated at its first moment has
    /// neighbours on both sides.
    pub pre_roll: Duration,
    /// Where episodes will go, to say how much is free there before the first.
    pub folder: Option<PathBuf>,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            reserve_bytes: 500_000_000,
            patience: Duration::from_secs(5),
            pre_roll: Duration::from_secs(1),
            folder: None,
        }
    }
}

/// What is to be recorded next.
#[derive(Debug, Clone)]
pub struct EpisodePlan {
    /// Where; `.partial` until it is complete.
    pub path: PathBuf,
    /// Who, what, when.
    pub info: EpisodeInfo,
}

/// Why an episode ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Ended {
    /// Somebody asked for it.
    Stopped,
    /// The disk came down to its reserve; the episode is complete up to there.
    DiskReserve,
    /// The file could not be written; what is on disk can be recovered.
    WriteError {
        /// What happened.
        problem: String,
    },
}

/// A finished episode.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EpisodeReport {
    /// The file; of a write error, the partial one.
    pub path: PathBuf,
    /// Start to stop [s].
    pub duration_s: f64,
    /// Bytes of messages.
    pub bytes: u64,
    /// What became of every stream's packets.
    pub ledger: Ledger,
    /// Clocks at the end.
    pub clocks: std::collections::BTreeMap<String, StreamClock>,
    /// 99th percentile of the time between a device's thread and the writer [s].
    pub queue_p99_s: f64,
    /// Files that a write error left unfinished; the episode went on in `path`.
    #[serde(default)]
    pub broken: Vec<BrokenSegment>,
    /// Why it ended.
    pub ended: Ended,
}

/// The part of an episode before a write error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenSegment {
    /// The unfinished file, for `dexumi recover`.
    pub path: PathBuf,
    /// What happened.
    pub problem: String,
}

/// What a recorder does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecorderState {
    /// Devices run, nothing is written.
    #[default]
    Idle,
    /// An episode is being written.
    Recording,
    /// Stop was asked; the streams are drained up to it.
    Saving,
    /// The episode ended by itself; its report waits for [`Recorder::stop`].
    Ended,
}

/// One stream, as shown to people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Topic.
    pub stream: String,
    /// Samples in the last second [Hz].
    pub rate_hz: f64,
    /// Since the last sample [s]; negative before the first.
    pub age_s: f64,
    /// What is wrong with the device, if anything.
    pub problem: Option<String>,
    /// Packets of this episode (of the whole session while idle).
    pub received: u64,
    /// Of these, written.
    pub written: u64,
    /// Of these, lost, all kinds.
    pub lost: u64,
    /// Of the written, suspect.
    pub suspect: u64,
    /// Never arrived.
    pub missing: u64,
    /// Times the device was gone.
    #[serde(default)]
    pub outages: u64,
    /// `arrival` without a device clock, else `acquiring`, `locked`, `holdover`.
    pub clock: String,
    /// Device clock against the host [ppm].
    pub skew_ppm: f64,
    /// 95th percentile of the link's jitter [s].
    pub residual_p95_s: f64,
    /// The fit is not further from the truth [s].
    #[serde(default)]
    pub bound_s: f64,
    /// Newest values: joint angles or sensor angles [rad], force counts, or
    /// position [m] and quaternion; empty for images.
    pub values: Vec<f64>,
}

/// The recorder, as shown to people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// What it does.
    pub state: RecorderState,
    /// File of the running episode.
    pub episode: Option<PathBuf>,
    /// Since its start [s].
    pub elapsed_s: f64,
    /// Its size so far [byte].
    pub bytes: u64,
    /// Free on the episode's disk [byte]; 0 while unknown.
    pub free_bytes: u64,
    /// 99th percentile of the time between a device's thread and the writer [s].
    #[serde(default)]
    pub queue_p99_s: f64,
    /// All streams, in the rig's order.
    pub streams: Vec<StreamStatus>,
    /// Newest messages, last one last.
    pub messages: Vec<String>,
}

#[derive(Default)]
struct Shared {
    status: Mutex<Status>,
    previews: Mutex<HashMap<String, (u64, Bytes)>>,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn previews(&self) -> MutexGuard<'_, HashMap<String, (u64, Bytes)>> {
        self.previews.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Command {
    Start {
        plan: Box<EpisodePlan>,
        at: HostTime,
        reply: Sender<Result<(), CaptureError>>,
    },
    Stop {
        at: HostTime,
        reply: Sender<Result<EpisodeReport, CaptureError>>,
    },
    Discard(Sender<Result<(), CaptureError>>),
    Event {
        kind: String,
        text: String,
    },
    Shutdown,
}

/// All devices of a rig, open, and the writer behind them.
pub struct Recorder {
    rig: Rig,
    shared: Arc<Shared>,
    commands: Sender<Command>,
    stop_devices: Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    options: RecorderOptions,
}

impl Recorder {
    /// Opens all devices of a rig and starts their threads. Clock fits start
    /// here, not at the first episode.
    ///
    /// # Errors
    /// A driver is unknown, or a device cannot be opened.
    pub fn open(
        rig: &Rig,
        calibration: Option<Calibration>,
        anchor: SessionAnchor,
        options: RecorderOptions,
    ) -> Result<Self, CaptureError> {
        let drivers = rig
            .device
            .iter()
            .map(driver_of)
            .collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::new(Shared::default());
        let stop_devices = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (sensors, sensors_out) = bounded(SENSOR_QUEUE);
        let (images, images_out) = bounded(IMAGE_QUEUE);
        let (commands, commands_out) = bounded(64);
        let mut recorder = Self {
            rig: rig.clone(),
            shared: shared.clone(),
            commands,
            stop_devices: stop_devices.clone(),
            threads: Vec::new(),
            options: options.clone(),
        };
        let queues = device::Queues {
            sensors,
            images,
            image_bytes: Arc::default(),
        };
        let image_bytes = queues.image_bytes.clone();
        let mut opened = Vec::new();
        let mut dropped = vec![Arc::default(); rig.device.len()];
        for streams in connections(rig, &drivers)? {
            let devices = streams.iter().map(|&i| rig.device[i].clone()).collect();
            let started = device::start(
                drivers[streams[0]],
                devices,
                streams.clone(),
                queues.clone(),
                stop_devices.clone(),
            )?;
            recorder.threads.push(started.thread);
            opened.push(started.opened);
            for (stream, count) in streams.into_iter().zip(started.dropped) {
                dropped[stream] = count;
            }
        }
        drop(queues);
        for result in opened {
            // A thread that died without a word has closed its channel.
            match result.recv() {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
        let streams = rig
            .device
            .iter()
            .zip(&drivers)
            .zip(dropped)
            .map(|((device, driver), dropped)| {
                stream::Stream::new(device.clone(), driver, calibration.as_ref(), dropped)
            })
            .collect();
        let writer = writer::WriterThread {
            rig: rig.clone(),
            calibration,
            anchor,
            options,
            shared,
            streams,
            image_bytes,
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run(&sensors_out, &images_out, &commands_out))
            .map_err(|source| CaptureError::Thread {
                name: "writer".to_owned(),
                source,
            })?;
        recorder.threads.push(thread);
        Ok(recorder)
    }

    /// Waits until every device has sent something.
    ///
    /// # Errors
    /// One of them stays silent.
    pub fn wait_until_live(&self) -> Result<(), CaptureError> {
        let began = Instant::now();
        loop {
            let silent = {
                let status = self.shared.status();
                let live = |stream: &str| {
                    status
                        .streams
                        .iter()
                        .any(|s| s.stream == stream && s.age_s >= 0.0)
                };
                self.rig
                    .device
                    .iter()
                    .find(|device| !live(&device.stream))
                    .cloned()
            };
            let Some(device) = silent else { return Ok(()) };
            if began.elapsed() > self.options.patience {
                return Err(CaptureError::Silent {
                    stream: device.stream,
                    address: device.address,
                    waited_s: began.elapsed().as_secs_f64(),
                    next: "check that it is switched on and that rig.toml names the right device"
                        .to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts an episode: samples captured from now on belong to it.
    ///
    /// # Errors
    /// One is running already, the disk is too full, or the file cannot be made.
    pub fn start(&self, plan: EpisodePlan) -> Result<(), CaptureError> {
        check_reserve(&plan.path, self.options.reserve_bytes)?;
        let (plan, at) = (Box::new(plan), HostTime::now());
        self.ask(|reply| Command::Start { plan, at, reply }, "start")
    }

    /// Ends the episode: drains every stream up to now, completes the file.
    ///
    /// # Errors
    /// None is running, or the file could not be completed.
    pub fn stop(&self) -> Result<EpisodeReport, CaptureError> {
        let at = HostTime::now();
        self.ask(|reply| Command::Stop { at, reply }, "stop")
    }

    /// Ends the episode and throws it away.
    ///
    /// # Errors
    /// None is running, or the file cannot be removed.
    pub fn discard(&self) -> Result<(), CaptureError> {
        self.ask(Command::Discard, "discard")
    }

    /// Writes an event into the running episode; nothing where none runs.
    pub fn event(&self, kind: &str, text: &str) {
        let _ = self.commands.send(Command::Event {
            kind: kind.to_owned(),
            text: text.to_owned(),
        });
    }

    /// What is going on.
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// Newest image of each camera by topic, with its number.
    pub fn previews(&self) -> HashMap<String, (u64, Bytes)> {
        self.shared.previews().clone()
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(Sender<Result<T, CaptureError>>) -> Command,
        name: &'static str,
    ) -> Result<T, CaptureError> {
        let (reply, answer): (_, Receiver<Result<T, CaptureError>>) = bounded(1);
        let dead = || CaptureError::State {
            command: name,
            problem: "the writer thread has died; what is on disk can be had by `dexumi recover`"
                .to_owned(),
        };
        self.commands.send(command(reply)).map_err(|_| dead())?;
        answer.recv().map_err(|_| dead())?
    }
}

/// Which of the rig's entries come over one connection, as lists of indices.
fn connections(rig: &Rig, drivers: &[&Driver]) -> Result<Vec<Vec<usize>>, CaptureError> {
    let mut connections: Vec<Vec<usize>> = Vec::new();
    for (index, device) in rig.device.iter().enumerate() {
        let same =
            |other: &Device| other.driver == device.driver && other.address == device.address;
        let known = connections
            .iter_mut()
            .find(|streams| same(&rig.device[streams[0]]));
        match known {
            Some(streams) if drivers[index].shares => streams.push(index),
            Some(streams) => {
                return Err(CaptureError::Shared {
                    first: rig.device[streams[0]].stream.clone(),
                    second: device.stream.clone(),
                    driver: drivers[index].name,
                    address: device.address.clone(),
                });
            }
            None => connections.push(vec![index]),
        }
    }
    Ok(connections)
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop_devices
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = self.commands.send(Command::Shutdown);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Free bytes for an unprivileged user on the disk of `path`; 0 where unknown.
fn free_bytes(path: &Path) -> u64 {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    nix::sys::statvfs::statvfs(folder.unwrap_or(Path::new(".")))
        .map_or(0, |stats| stats.blocks_available() * stats.fragment_size())
}

fn check_reserve(path: &Path, reserve_bytes: u64) -> Result<(), CaptureError> {
    let free = free_bytes(path);
    if free < reserve_bytes && path.parent().is_some_and(Path::exists) {
        return Err(CaptureError::DiskReserve {
            free_mb: free / 1_000_000,
            reserve_mb: reserve_bytes / 1_000_000,
            path: path.to_owned(),
        });
    }
    Ok(())
}
