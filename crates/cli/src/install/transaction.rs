//! Changes to files, all of them or none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use orchestr8_schema::canonical;

use super::{World, lock::Lock, target::Target};
use crate::Error;

/// Changes files below a target, and can take all of it back.
pub(super) struct Transaction<'t> {
    target: &'t Target,
    world: &'t World<'t>,
    /// How each change is taken back, in the order in which they were made.
    undo: Vec<Undo>,
    created_folders: Vec<String>,
}

/// How a change is taken back.
enum Undo {
    File {
        path: String,
        /// What was there before, with its mode.
        was: Option<(Vec<u8>, Option<fs::Permissions>)>,
        /// The digest of what is there now, unless somebody has changed it since.
        wrote: Option<String>,
    },
    RemoveFolder(String),
}

impl<'t> Transaction<'t> {
    /// How the name of a file ends that is about to be put back.
    pub(super) const ROLLBACK: &'static str = "rollback";

    pub(super) fn new(target: &'t Target, world: &'t World<'t>) -> Self {
        Self { target, world, undo: Vec::new(), created_folders: Vec::new() }
    }

    /// The folders that were made, in that order.
    pub(super) fn created_folders(&self) -> &[String] {
        &self.created_folders
    }

    /// Makes a folder and those that it is in.
    pub(super) fn folder(&mut self, relative: &str) -> Result<(), Error> {
        let mut folder = String::new();
        for part in relative.split('/') {
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(part);
            let place = self.target.at(&folder)?;
            if place.is_dir() {
                continue;
            }
            self.world.check()?;
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&place).map_err(|error| failed("making the folder", &folder, error))?;
            self.undo.push(Undo::RemoveFolder(folder.clone()));
            self.created_folders.push(folder.clone());
        }
        Ok(())
    }

    /// Writes a file whole: beside its place, then into it. What is there must still be what was read.
    pub(super) fn write(&mut self, relative: &str, bytes: &[u8], was: Option<&[u8]>) -> Result<(), Error> {
        if let Some((folder, _)) = relative.rsplit_once('/') {
            self.folder(folder)?;
        }
        self.world.check()?;
        let place = self.target.at(relative)?;
        let beside = self.target.at(&format!("{relative}.tmp.{}", self.world.stamp()))?;
        let mode = fs::metadata(&place).ok().map(|metadata| metadata.permissions());
        let written = write_new(&beside, bytes, mode.clone()).and_then(|()| {
            if self.target.read(relative).ok().flatten().as_deref() != was {
                return Err(io::Error::other("somebody has changed it meanwhile"));
            }
            fs::rename(&beside, &place)?;
            sync_folder(&place)
        });
        if let Err(error) = written {
            // There is nothing in it that somebody needs.
            let _ = fs::remove_file(&beside);
            return Err(failed("writing", relative, error));
        }
        self.undo.push(Undo::File {
            path: relative.to_owned(),
            was: was.map(|bytes| (bytes.to_vec(), mode)),
            wrote: Some(canonical::sha256_hex(bytes)),
        });
        match self.target.read(relative)? {
            Some(there) if there == bytes => Ok(()),
            _ => Err(Error::internal(format!("{relative} is not what was written"))),
        }
    }

    /// Removes a file that is still what was read.
    pub(super) fn remove(&mut self, relative: &str, was: &[u8]) -> Result<(), Error> {
        self.world.check()?;
        let place = self.target.at(relative)?;
        if self.target.read(relative)?.as_deref() != Some(was) {
            return Err(Error::internal(format!("somebody has changed {relative} meanwhile")));
        }
        let mode = fs::metadata(&place).ok().map(|metadata| metadata.permissions());
        let removed = fs::remove_file(&place).and_then(|()| sync_folder(&place));
        removed.map_err(|error| failed("removing", relative, error))?;
        self.undo.push(Undo::File { path: relative.to_owned(), was: Some((was.to_vec(), mode)), wrote: None });
        Ok(())
    }

    /// Ends it: if all went well the changes stay and the lock is given back; otherwise everything is taken back.
    ///
    /// # Errors
    ///
    /// What went wrong; if not everything could be taken back, the files to look at, with that as the source.
    pub(super) fn end<T>(self, done: Result<T, Error>, lock: Option<Lock>) -> Result<T, Error> {
        let error = match done {
            Ok(done) => {
                if let Some(lock) = lock {
                    lock.release();
                }
                return Ok(done);
            }
            Err(error) => error,
        };
        #[cfg(test)]
        if self.world.dies {
            return Err(error);
        }
        match self.roll_back(lock) {
            Ok(()) => Err(error),
            Err(worse) => Err(worse.with_source(error)),
        }
    }

    /// Takes everything back, the latest first, and gives back the lock before the folder that it is in goes.
    ///
    /// # Errors
    ///
    /// Names the files that could not be put back, or that somebody has changed since.
    fn roll_back(self, lock: Option<Lock>) -> Result<(), Error> {
        let (mut left, mut folders) = (Vec::new(), Vec::new());
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::RemoveFolder(path) => folders.push(path),
                Undo::File { path, was, wrote } => {
                    if put_back(self.target, &path, was, wrote.as_deref()).is_err() {
                        left.push(path);
                    }
                }
            }
        }
        if let Some(lock) = lock {
            lock.release();
        }
        for folder in folders {
            // Somebody may have put something in.
            let _ = self.target.at(&folder).map(fs::remove_dir);
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::internal(format!("not everything could be taken back; look at {}", left.join(", "))))
    }
}

/// Puts a file back as it was, if it still is what was written.
fn put_back(
    target: &Target,
    path: &str,
    was: Option<(Vec<u8>, Option<fs::Permissions>)>,
    wrote: Option<&str>,
) -> Result<(), Error> {
    if target.read(path)?.map(canonical::sha256_hex).as_deref() != wrote {
        return Err(Error::internal(format!("somebody has changed {path} meanwhile")));
    }
    let place = target.at(path)?;
    let beside = target.at(&format!("{path}.tmp.{}", Transaction::ROLLBACK))?;
    let put_back = match was {
        None => fs::remove_file(place),
        Some((bytes, mode)) => write_new(&beside, &bytes, mode).and_then(|()| fs::rename(&beside, &place)),
    };
    put_back.map_err(|error| failed("putting back", path, error))
}

/// Writes a file that is not there yet, to the disk.
fn write_new(place: &Path, bytes: &[u8], mode: Option<fs::Permissions>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(place)?;
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    file.sync_all()
}

#[cfg(unix)]
fn sync_folder(place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(what: &str, relative: &str, error: io::Error) -> Error {
    Error::internal(format!("{what} {relative}")).with_source(error)
}
