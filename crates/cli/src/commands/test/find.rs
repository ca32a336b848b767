//! Finding test files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::cargo::is_crate;
use crate::{Error, files_below::files_below};

/// Returns the test files that paths name, in their order and each once; a folder means all below it, in the order of names. The folder of
/// a crate need not have any.
pub(super) fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths {
        let files =
            match path.is_dir() {
                true => files_below(path, |file| is_test_file(file) && !is_built(path, file)).map_err(
                    |(folder, error)| Error::usage(format!("cannot read `{}`", folder.display())).with_source(error),
                )?,
                false => vec![path.clone()],
            };
        found.extend(files.into_iter().filter(|file| known.insert(file.clone())));
    }
    if found.is_empty() && !paths.iter().any(|path| is_crate(path)) {
        let list: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::usage(format!("there is no test file in {}", list.join(", ")))
            .with_hint("the names of test files end in .test.yaml or .test.json"));
    }
    Ok(found)
}

/// Whether a file stands where cargo builds the crate in a folder.
fn is_built(folder: &Path, file: &Path) -> bool {
    is_crate(folder) && file.starts_with(folder.join("target"))
}

/// Whether a file is one by its name.
pub(crate) fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".test.yaml", ".test.yml", ".test.json"].iter().any(|end| name.ends_with(end))
}
