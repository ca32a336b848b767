//! The root of a workflow file.

use serde_json::Value;

use super::{Broken, Object, Read, Reader};
use crate::{
    Workflow,
    problem::Problems,
    workflow::{Context, Metadata},
};

const ROOT: &[&str] = &[
    "version",
    "schemaVersion",
    "schemaHash",
    "metadata",
    "inputs",
    "outputs",
    "context",
    "allowedEnvVars",
    "steps",
    "hooks",
    "policies",
    "$schema",
];
const METADATA: &[&str] = &["id", "name", "description", "tags", "createdAt", "updatedAt"];
const CONTEXT: &[&str] = &["environment", "variables", "secretRefs"];

/// Reads a workflow; `None` if the document is not an object.
pub(crate) fn workflow(document: &Value, problems: &mut Problems) -> Option<Read> {
    let mut reader = Reader::new(problems);
    let root = reader.root(document)?;
    let version = reader.required(&root, "version", "the version of this workflow, such as \"1.0.0\"");
    let version = reader.owned(version);
    let schema_version = reader.owned(root.get("schemaVersion"));
    let schema_hash = reader.owned(root.get("schemaHash"));
    let metadata = reader.metadata(&root);
    let inputs = reader.schema(root.get("inputs"));
    let outputs = reader.map(root.get("outputs")).map(|map| map.into_iter().collect());
    let context = reader.context(&root);
    let allowed_env_vars = reader.texts(root.get("allowedEnvVars"));
    let list = reader.required(&root, "steps", "a list of steps");
    let all_steps = list.is_none_or(|list| !list.value.is_array());
    let steps = reader.steps(list);
    let hooks = reader.workflow_hooks(root.get("hooks"));
    let policies = reader.workflow_policies(root.get("policies"));
    reader.unknown_keys(&root, ROOT);
    let workflow = Workflow {
        version: version.unwrap_or_else(|| "0.0.0".to_owned()),
        schema_version,
        schema_hash,
        metadata,
        inputs,
        outputs,
        context,
        allowed_env_vars,
        steps,
        hooks,
        policies,
    };
    let broken = Broken { steps: reader.broken, all_steps };
    Some(Read { workflow, broken, renames: reader.renames })
}

impl Reader<'_> {
    fn metadata(&mut self, root: &Object<'_>) -> Metadata {
        // What is missing is reported once; a stand-in passes every later check.
        let stand_in = || "invalid".to_owned();
        let field = self.required(root, "metadata", "an object with `id` and `name`");
        let Some(metadata) = self.object(field) else {
            return Metadata {
                id: stand_in(),
                name: stand_in(),
                description: None,
                tags: Vec::new(),
                created_at: None,
                updated_at: None,
            };
        };
        let id = self.required(&metadata, "id", "any text will do");
        let name = self.required(&metadata, "name", "any text will do");
        let result = Metadata {
            id: self.owned(id).unwrap_or_else(stand_in),
            name: self.owned(name).unwrap_or_else(stand_in),
            description: self.owned(metadata.get("description")),
            tags: self.texts(metadata.get("tags")),
            created_at: self.time(metadata.get("createdAt")),
            updated_at: self.time(metadata.get("updatedAt")),
        };
        self.unknown_keys(&metadata, METADATA);
        result
    }

    fn context(&mut self, root: &Object<'_>) -> Context {
        let Some(context) = self.object(root.get("context")) else { return Context::default() };
        if let Some(field) = context.get("environment") {
            self.no_expressions(field, "the environment", "expressions belong in the input of a step");
        }
        let environment = self.object(context.get("environment"));
        let environment = environment.map(|object| self.named_texts(&object)).unwrap_or_default();
        if let Some(field) = context.get("variables") {
            self.no_expressions(field, "variables", "expressions belong in the input of a step");
        }
        let variables = self.map(context.get("variables")).unwrap_or_default();
        let secret_refs = self.texts(context.get("secretRefs"));
        self.unknown_keys(&context, CONTEXT);
        Context { environment, variables, secret_refs }
    }
}
