//! The tools: three for all workflows, and one for each.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use orchestr8_schema::api::Envelope;
use rmcp::{
    ErrorData,
    model::{JsonObject, ListToolsResult, Tool, ToolAnnotations},
};
use serde_json::{Map, Value, json};

use super::{
    Offer,
    arguments::{CANCEL_WORKFLOW, Form, GET_STATUS, RUN_WORKFLOW, wait},
};
use crate::catalogue::{CataloguedWorkflow, Listing};

/// Tools that are listed at a time.
const PAGE: usize = 200;
/// The longest name of a tool that clients take.
const MAX_NAME: usize = 128;
/// What the names of the tools of single workflows begin with.
pub(super) const PREFIX: &str = "workflow_";

/// What the name of a workflow's tool stands for.
pub(super) struct WorkflowTool<'a> {
    pub(super) workflow: &'a CataloguedWorkflow,
    /// Whether `waitForMs` is ours, and not the workflow's own.
    pub(super) waits: bool,
}

impl Offer {
    /// Lists the tools, page by page; the cursor is the name of the last one seen.
    pub(super) async fn list_tools(&self, cursor: Option<&str>) -> Result<ListToolsResult, ErrorData> {
        let listing = self.look().await?;
        let mut tools = vec![
            of(&RUN_WORKFLOW, ToolAnnotations::new().read_only(false).destructive(true).idempotent(false)),
            of(&GET_STATUS, ToolAnnotations::new().read_only(true)),
            of(&CANCEL_WORKFLOW, ToolAnnotations::new().read_only(false).destructive(true).idempotent(true)),
        ];
        tools.extend(self.workflow_tools(&listing).into_iter().map(|(name, tool)| of_workflow(name, &tool)));
        let first = match cursor {
            None => 0,
            Some(cursor) => 1 + tools.iter().position(|tool| tool.name == cursor).ok_or_else(unknown_cursor)?,
        };
        let mut page = tools.split_off(first);
        let is_last = page.len() <= PAGE;
        page.truncate(PAGE);
        let next = page.last().filter(|_| !is_last).map(|tool| tool.name.to_string());
        Ok(ListToolsResult { next_cursor: next, ..ListToolsResult::with_all_items(page) })
    }

    /// Finds the workflows that are tools of their own, by the names of the tools. Where two would have one name, both are left to
    /// `run_workflow`.
    pub(super) fn workflow_tools<'a>(&self, listing: &'a Listing) -> BTreeMap<String, WorkflowTool<'a>> {
        if !self.0.exposes_workflows {
            return BTreeMap::new();
        }
        let mut named = BTreeMap::<String, Vec<&CataloguedWorkflow>>::new();
        for workflow in listing.list() {
            let name = tool_name(workflow.workflow.id());
            named.entry(name).or_default().push(workflow);
        }
        let single = |(name, workflows): (String, Vec<&'a CataloguedWorkflow>)| match workflows[..] {
            [workflow] if name.len() <= MAX_NAME => {
                Some((name, WorkflowTool { workflow, waits: !takes_wait(workflow) }))
            }
            _ => None,
        };
        named.into_iter().filter_map(single).collect()
    }
}

pub(super) fn unknown_cursor() -> ErrorData {
    ErrorData::invalid_params("the cursor is none of this list", None)
}

/// Makes a name that every client takes of an id.
fn tool_name(id: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    let plain = id.chars().map(|character| if is_plain(character) { character } else { '_' });
    PREFIX.chars().chain(plain).collect()
}

fn takes_wait(workflow: &CataloguedWorkflow) -> bool {
    let inputs = workflow.workflow.workflow().inputs.as_ref();
    inputs.and_then(|inputs| inputs.pointer("/properties/waitForMs")).is_some()
}

fn of(form: &Form, hints: ToolAnnotations) -> Tool {
    tool(form.name.into(), form.description.to_owned(), form.schema.clone()).with_annotations(hints)
}

fn of_workflow(name: String, tool_of: &WorkflowTool<'_>) -> Tool {
    let workflow = tool_of.workflow.workflow.workflow();
    let metadata = &workflow.metadata;
    let mut schema = workflow.inputs.clone().unwrap_or_else(|| json!({}));
    if let Value::Object(schema) = &mut schema {
        // The protocol knows no other arguments.
        schema.insert("type".to_owned(), "object".into());
        let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let (Value::Object(properties), true) = (properties, tool_of.waits) {
            properties.insert("waitForMs".to_owned(), wait());
        }
    } else {
        schema = json!({ "type": "object", "properties": { "waitForMs": wait() } });
    }
    let description = match &metadata.description {
        Some(description) => format!("{}: {description}", metadata.name),
        None => metadata.name.clone(),
    };
    let hints = ToolAnnotations::new().read_only(false).destructive(true).idempotent(false);
    tool(name.into(), description, schema).with_annotations(hints)
}

fn tool(name: Cow<'static, str>, description: String, schema: Value) -> Tool {
    Tool::new(name, description, Arc::new(object(schema))).with_raw_output_schema(Arc::new(object(Envelope::schema())))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
