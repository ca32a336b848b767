//! Small batches that are committed together stand side by side.
//!
//! A batch has its place beside the other batches of its execution, so that a journal is read in one go. Where many executions commit
//! together each has a place of its own, and every one of them costs a page of the log and one of the file. So their batches are written
//! on *sheets*, rows that fill a page each, and in the place of the batch stands a number that says where it is: the sheet, and in
//! the last bits the byte at which it begins there with its length.

use rusqlite::Connection;

use super::codec::RowError;

/// Appends of one transaction from which on sheets are written.
pub(super) const MANY: usize = 8;
/// Batches of so many bytes stand in their own place.
const LONG: usize = SIZE / 4;
/// So that a row of a sheet and nothing else fits a page of 4096 bytes.
const SIZE: usize = 4000;
/// The byte takes the last bits of a place.
const OFFSET_BITS: u32 = 12;

/// The sheet that is being written.
#[derive(Debug)]
pub(super) struct Sheet {
    id: i64,
    batches: i64,
    bytes: Vec<u8>,
}

impl Sheet {
    /// Begins to write sheets, within a transaction.
    pub(super) fn begin(connection: &Connection) -> rusqlite::Result<Self> {
        let next = "SELECT coalesce(max(id), 0) + 1 FROM sheets";
        let id = connection.prepare_cached(next)?.query_row([], |row| row.get(0))?;
        Ok(Self { id, batches: 0, bytes: Vec::with_capacity(SIZE) })
    }

    /// Whether a batch is to be written on a sheet.
    pub(super) fn suits(bytes: usize) -> bool {
        bytes < LONG
    }

    /// Writes a batch, and returns its place.
    pub(super) fn write(&mut self, connection: &Connection, batch: &[u8]) -> rusqlite::Result<i64> {
        if self.bytes.len() + 2 + batch.len() > SIZE {
            self.store(connection)?;
            self.id += 1;
            self.batches = 0;
            self.bytes.clear();
        }
        let place = self.id << OFFSET_BITS | self.bytes.len() as i64;
        self.bytes.extend_from_slice(&(batch.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(batch);
        self.batches += 1;
        Ok(place)
    }

    /// Stores the last sheet.
    pub(super) fn end(self, connection: &Connection) -> rusqlite::Result<()> {
        if self.batches > 0 { self.store(connection) } else { Ok(()) }
    }

    fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let insert = "INSERT INTO sheets (id, batches, bytes) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(insert)?.execute((self.id, self.batches, &self.bytes)).map(drop)
    }
}

/// Reads the batch at a place.
pub(super) fn read<T>(
    reader: &Connection,
    place: i64,
    read: impl FnOnce(&[u8]) -> Result<T, RowError>,
) -> Result<T, RowError> {
    let mut statement = reader.prepare_cached("SELECT bytes FROM sheets WHERE id = ?1")?;
    let mut rows = statement.query([place >> OFFSET_BITS])?;
    let row = rows.next()?.ok_or(RowError::Missing)?;
    let bytes = row.get_ref(0)?.as_blob().map_err(|_| RowError::Missing)?;
    let rest = bytes.get((place & ((1 << OFFSET_BITS) - 1)) as usize..).unwrap_or_default();
    let batch = rest.split_first_chunk().and_then(|(length, rest)| rest.get(..u16::from_be_bytes(*length).into()));
    read(batch.ok_or(RowError::Missing)?)
}

/// Drops the batches between two keys from their sheets, and sheets that have none any more.
pub(super) fn forget(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    let count = "UPDATE sheets SET batches = batches - gone.count
                 FROM (SELECT body >> ?3 AS sheet, count(*) AS count FROM batches
                       WHERE key >= ?1 AND key < ?2 AND typeof(body) = 'integer' GROUP BY sheet) AS gone
                 WHERE id = gone.sheet";
    if connection.prepare_cached(count)?.execute((from, to, OFFSET_BITS))? > 0 {
        connection.prepare_cached("DELETE FROM sheets WHERE batches <= 0")?.execute([])?;
    }
    Ok(())
}
