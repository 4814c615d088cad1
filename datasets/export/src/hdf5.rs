//! HDF5 files of numbers in groups, with attributes in words: whole in memory, since
//! one holds the numbers of one episode.

use std::path::Path;

use hdf5_pure::{AttrValue, File, FileBuilder, GroupBuilder};

use dexumi_episode::SessionTime;

use crate::error::ExportError;
use crate::model::{CameraTrack, Resampled};

/// A group, or the file itself: arrays, attributes, and groups below it.
#[derive(Default)]
pub(crate) struct Group {
    attributes: Vec<(String, String)>,
    arrays: Vec<(String, Vec<u64>, Numbers)>,
    groups: Vec<(String, Group)>,
}

/// Numbers of an array, row-major.
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U8(Vec<u8>),
}

impl Group {
    pub fn attribute(&mut self, name: &str, words: impl Into<String>) {
        self.attributes.push((name.to_owned(), words.into()));
    }

    /// An array `[rows][width]`, or `[rows]` where there is no width.
    pub fn array(&mut self, name: &str, shape: &[usize], numbers: Numbers) {
        let shape = shape.iter().map(|&n| n as u64).collect();
        self.arrays.push((name.to_owned(), shape, numbers));
    }

    pub fn group(&mut self, name: &str, group: Group) {
        self.groups.push((name.to_owned(), group));
    }

    fn fill(self, builder: &mut GroupBuilder) {
        for (name, words) in self.attributes {
            builder.set_attr(&name, AttrValue::String(words));
        }
        for (name, shape, numbers) in self.arrays {
            let array = builder.create_dataset(&name);
            match numbers {
                Numbers::F32(values) => array.with_f32_data(&values),
                Numbers::F64(values) => array.with_f64_data(&values),
                Numbers::I64(values) => array.with_i64_data(&values),
                Numbers::U8(values) => array.with_u8_data(&values),
            }
            .with_shape(&shape);
        }
        for (name, group) in self.groups {
            let mut inner = builder.create_group(&name);
            group.fill(&mut inner);
            builder.add_group(inner.finish());
        }
    }

    /// Writes this group as a file, whose root has groups alone.
    pub fn write(self, path: &Path) -> Result<(), ExportError> {
        debug_assert!(self.arrays.is_empty(), "arrays lie in groups");
        let mut file = FileBuilder::new();
        for (name, words) in self.attributes {
            file.set_attr(&name, AttrValue::String(words));
        }
        for (name, group) in self.groups {
            let mut builder = file.create_group(&name);
            group.fill(&mut builder);
            file.add_group(builder.finish());
        }
        let bytes = file.finish().map_err(|error| ExportError::Invalid {
            what: format!("cannot make the HDF5 file: {error}"),
            path: path.into(),
        })?;
        std::fs::write(path, bytes).map_err(ExportError::io("write", path))
    }
}

/// When the steps of an episode are and when the images shown at them were taken, on the
/// session clock [ns], and whether all of a step was measured, as `is_valid` says; cameras as `name` calls them.
pub(crate) fn times(
    episode: &Resampled,
    is_valid: impl Fn(usize) -> bool,
    name: impl Fn(&CameraTrack) -> String,
) -> Group {
    let steps = episode.steps();
    let nanos =
        |times: &[SessionTime]| Numbers::I64(times.iter().take(steps).map(|t| t.nanos()).collect());
    let mut group = Group::default();
    group.array("grid_time_ns", &[steps], nanos(&episode.times));
    let valid = (0..steps).map(|k| u8::from(is_valid(k))).collect();
    group.array("valid", &[steps], Numbers::U8(valid));
    let mut captures = Group::default();
    for track in &episode.cameras {
        captures.array(&name(track), &[steps], nanos(&track.capture_times));
    }
    group.group("capture_time_ns", captures);
    group
}

/// A file to check.
pub(crate) struct Reader(File);

impl Reader {
    pub fn open(path: &Path) -> Result<Self, String> {
        File::open(path)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Shape and values of an array, all of them finite.
    pub fn array(&self, key: &str) -> Result<(Vec<u64>, Vec<f64>), String> {
        let failed = |error: hdf5_pure::Error| format!("{key}: {error}");
        let array = self.0.dataset(key).map_err(failed)?;
        let shape = array.shape().map_err(failed)?;
        let values = array.read_f64().map_err(failed)?;
        if values.len() as u64 != shape.iter().product::<u64>() {
            return Err(format!(
                "{key}: {} values for shape {shape:?}",
                values.len()
            ));
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("{key}: value {at} is not finite")),
            None => Ok((shape, values)),
        }
    }

    /// Checks what [`times`] writes: `rows` grid times that increase, and a capture time for each of
    /// them of each camera.
    pub fn check_times(&self, group: &str, rows: u64, cameras: &[&str]) -> Result<(), String> {
        let of = |name: &str| {
            let (shape, values) = self.array(&format!("{group}/{name}"))?;
            if shape != [rows] {
                return Err(format!(
                    "{group}/{name}: expected {rows} rows, got {shape:?}"
                ));
            }
            Ok(values)
        };
        if !of("grid_time_ns")?.is_sorted_by(|a, b| a < b) {
            return Err(format!("{group}/grid_time_ns does not increase"));
        }
        if of("valid")?
            .iter()
            .any(|&valid| valid != 0.0 && valid != 1.0)
        {
            return Err(format!("{group}/valid holds other numbers than 0 and 1"));
        }
        for camera in cameras {
            let name = format!("capture_time_ns/{camera}");
            if !of(&name)?.is_sorted() {
                return Err(format!("{group}/{name} goes back"));
            }
        }
        Ok(())
    }

    /// An attribute in words.
    pub fn attribute(&self, group: &str, name: &str) -> Result<String, String> {
        let failed = |error: hdf5_pure::Error| format!("{group}: {error}");
        let attributes = self
            .0
            .group(group)
            .and_then(|group| group.attrs())
            .map_err(failed)?;
        match attributes.get(name) {
            Some(AttrValue::String(words) | AttrValue::AsciiString(words)) => Ok(words.clone()),
            other => Err(format!(
                "attribute {name} of {group}: expected words, got {other:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.h5");
        let mut inner = Group::default();
        inner.array(
            "b",
            &[2, 3],
            Numbers::F32(vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
        );
        let mut outer = Group::default();
        outer.array("a", &[2], Numbers::F64(vec![0.1, -1e300]));
        outer.array("time", &[2], Numbers::I64(vec![-3, 1 << 52]));
        outer.array("valid", &[2], Numbers::U8(vec![0, 1]));
        outer.group("inner", inner);
        outer.attribute("task", "öffne die Schublade");
        let mut file = Group::default();
        file.group("outer", outer);
        file.write(&path).unwrap();
        let read = Reader::open(&path).unwrap();
        assert_eq!(read.array("outer/a").unwrap(), (vec![2], vec![0.1, -1e300]));
        let time = vec![-3.0, (1_u64 << 52) as f64];
        assert_eq!(read.array("outer/time").unwrap(), (vec![2], time));
        assert_eq!(
            read.array("outer/valid").unwrap(),
            (vec![2], vec![0.0, 1.0])
        );
        let values = vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0];
        assert_eq!(read.array("outer/inner/b").unwrap(), (vec![2, 3], values));
        assert_eq!(
            read.attribute("outer", "task").unwrap(),
            "öffne die Schublade"
        );
        assert!(read.array("outer/c").is_err());
        assert!(read.attribute("outer", "none").is_err());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(
            Reader::open(&path)
                .and_then(|read| read.array("outer/a"))
                .is_err()
        );
    }
}
