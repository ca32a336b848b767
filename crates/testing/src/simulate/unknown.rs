//! Agents and tools that nobody has registered: what stands in for them is made of what the workflow reads of their answers.

use std::collections::BTreeMap;

use orchestr8_agent_base::{AgentManifest, AgentRegistry, tool::ToolSpec};
use orchestr8_schema::{
    StepIndex, ValidWorkflow, reference,
    test_file::{CalleeFacts, MockFile},
    workflow::StepKind,
};
use serde_json::{Map, Value, json};

use crate::mocks::{Callees, NoStandIn, completed};

/// Adds stand-ins for what a workflow calls and a registry does not know, with what a file of mocks says of them. Returns what is
/// known of nobody but the workflow, too.
pub(super) fn complete(
    workflow: &ValidWorkflow,
    agents: &AgentRegistry,
    callees: &Callees,
    told: &MockFile,
) -> Result<(AgentRegistry, Vec<String>), NoStandIn> {
    let reads = reads_of(workflow);
    let read = |name: &str| reads.get(name).map_or_else(|| json!({ "type": "object" }), Read::schema);
    let output = |facts: Option<&CalleeFacts>, name: &str| {
        facts.and_then(|facts| facts.output_schema.clone()).unwrap_or_else(|| read(name))
    };
    let agent = |mut manifest: AgentManifest| {
        let facts = told.agents.get(&manifest.id);
        manifest.output_schema = Some(output(facts, manifest.id.as_str()));
        if let Some(facts) = facts {
            manifest.input_schema.clone_from(&facts.input_schema);
            (manifest.idempotent, manifest.irreversible) = (facts.idempotent, facts.irreversible);
        }
        manifest
    };
    let tool = |mut spec: ToolSpec| {
        let facts = told.tools.get(&spec.name);
        spec.output_schema = Some(output(facts, spec.name.as_str()));
        if let Some(facts) = facts {
            spec.input_schema.clone_from(&facts.input_schema);
            (spec.idempotent, spec.destructive) = (facts.idempotent, facts.irreversible);
        }
        spec
    };
    let completed = completed(agents, callees, agent, tool)?;
    let ids =
        callees.unknown_agents.iter().filter(|(id, _)| !told.agents.contains_key(id)).map(|(id, _)| id.to_string());
    let names = callees.unknown_tools.iter().filter(|name| !told.tools.contains_key(*name)).map(ToString::to_string);
    let mut unknown: Vec<_> = ids.chain(names).collect();
    unknown.sort();
    unknown.dedup();
    Ok((completed, unknown))
}

/// What a workflow and its sub-workflows read of the answers of those who are called, by their names.
fn reads_of(workflow: &ValidWorkflow) -> BTreeMap<String, Read> {
    let mut all = BTreeMap::<String, Read>::new();
    let mut workflows = vec![workflow.clone()];
    while let Some(workflow) = workflows.pop() {
        workflows.extend(workflow.sub_workflows().map(|(_, child)| child.clone()));
        let reads = Reads::of(&workflow);
        for index in 0..workflow.steps().len() as u32 {
            let step = workflow.declaration(StepIndex(index));
            let name = match &step.kind {
                StepKind::Agent(call) => call.agent.id.to_string(),
                StepKind::Tool(call) => call.name.to_string(),
                _ => continue,
            };
            if let Some(read) = reads.0.get(step.id.as_str()) {
                all.entry(name).or_default().unite(read);
            }
        }
    }
    all
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
}

impl Read {
    fn unite(&mut self, other: &Self) {
        self.is_list |= other.is_list;
        for (key, read) in &other.keys {
            self.keys.entry(key.clone()).or_default().unite(read);
        }
    }

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
        let callees = Callees::of(&workflow, &AgentRegistry::new());
        let (agents, unknown) = complete(&workflow, &AgentRegistry::new(), &callees, &MockFile::default()).unwrap();
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
