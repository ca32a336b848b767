//! The schemas of the formats themselves, generated from the types.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde_json::Value;

use crate::{Workflow, api, config::Config, prompt::AgentPrompt, test_file::TestFile};

/// A format whose schema is published, in `docs/schema/<name>.json` and by `orchestr8 schema <name>`.
///
/// ```
/// use orchestr8_schema::json_schema::PublishedSchema;
///
/// let names: Vec<_> = PublishedSchema::ALL.iter().map(|schema| schema.name()).collect();
/// assert_eq!(names, ["workflow", "test", "config", "prompt", "event", "problem", "api"]);
/// assert_eq!(PublishedSchema::Problem.schema()["title"], "Problem");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishedSchema {
    /// Workflow files.
    Workflow,
    /// Workflow test files.
    Test,
    /// The program's configuration.
    Config,
    /// JSON prompts.
    Prompt,
    /// An event as streams, journals and exports show it.
    Event,
    /// An error answer of the REST interface.
    Problem,
    /// All bodies of the REST interface, each under its name in `$defs`.
    Api,
}

impl PublishedSchema {
    /// Every published schema.
    pub const ALL: [Self; 7] =
        [Self::Workflow, Self::Test, Self::Config, Self::Prompt, Self::Event, Self::Problem, Self::Api];

    /// Returns the name that it is published under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Test => "test",
            Self::Config => "config",
            Self::Prompt => "prompt",
            Self::Event => "event",
            Self::Problem => "problem",
            Self::Api => "api",
        }
    }

    /// Generates the schema.
    #[must_use]
    pub fn schema(self) -> Value {
        match self {
            Self::Workflow => workflow_schema(),
            Self::Test => closed(schemars::schema_for!(TestFile).to_value()),
            Self::Config => config_schema(),
            Self::Prompt => closed(schemars::schema_for!(AgentPrompt).to_value()),
            Self::Event => schemars::schema_for!(api::Entry).to_value(),
            Self::Problem => schemars::schema_for!(api::Problem).to_value(),
            Self::Api => schemars::schema_for!(ApiBodies).to_value(),
        }
    }
}

/// What the REST interface takes and answers.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "only its schema is used")]
enum ApiBodies {
    ExecuteRequest(api::ExecuteRequest),
    Accepted(api::Accepted),
    SyncResult(api::SyncResult),
    Execution(api::Execution),
    ExecutionList(api::ExecutionList),
    StepList(api::StepList),
    StepDetail(api::StepDetail),
    Why(api::Why),
    CancelRequest(api::CancelRequest),
    CancelAnswer(api::CancelAnswer),
    PauseRequest(api::PauseRequest),
    PauseAnswer(api::PauseAnswer),
    ForkBody(api::ForkBody),
    ForkAnswer(api::ForkAnswer),
    ResumeRequest(api::ResumeRequest),
    ResumeAnswer(api::ResumeAnswer),
    SignalRequest(api::SignalRequest),
    SignalAnswer(api::SignalAnswer),
    ApprovalList(api::ApprovalList),
    ApprovalRequest(api::ApprovalRequest),
    ApprovalResult(api::ApprovalResult),
    JournalPage(api::JournalPage),
    JournalExport(api::JournalExport),
    Entry(api::Entry),
    Problem(api::Problem),
    Health(api::Health),
    Stats(api::Stats),
    Validation(api::Validation),
    WorkflowList(api::WorkflowList),
    WorkflowDetail(api::WorkflowDetail),
}

/// Returns the JSON Schema of the workflow format, for editors and other programs.
///
/// It accepts whatever [`load`](crate::source::load) accepts; rules that reach over several values, such as unique ids, are
/// beyond it.
#[must_use]
pub fn workflow_schema() -> Value {
    let mut schema = schemars::schema_for!(Workflow).to_value();
    accept_old_spellings(&mut schema);
    accept_null(&mut schema);
    one_kind(&mut schema);
    schema
}

/// A provider needs a kind, but a project may add models to one that the user has configured.
fn config_schema() -> Value {
    let mut schema = closed(schemars::schema_for!(Config).to_value());
    if let Some(provider) = schema.pointer_mut("/$defs/Provider").and_then(Value::as_object_mut) {
        provider.shift_remove("required");
    }
    schema
}

/// Makes the schema of a type that of its documents: it accepts what the reader accepts, and refuses unknown keys.
fn closed(mut schema: Value) -> Value {
    accept_null(&mut schema);
    close(&mut schema);
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.insert("$schema".to_owned(), serde_json::json!({ "type": "string" }));
    }
    schema
}

/// Returns the SHA-256 of [`workflow_schema`] in canonical form: what `schemaHash` is compared with in strict mode.
#[must_use]
pub fn schema_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| crate::canonical::digest(&workflow_schema()));
    &HASH
}

/// Adds the values that are read as aliases.
fn accept_old_spellings(schema: &mut Value) {
    let aliases: [(&str, &[&str]); 3] = [
        ("JitterStrategy", &["full", "none"]),
        ("HalfOpenPolicy", &["single-trial", "gradual"]),
        ("RetryableError", &["TIMEOUT", "RETRYABLE", "NETWORK", "RATE_LIMITED"]),
    ];
    for (name, values) in aliases {
        let Some(definition) = schema.pointer_mut(&format!("/$defs/{name}")).and_then(Value::as_object_mut) else {
            continue;
        };
        let known = definition.clone();
        definition.clear();
        definition.insert("anyOf".to_owned(), serde_json::json!([known, { "enum": values, "deprecated": true }]));
    }
}

/// Lets null stand for an absent field, as the reader does.
fn accept_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(accept_null),
        Value::Object(map) => {
            let required: Vec<String> = map
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                for (name, property) in properties.iter_mut() {
                    let optional = !required.contains(name);
                    if optional && property.is_object() && !allows_null(property) {
                        let inner = property.take();
                        *property = serde_json::json!({ "anyOf": [inner, { "type": "null" }] });
                    }
                }
            }
            map.values_mut().for_each(accept_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes unknown keys errors, all but annotations.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            if map.get("additionalProperties").is_some_and(|rest| !matches!(rest, Value::Bool(true))) {
                map.insert("patternProperties".to_owned(), serde_json::json!({ "^x-": true }));
            }
            map.values_mut().for_each(close);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn allows_null(schema: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    match (schema.get("type"), schema.get("anyOf")) {
        (Some(Value::Array(kinds)), _) => kinds.iter().any(is_null),
        (Some(kind), _) => is_null(kind),
        (None, Some(Value::Array(choices))) => choices.iter().any(allows_null),
        _ => false,
    }
}

/// Says that a step has exactly one kind: the generator cannot know that no object fits two of them by accident.
fn one_kind(schema: &mut Value) {
    let Some(step) = schema.pointer_mut("/$defs/Step").and_then(Value::as_object_mut) else { return };
    if let Some(kinds) = step.shift_remove("anyOf") {
        step.insert("oneOf".to_owned(), kinds);
    }
}
