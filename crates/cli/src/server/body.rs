//! Reading the body of a request: how much, how long, which type, how deep.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::StreamExt as _;
use orchestr8_schema::source::Format;
use serde_json::Value;

use super::problem::{ProblemCode, Rejection};

/// The most bytes of a body.
const MAX_SIZE: usize = 10_000_000;
/// How much more is read and thrown away, so that a client that still sends gets to read the answer.
const MAX_WASTE: usize = 20_000_000;
/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 64;

/// A body, as it came.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) format: Format,
    pub(super) bytes: Bytes,
}

impl RequestBody {
    /// Reads a body of JSON or YAML.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Rejection> {
        let format = format(headers);
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let bytes = tokio::time::timeout(TIMEOUT, collect(body, length))
            .await
            .map_err(|_| Rejection::new(ProblemCode::BodyTimeout, "the body did not arrive within 30 s"))??;
        match format {
            Some(format) => Ok(Self { format, bytes }),
            None if bytes.is_empty() => Ok(Self { format: Format::Json, bytes }),
            None => {
                let detail = "send the body as application/json or application/yaml";
                Err(Rejection::new(ProblemCode::UnsupportedMediaType, detail))
            }
        }
    }

    /// Parses the body as JSON; an empty one is `{}`.
    pub(super) fn json(&self) -> Result<Value, Rejection> {
        if self.format == Format::Yaml {
            return Err(Rejection::new(ProblemCode::UnsupportedMediaType, "send the body as application/json"));
        }
        if self.bytes.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let value = serde_json::from_slice(&self.bytes)
            .map_err(|error| Rejection::bad_request(format!("the body is no JSON: {error}")))?;
        if depth(&value) > MAX_DEPTH {
            return Err(Rejection::bad_request(format!("the body is nested more than {MAX_DEPTH} deep")));
        }
        Ok(value)
    }
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else if kind.eq_ignore_ascii_case("application/yaml") {
        Some(Format::Yaml)
    } else {
        None
    }
}

async fn collect(body: Body, length: Option<u64>) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::new(ProblemCode::PayloadTooLarge, "the body has more than 10 MB");
    if length.is_some_and(|length| length > (MAX_SIZE + MAX_WASTE) as u64) {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Rejection::bad_request(format!("the body broke off: {error}")))?;
        size += chunk.len();
        if size > MAX_SIZE + MAX_WASTE {
            break;
        }
        if size <= MAX_SIZE {
            bytes.extend_from_slice(&chunk);
        }
    }
    if size > MAX_SIZE { Err(too_large()) } else { Ok(bytes.into()) }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
