//! Calls of agents and tools: the steps that do something themselves, and what hooks and compensation call.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Input, VersionRange, is_default};
use crate::{AgentId, id::ToolName, policy::is_null};

/// A step that calls an agent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentStep {
    /// Which agent.
    pub agent: AgentCall,
    /// The agent's input, a template. Without it the agent gets `{}`; in a fallback, the input of the step that it stands in
    /// for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Input", default)]
    pub input: Option<Input>,
}

impl AgentStep {
    /// Makes a call of the latest version of an agent.
    #[must_use]
    pub fn new(id: AgentId, input: Option<Input>) -> Self {
        Self { agent: AgentCall::new(id), input }
    }
}

/// A step that calls a tool.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolStep {
    /// The tool's name.
    pub name: ToolName,
    /// Its arguments, a template giving an object; default `{}`.
    #[serde(skip_serializing_if = "is_null")]
    #[schemars(default)]
    pub arguments: Value,
}

impl ToolStep {
    /// Makes a call of a tool.
    #[must_use]
    pub fn new(name: ToolName, arguments: Value) -> Self {
        Self { name, arguments }
    }
}

/// Which agent is called.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentCall {
    /// The agent's id.
    pub id: AgentId,
    /// Which versions will do; default `latest`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub version: VersionRange,
    /// Configuration, given to the agent as it is; not a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
}

impl AgentCall {
    /// Asks for the latest version of an agent, without configuration.
    #[must_use]
    pub fn new(id: AgentId) -> Self {
        Self { id, version: VersionRange::Latest, config: None }
    }
}

/// What a hook or a compensation calls; its input stands beside it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Call {
    /// An agent.
    Agent(AgentCall),
    /// A tool.
    Tool(ToolCall),
}

/// Which tool is called.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool's name.
    pub name: ToolName,
}

impl ToolCall {
    /// Names a tool.
    #[must_use]
    pub fn new(name: ToolName) -> Self {
        Self { name }
    }
}
