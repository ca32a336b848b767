//! An agent as a tower service, so that any layer can be put around it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use orchestr8_schema::json_schema::Violations;
use pin_project_lite::pin_project;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::Instrument;

use crate::{AgentContext, AgentError, Callee};

/// One attempt, as a request to an [`AgentService`]. Cloning it shares the input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentRequest {
    /// The resolved input, which satisfies the agent's schema.
    pub input: Arc<Value>,
    /// What the agent is told.
    pub cx: AgentContext,
    /// Fires when the attempt is to end.
    pub cancel: CancellationToken,
}

impl AgentRequest {
    /// Puts a request together.
    #[must_use]
    pub fn new(input: Arc<Value>, cx: AgentContext, cancel: CancellationToken) -> Self {
        Self { input, cx, cancel }
    }
}

/// An agent as a tower service. Clones share the agent; it is always ready.
///
/// A call goes through these, in order: cancelled already is CANCELLED and the agent is not called; the agent's own
/// [`validate`](crate::Agent::validate), until it has succeeded once for the step; [`execute`](crate::Agent::execute), in a task of its own if
/// the manifest asks for it; the output against the manifest's schema and the limit of [`Callee::MAX_OUTPUT`]. A panic becomes INTERNAL.
#[derive(Clone)]
pub struct AgentService {
    callee: Arc<Callee>,
}

impl AgentService {
    /// Makes a service of an agent or a tool.
    #[must_use]
    pub fn new(callee: Arc<Callee>) -> Self {
        Self { callee }
    }
}

impl Service<AgentRequest> for AgentService {
    type Response = Value;
    type Error = AgentError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AgentRequest) -> ResponseFuture {
        let callee = Arc::clone(&self.callee);
        ResponseFuture(Box::pin(async move {
            let AgentRequest { input, cx, cancel } = request;
            call(&callee, &input, &cx, cancel).await
        }))
    }
}

/// The future of an [`AgentService`]. Dropping it drops the agent's future, or aborts its task.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<Value, AgentError>> + Send>>);

impl Future for ResponseFuture {
    type Output = Result<Value, AgentError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentService").field("callee", &self.callee).finish()
    }
}

/// Calls an agent or a tool once, as an [`AgentService`] does, without the box that a nameable future needs.
///
/// # Errors
///
/// What it answers; CANCELLED if the token has fired already; VALIDATION if the output breaks its schema or is over
/// [`Callee::max_output`]; INTERNAL if it panics.
///
/// # Cancellation safety
///
/// Dropping the future drops the agent's future, or aborts its task. A panic in there is caught.
pub async fn call(
    callee: &Arc<Callee>,
    input: &Arc<Value>,
    cx: &AgentContext,
    cancel: CancellationToken,
) -> Result<Value, AgentError> {
    if callee.has_dedicated_task() {
        let (callee, input, cx) = (Arc::clone(callee), Arc::clone(input), cx.clone());
        dedicated(async move { attempt(&callee, &input, &cx, cancel).await }).await
    } else {
        attempt(callee, input, cx, cancel).await
    }
}

async fn attempt(
    callee: &Callee,
    input: &Value,
    cx: &AgentContext,
    cancel: CancellationToken,
) -> Result<Value, AgentError> {
    if cancel.is_cancelled() {
        return Err(AgentError::cancelled("cancelled before the agent was called"));
    }
    let call = cx.cleaned_up(Guarded::new(callee.run(input, cx, cancel.clone())), cancel);
    let output = match AssertUnwindSafe(call).catch_unwind().await {
        Ok(result) => result.map_err(AgentError::by_agent)?,
        Err(panic) => return Err(panicked(panic.as_ref())),
    };
    if let Some(schema) = callee.output_schema() {
        schema.validate(&output).map_err(|violations| {
            let violations = Violations(&violations);
            AgentError::validation(format!("the output of {} does not fit its schema: {violations}", callee.name()))
        })?;
    }
    if !fits(&output, callee.max_output()) {
        let limit = callee.max_output() / (1024 * 1024);
        return Err(AgentError::validation(format!("the output of {} is over {limit} MB", callee.name())));
    }
    Ok(output)
}

pin_project! {
    /// What an agent's future holds may panic when it is dropped, which is the agent's affair and nobody else's.
    struct Guarded<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            let _ = catch_unwind(AssertUnwindSafe(|| future.set(None)));
        }
    }
}

impl<F> Guarded<F> {
    fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

async fn dedicated(
    attempt: impl Future<Output = Result<Value, AgentError>> + Send + 'static,
) -> Result<Value, AgentError> {
    struct AbortOnDrop(tokio::task::AbortHandle);

    impl Drop for AbortOnDrop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let task = tokio::spawn(attempt.in_current_span());
    let _guard = AbortOnDrop(task.abort_handle());
    task.await.unwrap_or_else(|error| Err(AgentError::internal("the agent's task was stopped").with_source(error)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> AgentError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    AgentError::internal(format!("the agent panicked: {}", message.unwrap_or("without a message")))
}

/// Whether a value's JSON is at most `limit` bytes long.
fn fits(value: &Value, limit: usize) -> bool {
    // Most values are far below, which takes no writing to see.
    bound(value, limit).is_some() || is_written_in(value, limit)
}

/// What is left of `limit` after the most bytes that a value's JSON can have; absent if nothing is.
fn bound(value: &Value, limit: usize) -> Option<usize> {
    /// An escaped byte takes up to six.
    fn text(text: &str, limit: usize) -> Option<usize> {
        limit.checked_sub(text.len().checked_mul(6)?.checked_add(4)?)
    }

    match value {
        Value::Null | Value::Bool(_) => limit.checked_sub(5),
        Value::Number(_) => limit.checked_sub(32),
        Value::String(string) => text(string, limit),
        Value::Array(items) => {
            items.iter().try_fold(limit.checked_sub(2 + items.len())?, |left, item| bound(item, left))
        }
        Value::Object(map) => {
            map.iter().try_fold(limit.checked_sub(2 + map.len())?, |left, (key, value)| bound(value, text(key, left)?))
        }
    }
}

/// Counts what is written, and stops as soon as it is too much.
fn is_written_in(value: &Value, limit: usize) -> bool {
    struct Count(usize);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len())
                }
                None => Err(std::io::ErrorKind::FileTooLarge.into()),
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    serde_json::to_writer(Count(limit), value).is_ok()
}
