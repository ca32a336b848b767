//! The program from its arguments to its exit code.

use std::{
    env,
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser as _, error::ErrorKind as ClapErrorKind};
use orchestr8_agent_base::{Agent, AgentRegistry, llm, registry::RegisterError, tool::Tool};
use tracing::Span;

use crate::{
    Error, Exit,
    agents::{Agents, unregistered},
    args::{Args, Command},
    commands, completion,
    context::Context,
    data::DataDir,
    log_files,
    settings::{Settings, Sources},
    telemetry::{self, Logs, Verbosity},
    ui::{Format, Ui},
};

/// Runs the program with its arguments, the program's name being the first, and says how it ended.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    Program::new().run(args)
}

/// The program, to which agents and tools can be added: whoever has their own makes a program of a few lines that runs workflow files
/// with them, with every command. `orchestr8 create` writes such a program.
///
/// ```
/// use orchestr8_agent_base::{AgentManifest, agent_fn};
///
/// let manifest = AgentManifest::new("@acme/shout", "1.0.0", "Writes a text in capitals")?;
/// let shout = agent_fn(manifest, |input, _cx, _cancel| async move {
///     Ok(input["text"].as_str().unwrap_or_default().to_uppercase().into())
/// });
/// let program = orchestr8_cli::Program::new().agent(shout);
/// let exit = program.run(["orchestr8", "agents", "inspect", "@acme/shout"]);
/// assert_eq!(exit, std::process::ExitCode::SUCCESS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Program {
    agents: Agents,
}

impl Program {
    /// Makes the program with the agents that it brings along.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent; each engine that a command makes has a clone of it.
    pub fn agent(self, agent: impl Agent + Clone) -> Self {
        self.agents(move |registry| registry.register(agent.clone()))
    }

    /// Adds a tool, under the name that it gives itself.
    pub fn tool(mut self, tool: impl Tool + Clone) -> Self {
        self.agents.add(Arc::new(move |registry| {
            let registered = registry.tools_mut().register(tool.clone());
            registered.map_err(|error| Error::internal("registering the tools").with_source(error))
        }));
        self
    }

    /// Adds a check of what JSON prompts forbid: wherever a prompt of an agent has a guardrail of this rule, the check is asked; see
    /// [`Guardrails`](llm::Guardrails).
    pub fn guardrail(
        mut self,
        rule: &str,
        check: impl Fn(llm::Subject<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.agents.add_guardrail(rule, check);
        self
    }

    /// Adds agents and tools: this is called whenever a command needs to know them.
    pub fn agents(
        mut self,
        register: impl Fn(&mut AgentRegistry) -> Result<(), RegisterError> + Send + Sync + 'static,
    ) -> Self {
        self.agents.add(Arc::new(move |registry| register(registry).map_err(unregistered)));
        self
    }

    /// Runs the program with the arguments of the process, and says how it ended: all that a `main` has to do.
    pub fn main(&self) -> ExitCode {
        self.run(env::args_os())
    }

    /// Runs the program with its arguments, the program's name being the first, and says how it ended.
    pub fn run(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
        let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        // Under this name the program does one thing.
        if args.first().and_then(|name| Path::new(name).file_stem()).is_some_and(|name| name == "research-agents") {
            args.insert(1, "agents".into());
        }
        if let Some(exit) = completion::answer(&args, &self.agents) {
            return exit;
        }
        let args = match Args::try_parse_from(&args) {
            Ok(args) => args,
            Err(error) => return misused(&args, &error),
        };
        let sources = Sources { is_server: args.command.is_server(), ..args.global.sources() };
        let settings = match Settings::load(&sources) {
            Ok(settings) => settings,
            Err(error) => {
                args.global.plain_ui().error(&error);
                return error.exit_code();
            }
        };
        let output = &settings.config().output;
        let (ui, color) = (args.global.ui(output), args.global.color(output));
        color.apply();
        settings.warnings().iter().for_each(|warning| ui.warn(warning));
        let verbosity = args.global.verbosity().unwrap_or(args.command.usual_verbosity(&settings));
        // It lives until the end is known, so that the spans of a failure leave too.
        let data_dir = args.global.data_dir.as_deref();
        let serves_silently = args.command.serves_silently();
        let logs = Logs {
            verbosity,
            json: ui.is_json(),
            color,
            to_stderr: serves_silently != Some(true),
            // Without a place the command fails itself.
            folder: serves_silently.and_then(|_| Some(DataDir::place(data_dir).ok()?.join(log_files::FOLDER))),
        };
        let _telemetry = telemetry::start(logs, &settings.config().telemetry);
        let agents = self.agents.configured(settings.with_whole_paths(), DataDir::place(data_dir).ok());
        let cx = Context {
            ui,
            settings: &settings,
            agents: &agents,
            data_dir,
            #[cfg(feature = "server")]
            global: args.global.for_a_server(),
        };
        // The trace of what a command has others do begins with it; requests to a server begin their own.
        let span = if args.command.is_server() { Span::none() } else { tracing::info_span!("orchestr8.command") };
        let result = panic::catch_unwind(AssertUnwindSafe(|| span.in_scope(|| args.command.run(&cx))));
        drop(span);
        let defect = || Err(Error::internal("this is a defect of the program; the line above says where"));
        match result.unwrap_or_else(|_| defect()) {
            Ok(exit) => exit.into(),
            Err(error) => {
                ui.error(&error);
                error.exit_code()
            }
        }
    }
}

impl Command {
    fn run(self, cx: &Context<'_>) -> Result<Exit, Error> {
        let (ui, agents) = (cx.ui, cx.agents);
        match self {
            Self::Run(args) => commands::run::run(cx, &args),
            Self::Fork(args) => commands::fork::fork(cx, &args),
            Self::Resume(args) => commands::resume::resume(cx, &args),
            Self::Validate(args) => commands::validate::validate(ui, &args, agents),
            Self::Graph(args) => commands::graph::graph(cx, &args),
            Self::List(args) => commands::list::list(cx, &args),
            Self::Status(args) => commands::status::status(cx, &args),
            Self::Inspect(args) => commands::inspect::inspect(cx, &args),
            Self::Logs(args) => commands::logs::logs(cx, &args),
            Self::Why(args) => commands::why::why(cx, &args),
            Self::Cancel(args) => commands::cancel::cancel(cx, &args),
            Self::Pause(args) => commands::pause::pause(cx, &args),
            Self::Approve(args) => commands::approve::approve(cx, &args),
            Self::Signal(args) => commands::signal::signal(cx, &args),
            Self::Init(args) => commands::init::init(cx, &args),
            Self::Create(args) => commands::create::create(cx, &args),
            Self::Test(args) => commands::test::test(ui, &args, agents),
            Self::Sim(args) => commands::sim::sim(ui, &args, agents),
            Self::Bench(args) => commands::bench::bench(cx, &args),
            Self::UpgradeCheck(args) => commands::upgrade_check::upgrade_check(ui, &args, || cx.data(), agents),
            Self::Agents(args) => commands::agents::agents(ui, &args, agents),
            Self::Schema(args) => commands::schema::schema(ui, &args),
            Self::Config(args) => commands::config::config(ui, &args, cx.settings),
            Self::Lsp(args) => commands::lsp::lsp(ui, &args, agents),
            #[cfg(feature = "server")]
            Self::Start(args) => commands::start::start(cx, &args),
            Self::Stop(args) => commands::stop::stop(cx, &args),
            #[cfg(feature = "server")]
            Self::Restart(args) => commands::restart::restart(cx, &args),
            #[cfg(feature = "server")]
            Self::Server(args) => commands::server::server(cx, &args),
            #[cfg(feature = "server")]
            Self::Mcp(args) => commands::mcp::mcp(cx, &args),
            Self::Completions(args) => commands::completions::completions(ui, &args),
            Self::Man(args) => commands::man::man(ui, &args),
            Self::Version(args) => commands::version::version(cx, &args),
        }
    }

    /// Whether it is, or starts, a server.
    #[cfg(feature = "server")]
    fn is_server(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Start(_) | Self::Restart(_))
    }

    /// Whether it is, or starts, a server.
    #[cfg(not(feature = "server"))]
    #[expect(clippy::unused_self, reason = "reads as where there are servers")]
    fn is_server(&self) -> bool {
        false
    }

    /// Whether its log goes to files alone, if it is a server itself.
    #[cfg(feature = "server")]
    fn serves_silently(&self) -> Option<bool> {
        match self {
            Self::Server(args) => Some(args.silent),
            Self::Start(args) => args.foreground.then_some(false),
            _ => None,
        }
    }

    /// Whether its log goes to files alone, if it is a server itself.
    #[cfg(not(feature = "server"))]
    #[expect(clippy::unused_self, reason = "reads as where there are servers")]
    fn serves_silently(&self) -> Option<bool> {
        None
    }

    /// How much a command logs unless told otherwise: who watches a server reads its log; who runs a file sees its steps, and
    /// would read of every failure twice.
    fn usual_verbosity(&self, settings: &Settings) -> Verbosity {
        match self {
            #[cfg(feature = "server")]
            Self::Server(_) => settings.verbosity().unwrap_or(Verbosity::Info),
            #[cfg(feature = "server")]
            Self::Start(args) if args.foreground => settings.verbosity().unwrap_or(Verbosity::Info),
            // What fails in a test or a simulation is meant to, or told by the command.
            Self::Test(_) | Self::Sim(_) | Self::Bench(_) => Verbosity::Silent,
            _ => settings.verbosity().unwrap_or(Verbosity::Errors),
        }
    }
}

/// Answers arguments that are no command: with help if that was asked for, otherwise with what is wrong.
fn misused(args: &[OsString], error: &clap::Error) -> ExitCode {
    let is_help = matches!(error.kind(), ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion);
    if !is_help && asks_for_json(args) {
        let text = error.to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").replace('\n', " ");
        let error = Error::usage(message).with_hint("orchestr8 --help");
        Ui { format: Format::Json, ..Ui::default() }.error(&error);
        return error.exit_code();
    }
    // Nobody is left to be told when the stream is gone.
    let _ = error.print();
    ExitCode::from(if is_help { 0 } else { 2 })
}

fn asks_for_json(args: &[OsString]) -> bool {
    let flag = |index: usize| args.get(index).and_then(|arg| arg.to_str()).unwrap_or_default();
    (0..args.len()).any(|index| {
        matches!(flag(index), "--json" | "--format=json") || (flag(index) == "--format" && flag(index + 1) == "json")
    })
}
