//! `orchestr8 start`

use clap::Args;
use serde_json::json;

use crate::{
    Error, Exit,
    commands::server::{Listen, ServerArgs, server},
    context::Context,
    server_process::{Launch, launch},
};

/// Starts the server, which goes on when this command has ended.
///
/// One that runs already is left as it is. What the server has to say is in the folder `logs` of the data directory.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 start\n  orchestr8 start --port 9000\n  orchestr8 start --foreground"
)]
pub struct StartArgs {
    #[command(flatten)]
    listen: Listen,
    /// Stay in the foreground, as `orchestr8 server` does
    #[arg(long)]
    pub(crate) foreground: bool,
}

pub(crate) fn start(cx: &Context<'_>, args: &StartArgs) -> Result<Exit, Error> {
    if args.foreground {
        return server(cx, &ServerArgs::foreground(args.listen.clone()));
    }
    let (url, pid, is_new) = begin(cx, &args.listen)?;
    if cx.ui.is_json() {
        cx.ui.print_json(&json!({ "url": url, "pid": pid, "started": is_new }))?;
    } else if is_new {
        cx.ui.print(&format!("Started · {url} · pid {pid}"))?;
    } else {
        cx.ui.print(&format!("Running already · {url} · pid {pid}"))?;
    }
    Ok(Exit::Success)
}

/// Starts the server unless one runs: where it is, its process, and whether it was started here.
pub(super) fn begin(cx: &Context<'_>, listen: &Listen) -> Result<(String, u32, bool), Error> {
    let server = &cx.settings.config().server;
    let host = listen.host.map_or_else(|| server.host.clone(), |host| host.to_string());
    let port = listen.port.unwrap_or(server.port);
    let launching = Launch { host: listen.host, port: listen.port, global: cx.global.clone(), is_auto: false };
    let (client, is_new) = launch(&cx.data()?, &launching, (&host, port))?;
    let client = cx.speaks_our_language(*client)?;
    Ok((client.url_of_server().to_owned(), client.health().pid, is_new))
}
