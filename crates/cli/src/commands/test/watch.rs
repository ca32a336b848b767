//! Waiting for a file to change.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::find;
use crate::Error;

/// How often files are looked at. It asks for no service of the system, and works on any file system.
const INTERVAL: Duration = Duration::from_millis(200);

/// What changes when a file does: when it was written, and its length.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// Returns when one of the files is no longer what it was when it was read, or another test file has come.
pub(super) fn until_changed(paths: &[PathBuf], read: &BTreeMap<PathBuf, Stamp>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let is_known = |file: &PathBuf| read.contains_key(file);
    let is_same = || {
        read.iter().all(|(file, known)| stamp(file) == *known)
            && find::test_files(paths).unwrap_or_default().iter().all(is_known)
    };
    while is_same() {
        runtime.block_on(async { tokio::time::sleep(INTERVAL).await });
    }
    Ok(())
}

/// Looks at a file; `None` if it is not there.
pub(super) fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
