//! An execution as its users hold it: a handle while it runs, an outcome when it has ended, a snapshot at any time.

use std::{
    collections::VecDeque,
    fmt,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::{Either, select};
use orchestr8_agent_base::context::{ExecutionIdentity, Progress};
use orchestr8_schema::{
    CorrelationId, ExecutionId, Failure, StepPath, Timestamp,
    api::{self, ExecutionStatus},
    event::{ApprovalAnswer, Event, Signal},
};
use serde_json::{Map, Value};
use tokio::sync::{Notify, oneshot};

use crate::{
    bus::{Delivery, Subscription, TooManySubscribers},
    engine::{
        Engine,
        mailbox::{Mailbox, Request},
    },
    journal::Journal,
    machine::{self, Phase, Refusal, RefusalKind, State, StepState},
    plan::Plan,
    store::StoreError,
    view,
};

/// What a driver and all handles of its execution share.
#[derive(Debug)]
pub(crate) struct Shared {
    identity: Arc<ExecutionIdentity>,
    plan: Arc<Plan>,
    seed: u64,
    mailbox: Arc<Mailbox>,
    ended: OnceLock<Result<Arc<State>, Lost>>,
    end: Notify,
}

impl Shared {
    pub(crate) fn new(identity: Arc<ExecutionIdentity>, plan: Arc<Plan>, seed: u64) -> Self {
        Self { identity, plan, seed, mailbox: Arc::default(), ended: OnceLock::new(), end: Notify::new() }
    }

    pub(crate) fn identity(&self) -> &Arc<ExecutionIdentity> {
        &self.identity
    }

    pub(crate) fn execution_id(&self) -> ExecutionId {
        self.identity.execution_id
    }

    /// Of this execution's jitter.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Waits for the word of the end.
    async fn ended(&self) -> &Result<Arc<State>, Lost> {
        loop {
            let end = self.end.notified();
            if let Some(ended) = self.ended.get() {
                return ended;
            }
            end.await;
        }
    }

    /// Leaves word of the end; the first word counts.
    pub(crate) fn end(&self, ended: Result<State, Lost>) {
        // Only the driver writes, and what it leaves when it is dropped comes second.
        let _ = self.ended.set(ended.map(Arc::new));
        self.mailbox.close();
        self.end.notify_waiters();
    }
}

/// A handle of an execution. Clones are handles of the same one; dropping them does not end it.
#[derive(Clone)]
pub struct ExecutionHandle {
    engine: Engine,
    shared: Arc<Shared>,
}

impl ExecutionHandle {
    pub(crate) fn new(engine: Engine, shared: Arc<Shared>) -> Self {
        Self { engine, shared }
    }

    /// Returns the execution's id.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        self.shared.execution_id()
    }

    /// Returns what ties the execution to its cause.
    #[must_use]
    pub fn correlation_id(&self) -> &CorrelationId {
        &self.shared.identity.correlation_id
    }

    /// Returns the plan that is executed.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.shared.plan
    }

    /// Waits for the end of the execution.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the execution is no longer driven by this engine. A failed execution is no error here.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future changes nothing.
    pub async fn outcome(&self) -> Result<Outcome, Lost> {
        let state = Arc::clone(self.shared.ended().await.as_ref().map_err(Lost::clone)?);
        Ok(Outcome { plan: Arc::clone(&self.shared.plan), state })
    }

    /// Asks for the end of the execution. When this returns, the request is in the journal; running attempts have the grace to
    /// end.
    ///
    /// # Errors
    ///
    /// [`CancelError`] if the execution is ending already, or has ended.
    pub async fn cancel(&self, cancellation: Cancellation) -> Result<(), CancelError> {
        self.ask_to_cancel(cancellation).await
    }

    /// Leaves the request at once; the future tells what came of it.
    pub(crate) fn ask_to_cancel(
        &self,
        cancellation: Cancellation,
    ) -> impl Future<Output = Result<(), CancelError>> + use<> {
        let Cancellation { reason, grace_period, requested_by, superseded_by } = cancellation;
        let (answer, heard) = oneshot::channel();
        self.shared.mailbox.send(Request::Cancel { reason, grace_period, requested_by, superseded_by, answer });
        async move {
            match heard.await {
                Ok(answer) => answer.map_err(CancelError::Ending),
                Err(_) => Err(CancelError::Ended),
            }
        }
    }

    /// Has nothing start until the execution is [resumed](Self::resume). When this returns, the request is in the journal. Attempts in
    /// progress come to their end, waits go on, and what they give is kept; deadlines stand still. Pausing what is paused changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the execution is ending or has ended.
    pub async fn pause(&self, reason: Option<&str>) -> Result<(), RequestError> {
        let reason = reason.map(Arc::from);
        self.request(|answer| Request::Pause { reason, answer }).await
    }

    /// Lets a paused execution go on. When this returns, the request is in the journal. Deadlines have moved by the length of the
    /// pause; one that was paused before its turn waits for it again.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the execution is not paused.
    pub async fn resume(&self, reason: Option<&str>) -> Result<(), RequestError> {
        let reason = reason.map(Arc::from);
        self.request(|answer| Request::Resume { reason, answer }).await
    }

    /// Tells the execution something. When this returns, the signal is in the journal; a step that waits for it goes on. A signal
    /// whose id was received before is taken for told.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the payload is too large, too many signals wait for somebody to take them, or the execution is ending or
    /// has ended.
    pub async fn signal(&self, signal: Signal) -> Result<(), RequestError> {
        let size = signal.payload.to_string().len();
        if size > Signal::MAX_PAYLOAD {
            return Err(RequestError::TooLarge { size });
        }
        self.request(|answer| Request::Signal { signal, answer }).await
    }

    /// Answers an approval that a step waits for. When this returns, the answer is in the journal. The same answer again changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if no step of this path waits for an approval, the answer does not fit its schema (it stays open then), or
    /// the execution has ended.
    pub async fn answer(&self, step_path: &str, approval: ApprovalAnswer) -> Result<(), RequestError> {
        let step_path = step_path.to_owned();
        self.request(|answer| Request::Approval { step_path, approval, answer }).await
    }

    /// Sends a request and waits for the answer. One that was made before is taken for done.
    async fn request(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> Request,
    ) -> Result<(), RequestError> {
        let (answer, heard) = oneshot::channel();
        self.shared.mailbox.send(request(answer));
        match heard.await {
            Ok(Err(refusal)) if refusal.kind == RefusalKind::Repeated => Ok(()),
            Ok(answer) => answer.map_err(RequestError::Refused),
            Err(_) => Err(RequestError::Ended),
        }
    }

    /// Returns what is known of the execution now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.engine.snapshot(self.id()).await
    }

    /// Follows the journal: what is stored first, then what comes, without gap or repetition, to the end.
    ///
    /// # Errors
    ///
    /// [`TooManySubscribers`] of the engine's bus.
    pub fn events(&self) -> Result<EventStream, TooManySubscribers> {
        let subscription = self.engine.bus().subscribe(Some(self.id()))?;
        Ok(EventStream {
            execution: self.clone(),
            subscription,
            behind: true,
            stored: VecDeque::new(),
            sequence: 0,
            state: State::new(self.plan()),
            ended: false,
            abandoned: false,
        })
    }
}

impl fmt::Debug for ExecutionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A request for the end of an execution.
#[derive(Clone, Debug)]
#[must_use]
pub struct Cancellation {
    reason: String,
    grace_period: Option<Duration>,
    requested_by: Option<String>,
    superseded_by: Option<ExecutionId>,
}

impl Cancellation {
    /// Asks with a reason, for people.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), grace_period: None, requested_by: None, superseded_by: None }
    }

    /// Sets how long running attempts may take to end; default as the workflow says. Zero drops them at once.
    pub fn grace_period(mut self, grace_period: Duration) -> Self {
        self.grace_period = Some(grace_period);
        self
    }

    /// Says who asks.
    pub fn requested_by(mut self, who: impl Into<String>) -> Self {
        self.requested_by = Some(who.into());
        self
    }

    /// Asks for the end of an execution that a fork goes on in the place of: nothing is undone.
    pub(crate) fn superseded_by(fork: ExecutionId) -> Self {
        Self { superseded_by: Some(fork), ..Self::new(format!("superseded by {fork}")) }.grace_period(Duration::ZERO)
    }
}

/// Why a request for the end of an execution was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// It is ending already.
    #[error(transparent)]
    Ending(Refusal),
    /// It has ended.
    #[error("the execution has ended")]
    Ended,
    /// It cannot be found.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request to a running execution was not met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The state of the execution forbids it.
    #[error(transparent)]
    Refused(Refusal),
    /// The payload is too large.
    #[error("the payload has {size} bytes of JSON, and {limit} are allowed", limit = Signal::MAX_PAYLOAD)]
    TooLarge {
        /// Its size in bytes of JSON.
        size: usize,
    },
    /// It has ended.
    #[error("the execution has ended")]
    Ended,
}

/// The error of an execution that this engine no longer drives. Its journal is whole; whoever holds the store can take it up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the execution is no longer driven here: {reason}")]
pub struct Lost {
    reason: Arc<str>,
    #[source]
    source: Option<Arc<StoreError>>,
}

impl Lost {
    pub(crate) fn stopped() -> Self {
        Self { reason: "its driver was stopped".into(), source: None }
    }

    pub(crate) fn store(error: StoreError) -> Self {
        Self { reason: "its journal was not written".into(), source: Some(Arc::new(error)) }
    }

    fn ended_elsewhere() -> Self {
        Self { reason: "nobody drives it".into(), source: None }
    }
}

/// How an execution ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    plan: Arc<Plan>,
    state: Arc<State>,
}

impl Outcome {
    /// Returns the terminal status.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        view::status(&self.state)
    }

    /// Whether the execution completed.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status() == ExecutionStatus::Completed
    }

    /// Returns the outputs, if the execution completed: what the workflow's `outputs` gave, else every completed step's output
    /// by id.
    #[must_use]
    pub fn outputs(&self) -> Option<Value> {
        view::outputs(&self.plan, &self.state)
    }

    /// Returns the output of a step of the workflow's own list that completed.
    #[must_use]
    pub fn output(&self, step: &str) -> Option<&Value> {
        let of_id = |known: &StepState| self.plan.steps()[known.step.get()].id.as_str() == step;
        let known = self.state.own_steps().iter().find(|known| of_id(known))?;
        known.output.as_deref().filter(|_| known.phase == Phase::Completed)
    }

    /// Returns the failure that the execution ended with.
    #[must_use]
    pub fn error(&self) -> Option<&Failure> {
        self.state.error().map(AsRef::as_ref)
    }

    /// Returns what became of compensation: whether what was done before the failure or the cancellation is undone.
    #[must_use]
    pub fn compensation(&self) -> api::Compensation {
        self.state.compensation()
    }

    /// Returns everything that is known, in its last state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the plan that was executed.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Renders the outcome as the REST interface shows an execution.
    #[must_use]
    pub fn to_body(&self) -> api::Execution {
        view::execution(&self.plan, &self.state)
    }
}

/// What is known of an execution at one time: its journal so far, and the state that it folds to.
#[derive(Clone, Debug)]
pub struct Snapshot {
    plan: Arc<Plan>,
    events: Vec<Event>,
    state: State,
}

impl Snapshot {
    /// Folds a journal.
    pub(crate) fn replay(plan: Arc<Plan>, events: Vec<Event>) -> Self {
        let mut state = State::new(&plan);
        for event in &events {
            machine::fold(&plan, &mut state, event);
        }
        Self { plan, events, state }
    }

    /// Folds what came after.
    pub(crate) fn go_on(&mut self, events: Vec<Event>) {
        for event in &events {
            machine::fold(&self.plan, &mut self.state, event);
        }
        self.events.extend(events);
    }

    /// The state, and the time of the last event.
    pub(crate) fn into_reached(self) -> (State, Timestamp) {
        let at = self.events.last().map_or_else(Timestamp::default, |last| last.at);
        (self.state, at)
    }

    /// Makes what handles share, for an execution that no driver of this engine holds.
    pub(crate) fn into_shared(self) -> Shared {
        let queued = self.state.queued().cloned();
        let identity = match &queued {
            Some(queued) => ExecutionIdentity::new(
                queued.execution_id,
                queued.workflow.id(),
                queued.correlation_id.clone(),
                self.events[0].at,
            ),
            None => unreachable!("a snapshot is made of a journal that begins with `execution.queued`"),
        };
        let shared = Shared::new(Arc::new(identity), self.plan, 0);
        let ended = if self.state.status().is_terminal() { Ok(self.state) } else { Err(Lost::ended_elsewhere()) };
        shared.end(ended);
        shared
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        view::status(&self.state)
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the events so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the outputs, if the execution has completed; see [`Outcome::outputs`].
    #[must_use]
    pub fn outputs(&self) -> Option<Value> {
        view::outputs(&self.plan, &self.state)
    }

    /// Renders the snapshot as the REST interface shows an execution.
    #[must_use]
    pub fn to_body(&self) -> api::Execution {
        view::execution(&self.plan, &self.state)
    }

    /// Renders what a list tells of the execution.
    #[must_use]
    pub fn summary(&self) -> api::ExecutionSummary {
        view::summary(&self.plan, &self.state)
    }

    /// Renders all steps, without their inputs and outputs, in step-path order; each with the path of the composite that it stands
    /// in, if it stands in one.
    #[must_use]
    pub fn steps(&self) -> Vec<(api::StepResult, Option<String>)> {
        view::steps(&self.plan, &self.state)
    }

    /// Renders one step in full; absent if there is none of this path. Input and output are cut where they are over 512 KB.
    #[must_use]
    pub fn step(&self, step_path: &str) -> Option<api::StepDetail> {
        view::step_detail(&self.plan, &self.state, &self.events, step_path)
    }

    /// Explains why a step is as it is, from workflow and journal: why it ran, was reused or skipped, failed, waits or has not had its
    /// turn. Absent if the workflow has no step of this path.
    #[must_use]
    pub fn why(&self, step_path: &str) -> Option<api::Why> {
        crate::why::why(&self.plan, &self.state, &self.events, step_path)
    }

    /// Renders the definition as it is executed, in the form of a workflow file. Secrets are hidden.
    #[must_use]
    pub fn workflow(&self) -> Value {
        view::workflow(&self.plan, &self.state)
    }

    /// Lists the approvals that the execution waits for, in step-path order.
    #[must_use]
    pub fn approvals(&self) -> Vec<api::Approval> {
        view::approvals(&self.plan, &self.state)
    }

    /// Tells how many steps have completed and stay so when the execution goes on, and what runs again then, and why: of a failed
    /// execution all that is unfinished, of others the steps whose attempt is in progress.
    #[must_use]
    pub fn rerun(&self) -> (u32, Vec<api::Rerun>) {
        crate::rerun::rerun(&self.plan, &self.state)
    }

    /// Renders the journal.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::render(&self.plan, &self.events, &self.state)
    }
}

/// What is told to those who follow an execution.
#[derive(Clone, Debug)]
pub enum News {
    /// An event with its sequence.
    Event(u64, Event),
    /// How far a call has come, or what a model has written in it; kept nowhere.
    Progress(Progress),
}

/// A journal that is followed to its end.
#[derive(Debug)]
#[must_use = "a stream does nothing unless read"]
pub struct EventStream {
    execution: ExecutionHandle,
    subscription: Subscription,
    /// Whether stored events have to be read before live ones.
    behind: bool,
    stored: VecDeque<Event>,
    /// The sequence of the last event given out.
    sequence: u64,
    /// What the events given out fold to.
    state: State,
    /// Whether the terminal event was given out, and none behind it is known.
    ended: bool,
    /// Whether the driver is known to be gone, so that only the journal is left to read.
    abandoned: bool,
}

impl EventStream {
    /// Waits for the next event and its sequence; `None` behind the terminal event (of an execution that was reopened, the last one), or where an execution that nobody drives here
    /// has come to. Events that the bus had to drop are read from
    /// the journal.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Result<Option<(u64, Event)>, StoreError> {
        loop {
            match self.news().await? {
                Some(News::Event(sequence, event)) => return Ok(Some((sequence, event))),
                Some(News::Progress(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Asks for progress, too: [`news`](Self::news) tells of it.
    pub fn with_progress(self) -> Self {
        Self { subscription: self.subscription.with_progress(), ..self }
    }

    /// Waits for what is told next: as [`next`](Self::next), and how far calls have come, if that was [asked for](Self::with_progress).
    /// Progress comes behind the events that were known when it was shown.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses no event.
    pub async fn news(&mut self) -> Result<Option<News>, StoreError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(event) = self.stored.pop_front() {
                return Ok(Some(self.give(self.sequence + 1, event)));
            }
            if self.behind {
                let events = self.execution.engine.store().load(self.execution.id(), self.sequence).await?;
                self.stored = events.into();
                self.behind = false;
                continue;
            }
            let Some(delivery) = self.live().await else {
                if self.abandoned {
                    return Ok(None);
                }
                // Nothing more will be published; what the journal has beyond is all there is.
                (self.abandoned, self.behind) = (true, true);
                continue;
            };
            match delivery {
                Delivery::Event(published) if published.sequence == self.sequence + 1 => {
                    return Ok(Some(self.give(published.sequence, published.event)));
                }
                // Known already, from the journal.
                Delivery::Event(published) if published.sequence <= self.sequence => {}
                Delivery::Progress { progress, .. } => return Ok(Some(News::Progress(progress))),
                Delivery::Event(_) | Delivery::Dropped { .. } => self.behind = true,
            }
        }
    }

    /// Returns the plan of the execution.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        self.execution.plan()
    }

    /// Returns which execution is followed.
    #[must_use]
    pub fn identity(&self) -> &Arc<ExecutionIdentity> {
        self.execution.shared.identity()
    }

    /// Returns the status that the events given out so far have led to.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        view::status(&self.state)
    }

    /// Returns the step path that an event is about, of one that the stream has given out.
    #[must_use]
    pub fn step_path(&self, event: &Event) -> Option<StepPath> {
        self.state.step_path(self.execution.plan(), event.body.activation()?)
    }

    /// Waits for what the bus delivers; `None` once the driver is gone and all was delivered.
    async fn live(&mut self) -> Option<Delivery> {
        let (next, ended) = (pin!(self.subscription.next()), pin!(self.execution.shared.ended()));
        match select(next, ended).await {
            Either::Left((delivery, _)) => Some(delivery),
            Either::Right(_) => None,
        }
    }

    fn give(&mut self, sequence: u64, event: Event) -> News {
        machine::fold(self.execution.plan(), &mut self.state, &event);
        self.sequence = sequence;
        self.ended = event.body.is_terminal() && self.stored.is_empty();
        News::Event(sequence, event)
    }
}

/// The variables of an execution: those it began with, and what completed steps captured, in the order of declaration.
pub(crate) fn variables(plan: &Plan, state: &State) -> Map<String, Value> {
    let mut variables = match state.queued().map(|queued| &*queued.variables) {
        Some(Value::Object(variables)) => variables.clone(),
        _ => Map::new(),
    };
    let scope = machine::scope::StepScope::of_execution(plan, state);
    for step in state.own_steps().iter().filter(|step| step.phase == Phase::Completed) {
        for (name, path) in &plan.valid_step(step.step).captures {
            if let Some(value) = path.evaluate(&scope) {
                variables.insert(name.clone(), value.into_owned());
            }
        }
    }
    variables
}
