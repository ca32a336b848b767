//! `orchestr8 run`

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use orchestr8_core::{
    Engine, ExecutionHandle, StartError, StartRequest,
    agent_base::{AgentRegistry, Clock as _, model::Models, pattern},
    cassette::Cassette,
    clock::{self, SystemClock},
};
use orchestr8_schema::{
    CorrelationId, ExecutionId, IdempotencyKey, Millis, ValidWorkflow, api::JournalExport, canonical,
    config::AccessPolicy, policy::Budget, source::Options,
};
use orchestr8_testing::TestClock;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Error, ErrorKind, Exit,
    assignment::{Assignment, read_input},
    client::Client,
    context::{Context, is_interactive},
    data::{DataDir, find_execution},
    following::{Shown, Subject, follow_to_the_end},
    interrupt::Interrupts,
    server_address::ServerAddress,
    ui::Ui,
    wording::shell_word,
    workflow_file::WorkflowFile,
};
#[cfg(feature = "server")]
use crate::{
    browser,
    server_process::{self, Found, Launch, launch},
};

/// Executes a workflow file and prints its outputs.
///
/// The file is checked first. The outputs go to standard output as one line of JSON, with `--format json` the whole execution;
/// steps and summary go to standard error. The first Ctrl-C cancels and lets running steps end for 5 seconds; one more does not
/// wait for them. What has happened is stored in the data directory, so that `orchestr8 resume` goes on should the program die.
///
/// A server that runs executes it; at a terminal one is started if there is none, and the dashboard is opened. Otherwise it is executed
/// in this process.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 run greet.yaml -i name=Ada\n  \
                             orchestr8 run review.yaml --input-file pr.json --var depth=2 --timeout 5m\n  \
                             orchestr8 run greet.yaml --json | jq .outputs\n  \
                             orchestr8 run greet.yaml --record greet.json\n  orchestr8 run greet.yaml --replay greet.json")]
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
    /// Limit on the cost of models, in US dollars; can only tighten the file's own
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<f64>,
    /// Limit on the tokens of models; can only tighten the file's own
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    max_tokens: Option<u64>,
    /// What ties the execution to its cause, in journal, logs and traces
    #[arg(long, value_name = "ID")]
    correlation_id: Option<CorrelationId>,
    /// Print each event as a line of JSON, and the execution last
    #[arg(long)]
    events: bool,
    /// Show each step's output
    #[arg(long)]
    show_output: bool,
    /// Ask nothing at the terminal: approvals are answered elsewhere
    #[arg(long)]
    no_input: bool,
    /// Start and do not follow: print the execution's id. A server has to execute it
    #[arg(long, conflicts_with_all = ["events", "show_output"])]
    detach: bool,
    /// Follow to the end, as is the default
    #[arg(long, conflicts_with = "detach")]
    wait: bool,
    /// The same key starts one execution, however often it is run [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<IdempotencyKey>,
    /// Address of the server, should one be started
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Do not open the dashboard
    #[arg(long, conflicts_with = "browser")]
    no_browser: bool,
    /// Open the dashboard with this program [default: dashboard.browser of the settings]
    #[arg(long, value_name = "PROGRAM")]
    browser: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
    /// Record what happens for --replay, in a file; secrets are hidden in it. Executes in this process
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "detach", "server"])]
    record: Option<PathBuf>,
    /// Play what an execution has recorded, from the data directory or a file of `inspect --export`: nobody is called, nothing is stored
    #[arg(long, value_name = "ID|FILE", conflicts_with_all = ["inputs", "input_file", "variables", "detach", "server"])]
    replay: Option<String>,
}

pub(crate) fn run(cx: &Context<'_>, args: &RunArgs) -> Result<Exit, Error> {
    if args.file.as_os_str() == "-" && args.input_file.as_ref().is_some_and(|path| path.as_os_str() == "-") {
        return Err(Error::usage("standard input cannot be both the workflow and its input"));
    }
    if let Some(recorded) = &args.replay {
        return replay(cx.ui, args, recorded, &cx.data()?, &cx.agents.without_models()?);
    }
    let registry = cx.agents.registry()?;
    let file = WorkflowFile::read(&args.file)?.with_prompts(cx.agents.inline_prompts());
    let workflow = check(cx.ui, &file, &registry)?;
    let asked = Asked::read(args, &workflow, &cx.settings.config().policy.env)?;
    match args.find_server(cx)? {
        Some(client) => there(cx, args, client, &file, &workflow, &asked),
        None => here(cx, args, &workflow, asked),
    }
}

/// Reads an amount of money.
fn dollars(text: &str) -> Result<f64, String> {
    let amount = text.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount > 0.0);
    amount.ok_or_else(|| format!("`{text}` is no amount in US dollars, such as 0.50"))
}

/// The most characters of an idempotency key.
const MAX_KEY: usize = 255;

/// What an execution is asked for with.
struct Asked {
    input: Map<String, Value>,
    variables: Map<String, Value>,
    env: Map<String, Value>,
    correlation_id: CorrelationId,
    key: IdempotencyKey,
}

impl Asked {
    fn read(args: &RunArgs, workflow: &ValidWorkflow, policy: &AccessPolicy) -> Result<Self, Error> {
        let mut input = match &args.input_file {
            None => Map::new(),
            Some(path) => read_input(path)?,
        };
        for assignment in &args.inputs {
            input.insert(assignment.key().to_owned(), assignment.read()?);
        }
        let mut variables = Map::new();
        for assignment in &args.variables {
            variables.insert(assignment.key().to_owned(), assignment.read()?);
        }
        let allowed = &workflow.workflow().allowed_env_vars;
        let env: Map<_, _> =
            allowed.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?.into()))).collect();
        let is_denied = |name: &&String| {
            policy.allow.as_ref().is_some_and(|allow| !allow.iter().any(|pattern| pattern::matches(pattern, name)))
        };
        if let Some(name) = env.keys().find(is_denied) {
            let message = format!("the workflow reads the variable `{name}`, which `policy.env.allow` does not list");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let clock = SystemClock::new();
        let correlation_id = args.correlation_id.clone().unwrap_or_else(|| clock::correlation_id(&clock));
        let key = match &args.idempotency_key {
            Some(key) => key.clone(),
            None => default_key(&correlation_id, clock.now().as_unix_millis())?,
        };
        Ok(Self { input, variables, env, correlation_id, key })
    }

    /// The body of a request for it.
    fn to_body(&self, args: &RunArgs, workflow: &ValidWorkflow, bundle: Map<String, Value>) -> Value {
        let mut body = json!({
            "workflow": workflow,
            "input": self.input,
            "variables": self.variables,
            "env": self.env,
            "context": { "correlationId": self.correlation_id, "source": "cli" },
        });
        if let Some(timeout) = args.timeout {
            body["context"]["timeout"] = json!(timeout);
        }
        if let Some(budget) = args.budget() {
            body["budget"] = json!(budget);
        }
        if !bundle.is_empty() {
            body["bundle"] = Value::Object(bundle);
        }
        body
    }
}

/// `cli-<correlation id>-<ms>`, as long as a key may be.
fn default_key(correlation_id: &CorrelationId, millis: u64) -> Result<IdempotencyKey, Error> {
    let tail = format!("-{millis}");
    let id: String = correlation_id.as_str().chars().take(MAX_KEY - 4 - tail.len()).collect();
    format!("cli-{id}{tail}").parse().map_err(|error| Error::internal("making an idempotency key").with_source(error))
}

/// Has a server execute it.
fn there(
    cx: &Context<'_>,
    args: &RunArgs,
    mut client: Client,
    file: &WorkflowFile,
    workflow: &ValidWorkflow,
    asked: &Asked,
) -> Result<Exit, Error> {
    client.correlation_id(asked.correlation_id.clone());
    let body = asked.to_body(args, workflow, file.bundle(&args.file));
    let accepted = client.execute(&body, Some(asked.key.as_str()))?;
    let id = accepted.execution_id;
    if args.detach {
        if cx.ui.is_json() {
            cx.ui.print_json(&accepted)?;
        } else {
            cx.ui.say(&format!("Started · {}/?execution={id}", client.url_of_server()));
            cx.ui.print(&id.to_string())?;
        }
        return Ok(Exit::Success);
    }
    let shown = args.shown().of_definition(&client.workflow(id)?);
    follow_a_server(cx.ui, &shown, client, id)
}

/// Executes it in this process.
fn here(cx: &Context<'_>, args: &RunArgs, workflow: &ValidWorkflow, asked: Asked) -> Result<Exit, Error> {
    let data = cx.data()?;
    let store = data.open_store()?;
    let engine = cx.engine_on(store.clone())?;
    let digest = canonical::digest(&asked.to_body(args, workflow, Map::new()));
    let Asked { input, variables, env, correlation_id, key } = asked;
    let env = env.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    let request = StartRequest::new(workflow, Value::Object(input)).variables(variables).env(env);
    let request = args.limit(request.correlation_id(correlation_id));
    // A key of one's own stands for all that is asked for; another one stands for nothing else anyway.
    let request = if args.idempotency_key.is_some() { request.idempotency(key, digest) } else { request };
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(async {
        let exit = execute(cx.ui, args, &engine, request).await;
        let models = engine.agents().models();
        models.into_iter().flat_map(Models::remainders).for_each(|remainder| cx.ui.warn(&remainder));
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
        let workflow = check(ui, &WorkflowFile::read(&args.file)?, &stand_ins)?;
        let clock = TestClock::starting_at(cassette.began_at(), TestClock::SEED);
        let engine = Engine::builder()
            .registry(stand_ins)
            .clock(Arc::new(clock))
            .build()
            .map_err(|error| Error::internal("making the engine").with_source(error))?;
        let mut request = args.limit(cassette.request(&workflow));
        if let Some(id) = &args.correlation_id {
            request = request.correlation_id(id.clone());
        }
        let interrupts = Interrupts::listen()?;
        let execution = engine.submit(request).await.map_err(refused)?.handle;
        let attending = tokio::spawn({
            let (cassette, execution) = (cassette.clone(), execution.clone());
            async move { cassette.attend(&execution).await }
        });
        let exit = {
            let shown = args.shown().of(execution.plan());
            follow_to_the_end(ui, &shown, &Subject::Here(execution), interrupts).await
        };
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
    /// Finds or starts the server that executes it; none if that is done in this process.
    #[cfg(feature = "server")]
    fn find_server(&self, cx: &Context<'_>) -> Result<Option<Client>, Error> {
        let may_start = is_interactive() && cx.settings.config().server.auto_start;
        let must = self.detach || self.server.is_demanded();
        if self.server.is_local() || self.record.is_some() {
            return if self.detach { Err(Self::nobody()) } else { Ok(None) };
        }
        if let Some(url) = self.server.named() {
            let client = Client::connect(url, server_process::token())?;
            return cx.speaks_our_language(client).map(Some);
        }
        match self.server.look(cx)? {
            Found::Running(client) => return cx.speaks_our_language(*client).map(Some),
            // At the terminal somebody is there to be told; elsewhere nobody needs the port.
            Found::Foreign(port) if must || may_start => return Err(server_process::foreign(port)),
            Found::Mute(file) if must || may_start => return Err(server_process::mute(&file)),
            _ if may_start || self.server.is_demanded() => {}
            _ if must => return Err(Self::nobody()),
            _ => return Ok(None),
        }
        let launching = Launch { host: self.host, port: self.server.port(), global: cx.global.clone(), is_auto: true };
        let server = &cx.settings.config().server;
        let place = (server.host.as_str(), self.server.port().unwrap_or(server.port));
        let (client, is_new) = launch(&cx.data()?, &launching, place)?;
        if is_new && !self.no_browser && is_interactive() && cx.settings.config().dashboard.auto_open {
            let browser = self.browser.as_ref().or(cx.settings.config().dashboard.browser.as_ref());
            browser::open(cx.ui, browser.map(String::as_str), client.url_of_server());
        }
        cx.speaks_our_language(*client).map(Some)
    }

    /// Finds the server that executes it; none if that is done in this process.
    #[cfg(not(feature = "server"))]
    fn find_server(&self, cx: &Context<'_>) -> Result<Option<Client>, Error> {
        if self.record.is_some() {
            return Ok(None);
        }
        match self.server.find(cx)? {
            None if self.detach => Err(Self::nobody()),
            found => Ok(found),
        }
    }

    fn nobody() -> Error {
        Error::unreachable("no server runs that could execute it when this command has ended")
            .with_hint("orchestr8 start")
    }

    /// Adds what is said of every execution, whatever its input.
    fn limit(&self, mut request: StartRequest) -> StartRequest {
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout.as_duration());
        }
        match self.budget() {
            Some(budget) => request.budget(budget),
            None => request,
        }
    }

    fn budget(&self) -> Option<Budget> {
        let mut budget = Budget::default();
        (budget.max_cost_usd, budget.max_tokens) = (self.max_cost, self.max_tokens);
        Some(budget).filter(|budget| *budget != Budget::default())
    }

    fn shown(&self) -> Shown {
        let asks = !self.no_input && !self.events && self.replay.is_none() && is_interactive();
        Shown { events: self.events, outputs: self.show_output, asks, ..Shown::default() }
    }
}

async fn execute(ui: Ui, args: &RunArgs, engine: &Engine, request: StartRequest) -> Result<Exit, Error> {
    // Before the execution exists, so that no signal finds it unattended.
    let interrupts = Interrupts::listen()?;
    let execution = engine.submit(request).await.map_err(refused)?.handle;
    let shown = args.shown().of(execution.plan());
    let exit = follow_to_the_end(ui, &shown, &Subject::Here(execution.clone()), interrupts).await?;
    if let Some(path) = &args.record {
        record(&execution, path).await?;
        ui.say(&format!("wrote {}", path.display()));
    }
    Ok(exit)
}

/// Writes the journal of an execution to a file, as `inspect --export` does.
async fn record(execution: &ExecutionHandle, path: &Path) -> Result<(), Error> {
    let snapshot = execution.snapshot().await;
    let snapshot = snapshot.map_err(|error| Error::internal("reading what was recorded").with_source(error))?;
    let Some(export) = snapshot.journal().export() else { return Ok(()) };
    let text =
        serde_json::to_string_pretty(&export).map_err(|error| Error::internal("writing JSON").with_source(error))?;
    fs::write(path, text + "\n")
        .map_err(|error| Error::unreachable(format!("cannot write `{}`", path.display())).with_source(error))
}

/// Follows what a server executes.
pub(super) fn follow_a_server(ui: Ui, shown: &Shown, client: Client, id: ExecutionId) -> Result<Exit, Error> {
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(async {
        follow_to_the_end(ui, shown, &Subject::There(Box::new(client), id), Interrupts::listen()?).await
    });
    // The stream may still be open.
    runtime.shutdown_background();
    exit
}

/// Checks a workflow file, and shows what is to be said about it.
pub(super) fn check(ui: Ui, file: &WorkflowFile, agents: &AgentRegistry) -> Result<ValidWorkflow, Error> {
    let workflow = file.check(Options::new().agents(agents)).map_err(Error::invalid_file)?;
    if !workflow.warnings().is_empty() {
        ui.show(&file.report(workflow.warnings().to_vec()));
    }
    Ok(workflow)
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
