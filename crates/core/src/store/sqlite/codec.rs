//! Events as they stand in the database: MessagePack, behind a byte that names the format.

use std::{borrow::Cow, io, sync::Arc};

use orchestr8_schema::{
    Timestamp, ValidWorkflow,
    event::{Event, EventBody, Queued},
};
use serde::{Serialize, Serializer, de::DeserializeOwned};

use super::pieces::{self, Short};

/// The format that is written. All earlier ones are read.
const FORMAT: u8 = 1;

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// It was written by a later version.
    #[error("its events have format {0}, and this program reads formats up to {FORMAT}: use the version that wrote it")]
    Later(u8),
    /// It is empty.
    #[error("a row of it is empty")]
    Empty,
    /// It is cut off, or was changed by somebody else.
    #[error("a row of it is damaged")]
    Damaged(#[from] io::Error),
    /// It has another form.
    #[error("a row of it is damaged")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A row that it needs is missing.
    #[error("a large value of it is missing")]
    Missing,
    /// The workflow cannot be read.
    #[error("its workflow cannot be read: {0}")]
    Workflow(String),
    /// The database failed.
    #[error("reading the database")]
    Database(#[from] rusqlite::Error),
}

/// Why something cannot be written as a row.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error(transparent)]
    Value(#[from] rmp_serde::encode::Error),
    #[error(transparent)]
    Row(#[from] io::Error),
}

/// Writes a batch.
pub(super) fn encode_batch(events: &[Event]) -> Result<Short, EncodeError> {
    let at = events.first().map_or(0, |event| event.at.as_micros());
    let offsets: Vec<i64> = match events.iter().all(|event| event.at.as_micros() == at) {
        true => Vec::new(),
        false => events.iter().map(|event| event.at.as_micros().wrapping_sub(at)).collect(),
    };
    encode(&(at, Bodies(events), offsets))
}

pub(super) fn decode_batch(row: &[u8]) -> Result<Vec<Event>, RowError> {
    let (at, bodies, offsets): (i64, Vec<EventBody>, Vec<i64>) = decode(row)?;
    let at = |index: usize| Timestamp::from_micros(at.wrapping_add(offsets.get(index).copied().unwrap_or(0)));
    Ok(bodies.into_iter().enumerate().map(|(index, body)| Event { at: at(index), body }).collect())
}

/// Writes the first event but for its workflow.
pub(super) fn encode_queued(queued: &Queued) -> Result<Short, EncodeError> {
    encode(&(queued.clone().with_workflow(()),))
}

pub(super) fn decode_queued(row: &[u8], workflow: ValidWorkflow) -> Result<EventBody, RowError> {
    let (queued,): (Queued<()>,) = decode(row)?;
    Ok(EventBody::ExecutionQueued(Arc::new(queued.with_workflow(workflow))))
}

/// Puts the large values of a row in again.
pub(super) fn put_in<'a>(
    row: &'a [u8],
    find: &mut impl FnMut(i64) -> Result<Vec<u8>, RowError>,
) -> Result<Cow<'a, [u8]>, RowError> {
    split(row)?;
    pieces::put_in(row, 1, find)
}

struct Bodies<'a>(&'a [Event]);

impl Serialize for Bodies<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|event| &event.body))
    }
}

fn encode(value: &impl Serialize) -> Result<Short, EncodeError> {
    let mut row = Vec::with_capacity(256);
    row.push(FORMAT);
    value.serialize(&mut rmp_serde::Serializer::new(&mut row).with_struct_map())?;
    Ok(Short::new(row, 1)?)
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, RowError> {
    let (_, rest) = split(row)?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(rest);
    Ok(T::deserialize(&mut deserializer)?)
}

fn split(row: &[u8]) -> Result<(u8, &[u8]), RowError> {
    match row.split_first() {
        None => Err(RowError::Empty),
        Some((&format, _)) if format > FORMAT => Err(RowError::Later(format)),
        Some((&format, rest)) => Ok((format, rest)),
    }
}
