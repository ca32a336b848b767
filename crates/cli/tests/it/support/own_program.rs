//! A program with an agent of its own, whose effects are seen from outside: this binary of tests, which is told to be it.
//!
//! The agent writes a line into a ledger, a file that outlives every process, before it does anything else.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
    process::{self, Command, ExitCode},
    time::Duration,
};

use orchestr8_agent_base::{
    AgentContext, AgentError, AgentManifest, AgentRegistry, agent_fn, builtin, example_agents, registry::RegisterError,
};
use orchestr8_cli::Program;
use orchestr8_core::{
    Engine, Snapshot,
    store::{Durability, Query, SqliteStore},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::orchestr8;

const ARGUMENTS: &str = "OWN_PROGRAM_ARGUMENTS";
const LEDGER: &str = "OWN_PROGRAM_LEDGER";

/// A line of the ledger: a call that has reached the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effect {
    pub(crate) execution: String,
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) process: u32,
}

/// The program with these arguments, whose agent writes into this ledger. What it prints may stand behind what a test prints.
pub(crate) fn own_program(ledger: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test runs from a file"));
    command.args(["--exact", "support::own_program::program", "--ignored", "--nocapture", "--test-threads=2"]);
    command.stdin(process::Stdio::null());
    for (variable, value) in orchestr8().get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    command.env(ARGUMENTS, json!([&["orchestr8"], arguments].concat()).to_string()).env(LEDGER, ledger);
    command
}

/// Reads a ledger.
pub(crate) fn effects(ledger: &Path) -> Vec<Effect> {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("each line was written at once")).collect()
}

/// What is known of the executions in a data directory, newest first.
pub(crate) fn stored(data: &Path) -> Vec<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut registry = AgentRegistry::new();
        builtin::register(&mut registry).expect("registered");
        example_agents::register(&mut registry).expect("registered");
        register(&mut registry).expect("registered");
        let store = SqliteStore::open(data.join("orchestr8.db"), Durability::Process).expect("opened");
        let engine = Engine::builder().registry(registry).store(store).build().expect("built");
        let page = engine.executions(&Query::newest(10_000)).await.expect("listed");
        let mut snapshots = Vec::new();
        for summary in page.executions {
            snapshots.push(engine.snapshot(summary.execution_id).await.expect("read"));
        }
        snapshots
    })
}

/// Adds `@test/ledger`: it notes the call, takes `delayMs`, fails in as many attempts as `fails` says, and gives its place and
/// `of`.
fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    let manifest = AgentManifest::new("@test/ledger", "1.0.0", "Notes its calls")?;
    registry.register(agent_fn(manifest, |input, cx, _cancel| async move {
        note(&cx).map_err(|error| AgentError::internal(format!("the ledger: {error}")))?;
        let delay = input["delayMs"].as_u64().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if u64::from(cx.attempt()) <= input["fails"].as_u64().unwrap_or(0) {
            return Err(AgentError::network("was asked to fail"));
        }
        Ok(json!({ "at": cx.step_path().as_str(), "of": input["of"] }))
    }))
}

/// Writes a call down, where it outlives this process, and tells whoever started the program.
fn note(cx: &AgentContext) -> io::Result<()> {
    let effect = Effect {
        execution: cx.execution_id().to_string(),
        path: cx.step_path().to_string(),
        key: cx.idempotency_key().to_owned(),
        attempt: cx.attempt(),
        process: process::id(),
    };
    let Some(ledger) = std::env::var_os(LEDGER) else { return Ok(()) };
    let line = format!("{}\n", serde_json::to_string(&effect)?);
    // One write, so that lines of several processes do not mingle.
    OpenOptions::new().append(true).create(true).open(ledger)?.write_all(line.as_bytes())?;
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

#[test]
#[ignore = "no test, but a program that tests start"]
fn program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).expect("its starter wrote them");
    let exit = Program::new().agents(register).run(arguments);
    process::exit(i32::from(exit != ExitCode::SUCCESS));
}
