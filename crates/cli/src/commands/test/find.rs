//! Finding test files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// How deep folders are looked into.
const MAX_DEPTH: usize = 32;

/// Returns the test files that paths name, in their order and each once; a folder means all below it, in the order of names.
pub(super) fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths {
        let files = if path.is_dir() { below(path)? } else { vec![path.clone()] };
        found.extend(files.into_iter().filter(|file| known.insert(file.clone())));
    }
    if found.is_empty() {
        let list: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::usage(format!("there is no test file in {}", list.join(", ")))
            .with_hint("the names of test files end in .test.yaml or .test.json"));
    }
    Ok(found)
}

fn below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let failed = |error| Error::usage(format!("cannot read `{}`", folder.display())).with_source(error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !is_hidden && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if !kind.is_dir() && is_test_file(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".test.yaml", ".test.yml", ".test.json"].iter().any(|end| name.ends_with(end))
}
