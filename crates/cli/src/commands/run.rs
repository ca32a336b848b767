//! `orchestr8 run`

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use orchestr8_core::{
    Cancellation, Engine, ExecutionHandle, Outcome, StartError, StartRequest, execution::CancelError,
    journal::Renderer, store::StoreError,
};
use orchestr8_schema::{
    CorrelationId, Millis, ValidWorkflow,
    api::{Execution, ExecutionStatus},
    source::Options,
};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::{
    Error, ErrorKind, Exit, agents,
    assignment::{Assignment, read_input},
    interrupt::{Interrupts, Urgency},
    progress::{Progress, reason},
    ui::{BAD, DIM, Ui},
    wording::{count, duration, shell_word, visible},
    workflow_file::WorkflowFile,
};

/// How long running attempts may take to end after the first Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);
/// How often a terminal is redrawn.
const FRAME: Duration = Duration::from_millis(100);

/// Executes a workflow file and prints its outputs.
///
/// The file is checked first. The outputs go to standard output as one line of JSON, with `--format json` the whole execution;
/// steps and summary go to standard error. The first Ctrl-C cancels and lets running steps end for 5 seconds; one more does not
/// wait for them.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 run greet.yaml -i name=Ada\n  \
                             orchestr8 run review.yaml --input-file pr.json --var depth=2 --timeout 5m\n  \
                             orchestr8 run greet.yaml --json | jq .outputs")]
pub struct RunArgs {
    /// Workflow file in JSON or YAML; `-` is standard input
    file: PathBuf,
    /// Part of the input: JSON if it parses, else text; `KEY=@PATH` reads a file
    #[arg(short, long = "input", value_name = "KEY=VALUE")]
    inputs: Vec<Assignment>,
    /// Whole input as JSON; `-` is standard input; `-i` overrides
    #[arg(long, value_name = "PATH")]
    input_file: Option<PathBuf>,
    /// Overrides a variable of `context.variables`; values as for `--input`
    #[arg(long = "var", value_name = "KEY=VALUE")]
    variables: Vec<Assignment>,
    /// Limit on the whole execution, such as `30s`; can only tighten the file's own
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Millis>,
    /// What ties the execution to its cause, in journal, logs and traces
    #[arg(long, value_name = "ID")]
    correlation_id: Option<CorrelationId>,
    /// Print each event as a line of JSON, and the execution last
    #[arg(long)]
    events: bool,
    /// Show each step's output
    #[arg(long)]
    show_output: bool,
    /// Execute in this process, as is the default
    #[arg(long)]
    local: bool,
}

pub(crate) fn run(ui: Ui, args: &RunArgs) -> Result<Exit, Error> {
    if args.file.as_os_str() == "-" && args.input_file.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Error::usage("standard input cannot be both the workflow and its input"));
    }
    let registry = agents::built_in()?;
    let file = WorkflowFile::read(&args.file)?;
    let workflow = file.check(Options::new().agents(&registry)).map_err(Error::invalid_file)?;
    if !workflow.warnings().is_empty() {
        ui.show(&file.report(workflow.warnings().to_vec()));
    }
    let request = args.to_request(&workflow)?;
    let engine = Engine::builder()
        .registry(registry)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(execute(ui, args, &engine, &workflow, request));
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

impl RunArgs {
    fn to_request(&self, workflow: &ValidWorkflow) -> Result<StartRequest, Error> {
        let mut input = match &self.input_file {
            None => Map::new(),
            Some(path) => read_input(path)?,
        };
        for assignment in &self.inputs {
            input.insert(assignment.key().to_owned(), assignment.read()?);
        }
        let mut variables = Map::new();
        for assignment in &self.variables {
            variables.insert(assignment.key().to_owned(), assignment.read()?);
        }
        let allowed = &workflow.workflow().allowed_env_vars;
        let env = allowed.iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
        let mut request = StartRequest::new(workflow, Value::Object(input)).variables(variables).env(env);
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout.as_duration());
        }
        if let Some(id) = &self.correlation_id {
            request = request.correlation_id(id.clone());
        }
        Ok(request)
    }
}

async fn execute(
    ui: Ui,
    args: &RunArgs,
    engine: &Engine,
    workflow: &ValidWorkflow,
    request: StartRequest,
) -> Result<Exit, Error> {
    // Before the execution exists, so that no signal finds it unattended.
    let mut interrupts = Interrupts::listen()?;
    let execution = engine.submit(request).await.map_err(refused)?.handle;
    // Lines of events and a redrawn terminal would overwrite each other.
    let live = ui.live && !args.events;
    let mut progress = Progress::new(Ui { live, ..ui }, workflow, args.show_output);
    let followed = follow(ui, args, &execution, &mut interrupts, &mut progress).await?;
    if followed == Followed::Left {
        return Ok(Exit::Interrupted);
    }
    let outcome =
        execution.outcome().await.map_err(|error| Error::internal("following the execution").with_source(error))?;
    report(ui, args, &outcome)?;
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
    args: &RunArgs,
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
                let Some((_, event)) = event.map_err(following)? else { break };
                let Some(entry) = renderer.entry(&event) else { continue };
                if args.events {
                    ui.print_json(&entry)?;
                }
                progress.observe(&entry);
            }
            _ = frames.tick(), if progress.is_live() => progress.tick(),
        }
    }
    progress.erase();
    Ok(followed)
}

/// Does what a signal asks for.
async fn interrupt(ui: Ui, execution: &ExecutionHandle, urgency: Urgency) -> Result<Followed, Error> {
    let (grace, said) = match urgency {
        Urgency::Graceful => {
            let id = execution.id().short();
            (GRACE, format!("Cancelling {id} (grace {}s); again to force", GRACE.as_secs()))
        }
        Urgency::Forced => (Duration::ZERO, "Forcing the end; again to leave at once".to_owned()),
        Urgency::Immediate => return Ok(Followed::Left),
    };
    let cancellation = Cancellation::new("interrupted by a signal").grace_period(grace);
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

fn report(ui: Ui, args: &RunArgs, outcome: &Outcome) -> Result<(), Error> {
    let execution = outcome.to_body();
    summarise(ui, args, &execution);
    if args.events || ui.is_json() {
        return ui.print_json(&execution);
    }
    match &execution.outputs {
        Some(outputs) => ui.print_json(outputs),
        None => Ok(()),
    }
}

fn summarise(ui: Ui, args: &RunArgs, execution: &Execution) {
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
            if !args.events && args.file.as_os_str() != "-" {
                ui.hint(&format!("orchestr8 run {} --events", shell_word(&args.file.to_string_lossy())));
            }
        }
    }
}

fn refused(error: StartError) -> Error {
    match error {
        StartError::Input(violations) => {
            let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
            Error::new(ErrorKind::Invalid, format!("the input does not fit the workflow: {}", list.join("; ")))
                .with_hint("give the input with -i KEY=VALUE or --input-file PATH")
        }
        error => Error::internal("starting the execution").with_source(error),
    }
}
