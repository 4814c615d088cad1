//! Rules that the Zarr formats share.

use std::path::{Path, PathBuf};

use crate::decode::Decoder;
use crate::error::ExportError;
use crate::jpeg;
use crate::zarr::{Array, Packing, Source, Type};

use super::invalid;

/// A hierarchy that is being checked.
pub(super) struct Checked {
    source: Source,
    path: PathBuf,
}

impl Checked {
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let source = Source::open(path).map_err(|what| invalid(what, path))?;
        let mut checked = Self {
            source,
            path: path.to_owned(),
        };
        match checked
            .source
            .get(".zgroup")
            .map_err(|what| checked.broken(what))?
        {
            Some(_) => Ok(checked),
            None => Err(checked.broken("no .zgroup, expected a Zarr 2 hierarchy")),
        }
    }

    pub fn broken(&self, what: impl Into<String>) -> ExportError {
        invalid(what, &self.path)
    }

    /// Groups and arrays right below a group, by name.
    pub fn children(&self, group: &str) -> Result<Vec<String>, ExportError> {
        self.source
            .children(group)
            .map_err(|what| self.broken(what))
    }

    /// Attributes of a group.
    pub fn attributes(&mut self, of: &str) -> Result<serde_json::Value, ExportError> {
        let attributes = self.source.attributes(of);
        attributes.map_err(|what| self.broken(what))
    }

    /// An array that must be there.
    pub fn array(&mut self, key: &str) -> Result<Array, ExportError> {
        match self.source.array(key).map_err(|what| self.broken(what))? {
            Some(array) => Ok(array),
            None => Err(self.broken(format!("no array {key}"))),
        }
    }

    /// Finite numbers of the given type, `[rows][width]` or `[rows]`.
    pub fn numbers(
        &mut self,
        key: &str,
        kind: Type,
        rows: Option<u64>,
        width: Option<u64>,
    ) -> Result<(u64, Vec<f64>), ExportError> {
        let array = self.array(key)?;
        if array.kind != kind {
            let what = format!("{key}: expected {}, got {}", kind.name(), array.kind.name());
            return Err(self.broken(what));
        }
        let own = array.shape.first().copied().unwrap_or(0);
        let expected: Vec<u64> = [Some(rows.unwrap_or(own)), width]
            .into_iter()
            .flatten()
            .collect();
        if array.shape != expected || own == 0 {
            let what = format!("{key}: expected shape {expected:?}, got {:?}", array.shape);
            return Err(self.broken(what));
        }
        let places = array.shape[0].div_ceil(array.chunks[0]);
        for chunk in 0..places {
            let mut place = vec![0; array.shape.len()];
            place[0] = chunk;
            let found = array.packed(&mut self.source, &place);
            if found.map_err(|what| self.broken(what))?.is_none() {
                return Err(self.broken(format!("{key}: chunk {chunk} is missing")));
            }
        }
        let values = array
            .numbers(&mut self.source)
            .map_err(|what| self.broken(what))?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.broken(format!("{key}: value {at} is not finite"))),
            None => Ok((own, values)),
        }
    }

    /// `rows` JPEGs of one size and three components, all of which decode. Returns
    /// width and height in pixels.
    pub fn images(&mut self, key: &str, rows: u64) -> Result<(u32, u32), ExportError> {
        let array = self.array(key)?;
        let [count, height, width, 3] = array.shape[..] else {
            let what = format!(
                "{key}: expected shape [N, height, width, 3], got {:?}",
                array.shape
            );
            return Err(self.broken(what));
        };
        if count != rows || array.chunks != [1, height, width, 3] {
            let what = format!(
                "{key}: expected {rows} images in chunks of one, got {count} in {:?}",
                array.chunks
            );
            return Err(self.broken(what));
        }
        if array.kind != Type::U8 || array.packing != Packing::Jpeg {
            let what = format!(
                "{key}: expected bytes as JPEG, got {:?} as {:?}",
                array.kind, array.packing
            );
            return Err(self.broken(what));
        }
        let size = (width as u32, height as u32);
        let mut decoder = Decoder::new().map_err(|what| self.broken(what))?;
        for at in 0..rows {
            let jpeg = array.packed(&mut self.source, &[at, 0, 0, 0]);
            let jpeg = jpeg.map_err(|what| self.broken(what))?;
            let seen = jpeg
                .ok_or_else(|| "is missing".to_owned())
                .and_then(|jpeg| {
                    let got = jpeg::size(&jpeg)?;
                    if got != size {
                        return Err(format!("expected {size:?} pixels, got {got:?}"));
                    }
                    if jpeg::components(&jpeg) != Some(3) {
                        return Err("expected three components".to_owned());
                    }
                    let decoded = decoder.decode(&jpeg).map(drop);
                    decoded.map_err(|what| format!("does not decode: {what}"))
                });
            seen.map_err(|what| self.broken(format!("{key}: image {at}: {what}")))?;
        }
        Ok(size)
    }
}
