use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::manifest;
use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// `@orchestr8/noop`: does nothing, and says `{"result": "ok"}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noop;

#[async_trait]
impl Agent for Noop {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/noop", "Does nothing").output_schema(json!({
            "type": "object",
            "properties": { "result": { "const": "ok" } },
            "required": ["result"]
        }))
    }

    async fn execute(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Ok(json!({ "result": "ok" }))
    }
}
