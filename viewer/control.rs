//! Between a recorder and whoever drives it: a Unix socket.
//!
//! The recorder sends packets of `u32` length (little-endian, of what follows),
//! one byte of kind and a payload: [`STATUS`] is a [`Published`] as JSON, 20
//! times a second; [`IMAGE`] is a camera's newest JPEG, behind one byte of name
//! length and its topic, at most 10 times a second. Commands go the other way as
//! lines of JSON, see [`Order`]. Clients come and go; the recording goes on.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use dexumi_capture::{BrokenSegment, CaptureError, Ended, EpisodeReport, Status};
use dexumi_episode::Ledger;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
};

/// Kind of packet: [`Published`] as JSON.
pub const STATUS: u8 = b'S';
/// Kind of packet: one image.
pub const IMAGE: u8 = b'I';
/// No packet is larger; a longer one is no packet.
const MAX_PACKET_BYTES: u32 = 64 << 20;
const STATUS_INTERVAL: Duration = Duration::from_millis(50);
/// Every second status goes with the images.
const IMAGE_EVERY: u64 = 2;

/// What a recorder tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Published {
    /// The recorder itself.
    pub status: Status,
    /// Rig.
    pub rig: String,
    /// Hand that it moves like.
    pub hand: String,
    /// Names of the joints in `status.streams[…].values` of the encoders, where
    /// a calibration is loaded.
    pub joint_names: Vec<String>,
    /// Session folder.
    pub session: String,
    /// Task of the next or the running episode.
    pub task: String,
    /// Number of the next or the running episode.
    pub number: u32,
    /// Finished episodes of this run, oldest first.
    pub finished: Vec<Finished>,
    /// The last error, until the next command.
    pub error: Option<String>,
}

/// A finished episode, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Name of the file.
    pub name: String,
    /// Start to stop [s].
    pub duration_s: f64,
    /// Size [byte].
    pub bytes: u64,
    /// Samples written.
    pub written: u64,
    /// Packets lost, all kinds and streams.
    pub lost: u64,
    /// Suspect samples.
    pub suspect: u64,
}

/// What a recorder can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Start an episode, or end the one that runs: one key, one pedal.
    Toggle,
    /// Start an episode; refused while one runs.
    Start {
        /// What is to be done in it; empty for the task as it stands.
        task: String,
    },
    /// End the episode.
    Stop,
    /// End the episode and throw it away.
    Discard,
    /// Note a moment.
    Mark {
        /// What of.
        text: String,
    },
    /// End the episode, if one runs, and the program.
    Quit,
}

/// An order on its way to the recorder.
#[derive(Debug)]
pub struct Request {
    /// What is to be done.
    pub order: Order,
    /// Where to say what came of it.
    pub reply: Option<oneshot::Sender<Answer>>,
}

impl From<Order> for Request {
    /// Nobody waits for an answer: what comes of it is seen in [`Published`].
    fn from(order: Order) -> Self {
        Self { order, reply: None }
    }
}

/// What came of an order, after it happened.
pub type Answer = Result<Done, Refusal>;

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "done")]
pub enum Done {
    /// An episode is being recorded.
    Started {
        /// Its number.
        number: u32,
        /// Its file, once complete.
        path: PathBuf,
        /// What is to be done in it.
        task: String,
    },
    /// The episode is over.
    Stopped(Box<Stopped>),
    /// The episode was thrown away.
    Discarded {
        /// Its number; the next one gets it again.
        number: u32,
    },
    /// The moment is noted.
    Marked {
        /// Number of the episode.
        number: u32,
        /// What of.
        text: String,
    },
    /// The program ends.
    Quitting,
}

/// A finished episode, with what became of its packets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stopped {
    /// Its number.
    pub number: u32,
    /// Its file; of a write error, the partial one.
    pub path: PathBuf,
    /// Start to stop [s].
    pub duration_s: f64,
    /// Size [byte].
    pub bytes: u64,
    /// Why it ended.
    pub ended: Ended,
    /// Files that a write error left unfinished before this one.
    pub broken: Vec<BrokenSegment>,
    /// Whether it ended on request, in one file, with nothing lost, missing or suspect.
    pub clean: bool,
    /// What became of every stream's packets.
    pub ledger: Ledger,
}

impl Stopped {
    /// Of a report.
    pub fn new(number: u32, report: &EpisodeReport) -> Self {
        Self {
            number,
            path: absolute(&report.path),
            duration_s: report.duration_s,
            bytes: report.bytes,
            ended: report.ended.clone(),
            broken: report
                .broken
                .iter()
                .map(|broken| BrokenSegment {
                    path: absolute(&broken.path),
                    problem: broken.problem.clone(),
                })
                .collect(),
            clean: is_clean(report),
            ledger: report.ledger.clone(),
        }
    }
}

/// Whether an episode ended on request, in one file, with nothing lost, missing
/// or suspect.
pub fn is_clean(report: &EpisodeReport) -> bool {
    report.ended == Ended::Stopped
        && report.broken.is_empty()
        && report.ledger.values().all(|ledger| ledger.is_clean())
}

/// A path that whoever runs elsewhere understands too.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Why an order was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of what kind.
    pub why: Why,
    /// In words, with what to do.
    pub reason: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It does not fit what the recorder does just now.
    State,
    /// The disk is down to its reserve.
    Disk,
    /// It was tried, and failed.
    Failed,
}

impl From<CaptureError> for Refusal {
    fn from(error: CaptureError) -> Self {
        let why = match &error {
            CaptureError::State { .. } => Why::State,
            CaptureError::DiskReserve { .. } => Why::Disk,
            _ => Why::Failed,
        };
        let reason = format!("{:#}", anyhow::Error::from(error));
        Self { why, reason }
    }
}

fn packet(kind: u8, payload: &[&[u8]]) -> Vec<u8> {
    let length: usize = 1 + payload.iter().map(|part| part.len()).sum::<usize>();
    let mut packet = Vec::with_capacity(4 + length);
    packet.extend((length as u32).to_le_bytes());
    packet.push(kind);
    payload
        .iter()
        .for_each(|part| packet.extend_from_slice(part));
    packet
}

/// Newest images by topic, with their numbers.
pub type Previews = HashMap<String, (u64, bytes::Bytes)>;

/// Serves all clients until the task is dropped. `published` and `previews` are
/// asked for at each tick.
pub async fn serve(
    listener: UnixListener,
    published: watch::Receiver<Published>,
    previews: impl Fn() -> Previews + Clone + Send + 'static,
    orders: mpsc::Sender<Request>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (reader, mut writer) = stream.into_split();
        let orders = orders.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(order) = serde_json::from_str::<Order>(&line)
                    && orders.send(order.into()).await.is_err()
                {
                    break;
                }
            }
        });
        let published = published.clone();
        let previews = previews.clone();
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(STATUS_INTERVAL);
            let mut sent: HashMap<String, u64> = HashMap::new();
            for tick in 0_u64.. {
                interval.tick().await;
                let json = serde_json::to_vec(&*published.borrow()).unwrap_or_default();
                let mut bytes = packet(STATUS, &[&json]);
                if tick % IMAGE_EVERY == 0 {
                    for (topic, (number, jpeg)) in previews() {
                        if sent.insert(topic.clone(), number) != Some(number) {
                            let name = topic.as_bytes();
                            let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
                            let name = &name[..usize::from(length[0])];
                            bytes.extend(packet(IMAGE, &[&length, name, &jpeg]));
                        }
                    }
                }
                // A client that is gone or stuck ends its own task only.
                let written =
                    tokio::time::timeout(Duration::from_secs(5), writer.write_all(&bytes));
                if !matches!(written.await, Ok(Ok(()))) {
                    break;
                }
            }
        });
    }
}

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    /// The recorder's state.
    Published(Box<Published>),
    /// A camera's newest image.
    Image {
        /// Topic.
        topic: String,
        /// The JPEG.
        jpeg: Vec<u8>,
    },
}

/// A client's end, blocking.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to a recorder.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> std::io::Result<Self> {
        UnixStream::connect(path).map(|stream| Self { stream })
    }

    /// A second handle on the same connection, to send from another thread.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        self.stream.try_clone().map(|stream| Self { stream })
    }

    /// Sends an order.
    ///
    /// # Errors
    /// The recorder is gone.
    pub fn send(&mut self, order: &Order) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// The recorder is gone, or what came is no packet.
    pub fn hear(&mut self) -> std::io::Result<Heard> {
        let invalid =
            |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length);
            if length == 0 || length > MAX_PACKET_BYTES {
                return Err(invalid("packet of impossible length"));
            }
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes)?;
            match (bytes[0], &bytes[1..]) {
                (STATUS, json) => {
                    let published = serde_json::from_slice(json)?;
                    return Ok(Heard::Published(Box::new(published)));
                }
                (IMAGE, [length, rest @ ..]) if rest.len() >= usize::from(*length) => {
                    let (name, jpeg) = rest.split_at(usize::from(*length));
                    let topic = String::from_utf8_lossy(name).into_owned();
                    return Ok(Heard::Image {
                        topic,
                        jpeg: jpeg.to_vec(),
                    });
                }
                // A newer recorder may say more than this client knows.
                _ => {}
            }
        }
    }
}
