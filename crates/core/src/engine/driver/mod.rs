//! The driver of one execution: it alone does what the machine asks for.
//!
//! One task drives one execution. It goes round in three steps:
//!
//! 1. **Gather.** Whatever has happened (answers of agents, timers, requests, slots) is handed to the machine as events; what the
//!    machine decides is added to the batch. A call that gets a slot is polled as far as the point at which its attempt begins,
//!    so that `attempt.started` is in the same batch as what led to it.
//! 2. **Store.** The batch is appended to the journal, then published. Until that is done nothing else of the execution happens.
//! 3. **Carry out.** The effects that the batch opened begin: agents are called, timers set, calls aborted.
//!
//! A call is polled in place first. Only one that has to wait gets a place among those in flight, so an agent that answers at
//! once costs no task, no wake-up and no queue.

mod budget;
mod calls;
mod commit;
mod hooks;
mod shares;
mod timers;
mod waiting;

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::FuturesUnordered;
use orchestr8_schema::{
    Timestamp,
    event::{Activation, Cancelling, Event, EventBody, LogEntry, Reopening},
};
use slab::Slab;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use self::{
    calls::Entry,
    shares::Shares,
    timers::Timers,
    waiting::{Held, Waiter, waits},
};
use super::{
    EngineShared, Program,
    call::InFlight,
    host::{ExecutionHost, Told},
    mailbox::Request,
    places::{Closed, Place},
};
use crate::{
    bus::Origin,
    clock::Timeline,
    execution::{Lost, Shared},
    machine::{self, Command, Commands, Refusal, RefusalKind, State, Status, budget::Amount},
    metrics::Metrics,
    store::Lease,
};

/// Answers that are taken before other tasks get a turn.
const TURN: usize = 128;

/// Activations that have no call.
const NO_CALL: u32 = u32::MAX;

/// Drives one execution to its end. The future never fails: how it ended is left in [`Shared`], once the execution's span is
/// closed, so that whoever hears of the end has all of the trace.
pub(super) fn drive(driver: Driver) -> impl Future<Output = ()> + Send {
    // A future holds what it is given once more wherever that is handed on, so it is given little.
    let driver = Box::new(driver);
    async move {
        let end = EndOnDrop { engine: Arc::clone(&driver.engine), shared: Arc::clone(&driver.shared) };
        let span = driver.span.clone();
        let ended = driver.drive().instrument(span).await;
        end.shared.end(ended);
    }
}

/// Leaves word of the end even if the driver is dropped or panics, so that nobody waits for ever.
struct EndOnDrop {
    engine: Arc<EngineShared>,
    shared: Arc<Shared>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.engine.forget(self.shared.execution_id());
        self.shared.end(Err(Lost::stopped()));
    }
}

/// What drives one execution. Dropping it drops its calls and gives its slots back.
pub(super) struct Driver {
    engine: Arc<EngineShared>,
    shared: Arc<Shared>,
    program: Arc<Program>,
    origin: Arc<Origin>,
    /// What serves the agents that are called.
    host: Arc<ExecutionHost>,
    lease: Lease,
    /// Of the execution.
    span: Span,
    timeline: Timeline,
    state: State,
    /// Events that are stored.
    stored: u64,
    batch: Vec<Event>,
    /// The time of the batch, read when its first event comes.
    at: Option<Timestamp>,
    commands: Commands,
    effects: Vec<Command>,
    /// To be given once the batch is stored.
    answers: Vec<Answer>,
    /// Whether there was a remark that found no room.
    has_left_out: bool,
    /// To be told once the batch is stored.
    recorded: Vec<oneshot::Sender<()>>,
    /// Keys of calls that have ended may still stand in the queues below, and may name another call by then: whoever takes one
    /// checks that the call waits for what the queue is for.
    calls: Slab<Entry>,
    /// By activation, the key of its call.
    call_of: Vec<u32>,
    /// The key of the call that undoes a step.
    undoing: Option<usize>,
    /// By what it is about, the key of a hook's call.
    hook_calls: HashMap<Activation, usize>,
    /// Keys of calls that wait for what others have reserved of a budget.
    deferred: VecDeque<usize>,
    /// Keys of calls whose beginning a pause has refused.
    held_up: Vec<usize>,
    /// What calls that have waited so will reserve when they begin.
    claimed: Amount,
    /// Who waits for a slot, first in, first out.
    waiting: VecDeque<Waiter>,
    /// The most slots that the execution may hold, unless it is paused.
    most_slots: u32,
    /// The number of slots that the engine was asked for. One granted meanwhile may come on top, and is given back if nobody here
    /// needs it.
    asked: u32,
    slots: Held,
    shares: Option<Shares>,
    /// Calls that are to be polled in place.
    runnable: VecDeque<usize>,
    /// Calls whose attempt begins once the batch is stored.
    starting: Vec<usize>,
    in_flight: FuturesUnordered<InFlight>,
    timers: Timers,
    /// Answers of agents since other tasks had a turn.
    answers_taken: usize,
    beginning: Beginning,
    /// Among the active executions, while there is something to do.
    place: Option<Place>,
    /// The engine shuts down: what is stored stays as it is, and nothing else happens.
    stopping: bool,
}

/// The answer to a request, and whom it is for.
struct Answer {
    to: oneshot::Sender<Result<(), Refusal>>,
    result: Result<(), Refusal>,
}

/// What a driver begins with.
pub(super) enum Beginning {
    /// An execution that nobody has begun.
    Start,
    /// One that another driver has left.
    Recover,
    /// One that has failed and goes on; whoever asked for it is told once that is stored.
    Reopen(Arc<Reopening>, oneshot::Sender<Result<(), Refusal>>),
}

impl Driver {
    /// Makes the driver of an execution whose first event has just been stored.
    pub(super) fn new(
        engine: Arc<EngineShared>,
        shared: Arc<Shared>,
        program: Arc<Program>,
        lease: Lease,
        span: Span,
        queued: &Event,
    ) -> Self {
        let mut state = State::new(&program.plan);
        machine::fold(&program.plan, &mut state, queued);
        let driver = Self::of(engine, shared, program, lease, span, (state, queued.at), Beginning::Start);
        driver.engine.bus.publish(&driver.origin, 1, std::slice::from_ref(queued));
        driver
    }

    /// Makes the driver of an execution that another one has brought to this state, its last event being of this time.
    pub(super) fn of(
        engine: Arc<EngineShared>,
        shared: Arc<Shared>,
        program: Arc<Program>,
        lease: Lease,
        span: Span,
        (state, at): (State, Timestamp),
        beginning: Beginning,
    ) -> Self {
        let timeline = Timeline::begin(&*engine.clock, at);
        let origin = Arc::new(Origin { identity: Arc::clone(shared.identity()), plan: Arc::clone(&program.plan) });
        let asked = state.queued().and_then(|queued| queued.max_concurrent_steps);
        let most_slots = asked.into_iter().chain(program.plan.limits().max_concurrent_steps).min().unwrap_or(u32::MAX);
        let host = ExecutionHost::new(Arc::clone(&engine), Arc::clone(&shared), Arc::clone(&origin));
        Self {
            host: Arc::new(host),
            slots: Held { engine: Arc::clone(&engine), shared: Arc::clone(&shared), count: 0 },
            shares: Shares::of(&program.plan),
            hook_calls: HashMap::new(),
            deferred: VecDeque::new(),
            held_up: Vec::new(),
            claimed: Amount::default(),
            call_of: Vec::new(),
            undoing: None,
            engine,
            shared,
            origin,
            program,
            lease,
            span,
            timeline,
            beginning,
            place: None,
            stored: state.sequence(),
            state,
            batch: Vec::new(),
            at: None,
            commands: Vec::new(),
            effects: Vec::new(),
            answers: Vec::new(),
            has_left_out: false,
            recorded: Vec::new(),
            calls: Slab::new(),
            waiting: VecDeque::new(),
            most_slots,
            asked: 0,
            runnable: VecDeque::new(),
            starting: Vec::new(),
            in_flight: FuturesUnordered::new(),
            timers: Timers::default(),
            answers_taken: 0,
            stopping: false,
        }
    }

    /// Returns the state that the execution has ended with.
    async fn drive(mut self: Box<Self>) -> Result<State, Lost> {
        let run = self.run().await;
        let gives_back = self.stopping;
        #[cfg(planted)]
        let gives_back = gives_back && !crate::planted::Defect::LeaseKept.is_made();
        if gives_back {
            // Somebody else may take it up at once. A lease that cannot be released ends by itself.
            let _ = self.engine.store.release(&self.lease).await;
        }
        match &run {
            Ok(()) => {}
            Err(_) if self.stopping => tracing::info!("the execution is left for whoever takes it up"),
            Err(lost) => {
                tracing::error!(error = lost as &dyn std::error::Error, "the execution is no longer driven here");
            }
        }
        run.map(|()| self.state)
    }

    async fn run(&mut self) -> Result<(), Lost> {
        self.place = match std::mem::replace(&mut self.beginning, Beginning::Start) {
            Beginning::Recover if self.state.status() != Status::Queued => self.recover().await?,
            Beginning::Start | Beginning::Recover => {
                let Some(place) = self.admitted().await? else { return Ok(()) };
                self.tell(EventBody::ExecutionStarted { epoch: self.lease.epoch });
                Some(place)
            }
            Beginning::Reopen(reopening, answer) => Some(self.go_on(reopening, answer).await?),
        };
        loop {
            std::future::poll_fn(|cx| self.gather(cx)).await;
            if self.store_and_carry_out().await? {
                return Ok(());
            }
            if self.stopping {
                return Err(Lost::stopped());
            }
            if self.answers_taken >= TURN {
                self.answers_taken = 0;
                tokio::task::yield_now().await;
                // An execution that is never idle would not hear of its timers otherwise.
                std::future::poll_fn(|cx| {
                    self.take_timers(cx);
                    Poll::Ready(())
                })
                .await;
            }
        }
    }

    /// Begins where another driver has stopped: what is outstanding is carried out, and nothing else.
    async fn recover(&mut self) -> Result<Option<Place>, Lost> {
        let place = match self.state.status() {
            Status::Paused => None,
            _ => Some(Arc::clone(&self.engine.places).wait().await.map_err(|Closed| self.left())?),
        };
        self.tell(EventBody::ExecutionRecovered { epoch: self.lease.epoch });
        // What the fold of this batch asks for is outstanding, too, but for the end itself.
        self.commands.retain(|command| matches!(command, Command::Finish(_)));
        machine::outstanding(&self.program.plan, &self.state, &mut self.commands);
        #[cfg(planted)]
        crate::planted::taken_up(&mut self.commands);
        if let Some(metrics) = &self.engine.metrics {
            metrics.taken_up(&self.program.plan, &self.state);
        }
        Ok(place)
    }

    /// Begins where the execution had failed. Should it not fit any more, there is nothing to drive.
    async fn go_on(
        &mut self,
        reopening: Arc<Reopening>,
        to: oneshot::Sender<Result<(), Refusal>>,
    ) -> Result<Place, Lost> {
        let place = Arc::clone(&self.engine.places).wait().await.map_err(|Closed| self.left())?;
        match self.feed(EventBody::ExecutionReopened(reopening)) {
            Ok(()) => {
                self.answers.push(Answer { to, result: Ok(()) });
                Ok(place)
            }
            Err(refusal) => {
                // Whoever asked may have gone.
                let _ = to.send(Err(refusal));
                Err(Lost::stopped())
            }
        }
    }

    /// Waits until the engine may have one more active execution. Until then only requests are heard; `None` means that one has
    /// ended it. In a pause it does not wait, and afterwards it is the last of those who do.
    async fn admitted(&mut self) -> Result<Option<Place>, Lost> {
        let engine = Arc::clone(&self.engine);
        let _queued = engine.metrics.as_ref().map(Metrics::queued);
        let mut place = pin!(Arc::clone(&self.engine.places).wait());
        loop {
            let admitted = std::future::poll_fn(|cx| {
                self.shared.mailbox().register(cx);
                if self.state.status() != Status::Paused
                    && let Poll::Ready(place) = place.as_mut().poll(cx)
                {
                    return Poll::Ready(Some(place));
                }
                self.take_requests();
                if self.is_idle() { Poll::Pending } else { Poll::Ready(None) }
            })
            .await;
            match admitted {
                Some(Ok(place)) => return Ok(Some(place)),
                Some(Err(Closed)) => return Err(self.left()),
                None if self.store_and_carry_out().await? => return Ok(None),
                None if self.stopping => return Err(Lost::stopped()),
                None if self.state.status() == Status::Paused => {
                    place.set(Arc::clone(&self.engine.places).wait());
                }
                None => {}
            }
        }
    }

    /// The engine shuts down before the execution had its place: somebody else may have it at once.
    fn left(&mut self) -> Lost {
        self.stopping = true;
        Lost::stopped()
    }

    /// Hands all that has happened to the machine. Ready once there is a batch to store or somebody to answer.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.take_requests();
        self.take_told();
        loop {
            self.begin_calls();
            let mut moved = self.poll_runnable(cx);
            moved |= self.poll_in_flight(cx);
            self.offer_deferred();
            self.give_slots();
            if self.answers_taken >= TURN || (!moved && self.runnable.is_empty()) {
                break;
            }
        }
        if self.is_idle() {
            // Timers are armed late, and mail is waited for late: an agent that answers at once needs neither.
            self.shared.mailbox().register(cx);
            self.take_requests();
            self.take_told();
            self.give_slots();
            self.take_timers(cx);
        }
        if !self.is_idle() {
            self.place.get_or_insert_with(|| self.engine.places.take());
            return Poll::Ready(());
        }
        if self.place.is_some() && self.calls.is_empty() && self.waiting.is_empty() {
            self.rest();
        }
        Poll::Pending
    }

    /// Leaves its place to others, and the memory of its buffers, while it is paused or waits for timers, signals or answers: that may
    /// be long.
    fn rest(&mut self) {
        self.place = None;
        self.calls.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.runnable.shrink_to_fit();
        self.starting.shrink_to_fit();
        self.batch.shrink_to_fit();
        self.commands.shrink_to_fit();
        self.effects.shrink_to_fit();
        self.answers.shrink_to_fit();
    }

    fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.answers.is_empty() && self.runnable.is_empty() && !self.stopping
    }

    /// Takes requests up to one that begins or ends a pause: a call that is taken back then is gone before it is asked for
    /// again.
    fn take_requests(&mut self) {
        while let Some(request) = self.shared.mailbox().take_request() {
            #[cfg(planted)]
            let request = match crate::planted::requested(request) {
                Ok(request) => request,
                Err(to) => {
                    self.answers.push(Answer { to, result: Ok(()) });
                    continue;
                }
            };
            match request {
                Request::Cancel { reason, grace_period, requested_by, superseded_by, answer } => {
                    let grace_period = grace_period.unwrap_or(self.program.plan.limits().grace_period);
                    let cancelling = Cancelling { reason, grace_period, requested_by, superseded_by };
                    let result = self.feed(EventBody::ExecutionCancelling(Arc::new(cancelling)));
                    self.answers.push(Answer { to: answer, result });
                }
                Request::Stop => self.stopping = true,
                Request::Pause { reason, answer } => {
                    let result = self.feed(EventBody::ExecutionPaused { reason });
                    self.waiting.retain(|waiter| waits(waiter, &self.state, &self.calls));
                    self.answers.push(Answer { to: answer, result });
                    break;
                }
                Request::Resume { reason, answer } => {
                    let result = self.feed(EventBody::ExecutionResumed { reason });
                    if result.is_ok() {
                        self.offer_held_up();
                    }
                    self.answers.push(Answer { to: answer, result });
                    break;
                }
                Request::Signal { signal, answer } => {
                    let result = self.feed(EventBody::SignalReceived(Arc::new(signal)));
                    self.answers.push(Answer { to: answer, result });
                }
                Request::Approval { step_path, approval, answer } => {
                    let result = machine::approval_at(&self.program.plan, &self.state, &step_path, &approval);
                    let result = result.and_then(|activation| {
                        self.feed(EventBody::ApprovalAnswered { activation, answer: Arc::new(approval) })
                    });
                    self.answers.push(Answer { to: answer, result });
                }
            }
        }
    }

    /// Hands what agents have told to the machine. What no longer fits is forgotten, and whoever waits for it to be stored hears that.
    fn take_told(&mut self) {
        for told in self.host.take_told() {
            match told {
                Told::Durable(durable, stored) => {
                    if self.feed(EventBody::DurableRecorded(Arc::new(durable))).is_ok() {
                        self.recorded.push(stored);
                    }
                }
                Told::Remark(body) => {
                    if let Err(refusal) = self.feed(body)
                        && refusal.kind == RefusalKind::Full
                    {
                        self.leave_out();
                    }
                }
            }
        }
    }

    /// Counts a remark that the journal has no room for, and tells of the first one.
    fn leave_out(&mut self) {
        if !std::mem::replace(&mut self.has_left_out, true) {
            let kept = LogEntry::MAX;
            self.span
                .in_scope(|| tracing::warn!(kept, "an execution keeps no more remarks; further ones are left out"));
        }
        if let Some(metrics) = &self.engine.metrics {
            metrics.left_out();
        }
    }

    /// Hands an event to the machine that comes from this driver itself. One that no longer fits is moot.
    fn tell(&mut self, body: EventBody) {
        let _ = self.feed(body);
    }

    /// Hands an event to the machine, and all that it decides from it.
    fn feed(&mut self, body: EventBody) -> Result<(), Refusal> {
        let at = *self.at.get_or_insert_with(|| self.timeline.now());
        let mut event = Event { at, body };
        let before = self.commands.len();
        machine::step(&self.program.plan, &mut self.state, &event, &mut self.commands);
        if let Some(Command::Refuse(refusal)) = self.commands.get(before) {
            let refusal = refusal.clone();
            self.commands.truncate(before);
            if self.batch.is_empty() {
                self.at = None;
            }
            return Err(refusal);
        }
        while let Some(Command::Record(next)) = self.commands.pop_if(|last| matches!(last, Command::Record(_))) {
            self.batch.push(std::mem::replace(&mut event, next));
            machine::proceed(&self.program.plan, &mut self.state, &event, &mut self.commands);
        }
        self.batch.push(event);
        Ok(())
    }
}
