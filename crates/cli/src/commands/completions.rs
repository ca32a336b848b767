//! `orchestr8 completions`

use clap::Args;
use clap_complete::Shell;

use crate::{Error, Exit, completion, ui::Ui};

/// Prints the completions of a shell, to be sourced or put where the shell looks for them.
///
/// Commands and flags are completed, and also executions, step paths, agents and workflow files, for which the shell asks the program.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 completions fish > ~/.config/fish/completions/orchestr8.fish\n  \
                             source <(orchestr8 completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions(ui: Ui, args: &CompletionsArgs) -> Result<Exit, Error> {
    let script = completion::script(&args.shell.to_string());
    let script = script.map_err(|error| Error::internal("writing the completions").with_source(error))?;
    ui.print(script.trim_end())?;
    Ok(Exit::Success)
}
