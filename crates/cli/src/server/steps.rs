//! `GET /v1/executions/{id}/steps`, `…/steps/{stepPath}` and `…/steps/{stepPath}/why`

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use orchestr8_schema::{
    ExecutionId,
    api::{StepDetail, StepList, StepStatus, Why},
};
use serde::Deserialize;

use super::{
    Service,
    cursor::Cursor,
    problem::{ProblemCode, Rejection},
    query::{execution_id, query},
};

const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Deserialize)]
struct Parameters {
    /// Only steps of these statuses, separated by commas.
    status: Option<String>,
    /// Only steps that stand in this composite; of a map or a loop, in all of its items or iterations.
    parent: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists steps in step-path order.
pub(super) async fn list(
    State(service): State<Service>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<StepList>, Rejection> {
    let Parameters { status, parent, limit, cursor } = query(&uri)?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let behind = cursor.map(|cursor| Cursor::<String>::parse(&cursor)).transpose()?;
    let reading = service.engine().read(execution_id(&id)?).await?;
    let is_behind = |path: &str| behind.as_ref().is_none_or(|Cursor(place)| path > place.as_str());
    let wanted: Option<Vec<_>> = status.as_ref().map(|wanted| wanted.split(',').map(str::trim).collect());
    let known = StepStatus::ALL.map(StepStatus::as_str);
    if let Some(unknown) = wanted.iter().flatten().find(|name| !known.contains(name)) {
        let known = known.map(|status| format!("`{status}`")).join(", ");
        return Err(Rejection::bad_request(format!("`status`: no step is `{unknown}`; there are {known}")));
    }
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name));
    let mut wanted = reading.steps().filter(|(step, stands_in)| {
        (parent.is_none() || parent == *stands_in) && is_wanted(&step.status) && is_behind(&step.step_path)
    });
    let steps: Vec<_> = wanted.by_ref().take(limit).map(|(step, _)| step).collect();
    let has_more = wanted.next().is_some();
    let next_cursor = steps.last().filter(|_| has_more).map(|last| Cursor(last.step_path.clone()).to_string());
    Ok(Json(StepList { steps, next_cursor, has_more }))
}

/// Shows one step in full.
pub(super) async fn read(
    State(service): State<Service>,
    Path((id, step_path)): Path<(String, String)>,
) -> Result<Json<StepDetail>, Rejection> {
    let id = execution_id(&id)?;
    let step = service.engine().snapshot(id).await?.step(&step_path);
    step.map(Json).ok_or_else(|| absent(id, &step_path))
}

/// Explains why a step is as it is.
pub(super) async fn why(
    State(service): State<Service>,
    Path((id, step_path)): Path<(String, String)>,
) -> Result<Json<Why>, Rejection> {
    let id = execution_id(&id)?;
    let why = service.engine().snapshot(id).await?.why(&step_path);
    why.map(Json).ok_or_else(|| absent(id, &step_path))
}

fn absent(id: ExecutionId, step_path: &str) -> Rejection {
    Rejection::new(ProblemCode::NotFound, format!("there is no step `{step_path}`")).about(id)
}
