use async_trait::async_trait;
use orchestr8_schema::{ErrorKind, Millis};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{decode, manifest};
use crate::{Agent, AgentContext, AgentError, AgentManifest, trial};

/// `@orchestr8/fail`: fails in the way that its input says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fail;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FailInput {
    /// The kind of the failure, such as NETWORK.
    code: ErrorKind,
    /// Its message.
    message: Option<String>,
    /// The least delay before the next attempt: milliseconds, or a text such as `"5s"`.
    retry_after: Option<Millis>,
}

#[async_trait]
impl Agent for Fail {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/fail", "Fails in the way that its input says").input::<FailInput>()
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        let FailInput { code, message, retry_after } = decode(input)?;
        let error = AgentError::new(code, message.unwrap_or_else(|| "asked to fail".to_owned()));
        Err(match retry_after {
            Some(delay) => error.with_retry_after(delay.as_duration()),
            None => error,
        })
    }
}

/// `@orchestr8/flaky`: fails at the first attempts of a step, then answers `value` (default null).
///
/// It counts attempts, not calls, so that concurrent steps do not disturb each other. The kind of the failures is RETRYABLE unless
/// `code` says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flaky;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FlakyInput {
    /// How many attempts fail.
    fail_times: u32,
    /// The kind of these failures; RETRYABLE if absent.
    code: Option<ErrorKind>,
    /// What to answer then.
    #[serde(default)]
    value: Value,
}

#[async_trait]
impl Agent for Flaky {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/flaky", "Fails at the first attempts, then answers a value").input::<FlakyInput>()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        let FlakyInput { fail_times, code, value } = decode(input)?;
        if cx.attempt() > fail_times {
            return Ok(value);
        }
        Err(trial::told_to_fail(code.unwrap_or(ErrorKind::Retryable), cx.attempt(), fail_times.into()))
    }
}
