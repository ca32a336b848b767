use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::manifest;
use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// `@orchestr8/echo`: answers its input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

#[async_trait]
impl Agent for Echo {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/echo", "Answers its input")
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Ok(input.clone())
    }
}
