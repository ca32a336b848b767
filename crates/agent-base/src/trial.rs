//! Waiting and failing on request, for trials of everything around an agent.

use std::time::Duration;

use orchestr8_schema::ErrorKind;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{AgentContext, AgentError};

/// The schema of the configuration that [`trial`] reads.
pub(crate) fn schema() -> Value {
    let kinds: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    json!({
        "type": "object",
        "properties": {
            "delayMs": { "type": "integer", "minimum": 0, "default": 0 },
            "failTimes": { "type": "integer", "minimum": 0, "default": 0 },
            "failWith": { "enum": kinds, "default": "RETRYABLE" }
        }
    })
}

/// The same with further keys of an agent's own.
#[cfg(feature = "example-agents")]
pub(crate) fn schema_with(properties: Value) -> Value {
    let mut schema = schema();
    if let (Some(known), Value::Object(further)) = (schema["properties"].as_object_mut(), properties) {
        known.extend(further);
    }
    schema
}

/// Waits and fails as the configuration for trials says.
pub(crate) async fn trial(cx: &AgentContext, cancel: &CancellationToken) -> Result<(), AgentError> {
    let config: &Map<String, Value> = cx.config();
    let number = |key: &str| config.get(key).and_then(Value::as_u64).unwrap_or(0);
    let delay = number("delayMs");
    if delay > 0 {
        sleep(Duration::from_millis(delay), cancel).await?;
    }
    let times = number("failTimes");
    if u64::from(cx.attempt()) <= times {
        let kind = config
            .get("failWith")
            .and_then(|kind| serde_json::from_value(kind.clone()).ok())
            .unwrap_or(ErrorKind::Retryable);
        return Err(told_to_fail(kind, cx.attempt(), times));
    }
    Ok(())
}

/// Waits unless it is cancelled.
pub(crate) async fn sleep(duration: Duration, cancel: &CancellationToken) -> Result<(), AgentError> {
    match cancel.run_until_cancelled(tokio::time::sleep(duration)).await {
        Some(()) => Ok(()),
        None => Err(AgentError::cancelled("cancelled while waiting")),
    }
}

pub(crate) fn told_to_fail(kind: ErrorKind, attempt: u32, times: u64) -> AgentError {
    AgentError::new(kind, format!("attempt {attempt} of {times} that were asked to fail"))
}
