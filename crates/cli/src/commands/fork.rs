//! `orchestr8 fork`

use std::path::PathBuf;

use clap::Args;
use orchestr8_core::{
    Engine,
    engine::{Checkpoint, ForkError, ForkRequest, Forked},
    store::StoreError,
};
use orchestr8_schema::{StepPath, ValidWorkflow, api::ForkBody};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::{
    Error, ErrorKind, Exit,
    assignment::{Assignment, read_input},
    client::Client,
    context::Context,
    data::find_execution,
    execution_name::ExecutionName,
    following::{Shown, Subject, follow_to_the_end},
    interrupt::Interrupts,
    server_address::ServerAddress,
    ui::Ui,
    wording::{count, visible},
    workflow_file::WorkflowFile,
};

use super::run::{check, follow_a_server, refused};

/// Starts a new execution from a checkpoint of another one, which stays as it is.
///
/// Results of steps that had completed there are taken over, each if its step gets the same input and its agent, version and
/// configuration are unchanged; any other step runs. Without `--from` and `--at` the checkpoint is where the execution has come to. With
/// `--with` an edited workflow file goes on where the former one stopped.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 fork @last --with repaired.yaml\n  \
                             orchestr8 fork 0f5b9a10 --from summarize -i depth=3")]
pub struct ForkArgs {
    /// The execution: its id, at least 6 digits from its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// Begin just before this step was first scheduled
    #[arg(long, value_name = "STEP PATH", conflicts_with = "at")]
    from: Option<String>,
    /// Begin behind the event of this number in the journal
    #[arg(long, value_name = "SEQUENCE")]
    at: Option<u64>,
    /// Part of the input, in the place of what the execution had: JSON if it parses, else text; `KEY=@PATH` reads a file
    #[arg(short, long = "input", value_name = "KEY=VALUE")]
    inputs: Vec<Assignment>,
    /// Whole input as JSON; `-` is standard input; `-i` overrides
    #[arg(long, value_name = "PATH")]
    input_file: Option<PathBuf>,
    /// Go on with this workflow file
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// Print each event as a line of JSON, and the execution last
    #[arg(long)]
    events: bool,
    /// Show each step's output
    #[arg(long)]
    show_output: bool,
    /// Do not follow it: print the new execution's id. A server has to execute it
    #[arg(long, conflicts_with_all = ["events", "show_output"])]
    detach: bool,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn fork(cx: &Context<'_>, args: &ForkArgs) -> Result<Exit, Error> {
    let registry = cx.agents.registry()?;
    let with = match &args.with {
        None => None,
        Some(path) => {
            let file = WorkflowFile::read(path)?.with_prompts(cx.agents.inline_prompts());
            let workflow = check(cx.ui, &file, &registry)?;
            Some((workflow, file.bundle(path)))
        }
    };
    if let Some(client) = args.server.find(cx)? {
        return there(cx, args, client, with);
    }
    if args.detach {
        return Err(Error::unreachable("no server runs that could execute it when this command has ended")
            .with_hint("orchestr8 start"));
    }
    let mut request = ForkRequest::at(args.checkpoint()?);
    if let Some((workflow, _)) = with {
        request = request.workflow(workflow);
    }
    let engine = cx.engine()?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(go_on(cx.ui, args, &engine, request));
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

/// Has a server fork it.
fn there(
    cx: &Context<'_>,
    args: &ForkArgs,
    client: Client,
    with: Option<(ValidWorkflow, Map<String, Value>)>,
) -> Result<Exit, Error> {
    let id = client.find(&args.id)?;
    let mut body = ForkBody::default();
    match args.checkpoint()? {
        Checkpoint::Before(path) => body.from_step = Some(path),
        Checkpoint::Sequence(sequence) => body.sequence = Some(sequence),
        _ => body.sequence = Some(client.execution(id)?.last_sequence),
    }
    body.input = args.input(|| client.input(id))?;
    if let Some((workflow, bundle)) = with {
        let document = serde_json::to_value(&workflow);
        body.workflow = Some(document.map_err(|error| Error::internal("writing JSON").with_source(error))?);
        body.bundle = bundle;
    }
    let answer = client.fork(id, &body).map_err(|error| match error.kind() {
        ErrorKind::Usage => error.with_hint(format!("orchestr8 inspect {}", id.short())),
        _ => error,
    })?;
    let fork = answer.accepted.execution_id;
    let dropped = answer.dropped.iter().map(|dropped| (dropped.step_path.as_str(), dropped.because.as_str()));
    say_forked(cx.ui, &id.short(), answer.forked_from.sequence, &fork.short(), answer.retained, dropped);
    if args.detach {
        if cx.ui.is_json() {
            cx.ui.print_json(&answer)?;
        } else {
            cx.ui.print(&fork.to_string())?;
        }
        return Ok(Exit::Success);
    }
    let shown = args.shown().of_definition(&client.workflow(fork)?);
    follow_a_server(cx.ui, &shown, client, fork)
}

/// Says what a fork takes over, and what not.
fn say_forked<'d>(
    ui: Ui,
    original: &str,
    sequence: u64,
    fork: &str,
    retained: u32,
    dropped: impl Iterator<Item = (&'d str, &'d str)>,
) {
    let steps = count(retained as usize, "step");
    ui.say(&format!("Forked {original} at {sequence} → {fork} · {steps} retained"));
    for (step_path, because) in dropped {
        ui.say(&format!("- {} is not retained: {because}", visible(step_path)));
    }
}

impl ForkArgs {
    fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(match (&self.from, self.at) {
            (Some(path), _) => {
                let path: Result<StepPath, _> = serde_json::from_value(Value::from(path.as_str()));
                Checkpoint::Before(path.map_err(|error| Error::usage("`--from` is no step path").with_source(error))?)
            }
            (None, Some(sequence)) => Checkpoint::Sequence(sequence),
            (None, None) => Checkpoint::Latest,
        })
    }

    fn shown(&self) -> Shown {
        Shown { events: self.events, outputs: self.show_output, ..Shown::default() }
    }

    /// The input of the fork, given that of the other execution; absent if it is the same.
    fn input(&self, known: impl FnOnce() -> Result<Value, Error>) -> Result<Option<Value>, Error> {
        if self.inputs.is_empty() && self.input_file.is_none() {
            return Ok(None);
        }
        let mut input = match &self.input_file {
            Some(path) => read_input(path)?,
            None => known()?.as_object().cloned().unwrap_or_default(),
        };
        for assignment in &self.inputs {
            input.insert(assignment.key().to_owned(), assignment.read()?);
        }
        Ok(Some(Value::Object(input)))
    }
}

async fn go_on(ui: Ui, args: &ForkArgs, engine: &Engine, mut request: ForkRequest) -> Result<Exit, Error> {
    let id = find_execution(engine, &args.id.to_string()).await?;
    let short = id.short();
    let unread = |error: StoreError| Error::usage(format!("execution {id} cannot be read")).with_source(error);
    let known = engine.snapshot(id).await.map_err(unread)?;
    let queued = known.state().queued().cloned();
    if let Some(input) = args.input(|| Ok(queued.map_or(Value::Null, |queued| Value::clone(&queued.input))))? {
        request = request.input(input);
    }
    let interrupts = Interrupts::listen()?;
    let forked = engine.fork(id, request).await.map_err(|error| match error {
        ForkError::Start(error) => refused(error),
        ForkError::Store(error) => unread(error),
        error => {
            Error::usage(format!("{short} cannot be forked: {error}")).with_hint(format!("orchestr8 inspect {id}"))
        }
    })?;
    let Forked { submission, from, retained, dropped, .. } = forked;
    let dropped = dropped.iter().map(|dropped| (dropped.step_path.as_str(), dropped.because));
    say_forked(ui, &short, from.sequence, &submission.handle.id().short(), retained, dropped);
    let shown = args.shown().of(submission.handle.plan());
    follow_to_the_end(ui, &shown, &Subject::Here(submission.handle), interrupts).await
}
