//! `orchestr8 fork`

use std::path::PathBuf;

use clap::Args;
use orchestr8_core::{
    Engine,
    engine::{Checkpoint, ForkError, ForkRequest, Forked},
    store::StoreError,
};
use orchestr8_schema::{StepPath, source::Options};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    Error, Exit,
    agents::Agents,
    assignment::{Assignment, read_input},
    data::{DataDir, find_execution},
    following::{Shown, follow_to_the_end},
    interrupt::Interrupts,
    ui::Ui,
    wording::{count, visible},
    workflow_file::WorkflowFile,
};

use super::run::refused;

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
    id: String,
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
}

pub(crate) fn fork(ui: Ui, args: &ForkArgs, data: &DataDir, agents: &Agents) -> Result<Exit, Error> {
    let registry = agents.registry()?;
    let mut request = ForkRequest::at(args.checkpoint()?);
    if let Some(path) = &args.with {
        let file = WorkflowFile::read(path)?;
        let workflow = file.check(Options::new().agents(&registry)).map_err(Error::invalid_file)?;
        if !workflow.warnings().is_empty() {
            ui.show(&file.report(workflow.warnings().to_vec()));
        }
        request = request.workflow(workflow);
    }
    let engine = Engine::builder()
        .registry(registry)
        .store(data.open_store()?)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(go_on(ui, args, &engine, request));
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
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

    /// The input of the fork, given that of the other execution; absent if it is the same.
    fn input(&self, known: &Value) -> Result<Option<Value>, Error> {
        if self.inputs.is_empty() && self.input_file.is_none() {
            return Ok(None);
        }
        let mut input = match &self.input_file {
            Some(path) => read_input(path)?,
            None => known.as_object().cloned().unwrap_or_default(),
        };
        for assignment in &self.inputs {
            input.insert(assignment.key().to_owned(), assignment.read()?);
        }
        Ok(Some(Value::Object(input)))
    }
}

async fn go_on(ui: Ui, args: &ForkArgs, engine: &Engine, mut request: ForkRequest) -> Result<Exit, Error> {
    let id = find_execution(engine, &args.id).await?;
    let short = id.short();
    let unread = |error: StoreError| Error::usage(format!("execution {id} cannot be read")).with_source(error);
    let known = engine.snapshot(id).await.map_err(unread)?;
    let queued = known.state().queued().cloned();
    if let Some(input) = args.input(queued.as_ref().map_or(&Value::Null, |queued| &queued.input))? {
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
    let steps = count(retained as usize, "step");
    ui.say(&format!("Forked {short} at {} → {} · {steps} retained", from.sequence, submission.handle.id().short()));
    for dropped in &dropped {
        ui.say(&format!("- {} is not retained: {}", visible(dropped.step_path.as_str()), dropped.because));
    }
    let shown = Shown { events: args.events, outputs: args.show_output, known: 0 };
    let workflow = submission.handle.plan().workflow().clone();
    follow_to_the_end(ui, &shown, &submission.handle, &workflow, interrupts).await
}
