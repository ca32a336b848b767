//! Agents that nobody has registered: what stands in for them is made of what the workflow reads of their answers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, AgentRegistry};
use orchestr8_schema::{
    ValidWorkflow, reference,
    workflow::{AgentCall, StepKind, VersionRange},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::NotSimulable;

/// Adds stand-ins for the agents of a workflow that a registry does not know. Returns their ids, too.
pub(super) fn complete(
    workflow: &ValidWorkflow,
    agents: &AgentRegistry,
) -> Result<(AgentRegistry, Vec<String>), NotSimulable> {
    let mut agents = agents.clone();
    let mut unknown = Vec::new();
    let mut workflows = vec![workflow.clone()];
    while let Some(workflow) = workflows.pop() {
        workflows.extend(workflow.sub_workflows().map(|(_, child)| child.clone()));
        let reads = Reads::of(&workflow);
        for index in 0..workflow.steps().len() as u32 {
            let step = workflow.declaration(orchestr8_schema::StepIndex(index));
            let StepKind::Agent(call) = &step.kind else { continue };
            let AgentCall { id, version, .. } = &call.agent;
            if agents.get(id, version).is_some() {
                continue;
            }
            let manifest = AgentManifest::new(id.as_str(), &lowest(version), "Nobody has registered it")?
                .output_schema(reads.schema(step.id.as_str()));
            unknown.push(id.to_string());
            agents.register(Unknown(manifest))?;
        }
    }
    unknown.sort();
    Ok((agents, unknown))
}

/// The lowest version that will do.
fn lowest(range: &VersionRange) -> String {
    match range {
        VersionRange::Latest => "1.0.0".to_owned(),
        VersionRange::Exact([major, minor, patch])
        | VersionRange::Caret([major, minor, patch])
        | VersionRange::Tilde([major, minor, patch]) => format!("{major}.{minor}.{patch}"),
    }
}

/// Lends a manifest to a stand-in.
struct Unknown(AgentManifest);

#[async_trait]
impl Agent for Unknown {
    fn manifest(&self) -> AgentManifest {
        self.0.clone()
    }

    async fn execute(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Err(AgentError::internal(format!("{} is not registered", self.0.id)))
    }
}

/// What a workflow reads of each step's output: the keys of objects, one inside the other.
#[derive(Default)]
struct Reads(BTreeMap<String, Read>);

#[derive(Clone, Default)]
struct Read {
    keys: BTreeMap<String, Read>,
    /// It is gone through item by item.
    is_list: bool,
}

impl Reads {
    fn of(workflow: &ValidWorkflow) -> Self {
        let mut reads = Self::default();
        if let Ok(document) = serde_json::to_value(workflow.workflow()) {
            reads.visit("", &document);
        }
        reads
    }

    fn visit(&mut self, key: &str, value: &Value) {
        match value {
            Value::String(text) => {
                let names = match reference::is_condition(key) {
                    true => reference::in_condition(text),
                    false => reference::in_template(text),
                };
                for name in names {
                    let Some(path) = text[name.range.end..].split_once("output").map(|(_, path)| path) else {
                        continue;
                    };
                    let read = self.0.entry(name.id).or_default();
                    keys_of(path)
                        .into_iter()
                        .fold(&mut *read, |read, key| read.keys.entry(key).or_default())
                        .is_list |= key == "items";
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(key, item)),
            Value::Object(map) => map.iter().for_each(|(key, value)| self.visit(key, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn schema(&self, step: &str) -> Value {
        self.0.get(step).map_or_else(|| json!({ "type": "object" }), |read| read.schema())
    }
}

impl Read {
    fn schema(&self) -> Value {
        if self.is_list {
            return json!({ "type": "array", "items": { "type": "object" }, "maxItems": 4 });
        }
        if self.keys.is_empty() {
            return json!({ "type": ["string", "integer"], "minimum": 0, "maximum": 100 });
        }
        let properties: Map<_, _> = self.keys.iter().map(|(key, read)| (key.clone(), read.schema())).collect();
        let required: Vec<_> = self.keys.keys().collect();
        json!({ "type": "object", "required": required, "properties": properties })
    }
}

/// The keys at the beginning of what follows `output`: `.a.b[0]` gives `a` and `b`.
fn keys_of(path: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = path;
    while let Some(behind) = rest.strip_prefix('.') {
        let end = behind
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(behind.len());
        if end == 0 {
            break;
        }
        keys.push(behind[..end].to_owned());
        rest = &behind[end..];
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_agent_answers_what_is_read_of_it() {
        let workflow = ValidWorkflow::from_value(&json!({
            "version": "1.0.0",
            "metadata": { "id": "unknown", "name": "Unknown" },
            "steps": [
                { "id": "fetch", "agent": { "id": "@acme/fetch", "version": "^2.1.0" } },
                {
                    "id": "tell",
                    "dependencies": ["fetch"],
                    "agent": { "id": "@acme/tell" },
                    "input": { "text": "${steps.fetch.output.page.title}" },
                    "condition": { "if": "steps.fetch.output.count > `1`" }
                }
            ]
        }))
        .unwrap();
        let (agents, unknown) = complete(&workflow, &AgentRegistry::new()).unwrap();
        assert_eq!(unknown, ["@acme/fetch", "@acme/tell"]);
        let fetch =
            agents.list().find(|agent| agent.manifest().id.as_str() == "@acme/fetch").unwrap().manifest().clone();
        assert_eq!(fetch.version.to_string(), "2.1.0");
        let leaf = json!({ "type": ["string", "integer"], "minimum": 0, "maximum": 100 });
        let page = json!({ "type": "object", "required": ["title"], "properties": { "title": leaf } });
        assert_eq!(
            fetch.output_schema.unwrap(),
            json!({ "type": "object", "required": ["count", "page"], "properties": { "count": leaf, "page": page } })
        );
    }
}
