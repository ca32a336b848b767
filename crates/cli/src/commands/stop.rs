//! `orchestr8 stop`

use std::time::Duration;

use clap::Args;
use orchestr8_core::store::Query;
use orchestr8_schema::api::ExecutionStatus;
use serde_json::json;
use tokio::runtime::Builder;

use crate::{
    Error, Exit,
    context::Context,
    server_process::{self, Found, How, ServerFile},
    wording::count,
};

/// Stops the server: it takes no more executions and ends when those that run have ended, or its time is up.
///
/// What has not ended goes on when a server is started again.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 stop\n  orchestr8 stop --force")]
pub struct StopArgs {
    /// Kill it
    #[arg(long)]
    force: bool,
}

/// What a server may take for its own end beyond the time that it gives executions.
const MARGIN: Duration = Duration::from_secs(5);

pub(crate) fn stop(cx: &Context<'_>, args: &StopArgs) -> Result<Exit, Error> {
    let how = if args.force { How::AtOnce } else { How::Gracefully };
    let stopped = end(cx, how)?;
    let unfinished = if stopped.is_some() { unfinished(cx)? } else { 0 };
    if cx.ui.is_json() {
        cx.ui.print_json(&json!({ "stopped": stopped.is_some(), "unfinished": unfinished }))?;
    } else if stopped.is_none() {
        cx.ui.print("Not running")?;
    } else if unfinished == 0 {
        cx.ui.print("Stopped")?;
    } else {
        let executions = count(unfinished, "execution");
        cx.ui.print(&format!("Stopped · {executions} will continue at the next start"))?;
    }
    Ok(Exit::Success)
}

/// Stops the server if one runs, and tells where it listened.
pub(super) fn end(cx: &Context<'_>, how: How) -> Result<Option<(String, u16)>, Error> {
    let (data, config) = (cx.data()?, &cx.settings.config().server);
    let file = ServerFile::read(&data);
    let pid = match server_process::find(Some(&data), &config.host, config.port)? {
        Found::Running(client) => client.health().pid,
        Found::Mute(file) if how == How::AtOnce => file.pid,
        Found::Mute(file) => return Err(server_process::mute(&file)),
        Found::Foreign(_) | Found::Absent => return Ok(None),
    };
    server_process::stop(pid, how, config.shutdown_timeout.as_duration() + MARGIN)?;
    let file = file.filter(|file| file.pid == pid);
    if let Some(file) = &file {
        // Who is killed leaves it behind.
        file.remove(&data);
    }
    Ok(Some(file.map_or_else(|| (config.host.clone(), config.port), |file| (file.host, file.port))))
}

/// Counts the executions of the data directory that go on at the next start.
fn unfinished(cx: &Context<'_>) -> Result<usize, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let engine = cx.engine()?;
    runtime.block_on(async {
        let statuses = [ExecutionStatus::Queued, ExecutionStatus::Running, ExecutionStatus::Cancelling];
        let mut query = Query::newest(1000).statuses(statuses);
        let mut found = 0;
        loop {
            let page = engine.executions(&query).await;
            let page = page.map_err(|error| Error::internal("reading the store of executions").with_source(error))?;
            found += page.executions.len();
            match page.executions.last() {
                Some(last) if page.has_more => query = query.before(last.execution_id),
                _ => return Ok(found),
            }
        }
    })
}
