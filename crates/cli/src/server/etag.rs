//! Answers that a client may have already.

use axum::http::{HeaderMap, HeaderValue, header};
use orchestr8_schema::canonical;
use serde::Serialize;

/// Makes the strong tag of a body: the first 16 digits of SHA-256 over its key-sorted JSON.
pub(super) fn strong(body: &impl Serialize) -> Option<String> {
    let value = serde_json::to_value(body).ok()?;
    Some(format!("\"{}\"", &canonical::digest(&value)[..16]))
}

/// Makes a weak tag of what determines an answer.
pub(super) fn weak(parts: &str) -> String {
    format!("W/\"{}\"", &canonical::sha256_hex(parts)[..16])
}

/// Whether the client has what a tag stands for (`If-None-Match`).
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

/// Whether the client speaks of one state only (`If-Match`).
pub(super) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH)
}

/// Whether a strong tag is one of those that the client speaks of (`If-Match`).
pub(super) fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || known.trim() == tag)
}

/// Makes the headers of an answer that may be kept but must be asked for again.
pub(super) fn headers(tag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, must-revalidate"));
    headers
}
