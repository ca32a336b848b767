//! What the server knows without any execution: `GET /v1/agents`, `/v1/agents/{scope}/{name}` and `/v1/schemas/{name}.json`

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use orchestr8_core::agent_base::AgentManifest;
use orchestr8_schema::{AgentId, json_schema::PublishedSchema, workflow::VersionRange};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Service,
    problem::{ProblemCode, Rejection},
    query::query,
};

#[derive(Deserialize)]
struct Parameters {
    version: Option<String>,
}

/// Lists the agents' manifests, by id, then version.
pub(super) async fn agents(State(service): State<Service>) -> Json<Value> {
    let agents: Vec<_> = service.engine().agents().list().map(|agent| agent.manifest().clone()).collect();
    Json(json!({ "agents": agents }))
}

/// Shows the manifest of one: of the highest version in the range that is asked for.
pub(super) async fn agent(
    State(service): State<Service>,
    Path((scope, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<AgentManifest>, Rejection> {
    let Parameters { version } = query(&uri)?;
    let id: AgentId = format!("@{}/{name}", scope.trim_start_matches('@'))
        .parse()
        .map_err(|error: orchestr8_schema::id::InvalidId| Rejection::bad_request(error.to_string()))?;
    let range = version.as_deref().unwrap_or("latest").parse::<VersionRange>();
    let range = range.map_err(|error| Rejection::bad_request(format!("`version`: {error}")))?;
    let agent = service.engine().agents().get(&id, &range);
    agent
        .map(|agent| Json(agent.manifest().clone()))
        .ok_or_else(|| Rejection::new(ProblemCode::NotFound, format!("there is no agent {id} of version {range}")))
}

/// Shows a published schema.
pub(super) async fn schema(Path(name): Path<String>) -> Result<Json<Value>, Rejection> {
    let wanted = name.strip_suffix(".json").unwrap_or_default();
    PublishedSchema::ALL
        .into_iter()
        .find(|schema| schema.name() == wanted)
        .map(|schema| Json(schema.schema()))
        .ok_or_else(|| Rejection::new(ProblemCode::NotFound, format!("there is no schema `{name}`")))
}
