//! `orchestr8 lsp`

use std::io;

use clap::Args;

use crate::{Error, Exit, agents::Agents, lsp, ui::Ui};

/// Serves editors over standard input and output.
///
/// It speaks the Language Server Protocol: problems as `validate` finds them while a workflow file is written, completion of keys,
/// ids and expressions, documentation, definitions, and renaming of steps, in JSON and YAML.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 lsp")]
pub struct LspArgs {
    /// Ignored: it is the only way, and some editors name it
    #[arg(long, hide = true)]
    stdio: bool,
}

pub(crate) fn lsp(_: Ui, _: &LspArgs, agents: &Agents) -> Result<Exit, Error> {
    let registry = agents.registry()?;
    let input = io::BufReader::new(io::stdin());
    let polite = lsp::serve(input, io::stdout().lock(), &registry)
        .map_err(|error| Error::internal("speaking with the editor").with_source(error))?;
    // As the protocol wants it: an exit that was not announced is a failure.
    Ok(if polite { Exit::Success } else { Exit::Failed })
}
