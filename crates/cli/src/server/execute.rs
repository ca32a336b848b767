//! `POST /v1/workflows/execute`

use std::time::Duration;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::{ExecutionHandle, engine::Submission};
use orchestr8_schema::{
    ExecutionId, IdempotencyKey, ValidWorkflow,
    api::{Accepted, ExecutionStatus, Links, SyncResult, Warning, WorkflowSummary},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Service,
    body::RequestBody,
    exchange::Correlation,
    prefer::Reply,
    problem::{ProblemCode, Rejection},
    request::Execute,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("x-idempotent-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// A synchronous answer of more bytes leaves the outputs out.
const MAX_REPLY: usize = 1_000_000;

/// Starts an execution, or finds the one that the idempotency key stands for.
pub(super) async fn execute(
    State(service): State<Service>,
    Extension(Correlation(correlation_id)): Extension<Correlation>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let reply = Reply::wanted(&uri, &headers)?;
    let key = idempotency_key(&headers)?;
    let body = RequestBody::read(&headers, body).await?;
    if service.is_draining() {
        return Err(Rejection::shutting_down());
    }
    let asked = Execute::parse(&service, &body, correlation_id).await?;
    let digest = key.as_ref().map(|_| asked.digest(&body)).transpose()?;
    let Execute { workflow, mut request, warnings } = asked;
    if let Some((key, digest)) = key.zip(digest) {
        request = request.idempotency(key, digest);
    }
    let started = Instant::now();
    let Submission { handle, replayed, .. } = service.engine().submit(request).await?;
    let mut response = match reply.wait {
        None => {
            let headers =
                [(header::LOCATION, location(handle.id())), (header::RETRY_AFTER, HeaderValue::from_static("5"))];
            (StatusCode::ACCEPTED, headers, axum::Json(accepted(&workflow, &handle, warnings))).into_response()
        }
        Some(limit) => {
            let ended = ended(&service, &handle, limit, started, warnings).await;
            ended.unwrap_or_else(axum::response::IntoResponse::into_response)
        }
    };
    if replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response.headers_mut().extend(reply.applied.map(|applied| (PREFERENCE_APPLIED, applied)));
    Ok(response)
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Rejection> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    // Of two, nobody could say which the request stands under.
    let key = key.to_str().ok().filter(|_| keys.next().is_none()).and_then(|key| key.parse().ok());
    key.map(Some).ok_or_else(|| {
        let detail = "an idempotency key is 1 to 255 letters, digits, `-` and `_`";
        Rejection::new(ProblemCode::InvalidIdempotencyKey, detail)
    })
}

pub(super) fn accepted(workflow: &ValidWorkflow, handle: &ExecutionHandle, warnings: Vec<Warning>) -> Accepted {
    let id = handle.id();
    let metadata = &workflow.workflow().metadata;
    let url = url(id);
    Accepted {
        execution_id: id,
        status: ExecutionStatus::Running,
        message: "Execution started".to_owned(),
        workflow: WorkflowSummary { id: metadata.id.clone(), name: metadata.name.clone(), version: None },
        correlation_id: handle.correlation_id().clone(),
        check_url: url.clone(),
        warnings,
        links: Links {
            itself: url.clone(),
            journal: format!("{url}/journal"),
            events: format!("{url}/events"),
            cancel: format!("{url}/cancel"),
            dashboard: format!("/?execution={id}"),
        },
    }
}

/// Waits for the end. The execution goes on when time is up, and when the client goes away.
async fn ended(
    service: &Service,
    handle: &ExecutionHandle,
    limit: Duration,
    started: Instant,
    warnings: Vec<Warning>,
) -> Result<Response, Rejection> {
    let id = handle.id();
    let Ok(outcome) = tokio::time::timeout(limit, handle.outcome()).await else {
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let detail = format!("the execution has not ended within {} s; it goes on", limit.as_secs());
        return Err(Rejection::new(ProblemCode::WaitTimeout, detail)
            .about(id)
            .header(header::LOCATION, location(id))
            .retry_after(10)
            .member("checkUrl", url(id))
            .member("elapsedTime", elapsed));
    };
    let execution = outcome.map_err(|lost| Rejection::internal(&lost).about(id))?.to_body();
    let mut body = SyncResult {
        execution_id: id,
        status: execution.status,
        truncated: execution.truncated,
        check_url: execution.truncated.then(|| url(id)),
        outputs: execution.outputs,
        errors: execution.errors,
        usage: execution.usage.unwrap_or_default(),
        warnings,
        duration: execution.duration.unwrap_or(0),
        timestamp: service.now(),
    };
    if size(&body) > MAX_REPLY {
        (body.outputs, body.truncated, body.check_url) = (None, true, Some(url(id)));
    }
    Ok(axum::Json(body).into_response())
}

fn size(body: &impl Serialize) -> usize {
    serde_json::to_vec(body).map_or(0, |bytes| bytes.len())
}

fn url(id: ExecutionId) -> String {
    format!("/v1/executions/{id}")
}

pub(super) fn location(id: ExecutionId) -> HeaderValue {
    HeaderValue::from_str(&url(id)).unwrap_or_else(|_| unreachable!("an id consists of digits and hyphens"))
}
