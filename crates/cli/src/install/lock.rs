//! Two installs keep out of each other's way.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::{manifest::Manifest, target::Target};
use crate::Error;

/// Where it is.
const PATH: &str = ".claude/configs/.research-agents.lock";
/// How much of it is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The right to change what is installed. The operating system takes it back from a process that is gone.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// What a process that is gone had begun.
    pub(super) stale: Option<Manifest>,
}

impl Lock {
    /// Reads what a process that is gone had begun, without taking anything.
    pub(super) fn peek(target: &Target) -> Result<Option<Manifest>, Error> {
        Ok(target.read(PATH)?.and_then(|bytes| Manifest::parse(&bytes).ok()))
    }

    /// Takes it; the folder is there.
    ///
    /// # Errors
    ///
    /// When somebody else has it.
    pub(super) fn take(target: &Target) -> Result<Self, Error> {
        let path = target.at(PATH)?;
        let failed = |error: io::Error| Error::internal(format!("taking {PATH}")).with_source(error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        let busy = || {
            Error::internal("another install into this folder is under way").with_hint("try again when it has ended")
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever had it may have taken the file away in between.
        if !is_same(&file, &path) {
            return Err(busy());
        }
        let mut text = Vec::new();
        (&mut file).take(LONGEST).read_to_end(&mut text).map_err(failed)?;
        Ok(Self { file, path, stale: Manifest::parse(&text).ok() })
    }

    /// Notes what is under way.
    pub(super) fn note(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let noted = self.file.set_len(0).and_then(|()| self.file.rewind());
        let noted = noted.and_then(|()| self.file.write_all(&manifest.to_bytes())).and_then(|()| self.file.sync_all());
        noted.map_err(|error| Error::internal(format!("writing {PATH}")).with_source(error))
    }

    /// Gives it back, and leaves nothing of it.
    pub(super) fn release(self) {
        // What is left is taken over by the next install.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    matches!((file.metadata(), fs::metadata(path)), (Ok(one), Ok(other)) if one.ino() == other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}
