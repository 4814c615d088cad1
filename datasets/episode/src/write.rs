//! Writing an episode so that a crash costs a tick, not the episode.
//!
//! The file grows as a prefix of whole records (`disable_seeking`), chunks are
//! closed at every [`tick`](EpisodeWriter::tick): sensors first, then images, so
//! that a reader of sensors skips the images. Until [`finish`](EpisodeWriter::finish)
//! it is called `NAME.mcap.partial`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mcap::{
    Attachment, WriteOptions, Writer,
    records::{MessageHeader, Metadata},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{ClockFit, ClockModel, Echo},
    error::{EpisodeError, sync_folder_of},
    ledger::Ledger,
    schema::{CompressedImage, RawImage, Record},
    time::{SessionAnchor, SessionTime},
};

/// Version of the episode format, in each file's metadata.
pub const FORMAT_VERSION: u32 = 1;
/// How much may be lost to a power cut, besides the longest write.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// What an episode says of itself, written first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeInfo {
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// UUID version 7.
    pub id: String,
    /// Number within the session, from 0.
    pub number: u32,
    /// What the operator was asked to do.
    pub task: String,
    /// Pseudonym of the operator.
    pub operator: String,
    /// Robot hand that the rig moves like.
    pub hand: String,
    /// Name of the rig.
    pub rig: String,
    /// Program and version.
    pub software: String,
    /// Ties host time to the session clock.
    pub anchor: SessionAnchor,
}

/// State of one stream's clock, written at the start and at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamClock {
    /// What is declared of the clock.
    pub model: ClockModel,
    /// The live fit, where there is a device clock and a sample.
    pub fit: Option<ClockFit>,
    /// Hull points of up to a minute before now: device time, host time [ns].
    pub anchors: Vec<(i64, i64)>,
    /// Two-way exchanges, where the protocol has them: the quickest of the minute.
    #[serde(default)]
    pub echoes: Vec<Echo>,
    /// Times that the clock started anew or jumped.
    #[serde(default)]
    pub jumps: u64,
    /// Samples whose stamps contradicted the clock.
    #[serde(default)]
    pub gated: u64,
}

/// A channel of an open writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelId {
    id: u16,
    images: bool,
}

/// An episode file being written.
pub struct EpisodeWriter {
    writer: Writer<BufWriter<File>>,
    file: File,
    partial: PathBuf,
    path: PathBuf,
    sensors: Pending,
    images: Pending,
    last_sync: Instant,
    bytes: u64,
}

#[derive(Default)]
struct Pending {
    headers: Vec<(MessageHeader, usize)>,
    data: Vec<u8>,
}

/// Path of an unfinished episode.
pub fn partial_path(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

impl EpisodeWriter {
    /// Starts `PATH.partial`, with what explains it at its beginning.
    ///
    /// # Errors
    /// The file exists, or the folder is missing, read-only or full.
    pub fn create(
        path: &Path,
        info: &EpisodeInfo,
        rig_toml: &str,
        calibration_toml: Option<&str>,
    ) -> Result<Self, EpisodeError> {
        let mut writer = Self::create_bare(path)?;
        writer.metadata("episode", &json_map(info))?;
        writer.attach("rig.toml", rig_toml.as_bytes())?;
        if let Some(text) = calibration_toml {
            writer.attach("calibration.toml", text.as_bytes())?;
        }
        Ok(writer)
    }

    /// Starts a file that is no recording: results of a later stage, or a
    /// recovered prefix.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_bare(path: &Path) -> Result<Self, EpisodeError> {
        if path.exists() {
            return Err(EpisodeError::content(
                "file already exists, expected a new name; move it away first",
                path,
            ));
        }
        let partial = partial_path(path);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&partial)
            .map_err(EpisodeError::io("create", &partial))?;
        let shared = file
            .try_clone()
            .map_err(EpisodeError::io("open", &partial))?;
        let writer = WriteOptions::new()
            .library(concat!("dexumi ", env!("CARGO_PKG_VERSION")))
            .compression(None)
            .chunk_size(None)
            .disable_seeking(true)
            .create(BufWriter::with_capacity(1 << 20, file))
            .map_err(EpisodeError::mcap("start", &partial))?;
        Ok(Self {
            writer,
            file: shared,
            partial,
            path: path.to_owned(),
            sensors: Pending::default(),
            images: Pending::default(),
            last_sync: Instant::now(),
            bytes: 0,
        })
    }

    /// Adds a topic; `metadata` such as joint names is stored with the channel.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn channel<M: Record>(
        &mut self,
        topic: &str,
        metadata: &[(&str, String)],
    ) -> Result<ChannelId, EpisodeError> {
        let metadata: BTreeMap<String, String> = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let id = self
            .writer
            .add_schema(M::SCHEMA, "protobuf", &M::descriptors())
            .and_then(|schema| {
                self.writer
                    .add_channel(schema, topic, "protobuf", &metadata)
            })
            .map_err(EpisodeError::mcap("add a channel to", &self.partial))?;
        Ok(ChannelId {
            id,
            images: is_image(M::SCHEMA),
        })
    }

    /// Takes a message; it reaches the file at the next [`tick`](Self::tick).
    pub fn write<M: Record>(
        &mut self,
        channel: ChannelId,
        sequence: u64,
        log_time: SessionTime,
        publish_time: SessionTime,
        message: &M,
    ) {
        let pending = if channel.images {
            &mut self.images
        } else {
            &mut self.sensors
        };
        let before = pending.data.len();
        message
            .encode(&mut pending.data)
            .expect("a vector always has room");
        pending.headers.push((
            MessageHeader {
                channel_id: channel.id,
                sequence: sequence as u32,
                log_time: log_time.nanos().max(0) as u64,
                publish_time: publish_time.nanos().max(0) as u64,
            },
            pending.data.len() - before,
        ));
    }

    /// Bytes of messages taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes + (self.sensors.data.len() + self.images.data.len()) as u64
    }

    /// Closes two chunks, hands them to the kernel, and syncs when that is due.
    /// Call it at least every 100 ms.
    ///
    /// # Errors
    /// The disk is full or gone; the file ends at the last whole tick.
    pub fn tick(&mut self) -> Result<(), EpisodeError> {
        for pending in [&mut self.sensors, &mut self.images] {
            if pending.headers.is_empty() {
                continue;
            }
            let mut at = 0;
            for (header, length) in &pending.headers {
                self.writer
                    .write_to_known_channel(header, &pending.data[at..at + length])
                    .map_err(EpisodeError::mcap("write to", &self.partial))?;
                at += length;
            }
            self.writer
                .flush()
                .map_err(EpisodeError::mcap("write to", &self.partial))?;
            // Kept until here: what did not reach the file can go into the next.
            self.bytes += at as u64;
            pending.headers.clear();
            pending.data.clear();
        }
        if self.last_sync.elapsed() >= SYNC_INTERVAL {
            self.file
                .sync_data()
                .map_err(EpisodeError::io("sync", &self.partial))?;
            self.last_sync = Instant::now();
        }
        Ok(())
    }

    /// Attaches a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn attach(&mut self, name: &str, data: &[u8]) -> Result<(), EpisodeError> {
        self.writer
            .attach(&Attachment {
                log_time: 0,
                create_time: 0,
                name: name.to_owned(),
                media_type: "application/toml".to_owned(),
                data: data.into(),
            })
            .map_err(EpisodeError::mcap("attach to", &self.partial))
    }

    /// Writes a metadata record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn metadata(
        &mut self,
        name: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), EpisodeError> {
        self.writer
            .write_metadata(&Metadata {
                name: name.to_owned(),
                metadata: metadata.clone(),
            })
            .map_err(EpisodeError::mcap("write metadata to", &self.partial))
    }

    /// Writes the state of a stream's clock; the last one in a file holds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clock(&mut self, stream: &str, clock: &StreamClock) -> Result<(), EpisodeError> {
        self.metadata(&format!("clock.{stream}"), &json_map(clock))
    }

    /// Ends the file: interval and ledger, summary, sync, rename.
    ///
    /// # Errors
    /// The disk is full or gone; the partial file remains, for `dexumi recover`.
    pub fn finish(
        mut self,
        interval: Option<(SessionTime, SessionTime)>,
        ledger: &Ledger,
    ) -> Result<PathBuf, EpisodeError> {
        self.tick()?;
        if let Some((start, stop)) = interval {
            self.metadata(
                "interval",
                &[
                    ("start_ns".to_owned(), start.nanos().to_string()),
                    ("stop_ns".to_owned(), stop.nanos().to_string()),
                ]
                .into(),
            )?;
        }
        if !ledger.is_empty() {
            self.metadata("losses", &json_map(ledger))?;
        }
        self.finish_bare()
    }

    /// Ends the file as it is: summary, sync, rename.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_bare(mut self) -> Result<PathBuf, EpisodeError> {
        self.tick()?;
        self.writer
            .finish()
            .map_err(EpisodeError::mcap("finish", &self.partial))?;
        let mut buffer = self.writer.into_inner();
        buffer
            .flush()
            .map_err(EpisodeError::io("write", &self.partial))?;
        self.file
            .sync_all()
            .map_err(EpisodeError::io("sync", &self.partial))?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(EpisodeError::io("rename to", &self.path))?;
        sync_folder_of(&self.path)?;
        Ok(self.path)
    }

    /// Throws the unfinished file away.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn discard(self) -> Result<(), EpisodeError> {
        let partial = self.partial.clone();
        // The library's drop would finish the file; into_inner does not.
        drop(self.writer.into_inner());
        std::fs::remove_file(&partial).map_err(EpisodeError::io("remove", &partial))
    }

    /// Leaves the unfinished file for `dexumi recover`, after a write error. Returns
    /// its path and the messages that did not reach it, by channel.
    pub fn abandon(self) -> (PathBuf, BTreeMap<ChannelId, u64>) {
        let mut lost = BTreeMap::new();
        for (images, pending) in [(false, &self.sensors), (true, &self.images)] {
            for (header, _) in &pending.headers {
                let id = header.channel_id;
                *lost.entry(ChannelId { id, images }).or_default() += 1;
            }
        }
        // The library's drop would finish the file; into_inner does not.
        drop(self.writer.into_inner());
        (self.partial, lost)
    }

    /// As [`abandon`](Self::abandon), and hands what did not reach the file to the
    /// next one, whose channels must have been added in the same order. Returns
    /// the path and the messages handed over, by channel.
    pub fn abandon_into(self, next: &mut Self) -> (PathBuf, BTreeMap<ChannelId, u64>) {
        for (from, to) in [
            (&self.sensors, &mut next.sensors),
            (&self.images, &mut next.images),
        ] {
            to.headers.extend(from.headers.iter().copied());
            to.data.extend_from_slice(&from.data);
        }
        self.abandon()
    }

    /// Where the unfinished file is.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Passes a raw message of another file through, for recovery.
    pub(crate) fn write_raw(&mut self, channel: ChannelId, header: MessageHeader, data: &[u8]) {
        let pending = if channel.images {
            &mut self.images
        } else {
            &mut self.sensors
        };
        pending.headers.push((
            MessageHeader {
                channel_id: channel.id,
                ..header
            },
            data.len(),
        ));
        pending.data.extend_from_slice(data);
    }

    /// Adds a channel of another file, for recovery.
    pub(crate) fn channel_of(
        &mut self,
        channel: &mcap::Channel<'_>,
    ) -> Result<ChannelId, EpisodeError> {
        let (name, encoding, data) = channel.schema.as_ref().map_or(("", "", &[][..]), |s| {
            (s.name.as_str(), s.encoding.as_str(), &s.data[..])
        });
        let id = self
            .writer
            .add_schema(name, encoding, data)
            .and_then(|schema| {
                self.writer.add_channel(
                    schema,
                    &channel.topic,
                    &channel.message_encoding,
                    &channel.metadata,
                )
            })
            .map_err(EpisodeError::mcap("add a channel to", &self.partial))?;
        Ok(ChannelId {
            id,
            images: is_image(name),
        })
    }
}

/// Images go into chunks of their own.
fn is_image(schema: &str) -> bool {
    [CompressedImage::SCHEMA, RawImage::SCHEMA].contains(&schema)
}

/// Metadata is text to text; what is nested goes in as JSON.
pub(crate) fn json_map(value: &impl Serialize) -> BTreeMap<String, String> {
    let text = serde_json::to_string(value).expect("plain data is always representable as JSON");
    [("json".to_owned(), text)].into()
}
