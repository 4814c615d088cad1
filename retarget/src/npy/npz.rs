//! Archives of arrays.

use std::io::{Read, Seek, Write};
use std::path::Path;

use super::{NpyArray, NpyError, parse_text};

/// An open `.npz` archive.
pub struct Npz<R> {
    archive: zip::ZipArchive<R>,
    path: String,
}

impl Npz<std::fs::File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`NpyError`] when the file cannot be read or is no archive.
    pub fn open(path: &Path) -> Result<Self, NpyError> {
        let shown = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| NpyError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::new(file, &shown)
    }
}

impl<R: Read + Seek> Npz<R> {
    /// Opens an archive; `path` is what errors name as their place.
    ///
    /// # Errors
    /// [`NpyError::Invalid`] when it is no zip archive.
    pub fn new(reader: R, path: &str) -> Result<Self, NpyError> {
        let archive = zip::ZipArchive::new(reader).map_err(|error| NpyError::Invalid {
            what: "archive",
            expected: "a zip archive of arrays, as numpy.savez writes it".to_owned(),
            got: error.to_string(),
            path: path.to_owned(),
        })?;
        Ok(Self {
            archive,
            path: path.to_owned(),
        })
    }

    /// An array of numbers.
    ///
    /// # Errors
    /// [`NpyError::Invalid`] when it is not there or is no such array; the names there are listed.
    pub fn numbers(&mut self, name: &str) -> Result<NpyArray, NpyError> {
        let (bytes, place) = self.member(name)?;
        NpyArray::from_bytes(&bytes, &place)
    }

    /// An array of one text.
    ///
    /// # Errors
    /// [`NpyError::Invalid`] when it is not there or is no text.
    pub fn text(&mut self, name: &str) -> Result<String, NpyError> {
        let (bytes, place) = self.member(name)?;
        parse_text(&bytes).map_err(|(what, expected, got)| NpyError::Invalid {
            what,
            expected,
            got,
            path: place,
        })
    }

    fn member(&mut self, name: &str) -> Result<(Vec<u8>, String), NpyError> {
        let place = format!("{name} in {}", self.path);
        let invalid = |expected: String, got: String| NpyError::Invalid {
            what: "archive",
            expected,
            got,
            path: place.clone(),
        };
        let names: Vec<String> = self
            .archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect();
        let mut member = self
            .archive
            .by_name(&format!("{name}.npy"))
            .map_err(|error| invalid(format!("{name}.npy among {names:?}"), error.to_string()))?;
        let mut bytes = Vec::new();
        // What a damaged or hostile archive may unpack to.
        let read = (&mut member).take(MOST_BYTES).read_to_end(&mut bytes);
        match read {
            Ok(_) if (bytes.len() as u64) < MOST_BYTES => Ok((bytes, place)),
            Ok(_) => Err(invalid(
                format!("less than {MOST_BYTES} bytes"),
                "more".to_owned(),
            )),
            Err(error) => Err(invalid("whole data".to_owned(), error.to_string())),
        }
    }
}

/// Largest array taken from an archive.
const MOST_BYTES: u64 = 8 << 30;

/// Writes an `.npz` archive, array after array.
pub struct NpzWriter<W: Write + Seek> {
    archive: zip::ZipWriter<W>,
}

impl<W: Write + Seek> NpzWriter<W> {
    /// Starts an archive.
    pub fn new(writer: W) -> Self {
        Self {
            archive: zip::ZipWriter::new(writer),
        }
    }

    /// Adds an array of f8.
    ///
    /// # Errors
    /// What the file system says.
    ///
    /// # Panics
    /// When `data` does not have the length that `shape` says.
    pub fn numbers(&mut self, name: &str, shape: &[usize], data: &[f64]) -> std::io::Result<()> {
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "shape of {name}"
        );
        self.start(name, "<f8", shape)?;
        for number in data {
            self.archive.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    /// Adds an array of i8 (whole numbers of 64 bits).
    ///
    /// # Errors
    /// What the file system says.
    ///
    /// # Panics
    /// When `data` does not have the length that `shape` says.
    pub fn integers(&mut self, name: &str, shape: &[usize], data: &[i64]) -> std::io::Result<()> {
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "shape of {name}"
        );
        self.start(name, "<i8", shape)?;
        for number in data {
            self.archive.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    /// Adds a list of texts, or a single one where `shape` is empty.
    ///
    /// # Errors
    /// What the file system says.
    ///
    /// # Panics
    /// When `texts` does not have the length that `shape` says.
    pub fn texts(&mut self, name: &str, shape: &[usize], texts: &[&str]) -> std::io::Result<()> {
        assert_eq!(
            shape.iter().product::<usize>(),
            texts.len(),
            "shape of {name}"
        );
        let longest = texts
            .iter()
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
            .max(1);
        self.start(name, &format!("<U{longest}"), shape)?;
        for text in texts {
            let letters = text
                .chars()
                .map(u32::from)
                .chain(std::iter::repeat(0))
                .take(longest);
            for letter in letters {
                self.archive.write_all(&letter.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// Writes the archive's directory and returns what it was written to.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self) -> std::io::Result<W> {
        self.archive.finish().map_err(std::io::Error::from)
    }

    fn start(&mut self, name: &str, kind: &str, shape: &[usize]) -> std::io::Result<()> {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .large_file(true);
        self.archive
            .start_file(format!("{name}.npy"), options)
            .map_err(std::io::Error::from)?;
        let axes: Vec<String> = shape.iter().map(|axis| format!("{axis},")).collect();
        let entries = format!(
            "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}",
            axes.join(" ")
        );
        // Magic, version, length and header together are a multiple of 64 bytes, the last a newline.
        let padding = 63 - (10 + entries.len()) % 64;
        let header = format!("{entries}{}\n", " ".repeat(padding));
        self.archive.write_all(b"\x93NUMPY\x01\x00")?;
        let length = u16::try_from(header.len()).expect("a few axes fit in 64 KiB");
        self.archive.write_all(&length.to_le_bytes())?;
        self.archive.write_all(header.as_bytes())
    }
}
