//! What a server offers.

use std::{borrow::Cow, collections::BTreeMap};

use orchestr8_schema::{id::ToolName, json_schema::JsonValidator};
use rmcp::{RoleClient, model, service::Peer};
use serde_json::Value;

use super::result::of_error;
use crate::{AgentError, ToolSpec};

/// The most pages that a list of tools may have.
const MAX_PAGES: usize = 100;
/// The longest description of a tool, in bytes; what is longer is cut.
const MAX_DESCRIPTION: usize = 4096;

/// A tool of a server.
pub(super) struct RemoteTool {
    pub(super) spec: ToolSpec,
    /// Its name at the server.
    pub(super) name: Cow<'static, str>,
    pub(super) input: Option<JsonValidator>,
    pub(super) output: Option<JsonValidator>,
}

pub(super) type Tools = BTreeMap<ToolName, RemoteTool>;

/// Reads the list of tools, all pages.
pub(super) async fn list(server: &str, peer: &Peer<RoleClient>) -> Result<Tools, AgentError> {
    let mut tools = Tools::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let page = peer.list_tools(Some(model::PaginatedRequestParams::default().with_cursor(cursor))).await;
        let page = page.map_err(|error| of_error(server, error))?;
        for tool in page.tools {
            if let Some(tool) = remote(server, tool) {
                tools.insert(tool.spec.name.clone(), tool);
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(AgentError::validation(format!("the list of tools of server `{server}` has over {MAX_PAGES} pages")))
}

/// Makes a tool of what a server says of it; none of a name that cannot stand in a workflow. A schema that is none counts as absent.
fn remote(server: &str, tool: model::Tool) -> Option<RemoteTool> {
    let Ok(name) = format!("{server}:{}", tool.name).parse::<ToolName>() else {
        tracing::warn!(server, tool = %tool.name.escape_debug(), "the name of a tool does not have the required form; the tool is left out");
        return None;
    };
    let mut description = tool.description.unwrap_or_default().into_owned();
    description.truncate(description.floor_char_boundary(MAX_DESCRIPTION));
    let compile = |part: &str, schema: &Value| {
        JsonValidator::compile(schema)
            .inspect_err(
                |error| tracing::warn!(tool = %name, part, %error, "a schema is no JSON Schema and is not used"),
            )
            .ok()
    };
    let input_schema = Value::Object((*tool.input_schema).clone());
    let output_schema = tool.output_schema.map(|schema| Value::Object((*schema).clone()));
    let input = compile("input", &input_schema);
    let output = output_schema.as_ref().and_then(|schema| compile("output", schema));
    let mut spec = ToolSpec::named(name, description);
    spec.input_schema = input.is_some().then_some(input_schema);
    spec.output_schema = output_schema.filter(|_| output.is_some());
    if let Some(hints) = tool.annotations {
        spec.read_only = hints.read_only_hint.unwrap_or(false);
        spec.destructive = hints.destructive_hint.unwrap_or(!spec.read_only);
        spec.idempotent = hints.idempotent_hint.unwrap_or(false);
    }
    Some(RemoteTool { spec, name: tool.name, input, output })
}
