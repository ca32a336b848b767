//! `orchestr8 run`

use std::path::PathBuf;

use clap::Args;
use orchestr8_core::{Engine, StartError, StartRequest};
use orchestr8_schema::{CorrelationId, Millis, ValidWorkflow, source::Options};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::{
    Error, ErrorKind, Exit,
    agents::Agents,
    assignment::{Assignment, read_input},
    data::{self, DataDir},
    following::{Shown, follow_to_the_end},
    interrupt::Interrupts,
    ui::Ui,
    workflow_file::WorkflowFile,
};

/// Executes a workflow file and prints its outputs.
///
/// The file is checked first. The outputs go to standard output as one line of JSON, with `--format json` the whole execution;
/// steps and summary go to standard error. The first Ctrl-C cancels and lets running steps end for 5 seconds; one more does not
/// wait for them. What has happened is stored in the data directory, so that `orchestr8 resume` goes on should the program die.
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

pub(crate) fn run(ui: Ui, args: &RunArgs, data: &DataDir, agents: &Agents) -> Result<Exit, Error> {
    if args.file.as_os_str() == "-" && args.input_file.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Error::usage("standard input cannot be both the workflow and its input"));
    }
    let registry = agents.registry()?;
    let file = WorkflowFile::read(&args.file)?;
    let workflow = file.check(Options::new().agents(&registry)).map_err(Error::invalid_file)?;
    if !workflow.warnings().is_empty() {
        ui.show(&file.report(workflow.warnings().to_vec()));
    }
    let request = args.to_request(&workflow)?;
    let store = data.open_store()?;
    let engine = Engine::builder()
        .registry(registry)
        .store(store.clone())
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(async {
        let exit = execute(ui, args, &engine, &workflow, request).await;
        data::prune(&store, &engine).await;
        exit
    });
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
    let interrupts = Interrupts::listen()?;
    let execution = engine.submit(request).await.map_err(refused)?.handle;
    let shown = Shown { events: args.events, outputs: args.show_output, known: 0 };
    follow_to_the_end(ui, &shown, &execution, workflow, interrupts).await
}

pub(super) fn refused(error: StartError) -> Error {
    match error {
        StartError::Input(violations) => {
            let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
            Error::new(ErrorKind::Invalid, format!("the input does not fit the workflow: {}", list.join("; ")))
                .with_hint("give the input with -i KEY=VALUE or --input-file PATH")
        }
        error => Error::internal("starting the execution").with_source(error),
    }
}
