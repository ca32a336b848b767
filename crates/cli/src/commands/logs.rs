//! `orchestr8 logs`

use clap::Args;
use orchestr8_schema::api::{Entry, Level};

use super::inspect::LevelName;
use crate::{
    Error, Exit, client::JournalFilter, context::Context, execution_name::ExecutionName, server_address::ServerAddress,
    ui::BAD, wording::visible,
};

/// Shows what happened in an execution, a line per event, and with `--follow` what happens.
///
/// Ctrl-C stops watching; the execution goes on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 logs @last --follow\n  orchestr8 logs 0f5b9a10 --level warn")]
pub struct LogsArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// Go on until the execution has ended
    #[arg(short, long)]
    follow: bool,
    /// Only this level and higher ones
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    /// Only this step
    #[arg(long, value_name = "STEP PATH")]
    step: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn logs(cx: &Context<'_>, args: &LogsArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    let least = args.level.map_or(Level::Debug, LevelName::level);
    let is_wanted = |entry: &Entry| {
        entry.level >= least && args.step.as_ref().is_none_or(|step| entry.step_path.as_ref() == Some(step))
    };
    let print = |entry: &Entry| {
        if !is_wanted(entry) {
            Ok(())
        } else if ui.is_json() {
            ui.print_json(entry)
        } else {
            ui.print(&line(entry))
        }
    };
    if args.follow {
        client.follow(id, 0, print)?;
    } else {
        client.journal(id, &JournalFilter::default())?.entries.iter().try_for_each(print)?;
    }
    Ok(Exit::Success)
}

/// `12:00:01.204 warn  fetch  attempt 1 of fetch failed: …`
fn line(entry: &Entry) -> String {
    let timestamp = entry.timestamp.to_string();
    let time = timestamp.get(11..23).unwrap_or(&timestamp);
    let level = match entry.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let step = entry.step_path.as_deref().map(|path| format!("{}  ", visible(path))).unwrap_or_default();
    let line = format!("{time} {level:5} {step}{}", visible(&entry.message));
    if entry.level == Level::Error { format!("{BAD}{line}{BAD:#}") } else { line }
}
