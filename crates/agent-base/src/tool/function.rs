//! Tools made of closures.

use std::{fmt, future::Future};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Tool, ToolSpec};
use crate::{AgentContext, AgentError};

/// Makes a tool of a spec and a closure, as [`agent_fn`](crate::agent_fn) makes an agent. The closure gets its own copy of the
/// arguments and its own context.
///
/// ```
/// use orchestr8_agent_base::tool::{ToolSpec, tool_fn};
///
/// let echo = tool_fn(ToolSpec::new("echo", "Answers what it is given")?, |arguments, _cx, _cancel| async { Ok(arguments) });
/// # drop(echo);
/// # Ok::<(), orchestr8_schema::id::InvalidId>(())
/// ```
pub fn tool_fn<F, Fut>(spec: ToolSpec, function: F) -> ToolFn<F>
where
    F: Fn(Value, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, AgentError>> + Send,
{
    ToolFn { spec, function }
}

/// The tool that [`tool_fn`] makes.
pub struct ToolFn<F> {
    spec: ToolSpec,
    function: F,
}

#[async_trait]
impl<F, Fut> Tool for ToolFn<F>
where
    F: Fn(Value, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, AgentError>> + Send,
{
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        (self.function)(arguments.clone(), cx.clone(), cancel).await
    }
}

impl<F> fmt::Debug for ToolFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFn").field("name", &self.spec.name).finish_non_exhaustive()
    }
}
