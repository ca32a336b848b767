//! The calls of one execution: polled in place first, and put in flight if they have to wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::Stream;
use orchestr8_agent_base::{
    AgentContext, AgentError,
    context::{Host, compensation_key, input_digest, structural_key},
};
use orchestr8_resilience::{
    Circuit,
    circuit_breaker::{self, Admitted, CircuitState},
};
use orchestr8_schema::{
    Failure, Timestamp,
    event::{Activation, CallId, CircuitChange, CircuitStateName, EventBody, PermitWait, TimeoutScope},
};
use serde_json::{Map, Value};
use tracing::Span;

use super::{Driver, NO_CALL, TURN, waiting::Waiter};
use crate::{
    clock::mix,
    engine::{
        call::{CallState, InFlight, Need, Returned, Signal},
        stack::{self, Begun, CallFuture, CallLimits, LeafStack, Places},
    },
    machine::{
        Call, Phase, Status,
        budget::{Amount, Shortage, exceeded},
        compensation::{Fate, Undoing},
    },
    telemetry,
};

/// A call of one step.
pub(super) struct Entry {
    pub(super) id: CallId,
    /// The attempt that the call begins with, and how often processes that are gone had begun it.
    begins_with: (u32, u32),
    /// With the tries made by now.
    pub(super) limits: CallLimits,
    pub(super) state: Arc<CallState>,
    pub(super) work: Work,
    /// The number of its layers; absent for a hook that this engine does not have.
    pub(super) stack: Option<u32>,
    pub(super) has_slot: bool,
    pub(super) wants_slot: bool,
    /// It waits for what others have reserved of a budget.
    pub(super) deferred: bool,
    /// What of a budget is kept for its next attempt, because it has waited for it.
    pub(super) claim: Amount,
    pub(super) in_attempt: bool,
    /// Its token has fired, so its next answer is final.
    pub(super) told: bool,
}

/// What is to be polled of a call.
pub(super) enum Work {
    /// Nothing was called yet, and nothing stands before the first attempt but that its beginning is stored. Most agents answer
    /// it at once and well, when no layer has anything to do: layers are built around an attempt that has to wait or has failed.
    Bare(Bare),
    /// All attempts, layers included.
    Layered(CallFuture),
    /// It is in flight, or being polled, or waits for a budget.
    Away,
}

/// What the layers of a call will be made of, if it needs any.
pub(super) struct Bare {
    places: Places,
    admitted: Option<Admitted>,
}

impl Bare {
    /// Asks whether a call's first attempt may begin before there are layers, which is when none of them would make it wait or
    /// reject it. Gives the places back if not.
    fn of(call: &Call, places: Places, has_slot: bool) -> Result<Self, Places> {
        let admitted = places.circuit.as_ref().map(Circuit::admit_if_closed);
        if !has_slot || call.not_before.is_some() || places.queues.is_some() || matches!(admitted, Some(None)) {
            return Err(places);
        }
        Ok(Self { places, admitted: admitted.flatten() })
    }
}

/// What a call is made of.
pub(super) struct Prepared {
    pub(super) stack: Option<u32>,
    pub(super) context: AgentContext,
    pub(super) span: Span,
}

/// Hooks are called beside the slots.
fn needs_slot(call: CallId) -> bool {
    !matches!(call, CallId::Hook(_))
}

impl Driver {
    /// Opens a call that has a slot or needs none, or is to wait for one. A step that calls nothing has no call.
    pub(super) fn open(&mut self, call: Call, places: Places, has_slot: bool) {
        let Some(key) = self.insert(call, places, has_slot) else { return };
        match self.calls[key].work {
            Work::Bare(_) => self.announce(key),
            _ => self.runnable.push_back(key),
        }
    }

    fn insert(&mut self, call: Call, places: Places, has_slot: bool) -> Option<usize> {
        let Prepared { stack, context, span } = match call.id {
            CallId::Step(_) | CallId::Compensation(_) => self.prepare_step(call.id)?,
            CallId::Hook(activation) => self.prepare_hook(activation)?,
        };
        let host = Arc::clone(&self.host);
        let state = Arc::new(CallState::new(context, host, call.deadline_at, span, call.attempt, has_slot));
        let instant = |at: Timestamp| self.timeline.instant(at);
        let about = call.id.activation().unwrap_or(Activation::EXECUTION);
        let limits = CallLimits {
            seed: mix(self.engine.seed ^ self.shared.seed() ^ u64::from(about.0).rotate_left(32)),
            tries_used: call.tries_used,
            not_before: call.not_before.map(instant),
            deadline: call.deadline_at.map(instant),
        };
        let work = match (stack, Bare::of(&call, places, has_slot)) {
            (Some(_), Ok(bare)) => Work::Bare(bare),
            (Some(stack), Err(places)) => {
                let (program, state) = (Arc::clone(&self.program), Arc::clone(&state));
                Work::Layered(stack::call(program, stack, state, places, limits, None))
            }
            (None, _) => {
                let missing = async { Err(AgentError::not_found("this engine has no hook of that name")) };
                Work::Layered(Box::pin(missing))
            }
        };
        let key = self.calls.insert(Entry {
            id: call.id,
            begins_with: (call.attempt, call.restart),
            limits,
            state,
            work,
            stack,
            has_slot: has_slot && needs_slot(call.id),
            wants_slot: false,
            deferred: false,
            claim: Amount::default(),
            in_attempt: false,
            told: false,
        });
        match call.id {
            CallId::Step(activation) => {
                let index = activation.get();
                if self.call_of.len() <= index {
                    self.call_of.resize(self.state.steps().len(), NO_CALL);
                }
                self.call_of[index] = key as u32;
            }
            CallId::Compensation(_) => self.undoing = Some(key),
            CallId::Hook(activation) => {
                self.hook_calls.insert(activation, key);
            }
        }
        Some(key)
    }

    fn prepare_step(&self, call: CallId) -> Option<Prepared> {
        let activation = call.activation()?;
        let known = self.state.activation(activation)?;
        let planned = &self.program.plan.steps()[known.step.get()];
        let identity = match &planned.identity {
            Some(identity) => Arc::clone(identity),
            None => Arc::new(self.state.identity(&self.program.plan, activation)),
        };
        let execution = &self.origin.identity;
        let (leaf, input, key) = match call {
            CallId::Hook(_) => return None,
            CallId::Step(_) => {
                let leaf = planned.leaf.as_ref()?;
                let input = known.input.clone().unwrap_or_default();
                let key = match &known.idempotency_key {
                    Some(explicit) => Some(String::from(&**explicit)),
                    // Whoever needs the key of an agent's step makes it of the input; a tool's has its name in it.
                    None if leaf.callee.is_tool() => {
                        let digest = input_digest(&leaf.callee, &input);
                        Some(structural_key(execution, &identity.step_path, &digest))
                    }
                    None => None,
                };
                (leaf, input, key)
            }
            CallId::Compensation(_) => {
                let undoing = self.state.undoing(activation)?;
                let key = match &undoing.idempotency_key {
                    Some(explicit) => String::from(&**explicit),
                    None => compensation_key(execution, &identity.step_path),
                };
                (planned.compensation.as_deref()?, Arc::clone(&undoing.input), Some(key))
            }
        };
        #[cfg(planted)]
        let key = match crate::planted::Defect::KeyChanges.is_made() {
            true => Some(format!("{} of epoch {}", identity.step_path, self.lease.epoch)),
            false if crate::planted::Defect::ForkSharesKeys.is_made() => {
                Some(format!("{} of any execution", identity.step_path))
            }
            false => key,
        };
        let stack = self.program.stack_of(known.step, call)?;
        let span = telemetry::step_span(&self.span, &identity, &leaf.callee);
        let (execution, clock) = (Arc::clone(execution), Arc::clone(&self.engine.clock));
        let host: Arc<dyn Host> = self.host.clone();
        let mut context = AgentContext::builder(execution, identity, clock, input)
            .config(Arc::clone(&leaf.config))
            .callee(Arc::clone(&leaf.callee))
            .host(host, call);
        if let Some(records) = self.state.records(call) {
            context = context.records(records.clone());
        }
        if let Some(key) = key {
            context = context.idempotency_key(key);
        }
        Some(Prepared { stack: Some(stack), context: context.build(), span })
    }

    /// Finds the open call of this name.
    fn key_of(&self, call: CallId) -> Option<usize> {
        match call {
            CallId::Step(activation) => {
                self.call_of.get(activation.get()).filter(|key| **key != NO_CALL).map(|key| *key as usize)
            }
            CallId::Compensation(_) => self.undoing,
            CallId::Hook(activation) => self.hook_calls.get(&activation).copied(),
        }
    }

    /// The layers around a call.
    fn stack(&self, call: CallId) -> Option<&LeafStack> {
        if let CallId::Hook(activation) = call {
            return self.program.stack(self.hook_stack(activation)?);
        }
        let step = self.state.activation(call.activation()?)?.step;
        self.program.stack(self.program.stack_of(step, call)?)
    }

    /// The configuration of what a step, or a compensation, calls.
    fn config(&self, call: CallId) -> Option<&Map<String, Value>> {
        let planned = &self.program.plan.steps()[self.state.activation(call.activation()?)?.step.get()];
        let leaf = match call {
            CallId::Step(_) => planned.leaf.as_ref()?,
            CallId::Compensation(_) => planned.compensation.as_deref()?,
            CallId::Hook(_) => return None,
        };
        Some(&leaf.config)
    }

    /// Finds what a call shares with others.
    pub(super) fn places_of(&self, call: CallId) -> Places {
        let places = || {
            let input = match call {
                CallId::Step(activation) => self.state.activation(activation)?.input.as_ref()?,
                CallId::Compensation(activation) => &self.state.undoing(activation)?.input,
                CallId::Hook(activation) => self.state.hook_in_progress(&self.program.plan, activation)?.input?,
            };
            Some(self.stack(call)?.places(input, || self.config(call), &self.engine.registries))
        };
        places().unwrap_or_default()
    }

    /// Polls calls in place.
    pub(super) fn poll_runnable(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.answers_taken < TURN {
            let Some(key) = self.runnable.pop_front() else { break };
            let Some(entry) = self.calls.get_mut(key) else { continue };
            match std::mem::replace(&mut entry.work, Work::Away) {
                Work::Away => continue,
                // A key that was left behind by another call.
                Work::Bare(bare) if !entry.state.may_start() => {
                    entry.work = Work::Bare(bare);
                    continue;
                }
                Work::Bare(bare) => self.begin(key, bare, cx),
                Work::Layered(mut future) => match future.as_mut().poll(cx) {
                    Poll::Ready(result) => {
                        self.hear(key);
                        self.answered(key, result);
                    }
                    Poll::Pending => self.keep(key, future),
                },
            }
            moved = true;
        }
        moved
    }

    /// Makes a call's first attempt in place. Unless it succeeds at once, the layers are built around it.
    fn begin(&mut self, key: usize, bare: Bare, cx: &mut Context<'_>) {
        let Bare { places, admitted } = bare;
        let entry = &self.calls[key];
        let limits = entry.limits;
        let Some(stack) = entry.stack else { return };
        let mut attempt = stack::begin(Arc::clone(&self.program), stack, Arc::clone(&entry.state));
        let failed = match attempt.as_mut().poll(cx) {
            Poll::Ready(Ok(output)) => {
                if let Some(stack) = self.program.stack(stack) {
                    stack.succeeded(&places, admitted);
                }
                return self.answered(key, Ok(output));
            }
            Poll::Ready(Err(error)) => {
                attempt = Box::pin(std::future::ready(Err(error)));
                true
            }
            Poll::Pending => false,
        };
        let (program, state) = (Arc::clone(&self.program), Arc::clone(&entry.state));
        let begun = Some(Begun { attempt, admitted });
        let future = stack::call(program, stack, Arc::clone(&state), places, limits, begun);
        if failed {
            self.calls[key].work = Work::Layered(future);
            self.runnable.push_front(key);
        } else {
            self.in_flight.push(InFlight { key, state, future: Some(future) });
        }
    }

    pub(super) fn poll_in_flight(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.answers_taken < TURN && !self.in_flight.is_empty() {
            match Pin::new(&mut self.in_flight).poll_next(cx) {
                Poll::Ready(Some(Returned::Aborted)) => {}
                Poll::Ready(Some(Returned::Signals { key, future })) => {
                    moved = true;
                    self.keep(key, future);
                }
                Poll::Ready(Some(Returned::Answered { key, result })) => {
                    moved = true;
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
        if entry.deferred {
            return;
        }
        if waits_for_driver {
            entry.work = Work::Layered(future);
        } else {
            self.in_flight.push(InFlight { key, state: Arc::clone(&entry.state), future: Some(future) });
        }
    }

    /// Turns what a call tells into events. True if it waits for this driver.
    fn hear(&mut self, key: usize) -> bool {
        self.take_told();
        let heard = self.calls[key].state.take_signals();
        for signal in heard.signals {
            let Some(entry) = self.calls.get_mut(key) else { return false };
            let call = entry.id;
            match signal {
                Signal::TimedOut { attempt, timeout } => {
                    let scope = TimeoutScope::Attempt(call, attempt);
                    self.tell(EventBody::TimeoutExceeded { scope, timeout });
                }
                Signal::Circuit(change) => {
                    let change = self.circuit_change(call, &change);
                    self.tell(EventBody::CircuitChanged(Arc::new(change)));
                    self.engine.note_resilience();
                }
                Signal::Waited { queue, key, time: waited, rejected } => {
                    let wait = PermitWait { call, queue, key, waited, rejected };
                    self.tell(EventBody::PermitWaited(Arc::new(wait)));
                }
                Signal::Retry { attempt, rejected, failure, delay, due_at } => {
                    self.answers_taken += 1;
                    let entry = &mut self.calls[key];
                    let is_final = entry.told;
                    entry.in_attempt = false;
                    entry.limits.tries_used += 1;
                    self.free_slot(key);
                    self.drop_claim(key);
                    let next = if rejected {
                        self.tell(rejection(call, failure, attempt, is_final));
                        attempt
                    } else {
                        let result = Err(Arc::new(of_attempt(failure, attempt)));
                        let usage = self.calls[key].state.take_usage();
                        self.tell(EventBody::AttemptFinished { call, attempt, result, is_final, usage });
                        attempt + 1
                    };
                    if is_final {
                        self.close(key);
                        return false;
                    }
                    let due_at = self.timeline.timestamp(due_at);
                    self.tell(EventBody::RetryScheduled { call, attempt: next, delay, due_at });
                }
            }
        }
        match heard.need {
            None => return false,
            Some(Need::Slot) => {
                self.calls[key].wants_slot = true;
                // A step whose backoff is over, or that has waited already, goes before those that have not begun.
                if self.calls[key].state.attempt() > 1 || self.calls[key].claim != Amount::default() {
                    self.waiting.push_front(Waiter::Parked(key));
                } else {
                    self.waiting.push_back(Waiter::Parked(key));
                }
            }
            Some(Need::Start) => self.announce(key),
        }
        true
    }

    /// Journals that an attempt begins. It goes on once that is stored.
    pub(super) fn announce(&mut self, key: usize) {
        let entry = &self.calls[key];
        if !entry.has_slot && needs_slot(entry.id) {
            // The circuit would have rejected it, and then did not.
            let call = entry.id;
            if self.has_share(call) && self.take_slot() {
                self.count_share(call);
                self.calls[key].has_slot = true;
                self.calls[key].state.grant_slot();
            } else {
                self.calls[key].wants_slot = true;
                self.waiting.push_front(Waiter::Parked(key));
                return;
            }
        }
        let entry = &self.calls[key];
        let reserved = self.estimate(entry.id);
        // What an interrupted attempt has reserved it holds still.
        if let CallId::Step(activation) = entry.id
            && !self.is_in_attempt(entry.id)
        {
            match self.shortage(key, activation, reserved.as_deref()) {
                None => {}
                Some(Shortage::Taken) => return self.defer(key),
                Some(Shortage::Spent(budget)) => return self.reject(key, exceeded(budget)),
            }
        }
        let entry = &self.calls[key];
        let (call, attempt) = (entry.id, entry.state.attempt());
        let (first, restarts) = entry.begins_with;
        let restart = if attempt == first { restarts } else { 0 };
        let stack = entry.stack.and_then(|stack| self.program.stack(stack));
        let timeout = stack.map(LeafStack::timeout);
        // An execution that is ending refuses, and has aborted the call already.
        let begins = EventBody::AttemptStarted { call, attempt, restart, timeout, reserved: reserved.clone() };
        if self.feed(begins).is_ok() {
            self.calls[key].in_attempt = true;
            if let Some(reserved) = reserved {
                let interruptions = self.state.interruptions(call, attempt, restart);
                let reserved = self.state.reserved_of(&self.program.plan, &reserved);
                self.calls[key].state.set_reserved(reserved.interrupted(interruptions));
            }
            self.drop_claim(key);
            self.starting.push(key);
        } else if self.state.status() == Status::Paused && !needs_slot(call) {
            self.held_up.push(key);
        }
    }

    /// Offers the beginnings again that a pause has refused: those of hooks that a process which is gone had begun. Steps wait for a
    /// slot meanwhile, of which a pause gives none.
    pub(super) fn offer_held_up(&mut self) {
        for key in std::mem::take(&mut self.held_up) {
            self.announce(key);
        }
    }

    /// Reports the final answer of a call.
    fn answered(&mut self, key: usize, result: Result<Value, AgentError>) {
        self.take_told();
        let Some(entry) = self.calls.get(key) else { return };
        self.answers_taken += 1;
        let (call, in_attempt) = (entry.id, entry.in_attempt);
        let attempt = entry.state.attempt();
        let (span, usage) = (entry.state.span().clone(), entry.state.take_usage());
        self.close(key);
        let body = match result {
            Ok(output) => {
                EventBody::AttemptFinished { call, attempt, result: Ok(Arc::new(output)), is_final: true, usage }
            }
            // An interrupted attempt stays open until it is begun again, which a circuit or a deadline may forbid.
            Err(error) if in_attempt || self.is_in_attempt(call) => {
                let result = Err(Arc::new(of_attempt(error.to_failure(), attempt)));
                EventBody::AttemptFinished { call, attempt, result, is_final: true, usage }
            }
            Err(error) => rejection(call, error.to_failure(), attempt, true),
        };
        self.tell(body);
        self.record_end(&span, call);
    }

    /// Whether the journal knows of an attempt that has begun and not ended.
    fn is_in_attempt(&self, call: CallId) -> bool {
        match call {
            CallId::Step(activation) => self.state.activation(activation).is_some_and(|step| step.phase.is_in_flight()),
            CallId::Hook(activation) => self.state.is_hook_in_attempt(activation),
            CallId::Compensation(activation) => self.state.undoing(activation).is_some_and(Undoing::is_in_attempt),
        }
    }

    /// Writes down in the span of a call how the machine has decided that it ended.
    fn record_end(&self, span: &Span, call: CallId) {
        match call {
            CallId::Step(activation) => {
                let Some(step) = self.state.activation(activation) else { return };
                let error = step.error.as_ref().filter(|_| step.phase == Phase::Failed).map(|error| error.code);
                telemetry::record_end(span, step.phase.status(), error);
            }
            CallId::Compensation(activation) => match self.state.fate(activation) {
                Some(Fate::Completed(_)) => telemetry::record_end(span, "completed", None),
                Some(Fate::Failed(_, error)) => telemetry::record_end(span, "failed", Some(error.code)),
                _ => {}
            },
            CallId::Hook(_) => {}
        }
    }

    pub(super) fn abort(&mut self, call: CallId, force: bool) {
        let Some(key) = self.key_of(call) else { return };
        let entry = &mut self.calls[key];
        if force {
            let span = entry.state.span().clone();
            // A call in flight is dropped when it is polled next, which this brings about.
            entry.state.abort();
            self.close(key);
            self.record_end(&span, call);
        } else {
            entry.told = true;
            entry.state.cancel_attempt();
        }
    }

    /// Forgets a call and gives its slot back.
    pub(super) fn close(&mut self, key: usize) {
        self.free_slot(key);
        self.drop_claim(key);
        self.held_up.retain(|held_up| *held_up != key);
        let entry = self.calls.remove(key);
        match entry.id {
            CallId::Step(activation) => self.call_of[activation.get()] = NO_CALL,
            CallId::Compensation(_) => self.undoing = None,
            CallId::Hook(activation) => {
                self.hook_calls.remove(&activation);
            }
        }
    }

    fn circuit_change(&self, call: CallId, change: &circuit_breaker::CircuitChange) -> CircuitChange {
        let (state, reopens_at) = match change.new {
            CircuitState::Closed { .. } => (CircuitStateName::Closed, None),
            CircuitState::Open { until } => (CircuitStateName::Open, Some(self.timeline.timestamp(until))),
            CircuitState::HalfOpen { .. } => (CircuitStateName::HalfOpen, None),
        };
        let key = change.key.to_string();
        CircuitChange { call, key, state, reason: change.reason.as_str().into(), reopens_at }
    }
}

/// Says that the attempt of this number was not made.
fn rejection(call: CallId, mut failure: Failure, attempt: u32, is_final: bool) -> EventBody {
    failure.attempts = attempt - 1;
    EventBody::AttemptRejected { call, error: Arc::new(failure), is_final }
}

/// Says which attempt a failure ended.
fn of_attempt(mut failure: Failure, attempt: u32) -> Failure {
    (failure.attempts, failure.attempt) = (attempt, Some(attempt));
    failure
}
