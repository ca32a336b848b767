//! `POST /v1/executions/{id}/pause`, `…/resume` and `…/signals/{name}`

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::{ExecutionHandle, RequestError, Snapshot};
use orchestr8_schema::{
    ExecutionId,
    api::{PauseAnswer, PauseRequest, ResumeAnswer, ResumeRequest, SignalAnswer, SignalRequest, Warning},
    event::{EventBody, Signal},
    id::SignalName,
};

use super::{
    Service,
    body::RequestBody,
    etag,
    problem::Rejection,
    query::{execution_id, request},
};

/// Has nothing start until the execution is resumed; again while it is paused.
pub(super) async fn pause(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let (id, PauseRequest { reason }, warnings) = asked(&service, &id, &headers, body).await?;
    let handle = driven(&service, id).await?;
    handle.pause(reason.as_deref()).await.map_err(|error| refused(handle.id(), error))?;
    let status = service.engine().read(handle.id()).await?.status();
    let answer = PauseAnswer { execution_id: handle.id(), status, warnings };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Lets an execution go on that is paused, that nobody drives, or that has failed.
pub(super) async fn resume(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let (id, ResumeRequest { reason, budget }, warnings) = asked(&service, &id, &headers, body).await?;
    let resumed = service.engine().resume(id, reason.as_deref(), budget).await;
    let resumed = resumed.map_err(|error| Rejection::from(error).about(id))?;
    let (reused, rerun) = resumed.rerun();
    let status = service.engine().read(id).await?.status();
    let answer = ResumeAnswer { execution_id: id, status, reused, rerun, warnings };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Tells an execution something.
pub(super) async fn signal(
    State(service): State<Service>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let name: SignalName =
        name.parse().map_err(|error| Rejection::bad_request(format!("the name of a signal: {error}")))?;
    let (id, SignalRequest { payload, signal_id, step_path }, warnings) = asked(&service, &id, &headers, body).await?;
    let handle = driven(&service, id).await?;
    let signal = Signal { name: name.as_str().into(), payload, signal_id: signal_id.map(Into::into), step_path };
    handle.signal(signal.clone()).await.map_err(|error| refused(handle.id(), error))?;
    let snapshot = service.engine().snapshot(handle.id()).await?;
    let (sequence, delivered) = received(&snapshot, &signal);
    let answer = SignalAnswer { execution_id: handle.id(), sequence, delivered, warnings };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Where the journal tells of a signal, and whether a step has taken it.
fn received(snapshot: &Snapshot, signal: &Signal) -> (u64, bool) {
    let is_it = |known: &Signal| match (&known.signal_id, &signal.signal_id) {
        (None, None) => known == signal,
        (known_id, id) => known_id == id,
    };
    let mut sequence = 0;
    for (number, event) in (1..).zip(snapshot.events()) {
        if matches!(&event.body, EventBody::SignalReceived(known) if is_it(known)) {
            sequence = number;
        }
    }
    let is_delivery = |body: &EventBody| matches!(body, EventBody::SignalDelivered { signal_sequence, .. } if *signal_sequence == sequence);
    (sequence, snapshot.events().iter().any(|event| is_delivery(&event.body)))
}

/// Reads what every request to an execution has: its id, `If-Match`, and the body, with what of it means nothing.
pub(super) async fn asked<T: serde::de::DeserializeOwned>(
    service: &Service,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(ExecutionId, T, Vec<Warning>), Rejection> {
    let id = execution_id(id)?;
    let (body, warnings) = request(&RequestBody::read(headers, body).await?)?;
    // Whether there is one at all is said first.
    service.engine().execution(id).await?;
    matches(service, id, headers).await?;
    Ok((id, body, warnings))
}

/// Finds the execution for a request that changes it: one that nobody drives goes on here, and one that another process drives is that
/// process's to change.
pub(super) async fn driven(service: &Service, id: ExecutionId) -> Result<ExecutionHandle, Rejection> {
    service.engine().reach(id).await.map_err(|error| Rejection::from(error).about(id))
}

/// Refuses where the client has asked for a state that the execution is no longer in (`If-Match`).
pub(super) async fn matches(service: &Service, id: ExecutionId, headers: &HeaderMap) -> Result<(), Rejection> {
    if !etag::is_conditional(headers) {
        return Ok(());
    }
    let tag = etag::strong(&service.engine().read(id).await?.to_body()).unwrap_or_default();
    if etag::matches(headers, &tag) { Ok(()) } else { Err(Rejection::changed_meanwhile().about(id)) }
}

/// Makes a problem of what an execution refuses.
pub(super) fn refused(id: ExecutionId, error: RequestError) -> Rejection {
    Rejection::from(error).about(id)
}
