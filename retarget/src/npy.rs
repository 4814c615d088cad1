//! NumPy's `.npy` and `.npz` files: little-endian numbers and text, C order, format versions 1 to 3.
//!
//! Format: numpy.lib.format, "Format Version 1.0" to "3.0". An `.npz` is a zip archive of `.npy`s.

mod npz;

use std::path::Path;

pub use npz::{Npz, NpzWriter};

/// An array of any shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers, last axis fastest; f4, i4, i8, u1 and bool are widened (integers above 2⁵³ lose
    /// their last digits).
    pub data: Vec<f64>,
}

/// Why an array could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The file could not be read.
    #[error("cannot read the array file; check that it exists and is readable: {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no array of the kinds that are understood.
    #[error(
        "array file, {what}: expected {expected}, got {got}; write it with numpy.save(path, numpy.ascontiguousarray(a, \"<f8\")): {path}"
    )]
    Invalid {
        /// The part of the file.
        what: &'static str,
        /// What would be right.
        expected: String,
        /// What stands there.
        got: String,
        /// The file, or where the bytes came from.
        path: String,
    },
}

type Wrong = (&'static str, String, String);

impl NpyArray {
    /// Reads a file.
    ///
    /// # Errors
    /// [`NpyError`] when the file cannot be read or is not such an array.
    pub fn from_path(path: &Path) -> Result<Self, NpyError> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| NpyError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::from_bytes(&bytes, &shown)
    }

    /// Reads bytes; `path` is what errors name as their place.
    ///
    /// # Errors
    /// [`NpyError::Invalid`].
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, NpyError> {
        parse(bytes).map_err(|(what, expected, got)| NpyError::Invalid {
            what,
            expected,
            got,
            path: path.to_owned(),
        })
    }
}

fn wrong(what: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Wrong {
    (what, expected.into(), got.into())
}

/// Header and data.
fn parse_header(bytes: &[u8]) -> Result<(Header, &[u8]), Wrong> {
    let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
        let start = &bytes[..bytes.len().min(6)];
        return Err(wrong("magic", "93 4E 55 4D 50 59", format!("{start:02X?}")));
    };
    let (header, body) = split_header(rest)?;
    let header =
        std::str::from_utf8(header).map_err(|_| wrong("header", "UTF-8 text", "other bytes"))?;
    Ok((Header::parse(header)?, body))
}

fn parse(bytes: &[u8]) -> Result<NpyArray, Wrong> {
    let (entries, body) = parse_header(bytes)?;
    let kind = entries.descr.as_str();
    let width = match kind {
        "|b1" | "|u1" | "|i1" => 1,
        "<f4" | "<i4" => 4,
        "<f8" | "<i8" => 8,
        other => {
            return Err(wrong(
                "element type",
                "'<f8', '<f4', '<i8', '<i4', '|u1', '|i1' or '|b1'",
                format!("'{other}'"),
            ));
        }
    };
    if entries.fortran_order {
        return Err(wrong("order", "C order", "Fortran order"));
    }
    check_length(&entries.shape, width, body)?;
    let (fours, _) = body.as_chunks::<4>();
    let (eights, _) = body.as_chunks::<8>();
    let data = match kind {
        "|i1" => body
            .iter()
            .map(|&byte| f64::from(byte.cast_signed()))
            .collect(),
        "<f4" => fours
            .iter()
            .map(|&four| f64::from(f32::from_le_bytes(four)))
            .collect(),
        "<i4" => fours
            .iter()
            .map(|&four| f64::from(i32::from_le_bytes(four)))
            .collect(),
        "<f8" => eights
            .iter()
            .map(|&eight| f64::from_le_bytes(eight))
            .collect(),
        "<i8" => eights
            .iter()
            .map(|&eight| i64::from_le_bytes(eight) as f64)
            .collect(),
        _ => body.iter().map(|&byte| f64::from(byte)).collect(),
    };
    Ok(NpyArray {
        shape: entries.shape,
        data,
    })
}

/// Text of an array of one string, `<U…` (UTF-32, padded with zeros).
fn parse_text(bytes: &[u8]) -> Result<String, Wrong> {
    let (entries, body) = parse_header(bytes)?;
    let length = entries
        .descr
        .strip_prefix("<U")
        .and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length.filter(|_| entries.shape.iter().product::<usize>() == 1) else {
        let got = format!("'{}' of shape {:?}", entries.descr, entries.shape);
        return Err(wrong("element type", "one text, '<U…'", got));
    };
    check_length(&[length], 4, body)?;
    let (letters, _) = body.as_chunks::<4>();
    letters
        .iter()
        .map(|&letter| u32::from_le_bytes(letter))
        .take_while(|&letter| letter != 0)
        .map(|letter| {
            char::from_u32(letter).ok_or_else(|| wrong("text", "letters", format!("{letter:#X}")))
        })
        .collect()
}

fn check_length(shape: &[usize], width: usize, body: &[u8]) -> Result<(), Wrong> {
    let length = shape
        .iter()
        .try_fold(width, |product: usize, &axis| product.checked_mul(axis))
        .ok_or_else(|| wrong("shape", "a size that fits in memory", format!("{shape:?}")))?;
    if body.len() != length {
        return Err(wrong(
            "data",
            format!("{length} bytes for shape {shape:?}"),
            format!("{} bytes", body.len()),
        ));
    }
    Ok(())
}

/// What follows the magic, as header text and data. Version 1 counts the header in two bytes,
/// versions 2 and 3 in four.
fn split_header(rest: &[u8]) -> Result<(&[u8], &[u8]), Wrong> {
    let cut = || wrong("header", "the whole header", "the end of the file");
    let (&[major, minor], rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (u32::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (u32::from_le_bytes(*length), rest)
        }
        _ => {
            return Err(wrong(
                "format version",
                "1, 2 or 3",
                format!("{major}.{minor}"),
            ));
        }
    };
    rest.split_at_checked(length as usize).ok_or_else(cut)
}

/// The header's three entries.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads the Python dictionary `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }`.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let inner = text
            .trim()
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .ok_or_else(|| wrong("header", "a dictionary in braces", clip(text)))?;
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut rest = inner.trim_start();
        while !rest.is_empty() {
            let (key, after) =
                quoted(rest).ok_or_else(|| wrong("header", "a quoted key", clip(rest)))?;
            let after = after
                .trim_start()
                .strip_prefix(':')
                .ok_or_else(|| wrong("header", "a colon after the key", clip(after)))?
                .trim_start();
            let value = match key {
                "descr" => quoted(after).map(|(value, after)| {
                    descr = Some(value.to_owned());
                    after
                }),
                "fortran_order" => boolean(after).map(|(value, after)| {
                    fortran_order = Some(value);
                    after
                }),
                "shape" => tuple(after).map(|(value, after)| {
                    shape = Some(value);
                    after
                }),
                _ => {
                    let known = "the keys descr, fortran_order, shape";
                    return Err(wrong("header", known, clip(key)));
                }
            };
            let after = value.ok_or_else(|| {
                wrong(
                    "header",
                    "a string, True or False, and a tuple",
                    clip(after),
                )
            })?;
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            let known = "the keys descr, fortran_order, shape";
            return Err(wrong("header", known, clip(text)));
        };
        Ok(Self {
            descr,
            fortran_order,
            shape,
        })
    }
}

/// The start of a text, short enough for a message.
fn clip(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

fn boolean(text: &str) -> Option<(bool, &str)> {
    let word = |word: &str| text.strip_prefix(word);
    word("False")
        .map(|rest| (false, rest))
        .or_else(|| word("True").map(|rest| (true, rest)))
}

fn tuple(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inner, rest) = text.strip_prefix('(')?.split_once(')')?;
    let inner = inner.trim();
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    if inner.is_empty() {
        return Some((Vec::new(), rest));
    }
    let axes: Result<Vec<usize>, _> = inner.split(',').map(|axis| axis.trim().parse()).collect();
    Some((axes.ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A `.npy` of the given version, as numpy writes it.
    fn npy(version: u8, header: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn both_widths_and_all_versions_are_read() {
        let body: Vec<u8> = [1.5_f32, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        for version in 1..=3 {
            let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }  \n";
            let array = NpyArray::from_bytes(&npy(version, header, &body), "test").unwrap();
            assert_eq!(array.shape, [2, 1]);
            assert_eq!(array.data, [1.5, -2.0]);
        }
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': ()}";
        let array = NpyArray::from_bytes(&npy(1, header, &7.0_f64.to_le_bytes()), "test").unwrap();
        assert_eq!((array.shape.len(), array.data), (0, vec![7.0]));
    }

    #[test]
    fn errors_say_what_was_expected_and_what_came() {
        let cases = [
            (
                "{'descr': '>f8', 'fortran_order': False, 'shape': (1,)}",
                "'>f8'",
            ),
            (
                "{'descr': '<f8', 'fortran_order': True, 'shape': (1,)}",
                "Fortran order",
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
                "16 bytes",
            ),
            ("{'descr': '<f8', 'fortran_order': False}", "keys descr"),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                "tuple",
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8)}",
                "memory",
            ),
            (
                "{'descr': '<f8', 'order': False, 'shape': (1,)}",
                "got order",
            ),
        ];
        for (header, expected) in cases {
            let bytes = npy(1, header, &[0; 8]);
            let message = NpyArray::from_bytes(&bytes, "x.npy")
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.ends_with("x.npy"), "{message}");
        }
    }

    #[test]
    fn an_archive_gives_back_what_was_put_in() {
        let mut writer = NpzWriter::new(std::io::Cursor::new(Vec::new()));
        writer
            .numbers("q", &[2, 3], &[0.0, 1.0, -2.5, f64::MAX, 1e-300, 7.0])
            .unwrap();
        writer.texts("names", &[2], &["a", "Ünï"]).unwrap();
        writer.texts("meta", &[], &["{\"λ\": 1}"]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let mut archive = Npz::new(std::io::Cursor::new(&bytes), "x.npz").unwrap();
        let q = archive.numbers("q").unwrap();
        assert_eq!(q.shape, [2, 3]);
        assert_eq!(q.data, [0.0, 1.0, -2.5, f64::MAX, 1e-300, 7.0]);
        assert_eq!(archive.text("meta").unwrap(), "{\"λ\": 1}");
        let message = archive.numbers("absent").unwrap_err().to_string();
        assert!(
            message.contains("q.npy") && message.ends_with("absent in x.npz"),
            "{message}"
        );
        assert!(
            archive
                .text("q")
                .unwrap_err()
                .to_string()
                .contains("one text")
        );
        for cut in 0..bytes.len() {
            let archive = Npz::new(std::io::Cursor::new(&bytes[..cut]), "cut");
            assert!(archive.is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = NpyArray::from_bytes(&bytes, "garbage");
        }

        #[test]
        fn a_garbage_header_never_panics(
            version in 0_u8..5,
            header in "(\\{|')?[ -~é]{0,30}('descr'|'shape'|:|\\(|\\)|,|'<f8'){0,6}[ -~]{0,20}\\}?",
        ) {
            let _ = NpyArray::from_bytes(&npy(version, &header, &[0; 8]), "garbage");
        }

        #[test]
        fn a_cut_file_is_an_error(cut in 0_usize..87) {
            let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }   \n";
            let whole = npy(1, header, &[0; 16]);
            prop_assert_eq!(whole.len(), 87);
            prop_assert!(NpyArray::from_bytes(&whole, "whole").is_ok());
            prop_assert!(NpyArray::from_bytes(&whole[..cut], "cut").is_err());
        }
    }
}
