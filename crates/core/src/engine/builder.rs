//! Putting an engine together.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

#[cfg(feature = "model")]
use orchestr8_agent_base::model::Models;
use orchestr8_agent_base::{
    Agent, AgentRegistry, Clock, Secrets, Tool, ToolAccess, registry::RegisterError, tool::RegisterToolError,
};
use orchestr8_schema::{ValidWorkflow, config::ToolPolicy, event::Queued, id::InvalidId, policy::WorkflowTimeout};
use tokio_util::task::TaskTracker;

use super::{Engine, EngineShared, Trusts, places::Places, slots::Slots, stack::Registries, tenure};
use crate::{
    bus::Bus,
    clock::SystemClock,
    hook::{EngineHooks, Hook},
    journal::Readings,
    metrics::Metrics,
    store::{MemoryStore, Store},
};

/// Puts an [`Engine`] together.
///
/// ```
/// use orchestr8_core::{Engine, agent_base::HelloWorld};
///
/// let engine = Engine::builder().agent(HelloWorld).max_concurrent_steps(4).build()?;
/// assert_eq!(engine.agents().list().count(), 1);
/// # Ok::<(), orchestr8_core::engine::BuildError>(())
/// ```
#[must_use]
pub struct EngineBuilder {
    agents: AgentRegistry,
    secrets: Secrets,
    trusts: Option<Trusts>,
    tool_policy: ToolPolicy,
    #[cfg(feature = "model")]
    models: Option<Models>,
    refused: Option<BuildError>,
    hooks: Vec<Box<dyn Hook>>,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    max_concurrent_steps: u32,
    max_active_executions: usize,
    default_timeout: Option<Duration>,
    max_events: Option<u64>,
    metrics: bool,
    content_in_spans: bool,
}

/// The error of an engine that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An agent cannot be registered.
    #[error("registering an agent")]
    Agent(#[from] RegisterError),
    /// A tool cannot be registered.
    #[error("registering a tool")]
    Tool(#[from] RegisterToolError),
    /// The name of a hook does not have the required form.
    #[error("registering a hook")]
    HookName {
        /// What is wrong with it.
        source: InvalidId,
    },
    /// A hook is not called at this point, or cannot guard there.
    #[error("hook `{name}` cannot stand at `{point}`")]
    HookPoint {
        /// Its name.
        name: String,
        /// The point.
        point: &'static str,
    },
    /// A limit of 0 would let nothing happen.
    #[error("{0} must be at least 1")]
    Limit(&'static str),
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self {
            agents: AgentRegistry::new(),
            secrets: Secrets::environment(),
            trusts: None,
            tool_policy: ToolPolicy::default(),
            #[cfg(feature = "model")]
            models: None,
            refused: None,
            hooks: Vec::new(),
            store: None,
            clock: None,
            max_concurrent_steps: 10,
            max_active_executions: 1000,
            default_timeout: None,
            max_events: None,
            metrics: false,
            content_in_spans: false,
        }
    }
}

impl EngineBuilder {
    /// Adds an agent. One that cannot be registered is reported by [`build`](Self::build).
    pub fn agent(mut self, agent: impl Agent) -> Self {
        if let Err(error) = self.agents.register(agent) {
            self.refused.get_or_insert(error.into());
        }
        self
    }

    /// Adds a tool, under the name that it gives itself. One that cannot be registered is reported by [`build`](Self::build).
    pub fn tool(mut self, tool: impl Tool) -> Self {
        if let Err(error) = self.agents.tools_mut().register(tool) {
            self.refused.get_or_insert(error.into());
        }
        self
    }

    /// Adds a hook that is called around every execution or step, in the order in which hooks are added. One that cannot be registered is
    /// reported by [`build`](Self::build).
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Sets all agents and tools at once, in place of those added so far, and the models that come with them.
    pub fn registry(mut self, agents: AgentRegistry) -> Self {
        self.agents = agents;
        self
    }

    /// Sets where secrets come from, and which of them workflows may ask for; default the process environment, and all that it has.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Lets some workflows have the secrets that they list, whatever [`secrets`](Self::secrets) allows: `trusts` is asked about the workflow of an execution,
    /// its sub-workflows included, each time that a secret is not allowed otherwise. Default none.
    pub fn trusted(mut self, trusts: impl Fn(&ValidWorkflow) -> bool + Send + Sync + 'static) -> Self {
        self.trusts = Some(Box::new(trusts));
        self
    }

    /// Sets the models that agents may ask; default those of the registry, if it has some.
    #[cfg(feature = "model")]
    pub fn models(mut self, models: Models) -> Self {
        self.models = Some(models);
        self
    }

    /// Sets which tools agents may call; default all. Steps, hooks and compensations of workflows call any.
    pub fn tool_policy(mut self, policy: ToolPolicy) -> Self {
        self.tool_policy = policy;
        self
    }

    /// Sets where journals are kept; default a [`MemoryStore`].
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets where wall time, ids and chance come from; default a [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets how many attempts may be in progress at once, over all executions; default 10.
    pub fn max_concurrent_steps(mut self, count: u32) -> Self {
        self.max_concurrent_steps = count;
        self
    }

    /// Sets how many executions may be active at once, others stay queued; default 1000. One that is paused, or only waits for timers, signals
    /// or answers, is not counted, and goes on at once when it wakes.
    pub fn max_active_executions(mut self, count: usize) -> Self {
        self.max_active_executions = count;
        self
    }

    /// Sets how long an execution may take whose workflow does not say and waits for nobody; default
    /// [`WorkflowTimeout::DEFAULT_GLOBAL`]. It holds for executions that are started from now on.
    pub fn default_timeout(mut self, limit: Duration) -> Self {
        self.default_timeout = (limit != WorkflowTimeout::DEFAULT_GLOBAL.as_duration()).then_some(limit);
        self
    }

    /// Sets how many events the journal of an execution may have; default [`Queued::DEFAULT_MAX_EVENTS`]. Of these, 1000 and one for each
    /// step that is open are kept for its end: when no others are left it fails with BUDGET_EXCEEDED. It holds for executions that are
    /// started from now on.
    pub fn max_events(mut self, limit: u64) -> Self {
        self.max_events = (limit != <Queued>::DEFAULT_MAX_EVENTS).then_some(limit);
        self
    }

    /// Sets whether the engine counts what it does, for [`Engine::metrics`]; default not, and then it costs nothing.
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets whether spans hold what models and tools are asked and answer, secrets hidden; default not.
    pub fn content_in_spans(mut self, content: bool) -> Self {
        self.content_in_spans = content;
        self
    }

    /// Builds the engine.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if an agent, a tool or a hook could not be registered, or a limit is 0.
    pub fn build(self) -> Result<Engine, BuildError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        if self.max_concurrent_steps == 0 {
            return Err(BuildError::Limit("max_concurrent_steps"));
        }
        if self.max_active_executions == 0 {
            return Err(BuildError::Limit("max_active_executions"));
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        Ok(Engine {
            shared: Arc::new(EngineShared {
                tools: ToolAccess::new(self.agents.tools().clone(), self.tool_policy),
                secrets: self.secrets,
                trusts: self.trusts,
                #[cfg(feature = "model")]
                models: self.models.or_else(|| self.agents.models().cloned()).unwrap_or_default(),
                agents: self.agents,
                store: self.store.unwrap_or_else(|| Arc::new(MemoryStore::new())),
                holder: tenure::holder(&*clock),
                tenure: tenure::Tenure::default(),
                seed: clock.random(),
                clock,
                bus: Arc::new(Bus::default()),
                slots: Slots::new(self.max_concurrent_steps),
                places: Places::new(self.max_active_executions),
                registries: Registries::default(),
                hooks: EngineHooks::register(self.hooks)?,
                default_timeout: self.default_timeout,
                max_events: self.max_events,
                metrics: self.metrics.then(Metrics::default),
                append_fails: AtomicBool::new(false),
                content_in_spans: self.content_in_spans,
                drivers: TaskTracker::new(),
                live: Mutex::new(HashMap::new()),
                programs: Mutex::new(VecDeque::new()),
                readings: Readings::default(),
            }),
        })
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("agents", &self.agents).finish_non_exhaustive()
    }
}
