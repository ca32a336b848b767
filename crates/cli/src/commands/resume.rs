//! `orchestr8 resume`

use std::collections::BTreeSet;

use clap::Args;
use orchestr8_core::{
    Engine, Snapshot,
    engine::{ResumeError, TakeUpError},
    machine::Phase,
    plan::Plan,
    store::StoreError,
};
use orchestr8_schema::{event::Activation, policy::Budget};
use tokio::runtime::Runtime;

use crate::{
    Error, Exit,
    agents::Agents,
    data::{DataDir, find_execution},
    following::{Shown, follow_to_the_end},
    interrupt::Interrupts,
    ui::Ui,
    wording::{count, visible},
};

/// The most steps of which it is said why they run again.
const MOST_REASONS: usize = 20;

/// Goes on with an execution whose process died, that is paused, or that failed.
///
/// What was committed is not run again: completed steps keep their results. A step that was interrupted begins again under the same
/// idempotency key; waits keep their times. Of an execution that failed, exactly the unfinished steps run again, with fresh attempts;
/// what it has used of its budget stays used, and its time limit counts anew. One that has undone what it did cannot go on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 resume @last\n  orchestr8 resume 0f5b9a10 --max-cost 2.50")]
pub struct ResumeArgs {
    /// The execution: its id, at least 6 digits from its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: String,
    /// Raise the limit on the cost of models, in US dollars, of an execution that failed
    #[arg(long, value_name = "USD")]
    max_cost: Option<f64>,
    /// Raise the limit on the tokens of models, of an execution that failed
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<u64>,
    /// Print each event as a line of JSON, and the execution last
    #[arg(long)]
    events: bool,
    /// Show each step's output
    #[arg(long)]
    show_output: bool,
}

impl ResumeArgs {
    fn budget(&self) -> Option<Budget> {
        let mut budget = Budget::default();
        (budget.max_cost_usd, budget.max_tokens) = (self.max_cost, self.max_tokens);
        Some(budget).filter(|budget| *budget != Budget::default())
    }
}

pub(crate) fn resume(ui: Ui, args: &ResumeArgs, data: &DataDir, agents: &Agents) -> Result<Exit, Error> {
    let engine = Engine::builder()
        .registry(agents.registry()?)
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
    let short = id.short();
    let interrupts = Interrupts::listen()?;
    let resumed = engine.resume(id, None, args.budget()).await.map_err(|error| match error {
        ResumeError::TakeUp(TakeUpError::Held(holder)) => {
            Error::unreachable(format!("{short} is driven by process {} on {}", holder.process, holder.host))
                .with_hint(format!("orchestr8 inspect {id}"))
        }
        ResumeError::TakeUp(TakeUpError::Nothing) => {
            Error::usage(format!("{short} has just ended, or was taken up by another process"))
        }
        ResumeError::TakeUp(TakeUpError::Store(error @ StoreError::Corrupt { .. })) => {
            Error::usage(format!("execution {id} cannot be read")).with_source(error)
        }
        ResumeError::TakeUp(error) => Error::internal(format!("going on with {short}")).with_source(error),
        error => Error::usage(format!("{short} cannot go on: {error}")),
    })?;
    for line in reasons(&resumed.before) {
        ui.say(&line);
    }
    let known = resumed.before.events().len() as u64;
    let shown = Shown { events: args.events, outputs: args.show_output, known };
    let workflow = resumed.before.plan().workflow().clone();
    follow_to_the_end(ui, &shown, &resumed.handle, &workflow, interrupts).await
}

/// Says what is reused of an execution, what runs again, and why.
fn reasons(before: &Snapshot) -> Vec<String> {
    let (plan, state) = (before.plan(), before.state());
    let (_, again) = before.rerun();
    let again: BTreeSet<_> = again.into_iter().map(|step| (step.step_path, step.because)).collect();
    let mut reused = Vec::new();
    for (index, step) in state.own_steps().iter().enumerate() {
        let Some(path) = state.step_path(plan, Activation(index as u32)) else { continue };
        let (done, all) = inside(plan, before, path.as_str());
        let shown = visible(path.as_str());
        match step.phase {
            Phase::Completed => reused.push(shown.into_owned()),
            // A composite that had opened goes on where it was.
            _ if all > 0 && done > 0 => reused.push(format!("{shown} ({done} of {})", count(all, "inner step"))),
            _ => {}
        }
    }
    let mut lines = Vec::new();
    if !reused.is_empty() {
        lines.push(format!("= {} reused", reused.join(", ")));
    }
    let rest = again.len().saturating_sub(MOST_REASONS);
    let shown = again.into_iter().take(MOST_REASONS);
    lines
        .extend(shown.map(|(path, because)| format!("~ {} runs again: {}", visible(path.as_str()), visible(&because))));
    if rest > 0 {
        lines.push(format!("~ and {} more", count(rest, "step")));
    }
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
