//! The agent that greets, for first workflows and for trials of everything else.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Agent, AgentContext, AgentError, AgentManifest, trial};

/// `@orchestr8/hello-world`: greets a person.
///
/// Input `{message?, name?}`, further keys ignored; output `{result, message, timestamp, agentId}`:
///
/// ```
/// use orchestr8_agent_base::HelloWorld;
///
/// assert_eq!(HelloWorld::greeting(None, Some("Hi")), "Hello, Friend! Hi");
/// assert_eq!(HelloWorld::greeting(Some("Ada"), None), "Hello, Ada! Welcome to @orchestr8.");
/// ```
///
/// For trials the configuration takes `delayMs` (waits before answering, default 0), `failTimes` (attempts 1 to n fail, default
/// 0) and `failWith` (the kind of these failures, default `RETRYABLE`).
#[derive(Clone, Copy, Debug, Default)]
pub struct HelloWorld;

impl HelloWorld {
    /// The agent's id.
    pub const ID: &'static str = "@orchestr8/hello-world";

    /// Composes the greeting; without a name it greets a friend, without a message it welcomes.
    #[must_use]
    pub fn greeting(name: Option<&str>, message: Option<&str>) -> String {
        let name = name.unwrap_or("Friend");
        let message = message.unwrap_or("Welcome to @orchestr8.");
        format!("Hello, {name}! {message}")
    }
}

#[async_trait]
impl Agent for HelloWorld {
    fn manifest(&self) -> AgentManifest {
        AgentManifest::new(Self::ID, "1.0.0", "Greets a person")
            .expect("id, version and description are well formed")
            .input_schema(json!({
                "type": "object",
                "properties": { "message": { "type": "string" }, "name": { "type": "string" } }
            }))
            .output_schema(json!({
                "type": "object",
                "properties": {
                    "result": { "type": "string" },
                    "message": { "type": ["string", "null"] },
                    "timestamp": { "type": "string", "format": "date-time" },
                    "agentId": { "const": Self::ID }
                },
                "required": ["result", "message", "timestamp", "agentId"]
            }))
            .config_schema(trial::schema())
            .idempotent()
    }

    async fn validate(&self, input: &Value, _: &AgentContext) -> Result<(), AgentError> {
        match input.get("name").and_then(Value::as_str) {
            Some(name) if !is_name(name) => Err(AgentError::validation("`name` must be 1 to 50 letters and spaces")
                .with_context(json!({ "pointer": "/name" }))),
            _ => Ok(()),
        }
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        trial::trial(cx, &cancel).await?;
        let text = |key| input.get(key).and_then(Value::as_str);
        let message = text("message").filter(|message| !message.trim().is_empty());
        Ok(json!({
            "result": Self::greeting(text("name"), message),
            "message": message,
            "timestamp": cx.now(),
            "agentId": Self::ID,
        }))
    }
}

fn is_name(name: &str) -> bool {
    (1..=50).contains(&name.chars().count())
        && name.chars().all(|character| character.is_alphabetic() || character == ' ')
}
