//! Files that only their owner may read, in folders that only their owner may enter.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Writes a file in the place of the one that was there: to a file beside it, which then takes its name. It is written whole or not
/// at all; the folder is made if it is missing.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    folder(path.parent().unwrap_or(Path::new(".")))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let written = private(options).open(&beside).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.inspect_err(|_| {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&beside);
    })
}

/// Opens a file for writing, emptied if it is there, and made with its folder if it is not.
#[cfg(feature = "server")]
pub(crate) fn create(path: &Path) -> io::Result<File> {
    folder(path.parent().unwrap_or(Path::new(".")))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(options).open(path)
}

/// Opens a file for writing at its end, made if it is not there.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    private(options).open(path)
}

/// Makes a folder, and those that it is in.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private(options: OpenOptions) -> OpenOptions {
    #[cfg(unix)]
    let options = {
        let mut options = options;
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
    };
    options
}
