//! The order in which events of all executions were stored.
//!
//! A transaction adds one row at the end of the table `commits`, however many executions it is about, so that the order costs a
//! transaction one page and an event nothing. Transactions of a file follow one another, whichever process they are of: whoever sees a
//! position sees all before it.

use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::read;
use crate::store::Commit;

/// Events that are at least so many positions back are no longer told in order.
pub(super) const MAX_POSITIONS: i64 = 1_000_000;

/// What one transaction stores.
#[derive(Debug)]
pub(super) struct Log {
    /// The position of the last event; absent until somebody asks.
    position: Option<i64>,
    batches: Vec<u8>,
}

impl Log {
    /// Begins with nothing.
    pub(super) fn new() -> Self {
        Self { position: None, batches: Vec::new() }
    }

    /// Notes a batch, and returns the position of its first event.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        number: i64,
        sequence: u64,
        count: u64,
    ) -> rusqlite::Result<i64> {
        let last = match self.position {
            Some(position) => position,
            None => position(connection)?,
        };
        for part in [number.unsigned_abs(), sequence, count] {
            write(&mut self.batches, part);
        }
        self.position = Some(last + count.cast_signed());
        Ok(last + 1)
    }

    /// Stores what was noted.
    pub(super) fn end(self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(position) = self.position else { return Ok(()) };
        let insert = "INSERT INTO commits (position, batches) VALUES (?1, ?2)";
        connection.prepare_cached(insert)?.execute(params![position, self.batches]).map(drop)
    }
}

/// The position of the last event; 0 if there is none.
pub(super) fn position(reader: &Connection) -> rusqlite::Result<i64> {
    reader.prepare_cached("SELECT coalesce(max(position), 0) FROM commits")?.query_row([], |row| row.get(0))
}

/// Reads what was stored behind a position, but for what was dropped since.
pub(super) fn behind(reader: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<Commit>> {
    // What is read belongs to one moment.
    let reader = &reader.unchecked_transaction()?;
    let after = i64::try_from(after).unwrap_or(i64::MAX).min(i64::MAX - 1);
    let mut rows =
        reader.prepare_cached("SELECT position, batches FROM commits WHERE position > ?1 ORDER BY position")?;
    let mut rows = rows.query([after])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let last: i64 = row.get(0)?;
        let parts = numbers(row.get_ref(1)?.as_blob()?);
        let batches = || parts.chunks_exact(3);
        let mut position = batches().fold(last.saturating_add(1), |at, batch| at.saturating_sub_unsigned(batch[2]));
        for batch in batches() {
            let commit = (position, batch[0].cast_signed(), batch[1], batch[2]);
            position = position.saturating_add_unsigned(batch[2]);
            if position > after + 1
                && let ControlFlow::Break(()) = take(reader, commit, after, limit, &mut found)?
            {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Takes a batch, or what of it is behind a position. The execution may be gone, and its number another's by now.
fn take(
    reader: &Connection,
    (position, number, sequence, count): (i64, i64, u64, u64),
    after: i64,
    limit: usize,
    found: &mut Vec<Commit>,
) -> rusqlite::Result<ControlFlow<()>> {
    let select = "SELECT id FROM executions WHERE number = ?1 AND position <= ?2";
    let mut executions = reader.prepare_cached(select)?;
    let mut executions = executions.query(params![number, position])?;
    let Some(execution) = executions.next()? else { return Ok(ControlFlow::Continue(())) };
    let commit =
        Commit { position: position.unsigned_abs(), execution_id: read::execution_id(execution, 0)?, sequence, count };
    found.push(commit.behind(after.unsigned_abs()));
    Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
}

/// Forgets the order of what is gone, and of what is too far back. The last row stays: the next position follows it.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    let delete = "DELETE FROM commits WHERE position < (SELECT min(last, max(last - ?1, first)) FROM (SELECT
                      (SELECT max(position) FROM commits) AS last,
                      coalesce((SELECT position FROM executions ORDER BY number LIMIT 1), ?2) AS first))";
    connection.prepare_cached(delete)?.execute([MAX_POSITIONS, i64::MAX]).map(drop)
}

/// Writes a number in as few bytes as it needs: seven bits in each, the lowest first.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let (mut numbers, mut number, mut shift) = (Vec::new(), 0_u64, 0_u32);
    for byte in bytes {
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
            shift = 0;
        } else {
            shift += 7;
        }
    }
    numbers
}
