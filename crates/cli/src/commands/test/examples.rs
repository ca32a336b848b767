//! The examples that come with the program.

use std::{fs, io, path::Path};

use tempfile::TempDir;

use crate::Error;

include!(concat!(env!("OUT_DIR"), "/shipped_examples.rs"));

/// Writes the workflows and their tests into a folder that is gone when what is returned is.
pub(super) fn unpacked() -> Result<TempDir, Error> {
    let unpacked = || -> io::Result<TempDir> {
        let folder = TempDir::with_prefix("orchestr8-examples-")?;
        for (name, text) in SHIPPED {
            fs::write(folder.path().join(name), text)?;
        }
        Ok(folder)
    };
    unpacked().map_err(|error| Error::usage("cannot write the examples into a temporary folder").with_source(error))
}

/// The name that people know a file under: what was unpacked is called `examples/…`.
pub(super) fn shown(file: &Path, unpacked: Option<&TempDir>) -> String {
    let example = unpacked.and_then(|folder| file.strip_prefix(folder.path()).ok());
    example.map_or_else(|| file.display().to_string(), |name| Path::new("examples").join(name).display().to_string())
}
