//! `orchestr8 approve`

use clap::Args;
use orchestr8_schema::api::{Approval, ApprovalRequest, Decision};

use super::signal::json_or_file;
use crate::{
    Error, Exit,
    client::Client,
    context::Context,
    execution_name::ExecutionName,
    server_address::ServerAddress,
    ui::Ui,
    wording::{shell_word, visible},
};

/// Answers an approval that a step waits for; without an id it lists what waits.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 approve\n  orchestr8 approve 0f5b9a10 --comment \"looks right\"\n  \
                             orchestr8 approve @last sign-off --answer '{\"note\": \"ok\"}'\n  \
                             orchestr8 approve 0f5b9a10 --reject"
)]
pub struct ApproveArgs {
    /// The execution's id, 6 or more digits of its beginning or end, or `@last`
    #[arg(value_name = "ID")]
    id: Option<ExecutionName>,
    /// The step that waits; needed if there are several
    #[arg(value_name = "STEP PATH")]
    step_path: Option<String>,
    /// Refuse instead
    #[arg(long, requires = "id")]
    reject: bool,
    /// The answer that the step asks for: JSON, or a file of it
    #[arg(long, value_name = "JSON|@FILE", requires = "id")]
    answer: Option<String>,
    /// A remark for the journal
    #[arg(long, requires = "id")]
    comment: Option<String>,
    /// Who answers [default: the user's name]
    #[arg(long, value_name = "NAME", requires = "id")]
    by: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
}

pub(crate) fn approve(cx: &Context<'_>, args: &ApproveArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let client = args.server.client(cx)?;
    let Some(name) = &args.id else { return list(ui, &client) };
    let answer = args.answer.as_deref().map(json_or_file).transpose()?.unwrap_or_default();
    let id = client.find(name)?;
    let step_path = match &args.step_path {
        Some(path) => path.clone(),
        None => only(&client.approvals(Some(id))?, &id.short())?,
    };
    let request = ApprovalRequest {
        decision: if args.reject { Decision::Reject } else { Decision::Approve },
        answer,
        comment: args.comment.clone(),
        by: args.by.clone().or_else(user),
    };
    let (result, client) = cx.change(client, |client| client.answer(id, &step_path, &request))?;
    if ui.is_json() {
        ui.print_json(&result)?;
        client.settle(id)?;
        return Ok(Exit::Success);
    }
    let path = visible(&step_path);
    ui.print(&match result.decision {
        Decision::Approve => format!("Approved {path} · {} continues", id.short()),
        Decision::Reject => format!("Rejected {path} · {}", id.short()),
    })?;
    client.settle(id)?;
    Ok(Exit::Success)
}

/// Names whoever uses the program, as the system does.
pub(crate) fn user() -> Option<String> {
    ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok())
}

fn list(ui: Ui, client: &Client) -> Result<Exit, Error> {
    let approvals = client.approvals(None)?;
    if ui.is_json() {
        ui.print_json(&serde_json::json!({ "approvals": approvals, "hasMore": false }))?;
    } else if approvals.is_empty() {
        ui.say("Nothing waits for an answer");
    }
    for approval in approvals.iter().filter(|_| !ui.is_json()) {
        let prompt = visible(&approval.prompt);
        ui.print(&format!("{}  {}  {prompt}", approval.execution_id.short(), visible(&approval.step_path)))?;
    }
    Ok(Exit::Success)
}

/// The one step that waits; several are an error that lists them.
fn only(approvals: &[Approval], id: &str) -> Result<String, Error> {
    match approvals {
        [one] => Ok(one.step_path.clone()),
        [] => Err(Error::usage(format!("nothing of {id} waits for an answer")).with_hint("orchestr8 approve")),
        [first, ..] => {
            let paths: Vec<_> =
                approvals.iter().map(|approval| format!("`{}`", visible(&approval.step_path))).collect();
            Err(Error::usage(format!("several steps of {id} wait for an answer: {}", paths.join(", ")))
                .with_hint(format!("orchestr8 approve {id} {}", shell_word(&first.step_path))))
        }
    }
}
