//! `orchestr8 status`

use clap::Args;
use orchestr8_schema::api::{Execution, ExecutionStatus};
use serde_json::json;

use crate::{
    Error, Exit,
    client::{Client, ExecutionFilter},
    context::Context,
    execution_name::ExecutionName,
    progress::reason,
    server_address::ServerAddress,
    server_process::{self, Found},
    ui::BAD,
    wording::{duration, rough, visible},
};

/// Shows an execution: how far it has come, what it waits for, what failed.
///
/// Without an id it shows the server.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 status\n  orchestr8 status @last")]
pub struct StatusArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: Option<ExecutionName>,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn status(cx: &Context<'_>, args: &StatusArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let Some(name) = &args.id else { return server(cx, args) };
    let client = args.server.client(cx)?;
    let execution = client.execution(client.find(name)?)?;
    if ui.is_json() {
        ui.print_json(&execution)?;
    } else {
        for line in describe(&execution) {
            ui.print(&line)?;
        }
    }
    Ok(Exit::Success)
}

/// Shows the server: it runs, healthy or not, or another program has its place, or nobody.
fn server(cx: &Context<'_>, args: &StatusArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let found = match args.server.named() {
        Some(url) => Found::Running(Box::new(Client::connect(url, server_process::token())?)),
        None => args.server.look(cx)?,
    };
    let (answer, text) = match &found {
        Found::Running(client) => {
            let health = client.health();
            let text = running(client)?;
            (json!(health), text)
        }
        Found::Mute(file) => {
            let text = format!("running, not healthy: it does not answer · {} · pid {}", file.url(), file.pid);
            (json!({ "healthy": false, "status": "mute", "pid": file.pid }), text)
        }
        Found::Foreign(port) => {
            let text = "port in use by another program".to_owned();
            (json!({ "healthy": false, "status": "foreign", "port": port }), text)
        }
        Found::Absent => (json!({ "healthy": false, "status": "absent" }), "not running".to_owned()),
    };
    if ui.is_json() {
        ui.print_json(&answer)?;
    } else {
        ui.print(&format!("Server: {text}"))?;
    }
    let is_healthy = matches!(&found, Found::Running(client) if client.health().status == "healthy");
    Ok(if is_healthy { Exit::Success } else { Exit::Away })
}

fn running(client: &Client) -> Result<String, Error> {
    let health = client.health();
    let state = match health.status.as_str() {
        "healthy" => "healthy".to_owned(),
        "draining" => "not healthy: it is stopping".to_owned(),
        other => format!("not healthy: events are dropped ({other})"),
    };
    let filter = ExecutionFilter { status: Some("queued,running,paused,cancelling".to_owned()), workflow_id: None };
    let active = client.executions(&filter, 100)?.executions.len();
    let (url, pid, up) = (client.url_of_server(), health.pid, rough(health.uptime));
    Ok(format!("running, {state} · {url} · pid {pid} · up {up} · {active} active"))
}

fn describe(execution: &Execution) -> Vec<String> {
    let progress = &execution.progress;
    let took = execution.duration.map(|millis| format!(" after {}", duration(millis))).unwrap_or_default();
    let mut head = format!(
        "{} {}: {}{took} · {} of {} steps",
        visible(&execution.workflow.id),
        execution.execution_id.short(),
        execution.status,
        progress.completed,
        progress.total
    );
    if matches!(execution.status, ExecutionStatus::Failed | ExecutionStatus::Cancelled) {
        let compensation = serde_json::to_value(execution.compensation).unwrap_or_default();
        head = format!("{head} · compensation {}", compensation.as_str().unwrap_or_default());
    }
    let failed = execution.steps.iter().filter_map(|step| {
        let error = step.error.as_ref()?;
        Some(format!("{BAD}✗{BAD:#} {}  {}", visible(&step.step_path), visible(&reason(error))))
    });
    let waiting = execution
        .waiting_for
        .iter()
        .map(|waiting| format!("… {}  waits for {}", visible(&waiting.step_path), waiting.kind));
    std::iter::once(head).chain(failed).chain(waiting).collect()
}
