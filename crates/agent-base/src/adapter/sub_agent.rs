//! An agent in the hands of another program that has agents.

use std::{fmt, sync::Arc};

use orchestr8_schema::{CorrelationId, ExecutionId, Failure};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::outside::Outside;
use crate::{AgentError, AgentRegistry, Clock, Secrets, registry::RegisteredAgent};

/// An agent that answers requests of the program that it is part of, one call of the agent for each, with the input unchanged.
///
/// ```
/// use std::sync::Arc;
/// use orchestr8_agent_base::{AgentRegistry, Clock, HelloWorld, adapter::{RequestContext, SubAgent}};
/// use serde_json::json;
///
/// # async fn greet(clock: Arc<dyn Clock>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut registry = AgentRegistry::new();
/// registry.register(HelloWorld)?;
/// let agent = registry.latest(&"@orchestr8/hello-world".parse()?).expect("it was just registered");
/// let agent = SubAgent::new(Arc::clone(agent), clock);
/// let output = agent.handle_request(json!({ "name": "Ada" }), RequestContext::default()).await;
/// assert!(output.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SubAgent(Outside);

/// Where a request comes from; what is absent is made.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The execution that it belongs to.
    pub execution_id: Option<ExecutionId>,
    /// What ties it to its cause.
    pub correlation_id: Option<CorrelationId>,
    /// Fires when the answer is no longer wanted.
    pub cancel: CancellationToken,
}

impl SubAgent {
    /// Makes one of an agent, with the configuration of its registration.
    pub fn new(agent: Arc<RegisteredAgent>, clock: Arc<dyn Clock>) -> Self {
        Self(Outside::new(agent, clock))
    }

    /// Configures the agent.
    ///
    /// # Errors
    ///
    /// VALIDATION if its schema does not take that.
    pub fn config(mut self, config: &Map<String, Value>) -> Result<Self, AgentError> {
        self.0.configure(config)?;
        Ok(self)
    }

    /// Lets the agent ask the models and call the tools of a registry; default none.
    pub fn serve(mut self, registry: &AgentRegistry) -> Self {
        self.0.serve(registry);
        self
    }

    /// Sets where the agent's secrets come from; default nowhere.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.0.secrets = secrets;
        self
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// What the agent fails with, and VALIDATION if the input does not fit its schema.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future cancels the call.
    pub async fn handle_request(&self, input: Value, context: RequestContext) -> Result<Value, Failure> {
        let RequestContext { execution_id, correlation_id, cancel } = context;
        let ids = self.0.ids(execution_id, correlation_id);
        let cancel = cancel.child_token();
        let _guard = cancel.clone().drop_guard();
        self.0.call(input, ids, None, None, cancel).await.map_err(|error| error.to_failure())
    }
}

impl fmt::Debug for SubAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubAgent").field(&self.0.agent.manifest().id).finish()
    }
}
