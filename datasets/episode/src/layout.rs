//! Lengths in an MCAP file, looked at before its records are parsed.
//!
//! A parser that believes a damaged length asks for as much memory as the length
//! says, up to 4 GiB for one string. Here every length is held against the bytes
//! that are really there, after the MCAP specification, "Records"
//! (<https://mcap.dev/spec#records>).

use std::{borrow::Cow, io::Read};

use mcap::records::op;

/// Opcode and length of a record [byte].
const HEAD: usize = 1 + 8;
/// The magic bytes at both ends of a file.
const MAGIC: usize = mcap::MAGIC.len();

/// A record: opcode, body, and where the next begins.
pub(crate) struct RawRecord<'a> {
    pub opcode: u8,
    pub body: &'a [u8],
    pub end: usize,
}

/// The record that begins at `at`; none where it is not whole, or where a length in
/// it does not fit it.
pub(crate) fn record_at(bytes: &[u8], at: usize) -> Option<RawRecord<'_>> {
    let head = bytes.get(at..at.checked_add(HEAD)?)?;
    let length = u64::from_le_bytes(head[1..].try_into().ok()?);
    let end = (at + HEAD).checked_add(usize::try_from(length).ok()?)?;
    let body = bytes.get(at + HEAD..end)?;
    fits(head[0], body)?;
    Some(RawRecord {
        opcode: head[0],
        body,
        end,
    })
}

/// The records one after another, up to the first that is not whole or has a length that does not fit.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = RawRecord<'_>> {
    let first = record_at(bytes, 0);
    std::iter::successors(first, |record| record_at(bytes, record.end))
}

/// Bytes that the records take.
pub(crate) fn sound_prefix(bytes: &[u8]) -> usize {
    records(bytes).last().map_or(0, |record| record.end)
}

/// Whether the summary section of a whole file can be parsed. No chunk belongs into it: a parser would
/// open it.
pub(crate) fn summary_is_sound(file: &[u8]) -> bool {
    const FOOTER: usize = HEAD + 8 + 8 + 4;
    let summary = || {
        let footer = file.len().checked_sub(MAGIC + FOOTER)?;
        let start: [u8; 8] = file[footer + HEAD..][..8].try_into().ok()?;
        match usize::try_from(u64::from_le_bytes(start)).ok()? {
            // There is none.
            0 => Some(&[][..]),
            start => file.get(start..footer),
        }
    };
    summary().is_some_and(|bytes| {
        sound_prefix(bytes) == bytes.len() && records(bytes).all(|known| known.opcode != op::CHUNK)
    })
}

/// Whether an index leads to one whole record of the kind that it says, all lengths of which fit.
pub(crate) fn leads_to(file: &[u8], opcode: u8, offset: u64, length: Option<u64>) -> bool {
    led_to(file, opcode, offset, length).is_some()
}

/// The body of the record that an index leads to.
pub(crate) fn led_to(file: &[u8], opcode: u8, offset: u64, length: Option<u64>) -> Option<&[u8]> {
    let at = usize::try_from(offset).ok()?;
    let record = record_at(file, at)?;
    let held = (record.end - at) as u64;
    (record.opcode == opcode && length.is_none_or(|length| length == held)).then_some(record.body)
}

/// Most that a chunk may hold [byte]. Ours are not compressed and hold what came within 100 ms; of one that
/// somebody has compressed no more is unpacked.
const MOST_IN_CHUNK: u64 = 64 << 20;

/// The records of a chunk, all of them whole, of lengths that fit, and of the checksum that was written;
/// else what is wrong with it.
pub(crate) fn chunk_records(body: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let mut body = Fields(body);
    let mut head = || {
        body.bytes(8 + 8)?;
        let size: [u8; 8] = body.bytes(8)?.try_into().ok()?;
        let crc: [u8; 4] = body.bytes(4)?.try_into().ok()?;
        let compression = body.text()?;
        let size = u64::from_le_bytes(size);
        Some((size, u32::from_le_bytes(crc), compression, body.data()?))
    };
    let (size, crc, compression, data) = head().ok_or("is cut off")?;
    let records = match compression {
        b"" => Cow::Borrowed(data),
        b"lz4" => unpacked(lz4_flex::frame::FrameDecoder::new(data), size)?,
        b"zstd" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data);
            unpacked(decoder.map_err(|error| error.to_string())?, size)?
        }
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(format!(
                "is compressed by {name:?}, expected lz4, zstd or nothing"
            ));
        }
    };
    if records.len() as u64 != size {
        return Err(format!("holds {} bytes, expected {size}", records.len()));
    }
    if crc != 0 && crc != crc32fast::hash(&records) {
        return Err("has not the checksum that was written".to_owned());
    }
    match sound_prefix(&records) == records.len() {
        true => Ok(records),
        false => Err("holds a record that is damaged".to_owned()),
    }
}

fn unpacked<'a>(from: impl Read, size: u64) -> Result<Cow<'a, [u8]>, String> {
    if size > MOST_IN_CHUNK {
        return Err(format!(
            "says that it holds {size} bytes, expected at most {MOST_IN_CHUNK}"
        ));
    }
    let mut records = Vec::new();
    from.take(size + 1)
        .read_to_end(&mut records)
        .map_err(|error| format!("cannot be unpacked: {error}"))?;
    Ok(Cow::Owned(records))
}

/// Whether the strings, maps and data of a record lie within it.
fn fits(opcode: u8, body: &[u8]) -> Option<()> {
    let mut body = Fields(body);
    match opcode {
        op::HEADER => {
            body.text()?;
            body.text()?;
        }
        op::SCHEMA => {
            body.bytes(2)?;
            body.text()?;
            body.text()?;
            body.text()?;
        }
        op::CHANNEL => {
            body.bytes(2 + 2)?;
            body.text()?;
            body.text()?;
            body.map()?;
        }
        op::MESSAGE => {
            body.bytes(2 + 4 + 8 + 8)?;
        }
        op::CHUNK => {
            body.bytes(8 + 8 + 8 + 4)?;
            body.text()?;
            body.data()?;
        }
        op::MESSAGE_INDEX => {
            body.bytes(2)?;
            body.entries(8 + 8)?;
        }
        op::CHUNK_INDEX => {
            body.bytes(8 + 8 + 8 + 8)?;
            body.entries(2 + 8)?;
            body.bytes(8)?;
            body.text()?;
            body.bytes(8 + 8)?;
        }
        op::ATTACHMENT => {
            body.bytes(8 + 8)?;
            body.text()?;
            body.text()?;
            body.data()?;
            body.bytes(4)?;
        }
        op::ATTACHMENT_INDEX => {
            body.bytes(8 + 8 + 8 + 8 + 8)?;
            body.text()?;
            body.text()?;
        }
        op::METADATA => {
            body.text()?;
            body.map()?;
        }
        op::METADATA_INDEX => {
            body.bytes(8 + 8)?;
            body.text()?;
        }
        // The others have no length inside.
        _ => {}
    }
    Some(())
}

/// What is left of a record's body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A string, or an array: a length [byte] in four bytes, then as many.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length: [u8; 4] = self.bytes(4)?.try_into().ok()?;
        self.bytes(usize::try_from(u32::from_le_bytes(length)).ok()?)
    }

    /// A length [byte] in eight bytes, then as many.
    fn data(&mut self) -> Option<&'a [u8]> {
        let length: [u8; 8] = self.bytes(8)?.try_into().ok()?;
        self.bytes(usize::try_from(u64::from_le_bytes(length)).ok()?)
    }

    /// An array of entries of so many bytes. Of a part of one a parser reads on beyond the array, and takes
    /// what follows for something else.
    fn entries(&mut self, size: usize) -> Option<()> {
        self.text()?.len().is_multiple_of(size).then_some(())
    }

    /// Strings by string.
    fn map(&mut self) -> Option<()> {
        let mut entries = Fields(self.text()?);
        while !entries.0.is_empty() {
            entries.text()?;
            entries.text()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with everything that ours have, and the offsets of all strings' lengths.
    fn file() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = mcap::WriteOptions::new()
            .compression(None)
            .create(&mut bytes)
            .expect("a writer");
        let schema = writer
            .add_schema("s", "protobuf", b"schema")
            .expect("added");
        let map = [("key".to_owned(), "value".to_owned())].into();
        let channel = writer
            .add_channel(schema, "/topic", "protobuf", &map)
            .expect("added");
        let header = mcap::records::MessageHeader {
            channel_id: channel,
            sequence: 1,
            log_time: 2,
            publish_time: 3,
        };
        writer
            .write_to_known_channel(&header, b"data")
            .expect("written");
        writer
            .attach(&mcap::Attachment {
                log_time: 1,
                create_time: 2,
                name: "a.txt".to_owned(),
                media_type: "text/plain".to_owned(),
                data: b"attached"[..].into(),
            })
            .expect("written");
        writer
            .write_metadata(&mcap::records::Metadata {
                name: "m".to_owned(),
                metadata: map,
            })
            .expect("written");
        writer.finish().expect("finished");
        drop(writer);
        bytes.into_inner()
    }

    fn chunk_is_sound(file: &[u8], index: &mcap::records::ChunkIndex) -> bool {
        let (offset, length) = (index.chunk_start_offset, index.chunk_length);
        led_to(file, op::CHUNK, offset, Some(length))
            .is_some_and(|body| chunk_records(body).is_ok())
    }

    /// A chunk's body around records.
    fn chunk(size: u64, crc: u32, compression: &str, data: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 16];
        body.extend(size.to_le_bytes());
        body.extend(crc.to_le_bytes());
        body.extend((compression.len() as u32).to_le_bytes());
        body.extend(compression.as_bytes());
        body.extend((data.len() as u64).to_le_bytes());
        body.extend(data);
        body
    }

    #[test]
    fn chunks_are_unpacked_and_held_to_their_size_and_checksum() {
        let file = file();
        let summary = mcap::Summary::read(&file).expect("read").expect("one");
        let index = &summary.chunk_indexes[0];
        let (offset, length) = (index.chunk_start_offset, index.chunk_length);
        let body = led_to(&file, op::CHUNK, offset, Some(length)).expect("there");
        let records = chunk_records(body).expect("sound").into_owned();
        let (size, crc) = (records.len() as u64, crc32fast::hash(&records));
        let zstd = zstd::bulk::compress(&records, 0).expect("packed");
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut lz4, &records).expect("packed");
        let lz4 = lz4.finish().expect("packed");
        for (name, data) in [("", &records), ("zstd", &zstd), ("lz4", &lz4)] {
            let read = |size, crc, data: &[u8]| {
                chunk_records(&chunk(size, crc, name, data)).map(Cow::into_owned)
            };
            assert_eq!(read(size, crc, data).as_ref(), Ok(&records), "{name}");
            assert_eq!(read(size, 0, data).as_ref(), Ok(&records), "{name}");
            assert!(read(size, crc ^ 1, data).is_err(), "{name}");
            assert!(read(size + 1, crc, data).is_err(), "{name}");
            assert!(read(size - 1, 0, data).is_err(), "{name}");
            assert!(read(size, crc, &data[1..]).is_err(), "{name}");
            if !name.is_empty() {
                let error = read(u64::MAX, crc, data).expect_err("too much");
                assert!(error.contains("at most 67108864"), "{error}");
            }
        }
        let other = chunk_records(&chunk(size, crc, "xz", &records)).map(Cow::into_owned);
        assert!(other.is_err_and(|error| error.contains("\"xz\"")));
        // A terabyte of nothing in a few bytes.
        let zeros = zstd::bulk::compress(&vec![0; 1 << 20], 0).expect("packed");
        assert!(chunk_records(&chunk(100, 0, "zstd", &zeros)).is_err());
    }

    #[test]
    fn a_sound_file_is_sound() {
        let file = file();
        let records = &file[MAGIC..file.len() - MAGIC];
        assert_eq!(sound_prefix(records), records.len());
        assert!(summary_is_sound(&file));
        let summary = mcap::Summary::read(&file).expect("read").expect("one");
        let chunk = &summary.chunk_indexes[0];
        assert!(leads_to(
            &file,
            op::CHUNK,
            chunk.chunk_start_offset,
            Some(chunk.chunk_length)
        ));
        for &index in chunk.message_index_offsets.values() {
            assert!(leads_to(&file, op::MESSAGE_INDEX, index, None));
        }
    }

    #[test]
    fn a_summary_that_begins_at_a_chunk_is_none() {
        let mut file = file();
        let summary = mcap::Summary::read(&file).expect("read").expect("one");
        let chunk = summary.chunk_indexes[0].chunk_start_offset;
        let start = file.len() - MAGIC - (8 + 8 + 4);
        file[start..start + 8].copy_from_slice(&chunk.to_le_bytes());
        assert!(!summary_is_sound(&file));
    }

    #[test]
    fn an_array_that_ends_within_an_entry_does_not_fit() {
        let file = file();
        let summary = mcap::Summary::read(&file).expect("read").expect("one");
        let chunk = &summary.chunk_indexes[0];
        let message_index = *chunk.message_index_offsets.values().next().expect("one");
        let at = usize::try_from(message_index).expect("small");
        let index = record_at(&file, at).expect("there");
        assert_eq!(index.opcode, op::MESSAGE_INDEX);
        let mut body = index.body.to_vec();
        assert!(fits(op::MESSAGE_INDEX, &body).is_some());
        body[2] -= 1;
        assert!(fits(op::MESSAGE_INDEX, &body).is_none());

        let records = (0..file.len()).filter_map(|at| record_at(&file, at));
        let chunk_index = records
            .filter(|record| record.opcode == op::CHUNK_INDEX)
            .find(|record| record.body[16..24] == chunk.chunk_start_offset.to_le_bytes());
        let mut body = chunk_index.expect("there").body.to_vec();
        body[32] -= 1;
        assert!(fits(op::CHUNK_INDEX, &body).is_none());
    }

    /// Each length of a string that is replaced by the largest is found, where a record
    /// is walked over, in a chunk, or in the summary.
    #[test]
    fn a_length_that_does_not_fit_is_found() {
        let file = file();
        let names: [&[u8]; 7] = [
            b"/topic",
            b"protobuf",
            b"key",
            b"value",
            b"a.txt",
            b"text/plain",
            b"m",
        ];
        let summary = mcap::Summary::read(&file).expect("read").expect("one");
        let chunk = &summary.chunk_indexes[0];
        let mut found = 0;
        for name in names {
            let mut coded = (name.len() as u32).to_le_bytes().to_vec();
            coded.extend_from_slice(name);
            for at in 0..file.len() - coded.len() {
                if file[at..at + coded.len()] != coded[..] {
                    continue;
                }
                found += 1;
                let mut damaged = file.clone();
                damaged[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
                let records = &damaged[MAGIC..damaged.len() - MAGIC];
                let walked = sound_prefix(records) == records.len();
                let in_chunk = chunk_is_sound(&damaged, chunk);
                assert!(!(walked && in_chunk && summary_is_sound(&damaged)), "{at}");
            }
        }
        // Schema and channel twice (chunk, summary), attachment and metadata each with an index.
        assert!(found >= 14, "{found}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>, opcode: u8, offset: u64, length: Option<u64>) {
            let _ = (sound_prefix(&bytes), summary_is_sound(&bytes));
            let _ = leads_to(&bytes, opcode, offset, length);
            let _ = (fits(opcode, &bytes), chunk_records(&bytes));
        }
    }
}
