//! `GET /v1/executions/{id}/workflow`

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::Value;

use super::{Service, problem::Rejection, query::execution_id};

/// Shows the definition as it is executed; a later edit of the file does not touch it. Secrets are hidden.
pub(super) async fn read(State(service): State<Service>, Path(id): Path<String>) -> Result<Json<Value>, Rejection> {
    let reading = service.engine().read(execution_id(&id)?).await?;
    Ok(Json(reading.workflow()))
}
