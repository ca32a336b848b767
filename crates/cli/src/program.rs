//! The program from its arguments to its exit code.

use std::{
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser as _, error::ErrorKind as ClapErrorKind};
use orchestr8_agent_base::{AgentRegistry, registry::RegisterError};

use crate::{
    Error, Exit,
    agents::Agents,
    args::{Args, Command},
    commands,
    data::DataDir,
    settings::Settings,
    telemetry::{self, Logs, Verbosity},
    ui::{Format, Ui},
};

/// Runs the program with its arguments, the program's name being the first, and says how it ended.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    Program::new().run(args)
}

/// The program, to which agents and tools can be added: whoever has their own makes a program of a few lines that runs workflow files
/// with them, with every command.
///
/// ```
/// use orchestr8_agent_base::{AgentManifest, agent_fn};
///
/// let program = orchestr8_cli::Program::new().agents(|registry| {
///     let manifest = AgentManifest::new("@acme/shout", "1.0.0", "Writes a text in capitals")?;
///     registry.register(agent_fn(manifest, |input, _cx, _cancel| async move {
///         Ok(input["text"].as_str().unwrap_or_default().to_uppercase().into())
///     }))
/// });
/// let exit = program.run(["orchestr8", "agents", "inspect", "@acme/shout"]);
/// assert_eq!(exit, std::process::ExitCode::SUCCESS);
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

    /// Adds agents and tools: this is called whenever a command needs to know them.
    pub fn agents(
        mut self,
        register: impl Fn(&mut AgentRegistry) -> Result<(), RegisterError> + Send + Sync + 'static,
    ) -> Self {
        self.agents.add(Arc::new(register));
        self
    }

    /// Runs the program with its arguments, the program's name being the first, and says how it ended.
    pub fn run(&self, args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let args = match Args::try_parse_from(&args) {
            Ok(args) => args,
            Err(error) => return misused(&args, &error),
        };
        let settings = match Settings::load(&args.global.sources()) {
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
        let _telemetry = telemetry::start(Logs { verbosity, json: ui.is_json(), color });
        let data_dir = args.global.data_dir;
        let data = || DataDir::find(data_dir.as_deref(), settings.config().journal.clone());
        let agents = self.agents.configured(settings.config());
        let result = panic::catch_unwind(AssertUnwindSafe(|| args.command.run(ui, &settings, data, &agents)));
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
    fn run(
        self,
        ui: Ui,
        settings: &Settings,
        data: impl FnOnce() -> Result<DataDir, Error>,
        agents: &Agents,
    ) -> Result<Exit, Error> {
        match self {
            Self::Run(args) => commands::run::run(ui, &args, &data()?, agents),
            Self::Fork(args) => commands::fork::fork(ui, &args, &data()?, agents),
            Self::Resume(args) => commands::resume::resume(ui, &args, &data()?, agents),
            Self::Validate(args) => commands::validate::validate(ui, &args, agents),
            Self::Graph(args) => commands::graph::graph(ui, &args, settings),
            Self::List(args) => commands::list::list(ui, &args, settings),
            Self::Status(args) => commands::status::status(ui, &args, settings),
            Self::Inspect(args) => commands::inspect::inspect(ui, &args, settings),
            Self::Logs(args) => commands::logs::logs(ui, &args, settings),
            Self::Why(args) => commands::why::why(ui, &args, settings, data, agents),
            Self::Cancel(args) => commands::cancel::cancel(ui, &args, settings),
            Self::Pause(args) => commands::pause::pause(ui, &args, settings),
            Self::Approve(args) => commands::approve::approve(ui, &args, settings),
            Self::Signal(args) => commands::signal::signal(ui, &args, settings),
            Self::Test(args) => commands::test::test(ui, &args, agents),
            Self::Sim(args) => commands::sim::sim(ui, &args, agents),
            Self::UpgradeCheck(args) => commands::upgrade_check::upgrade_check(ui, &args, data, agents),
            Self::Agents(args) => commands::agents::agents(ui, &args, agents),
            Self::Schema(args) => commands::schema::schema(ui, &args),
            Self::Config(args) => commands::config::config(ui, &args, settings),
            Self::Lsp(args) => commands::lsp::lsp(ui, &args, agents),
            #[cfg(feature = "server")]
            Self::Server(args) => commands::server::server(ui, &args, &data()?, settings, agents),
            Self::Completions(args) => commands::completions::completions(ui, &args),
            Self::Man(args) => commands::man::man(ui, &args),
            Self::Version(args) => commands::version::version(ui, &args),
        }
    }

    /// How much a command logs unless told otherwise: who watches a server reads its log; who runs a file sees its steps, and
    /// would read of every failure twice.
    fn usual_verbosity(&self, settings: &Settings) -> Verbosity {
        match self {
            #[cfg(feature = "server")]
            Self::Server(_) => settings.verbosity().unwrap_or(Verbosity::Info),
            // What fails in a test or a simulation is meant to, or told by the command.
            Self::Test(_) | Self::Sim(_) => Verbosity::Silent,
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
