//! `orchestr8 run`

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use orchestr8_core::{Engine, StartError, StartRequest, agent_base::AgentRegistry, cassette::Cassette};
use orchestr8_schema::{CorrelationId, Millis, ValidWorkflow, api::JournalExport, source::Options};
use orchestr8_testing::TestClock;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Error, ErrorKind, Exit,
    agents::Agents,
    assignment::{Assignment, read_input},
    data::{DataDir, find_execution},
    following::{Shown, follow_to_the_end},
    interrupt::Interrupts,
    ui::Ui,
    wording::shell_word,
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
                             orchestr8 run greet.yaml --json | jq .outputs\n  \
                             orchestr8 run greet.yaml --replay @last")]
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
    /// Play what an execution has recorded, from the data directory or a file of `inspect --export`: nobody is called, nothing is stored
    #[arg(long, value_name = "ID|FILE", conflicts_with_all = ["inputs", "input_file", "variables"])]
    replay: Option<String>,
}

pub(crate) fn run(ui: Ui, args: &RunArgs, data: &DataDir, agents: &Agents) -> Result<Exit, Error> {
    if args.file.as_os_str() == "-" && args.input_file.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Error::usage("standard input cannot be both the workflow and its input"));
    }
    let registry = agents.registry()?;
    if let Some(recorded) = &args.replay {
        return replay(ui, args, recorded, data, &registry);
    }
    let workflow = args.read_file(ui, &registry)?;
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
        data.prune(&store, &engine).await;
        exit
    });
    // After a further Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

/// Plays a recording, in a time that passes as fast as nobody has anything to do.
fn replay(ui: Ui, args: &RunArgs, recorded: &str, data: &DataDir, registry: &AgentRegistry) -> Result<Exit, Error> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    // A redrawn terminal would hold the time up that passes by itself.
    let ui = Ui { live: false, ..ui };
    runtime.block_on(async {
        let cassette = load(recorded, data, registry).await?;
        let stand_ins = cassette
            .registry(registry)
            .map_err(|error| Error::usage(format!("`{recorded}` cannot be replayed")).with_source(error))?;
        let workflow = args.read_file(ui, &stand_ins)?;
        let clock = TestClock::starting_at(cassette.began_at(), TestClock::SEED);
        let engine = Engine::builder()
            .registry(stand_ins)
            .clock(Arc::new(clock))
            .build()
            .map_err(|error| Error::internal("making the engine").with_source(error))?;
        let request = args.limit(cassette.request(&workflow));
        let interrupts = Interrupts::listen()?;
        let execution = engine.submit(request).await.map_err(refused)?.handle;
        let attending = tokio::spawn({
            let (cassette, execution) = (cassette.clone(), execution.clone());
            async move { cassette.attend(&execution).await }
        });
        let exit = follow_to_the_end(ui, &args.shown(), &execution, &workflow, interrupts).await;
        attending.abort();
        let misses: Vec<_> =
            cassette.misses().iter().map(|miss| format!("step {}: {}", miss.step_path, miss.because)).collect();
        match misses[..] {
            [] => exit,
            _ => Err(Error::new(ErrorKind::Invalid, format!("the recording does not fit: {}", misses.join("; ")))
                .with_hint(format!("orchestr8 run {}", shell_word(&args.file.to_string_lossy())))),
        }
    })
}

/// Reads a recording: a file, or an execution of the data directory.
async fn load(recorded: &str, data: &DataDir, agents: &AgentRegistry) -> Result<Cassette, Error> {
    let path = Path::new(recorded);
    if path.is_file() {
        let unread = || {
            Error::usage(format!("`{recorded}` is no exported journal"))
                .with_hint("orchestr8 inspect @last --export journal.json")
        };
        let text = fs::read_to_string(path).map_err(|error| unread().with_source(error))?;
        let export: JournalExport = serde_json::from_str(&text).map_err(|error| unread().with_source(error))?;
        return Ok(Cassette::of_export(&export));
    }
    let engine = Engine::builder()
        .registry(agents.clone())
        .store(data.open_store()?)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let id = find_execution(&engine, recorded).await?;
    let snapshot = engine.snapshot(id).await;
    let snapshot =
        snapshot.map_err(|error| Error::usage(format!("execution {id} cannot be read")).with_source(error))?;
    Ok(Cassette::of(&snapshot))
}

impl RunArgs {
    /// Reads and checks the workflow file, and shows what is to be said about it.
    fn read_file(&self, ui: Ui, agents: &AgentRegistry) -> Result<ValidWorkflow, Error> {
        let file = WorkflowFile::read(&self.file)?;
        let workflow = file.check(Options::new().agents(agents)).map_err(Error::invalid_file)?;
        if !workflow.warnings().is_empty() {
            ui.show(&file.report(workflow.warnings().to_vec()));
        }
        Ok(workflow)
    }

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
        Ok(self.limit(StartRequest::new(workflow, Value::Object(input)).variables(variables).env(env)))
    }

    /// Adds what is said of every execution, whatever its input.
    fn limit(&self, mut request: StartRequest) -> StartRequest {
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout.as_duration());
        }
        if let Some(id) = &self.correlation_id {
            request = request.correlation_id(id.clone());
        }
        request
    }

    fn shown(&self) -> Shown {
        Shown { events: self.events, outputs: self.show_output, known: 0 }
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
    follow_to_the_end(ui, &args.shown(), &execution, workflow, interrupts).await
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
