//! An agent of one's own, with Rust types for input and output. Run with: cargo run -p examples --example custom_agent

use orchestr8_agent_base::{AgentContext, AgentError, AgentManifest, TypedAgent};
use orchestr8_core::{Engine, schema::ValidWorkflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What the agent takes. Its JSON Schema is derived, and checked before the agent is called.
#[derive(Deserialize, JsonSchema)]
struct Text {
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Count {
    words: usize,
}

struct WordCount;

impl TypedAgent for WordCount {
    type Input = Text;
    type Output = Count;

    fn describe(&self) -> AgentManifest {
        AgentManifest::new("@example/word-count", "1.0.0", "Counts the words of a text")
            .expect("well formed")
            .idempotent()
    }

    async fn run(&self, input: Text, cx: &AgentContext, _cancel: CancellationToken) -> Result<Count, AgentError> {
        // The first attempt fails in a way that may pass, so it is tried again.
        if cx.attempt() == 1 {
            return Err(AgentError::network("the dictionary could not be reached"));
        }
        Ok(Count { words: input.text.split_whitespace().count() })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder().agent(WordCount).build()?;
    let workflow = ValidWorkflow::from_json(
        r#"{
            "version": "1.0.0",
            "metadata": { "id": "count", "name": "Count" },
            "steps": [{
                "id": "count",
                "agent": { "id": "@example/word-count" },
                "input": { "text": "${inputs.text}" },
                "policies": { "retry": { "maxAttempts": 2, "baseDelayMs": 100 } }
            }]
        }"#,
    )?;
    let execution = engine.start(&workflow, json!({ "text": "to be or not to be" })).await?;
    println!("{}", execution.outcome().await?.output("count").ok_or("no output")?);
    for entry in execution.snapshot().await?.journal().entries {
        println!("{:>4} ms  {}", entry.elapsed_ms, entry.message);
    }
    Ok(())
}
