//! A real engine on a paused clock.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use orchestr8_agent_base::{
    Agent, AgentRegistry, Secrets, Tool,
    model::{Models, Provider},
};
use orchestr8_core::{
    Engine, EngineBuilder, ExecutionHandle, MemoryStore, Outcome, Snapshot, StartRequest, Store, cassette::Cassette,
    clock::mix,
};
use orchestr8_schema::{
    ValidWorkflow,
    api::{Entry, ExecutionStatus, JournalExport},
    config::ToolPolicy,
    source::{Options, load},
    test_file::Given,
};
use serde_json::{Map, Value};

use crate::{Captured, FaultStore, Interference, Started, TestClock, capture::Engines, lasting_store::LastingStore};

/// A real engine with a memory store, on a clock and with ids that a seed decides. The test pauses the runtime's clock:
/// `#[tokio::test(start_paused = true)]`.
///
/// Whatever goes wrong here panics with the reason, as suits a test.
#[derive(Clone)]
#[must_use]
pub struct Harness {
    agents: AgentRegistry,
    models: Models,
    secrets: Secrets,
    tool_policy: ToolPolicy,
    store: Arc<dyn Store>,
    faults: Option<Arc<dyn Interference>>,
    changes: Vec<Change>,
    captured: Option<Engines>,
    variables: Map<String, Value>,
    env: Vec<(String, String)>,
    seed: u64,
    /// How many processes there were before.
    lives: u64,
}

/// A change of the engine.
type Change = Arc<dyn Fn(EngineBuilder) -> EngineBuilder + Send + Sync>;

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// Makes a harness without agents.
    pub fn new() -> Self {
        Self {
            agents: AgentRegistry::new(),
            models: Models::new(),
            secrets: Secrets::none(),
            tool_policy: ToolPolicy::default(),
            store: Arc::new(MemoryStore::new()),
            faults: None,
            changes: Vec::new(),
            captured: None,
            variables: Map::new(),
            env: Vec::new(),
            seed: TestClock::SEED,
            lives: 0,
        }
    }

    /// Adds an agent.
    ///
    /// # Panics
    ///
    /// If it cannot be registered.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.register(agent).unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets the agents, those added so far excluded.
    pub fn registry(mut self, agents: AgentRegistry) -> Self {
        self.agents = agents;
        self
    }

    /// Adds a tool.
    ///
    /// # Panics
    ///
    /// If it cannot be registered.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.agents.tools_mut().register(tool).unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets what the policy of tools is; default all may be called.
    pub fn tool_policy(mut self, policy: ToolPolicy) -> Self {
        self.tool_policy = policy;
        self
    }

    /// Has a model answer whatever model is asked for by default: `Fake` answers from a script.
    pub fn model(self, model: impl Provider) -> Self {
        self.models(Models::new().provider("test", "fake", model).default_model("scripted"))
    }

    /// Sets the models that agents may ask; default none.
    pub fn models(mut self, models: Models) -> Self {
        self.models = models;
        self
    }

    /// Adds a secret: the text of `secret://<path>`.
    pub fn secret(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.secrets = self.secrets.with(path, text);
        self
    }

    /// Sets where secrets come from; default nowhere.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Sets a variable of the environment, as workflows see it that are allowed to.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets a variable of the execution, above what the workflow declares.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the seed of all ids and jitter.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets where journals are kept; default in memory. It outlives a crash.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Has the store fail as somebody says, in every life of the process.
    pub fn faults(mut self, faults: Arc<dyn Interference>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Changes each engine before it is built.
    pub fn engine_with(mut self, change: impl Fn(EngineBuilder) -> EngineBuilder + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// Has what its engines publish and count collected, too, by what [`capture`](crate::capture()) returned.
    ///
    /// ```
    /// use orchestr8_testing::{Harness, capture, fixtures, scripted};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let captured = capture();
    /// let harness = Harness::new().agent(scripted("echo")).captured(&captured);
    /// harness.run(fixtures::minimal(), json!({})).await;
    /// assert!(captured.events().contains(&"step.completed only".to_owned()));
    /// assert!(captured.metrics().is_some());
    /// # }
    /// ```
    pub fn captured(mut self, captured: &Captured) -> Self {
        self.captured = Some(captured.engines());
        self.engine_with(|builder| builder.metrics(true))
    }

    /// Builds the engine.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    #[must_use]
    pub fn engine(self) -> Engine {
        self.life(Duration::ZERO).0
    }

    /// Makes the engine of a process, which begins this long after the first one, and what ends it.
    fn life(&self, since: Duration) -> (Engine, LastingStore) {
        // Another process draws other numbers.
        let seed = if self.lives == 0 { self.seed } else { mix(self.seed ^ mix(self.lives)) };
        let store = LastingStore::new(Arc::clone(&self.store));
        let mut builder = Engine::builder()
            .registry(self.agents.clone())
            .models(self.models.clone())
            .secrets(self.secrets.clone())
            .tool_policy(self.tool_policy.clone())
            .clock(Arc::new(TestClock::starting_at(Given::DEFAULT_NOW.plus(since), seed)));
        builder = match &self.faults {
            Some(faults) => builder.store(FaultStore::new(store.clone(), Arc::clone(faults))),
            None => builder.store(store.clone()),
        };
        let builder = self.changes.iter().fold(builder, |builder, change| change(builder));
        let engine = builder.build().unwrap_or_else(|error| panic!("{error}"));
        if let Some(captured) = &self.captured {
            captured.follow(&engine);
        }
        (engine, store)
    }

    /// Draws other numbers than the others that were cloned from the same.
    pub(crate) fn life_of_its_own(mut self, number: u64) -> Self {
        self.seed ^= mix(number);
        self
    }

    /// Makes the engine of the next process.
    pub(crate) fn another_life(&mut self, since: Duration) -> (Engine, LastingStore) {
        self.lives += 1;
        self.life(since)
    }

    /// Runs a workflow to its end on an engine of its own.
    ///
    /// # Panics
    ///
    /// If the workflow is not valid, or the execution cannot be started.
    pub async fn run(self, workflow: impl IntoWorkflow, input: Value) -> Run {
        self.start(workflow, input).await.finish().await
    }

    /// Plays a recorded execution again: the input is the recorded one, and agents, tools, people and signals answer what they did then. Nobody
    /// is called. `recording` is a file that [`Run::record`] has written.
    ///
    /// ```
    /// use orchestr8_testing::{Harness, assert_completed, fixtures, scripted};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let recording = std::env::temp_dir().join(format!("orchestr8-recording-{}.json", std::process::id()));
    /// let recorded = Harness::new().agent(scripted("echo")).run(fixtures::diamond(), json!({ "topic": "rain" })).await;
    /// recorded.record(&recording);
    /// let played = Harness::new().replay(fixtures::diamond(), &recording).await; // without the agent
    /// assert_completed!(played);
    /// assert_eq!(played.output("bottom"), recorded.output("bottom"));
    /// # std::fs::remove_file(&recording).unwrap();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run); if a call is made that was not recorded, or not with this input; if one that was recorded is not made; if the
    /// file is no recording.
    pub async fn replay(mut self, workflow: impl IntoWorkflow, recording: impl AsRef<Path>) -> Run {
        let (workflow, file) = (workflow.into_workflow(), recording.as_ref().display());
        let text = std::fs::read_to_string(recording.as_ref()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let export: JournalExport = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let cassette = Cassette::of_export(&export);
        self.agents = cassette.registry(&self.agents).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (engine, _store) = self.life(Duration::ZERO);
        let submission = engine.submit(cassette.request(&workflow)).await.unwrap_or_else(|error| panic!("{error}"));
        let (attended, run) = tokio::join!(cassette.attend(&submission.handle), Run::of(&submission.handle));
        attended.unwrap_or_else(|error| panic!("{error}"));
        let missing = cassette.misses().into_iter().map(|miss| format!("{}: {}", miss.step_path, miss.because));
        let unused =
            cassette.unplayed().into_iter().map(|path| format!("{path}: it was recorded, and is not called for"));
        let wrong: Vec<_> = missing.chain(unused).collect();
        assert!(wrong.is_empty(), "{file} does not fit:\n{}\n{}", wrong.join("\n"), run.journal_text());
        run
    }

    /// Starts a workflow on an engine of its own.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub async fn start(self, workflow: impl IntoWorkflow, input: Value) -> Started {
        let workflow = workflow.into_workflow();
        let (engine, store) = self.life(Duration::ZERO);
        let env = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = StartRequest::new(&workflow, input).variables(self.variables.clone()).env(env);
        let submission = engine.submit(request).await.unwrap_or_else(|error| panic!("{error}"));
        Started::new(self, engine, store, submission.handle)
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("agents", &self.agents).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// An execution that has ended, with its journal.
#[derive(Clone, Debug)]
pub struct Run {
    outcome: Outcome,
    snapshot: Snapshot,
    entries: Vec<Entry>,
}

impl Run {
    /// Waits for the end of an execution and reads its journal.
    ///
    /// # Panics
    ///
    /// If the execution is lost, or if folding its journal does not give the state that the engine ended with.
    pub async fn of(handle: &ExecutionHandle) -> Self {
        let outcome = handle.outcome().await.unwrap_or_else(|error| panic!("{error}"));
        let snapshot = handle.snapshot().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(snapshot.state(), outcome.state(), "the journal does not fold to the live state");
        let entries = snapshot.journal().entries;
        Self { outcome, snapshot, entries }
    }

    /// Returns how the execution ended.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns the terminal status.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        self.outcome.status()
    }

    /// Returns how much virtual time passed between its first event and its last one.
    #[must_use]
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.entries.last().map_or(0, |entry| entry.elapsed_ms))
    }

    /// Returns the output of a step that completed.
    ///
    /// # Panics
    ///
    /// If it did not complete; the message has the journal.
    #[must_use]
    pub fn output(&self, step: &str) -> &Value {
        self.outcome.output(step).unwrap_or_else(|| panic!("`{step}` has no output\n{}", self.journal_text()))
    }

    /// Writes the execution down for [`Harness::replay`]: its journal as it is exported, with secrets hidden and long values cut. A call whose
    /// result is not all there cannot be played again.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn record(&self, file: impl AsRef<Path>) {
        let (file, export) = (file.as_ref(), self.snapshot.journal().export());
        let text = serde_json::to_string_pretty(&export).unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Returns the state and events.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> &[Entry] {
        &self.entries
    }

    /// Renders the journal, a line per entry: type, step path, attempt.
    #[must_use]
    pub fn journal_lines(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let mut line = entry.kind.clone();
            if let Some(path) = &entry.step_path {
                line = format!("{line} {path}");
            }
            if let Some(attempt) = entry.attempt {
                line = format!("{line} {attempt}");
            }
            line
        };
        self.entries.iter().map(line).collect()
    }

    /// Renders the journal with times, for messages.
    #[must_use]
    pub fn journal_text(&self) -> String {
        let lines = self
            .entries
            .iter()
            .map(|entry| format!("{:>4} +{}ms  {}", entry.sequence, entry.elapsed_ms, entry.message));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What a harness can run.
pub trait IntoWorkflow {
    /// Makes a valid workflow of it.
    ///
    /// # Panics
    ///
    /// If it is not valid; the message has all problems.
    fn into_workflow(self) -> ValidWorkflow;
}

impl IntoWorkflow for ValidWorkflow {
    fn into_workflow(self) -> ValidWorkflow {
        self
    }
}

impl IntoWorkflow for &ValidWorkflow {
    fn into_workflow(self) -> ValidWorkflow {
        self.clone()
    }
}

/// The document as a JSON value.
impl IntoWorkflow for Value {
    fn into_workflow(self) -> ValidWorkflow {
        ValidWorkflow::from_value(&self).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The path of a file, in JSON, or in YAML with the feature `yaml`.
impl IntoWorkflow for &Path {
    fn into_workflow(self) -> ValidWorkflow {
        let name = self.display().to_string();
        let text = std::fs::read(self).unwrap_or_else(|error| panic!("{name}: {error}"));
        load(&text, &Options::new().file_name(&name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// The same: `harness.run("review.yaml", …)`.
impl IntoWorkflow for &str {
    fn into_workflow(self) -> ValidWorkflow {
        Path::new(self).into_workflow()
    }
}
