//! `orchestr8 logs`

use clap::Args;
use orchestr8_schema::api::{Entry, Level};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::inspect::LevelName;
use crate::{
    Error, Exit,
    client::JournalFilter,
    context::Context,
    execution_name::ExecutionName,
    log_files::{FOLDER, last_lines},
    server_address::ServerAddress,
    ui::BAD,
    wording::visible,
};

/// Lines of the log of a server that are shown at first.
const LINES: usize = 1000;

/// Shows what happened in an execution, a line per event, and with `--follow` what happens.
///
/// Without an execution, `--server` shows the log of the server itself, its last 1000 lines. Ctrl-C stops watching; the execution goes
/// on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 logs @last --follow\n  orchestr8 logs 0f5b9a10 --level warn\n  \
                             orchestr8 logs --server --follow")]
pub struct LogsArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID", required_unless_present = "server")]
    id: Option<ExecutionName>,
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
    let Some(id) = &args.id else { return of_the_server(cx, args) };
    let client = args.server.client(cx)?;
    let id = client.find(id)?;
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

/// Shows the log of the server of the data directory.
fn of_the_server(cx: &Context<'_>, args: &LogsArgs) -> Result<Exit, Error> {
    if args.server.named().is_some() || args.step.is_some() {
        return Err(Error::usage("the log of a server is read where it runs, and knows no steps")
            .with_hint("orchestr8 logs --server"));
    }
    let least = args.level.map_or(Level::Debug, LevelName::level);
    let show = |text: &str| {
        let Ok(line) = serde_json::from_str::<LogLine>(text) else { return Ok(()) };
        if line.level() < least {
            Ok(())
        } else if cx.ui.is_json() {
            cx.ui.print(text)
        } else {
            cx.ui.print(&line.to_text())
        }
    };
    let (lines, follower) = last_lines(&cx.data()?.file(FOLDER), LINES)?;
    lines.iter().try_for_each(|line| show(line))?;
    if args.follow {
        follower.follow(show)?;
    }
    Ok(Exit::Success)
}

/// A line of the log of a server.
#[derive(Deserialize)]
struct LogLine {
    timestamp: String,
    level: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    span: Map<String, Value>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl LogLine {
    fn level(&self) -> Level {
        match self.level.as_str() {
            "ERROR" => Level::Error,
            "WARN" => Level::Warn,
            "INFO" => Level::Info,
            _ => Level::Debug,
        }
    }

    /// `12:00:01.204 info  answered  status=200 …`
    fn to_text(&self) -> String {
        let time = self.timestamp.get(11..23).unwrap_or(&self.timestamp);
        let fields = self.fields.iter().filter(|(name, _)| *name != "target");
        let span = self.span.iter().filter(|(name, _)| *name != "name");
        let fields = fields.chain(span).map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        });
        let fields: Vec<_> = fields.collect();
        let level = self.level.to_lowercase();
        let text = format!("{time} {level:5} {}  {}", self.message, fields.join(" "));
        let text = visible(text.trim_end()).into_owned();
        if self.level() == Level::Error { format!("{BAD}{text}{BAD:#}") } else { text }
    }
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
