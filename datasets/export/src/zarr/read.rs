//! Reading.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use zip::ZipArchive;

use super::{JPEG_CODEC, Type, blosc};

/// Whole arrays above this are not read: a description may say anything.
const MAX_BYTES: u64 = 4 << 30;

/// A hierarchy to read from. Everything that can be wrong comes back in words,
/// without the path, which the caller knows.
pub(crate) enum Source {
    Folder(PathBuf),
    Zip(Box<ZipArchive<BufReader<File>>>),
}

impl Source {
    /// A folder, or a ZIP file.
    pub fn open(path: &Path) -> Result<Self, String> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        ZipArchive::new(BufReader::new(file))
            .map(|archive| Self::Zip(Box::new(archive)))
            .map_err(|error| error.to_string())
    }

    /// What lies at a key; `None` where nothing does.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{key}: {error}");
        match self {
            Self::Folder(root) => match std::fs::read(root.join(key)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(&error)),
            },
            Self::Zip(archive) => match archive.by_name(key) {
                Ok(mut entry) => {
                    let mut bytes = Vec::new();
                    entry
                        .read_to_end(&mut bytes)
                        .map_err(|error| failed(&error))?;
                    Ok(Some(bytes))
                }
                Err(zip::result::ZipError::FileNotFound) => Ok(None),
                Err(error) => Err(failed(&error)),
            },
        }
    }

    /// Groups and arrays right below a group, sorted by name as `zarr` lists them.
    pub fn children(&self, group: &str) -> Result<Vec<String>, String> {
        let mut names: Vec<String> = match self {
            Self::Folder(root) => std::fs::read_dir(root.join(group))
                .map_err(|error| format!("{group}: {error}"))?
                .filter_map(|entry| {
                    let entry = entry.ok()?;
                    let path = entry.path();
                    let node = path.join(".zgroup").exists() || path.join(".zarray").exists();
                    node.then(|| entry.file_name().to_string_lossy().into_owned())
                })
                .collect(),
            Self::Zip(archive) => archive
                .file_names()
                .filter_map(|name| {
                    let name = name.ok()?;
                    let name = match group {
                        "" => &*name,
                        _ => name.strip_prefix(group)?.strip_prefix('/')?,
                    };
                    let (child, rest) = name.split_once('/')?;
                    matches!(rest, ".zgroup" | ".zarray").then(|| child.to_owned())
                })
                .collect(),
        };
        names.sort();
        Ok(names)
    }

    /// Attributes of a group or an array; `null` where it has none.
    pub fn attributes(&mut self, of: &str) -> Result<Value, String> {
        let key = format!("{of}/.zattrs");
        match self.get(key.trim_start_matches('/'))? {
            Some(text) => serde_json::from_slice(&text).map_err(|error| format!("{key}: {error}")),
            None => Ok(Value::Null),
        }
    }

    /// The array at a key; `None` where there is none.
    pub fn array(&mut self, key: &str) -> Result<Option<Array>, String> {
        let Some(text) = self.get(&format!("{key}/.zarray"))? else {
            return Ok(None);
        };
        let description: Description =
            serde_json::from_slice(&text).map_err(|error| format!("{key}/.zarray: {error}"))?;
        Array::new(key, description)
            .map(Some)
            .map_err(|what| format!("{key}: {what}"))
    }
}

#[derive(Deserialize)]
struct Description {
    zarr_format: u32,
    shape: Vec<u64>,
    chunks: Vec<u64>,
    dtype: String,
    compressor: Value,
    #[serde(default)]
    fill_value: Value,
    order: String,
    filters: Value,
    #[serde(default)]
    dimension_separator: Option<String>,
}

/// How the chunks of an array are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Blosc,
    Zlib,
    Jpeg,
}

/// The description of an array.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub key: String,
    pub shape: Vec<u64>,
    pub chunks: Vec<u64>,
    pub kind: Type,
    pub packing: Packing,
    fill: f64,
    separator: String,
}

impl Array {
    fn new(key: &str, description: Description) -> Result<Self, String> {
        let Description {
            zarr_format,
            shape,
            chunks,
            dtype,
            compressor,
            fill_value,
            order,
            filters,
            dimension_separator,
        } = description;
        if zarr_format != 2 {
            return Err(format!("Zarr format {zarr_format}, expected 2"));
        }
        if order != "C" || !filters.is_null() {
            return Err(format!(
                "order {order} with filters {filters}, expected C without"
            ));
        }
        if chunks.len() != shape.len() || chunks.contains(&0) {
            return Err(format!(
                "chunks {chunks:?} of shape {shape:?}, expected as many numbers, none 0"
            ));
        }
        let kind = Type::of(&dtype).ok_or_else(|| {
            format!("numbers of type {dtype}, expected |u1, |b1, <i4, <i8, <f4 or <f8")
        })?;
        let id = &compressor["id"];
        let packing = match id.as_str() {
            None if compressor.is_null() => Packing::None,
            Some("blosc") => Packing::Blosc,
            Some("zlib") => Packing::Zlib,
            Some(JPEG_CODEC) => Packing::Jpeg,
            _ => {
                return Err(format!(
                    "packed by {compressor}, expected nothing, blosc, zlib or {JPEG_CODEC}"
                ));
            }
        };
        Ok(Self {
            key: key.to_owned(),
            shape,
            chunks,
            kind,
            packing,
            fill: fill_value.as_f64().unwrap_or(0.0),
            separator: dimension_separator.unwrap_or_else(|| ".".to_owned()),
        })
    }

    /// The chunk at a place of the grid of chunks as it lies in the store.
    pub fn packed(&self, source: &mut Source, place: &[u64]) -> Result<Option<Vec<u8>>, String> {
        let name: Vec<String> = place.iter().map(u64::to_string).collect();
        source.get(&format!("{}/{}", self.key, name.join(&self.separator)))
    }

    fn unpack(&self, packed: Vec<u8>, bytes: usize) -> Result<Vec<u8>, String> {
        let plain = match self.packing {
            Packing::None => packed,
            Packing::Blosc => blosc::unpack(&packed, bytes)?,
            Packing::Zlib => {
                let mut plain = Vec::new();
                let mut reader = flate2::read::ZlibDecoder::new(&packed[..]).take(bytes as u64 + 1);
                reader
                    .read_to_end(&mut plain)
                    .map_err(|error| error.to_string())?;
                plain
            }
            Packing::Jpeg => return Err("an image, expected numbers".to_owned()),
        };
        if plain.len() == bytes {
            Ok(plain)
        } else {
            Err(format!("{} bytes, expected {bytes}", plain.len()))
        }
    }

    /// All values in C order.
    pub fn numbers(&self, source: &mut Source) -> Result<Vec<f64>, String> {
        self.read(source)
            .map_err(|what| format!("{}: {what}", self.key))
    }

    fn read(&self, source: &mut Source) -> Result<Vec<f64>, String> {
        let product = |numbers: &[u64]| numbers.iter().try_fold(1u64, |a, &b| a.checked_mul(b));
        let size = self.kind.size() as u64;
        let limited = |count: Option<u64>| {
            count
                .filter(|count| count.saturating_mul(size) <= MAX_BYTES)
                .ok_or_else(|| format!("shape {:?} is too large to read at once", self.shape))
        };
        let total = limited(product(&self.shape))? as usize;
        let in_chunk = limited(product(&self.chunks))? as usize;
        let mut values = vec![self.fill; total];
        if total == 0 {
            return Ok(values);
        }
        let grid: Vec<u64> = self
            .shape
            .iter()
            .zip(&self.chunks)
            .map(|(n, chunk)| n.div_ceil(*chunk))
            .collect();
        let last = self.shape.len() - 1;
        let mut place = vec![0u64; grid.len()];
        loop {
            if let Some(packed) = self.packed(source, &place)? {
                let bytes = self.unpack(packed, in_chunk * size as usize)?;
                let numbers = numbers(self.kind, &bytes);
                // Runs along the last axis.
                let run = self.chunks[last] as usize;
                for (at, from) in numbers.chunks(run).enumerate() {
                    let mut rest = at as u64;
                    let (mut target, mut stride, mut inside) = (0u64, 1u64, true);
                    for axis in (0..=last).rev() {
                        let mut index = place[axis] * self.chunks[axis];
                        if axis < last {
                            index += rest % self.chunks[axis];
                            rest /= self.chunks[axis];
                        }
                        inside &= index < self.shape[axis];
                        target += index * stride;
                        stride *= self.shape[axis];
                    }
                    if inside {
                        let room = self.shape[last] - place[last] * self.chunks[last];
                        let length = run.min(room as usize);
                        values[target as usize..][..length].copy_from_slice(&from[..length]);
                    }
                }
            }
            // The next place, the last axis first.
            let mut axis = last;
            loop {
                place[axis] += 1;
                if place[axis] < grid[axis] {
                    break;
                }
                place[axis] = 0;
                if axis == 0 {
                    return Ok(values);
                }
                axis -= 1;
            }
        }
    }
}

fn numbers(kind: Type, bytes: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        let (values, _) = bytes.as_chunks::<N>();
        values.iter().map(|&value| number(value)).collect()
    }
    match kind {
        Type::U8 | Type::Bool => bytes.iter().map(|&byte| f64::from(byte)).collect(),
        Type::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        Type::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Type::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Type::F64 => each(bytes, f64::from_le_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the real `zarr`: `tests/golden/zarr/make.py`.
    fn golden() -> Source {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/zarr/made");
        Source::open(&folder).expect("the golden hierarchy")
    }

    fn numbers_of(name: &str) -> (Vec<u64>, Vec<f64>) {
        let mut source = golden();
        let array = source.array(&format!("episode_0/numeric_0/{name}"));
        let array = array.expect("readable").expect("there");
        let values = array.numbers(&mut source).expect("numbers");
        (array.shape, values)
    }

    #[test]
    fn what_zarr_wrote_is_read() {
        let ramp = |n: usize, value: &dyn Fn(f64) -> f64| -> Vec<f64> {
            (0..n).map(|k| value(k as f64)).collect()
        };
        let (shape, values) = numbers_of("receive_time");
        assert_eq!(
            (shape, values),
            (vec![40000], ramp(40000, &|k| 1000.0 + k / 64.0))
        );
        let (shape, values) = numbers_of("fsr_values");
        let forces = ramp(600, &|k| {
            (k / 3.0).floor() * [1.0, -1.0, 3.0][k as usize % 3]
        });
        assert_eq!((shape, values), (vec![200, 3], forces));
        let (shape, values) = numbers_of("pose");
        let poses = ramp(800, &|k| (k / 16.0).floor() + k % 16.0);
        assert_eq!((shape, values), (vec![50, 4, 4], poses));
        assert_eq!(numbers_of("odd").1, ramp(7, &|k| k));
        let (shape, values) = numbers_of("tiles");
        assert_eq!((shape, values), (vec![15, 22], ramp(330, &|k| k)));
        assert_eq!(numbers_of("whole").1, ramp(500, &|k| k));
        let roots = ramp(100, &|k| f64::from((k as f32).sqrt()));
        assert_eq!(numbers_of("copied").1, roots);
        assert_eq!(numbers_of("tiled").1, ramp(5000, &|k| k % 10.0));
        assert_eq!(numbers_of("zlib").1, ramp(5000, &|k| k));
        assert_eq!(numbers_of("sparse").1, vec![2.5; 30]);
    }

    #[test]
    fn groups_and_arrays_are_listed() {
        let source = golden();
        assert_eq!(source.children("").expect("listed"), ["episode_0"]);
        let arrays = source.children("episode_0/numeric_0").expect("listed");
        assert_eq!(arrays.len(), 10);
        assert!(arrays.contains(&"receive_time".to_owned()), "{arrays:?}");
    }

    #[test]
    fn damaged_chunks_are_told_and_nothing_panics() {
        let mut source = golden();
        for name in ["receive_time", "fsr_values", "zlib", "copied", "tiled"] {
            let key = format!("episode_0/numeric_0/{name}");
            let array = source.array(&key).expect("readable").expect("there");
            let place = vec![0; array.shape.len()];
            let packed = array
                .packed(&mut source, &place)
                .expect("read")
                .expect("there");
            let bytes = array.chunks.iter().product::<u64>() as usize * array.kind.size();
            assert!(array.unpack(packed.clone(), bytes).is_ok(), "{name}");
            for cut in 0..packed.len() {
                assert!(
                    array.unpack(packed[..cut].to_vec(), bytes).is_err(),
                    "{name}, cut at {cut}"
                );
            }
            for at in 0..packed.len() {
                for bit in 0..8 {
                    let mut damaged = packed.clone();
                    damaged[at] ^= 1 << bit;
                    // Without a checksum, values may be wrong; the program must not be.
                    let _ = array.unpack(damaged, bytes);
                }
            }
        }
    }
}
