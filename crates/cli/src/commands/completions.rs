//! `orchestr8 completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{Error, Exit, args, ui::Ui};

/// Prints the completions of a shell, to be sourced or put where the shell looks for them.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 completions fish > ~/.config/fish/completions/orchestr8.fish\n  \
                             source <(orchestr8 completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions(ui: Ui, args: &CompletionsArgs) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::Args::command(), "orchestr8", &mut script);
    ui.print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
