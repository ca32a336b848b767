//! `orchestr8 mcp serve`

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Exit,
    context::Context,
    interrupt::Interrupts,
    mcp::{
        Offer,
        stdio::{self, Checked},
    },
    wording::count,
};

/// Offers workflows to other programs.
#[derive(Debug, Args)]
pub struct McpArgs {
    #[command(subcommand)]
    command: McpCommand,
}

#[derive(Debug, Subcommand)]
enum McpCommand {
    Serve(ServeArgs),
}

/// Serves the catalogue as tools over standard input and output.
///
/// It speaks the Model Context Protocol with whoever started it, such as an assistant. Each workflow is a tool of its own unless
/// mcp.exposeWorkflows of the settings is false. Executions run in this process and are kept in the data directory; when the input ends, or
/// at Ctrl-C, those that have not ended can be resumed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 mcp serve --workflows flows\n  claude mcp add flows -- orchestr8 mcp serve --workflows flows"
)]
struct ServeArgs {
    /// Offer the workflow files in this folder [default: workflows.paths of the settings]
    #[arg(long, value_name = "FOLDER")]
    workflows: Vec<PathBuf>,
    /// Ask the own offer what it has, say so, and end
    #[arg(long)]
    test: bool,
}

pub(crate) fn mcp(cx: &Context<'_>, args: &McpArgs) -> Result<Exit, Error> {
    let McpCommand::Serve(args) = &args.command;
    serve(cx, args)
}

fn serve(cx: &Context<'_>, args: &ServeArgs) -> Result<Exit, Error> {
    let config = cx.settings.config();
    let engine = cx.engine()?;
    let catalogue = cx.catalogue(&args.workflows, engine.agents())?;
    let offer = Offer::new(engine.clone(), catalogue, config.mcp.expose_workflows, Some(cx.data()?));
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let grace = config.server.shutdown_timeout.as_duration();
    let exit = runtime.block_on(async {
        if args.test {
            let checked = stdio::check(&offer)
                .await
                .map_err(|error| Error::internal("asking the own offer what it has").with_source(error))?;
            report(cx, checked)?;
            return Ok(Exit::Success);
        }
        let mut interrupts = Interrupts::listen()?;
        let cancel = CancellationToken::new();
        let serving = stdio::serve(offer, tokio::io::stdin(), tokio::io::stdout(), cancel.clone());
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            _ = interrupts.next() => {
                cancel.cancel();
                serving.await
            }
        };
        // What nobody waits for any more has a moment to end, and can be resumed.
        tokio::select! {
            ended = engine.shutdown(grace) => {
                if !ended {
                    cx.ui.say("What was running can be resumed");
                }
            }
            _ = interrupts.next() => { engine.shutdown(Duration::ZERO).await; }
        }
        served.map_err(|error| Error::internal("speaking with the client").with_source(error))?;
        Ok(Exit::Success)
    });
    // A read of standard input cannot be called back.
    runtime.shutdown_background();
    exit
}

fn report(cx: &Context<'_>, Checked { tools, workflows }: Checked) -> Result<(), Error> {
    if cx.ui.is_json() {
        return cx.ui.print_json(&json!({ "ok": true, "tools": tools, "workflows": workflows }));
    }
    cx.ui.print(&format!("ok · {}, {}", count(tools, "tool"), count(workflows, "workflow")))
}
