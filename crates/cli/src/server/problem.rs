//! Every answer with a status of 400 or more: one table of codes, one mapping, one body.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use orchestr8_core::{
    RequestError, StartError,
    engine::{ForkError, ResumeError, TakeUpError},
    execution::CancelError,
    machine::RefusalKind,
    store::StoreError,
};
use orchestr8_schema::{Code, Diagnostic, ExecutionId, api, json_schema::Violation};
use serde_json::{Value, json};

/// What is wrong, as a code that programs can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProblemCode {
    Validation,
    BadRequest,
    InvalidIdempotencyKey,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    IdempotencyKeyConflict,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    Internal,
    ShuttingDown,
    ResourceExhausted,
    WaitTimeout,
}

impl ProblemCode {
    /// Returns the code as it is written.
    pub(super) fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the status of its answers.
    pub(super) fn status(self) -> StatusCode {
        self.row().1
    }

    /// Returns code, status, title, and whether asking again may help.
    fn row(self) -> (&'static str, StatusCode, &'static str, bool) {
        match self {
            Self::Validation => ("VALIDATION", StatusCode::BAD_REQUEST, "The workflow or input is not valid", false),
            Self::BadRequest => ("BAD_REQUEST", StatusCode::BAD_REQUEST, "The request cannot be understood", false),
            Self::InvalidIdempotencyKey => {
                ("INVALID_IDEMPOTENCY_KEY", StatusCode::BAD_REQUEST, "The idempotency key is not well formed", false)
            }
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "A token is needed", false),
            Self::Forbidden => ("FORBIDDEN", StatusCode::FORBIDDEN, "The request is not allowed", false),
            Self::NotFound => ("NOT_FOUND", StatusCode::NOT_FOUND, "There is no such thing", false),
            Self::MethodNotAllowed => {
                ("METHOD_NOT_ALLOWED", StatusCode::METHOD_NOT_ALLOWED, "The path has no such method", false)
            }
            Self::BodyTimeout => ("TIMEOUT", StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time", true),
            Self::IdempotencyKeyConflict => (
                "IDEMPOTENCY_KEY_CONFLICT",
                StatusCode::CONFLICT,
                "The idempotency key stands for another request",
                false,
            ),
            Self::Conflict => ("CONFLICT", StatusCode::CONFLICT, "The state does not allow it", false),
            Self::PreconditionFailed => (
                "PRECONDITION_FAILED",
                StatusCode::PRECONDITION_FAILED,
                "The execution is no longer in the state that is spoken of",
                false,
            ),
            Self::PayloadTooLarge => {
                ("PAYLOAD_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", false)
            }
            Self::UnsupportedMediaType => {
                ("UNSUPPORTED_MEDIA_TYPE", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has another type", false)
            }
            Self::RateLimited => ("RATE_LIMITED", StatusCode::TOO_MANY_REQUESTS, "There is too much of it", true),
            Self::Internal => ("INTERNAL", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here", true),
            Self::ShuttingDown => {
                ("SHUTTING_DOWN", StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down", true)
            }
            Self::ResourceExhausted => {
                ("RESOURCE_EXHAUSTED", StatusCode::SERVICE_UNAVAILABLE, "There is no room for it now", true)
            }
            Self::WaitTimeout => ("TIMEOUT", StatusCode::GATEWAY_TIMEOUT, "The execution has not ended in time", true),
        }
    }
}

/// The refusal of a request; it becomes a response whose body [`exchange`](super::exchange) completes.
#[derive(Debug)]
pub(super) struct Rejection {
    problem: Box<api::Problem>,
    headers: HeaderMap,
}

impl Rejection {
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (code, status, title, is_retryable) = code.row();
        let mut problem = api::Problem::new(code, title, status.as_u16(), detail);
        problem.is_retryable = is_retryable;
        Self { problem: Box::new(problem), headers: HeaderMap::new() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    pub(super) fn invalid(detail: impl Into<String>, issues: Vec<Diagnostic>) -> Self {
        Self::new(ProblemCode::Validation, detail).issues(issues)
    }

    pub(super) fn issues(mut self, issues: Vec<Diagnostic>) -> Self {
        self.problem.issues = issues;
        self
    }

    /// Refuses for a cause that only the log learns.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "request failed");
        Self::new(ProblemCode::Internal, "the cause is in the server's log, under the correlation id")
    }

    pub(super) fn shutting_down() -> Self {
        Self::new(ProblemCode::ShuttingDown, "no further executions are taken").retry_after(5)
    }

    pub(super) fn changed_meanwhile() -> Self {
        Self::new(ProblemCode::PreconditionFailed, "the execution has changed; read it again")
    }

    pub(super) fn unknown_execution(id: ExecutionId) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no execution {id}")).about(id)
    }

    pub(super) fn about(mut self, execution: ExecutionId) -> Self {
        self.problem.execution_id = Some(execution);
        self
    }

    pub(super) fn retry_after(self, seconds: u16) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(super) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.problem.extensions.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.headers).into_response();
        response.extensions_mut().insert(Pending(Arc::from(self.problem)));
        response
    }
}

/// A problem on its way out: what depends on the request is still missing.
#[derive(Clone, Debug)]
pub(super) struct Pending(pub(super) Arc<api::Problem>);

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(id) => Self::unknown_execution(id),
            error => Self::internal(&error),
        }
    }
}

impl From<CancelError> for Rejection {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<RequestError> for Rejection {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            RequestError::Refused(refusal) => match refusal.kind {
                RefusalKind::Invalid => ProblemCode::Validation,
                RefusalKind::Full => ProblemCode::RateLimited,
                _ => ProblemCode::Conflict,
            },
            RequestError::TooLarge { .. } => ProblemCode::PayloadTooLarge,
            _ => ProblemCode::Conflict,
        };
        let rejection = Self::new(code, error.to_string());
        if code == ProblemCode::RateLimited { rejection.retry_after(5) } else { rejection }
    }
}

impl From<TakeUpError> for Rejection {
    fn from(error: TakeUpError) -> Self {
        match error {
            TakeUpError::Store(error) => error.into(),
            TakeUpError::ShuttingDown => Self::shutting_down(),
            TakeUpError::Held(holder) => {
                let detail = format!("process {} on {} drives the execution; ask there", holder.process, holder.host);
                let holder = json!({ "process": holder.process, "host": &*holder.host });
                Self::new(ProblemCode::Conflict, detail).member("holder", holder)
            }
            error => Self::new(ProblemCode::Conflict, error.to_string()),
        }
    }
}

impl From<ResumeError> for Rejection {
    fn from(error: ResumeError) -> Self {
        match error {
            error if error.is_about_limits() => Self::bad_request(error.to_string()),
            ResumeError::TakeUp(error) => error.into(),
            error => Self::new(ProblemCode::Conflict, error.to_string()),
        }
    }
}

impl From<ForkError> for Rejection {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::Start(error) => error.into(),
            ForkError::Store(error) => error.into(),
            ForkError::Undone(detail) => Self::new(ProblemCode::Conflict, detail),
            error => Self::bad_request(error.to_string()),
        }
    }
}

impl From<StartError> for Rejection {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Input(violations) => {
                let issues = violations.iter().map(|violation| issue("/input", violation)).collect();
                Self::invalid("the input does not fit the workflow's `inputs`", issues)
            }
            StartError::Plan(error) => Self::invalid(error.to_string(), Vec::new()),
            StartError::IdempotencyConflict { .. } => Self::new(
                ProblemCode::IdempotencyKeyConflict,
                "the key was used with another body less than ten minutes ago",
            ),
            StartError::ShuttingDown => Self::shutting_down(),
            StartError::Store(error) if error.is_passing() => {
                tracing::error!(error = &error as &dyn std::error::Error, "request failed");
                let detail =
                    "it cannot be stored at the moment; the cause is in the server's log, under the correlation id";
                Self::new(ProblemCode::ResourceExhausted, detail).retry_after(5)
            }
            StartError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

/// Says what of a part of a request does not fit a schema.
pub(super) fn issue(part: &str, violation: &Violation) -> Diagnostic {
    Diagnostic::new(Code::ConstantViolatesSchema, format!("{part}{}", violation.path()), violation.message())
}

/// Answers paths that do not exist.
pub(super) async fn no_such_route() -> Rejection {
    Rejection::new(ProblemCode::NotFound, "there is nothing at this path")
}
