//! `POST /v1/workflows/validate`

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use orchestr8_schema::api::{Validation, WorkflowStats};
use serde::Deserialize;

use super::{Service, body::RequestBody, problem::Rejection, query::query, request::Document};

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    strict: bool,
}

/// Checks a workflow against the format and the engine's agents. What is wrong with the workflow is no error of the request.
pub(super) async fn validate(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Validation>, Rejection> {
    let Parameters { strict } = query(&uri)?;
    let body = RequestBody::read(&headers, body).await?;
    let document = Document::of(&service, &body).await?;
    Ok(Json(match document.check(&service, &body, strict) {
        Ok(workflow) => {
            let stats = WorkflowStats { steps: workflow.steps().len(), max_depth: workflow.depth() };
            Validation { valid: true, diagnostics: document.place(workflow.warnings().to_vec()), stats: Some(stats) }
        }
        Err(invalid) => {
            Validation { valid: false, diagnostics: document.place(invalid.into_diagnostics()), stats: None }
        }
    }))
}
