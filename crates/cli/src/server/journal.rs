//! `GET /v1/executions/{id}/journal`

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::Journal;
use orchestr8_schema::{
    Timestamp,
    api::{Entry, JournalPage, Level, Pagination},
};
use serde::Deserialize;

use super::{
    Service, etag,
    problem::Rejection,
    query::{execution_id, query},
};

const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// A page ends before it has more bytes.
const MAX_REPLY: usize = 10_000_000;
const NDJSON: &str = "application/x-ndjson";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    cursor: Option<String>,
    since: Option<String>,
    limit: Option<u32>,
    level: Option<Level>,
    types: Option<String>,
    step_path: Option<String>,
    format: Option<String>,
}

/// Shows a page of a journal, or with `format=ndjson` one entry per line.
pub(super) async fn read(
    State(service): State<Service>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let parameters: Parameters = query(&uri)?;
    let id = execution_id(&id)?;
    let wanted = Wanted::parse(&parameters)?;
    let journal = service.engine().snapshot(id).await?.journal();

    let tag = tag(&journal);
    let mut answer = etag::headers(&tag);
    answer.extend(last_modified(&journal).map(|time| (header::LAST_MODIFIED, time)));
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let Journal { entries, summary, .. } = journal;
    let (entries, has_more) = wanted.page(entries);
    if is_ndjson(&parameters, &headers)? {
        let lines: String =
            entries.iter().filter_map(|entry| serde_json::to_string(entry).ok()).map(|line| line + "\n").collect();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        return Ok((answer, Body::from(lines)).into_response());
    }
    let next_cursor = entries.last().filter(|_| has_more).map(|entry| cursor(entry.sequence));
    let pagination = Pagination { next_cursor, has_more, limit: wanted.limit };
    Ok((answer, Json(JournalPage { execution_id: id, entries, pagination, summary })).into_response())
}

/// Which entries are wanted.
struct Wanted {
    after: u64,
    since: Option<Since>,
    limit: u32,
    level: Level,
    types: Option<Vec<String>>,
    step_path: Option<String>,
}

enum Since {
    Sequence(u64),
    Time(Timestamp),
}

impl Wanted {
    fn parse(parameters: &Parameters) -> Result<Self, Rejection> {
        let after = match &parameters.cursor {
            None => 0,
            Some(cursor) => {
                sequence(cursor).ok_or_else(|| Rejection::bad_request("`cursor` is none of this server's"))?
            }
        };
        let since = match &parameters.since {
            None => None,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let sequence = text.parse().map_err(|_| Rejection::bad_request("`since` is no sequence"))?;
                Some(Since::Sequence(sequence))
            }
            Some(text) => {
                let time = text.parse().map_err(|error| Rejection::bad_request(format!("`since`: {error}")))?;
                Some(Since::Time(time))
            }
        };
        let types =
            parameters.types.as_ref().map(|types| types.split(',').map(|name| name.trim().to_owned()).collect());
        Ok(Self {
            after,
            since,
            limit: parameters.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT),
            level: parameters.level.unwrap_or(Level::Debug),
            types,
            step_path: parameters.step_path.clone(),
        })
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let recent = match self.since {
            None => true,
            Some(Since::Sequence(sequence)) => entry.sequence >= sequence,
            Some(Since::Time(time)) => entry.timestamp >= time,
        };
        recent
            && entry.sequence > self.after
            && entry.level >= self.level
            && self.types.as_ref().is_none_or(|types| types.contains(&entry.kind))
            && self.step_path.as_ref().is_none_or(|path| entry.step_path.as_ref() == Some(path))
    }

    /// Cuts a page: as many entries as asked for, and as fit; but one at least, lest nobody get behind a large one.
    fn page(&self, entries: Vec<Entry>) -> (Vec<Entry>, bool) {
        let mut page = Vec::new();
        let mut size = 0;
        for entry in entries.into_iter().filter(|entry| self.is_wanted(entry)) {
            size += serde_json::to_vec(&entry).map_or(0, |bytes| bytes.len());
            let is_full = page.len() >= self.limit as usize || (size > MAX_REPLY && !page.is_empty());
            if is_full {
                return (page, true);
            }
            page.push(entry);
        }
        (page, false)
    }
}

fn is_ndjson(parameters: &Parameters, headers: &HeaderMap) -> Result<bool, Rejection> {
    match parameters.format.as_deref() {
        Some("ndjson") => Ok(true),
        Some("json") => Ok(false),
        Some(format) => Err(Rejection::bad_request(format!("`{format}` is no format; there are `json` and `ndjson`"))),
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            Ok(accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == NDJSON))
        }
    }
}

fn cursor(sequence: u64) -> String {
    format!("j{sequence:x}")
}

fn sequence(cursor: &str) -> Option<u64> {
    let digits = cursor.strip_prefix('j').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// A journal only grows, so its length and last entry say all.
fn tag(journal: &Journal) -> String {
    let last = journal.entries.last().and_then(|entry| serde_json::to_string(entry).ok()).unwrap_or_default();
    etag::weak(&format!("{}\n{last}", journal.entries.len()))
}

fn last_modified(journal: &Journal) -> Option<HeaderValue> {
    let millis = journal.entries.last()?.timestamp.as_unix_millis();
    HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis))).ok()
}
