//! `orchestr8 why`

use clap::Args;
use orchestr8_schema::api::{Cause, Why};

use crate::{
    Error, ErrorKind, Exit, context::Context, execution_name::ExecutionName, server_address::ServerAddress,
    wording::visible,
};

/// Explains why a step is as it is: why it ran, was reused or skipped, failed, waits or has not had its turn.
///
/// Below each cause stands what led to it; behind it the numbers of the events that tell of it, as `inspect` shows them. A running
/// server is asked; without one the data directory is read.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 why @last publish\n  orchestr8 why c2e47d19 'reviews[3].score'")]
pub struct WhyArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// The step
    #[arg(value_name = "STEP PATH")]
    step: String,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn why(cx: &Context<'_>, args: &WhyArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    let why = client.why(id, &args.step).map_err(|error| match error.kind() {
        ErrorKind::Usage => error.with_hint(format!("orchestr8 inspect {}", id.short())),
        _ => error,
    })?;
    if ui.is_json() {
        ui.print_json(&why)?;
    } else {
        for line in draw(&why) {
            ui.print(&line)?;
        }
    }
    Ok(Exit::Success)
}

/// Draws causes as a tree, each below what it led to, with the numbers of its events in a column of their own.
fn draw(why: &Why) -> Vec<String> {
    let what = match why.status.as_str() {
        "skipped" | "cancelled" => format!("was {}", why.status),
        "pending" => "has not had its turn".to_owned(),
        "waiting" | "running" => format!("is {}", why.status),
        _ => why.status.clone(),
    };
    let line = |cause: &Cause| {
        let indent = " ".repeat(1 + 3 * cause.depth as usize);
        format!("{indent}└ {}", visible(&cause.text))
    };
    let rows: Vec<_> = why.causes.iter().map(|cause| (line(cause), numbers(cause))).collect();
    let with_numbers = rows.iter().filter(|(_, numbers)| !numbers.is_empty());
    let width = with_numbers.map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    let head = format!("{} {what}", visible(&why.step_path));
    let causes = rows.into_iter().map(|(line, numbers)| format!("{line:width$}  {numbers}").trim_end().to_owned());
    std::iter::once(head).chain(causes).collect()
}

/// `#22 #29 #37`
fn numbers(cause: &Cause) -> String {
    let one = cause.sequence.as_slice();
    let all = if cause.sequences.is_empty() { one } else { &cause.sequences };
    all.iter().map(|sequence| format!("#{sequence}")).collect::<Vec<_>>().join(" ")
}
