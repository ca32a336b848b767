//! Agents that are programs.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ProgramCall, Programs};
use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// An agent that is a program, run once for each attempt under the policy of [`Programs`].
///
/// The program reads its input as one JSON document from standard input, and writes its output as one JSON document to standard output;
/// what it says on standard error is logged. The variable `ORCHESTR8_CONTEXT` holds the context as JSON: `executionId`, `workflowId`,
/// `correlationId`, `stepId`, `stepPath`, `visit`, `attempt`, `startedAt`, `deadline`, `idempotencyKey` and `config`. Its exit code
/// decides as of `@orchestr8/process`.
#[derive(Clone, Debug)]
pub struct ProgramAgent {
    programs: Programs,
    call: ProgramCall,
    manifest: AgentManifest,
}

impl ProgramAgent {
    /// Makes it of a command and what the agent says of itself.
    #[must_use]
    pub fn new(programs: Programs, call: ProgramCall, manifest: AgentManifest) -> Self {
        Self { programs, call, manifest }
    }
}

#[async_trait]
impl Agent for ProgramAgent {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let mut call = self.call.clone();
        call.stdin = input.to_string();
        call.env.insert("ORCHESTR8_CONTEXT".to_owned(), context(cx).to_string());
        let finished = self.programs.run(&call, &cancel).await?;
        for line in finished.stderr.lines() {
            tracing::info!(agent = %self.manifest.id, "{line}");
        }
        let finished = finished.accept(&call.program, &[])?;
        if finished.truncated && finished.stdout.len() >= Programs::MAX_STREAM {
            let limit = Programs::MAX_STREAM;
            return Err(AgentError::validation(format!("the output of `{}` is over {limit} bytes", call.program)));
        }
        serde_json::from_str(&finished.stdout).map_err(|source| {
            AgentError::validation(format!("the output of `{}` is no JSON document", call.program)).with_source(source)
        })
    }

    fn target(&self, _: &Value) -> Option<String> {
        Some(self.call.program.clone())
    }
}

fn context(cx: &AgentContext) -> Value {
    json!({
        "executionId": cx.execution_id().to_string(),
        "workflowId": cx.workflow_id(),
        "correlationId": cx.correlation_id().as_str(),
        "stepId": cx.step_id().as_str(),
        "stepPath": cx.step_path().to_string(),
        "visit": cx.visit(),
        "attempt": cx.attempt(),
        "startedAt": cx.started_at().to_string(),
        "deadline": cx.deadline().map(|deadline| deadline.to_string()),
        "idempotencyKey": cx.idempotency_key(),
        "config": cx.config(),
    })
}
