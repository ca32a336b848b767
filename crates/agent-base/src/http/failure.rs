//! What a failure of HTTP is to an agent.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use orchestr8_resilience::retry_after;
use orchestr8_schema::ErrorKind;
use reqwest::{StatusCode, header};
use serde_json::json;

use super::policy::Denied;
use crate::{AgentContext, AgentError};

/// How much of an answer goes into a failure, in bytes.
const TOLD: usize = 2048;

/// Makes a failure of a request that got no answer, or of an answer that broke off. The URL is left out: it may hold a secret.
pub(super) fn of_error(error: reqwest::Error) -> AgentError {
    if let Some(denied) = denied(&error) {
        return denied.into_error();
    }
    let error = error.without_url();
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "the server did not answer in time")
    } else if error.is_builder() {
        (ErrorKind::Validation, "the request cannot be made")
    } else if error.is_connect() {
        (ErrorKind::Network, "connecting to the server")
    } else {
        (ErrorKind::Network, "the connection broke off")
    };
    AgentError::new(kind, message).with_source(error)
}

/// Makes a failure of an answer by its status; `None` below 400.
pub(super) fn of_status(
    cx: &AgentContext,
    status: StatusCode,
    headers: &header::HeaderMap,
    body: &str,
) -> Option<AgentError> {
    if status.as_u16() < 400 {
        return None;
    }
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        500.. => ErrorKind::Retryable,
        _ => ErrorKind::Validation,
    };
    let told = &body[..body.floor_char_boundary(TOLD)];
    let error = AgentError::new(kind, format!("the server answered {status}"))
        .with_context(json!({ "status": status.as_u16(), "body": told }));
    let delay = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(cx.now().as_unix_millis());
    let delay = delay
        .filter(|_| matches!(kind, ErrorKind::RateLimited | ErrorKind::Retryable))
        .and_then(|delay| retry_after::parse(delay, now));
    Some(match delay {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    })
}

/// Finds the policy's word in the reasons of a failure.
fn denied(error: &reqwest::Error) -> Option<Denied> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Some(denied.clone());
        }
        source = error.source();
    }
    None
}
