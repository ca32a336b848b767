//! `orchestr8 pause`

use clap::Args;
use orchestr8_schema::api::PauseRequest;

use crate::{
    Error, Exit, context::Context, execution_name::ExecutionName, server_address::ServerAddress, wording::count,
};

/// Has an execution start nothing more; attempts in progress come to their end.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 pause @last --reason \"the search service is down\"")]
pub struct PauseArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// Why, for the journal
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn pause(cx: &Context<'_>, args: &PauseArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    let request = PauseRequest { reason: args.reason.clone() };
    let (answer, client) = cx.change(client, |client| client.pause(id, &request))?;
    if ui.is_json() {
        ui.print_json(&answer)?;
        client.settle(id)?;
        return Ok(Exit::Success);
    }
    let steps = client.execution(id)?.steps;
    let finishing = steps.iter().filter(|step| step.status == "running" && step.agent_id.is_some()).count();
    let verb = if finishing == 1 { "is" } else { "are" };
    ui.print(&format!("Paused {} · {} {verb} finishing", id.short(), count(finishing, "attempt")))?;
    client.settle(id)?;
    Ok(Exit::Success)
}
