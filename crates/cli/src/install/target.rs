//! The folder that is installed into.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::Error;

/// A folder outside of which nothing is ever written.
#[derive(Clone, Debug)]
pub(crate) struct Target(PathBuf);

impl Target {
    /// Takes a folder that exists.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let unusable = |why: &str| Error::usage(format!("the target {} {why}", folder.display()));
        let place = folder.canonicalize().map_err(|error| unusable("cannot be opened").with_source(error))?;
        if !place.is_dir() {
            return Err(unusable("is no folder"));
        }
        Ok(Self(place))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Makes the error of a target that cannot be used.
    pub(super) fn unusable(&self, why: &str) -> Error {
        Error::usage(format!("the target {} {why}", self.0.display()))
    }

    /// Checks that there can be written where something is written, as far as folders are there.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        #[cfg(unix)]
        for folder in ["", ".claude", ".claude/agents", ".claude/prompts", ".claude/configs"] {
            match rustix::fs::access(self.at(folder)?, rustix::fs::Access::WRITE_OK) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) if folder.is_empty() => {
                    return Err(self.unusable("cannot be written").with_source(error));
                }
                Err(error) => {
                    return Err(self
                        .unusable(&format!("has a folder `{folder}` that cannot be written"))
                        .with_source(error));
                }
            }
        }
        Ok(())
    }

    /// Finds a place below the target. No part of the way may be a symbolic link, whether it leads out or not.
    pub(super) fn at(&self, relative: &str) -> Result<PathBuf, Error> {
        let refused = |why: &str| Error::usage(format!("`{relative}` below {} {why}", self.0.display()));
        let mut place = self.0.clone();
        for part in Path::new(relative).components() {
            let Component::Normal(name) = part else { return Err(refused("is no place below it")) };
            place.push(name);
            match fs::symlink_metadata(&place) {
                Ok(metadata) if metadata.is_symlink() => return Err(refused("leads over a symbolic link")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(refused("cannot be looked at").with_source(error)),
            }
        }
        Ok(place)
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn read(&self, relative: &str) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(self.at(relative)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::internal(format!("reading {relative}")).with_source(error)),
        }
    }
}
