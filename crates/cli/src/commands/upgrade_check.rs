//! `orchestr8 upgrade-check`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use orchestr8_core::{
    Engine,
    engine::{Checkpoint, ForkRequest, SupersedeError, Upgrade},
    store::Query,
};
use orchestr8_schema::{ExecutionId, ValidWorkflow, api::ExecutionStatus, source::Options};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{Error, Exit, agents::Agents, data::DataDir, ui::Ui, wording::visible, workflow_file::WorkflowFile};

/// Executions that are read at a time.
const PAGE: usize = 500;

/// Says of each unfinished execution of a workflow whether it could go on with an edited workflow file.
///
/// `same`: the file says what the execution has. `compatible`: everything that has completed would be taken over; what would differ from
/// then on is named. `diverges`: a step that has had its turn would have to run again, or would not have run; the first one is named.
/// Nothing is run for the answer. Exit code 1 if one diverges.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 upgrade-check review.yaml\n  orchestr8 upgrade-check review.yaml --apply"
)]
pub struct UpgradeCheckArgs {
    /// The edited workflow file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Look into this database instead of that of the data directory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Fork the compatible executions with the file, for `resume` or a server to go on with; the originals are cancelled, and nothing
    /// of what they did is undone
    #[arg(long)]
    apply: bool,
}

/// What is said of one execution.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    execution_id: ExecutionId,
    /// `same`, `compatible` or `diverges`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forked_to: Option<ExecutionId>,
}

#[derive(Debug, Serialize)]
struct Findings {
    executions: Vec<Finding>,
}

pub(crate) fn upgrade_check(
    ui: Ui,
    args: &UpgradeCheckArgs,
    data: impl FnOnce() -> Result<DataDir, Error>,
    agents: &Agents,
) -> Result<Exit, Error> {
    let registry = agents.registry()?;
    let file = WorkflowFile::read(&args.file)?.with_prompts(agents.inline_prompts());
    let workflow = file.check(Options::new().agents(&registry)).map_err(Error::invalid_file)?;
    let store = match &args.store {
        Some(path) => data()?.open_file(path)?,
        None => data()?.open_store()?,
    };
    let engine = Engine::builder()
        .registry(registry)
        .store(store)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let found = runtime.block_on(async {
        let found = look(&engine, &workflow, args.apply).await;
        // What was forked is left to whoever goes on with it.
        engine.shutdown(Duration::ZERO).await;
        found
    })?;
    let fails = |finding: &Finding| finding.verdict == "diverges" || finding.because.is_some();
    let diverges = found.executions.iter().any(fails);
    if ui.is_json() {
        ui.print_json(&found)?;
    } else if found.executions.is_empty() {
        ui.say(&format!("No unfinished executions of {}", visible(workflow.id())));
    } else {
        found.executions.iter().try_for_each(|finding| ui.print(&line(finding)))?;
    }
    Ok(if diverges { Exit::Failed } else { Exit::Success })
}

async fn look(engine: &Engine, workflow: &ValidWorkflow, apply: bool) -> Result<Findings, Error> {
    let unfinished = [ExecutionStatus::Queued, ExecutionStatus::Running, ExecutionStatus::Paused];
    let mut query = Query::newest(PAGE).workflow(workflow.id()).statuses(unfinished);
    let mut executions = Vec::new();
    loop {
        let page = engine.executions(&query).await;
        let page = page.map_err(|error| Error::internal("reading the store of executions").with_source(error))?;
        for summary in &page.executions {
            executions.push(judge(engine, summary.execution_id, workflow, apply).await?);
        }
        match page.executions.last() {
            Some(last) if page.has_more => query = query.before(last.execution_id),
            _ => return Ok(Findings { executions }),
        }
    }
}

async fn judge(engine: &Engine, id: ExecutionId, workflow: &ValidWorkflow, apply: bool) -> Result<Finding, Error> {
    let (step_path, because, forked_to) = (None, None, None);
    let mut finding =
        Finding { execution_id: id, verdict: "same", differences: Vec::new(), step_path, because, forked_to };
    match engine.check_upgrade(id, workflow).await {
        Ok(Upgrade::Compatible { differences }) => {
            (finding.verdict, finding.differences) = ("compatible", differences);
            if apply {
                let request = ForkRequest::at(Checkpoint::Latest).workflow(workflow.clone());
                match engine.supersede(id, request).await {
                    Ok(forked) => finding.forked_to = Some(forked.submission.handle.id()),
                    // One that somebody drives, or that cannot be ended, holds up no other.
                    Err(error) => {
                        if let SupersedeError::Ending { fork, .. } = &error {
                            finding.forked_to = Some(*fork);
                        }
                        finding.because = Some(format!("is not superseded: {}", chain(&error)));
                    }
                }
            }
        }
        Ok(Upgrade::Diverges { step_path, because }) => {
            (finding.verdict, finding.step_path) = ("diverges", Some(step_path.to_string()));
            finding.because = Some(because);
        }
        Ok(_) => {}
        // One that cannot be read or started holds up no other.
        Err(error) => (finding.verdict, finding.because) = ("diverges", Some(chain(&error))),
    }
    Ok(finding)
}

/// An error and what led to it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// `0f5b9a10  compatible  publish has another timeout`
fn line(finding: &Finding) -> String {
    let mut parts: Vec<String> = finding.differences.clone();
    parts.extend(finding.because.as_ref().map(|because| match &finding.step_path {
        Some(path) => format!("{path}: {because}"),
        None => because.clone(),
    }));
    let forked = finding.forked_to.map(|id| format!("  → {}", id.short())).unwrap_or_default();
    let told = parts.join("; ");
    format!("{}  {:10}  {}{forked}", finding.execution_id.short(), finding.verdict, visible(&told))
        .trim_end()
        .to_owned()
}
