//! `POST /v1/executions/{id}/fork`

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::engine::{Checkpoint, ForkRequest};
use orchestr8_schema::{
    ValidWorkflow,
    api::{ForkAnswer, ForkBody, NotRetained, Warning},
    canonical,
    source::{Format, Options, load},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Service,
    body::RequestBody,
    bundle::Bundle,
    control::matches,
    exchange::Correlation,
    execute::{IDEMPOTENT_REPLAYED, accepted, idempotency_key, location},
    problem::Rejection,
    query::{execution_id, request, unlike},
};

/// The workflow of a request and what it refers to, as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    workflow: Option<Box<RawValue>>,
    bundle: BTreeMap<String, Box<RawValue>>,
}

/// Starts a new execution from a checkpoint of another one.
pub(super) async fn fork(
    State(service): State<Service>,
    Extension(Correlation(correlation_id)): Extension<Correlation>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let id = execution_id(&id)?;
    let key = idempotency_key(&headers)?;
    let body = RequestBody::read(&headers, body).await?;
    let (asked, mut warnings): (ForkBody, Vec<Warning>) = request(&body)?;
    let at = match (asked.from_step, asked.sequence) {
        (Some(path), None) => Checkpoint::Before(path),
        (None, Some(sequence)) => Checkpoint::Sequence(sequence),
        _ => return Err(Rejection::bad_request("give either `fromStep` or `sequence`")),
    };
    if service.is_draining() {
        return Err(Rejection::shutting_down());
    }
    matches(&service, id, &headers).await?;
    let mut fork = ForkRequest::at(at).correlation_id(correlation_id);
    if let Some(input) = asked.input {
        fork = fork.input(input);
    }
    if let Some(workflow) = workflow(&service, &body)? {
        warnings.extend(workflow.warnings().iter().cloned().map(|mut diagnostic| {
            diagnostic.span = None;
            Warning::Workflow(diagnostic)
        }));
        fork = fork.workflow(workflow);
    }
    if let Some(key) = key {
        // The same body asks for another fork of another execution.
        fork = fork.idempotency(key, canonical::digest(&Value::from(vec![Value::from(id.to_string()), body.json()?])));
    }
    let forked = service.engine().fork(id, fork).await.map_err(|error| Rejection::from(error).about(id))?;
    let handle = &forked.submission.handle;
    let answer = ForkAnswer {
        accepted: accepted(handle.plan().workflow(), handle, warnings),
        forked_from: forked.from,
        retained: forked.retained,
        dropped: forked
            .dropped
            .into_iter()
            .map(|dropped| NotRetained { step_path: dropped.step_path, because: dropped.because.to_owned() })
            .collect(),
    };
    let headers = [(header::LOCATION, location(handle.id())), (header::RETRY_AFTER, HeaderValue::from_static("5"))];
    let mut response = (StatusCode::ACCEPTED, headers, Json(answer)).into_response();
    if forked.submission.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Reads the workflow that is to go on, if there is another one.
fn workflow(service: &Service, body: &RequestBody) -> Result<Option<ValidWorkflow>, Rejection> {
    // As text, so that duplicate keys are still there to be found.
    let Written { workflow, bundle } = serde_json::from_slice(&body.bytes).map_err(unlike)?;
    let Some(workflow) = workflow else {
        return if bundle.is_empty() {
            Ok(None)
        } else {
            Err(Rejection::bad_request("`bundle` belongs to a `workflow`"))
        };
    };
    let bundle = Bundle::new(bundle, service.catalogue())?;
    let options = Options::new().agents(service.engine().agents()).format(Format::Json).workflows(&bundle);
    load(workflow.get(), &options).map(Some).map_err(|invalid| {
        let mut issues = invalid.into_diagnostics();
        // Positions within a part of the body would mislead; paths do not.
        issues.iter_mut().for_each(|diagnostic| diagnostic.span = None);
        Rejection::invalid("the workflow is not valid", issues)
    })
}
