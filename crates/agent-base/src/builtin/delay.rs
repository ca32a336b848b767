use async_trait::async_trait;
use orchestr8_schema::Millis;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{decode, manifest};
use crate::{Agent, AgentContext, AgentError, AgentManifest, trial};

/// `@orchestr8/delay`: waits, then answers `value` (default null).
///
/// The wait ends with the process, and counts against the step's timeout (30 s unless something else is set). A `wait` step is the
/// one that outlives both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delay;

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// How long to wait: milliseconds, or a text such as `"5s"`.
    duration: Millis,
    /// What to answer.
    #[serde(default)]
    value: Value,
}

#[async_trait]
impl Agent for Delay {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/delay", "Waits for a while, then answers a value").input::<Input>()
    }

    async fn execute(&self, input: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let Input { duration, value } = decode(input)?;
        trial::sleep(duration.as_duration(), &cancel).await?;
        Ok(value)
    }
}
