//! Workflows and executions as resources: `workflow://<id>` and `execution://<id>`.

use orchestr8_core::store::{Query, StoreError};
use orchestr8_schema::{ExecutionId, api};
use rmcp::{
    ErrorData,
    model::{
        ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource, ResourceContents,
        ResourceTemplate,
    },
};
use serde_json::Value;

use super::{Offer, defect, tools::unknown_cursor};

const WORKFLOW: &str = "workflow://";
const EXECUTION: &str = "execution://";
const JSON: &str = "application/json";
/// Executions that are listed at a time.
const PAGE: usize = 100;
/// The most bytes of a resource; of an execution that has more, the parts that may be long are left out.
const MAX_SIZE: usize = 1_000_000;

/// What a URI of ours names.
pub(super) enum Named<'a> {
    Workflow(&'a str),
    Execution(ExecutionId),
}

impl<'a> Named<'a> {
    pub(super) fn parse(uri: &'a str) -> Option<Self> {
        match uri.strip_prefix(EXECUTION) {
            Some(id) => id.parse().ok().map(Self::Execution),
            None => uri.strip_prefix(WORKFLOW).map(Self::Workflow),
        }
    }
}

/// Says what resources there may be.
pub(super) fn templates() -> ListResourceTemplatesResult {
    ListResourceTemplatesResult::with_all_items(vec![
        ResourceTemplate::new("workflow://{id}", "workflow")
            .with_description("The definition of a workflow of the catalogue")
            .with_mime_type(JSON),
        ResourceTemplate::new("execution://{id}", "execution")
            .with_description("An execution: its status, its steps, what it gave")
            .with_mime_type(JSON),
    ])
}

impl Offer {
    /// Lists workflows, then executions, newest first; the cursor is the last execution seen.
    pub(super) async fn list_resources(&self, cursor: Option<&str>) -> Result<ListResourcesResult, ErrorData> {
        let (mut resources, query) = match cursor {
            None => {
                let listing = self.look().await?;
                let workflows = listing.list().map(|found| workflow(found.workflow.workflow()));
                (workflows.collect(), Query::newest(PAGE))
            }
            Some(cursor) => {
                let last = cursor.parse().map_err(|_| unknown_cursor())?;
                (Vec::new(), Query::newest(PAGE).before(last))
            }
        };
        let page = self.engine().executions(&query).await.map_err(|error| defect("listing executions", &error))?;
        let last = page.executions.last().filter(|_| page.has_more).map(|last| last.execution_id.to_string());
        resources.extend(page.executions.iter().map(|listed| {
            Resource::new(format!("{EXECUTION}{}", listed.execution_id), listed.execution_id.to_string())
                .with_title(format!("{}, {} since {}", listed.workflow_id, listed.status, listed.created_at))
                .with_mime_type(JSON)
        }));
        Ok(ListResourcesResult { next_cursor: last, ..ListResourcesResult::with_all_items(resources) })
    }

    /// Reads a resource.
    pub(super) async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, ErrorData> {
        let text = match Named::parse(uri).ok_or_else(|| unknown(uri))? {
            Named::Workflow(id) => {
                let listing = self.look().await?;
                let found = listing.get(id).ok_or_else(|| unknown(uri))?;
                text(found.workflow.workflow())?
            }
            Named::Execution(id) => match self.engine().read(id).await {
                Ok(reading) => shortened(reading.to_body())?,
                Err(StoreError::NotFound(_)) => return Err(unknown(uri)),
                Err(error) => return Err(defect("reading an execution", &error)),
            },
        };
        if text.len() > MAX_SIZE {
            return Err(ErrorData::invalid_params("the resource has more than 1 MB", None));
        }
        let contents = ResourceContents::TextResourceContents {
            uri: uri.to_owned(),
            mime_type: Some(JSON.to_owned()),
            text,
            meta: None,
        };
        Ok(ReadResourceResult::new(vec![contents]))
    }
}

fn workflow(workflow: &orchestr8_schema::Workflow) -> Resource {
    let metadata = &workflow.metadata;
    let resource = Resource::new(format!("{WORKFLOW}{}", metadata.id), metadata.id.clone())
        .with_title(metadata.name.clone())
        .with_mime_type(JSON);
    match &metadata.description {
        Some(description) => resource.with_description(description.clone()),
        None => resource,
    }
}

fn text(value: &impl serde::Serialize) -> Result<String, ErrorData> {
    serde_json::to_string(value).map_err(|error| defect("writing a resource", &error))
}

/// Writes an execution down, without what may be long if it is too long.
fn shortened(mut execution: api::Execution) -> Result<String, ErrorData> {
    let whole = text(&execution)?;
    if whole.len() <= MAX_SIZE {
        return Ok(whole);
    }
    execution.truncated = true;
    execution.outputs = None;
    execution.variables = None;
    for step in &mut execution.steps {
        (step.output, step.error) = (None, None);
    }
    let shorter = text(&execution)?;
    if shorter.len() <= MAX_SIZE {
        return Ok(shorter);
    }
    execution.steps_truncated = true;
    execution.steps.clear();
    execution.errors.iter_mut().for_each(|failure| failure.context = None::<Value>);
    text(&execution)
}

fn unknown(uri: &str) -> ErrorData {
    let uri: String = uri.chars().take(200).collect();
    ErrorData::resource_not_found(format!("there is no resource `{}`", uri.escape_debug()), None)
}
