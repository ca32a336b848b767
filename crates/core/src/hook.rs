//! Hooks in Rust: what an engine calls around every execution and step, whatever the workflow.
//!
//! A hook is registered on the engine with the points at which it is called. An *observer* looks on: what it answers changes
//! nothing, and when it fails that is recorded and ignored. A *guard* allows or denies what comes next, or gives it another input; a
//! guard that fails, panics or takes too long denies.
//!
//! They surround those of the workflow file: before a step they are called first, after it last. What they answer is in the journal, and
//! a journal that is replayed calls nobody. Hooks are called one after another, once, and have five seconds each.
//!
//! ```
//! use orchestr8_core::{Engine, hook::{Decision, HookSpec, hook_fn}, schema::workflow::HookPoint};
//! use serde_json::json;
//!
//! let night = hook_fn(HookSpec::guard("no-work-at-night", [HookPoint::BeforeStep]), |event, cx, _cancel| async move {
//!     let hour = cx.now().as_micros() / 3_600_000_000 % 24;
//!     Ok(if hour < 6 { Decision::deny(format!("{:?} has to wait until 6", event.step_path())) } else { Decision::Allow })
//! });
//! let engine = Engine::builder().hook(night).build()?;
//! # drop(engine);
//! # Ok::<(), orchestr8_core::engine::BuildError>(())
//! ```

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_agent_base::{AgentContext, AgentError, CancellationToken, Tool, ToolSpec, tool::ToolRegistry};
use orchestr8_schema::{
    event::EngineHook,
    id::ToolName,
    workflow::{self, HookMode, HookPoint},
};
use serde_json::{Map, Value, json};

use crate::{
    engine::BuildError,
    plan::{Leaf, LeafPolicy},
};

/// Is called at points of every execution.
///
/// For a closure there is [`hook_fn`]. The same value serves all calls at once.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no hook",
    note = "implement `Hook`, or wrap a closure in `hook_fn`"
)]
pub trait Hook: Send + Sync + 'static {
    /// Says what the hook is, and where it is called. Asked once, when the hook is registered.
    fn spec(&self) -> HookSpec;

    /// Looks at what happens; of a guard, decides about it. What an observer decides is not listened to.
    ///
    /// The context is that of a call of its own, with a key of its own; in hooks about the execution the step id is the hook's point.
    ///
    /// # Errors
    ///
    /// An observer's error is recorded and ignored; a guard's denies.
    ///
    /// # Cancellation safety
    ///
    /// The future is dropped when its time is over, or what it is about has ended otherwise.
    async fn call(
        &self,
        event: &HookEvent,
        cx: &AgentContext,
        cancel: CancellationToken,
    ) -> Result<Decision, AgentError>;
}

/// What a hook says about itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HookSpec {
    /// Its name, of the form of a tool's. A journal knows it by this, so it stays the same.
    pub name: String,
    /// Where it is called: `BeforeExecution`, `AfterExecution`, `OnError` and `OnCancel` of the execution; `BeforeStep`, `AfterStep`
    /// and `OnStepError` of every step.
    pub points: Vec<HookPoint>,
    /// What its answer means.
    pub mode: HookMode,
    /// How long it may take; 5 s unless said otherwise.
    pub timeout: Duration,
}

impl HookSpec {
    /// Describes a hook that only looks on.
    pub fn observer(name: impl Into<String>, points: impl Into<Vec<HookPoint>>) -> Self {
        let timeout = workflow::Hook::DEFAULT_TIMEOUT.as_duration();
        Self { name: name.into(), points: points.into(), mode: HookMode::Observer, timeout }
    }

    /// Describes a hook that decides: at `BeforeExecution` and `BeforeStep`.
    pub fn guard(name: impl Into<String>, points: impl Into<Vec<HookPoint>>) -> Self {
        Self { mode: HookMode::Guard, ..Self::observer(name, points) }
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What a hook decides.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// It may come.
    Allow,
    /// It may come, with this input, which is checked as the first one was.
    AllowWith(Value),
    /// It may not, for this reason.
    Deny(String),
}

impl Decision {
    /// Denies, for a reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny(reason.into())
    }

    fn into_answer(self) -> Value {
        match self {
            Self::Allow => json!({ "decision": "allow" }),
            Self::AllowWith(input) => json!({ "decision": "allow", "input": input }),
            Self::Deny(reason) => json!({ "decision": "deny", "reason": reason }),
        }
    }
}

/// What happens, as a hook is told.
#[derive(Clone, Debug, PartialEq)]
pub struct HookEvent {
    point: HookPoint,
    own: Value,
}

impl HookEvent {
    /// Returns where the hook is called.
    #[must_use]
    pub fn point(&self) -> HookPoint {
        self.point
    }

    /// Returns the step's id; absent at points of the execution.
    #[must_use]
    pub fn step_id(&self) -> Option<&str> {
        self.own.get("stepId")?.as_str()
    }

    /// Returns the step's place; absent at points of the execution.
    #[must_use]
    pub fn step_path(&self) -> Option<&str> {
        self.own.get("stepPath")?.as_str()
    }

    /// Returns the resolved input of the step, or that of the execution.
    #[must_use]
    pub fn input(&self) -> &Value {
        self.own.get("input").unwrap_or(&Value::Null)
    }

    /// Returns the output, after a step or an execution that completed.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        self.own.get("output")
    }

    /// Returns the failure, as it stands in the journal, after one.
    #[must_use]
    pub fn error(&self) -> Option<&Value> {
        self.own.get("error")
    }

    /// Returns the status, once there is one: `completed`, `failed` or `cancelled`.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.own.get("status")?.as_str()
    }
}

/// Makes a hook of its description and a closure, which gets its own copy of the event and its own context.
pub fn hook_fn<F, Fut>(spec: HookSpec, function: F) -> HookFn<F>
where
    F: Fn(HookEvent, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Decision, AgentError>> + Send,
{
    HookFn { spec, function }
}

/// The hook that [`hook_fn`] makes.
pub struct HookFn<F> {
    spec: HookSpec,
    function: F,
}

#[async_trait]
impl<F, Fut> Hook for HookFn<F>
where
    F: Fn(HookEvent, AgentContext, CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Decision, AgentError>> + Send,
{
    fn spec(&self) -> HookSpec {
        self.spec.clone()
    }

    async fn call(
        &self,
        event: &HookEvent,
        cx: &AgentContext,
        cancel: CancellationToken,
    ) -> Result<Decision, AgentError> {
        (self.function)(event.clone(), cx.clone(), cancel).await
    }
}

impl<F> fmt::Debug for HookFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookFn").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

/// The hooks of an engine.
#[derive(Debug, Default)]
pub(crate) struct EngineHooks {
    /// As executions know them.
    pub(crate) records: Arc<[EngineHook]>,
    /// How each is called.
    pub(crate) leaves: Vec<Leaf>,
}

impl EngineHooks {
    pub(crate) fn register(hooks: Vec<Box<dyn Hook>>) -> Result<Self, BuildError> {
        let mut tools = ToolRegistry::new();
        let (mut records, mut leaves) = (Vec::new(), Vec::new());
        for hook in hooks {
            let HookSpec { name, points, mode, timeout } = hook.spec();
            let is_misplaced = |point: &&HookPoint| {
                matches!(point, HookPoint::Before | HookPoint::After)
                    || (mode == HookMode::Guard && !point.allows_guards())
            };
            if let Some(point) = points.iter().find(is_misplaced) {
                return Err(BuildError::HookPoint { name, point: point.key() });
            }
            let spec =
                ToolSpec::new(&name, "A hook of the engine").map_err(|source| BuildError::HookName { source })?;
            let called = spec.name.clone();
            tools.register(HookTool { hook, spec })?;
            leaves.extend(leaf(&tools, &called, timeout));
            records.push(EngineHook { name: called.as_str().into(), points, mode });
        }
        Ok(Self { records: records.into(), leaves })
    }

    /// Finds a hook by the name that an execution knows it by.
    pub(crate) fn place_of(&self, name: &str) -> Option<usize> {
        self.records.iter().position(|hook| *hook.name == *name)
    }
}

fn leaf(tools: &ToolRegistry, name: &ToolName, timeout: Duration) -> Option<Leaf> {
    let callee = Arc::clone(tools.get(name)?.callee());
    let (config, policy) = (Arc::new(Map::new()), Arc::new(LeafPolicy::once(callee.name(), timeout)));
    Some(Leaf { callee, version: Arc::default(), config, policy })
}

/// A hook as what an engine calls: a tool whose argument is `self`.
struct HookTool {
    hook: Box<dyn Hook>,
    spec: ToolSpec,
}

#[async_trait]
impl Tool for HookTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, own: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let point = own.get("point").cloned().unwrap_or_default();
        let point = serde_json::from_value(point)
            .map_err(|source| AgentError::internal("the hook was called at no point").with_source(source))?;
        let decision = self.hook.call(&HookEvent { point, own: own.clone() }, cx, cancel).await?;
        Ok(decision.into_answer())
    }
}
