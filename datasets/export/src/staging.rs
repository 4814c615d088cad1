//! The folder in which a dataset grows until it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::ExportError;

/// `OUT.partial-PID` beside `OUT`; removed when dropped before
/// [`Staging::commit`]. A process that is killed leaves it behind, never `OUT`.
pub(crate) struct Staging {
    out: PathBuf,
    path: PathBuf,
}

impl Staging {
    /// Creates the folder, unless `out` holds something already.
    pub fn create(out: &Path) -> Result<Self, ExportError> {
        let out = std::path::absolute(out).map_err(ExportError::io("resolve a path", out))?;
        let free = match std::fs::read_dir(&out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        };
        if !free {
            return Err(ExportError::OutputExists { path: out });
        }
        let mut name = partial_prefix(&out);
        name.push(std::process::id().to_string());
        let path = out.with_file_name(name);
        std::fs::create_dir_all(&path).map_err(ExportError::io("create a folder", &path))?;
        Ok(Self { out, path })
    }

    /// The folder to write into, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folders that earlier, killed exports to the same place left behind.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let prefix = partial_prefix(&self.out);
        let entries = self.out.parent().and_then(|p| std::fs::read_dir(p).ok());
        let paths = entries.into_iter().flatten().flatten().map(|e| e.path());
        paths
            .filter(|path| *path != self.path)
            .filter(|path| {
                let name = path.file_name().map(|n| n.as_encoded_bytes().to_vec());
                name.is_some_and(|name| name.starts_with(prefix.as_encoded_bytes()))
            })
            .collect()
    }

    /// Brings every file to the disk and gives the folder its final name.
    /// Returns that name and the size of all files in bytes.
    pub fn commit(&self) -> Result<(PathBuf, u64), ExportError> {
        let bytes = sync(&self.path)?;
        std::fs::rename(&self.path, &self.out)
            .map_err(ExportError::io("rename the finished dataset", &self.out))?;
        if let Some(parent) = self.out.parent() {
            sync_one(parent)?;
        }
        Ok((self.out.clone(), bytes))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing of this name; otherwise the next
        // export to the same place names what could not be removed.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn partial_prefix(out: &Path) -> OsString {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial-");
    name
}

fn sync(folder: &Path) -> Result<u64, ExportError> {
    let failed = || ExportError::io("list a folder", folder);
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let metadata = entry.metadata().map_err(failed())?;
        if metadata.is_dir() {
            bytes += sync(&entry.path())?;
        } else {
            sync_one(&entry.path())?;
            bytes += metadata.len();
        }
    }
    sync_one(folder)?;
    Ok(bytes)
}

fn sync_one(path: &Path) -> Result<(), ExportError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(ExportError::io("bring to the disk", path))
}
