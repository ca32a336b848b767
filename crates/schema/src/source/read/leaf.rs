//! Calls of agents and tools.

use serde_json::Value;

use super::{Field, Object, Reader};
use crate::{
    AgentId, Code,
    workflow::{AgentCall, Call, ExpressionSecurity, Input, StructuredInput, ToolCall, ToolStep},
};

const TOOL_NAMES: &str = "tool names look like http.get or server:tool";

impl Reader<'_> {
    pub(super) fn agent(&mut self, field: Field<'_>) -> Option<AgentCall> {
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`agent: {id: …}`");
            return None;
        }
        let agent = self.object(Some(field))?;
        let id = self.required(&agent, "id", "agent ids look like @scope/name");
        let id: Option<AgentId> = self.parse(id, "agent id", "agent ids look like @scope/name");
        let version = self.parse(agent.get("version"), "version range", "x.y.z, ^x.y.z, ~x.y.z or latest");
        if let Some(config) = agent.get("config") {
            self.no_expressions(config, "`config`", "use `input`");
        }
        let config = self.map(agent.get("config"));
        self.unknown_keys(&agent, &["id", "version", "config"]);
        Some(AgentCall { id: id?, version: version.unwrap_or_default(), config })
    }

    pub(super) fn input(&mut self, field: Option<Field<'_>>) -> Option<Input> {
        let object = self.object(field)?;
        if !Input::looks_structured(object.map) {
            return Some(Input::Plain(object.map.clone()));
        }
        let security = self.object(object.get("expressionSecurity")).map(|security| {
            let default = ExpressionSecurity::default();
            let depth = self.integer(security.get("maxExpansionDepth"));
            let size = self.integer(security.get("maxExpansionSize"));
            self.unknown_keys(&security, &["maxExpansionDepth", "maxExpansionSize"]);
            ExpressionSecurity {
                max_expansion_depth: depth.unwrap_or(default.max_expansion_depth),
                max_expansion_size: size.unwrap_or(default.max_expansion_size),
            }
        });
        Some(Input::Structured(Box::new(StructuredInput {
            schema: self.schema(object.get("schema")),
            mapping: self.map(object.get("mapping")),
            expression_security: security,
            transform: self.owned(object.get("transform")),
        })))
    }

    pub(super) fn tool(&mut self, field: Field<'_>) -> Option<ToolStep> {
        let tool = self.tool_object(field)?;
        let name = self.required(&tool, "name", TOOL_NAMES);
        let name = self.parse(name, "tool name", TOOL_NAMES);
        let arguments = self.object_template(tool.get("arguments"));
        self.unknown_keys(&tool, &["name", "arguments"]);
        Some(ToolStep::new(name?, arguments))
    }

    fn tool_object<'f>(&mut self, field: Field<'f>) -> Option<Object<'f>> {
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`tool: {name: …}`");
            return None;
        }
        self.object(Some(field))
    }

    /// Reads what a hook or a compensation calls.
    pub(super) fn call(&mut self, object: &Object<'_>, what: &str) -> Option<Call> {
        match (object.get("agent"), object.get("tool")) {
            (Some(agent), None) => self.agent(agent).map(Call::Agent),
            (None, Some(tool)) => {
                let tool = self.tool_object(tool)?;
                let name = self.required(&tool, "name", TOOL_NAMES);
                let name = self.parse(name, "tool name", TOOL_NAMES);
                if let Some(arguments) = tool.get("arguments") {
                    let message = format!("`arguments` of {what}");
                    self.problems
                        .report(Code::KeyNotForKind, arguments.at, message)
                        .on_key()
                        .help("use `input` beside `tool`");
                }
                self.unknown_keys(&tool, &["name", "arguments"]);
                name.map(|name| Call::Tool(ToolCall::new(name)))
            }
            (None, None) => {
                self.problems
                    .report(Code::StepKind, object.at, format!("{what} does not say what it calls"))
                    .help("give it an `agent` or a `tool`");
                None
            }
            (Some(_), Some(tool)) => {
                self.problems
                    .report(Code::StepKind, tool.at, format!("{what} has both `agent` and `tool`"))
                    .on_key()
                    .help("keep one");
                None
            }
        }
    }

    /// Reads a template that gives an object; absent is null.
    pub(super) fn object_template(&mut self, field: Option<Field<'_>>) -> Value {
        match field {
            None => Value::Null,
            Some(field) => {
                let gives_object = match field.value {
                    Value::Object(_) => true,
                    Value::String(text) => text.contains("${"),
                    _ => false,
                };
                if !gives_object {
                    self.mismatch(field, "an object");
                }
                field.value.clone()
            }
        }
    }
}
