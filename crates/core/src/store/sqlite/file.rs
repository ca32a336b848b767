//! Opening a database file: whose it is, which version wrote it, and who may read it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Durability;

/// How long a write waits for another process that writes.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Stands in the file's header and says that it is ours: `orc8`.
const APPLICATION: i64 = 0x6f72_6338;
/// The version of the tables, and how each comes from the one before.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is no database, or another program's.
    #[error("{} is no database of orchestr8", .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error("{} was written by a newer version of orchestr8 (its tables have version {found}, this one knows {known})", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The version that this program writes.
        known: i64,
    },
    /// The end of the file is missing.
    #[error("{} is cut off: {found} of {expected} bytes are there", .path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size that it should have.
        expected: u64,
    },
    /// The operating system does not let this process write there.
    #[error("{} cannot be written", .path.display())]
    Denied {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process keeps it locked.
    #[error("{} is locked by another process", .path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// The database cannot be read.
    #[error("opening {}", .path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Denied { path, source: error.into() }
            }
            _ => Self::Database { path, source: error.into() },
        }
    }
}

/// Opens a database for writing, and makes it if there is none: folders with mode 0700, files with mode 0600.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let denied = |source: io::Error| OpenError::Denied { path: path.to_owned(), source: source.into() };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        make_folder(folder).map_err(denied)?;
    }
    let mut file = make_file(path).map_err(denied)?;
    check_header(path, &mut file)?;
    drop(file);
    let failed = |error| OpenError::of(path, error);
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION && (tables > 0 || version > 0 || application != 0) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known });
    }
    configure(&connection, durability).map_err(failed)?;
    migrate(&mut connection).map_err(failed)?;
    Ok(connection)
}

/// Opens one more connection, for reading.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn configure(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    // Only an empty file takes it up.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let synchronous = match durability {
        Durability::Power => "full",
        Durability::Process => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Where a plain sync leaves data in the drive's own memory.
    connection.pragma_update(None, "fullfsync", durability == Durability::Power)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)
}

/// Brings the tables to the present version, all of it or nothing.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been first.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for migration in &MIGRATIONS[usize::try_from(version).unwrap_or(0).min(MIGRATIONS.len())..] {
        transaction.execute_batch(migration)?;
    }
    if version < MIGRATIONS.len() as i64 {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    }
    transaction.commit()
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// SQLite gives the files beside it the same mode.
fn make_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Notices files that are not ours, or not whole, before SQLite reads them.
fn check_header(path: &Path, file: &mut File) -> Result<(), OpenError> {
    let unreadable = |source: io::Error| OpenError::Database { path: path.to_owned(), source: source.into() };
    let found = file.metadata().map_err(unreadable)?.len();
    if found == 0 {
        return Ok(());
    }
    let mut header = Vec::new();
    file.by_ref().take(100).read_to_end(&mut header).map_err(unreadable)?;
    if !header.starts_with(&MAGIC[..header.len().min(MAGIC.len())]) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if header.len() < 100 {
        return Err(OpenError::Truncated { path: path.to_owned(), found, expected: 100 });
    }
    // What has not been moved from the journal into the file may be missing there.
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) {
        return Ok(());
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let page = match u64::from(header[16]) << 8 | u64::from(header[17]) {
        1 => 65_536,
        size => size,
    };
    let expected = number(28) * page;
    // The number of pages counts only if the same program has written it that changed the file last.
    if number(24) == number(92) && found < expected {
        return Err(OpenError::Truncated { path: path.to_owned(), found, expected });
    }
    Ok(())
}
