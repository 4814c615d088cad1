//! Reading a finished episode.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use mcap::{
    Summary,
    read::parse_record,
    records::{ChunkIndex, MessageHeader, MessageIndexEntry, Record as McapRecord, op},
};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::{
    calibration::Calibration,
    error::EpisodeError,
    layout,
    ledger::Ledger,
    recover::Recovered,
    rig::Rig,
    schema::{CompressedImage, Record},
    time::SessionTime,
    write::{EpisodeInfo, FORMAT_VERSION, StreamClock},
};

/// Bytes at the beginning that a fingerprint holds.
const FINGERPRINT_HEAD: usize = 64 << 10;
/// The record before the summary, `DataEnd`: opcode, length, CRC-32 of the data section.
const DATA_END_LENGTH: usize = 1 + 8 + 4;

/// Times and number of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTimes {
    /// Receive time.
    pub log_time: SessionTime,
    /// Estimated capture time.
    pub publish_time: SessionTime,
    /// Low 32 bits of the sample's sequence.
    pub sequence: u32,
}

/// A finished MCAP file of ours: an episode, or results derived from one.
pub struct EpisodeFile {
    path: PathBuf,
    map: Mmap,
    summary: Summary,
    metadata: BTreeMap<String, BTreeMap<String, String>>,
}

/// What an episode says of itself besides its samples.
pub struct Episode {
    /// The file.
    pub file: EpisodeFile,
    /// Who, what, when.
    pub info: EpisodeInfo,
    /// The rig that it was recorded with.
    pub rig: Rig,
    /// The calibration that was loaded at the time, if any.
    pub calibration: Option<Calibration>,
    /// Clocks by stream.
    pub clocks: BTreeMap<String, StreamClock>,
    /// Losses by stream; of a recovered file, the last that was on disk.
    pub ledger: Ledger,
    /// Start and stop as capture time; of a recovered file, the last sample.
    pub interval: (SessionTime, SessionTime),
    /// Samples from here on are in the file: the pre-roll begins before the start.
    pub recorded_from: SessionTime,
    /// Set when `dexumi recover` made this file.
    pub recovered: Option<Recovered>,
}

impl EpisodeFile {
    /// Opens a finished file.
    ///
    /// # Errors
    /// It cannot be read, or is no whole MCAP file.
    pub fn open(path: &Path) -> Result<Self, EpisodeError> {
        let file = File::open(path).map_err(EpisodeError::io("open", path))?;
        if path.is_dir() {
            return Err(EpisodeError::content(
                "a folder, expected an episode, such as one of the files episode_0000.mcap",
                path,
            ));
        }
        // SAFETY: a finished episode is immutable by contract; whoever truncates
        // it under a reader gets SIGBUS, as with any mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(EpisodeError::io("map", path))?;
        let damaged = |problem: String| EpisodeError::Damaged {
            problem,
            path: path.to_owned(),
        };
        if !map.starts_with(mcap::MAGIC) {
            return Err(EpisodeError::content(
                "no MCAP file by its first bytes, expected an episode",
                path,
            ));
        }
        if !layout::summary_is_sound(&map) {
            return Err(damaged("its summary is cut off or damaged".to_owned()));
        }
        let summary = Summary::read(&map)
            .map_err(|error| damaged(error.to_string()))?
            .ok_or_else(|| damaged("it has no summary".to_owned()))?;
        let mut metadata = BTreeMap::new();
        for index in &summary.metadata_indexes {
            if !layout::leads_to(&map, op::METADATA, index.offset, Some(index.length)) {
                return Err(damaged(format!("metadata `{}` is damaged", index.name)));
            }
            let record = mcap::read::metadata(&map, index)
                .map_err(|error| damaged(format!("metadata `{}`: {error}", index.name)))?;
            metadata.insert(record.name, record.metadata);
        }
        Ok(Self {
            path: path.to_owned(),
            map,
            summary,
            metadata,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size [byte].
    pub fn size(&self) -> u64 {
        self.map.len() as u64
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// What tells this file from any other without reading its images: SHA-256 of its
    /// length, its first 64 KiB (who, what, when; rig and calibration), and everything
    /// from the end of the data section on: the CRC-32 of all data, chunk indexes with
    /// their lengths and times, statistics, indexes of metadata and attachments.
    ///
    /// # Errors
    /// The file has no footer.
    pub fn fingerprint(&self) -> Result<String, EpisodeError> {
        let bytes = self.bytes();
        let footer = mcap::read::footer(bytes)
            .map_err(EpisodeError::mcap("read the footer of", &self.path))?;
        let summary = usize::try_from(footer.summary_start).unwrap_or(usize::MAX);
        let end = summary.min(bytes.len()).saturating_sub(DATA_END_LENGTH);
        let mut hash = Sha256::new();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes[..FINGERPRINT_HEAD.min(bytes.len())]);
        hash.update(&bytes[end..]);
        let digest = hash.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Topics with their schemas and message counts.
    pub fn topics(&self) -> BTreeMap<String, (String, u64)> {
        let counts = self
            .summary
            .stats
            .as_ref()
            .map(|stats| &stats.channel_message_counts);
        self.summary
            .channels
            .iter()
            .map(|(id, channel)| {
                let schema = channel
                    .schema
                    .as_ref()
                    .map_or(String::new(), |s| s.name.clone());
                let count = counts
                    .and_then(|counts| counts.get(id))
                    .copied()
                    .unwrap_or(0);
                (channel.topic.clone(), (schema, count))
            })
            .collect()
    }

    /// Metadata of a channel, such as joint names.
    pub fn channel_metadata(&self, topic: &str, key: &str) -> Option<String> {
        let channel = self
            .summary
            .channels
            .values()
            .find(|channel| channel.topic == topic)?;
        channel.metadata.get(key).cloned()
    }

    /// A metadata record that holds JSON.
    pub fn json<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, EpisodeError> {
        let Some(text) = self.metadata.get(name).and_then(|map| map.get("json")) else {
            return Ok(None);
        };
        serde_json::from_str(text).map(Some).map_err(|error| {
            EpisodeError::content(
                format!("metadata `{name}` cannot be read: {error}"),
                &self.path,
            )
        })
    }

    /// A metadata record as it is.
    pub fn metadata(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.metadata.get(name)
    }

    /// Names of metadata records.
    pub fn metadata_names(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// An attached file as text.
    pub fn attachment(&self, name: &str) -> Result<Option<String>, EpisodeError> {
        let Some(index) = self
            .summary
            .attachment_indexes
            .iter()
            .find(|index| index.name == name)
        else {
            return Ok(None);
        };
        let length = Some(index.length);
        if !layout::leads_to(&self.map, op::ATTACHMENT, index.offset, length) {
            return Err(self.damaged(&format!("attachment `{name}`")));
        }
        let attachment = mcap::read::attachment(&self.map, index)
            .map_err(EpisodeError::mcap("read an attachment of", &self.path))?;
        String::from_utf8(attachment.data.into_owned())
            .map(Some)
            .map_err(|_| {
                EpisodeError::content(format!("attachment `{name}` is not UTF-8 text"), &self.path)
            })
    }

    fn damaged(&self, what: &str) -> EpisodeError {
        EpisodeError::content(format!("{what} is damaged"), &self.path)
    }

    /// The records of a chunk.
    fn chunk(&self, chunk: &ChunkIndex) -> Result<Cow<'_, [u8]>, EpisodeError> {
        let (offset, length) = (chunk.chunk_start_offset, chunk.chunk_length);
        let records = match layout::led_to(&self.map, op::CHUNK, offset, Some(length)) {
            Some(body) => layout::chunk_records(body),
            None => Err("is damaged".to_owned()),
        };
        let problem = |what| format!("the chunk at byte {offset} {what}");
        records.map_err(|what| EpisodeError::content(problem(what), &self.path))
    }

    fn channel_id(&self, topic: &str) -> Option<u16> {
        self.summary
            .channels
            .iter()
            .find(|(_, channel)| channel.topic == topic)
            .map(|(&id, _)| id)
    }

    fn chunks_with(&self, id: u16) -> impl Iterator<Item = &ChunkIndex> {
        self.summary
            .chunk_indexes
            .iter()
            .filter(move |chunk| chunk.message_index_offsets.contains_key(&id))
    }

    /// All messages of a topic, in the order of the file; empty where the file
    /// has no such topic. Images are better read one by one, see [`images`](Self::images).
    ///
    /// # Errors
    /// The topic has another schema, a chunk is damaged, a message is not readable.
    pub fn read<M: Record>(&self, topic: &str) -> Result<Vec<(MessageTimes, M)>, EpisodeError> {
        let Some(id) = self.channel_id(topic) else {
            return Ok(Vec::new());
        };
        let schema = self.summary.channels[&id]
            .schema
            .as_ref()
            .map_or("", |s| s.name.as_str());
        if schema != M::SCHEMA {
            return Err(EpisodeError::content(
                format!(
                    "topic `{topic}` has schema `{schema}`, expected `{}`",
                    M::SCHEMA
                ),
                &self.path,
            ));
        }
        let mut messages = Vec::new();
        for chunk in self.chunks_with(id) {
            let records = self.chunk(chunk)?;
            for record in layout::records(&records) {
                let Some((header, data)) =
                    message(&record).filter(|(header, _)| header.channel_id == id)
                else {
                    continue;
                };
                let times = MessageTimes {
                    log_time: SessionTime::from_nanos(header.log_time as i64),
                    publish_time: SessionTime::from_nanos(header.publish_time as i64),
                    sequence: header.sequence,
                };
                let decoded = M::decode(data).map_err(|error| {
                    EpisodeError::content(
                        format!(
                            "message {} of `{topic}` cannot be read: {error}",
                            messages.len()
                        ),
                        &self.path,
                    )
                })?;
                messages.push((times, decoded));
            }
        }
        Ok(messages)
    }

    /// Index of a camera's images, in the order of the file.
    ///
    /// # Errors
    /// An index is damaged.
    pub fn images(&self, topic: &str) -> Result<ImageIndex, EpisodeError> {
        let mut entries = Vec::new();
        if let Some(id) = self.channel_id(topic) {
            for (number, chunk) in self.summary.chunk_indexes.iter().enumerate() {
                if !chunk.message_index_offsets.contains_key(&id) {
                    continue;
                }
                for &offset in chunk.message_index_offsets.values() {
                    if !layout::leads_to(&self.map, op::MESSAGE_INDEX, offset, None) {
                        return Err(self.damaged(&format!("the index at byte {offset}")));
                    }
                }
                let indexes = self
                    .summary
                    .read_message_indexes(&self.map, chunk)
                    .map_err(EpisodeError::mcap("read an index of", &self.path))?;
                for (channel, records) in indexes {
                    if channel.id == id {
                        entries.extend(records.into_iter().map(|record| (number, record)));
                    }
                }
            }
        }
        Ok(ImageIndex {
            topic: topic.to_owned(),
            entries,
        })
    }

    /// One image.
    ///
    /// # Errors
    /// `index` is beyond the last image, or the chunk is damaged.
    pub fn image(
        &self,
        images: &ImageIndex,
        index: usize,
    ) -> Result<CompressedImage, EpisodeError> {
        let (chunk, entry) = images.entries.get(index).ok_or_else(|| {
            EpisodeError::content(
                format!(
                    "image {index} of `{}` asked for, expected below {}",
                    images.topic,
                    images.len()
                ),
                &self.path,
            )
        })?;
        let records = self.chunk(&self.summary.chunk_indexes[*chunk])?;
        let at = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let record = layout::record_at(&records, at);
        let (_, data) = record.as_ref().and_then(message).ok_or_else(|| {
            EpisodeError::content(
                format!(
                    "the index of image {index} of `{}` leads nowhere",
                    images.topic
                ),
                &self.path,
            )
        })?;
        prost::Message::decode(data).map_err(|error| {
            EpisodeError::content(
                format!(
                    "image {index} of `{}` cannot be read: {error}",
                    images.topic
                ),
                &self.path,
            )
        })
    }
}

/// The message that a record is.
fn message<'a>(record: &layout::RawRecord<'a>) -> Option<(MessageHeader, &'a [u8])> {
    match parse_record(record.opcode, record.body) {
        Ok(McapRecord::Message {
            header,
            data: Cow::Borrowed(data),
        }) => Some((header, data)),
        _ => None,
    }
}

/// Where a camera's images lie in a file.
#[derive(Debug, Clone)]
pub struct ImageIndex {
    topic: String,
    entries: Vec<(usize, MessageIndexEntry)>,
}

impl ImageIndex {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Episode {
    /// Opens a finished episode.
    ///
    /// # Errors
    /// The file cannot be read, is not whole, or is no episode of a known format.
    pub fn open(path: &Path) -> Result<Self, EpisodeError> {
        if path
            .extension()
            .is_some_and(|extension| extension == "partial")
        {
            return Err(EpisodeError::Unfinished {
                path: path.to_owned(),
            });
        }
        let file = EpisodeFile::open(path)?;
        let info: EpisodeInfo = file.json("episode")?.ok_or_else(|| {
            EpisodeError::content(
                "no `episode` metadata, expected a recording made by `dexumi record`",
                path,
            )
        })?;
        if info.format > FORMAT_VERSION {
            return Err(EpisodeError::content(
                format!(
                    "episode format is {}, expected at most {FORMAT_VERSION}; use a newer dexumi",
                    info.format
                ),
                path,
            ));
        }
        let rig_text = file
            .attachment("rig.toml")?
            .ok_or_else(|| EpisodeError::content("no attachment rig.toml", path))?;
        let rig = Rig::parse(&rig_text, path)?;
        let calibration = match file.attachment("calibration.toml")? {
            Some(text) => Some(Calibration::parse(&text, path)?),
            None => None,
        };
        let mut clocks = BTreeMap::new();
        for name in file.metadata_names() {
            if let Some(stream) = name.strip_prefix("clock.")
                && let Some(clock) = file.json(name)?
            {
                clocks.insert(stream.to_owned(), clock);
            }
        }
        let ledger: Ledger = file.json("losses")?.unwrap_or_default();
        let recovered: Option<Recovered> = file.json("recovered")?;
        let bounds = file.summary.stats.as_ref().map_or((0, 0), |stats| {
            (
                stats.message_start_time as i64,
                stats.message_end_time as i64,
            )
        });
        let nanos = |key: &str| {
            file.metadata("interval")
                .and_then(|map| map.get(key))
                .and_then(|text| text.parse().ok())
        };
        let interval = (
            SessionTime::from_nanos(nanos("start_ns").unwrap_or(bounds.0)),
            SessionTime::from_nanos(nanos("stop_ns").unwrap_or(bounds.1)),
        );
        let recorded_from = file
            .metadata("pre_roll")
            .and_then(|map| map.get("from_ns")?.parse().ok())
            .map_or(interval.0, SessionTime::from_nanos);
        Ok(Self {
            file,
            info,
            rig,
            calibration,
            clocks,
            ledger,
            interval,
            recorded_from,
            recovered,
        })
    }

    /// Start to stop [s].
    pub fn duration_s(&self) -> f64 {
        (self.interval.1 - self.interval.0).secs_f64()
    }
}
