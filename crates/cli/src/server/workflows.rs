//! `GET /v1/workflows` and `GET /v1/workflows/{id}`: the catalogue

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use orchestr8_core::redact::Redactor;
use orchestr8_schema::api::{UnusableFile, WorkflowDetail, WorkflowEntry, WorkflowList};
use serde::Deserialize;

use super::{
    Service,
    cursor::Cursor,
    problem::{ProblemCode, Rejection},
    query::query,
};
use crate::catalogue::{self, CataloguedWorkflow, Listing};

const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Deserialize)]
struct Parameters {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists the workflows in the order of their ids.
pub(super) async fn list(State(service): State<Service>, uri: Uri) -> Result<Json<WorkflowList>, Rejection> {
    let Parameters { limit, cursor } = query(&uri)?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let behind = cursor.map(|cursor| Cursor::<String>::parse(&cursor)).transpose()?;
    let listing = look(&service).await?;
    let is_behind = |id: &str| behind.as_ref().is_none_or(|Cursor(place)| id > place.as_str());
    let mut wanted = listing.list().filter(|catalogued| is_behind(catalogued.workflow.id()));
    let workflows: Vec<_> = wanted.by_ref().take(limit).map(entry).collect();
    let has_more = wanted.next().is_some();
    let next_cursor = workflows.last().filter(|_| has_more).map(|last| Cursor(last.id.clone()).to_string());
    let unusable = listing.unusable().iter().map(unusable).collect();
    Ok(Json(WorkflowList { workflows, unusable, next_cursor, has_more }))
}

/// Shows one in full.
pub(super) async fn read(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Json<WorkflowDetail>, Rejection> {
    let catalogued = find(&service, &id).await?;
    let mut workflow = catalogued.workflow.to_bundle();
    Redactor::default().redact(&mut workflow);
    Ok(Json(WorkflowDetail { entry: entry(&catalogued), workflow }))
}

/// Finds a workflow by its id. One whose file cannot be used is not there, and the problem says why.
pub(super) async fn find(service: &Service, id: &str) -> Result<CataloguedWorkflow, Rejection> {
    let listing = look(service).await?;
    if let Some(catalogued) = listing.get(id) {
        return Ok(catalogued.clone());
    }
    let absent = format!("there is no workflow `{id}` in the catalogue");
    Err(match listing.unusable().iter().find(|file| file.id.as_deref() == Some(id)) {
        None => Rejection::new(ProblemCode::NotFound, absent),
        Some(file) => {
            let detail = format!("{absent}: {}: {}", file.file.display(), file.reason);
            Rejection::new(ProblemCode::NotFound, detail).issues(file.diagnostics.clone())
        }
    })
}

/// Looks at what there is, on a thread that may wait for the disk.
pub(super) async fn look(service: &Service) -> Result<Arc<Listing>, Rejection> {
    let catalogue = service.catalogue().clone();
    let looked = tokio::task::spawn_blocking(move || catalogue.look()).await;
    looked.map_err(|error| Rejection::internal(&error))
}

fn entry(catalogued: &CataloguedWorkflow) -> WorkflowEntry {
    let CataloguedWorkflow { workflow, file, .. } = catalogued;
    let metadata = &workflow.workflow().metadata;
    WorkflowEntry {
        id: metadata.id.clone(),
        name: metadata.name.clone(),
        description: metadata.description.clone(),
        tags: metadata.tags.clone(),
        file: file.display().to_string(),
        steps: workflow.steps().len(),
        max_depth: workflow.depth(),
        inputs: workflow.inputs().map(|schema| schema.schema().clone()),
        warnings: workflow.warnings().to_vec(),
    }
}

fn unusable(file: &catalogue::UnusableFile) -> UnusableFile {
    UnusableFile {
        file: file.file.display().to_string(),
        id: file.id.clone(),
        reason: file.reason.clone(),
        diagnostics: file.diagnostics.clone(),
    }
}
