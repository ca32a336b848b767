//! `POST /v1/workflows/validate`

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use orchestr8_schema::Diagnostic;
use serde::{Deserialize, Serialize};

use super::{Service, body::RequestBody, problem::Rejection, query::query, request::Document};

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    strict: bool,
}

/// What is wrong with a workflow, and how large it is.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    valid: bool,
    diagnostics: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    steps: usize,
    max_depth: usize,
}

/// Checks a workflow against the format and the engine's agents. What is wrong with the workflow is no error of the request.
pub(super) async fn validate(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Verdict>, Rejection> {
    let Parameters { strict } = query(&uri)?;
    let body = RequestBody::read(&headers, body).await?;
    let document = Document::of(&service, &body).await?;
    Ok(Json(match document.check(&service, &body, strict) {
        Ok(workflow) => {
            let stats = Stats { steps: workflow.steps().len(), max_depth: workflow.depth() };
            Verdict { valid: true, diagnostics: document.place(workflow.warnings().to_vec()), stats: Some(stats) }
        }
        Err(invalid) => Verdict { valid: false, diagnostics: document.place(invalid.into_diagnostics()), stats: None },
    }))
}
