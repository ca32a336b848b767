//! What an engine calls: an agent or a tool, prepared once and called in one way.

use std::{fmt, sync::Arc, time::Duration};

use orchestr8_schema::{json_schema::JsonValidator, usage::Estimate};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{Agent, AgentContext, AgentError, tool::Tool};

/// An agent or a tool, with its schemas compiled and everything known that a call of it needs.
///
/// Whoever calls need not know which of the two it is. [`AgentRegistry`](crate::AgentRegistry) and
/// [`ToolRegistry`](crate::tool::ToolRegistry) make them.
pub struct Callee {
    target: Target,
    pub(crate) name: Arc<str>,
    pub(crate) input: Option<JsonValidator>,
    pub(crate) output: Option<JsonValidator>,
    pub(crate) max_output: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retryable: bool,
    pub(crate) dedicated_task: bool,
    pub(crate) secrets: Box<[String]>,
}

enum Target {
    Agent(Arc<dyn Agent>),
    Tool(Arc<dyn Tool>),
}

impl Callee {
    /// The largest output of an agent in bytes of JSON: 10 MB.
    pub const MAX_OUTPUT: usize = 10 * 1024 * 1024;
    /// The largest result of a tool in bytes of JSON: 1 MB.
    pub const MAX_TOOL_OUTPUT: usize = 1024 * 1024;

    pub(crate) fn of_agent(agent: Arc<dyn Agent>, name: Arc<str>) -> Self {
        Self::new(Target::Agent(agent), name, Self::MAX_OUTPUT)
    }

    pub(crate) fn of_tool(tool: Arc<dyn Tool>, name: Arc<str>) -> Self {
        Self::new(Target::Tool(tool), name, Self::MAX_TOOL_OUTPUT)
    }

    fn new(target: Target, name: Arc<str>, max_output: usize) -> Self {
        Self {
            target,
            name,
            input: None,
            output: None,
            max_output,
            timeout: None,
            retryable: true,
            dedicated_task: false,
            secrets: Box::default(),
        }
    }

    /// Returns the id of the agent, or the name of the tool.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is a tool.
    #[must_use]
    pub fn is_tool(&self) -> bool {
        matches!(self.target, Target::Tool(_))
    }

    /// Returns the compiled schema of the input, or of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> Option<&JsonValidator> {
        self.input.as_ref()
    }

    /// Returns the compiled schema of the output.
    #[must_use]
    pub fn output_schema(&self) -> Option<&JsonValidator> {
        self.output.as_ref()
    }

    /// Returns the largest output in bytes of JSON.
    #[must_use]
    pub fn max_output(&self) -> usize {
        self.max_output
    }

    /// Returns how long an attempt may take where nobody else says so.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether a failure may be tried again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Whether each attempt gets a task of its own.
    #[must_use]
    pub fn has_dedicated_task(&self) -> bool {
        self.dedicated_task
    }

    /// Returns the secrets that it may ask for; none means any that the workflow lists.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Names what a call with this input depends on, for the key of its circuit breaker.
    #[must_use]
    pub fn target(&self, input: &Value) -> Option<String> {
        match &self.target {
            Target::Agent(agent) => agent.target(input),
            Target::Tool(tool) => tool.target(input),
        }
    }

    /// Tells the most that an attempt may use up.
    #[must_use]
    pub fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        match &self.target {
            Target::Agent(agent) => agent.estimate(input, config),
            Target::Tool(_) => Estimate::default(),
        }
    }

    /// Calls it, without any checks around it.
    pub(crate) async fn run(
        &self,
        input: &Value,
        cx: &AgentContext,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        match &self.target {
            Target::Agent(agent) => {
                if !cx.is_validated() {
                    agent.validate(input, cx).await?;
                    cx.set_validated();
                }
                agent.execute(input, cx, cancel).await
            }
            Target::Tool(tool) => tool.call(input, cx, cancel).await,
        }
    }
}

impl fmt::Debug for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callee").field("name", &self.name).finish_non_exhaustive()
    }
}
