//! A program that embeds the engine. Run with: cargo run -p examples --example hello_world

use orchestr8_core::{Engine, agent_base::HelloWorld, schema::ValidWorkflow};
use serde_json::json;

const WORKFLOW: &str = r#"{
    "version": "1.0.0",
    "metadata": { "id": "greet", "name": "Greet" },
    "steps": [
        { "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "${inputs.name}" } }
    ]
}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder().agent(HelloWorld).build()?;
    let workflow = ValidWorkflow::from_json(WORKFLOW)?;
    let execution = engine.start(&workflow, json!({ "name": "Ada" })).await?;
    let outcome = execution.outcome().await?;
    println!("{}", outcome.output("hello").ok_or("no output")?["result"]);
    Ok(())
}
