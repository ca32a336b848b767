//! `GET /v1/executions/{id}/journal`

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::journal::{EntryFilter, EntryPage, Reading};
use orchestr8_schema::api::{JournalPage, Level, Pagination};
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
    let wanted = wanted(&parameters)?;
    let limit = parameters.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let is_ndjson = is_ndjson(&parameters, &headers)?;
    let mut reading = service.engine().read(id).await?;
    let tag = tag(&reading);
    let mut answer = etag::headers(&tag);
    answer.extend(last_modified(&reading).map(|time| (header::LAST_MODIFIED, time)));
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let EntryPage { entries, next, .. } = reading.entries(&wanted, limit as usize, MAX_REPLY).await?;
    let summary = reading.journal_summary();
    drop(reading);
    if is_ndjson {
        let lines: String =
            entries.iter().filter_map(|entry| serde_json::to_string(entry).ok()).map(|line| line + "\n").collect();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        return Ok((answer, Body::from(lines)).into_response());
    }
    let pagination = Pagination { has_more: next.is_some(), next_cursor: next.map(cursor), limit };
    Ok((answer, Json(JournalPage { execution_id: id, entries, pagination, summary })).into_response())
}

/// Which entries are wanted.
fn wanted(parameters: &Parameters) -> Result<EntryFilter, Rejection> {
    let mut wanted = EntryFilter::default();
    if let Some(cursor) = &parameters.cursor {
        wanted.after = sequence(cursor).ok_or_else(|| Rejection::bad_request("`cursor` is none of this server's"))?;
    }
    match &parameters.since {
        None => {}
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let since: u64 = text.parse().map_err(|_| Rejection::bad_request("`since` is no sequence"))?;
            wanted.after = wanted.after.max(since.saturating_sub(1));
        }
        Some(text) => {
            let since = text.parse().map_err(|error| Rejection::bad_request(format!("`since`: {error}")))?;
            wanted.since = Some(since);
        }
    }
    wanted.level = parameters.level;
    wanted.types = parameters.types.as_ref().map(|types| types.split(',').map(|name| name.trim().to_owned()).collect());
    wanted.step_path.clone_from(&parameters.step_path);
    Ok(wanted)
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
fn tag(reading: &Reading) -> String {
    let last = reading.last_entry().and_then(|entry| serde_json::to_string(entry).ok()).unwrap_or_default();
    etag::weak(&format!("{}\n{last}", reading.sequence()))
}

fn last_modified(reading: &Reading) -> Option<HeaderValue> {
    let millis = reading.last_entry()?.timestamp.as_unix_millis();
    HeaderValue::from_str(&httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis))).ok()
}
