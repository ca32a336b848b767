//! `orchestr8 signal`

use std::fs;

use clap::Args;
use orchestr8_schema::{
    api::{Entry, SignalRequest},
    id::SignalName,
};
use serde_json::Value;

use crate::{
    Error, Exit, client::JournalFilter, context::Context, execution_name::ExecutionName, server_address::ServerAddress,
    wording::visible,
};

/// Tells a running execution something that a step of it waits for, or will wait for.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 signal 0f5b9a10 payment-received --payload '{\"amount\": 12}'\n  \
                             orchestr8 signal @last go --payload @payload.json")]
pub struct SignalArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: ExecutionName,
    /// The signal's name
    #[arg(value_name = "NAME")]
    name: SignalName,
    /// What is told: JSON, or a file of it
    #[arg(long, value_name = "JSON|@FILE")]
    payload: Option<String>,
    /// The only step that may take it
    #[arg(long, value_name = "STEP PATH")]
    step: Option<String>,
    /// Tells repetitions apart: one that was received before is not told again
    #[arg(long = "id", value_name = "SIGNAL ID")]
    signal_id: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn signal(cx: &Context<'_>, args: &SignalArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let payload = args.payload.as_deref().map(json_or_file).transpose()?.unwrap_or_default();
    let client = args.server.client(cx)?;
    let id = client.find(&args.id)?;
    // Any text is a path; whether there is such a step, the execution knows.
    let step_path = args.step.as_deref().and_then(|path| serde_json::from_value(path.into()).ok());
    let request = SignalRequest { payload, signal_id: args.signal_id.clone(), step_path };
    let (answer, client) = cx.change(client, |client| client.signal(id, args.name.as_str(), &request))?;
    if ui.is_json() {
        ui.print_json(&answer)?;
    } else if answer.delivered {
        let (types, since) = (Some("signal.delivered".to_owned()), Some(answer.sequence.to_string()));
        let told = client.journal(id, &JournalFilter { types, since, ..JournalFilter::default() })?.entries;
        let is_it = |entry: &&Entry| entry.data.get("signalSequence") == Some(&answer.sequence.into());
        let step = told.iter().find(is_it).and_then(|entry| entry.step_path.as_deref());
        ui.print(&format!("Delivered to {}", visible(step.unwrap_or(&id.short()))))?;
    } else {
        ui.print(&format!("Kept {} until a step of {} waits for it", args.name, id.short()))?;
    }
    client.settle(id)?;
    Ok(Exit::Success)
}

/// Reads JSON from an argument, or from the file that it names after `@`.
pub(super) fn json_or_file(argument: &str) -> Result<Value, Error> {
    let text = match argument.strip_prefix('@') {
        None => argument.to_owned(),
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Error::usage(format!("cannot read `{path}`")).with_source(error))?,
    };
    serde_json::from_str(&text).map_err(|error| {
        Error::usage(format!("`{argument}` is no JSON")).with_source(error).with_hint("'{\"key\": 1}'")
    })
}
