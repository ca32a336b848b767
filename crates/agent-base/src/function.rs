//! Agents made of closures.

use std::{fmt, future::Future};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// Makes an agent of a manifest and a closure, as `tower::service_fn` makes a service.
///
/// The closure gets its own copy of the input and its own context, since its future cannot both borrow and be `Send`; an agent
/// that reads large inputs implements [`Agent`] itself.
///
/// ```
/// use orchestr8_agent_base::{AgentManifest, agent_fn};
///
/// let echo = agent_fn(AgentManifest::new("@acme/echo", "1.0.0", "Answers what it is given")?, |input, _cx, _cancel| async { Ok(input) });
/// # drop(echo);
/// # Ok::<(), orchestr8_agent_base::manifest::InvalidManifest>(())
/// ```
pub fn agent_fn<F, Fut>(manifest: AgentManifest, function: F) -> AgentFn<F>
where
    F: Fn(Value, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, AgentError>> + Send,
{
    AgentFn { manifest, function }
}

/// The agent that [`agent_fn`] makes; it can be cloned if its closure can.
#[derive(Clone)]
pub struct AgentFn<F> {
    manifest: AgentManifest,
    function: F,
}

#[async_trait]
impl<F, Fut> Agent for AgentFn<F>
where
    F: Fn(Value, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, AgentError>> + Send,
{
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        (self.function)(input.clone(), cx.clone(), cancel).await
    }
}

impl<F> fmt::Debug for AgentFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentFn").field("id", &self.manifest.id).finish_non_exhaustive()
    }
}
