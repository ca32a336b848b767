//! A workflow's executions under chance and faults, thousands of them, in virtual time.
//!
//! A [`Simulation`] runs the real engine, unchanged: plan, machine, driver, resilience layers. What is around it is simulated: time jumps
//! from one event to the next; agents are stand-ins that answer what their schemas allow, after any time; people answer approvals
//! early, late, twice or never; and the store, the process and the clock fail as [`Fault`]s say. A referee follows the journal and
//! every call, and checks [`Invariant`]s after each.
//!
//! Everything follows from the seed: the same seed gives the same journal in every process and on any number of threads. When
//! an invariant is violated, the faults are taken away one by one as long as it still is, so that what is left is what it takes.
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, HelloWorld};
//! use orchestr8_schema::ValidWorkflow;
//! use orchestr8_testing::simulate::Simulation;
//! use serde_json::json;
//!
//! let workflow = ValidWorkflow::from_value(&json!({
//!     "version": "1.0.0",
//!     "metadata": { "id": "greeting", "name": "Greeting" },
//!     "steps": [{ "id": "greet", "agent": { "id": "@orchestr8/hello-world" } }]
//! }))?;
//! let mut agents = AgentRegistry::new();
//! agents.register(HelloWorld::default())?;
//!
//! let report = Simulation::new(&workflow, &agents)?.explore(0..50);
//! assert!(report.violations.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod chance;
mod explore;
mod fault;
mod invariant;
mod life;
mod referee;
mod report;
mod stand_in;
mod unknown;
pub(crate) mod value;
mod world;

use std::{sync::Arc, time::Duration};

use orchestr8_agent_base::{
    AgentRegistry, manifest::InvalidManifest, registry::RegisterError, tool::RegisterToolError,
};
use orchestr8_core::{
    machine::{State, fold},
    plan::{Plan, PlanError},
};
use orchestr8_schema::{
    ValidWorkflow,
    canonical::sha256_hex,
    event::{Event, EventBody},
    id::InvalidId,
    jmespath::JmesPath,
    test_file::{Mock, MockAnswer, MockFile, MockTarget},
};
use serde_json::{Value, json};

use self::{
    chance::Chance,
    life::{Subject, Verdict, live_through},
    referee::Referee,
    stand_in::Stage,
    value::value_of,
    world::World,
};
pub use self::{
    fault::{Checkpoint, Fault, InvalidFault, Place},
    invariant::{Invariant, Violation},
    report::{Counterexample, Coverage, MockMistake, Report},
};
use crate::mocks::{Called, Callees, Mocks, NoStandIn, Nobody, place_of, prepared, replacement};

/// A workflow to be simulated.
#[derive(Clone, Debug)]
#[must_use]
pub struct Simulation {
    workflow: ValidWorkflow,
    agents: AgentRegistry,
    unknown: Vec<String>,
    mocks: Arc<Mocks>,
    always: Arc<[JmesPath]>,
    input: Option<Value>,
    horizon: Duration,
    slots: u32,
    threads: usize,
}

/// Why a workflow cannot be simulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSimulable {
    /// The engine cannot run it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An agent has no stand-in.
    #[error(transparent)]
    Agent(#[from] RegisterError),
    /// An agent has an id or a version that no agent can have.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// A tool has no stand-in.
    #[error(transparent)]
    Tool(#[from] RegisterToolError),
    /// A tool has a name that no tool can have.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// A mock means nothing in the workflow, or nothing can be simulated with it.
    #[error("the mock of `{target}` cannot be used: {because}")]
    Mock {
        /// What is mocked, as it is written.
        target: String,
        /// Why.
        because: String,
    },
    /// A mock has somebody called for real.
    #[error("`{step}` would call {callee} for real, and a simulation calls nobody")]
    Real {
        /// What is mocked, as it is written.
        target: String,
        /// The step that would call.
        step: String,
        /// Who would be called.
        callee: String,
    },
    /// With its mocked steps replaced, the workflow is not valid.
    #[error("with these mocks the workflow is not valid: {0}")]
    Replaced(String),
    /// No value was found that an agent's output schema allows.
    #[error("no output of {agent} was found that its schema allows, so nothing can stand in for it")]
    Output {
        /// Which agent.
        agent: String,
    },
    /// No value was found that the workflow's `inputs` allow.
    #[error("no input was found that the workflow's `inputs` allow; give one")]
    Input,
}

impl From<NoStandIn> for NotSimulable {
    fn from(error: NoStandIn) -> Self {
        match error {
            NoStandIn::Agent(error) => error.into(),
            NoStandIn::Tool(error) => error.into(),
            NoStandIn::Manifest(error) => error.into(),
            NoStandIn::Name(error) => error.into(),
        }
    }
}

impl NotSimulable {
    /// Returns the mock that is to blame, as it is written.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Mock { target, .. } | Self::Real { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// One simulated execution.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trial {
    /// What decided about everything.
    pub seed: u64,
    /// What went wrong in it.
    pub faults: Vec<Fault>,
    /// How it ended.
    pub end: TrialEnd,
    /// The promises that were broken, in the order in which that was seen.
    pub violations: Vec<Violation>,
    /// Mocks that could not answer as they should.
    pub mistakes: Vec<MockMistake>,
    /// The journal; those of forks follow on that of the execution that they were made from.
    pub journal: Vec<Event>,
    /// How much time passed in it.
    pub elapsed: Duration,
    /// How often the store was written to.
    pub writes: u64,
    /// How often agents were called.
    pub calls: usize,
    /// Of each step: its path, how it ended, and its output. Sorted by path.
    pub(crate) results: Vec<(String, &'static str, Option<Arc<Value>>)>,
    /// Whether a limit of time or a budget was hit, so that interruptions and order may change the result.
    pub(crate) was_limited: bool,
}

/// How a simulated execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrialEnd {
    /// Well.
    Completed,
    /// By a failure.
    Failed,
    /// On request.
    Cancelled,
    /// Not at all: the horizon came, and it waits for something that has a name.
    Waiting,
    /// Not at all, and it cannot say what it waits for.
    Stuck,
}

impl Simulation {
    /// How far an execution is followed unless told otherwise: 30 days.
    pub const HORIZON: Duration = Duration::from_secs(30 * 86_400);

    /// Prepares a workflow, whose agents only lend their manifests and schemas: none of them is called, and those that are not registered
    /// need not be.
    ///
    /// # Errors
    ///
    /// [`NotSimulable`] if the engine cannot run the workflow with these agents, or one of them cannot be stood in for.
    pub fn new(workflow: &ValidWorkflow, agents: &AgentRegistry) -> Result<Self, NotSimulable> {
        Self::with_mocks(workflow, agents, &MockFile::default())
    }

    /// Prepares a workflow some of whose calls are answered by mocks, and for which more may always have to hold.
    ///
    /// The answers of a sequence are taken by attempt: the first one for the first attempt of each step, and the last one for all further
    /// ones. So neither the order of calls nor a crash changes what is answered. A fault of the same attempt goes before.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`NotSimulable::Mock`] for a mock of what the workflow does not have, [`NotSimulable::Real`] for one
    /// that has somebody called.
    pub fn with_mocks(workflow: &ValidWorkflow, agents: &AgentRegistry, told: &MockFile) -> Result<Self, NotSimulable> {
        let callees = Callees::of(workflow, agents);
        for (target, mock) in &told.mocks {
            if matches!(target, MockTarget::Model(_)) {
                let because = "a simulation asks no models; mock the step that does, or its agent".to_owned();
                return Err(NotSimulable::Mock { target: target.to_string(), because });
            }
            if let Some(because) = callees.is_strange(target) {
                return Err(NotSimulable::Mock { target: target.to_string(), because });
            }
            if asks_for_real(mock) {
                return Err(real_call(target, &callees));
            }
        }
        let (mut agents, unknown) = unknown::complete(workflow, agents, &callees, told)?;
        let (workflow, replaced) = prepared(workflow, &told.mocks, None, &callees).map_err(NotSimulable::Replaced)?;
        for number in 0..replaced.len() {
            agents.register(Nobody(replacement(number)?))?;
        }
        let plan = Plan::compile(&workflow, &agents)?;
        let mocks = Mocks::new(&told.mocks, callees, replaced);
        for leaf in plan.steps().iter().filter_map(|step| step.leaf.as_ref()) {
            let schema = leaf.callee.output_schema();
            if mocks.answers_for(leaf.callee.name()) {
                continue;
            }
            if schema.is_some_and(|schema| value_of(schema, &mut Chance::of(0, "is there one")).is_none()) {
                return Err(NotSimulable::Output { agent: leaf.callee.name().to_string() });
            }
        }
        let slots = 10;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            workflow,
            agents,
            unknown,
            mocks: Arc::new(mocks),
            always: told.always.iter().cloned().collect(),
            input: told.input.clone(),
            horizon: Self::HORIZON,
            slots,
            threads,
        })
    }

    /// Returns the agents that nobody has registered: their answers are made of what the workflow reads of them.
    #[must_use]
    pub fn unknown_agents(&self) -> &[String] {
        &self.unknown
    }

    /// Sets the input of all executions. Without one, the workflow's `inputs` decide what is tried.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }

    /// Sets how far executions are followed.
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.horizon = horizon;
        self
    }

    /// Sets the engine's slots, 10 unless told otherwise.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Sets how many threads explore, one for each core unless told otherwise. It changes no result.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Runs one execution.
    ///
    /// # Errors
    ///
    /// [`NotSimulable`] if the workflow cannot be prepared for it.
    pub fn run(&self, seed: u64, faults: &[Fault]) -> Result<Trial, NotSimulable> {
        self.stand()?.run(seed, 0, faults)
    }

    /// Makes what one thread needs to run executions one after the other.
    fn stand(&self) -> Result<Stand<'_>, NotSimulable> {
        let stage = Arc::new(Stage::default());
        let agents = stand_in::all_of(&self.agents, &stage, &self.mocks)?;
        let plan = Arc::new(Plan::compile(&self.workflow, &agents)?);
        Ok(Stand { simulation: self, stage, agents, plan })
    }

    /// Makes the input of a fork that has another one than the execution.
    fn other_input(&self, seed: u64, input: &Value) -> Value {
        let made = self.workflow.inputs().and_then(|schema| value_of(schema, &mut Chance::of(seed, "other input")));
        made.unwrap_or_else(|| match input {
            Value::Object(fields) => {
                let mut fields = fields.clone();
                fields.insert("isOther".to_owned(), true.into());
                Value::Object(fields)
            }
            other => other.clone(),
        })
    }

    fn input_of(&self, seed: u64) -> Result<Value, NotSimulable> {
        match (&self.input, self.workflow.inputs()) {
            (Some(input), _) => Ok(input.clone()),
            (None, None) => Ok(json!({})),
            (None, Some(schema)) => value_of(schema, &mut Chance::of(seed, "input")).ok_or(NotSimulable::Input),
        }
    }
}

/// Whether a mock, or a part of it, has somebody called for real.
fn asks_for_real(mock: &Mock) -> bool {
    match &mock.answer {
        MockAnswer::Real => true,
        MockAnswer::Sequence(parts) => parts.iter().any(asks_for_real),
        MockAnswer::By(rules) => rules.iter().any(|rule| asks_for_real(&rule.mock)),
        _ => false,
    }
}

fn real_call(target: &MockTarget, callees: &Callees) -> NotSimulable {
    let is_meant = |place: &str, called: &Called| match (target, called) {
        (MockTarget::Step(pattern), _) => place_of(pattern) == place,
        (MockTarget::Agent(id), Called::Agent(name)) => id.as_str() == name,
        (MockTarget::Tool(tool), Called::Tool(name)) => tool.as_str() == name,
        _ => false,
    };
    let calling = callees.steps.iter().find_map(|(place, _)| {
        let called = callees.of_step(place).filter(|called| is_meant(place, called))?;
        Some((place.clone(), called))
    });
    let target = target.to_string();
    match calling {
        Some((step, Called::Agent(callee) | Called::Tool(callee))) => {
            NotSimulable::Real { target, step, callee: callee.clone() }
        }
        _ => NotSimulable::Mock { target, because: "a simulation calls nobody for real".to_owned() },
    }
}

/// What one thread needs to run executions one after the other.
struct Stand<'a> {
    simulation: &'a Simulation,
    stage: Arc<Stage>,
    agents: AgentRegistry,
    plan: Arc<Plan>,
}

impl Stand<'_> {
    /// Runs one execution; `order` varies how long everything takes, and nothing else.
    fn run(&self, seed: u64, order: u64, faults: &[Fault]) -> Result<Trial, NotSimulable> {
        let simulation = self.simulation;
        let input = simulation.input_of(seed)?;
        let order = Chance::of(seed, &format!("order {order}")).next();
        let referee = Referee::new(Arc::clone(&self.plan), simulation.slots, Arc::clone(&simulation.always));
        let world = Arc::new(World::new((seed, order), faults, &simulation.mocks, referee));
        self.stage.set(&world);
        let subject = Subject {
            workflow: &simulation.workflow,
            agents: &self.agents,
            input: &input,
            other_input: &simulation.other_input(seed, &input),
            horizon: simulation.horizon,
            slots: simulation.slots,
        };
        let verdict = live_through(subject, &world, seed);
        let mut trial = world.with_referee(|referee| Trial::of(seed, faults, &verdict, referee, &self.plan));
        trial.mistakes = world.mistakes();
        Ok(trial)
    }
}

impl Trial {
    fn of(seed: u64, faults: &[Fault], verdict: &Verdict, referee: &Referee, plan: &Plan) -> Self {
        use orchestr8_core::machine::Status;
        use orchestr8_schema::{ErrorKind, event::Activation};

        let end = match verdict {
            Verdict::Ended(Status::Completed) => TrialEnd::Completed,
            Verdict::Ended(Status::Cancelled) => TrialEnd::Cancelled,
            Verdict::Ended(_) => TrialEnd::Failed,
            Verdict::Waits => TrialEnd::Waiting,
            Verdict::Stuck => TrialEnd::Stuck,
        };
        let state = referee.state();
        let steps = state.steps().iter().enumerate();
        let mut results: Vec<_> = steps
            .filter_map(|(index, step)| {
                let path = state.step_path(plan, Activation(index as u32))?.as_str().to_owned();
                Some((path, step.phase.status(), step.output.clone()))
            })
            .collect();
        results.sort_by(|one, other| one.0.cmp(&other.0));
        let errors = state.steps().iter().filter_map(|step| step.error.as_ref()).chain(state.error());
        let mut codes = errors.map(|error| error.code);
        let was_limited = codes.any(|code| matches!(code, ErrorKind::Timeout | ErrorKind::BudgetExceeded));
        let journal: Vec<_> = referee.earlier().iter().chain(referee.journal()).cloned().collect();
        let elapsed = match (journal.first(), journal.last()) {
            (Some(first), Some(last)) => last.at.since(first.at),
            _ => Duration::ZERO,
        };
        Self {
            seed,
            faults: faults.to_vec(),
            end,
            violations: referee.violations().to_vec(),
            mistakes: Vec::new(),
            elapsed,
            writes: referee.count_of_batches(),
            calls: referee.count_of_calls(),
            journal,
            results,
            was_limited,
        }
    }

    /// Returns the SHA-256 of the journal, in hex: the same for the same seed and faults, in any process.
    #[must_use]
    pub fn digest(&self) -> String {
        // The first event of each execution holds the whole workflow, which is the same for all.
        let is_told = |event: &&Event| !matches!(event.body, EventBody::ExecutionQueued(_));
        let text: Vec<_> = self.journal.iter().filter(is_told).map(|event| format!("{event:?}")).collect();
        sha256_hex(text.join("\n"))
    }

    /// Renders the journal, a line for each event: its sequence, the time since the beginning, its type, and its step.
    #[must_use]
    pub fn journal_lines(&self, plan: &Plan) -> Vec<String> {
        let mut state = State::new(plan);
        let began = self.journal.first().map(|event| event.at);
        let mut lines = Vec::with_capacity(self.journal.len());
        for (index, event) in self.journal.iter().enumerate() {
            if matches!(event.body, EventBody::ExecutionQueued(_)) {
                state = State::new(plan);
            }
            fold(plan, &mut state, event);
            let passed = began.map_or(Duration::ZERO, |began| event.at.since(began));
            let mut line = format!("{:>4} +{}ms {}", index + 1, passed.as_millis(), event.body.name());
            if let Some(path) = event.body.activation().and_then(|activation| state.step_path(plan, activation)) {
                line = format!("{line} {}", path.as_str());
            }
            lines.push(line);
        }
        lines
    }
}
