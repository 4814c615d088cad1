//! Links that udev makes to device nodes.

use std::path::{Path, PathBuf};

/// Links in `folders` that lead to `node`, in the order of the folders.
pub(super) fn links_to(node: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        let mut links: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|link| std::fs::canonicalize(link).is_ok_and(|path| path == node))
            .collect();
        links.sort();
        found.extend(links);
    }
    found
}
