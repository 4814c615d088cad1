//! Who has a device node open, by /proc: those of one's own user, all for root.

use std::path::Path;

use serde::Serialize;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How often it has it open.
    pub times: usize,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid == std::process::id() {
            return write!(f, "this program itself");
        }
        write!(f, "`{}` (process {})", self.name, self.pid)
    }
}

/// The processes that have `node` open, as far as /proc lets one see.
pub fn holders(node: &Path) -> Vec<Holder> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            let leads_there = |file: &std::io::Result<std::fs::DirEntry>| {
                let target = file
                    .as_ref()
                    .ok()
                    .and_then(|file| file.path().read_link().ok());
                target.is_some_and(|target| target == node)
            };
            let times = std::fs::read_dir(folder.join("fd"))
                .ok()?
                .filter(leads_there)
                .count();
            let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
            (times > 0).then(|| Holder {
                pid,
                name: name.trim().to_owned(),
                times,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_has_its_holder() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = std::fs::canonicalize(file.path()).expect("a path");
        assert!(
            holders(&path)
                .iter()
                .any(|holder| holder.pid == std::process::id())
        );
        drop(file);
        assert_eq!(holders(&path), []);
    }
}
