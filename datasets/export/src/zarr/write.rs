//! Writing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{JPEG_CODEC, Type};
use crate::error::ExportError;

/// Where the keys of a hierarchy go.
pub(crate) enum Store {
    /// One file for each key.
    Folder(PathBuf),
    /// One entry for each key, stored.
    Zip {
        archive: Box<ZipWriter<BufWriter<File>>>,
        path: PathBuf,
    },
}

impl Store {
    /// A hierarchy in a folder, which is made.
    pub fn folder(path: &Path) -> Result<Self, ExportError> {
        std::fs::create_dir_all(path).map_err(ExportError::io("create a folder", path))?;
        let mut store = Self::Folder(path.to_owned());
        store.group("")?;
        Ok(store)
    }

    /// A hierarchy in a new ZIP file.
    pub fn zip(path: &Path) -> Result<Self, ExportError> {
        let file = File::create_new(path).map_err(ExportError::io("create", path))?;
        let mut store = Self::Zip {
            archive: Box::new(ZipWriter::new(BufWriter::with_capacity(1 << 20, file))),
            path: path.to_owned(),
        };
        store.group("")?;
        Ok(store)
    }

    /// A group; `""` is the outermost.
    pub fn group(&mut self, group: &str) -> Result<(), ExportError> {
        self.put(&under(group, ".zgroup"), br#"{"zarr_format": 2}"#)
    }

    /// Attributes of a group or an array.
    pub fn attributes(&mut self, of: &str, values: &Value) -> Result<(), ExportError> {
        self.put_json(&under(of, ".zattrs"), values)
    }

    fn put_json(&mut self, key: &str, value: &Value) -> Result<(), ExportError> {
        let text = serde_json::to_vec_pretty(value).unwrap_or_default();
        self.put(key, &text)
    }

    fn put(&mut self, key: &str, bytes: &[u8]) -> Result<(), ExportError> {
        match self {
            Self::Folder(root) => {
                let path = root.join(key);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)
                        .map_err(ExportError::io("create a folder", folder))?;
                }
                std::fs::write(&path, bytes).map_err(ExportError::io("write", path))
            }
            Self::Zip { archive, path } => {
                let options =
                    SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
                archive
                    .start_file(key, options)
                    .map_err(std::io::Error::from)
                    .and_then(|()| archive.write_all(bytes))
                    .map_err(ExportError::io("write to", path.as_path()))
            }
        }
    }

    /// Ends a ZIP file; a folder is whole as it is.
    pub fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Zip { archive, path } => archive
                .finish()
                .map_err(std::io::Error::from)
                .and_then(|mut file| file.flush())
                .map_err(ExportError::io("finish", path)),
        }
    }
}

fn under(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{group}/{name}")
    }
}

/// The description of an array.
fn description(shape: &[u64], chunks: &[u64], kind: Type, compressor: &Value) -> Value {
    json!({
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": kind.name(),
        "compressor": compressor,
        "fill_value": if kind == Type::Bool { json!(false) } else { json!(0) },
        "order": "C",
        "filters": null,
    })
}

/// Rows of numbers, `[T][width]`, or `[T]` where the width is `None`. Memory is
/// bounded by one chunk.
pub(crate) struct Rows {
    key: String,
    kind: Type,
    width: Option<u64>,
    rows_per_chunk: u64,
    rows: u64,
    chunks: u64,
    pending: Vec<u8>,
}

impl Rows {
    pub fn new(key: impl Into<String>, kind: Type, width: Option<usize>) -> Self {
        Self {
            key: key.into(),
            kind,
            width: width.map(|width| width as u64),
            rows_per_chunk: 4096,
            rows: 0,
            chunks: 0,
            pending: Vec::new(),
        }
    }

    fn row_bytes(&self) -> usize {
        self.kind.size() * self.width.unwrap_or(1) as usize
    }

    /// Appends whole rows of the array's own type.
    pub fn push(&mut self, store: &mut Store, values: Values<'_>) -> Result<(), ExportError> {
        debug_assert_eq!(values.kind(), self.kind, "{}", self.key);
        let before = self.pending.len();
        values.append_to(&mut self.pending);
        debug_assert_eq!((self.pending.len() - before) % self.row_bytes(), 0);
        self.rows += ((self.pending.len() - before) / self.row_bytes()) as u64;
        let chunk = self.rows_per_chunk as usize * self.row_bytes();
        while self.pending.len() >= chunk {
            let rest = self.pending.split_off(chunk);
            let full = std::mem::replace(&mut self.pending, rest);
            self.put_chunk(store, &full)?;
        }
        Ok(())
    }

    fn put_chunk(&mut self, store: &mut Store, bytes: &[u8]) -> Result<(), ExportError> {
        let name = match self.width {
            Some(_) => format!("{}.0", self.chunks),
            None => self.chunks.to_string(),
        };
        self.chunks += 1;
        store.put(&under(&self.key, &name), bytes)
    }

    /// Writes what is left, and the description.
    pub fn finish(mut self, store: &mut Store) -> Result<(), ExportError> {
        // A short array is one chunk of its own length; else the last chunk is full,
        // too, as the format wants it.
        if self.chunks == 0 {
            self.rows_per_chunk = self.rows.max(1);
        }
        let mut pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            pending.resize(self.rows_per_chunk as usize * self.row_bytes(), 0);
            self.put_chunk(store, &pending)?;
        }
        let (shape, chunks) = match self.width {
            Some(width) => (vec![self.rows, width], vec![self.rows_per_chunk, width]),
            None => (vec![self.rows], vec![self.rows_per_chunk]),
        };
        let description = description(&shape, &chunks, self.kind, &Value::Null);
        store.put_json(&under(&self.key, ".zarray"), &description)
    }
}

/// Numbers of one type.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Bool(&'a [bool]),
}

impl Values<'_> {
    fn kind(self) -> Type {
        match self {
            Self::I64(_) => Type::I64,
            Self::F32(_) => Type::F32,
            Self::F64(_) => Type::F64,
            Self::Bool(_) => Type::Bool,
        }
    }

    fn append_to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::I64(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::F32(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::F64(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::Bool(values) => bytes.extend(values.iter().map(|&v| u8::from(v))),
        }
    }
}

/// Colour images, `[T][height][width][3]` bytes, each a JPEG.
pub(crate) struct Images {
    key: String,
    size: (u32, u32),
    count: u64,
}

impl Images {
    /// Images of `size`, width and height in pixels.
    pub fn new(key: impl Into<String>, size: (u32, u32)) -> Self {
        Self {
            key: key.into(),
            size,
            count: 0,
        }
    }

    /// Appends a JPEG of three components and of the array's size.
    pub fn push(&mut self, store: &mut Store, jpeg: &[u8]) -> Result<(), ExportError> {
        let name = format!("{}.0.0.0", self.count);
        self.count += 1;
        store.put(&under(&self.key, &name), jpeg)
    }

    /// Writes the description.
    pub fn finish(self, store: &mut Store) -> Result<(), ExportError> {
        let (width, height) = (u64::from(self.size.0), u64::from(self.size.1));
        let description = description(
            &[self.count, height, width, 3],
            &[1, height, width, 3],
            Type::U8,
            &json!({"id": JPEG_CODEC}),
        );
        store.put_json(&under(&self.key, ".zarray"), &description)
    }
}
