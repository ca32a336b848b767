//! Following an execution to its end: progress on the way, signals, and what came of it.

use std::{sync::Arc, time::Duration};

use orchestr8_core::{
    Cancellation, ExecutionHandle, Outcome, execution::CancelError, journal::Renderer, store::StoreError,
};
use orchestr8_schema::{
    Millis, ValidWorkflow,
    api::{Execution, ExecutionStatus},
};

use crate::{
    Error, Exit,
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
    /// Each event as a line of JSON.
    pub(crate) events: bool,
    /// Each step's output.
    pub(crate) outputs: bool,
    /// The number of events that nobody has to be told of, since they are from before.
    pub(crate) known: u64,
}

/// Tells what happens until an execution has ended, and what came of it.
pub(crate) async fn follow_to_the_end(
    ui: Ui,
    shown: &Shown,
    execution: &ExecutionHandle,
    workflow: &ValidWorkflow,
    mut interrupts: Interrupts,
) -> Result<Exit, Error> {
    // Lines of events and a redrawn terminal would overwrite each other.
    let live = ui.live && !shown.events;
    let mut progress = Progress::new(Ui { live, ..ui }, workflow, shown.outputs);
    let followed = follow(ui, shown, execution, &mut interrupts, &mut progress).await?;
    if followed == Followed::Left {
        return Ok(Exit::Interrupted);
    }
    let outcome =
        execution.outcome().await.map_err(|error| Error::internal("following the execution").with_source(error))?;
    report(ui, shown, &outcome)?;
    Ok(match outcome.status() {
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
    execution: &ExecutionHandle,
    interrupts: &mut Interrupts,
    progress: &mut Progress,
) -> Result<Followed, Error> {
    let plan = Arc::clone(execution.plan());
    let mut renderer = Renderer::new(&plan);
    let following = |error: StoreError| Error::internal("following the execution").with_source(error);
    let mut events =
        execution.events().map_err(|error| Error::internal("following the execution").with_source(error))?;
    let mut frames = tokio::time::interval(FRAME);
    let mut followed = Followed::ToTheEnd;
    loop {
        tokio::select! {
            biased;
            urgency = interrupts.next() => {
                progress.erase();
                followed = interrupt(ui, execution, urgency).await?;
                if followed == Followed::Left {
                    return Ok(followed);
                }
            }
            event = events.next() => {
                let Some((sequence, event)) = event.map_err(following)? else { break };
                let Some(entry) = renderer.entry(&event) else { continue };
                if shown.events {
                    ui.print_json(&entry)?;
                }
                progress.observe(&entry, sequence > shown.known);
            }
            _ = frames.tick(), if progress.is_live() => progress.tick(),
        }
    }
    progress.erase();
    Ok(followed)
}

/// Does what a signal asks for.
async fn interrupt(ui: Ui, execution: &ExecutionHandle, urgency: Urgency) -> Result<Followed, Error> {
    let cancellation = Cancellation::new("interrupted by a signal");
    let (cancellation, said) = match urgency {
        Urgency::Graceful => {
            let (id, grace) = (execution.id().short(), Millis::from(execution.plan().limits().grace_period));
            (cancellation, format!("Cancelling {id} (grace {grace}); again to force"))
        }
        Urgency::Forced => {
            (cancellation.grace_period(Duration::ZERO), "Forcing the end; again to leave at once".to_owned())
        }
        Urgency::Immediate => return Ok(Followed::Left),
    };
    match execution.cancel(cancellation).await {
        Ok(()) => ui.say(&said),
        // It is ending anyway, in time.
        Err(_) if urgency == Urgency::Graceful => {}
        Err(CancelError::Ended) => {}
        // What is ending already cannot be hurried, only left.
        Err(_) => {
            ui.say("Left while steps were still ending");
            return Ok(Followed::Left);
        }
    }
    Ok(Followed::Interrupted)
}

fn report(ui: Ui, shown: &Shown, outcome: &Outcome) -> Result<(), Error> {
    let execution = outcome.to_body();
    summarise(ui, shown, &execution);
    if shown.events || ui.is_json() {
        return ui.print_json(&execution);
    }
    match &execution.outputs {
        Some(outputs) => ui.print_json(outputs),
        None => Ok(()),
    }
}

fn summarise(ui: Ui, shown: &Shown, execution: &Execution) {
    let took = duration(execution.duration.unwrap_or(0));
    let id = execution.execution_id;
    let progress = &execution.progress;
    let total = usize::try_from(progress.total).unwrap_or(usize::MAX);
    let share = format!("{} of {}", progress.completed, count(total, "step"));
    match execution.status {
        ExecutionStatus::Completed => {
            ui.say(&format!("Completed in {took} · {} · {DIM}{id}{DIM:#}", count(total, "step")));
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
