//! What serves an agent that is called alone, and what it has told.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestr8_agent_base::{
    AgentError, SecretString, Secrets, Tool, ToolAccess,
    context::{Host, Progress, Recording, Remark},
    model::Models,
    tool::ToolRegistry,
};
use orchestr8_schema::{
    canonical,
    config::ToolPolicy,
    event::{Activation, CallId, Durable, LogEntry, ModelCall, ToolCall},
};
use serde_json::Value;

/// What an agent has told during one call.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// The results of inner calls that were made, in the order in which they were recorded. Those that were recorded before are not
    /// among them.
    pub recorded: Vec<Durable>,
    /// What it has remarked.
    pub log: Vec<LogEntry>,
    /// How far it said that it had come.
    pub progress: Vec<Progress>,
    /// Models that it has asked.
    pub models: Vec<ModelCall>,
    /// Tools that it has called, or was not let through to.
    pub tools: Vec<ToolCall>,
    /// References of secrets that it was given.
    pub secrets: Vec<String>,
}

/// Serves an agent with what a test has scripted.
pub(crate) struct ScriptedHost {
    secrets: Secrets,
    models: Models,
    tools: ToolAccess,
    told: Mutex<Told>,
}

/// What a test scripts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) secrets: Secrets,
    pub(crate) models: Models,
    pub(crate) tools: ToolRegistry,
    pub(crate) tool_policy: ToolPolicy,
}

impl Script {
    pub(crate) fn add_tool(&mut self, tool: impl Tool) {
        self.tools.register(tool).unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn host(&self) -> ScriptedHost {
        ScriptedHost {
            secrets: self.secrets.clone(),
            models: self.models.clone(),
            tools: ToolAccess::new(self.tools.clone(), self.tool_policy.clone()),
            told: Mutex::default(),
        }
    }
}

impl ScriptedHost {
    /// Takes what was told so far.
    pub(crate) fn take_told(&self) -> Told {
        std::mem::take(&mut *self.told())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for ScriptedHost {
    fn record(&self, durable: Durable) -> Recording {
        self.told().recorded.push(durable);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remark(&self, remark: Remark) {
        let mut told = self.told();
        match remark {
            Remark::Log(entry) => told.log.push(entry),
            Remark::Model(call) => told.models.push(call),
            Remark::Tool(call) => told.tools.push(call),
            _ => {}
        }
    }

    fn progress(&self, progress: Progress) {
        self.told().progress.push(progress);
    }

    fn secret(&self, reference: &str, declared: &[String]) -> Result<SecretString, AgentError> {
        if !declared.is_empty() && !declared.iter().any(|known| known == reference) {
            return Err(AgentError::denied(format!("`{reference}` is not listed in the `secrets` of the manifest")));
        }
        let secret = self.secrets.find(reference)?;
        self.told().secrets.push(reference.to_owned());
        Ok(secret)
    }

    fn hide(&self, _: &mut Value) {}

    fn models(&self) -> Option<&Models> {
        Some(&self.models)
    }

    fn tools(&self) -> Option<&ToolAccess> {
        Some(&self.tools)
    }
}

impl fmt::Debug for ScriptedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedHost").finish_non_exhaustive()
    }
}

/// Makes the record of an inner call that an earlier attempt has made.
pub(crate) fn record(key: &str, request: &Value, value: Value) -> Arc<Durable> {
    let (call, digest) = (CallId::Step(Activation(0)), canonical::digest(request).into());
    Arc::new(Durable { call, attempt: 1, key: key.into(), digest, value: Arc::new(value), usage: None })
}
