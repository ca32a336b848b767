//! `orchestr8 inspect`

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use orchestr8_schema::api::{Entry, Execution, JournalExport, JournalPage, Level};
use serde_json::Value;

use crate::{
    Error, Exit,
    client::JournalFilter,
    context::Context,
    execution_name::ExecutionName,
    server_address::ServerAddress,
    ui::BAD,
    wording::{duration, visible},
};

/// Shows the journal of an execution.
///
/// Each line is an event: its sequence, when it happened since the start, its type, its step and what matters of it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 inspect 01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10\n  \
                             orchestr8 inspect 01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10 --level warn --step fetch")]
pub struct InspectArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// Only this step
    #[arg(long, value_name = "STEP PATH")]
    step: Option<String>,
    /// Only these types, separated by commas
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Only this level and higher ones
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    /// Only from this sequence or time on
    #[arg(long, value_name = "SEQUENCE|TIME")]
    since: Option<String>,
    /// Print one entry per line as JSON
    #[arg(long, conflicts_with = "export")]
    ndjson: bool,
    /// Write the whole journal to a file instead
    #[arg(long, value_name = "PATH", conflicts_with_all = ["step", "types", "level", "since"])]
    export: Option<PathBuf>,
    #[command(flatten)]
    server: ServerAddress,
}

/// How much an entry matters at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LevelName {
    Debug,
    Info,
    Warn,
    Error,
}

impl LevelName {
    pub(super) fn level(self) -> Level {
        match self {
            Self::Debug => Level::Debug,
            Self::Info => Level::Info,
            Self::Warn => Level::Warn,
            Self::Error => Level::Error,
        }
    }
}

pub(crate) fn inspect(cx: &Context<'_>, args: &InspectArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    let filter = JournalFilter {
        step_path: args.step.clone(),
        types: args.types.clone(),
        level: args.level.and_then(|level| Some(level.to_possible_value()?.get_name().to_owned())),
        since: args.since.clone(),
    };
    let journal = client.journal(id, &filter)?;
    if let Some(path) = &args.export {
        let export = to_export(client.execution(id)?, journal);
        let text = serde_json::to_string_pretty(&export)
            .map_err(|error| Error::internal("writing JSON").with_source(error))?;
        fs::write(path, text + "\n")
            .map_err(|error| Error::unreachable(format!("cannot write `{}`", path.display())).with_source(error))?;
        ui.say(&format!("wrote {}", path.display()));
    } else if args.ndjson {
        for entry in &journal.entries {
            ui.print_json(entry)?;
        }
    } else if ui.is_json() {
        ui.print_json(&journal)?;
    } else {
        for line in table(&journal.entries) {
            ui.print(&line)?;
        }
    }
    Ok(Exit::Success)
}

fn to_export(execution: Execution, journal: JournalPage) -> JournalExport {
    JournalExport {
        execution_id: execution.execution_id,
        workflow_id: execution.workflow.id,
        correlation_id: execution.correlation_id,
        status: execution.status,
        started_at: execution.started_at,
        completed_at: execution.completed_at,
        duration: execution.duration,
        entries: journal.entries,
        summary: journal.summary,
    }
}

/// Lays entries out in columns: ` 3  +1ms  step.scheduled     greet  @orchestr8/hello-world`.
fn table(entries: &[Entry]) -> Vec<String> {
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let elapsed = format!("+{}", duration(entry.elapsed_ms));
            let step = entry.step_path.as_deref().map(visible).unwrap_or_default();
            (entry, entry.sequence.to_string(), elapsed, step, visible(&remark(entry)).into_owned())
        })
        .collect();
    let widest = |width: fn(&Entry, &str, &str, &str) -> usize| {
        rows.iter().map(|(entry, sequence, elapsed, step, _)| width(entry, sequence, elapsed, step)).max().unwrap_or(0)
    };
    let sequence_width = widest(|_, sequence, _, _| sequence.len()).max(2);
    let elapsed_width = widest(|_, _, elapsed, _| elapsed.len());
    let type_width = widest(|entry, _, _, _| entry.kind.len());
    let step_width = widest(|_, _, _, step| step.chars().count());
    rows.iter()
        .map(|(entry, sequence, elapsed, step, remark)| {
            let kind = &entry.kind;
            let line = format!(
                "{sequence:>sequence_width$}  {elapsed:elapsed_width$}  {kind:type_width$}  {step:step_width$}  {remark}"
            );
            let line = line.trim_end();
            if entry.level == Level::Error { format!("{BAD}{line}{BAD:#}") } else { line.to_owned() }
        })
        .collect()
}

/// Says what matters of an entry beyond its type and step.
fn remark(entry: &Entry) -> String {
    let text = |key: &str| entry.data.get(key).and_then(Value::as_str).map(str::to_owned);
    let millis = |key: &str| entry.data.get(key).and_then(Value::as_u64).map(duration);
    let failure = || {
        let error = entry.data.get("error")?;
        Some(format!("{}: {}", error.get("code")?.as_str()?, error.get("message")?.as_str()?))
    };
    let parts: Vec<Option<String>> = match entry.kind.as_str() {
        "step.scheduled" => vec![text("agentId")],
        "step.skipped" => vec![text("skipReason"), text("dependency")],
        "attempt.started" => vec![entry.attempt.map(|attempt| attempt.to_string())],
        "attempt.finished" => vec![millis("duration"), failure()],
        "retry.scheduled" => {
            vec![millis("delayMs").map(|delay| format!("attempt {} in {delay}", entry.attempt.unwrap_or(0)))]
        }
        "timeout.exceeded" => vec![text("scope"), millis("timeoutMs")],
        "execution.cancelling" => vec![text("reason")],
        "hook.started" => vec![text("point"), text("hook")],
        "hook.finished" => vec![text("point"), text("hook"), text("decision"), text("reason").or_else(failure)],
        "circuit.opened" | "circuit.half-opened" | "circuit.closed" => vec![text("key"), text("reason")],
        _ => vec![failure()],
    };
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
