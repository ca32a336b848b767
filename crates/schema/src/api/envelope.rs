//! What every tool answers that this program offers to others (Model Context Protocol).

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Execution, ExecutionStatus, Progress, WaitingFor};
use crate::{CorrelationId, ErrorKind, ExecutionId, Failure, Timestamp, usage::Usage};

/// The answer of a tool: one form for all of them, so that who asks reads it without knowing which tool it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Envelope {
    /// How it stands with what was asked for.
    pub status: EnvelopeStatus,
    /// What ties the answer to its cause.
    pub correlation_id: CorrelationId,
    /// The execution that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The workflow that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// What is known of the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<EnvelopeData>,
    /// What the execution has logged lately, at most [`Envelope::MAX_LOGS`] lines, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub logs: Vec<String>,
    /// What went wrong; present if and only if the status is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EnvelopeError>,
    /// What the execution has used up; absent if no agent said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<EnvelopeCost>,
    /// Which request it answers, and when the execution ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<EnvelopeMeta>,
}

/// How it stands with what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnvelopeStatus {
    /// The execution has not ended.
    Running,
    /// It has ended well.
    Ok,
    /// It has failed or was cancelled, or the request was refused.
    Error,
}

/// What an [`Envelope`] tells of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct EnvelopeData {
    /// The status of the execution.
    pub status: ExecutionStatus,
    /// The workflow's outputs, once completed; left out if they are over 1 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// How far it has come.
    pub progress: Progress,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingFor>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct EnvelopeError {
    /// What kind of error it is.
    pub code: EnvelopeCode,
    /// What was attempted and why it failed, for people.
    pub message: String,
    /// Whether the same again may help.
    pub retryable: bool,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// The kind of an [`EnvelopeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum EnvelopeCode {
    /// A value within the execution does not fit.
    Validation,
    /// Something took longer than allowed.
    Timeout,
    /// The execution was cancelled.
    Cancelled,
    /// The circuit breaker of what is called is open.
    CircuitOpen,
    /// What an agent asked for does not exist.
    NotFound,
    /// There were too many calls.
    RateLimit,
    /// A policy, a person or the other side refuses.
    Forbidden,
    /// A budget does not allow the call.
    QuotaExceeded,
    /// Something cannot be reached, or takes no more work now.
    ServiceUnavailable,
    /// A defect.
    InternalError,
    /// The execution failed in another way.
    ExecutionFailed,
    /// The arguments of the tool do not fit, or the workflow's inputs.
    InvalidInput,
    /// The workflow's file is not valid.
    InvalidWorkflow,
    /// There is no such workflow.
    WorkflowNotFound,
    /// There is no such execution.
    ExecutionNotFound,
    /// Who asks has not shown who it is.
    Unauthorized,
}

/// What an execution has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeCost {
    /// Tokens of input that were not cached.
    pub input_tokens: u64,
    /// Tokens of output.
    pub output_tokens: u64,
    /// Tokens of input that were written to a cache.
    pub cache_creation_tokens: u64,
    /// Tokens of input that were read from a cache.
    pub cache_read_tokens: u64,
    /// US dollars.
    pub total_cost: f64,
}

/// Which request an [`Envelope`] answers, and when the execution ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct EnvelopeMeta {
    /// How much more may be asked for; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<EnvelopeRateLimit>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When the execution was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long it took, in milliseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
}

/// How much more may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeRateLimit {
    /// Calls at the same time.
    pub limit: u32,
    /// How many of them are free.
    pub remaining: u32,
    /// When all are free again; absent where that depends on the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
}

impl Envelope {
    /// Lines of a log at most.
    pub const MAX_LOGS: usize = 100;

    /// Makes the answer that tells how it stands with an execution.
    ///
    /// ```
    /// use orchestr8_schema::api::{Envelope, EnvelopeStatus, Execution, ExecutionStatus, WorkflowSummary};
    ///
    /// let workflow = WorkflowSummary { id: "greet".to_owned(), name: "Greet".to_owned(), version: None };
    /// let id = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10".parse()?;
    /// let execution = Execution::new(id, "order-4711".parse()?, workflow, ExecutionStatus::Paused);
    /// assert_eq!(Envelope::of(execution).status, EnvelopeStatus::Running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(execution: Execution) -> Self {
        let (status, error) = match execution.status {
            ExecutionStatus::Completed => (EnvelopeStatus::Ok, None),
            ExecutionStatus::Failed => {
                (EnvelopeStatus::Error, Some(execution.errors.first().map_or_else(EnvelopeError::unknown, Into::into)))
            }
            ExecutionStatus::Cancelled => {
                let error = EnvelopeError::new(EnvelopeCode::Cancelled, "the execution was cancelled");
                (EnvelopeStatus::Error, Some(error))
            }
            ExecutionStatus::Queued
            | ExecutionStatus::Running
            | ExecutionStatus::Paused
            | ExecutionStatus::Cancelling => (EnvelopeStatus::Running, None),
        };
        let meta = EnvelopeMeta {
            started_at: execution.started_at,
            completed_at: execution.completed_at,
            duration: execution.duration,
            ..EnvelopeMeta::default()
        };
        Self {
            status,
            correlation_id: execution.correlation_id,
            execution_id: Some(execution.execution_id),
            workflow_id: Some(execution.workflow.id),
            data: Some(EnvelopeData {
                status: execution.status,
                outputs: execution.outputs,
                progress: execution.progress,
                waiting_for: execution.waiting_for,
            }),
            logs: Vec::new(),
            error,
            cost: execution.usage.map(|usage| usage.used.into()),
            meta: Some(meta),
        }
    }

    /// Returns its JSON Schema, with which a tool says what it answers.
    #[must_use]
    pub fn schema() -> Value {
        let mut settings = SchemaSettings::draft2020_12();
        // Formats of numbers that only Rust knows; some validators refuse what they do not know.
        settings.transforms.push(Box::new(RecursiveTransform(|schema: &mut Schema| {
            if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                schema.remove("format");
            }
        })));
        settings.into_generator().into_root_schema_for::<Self>().to_value()
    }

    /// Makes the answer to a request that was refused.
    #[must_use]
    pub fn refused(correlation_id: CorrelationId, error: EnvelopeError) -> Self {
        Self {
            status: EnvelopeStatus::Error,
            correlation_id,
            execution_id: None,
            workflow_id: None,
            data: None,
            logs: Vec::new(),
            error: Some(error),
            cost: None,
            meta: None,
        }
    }
}

impl EnvelopeError {
    /// Makes an error; whether trying again may help follows from the code.
    #[must_use]
    pub fn new(code: EnvelopeCode, message: impl Into<String>) -> Self {
        let retryable =
            matches!(code, EnvelopeCode::Timeout | EnvelopeCode::RateLimit | EnvelopeCode::ServiceUnavailable);
        Self { code, message: message.into(), retryable, details: None }
    }

    /// Adds further facts.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<Value>) -> Self {
        self.details = Some(details.into());
        self
    }

    fn unknown() -> Self {
        Self::new(EnvelopeCode::ExecutionFailed, "the execution failed")
    }
}

impl From<&Failure> for EnvelopeError {
    fn from(failure: &Failure) -> Self {
        let mut details = serde_json::json!({ "kind": failure.code, "attempts": failure.attempts });
        if let Some(path) = &failure.step_path {
            details["stepPath"] = path.to_string().into();
        }
        if let Some(wait) = failure.retry_after_ms {
            details["retryAfterMs"] = wait.into();
        }
        let error = Self::new(failure.code.into(), failure.message.clone()).with_details(details);
        Self { retryable: failure.is_retryable, ..error }
    }
}

impl From<ErrorKind> for EnvelopeCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Validation => Self::Validation,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::CircuitOpen => Self::CircuitOpen,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::RateLimited => Self::RateLimit,
            ErrorKind::Denied => Self::Forbidden,
            ErrorKind::BudgetExceeded => Self::QuotaExceeded,
            ErrorKind::Network => Self::ServiceUnavailable,
            ErrorKind::Internal => Self::InternalError,
            ErrorKind::Retryable | ErrorKind::NoBranchMatched | ErrorKind::LoopLimit => Self::ExecutionFailed,
        }
    }
}

impl From<Usage> for EnvelopeCost {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_creation_tokens: usage.cache_creation_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            total_cost: usage.cost_usd,
        }
    }
}
