//! Watches one simulated execution: every event that is stored, and every call of an agent.
//!
//! It believes nobody. It folds the journal by itself and asks the machine for each derived event anew; what the journal must look like it
//! knows from the specification, by rules that are written a second time here and share nothing with the machine's own.

mod calls;
mod effects;
mod hooks;
mod origin;
mod paths;
mod routes;
mod scopes;
mod sight;
mod spending;
mod steps;
mod undoing;
mod watched;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use orchestr8_core::{
    machine::{Command, Commands, State, step},
    plan::Plan,
};
use orchestr8_schema::{
    StepPath,
    api::Compensation,
    event::{Activation, ApprovalDecision, Event, EventBody, EventSort},
    jmespath::JmesPath,
};
use serde_json::Value;

pub(crate) use self::calls::{Begun, CallEnd};
use self::{
    calls::Calls, effects::Effects, hooks::Hooks, origin::Origin, scopes::Scopes, sight::Witness, spending::Spending,
    steps::Steps, undoing::Undoing, watched::Watched,
};
use super::{
    fault::Checkpoint,
    invariant::{Invariant, Violation},
};

/// The most violations that are kept of one execution; the first tells most.
const MAX_VIOLATIONS: usize = 20;

#[derive(Debug)]
pub(crate) struct Referee {
    plan: Arc<Plan>,
    slots: u32,
    always: Arc<[JmesPath]>,
    /// The journals of the executions that this one was forked from.
    earlier: Vec<Event>,
    /// Of the execution that this one was forked from.
    origin: Option<Origin>,
    /// The fold of what is stored.
    state: State,
    journal: Vec<Event>,
    batches: u64,
    effects: Effects,
    steps: Steps,
    scopes: Scopes,
    undoing: Undoing,
    spending: Spending,
    hooks: Hooks,
    calls: Calls,
    /// What people have answered, by step path: whether they approve.
    said: HashSet<(String, bool)>,
    watched: Watched,
    violations: Vec<Violation>,
}

/// Something that an engine says to have taken note of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<'a> {
    Signal(Option<&'a str>),
    Pause,
    Cancel,
}

impl Referee {
    pub(crate) fn new(plan: Arc<Plan>, slots: u32, always: Arc<[JmesPath]>) -> Self {
        Self {
            slots,
            earlier: Vec::new(),
            origin: None,
            state: State::new(&plan),
            journal: Vec::new(),
            batches: 0,
            effects: Effects::default(),
            steps: Steps::new(slots),
            scopes: Scopes::default(),
            undoing: Undoing::default(),
            spending: Spending::default(),
            hooks: Hooks::default(),
            calls: Calls::default(),
            said: HashSet::new(),
            watched: Watched::new(Arc::clone(&always)),
            always,
            violations: Vec::new(),
            plan,
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn journal(&self) -> &[Event] {
        &self.journal
    }

    /// The journals of the executions that the present one was forked from, one after the other.
    pub(crate) fn earlier(&self) -> &[Event] {
        &self.earlier
    }

    /// The number of events of all executions.
    pub(crate) fn count_of_events(&self) -> u64 {
        (self.earlier.len() + self.journal.len()) as u64
    }

    /// How often an execution has failed.
    pub(crate) fn count_of_failures(&self) -> u64 {
        let all = self.earlier.iter().chain(&self.journal);
        all.filter(|event| matches!(event.body, EventBody::ExecutionFailed)).count() as u64
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn blame(&mut self, invariant: Invariant, message: impl Into<String>) {
        if self.violations.len() < MAX_VIOLATIONS {
            let sequence = self.count_of_events();
            self.violations.push(Violation { invariant, message: message.into(), sequence });
        }
    }

    /// Takes a batch that was stored just now.
    ///
    /// `elapsed` is the time since the beginning of all, whatever the wall clock says.
    pub(crate) fn stored(&mut self, batch: &[Event], elapsed: Duration) {
        self.batches += 1;
        self.check_telling(elapsed);
        if batch.iter().any(|event| matches!(event.body, EventBody::ExecutionCancelling(_))) {
            self.calls.cancelled(elapsed);
        }
        let mut expected: VecDeque<Event> = VecDeque::new();
        let mut opened = Commands::new();
        for event in batch {
            self.check_time(event);
            match expected.pop_front() {
                Some(next) if next == *event => {}
                Some(next) => {
                    let message = format!("the journal has {}, the machine decides {}", told(event), told(&next));
                    self.blame(Invariant::DecisionsRepeat, message);
                }
                None if event.body.sort() == EventSort::Derived => {
                    self.blame(Invariant::DecisionsRepeat, format!("nothing leads to {}", told(event)));
                }
                None => {}
            }
            let mut commands = Commands::new();
            step(&self.plan, &mut self.state, event, &mut commands);
            if let Some(Command::Refuse(refusal)) = commands.first() {
                let message = format!("{} was stored, which does not fit: {}", told(event), refusal.message);
                self.blame(Invariant::FoldIsState, message);
                continue;
            }
            // In the order of the commands: what an event lets go of may be taken up again by what follows from it.
            self.effects.carry_out(std::mem::take(&mut opened));
            self.effects.let_go(&event.body);
            self.journal.push(event.clone());
            for command in commands {
                match command {
                    Command::Record(next) => expected.push_back(next),
                    effect => opened.push(effect),
                }
            }
            if let EventBody::ExecutionReopened(reopening) = &event.body {
                self.reopened(&reopening.rerun);
            }
            let mut blames = self.steps.take(&self.plan, &self.state, event, &self.calls);
            self.scopes.take(&self.plan, &self.state, event, &self.steps, &mut blames);
            self.undoing.take(&self.plan, &self.state, event, &self.steps, &mut blames);
            self.hooks.take(&self.plan, &self.state, event, &self.steps, &mut blames);
            self.spending.take(&self.plan, &self.state, event, &mut blames);
            if let Some(origin) = &self.origin {
                origin.take(&self.state, event, &self.steps, &mut blames);
            }
            blames.extend(self.calls.take(&self.plan, &self.state, event, elapsed));
            self.check_answer(event);
            self.check_undone(event);
            let (plan, state, steps, scopes) = (&*self.plan, &self.state, &self.steps, &self.scopes);
            blames.extend(routes::check(Witness { plan, state, steps, scopes }, event));
            blames.extend(self.watched.take(&self.plan, &self.state, event));
            for (invariant, message) in blames {
                self.blame(invariant, message);
            }
        }
        if let Some(next) = expected.pop_front() {
            let message = format!("the batch ends before {}, which follows from it", told(&next));
            self.blame(Invariant::DecisionsRepeat, message);
        }
        self.effects.carry_out(opened);
        // Whoever takes an execution up carries out what is outstanding then, and nothing else.
        if batch.iter().any(|event| matches!(event.body, EventBody::ExecutionRecovered { .. })) {
            self.effects.forget(&self.plan, &self.state);
        }
        if let Some(message) = self.effects.differ(&self.plan, &self.state) {
            self.blame(Invariant::OutstandingIsOpen, message);
        }
    }

    /// A failed execution goes on: what has not come to its end is as if its turn had never come.
    fn reopened(&mut self, rerun: &[Activation]) {
        let (again, mut blames) = self.steps.reopened(&self.state, rerun);
        self.undoing.reopened(&again, &mut blames);
        self.scopes.reopened(&again);
        self.calls.reopened(&again);
        for (invariant, message) in blames {
            self.blame(invariant, message);
        }
    }

    /// The failed execution is said not to be able to go on.
    pub(crate) fn is_not_reopened(&mut self, because: &str) {
        if !self.undoing.has_begun() {
            let message = format!("nothing was undone, and it cannot be resumed: {because}");
            self.blame(Invariant::ReopeningHolds, message);
        }
    }

    /// Finds the path of a step that is written like this.
    pub(crate) fn step_path(&self, path: &str) -> Option<StepPath> {
        self.state.step_path(&self.plan, self.steps.at(path)?)
    }

    /// Finds after how many events a fork of the execution begins; absent if there is no such place.
    pub(crate) fn position(&self, at: &Checkpoint) -> Option<u64> {
        origin::position(&self.steps, &self.journal, at)
    }

    /// The execution is said not to have a fork there.
    pub(crate) fn is_not_forked(&mut self, position: Option<u64>, was_undone: bool, because: &str) {
        if position.is_some() && !(was_undone && self.undoing.has_begun()) {
            self.blame(Invariant::ReuseHolds, format!("it cannot be forked: {because}"));
        }
    }

    /// A fork begins with what the execution had come to after so many events; from here on it is what is watched.
    pub(crate) fn begin_fork(&mut self, sequence: u64) {
        let Some(execution) = self.state.queued().map(|queued| queued.execution_id) else { return };
        let origin = Origin::of(&self.plan, execution, &self.journal, sequence);
        if let Some(message) = self.undoing.forbids(sequence, &origin, &self.steps) {
            self.blame(Invariant::ReuseHolds, message);
        }
        self.origin = Some(origin);
        self.earlier.append(&mut self.journal);
        self.state = State::new(&self.plan);
        self.effects = Effects::default();
        self.steps = Steps::new(self.slots);
        self.scopes = Scopes::default();
        self.undoing = Undoing::default();
        self.spending = Spending::default();
        self.hooks = Hooks::default();
        self.said.clear();
        self.calls.begin_fork();
        self.watched = Watched::new(Arc::clone(&self.always));
    }

    /// Somebody is about to answer an approval.
    pub(crate) fn says(&mut self, path: &str, decision: ApprovalDecision) {
        self.said.insert((path.to_owned(), decision == ApprovalDecision::Approve));
    }

    /// The engine says that it has taken note of something: the journal has it then.
    pub(crate) fn was_told(&mut self, told: Told<'_>) {
        let is_known = |event: &Event| match (&event.body, told) {
            (EventBody::SignalReceived(signal), Told::Signal(id)) => signal.signal_id.as_deref() == id,
            (EventBody::ExecutionPaused { .. }, Told::Pause) | (EventBody::ExecutionCancelling(_), Told::Cancel) => {
                true
            }
            _ => false,
        };
        if !self.journal.iter().any(is_known) {
            let invariant = match told {
                Told::Signal(_) => Invariant::SignalsOnce,
                Told::Pause => Invariant::PauseHolds,
                Told::Cancel => Invariant::CancelledInTime,
            };
            self.blame(invariant, format!("the engine has taken note of {told:?}, and the journal has not"));
        }
    }

    fn check_undone(&mut self, event: &Event) {
        let EventBody::CompensationFinished { result } = event.body else { return };
        let has_failed = |event: &Event| matches!(event.body, EventBody::CompensationStepFailed { .. });
        if result == Compensation::Complete && self.journal.iter().any(has_failed) {
            self.blame(Invariant::CompensationOnce, "compensation counts as complete though some of it has failed");
        }
    }

    fn check_answer(&mut self, event: &Event) {
        let EventBody::ApprovalAnswered { activation, answer } = &event.body else { return };
        let Some(path) = self.state.step_path(&self.plan, *activation) else { return };
        let said = (path.as_str().to_owned(), answer.decision == ApprovalDecision::Approve);
        // What nobody has said at all comes from the expiry.
        if !self.said.contains(&said) && self.said.contains(&(said.0.clone(), !said.1)) {
            self.blame(Invariant::ApprovalsOnce, format!("{} has an answer that nobody gave", path.as_str()));
        }
    }

    /// The process is gone, and what it held with it.
    pub(crate) fn crashed(&mut self) {
        self.steps.crashed();
        self.calls.crashed();
        self.spending.crashed();
    }

    /// The store makes the engine wait.
    pub(crate) fn disturbed(&mut self) {
        self.steps.disturbed();
        self.calls.disturbed();
    }

    /// An agent is called: what the journal says must allow it. Returns the number of the call, for [`Self::answered`].
    pub(crate) fn called(&mut self, call: Begun<'_>) -> usize {
        if self.steps.hook_called(call.path) > 1 {
            self.blame(Invariant::HooksOnce, format!("a hook about {} is called twice", place_of(call.path)));
        }
        let (number, blames) = self.calls.begin(&self.plan, &self.state, (&self.steps, &self.undoing), call);
        for (invariant, message) in blames {
            self.blame(invariant, message);
        }
        number
    }

    /// An agent has answered, or its future was dropped.
    pub(crate) fn answered(&mut self, call: usize, end: CallEnd, answer: Option<Value>, elapsed: Duration) {
        self.check_telling(elapsed);
        self.calls.told_to_end(call);
        self.calls.end(call, end, answer, elapsed);
    }

    /// An agent's token has fired.
    pub(crate) fn told_to_end(&mut self, call: usize) {
        self.calls.told_to_end(call);
    }

    /// The wall clock has been set.
    pub(crate) fn clock_was_set(&mut self) {
        self.steps.disturbed();
    }

    /// Somebody else has claimed the execution, and what was written by who had it before was taken all the same.
    pub(crate) fn overtaken(&mut self) {
        self.blame(Invariant::LeaseReleased, "a write was taken under a lease that somebody else has had since");
    }

    fn check_telling(&mut self, elapsed: Duration) {
        if let Some(activation) = self.calls.runs_on(elapsed) {
            let message = format!("the agent of {} runs on behind the end of its step", self.steps.path(activation));
            self.blame(Invariant::EndingStartsNothing, message);
        }
        if let Some(activation) = self.calls.untold(elapsed) {
            let message =
                format!("the agent of {} was not told that the execution was cancelled", self.steps.path(activation));
            self.blame(Invariant::CancelledInTime, message);
        }
    }

    /// How many batches were stored.
    pub(crate) fn count_of_batches(&self) -> u64 {
        self.batches
    }

    /// How often agents were called.
    pub(crate) fn count_of_calls(&self) -> usize {
        self.calls.count()
    }

    /// The execution is over: `live` is the state that the engine itself ended with.
    pub(crate) fn ended(&mut self, live: &State) {
        if *live != self.state {
            self.blame(Invariant::FoldIsState, "the journal does not fold to the state that the engine has");
        }
        for (invariant, message) in self.steps.end(&self.plan, &self.state, &self.journal) {
            self.blame(invariant, message);
        }
    }

    fn check_time(&mut self, event: &Event) {
        if self.journal.last().is_some_and(|last| last.at > event.at) {
            self.blame(Invariant::TimeGoesOn, format!("{} is earlier than the event before", told(event)));
        }
    }
}

/// Names what a hook is about.
fn place_of(path: &str) -> &str {
    if path.is_empty() { "the execution" } else { path }
}

/// Names an event for people.
fn told(event: &Event) -> String {
    match event.body.activation() {
        Some(activation) => format!("{} of activation {}", event.body.name(), activation.0),
        None => event.body.name().to_owned(),
    }
}
