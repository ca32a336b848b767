//! Where an execution comes from: what it was made of, and what a fork may take over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EngineHook;
use crate::{CorrelationId, ExecutionId, IdempotencyKey, StepPath, ValidWorkflow, policy::Budget};

/// What an execution was made from: the first event of every journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Queued<W = ValidWorkflow> {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// What ties it to the request that caused it.
    pub correlation_id: CorrelationId,
    /// The whole workflow; later edits of the file do not touch it.
    pub workflow: W,
    /// The agent versions that its steps were resolved to, by step.
    pub agent_versions: Arc<[Arc<str>]>,
    /// The execution's input, defaults filled in.
    pub input: Arc<Value>,
    /// The variables, overridden by the caller; an object.
    pub variables: Arc<Value>,
    /// What the root `env` shows; an object.
    pub env: Arc<Value>,
    /// The key under which the request may be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
    /// A limit on the whole execution that is tighter than the workflow's.
    pub timeout: Option<Duration>,
    /// The hooks that the engine had when it took the execution on.
    #[serde(default)]
    pub hooks: Arc<[EngineHook]>,
    /// Where the execution begins that it was made from; absent if it is no fork.
    #[serde(default)]
    pub forked_from: Option<ForkedFrom>,
    /// Results that a fork may take over, by step path.
    #[serde(default)]
    pub retained: Option<Arc<BTreeMap<StepPath, Retained>>>,
    /// The limit where the workflow says none and waits for nobody; absent for
    /// [`WorkflowTimeout::DEFAULT_GLOBAL`](crate::policy::WorkflowTimeout::DEFAULT_GLOBAL).
    #[serde(default)]
    pub default_timeout: Option<Duration>,
    /// A limit on the steps that run at the same time that is tighter than the workflow's.
    #[serde(default)]
    pub max_concurrent_steps: Option<u32>,
    /// Limits that are tighter than those of the workflow's budget; absent if there are none.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How many events the journal may have; absent for [`DEFAULT_MAX_EVENTS`](Queued::DEFAULT_MAX_EVENTS).
    #[serde(default)]
    pub max_events: Option<u64>,
}

/// The checkpoint that a fork begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForkedFrom {
    /// The execution that it was made from.
    pub execution_id: ExecutionId,
    /// How many events of that had happened.
    pub sequence: u64,
}

/// A result that a fork may take over, and all that it depended on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The kind of the step.
    pub kind: Arc<str>,
    /// The id of the agent or the name of the tool; empty for a wait and an approval.
    pub callee: Arc<str>,
    /// The agent's version.
    pub version: Arc<str>,
    /// The digest of the agent's configuration, or of what a wait or an approval says of itself.
    pub config_digest: Arc<str>,
    /// The digest of the resolved input.
    pub input_digest: Arc<str>,
    /// What the step gave.
    pub output: Arc<Value>,
}

/// Whether a fork takes a result over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reuse {
    /// It does.
    Reused,
    /// No: the step has another input.
    InputChanged,
    /// No: another agent or tool is called, or the step is of another kind.
    CalleeChanged,
    /// No: the agent has another version.
    VersionChanged,
    /// No: the agent, the wait or the approval is configured otherwise.
    ConfigChanged,
}

impl Reuse {
    /// Returns the verdict as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::InputChanged => "input-changed",
            Self::CalleeChanged => "callee-changed",
            Self::VersionChanged => "version-changed",
            Self::ConfigChanged => "config-changed",
        }
    }
}

impl Queued {
    /// Puts the first event together; there is neither an idempotency key nor a tighter limit of any kind.
    #[must_use]
    pub fn new(
        execution_id: ExecutionId,
        correlation_id: CorrelationId,
        workflow: ValidWorkflow,
        agent_versions: Arc<[Arc<str>]>,
        input: Arc<Value>,
        variables: Arc<Value>,
        env: Arc<Value>,
    ) -> Self {
        Self {
            execution_id,
            correlation_id,
            workflow,
            agent_versions,
            input,
            variables,
            env,
            idempotency_key: None,
            timeout: None,
            hooks: Arc::default(),
            forked_from: None,
            retained: None,
            default_timeout: None,
            max_concurrent_steps: None,
            budget: None,
            max_events: None,
        }
    }
}

impl<W> Queued<W> {
    /// How many events a journal may have where nobody says otherwise.
    pub const DEFAULT_MAX_EVENTS: u64 = 1_000_000;

    /// Puts something else in the place of the workflow: for a store, the name that it keeps the workflow under.
    #[must_use]
    pub fn with_workflow<V>(self, workflow: V) -> Queued<V> {
        Queued {
            execution_id: self.execution_id,
            correlation_id: self.correlation_id,
            workflow,
            agent_versions: self.agent_versions,
            input: self.input,
            variables: self.variables,
            env: self.env,
            idempotency_key: self.idempotency_key,
            timeout: self.timeout,
            hooks: self.hooks,
            forked_from: self.forked_from,
            retained: self.retained,
            default_timeout: self.default_timeout,
            max_concurrent_steps: self.max_concurrent_steps,
            budget: self.budget,
            max_events: self.max_events,
        }
    }
}
