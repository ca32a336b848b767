//! Following an execution to its end: progress on the way, signals, and what came of it.

use std::time::Duration;

use orchestr8_core::{
    Cancellation, ExecutionHandle,
    agent_base::Clock as _,
    clock::SystemClock,
    execution::{CancelError, EventStream, News},
    journal::Renderer,
    plan::Plan,
};
use orchestr8_schema::{
    ExecutionId, Millis,
    api::{ApprovalRequest, CancelRequest, Decision, Execution, ExecutionStatus},
    event::{ApprovalAnswer, ApprovalDecision},
    policy::CancellationPolicy,
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    Error, Exit,
    asking::Questions,
    client::{Client, Told},
    commands::approve::user,
    interrupt::{Interrupts, Urgency},
    progress::{Progress, reason},
    ui::{BAD, DIM, Ui},
    wording::{count, duration, shell_word, visible},
};

/// How often a terminal is redrawn.
const FRAME: Duration = Duration::from_millis(100);

/// What is shown of an execution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// The steps of the workflow itself.
    pub(crate) steps: Vec<String>,
    /// How long running steps are given to end after a signal.
    pub(crate) grace: Millis,
    /// Each event as a line of JSON.
    pub(crate) events: bool,
    /// Each step's output.
    pub(crate) outputs: bool,
    /// Whether whoever is at the terminal is asked for approvals.
    pub(crate) asks: bool,
    /// The number of events that nobody has to be told of, since they are from before.
    pub(crate) known: u64,
    /// How many steps had completed before; absent if all of it is new.
    pub(crate) reused: Option<u32>,
}

impl Shown {
    /// Learns what is to be known of a workflow.
    pub(crate) fn of(mut self, plan: &Plan) -> Self {
        self.steps = plan.workflow().workflow().steps.iter().map(|step| step.id.to_string()).collect();
        self.grace = plan.limits().grace_period.into();
        self
    }

    /// Learns the same of the definition that a server gives.
    pub(crate) fn of_definition(mut self, definition: &Value) -> Self {
        let steps = definition.get("steps").and_then(Value::as_array);
        let ids = steps.into_iter().flatten().filter_map(|step| step.get("id")?.as_str());
        self.steps = ids.map(str::to_owned).collect();
        let grace = definition.pointer("/policies/cancellation/gracePeriod").cloned();
        self.grace = grace
            .and_then(|grace| serde_json::from_value(grace).ok())
            .unwrap_or(CancellationPolicy::DEFAULT_GRACE_PERIOD);
        self
    }
}

/// An execution that is followed.
#[derive(Debug)]
pub(crate) enum Subject {
    /// It is driven in this process.
    Here(ExecutionHandle),
    /// A server drives it.
    There(Box<Client>, ExecutionId),
}

/// What happens, as it happens.
enum Entries {
    Here(Box<Renderer>, Box<EventStream>),
    There(mpsc::Receiver<Result<Told, Error>>),
}

impl Subject {
    /// Entries that are read ahead of those that have been told.
    const AHEAD: usize = 64;

    fn id(&self) -> ExecutionId {
        match self {
            Self::Here(execution) => execution.id(),
            Self::There(_, id) => *id,
        }
    }

    fn entries(&self) -> Result<Entries, Error> {
        match self {
            Self::Here(execution) => {
                let events = execution.events().map_err(|error| lost().with_source(error))?;
                Ok(Entries::Here(Box::new(Renderer::new(execution.plan())), Box::new(events.with_progress())))
            }
            Self::There(client, id) => {
                let (sender, entries) = mpsc::channel(Self::AHEAD);
                let (client, id) = (client.clone(), *id);
                // It ends with the execution, and with whoever follows it.
                tokio::task::spawn_blocking(move || {
                    let send = |told: Told| sender.blocking_send(Ok(told)).map_err(|_| lost());
                    if let Err(error) = client.follow_closely(id, 0, send) {
                        // Nobody is left to be told if the other end is gone.
                        let _ = sender.blocking_send(Err(error));
                    }
                });
                Ok(Entries::There(entries))
            }
        }
    }

    /// Asks for the end. False if it is ending already and cannot be hurried.
    async fn cancel(&self, urgency: Urgency) -> Result<bool, Error> {
        const REASON: &str = "interrupted by a signal";
        match self {
            Self::Here(execution) => {
                let mut cancellation = Cancellation::new(REASON);
                if urgency != Urgency::Graceful {
                    cancellation = cancellation.grace_period(Duration::ZERO);
                }
                Ok(matches!(execution.cancel(cancellation).await, Ok(()) | Err(CancelError::Ended)))
            }
            Self::There(client, id) => {
                let mut request = CancelRequest::default();
                (request.reason, request.graceful) = (Some(REASON.to_owned()), Some(urgency == Urgency::Graceful));
                let (client, id) = (client.clone(), *id);
                blocking(move || client.cancel(id, &request)).await.map(|_| urgency == Urgency::Graceful)
            }
        }
    }

    /// Answers an approval for whoever is at the terminal.
    async fn answer(&self, step_path: String, decision: Decision) -> Result<(), Error> {
        let by = user();
        match self {
            Self::Here(execution) => {
                let decision = match decision {
                    Decision::Approve => ApprovalDecision::Approve,
                    Decision::Reject => ApprovalDecision::Reject,
                };
                let answer = ApprovalAnswer { decision, answer: Value::Null, comment: None, by };
                let answered = execution.answer(&step_path, answer).await;
                answered.map_err(|error| Error::usage(format!("answering {step_path}")).with_source(error))
            }
            Self::There(client, id) => {
                let request = ApprovalRequest { decision, answer: Value::Null, comment: None, by };
                let (client, id) = (client.clone(), *id);
                blocking(move || client.answer(id, &step_path, &request)).await.map(drop)
            }
        }
    }

    async fn outcome(&self) -> Result<Execution, Error> {
        match self {
            Self::Here(execution) => {
                Ok(execution.outcome().await.map_err(|error| lost().with_source(error))?.to_body())
            }
            Self::There(client, id) => {
                let (client, id) = (client.clone(), *id);
                blocking(move || client.ended(id)).await
            }
        }
    }
}

impl Entries {
    /// Waits for what is told next; none after the last.
    async fn next(&mut self) -> Result<Option<Told>, Error> {
        match self {
            Self::Here(renderer, events) => loop {
                match events.news().await.map_err(|error| lost().with_source(error))? {
                    None => return Ok(None),
                    Some(News::Progress(progress)) => {
                        let now = SystemClock::new().now();
                        return Ok(Some(Told::Progress(renderer.progress(events.identity(), &progress, now))));
                    }
                    Some(News::Event(_, event)) => {
                        if let Some(entry) = renderer.entry(&event) {
                            return Ok(Some(Told::Entry(entry)));
                        }
                    }
                }
            },
            Self::There(entries) => entries.recv().await.transpose(),
        }
    }
}

fn lost() -> Error {
    Error::internal("following the execution")
}

/// Asks a server, on a thread that may wait.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(ask).await.map_err(|error| lost().with_source(error))?
}

/// Tells what happens until an execution has ended, and what came of it.
pub(crate) async fn follow_to_the_end(
    ui: Ui,
    shown: &Shown,
    subject: &Subject,
    mut interrupts: Interrupts,
) -> Result<Exit, Error> {
    // Lines of events and a redrawn terminal would overwrite each other.
    let live = ui.live && !shown.events;
    let mut progress = Progress::new(Ui { live, ..ui }, &shown.steps, shown.outputs);
    let followed = follow(ui, shown, subject, &mut interrupts, &mut progress).await?;
    if followed == Followed::Left {
        return Ok(Exit::Interrupted);
    }
    let execution = subject.outcome().await?;
    report(ui, shown, &execution)?;
    Ok(match execution.status {
        ExecutionStatus::Completed => Exit::Success,
        ExecutionStatus::Cancelled if followed == Followed::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    })
}

/// How following an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    /// The execution has ended, and no signal came.
    ToTheEnd,
    /// The execution has ended after a signal.
    Interrupted,
    /// A further signal did not wait for the end.
    Left,
}

/// Tells what happens until the execution has ended, and cancels it when a signal comes.
async fn follow(
    ui: Ui,
    shown: &Shown,
    subject: &Subject,
    interrupts: &mut Interrupts,
    progress: &mut Progress,
) -> Result<Followed, Error> {
    let mut entries = subject.entries()?;
    let mut questions = (shown.asks && ui.is_talkative()).then(|| Questions::new(ui, subject.id().short()));
    let mut frames = tokio::time::interval(FRAME);
    let mut followed = Followed::ToTheEnd;
    loop {
        if let Some(questions) = questions.as_mut().filter(|questions| questions.has_next()) {
            progress.erase();
            questions.ask();
        }
        tokio::select! {
            biased;
            urgency = interrupts.next() => {
                progress.erase();
                followed = interrupt(ui, shown, subject, urgency).await?;
                if followed == Followed::Left {
                    return Ok(followed);
                }
            }
            told = entries.next() => match told? {
                None => break,
                Some(Told::Progress(passing)) => progress.hear(&passing),
                Some(Told::Entry(entry)) => {
                    if shown.events {
                        ui.print_json(&entry)?;
                    }
                    progress.observe(&entry, entry.sequence > shown.known);
                    if let Some(questions) = &mut questions {
                        progress.erase();
                        questions.observe(&entry);
                    }
                }
            },
            answer = answered(&mut questions) => {
                if let Some((step_path, decision)) = answer
                    && let Err(error) = subject.answer(step_path, decision).await
                {
                    progress.erase();
                    ui.warn(&error.chain());
                }
            }
            _ = frames.tick(), if progress.is_live() => progress.tick(),
        }
    }
    progress.erase();
    Ok(followed)
}

/// Waits for an answer of whoever is at the terminal; for ever if nobody is asked.
async fn answered(questions: &mut Option<Questions>) -> Option<(String, Decision)> {
    match questions {
        Some(questions) => questions.answered().await,
        None => std::future::pending().await,
    }
}

/// Does what a signal asks for.
async fn interrupt(ui: Ui, shown: &Shown, subject: &Subject, urgency: Urgency) -> Result<Followed, Error> {
    let said = match urgency {
        Urgency::Graceful => format!("Cancelling {} (grace {}); again to force", subject.id().short(), shown.grace),
        Urgency::Forced => "Forcing the end; again to leave at once".to_owned(),
        Urgency::Immediate => return Ok(Followed::Left),
    };
    match subject.cancel(urgency).await? {
        true => ui.say(&said),
        // It is ending anyway, in time.
        false if urgency == Urgency::Graceful => {}
        // What is ending already cannot be hurried, only left.
        false => {
            ui.say("Left while steps were still ending");
            return Ok(Followed::Left);
        }
    }
    Ok(Followed::Interrupted)
}

fn report(ui: Ui, shown: &Shown, execution: &Execution) -> Result<(), Error> {
    summarise(ui, shown, execution);
    if shown.events || ui.is_json() {
        return ui.print_json(execution);
    }
    match &execution.outputs {
        Some(outputs) => ui.print_json(outputs),
        None => Ok(()),
    }
}

/// Counts the steps that have completed and call, wait for or ask something; those that hold others do not.
fn called(execution: &Execution) -> u32 {
    let holds = |kind: &str| ["parallel", "branch", "map", "loop", "workflow"].contains(&kind);
    let completed = execution.steps.iter().filter(|step| step.status == "completed" && !holds(&step.kind));
    u32::try_from(completed.count()).unwrap_or(u32::MAX)
}

fn summarise(ui: Ui, shown: &Shown, execution: &Execution) {
    let took = duration(execution.duration.unwrap_or(0));
    let id = execution.execution_id;
    let progress = &execution.progress;
    let total = usize::try_from(progress.total).unwrap_or(usize::MAX);
    let share = format!("{} of {}", progress.completed, count(total, "step"));
    match execution.status {
        ExecutionStatus::Completed => {
            // The places of a list that was cut say nothing of all of them.
            let steps = match shown.reused.filter(|_| !execution.steps_truncated) {
                Some(reused) => format!("{reused} reused, {} run", called(execution).saturating_sub(reused)),
                None => count(total, "step"),
            };
            ui.say(&format!("Completed in {took} · {steps} · {DIM}{id}{DIM:#}"));
        }
        ExecutionStatus::Cancelled => ui.say(&format!("Cancelled after {took} · {share} · {DIM}{id}{DIM:#}")),
        _ => {
            // Failures of steps have been told already.
            for failure in execution.errors.iter().filter(|failure| failure.step_path.is_none()) {
                ui.complain(&format!("{BAD}✗{BAD:#} {}", visible(&reason(failure))));
            }
            ui.say(&format!("Failed after {took} · {share} · {DIM}{id}{DIM:#}"));
            let culprit = execution.errors.iter().find_map(|failure| failure.step_path.as_ref());
            if let Some(step) = culprit.filter(|_| !shown.events) {
                ui.hint(&format!("orchestr8 why {} {}", id.short(), shell_word(step.as_str())));
            }
        }
    }
}
