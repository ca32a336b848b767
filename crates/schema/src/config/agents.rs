//! Agents and tools from outside the program.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Millis;

/// An agent from outside the program.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", untagged)]
pub enum ExternalAgent {
    /// A service that speaks the protocol of microservices.
    Service {
        /// Where it is.
        url: String,
        /// Headers that are sent along.
        #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
        headers: IndexMap<String, String>,
    },
    /// A program, run once for each attempt.
    Program {
        /// The program.
        command: String,
        /// Its arguments.
        #[schemars(default)]
        args: Vec<String>,
        /// Its environment.
        #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
        env: IndexMap<String, String>,
        /// The agent's manifest.
        manifest: Map<String, Value>,
    },
}

/// Servers of tools, and what is offered to others.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct McpConfig {
    /// Whether others may use this program as a server of tools over HTTP; default false.
    pub enabled: bool,
    /// Whether each workflow of the catalogue is a tool of its own.
    pub expose_workflows: bool,
    /// Servers whose tools agents may use, by name.
    #[schemars(with = "std::collections::BTreeMap<String, McpServer>")]
    pub servers: IndexMap<String, McpServer>,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self { enabled: false, expose_workflows: true, servers: IndexMap::new() }
    }
}

/// A server of tools. Its texts may hold `${VAR}` and secret references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", untagged)]
pub enum McpServer {
    /// A program, spoken to over its standard input and output.
    Program {
        /// The program.
        command: String,
        /// Its arguments.
        #[schemars(default)]
        args: Vec<String>,
        /// Its environment.
        #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
        env: IndexMap<String, String>,
        /// The folder that it is run in.
        #[schemars(default)]
        cwd: Option<String>,
    },
    /// A service, spoken to over HTTP.
    Service {
        /// Where it is.
        url: String,
        /// Headers that are sent along.
        #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
        headers: IndexMap<String, String>,
    },
}

/// A tool that is a command of a shell.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ShellTool {
    /// The command; `{name}` stands for a parameter, quoted for the shell.
    pub command: String,
    /// What the tool is for.
    pub description: String,
    /// JSON Schema of its parameters; default no parameters.
    #[schemars(default)]
    pub parameters: Map<String, Value>,
    /// How long it may take; default [`ShellTool::DEFAULT_TIMEOUT`].
    #[schemars(default)]
    pub timeout: Option<Millis>,
    /// Whether it changes something; default false.
    #[schemars(default)]
    pub writes: bool,
}

impl ShellTool {
    /// Two minutes.
    pub const DEFAULT_TIMEOUT: Millis = Millis(120_000);
}
