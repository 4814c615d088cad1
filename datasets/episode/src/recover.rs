//! A whole file from one whose recorder died.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::{Path, PathBuf},
};

use mcap::{
    read::{ChannelAccumulator, parse_record},
    records::Record as McapRecord,
};
use memmap2::Mmap;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{
    error::EpisodeError,
    layout,
    ledger::{Ledger, StreamLedger},
    rig::StreamKind,
    schema::{Health, Record as _},
    write::{ChannelId, EpisodeWriter, json_map},
};

/// What a recovered file says of its making, in metadata `recovered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Name of the unfinished file, kept beside it.
    pub from: String,
    /// Its size [byte].
    pub bytes: u64,
    /// Bytes at its end from the first that is no whole, undamaged record.
    pub bytes_cut: u64,
    /// Messages carried over.
    pub messages: u64,
    /// Receive time of the last message [ns, session clock]: where the file ends.
    pub end_ns: i64,
    /// Messages by topic.
    pub by_topic: BTreeMap<String, u64>,
}

/// What `recover` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// The whole file.
    pub path: PathBuf,
    /// The unfinished one, kept.
    pub original: PathBuf,
    /// What it held.
    pub recovered: Recovered,
}

/// Makes `NAME.mcap` from `NAME.mcap.partial`: its whole records, a summary, the
/// last ledger on disk, and a note of where it ends. The unfinished file is kept
/// as `NAME.mcap.cut`.
///
/// # Errors
/// The file cannot be read, holds no whole record, or the result cannot be written.
pub fn recover(partial: &Path) -> Result<Recovery, EpisodeError> {
    let name = partial
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some(stem) = name.strip_suffix(".partial") else {
        return Err(EpisodeError::content(
            "not an unfinished episode, expected a name that ends in .mcap.partial",
            partial,
        ));
    };
    let path = partial.with_file_name(stem);
    if path.exists() {
        return Err(EpisodeError::content(
            format!("`{stem}` already exists beside it, expected none; move one of them away"),
            partial,
        ));
    }
    let file = File::open(partial).map_err(EpisodeError::io("open", partial))?;
    if file
        .metadata()
        .map_err(EpisodeError::io("read", partial))?
        .len()
        == 0
    {
        return Err(EpisodeError::Nothing {
            path: partial.to_owned(),
        });
    }
    // SAFETY: no recorder writes to it any more: the session folder is locked by
    // whoever records or recovers.
    let map = unsafe { Mmap::map(&file) }.map_err(EpisodeError::io("map", partial))?;

    // Written under a third name, so that a second crash leaves no half result.
    let scratch = partial.with_file_name(format!("{stem}.recovering"));
    let _ = std::fs::remove_file(crate::write::partial_path(&scratch));
    let _ = std::fs::remove_file(&scratch);
    let mut writer = EpisodeWriter::create_bare(&scratch)?;
    let mut carry = Carry::default();
    let outcome = carry.all(&map, &mut writer);
    if let Err(error) = outcome {
        let _ = writer.discard();
        return Err(error);
    }
    if carry.messages == 0 && carry.metadata == 0 {
        let _ = writer.discard();
        return Err(EpisodeError::Nothing {
            path: partial.to_owned(),
        });
    }
    let original = partial.with_file_name(format!("{stem}.cut"));
    let recovered = Recovered {
        from: format!("{stem}.cut"),
        bytes: map.len() as u64,
        bytes_cut: (map.len() - carry.whole) as u64,
        messages: carry.messages,
        end_ns: carry.end_ns,
        by_topic: carry.by_topic.clone(),
    };
    writer.metadata("recovered", &json_map(&recovered))?;
    let (ledger, start_ns) = (carry.exact_ledger(), carry.start_ns);
    if !ledger.is_empty() {
        writer.metadata("losses", &json_map(&ledger))?;
    }
    if let Some(start) = start_ns {
        writer.metadata(
            "interval",
            &[
                ("start_ns".to_owned(), start.to_string()),
                ("stop_ns".to_owned(), carry.end_ns.to_string()),
            ]
            .into(),
        )?;
    }
    writer.finish_bare()?;
    std::fs::rename(partial, &original).map_err(EpisodeError::io("rename to", &original))?;
    std::fs::rename(&scratch, &path).map_err(EpisodeError::io("rename to", &path))?;
    crate::error::sync_folder_of(&path)?;
    Ok(Recovery {
        path,
        original,
        recovered,
    })
}

#[derive(Default)]
struct Carry {
    messages: u64,
    metadata: u64,
    whole: usize,
    start_ns: Option<i64>,
    end_ns: i64,
    ledger: Ledger,
    by_topic: BTreeMap<String, u64>,
}

impl Carry {
    fn all(&mut self, map: &[u8], writer: &mut EpisodeWriter) -> Result<(), EpisodeError> {
        if !map.starts_with(mcap::MAGIC) {
            return Ok(());
        }
        let mut channels = ChannelAccumulator::default();
        let mut ids = HashMap::new();
        self.whole = mcap::MAGIC.len();
        // The first record that is not whole, or not what was written, is the end.
        while let Some(raw) = layout::record_at(map, self.whole) {
            let Ok(record) = parse_record(raw.opcode, raw.body) else {
                break;
            };
            match record {
                McapRecord::Schema { header, data } => {
                    let _ = channels.add_schema(header, data);
                }
                McapRecord::Channel(channel) => {
                    let _ = channels.add_channel(channel);
                }
                McapRecord::Attachment { header, data, .. } => {
                    writer.attach(&header.name, &data)?;
                    self.metadata += 1;
                }
                McapRecord::Metadata(metadata) => {
                    if metadata.name != "losses" && metadata.name != "interval" {
                        writer.metadata(&metadata.name, &metadata.metadata)?;
                    }
                    self.metadata += 1;
                }
                McapRecord::Chunk { .. } => {
                    // No sample is taken from a chunk that is known to hold wrong bytes.
                    let Ok(bytes) = layout::chunk_records(raw.body) else {
                        break;
                    };
                    let Some(records) = parsed(&bytes) else { break };
                    self.chunk(records, &mut channels, &mut ids, writer)?;
                }
                _ => {}
            }
            self.whole = raw.end;
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        records: Vec<McapRecord<'_>>,
        channels: &mut ChannelAccumulator<'_>,
        ids: &mut HashMap<u16, ChannelId>,
        writer: &mut EpisodeWriter,
    ) -> Result<(), EpisodeError> {
        for record in records {
            match record {
                McapRecord::Schema { header, data } => {
                    let _ = channels.add_schema(header, data.into_owned().into());
                }
                McapRecord::Channel(channel) => {
                    let _ = channels.add_channel(channel);
                }
                McapRecord::Message { header, data } => {
                    let Some(channel) = channels.get(header.channel_id) else {
                        continue;
                    };
                    let id = match ids.get(&header.channel_id) {
                        Some(&id) => id,
                        None => {
                            let id = writer.channel_of(&channel)?;
                            ids.insert(header.channel_id, id);
                            id
                        }
                    };
                    writer.write_raw(id, header, &data);
                    self.note(&channel, &header, &data);
                }
                _ => {}
            }
        }
        writer.tick()
    }

    /// The last ledger on disk knows the losses up to a second before the end; the
    /// samples themselves are counted here, so that the ledger says what is in the
    /// file.
    fn exact_ledger(&self) -> Ledger {
        let mut ledger = self.ledger.clone();
        for (topic, &count) in &self.by_topic {
            if StreamKind::of(topic).is_some() {
                ledger.entry(topic.clone()).or_default().written = count;
            }
        }
        for (topic, stream) in &mut ledger {
            stream.written = self.by_topic.get(topic).copied().unwrap_or(0);
            stream.received = stream.written.saturating_add(stream.lost());
        }
        ledger
    }

    fn note(
        &mut self,
        channel: &mcap::Channel<'_>,
        header: &mcap::records::MessageHeader,
        data: &[u8],
    ) {
        self.messages += 1;
        *self.by_topic.entry(channel.topic.clone()).or_default() += 1;
        self.end_ns = self.end_ns.max(header.log_time as i64);
        if channel.topic == "/events"
            && let Ok(event) = crate::schema::Event::decode(data)
            && event.kind == "start"
        {
            self.start_ns = Some(event.timestamp_ns);
        }
        if channel
            .schema
            .as_ref()
            .is_some_and(|schema| schema.name == Health::SCHEMA)
            && let Ok(health) = Health::decode(data)
        {
            for stream in &health.streams {
                self.ledger
                    .insert(stream.stream.clone(), StreamLedger::of_health(stream));
            }
        }
    }
}

/// The records of a chunk; none where one of them cannot be read.
fn parsed(bytes: &[u8]) -> Option<Vec<McapRecord<'_>>> {
    layout::records(bytes)
        .map(|raw| parse_record(raw.opcode, raw.body).ok())
        .collect()
}
