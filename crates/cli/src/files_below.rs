//! The files below a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;

/// Returns the files below a folder whose paths are as wanted, in the order of names. Folders that are hidden or links are left out.
///
/// # Errors
///
/// The folder that cannot be read, and why.
pub(crate) fn files_below(
    folder: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let failed = |error| (folder.clone(), error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !is_hidden && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if !kind.is_dir() && is_wanted(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
