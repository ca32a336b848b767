//! What the program offers to others over the Model Context Protocol, asked for by a client that is not ours.

mod http;
mod lines;
mod stdio;

use std::{fs, path::Path};

use orchestr8_schema::{api::Envelope, json_schema::JsonValidator};
use rmcp::model::CallToolResult;
use serde_json::Value;

const GREET: &str = r#"
version: 1.0.0
metadata: { id: greet, name: Greet, description: Greets somebody twice }
inputs: { type: object, properties: { name: { type: string } }, required: [name], additionalProperties: false }
steps:
  - id: first
    agent: { id: "@orchestr8/hello-world" }
    input: { name: "${inputs.name}" }
  - id: second
    agent: { id: "@orchestr8/hello-world" }
    dependencies: [first]
    input: { message: "${steps.first.output.result}" }
outputs:
  text: ${steps.second.output.message}
"#;

const GATE: &str = r#"
version: 1.0.0
metadata: { id: gate, name: Gate }
steps:
  - id: publish
    approval: { prompt: "Publish?" }
"#;

const FAIL: &str = r#"
version: 1.0.0
metadata: { id: fail, name: Fail }
steps:
  - id: fail
    agent: { id: "@orchestr8/fail" }
    input: { code: RATE_LIMITED, message: slow down }
    policies: { retry: { maxAttempts: 1 } }
"#;

/// A folder of workflows, one of which is not valid.
fn catalogue() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let broken =
        "version: 1.0.0\nmetadata: { id: broken, name: Broken }\nsteps: [{ id: a, agent: { id: '@no/such' } }]\n";
    for (name, text) in [("greet.yaml", GREET), ("gate.yaml", GATE), ("fail.yaml", FAIL), ("broken.yaml", broken)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn path(folder: &tempfile::TempDir) -> &Path {
    folder.path()
}

/// Reads the envelope of an answer, which is there twice, fits its schema, and is an error if it says so.
fn envelope(result: &CallToolResult) -> Value {
    let structured = result.structured_content.clone().expect("there is an envelope");
    let text = result.content[0].as_text().expect("text comes first");
    assert_eq!(serde_json::from_str::<Value>(&text.text).expect("JSON"), structured);
    let schema = JsonValidator::compile(&Envelope::schema()).expect("a schema");
    schema.validate(&structured).expect("it fits");
    assert_eq!(result.is_error == Some(true), structured["status"] == "error", "{structured}");
    structured
}
