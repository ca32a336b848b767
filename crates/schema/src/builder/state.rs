//! What is known while a workflow is being built.

use indexmap::IndexMap;

use crate::{
    AgentId, Code, Diagnostic,
    id::ToolName,
    validate::CallSchemas,
    workflow::{Call, VersionRange},
};

/// What all lists of one workflow share.
#[derive(Debug, Default)]
pub struct State {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) agents: IndexMap<AgentId, Vec<(VersionRange, CallSchemas)>>,
    pub(super) tools: IndexMap<ToolName, CallSchemas>,
    /// How many scopes there have been.
    pub(super) scopes: u32,
    /// How many maps are open.
    pub(super) maps: usize,
    /// The loops that are open, the innermost last.
    pub(super) loops: Vec<u32>,
}

impl State {
    /// Notes what is called, and what its reference says of it.
    pub(super) fn know(&mut self, callee: &Call, schemas: CallSchemas) {
        match callee {
            Call::Agent(agent) => {
                self.agents.entry(agent.id.clone()).or_default().push((agent.version.clone(), schemas));
            }
            Call::Tool(tool) => drop(self.tools.insert(tool.name.clone(), schemas)),
        }
    }

    pub(super) fn report(&mut self, code: Code, message: impl Into<String>) {
        self.errors.push(Diagnostic::new(code, "", message));
    }

    pub(super) fn report_all(&mut self, messages: Vec<String>) {
        for message in messages {
            self.report(Code::WrongType, message);
        }
    }
}
