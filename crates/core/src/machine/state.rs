//! What is known of an execution: the fold of its events, and nothing else.

use std::sync::Arc;

use orchestr8_schema::{
    Failure, StepIndex, StepPath, Timestamp,
    event::{Activation, Cancelling, Queued, Reuse, SkipReason},
};
use serde_json::Value;

use super::{
    agenda::Agenda,
    budget::Ledger,
    compensation::Compensation,
    composite::Composite,
    durable::Durables,
    hooks::Hooks,
    instance::{Place, ScopeInstance},
    pause::Pauses,
    signals::Signals,
};
use crate::plan::Plan;

/// The state of one execution.
///
/// Two states are equal if the same events led to them.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(super) status: Status,
    /// The number of events folded.
    pub(super) sequence: u64,
    pub(super) queued: Option<Arc<Queued>>,
    pub(super) started_at: Option<Timestamp>,
    /// Since when the time of the execution counts: its start, or the latest reopening.
    pub(super) timed_from: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    /// When the last event happened.
    pub(super) latest: Timestamp,
    /// By activation. The steps of a scope instance stand side by side.
    pub(super) steps: Vec<StepState>,
    /// In the order in which they opened; that of the workflow itself is the first.
    pub(super) scopes: Vec<ScopeInstance>,
    pub(super) agenda: Agenda,
    /// Activations that are not terminal, or have hooks to come.
    pub(super) live: u32,
    /// Attempts in progress.
    pub(super) in_flight: u32,
    pub(super) signals: Signals,
    pub(super) hooks: Hooks,
    pub(super) ledger: Ledger,
    pub(super) durables: Durables,
    /// Remarks of agents that are kept.
    pub(super) remarks: u32,
    /// Calls of models and of tools that agents made.
    pub(super) model_calls: u64,
    pub(super) tool_calls: u64,
    pub(super) pauses: Pauses,
    /// The first fatal failure.
    pub(super) fatal: Option<Arc<Failure>>,
    pub(super) cancelling: Option<Arc<Cancelling>>,
    pub(super) ending: Option<Ending>,
    pub(super) outputs: Option<Arc<Value>>,
    /// Steps that may have to be undone, in the order in which they ended.
    pub(super) ended: Vec<Activation>,
    pub(super) compensation: Option<Box<Compensation>>,
}

/// The status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Nothing has happened yet, or no driver has taken it up.
    Queued,
    /// Steps run.
    Running,
    /// Nothing starts until it is resumed.
    Paused,
    /// It cannot complete any more; running work ends. Views show `running`.
    Failing,
    /// Somebody asked for its end; running work ends.
    Cancelling,
    /// Ended well.
    Completed,
    /// Ended by a failure.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl Status {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Paused | Self::Failing | Self::Cancelling => false,
        }
    }

    /// Whether steps come to ends of their own, and what follows from them is done, if not now then once it is resumed.
    #[must_use]
    pub fn is_underway(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether running work is brought to its end.
    #[must_use]
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Failing | Self::Cancelling)
    }
}

/// The state of one activation of a step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepState {
    /// Which step of the plan.
    pub step: StepIndex,
    /// The scope instance that it stands in.
    pub(super) scope: Place,
    /// How far it has come.
    pub phase: Phase,
    /// Dependencies that have not been settled.
    pub(super) waits_for: u32,
    /// Calls that reached the agent.
    pub attempts: u32,
    /// Tries that a circuit breaker, a rate limit or a bulkhead rejected.
    pub rejected: u32,
    /// How often the present attempt was begun again after a crash.
    pub restarts: u32,
    /// The dependency that was settled first without being satisfied.
    pub blocked_by: Option<StepIndex>,
    /// The resolved input.
    pub input: Option<Arc<Value>>,
    /// What the policy `idempotencyKey` gave.
    pub idempotency_key: Option<Arc<str>>,
    /// Whether it takes over a result of the execution that its own was made from, or why not.
    pub reuse: Option<Reuse>,
    /// The output, once there is one.
    pub output: Option<Arc<Value>>,
    /// The final failure, or that of the last attempt.
    pub error: Option<Arc<Failure>>,
    /// What has become of its fallback.
    pub rescue: Rescue,
    /// What a composite holds while it is open, and knows when it has ended.
    pub(super) composite: Option<Box<Composite>>,
    /// Why it did not run.
    pub skip_reason: Option<SkipReason>,
    /// When its turn came.
    pub scheduled_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When its latest attempt began.
    pub attempt_at: Option<Timestamp>,
    /// When it became terminal.
    pub ended_at: Option<Timestamp>,
    /// When the next attempt is due, in backoff.
    pub due_at: Option<Timestamp>,
}

/// How far an activation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Dependencies have not been settled.
    Blocked,
    /// Its turn has come.
    Ready,
    /// Its input is resolved, and the hooks before it are called.
    Before,
    /// Its call is open; no attempt has begun.
    Scheduled,
    /// The first attempt has begun; `step.started` is about to be decided.
    Starting,
    /// An attempt is in progress.
    Running,
    /// An attempt has failed, another will be made; its time is about to be set.
    Between,
    /// The next attempt waits for its time.
    Backoff,
    /// A composite is about to open, or a wait to begin.
    Opening,
    /// A composite has opened, and the way it takes next is about to be decided.
    Deciding,
    /// A composite is open.
    Open,
    /// A composite is about to end, once all that is open inside has ended.
    Closing,
    /// It waits for a time, a signal or a person.
    Waiting,
    /// The final answer is in; the end of the step is about to be decided.
    Answered,
    /// Ended well.
    Completed,
    /// Ended by a failure.
    Failed,
    /// Did not run.
    Skipped,
    /// Ended on request, or with its execution.
    Cancelled,
}

impl Phase {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
            Self::Blocked
            | Self::Ready
            | Self::Before
            | Self::Scheduled
            | Self::Starting
            | Self::Running
            | Self::Between
            | Self::Backoff
            | Self::Opening
            | Self::Deciding
            | Self::Open
            | Self::Closing
            | Self::Waiting
            | Self::Answered => false,
        }
    }

    /// Whether a composite is open.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Deciding | Self::Open | Self::Closing)
    }

    /// Whether the step's deadline counts.
    #[must_use]
    pub fn has_deadline(self) -> bool {
        self.has_call() || matches!(self, Self::Before | Self::Opening | Self::Deciding | Self::Open | Self::Waiting)
    }

    /// Whether an attempt is in progress.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// Whether the driver holds a call.
    #[must_use]
    pub fn has_call(self) -> bool {
        matches!(self, Self::Scheduled | Self::Starting | Self::Running | Self::Between | Self::Backoff)
    }

    /// Returns the status that people see.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Blocked | Self::Ready | Self::Before | Self::Scheduled | Self::Opening => "pending",
            Self::Starting | Self::Running | Self::Deciding | Self::Open | Self::Closing | Self::Answered => "running",
            Self::Between | Self::Backoff | Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What has become of the step that stands in for a failed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rescue {
    /// It was not needed, or there is none.
    #[default]
    None,
    /// It is about to be called for.
    Wanted,
    /// It was called for.
    Called,
    /// It completed.
    Recovered,
    /// It did not.
    Lost,
}

/// An execution's end in progress: a sweep over all that is not a composite, in the order of the numbers, and then, when
/// nothing of it is left, one over the composites, the inner ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The next activation to look at.
    pub(super) cursor: u32,
    /// The activation behind the next composite to look at.
    pub(super) composites: u32,
    /// Until when running attempts may end; absent if nothing limits them.
    pub(super) grace_until: Option<Timestamp>,
    /// Whether the tokens of running attempts have fired.
    pub(super) propagate: bool,
    /// Whether the grace is over, so that running attempts are dropped.
    pub(super) forced: bool,
    /// Whether a running attempt was dropped.
    pub(super) dropped: bool,
}

impl State {
    /// Makes the state before any event.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut state = Self {
            status: Status::Queued,
            sequence: 0,
            queued: None,
            started_at: None,
            timed_from: None,
            ended_at: None,
            latest: Timestamp::default(),
            live: 0,
            steps: Vec::new(),
            scopes: Vec::new(),
            agenda: Agenda::default(),
            in_flight: 0,
            signals: Signals::default(),
            hooks: Hooks::default(),
            ledger: Ledger::default(),
            durables: Durables::default(),
            remarks: 0,
            model_calls: 0,
            tool_calls: 0,
            pauses: Pauses::default(),
            fatal: None,
            cancelling: None,
            ending: None,
            outputs: None,
            ended: Vec::new(),
            compensation: None,
        };
        state.open_root(plan);
        state
    }

    /// How often an attempt is begun again after a crash.
    pub const MAX_RESTARTS: u32 = 3;

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the number of events folded, which is the sequence of the last.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns what the execution was made from; absent before the first event.
    #[must_use]
    pub fn queued(&self) -> Option<&Arc<Queued>> {
        self.queued.as_ref()
    }

    /// Returns the execution's input, as a guard may have changed it; absent before the first event.
    #[must_use]
    pub fn input(&self) -> Option<&Arc<Value>> {
        self.hooks.input.as_ref().or_else(|| self.queued.as_ref().map(|queued| &queued.input))
    }

    /// Returns when a driver took the execution up.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// Returns when it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Returns all activations by number.
    #[must_use]
    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// Returns the steps of the workflow's own list, in the order of declaration.
    #[must_use]
    pub fn own_steps(&self) -> &[StepState] {
        let range = self.activations(0);
        &self.steps[range.start as usize..range.end as usize]
    }

    /// Returns an activation; absent if there is none of that number.
    #[must_use]
    pub fn activation(&self, activation: Activation) -> Option<&StepState> {
        self.steps.get(activation.get())
    }

    /// Returns an activation's place in the workflow; absent if there is none of that number.
    #[must_use]
    pub fn step_path(&self, plan: &Plan, activation: Activation) -> Option<StepPath> {
        self.steps.get(activation.get()).map(|_| self.path_of(plan, activation))
    }

    /// Returns the number of attempts in progress.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns the failure that the execution has ended with, or is ending with.
    #[must_use]
    pub fn error(&self) -> Option<&Arc<Failure>> {
        self.fatal.as_ref().filter(|_| matches!(self.status, Status::Failing | Status::Failed))
    }

    /// Returns who asked for the end, and why.
    #[must_use]
    pub fn cancelling(&self) -> Option<&Arc<Cancelling>> {
        self.cancelling.as_ref()
    }

    /// Counts what is done about a step.
    #[cfg(planted)]
    pub(crate) fn mark(&mut self, activation: Activation) {
        if let Some(step) = self.steps.get_mut(activation.get()) {
            step.rejected += 1;
        }
    }

    /// Has a step that has ended run once more, though not for ever.
    #[cfg(planted)]
    pub(crate) fn run_again(&mut self, plan: &Plan, activation: Activation) {
        let step = &mut self.steps[activation.get()];
        if step.rejected > 0 {
            return;
        }
        *step = StepState::new(plan, step.step, step.scope);
        (step.waits_for, step.phase, step.rejected) = (0, Phase::Ready, 1);
        let (rank, scope) = (plan.steps()[step.step.get()].rank, step.scope);
        self.live += 1;
        self.scopes[scope as usize].live += 1;
        self.agenda.ready.push(std::cmp::Reverse((rank, activation)));
    }

    /// Returns what the workflow's `outputs` gave; absent if it has none or has not completed.
    #[must_use]
    pub fn outputs(&self) -> Option<&Arc<Value>> {
        self.outputs.as_ref()
    }
}

impl StepState {
    pub(super) fn new(plan: &Plan, step: StepIndex, scope: Place) -> Self {
        // A fallback waits to be called for, too.
        let on_demand = u32::from(plan.steps()[step.get()].serves.is_some());
        Self {
            step,
            scope,
            phase: Phase::Blocked,
            waits_for: plan.graph().incoming(step) + on_demand,
            attempts: 0,
            rejected: 0,
            restarts: 0,
            blocked_by: None,
            input: None,
            idempotency_key: None,
            reuse: None,
            output: None,
            error: None,
            rescue: Rescue::None,
            composite: None,
            skip_reason: None,
            scheduled_at: None,
            started_at: None,
            attempt_at: None,
            ended_at: None,
            due_at: None,
        }
    }

    /// Whether it holds other steps, and has opened.
    pub(crate) fn is_composite(&self) -> bool {
        self.composite.is_some()
    }

    /// Whether those that depend on it may run: it completed, its fallback recovered it, or it is a fallback that was not needed.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        match self.phase {
            Phase::Completed => true,
            Phase::Failed => self.rescue == Rescue::Recovered,
            Phase::Skipped => self.skip_reason == Some(SkipReason::FallbackNotNeeded),
            _ => false,
        }
    }
}
