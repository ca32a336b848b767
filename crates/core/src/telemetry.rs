//! The spans that an execution leaves: execution → step → attempt, and the delay of a retry beside the attempts.
//!
//! Libraries emit spans and never install a subscriber. With none installed, a span costs about half a nanosecond.
//!
//! | span | fields |
//! |---|---|
//! | `orchestr8.execution` | `orchestr8.execution_id`, `.workflow_id`, `.correlation_id`, `.status`, `.error_code` |
//! | `orchestr8.step` | `orchestr8.step_path`, `.kind`, `.agent_id` (of a tool, its name), `.status`, `.error_code` |
//! | `orchestr8.hook` | as of a step; the kind is the hook's point |
//! | `orchestr8.attempt` | `orchestr8.attempt`, `.status`, `.error_code` |
//! | `orchestr8.backoff` | `orchestr8.attempt` (the next), `orchestr8.delay_ms` |
//! | `orchestr8.model` | `orchestr8.model.provider`, `.name`, `.turn`, `orchestr8.usage.input_tokens`, `.output_tokens`, `.cost_usd`, `orchestr8.error_code` |
//! | `orchestr8.tool` | `orchestr8.tool.name`, `.turn`, `orchestr8.error_code`: of a call that an agent makes |
//!
//! The last two stand below their attempt. With [`EngineBuilder::content_in_spans`](crate::EngineBuilder::content_in_spans) they also hold
//! `orchestr8.model.prompt` and `.answer`, and `orchestr8.tool.arguments` and `.result`, secrets hidden.
//!
//! What the resilience layers decide are events within these spans: `retry_backoff`, `retry_exhausted`, `timeout_triggered`,
//! `circuit_state_change`, `circuit_probe_attempt` and `permit_rejected`, with the names of the resilience specification.

use std::time::Duration;

use orchestr8_agent_base::{
    Callee,
    context::{ExecutionIdentity, StepIdentity},
};
use orchestr8_schema::{ErrorKind, StepPath, workflow::HookPoint};
use tracing::{Span, field::Empty};

/// The span of an execution.
pub const EXECUTION: &str = "orchestr8.execution";
/// The span of a step.
pub const STEP: &str = "orchestr8.step";
/// The span of a hook.
pub const HOOK: &str = "orchestr8.hook";
/// The span of one attempt.
pub const ATTEMPT: &str = "orchestr8.attempt";
/// The span of a retry's delay.
pub const BACKOFF: &str = "orchestr8.backoff";

pub(crate) fn execution_span(identity: &ExecutionIdentity) -> Span {
    tracing::info_span!(
        EXECUTION,
        orchestr8.execution_id = %identity.execution_id,
        orchestr8.workflow_id = &*identity.workflow_id,
        orchestr8.correlation_id = %identity.correlation_id,
        orchestr8.status = Empty,
        orchestr8.error_code = Empty,
    )
}

pub(crate) fn step_span(parent: &Span, step: &StepIdentity, callee: &Callee) -> Span {
    tracing::info_span!(
        parent: parent,
        STEP,
        orchestr8.step_path = %step.step_path,
        orchestr8.kind = if callee.is_tool() { "tool" } else { "agent" },
        orchestr8.agent_id = &**callee.name(),
        orchestr8.status = Empty,
        orchestr8.error_code = Empty,
    )
}

pub(crate) fn hook_span(parent: &Span, path: Option<&StepPath>, point: HookPoint, callee: Option<&Callee>) -> Span {
    tracing::info_span!(
        parent: parent,
        HOOK,
        orchestr8.step_path = path.map(StepPath::as_str),
        orchestr8.kind = point.key(),
        orchestr8.agent_id = callee.map(|callee| &**callee.name()),
        orchestr8.status = Empty,
        orchestr8.error_code = Empty,
    )
}

pub(crate) fn attempt_span(parent: &Span, attempt: u32) -> Span {
    tracing::info_span!(
        parent: parent,
        ATTEMPT,
        orchestr8.attempt = attempt,
        orchestr8.status = Empty,
        orchestr8.error_code = Empty,
    )
}

pub(crate) fn backoff_span(parent: &Span, attempt: u32, delay: Duration) -> Span {
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    tracing::info_span!(parent: parent, BACKOFF, orchestr8.attempt = attempt, orchestr8.delay_ms = delay_ms)
}

/// Writes down how the work of a span ended.
pub(crate) fn record_end(span: &Span, status: &str, error: Option<ErrorKind>) {
    span.record("orchestr8.status", status);
    if let Some(error) = error {
        span.record("orchestr8.error_code", error.code());
    }
}
