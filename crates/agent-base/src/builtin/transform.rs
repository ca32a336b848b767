use async_trait::async_trait;
use orchestr8_schema::jmespath::JmesPath;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::manifest;
use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// `@orchestr8/transform`: answers what a JMESPath expression makes of `data`.
///
/// The limits are those of [`JmesPath`]: a small expression cannot run for long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transform;

#[async_trait]
impl Agent for Transform {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/transform", "Changes data by a JMESPath expression").input_schema(json!({
            "type": "object",
            "properties": {
                "data": { "description": "What the expression is applied to." },
                "expression": {
                    "description": "JMESPath.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": JmesPath::MAX_LENGTH
                }
            },
            "required": ["data", "expression"]
        }))
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        let expression = input["expression"].as_str().unwrap_or_default();
        let expression = JmesPath::compile(expression).map_err(|source| {
            AgentError::validation(format!("`{expression}` is no JMESPath expression"))
                .with_context(json!({ "pointer": "/expression", "offset": source.offset() }))
                .with_source(source)
        })?;
        expression
            .evaluate(&input["data"])
            .map_err(|source| AgentError::validation("applying the expression to the data").with_source(source))
    }
}
