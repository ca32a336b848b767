//! The agents and tools that run programs.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ProgramCall, Programs};
use crate::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Callee, Tool, ToolSpec, registry::RegisterError,
};

/// Adds both agents and both tools to a registry.
///
/// # Errors
///
/// [`RegisterError`] if one of them is there already.
pub fn register(registry: &mut AgentRegistry, programs: &Programs) -> Result<(), RegisterError> {
    registry.register(Process::new(programs.clone()))?;
    registry.register(Shell::new(programs.clone()))?;
    registry.tools_mut().register(Process::new(programs.clone()))?;
    registry.tools_mut().register(Shell::new(programs.clone()))?;
    Ok(())
}

/// Runs a program: the agent `@orchestr8/process` and the tool `process.run`.
///
/// It takes `{program, args?, stdin?, env?, cwd?, allowExit?}` and gives `{exitCode, signal, stdout, stderr, truncated}`. An exit code
/// other than 0 that `allowExit` does not list is INTERNAL; 75 is RETRYABLE.
#[derive(Clone, Debug)]
pub struct Process(Programs);

/// Runs a command of a shell: the agent `@orchestr8/shell` and the tool `shell.run`.
///
/// It takes `{command, args?, stdin?, env?, cwd?, allowExit?}`, where `args` are `$1` and so on, and gives what [`Process`] gives.
#[derive(Clone, Debug)]
pub struct Shell(Programs);

#[derive(Deserialize, JsonSchema)]
struct ProcessInput {
    /// The program: one of `PATH`, or a path.
    program: String,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize, JsonSchema)]
struct ShellInput {
    /// The command, in the language of `sh`.
    command: String,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Rest {
    /// Its arguments.
    #[serde(default)]
    args: Vec<String>,
    /// What it reads from standard input.
    #[serde(default)]
    stdin: String,
    /// Variables of its environment, beside PATH and LANG.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The folder to run it in.
    cwd: Option<PathBuf>,
    /// Exit codes beside 0 that are no failure.
    #[serde(default)]
    allow_exit: Vec<i32>,
}

impl Rest {
    fn into_call(self, program: String) -> (ProgramCall, Vec<i32>) {
        let Self { args, stdin, env, cwd, allow_exit } = self;
        (ProgramCall { program, args, stdin, env, cwd }, allow_exit)
    }
}

impl Process {
    /// Makes it of who runs programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self(programs)
    }

    async fn run(&self, input: &Value, limit: usize, cancel: &CancellationToken) -> Result<Value, AgentError> {
        let ProcessInput { program, rest } = decode(input)?;
        let (call, allow_exit) = rest.into_call(program);
        let finished = self.0.run(&call, cancel).await?;
        Ok(finished.accept(&call.program, &allow_exit)?.into_value(limit))
    }
}

impl Shell {
    /// Makes it of who runs programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self(programs)
    }

    async fn run(&self, input: &Value, limit: usize, cancel: &CancellationToken) -> Result<Value, AgentError> {
        let ShellInput { command, rest } = decode(input)?;
        let (call, allow_exit) = rest.into_call(command);
        let finished = self.0.shell(&call, cancel).await?;
        Ok(finished.accept("sh", &allow_exit)?.into_value(limit))
    }
}

// === impl Agent ===

#[async_trait]
impl Agent for Process {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/process", "Runs a program").input::<ProcessInput>()
    }

    async fn execute(&self, input: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.run(input, Callee::MAX_OUTPUT, &cancel).await
    }

    fn target(&self, input: &Value) -> Option<String> {
        input.get("program").and_then(Value::as_str).map(str::to_owned)
    }
}

#[async_trait]
impl Agent for Shell {
    fn manifest(&self) -> AgentManifest {
        manifest("@orchestr8/shell", "Runs a command of a shell").input::<ShellInput>()
    }

    async fn execute(&self, input: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.run(input, Callee::MAX_OUTPUT, &cancel).await
    }

    fn target(&self, _: &Value) -> Option<String> {
        None
    }
}

// === impl Tool ===

#[async_trait]
impl Tool for Process {
    fn spec(&self) -> ToolSpec {
        spec("process.run", "Runs a program and gives its exit code and output").input::<ProcessInput>()
    }

    async fn call(&self, arguments: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.run(arguments, Callee::MAX_TOOL_OUTPUT, &cancel).await
    }

    fn target(&self, arguments: &Value) -> Option<String> {
        Agent::target(self, arguments)
    }
}

#[async_trait]
impl Tool for Shell {
    fn spec(&self) -> ToolSpec {
        spec("shell.run", "Runs a command of a shell and gives its exit code and output").input::<ShellInput>()
    }

    async fn call(&self, arguments: &Value, _: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.run(arguments, Callee::MAX_TOOL_OUTPUT, &cancel).await
    }

    fn target(&self, _: &Value) -> Option<String> {
        None
    }
}

fn manifest(id: &str, description: &str) -> AgentManifest {
    AgentManifest::new(id, "1.0.0", description)
        .expect("id, version and description are well formed")
        .output_schema(output_schema())
}

fn spec(name: &str, description: &str) -> ToolSpec {
    ToolSpec::new(name, description).expect("the name is well formed").output_schema(output_schema()).destructive()
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "exitCode": { "description": "Its exit code; null if a signal ended it.", "type": ["integer", "null"] },
            "signal": { "description": "The number of the signal that ended it.", "type": ["integer", "null"] },
            "stdout": { "type": "string" },
            "stderr": { "type": "string" },
            "truncated": { "description": "Whether it said more than is kept.", "type": "boolean" },
            "enforced": {
                "description": "What it was held to; absent if the policy holds programs to nothing.",
                "type": "object",
                "properties": {
                    "limits": { "description": "The limits that held.", "type": "array", "items": { "type": "string" } },
                    "writes": { "description": "Where it could write.", "enum": ["anywhere", "partly", "folders"] }
                }
            }
        },
        "required": ["exitCode", "signal", "stdout", "stderr", "truncated"]
    })
}

fn decode<T: DeserializeOwned>(input: &Value) -> Result<T, AgentError> {
    T::deserialize(input).map_err(|source| AgentError::validation("the input does not decode").with_source(source))
}
