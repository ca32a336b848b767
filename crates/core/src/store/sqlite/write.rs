//! What changes the database, as statements. Each runs within a transaction that others may share: it looks first and writes
//! then, so that a refusal has changed nothing.

use std::borrow::Cow;

use orchestr8_schema::{ExecutionId, Timestamp, api::ExecutionStatus};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    commits::{self, Log},
    pieces::{Hash, Short},
    read,
    sheets::{self, Sheet},
    workflows::Written,
};
use crate::store::{Created, Holder, HolderId, IdempotencyRecord, Lease, Retention, StoreError, Tenancy};

/// The sequence of an event takes the last bits of a key.
const SEQUENCE_BITS: u32 = 24;
/// Executions that are dropped in one transaction.
const PRUNED_AT_ONCE: usize = 50;

/// What somebody wants done.
#[derive(Debug)]
pub(super) enum Operation {
    Create(Box<Create>),
    Append(Box<Append>),
    Claim(Box<Claim>),
    Reclaim(Reclaim),
    Release(Lease),
    Renew(Box<Holder>, Timestamp),
    Keep(String, String),
    Prune(Retention, Timestamp),
}

#[derive(Debug)]
pub(super) struct Create {
    pub(super) id: ExecutionId,
    pub(super) workflow_id: String,
    pub(super) workflow: Written,
    pub(super) at: Timestamp,
    pub(super) row: Short,
    pub(super) request: Option<IdempotencyRecord>,
    pub(super) holder: HolderId,
}

#[derive(Debug)]
pub(super) struct Append {
    pub(super) lease: Lease,
    pub(super) expected: u64,
    pub(super) count: u64,
    pub(super) status: Option<ExecutionStatus>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) row: Short,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) seen: Tenancy,
    pub(super) holder: HolderId,
}

#[derive(Debug)]
pub(super) struct Reclaim {
    pub(super) execution: ExecutionId,
    pub(super) stored: u64,
    pub(super) holder: HolderId,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Created(Created),
    Claimed(Lease),
    Pruned(usize),
    Nothing,
}

/// The key of the batch that begins with an event.
pub(super) fn key(number: i64, sequence: u64) -> i64 {
    let most = (1 << SEQUENCE_BITS) - 1;
    number << SEQUENCE_BITS | i64::try_from(sequence).unwrap_or(most).min(most)
}

pub(super) fn sequence(key: i64) -> u64 {
    (key & ((1 << SEQUENCE_BITS) - 1)).unsigned_abs()
}

impl Operation {
    /// Does it. The inner error refuses and has changed nothing; the outer one is the database's.
    ///
    /// With a sheet, small batches are written on it. The log notes what is stored.
    pub(super) fn run(
        &self,
        connection: &Connection,
        sheet: &mut Option<Sheet>,
        log: &mut Log,
    ) -> rusqlite::Result<Result<Done, StoreError>> {
        match self {
            Self::Create(create) => create.run(connection, log),
            Self::Append(append) => append.run(connection, sheet, log),
            Self::Claim(claim) => claim.run(connection),
            Self::Reclaim(reclaim) => reclaim.run(connection),
            Self::Release(lease) => {
                let release = "UPDATE executions SET holder = NULL WHERE id = ?1 AND epoch = ?2";
                connection
                    .prepare_cached(release)?
                    .execute(params![lease.execution_id.as_bytes(), lease.epoch.cast_signed()])?;
                Ok(Ok(Done::Nothing))
            }
            Self::Renew(holder, until) => {
                let renew = "INSERT INTO holders (id, host, process, process_began, until) VALUES (?1, ?2, ?3, ?4, ?5)
                             ON CONFLICT DO UPDATE SET until = excluded.until";
                let values = params![
                    holder.id.0.cast_signed(),
                    holder.host,
                    holder.process,
                    holder.process_began,
                    until.as_micros()
                ];
                connection.prepare_cached(renew)?.execute(values)?;
                Ok(Ok(Done::Nothing))
            }
            Self::Keep(name, text) => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO texts (name, text) VALUES (?1, ?2)")?
                    .execute([name, text])?;
                Ok(Ok(Done::Nothing))
            }
            Self::Prune(retention, now) => prune(connection, retention, *now).map(|count| Ok(Done::Pruned(count))),
        }
    }
}

impl Create {
    fn run(&self, connection: &Connection, log: &mut Log) -> rusqlite::Result<Result<Done, StoreError>> {
        if let Some(request) = &self.request
            && let Some(taken) = request_of(connection, request)?
            && self.at.since(taken.created_at) < IdempotencyRecord::LIFE
        {
            return Ok(Ok(Done::Created(Created::Taken(taken))));
        }
        let known = "SELECT 1 FROM executions WHERE id = ?1";
        if connection.prepare_cached(known)?.exists([self.id.as_bytes()])? {
            return Ok(Err(StoreError::Conflict(self.id)));
        }
        let workflow = keep_piece(connection, &self.workflow.hash, &self.workflow.bytes)?;
        // The number is needed before the row can be written, and the row's own place is taken by then.
        let next = "SELECT coalesce(max(number), 0) + 1 FROM executions";
        let number: i64 = connection.prepare_cached(next)?.query_row([], |row| row.get(0))?;
        use_piece(connection, number, workflow)?;
        let queued = keep_pieces(connection, number, &self.row)?;
        let insert =
            "INSERT INTO executions (number, id, workflow_id, status, created_at, epoch, holder, queued, workflow, position)
                      VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9)";
        connection.prepare_cached(insert)?.execute(params![
            number,
            self.id.as_bytes(),
            self.workflow_id,
            read::status_number(ExecutionStatus::Queued),
            self.at.as_micros(),
            self.holder.0.cast_signed(),
            queued,
            workflow,
            log.add(connection, number, 1, 1)?
        ])?;
        if let Some(request) = &self.request {
            let insert = "INSERT OR REPLACE INTO requests (key, digest, execution, created_at) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(insert)?.execute(params![
                request.key.as_str(),
                request.digest,
                request.execution_id.as_bytes(),
                request.created_at.as_micros()
            ])?;
        }
        Ok(Ok(Done::Created(Created::New(Lease { execution_id: self.id, epoch: 1 }))))
    }
}

fn request_of(connection: &Connection, asked: &IdempotencyRecord) -> rusqlite::Result<Option<IdempotencyRecord>> {
    let select = "SELECT digest, execution, created_at FROM requests WHERE key = ?1";
    let found = connection.prepare_cached(select)?.query_row([asked.key.as_str()], |row| {
        Ok(IdempotencyRecord {
            key: asked.key.clone(),
            digest: row.get(0)?,
            execution_id: read::execution_id(row, 1)?,
            created_at: Timestamp::from_micros(row.get(2)?),
        })
    });
    found.optional()
}

impl Append {
    fn run(
        &self,
        connection: &Connection,
        sheet: &mut Option<Sheet>,
        log: &mut Log,
    ) -> rusqlite::Result<Result<Done, StoreError>> {
        let Lease { execution_id, epoch } = self.lease;
        let select = "SELECT number, epoch FROM executions WHERE id = ?1";
        let found = connection
            .prepare_cached(select)?
            .query_row([execution_id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((number, current)) = found.optional()?.map(|found: (i64, i64)| found) else {
            return Ok(Err(StoreError::NotFound(execution_id)));
        };
        if current != epoch.cast_signed() || stored(connection, number)? != self.expected {
            return Ok(Err(StoreError::Conflict(execution_id)));
        }
        if self.count == 0 {
            return Ok(Ok(Done::Nothing));
        }
        let body = keep_pieces(connection, number, &self.row)?;
        let insert = "INSERT INTO batches (key, count, body) VALUES (?1, ?2, ?3)";
        let (key, count) = (key(number, self.expected + 1), self.count.cast_signed());
        match sheet.as_mut().filter(|_| Sheet::suits(body.len())) {
            None => connection.prepare_cached(insert)?.execute(params![key, count, body])?,
            Some(sheet) => {
                let place = sheet.write(connection, &body)?;
                connection.prepare_cached(insert)?.execute([key, count, place])?
            }
        };
        log.add(connection, number, self.expected + 1, self.count)?;
        if let Some(status) = self.status {
            let update = "UPDATE executions SET status = ?2, ended_at = ?3 WHERE number = ?1";
            let ended_at = self.ended_at.map(Timestamp::as_micros);
            connection.prepare_cached(update)?.execute(params![number, read::status_number(status), ended_at])?;
            if self.ended_at.is_some() && status != ExecutionStatus::Completed {
                // A repeat after a failure should start anew.
                let free = "DELETE FROM requests WHERE execution = ?1";
                connection.prepare_cached(free)?.execute([execution_id.as_bytes()])?;
            }
        }
        Ok(Ok(Done::Nothing))
    }
}

/// How many events of an execution are stored.
fn stored(connection: &Connection, number: i64) -> rusqlite::Result<u64> {
    let select = "SELECT key, count FROM batches WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT 1";
    let last = connection
        .prepare_cached(select)?
        .query_row([key(number, 0), key(number + 1, 0)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(last.map_or(1, |(key, count): (i64, i64)| sequence(key) + count.unsigned_abs() - 1))
}

impl Claim {
    fn run(&self, connection: &Connection) -> rusqlite::Result<Result<Done, StoreError>> {
        let id = self.seen.execution_id;
        if read::tenancy(connection, id)?.as_ref() != Some(&self.seen) {
            return Ok(Err(StoreError::Conflict(id)));
        }
        let epoch = self.seen.epoch + 1;
        let claim = "UPDATE executions SET epoch = ?2, holder = ?3 WHERE id = ?1";
        let values = params![id.as_bytes(), epoch.cast_signed(), self.holder.0.cast_signed()];
        connection.prepare_cached(claim)?.execute(values)?;
        Ok(Ok(Done::Claimed(Lease { execution_id: id, epoch })))
    }
}

impl Reclaim {
    fn run(&self, connection: &Connection) -> rusqlite::Result<Result<Done, StoreError>> {
        let select = "SELECT number, epoch, ended_at IS NOT NULL FROM executions WHERE id = ?1";
        let found = connection
            .prepare_cached(select)?
            .query_row([self.execution.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let Some((number, epoch, ended)) = found.optional()?.map(|found: (i64, i64, bool)| found) else {
            return Ok(Err(StoreError::NotFound(self.execution)));
        };
        if !ended || stored(connection, number)? != self.stored {
            return Ok(Err(StoreError::Conflict(self.execution)));
        }
        let claim = "UPDATE executions SET epoch = ?2, holder = ?3 WHERE number = ?1";
        connection.prepare_cached(claim)?.execute(params![number, epoch + 1, self.holder.0.cast_signed()])?;
        Ok(Ok(Done::Claimed(Lease { execution_id: self.execution, epoch: (epoch + 1).cast_unsigned() })))
    }
}

/// Writes the large values of a row by themselves, and returns what is left of it.
fn keep_pieces<'a>(connection: &Connection, number: i64, row: &'a Short) -> rusqlite::Result<Cow<'a, [u8]>> {
    row.keep(|hash, bytes| {
        let piece = keep_piece(connection, hash, bytes)?;
        use_piece(connection, number, piece)?;
        Ok(piece)
    })
}

fn keep_piece(connection: &Connection, hash: &Hash, bytes: &[u8]) -> rusqlite::Result<i64> {
    let known = connection.prepare_cached("SELECT id FROM pieces WHERE hash = ?1")?.query_row([hash], |row| row.get(0));
    if let Some(id) = known.optional()? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO pieces (hash, bytes) VALUES (?1, ?2)")?.insert(params![hash, bytes])
}

fn use_piece(connection: &Connection, number: i64, piece: i64) -> rusqlite::Result<()> {
    let note = "INSERT OR IGNORE INTO uses (execution, piece) VALUES (?1, ?2)";
    connection.prepare_cached(note)?.execute([number, piece]).map(drop)
}

/// Drops a few of the executions that are not to be kept, the oldest first.
fn prune(connection: &Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<usize> {
    let kept = i64::try_from(retention.max_finished.max(1)).unwrap_or(i64::MAX);
    let age = retention.age.map_or(i64::MAX, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let select = "SELECT number, id FROM executions WHERE ended_at IS NOT NULL
                  AND (ended_at < ?1 OR number NOT IN
                       (SELECT number FROM executions WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?2))
                  ORDER BY ended_at LIMIT ?3";
    let oldest: Vec<(i64, ExecutionId)> = connection
        .prepare_cached(select)?
        .query_map(params![now.as_micros().saturating_sub(age), kept, PRUNED_AT_ONCE as i64], |row| {
            Ok((row.get(0)?, read::execution_id(row, 1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (number, id) in &oldest {
        sheets::forget(connection, key(*number, 0), key(number + 1, 0))?;
        let of_batches = "DELETE FROM batches WHERE key >= ?1 AND key < ?2";
        connection.prepare_cached(of_batches)?.execute([key(*number, 0), key(number + 1, 0)])?;
        let of_pieces = "DELETE FROM pieces WHERE id IN (SELECT piece FROM uses WHERE execution = ?1)
                         AND NOT EXISTS (SELECT 1 FROM uses WHERE piece = pieces.id AND execution <> ?1)";
        connection.prepare_cached(of_pieces)?.execute([number])?;
        connection.prepare_cached("DELETE FROM uses WHERE execution = ?1")?.execute([number])?;
        connection.prepare_cached("DELETE FROM requests WHERE execution = ?1")?.execute([id.as_bytes()])?;
        connection.prepare_cached("DELETE FROM executions WHERE number = ?1")?.execute([number])?;
    }
    if oldest.is_empty() {
        // Holders that nobody can ask for any more.
        let of_holders = "DELETE FROM holders WHERE until < ?1
                          AND id NOT IN (SELECT holder FROM executions WHERE ended_at IS NULL AND holder IS NOT NULL)";
        let yesterday = now.as_micros().saturating_sub(86_400_000_000);
        connection.prepare_cached(of_holders)?.execute([yesterday])?;
        commits::forget(connection)?;
    }
    Ok(oldest.len())
}
