//! `orchestr8 resume`

use clap::Args;
use orchestr8_core::{Engine, Snapshot, engine::TakeUpError, machine::Phase, plan::Plan};
use orchestr8_schema::{api::ExecutionStatus, event::Activation};
use tokio::runtime::Runtime;

use crate::{
    Error, Exit, agents,
    data::{DataDir, find_execution},
    following::{Shown, follow_to_the_end},
    interrupt::Interrupts,
    ui::Ui,
    wording::{count, visible},
};

/// Goes on with an execution whose process died, or that is paused.
///
/// What was committed is not run again: finished steps keep their results. A step that was interrupted begins again under the same
/// idempotency key; waits keep their times.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 resume @last\n  orchestr8 resume 0f5b9a10")]
pub struct ResumeArgs {
    /// The execution: its id, at least 6 digits from its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: String,
    /// Print each event as a line of JSON, and the execution last
    #[arg(long)]
    events: bool,
    /// Show each step's output
    #[arg(long)]
    show_output: bool,
}

pub(crate) fn resume(ui: Ui, args: &ResumeArgs, data: &DataDir) -> Result<Exit, Error> {
    let engine = Engine::builder()
        .registry(agents::built_in()?)
        .store(data.open_store()?)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(go_on(ui, args, &engine));
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

async fn go_on(ui: Ui, args: &ResumeArgs, engine: &Engine) -> Result<Exit, Error> {
    let id = find_execution(engine, &args.id).await?;
    let unread = |error| Error::usage(format!("execution {id} cannot be read")).with_source(error);
    let snapshot = engine.snapshot(id).await.map_err(unread)?;
    let short = id.short();
    if snapshot.status().is_terminal() {
        let status = visible(&format!("{:?}", snapshot.status()).to_lowercase()).into_owned();
        return Err(Error::usage(format!("{short} has ended ({status}): there is nothing to go on with")));
    }
    let interrupts = Interrupts::listen()?;
    let handle = engine.take_up(id).await.map_err(|error| match error {
        TakeUpError::Held(holder) => {
            Error::unreachable(format!("{short} is driven by process {} on {}", holder.process, holder.host))
                .with_hint(format!("orchestr8 inspect {id}"))
        }
        TakeUpError::Nothing => Error::usage(format!("{short} has just ended, or was taken up by another process")),
        error => Error::internal(format!("taking up {short}")).with_source(error),
    })?;
    for line in reasons(&snapshot) {
        ui.say(&line);
    }
    if snapshot.status() == ExecutionStatus::Paused {
        handle.resume(None).await.map_err(|error| Error::internal("ending the pause").with_source(error))?;
    }
    let shown = Shown { events: args.events, outputs: args.show_output, hint: None };
    let workflow = snapshot.plan().workflow().clone();
    follow_to_the_end(ui, &shown, &handle, &workflow, interrupts).await
}

/// Says what is reused of an execution, what runs again, and why.
fn reasons(snapshot: &Snapshot) -> Vec<String> {
    let (plan, state) = (snapshot.plan(), snapshot.state());
    let mut reused = Vec::new();
    let mut again = Vec::new();
    for (index, step) in state.steps().iter().enumerate() {
        let Some(path) = state.step_path(plan, Activation(index as u32)) else { continue };
        let is_own = !path.as_str().contains('.');
        match step.phase {
            Phase::Completed if is_own => reused.push(visible(path.as_str()).into_owned()),
            Phase::Starting | Phase::Running => {
                let attempt = step.attempts;
                again.push(format!("~ {} runs again: attempt {attempt} was interrupted", visible(path.as_str())));
            }
            phase if phase.is_open() && is_own => {
                let (done, all) = inside(plan, snapshot, path.as_str());
                reused.push(format!("{} ({done} of {})", visible(path.as_str()), count(all, "inner step")));
            }
            _ => {}
        }
    }
    let mut lines = Vec::new();
    if !reused.is_empty() {
        lines.push(format!("= {} reused", reused.join(", ")));
    }
    lines.extend(again);
    lines
}

/// How many steps inside of a composite have completed, and how many there are so far.
fn inside(plan: &Plan, snapshot: &Snapshot, composite: &str) -> (usize, usize) {
    let state = snapshot.state();
    let inner = state.steps().iter().enumerate().filter(|(index, _)| {
        let path = state.step_path(plan, Activation(*index as u32));
        path.is_some_and(|path| {
            let rest = path.as_str().strip_prefix(composite);
            rest.is_some_and(|rest| rest.starts_with(['.', '[', '#']))
        })
    });
    let phases: Vec<Phase> = inner.map(|(_, step)| step.phase).collect();
    (phases.iter().filter(|phase| **phase == Phase::Completed).count(), phases.len())
}
