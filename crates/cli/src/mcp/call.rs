//! Calls of the tools, from arguments to envelope.

use std::time::Duration;

use orchestr8_core::{
    Cancellation, StartError, StartRequest, engine::TakeUpError, execution::CancelError, journal::EntryFilter,
    store::StoreError,
};
use orchestr8_schema::{
    CorrelationId, ExecutionId, IdempotencyKey, ValidWorkflow,
    api::{
        CancelRequest, Entry, Envelope, EnvelopeCode, EnvelopeError, EnvelopeMeta, EnvelopeRateLimit, EnvelopeStatus,
        ExecutionStatus, Progress,
    },
    canonical,
};
use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResult, JsonObject, ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    Offer,
    arguments::{CANCEL_WORKFLOW, Cancel, GET_STATUS, RUN_WORKFLOW, Run, RunOptions, Status, take_wait, unfit},
};
use crate::{catalogue::Listing, server_process};

/// Events at the end of a journal that are looked through for what was logged.
const RECENT: u64 = 1000;
/// The most bytes of what was logged.
const MAX_LOG_BYTES: usize = 64 * 1024;
/// What is told of a workflow file that is not valid, at most.
const MAX_DIAGNOSTICS: usize = 20;

/// What a call comes to; the error is a fault of the protocol.
type Called = Result<Result<Envelope, Refused>, ErrorData>;

/// Why a call came to nothing.
struct Refused {
    error: EnvelopeError,
    correlation_id: Option<CorrelationId>,
    about: Option<ExecutionId>,
}

/// What is to be run.
struct Wanted {
    workflow: ValidWorkflow,
    inputs: JsonObject,
    options: RunOptions,
    wait: Duration,
    correlation_id: Option<CorrelationId>,
    key: Option<IdempotencyKey>,
}

impl Offer {
    /// Calls a tool.
    ///
    /// # Errors
    ///
    /// When there is no such tool; all else stands in the answer.
    pub(super) async fn call(
        &self,
        request: CallToolRequestParams,
        cx: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let called = match self.0.calls.try_acquire() {
            Ok(_place) => self.dispatch(&request.name, arguments, cx).await?,
            Err(_) => Err(Refused::from(EnvelopeError::new(
                EnvelopeCode::RateLimit,
                format!("{} calls are in progress; wait for one of them", Self::CALLS),
            ))),
        };
        let mut envelope = called.unwrap_or_else(|refused| {
            let correlation_id = refused.correlation_id.unwrap_or_else(|| self.correlation_id());
            let mut envelope = Envelope::refused(correlation_id, refused.error);
            envelope.execution_id = refused.about;
            envelope
        });
        let meta = envelope.meta.get_or_insert_with(EnvelopeMeta::default);
        meta.request_id = Some(cx.id.to_string());
        let remaining = u32::try_from(self.0.calls.available_permits()).unwrap_or(Self::CALLS);
        meta.rate_limit = Some(EnvelopeRateLimit { limit: Self::CALLS, remaining, reset_at: None });
        let is_error = envelope.status == EnvelopeStatus::Error;
        let value = serde_json::to_value(&envelope).map_err(|error| super::defect("writing an envelope", &error))?;
        Ok(if is_error { CallToolResult::structured_error(value) } else { CallToolResult::structured(value) })
    }

    async fn dispatch(&self, name: &str, arguments: JsonObject, cx: &RequestContext<RoleServer>) -> Called {
        if name == RUN_WORKFLOW.name {
            return match RUN_WORKFLOW.read(arguments) {
                Ok(run) => self.run(run, cx).await,
                Err(error) => Ok(Err(error.into())),
            };
        }
        if name == GET_STATUS.name {
            return Ok(match GET_STATUS.read(arguments) {
                Ok(Status { execution_id, wait_for_ms, correlation_id }) => {
                    let told = self.settled(execution_id, Duration::from_millis(wait_for_ms), cx).await;
                    told.map(|envelope| correlated(envelope, correlation_id.clone()))
                        .map_err(|refused| refused.under(correlation_id))
                }
                Err(error) => Err(error.into()),
            });
        }
        if name == CANCEL_WORKFLOW.name {
            return Ok(match CANCEL_WORKFLOW.read(arguments) {
                Ok(cancel) => self.cancel(cancel, cx).await,
                Err(error) => Err(error.into()),
            });
        }
        self.run_by_name(name, arguments, cx).await
    }

    async fn run(&self, run: Run, cx: &RequestContext<RoleServer>) -> Called {
        let Run { workflow_id, inputs, options, wait_for_ms, correlation_id, idempotency_key: key } = run;
        let listing = self.look().await?;
        let Some(found) = listing.get(&workflow_id) else {
            return Ok(Err(Refused::from(missing(&listing, &workflow_id)).under(correlation_id)));
        };
        let wait = Duration::from_millis(wait_for_ms);
        let wanted = Wanted { workflow: found.workflow.clone(), inputs, options, wait, correlation_id, key };
        Ok(self.start(wanted, cx).await)
    }

    /// Runs a workflow by the tool of its own.
    async fn run_by_name(&self, name: &str, mut inputs: JsonObject, cx: &RequestContext<RoleServer>) -> Called {
        let listing = self.look().await?;
        let mut tools = self.workflow_tools(&listing);
        let Some(tool) = tools.remove(name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool `{}`", name.escape_debug()), None));
        };
        let wait = match tool.waits.then(|| take_wait(&mut inputs)).transpose() {
            Ok(wait) => wait.unwrap_or_default(),
            Err(error) => return Ok(Err(error.into())),
        };
        let workflow = tool.workflow.workflow.clone();
        let options = RunOptions::default();
        Ok(self.start(Wanted { workflow, inputs, options, wait, correlation_id: None, key: None }, cx).await)
    }

    async fn start(&self, wanted: Wanted, cx: &RequestContext<RoleServer>) -> Result<Envelope, Refused> {
        let Wanted { workflow, inputs, options, wait, correlation_id, key } = wanted;
        let correlation_id = correlation_id.unwrap_or_else(|| self.correlation_id());
        let inputs = Value::Object(inputs);
        // Of what is asked for, not of how long somebody waits for it.
        let digest = json!({
            "tool": RUN_WORKFLOW.name, "workflow": workflow.id(), "inputs": inputs,
            "timeoutMs": options.timeout_ms, "concurrency": options.concurrency,
        });
        let mut request = StartRequest::new(&workflow, inputs).correlation_id(correlation_id.clone());
        if options.timeout_ms > 0 {
            request = request.timeout(Duration::from_millis(options.timeout_ms));
        }
        if let Some(concurrency) = options.concurrency {
            request = request.max_concurrent_steps(concurrency);
        }
        if let Some(key) = key {
            request = request.idempotency(key, canonical::digest(&digest));
        }
        let submitted = self.engine().submit(request).await;
        let submitted = submitted.map_err(|error| Refused::from(unstarted(error)).under(Some(correlation_id)))?;
        self.settled(submitted.handle.id(), wait, cx).await
    }

    async fn cancel(&self, cancel: Cancel, cx: &RequestContext<RoleServer>) -> Result<Envelope, Refused> {
        let Cancel { execution_id: id, reason, correlation_id } = cancel;
        let refused = |error: EnvelopeError| Refused::from(error).about(id).under(correlation_id.clone());
        self.engine().execution(id).await.map_err(|error| refused(unread(error)))?;
        let reason = reason.unwrap_or_else(|| "a client of the Model Context Protocol asked for it".to_owned());
        let handle = match self.engine().reach(id).await {
            Ok(handle) => handle,
            Err(TakeUpError::Held(holder)) => {
                if !self.cancel_elsewhere(id, holder.process, reason).await {
                    return Err(refused(out_of_reach(TakeUpError::Held(holder))));
                }
                return self.after_cancelling(id, correlation_id, cx).await;
            }
            Err(error) => return Err(refused(out_of_reach(error))),
        };
        match handle.cancel(Cancellation::new(reason).requested_by("mcp")).await {
            // What it is already shows in the answer.
            Ok(()) | Err(CancelError::Ending(_) | CancelError::Ended) => {}
            Err(CancelError::Store(error)) => return Err(refused(unread(error))),
            Err(error) => return Err(refused(broken("cancelling an execution", &error))),
        }
        self.after_cancelling(id, correlation_id, cx).await
    }

    /// Has the server in another process of this machine cancel what it drives, as `orchestr8 cancel` does. Tells whether it does.
    async fn cancel_elsewhere(&self, id: ExecutionId, process: u32, reason: String) -> bool {
        let Some(data) = self.0.data.clone() else { return false };
        let mut request = CancelRequest::default();
        request.reason = Some(reason);
        let asked = move || server_process::of_process(&data, process).map(|client| client.cancel(id, &request));
        match tokio::task::spawn_blocking(asked).await {
            Ok(Some(Ok(_))) => true,
            Ok(Some(Err(error))) => {
                tracing::warn!(error = &error as &dyn std::error::Error, process, "the server does not cancel");
                false
            }
            Ok(None) | Err(_) => false,
        }
    }

    async fn after_cancelling(
        &self,
        id: ExecutionId,
        correlation_id: Option<CorrelationId>,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Envelope, Refused> {
        let told = self.settled(id, Duration::ZERO, cx).await.map_err(|error| error.under(correlation_id.clone()))?;
        Ok(correlated(told, correlation_id))
    }

    /// Waits for the end of an execution, or until it is paused, as long as somebody wants to; then tells how it stands.
    async fn settled(
        &self,
        id: ExecutionId,
        wait: Duration,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Envelope, Refused> {
        let refused = |error: StoreError| Refused::from(unread(error)).about(id);
        let deadline = Instant::now() + wait;
        let mut progress = Reporter::new(cx);
        // Before the first look, so that no change falls between. With too many listeners the answer is the present one.
        let mut subscription = (!wait.is_zero()).then(|| self.engine().bus().subscribe(Some(id)).ok()).flatten();
        let mut reading = loop {
            let reading = self.engine().read(id).await.map_err(refused)?;
            let status = reading.status();
            progress.tell(&reading.summary().progress).await;
            if status.is_terminal() || status == ExecutionStatus::Paused {
                break reading;
            }
            let Some(subscription) = &mut subscription else { break reading };
            // It is read again when it has changed, and others may read it meanwhile.
            drop(reading);
            let changed = tokio::select! {
                changed = timeout_at(deadline, subscription.next()) => changed.is_ok(),
                () = cx.ct.cancelled() => false,
            };
            if !changed {
                break self.engine().read(id).await.map_err(refused)?;
            }
        };
        let mut envelope = Envelope::of(reading.to_body());
        let mut filter = EntryFilter::default();
        filter.after = reading.sequence().saturating_sub(RECENT);
        filter.types = Some(vec!["log.entry".to_owned()]);
        let logged = reading.entries(&filter, RECENT as usize, MAX_LOG_BYTES).await.map_err(refused)?;
        let recent = logged.entries.len().saturating_sub(Envelope::MAX_LOGS);
        envelope.logs = logged.entries[recent..].iter().map(line).collect();
        Ok(envelope)
    }
}

/// Tells a caller who wants to know how far an execution has come.
struct Reporter<'a> {
    cx: &'a RequestContext<RoleServer>,
    token: Option<ProgressToken>,
    ended: Option<u32>,
}

impl<'a> Reporter<'a> {
    fn new(cx: &'a RequestContext<RoleServer>) -> Self {
        Self { cx, token: cx.meta.get_progress_token(), ended: None }
    }

    async fn tell(&mut self, progress: &Progress) {
        let Some(token) = &self.token else { return };
        let ended = progress.completed + progress.failed + progress.skipped + progress.cancelled;
        // The protocol wants numbers that grow.
        if self.ended.is_some_and(|told| told >= ended) {
            return;
        }
        self.ended = Some(ended);
        let told = ProgressNotificationParam::new(token.clone(), f64::from(ended))
            .with_total(f64::from(progress.total))
            .with_message(format!("{ended} of {} steps", progress.total));
        // Who has gone away is not told.
        let _ = self.cx.peer.notify_progress(told).await;
    }
}

impl From<EnvelopeError> for Refused {
    fn from(error: EnvelopeError) -> Self {
        Self { error, correlation_id: None, about: None }
    }
}

impl Refused {
    fn under(mut self, correlation_id: Option<CorrelationId>) -> Self {
        self.correlation_id = correlation_id;
        self
    }

    fn about(mut self, id: ExecutionId) -> Self {
        self.about = Some(id);
        self
    }
}

/// Gives an answer the correlation id of its own call, if that has one.
fn correlated(mut envelope: Envelope, id: Option<CorrelationId>) -> Envelope {
    envelope.correlation_id = id.unwrap_or(envelope.correlation_id);
    envelope
}

fn line(entry: &Entry) -> String {
    let level = entry.data.get("level").and_then(Value::as_str).unwrap_or("info");
    format!("{level} {}", entry.message)
}

fn missing(listing: &Listing, id: &str) -> EnvelopeError {
    let Some(file) = listing.unusable().iter().find(|file| file.id.as_deref() == Some(id)) else {
        let known: Vec<_> = listing.list().take(MAX_DIAGNOSTICS).map(|known| known.workflow.id()).collect();
        let message = format!("there is no workflow `{}` in the catalogue", id.escape_debug());
        return EnvelopeError::new(EnvelopeCode::WorkflowNotFound, message).with_details(json!({ "known": known }));
    };
    let diagnostics: Vec<_> = file.diagnostics.iter().take(MAX_DIAGNOSTICS).collect();
    let message = format!("the workflow `{}` cannot be used: {}", id.escape_debug(), file.reason);
    EnvelopeError::new(EnvelopeCode::InvalidWorkflow, message).with_details(json!({ "diagnostics": diagnostics }))
}

fn unstarted(error: StartError) -> EnvelopeError {
    match error {
        StartError::Input(violations) => unfit("the input does not fit the workflow's `inputs`", &violations),
        StartError::Plan(error) => EnvelopeError::new(EnvelopeCode::InvalidWorkflow, error.to_string()),
        StartError::IdempotencyConflict { .. } => EnvelopeError::new(
            EnvelopeCode::InvalidInput,
            "the idempotency key was used with another request less than ten minutes ago",
        ),
        StartError::ShuttingDown => shutting_down(),
        error => broken("starting an execution", &error),
    }
}

fn unread(error: StoreError) -> EnvelopeError {
    match error {
        StoreError::NotFound(id) => {
            EnvelopeError::new(EnvelopeCode::ExecutionNotFound, format!("there is no execution {id}"))
        }
        error => broken("reading an execution", &error),
    }
}

fn out_of_reach(error: TakeUpError) -> EnvelopeError {
    match error {
        TakeUpError::Store(error) => unread(error),
        TakeUpError::ShuttingDown => shutting_down(),
        TakeUpError::Held(holder) => {
            let message = format!("process {} on {} drives the execution; ask there", holder.process, holder.host);
            EnvelopeError::new(EnvelopeCode::ServiceUnavailable, message)
        }
        TakeUpError::Plan(error) => EnvelopeError::new(EnvelopeCode::InvalidWorkflow, error.to_string()),
        error => broken("taking up an execution", &error),
    }
}

fn shutting_down() -> EnvelopeError {
    EnvelopeError::new(EnvelopeCode::ServiceUnavailable, "no further executions are taken")
}

/// Refuses for a cause that only the log learns.
fn broken(attempted: &'static str, cause: &(dyn std::error::Error + 'static)) -> EnvelopeError {
    tracing::error!(error = cause, "{attempted}");
    EnvelopeError::new(EnvelopeCode::InternalError, "the cause is in the log")
}
