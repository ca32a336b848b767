//! Calls of an agent from outside of any workflow: what all adapters share.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use orchestr8_schema::{
    CorrelationId, ExecutionId, StepId, StepPath, Timestamp,
    event::{Activation, CallId, Durable},
    json_schema::Violations,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    AgentContext, AgentError, AgentRegistry, Clock, SecretString, Secrets, ToolAccess,
    context::{ExecutionIdentity, Host, Progress, Recording, Remark, StepIdentity},
    registry::RegisteredAgent,
    service,
};

/// An agent with all that it needs to be called from outside.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) agent: Arc<RegisteredAgent>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: Arc<Map<String, Value>>,
    pub(super) secrets: Secrets,
    pub(super) tools: ToolAccess,
    #[cfg(feature = "model")]
    pub(super) models: Option<crate::model::Models>,
}

/// Who a call is, for whoever looks for it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) execution: ExecutionId,
    pub(super) correlation: CorrelationId,
}

impl Outside {
    pub(super) fn new(agent: Arc<RegisteredAgent>, clock: Arc<dyn Clock>) -> Self {
        // What its registration leaves open, and its schema asks for, has to be configured.
        let config = Arc::new(agent.configure(None).unwrap_or_default());
        Self {
            agent,
            clock,
            config,
            secrets: Secrets::none(),
            tools: ToolAccess::default(),
            #[cfg(feature = "model")]
            models: None,
        }
    }

    pub(super) fn configure(&mut self, config: &Map<String, Value>) -> Result<(), AgentError> {
        self.config = Arc::new(self.agent.configure(Some(config))?);
        Ok(())
    }

    /// Lets the agent ask the models and call the tools of a registry.
    pub(super) fn serve(&mut self, registry: &AgentRegistry) {
        self.tools = ToolAccess::new(registry.tools().clone(), orchestr8_schema::config::ToolPolicy::default());
        #[cfg(feature = "model")]
        {
            self.models = registry.models().cloned();
        }
    }

    /// Takes ids, or makes those that are absent.
    pub(super) fn ids(&self, execution: Option<ExecutionId>, correlation: Option<CorrelationId>) -> Ids {
        let random = || (self.clock.random(), self.clock.random());
        let execution = execution.unwrap_or_else(|| {
            let (high, low) = random();
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&high.to_be_bytes());
            bytes[8..].copy_from_slice(&low.to_be_bytes()[..2]);
            ExecutionId::from_parts(self.clock.now().as_unix_millis(), bytes)
        });
        let correlation = correlation.unwrap_or_else(|| {
            let (high, low) = random();
            format!("o8-{high:016x}{low:016x}").parse().expect("the id is well formed")
        });
        Ids { execution, correlation }
    }

    /// Calls the agent, once, with the input unchanged.
    pub(super) async fn call(
        &self,
        input: Value,
        ids: Ids,
        key: Option<&str>,
        deadline: Option<Timestamp>,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        if let Some(schema) = self.agent.input_schema()
            && let Err(violations) = schema.validate(&input)
        {
            return Err(AgentError::validation(format!("the input does not fit: {}", Violations(&violations))));
        }
        let input = Arc::new(input);
        let desk = Arc::new(Desk { outside: self.clone(), given_out: Mutex::default() });
        let cx = self.context(ids, key, &input, Arc::clone(&desk)).for_attempt(1, deadline);
        let calling = service::call(self.agent.callee(), &input, &cx, cancel);
        let mut result = match deadline {
            None => calling.await,
            Some(deadline) => {
                let left = deadline.since(self.clock.now());
                let called = tokio::time::timeout(left, calling).await;
                called.unwrap_or_else(|_| Err(AgentError::timeout("the deadline has passed")))
            }
        };
        if let Ok(output) = &mut result {
            desk.hide(output);
        }
        result
    }

    fn context(&self, ids: Ids, key: Option<&str>, input: &Arc<Value>, desk: Arc<Desk>) -> AgentContext {
        let id = &self.agent.manifest().id;
        let step: StepId = "process".parse().expect("the id is well formed");
        let path = StepPath::from(&step);
        let execution = ExecutionIdentity::new(ids.execution, id.to_string(), ids.correlation, self.clock.now());
        let step = StepIdentity::new(step, path, 0);
        let clock = Arc::clone(&self.clock);
        let cx = AgentContext::builder(Arc::new(execution), Arc::new(step), clock, Arc::clone(input))
            .config(Arc::clone(&self.config))
            .callee(Arc::clone(self.agent.callee()))
            .host(desk, CallId::Step(Activation(0)));
        match key {
            Some(key) => cx.idempotency_key(key),
            None => cx,
        }
        .build()
    }
}

/// Serves one call: nothing outlives it.
struct Desk {
    outside: Outside,
    given_out: Mutex<Vec<SecretString>>,
}

impl Host for Desk {
    fn record(&self, _: Durable) -> Recording {
        // There is no later attempt that could read it.
        Box::pin(std::future::ready(Ok(())))
    }

    fn remark(&self, remark: Remark) {
        match remark {
            Remark::Log(entry) => tracing::info!(level = entry.level.as_str(), "{}", entry.message),
            Remark::Model(call) => tracing::debug!(provider = %call.provider, model = %call.model, "asked a model"),
            Remark::Tool(call) => tracing::debug!(tool = %call.tool, is_denied = call.is_denied, "called a tool"),
        }
    }

    fn progress(&self, _: Progress) {}

    fn secret(&self, reference: &str, declared: &[String]) -> Result<SecretString, AgentError> {
        if !declared.is_empty() && !declared.iter().any(|known| known == reference) {
            let message = format!("`{reference}` is not listed in the `secrets` of the agent's manifest");
            return Err(AgentError::denied(message));
        }
        self.outside.secrets.check(reference)?;
        let secret = self.outside.secrets.find(reference)?;
        self.conceal(&secret);
        Ok(secret)
    }

    fn conceal(&self, secret: &SecretString) {
        if secret.expose().chars().count() >= 6 {
            self.given_out.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        }
    }

    fn hide(&self, value: &mut Value) {
        for secret in self.given_out.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            secret.hide_in(value);
        }
    }

    #[cfg(feature = "model")]
    fn models(&self) -> Option<&crate::model::Models> {
        self.outside.models.as_ref()
    }

    fn tools(&self) -> Option<&ToolAccess> {
        Some(&self.outside.tools)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("agent", &self.outside.agent).finish_non_exhaustive()
    }
}
