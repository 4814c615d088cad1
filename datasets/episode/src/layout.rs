//! Lengths in an MCAP file, looked at before its records are parsed.
//!
//! A parser that believes a damaged length asks for as much memory as the length
//! says, up to 4 GiB for one string. Here every length is held against the bytes
//! that are really there, after the MCAP specification, "Records"
//! (<https://mcap.dev/spec#records>).

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

/// Bytes up to the first record that is not whole or has a length that does not fit.
pub(crate) fn sound_prefix(records: &[u8]) -> usize {
    let mut at = 0;
    while let Some(record) = record_at(records, at) {
        at = record.end;
    }
    at
}

/// Whether the summary section of a whole file can be parsed.
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
    summary().is_some_and(|records| sound_prefix(records) == records.len())
}

/// Whether an index leads to one whole record of the kind that it says, all lengths
/// of which fit; those inside of a chunk included.
pub(crate) fn leads_to(file: &[u8], opcode: u8, offset: u64, length: Option<u64>) -> bool {
    let record = || {
        let at = usize::try_from(offset).ok()?;
        let record = record_at(file, at)?;
        let held = (record.end - at) as u64;
        (record.opcode == opcode && length.is_none_or(|length| length == held)).then_some(record)
    };
    record().is_some_and(|record| match opcode {
        op::CHUNK => {
            chunk_records(record.body).is_none_or(|inner| sound_prefix(inner) == inner.len())
        }
        _ => true,
    })
}

/// The records of a chunk that is not compressed, as ours are. A compressed one is
/// read piece by piece, and its pieces have to fit their own lengths.
fn chunk_records(body: &[u8]) -> Option<&[u8]> {
    let mut body = Fields(body);
    body.bytes(8 + 8 + 8 + 4)?;
    let compression = body.text()?;
    let length: [u8; 8] = body.bytes(8)?.try_into().ok()?;
    let records = body.bytes(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
    compression.is_empty().then_some(records)
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
            body.text()?;
        }
        op::CHUNK_INDEX => {
            body.bytes(8 + 8 + 8 + 8)?;
            body.text()?;
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
                let in_chunk = leads_to(
                    &damaged,
                    op::CHUNK,
                    chunk.chunk_start_offset,
                    Some(chunk.chunk_length),
                );
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
            let _ = fits(opcode, &bytes);
        }
    }
}
