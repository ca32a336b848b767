//! `orchestr8 status`

use clap::Args;
use orchestr8_schema::api::{Execution, ExecutionStatus};

use crate::{
    Error, Exit,
    client::ExecutionFilter,
    execution_name::ExecutionName,
    progress::reason,
    server_address::ServerAddress,
    settings::Settings,
    ui::{BAD, Ui},
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

pub(crate) fn status(ui: Ui, args: &StatusArgs, settings: &Settings) -> Result<Exit, Error> {
    let client = args.server.connect(settings)?;
    let Some(name) = &args.id else {
        let health = client.health();
        if ui.is_json() {
            ui.print_json(health)?;
        } else {
            let filter =
                ExecutionFilter { status: Some("queued,running,paused,cancelling".to_owned()), workflow_id: None };
            let active = client.executions(&filter, 100)?.executions.len();
            let state = if health.status == "healthy" {
                "healthy".to_owned()
            } else {
                format!("not healthy: {}", health.status)
            };
            ui.print(&format!(
                "Server: running, {state} · {} · pid {} · up {} · {active} active",
                args.server.url(settings),
                health.pid,
                rough(health.uptime)
            ))?;
        }
        return if health.status == "healthy" {
            Ok(Exit::Success)
        } else {
            Err(Error::unreachable(format!("the server is {}", health.status)))
        };
    };
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
