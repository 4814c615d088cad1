//! Reads NumPy's `.npy` files: little-endian f4 and f8, C order, format versions 1 to 3.
//!
//! Format: numpy.lib.format, "Format Version 1.0" to "3.0".

use std::path::Path;

/// An array of any shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers, last axis fastest; f4 is widened without loss.
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

fn parse(bytes: &[u8]) -> Result<NpyArray, Wrong> {
    let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
        let start = &bytes[..bytes.len().min(6)];
        return Err(wrong("magic", "93 4E 55 4D 50 59", format!("{start:02X?}")));
    };
    let (header, body) = split_header(rest)?;
    let header =
        std::str::from_utf8(header).map_err(|_| wrong("header", "UTF-8 text", "other bytes"))?;
    let entries = Header::parse(header)?;
    let width = match entries.descr.as_str() {
        "<f4" => 4,
        "<f8" => 8,
        other => {
            return Err(wrong(
                "element type",
                "'<f4' or '<f8'",
                format!("'{other}'"),
            ));
        }
    };
    if entries.fortran_order {
        return Err(wrong("order", "C order", "Fortran order"));
    }
    let length = entries
        .shape
        .iter()
        .try_fold(width, |product: usize, &axis| product.checked_mul(axis))
        .ok_or_else(|| {
            wrong(
                "shape",
                "a size that fits in memory",
                format!("{:?}", entries.shape),
            )
        })?;
    if body.len() != length {
        return Err(wrong(
            "data",
            format!("{length} bytes for shape {:?}", entries.shape),
            format!("{} bytes", body.len()),
        ));
    }
    let data = if width == 4 {
        let (numbers, _) = body.as_chunks::<4>();
        numbers
            .iter()
            .map(|&number| f64::from(f32::from_le_bytes(number)))
            .collect()
    } else {
        let (numbers, _) = body.as_chunks::<8>();
        numbers
            .iter()
            .map(|&number| f64::from_le_bytes(number))
            .collect()
    };
    Ok(NpyArray {
        shape: entries.shape,
        data,
    })
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
