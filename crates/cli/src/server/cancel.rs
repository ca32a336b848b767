//! `POST /v1/executions/{id}/cancel`

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::{Cancellation, execution::CancelError};
use orchestr8_schema::api::{CancelAnswer, CancelRequest, ExecutionStatus};

use super::{
    Service,
    control::{asked, driven},
    problem::Rejection,
};

/// Asks for the end of an execution: 202 while it is ending, 200 if it has ended or is failing.
pub(super) async fn cancel(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let (id, request, warnings): (_, CancelRequest, _) = asked(&service, &id, &headers, body).await?;
    let handle = driven(&service, id).await?;
    let reason = request.reason.unwrap_or_else(|| "User requested cancellation".to_owned());
    let graceful = request.graceful.unwrap_or(true);
    let mut cancellation = Cancellation::new(reason);
    if !graceful {
        cancellation = cancellation.grace_period(Duration::ZERO);
    }
    let (code, status, message) = match handle.cancel(cancellation).await {
        Ok(()) => (StatusCode::ACCEPTED, ExecutionStatus::Cancelling, being_cancelled()),
        Err(CancelError::Ending(_) | CancelError::Ended) => match service.engine().read(id).await?.status() {
            ExecutionStatus::Cancelling => (StatusCode::ACCEPTED, ExecutionStatus::Cancelling, being_cancelled()),
            status if status.is_terminal() => (StatusCode::OK, status, format!("The execution is {status} already")),
            status => (StatusCode::OK, status, "The execution is failing already".to_owned()),
        },
        Err(error) => return Err(error.into()),
    };
    Ok((code, Json(CancelAnswer { execution_id: id, status, message, graceful, warnings })).into_response())
}

fn being_cancelled() -> String {
    "The execution is being cancelled".to_owned()
}
