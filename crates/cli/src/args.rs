//! What may be written on the command line. Doc comments are the help.

#[cfg(feature = "server")]
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use orchestr8_schema::config::{OutputConfig, OutputFormat};

#[cfg(feature = "server")]
use crate::commands::{mcp::McpArgs, restart::RestartArgs, server::ServerArgs, start::StartArgs};
use crate::{
    commands::{
        agents::AgentsArgs, approve::ApproveArgs, bench::BenchArgs, cancel::CancelArgs, completions::CompletionsArgs,
        config::ConfigArgs, create::CreateArgs, fork::ForkArgs, graph::GraphArgs, init::InitArgs, inspect::InspectArgs,
        list::ListArgs, logs::LogsArgs, lsp::LspArgs, man::ManArgs, pause::PauseArgs, resume::ResumeArgs, run::RunArgs,
        schema::SchemaArgs, signal::SignalArgs, sim::SimArgs, status::StatusArgs, stop::StopArgs, test::TestArgs,
        upgrade_check::UpgradeCheckArgs, validate::ValidateArgs, version::VersionArgs, why::WhyArgs,
    },
    settings::Sources,
    telemetry::Verbosity,
    ui::{Color, Format, Ui},
};

/// Runs workflows of agents.
///
/// A workflow is a file in JSON or YAML that says which agent takes which step, what the step needs, and what to do when it
/// fails. Data goes to standard output, everything else to standard error.
///
/// Exit codes: 0 completed; 1 the execution failed, or an unexpected error; 2 wrong use, or an invalid workflow or input; 3 a
/// server or the environment cannot be reached; 130 ended by a signal.
#[derive(Debug, Parser)]
#[command(name = "orchestr8", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Form of data and errors [default: human]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Short for `--format json`
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more: once for debugging, twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Other settings of the user [default: config.json in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let all settings of the project's file count
    #[arg(long, global = true)]
    trust_project: bool,
    /// Where executions are kept [env: ORCHESTR8_HOME] [default: ~/.orchestr8]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
    /// When to use colours [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    color: Option<Color>,
    /// Print plain lines instead of redrawing the terminal
    #[arg(long, global = true)]
    no_progress: bool,
}

impl GlobalArgs {
    /// Where settings are looked for.
    pub(crate) fn sources(&self) -> Sources<'_> {
        let (config, data_dir) = (self.config.as_deref(), self.data_dir.as_deref());
        Sources { config, data_dir, trust_project: self.trust_project, is_server: false }
    }

    /// The flags that a server needs to find the same settings; the data directory apart.
    #[cfg(feature = "server")]
    pub(crate) fn for_a_server(&self) -> Vec<OsString> {
        let config = self.config.iter().flat_map(|path| [OsString::from("--config"), path.clone().into()]);
        let trust = self.trust_project.then(|| OsString::from("--trust-project"));
        config.chain(trust).collect()
    }

    /// What is printed with, as far as the flags say.
    pub(crate) fn plain_ui(&self) -> Ui {
        let format = if self.json { Format::Json } else { self.format.unwrap_or_default() };
        Ui { format, quiet: self.quiet, verbose: self.verbose, live: !self.no_progress }
    }

    /// What is printed with, as flags and settings say.
    pub(crate) fn ui(&self, output: &OutputConfig) -> Ui {
        let format = match output.format {
            OutputFormat::Human => Format::Human,
            OutputFormat::Json => Format::Json,
        };
        let format = if self.json { Format::Json } else { self.format.unwrap_or(format) };
        let verbose = if self.quiet { 0 } else { self.verbose.max(u8::from(output.verbose)) };
        Ui { format, quiet: self.quiet, verbose, live: !self.no_progress }
    }

    pub(crate) fn color(&self, output: &OutputConfig) -> Color {
        self.color.unwrap_or(if output.colors { Color::Auto } else { Color::Never })
    }

    pub(crate) fn verbosity(&self) -> Option<Verbosity> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(Verbosity::Errors),
            (false, 0) => None,
            (false, 1) => Some(Verbosity::Debug),
            (false, _) => Some(Verbosity::Trace),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Resume(ResumeArgs),
    Fork(ForkArgs),
    Validate(ValidateArgs),
    Graph(GraphArgs),
    List(ListArgs),
    Status(StatusArgs),
    Inspect(InspectArgs),
    Logs(LogsArgs),
    Why(WhyArgs),
    Cancel(CancelArgs),
    Pause(PauseArgs),
    Approve(ApproveArgs),
    Signal(SignalArgs),
    Init(InitArgs),
    Create(CreateArgs),
    Test(TestArgs),
    Sim(SimArgs),
    Bench(BenchArgs),
    UpgradeCheck(UpgradeCheckArgs),
    Agents(AgentsArgs),
    Schema(SchemaArgs),
    Config(ConfigArgs),
    Lsp(LspArgs),
    #[cfg(feature = "server")]
    Start(StartArgs),
    Stop(StopArgs),
    #[cfg(feature = "server")]
    Restart(RestartArgs),
    #[cfg(feature = "server")]
    Server(ServerArgs),
    #[cfg(feature = "server")]
    Mcp(McpArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Version(VersionArgs),
}
