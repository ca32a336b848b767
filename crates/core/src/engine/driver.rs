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

use std::{
    collections::{BTreeSet, VecDeque},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, Stream};
use orchestr8_agent_base::{AgentContext, AgentError};
use orchestr8_resilience::circuit_breaker::CircuitState;
use orchestr8_schema::{
    Failure, Timestamp,
    event::{Activation, Cancelling, CircuitChange, CircuitStateName, Event, EventBody, TimeoutScope, Timer},
};
use serde_json::Value;
use slab::Slab;
use tokio::{sync::oneshot, time::Sleep};
use tracing::Span;

use super::{
    EngineShared, Program,
    call::{CallState, InFlight, Need, Returned, Signal},
    mailbox::Request,
    stack::{CallFuture, CallLimits},
};
use crate::{
    bus::Origin,
    clock::{Timeline, mix},
    execution::{Lost, Shared},
    machine::{self, Call, Command, Commands, Refusal, State, Status},
    store::{Lease, StoreError},
    telemetry,
};

/// Answers that are taken before other tasks get a turn.
const TURN: usize = 128;

/// Steps of one execution that have no call.
const NO_CALL: u32 = u32::MAX;

/// Drives one execution to its end. The future never fails: how it ended is left in [`Shared`].
pub(super) async fn drive(mut driver: Driver) {
    let end = EndOnDrop { engine: Arc::clone(&driver.engine), shared: Arc::clone(&driver.shared) };
    match driver.run().await {
        Ok(()) => end.shared.end(Ok(std::mem::replace(&mut driver.state, State::new(&driver.program.plan)))),
        Err(lost) => {
            tracing::error!(error = &lost as &dyn std::error::Error, "the execution is no longer driven here");
            end.shared.end(Err(lost));
        }
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
    lease: Lease,
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
    calls: Slab<Entry>,
    /// By step, the key of its call.
    call_of: Vec<u32>,
    /// Who waits for a slot, first in, first out.
    waiting: VecDeque<Waiter>,
    /// The number of slots that the engine knows this execution to wait for.
    asked: u32,
    slots: Held,
    /// Calls that are to be polled in place.
    runnable: VecDeque<usize>,
    /// Calls whose attempt begins once the batch is stored.
    starting: Vec<usize>,
    in_flight: FuturesUnordered<InFlight>,
    timers: BTreeSet<(Timestamp, Timer)>,
    sleep: Option<Pin<Box<Sleep>>>,
    sleeps_until: Option<Timestamp>,
}

/// A call of one step.
struct Entry {
    activation: Activation,
    state: Arc<CallState>,
    /// Absent while it is in flight.
    future: Option<CallFuture>,
    has_slot: bool,
    wants_slot: bool,
    in_attempt: bool,
    /// Its token has fired, so its next answer is final.
    told: bool,
}

/// The answer to a request, and whom it is for.
struct Answer {
    to: oneshot::Sender<Result<(), Refusal>>,
    result: Result<(), Refusal>,
}

/// Who waits for a slot.
enum Waiter {
    /// A call that has not begun.
    New(Call),
    /// A call between two attempts.
    Parked(usize),
}

/// Slots that this execution holds; given back when dropped.
struct Held {
    engine: Arc<EngineShared>,
    shared: Arc<Shared>,
    count: u32,
}

impl Held {
    fn give_back(&mut self) {
        self.count -= 1;
        self.engine.slots.give_back();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.engine.slots.wait_for(self.shared.mailbox(), 0);
        for _ in 0..self.count + self.shared.mailbox().take_slots() {
            self.engine.slots.give_back();
        }
    }
}

impl Driver {
    /// Makes the driver of an execution whose first event has just been stored.
    pub(super) fn new(
        engine: Arc<EngineShared>,
        shared: Arc<Shared>,
        program: Arc<Program>,
        lease: Lease,
        queued: &Event,
    ) -> Self {
        let timeline = Timeline::begin(&*engine.clock, queued.at);
        let mut state = State::new(&program.plan);
        machine::fold(&program.plan, &mut state, queued);
        let origin = Arc::new(Origin { identity: Arc::clone(shared.identity()), plan: Arc::clone(&program.plan) });
        engine.bus.publish(&origin, 1, std::slice::from_ref(queued));
        Self {
            slots: Held { engine: Arc::clone(&engine), shared: Arc::clone(&shared), count: 0 },
            call_of: vec![NO_CALL; state.steps().len()],
            engine,
            shared,
            origin,
            program,
            lease,
            timeline,
            state,
            stored: 1,
            batch: Vec::new(),
            at: None,
            commands: Vec::new(),
            effects: Vec::new(),
            answers: Vec::new(),
            calls: Slab::new(),
            waiting: VecDeque::new(),
            asked: 0,
            runnable: VecDeque::new(),
            starting: Vec::new(),
            in_flight: FuturesUnordered::new(),
            timers: BTreeSet::new(),
            sleep: None,
            sleeps_until: None,
        }
    }

    async fn run(&mut self) -> Result<(), Lost> {
        let Some(_active) = self.admitted().await? else { return Ok(()) };
        self.tell(EventBody::ExecutionStarted { epoch: self.lease.epoch });
        let mut answers = 0;
        loop {
            let mut taken = 0;
            std::future::poll_fn(|cx| self.gather(cx, &mut taken)).await;
            if self.store_and_carry_out().await? {
                return Ok(());
            }
            answers += taken;
            if answers >= TURN {
                answers = 0;
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

    /// Waits until the engine may have one more active execution. Until then only a request for its end is heard; `None` means
    /// that it has ended so.
    async fn admitted(&mut self) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Lost> {
        let mut permit = pin!(Arc::clone(&self.engine.active).acquire_owned());
        loop {
            let admitted = std::future::poll_fn(|cx| {
                self.shared.mailbox().register(cx);
                if let Poll::Ready(permit) = permit.as_mut().poll(cx) {
                    return Poll::Ready(Some(permit));
                }
                self.take_requests();
                if self.batch.is_empty() && self.answers.is_empty() { Poll::Pending } else { Poll::Ready(None) }
            })
            .await;
            match admitted {
                Some(Ok(permit)) => return Ok(Some(permit)),
                Some(Err(_)) => return Err(Lost::stopped()),
                None if self.store_and_carry_out().await? => return Ok(None),
                None => {}
            }
        }
    }

    // === gather ===

    /// Hands all that has happened to the machine. Ready once there is a batch to store or somebody to answer.
    fn gather(&mut self, cx: &mut Context<'_>, taken: &mut usize) -> Poll<()> {
        self.shared.mailbox().register(cx);
        self.take_requests();
        loop {
            self.begin_calls();
            let mut moved = self.poll_runnable(cx, taken);
            moved |= self.poll_in_flight(cx, taken);
            self.give_slots();
            if *taken >= TURN || (!moved && self.runnable.is_empty()) {
                break;
            }
        }
        if self.is_idle() {
            // Timers are armed late: an agent that answers at once needs none.
            self.take_timers(cx);
        }
        if self.is_idle() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.answers.is_empty() && self.runnable.is_empty()
    }

    fn take_requests(&mut self) {
        while let Some(request) = self.shared.mailbox().take_request() {
            match request {
                Request::Cancel { reason, grace_period, requested_by, answer } => {
                    let grace_period = grace_period.unwrap_or(self.program.plan.limits().grace_period);
                    let cancelling = Cancelling { reason, grace_period, requested_by };
                    let result = self.feed(EventBody::ExecutionCancelling(Arc::new(cancelling)));
                    self.answers.push(Answer { to: answer, result });
                }
            }
        }
    }

    fn take_timers(&mut self, cx: &mut Context<'_>) {
        while let Some(&(due_at, timer)) = self.timers.first() {
            if self.timeline.now() < due_at {
                if self.sleeps_until != Some(due_at) {
                    let instant = self.timeline.instant(due_at);
                    match &mut self.sleep {
                        Some(sleep) => sleep.as_mut().reset(instant),
                        None => self.sleep = Some(Box::pin(tokio::time::sleep_until(instant))),
                    }
                    self.sleeps_until = Some(due_at);
                }
                if self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_pending()) {
                    return;
                }
                self.sleeps_until = None;
                continue;
            }
            self.timers.pop_first();
            if let Some(remark) = self.remark_on(timer) {
                self.tell(remark);
            }
            self.tell(EventBody::TimerFired { timer });
        }
    }

    fn remark_on(&self, timer: Timer) -> Option<EventBody> {
        let (scope, timeout) = match timer {
            Timer::ExecutionDeadline => {
                let started_at = self.state.started_at()?;
                (TimeoutScope::Execution, self.timeline.now().since(started_at))
            }
            Timer::StepDeadline(activation) => {
                (TimeoutScope::Step(activation), self.program.plan.steps().get(activation.get())?.policy.deadline?)
            }
            Timer::Grace => return None,
        };
        Some(EventBody::TimeoutExceeded { scope, timeout })
    }

    /// Hands an event to the machine that comes from this driver itself. One that no longer fits is moot.
    fn tell(&mut self, body: EventBody) {
        let _ = self.feed(body);
    }

    /// Hands an event to the machine, and all that it decides from it.
    fn feed(&mut self, body: EventBody) -> Result<(), Refusal> {
        let at = *self.at.get_or_insert_with(|| self.timeline.now());
        let mut event = Event { at, body };
        loop {
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
            self.batch.push(event);
            match self.commands.pop() {
                Some(Command::Record(next)) => event = next,
                Some(other) => {
                    self.commands.push(other);
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// Queues the calls that the machine asks for; everything else waits until the batch is stored.
    fn begin_calls(&mut self) {
        for command in self.commands.drain(..) {
            match command {
                Command::Call(call) => self.waiting.push_back(Waiter::New(call)),
                effect => self.effects.push(effect),
            }
        }
        self.give_slots();
    }

    /// Gives slots to those who wait for them, as many as there are.
    fn give_slots(&mut self) {
        let limit = self.program.plan.limits().max_concurrent_steps.unwrap_or(u32::MAX);
        let mut spare = self.shared.mailbox().take_slots();
        self.asked = self.asked.saturating_sub(spare);
        while let Some(waiter) = self.waiting.front() {
            // What was aborted meanwhile is no longer in the phase in which it waits. A call that would be rejected, or is
            // not due, waits without a slot.
            let needs_slot = match waiter {
                Waiter::New(call) => {
                    let scheduled = self.state.activation(call.activation).is_some_and(|step| step.phase.has_call());
                    if !scheduled {
                        self.waiting.pop_front();
                        continue;
                    }
                    call.not_before.is_none()
                }
                Waiter::Parked(key) => {
                    if !self.calls.get(*key).is_some_and(|entry| entry.wants_slot) {
                        self.waiting.pop_front();
                        continue;
                    }
                    true
                }
            };
            if needs_slot {
                if self.slots.count >= limit {
                    break;
                }
                if spare > 0 {
                    spare -= 1;
                } else if !self.engine.slots.try_take() {
                    break;
                }
                self.slots.count += 1;
            }
            match self.waiting.pop_front() {
                Some(Waiter::New(call)) => {
                    let key = self.open(call, needs_slot);
                    self.runnable.push_back(key);
                }
                Some(Waiter::Parked(key)) => {
                    let entry = &mut self.calls[key];
                    (entry.has_slot, entry.wants_slot) = (true, false);
                    entry.state.grant_slot();
                    self.runnable.push_back(key);
                }
                None => {}
            }
        }
        for _ in 0..spare {
            self.engine.slots.give_back();
        }
        let wanted = (self.waiting.len() as u32).min(limit.saturating_sub(self.slots.count));
        if wanted != self.asked {
            self.asked = wanted;
            self.engine.slots.wait_for(self.shared.mailbox(), wanted);
        }
    }

    /// Makes the future of a call. Nothing happens before it is polled.
    fn open(&mut self, call: Call, has_slot: bool) -> usize {
        let index = call.activation.get();
        let step = &self.program.plan.steps()[index];
        let stack = &self.program.stacks[index];
        let known = &self.state.steps()[index];
        let input = known.input.clone().unwrap_or_else(|| Arc::new(Value::Null));
        let mut context = AgentContext::builder(
            Arc::clone(&self.origin.identity),
            Arc::clone(&step.identity),
            Arc::clone(&self.engine.clock),
            Arc::clone(&input),
        )
        .config(Arc::clone(&step.config));
        if let Some(key) = &known.idempotency_key {
            context = context.idempotency_key(&**key);
        }
        let span = telemetry::step_span(&Span::current(), &step.identity, &step.agent.manifest().id);
        let circuit = stack.circuit(step, &input, &self.engine.circuits);
        let state = Arc::new(CallState::new(context.build(), input, call.deadline_at, span, call.attempt));
        if has_slot {
            state.grant_slot();
        }
        let instant = |at: Timestamp| self.timeline.instant(at);
        let limits = CallLimits {
            seed: mix(self.engine.seed ^ self.shared.seed() ^ u64::from(call.activation.0).rotate_left(32)),
            tries_used: call.tries_used,
            not_before: call.not_before.map(instant),
            deadline: call.deadline_at.map(instant),
        };
        let future = stack.call(&state, circuit.as_ref(), limits);
        let key = self.calls.insert(Entry {
            activation: call.activation,
            state,
            future: Some(future),
            has_slot,
            wants_slot: false,
            in_attempt: false,
            told: false,
        });
        self.call_of[index] = key as u32;
        key
    }

    // === calls ===

    /// Polls calls in place.
    fn poll_runnable(&mut self, cx: &mut Context<'_>, taken: &mut usize) -> bool {
        let mut moved = false;
        while *taken < TURN {
            let Some(key) = self.runnable.pop_front() else { break };
            let Some(mut future) = self.calls.get_mut(key).and_then(|entry| entry.future.take()) else { continue };
            moved = true;
            let polled = future.as_mut().poll(cx);
            match polled {
                Poll::Ready(result) => {
                    *taken += 1;
                    self.hear(key);
                    self.answered(key, result);
                }
                Poll::Pending => self.keep(key, future),
            }
        }
        moved
    }

    fn poll_in_flight(&mut self, cx: &mut Context<'_>, taken: &mut usize) -> bool {
        let mut moved = false;
        while *taken < TURN {
            match Pin::new(&mut self.in_flight).poll_next(cx) {
                Poll::Ready(Some(Returned::Aborted)) => {}
                Poll::Ready(Some(Returned::Signals { key, future })) => {
                    moved = true;
                    self.keep(key, future);
                }
                Poll::Ready(Some(Returned::Answered { key, result })) => {
                    moved = true;
                    *taken += 1;
                    self.hear(key);
                    self.answered(key, result);
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        moved
    }

    /// Hears what a pending call has to tell, and puts it where it will go on.
    fn keep(&mut self, key: usize, future: CallFuture) {
        let waits_for_driver = self.hear(key);
        let Some(entry) = self.calls.get_mut(key) else { return };
        if waits_for_driver {
            entry.future = Some(future);
        } else {
            self.in_flight.push(InFlight { key, state: Arc::clone(&entry.state), future: Some(future) });
        }
    }

    /// Turns what a call tells into events. True if it waits for this driver.
    fn hear(&mut self, key: usize) -> bool {
        let heard = self.calls[key].state.take_signals();
        for signal in heard.signals {
            let Some(entry) = self.calls.get_mut(key) else { return false };
            let activation = entry.activation;
            match signal {
                Signal::TimedOut { attempt, timeout } => {
                    let scope = TimeoutScope::Attempt(activation, attempt);
                    self.tell(EventBody::TimeoutExceeded { scope, timeout });
                }
                Signal::Circuit(change) => {
                    let change = self.circuit_change(activation, &change);
                    self.tell(EventBody::CircuitChanged(Arc::new(change)));
                }
                Signal::Retry { attempt, failure, delay, due_at } => {
                    let is_final = entry.told;
                    entry.in_attempt = false;
                    self.free_slot(key);
                    let result = Err(Arc::new(of_attempt(failure, attempt)));
                    self.tell(EventBody::AttemptFinished { activation, attempt, result, is_final });
                    if is_final {
                        self.close(key);
                        return false;
                    }
                    let due_at = self.timeline.timestamp(due_at);
                    self.tell(EventBody::RetryScheduled { activation, attempt: attempt + 1, delay, due_at });
                }
            }
        }
        match heard.need {
            None => return false,
            // A step whose backoff is over goes before those that have not begun.
            Some(Need::Slot) => {
                self.calls[key].wants_slot = true;
                self.waiting.push_front(Waiter::Parked(key));
            }
            Some(Need::Start) => self.announce(key),
        }
        true
    }

    /// Journals that an attempt begins. It goes on once that is stored.
    fn announce(&mut self, key: usize) {
        let entry = &self.calls[key];
        if !entry.has_slot {
            // The circuit would have rejected it, and then did not.
            if self.engine.slots.try_take() {
                self.slots.count += 1;
                self.calls[key].has_slot = true;
                self.calls[key].state.grant_slot();
            } else {
                self.calls[key].wants_slot = true;
                self.waiting.push_front(Waiter::Parked(key));
                return;
            }
        }
        let entry = &self.calls[key];
        let activation = entry.activation;
        let attempt = entry.state.attempt();
        let restart = self.state.activation(activation).map_or(0, |step| step.restarts);
        let timeout = Some(self.program.stacks[activation.get()].timeout());
        // An execution that is ending refuses, and has aborted the call already.
        if self.feed(EventBody::AttemptStarted { activation, attempt, restart, timeout }).is_ok() {
            self.calls[key].in_attempt = true;
            self.starting.push(key);
        }
    }

    /// Reports the final answer of a call.
    fn answered(&mut self, key: usize, result: Result<Value, AgentError>) {
        let Some(entry) = self.calls.get(key) else { return };
        let (activation, in_attempt) = (entry.activation, entry.in_attempt);
        let attempt = entry.state.attempt();
        let status = if result.is_ok() { "completed" } else { "failed" };
        telemetry::record_end(entry.state.span(), status, result.as_ref().err().map(AgentError::kind));
        self.close(key);
        let body = match result {
            Ok(output) => {
                EventBody::AttemptFinished { activation, attempt, result: Ok(Arc::new(output)), is_final: true }
            }
            Err(error) if in_attempt => {
                let result = Err(Arc::new(of_attempt(error.to_failure(), attempt)));
                EventBody::AttemptFinished { activation, attempt, result, is_final: true }
            }
            Err(error) => {
                EventBody::AttemptRejected { activation, error: Arc::new(error.to_failure()), is_final: true }
            }
        };
        self.tell(body);
    }

    /// Forgets a call and gives its slot back.
    fn close(&mut self, key: usize) {
        self.free_slot(key);
        let entry = self.calls.remove(key);
        self.call_of[entry.activation.get()] = NO_CALL;
    }

    fn free_slot(&mut self, key: usize) {
        if std::mem::take(&mut self.calls[key].has_slot) {
            self.slots.give_back();
        }
    }

    fn circuit_change(
        &self,
        activation: Activation,
        change: &orchestr8_resilience::circuit_breaker::CircuitChange,
    ) -> CircuitChange {
        let (state, reopens_at) = match change.new {
            CircuitState::Closed { .. } => (CircuitStateName::Closed, None),
            CircuitState::Open { until } => (CircuitStateName::Open, Some(self.timeline.timestamp(until))),
            CircuitState::HalfOpen { .. } => (CircuitStateName::HalfOpen, None),
        };
        let key = change.key.to_string();
        CircuitChange { activation, key, state, reason: change.reason.as_str(), reopens_at }
    }

    // === store and carry out ===

    /// Stores the batch, publishes it, and carries out what it asks for. True if the execution has ended.
    async fn store_and_carry_out(&mut self) -> Result<bool, Lost> {
        self.begin_calls();
        let ended = if self.batch.is_empty() {
            false
        } else {
            self.append().await?;
            self.engine.bus.publish(&self.origin, self.stored + 1, &self.batch);
            self.stored += self.batch.len() as u64;
            let at = self.batch[0].at;
            self.batch.clear();
            self.at = None;
            self.carry_out(at)
        };
        for Answer { to, result } in self.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = to.send(result);
        }
        Ok(ended)
    }

    /// Appends the batch. A store that fails for a while (a full disk) holds the execution up and loses nothing.
    async fn append(&mut self) -> Result<(), Lost> {
        let mut delay = Duration::from_millis(100);
        loop {
            match self.engine.store.append(&self.lease, self.stored, &self.batch).await {
                Ok(()) => return Ok(()),
                Err(error @ (StoreError::Conflict(_) | StoreError::NotFound(_))) => return Err(Lost::store(error)),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        ?delay,
                        "appending to the journal; trying again"
                    );
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    /// Begins what the batch of this time opened. True if the execution has ended.
    fn carry_out(&mut self, at: Timestamp) -> bool {
        let mut ended = false;
        // The buffers are lent out and put back, so that their memory is used again.
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Command::AbortCall { activation, force, .. } => self.abort(activation, force),
                Command::SetTimer { timer, due_at } => {
                    self.timers.insert((due_at, timer));
                }
                Command::ClearTimer { timer } => self.timers.retain(|(_, other)| *other != timer),
                Command::Finish(status) => {
                    ended = true;
                    self.finished(status);
                }
                Command::Call(_) | Command::Record(_) | Command::Refuse(_) => {}
            }
        }
        self.effects = effects;
        for key in self.starting.drain(..) {
            if let Some(entry) = self.calls.get(key).filter(|entry| entry.in_attempt) {
                entry.state.grant_start(at);
                self.runnable.push_back(key);
            }
        }
        ended
    }

    fn abort(&mut self, activation: Activation, force: bool) {
        let key = self.call_of[activation.get()];
        if key == NO_CALL {
            return;
        }
        let key = key as usize;
        let entry = &mut self.calls[key];
        if force {
            telemetry::record_end(entry.state.span(), "cancelled", None);
            // A call in flight is dropped when it is polled next, which this brings about.
            entry.state.abort();
            self.close(key);
        } else {
            entry.told = true;
            entry.state.cancel_attempt();
        }
    }

    fn finished(&self, status: Status) {
        let span = Span::current();
        let error = self.state.error().map(|error| error.code);
        match status {
            Status::Completed => telemetry::record_end(&span, "completed", None),
            Status::Cancelled => telemetry::record_end(&span, "cancelled", None),
            _ => telemetry::record_end(&span, "failed", error),
        }
        tracing::info!(?status, "the execution has ended");
    }
}

/// Says which attempt a failure ended.
fn of_attempt(mut failure: Failure, attempt: u32) -> Failure {
    (failure.attempts, failure.attempt) = (attempt, Some(attempt));
    failure
}
