//! What the journal must look like, step by step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    ErrorKind, Failure, Millis, StepIndex, Timestamp,
    event::{Activation, ApprovalAnswer, ApprovalDecision, CallId, Event, EventBody, Reuse, Signal, SkipReason},
    policy::OnError,
    validate::ValidKind,
};
use serde_json::Value;

use super::{calls::Calls, paths};
use crate::simulate::invariant::Invariant;

pub(super) type Blames = Vec<(Invariant, String)>;

/// How an activation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    Skipped(SkipReason),
    Cancelled,
}

/// What was seen of the steps of one execution.
#[derive(Debug)]
pub(super) struct Steps {
    /// The most attempts in progress that the engine allows.
    slots: u32,
    /// By activation.
    paths: Vec<Arc<str>>,
    by_path: HashMap<Arc<str>, Activation>,
    ended: HashMap<Activation, End>,
    /// Failures that a fallback has made good, and those that it has not.
    rescued: HashMap<Activation, bool>,
    called_for: BTreeSet<Activation>,
    /// By the step that has failed, the one that was called for.
    stand_ins: HashMap<Activation, Activation>,
    scheduled: BTreeSet<Activation>,
    /// What hooks that are being called are about, and how often each was called in this life of the process.
    hooked: BTreeMap<Activation, u32>,
    /// Hooks that have had their turn, and what about.
    hook_turns: HashSet<String>,
    running: BTreeSet<Activation>,
    /// When open steps are to be over at the latest.
    due: BTreeMap<Activation, Timestamp>,
    pub(super) paused: bool,
    ending_since: Option<(Timestamp, &'static str)>,
    /// By name, what was received and is not delivered.
    signals: BTreeMap<Arc<str>, Vec<(u64, Arc<Signal>)>>,
    sequence: u64,
    /// Of the latest attempt of each: its number, how often it was begun again, and when it began in this life of the process.
    attempts: HashMap<Activation, (u32, u32, Option<Timestamp>)>,
    /// What steps gave that have completed.
    outputs: HashMap<Activation, Arc<Value>>,
    /// What waits were told.
    heard: HashMap<Activation, Arc<Signal>>,
    /// How people have answered.
    answers: HashMap<Activation, Arc<ApprovalAnswer>>,
    /// Nothing has yet interrupted the execution, so that times can be compared.
    is_steady: bool,
}

impl Steps {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots,
            paths: Vec::new(),
            by_path: HashMap::new(),
            ended: HashMap::new(),
            rescued: HashMap::new(),
            called_for: BTreeSet::new(),
            stand_ins: HashMap::new(),
            scheduled: BTreeSet::new(),
            hooked: BTreeMap::new(),
            hook_turns: HashSet::new(),
            running: BTreeSet::new(),
            due: BTreeMap::new(),
            paused: false,
            ending_since: None,
            signals: BTreeMap::new(),
            sequence: 0,
            attempts: HashMap::new(),
            outputs: HashMap::new(),
            heard: HashMap::new(),
            answers: HashMap::new(),
            is_steady: true,
        }
    }

    pub(super) fn path(&self, activation: Activation) -> &str {
        self.paths.get(activation.get()).map_or("?", |path| path)
    }

    pub(super) fn at(&self, path: &str) -> Option<Activation> {
        self.by_path.get(path).copied()
    }

    /// Whether a hook about a step, or about the execution as a whole, is being called.
    pub(super) fn is_hooked(&self, activation: Option<Activation>) -> bool {
        self.hooked.contains_key(&activation.unwrap_or(Activation::EXECUTION))
    }

    /// An agent is called about a step, or about the execution as a whole. Returns how often, if a hook calls it.
    pub(super) fn hook_called(&mut self, path: &str) -> u32 {
        let about = self.at(path).unwrap_or(Activation::EXECUTION);
        self.hooked.get_mut(&about).map_or(0, |count| {
            *count += 1;
            *count
        })
    }

    pub(super) fn has_path_below(&self, prefix: &str) -> bool {
        self.paths.iter().any(|path| path.starts_with(prefix))
    }

    pub(super) fn has_ended(&self, activation: Activation) -> bool {
        self.ended.contains_key(&activation)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending_since.is_some()
    }

    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, calls: &Calls) -> Blames {
        self.sequence += 1;
        self.learn_paths(plan, state);
        let mut blames = Blames::new();
        self.check_overdue(event.at, &mut blames);
        match &event.body {
            EventBody::ExecutionPaused { .. } => (self.paused, self.is_steady) = (true, false),
            EventBody::ExecutionResumed { .. } => self.paused = false,
            EventBody::HookStarted { activation, hook, .. } => {
                self.hooked.insert(*activation, 0);
                if !self.hook_turns.insert(format!("{} {hook:?}", activation.0)) {
                    let message = format!("a hook about {} has had its turn before", self.path(*activation));
                    blames.push((Invariant::HooksOnce, message));
                }
            }
            EventBody::HookFinished { activation, .. } => {
                self.hooked.remove(activation);
            }
            EventBody::ExecutionCancelling(_) => {
                self.ending_since.get_or_insert((event.at, "cancelling"));
            }
            EventBody::ExecutionFailing { .. } => {
                self.ending_since.get_or_insert((event.at, "failing"));
            }
            EventBody::ExecutionCompleted { .. } => self.completed(plan, state, &mut blames),
            EventBody::StepScheduled { activation, .. } => {
                self.scheduled(plan, state, *activation, event.at, &mut blames);
            }
            EventBody::StepStarted { activation } | EventBody::StepWaiting { activation, .. } => {
                self.lives(*activation, &mut blames);
            }
            EventBody::AttemptStarted { call: CallId::Step(activation), attempt, restart, .. } => {
                self.attempted(plan, state, *activation, (*attempt, *restart), event.at, &mut blames);
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), .. } => {
                self.running.remove(activation);
                self.check_timeout(plan, state, *activation, event.at, &mut blames);
            }
            EventBody::RetryScheduled { call: CallId::Step(activation), delay, .. } => {
                self.check_delay(plan, state, *activation, *delay, &mut blames);
            }
            EventBody::StepCompleted { activation, output } => {
                // What a composite gives by default is not stored; that it is right is looked at elsewhere.
                let output_of = || state.activation(*activation).and_then(|step| step.output.clone());
                if let Some(output) = output.clone().or_else(output_of) {
                    self.outputs.insert(*activation, output);
                }
                self.end_of(*activation, End::Completed, &mut blames);
                self.check_answer(plan, state, *activation, output.as_deref(), calls, &mut blames);
                self.check_deadline(plan, state, *activation, event.at, &mut blames);
            }
            EventBody::StepFailed { activation, error, .. } => {
                self.end_of(*activation, End::Failed, &mut blames);
                self.check_denial(plan, state, *activation, error, &mut blames);
                self.check_deadline(plan, state, *activation, event.at, &mut blames);
            }
            EventBody::StepSkipped { activation, reason, .. } => {
                self.check_skip(plan, state, *activation, *reason, &mut blames);
                if state.activation(*activation).is_some_and(|step| step.attempts > 0) {
                    let message = format!("{} was skipped after an attempt", self.path(*activation));
                    blames.push((Invariant::SkippedMeansNothing, message));
                }
                self.end_of(*activation, End::Skipped(*reason), &mut blames);
            }
            EventBody::StepCancelled { activation, .. } => self.end_of(*activation, End::Cancelled, &mut blames),
            EventBody::StepFallback { activation, fallback } => {
                if self.ended.get(activation) != Some(&End::Failed) {
                    let message = format!("{} is called for by no failure", self.path(*fallback));
                    blames.push((Invariant::FallbackAfterFailure, message));
                }
                self.called_for.insert(*fallback);
                self.stand_ins.insert(*activation, *fallback);
            }
            EventBody::StepRecovered { activation, fallback } => {
                if !self.is_satisfied(*fallback) {
                    let message = format!("{} did not recover {}", self.path(*fallback), self.path(*activation));
                    blames.push((Invariant::FallbackAfterFailure, message));
                }
                self.rescued.insert(*activation, true);
            }
            EventBody::StepFallbackFailed { activation, fallback } => {
                if self.is_satisfied(*fallback) {
                    let message = format!("{} did recover {}", self.path(*fallback), self.path(*activation));
                    blames.push((Invariant::FallbackAfterFailure, message));
                }
                self.rescued.insert(*activation, false);
            }
            EventBody::SignalReceived(signal) => {
                self.signals.entry(Arc::clone(&signal.name)).or_default().push((self.sequence, Arc::clone(signal)));
            }
            EventBody::SignalDelivered { activation, signal_sequence } => {
                self.delivered(*activation, *signal_sequence, &mut blames);
            }
            EventBody::ApprovalAnswered { activation, answer } => self.answered(*activation, answer, &mut blames),
            _ => {}
        }
        blames
    }

    /// The execution goes on after a failure. Returns the steps that are not at their end any more.
    pub(super) fn reopened(&mut self, state: &State, rerun: &[Activation]) -> (Vec<Activation>, Blames) {
        let mut blames = Blames::new();
        let mut blame = |invariant, message: String| blames.push((invariant, message));
        let own = state.own_steps().len();
        let mut again = Vec::new();
        // Items that open now are new.
        for (activation, step) in (0..).map(Activation).zip(state.steps()).take(self.paths.len()) {
            let path = self.path(activation);
            if step.phase.is_terminal() {
                // Inside of composites, failures that were borne are a part of their results.
                if activation.get() < own && !self.is_satisfied(activation) {
                    blame(Invariant::ReopeningHolds, format!("{path} had not completed, and does not run again"));
                }
            } else {
                if self.has_result(activation) {
                    blame(Invariant::CommittedOnce, format!("{path} had its result, and is to run again"));
                }
                again.push(activation);
            }
            let is_pending = step.phase.status() == "pending";
            if is_pending != rerun.contains(&activation) {
                blame(Invariant::ReopeningHolds, format!("{path} is not what the reopening says of it"));
            }
            if is_pending && (step.attempts > 0 || step.output.is_some() || step.error.is_some()) {
                blame(Invariant::ReopeningHolds, format!("{path} is to run again, and has something left of before"));
            }
        }
        for activation in &again {
            self.ended.remove(activation);
            self.outputs.remove(activation);
            self.heard.remove(activation);
            self.rescued.remove(activation);
            self.called_for.remove(activation);
            self.answers.remove(activation);
            self.attempts.remove(activation);
        }
        for activation in rerun {
            self.scheduled.remove(activation);
        }
        self.running.clear();
        self.due.clear();
        self.hooked.clear();
        self.hook_turns.clear();
        (self.paused, self.ending_since) = (false, None);
        (again, blames)
    }

    /// Looks at the whole once the execution is over.
    pub(super) fn end(&self, plan: &Plan, state: &State, journal: &[Event]) -> Blames {
        let mut blames = Blames::new();
        let open = (0..state.steps().len() as u32).map(Activation).find(|activation| !self.has_ended(*activation));
        if let Some(open) = open {
            blames.push((Invariant::AllEnd, format!("{} has not ended", self.path(open))));
        }
        // Nothing but a reopening follows on a terminal event.
        let goes_on =
            |pair: &[Event]| pair[0].body.is_terminal() && !matches!(pair[1].body, EventBody::ExecutionReopened(_));
        if journal.windows(2).any(goes_on) || !journal.last().is_some_and(|event| event.body.is_terminal()) {
            let message = "the journal goes on behind its terminal event, or has none".to_owned();
            blames.push((Invariant::AllEnd, message));
        }
        if let (Some((since, "cancelling")), Some(last), true) = (self.ending_since, journal.last(), self.is_steady) {
            let grace = state.cancelling().map_or(plan.limits().grace_period, |request| request.grace_period);
            let most = grace + Duration::from_secs(2 + 60 + 60);
            if last.at.since(since) > most {
                let message = format!("it took {:?} to cancel, with a grace of {grace:?}", last.at.since(since));
                blames.push((Invariant::CancelledInTime, message));
            }
        }
        blames
    }

    fn learn_paths(&mut self, plan: &Plan, state: &State) {
        for index in self.paths.len()..state.steps().len() {
            let activation = Activation(index as u32);
            let path: Arc<str> =
                state.step_path(plan, activation).map_or_else(|| "?".into(), |path| path.as_str().into());
            self.by_path.insert(Arc::clone(&path), activation);
            self.paths.push(path);
        }
    }

    fn lives(&self, activation: Activation, blames: &mut Blames) {
        if self.has_ended(activation) {
            blames.push((Invariant::EndsOnce, format!("{} goes on after its end", self.path(activation))));
        }
    }

    fn end_of(&mut self, activation: Activation, end: End, blames: &mut Blames) {
        self.running.remove(&activation);
        self.due.remove(&activation);
        if self.ended.insert(activation, end).is_some() {
            blames.push((Invariant::EndsOnce, format!("{} has ended twice", self.path(activation))));
        }
    }

    /// A step is skipped for a reason that there is.
    fn check_skip(&self, plan: &Plan, state: &State, activation: Activation, reason: SkipReason, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let (valid, unit) = (plan.valid_step(known.step), plan.unit_of(known.step));
        let holds = match reason {
            SkipReason::DependencyNotCompleted => valid.dependencies.iter().any(|dependency| {
                let other = self.beside(plan, activation, unit.global(*dependency));
                other.is_some_and(|other| self.is_settled(plan, state, other) && !self.is_satisfied(other))
            }),
            SkipReason::WorkflowFailed => self.ending_since.is_some_and(|(_, how)| how == "failing"),
            SkipReason::FallbackNotNeeded => valid.serves.is_some() && !self.called_for.contains(&activation),
            // Whether it holds is looked at where conditions are.
            SkipReason::ConditionNotMet => return,
        };
        if !holds {
            let message = format!("{} is skipped for a reason that there is not: {reason:?}", self.path(activation));
            blames.push((Invariant::RouteIsKnown, message));
        }
    }

    /// The activation of a step that stands beside another.
    pub(super) fn beside(&self, plan: &Plan, activation: Activation, step: StepIndex) -> Option<Activation> {
        let path = self.path(activation);
        let own = paths::id(path);
        let id = &plan.steps()[step.get()].id;
        self.at(&format!("{}{id}", &path[..path.len() - own.len()]))
    }

    fn scheduled(&mut self, plan: &Plan, state: &State, activation: Activation, at: Timestamp, blames: &mut Blames) {
        self.lives(activation, blames);
        if !self.scheduled.insert(activation) {
            blames.push((Invariant::EndsOnce, format!("{} was scheduled twice", self.path(activation))));
        }
        if self.is_ending() || self.paused || self.is_inside_of_what_ended(activation) {
            let invariant = if self.paused { Invariant::PauseHolds } else { Invariant::EndingStartsNothing };
            blames.push((invariant, format!("{} was scheduled", self.path(activation))));
        }
        let Some(known) = state.activation(activation) else { return };
        if let Some(deadline) = plan.declaration(known.step).policies.deadline {
            self.due.insert(activation, at.plus(deadline.as_duration()));
        }
        let (valid, unit) = (plan.valid_step(known.step), plan.unit_of(known.step));
        for (hard, dependency) in
            valid.dependencies.iter().map(|step| (true, step)).chain(valid.soft.iter().map(|step| (false, step)))
        {
            let Some(other) = self.beside(plan, activation, unit.global(*dependency)) else { continue };
            let fits = if hard { self.is_satisfied(other) } else { self.is_settled(plan, state, other) };
            if !fits {
                let message = format!("{} was scheduled before {}", self.path(activation), self.path(other));
                blames.push((Invariant::DependenciesFirst, message));
            }
        }
        if plan.steps()[known.step.get()].serves.is_some() && !self.called_for.contains(&activation) {
            let message = format!("{} was scheduled though nobody called for it", self.path(activation));
            blames.push((Invariant::FallbackAfterFailure, message));
        }
    }

    fn attempted(
        &mut self,
        plan: &Plan,
        state: &State,
        activation: Activation,
        (attempt, restart): (u32, u32),
        at: Timestamp,
        blames: &mut Blames,
    ) {
        self.lives(activation, blames);
        self.running.insert(activation);
        let path = self.path(activation).to_owned();
        if self.paused {
            blames.push((Invariant::PauseHolds, format!("{path} was attempted")));
        }
        if self.is_ending() || self.is_inside_of_what_ended(activation) {
            blames.push((Invariant::EndingStartsNothing, format!("{path} was attempted")));
        }
        let limit = plan.limits().max_concurrent_steps.map_or(self.slots, |own| own.min(self.slots));
        if self.running.len() > limit as usize {
            blames.push((Invariant::SlotLimits, format!("{} attempts at once, of {limit}", self.running.len())));
        }
        let leaf = state.activation(activation).and_then(|known| plan.steps()[known.step.get()].leaf.as_ref());
        if let Some(leaf) = leaf.filter(|leaf| attempt > leaf.policy.max_attempts) {
            blames.push((
                Invariant::AttemptLimit,
                format!("attempt {attempt} of {path}, of {}", leaf.policy.max_attempts),
            ));
        }
        let before = self.attempts.insert(activation, (attempt, restart, Some(at)));
        let follows = match before {
            None => attempt == 1 && restart == 0,
            Some((last, _, _)) if attempt == last + 1 => restart == 0,
            Some((last, restarts, _)) => attempt == last && restart == restarts + 1 && restart <= 3,
        };
        if !follows {
            let message =
                format!("attempt {attempt} of {path}, begun again {restart} times, does not follow {before:?}");
            blames.push((Invariant::AttemptLimit, message));
        }
    }

    /// The process is gone: how long things took can no longer be told.
    pub(super) fn crashed(&mut self) {
        self.is_steady = false;
        self.running.clear();
        self.hooked.values_mut().for_each(|count| *count = 0);
        self.attempts.values_mut().for_each(|(_, _, began)| *began = None);
    }

    /// Something that takes time came between: how long things took can no longer be told.
    pub(super) fn disturbed(&mut self) {
        self.is_steady = false;
    }

    fn check_timeout(&self, plan: &Plan, state: &State, activation: Activation, at: Timestamp, blames: &mut Blames) {
        let Some((_, _, Some(began))) = self.attempts.get(&activation) else { return };
        let leaf = state.activation(activation).and_then(|known| plan.steps()[known.step.get()].leaf.as_ref());
        let Some(leaf) = leaf else { return };
        // Timers are exact to a millisecond.
        if self.is_steady && at.since(*began) > leaf.policy.timeout + Duration::from_millis(2) {
            let message = format!(
                "an attempt of {} took {:?}, of {:?}",
                self.path(activation),
                at.since(*began),
                leaf.policy.timeout
            );
            blames.push((Invariant::TimeLimits, message));
        }
    }

    fn check_delay(&self, plan: &Plan, state: &State, activation: Activation, delay: Duration, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let Some(leaf) = plan.steps()[known.step.get()].leaf.as_ref() else { return };
        let asked =
            known.error.as_ref().and_then(|error| error.retry_after_ms).map_or(Duration::ZERO, Duration::from_millis);
        // The cap comes before chance, which stretches a delay by a half at most.
        let longest = leaf.policy.max_delay.mul_f64(if leaf.policy.jitter { 1.5 } else { 1.0 });
        if delay < asked || delay > longest.max(asked) {
            let message = format!("{} is tried again after {delay:?}", self.path(activation));
            blames.push((Invariant::TimeLimits, message));
        }
    }

    fn check_deadline(&self, plan: &Plan, state: &State, activation: Activation, at: Timestamp, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let declared = plan.declaration(known.step).policies.deadline.map(Millis::as_duration);
        let limit = declared.zip(known.scheduled_at);
        let Some((deadline, began)) = limit.filter(|_| self.is_steady) else { return };
        if at.since(began) > deadline + Duration::from_millis(2) {
            let message = format!("{} took {:?}, of {deadline:?}", self.path(activation), at.since(began));
            blames.push((Invariant::TimeLimits, message));
        }
    }

    /// No step is open behind its deadline.
    fn check_overdue(&mut self, at: Timestamp, blames: &mut Blames) {
        if !self.is_steady || self.is_ending() {
            return;
        }
        let late = self.due.iter().find(|(_, due)| at > due.plus(Duration::from_millis(2)));
        if let Some(activation) = late.map(|(activation, _)| *activation) {
            self.due.remove(&activation);
            if !self.has_ended(activation) {
                let message = format!("{} is open behind its deadline", self.path(activation));
                blames.push((Invariant::TimeLimits, message));
            }
        }
    }

    /// What a step gives is what was answered.
    fn check_answer(
        &self,
        plan: &Plan,
        state: &State,
        activation: Activation,
        output: Option<&Value>,
        calls: &Calls,
        blames: &mut Blames,
    ) {
        let Some(known) = state.activation(activation) else { return };
        // Whether it is the result that it takes over is looked at where the origin is known.
        if known.reuse == Some(Reuse::Reused) {
            return;
        }
        let fits = match &plan.valid_step(known.step).kind {
            ValidKind::Agent | ValidKind::Tool => calls.answer(activation).is_some_and(|answer| output == Some(answer)),
            ValidKind::Approval(approval) => match self.answers.get(&activation) {
                Some(answer) => {
                    answer.decision == ApprovalDecision::Approve
                        && output.and_then(|output| output.get("answer")) == Some(&answer.answer)
                }
                // A given answer on timeout.
                None => approval.timeout.is_some(),
            },
            _ => true,
        };
        if !fits {
            blames.push((Invariant::ResultIsAnswer, format!("{} gives what nobody answered", self.path(activation))));
        }
    }

    /// Nobody is denied unless somebody, or time, said so.
    fn check_denial(&self, plan: &Plan, state: &State, activation: Activation, error: &Failure, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let ValidKind::Approval(approval) = &plan.valid_step(known.step).kind else { return };
        if error.code != ErrorKind::Denied {
            return;
        }
        let is_approved =
            self.answers.get(&activation).is_some_and(|answer| answer.decision == ApprovalDecision::Approve);
        if is_approved || (!self.answers.contains_key(&activation) && approval.timeout.is_none()) {
            blames.push((
                Invariant::ApprovalsOnce,
                format!("{} is denied though nobody rejected it", self.path(activation)),
            ));
        }
    }

    /// Whether a composite around an activation has ended.
    fn is_inside_of_what_ended(&self, activation: Activation) -> bool {
        let mut path = self.path(activation);
        while let Some((outer, _)) = path.rsplit_once('.') {
            let composite =
                outer.find(['[', '#']).map_or(outer, |_| outer.rsplit_once(['[', '#']).map_or(outer, |(at, _)| at));
            if [outer, composite].iter().filter_map(|path| self.at(path)).any(|around| self.has_ended(around)) {
                return true;
            }
            path = outer;
        }
        false
    }

    fn answered(&mut self, activation: Activation, answer: &Arc<ApprovalAnswer>, blames: &mut Blames) {
        if self.answers.insert(activation, Arc::clone(answer)).is_some() {
            blames.push((Invariant::ApprovalsOnce, format!("{} was answered twice", self.path(activation))));
        }
    }

    fn delivered(&mut self, activation: Activation, sequence: u64, blames: &mut Blames) {
        let path = Arc::clone(&self.paths[activation.get()]);
        let fits = |signal: &Signal| signal.step_path.as_ref().is_none_or(|wanted| wanted.as_str() == &*path);
        let first = self.signals.values().find_map(|waiting| {
            waiting.iter().position(|(number, _)| *number == sequence).map(|place| (waiting, place))
        });
        match first {
            None => {
                let message = format!("{path} was given signal {sequence}, which nobody sent or somebody else has");
                blames.push((Invariant::SignalsOnce, message));
            }
            Some((waiting, place)) => {
                self.heard.insert(activation, Arc::clone(&waiting[place].1));
                if waiting[..place].iter().any(|(_, earlier)| fits(earlier)) {
                    blames.push((Invariant::SignalsOnce, format!("{path} was given a signal before an earlier one")));
                }
            }
        }
        for waiting in self.signals.values_mut() {
            waiting.retain(|(number, _)| *number != sequence);
        }
    }

    pub(super) fn has_result(&self, activation: Activation) -> bool {
        match self.ended.get(&activation) {
            Some(End::Completed) => true,
            Some(End::Failed) => self.rescued.get(&activation) == Some(&true),
            _ => false,
        }
    }

    /// What a step gave; absent if it did not complete.
    pub(super) fn output(&self, activation: Activation) -> Option<&Arc<Value>> {
        self.outputs.get(&activation).filter(|_| self.ended.get(&activation) == Some(&End::Completed))
    }

    /// What expressions see as a step's output: its own, or that of the step that made its failure good.
    pub(super) fn shown(&self, activation: Activation) -> Option<&Arc<Value>> {
        match self.ended.get(&activation)? {
            End::Completed => self.outputs.get(&activation),
            End::Failed if self.rescued.get(&activation) == Some(&true) => {
                self.shown(self.stand_ins.get(&activation).copied()?)
            }
            _ => None,
        }
    }

    /// What expressions see as a step's status; absent before its end.
    pub(super) fn status(&self, activation: Activation) -> Option<&'static str> {
        self.ended.get(&activation).map(|end| match end {
            End::Completed => "completed",
            End::Failed => "failed",
            End::Skipped(_) => "skipped",
            End::Cancelled => "cancelled",
        })
    }

    /// What a wait was told by the signal that it was given.
    pub(super) fn heard(&self, activation: Activation) -> Option<&Value> {
        self.heard.get(&activation).map(|signal| &signal.payload)
    }

    fn is_satisfied(&self, activation: Activation) -> bool {
        self.has_result(activation) || self.ended.get(&activation) == Some(&End::Skipped(SkipReason::FallbackNotNeeded))
    }

    pub(super) fn is_settled(&self, plan: &Plan, state: &State, activation: Activation) -> bool {
        let has_fallback =
            state.activation(activation).is_some_and(|known| plan.steps()[known.step.get()].fallback.is_some());
        match self.ended.get(&activation) {
            None => false,
            Some(End::Failed) if has_fallback => self.rescued.contains_key(&activation),
            Some(_) => true,
        }
    }

    fn completed(&self, plan: &Plan, state: &State, blames: &mut Blames) {
        let own = (0..state.own_steps().len() as u32).map(Activation);
        let unborne = own.filter(|activation| self.ended.get(activation) == Some(&End::Failed)).find(|activation| {
            let planned = &plan.steps()[state.steps()[activation.get()].step.get()];
            planned.on_error != OnError::Continue && planned.serves.is_none() && !self.has_result(*activation)
        });
        if let Some(unborne) = unborne {
            let message = format!("it completed though {} failed", self.path(unborne));
            blames.push((Invariant::CompletedMeansUnharmed, message));
        }
    }
}
