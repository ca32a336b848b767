//! `orchestr8 list`

use clap::Args;
use orchestr8_schema::{Timestamp, api::ExecutionSummary};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    Error, Exit,
    client::ExecutionFilter,
    context::Context,
    server_address::ServerAddress,
    wording::{ago, duration, visible},
};

/// Lists executions, newest first.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 list --last 5\n  orchestr8 list --status failed,cancelled --ids")]
pub struct ListArgs {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    last: usize,
    /// Only these statuses, separated by commas
    #[arg(long, value_name = "STATUS,…")]
    status: Option<String>,
    /// Only executions of this workflow
    #[arg(long, value_name = "ID")]
    workflow: Option<String>,
    /// Print ids only, one a line
    #[arg(long)]
    ids: bool,
    #[command(flatten)]
    server: ServerAddress,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number from 1 on".to_owned())
}

pub(crate) fn list(cx: &Context<'_>, args: &ListArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let filter = ExecutionFilter { status: args.status.clone(), workflow_id: args.workflow.clone() };
    let list = client.executions(&filter, args.last)?;
    if args.ids {
        for execution in &list.executions {
            ui.print(&execution.execution_id.to_string())?;
        }
    } else if ui.is_json() {
        ui.print_json(&list)?;
    } else if list.executions.is_empty() {
        ui.say("No executions");
    } else {
        for line in table(&list.executions, client.now()) {
            ui.print(&line)?;
        }
    }
    Ok(Exit::Success)
}

/// Lays executions out in columns, as wide as their widest cell.
fn table(executions: &[ExecutionSummary], now: Timestamp) -> Vec<String> {
    let heads = ["ID", "WORKFLOW", "STATUS", "STEPS", "STARTED", "DURATION"].map(str::to_owned);
    let rows = executions.iter().map(|execution| {
        let progress = &execution.progress;
        [
            execution.execution_id.short(),
            visible(&execution.workflow.id).into_owned(),
            execution.status.to_string(),
            format!("{}/{}", progress.completed, progress.total),
            execution.started_at.map_or_else(|| "-".to_owned(), |start| ago(now.since(start))),
            execution.duration.map_or_else(|| "-".to_owned(), duration),
        ]
    });
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0));
    rows.iter()
        .map(|row| {
            let cells =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}
