//! `GET /v1/executions/{id}`

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_schema::{ExecutionId, api::Execution};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Service, etag,
    problem::Rejection,
    query::{execution_id, query},
};

/// How long an answer may be held at most.
const MAX_WAIT: u64 = 30;

#[derive(Deserialize)]
struct Parameters {
    wait: Option<u64>,
}

/// Shows an execution; with `wait` and `If-None-Match` as soon as it has changed.
pub(super) async fn read(
    State(service): State<Service>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Parameters { wait } = query(&uri)?;
    let id = execution_id(&id)?;
    let (body, tag) = match wait {
        Some(seconds) => changed(&service, id, &headers, Duration::from_secs(seconds.min(MAX_WAIT))).await?,
        None => current(&service, id).await?,
    };
    let mut answer = etag::headers(&tag);
    if !body.status.is_terminal() {
        answer.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    Ok((answer, Json(body)).into_response())
}

async fn current(service: &Service, id: ExecutionId) -> Result<(Execution, String), Rejection> {
    let body = service.engine().read(id).await?.to_body();
    let tag = etag::strong(&body).unwrap_or_default();
    Ok((body, tag))
}

/// Waits until the client's tag is not that of the execution any more, or time is up.
async fn changed(
    service: &Service,
    id: ExecutionId,
    headers: &HeaderMap,
    limit: Duration,
) -> Result<(Execution, String), Rejection> {
    let deadline = Instant::now() + limit;
    // Before the first look, so that no change falls between. With too many listeners the answer is the present one.
    let subscription = service.engine().bus().subscribe(Some(id));
    let mut latest = current(service, id).await?;
    let Ok(mut subscription) = subscription else { return Ok(latest) };
    while etag::is_known(headers, &latest.1) && !latest.0.status.is_terminal() {
        if timeout_at(deadline, subscription.next()).await.is_err() {
            break;
        }
        latest = current(service, id).await?;
    }
    Ok(latest)
}
