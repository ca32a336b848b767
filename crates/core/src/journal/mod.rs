//! The journal as people see it: names, times and details that events do not store, rendered when somebody reads.

mod describe;
mod reading;

use std::{collections::HashSet, sync::Arc};

use orchestr8_agent_base::context::{ExecutionIdentity, Progress};
use orchestr8_schema::{
    Timestamp,
    api::{self, Entry, JournalExport, JournalSummary, Level},
    event::{Event, EventBody, HookVerdict, LogLevel, TimeoutScope},
};

pub(crate) use self::reading::Readings;
pub use self::reading::{EntryFilter, EntryPage, Reading};
use serde_json::Map;

use crate::{
    machine::{State, fold},
    plan::Plan,
    redact::Redactor,
    truncate, view,
};

/// A whole journal, rendered: secrets are hidden, and long fields are cut.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Journal {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// What they amount to.
    pub summary: JournalSummary,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl Journal {
    /// Renders a journal; `state` is what the events fold to.
    pub(crate) fn render(plan: &Arc<Plan>, events: &[Event], state: &State) -> Self {
        let mut renderer = Renderer::new(plan);
        renderer.learn(events, state);
        let entries: Vec<_> = events.iter().filter_map(|event| renderer.entry(event)).collect();
        let count = |level| entries.iter().filter(|entry| entry.level == level).count() as u32;
        let steps: HashSet<_> = entries.iter().filter_map(|entry| entry.step_path.as_deref()).collect();
        let summary = JournalSummary {
            total_entries: entries.len() as u64,
            step_count: steps.len() as u32,
            errors: count(Level::Error),
            warnings: count(Level::Warn),
            retries: entries.iter().filter(|entry| entry.kind == "retry.scheduled").count() as u32,
            status: view::status(state),
            duration: entries.last().map_or(0, |entry| entry.elapsed_ms),
        };
        Self { entries, summary, started_at: state.started_at(), completed_at: state.ended_at() }
    }

    /// Renders the journal as one document, which has at most 10 MB and 10 000 entries: where there are more, the oldest that are
    /// not about the execution itself give way to one `journal.truncated`. Absent if it is empty, which no stored journal is.
    #[must_use]
    pub fn export(self) -> Option<JournalExport> {
        let first = self.entries.first()?;
        Some(JournalExport {
            execution_id: first.execution_id,
            workflow_id: first.workflow_id.clone(),
            correlation_id: first.correlation_id.clone(),
            status: self.summary.status,
            started_at: self.started_at,
            completed_at: self.completed_at,
            duration: self
                .started_at
                .zip(self.completed_at)
                .map(|(start, end)| u64::try_from(end.since(start).as_millis()).unwrap_or(u64::MAX)),
            entries: truncate::document(self.entries),
            summary: self.summary,
        })
    }
}

/// Renders events one after another, each against the state that the ones before it made. Secrets are hidden as far as the events
/// so far tell of them, and long fields are cut.
#[derive(Debug)]
pub struct Renderer {
    plan: Arc<Plan>,
    state: State,
    queued_at: Timestamp,
    latest: Timestamp,
    cancelling_at: Option<Timestamp>,
    redactor: Redactor,
    /// Nothing is hidden or cut.
    is_whole: bool,
}

impl Renderer {
    /// Begins with the first event of a journal.
    #[must_use]
    pub fn new(plan: &Arc<Plan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            state: State::new(plan),
            queued_at: Timestamp::default(),
            latest: Timestamp::default(),
            cancelling_at: None,
            redactor: plan.secrets().clone(),
            is_whole: false,
        }
    }

    /// Begins with the first event of a journal that nobody is shown: nothing is hidden or cut.
    pub(crate) fn whole(plan: &Arc<Plan>) -> Self {
        Self { is_whole: true, ..Self::new(plan) }
    }

    /// Learns of the secrets of a whole journal beforehand; `state` is what the events fold to.
    fn learn(&mut self, events: &[Event], state: &State) {
        for event in events {
            self.plan.annotations().learn_event(&mut self.redactor, state, event);
        }
    }

    /// Returns the sequence of the last event rendered; 0 at the beginning.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.state.sequence()
    }

    /// Takes the next event in without rendering it.
    pub fn pass(&mut self, event: &Event) {
        self.note(event);
        if !self.is_whole {
            self.plan.annotations().learn_event(&mut self.redactor, &self.state, event);
        }
        fold(&self.plan, &mut self.state, event);
        self.latest = self.latest.max(event.at);
    }

    /// Notes the times that entries are told against.
    fn note(&mut self, event: &Event) {
        if self.state.sequence() == 0 {
            (self.queued_at, self.latest) = (event.at, event.at);
        }
        if let EventBody::ExecutionCancelling(_) = event.body {
            self.cancelling_at.get_or_insert(event.at);
        }
    }

    /// Renders the next event; absent only before the first one, `execution.queued`.
    pub fn entry(&mut self, event: &Event) -> Option<Entry> {
        let before = self.state.sequence();
        self.note(event);
        let (mut message, mut data) = self.describe(event);
        if !self.is_whole {
            let annotations = self.plan.annotations();
            annotations.learn_event(&mut self.redactor, &self.state, event);
            annotations.hide(&self.plan, &self.state, event, &mut data);
            self.redactor.redact_map(&mut data);
            self.redactor.redact_text(&mut message);
        }
        fold(&self.plan, &mut self.state, event);
        let queued = self.state.queued()?;
        let mut entry = Entry::new(
            before + 1,
            event.at,
            event.body.name(),
            level(&event.body),
            queued.execution_id,
            self.plan.workflow().id(),
            queued.correlation_id.clone(),
        );
        entry.elapsed_ms = millis(event.at.since(self.queued_at));
        entry.delta_ms = millis(event.at.since(self.latest));
        self.latest = self.latest.max(event.at);
        entry.message = message;
        entry.data = data;
        if let Some(activation) =
            event.body.activation().filter(|activation| self.state.activation(*activation).is_some())
        {
            let identity = self.state.identity(&self.plan, activation);
            entry.step_id = Some(identity.step_id.to_string());
            entry.step_path = Some(identity.step_path.to_string());
            entry.visit = Some(identity.visit);
        }
        entry.attempt = attempt(&event.body);
        if self.is_whole {
            return Some(entry);
        }
        if let Some(path) = &mut entry.step_path {
            self.redactor.redact_text(path);
        }
        truncate::entry(&mut entry);
        Some(entry)
    }

    /// Renders how far a call has come, which stands in no journal. Secrets are hidden and texts cut as in entries.
    #[must_use]
    pub fn progress(&self, identity: &ExecutionIdentity, progress: &Progress, at: Timestamp) -> api::StepProgress {
        let mut message = progress.message.clone();
        self.redactor.redact_text(&mut message);
        let mut data = Map::new();
        let kind = if progress.is_text {
            data.insert("text".to_owned(), message.into());
            api::StepProgress::OF_A_MODEL
        } else {
            truncate::text(&mut message);
            data.extend(progress.fraction.map(|fraction| ("fraction".to_owned(), fraction.into())));
            data.insert("message".to_owned(), message.into());
            api::StepProgress::OF_A_STEP
        };
        let mut path = progress.step.step_path.to_string();
        self.redactor.redact_text(&mut path);
        api::StepProgress::new(
            at,
            kind,
            identity.execution_id,
            &identity.workflow_id,
            identity.correlation_id.clone(),
            (progress.step.step_id.as_str(), &path, progress.step.visit),
            progress.attempt,
            data,
        )
    }
}

/// How much an event matters: `error` for failed, `warn` for retry, timeout, circuit and denial, `debug` for timers.
fn level(body: &EventBody) -> Level {
    match body {
        EventBody::ExecutionFailing { .. }
        | EventBody::ExecutionFailed
        | EventBody::StepFailed { .. }
        | EventBody::CompensationStepFailed { .. }
        | EventBody::AttemptFinished { result: Err(_), is_final: true, .. }
        | EventBody::AttemptRejected { .. }
        | EventBody::BudgetExceeded { .. } => Level::Error,
        EventBody::AttemptFinished { result: Err(_), .. }
        | EventBody::RetryScheduled { .. }
        | EventBody::TimeoutExceeded { .. }
        | EventBody::CircuitChanged(_) => Level::Warn,
        EventBody::ToolCalled(called) if called.is_denied || called.error.is_some() => Level::Warn,
        EventBody::ModelCalled(called) if called.error.is_some() => Level::Warn,
        EventBody::LogEntry(entry) => match entry.level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        },
        EventBody::HookFinished { result, .. } if result.error.is_some() || result.verdict == HookVerdict::Deny => {
            Level::Warn
        }
        EventBody::TimerFired { .. } | EventBody::PermitWaited(_) => Level::Debug,
        _ => Level::Info,
    }
}

fn attempt(body: &EventBody) -> Option<u32> {
    match body {
        EventBody::AttemptStarted { attempt, .. }
        | EventBody::AttemptFinished { attempt, .. }
        | EventBody::RetryScheduled { attempt, .. }
        | EventBody::TimeoutExceeded { scope: TimeoutScope::Attempt(_, attempt), .. } => Some(*attempt),
        EventBody::DurableRecorded(durable) => Some(durable.attempt),
        EventBody::ModelCalled(called) => Some(called.attempt),
        EventBody::ToolCalled(called) => Some(called.attempt),
        EventBody::LogEntry(entry) => Some(entry.attempt),
        _ => None,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
