//! How an agent fails.
//!
//! There are two sorts of failure, told apart by kind: those where trying again may help (TIMEOUT, RETRYABLE, NETWORK,
//! RATE_LIMITED), and all others. Choose the kind where the cause is known:
//!
//! ```
//! use std::time::Duration;
//!
//! use orchestr8_agent_base::AgentError;
//!
//! // Tried again after the delay that the other side asks for.
//! let busy = AgentError::rate_limited("the search service is busy").with_retry_after(Duration::from_secs(5));
//! assert!(busy.kind().is_retryable());
//!
//! // Not tried again: the same input would fail the same way.
//! assert!(!AgentError::validation("`query` is empty").kind().is_retryable());
//!
//! // An error of another library becomes the source. Without a better kind it is INTERNAL.
//! let error: Result<u32, _> = "x".parse::<u32>().map_err(|source| AgentError::validation("`count` is no number").with_source(source));
//! assert_eq!(error.unwrap_err().to_string(), "`count` is no number");
//! ```

use std::{error::Error, fmt, time::Duration};

use orchestr8_resilience::{
    BulkheadFull, CircuitOpen, Class, Classify, DeadlineReached, Elapsed, RateLimited, rate_limit::Refusal,
};
use orchestr8_schema::{ErrorKind, Failure, Millis};
use serde_json::{Value, json};

type Source = Box<dyn Error + Send + Sync>;

/// An agent's failure: a kind, a message for people, and optionally a source, further facts and a delay.
///
/// The message says what was attempted, in lowercase, without repeating the source and without secrets.
#[derive(Debug)]
pub struct AgentError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Source>,
    context: Option<Value>,
    retry_after: Option<Duration>,
    /// A layer around the agent says so; the agent was not called.
    is_rejection: bool,
    /// It is about a tool that is not available.
    is_unavailable: bool,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            }
        )*
    };
}

impl AgentError {
    /// Makes an error of any kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            message,
            source: None,
            context: None,
            retry_after: None,
            is_rejection: false,
            is_unavailable: false,
        }))
    }

    constructors! {
        /// Input, output or configuration does not fit; not tried again.
        validation => Validation;
        /// The other side failed in a way that may pass; tried again.
        retryable => Retryable;
        /// The connection failed; tried again.
        network => Network;
        /// The other side did not answer in time; tried again.
        timeout => Timeout;
        /// The other side asks for fewer calls; tried again, not before [`with_retry_after`](Self::with_retry_after).
        rate_limited => RateLimited;
        /// A policy or the other side refuses; not tried again.
        denied => Denied;
        /// What was asked for does not exist; not tried again.
        not_found => NotFound;
        /// The token fired; neither tried again nor counted.
        cancelled => Cancelled;
        /// A defect; not tried again unless the step asks for it.
        internal => Internal;
    }

    /// Adds the error that led here.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds further facts for the journal, such as `{"status": 503}`. They hold no secrets.
    #[must_use]
    pub fn with_context(mut self, context: Value) -> Self {
        self.0.context = Some(context);
        self
    }

    /// Adds the delay that the other side asks for. It is a minimum: the next attempt comes no earlier.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the further facts.
    #[must_use]
    pub fn context(&self) -> Option<&Value> {
        self.0.context.as_ref()
    }

    /// Returns the least delay before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Makes it the denial of a tool that is not available.
    pub(crate) fn unavailable(mut self) -> Self {
        self.0.is_unavailable = true;
        self
    }

    #[cfg(feature = "llm")]
    pub(crate) fn is_unavailable_tool(&self) -> bool {
        self.0.is_unavailable
    }

    /// Makes it the rejection by a layer, so that the attempt does not count as one.
    fn rejection(mut self) -> Self {
        self.0.is_rejection = true;
        self
    }

    /// Makes it the answer of an agent that was called, whatever layers of its own have rejected.
    pub(crate) fn by_agent(mut self) -> Self {
        self.0.is_rejection = false;
        self
    }

    /// Whether the error carries an HTTP status of 500 or more in its context.
    fn is_server_error(&self) -> bool {
        self.0
            .context
            .as_ref()
            .and_then(|context| context.get("status"))
            .and_then(Value::as_u64)
            .is_some_and(|status| status >= 500)
    }

    /// Makes an error of what was recorded.
    #[must_use]
    pub fn from_failure(failure: &Failure) -> Self {
        let mut error = Self::new(failure.code, failure.message.clone());
        error.0.context.clone_from(&failure.context);
        error.0.retry_after = failure.retry_after_ms.map(Duration::from_millis);
        match &failure.cause {
            Some(cause) => error.with_source(Self::from_failure(cause)),
            None => error,
        }
    }

    /// Turns the error into what is recorded. The sources become the chain of causes, as INTERNAL unless they are
    /// [`AgentError`]s themselves.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let mut failure = Failure::new(self.0.kind, &self.0.message);
        failure.context.clone_from(&self.0.context);
        failure.retry_after_ms = self.0.retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        if let Some(source) = &self.0.source {
            failure = failure.caused_by(cause(source.as_ref(), 1).into());
        }
        failure
    }
}

/// The number of links is bounded here too, since a foreign chain of sources may be long.
fn cause(error: &(dyn Error + 'static), depth: usize) -> Failure {
    if let Some(error) = error.downcast_ref::<AgentError>() {
        return error.to_failure();
    }
    let failure = Failure::new(ErrorKind::Internal, error.to_string());
    match error.source() {
        Some(source) if depth < Failure::MAX_CAUSES => failure.caused_by(cause(source, depth + 1).into()),
        _ => failure,
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for AgentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<Elapsed> for AgentError {
    fn from(elapsed: Elapsed) -> Self {
        let limit = Millis::from(elapsed.limit());
        Self::timeout(format!("the attempt took longer than {limit}")).with_context(json!({ "timeoutMs": limit }))
    }
}

impl From<CircuitOpen> for AgentError {
    fn from(rejection: CircuitOpen) -> Self {
        let error = Self::new(ErrorKind::CircuitOpen, format!("the circuit `{}` is open", rejection.key()))
            .with_context(json!({ "key": rejection.key() }))
            .rejection();
        match rejection.retry_after() {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}

impl From<RateLimited> for AgentError {
    fn from(limited: RateLimited) -> Self {
        let kind = match limited.refusal() {
            Refusal::TooLate { .. } => ErrorKind::Timeout,
            Refusal::TooHeavy { .. } => ErrorKind::Validation,
            _ => ErrorKind::RateLimited,
        };
        let error = Self::new(kind, limited.to_string()).with_context(json!({ "key": limited.key() })).rejection();
        match limited.retry_after() {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}

impl From<BulkheadFull> for AgentError {
    fn from(full: BulkheadFull) -> Self {
        Self::rate_limited(full.to_string()).with_context(json!({ "key": full.key() })).rejection()
    }
}

impl From<DeadlineReached<AgentError>> for AgentError {
    fn from(reached: DeadlineReached<AgentError>) -> Self {
        let error = Self::timeout("the next attempt would come after the deadline");
        match reached.into_last() {
            Some(last) => error.with_source(last),
            None => error,
        }
    }
}

/// What each kind means for retry and circuit breaker.
impl Classify for AgentError {
    fn classify(&self) -> Class {
        match self.0.kind {
            // A wait would have been too long; so would be another one.
            ErrorKind::Timeout if self.0.is_rejection => Class::Permanent,
            ErrorKind::Timeout => Class::Timeout,
            ErrorKind::Network => Class::Network,
            ErrorKind::Retryable if self.is_server_error() => Class::ServerError,
            ErrorKind::Retryable => Class::Retryable,
            ErrorKind::RateLimited => Class::RateLimited,
            ErrorKind::Internal => Class::Internal,
            ErrorKind::CircuitOpen => Class::CircuitOpen,
            ErrorKind::Cancelled => Class::Cancelled,
            ErrorKind::Validation
            | ErrorKind::Denied
            | ErrorKind::NotFound
            | ErrorKind::BudgetExceeded
            | ErrorKind::NoBranchMatched
            | ErrorKind::LoopLimit => Class::Permanent,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    fn is_rejection(&self) -> bool {
        self.0.is_rejection
    }
}
