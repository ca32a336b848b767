//! A tool of one's own, called by a step of a workflow. Run with: cargo run -p examples --example tool

use orchestr8_agent_base::{AgentError, ToolSpec, tool_fn};
use orchestr8_core::{Engine, schema::ValidWorkflow};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Arguments are checked against the schema before the tool is called, and paths into the result against the other one.
    let spec = ToolSpec::new("text.shout", "Writes a text in capitals")?
        .input_schema(json!({ "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } } }))
        .output_schema(json!({ "type": "object", "properties": { "text": { "type": "string" } } }))
        .read_only();
    let shout = tool_fn(spec, |arguments, cx, _cancel| async move {
        let text = arguments["text"].as_str().ok_or_else(|| AgentError::validation("`text` is missing"))?;
        // Whatever has an effect sends this key along, so that a second attempt has no second effect.
        println!("called with the key {}…", &cx.idempotency_key()[..8]);
        Ok(json!({ "text": text.to_uppercase() }))
    });

    let engine = Engine::builder().tool(shout).build()?;
    let workflow = ValidWorkflow::from_json(
        r#"{
            "version": "1.0.0",
            "metadata": { "id": "shout", "name": "Shout" },
            "steps": [{ "id": "shout", "tool": { "name": "text.shout", "arguments": { "text": "${inputs.text}" } } }]
        }"#,
    )?;
    let execution = engine.start(&workflow, json!({ "text": "hello" })).await?;
    println!("{}", execution.outcome().await?.output("shout").ok_or("no output")?["text"]);
    Ok(())
}
