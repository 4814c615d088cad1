//! The folder in which a dataset grows until it is whole.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::parts;
use crate::error::ExportError;
use crate::verify::FOREIGN;

/// `OUT.partial` beside `OUT`, locked by its process:
///
/// - `parts/`: finished videos, which the next export to the same place takes up;
/// - `dataset/`: what is put together from them; becomes `OUT`;
/// - `whole`: there once `dataset/` has passed its check.
///
/// A process that is killed leaves it behind, never a half-written `OUT`. Dropped before
/// [`Staging::commit`], it keeps what is finished, and nothing where nothing is.
pub(crate) struct Staging {
    out: PathBuf,
    work: PathBuf,
    replaces: bool,
    /// Held as long as this lives.
    _lock: File,
}

impl Staging {
    /// Creates the folder or takes it up, unless `out` holds something already that is not to be
    /// replaced.
    pub fn open(out: &Path, replaces: bool) -> Result<Self, ExportError> {
        let out = resolved(out)?;
        let work = work_folder(&out);
        let is_free = is_free(&out);
        if !is_free && work.join("whole").exists() {
            // Killed after the dataset got its name: what is left is of no use any more.
            let _lock = lock(&work)?;
            carry_over(&work.join("dataset"), &out)?;
            remove(&work)?;
        }
        if !is_free && !replaces {
            return Err(ExportError::OutputExists { path: out });
        }
        let parts = work.join("parts");
        std::fs::create_dir_all(&parts).map_err(ExportError::io("create a folder", &parts))?;
        let staging = Self {
            replaces: !is_free,
            _lock: lock(&work)?,
            work,
            out,
        };
        remove(&staging.whole())?;
        remove(&staging.dataset())?;
        let dataset = staging.dataset();
        std::fs::create_dir(&dataset).map_err(ExportError::io("create a folder", &dataset))?;
        Ok(staging)
    }

    /// The folder to write into, absolute.
    pub fn dataset(&self) -> PathBuf {
        self.work.join("dataset")
    }

    /// The folder of finished videos.
    pub fn parts(&self) -> PathBuf {
        self.work.join("parts")
    }

    /// The dataset that is to be replaced.
    pub fn replaced(&self) -> Option<&Path> {
        self.replaces.then_some(self.out.as_path())
    }

    fn whole(&self) -> PathBuf {
        self.work.join("whole")
    }

    /// Brings every file to the disk and gives the folder its final name, in one step where there is
    /// a dataset of that name already. Returns that name and the size of all files in bytes.
    pub fn commit(&self) -> Result<(PathBuf, u64), ExportError> {
        let dataset = self.dataset();
        let bytes = sync(&dataset)?;
        File::create(self.whole())
            .and_then(|file| file.sync_all())
            .map_err(ExportError::io("mark the dataset as whole", self.whole()))?;
        sync_one(&self.work)?;
        if self.replaces {
            exchange(&dataset, &self.out)?;
            carry_over(&dataset, &self.out)?;
        } else {
            std::fs::rename(&dataset, &self.out)
                .map_err(ExportError::io("rename the finished dataset", &self.out))?;
        }
        if let Some(parent) = self.out.parent() {
            sync_one(parent)?;
        }
        // The mark goes last: until then, what is left is known to be of no use.
        remove(&dataset)?;
        remove(&self.parts())?;
        remove(&self.work)?;
        Ok((self.out.clone(), bytes))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing of this name; what cannot be removed is taken up or removed
        // by the next export to the same place.
        let _ = remove(&self.dataset());
        if !parts::has_finished(&self.parts()) {
            let _ = remove(&self.work);
        }
    }
}

/// Absolute; where it is a link, what that leads to, so that the dataset itself is replaced.
fn resolved(out: &Path) -> Result<PathBuf, ExportError> {
    match out.is_symlink() && out.exists() {
        true => std::fs::canonicalize(out),
        false => std::path::absolute(out),
    }
    .map_err(ExportError::io("resolve a path", out))
}

/// Whether there is nothing yet at `out`.
fn is_free(out: &Path) -> bool {
    match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Refuses an output folder that holds something, unless that is to be replaced; [`Staging::open`] does so
/// as well, but only once all is chosen and judged.
///
/// # Errors
/// [`ExportError::OutputExists`].
pub fn check_output(out: &Path, replaces: bool) -> Result<(), ExportError> {
    let out = resolved(out)?;
    if replaces || is_free(&out) || work_folder(&out).join("whole").exists() {
        return Ok(());
    }
    Err(ExportError::OutputExists { path: out })
}

/// Where a dataset for `out` grows.
pub(crate) fn work_folder(out: &Path) -> PathBuf {
    let mut name: OsString = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

/// Whether an export to `out` that did not come to its end has finished videos, which the next one takes
/// up.
#[must_use]
pub fn has_finished_work(out: &Path) -> bool {
    let Ok(out) = &resolved(out) else {
        return false;
    };
    parts::has_finished(&work_folder(out).join("parts"))
}

fn lock(work: &Path) -> Result<File, ExportError> {
    let path = work.join("lock");
    let file = File::create(&path).map_err(ExportError::io("create a lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExportError::Busy { path: work.into() }),
        Err(TryLockError::Error(error)) => Err(ExportError::io("lock", &path)(error)),
    }
}

/// Removes a file or a folder with all that is in it, if it is there.
fn remove(path: &Path) -> Result<(), ExportError> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ExportError::io(
            "remove what is not needed any more",
            path,
        )(error)),
        _ => Ok(()),
    }
}

/// Puts `new` in the place of `old` and `old` in that of `new`, in one step. Where the file system
/// cannot do that, `old` is put aside first, and for a moment there is neither.
fn exchange(new: &Path, old: &Path) -> Result<(), ExportError> {
    if renameat2(AT_FDCWD, new, AT_FDCWD, old, RenameFlags::RENAME_EXCHANGE).is_ok() {
        return Ok(());
    }
    let aside = new.with_file_name("replaced");
    std::fs::rename(old, &aside)
        .and_then(|()| std::fs::rename(new, old))
        .map_err(ExportError::io("put the dataset in the place of", old))
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

/// Moves what git and the Hub have put into the old dataset to the new one.
fn carry_over(old: &Path, new: &Path) -> Result<(), ExportError> {
    for name in FOREIGN {
        let (from, to) = (old.join(name), new.join(name));
        if from.exists() && !to.exists() {
            std::fs::rename(&from, &to).map_err(ExportError::io("move to the new dataset", &to))?;
        }
    }
    Ok(())
}

/// Brings a file, or the names in a folder, to the disk.
pub(super) fn sync_one(path: &Path) -> Result<(), ExportError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(ExportError::io("bring to the disk", path))
}
