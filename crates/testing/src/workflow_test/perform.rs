//! One execution under test: the real engine on virtual time, and what happens to it from outside.

use std::time::Duration;

use orchestr8_agent_base::{AgentRegistry, Clock, Secrets, model::Models};
use orchestr8_core::{
    Cancellation, Engine, ExecutionHandle, MemoryStore, Snapshot, StartError, StartRequest,
    clock::{SystemClock, mix},
    store::Holder,
};
use orchestr8_schema::{
    ExecutionId, Timestamp, ValidWorkflow,
    api::ExecutionStatus,
    config::Config,
    event::{ApprovalAnswer, ApprovalDecision, Event, Signal},
    json_schema::Violations,
    test_file::{Action, EventPattern, Given, Moment, Scenario, StepPattern},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{compare::contains, report::Failure};
use crate::{
    TestClock,
    started::{AN_INSTANT, chain, take_up},
};

/// The most events of an execution under test.
pub(super) const MAX_EVENTS: usize = 100_000;
/// How long a test may take in real time.
const MAX_REAL_TIME: Duration = Duration::from_secs(10);
/// Longer than anything that is worth waiting for.
const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What is executed.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) workflow: &'a ValidWorkflow,
    pub(super) agents: &'a AgentRegistry,
    pub(super) models: &'a Models,
    pub(super) scenario: &'a Scenario,
    /// Of the program; absent if the test gives none.
    pub(super) config: Option<&'a Config>,
}

/// What came of it.
pub(super) struct Performance {
    /// Absent if it did not begin.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) failures: Vec<Failure>,
}

/// How a life of the process ended.
enum End {
    /// The execution has ended, or waits as it should, or nothing more will happen.
    Done(Box<Snapshot>),
    /// The process is gone.
    Gone { elapsed: Duration },
    /// The test cannot go on.
    Failed(Box<Failure>),
}

/// Performs a scenario, over as many lives of the process as it asks for.
pub(super) fn perform(subject: Subject<'_>) -> Performance {
    let mut play = Play {
        subject,
        real: SystemClock::new(),
        began: Timestamp::default(),
        execution: None,
        fired: vec![false; subject.scenario.when.len()],
        seen: 0,
        failures: Vec::new(),
    };
    play.began = play.real.now();
    let store = MemoryStore::new();
    let mut before = Duration::ZERO;
    let mut life = 0;
    let snapshot = loop {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build() {
            Ok(runtime) => runtime,
            Err(error) => {
                play.failures.push(Failure::new("", format!("no runtime: {error}")));
                break None;
            }
        };
        match runtime.block_on(play.live(store.clone(), life, before)) {
            End::Done(snapshot) => break Some(*snapshot),
            End::Failed(failure) => {
                play.failures.push(*failure);
                break None;
            }
            End::Gone { elapsed } => {
                // Until its lease has run out nobody else may take the execution up.
                before = elapsed + Holder::LEASE;
                life += 1;
            }
        }
    };
    Performance { snapshot, failures: play.failures }
}

struct Play<'a> {
    subject: Subject<'a>,
    real: SystemClock,
    /// In real time.
    began: Timestamp,
    execution: Option<ExecutionId>,
    /// Which entries of `when` have happened.
    fired: Vec<bool>,
    /// The events that have been looked at.
    seen: u64,
    failures: Vec<Failure>,
}

impl Play<'_> {
    async fn live(&mut self, store: MemoryStore, life: u64, before: Duration) -> End {
        let given = &self.subject.scenario.given;
        let start = given.now.unwrap_or(Given::DEFAULT_NOW).plus(before);
        let seed = given.seed.unwrap_or(Given::DEFAULT_SEED);
        // Another process draws other numbers.
        let seed = if life == 0 { seed } else { mix(seed ^ mix(life)) };
        let clock = std::sync::Arc::new(TestClock::starting_at(start, seed));
        let (agents, models) = (self.subject.agents.clone(), self.subject.models.clone());
        let mut builder = Engine::builder().registry(agents).models(models).store(store).clock(clock);
        let secrets = given.secrets.iter().map(|(reference, text)| (reference.trim_start_matches("secret://"), text));
        builder = builder.secrets(secrets.fold(Secrets::none(), |all, (path, text)| all.with(path, text)));
        if let Some(config) = self.subject.config {
            builder = builder.max_concurrent_steps(config.execution.max_concurrent);
            builder = builder.tool_policy(config.policy.tools.clone());
        }
        let began = Instant::now();
        let engine = match builder.build() {
            Ok(engine) => engine,
            Err(error) => return failed(Failure::new("", format!("no engine: {error}"))),
        };
        let handle = match self.execution {
            None => self.start(&engine).await,
            Some(id) => take_up(&engine, id).await.map_err(|error| Failure::new("", error)),
        };
        let handle = match handle {
            Ok(handle) => handle,
            Err(failure) => return failed(failure),
        };
        self.execution = Some(handle.id());
        self.follow(&handle, began, before).await
    }

    async fn start(&self, engine: &Engine) -> Result<ExecutionHandle, Failure> {
        let given = &self.subject.scenario.given;
        let request = StartRequest::new(self.subject.workflow, given.input.clone().unwrap_or_else(|| json!({})))
            .variables(given.variables.clone())
            .env(given.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        match engine.submit(request).await {
            Ok(submission) => Ok(submission.handle),
            Err(StartError::Input(violations)) => {
                let message = format!("the workflow does not take this input: {}", Violations(&violations));
                Err(Failure::new("given.input", message))
            }
            Err(error) => Err(Failure::new("", format!("the execution cannot start: {}", chain(&error)))),
        }
    }

    /// Follows an execution to its end, or to where it stands still.
    async fn follow(&mut self, handle: &ExecutionHandle, began: Instant, before: Duration) -> End {
        let mut events = match handle.events() {
            Ok(events) => events,
            Err(error) => return failed(Failure::new("", error.to_string())),
        };
        let mut is_quiet = false;
        loop {
            let due = self.next_due().map(|(entry, at)| (entry, at.saturating_sub(before + began.elapsed())));
            let next = tokio::select! {
                biased;
                next = events.next() => match next {
                    Ok(Some((sequence, event))) => Next::Event(sequence, event),
                    Ok(None) => return self.ended(handle).await,
                    Err(error) => return failed(Failure::new("", error.to_string())),
                },
                () = sleep(AN_INSTANT), if !is_quiet => Next::Quiet,
                () = sleep(due.map_or(FOREVER, |(_, left)| left)) => due.map_or(Next::Nothing, |(entry, _)| Next::Due(entry)),
            };
            match next {
                Next::Event(sequence, event) => {
                    is_quiet = false;
                    if let Some(failure) = self.out_of_bounds(sequence) {
                        return failed(failure);
                    }
                    if sequence <= self.seen {
                        continue;
                    }
                    self.seen = sequence;
                    if let Some(entry) = self.entry_on(handle, sequence, &event).await
                        && self.act(entry, handle).await
                    {
                        return End::Gone { elapsed: before + began.elapsed() };
                    }
                }
                Next::Quiet => {
                    is_quiet = true;
                    if self.may_stop()
                        && let Ok(snapshot) = handle.snapshot().await
                        && waits_for_others(&snapshot)
                    {
                        return End::Done(Box::new(snapshot));
                    }
                }
                Next::Due(entry) => {
                    is_quiet = false;
                    if self.act(entry, handle).await {
                        return End::Gone { elapsed: before + began.elapsed() };
                    }
                }
                Next::Nothing => {
                    return match handle.snapshot().await {
                        Ok(snapshot) => {
                            self.stands_still(&snapshot);
                            End::Done(Box::new(snapshot))
                        }
                        Err(error) => failed(Failure::new("", error.to_string())),
                    };
                }
            }
        }
    }

    async fn ended(&mut self, handle: &ExecutionHandle) -> End {
        let outcome = match handle.outcome().await {
            Ok(outcome) => outcome,
            Err(error) => return failed(Failure::new("", chain(&error))),
        };
        let snapshot = match handle.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => return failed(Failure::new("", error.to_string())),
        };
        if snapshot.state() != outcome.state() {
            self.failures
                .push(Failure::new("journal", "the journal does not fold to the state that the engine ended with"));
        }
        for entry in (0..self.fired.len()).filter(|entry| !self.fired[*entry]) {
            let message = format!("the execution had {} before that", snapshot.status());
            self.failures.push(Failure::new(format!("when[{entry}]"), message));
        }
        End::Done(Box::new(snapshot))
    }

    /// Whether a test that goes on like that would never end.
    fn out_of_bounds(&self, events: u64) -> Option<Failure> {
        let told = match events {
            events if events as usize > MAX_EVENTS => format!("it has more than {MAX_EVENTS} events"),
            events if events.is_multiple_of(64) && self.real.now().since(self.began) > MAX_REAL_TIME => {
                format!("it takes more than {} s in real time", MAX_REAL_TIME.as_secs())
            }
            _ => return None,
        };
        Some(Failure::new("", format!("the execution does not end: {told}")))
    }

    // === what happens from outside ===

    /// The next entry that waits for a time.
    fn next_due(&self) -> Option<(usize, Duration)> {
        let mut entries = self.subject.scenario.when.iter().enumerate();
        entries.find_map(|(entry, stimulus)| match stimulus.moment {
            Moment::At(at) if !self.fired[entry] => Some((entry, at.as_duration())),
            _ => None,
        })
    }

    /// Finds the entry that waits for an event like this one.
    async fn entry_on(&self, handle: &ExecutionHandle, sequence: u64, event: &Event) -> Option<usize> {
        let is_meant =
            |(entry, pattern): &(usize, &EventPattern)| !self.fired[*entry] && pattern.kind == event.body.name();
        let waiting = self.subject.scenario.when.iter().enumerate();
        let waiting = waiting.filter_map(|(entry, stimulus)| match &stimulus.moment {
            Moment::On(pattern) => Some((entry, pattern)),
            _ => None,
        });
        let mut waiting = waiting.filter(is_meant).peekable();
        waiting.peek()?;
        let snapshot = handle.snapshot().await.ok()?;
        let journal = snapshot.journal();
        let entry = journal.entries.iter().find(|entry| entry.sequence == sequence)?;
        waiting.find(|(_, pattern)| fits(pattern, entry)).map(|(entry, _)| entry)
    }

    /// Does what an entry says; true if the process is gone then.
    async fn act(&mut self, entry: usize, handle: &ExecutionHandle) -> bool {
        self.fired[entry] = true;
        let action = &self.subject.scenario.when[entry].action;
        let done = match action {
            Action::Approve { step, answer, comment, by } => {
                let approval = ApprovalAnswer {
                    decision: ApprovalDecision::Approve,
                    answer: answer.clone(),
                    comment: comment.as_deref().map(Into::into),
                    by: by.as_deref().map(Into::into),
                };
                answer_all(handle, step, approval).await
            }
            Action::Reject { step, comment, by } => {
                let approval = ApprovalAnswer {
                    decision: ApprovalDecision::Reject,
                    answer: Value::Null,
                    comment: comment.as_deref().map(Into::into),
                    by: by.as_deref().map(Into::into),
                };
                answer_all(handle, step, approval).await
            }
            Action::Signal { name, payload, step } => {
                let signal = Signal {
                    name: name.as_str().into(),
                    payload: payload.clone(),
                    signal_id: None,
                    step_path: step.as_ref().and_then(|step| serde_json::from_value(step.as_str().into()).ok()),
                };
                handle.signal(signal).await.map_err(|error| chain(&error))
            }
            Action::Cancel { reason } => {
                let reason = reason.as_deref().unwrap_or("the test asks for it");
                handle.cancel(Cancellation::new(reason)).await.map_err(|error| chain(&error))
            }
            Action::Pause { reason } => handle.pause(reason.as_deref()).await.map_err(|error| chain(&error)),
            Action::Resume { reason } => handle.resume(reason.as_deref()).await.map_err(|error| chain(&error)),
            Action::Advance(time) => {
                tokio::time::advance(time.as_duration()).await;
                Ok(())
            }
            Action::Crash => return true,
            other => Err(format!("nobody knows how to do {other:?}")),
        };
        if let Err(message) = done {
            self.failures.push(Failure::new(format!("when[{entry}]"), message));
        }
        false
    }

    // === standing still ===

    /// Whether it is enough that the execution waits for somebody.
    fn may_stop(&self) -> bool {
        self.subject.scenario.then.waiting.is_some() && self.fired.iter().all(|fired| *fired)
    }

    /// Nothing more will happen.
    fn stands_still(&mut self, snapshot: &Snapshot) {
        for entry in (0..self.fired.len()).filter(|entry| !self.fired[*entry]) {
            self.failures.push(Failure::new(format!("when[{entry}]"), "there was no such event"));
        }
        let then = &self.subject.scenario.then;
        let is_meant = then.waiting.is_some()
            || then.status.is_some_and(|status| status == snapshot.status() && status == ExecutionStatus::Paused);
        if is_meant {
            return;
        }
        let body = snapshot.to_body();
        let waits: Vec<_> =
            body.waiting_for.iter().map(|waiting| format!("{} ({})", waiting.step_path, waiting.kind)).collect();
        let message = match waits.is_empty() {
            true => format!("the execution does not end; it is {}", snapshot.status()),
            false => format!("the execution does not end; it waits for {}", waits.join(", ")),
        };
        let mut failure = Failure::new("then.waiting", message);
        failure.step = body.waiting_for.first().map(|waiting| waiting.step_path.clone());
        self.failures.push(failure);
    }
}

fn failed(failure: Failure) -> End {
    End::Failed(Box::new(failure))
}

/// What comes next.
enum Next {
    Event(u64, Event),
    /// Nothing goes on before time does.
    Quiet,
    /// The time of an entry of `when`.
    Due(usize),
    /// Never anything more.
    Nothing,
}

/// Whether an execution goes on only if somebody outside does something, deadlines apart.
fn waits_for_others(snapshot: &Snapshot) -> bool {
    let state = snapshot.state();
    if state.in_flight() > 0 || state.steps().iter().any(|step| step.phase.has_call()) {
        return false;
    }
    let waits = snapshot.to_body().waiting_for;
    snapshot.status() == ExecutionStatus::Paused
        || (!waits.is_empty() && waits.iter().all(|waiting| matches!(waiting.kind.as_str(), "approval" | "signal")))
}

/// Whether an entry of a journal is meant.
pub(super) fn fits(pattern: &EventPattern, entry: &orchestr8_schema::api::Entry) -> bool {
    let path = entry.step_path.as_deref();
    pattern.kind == entry.kind
        && pattern.step_path.as_ref().is_none_or(|wanted| path.is_some_and(|path| fits_text(wanted, path)))
        && (pattern.fields.is_empty()
            || serde_json::to_value(entry).is_ok_and(|entry| contains(&entry, &Value::Object(pattern.fields.clone()))))
}

/// Whether a pattern fits a step path that is known as text.
pub(super) fn fits_text(pattern: &StepPattern, path: &str) -> bool {
    serde_json::from_value(Value::String(path.to_owned())).is_ok_and(|path| pattern.matches(&path))
}

/// Answers all the waiting approvals that are meant.
async fn answer_all(handle: &ExecutionHandle, step: &StepPattern, approval: ApprovalAnswer) -> Result<(), String> {
    let snapshot = handle.snapshot().await.map_err(|error| error.to_string())?;
    let waiting: Vec<_> = snapshot.approvals().into_iter().map(|approval| approval.step_path).collect();
    let meant: Vec<_> = waiting.iter().filter(|path| fits_text(step, path)).collect();
    if meant.is_empty() {
        return Err(match waiting.is_empty() {
            true => format!("`{step}` waits for no approval, and no other step does"),
            false => format!("`{step}` waits for no approval; {} does", waiting.join(", ")),
        });
    }
    for path in meant {
        handle.answer(path, approval.clone()).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}
