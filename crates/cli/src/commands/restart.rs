//! `orchestr8 restart`

use clap::Args;
use serde_json::json;

use super::{server::Listen, start::begin, stop::end};
use crate::{Error, Exit, context::Context, server_process::How};

/// Stops the server and starts it again at the same address; what was running goes on.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  orchestr8 restart")]
pub struct RestartArgs {}

pub(crate) fn restart(cx: &Context<'_>, _: &RestartArgs) -> Result<Exit, Error> {
    let before = end(cx, How::Gracefully)?;
    let listen = match &before {
        Some((host, port)) => Listen { host: host.parse().ok(), port: Some(*port) },
        None => Listen::default(),
    };
    let (url, pid, _) = begin(cx, &listen)?;
    if cx.ui.is_json() {
        cx.ui.print_json(&json!({ "url": url, "pid": pid, "restarted": before.is_some() }))?;
    } else if before.is_some() {
        cx.ui.print(&format!("Restarted · pid {pid}"))?;
    } else {
        cx.ui.print(&format!("Started · {url} · pid {pid}"))?;
    }
    Ok(Exit::Success)
}
