//! `orchestr8 cancel`

use clap::Args;
use orchestr8_schema::{
    Millis,
    api::{CancelRequest, ExecutionStatus},
};

use crate::{
    Error, Exit, context::Context, execution_name::ExecutionName, server_address::ServerAddress, wording::count,
};

/// Asks for the end of an execution: running steps are told, and what was done is compensated.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 cancel @last --reason \"wrong branch\"\n  orchestr8 cancel 0f5b9a10 --force --wait"
)]
pub struct CancelArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// Why, for the journal
    #[arg(long)]
    reason: Option<String>,
    /// Give running steps no time to end by themselves
    #[arg(long)]
    force: bool,
    /// Wait for the end
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn cancel(cx: &Context<'_>, args: &CancelArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    let mut request = CancelRequest::default();
    request.reason = args.reason.clone();
    request.graceful = Some(!args.force);
    let running = client.execution(id)?.progress.running;
    let (answer, client) = cx.change(client, |client| client.cancel(id, &request))?;
    let status = if args.wait { client.ended(id)?.status } else { answer.status };
    if ui.is_json() {
        if args.wait {
            ui.print_json(&client.execution(id)?)?;
        } else {
            ui.print_json(&answer)?;
        }
    } else if status == ExecutionStatus::Cancelling {
        let grace = match client.grace(id)? {
            Some(0) | None => "no grace".to_owned(),
            Some(millis) => format!("grace {}", Millis(millis)),
        };
        let stopping = if running == 1 { "is stopping" } else { "are stopping" };
        ui.print(&format!("Cancelling {} · {} {stopping} ({grace})", id.short(), count(running as usize, "step")))?;
    } else {
        ui.print(&format!("{} is {status}", id.short()))?;
    }
    client.settle(id)?;
    Ok(Exit::Success)
}
