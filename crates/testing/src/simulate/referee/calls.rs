//! What the calls of agents must look like beside the journal.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use orchestr8_core::{
    machine::{State, StepState},
    plan::{Counted, Plan, SharedKey},
};
use orchestr8_schema::{
    ErrorKind, Timestamp,
    event::{Activation, CallId, CircuitStateName, Event, EventBody},
};

use serde_json::Value;

use super::{steps::Steps, undoing::Undoing};
use crate::simulate::invariant::Invariant;

/// A call of an agent that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun<'a> {
    pub(crate) path: &'a str,
    pub(crate) attempt: u32,
    pub(crate) key: &'a str,
    /// What the agent names as what the call depends on.
    pub(crate) target: Option<&'a str>,
    /// Its effect can neither be undone nor repeated without a second one.
    pub(crate) acts_once: bool,
    /// How much time has passed since the beginning of all, whatever the wall clock says.
    pub(crate) elapsed: Duration,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Succeeded,
    /// With the time that the agent asks to be left alone for.
    Failed(ErrorKind, Option<Duration>),
    /// The future was dropped: by a timeout, by force, or with its process.
    Dropped,
}

impl CallEnd {
    /// Whether the agent may have acted on the world.
    fn may_have_acted(self) -> bool {
        match self {
            Self::Succeeded | Self::Dropped => true,
            // These say that the agent did nothing.
            Self::Failed(kind, _) => !matches!(
                kind,
                ErrorKind::Validation
                    | ErrorKind::Denied
                    | ErrorKind::NotFound
                    | ErrorKind::RateLimited
                    | ErrorKind::CircuitOpen
                    | ErrorKind::BudgetExceeded
            ),
        }
    }
}

/// How long it may take to tell an agent of the end of its execution.
const TELLING: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Made {
    activation: Option<Activation>,
    circuit: Option<Through>,
    /// What was answered, of a call that succeeded.
    answer: Option<Value>,
    /// Absent while it is in progress.
    end: Option<CallEnd>,
}

/// The circuit that a call goes through.
#[derive(Debug)]
struct Through {
    key: String,
    /// How often the circuit had changed when the call began: what comes of a call from before a change is not counted.
    generation: u64,
    threshold: u32,
    counted: Counted,
}

impl Made {
    fn goes_through(&self, key: &str) -> bool {
        self.circuit.as_ref().is_some_and(|through| through.key == key)
    }
}

/// What is known of a circuit's failures since it last changed.
#[derive(Debug, Default)]
struct Tally {
    generation: u64,
    /// Failures in a row that count for sure.
    failures: u32,
    /// Since when there have been as many as open the circuit.
    spent: Option<Duration>,
}

/// What was seen of the calls of one execution.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: Vec<Made>,
    /// With the input that goes with it.
    keys: HashMap<Activation, (String, Option<Arc<Value>>)>,
    /// Keys that an execution has used which this one was forked from.
    foreign: HashSet<String>,
    owners: HashMap<String, Activation>,
    /// Whose result is stored.
    committed: HashSet<Activation>,
    /// The keys under which steps are undone.
    undo_keys: HashMap<Activation, String>,
    /// How long an activation was told to wait by the attempt that has failed, until the journal knows of that.
    told: BTreeMap<Activation, Duration>,
    /// Before which time an activation's next attempt must not begin, by the time of the journal: the wall clock may jump.
    not_before: BTreeMap<Activation, Timestamp>,
    /// Circuits that are not closed: until when no call may be made, or that one probe is being made.
    circuits: HashMap<String, Gate>,
    /// By circuit.
    tallies: HashMap<String, Tally>,
    /// Calls that were in progress when the execution was cancelled and have not been told of it, and since when.
    untold: BTreeMap<usize, Duration>,
    /// Calls that were in progress when their steps ended, and since when.
    left_over: BTreeMap<usize, Duration>,
    /// The store has made the engine wait: a call may have been let through long before it is made.
    is_disturbed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Gate {
    Open(Option<Timestamp>),
    /// The number of the first call that was made since.
    HalfOpen(usize),
}

impl Calls {
    pub(super) fn count(&self) -> usize {
        self.made.len()
    }

    /// Looks at an event that was stored just now.
    pub(super) fn take(
        &mut self,
        plan: &Plan,
        state: &State,
        event: &Event,
        elapsed: Duration,
    ) -> Option<(Invariant, String)> {
        match &event.body {
            EventBody::StepCompleted { activation, .. }
            | EventBody::StepFailed { activation, .. }
            | EventBody::StepCancelled { activation, .. } => {
                let open = |made: &Made| made.end.is_none() && made.activation == Some(*activation);
                let open = self.made.iter().enumerate().filter(|(_, made)| open(made)).map(|(call, _)| (call, elapsed));
                self.left_over.extend(open);
            }
            EventBody::AttemptRejected { call: CallId::Step(activation), error, .. }
                if error.code == ErrorKind::CircuitOpen =>
            {
                return self.check_rejection(plan, state, *activation, event.at);
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), result: Ok(_), .. } => {
                self.committed.insert(*activation);
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), .. } => {
                if let Some(delay) = self.told.remove(activation) {
                    self.not_before.insert(*activation, event.at.plus(delay));
                }
            }
            EventBody::AttemptStarted { call: CallId::Step(activation), .. } => {
                let is_early = self.not_before.remove(activation).is_some_and(|earliest| event.at < earliest);
                let path = is_early.then(|| state.step_path(plan, *activation)).flatten()?;
                let message = format!("{} was called before it was allowed to", path.as_str());
                return Some((Invariant::RetryAfter, message));
            }
            EventBody::CircuitChanged(change) => {
                let gate = match change.state {
                    CircuitStateName::Closed => None,
                    CircuitStateName::Open => Some(Gate::Open(change.reopens_at)),
                    CircuitStateName::HalfOpen => Some(Gate::HalfOpen(self.made.len())),
                };
                let tally = self.tallies.entry(change.key.clone()).or_default();
                *tally = Tally { generation: tally.generation + 1, ..Tally::default() };
                match gate {
                    Some(gate) => self.circuits.insert(change.key.clone(), gate),
                    None => self.circuits.remove(&change.key),
                };
            }
            _ => {}
        }
        None
    }

    /// A circuit may reject until its time has come, and while a probe is being made.
    fn check_rejection(
        &self,
        plan: &Plan,
        state: &State,
        activation: Activation,
        at: Timestamp,
    ) -> Option<(Invariant, String)> {
        let leaf = plan.steps()[state.activation(activation)?.step.get()].leaf.as_ref()?;
        leaf.policy.circuit_breaker.as_ref()?;
        let SharedKey::Fixed(key) = &leaf.policy.key else { return None };
        let goes_through = |step: &StepState| {
            let leaf = plan.steps()[step.step.get()].leaf.as_ref();
            leaf.is_some_and(|leaf| {
                leaf.policy.circuit_breaker.is_some() && leaf.policy.key == SharedKey::Fixed(key.clone())
            })
        };
        // The call of an attempt that has begun may be about to be made.
        let in_progress = self.made.iter().any(|made| made.end.is_none() && made.goes_through(key))
            || state.steps().iter().any(|step| step.phase.is_in_flight() && goes_through(step));
        let is_over = match self.circuits.get(key)? {
            Gate::Open(until) => until.is_some_and(|until| until < at),
            Gate::HalfOpen(_) => true,
        };
        (is_over && !in_progress)
            .then(|| (Invariant::CircuitHolds, format!("{key} rejects though its time is over and nobody probes it")))
    }

    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        state: &State,
        (steps, undoing): (&Steps, &Undoing),
        call: Begun<'_>,
    ) -> (usize, Vec<(Invariant, String)>) {
        let mut blames = Vec::new();
        let mut blame = |invariant, message: String| blames.push((invariant, message));
        let activation = steps.at(call.path);
        if steps.is_hooked(activation) {
            self.made.push(Made { activation: None, circuit: None, answer: None, end: None });
            return (self.made.len() - 1, blames);
        }
        if let Some((undone, attempt)) = undoing.current().filter(|(undone, _)| Some(*undone) == activation) {
            if attempt != call.attempt {
                let message = format!("{} is undone before the journal knows of it", call.path);
                blame(Invariant::AppendThenAct, message);
            }
            let key = self.undo_keys.entry(undone).or_insert_with(|| call.key.to_owned());
            let is_own = self.keys.get(&undone).is_some_and(|(own, _)| own == call.key);
            if *key != call.key || is_own || self.foreign.contains(call.key) {
                blame(Invariant::KeysHold, format!("{} is undone with another idempotency key", call.path));
            }
            self.made.push(Made { activation: None, circuit: None, answer: None, end: None });
            return (self.made.len() - 1, blames);
        }
        let known = activation.and_then(|activation| state.activation(activation));
        match known {
            Some(known) if known.phase.is_in_flight() && known.attempts == call.attempt => {}
            _ => blame(
                Invariant::AppendThenAct,
                format!("attempt {} of {} reached the agent before the journal knew of it", call.attempt, call.path),
            ),
        }
        let mut circuit = None;
        if let (Some(activation), Some(known)) = (activation, known) {
            let leaf = plan.steps()[known.step.get()].leaf.as_ref();
            if steps.has_ended(activation) || self.committed.contains(&activation) {
                blame(Invariant::CommittedOnce, format!("{} was called again after its result was stored", call.path));
            }
            if self.of(activation).any(|end| end.is_none()) {
                blame(Invariant::EndsOnce, format!("{} is called while a call of it is in progress", call.path));
            }
            if call.acts_once && self.of(activation).flatten().any(CallEnd::may_have_acted) {
                blame(Invariant::EffectOnce, format!("{} may have acted twice", call.path));
            }
            let new = || (call.key.to_owned(), known.input.clone());
            let (key, input) = self.keys.entry(activation).or_insert_with(new);
            if *input != known.input {
                // A reopened execution has come to another input: that is another call.
                (*key, *input) = new();
            }
            if *key != call.key {
                blame(Invariant::KeysHold, format!("{} was called with another idempotency key", call.path));
            }
            // A key of the workflow's own making may be shared on purpose.
            if known.idempotency_key.is_none() && self.foreign.contains(call.key) {
                let message =
                    format!("{} has the idempotency key of the execution that this one is a fork of", call.path);
                blame(Invariant::KeysHold, message);
            }
            let owner = *self.owners.entry(call.key.to_owned()).or_insert(activation);
            if owner != activation && known.idempotency_key.is_none() {
                let message = format!("{} has the idempotency key of {}", call.path, steps.path(owner));
                blame(Invariant::KeysHold, message);
            }
            if steps.paused && !known.phase.is_in_flight() {
                blame(Invariant::PauseHolds, format!("{} was called", call.path));
            }
            let guarded = leaf.filter(|leaf| leaf.policy.circuit_breaker.is_some());
            circuit = guarded.and_then(|leaf| {
                let policy = leaf.policy.circuit_breaker.as_ref()?;
                let key = match &leaf.policy.key {
                    SharedKey::Fixed(_) => leaf.policy.key.of(None),
                    SharedKey::PerTarget(_) => leaf.policy.key.of(call.target),
                };
                let generation = self.tallies.get(&key).map_or(0, |tally| tally.generation);
                Some(Through { key, generation, threshold: policy.failure_threshold, counted: policy.counted })
            });
        }
        // What the journal calls the beginning of the attempt: the wall clock may have jumped.
        let at = known.and_then(|known| known.attempt_at);
        if let Some((Through { key, .. }, at)) = circuit.as_ref().zip(at) {
            // Who was let through at the same instant may have been so before.
            let spent = self.tallies.get(key).and_then(|tally| tally.spent);
            if !self.is_disturbed && spent.is_some_and(|spent| spent < call.elapsed) {
                blame(Invariant::CircuitHolds, format!("{} was called through {key}, which should be open", call.path));
            }
            match self.circuits.get(key) {
                Some(Gate::Open(Some(until))) if at < *until => {
                    blame(Invariant::CircuitHolds, format!("{} was called through the open circuit {key}", call.path));
                }
                Some(Gate::HalfOpen(first))
                    if self.made[*first..].iter().any(|made| made.end.is_none() && made.goes_through(key)) =>
                {
                    blame(Invariant::CircuitHolds, format!("{} is a second probe of {key}", call.path));
                }
                _ => {}
            }
        }
        self.made.push(Made { activation, circuit, answer: None, end: None });
        (self.made.len() - 1, blames)
    }

    pub(super) fn end(&mut self, call: usize, end: CallEnd, answer: Option<Value>, elapsed: Duration) {
        let Some(made) = self.made.get_mut(call).filter(|made| made.end.is_none()) else { return };
        (made.end, made.answer) = (Some(end), answer);
        self.left_over.remove(&call);
        match &made.circuit {
            Some(through) => {
                let tally = self.tallies.entry(through.key.clone()).or_default();
                match end {
                    _ if tally.generation != through.generation => {}
                    CallEnd::Succeeded => tally.failures = 0,
                    CallEnd::Failed(ErrorKind::Retryable, _) if through.counted.count_retryable_errors => {
                        tally.failures += 1;
                    }
                    CallEnd::Failed(ErrorKind::Network, _) if through.counted.count_network_errors => {
                        tally.failures += 1;
                    }
                    // Whether these count does not matter: they are no success.
                    CallEnd::Failed(..) | CallEnd::Dropped => {}
                }
                if tally.failures >= through.threshold {
                    tally.spent.get_or_insert(elapsed);
                }
            }
            // What undoes a step, or a hook, may have closed any circuit.
            None => self.tallies.values_mut().for_each(|tally| tally.failures = 0),
        }
        if let (CallEnd::Failed(_, Some(delay)), Some(activation)) = (end, made.activation) {
            self.told.insert(activation, delay);
        }
    }

    pub(super) fn disturbed(&mut self) {
        self.is_disturbed = true;
    }

    /// The execution was cancelled: whoever is being called is to be told.
    pub(super) fn cancelled(&mut self, elapsed: Duration) {
        let open = self.made.iter().enumerate().filter(|(_, made)| made.end.is_none() && made.activation.is_some());
        self.untold.extend(open.map(|(call, _)| (call, elapsed)));
    }

    /// An agent was told to end.
    pub(super) fn told_to_end(&mut self, call: usize) {
        self.untold.remove(&call);
    }

    /// Names a step whose agent has not been told of the end of the execution for longer than it takes.
    pub(super) fn untold(&mut self, elapsed: Duration) -> Option<Activation> {
        let (call, _) = self.untold.iter().find(|(_, since)| elapsed > **since + TELLING)?;
        let call = *call;
        // Told once.
        self.untold.clear();
        self.made.get(call)?.activation
    }

    /// Names a step that has ended, and whose agent goes on for longer than it takes to end it.
    pub(super) fn runs_on(&mut self, elapsed: Duration) -> Option<Activation> {
        let (call, _) = self.left_over.iter().find(|(_, since)| elapsed > **since + TELLING)?;
        let call = *call;
        // Told once.
        self.left_over.clear();
        self.made.get(call)?.activation
    }

    /// What the agent of a step has answered; absent if none of its calls succeeded.
    pub(super) fn answer(&self, activation: Activation) -> Option<&Value> {
        self.made.iter().rev().find(|made| made.activation == Some(activation)).and_then(|made| made.answer.as_ref())
    }

    /// The execution goes on, with these steps as if their turn had never come.
    pub(super) fn reopened(&mut self, again: &[Activation]) {
        for activation in again {
            self.committed.remove(activation);
            self.told.remove(activation);
            self.not_before.remove(activation);
        }
    }

    /// What is watched from here on is a fork of what was.
    pub(super) fn begin_fork(&mut self) {
        let before = std::mem::take(self);
        let ended = before.made.into_iter().map(|made| {
            let end = made.end.or(Some(CallEnd::Dropped));
            Made { activation: None, circuit: None, answer: None, end }
        });
        self.made = ended.collect();
        let keys = before.owners.into_keys().chain(before.undo_keys.into_values());
        self.foreign = before.foreign.into_iter().chain(keys).collect();
        self.is_disturbed = before.is_disturbed;
    }

    /// What was in progress is gone with its process, and so is what circuits knew since they were last kept.
    pub(super) fn crashed(&mut self) {
        for made in &mut self.made {
            made.end.get_or_insert(CallEnd::Dropped);
        }
        self.circuits.clear();
        self.tallies.clear();
        self.untold.clear();
        self.left_over.clear();
        self.told.clear();
    }

    fn of(&self, activation: Activation) -> impl Iterator<Item = Option<CallEnd>> {
        self.made.iter().filter(move |made| made.activation == Some(activation)).map(|made| made.end)
    }
}
