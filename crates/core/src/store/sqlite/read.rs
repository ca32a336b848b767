//! What is read from the database, as statements.

use std::collections::HashMap;

use orchestr8_schema::{ExecutionId, Timestamp, api::ExecutionStatus, event::Event};
use rusqlite::{
    Connection, OptionalExtension, Row, params, params_from_iter,
    types::{Value as Cell, ValueRef},
};

use super::{
    ReadError,
    codec::{self, RowError},
    pieces::Hash,
    sheets,
    workflows::Workflows,
    write::{key, sequence},
};
use crate::store::{Holder, HolderId, Page, Query, StoreError, Summary, Tenancy};

/// Every status, by the number that it has in the database.
const STATUSES: [ExecutionStatus; 7] = [
    ExecutionStatus::Queued,
    ExecutionStatus::Running,
    ExecutionStatus::Paused,
    ExecutionStatus::Cancelling,
    ExecutionStatus::Completed,
    ExecutionStatus::Failed,
    ExecutionStatus::Cancelled,
];

pub(super) fn status_number(status: ExecutionStatus) -> i64 {
    STATUSES.iter().position(|known| *known == status).unwrap_or(0) as i64
}

pub(super) fn execution_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ExecutionId> {
    row.get(column).map(ExecutionId::from_bytes)
}

/// Reads the events of an execution behind a sequence, at most so many.
pub(super) fn journal(
    reader: &Connection,
    workflows: &Workflows,
    execution: ExecutionId,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, ReadError> {
    // What is read belongs to one moment.
    let reader = &reader.unchecked_transaction()?;
    let select = "SELECT number, created_at, queued, workflow FROM executions WHERE id = ?1";
    let found = reader
        .prepare_cached(select)?
        .query_row([execution.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let Some((number, created_at, queued, workflow)) = found.optional()? else {
        return Err(StoreError::NotFound(execution).into());
    };
    let mut journal = Journal { reader, pieces: HashMap::new(), events: Vec::new() };
    let mut read = 0;
    let corrupt = |after: u64, error: RowError| match error {
        RowError::Database(error) => ReadError::Database(error),
        error => StoreError::Corrupt { execution_id: execution, after, source: error.into() }.into(),
    };
    if after == 0 {
        let queued: Vec<u8> = queued;
        journal.first(workflows, created_at, &queued, workflow).map_err(|error| corrupt(0, error))?;
        read = 1;
    }
    let select = "SELECT key, count, body FROM batches
                  WHERE key < ?2 AND key >= coalesce((SELECT max(key) FROM batches WHERE key <= ?1 AND key >= ?3), ?3)
                  ORDER BY key";
    let mut statement = reader.prepare_cached(select)?;
    let (from, to) = (key(number, after.saturating_add(1)), key(number + 1, 0));
    let mut rows = statement.query([from, to, key(number, 0)])?;
    while journal.events.len() < limit
        && let Some(row) = rows.next()?
    {
        let first = sequence(row.get(0)?);
        let count: i64 = row.get(1)?;
        let known = journal.events.len();
        let batch = match row.get_ref(2)? {
            ValueRef::Blob(body) => journal.batch(body),
            ValueRef::Integer(place) => sheets::read(reader, place, |body| journal.batch(body)),
            _ => Err(RowError::Empty),
        };
        batch.map_err(|error| corrupt(first - 1, error))?;
        let fresh = journal.events.len() - known;
        if fresh as i64 != count || (read > 0 && first != read + 1) {
            let torn = std::io::Error::new(std::io::ErrorKind::InvalidData, "events are missing");
            return Err(corrupt(read, RowError::Damaged(torn)));
        }
        if first <= after {
            let spare = usize::try_from(after - first + 1).unwrap_or(usize::MAX).min(fresh);
            journal.events.drain(known..known + spare);
        }
        read = first - 1 + fresh as u64;
    }
    journal.events.truncate(limit);
    Ok(journal.events)
}

/// A journal that is being read.
struct Journal<'a> {
    reader: &'a Connection,
    pieces: HashMap<i64, Vec<u8>>,
    events: Vec<Event>,
}

impl Journal<'_> {
    fn first(&mut self, workflows: &Workflows, at: i64, queued: &[u8], workflow: i64) -> Result<(), RowError> {
        let select = "SELECT hash FROM pieces WHERE id = ?1";
        let hash: Hash = self
            .reader
            .prepare_cached(select)?
            .query_row([workflow], |row| row.get(0))
            .optional()?
            .ok_or(RowError::Missing)?;
        let workflow = workflows.read(hash, || piece(self.reader, workflow))?;
        let whole = codec::put_in(queued, &mut |id| self.piece(id))?;
        let body = codec::decode_queued(&whole, workflow)?;
        self.events.push(Event { at: Timestamp::from_micros(at), body });
        Ok(())
    }

    fn batch(&mut self, body: &[u8]) -> Result<(), RowError> {
        let whole = codec::put_in(body, &mut |id| self.piece(id))?;
        self.events.append(&mut codec::decode_batch(&whole)?);
        Ok(())
    }

    fn piece(&mut self, id: i64) -> Result<Vec<u8>, RowError> {
        if let Some(known) = self.pieces.get(&id) {
            return Ok(known.clone());
        }
        let bytes = piece(self.reader, id)?;
        self.pieces.insert(id, bytes.clone());
        Ok(bytes)
    }
}

fn piece(reader: &Connection, id: i64) -> Result<Vec<u8>, RowError> {
    let select = "SELECT bytes FROM pieces WHERE id = ?1";
    reader.prepare_cached(select)?.query_row([id], |row| row.get(0)).optional()?.ok_or(RowError::Missing)
}

pub(super) fn list(reader: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<Cell> = Vec::new();
    if let Some(before) = query.before {
        conditions.push("id < ?".to_owned());
        values.push(Cell::Blob(before.as_bytes().to_vec()));
    }
    if let Some(workflow) = &query.workflow_id {
        conditions.push("workflow_id = ?".to_owned());
        values.push(Cell::Text(workflow.clone()));
    }
    if !query.statuses.is_empty() {
        let places = vec!["?"; query.statuses.len()].join(", ");
        conditions.push(format!("status IN ({places})"));
        values.extend(query.statuses.iter().map(|status| Cell::Integer(status_number(*status))));
    }
    values.push(Cell::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1)));
    let select = format!(
        "SELECT id, workflow_id, status, created_at, ended_at FROM executions WHERE {} ORDER BY id DESC LIMIT ?",
        conditions.join(" AND ")
    );
    let mut statement = reader.prepare_cached(&select)?;
    let found = statement.query_map(params_from_iter(values), |row| {
        let status: u32 = row.get(2)?;
        Ok(Summary {
            execution_id: execution_id(row, 0)?,
            workflow_id: row.get(1)?,
            status: STATUSES.get(status as usize).copied().unwrap_or(ExecutionStatus::Queued),
            created_at: Timestamp::from_micros(row.get(3)?),
            ended_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros),
        })
    })?;
    let mut executions = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let has_more = executions.len() > query.limit;
    executions.truncate(query.limit);
    Ok(Page { executions, has_more })
}

const TENANCIES: &str = "SELECT e.id, e.epoch, h.id, h.host, h.process, h.process_began, h.until
                         FROM executions e LEFT JOIN holders h ON h.id = e.holder WHERE e.ended_at IS NULL";

pub(super) fn unfinished(
    reader: &Connection,
    after: Option<ExecutionId>,
    limit: usize,
) -> rusqlite::Result<Vec<Tenancy>> {
    let select = format!("{TENANCIES} AND e.id > ?1 ORDER BY e.id LIMIT ?2");
    let after = after.map_or(Vec::new(), |after| after.as_bytes().to_vec());
    let mut statement = reader.prepare_cached(&select)?;
    statement.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], to_tenancy)?.collect()
}

pub(super) fn tenancy(connection: &Connection, execution: ExecutionId) -> rusqlite::Result<Option<Tenancy>> {
    let select = format!("{TENANCIES} AND e.id = ?1");
    connection.prepare_cached(&select)?.query_row([execution.as_bytes()], to_tenancy).optional()
}

fn to_tenancy(row: &Row<'_>) -> rusqlite::Result<Tenancy> {
    let holder: Option<i64> = row.get(2)?;
    let holder = match holder {
        None => None,
        Some(id) => Some(Holder {
            id: HolderId(id.cast_unsigned()),
            host: row.get::<_, String>(3)?.into(),
            process: row.get(4)?,
            process_began: row.get::<_, String>(5)?.into(),
        }),
    };
    Ok(Tenancy {
        execution_id: execution_id(row, 0)?,
        epoch: row.get::<_, i64>(1)?.cast_unsigned(),
        holder,
        until: Timestamp::from_micros(row.get::<_, Option<i64>>(6)?.unwrap_or(0)),
    })
}

pub(super) fn kept(reader: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    reader.prepare_cached("SELECT text FROM texts WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}
