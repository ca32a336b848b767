//! `orchestr8 resume`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use orchestr8_core::{
    Engine,
    engine::{ResumeError, TakeUpError},
    store::StoreError,
};
use orchestr8_schema::{
    api::{Entry, Execution, Rerun, ResumeRequest},
    policy::Budget,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::run::follow_a_server;
use crate::{
    Error, Exit,
    client::{Client, JournalFilter},
    context::Context,
    data::find_execution,
    execution_name::ExecutionName,
    following::{Shown, Subject, follow_to_the_end},
    interrupt::Interrupts,
    server_address::ServerAddress,
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
    id: ExecutionName,
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
    /// Do not follow it. A server has to go on with it
    #[arg(long, conflicts_with_all = ["events", "show_output"])]
    detach: bool,
    #[command(flatten)]
    server: ServerAddress,
}

impl ResumeArgs {
    /// What is shown of an execution of which so much is known.
    fn shown(&self, before: &Execution, reused: u32) -> Shown {
        let (known, reused) = (before.last_sequence, Some(reused));
        Shown { events: self.events, outputs: self.show_output, known, reused, ..Shown::default() }
    }

    fn budget(&self) -> Option<Budget> {
        let mut budget = Budget::default();
        (budget.max_cost_usd, budget.max_tokens) = (self.max_cost, self.max_tokens);
        Some(budget).filter(|budget| *budget != Budget::default())
    }
}

pub(crate) fn resume(cx: &Context<'_>, args: &ResumeArgs) -> Result<Exit, Error> {
    match args.server.find(cx)? {
        Some(client) => there(cx, args, client),
        None => match here(cx, args) {
            // Whoever holds it may serve others.
            Err(error) => match error.holder().and_then(|process| cx.server_of(process)) {
                Some(client) => there(cx, args, client),
                None => Err(error),
            },
            ended => ended,
        },
    }
}

/// Has a server go on with it.
fn there(cx: &Context<'_>, args: &ResumeArgs, client: Client) -> Result<Exit, Error> {
    let id = client.find(&args.id)?;
    let before = client.execution(id)?;
    let types = Some("map.opened,map.item-finished".to_owned());
    let items = items(&client.journal(id, &JournalFilter { types, ..JournalFilter::default() })?.entries);
    let request = ResumeRequest { reason: None, budget: args.budget() };
    let answer = client.resume(id, &request).map_err(|error| match before.status {
        // What has ended for good can be begun anew from any of its checkpoints.
        status if status.is_terminal() => error.with_hint(format!("orchestr8 fork {}", id.short())),
        _ => error,
    })?;
    if args.detach {
        if cx.ui.is_json() {
            cx.ui.print_json(&answer)?;
        } else {
            reasons(&before, &items, answer.rerun).iter().for_each(|line| cx.ui.say(line));
            cx.ui.print(&format!("Resumed {}", id.short()))?;
        }
        return Ok(Exit::Success);
    }
    reasons(&before, &items, answer.rerun).iter().for_each(|line| cx.ui.say(line));
    let shown = args.shown(&before, answer.reused).of_definition(&client.workflow(id)?);
    follow_a_server(cx.ui, &shown, client, id)
}

/// Goes on with it in this process.
fn here(cx: &Context<'_>, args: &ResumeArgs) -> Result<Exit, Error> {
    if args.detach {
        return Err(Error::unreachable("no server runs that could go on with it when this command has ended")
            .with_hint("orchestr8 start"));
    }
    let engine = cx.engine()?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(go_on(cx.ui, args, &engine));
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

async fn go_on(ui: Ui, args: &ResumeArgs, engine: &Engine) -> Result<Exit, Error> {
    let id = find_execution(engine, &args.id.to_string()).await?;
    let short = id.short();
    let interrupts = Interrupts::listen()?;
    let resumed = engine.resume(id, None, args.budget()).await.map_err(|error| match error {
        ResumeError::TakeUp(TakeUpError::Held(holder)) => {
            Error::unreachable(format!("{short} is driven by process {} on {}", holder.process, holder.host))
                .with_hint(format!("orchestr8 inspect {id}"))
                .with_holder(holder.process)
        }
        ResumeError::TakeUp(TakeUpError::Nothing) => {
            Error::usage(format!("{short} has just ended, or was taken up by another process"))
        }
        ResumeError::TakeUp(TakeUpError::Store(error @ StoreError::Corrupt { .. })) => {
            Error::usage(format!("execution {id} cannot be read")).with_source(error)
        }
        ResumeError::TakeUp(error) => Error::internal(format!("going on with {short}")).with_source(error),
        error @ ResumeError::Refused(_) => {
            Error::usage(format!("{short} cannot go on: {error}")).with_hint(format!("orchestr8 fork {short}"))
        }
        error => Error::usage(format!("{short} cannot go on: {error}")),
    })?;
    let (before, items) = (resumed.before.to_body(), items(&resumed.before.journal().entries));
    let (reused, again) = resumed.rerun();
    reasons(&before, &items, again).iter().for_each(|line| ui.say(line));
    let shown = args.shown(&before, reused).of(resumed.handle.plan());
    follow_to_the_end(ui, &shown, &Subject::Here(resumed.handle), interrupts).await
}

/// How many items of each map have come to a value, and how many it has.
fn items(entries: &[Entry]) -> BTreeMap<String, (usize, usize)> {
    let mut maps = BTreeMap::new();
    for entry in entries {
        let Some(path) = &entry.step_path else { continue };
        match entry.kind.as_str() {
            "map.opened" => {
                let all = entry.data.get("items").map_or(0, |items| match items {
                    Value::Array(items) => items.len(),
                    Value::Object(items) => items.len(),
                    _ => 0,
                });
                maps.insert(path.clone(), (0, all));
            }
            "map.item-finished" if entry.data.get("status").is_some_and(|status| status == "completed") => {
                maps.entry(path.clone()).and_modify(|(done, _)| *done += 1);
            }
            _ => {}
        }
    }
    maps
}

/// Says what is reused of an execution, what runs again, and why.
fn reasons(before: &Execution, items: &BTreeMap<String, (usize, usize)>, again: Vec<Rerun>) -> Vec<String> {
    let mut own: Vec<(&str, bool, usize, usize)> = Vec::new();
    for step in &before.steps {
        let is_done = step.status == "completed";
        match own.last_mut().filter(|(path, ..)| is_inside(&step.step_path, path)) {
            Some((_, _, done, all)) => (*done, *all) = (*done + usize::from(is_done), *all + 1),
            None => own.push((&step.step_path, is_done, 0, 0)),
        }
    }
    let reused = own.into_iter().filter_map(|(path, is_done, done, all)| match is_done {
        true => Some(visible(path).into_owned()),
        // A composite that had opened goes on where it was.
        false if done > 0 => {
            let share = match items.get(path) {
                Some((done, all)) => format!("{done} of {}", count(*all, "item")),
                None => format!("{done} of {}", count(all, "inner step")),
            };
            Some(format!("{} ({share})", visible(path)))
        }
        false => None,
    });
    let reused: Vec<_> = reused.collect();
    let again: BTreeSet<_> = again.into_iter().map(|step| (step.step_path, step.because)).collect();
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

/// Whether a step is one of those inside of a composite.
fn is_inside(path: &str, composite: &str) -> bool {
    path.strip_prefix(composite).is_some_and(|rest| rest.starts_with(['.', '[', '#']))
}
