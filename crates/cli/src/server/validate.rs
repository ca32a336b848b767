//! `POST /v1/workflows/validate`

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use orchestr8_schema::api::{Validation, WorkflowStats};
use serde::Deserialize;
use serde_json::Value;

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
    let document = match body.json() {
        Ok(Value::Object(_)) => Document::of(&service, &body).await?,
        // Whatever else it is, it is no workflow, and the diagnostics say where and why.
        _ => Document::bare(&service, body.format)?,
    };
    let warnings = document.warnings().to_vec();
    Ok(Json(match document.check(&service, &body, strict) {
        Ok(workflow) => {
            let stats = WorkflowStats { steps: workflow.steps().len(), max_depth: workflow.depth() };
            Validation {
                valid: true,
                diagnostics: document.place(workflow.warnings().to_vec()),
                stats: Some(stats),
                warnings,
            }
        }
        Err(invalid) => {
            Validation { valid: false, diagnostics: document.place(invalid.into_diagnostics()), stats: None, warnings }
        }
    }))
}
